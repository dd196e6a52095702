/* across.h - where a gang fits over several sites, when no one of them has room for all of it.
 *
 * Each site holds a part on the one kind of chip that all parts have; the fewest sites that hold it
 * all, the one with the most room first. All or nothing. Only sites whose agents carry connections
 * to the others (site_info.tunnels) take part. */
#pragma once

#include "sched/fit.h"

#define ACROSS_SITES_MAX REQUEST_SITES_MAX

/* The grants, not yet held, of a shape with sites_max > 1: FIT_NOW, or FIT_LIMITED beside what is
 * promised within fleet.window. Gives how many, 2 .. sites_max, most tasks first; 0: it does not
 * fit so, or one site holds it all (fit_find tells where). */
uint32_t across_find(struct shape *shape, const struct fleet *fleet,
                     const struct objective *objective, enum fit_when when, struct fit *fit,
                     struct grant *grants_out[ACROSS_SITES_MAX]);
/* How many of its tasks fit at most at sites_max sites when nothing else runs there. */
uint64_t across_most(struct shape *shape, const struct fleet *fleet,
                     const struct objective *objective);
