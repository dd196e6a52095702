#include "store/chunker.h"

#include "store/chunker_gear.h"

/* 17 bits are the average's 128 KiB; two more before it and two fewer after. The bits are the
 * hash's highest, which depend on the most bytes. */
#define MASK_HARD (0x7ffffull << 45)
#define MASK_EASY (0x7fffull << 49)

size_t chunker_cut(const uint8_t *data, size_t len)
{
    size_t end = len < CHUNK_BYTES_MAX ? len : CHUNK_BYTES_MAX;
    size_t middle = end < CHUNK_BYTES_AVERAGE ? end : CHUNK_BYTES_AVERAGE;
    uint64_t hash = 0;
    size_t i;

    if (len <= CHUNK_BYTES_MIN)
        return len;
    /* The hash holds 64 bytes: it starts that much before the first place a cut may fall. */
    for (i = CHUNK_BYTES_MIN - 64; i < CHUNK_BYTES_MIN; i++)
        hash = (hash << 1) + chunker_gear[data[i]];
    for (; i < middle; i++) {
        hash = (hash << 1) + chunker_gear[data[i]];
        if (!(hash & MASK_HARD))
            return i + 1;
    }
    for (; i < end; i++) {
        hash = (hash << 1) + chunker_gear[data[i]];
        if (!(hash & MASK_EASY))
            return i + 1;
    }
    return end;
}
