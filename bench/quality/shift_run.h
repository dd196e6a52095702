/* shift_run.h - runs a set of flexible jobs over one series with src/sched's forecast and shift,
 * as a scheduling pass would, and beside it not waiting, and the oracle that knows the series. */
#pragma once

#include "grid_data.h"
#include "sched/forecast.h"
#include "sched/shift.h"

struct shift_set { /* jobs that share a question; sorted by submit_ms, inside the series */
    const struct grid_job *jobs;
    uint32_t jobs_count;
    bool is_interruptible;
    /* The peer: the given forecast (without one, seven days' mean with the present deviation
     * decaying by 0.95 an hour) taken as sure, and replanned at each step. */
    bool is_peer;
    /* Answers, in sums over jobs of value x hours run: */
    double at_once, ours, oracle;
    uint32_t missed;
};
#define SHIFT_SETS_MAX 16u

/* Run each set over the series. The forecast's error is `error_sd` (below zero: none is given). */
int shift_run(const struct grid_series *series, double error_sd, uint64_t error_seed,
              struct shift_set *sets, uint32_t sets_count);

/* What was saved, in per cent of what the oracle saves; NAN when there is nothing to save. */
double shift_share(const struct shift_set *set);
/* What the oracle saves, in per cent of not waiting. */
double shift_room(const struct shift_set *set);
