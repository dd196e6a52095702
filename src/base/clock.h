/* clock.h - the two clocks of the edges. The core reads none: its events carry the time. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void); /* Unix time, milliseconds */
int64_t clock_mono_ms(void); /* never steps back; only differences mean something */
int64_t clock_mono_us(void);
