/* pace.h - a token bucket: how much a link may carry now. Pure: the caller brings the time.
 *
 * Integers only; time that goes back counts as none. One pace a link and direction, shared by all
 * transfers over it; belongs to one thread. */
#pragma once

#include <stdint.h>

#define PACE_RATE_MAX 1000000000000LL /* bytes per second */
#define PACE_BURST_MAX 1000000000000LL

struct pace {
    int64_t rate_bytes; /* per second; 0 = without limit */
    int64_t burst_bytes;
    int64_t level_micro; /* what is in the bucket, in millionths of a byte; below 0 after a debt */
    int64_t at_us;
};

/* A full bucket at `now_us`. Rates and bursts are clamped to 0 .. max, a burst to 1 at least. */
struct pace pace_init(int64_t rate_bytes, int64_t burst_bytes, int64_t now_us);
/* Up to `want` bytes may go now: how many; they are taken. */
int64_t pace_take(struct pace *pace, int64_t now_us, int64_t want);
/* `bytes` went in one piece whatever was there (a chunk is not cut): the bucket may go into debt,
 * by PACE_BURST_MAX at most. */
void pace_spend(struct pace *pace, int64_t now_us, int64_t bytes);
/* Microseconds until `want` bytes (clamped to the burst) are there; 0 = now. */
int64_t pace_wait_us(struct pace *pace, int64_t now_us, int64_t want);
