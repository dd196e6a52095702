/* clock.h - the clocks of the edges. The core reads none: its events carry the time. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void); /* Unix time, milliseconds */
int64_t clock_mono_ms(void); /* never steps back; only differences mean something */
int64_t clock_mono_us(void);
int64_t clock_boot_ms(void); /* as clock_mono_ms, but it goes on while the machine sleeps */

/* A wall clock that nobody steps. What is counted from one moment to another (usage, leases) must
 * not jump because somebody set the clock: it goes on as time passes, and comes up with the wall
 * clock by going faster or slower by no more than STEADY_SLEW of the time that passes. */
#define STEADY_SLEW 100 /* one hundredth */
struct steady_clock {
    int64_t ours_ms, boot_ms;
    int64_t credit_ms; /* of time that passed and was not used to come nearer */
};
/* It stands at `ours_ms`, at `boot_ms` of clock_boot_ms. */
void steady_clock_init(struct steady_clock *clock, int64_t ours_ms, int64_t boot_ms);
/* What it shows at `boot_ms`, when the wall clock shows `wall_ms`. Never less than before. */
int64_t steady_clock_read(struct steady_clock *clock, int64_t wall_ms, int64_t boot_ms);
