/* chunker.h - where a stream of bytes is cut: by what it holds, not by where it stands.
 *
 * FastCDC (Xia et al., USENIX ATC 2016): a gear hash rolls over the last 64 bytes; a cut falls
 * where the masked hash is zero, with a harder mask before the average and an easier one after it.
 * Bytes put in or taken out move the cuts around them only, so that versions of a file share the
 * rest. Pure: the same bytes are cut the same way on every machine; the numbers below and the
 * gear's seed are part of the store's format (docs/store.md). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES_MIN 32768u
#define CHUNK_BYTES_AVERAGE 131072u
#define CHUNK_BYTES_MAX 524288u

/* Length of the first chunk of `data`. With less than CHUNK_BYTES_MAX bytes at hand the answer is
 * right only when they are the last of the stream. 0 when `len` is 0. */
size_t chunker_cut(const uint8_t *data, size_t len);
