#include "sched/assign_internal.h"

#include <string.h>

#define PAIRS_PER_SWEEP 4u /* then the prices of devices are taken anew */

bool assign_shares(const struct assign *assign, uint32_t kind, uint32_t x, uint32_t y,
                   double *x_out, double *y_out)
{
    const struct assign_sharing *sharing = assign->problem->sharing;
    const struct assign_job *jobs = assign->problem->jobs;
    size_t base = (size_t)kind * sharing->works_count, count = sharing->works_count;

    *x_out = sharing->share[(base + jobs[x].work) * count + jobs[y].work];
    *y_out = sharing->share[(base + jobs[y].work) * count + jobs[x].work];
    return *x_out > 0 && *y_out > 0;
}

bool assign_share_keep(struct assign *assign, uint32_t job)
{
    const struct assign_job *jobs = assign->problem->jobs;
    uint32_t mate = jobs[job].mate, kind = jobs[job].held;
    double x, y;

    if (!assign->problem->sharing || mate >= assign->problem->jobs_count || mate == job ||
        kind >= assign->nodes - 1 || jobs[mate].mate != job || jobs[mate].held != kind ||
        jobs[mate].gang != jobs[job].gang || assign->free[kind] < jobs[job].gang)
        return false;
    if (!(assign_worth(assign, job, kind) > 0 && assign_worth(assign, mate, kind) > 0) ||
        !assign_shares(assign, kind, job, mate, &x, &y))
        return false;
    assign_move(assign, job, kind);
    assign->place[mate] = kind; /* on the same devices */
    assign->mate[job] = mate;
    assign->mate[mate] = job;
    return true;
}

/* What a device more of each kind would bring (the best chain of moves that ends there), and
 * what one less would cost. */
static void set_prices(struct assign *assign)
{
    uint32_t nodes = assign->nodes, nowhere = nodes - 1, unit = assign->sizes[0];

    assign_stale(assign);
    assign_refresh(assign, unit);
    for (uint32_t i = 0; i < nodes; i++) {
        assign->give[i] = 0;
        assign->take[i] = i == nowhere ? 0 : INFINITY;
    }
    for (uint32_t round = 0; round < nodes; round++)
        for (uint32_t i = 0; i < nodes; i++)
            for (uint32_t j = 0; j < nodes; j++) {
                double gain = assign->arcs[i * nodes + j].gain;

                if (j != nowhere)
                    assign->give[j] = fmax(assign->give[j], assign->give[i] + gain);
                if (i != nowhere && gain > ASSIGN_NEVER)
                    assign->take[i] = fmin(assign->take[i], assign->take[j] - gain);
            }
    for (uint32_t k = 0; k < nowhere; k++) {
        assign->give[k] /= unit;
        assign->take[k] = fmax(assign->take[k], 0) / unit;
    }
}

/* x joins y on y's devices and leaves its own. */
static double pair_gain(const struct assign *assign, uint32_t x, uint32_t y)
{
    uint32_t kind = assign->place[y], own = assign->place[x];
    uint32_t gang = assign->problem->jobs[x].gang;
    double x_share, y_share;

    if (x == y || gang != assign->problem->jobs[y].gang || !(assign_worth(assign, x, kind) > 0) ||
        !assign_shares(assign, kind, x, y, &x_share, &y_share))
        return ASSIGN_NEVER;
    return assign_worth(assign, x, kind) * x_share + assign_worth(assign, y, kind) * (y_share - 1) -
           assign_worth(assign, x, own) + assign->give[own] * gang;
}

static void find_partner(struct assign *assign, uint32_t x)
{
    assign->gain[x] = assign->least;
    assign->partner[x] = ASSIGN_NONE;
    if (assign->mate[x] != ASSIGN_NONE)
        return;
    for (uint32_t y = 0; y < assign->problem->jobs_count; y++) {
        double gain;

        if (assign->place[y] == assign->nodes - 1 || assign->mate[y] != ASSIGN_NONE)
            continue;
        gain = pair_gain(assign, x, y);
        if (gain > assign->gain[x]) {
            assign->gain[x] = gain;
            assign->partner[x] = y;
        }
    }
}

static uint32_t pair_some(struct assign *assign)
{
    uint32_t jobs = assign->problem->jobs_count, pairs = 0;

    for (uint32_t x = 0; x < jobs; x++)
        find_partner(assign, x);
    for (; pairs < PAIRS_PER_SWEEP; pairs++) {
        uint32_t best = ASSIGN_NONE, y;

        for (uint32_t x = 0; x < jobs; x++)
            if (assign->partner[x] != ASSIGN_NONE &&
                (best == ASSIGN_NONE || assign->gain[x] > assign->gain[best]))
                best = x;
        if (best == ASSIGN_NONE)
            break;
        y = assign->partner[best];
        assign_move(assign, best, assign->nodes - 1);
        assign->place[best] = assign->place[y];
        assign->mate[best] = y;
        assign->mate[y] = best;
        for (uint32_t x = 0; x < jobs; x++)
            if (x == best || x == y || assign->partner[x] == best || assign->partner[x] == y)
                find_partner(assign, x);
    }
    return pairs;
}

/* What x would bring elsewhere, after the cost of the devices it takes. */
static double worth_elsewhere(const struct assign *assign, uint32_t x)
{
    double best = 0;

    for (uint32_t k = 0; k + 1 < assign->nodes; k++)
        best = fmax(best,
                    assign_worth(assign, x, k) - assign->take[k] * assign->problem->jobs[x].gang);
    return best;
}

static uint32_t part_some(struct assign *assign)
{
    uint32_t parted = 0;

    for (uint32_t x = 0; x < assign->problem->jobs_count && parted < PAIRS_PER_SWEEP; x++) {
        uint32_t y = assign->mate[x], kind = assign->place[x];
        double x_share, y_share, gain;

        if (y == ASSIGN_NONE)
            continue;
        assign_shares(assign, kind, x, y, &x_share, &y_share);
        gain = worth_elsewhere(assign, x) - assign_worth(assign, x, kind) * x_share +
               assign_worth(assign, y, kind) * (1 - y_share);
        if (!(gain > assign->least))
            continue;
        assign->mate[x] = assign->mate[y] = ASSIGN_NONE;
        assign->place[x] = assign->nodes - 1; /* y keeps the devices */
        parted++;
    }
    return parted;
}

static double total(const struct assign *assign)
{
    double sum = 0;

    for (uint32_t j = 0; j < assign->problem->jobs_count; j++) {
        double share = 1, other;

        if (assign->mate[j] != ASSIGN_NONE)
            assign_shares(assign, assign->place[j], j, assign->mate[j], &share, &other);
        sum += assign_worth(assign, j, assign->place[j]) * share;
    }
    return sum;
}

void assign_share(struct assign *assign)
{
    size_t bytes = assign->problem->jobs_count * sizeof(assign->place[0]);
    double best = total(assign);

    if (!assign->sizes_count)
        return;
    memcpy(assign->kept_place, assign->place, bytes);
    memcpy(assign->kept_mate, assign->mate, bytes);
    for (uint32_t sweep = 0; sweep < assign->params->sweeps_max; sweep++) {
        uint32_t changed;
        double now;

        set_prices(assign);
        changed = part_some(assign);
        if (changed) {
            assign_improve(assign);
            set_prices(assign);
        }
        changed += pair_some(assign);
        if (!changed)
            return;
        assign_improve(assign);
        now = total(assign);
        if (now <= best + assign->least)
            break; /* prices are of the first device, so a sweep may miss: keep what was better */
        best = now;
        memcpy(assign->kept_place, assign->place, bytes);
        memcpy(assign->kept_mate, assign->mate, bytes);
    }
    memcpy(assign->place, assign->kept_place, bytes);
    memcpy(assign->mate, assign->kept_mate, bytes);
}
