/* spares.h - how a long gang lives with failures: how often it should save, how many spare nodes
 * stand by, and the share of its time that becomes lasting work.
 *
 * Nobody tells the failure rate: it is learned. A rate has a Gamma prior (`prior_failures` seen in
 * `prior_node_ms`), each failure and each node-millisecond lived moves it, and what is older than
 * a window fades, so that a fleet that gets better or worse is followed. Stall of a save, restart
 * and repair are means of what was measured, begun from a stated guess.
 *
 * - Interval: the work between two saves that makes lasting work / wall time greatest under
 *   exponential failures (J. Young 1974; J. Daly 2006, the higher-order form).
 * - Spares: nodes in repair are Poisson whatever the repair times look like (Palm's theorem), and
 *   negative binomial when the load is only known as a Gamma, whose spread is that of the failure
 *   rate and of the repair time together. The number is where node time lost to
 *   waiting and the cost of the spares together are least.
 *
 * Pure: learned state is in structs the caller keeps (per kind of node, per job); all of it is
 * integers. Answers use only + - * / and sqrt, so they are the same bits everywhere. A plan costs
 * a few thousand multiplications at most: make one when a failure, a repair or an hour has passed,
 * not in each pass. */
#pragma once

#include <stdint.h>

#define SPARES_COUNT_MAX 1024u        /* spares of one gang */
#define SPARES_SAMPLES_MAX (1u << 20) /* of a mean: then both halves fade */

struct spares_params {
    uint32_t prior_failures;                 /* the Gamma's shape before anything is seen; >= 1 */
    int64_t prior_node_ms;                   /* and in how much node time; >= 1 */
    int64_t window_node_ms;                  /* lived beyond this, what was seen is halved */
    int64_t stall_ms, restart_ms, repair_ms; /* means before anything is measured */
    uint32_t prior_samples;                  /* and how many measurements each of them weighs */
    int64_t interval_ms_min, interval_ms_max;
    uint32_t spares_max;       /* <= SPARES_COUNT_MAX */
    uint32_t spare_cost_milli; /* a spare's cost in 1/1000 of a node: it serves preemptible work */
};
/* 4 failures per 1,000 node-days, weighing two failures (published fleets: 2.3 to 6.5); stall 30 s,
 * restart 5 min, repair 24 h, weighing two measurements each. */
struct spares_params spares_params_default(void);

struct spares_mean {
    int64_t sum_ms;
    uint32_t count;
};
struct spares_nodes {           /* of a pool of like nodes; zeroes: nothing seen yet */
    uint64_t failures, repairs; /* repairs that ended */
    int64_t node_ms, repair_ms; /* node time well, and node time in repair */
};
struct spares_work { /* of a job; zeroes: nothing seen yet */
    struct spares_mean stall, restart;
};

/* `elapsed_ms` went by with `well` nodes at work or ready and `in_repair` not. <= 0: nothing. The
 * repairs that still go on count with the time they took so far: else the first ones to end, which
 * are the short ones, would make repair look quick. */
void spares_note_lived(const struct spares_params *params, struct spares_nodes *seen, uint32_t well,
                       uint32_t in_repair, int64_t elapsed_ms);
void spares_note_failures(struct spares_nodes *seen, uint32_t count);
void spares_note_repairs(struct spares_nodes *seen, uint32_t count);
/* One measurement of a save's stall or of a restart (failure to first step). Negative: left out. */
void spares_note_time(struct spares_mean *mean, int64_t took_ms);

struct spares_plan {
    int64_t interval_ms; /* of work between two saves */
    uint32_t spares;
    double failures_per_1000_node_days;
    double mtbf_ms;        /* of the gang */
    double goodput;        /* lasting work / wall time, as expected with this interval and spares */
    double shortage_share; /* of the time: more nodes in repair than spares; inside goodput */
};
/* nodes: of the gang, >= 1 (asserted). */
struct spares_plan spares_plan_gang(const struct spares_params *params,
                                    const struct spares_nodes *seen, const struct spares_work *work,
                                    uint32_t nodes);

/* The interval that is best for a known rate, and the share of time it leaves. mtbf_ms > 0. */
double spares_best_interval(double mtbf_ms, double stall_ms);
double spares_goodput(double mtbf_ms, double interval_ms, double stall_ms, double restart_ms);
