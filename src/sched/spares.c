#include "sched/spares.h"

#include "base/cleanup.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#define DAY_MS (24 * 3600 * 1000.0)
#define SUPPORT_MAX (4 * SPARES_COUNT_MAX) /* nodes in repair that are looked at */

struct spares_params spares_params_default(void)
{
    return (struct spares_params){
        .prior_failures = 2,
        .prior_node_ms = (int64_t)500 * 24 * 3600 * 1000,
        .window_node_ms = (int64_t)100000 * 24 * 3600 * 1000,
        .stall_ms = 30 * 1000,
        .restart_ms = 300 * 1000,
        .repair_ms = (int64_t)24 * 3600 * 1000,
        .prior_samples = 2,
        .interval_ms_min = 10 * 1000,
        .interval_ms_max = (int64_t)24 * 3600 * 1000,
        .spares_max = SPARES_COUNT_MAX,
        .spare_cost_milli = 250,
    };
}

static int64_t node_time(uint32_t nodes, int64_t elapsed_ms, int64_t window_ms)
{
    if (nodes == 0)
        return 0;
    /* A stretch longer than the window says no more than the window. */
    return elapsed_ms > window_ms / nodes ? window_ms : elapsed_ms * nodes;
}

void spares_note_lived(const struct spares_params *params, struct spares_nodes *seen, uint32_t well,
                       uint32_t in_repair, int64_t elapsed_ms)
{
    int64_t window_ms = params->window_node_ms;

    if (elapsed_ms <= 0)
        return;
    seen->node_ms += node_time(well, elapsed_ms, window_ms);
    seen->repair_ms += node_time(in_repair, elapsed_ms, window_ms);
    while (seen->node_ms > window_ms || seen->repair_ms > window_ms) {
        seen->node_ms /= 2;
        seen->failures = (seen->failures + 1) / 2;
        seen->repair_ms /= 2;
        seen->repairs = (seen->repairs + 1) / 2;
    }
}

void spares_note_failures(struct spares_nodes *seen, uint32_t count)
{
    seen->failures += count;
}

void spares_note_repairs(struct spares_nodes *seen, uint32_t count)
{
    seen->repairs += count;
}

void spares_note_time(struct spares_mean *mean, int64_t took_ms)
{
    if (took_ms < 0 || took_ms > INT64_MAX / 2 / SPARES_SAMPLES_MAX)
        return;
    if (mean->count == SPARES_SAMPLES_MAX) {
        mean->count /= 2;
        mean->sum_ms /= 2;
    }
    mean->sum_ms += took_ms;
    mean->count++;
}

static double mean_of(const struct spares_params *params, const struct spares_mean *mean,
                      int64_t prior_ms)
{
    double samples = MAX(params->prior_samples, 1u);

    return (samples * (double)prior_ms + (double)mean->sum_ms) / (samples + mean->count);
}

/* e^x - 1 for 0 <= x <= 30, by its series: the C library's differs between machines. */
static double exp_less_one(double x)
{
    double term = x, sum = x;

    for (int k = 2; k < 200 && term > sum * 1e-17; k++) {
        term *= x / k;
        sum += term;
    }
    return sum;
}

double spares_best_interval(double mtbf_ms, double stall_ms)
{
    double root;

    if (stall_ms <= 0)
        return 0;
    if (stall_ms >= 2 * mtbf_ms)
        return mtbf_ms;
    root = sqrt(stall_ms / (2 * mtbf_ms));
    return sqrt(2 * stall_ms * mtbf_ms) * (1 + root / 3 + root * root / 9) - stall_ms;
}

/* Exponential failures, in restarts too: an interval with its save takes (M + R)(e^((t+d)/M) - 1)
 * on average. */
double spares_goodput(double mtbf_ms, double interval_ms, double stall_ms, double restart_ms)
{
    double span = (interval_ms + stall_ms) / mtbf_ms;

    if (interval_ms <= 0)
        return stall_ms <= 0 ? 1 / (1 + restart_ms / mtbf_ms) : 0;
    if (span > 30)
        return 0;
    return interval_ms / ((mtbf_ms + restart_ms) * exp_less_one(span));
}

struct repair_load {     /* how many nodes are in repair: a negative binomial */
    double shape, share; /* of the Gamma; P(k + 1) / P(k) for large k */
};

static void put_weight(double *above, uint32_t count_max, uint32_t k, double weight)
{
    if (k > 0)
        above[MIN(k - 1, count_max)] += weight;
}

/* above[s] = P(more than s in repair), s up to count_max. From the mode outwards, so that nothing
 * underflows. False: more are in repair than can be looked at. */
static bool fill_above(const struct repair_load *load, uint32_t count_max, double *above)
{
    static const double tiny = 1e-18;
    double mode = (load->shape - 1) * load->share / (1 - load->share), weight = 1, total = 1;
    uint32_t from;

    if (!(mode < SUPPORT_MAX / 2.0))
        return false;
    from = mode > 0 ? (uint32_t)mode : 0;
    for (uint32_t s = 0; s <= count_max; s++)
        above[s] = 0;
    put_weight(above, count_max, from, 1);
    for (uint32_t k = from; k > 0 && weight > tiny; k--) {
        weight *= k / ((load->shape + k - 1) * load->share);
        total += weight;
        put_weight(above, count_max, k - 1, weight);
    }
    weight = 1;
    for (uint32_t k = from; k < SUPPORT_MAX && weight > tiny; k++) {
        weight *= (load->shape + k) / (k + 1) * load->share;
        total += weight;
        put_weight(above, count_max, k + 1, weight);
    }
    for (uint32_t s = count_max; s > 0; s--)
        above[s - 1] += above[s];
    for (uint32_t s = 0; s <= count_max; s++)
        above[s] /= total;
    return true;
}

struct spares_pool {           /* what is known of the nodes */
    double shape, lived_ms;    /* of the failure rate: Gamma */
    double repairs, repair_ms; /* of the repair rate: Gamma */
};

/* Where node time lost to waiting and the cost of spares together are least; not the first place
 * where one more does not pay, since the first ones help nobody where many are in repair. Spares
 * fail as well, so the load is taken with those of the round before. */
static uint32_t choose_spares(const struct spares_params *params, const struct spares_pool *pool,
                              uint32_t nodes, double *shortage_out)
{
    uint32_t count_max = MIN(params->spares_max, SPARES_COUNT_MAX), spares = 0;
    double above[SPARES_COUNT_MAX + 1], cost = params->spare_cost_milli / 1000.0;
    double each = pool->shape / pool->lived_ms * (pool->repair_ms / pool->repairs);
    double shape = 1 / (1 / pool->shape + 1 / pool->repairs); /* squared spreads add */

    *shortage_out = 0;
    for (int round = 0; round < 3 && each > 0; round++) {
        double load = ((double)nodes + spares) * each;

        if (!fill_above(&(struct repair_load){ shape, load / (shape + load) }, count_max, above)) {
            *shortage_out = 1; /* no number of spares helps */
            return 0;
        }
        spares = 0;
        for (uint32_t s = 1; s <= count_max; s++) {
            if (nodes * (above[spares] - above[s]) > cost * (s - spares))
                spares = s;
        }
        *shortage_out = above[spares];
    }
    return spares;
}

struct spares_plan spares_plan_gang(const struct spares_params *params,
                                    const struct spares_nodes *seen, const struct spares_work *work,
                                    uint32_t nodes)
{
    double samples = MAX(params->prior_samples, 1u);
    struct spares_pool pool = {
        .shape = (double)params->prior_failures + (double)seen->failures,
        .lived_ms = (double)params->prior_node_ms + (double)seen->node_ms,
        .repairs = samples + (double)seen->repairs,
        .repair_ms = samples * (double)params->repair_ms + (double)seen->repair_ms,
    };
    double stall_ms = mean_of(params, &work->stall, params->stall_ms);
    double restart_ms = mean_of(params, &work->restart, params->restart_ms), interval;
    struct spares_plan plan = { 0 };

    assert(nodes > 0 && params->prior_failures > 0 && params->prior_node_ms > 0);
    plan.failures_per_1000_node_days = pool.shape / pool.lived_ms * DAY_MS * 1000;
    plan.mtbf_ms = pool.lived_ms / pool.shape / nodes;
    interval = spares_best_interval(plan.mtbf_ms, stall_ms);
    interval = MAX(interval, (double)params->interval_ms_min);
    interval = MIN(interval, (double)params->interval_ms_max);
    plan.interval_ms = (int64_t)interval;
    plan.spares = choose_spares(params, &pool, nodes, &plan.shortage_share);
    plan.goodput = spares_goodput(plan.mtbf_ms, (double)plan.interval_ms, stall_ms, restart_ms) *
                   (1 - plan.shortage_share);
    return plan;
}
