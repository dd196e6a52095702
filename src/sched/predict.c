#include "sched/predict.h"

#include <assert.h>
#include <stddef.h>

#define NEIGHBOURS 8u /* records a key may be in */
#define ONE_Q16 65536

struct predict_params predict_params_default(void)
{
    return (struct predict_params){ .weight_milli = 300, .seen_min = 1 };
}

void predict_init(struct predict *predict, struct predict_record *records, uint32_t keys_cap)
{
    assert(keys_cap >= NEIGHBOURS && keys_cap <= PREDICT_KEYS_MAX);
    assert((keys_cap & (keys_cap - 1u)) == 0);
    *predict = (struct predict){ .records = records, .keys_cap = keys_cap };
}

uint64_t predict_key(uint64_t user, uint64_t what)
{
    uint64_t key = user * UINT64_C(0x9e3779b97f4a7c15) ^ (what + UINT64_C(0xbf58476d1ce4e5b9));

    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    key ^= key >> 31;
    return key != 0 ? key : 1;
}

/* log2 in 1/65536, by squaring: sixteen bits of the fraction, exact enough and the same anywhere.
 */
static int64_t log2_of(int64_t value)
{
    uint64_t v = value > 1 ? (uint64_t)value : 1;
    uint32_t whole = 63u - (uint32_t)__builtin_clzll(v);
    uint64_t x = whole >= 31 ? v >> (whole - 31u) : v << (31u - whole); /* 1 .. 2 in q31 */
    int64_t out = (int64_t)whole * ONE_Q16;

    for (int32_t bit = ONE_Q16 / 2; bit > 0; bit /= 2) {
        x = x * x >> 31;
        if (x >> 32) {
            x >>= 1;
            out += bit;
        }
    }
    return out;
}

/* The value of that logarithm, by halving the distance to it. */
static int64_t exp2_of(int64_t log2_q16)
{
    uint32_t whole = (uint32_t)(log2_q16 / ONE_Q16);
    int64_t low = INT64_C(1) << (whole < 61 ? whole : 61), high = low * 2;

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        if (log2_of(middle) <= log2_q16)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint32_t size_of(uint32_t devices)
{
    return 31u - (uint32_t)__builtin_clz(devices > 0 ? devices : 1);
}

static void record_learn(struct predict_record *record, const struct predict_params *params,
                         int64_t log2_q16, int64_t duration_ms)
{
    int64_t weight = params->weight_milli;

    record->count += record->count < UINT32_MAX;
    if (record->count == 1) {
        record->log2_q16 = log2_q16;
        record->mean_ms = duration_ms;
        return;
    }
    record->log2_q16 += (log2_q16 - record->log2_q16) * weight / 1000;
    /* Of the sum everybody is a part alike; past a thousand the newest count a little more. */
    record->mean_ms +=
        (duration_ms - record->mean_ms) / (record->count < 1000 ? record->count : 1000);
}

static uint32_t slot_of(const struct predict *predict, uint64_t key, uint32_t step)
{
    return (uint32_t)(key + step) & (predict->keys_cap - 1u);
}

static struct predict_record *find(const struct predict *predict, uint64_t key)
{
    for (uint32_t i = 0; key != 0 && i < NEIGHBOURS; i++)
        if (predict->records[slot_of(predict, key, i)].key == key)
            return &predict->records[slot_of(predict, key, i)];
    return NULL;
}

static struct predict_record *find_or_take(struct predict *predict, uint64_t key)
{
    struct predict_record *record = find(predict, key);

    if (!record) { /* in place of the neighbour that was seen longest ago */
        record = &predict->records[slot_of(predict, key, 0)];
        for (uint32_t i = 1; i < NEIGHBOURS; i++) {
            struct predict_record *one = &predict->records[slot_of(predict, key, i)];

            if (one->seen_at < record->seen_at)
                record = one;
        }
        *record = (struct predict_record){ .key = key };
    }
    record->seen_at = predict->seen_count;
    return record;
}

void predict_learn(struct predict *predict, const struct predict_params *params, uint64_t key,
                   uint32_t devices, int64_t duration_ms)
{
    int64_t duration = duration_ms > 1 ? duration_ms : 1, log2_q16 = log2_of(duration);

    predict->seen_count++;
    record_learn(&predict->sizes[size_of(devices)], params, log2_q16, duration);
    record_learn(&predict->sizes[32], params, log2_q16, duration);
    if (key != 0)
        record_learn(find_or_take(predict, key), params, log2_q16, duration);
}

struct predict_answer predict_ask(const struct predict *predict,
                                  const struct predict_params *params, uint64_t key,
                                  uint32_t devices)
{
    const struct predict_record *record = find(predict, key);
    const struct predict_record *size = &predict->sizes[size_of(devices)];
    struct predict_answer out = { PREDICT_KEY, 0, 0 };

    if (!record || record->count < params->seen_min) {
        out.source = PREDICT_SIZE;
        record = size->count > 0 ? size : &predict->sizes[32];
    }
    if (record->count == 0)
        return (struct predict_answer){ PREDICT_NONE, 0, 0 };
    out.typical_ms = exp2_of(record->log2_q16);
    out.mean_ms = record->mean_ms;
    return out;
}
