/* supernode - gangs of 8 to 2,048 cards on supernodes of 384, 640 and 8,192: how long they wait
 * when others may be moved to make room, beside best fit without moves.
 *
 * Where a gang goes is src/sched/celltree.h's for both (the tightest domain that holds it); the
 * moves are src/sched/defrag.h's. The queue is the same for both: in order of arrival, past what
 * does not fit. A moved gang stops for 60 s (a checkpoint is made first: no work is lost). */
#include "base/cleanup.h"
#include "base/rng.h"
#include "quality/supernode_run.h"
#include "shown.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define WARM 1000u /* the first ones fill the pool: not counted */

static const struct fleet fleets[] = {
    { "384", { { 4, { 8, 12, 4, 64 } } }, 1 },
    { "640", { { 4, { 8, 16, 5, 40 } } }, 1 },
    { "8192", { { 4, { 8, 16, 64, 4 } } }, 1 },
    { "mixed", { { 4, { 8, 12, 4, 12 } }, { 4, { 8, 16, 5, 8 } }, { 4, { 8, 16, 64, 3 } } }, 3 },
};
/* --- the load --- */

static double draw_normal(struct rng *rng)
{
    double u = 1 - rng_unit(rng), v = rng_unit(rng);

    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Sizes 8 .. 2,048 in steps of 8, log-uniform; lengths lognormal, median 1 h, sigma 1.2, 5 min ..
 * 48 h; arrivals Poisson. 7 of 10 that a supernode can hold must be within one. */
static void draw_gangs(struct gang *gangs, const struct fleet *fleet, double load, uint64_t seed)
{
    struct rng rng = { seed };
    double work = 0, devices = (double)fleet_devices(fleet), at = 0;
    uint32_t largest = 0;

    for (uint32_t p = 0; p < fleet->pools_count; p++) {
        const uint32_t *counts = fleet->shapes[p].counts;

        largest = MAX(largest, counts[0] * counts[1] * counts[2]);
    }
    for (uint32_t g = 0; g < GANGS; g++) {
        uint32_t size = (uint32_t)(8 * exp(rng_unit(&rng) * log(257))) / 8 * 8;

        size = MIN(size, 2048u);
        gangs[g] = (struct gang){ .ask = { size / 8, 8, SUPERNODE_LEVEL, false } };
        gangs[g].run_ms =
            (int64_t)(MIN(MAX(3600 * exp(1.2 * draw_normal(&rng)), 300.0), 172800.0) * 1000);
        if (rng_unit(&rng) < 0.7 && size <= largest)
            gangs[g].ask.is_hard = gangs[g].is_tied = true;
        work += (double)gangs[g].run_ms * size;
    }
    for (uint32_t g = 0; g < GANGS; g++) {
        at += -log(1 - rng_unit(&rng)) * work / GANGS / devices / load;
        gangs[g].submit_ms = (int64_t)at;
    }
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

struct waits {
    double mean_s, p99_s, p99_hard_s, max_s;
};

static uint32_t gather(const struct gang *gangs, double *all, double *hard, uint32_t *hard_count)
{
    uint32_t count = 0;

    for (uint32_t g = WARM; g < GANGS; g++) {
        all[count++] = (double)(gangs[g].end_ms - gangs[g].submit_ms - gangs[g].run_ms) / 1000;
        if (gangs[g].is_tied)
            hard[(*hard_count)++] = all[count - 1];
    }
    return count;
}

static struct waits weigh(double *all, uint32_t count, double *hard, uint32_t hard_count)
{
    struct waits waits = { 0 };

    qsort(all, count, sizeof(*all), double_compare);
    if (hard_count)
        qsort(hard, hard_count, sizeof(*hard), double_compare);
    for (uint32_t i = 0; i < count; i++)
        waits.mean_s += all[i] / count;
    waits.p99_s = all[(uint32_t)(0.99 * (count - 1))];
    waits.p99_hard_s = !hard_count ? 0 : hard[(uint32_t)(0.99 * (hard_count - 1))];
    waits.max_s = all[count - 1];
    return waits;
}

static void bench(const struct fleet *fleet, double load, uint32_t seeds)
{
    static const enum supernode_way ways[] = { WAY_ARRIVAL, WAY_MAINS, WAY_ARRIVAL, WAY_MOVES };
    struct gang *gangs = calloc(GANGS, sizeof(*gangs));
    double *all = calloc((size_t)GANGS * seeds, sizeof(double));
    double *hard = calloc((size_t)GANGS * seeds, sizeof(double));
    struct run_figures figures[ARRAY_COUNT(ways)] = { 0 };
    struct waits waits[ARRAY_COUNT(ways)];
    const struct run_figures *own = &figures[1];
    char name[64], note[512];

    if (!gangs || !all || !hard)
        abort();
    for (uint32_t m = 0; m < ARRAY_COUNT(ways); m++) {
        uint32_t count = 0, hard_count = 0;

        for (uint64_t seed = 1; seed <= seeds; seed++) {
            draw_gangs(gangs, fleet, load, seed);
            for (uint32_t g = 0; g < GANGS && m == 2; g++)
                gangs[g].ask.is_hard = false;
            supernode_run(fleet, gangs, ways[m], &figures[m]);
            count += gather(gangs, all + count, hard, &hard_count);
        }
        waits[m] = weigh(all, count, hard, hard_count);
    }
    free(gangs);
    free(all);
    free(hard);
    snprintf(name, sizeof(name), "supernode_%s_%.0f", fleet->name, load * 100);
    snprintf(note, sizeof(note),
             "p99 of all gangs; with moves alone: %.0f; best fit were there no supernodes to mind: "
             "%.0f; mean %.0f, best fit %.0f; longest %.0f, best fit %.0f; %u seeds",
             waits[3].p99_s, waits[2].p99_s, waits[1].mean_s, waits[0].mean_s, waits[1].max_s,
             waits[0].max_s, seeds);
    shown_print(&(struct shown){ name, waits[1].p99_s, "s", "<=0.5x", "best fit without moves",
                                 waits[0].p99_s, note });
    snprintf(name, sizeof(name), "supernode_%s_%.0f_hard", fleet->name, load * 100);
    snprintf(note, sizeof(note),
             "p99 of gangs that must be in one supernode; with moves alone: %.0f; of %u gangs %u "
             "were moved and %u stopped, %.3f %% of the work; %.0f us a plan looked for",
             waits[3].p99_hard_s, GANGS * seeds, own->moved, own->stopped,
             own->moved_device_ms / own->busy_device_ms * 100,
             own->tries ? own->plan_us / own->tries : 0);
    shown_print(&(struct shown){ name, waits[1].p99_hard_s, "s", "<=0.5x", "best fit without moves",
                                 waits[0].p99_hard_s, note });
    snprintf(name, sizeof(name), "supernode_%s_%.0f_split", fleet->name, load * 100);
    shown_print(&(struct shown){
        name, figures[0].split_hard + own->split_hard + figures[3].split_hard, "gangs", "<=0", NULL,
        0, "topology-hard gangs ever placed over two supernodes, all ways" });
}

int main(int argc, char **argv)
{
    static const double loads[] = { 0.70, 0.80, 0.90, 0.95 };
    uint32_t seeds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 3;
    uint32_t first = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;

    if (seeds < 1 || seeds > 100) {
        fprintf(stderr, "usage: supernode [SEEDS]\n");
        return 2;
    }
    for (size_t f = first; f < ARRAY_COUNT(fleets); f++)
        for (size_t k = 0; k < ARRAY_COUNT(loads); k++)
            bench(&fleets[f], loads[k], seeds);
    return 0;
}
