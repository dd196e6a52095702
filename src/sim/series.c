#include "sim/series.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

bool sim_series_init(struct sim_series_set *set, uint32_t count, int64_t width_ms)
{
    *set = (struct sim_series_set){ .width_ms = width_ms };
    set->list = calloc(count, sizeof(*set->list));
    if (!set->list)
        return false;
    set->count = count;
    for (uint32_t i = 0; i < count; i++) {
        set->list[i].sums = calloc(SIM_BUCKETS_MAX, sizeof(*set->list[i].sums));
        if (!set->list[i].sums)
            return false;
    }
    return true;
}

void sim_series_fini(struct sim_series_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        free(set->list[i].sums);
    free(set->list);
    *set = (struct sim_series_set){ 0 };
}

static void widen(struct sim_series_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        __int128 *sums = set->list[i].sums;

        for (uint32_t b = 0; b < SIM_BUCKETS_MAX / 2; b++)
            sums[b] = sums[2 * b] + sums[2 * b + 1];
        memset(sums + SIM_BUCKETS_MAX / 2, 0, SIM_BUCKETS_MAX / 2 * sizeof(*sums));
    }
    set->width_ms *= 2;
    set->buckets = (set->buckets + 1) / 2;
}

/* Credit the value to the buckets from `since_ms` to now. */
static void settle(struct sim_series_set *set, struct sim_series *series, int64_t now_ms)
{
    int64_t at = series->since_ms;

    if (now_ms <= at)
        return;
    while ((now_ms - 1) / set->width_ms >= (int64_t)SIM_BUCKETS_MAX)
        widen(set);
    set->buckets = MAX(set->buckets, (uint32_t)((now_ms - 1) / set->width_ms) + 1);
    while (series->value && at < now_ms) {
        int64_t bucket = at / set->width_ms, end = MIN((bucket + 1) * set->width_ms, now_ms);

        series->sums[bucket] += (__int128)series->value * (end - at);
        at = end;
    }
    series->since_ms = now_ms;
}

void sim_series_add(struct sim_series_set *set, uint32_t index, int64_t now_ms, int64_t change)
{
    settle(set, &set->list[index], now_ms);
    set->list[index].value += change;
}

void sim_series_set(struct sim_series_set *set, uint32_t index, int64_t now_ms, int64_t value)
{
    if (set->list[index].value == value)
        return;
    settle(set, &set->list[index], now_ms);
    set->list[index].value = value;
}

void sim_series_close(struct sim_series_set *set, int64_t end_ms)
{
    for (uint32_t i = 0; i < set->count; i++)
        settle(set, &set->list[i], end_ms);
}

__int128 sim_series_sum(const struct sim_series_set *set, uint32_t index)
{
    __int128 sum = 0;

    for (uint32_t b = 0; b < SIM_BUCKETS_MAX; b++)
        sum += set->list[index].sums[b];
    return sum;
}

double sim_series_mean(const struct sim_series_set *set, uint32_t index, uint32_t bucket,
                       int64_t end_ms)
{
    int64_t from = (int64_t)bucket * set->width_ms, to = MIN(from + set->width_ms, end_ms);

    return to > from ? (double)set->list[index].sums[bucket] / (double)(to - from) : 0;
}
