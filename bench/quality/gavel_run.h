/* gavel_run.h - one simulator for the rows on Gavel's workloads: rounds of 360 s, jobs of 1 to 8
 * GPUs of one kind, decisions at round ends only. The policy of `mains` is src/sched/assign.h;
 * the peers (FIFO, FIFO by rate, an own LAS) are here. */
#pragma once

#include "gavel_data.h"
#include "sched/assign.h"

enum gavel_policy {
    GAVEL_MAINS,
    GAVEL_BATCH,     /* mains, objective makespan: lengths told */
    GAVEL_FIFO,      /* strict, sticky, V100 before P100 before K80 */
    GAVEL_FIFO_PERF, /* strict, each round anew, each job on its best kind with room */
    GAVEL_LAS        /* alpha-fair (alpha 1) share of an equal split, over assign_solve */
};

struct gavel_setup {
    const struct gavel_rates *rates;
    const struct gavel_list *list;
    enum gavel_policy policy;
    struct assign_params params; /* of GAVEL_MAINS and GAVEL_BATCH */
    bool is_shared;
    double jobs_per_h;       /* 0 = all at 0 */
    double switch_s;         /* lost when work moves or starts again */
    uint32_t jobs, from, to; /* how many arrive; figures are of [from, to) */
};

struct gavel_figures {
    double jct_mean_h, jct_p99_h, jct_max_h;
    double slow_p99, slow_max; /* JCT / alone on the best kind */
    double makespan_h, switches_per_job, pairs_mean, round_us_mean;
    uint32_t unfinished; /* of [from, to) when the run's ceiling of rounds was met */
};

int gavel_run(const struct gavel_setup *setup, struct gavel_figures *figures);
/* Longest job on its best kind, and area at the dearest prices of a grid: hours. */
double gavel_makespan_bound(const struct gavel_rates *rates, const struct gavel_list *list,
                            uint32_t jobs);
