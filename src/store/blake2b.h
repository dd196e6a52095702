/* blake2b.h - BLAKE2b-256 (RFC 7693), no key: the names of chunks and manifests.
 *
 * Chosen by measurement (docs/store.md): nettle has no BLAKE2, and without the SHA instructions of
 * newer processors its SHA-256 takes about two and a half times as long a byte. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BLAKE2B_BYTES 32u

struct blake2b {
    uint64_t h[8];
    uint64_t count_bytes;
    uint8_t block[128];
    size_t block_len;
};

void blake2b_init(struct blake2b *hash);
void blake2b_update(struct blake2b *hash, const void *data, size_t len);
void blake2b_final(struct blake2b *hash, uint8_t digest_out[BLAKE2B_BYTES]);
/* All of it at once. */
void blake2b_of(const void *data, size_t len, uint8_t digest_out[BLAKE2B_BYTES]);
