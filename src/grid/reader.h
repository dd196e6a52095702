/* reader.h - how a snapshot is taken apart: numbers within bounds, texts, structs. The first thing
 * that is amiss sets `failed`; what is taken from then on is 0 or "". */
#pragma once

#include "grid/fields.h"
#include "grid/state.h"
#include "sched/mem.h"

struct places { /* interned numbers by order of first mention, from 1 */
    uint32_t *numbers;
    uint32_t count, cap;
};

struct reader {
    struct grid *grid;
    struct cursor in;
    struct arena arena;
    struct places strings, specs, terms, shapes, tenants;
    uint64_t version;
    uint64_t first_id; /* no job or array that lives has a lower id */
    bool failed;
};

static inline uint64_t take(struct reader *reader, uint64_t max)
{
    uint64_t value = 0;

    if (reader->failed || get_u64(&reader->in, &value) < 0 || value > max) {
        reader->failed = true;
        return 0;
    }
    return value;
}

static inline int64_t take_signed(struct reader *reader, int64_t min, int64_t max)
{
    int64_t value = 0;

    if (reader->failed || get_i64(&reader->in, &value) < 0 || value < min || value > max) {
        reader->failed = true;
        return 0;
    }
    return value;
}

static inline int64_t take_past_time(struct reader *reader)
{
    return take_signed(reader, 0, reader->grid->now_ms);
}

static inline const char *take_text(struct reader *reader, size_t max)
{
    const char *text = "";
    size_t len = 0;

    if (reader->failed || get_text(&reader->in, &text, &len) < 0 || len > max) {
        reader->failed = true;
        return "";
    }
    return text;
}

/* Into zeroes. Struct bytes hold NULs, so they are not text. */
static inline void take_struct(struct reader *reader, const struct fields *fields, void *base)
{
    uint64_t len = take(reader, UINT32_MAX);

    if (reader->failed || len >= (uint64_t)(reader->in.end - reader->in.at) ||
        reader->in.at[len] != '\0' ||
        fields_decode(fields, reader->in.at, len, &reader->arena, base, NULL) < 0) {
        reader->failed = true;
        return;
    }
    reader->in.at += len + 1;
}

/* The number of something mentioned before; 0 = new, its content follows. */
static inline uint32_t take_place(struct reader *reader, const struct places *places)
{
    uint64_t place = take(reader, places->count);

    return place ? places->numbers[place - 1] : 0;
}

static inline uint32_t keep_place(struct places *places, uint32_t number)
{
    MEM_GROW(places->numbers, places->cap, places->count + 1);
    places->numbers[places->count++] = number;
    return number;
}

/* restore_grant.c: what the job holds, or (is_plan) is promised; NULL: it has failed. */
struct grant *reader_take_grant(struct reader *reader, const struct job *job, bool is_plan);
