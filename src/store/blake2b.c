#include "store/blake2b.h"

#include <endian.h>
#include <string.h>

#define BLOCK_BYTES 128u

static const uint64_t iv[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static inline uint64_t rotate_right(uint64_t x, unsigned n)
{
    return x >> n | x << (64 - n);
}

#define MIX(a, b, c, d, x, y)                                                                      \
    do {                                                                                           \
        (a) += (b) + (x);                                                                          \
        (d) = rotate_right((d) ^ (a), 32);                                                         \
        (c) += (d);                                                                                \
        (b) = rotate_right((b) ^ (c), 24);                                                         \
        (a) += (b) + (y);                                                                          \
        (d) = rotate_right((d) ^ (a), 16);                                                         \
        (c) += (d);                                                                                \
        (b) = rotate_right((b) ^ (c), 63);                                                         \
    } while (0)

/* The order of the words is written out round by round, so that all stays in registers. */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)                      \
    do {                                                                                           \
        MIX(v0, v4, v8, vc, m[s0], m[s1]);                                                         \
        MIX(v1, v5, v9, vd, m[s2], m[s3]);                                                         \
        MIX(v2, v6, va, ve, m[s4], m[s5]);                                                         \
        MIX(v3, v7, vb, vf, m[s6], m[s7]);                                                         \
        MIX(v0, v5, va, vf, m[s8], m[s9]);                                                         \
        MIX(v1, v6, vb, vc, m[sa], m[sb]);                                                         \
        MIX(v2, v7, v8, vd, m[sc], m[sd]);                                                         \
        MIX(v3, v4, v9, ve, m[se], m[sf]);                                                         \
    } while (0)

static void compress(uint64_t h[8], const uint8_t block[BLOCK_BYTES], uint64_t count, uint64_t last)
{
    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = iv[0], v9 = iv[1], va = iv[2], vb = iv[3];
    uint64_t vc = iv[4] ^ count, vd = iv[5], ve = iv[6] ^ last, vf = iv[7];
    uint64_t m[16];

    memcpy(m, block, sizeof(m));
    for (unsigned i = 0; i < 16; i++)
        m[i] = le64toh(m[i]);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
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
    memcpy(hash->h, iv, sizeof(iv));
    hash->h[0] ^= 0x01010000u ^ BLAKE2B_BYTES; /* fan-out 1, depth 1, no key */
}

void blake2b_update(struct blake2b *hash, const void *data, size_t len)
{
    const uint8_t *from = data;

    while (len) {
        size_t part = sizeof(hash->block) - hash->block_len;

        /* The last block is compressed in another way: a full one waits for what follows it. */
        if (part == 0) {
            hash->count_bytes += BLOCK_BYTES;
            compress(hash->h, hash->block, hash->count_bytes, 0);
            hash->block_len = 0;
            continue;
        }
        if (hash->block_len == 0 && len > BLOCK_BYTES) {
            hash->count_bytes += BLOCK_BYTES;
            compress(hash->h, from, hash->count_bytes, 0);
            from += BLOCK_BYTES;
            len -= BLOCK_BYTES;
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
