/* assign.h - which jobs run on which kind of chip: the most weight under each kind's capacity.
 *
 * A job asks for `gang` devices of one kind; weights say what its running there is worth. Kept
 * incumbents and a greedy start, then exchange cycles of positive gain over {kinds, nowhere}
 * until there is none. With gangs of one device that is the exact maximum (it is a transport
 * problem, and the best job per ordered pair of kinds is all its residual graph needs). With
 * larger gangs an arc of the graph is the best package of jobs that fills a gang's devices (a
 * knapsack solved exactly up to ASSIGN_UNIT_MAX devices; larger gangs are placed by the greedy
 * start alone): no cycle of such packages gains, which is a local optimum.
 *
 * Sharing, when asked: two jobs of like gang on the same devices, each at the share of its rate
 * that the table tells, taken by best gain after what the freed devices are worth, and taken
 * apart again when that gains; greedy, never exact.
 *
 * Weights of many jobs (assign_weight): how good the kind is for the job, a little more for who
 * had little and for who came long ago. The exponents are small on purpose: where most jobs run
 * at once, WHICH kind each gets matters more than who goes first (measured on the public
 * workloads of Gavel, OSDI'20; docs/quality/gavel.md). Age grows without bound, so nobody waits
 * for ever beside work that comes and goes.
 *
 * Pure and deterministic: ties go by id in the start, then by the order given. Cost: O(J K log(J
 * K)) to start, then a step (cycle) is O(J K + K^3) and with gangs also K^2 U^2 for packages of U
 * devices, at most `steps_max` steps; sharing adds O(J^2) per sweep, at most `sweeps_max`. Kept
 * incumbents make steps few: 0.85 a round on Gavel's workloads (16.7 without). Hand in of like
 * waiting jobs only the first that could all fit, and J stays near what the capacity holds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ASSIGN_NONE UINT32_MAX
#define ASSIGN_KINDS_MAX 63u /* kinds of chip, or of (site, chip) */
#define ASSIGN_UNIT_MAX 64u  /* largest gang that exchanges are found for */

struct assign_params {
    double rate_exponent; /* of rate here / rate on the best kind */
    double done_exponent; /* of 1 / (1 h + work done, hours on the best kind) */
    double age_exponent;  /* of 1 h + time since submit */
    double gang_exponent; /* of the gang's devices: 1 = devices count alike */
    double left_exponent; /* of the work left, hours: batches only */
    double stay;          /* an incumbent's weight where it is grows by this share: hysteresis */
    double gain_min;      /* share of the largest weight below which nothing moves */
    uint32_t steps_max, sweeps_max;
};
struct assign_params assign_params_default(void);

/* What a job is worth on one kind. `rate_share` in (0, 1]; 0 = cannot run there. */
double assign_weight(const struct assign_params *params, double rate_share, double done_hours,
                     double age_hours, uint32_t gang);
/* The same for a batch whose last end counts (objective makespan): work left, in hours on its
 * best kind; must be known. The most device-hours left come first, where they are done best. */
double assign_weight_batch(const struct assign_params *params, double rate_share, double left_hours,
                           uint32_t gang);

struct assign_job {
    uint64_t id;
    uint32_t gang; /* devices, >= 1 */
    uint32_t work; /* row in the sharing table; 0 without one */
    uint32_t held; /* kind it runs on now; ASSIGN_NONE */
    uint32_t mate; /* index of the job it shares with now; ASSIGN_NONE */
};

/* share[(kind * works_count + a) * works_count + b]: rate of work `a` beside `b` over its rate
 * alone; 0 = cannot run together. */
struct assign_sharing {
    const float *share;
    uint32_t works_count;
};

struct assign_problem { /* all borrowed */
    const struct assign_job *jobs;
    const double *weights;                /* jobs_count x kinds_count; <= 0: never there; finite */
    const uint32_t *capacity;             /* devices per kind */
    const struct assign_sharing *sharing; /* NULL = none */
    uint32_t jobs_count, kinds_count;
};

struct assign_slot {
    uint32_t kind; /* ASSIGN_NONE = does not run */
    uint32_t mate; /* index of the job on the same devices; ASSIGN_NONE = alone */
};

struct assign_result {
    double value; /* sum of weights as given, without `stay` */
    uint32_t steps, pairs;
    bool is_settled; /* no ceiling was hit: the promise above holds */
};

struct assign; /* scratch; reuse it */
struct assign *assign_create(void);
void assign_destroy(struct assign *assign);

/* Answers jobs_count slots into `out`. */
struct assign_result assign_solve(struct assign *assign, const struct assign_params *params,
                                  const struct assign_problem *problem, struct assign_slot *out);
