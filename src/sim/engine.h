/* engine.h - the simulated shell around the very grid that the controller runs: a made-up clock,
 * sites that do what they are told, users that submit and cancel as a load says, and what breaks.
 *
 * The engine draws events in the order of time, steps the grid, and turns its effects into later
 * events: an attempt ends after its run time, at the pace of the chip it got. Nothing is read from
 * a clock; all draws come from the seed. */
#pragma once

#include "sim/faults.h"
#include "sim/load.h"
#include "sim/policy.h"
#include "sim/result.h"

/* Now and then, with jobs that have ended; a false answer stops the run (-ECANCELED). */
typedef bool (*sim_progress_fn)(void *context, uint64_t ended, uint64_t jobs, int64_t now_ms);

struct sim_setup {
    const struct sim_fleet *fleet;
    const struct sim_load *load;
    const struct sim_faults *faults;
    const struct sim_policy *policy;
    const struct catalogue *catalogue;
    uint64_t seed;
    int64_t until_ms; /* stop there; 0 = when all is done */
    /* Waits and times from submit to end are of these jobs alone, in the order of their submits,
     * from 0 and both counted in; measure_to 0 = of all. */
    uint32_t measure_from, measure_to;
    uint64_t check_every; /* all invariants of the grid after every so many steps; 0 = never */
    sim_progress_fn progress;
    void *context;
    const uint64_t *stories; /* of these jobs (sim_job.id) it is told what they waited for */
    uint32_t stories_count;  /* up to SIM_STORIES_MAX */
};

/* -EINVAL: a site the grid refuses, or a broken invariant; -ENOENT: no such job to tell of;
 * -ENOMEM; -ECANCELED. */
int sim_run(const struct sim_setup *setup, struct sim_result *result_out, struct err *err);
