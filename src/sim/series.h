/* series.h - a value over time, kept as its integral over a bounded number of equal buckets. When
 * time passes the last bucket, buckets are merged in pairs: no run is too long, none takes more
 * memory than another. All series of a set share their buckets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SIM_BUCKETS_MAX 512u /* even */

struct sim_series {
    int64_t value; /* now */
    int64_t since_ms;
    __int128 *sums; /* value x ms in each bucket */
};
struct sim_series_set {
    struct sim_series *list;
    uint32_t count;
    uint32_t buckets; /* in use */
    int64_t width_ms;
};

bool sim_series_init(struct sim_series_set *set, uint32_t count, int64_t width_ms);
void sim_series_fini(struct sim_series_set *set);
/* Times must not go back. */
void sim_series_add(struct sim_series_set *set, uint32_t index, int64_t now_ms, int64_t change);
void sim_series_set(struct sim_series_set *set, uint32_t index, int64_t now_ms, int64_t value);
/* Bring all up to the end. */
void sim_series_close(struct sim_series_set *set, int64_t end_ms);
/* value x ms over all time; the mean in a bucket, times `scale`. After closing. */
__int128 sim_series_sum(const struct sim_series_set *set, uint32_t index);
double sim_series_mean(const struct sim_series_set *set, uint32_t index, uint32_t bucket,
                       int64_t end_ms);
