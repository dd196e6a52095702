#include "store/pace.h"

#include "base/cleanup.h"

#define MICRO 1000000LL

struct pace pace_init(int64_t rate_bytes, int64_t burst_bytes, int64_t now_us)
{
    struct pace pace = {
        .rate_bytes = MIN(MAX(rate_bytes, 0), PACE_RATE_MAX),
        .burst_bytes = MIN(MAX(burst_bytes, 1), PACE_BURST_MAX),
        .at_us = now_us,
    };

    pace.level_micro = pace.burst_bytes * MICRO;
    return pace;
}

static void fill(struct pace *pace, int64_t now_us)
{
    int64_t full = pace->burst_bytes * MICRO;
    int64_t room = full - pace->level_micro;
    int64_t passed;

    if (now_us <= pace->at_us || pace->rate_bytes == 0)
        return;
    if (__builtin_sub_overflow(now_us, pace->at_us, &passed))
        passed = INT64_MAX;
    pace->at_us = now_us;
    /* Bytes a second are millionths of a byte a microsecond. */
    if (passed >= room / pace->rate_bytes + 1)
        pace->level_micro = full;
    else
        pace->level_micro = MIN(full, pace->level_micro + passed * pace->rate_bytes);
}

int64_t pace_take(struct pace *pace, int64_t now_us, int64_t want)
{
    int64_t there;

    if (want <= 0)
        return 0;
    if (pace->rate_bytes == 0)
        return want;
    fill(pace, now_us);
    there = MAX(pace->level_micro, 0) / MICRO;
    there = MIN(there, want);
    pace->level_micro -= there * MICRO;
    return there;
}

void pace_spend(struct pace *pace, int64_t now_us, int64_t bytes)
{
    if (bytes <= 0 || pace->rate_bytes == 0)
        return;
    fill(pace, now_us);
    bytes = MIN(bytes, PACE_BURST_MAX);
    pace->level_micro = MAX(pace->level_micro - bytes * MICRO, -PACE_BURST_MAX * MICRO);
}

int64_t pace_wait_us(struct pace *pace, int64_t now_us, int64_t want)
{
    int64_t short_micro;

    if (want <= 0 || pace->rate_bytes == 0)
        return 0;
    fill(pace, now_us);
    short_micro = MIN(want, pace->burst_bytes) * MICRO - pace->level_micro;
    return short_micro <= 0 ? 0 : (short_micro + pace->rate_bytes - 1) / pace->rate_bytes;
}
