/* load_demo.h - made-up jobs with the marginals of published clusters, so that somebody without a
 * trace can start at once. Sizes and run times come from small tables of quantiles (load_demo.c
 * names their sources), arrivals from a Poisson process that follows the day and the week. */
#pragma once

#include "sim/fleet.h"
#include "sim/load.h"

struct sim_demo {
    uint32_t jobs;      /* how many; 0 = by `days` */
    int64_t days_milli; /* how long they keep coming, in 1/1000 */
    int64_t load_milli; /* offered work beside what the fleet's devices can do, in 1/1000 */
    uint64_t seed;
};

/* "philly", "venus", "seren"; "demo" is philly with runs of at most two days, so that a short load
 * fills what it offers. `jobs` and `days` given: the offered load follows from them; else the
 * missing one is found so that the load is `load_milli`. -EINVAL: an unknown name. */
int sim_load_demo(const char *name, const struct sim_demo *demo, const struct sim_fleet *fleet,
                  const struct catalogue *catalogue, struct sim_load **load_out, struct err *err);
bool sim_load_is_demo(const char *name);
