/* blake2b_rounds.h - the twelve rounds of BLAKE2b, for words or for vectors of words.
 *
 * BLAKE2B_ROUNDS works on v0 .. vf and takes the sixteen of m[]. The order of the words is written
 * out round by round, so that all stays in registers. */
#pragma once

#include <stdint.h>

#define BLAKE2B_BLOCK_BYTES 128u
/* The first word of a fresh state: fan-out 1, depth 1, no key. */
#define BLAKE2B_PARAMETERS (0x01010000u ^ BLAKE2B_BYTES)

static const uint64_t blake2b_iv[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

#define BLAKE2B_ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define BLAKE2B_MIX(a, b, c, d, x, y)                                                              \
    do {                                                                                           \
        (a) += (b) + (x);                                                                          \
        (d) = BLAKE2B_ROTATE((d) ^ (a), 32);                                                       \
        (c) += (d);                                                                                \
        (b) = BLAKE2B_ROTATE((b) ^ (c), 24);                                                       \
        (a) += (b) + (y);                                                                          \
        (d) = BLAKE2B_ROTATE((d) ^ (a), 16);                                                       \
        (c) += (d);                                                                                \
        (b) = BLAKE2B_ROTATE((b) ^ (c), 63);                                                       \
    } while (0)

#define BLAKE2B_ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)              \
    do {                                                                                           \
        BLAKE2B_MIX(v0, v4, v8, vc, m[s0], m[s1]);                                                 \
        BLAKE2B_MIX(v1, v5, v9, vd, m[s2], m[s3]);                                                 \
        BLAKE2B_MIX(v2, v6, va, ve, m[s4], m[s5]);                                                 \
        BLAKE2B_MIX(v3, v7, vb, vf, m[s6], m[s7]);                                                 \
        BLAKE2B_MIX(v0, v5, va, vf, m[s8], m[s9]);                                                 \
        BLAKE2B_MIX(v1, v6, vb, vc, m[sa], m[sb]);                                                 \
        BLAKE2B_MIX(v2, v7, v8, vd, m[sc], m[sd]);                                                 \
        BLAKE2B_MIX(v3, v4, v9, ve, m[se], m[sf]);                                                 \
    } while (0)

#define BLAKE2B_ROUNDS                                                                             \
    do {                                                                                           \
        BLAKE2B_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);                       \
        BLAKE2B_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);                       \
        BLAKE2B_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);                       \
        BLAKE2B_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);                       \
        BLAKE2B_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);                       \
        BLAKE2B_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);                       \
        BLAKE2B_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);                       \
        BLAKE2B_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);                       \
        BLAKE2B_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);                       \
        BLAKE2B_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);                       \
        BLAKE2B_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);                       \
        BLAKE2B_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);                       \
    } while (0)
