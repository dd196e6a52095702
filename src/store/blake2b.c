#include "store/blake2b.h"

#include "store/blake2b_rounds.h"

#include <endian.h>
#include <string.h>

static void compress(uint64_t h[8], const uint8_t block[BLAKE2B_BLOCK_BYTES], uint64_t count,
                     uint64_t last)
{
    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = blake2b_iv[0], v9 = blake2b_iv[1], va = blake2b_iv[2], vb = blake2b_iv[3];
    uint64_t vc = blake2b_iv[4] ^ count, vd = blake2b_iv[5], ve = blake2b_iv[6] ^ last,
             vf = blake2b_iv[7];
    uint64_t m[16];

    memcpy(m, block, sizeof(m));
    for (unsigned i = 0; i < 16; i++)
        m[i] = le64toh(m[i]);
    BLAKE2B_ROUNDS;
    h[0] ^= v0 ^ v8;
    h[1] ^= v1 ^ v9;
    h[2] ^= v2 ^ va;
    h[3] ^= v3 ^ vb;
    h[4] ^= v4 ^ vc;
    h[5] ^= v5 ^ vd;
    h[6] ^= v6 ^ ve;
    h[7] ^= v7 ^ vf;
}

void blake2b_init(struct blake2b *hash)
{
    *hash = (struct blake2b){ .block_len = 0 };
    memcpy(hash->h, blake2b_iv, sizeof(blake2b_iv));
    hash->h[0] ^= BLAKE2B_PARAMETERS;
}

void blake2b_update(struct blake2b *hash, const void *data, size_t len)
{
    const uint8_t *from = data;

    while (len) {
        size_t part = sizeof(hash->block) - hash->block_len;

        /* The last block is compressed in another way: a full one waits for what follows it. */
        if (part == 0) {
            hash->count_bytes += BLAKE2B_BLOCK_BYTES;
            compress(hash->h, hash->block, hash->count_bytes, 0);
            hash->block_len = 0;
            continue;
        }
        if (hash->block_len == 0 && len > BLAKE2B_BLOCK_BYTES) {
            hash->count_bytes += BLAKE2B_BLOCK_BYTES;
            compress(hash->h, from, hash->count_bytes, 0);
            from += BLAKE2B_BLOCK_BYTES;
            len -= BLAKE2B_BLOCK_BYTES;
            continue;
        }
        part = part < len ? part : len;
        memcpy(hash->block + hash->block_len, from, part);
        hash->block_len += part;
        from += part;
        len -= part;
    }
}

void blake2b_final(struct blake2b *hash, uint8_t digest_out[BLAKE2B_BYTES])
{
    uint64_t words[4];

    hash->count_bytes += hash->block_len;
    memset(hash->block + hash->block_len, 0, sizeof(hash->block) - hash->block_len);
    compress(hash->h, hash->block, hash->count_bytes, UINT64_MAX);
    for (unsigned i = 0; i < 4; i++)
        words[i] = htole64(hash->h[i]);
    memcpy(digest_out, words, sizeof(words));
}

void blake2b_of(const void *data, size_t len, uint8_t digest_out[BLAKE2B_BYTES])
{
    struct blake2b hash;

    blake2b_init(&hash);
    blake2b_update(&hash, data, len);
    blake2b_final(&hash, digest_out);
}
