/* blake2b_lanes.h - blake2b_many for one width of vectors; its two users say which before they
 * include it: LANES (4 or 8) and LANES_TARGET, the name of what a processor must have.
 *
 * A lane that has done its piece takes the next one, the longest first, so that lanes end together.
 */
#pragma once

#include "store/blake2b_many.h"
#include "store/blake2b_rounds.h"

#include <string.h>

#define LANES_FOR __attribute__((target(LANES_TARGET)))
#define LANES_ORDER_MAX 256u

typedef uint64_t lanes_vector __attribute__((vector_size(LANES * 8)));

struct lanes {
    lanes_vector h[8];
    lanes_vector count;                 /* of bytes, as the hash counts them */
    lanes_vector add;                   /* to it, a block */
    lanes_vector last;                  /* all ones: this block ends the piece */
    struct blake2b_piece *piece[LANES]; /* NULL: idle */
    const uint8_t *at[LANES];
    size_t step[LANES]; /* to the next block; 0 = idle, or the end */
    size_t left[LANES]; /* of the piece, not yet mixed in */
    uint8_t end[LANES][BLAKE2B_BLOCK_BYTES];
};

/* Rows become columns, `s` lanes apart at a time. */
#if LANES == 8
#define LANES_LOW_1 0, 8, 2, 10, 4, 12, 6, 14
#define LANES_HIGH_1 1, 9, 3, 11, 5, 13, 7, 15
#define LANES_LOW_2 0, 1, 8, 9, 4, 5, 12, 13
#define LANES_HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#define LANES_LOW_4 0, 1, 2, 3, 8, 9, 10, 11
#define LANES_HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define LANES_LOW_1 0, 4, 2, 6
#define LANES_HIGH_1 1, 5, 3, 7
#define LANES_LOW_2 0, 1, 4, 5
#define LANES_HIGH_2 2, 3, 6, 7
#endif
#define LANES_SWAP(rows, i, s)                                                                     \
    do {                                                                                           \
        lanes_vector a_ = (rows)[i], b_ = (rows)[(i) + (s)];                                       \
                                                                                                   \
        (rows)[i] = __builtin_shufflevector(a_, b_, LANES_LOW_##s);                                \
        (rows)[(i) + (s)] = __builtin_shufflevector(a_, b_, LANES_HIGH_##s);                       \
    } while (0)

LANES_FOR static void lanes_turn(lanes_vector rows[LANES])
{
    for (unsigned i = 0; i < LANES; i += 2)
        LANES_SWAP(rows, i, 1);
    for (unsigned i = 0; i < LANES; i += 4) {
        LANES_SWAP(rows, i, 2);
        LANES_SWAP(rows, i + 1, 2);
    }
#if LANES == 8
    for (unsigned i = 0; i < 4; i++)
        LANES_SWAP(rows, i, 4);
#endif
}

/* The next block of each lane; m[w] is word w of all lanes. */
LANES_FOR static void lanes_load(const struct lanes *lanes, lanes_vector m[16])
{
    for (unsigned part = 0; part < 16; part += LANES) {
        for (unsigned i = 0; i < LANES; i++)
            memcpy(&m[part + i], lanes->at[i] + (size_t)part * 8, sizeof(*m));
        lanes_turn(m + part);
    }
}

LANES_FOR static void lanes_mix(struct lanes *lanes, size_t blocks)
{
    const lanes_vector none = { 0 };

    for (; blocks; blocks--) {
        lanes_vector *h = lanes->h, m[16];
        lanes_vector v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3];
        lanes_vector v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
        lanes_vector v8 = none + blake2b_iv[0], v9 = none + blake2b_iv[1];
        lanes_vector va = none + blake2b_iv[2], vb = none + blake2b_iv[3];
        lanes_vector vc, vd = none + blake2b_iv[5];
        lanes_vector ve = lanes->last ^ blake2b_iv[6], vf = none + blake2b_iv[7];

        lanes_load(lanes, m);
        lanes->count += lanes->add;
        vc = lanes->count ^ blake2b_iv[4];
        BLAKE2B_ROUNDS;
        h[0] ^= v0 ^ v8;
        h[1] ^= v1 ^ v9;
        h[2] ^= v2 ^ va;
        h[3] ^= v3 ^ vb;
        h[4] ^= v4 ^ vc;
        h[5] ^= v5 ^ vd;
        h[6] ^= v6 ^ ve;
        h[7] ^= v7 ^ vf;
        for (unsigned i = 0; i < LANES; i++)
            lanes->at[i] += lanes->step[i];
    }
}

LANES_FOR static void lanes_begin(struct lanes *lanes, unsigned lane, struct blake2b_piece *piece)
{
    for (unsigned i = 0; i < 8; i++)
        lanes->h[i][lane] = blake2b_iv[i];
    lanes->h[0][lane] ^= BLAKE2B_PARAMETERS;
    lanes->count[lane] = 0;
    lanes->piece[lane] = piece;
    lanes->at[lane] = piece->data;
    lanes->left[lane] = piece->len;
}

/* By itself: a lane without neighbours is slower than that. */
LANES_FOR static void lanes_finish_alone(struct lanes *lanes, unsigned lane)
{
    struct blake2b hash = { .count_bytes = lanes->count[lane] };

    for (unsigned i = 0; i < 8; i++)
        hash.h[i] = lanes->h[i][lane];
    blake2b_update(&hash, lanes->at[lane], lanes->left[lane]);
    blake2b_final(&hash, lanes->piece[lane]->digest);
    lanes->piece[lane] = NULL;
}

/* The blocks that end no piece, of all lanes at once. */
LANES_FOR static void lanes_mix_full(struct lanes *lanes)
{
    size_t blocks = SIZE_MAX;

    for (unsigned i = 0; i < LANES; i++) {
        bool busy = lanes->piece[i] != NULL;
        size_t full = lanes->left[i] ? (lanes->left[i] - 1) / BLAKE2B_BLOCK_BYTES : 0;

        if (busy && full < blocks)
            blocks = full;
        if (!busy)
            lanes->at[i] = lanes->end[i]; /* whatever it holds */
        lanes->add[i] = lanes->step[i] = busy ? BLAKE2B_BLOCK_BYTES : 0;
        lanes->last[i] = 0;
    }
    lanes_mix(lanes, blocks);
    for (unsigned i = 0; i < LANES; i++)
        if (lanes->piece[i])
            lanes->left[i] -= blocks * BLAKE2B_BLOCK_BYTES;
}

/* One block more, which ends one piece at least. */
LANES_FOR static void lanes_mix_ends(struct lanes *lanes)
{
    for (unsigned i = 0; i < LANES; i++) {
        size_t left = lanes->left[i];

        if (!lanes->piece[i] || left > BLAKE2B_BLOCK_BYTES)
            continue;
        memset(lanes->end[i], 0, BLAKE2B_BLOCK_BYTES);
        if (left)
            memcpy(lanes->end[i], lanes->at[i], left);
        lanes->at[i] = lanes->end[i];
        lanes->add[i] = left;
        lanes->step[i] = 0;
        lanes->last[i] = UINT64_MAX;
    }
    lanes_mix(lanes, 1);
    for (unsigned i = 0; i < LANES; i++) {
        uint64_t words[4];

        if (lanes->piece[i] && !lanes->last[i])
            lanes->left[i] -= BLAKE2B_BLOCK_BYTES;
        if (!lanes->piece[i] || !lanes->last[i])
            continue;
        for (unsigned k = 0; k < 4; k++)
            words[k] = lanes->h[k][i];
        memcpy(lanes->piece[i]->digest, words, sizeof(words));
        lanes->piece[i] = NULL;
    }
}

/* Which piece comes when: insertion, as there are few and chunks come in no order. */
static void lanes_order(const struct blake2b_piece *pieces, uint32_t count, uint16_t *order_out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = i;

        for (; k && pieces[order_out[k - 1]].len < pieces[i].len; k--)
            order_out[k] = order_out[k - 1];
        order_out[k] = (uint16_t)i;
    }
}

LANES_FOR static void lanes_hash(struct blake2b_piece *pieces, uint32_t count)
{
    uint16_t order[LANES_ORDER_MAX];
    struct lanes lanes = { .piece = { NULL } };
    uint32_t next = 0;

    lanes_order(pieces, count, order);
    for (;;) {
        unsigned busy = 0, one = 0;

        for (unsigned i = 0; i < LANES; i++) {
            if (!lanes.piece[i] && next < count)
                lanes_begin(&lanes, i, &pieces[order[next++]]);
            if (lanes.piece[i]) {
                busy++;
                one = i;
            }
        }
        if (busy == 0)
            return;
        if (busy == 1) {
            lanes_finish_alone(&lanes, one);
            continue;
        }
        lanes_mix_full(&lanes);
        lanes_mix_ends(&lanes);
    }
}

static bool lanes_many(struct blake2b_piece *pieces, uint32_t count)
{
    if (!__builtin_cpu_supports(LANES_TARGET))
        return false;
    for (uint32_t i = 0; i < count; i += LANES_ORDER_MAX)
        lanes_hash(pieces + i, count - i < LANES_ORDER_MAX ? count - i : LANES_ORDER_MAX);
    return true;
}
