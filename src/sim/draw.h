/* draw.h - how full a fleet gets: jobs drawn from a list until they ask for so much of it.
 *
 * The recipe of Weng et al. (FGD, USENIX ATC 2023): all jobs of the list in shuffled order, then
 * more drawn from it with replacement, until the next would take the devices asked for past so many
 * percent of those there are. None ever ends: what is held at the end is what placing is worth. */
#pragma once

#include "sim/load.h"

#define SIM_DRAW_MAX 1000000u /* jobs */
#define SIM_DRAW_PERCENT_MAX 1000
#define SIM_DRAW_GAP_MS 1000 /* between arrivals */

/* Which of `count` entries come, in order, where each asks for `milli[i]`: as many as fit under
 * `ceiling`, at most SIM_DRAW_MAX. `*out` is the caller's to free. -EINVAL: none, or all of them
 * ask for nothing; -E2BIG: more would be needed; -ENOMEM. */
int sim_draw(const uint64_t *milli, uint32_t count, uint64_t ceiling, uint64_t seed, uint32_t **out,
             uint32_t *out_count);
/* Make the load one of arrivals drawn from it, for a fleet of so many devices. Jobs arrive
 * SIM_DRAW_GAP_MS apart and run for as long as a job may; deadlines and cancels are left out. */
int sim_load_draw(struct sim_load *load, uint64_t devices, uint32_t percent, uint64_t seed,
                  struct err *err);
