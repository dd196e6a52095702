#include "store/chunker.h"

#include "store/chunker_gear.h"

/* 17 bits are the average's 128 KiB; two more before it and two fewer after. The bits are the
 * hash's highest, which depend on the most bytes. */
#define MASK_HARD (0x7ffffull << 45)
#define MASK_EASY (0x7fffull << 49)

#define ROLL(hash, byte) ((hash) = ((hash) << 1) + chunker_gear[byte])

/* From `at` on, the first place before `end` where the masked hash is zero: just behind it; 0 =
 * none. Four bytes a turn, as counting them costs as much as hashing one. */
static size_t find_cut(const uint8_t *data, size_t at, size_t end, uint64_t *hash_inout,
                       uint64_t mask)
{
    uint64_t hash = *hash_inout;

    for (; at + 4 <= end; at += 4) {
        if (!(ROLL(hash, data[at]) & mask))
            return at + 1;
        if (!(ROLL(hash, data[at + 1]) & mask))
            return at + 2;
        if (!(ROLL(hash, data[at + 2]) & mask))
            return at + 3;
        if (!(ROLL(hash, data[at + 3]) & mask))
            return at + 4;
    }
    for (; at < end; at++)
        if (!(ROLL(hash, data[at]) & mask))
            return at + 1;
    *hash_inout = hash;
    return 0;
}

size_t chunker_cut(const uint8_t *data, size_t len)
{
    size_t end = len < CHUNK_BYTES_MAX ? len : CHUNK_BYTES_MAX;
    size_t middle = end < CHUNK_BYTES_AVERAGE ? end : CHUNK_BYTES_AVERAGE;
    uint64_t hash = 0;
    size_t cut;

    if (len <= CHUNK_BYTES_MIN)
        return len;
    /* The hash holds 64 bytes: it starts that much before the first place a cut may fall. */
    for (size_t i = CHUNK_BYTES_MIN - 64; i < CHUNK_BYTES_MIN; i++)
        ROLL(hash, data[i]);
    cut = find_cut(data, CHUNK_BYTES_MIN, middle, &hash, MASK_HARD);
    if (!cut)
        cut = find_cut(data, middle, end, &hash, MASK_EASY);
    return cut ? cut : end;
}
