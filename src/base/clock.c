#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_boot_ms(void)
{
    return read_us(CLOCK_BOOTTIME) / 1000;
}

#define STEADY_CREDIT_MS_MAX 10000

void steady_clock_init(struct steady_clock *clock, int64_t ours_ms, int64_t boot_ms)
{
    *clock = (struct steady_clock){ .ours_ms = ours_ms, .boot_ms = boot_ms };
}

int64_t steady_clock_read(struct steady_clock *clock, int64_t wall_ms, int64_t boot_ms)
{
    int64_t passed = boot_ms > clock->boot_ms ? boot_ms - clock->boot_ms : 0;
    int64_t gap, most;

    clock->boot_ms += passed;
    clock->ours_ms += passed;
    clock->credit_ms += passed;
    gap = wall_ms - clock->ours_ms;
    most = clock->credit_ms / STEADY_SLEW;
    if (gap > most)
        gap = most;
    /* Back no further than it went on just now. */
    if (gap < -most)
        gap = -most;
    if (gap < -passed)
        gap = -passed;
    clock->ours_ms += gap;
    clock->credit_ms -= (gap < 0 ? -gap : gap) * STEADY_SLEW;
    if (clock->credit_ms > STEADY_CREDIT_MS_MAX)
        clock->credit_ms = STEADY_CREDIT_MS_MAX;
    return clock->ours_ms;
}
