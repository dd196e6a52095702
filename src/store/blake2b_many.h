/* blake2b_many.h - the names of many pieces at once.
 *
 * BLAKE2b is one long chain of sums: most of a processor waits for it. So pieces go side by side,
 * each in a lane of the processor's vectors (AVX-512: eight, AVX2: four), and get the names that
 * they have by themselves. Where a processor has no such vectors they come one after the other. */
#pragma once

#include "store/blake2b.h"

#include <stdbool.h>

struct blake2b_piece {
    const uint8_t *data;
    size_t len;
    uint8_t digest[BLAKE2B_BYTES]; /* filled in */
};

/* The more pieces, and the more alike in length, the better; a dozen do well. */
void blake2b_many(struct blake2b_piece *pieces, uint32_t count);

/* As that, by one kind of processor; for blake2b_many and its tests. False: not this processor. */
bool blake2b_many_avx2(struct blake2b_piece *pieces, uint32_t count);
bool blake2b_many_avx512(struct blake2b_piece *pieces, uint32_t count);
