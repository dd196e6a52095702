/* supernode - gangs of 8 to 2,048 cards on supernodes of 384, 640 and 8,192: how long they wait
 * when others may be moved to make room, beside best fit without moves.
 *
 * Where a gang goes is src/sched/celltree.h's for both (the tightest domain that holds it); the
 * moves are src/sched/defrag.h's. The queue is the same for both: in order of arrival, past what
 * does not fit. A moved gang stops for 60 s (a checkpoint is made first: no work is lost). */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "sched/defrag.h"
#include "shown.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define GANGS 8000u
#define WARM 1000u /* the first ones fill the pool: not counted */
#define POOLS_MAX 3u
#define MOVE_MS INT64_C(60000)
#define REST_MS INT64_C(1800000) /* nobody is moved twice in this time */

struct fleet {
    const char *name;
    struct cells_shape shapes[POOLS_MAX]; /* node of 8, rack, supernode, pool */
    uint32_t pools_count;
};
static const struct fleet fleets[] = {
    { "384", { { 4, { 8, 12, 4, 64 } } }, 1 },
    { "640", { { 4, { 8, 16, 5, 40 } } }, 1 },
    { "8192", { { 4, { 8, 16, 64, 4 } } }, 1 },
    { "mixed", { { 4, { 8, 12, 4, 12 } }, { 4, { 8, 16, 5, 8 } }, { 4, { 8, 16, 64, 3 } } }, 3 },
};
static const uint32_t supernode_level = 2;

struct gang {
    int64_t submit_ms, run_ms, end_ms, moved_ms;
    int64_t try_ms; /* no plan is looked for before */
    struct cells_ask ask;
    uint32_t job[POOLS_MAX];  /* its handle in each pool */
    uint32_t pool;            /* where it runs */
    uint32_t ends;            /* how often its end was put into the heap */
    bool is_running, is_tied; /* tied: drawn as hard */
};
struct end {
    int64_t at_ms;
    uint32_t gang, version;
};
struct run {
    struct cells *pools[POOLS_MAX];
    const struct fleet *fleet;
    struct gang *gangs;
    uint32_t *queue, queued, next;
    uint32_t *gang_of[POOLS_MAX];
    struct end *ends;
    uint32_t ends_count, ends_cap;
    struct defrag_plan plan;
    struct defrag_params params;
    bool moves;
    uint32_t plans, moved, split_hard, tries;
    double moved_device_ms, busy_device_ms, plan_us;
    int64_t tried_ms;
};

static bool end_before(const struct end *a, const struct end *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->gang < b->gang;
}

static void ends_add(struct run *run, uint32_t gang)
{
    struct end end = { run->gangs[gang].end_ms, gang, ++run->gangs[gang].ends };
    uint32_t at = run->ends_count++;

    if (run->ends_count > run->ends_cap) {
        run->ends_cap = run->ends_cap ? 2 * run->ends_cap : 1024;
        run->ends = realloc(run->ends, run->ends_cap * sizeof(*run->ends));
        if (!run->ends)
            abort();
    }
    for (; at > 0 && end_before(&end, &run->ends[(at - 1) / 2]); at = (at - 1) / 2)
        run->ends[at] = run->ends[(at - 1) / 2];
    run->ends[at] = end;
}

static struct end ends_pop(struct run *run)
{
    struct end top = run->ends[0], last = run->ends[--run->ends_count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < run->ends_count; child = 2 * at + 1) {
        if (child + 1 < run->ends_count && end_before(&run->ends[child + 1], &run->ends[child]))
            child++;
        if (!end_before(&run->ends[child], &last))
            break;
        run->ends[at] = run->ends[child];
        at = child;
    }
    run->ends[at] = last;
    return top;
}

static uint32_t devices_of(const struct cells_ask *ask)
{
    return ask->tasks * ask->task_devices;
}

/* Is a hard gang within one cell of its level? */
static bool is_whole(const struct cells *cells, uint32_t job, uint32_t level)
{
    uint32_t count;
    const struct cells_part *parts = cells_parts(cells, job, &count);
    uint32_t size = cells_tree(cells)->sizes[level];

    for (uint32_t i = 1; i < count; i++)
        if (parts[i].node / size != parts[0].node / size)
            return false;
    return true;
}

static void started(struct run *run, uint32_t g, uint32_t pool, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];

    gang->pool = pool;
    gang->moved_ms = now_ms - REST_MS;
    gang->end_ms = now_ms + gang->run_ms;
    gang->is_running = true;
    run->split_hard +=
        gang->ask.is_hard && !is_whole(run->pools[pool], gang->job[pool], gang->ask.level);
    ends_add(run, g);
}

/* Pools with the smallest supernodes first. */
static bool place(struct run *run, uint32_t g, int64_t now_ms)
{
    for (uint32_t p = 0; p < run->fleet->pools_count; p++)
        if (cells_lend(run->pools[p], run->gangs[g].job[p])) {
            started(run, g, p, now_ms);
            return true;
        }
    return false;
}

static void set_worths(struct run *run, uint32_t pool, int64_t now_ms)
{
    for (uint32_t k = 0; k < run->ends_count; k++) {
        struct gang *gang = &run->gangs[run->ends[k].gang];

        if (!gang->is_running || gang->pool != pool || run->ends[k].version != gang->ends)
            continue;
        cells_set_worth(
            run->pools[pool], gang->job[pool],
            now_ms - gang->moved_ms < REST_MS ? -1.0 : (double)MOVE_MS * devices_of(&gang->ask));
    }
}

static bool make_room(struct run *run, uint32_t g, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];

    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        bool is_found;
        int64_t from_us = clock_mono_us();

        set_worths(run, p, now_ms);
        is_found = defrag_find(run->pools[p], &run->params, gang->job[p], now_ms - gang->submit_ms,
                               &run->plan);
        run->tries++;
        run->plan_us += (double)(clock_mono_us() - from_us);
        if (!is_found)
            continue;
        defrag_apply(run->pools[p], gang->job[p], &run->plan);
        started(run, g, p, now_ms);
        run->plans++;
        for (uint32_t i = 0; i < run->plan.moves_count; i++) {
            uint32_t other = run->gang_of[p][run->plan.moves[i].job];
            struct gang *moved = &run->gangs[other];

            moved->end_ms += MOVE_MS;
            moved->moved_ms = now_ms;
            ends_add(run, other);
            run->moved++;
            run->moved_device_ms += (double)MOVE_MS * devices_of(&moved->ask);
            run->split_hard +=
                moved->ask.is_hard && !is_whole(run->pools[p], moved->job[p], moved->ask.level);
        }
        return true;
    }
    return false;
}

static void serve(struct run *run, int64_t now_ms)
{
    uint32_t kept = 0, failed[2][4096] = { { 0 } }, plans = 0;

    for (uint32_t k = 0; k < run->queued; k++) {
        uint32_t g = run->queue[k];
        struct gang *gang = &run->gangs[g];
        uint32_t *has_failed = &failed[gang->ask.is_hard][gang->ask.tasks];

        if (!*has_failed &&
            (place(run, g, now_ms) || (run->moves && plans++ < 4 && make_room(run, g, now_ms))))
            continue;
        *has_failed = 1;
        run->queue[kept++] = g;
    }
    run->queued = kept;
}

static void add_gang(struct run *run, uint32_t g)
{
    struct gang *gang = &run->gangs[g];

    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        gang->job[p] = cells_add(run->pools[p], CELLS_NONE, &gang->ask);
        assert(gang->job[p] < GANGS);
        run->gang_of[p][gang->job[p]] = g;
    }
    run->busy_device_ms += (double)gang->run_ms * devices_of(&gang->ask);
    run->queue[run->queued++] = g;
}

static void run_all(struct run *run, const struct fleet *fleet, struct gang *gangs, bool moves)
{
    *run = (struct run){
        .fleet = fleet, .gangs = gangs, .moves = moves, .params = defrag_params_default()
    };
    run->queue = calloc(GANGS, sizeof(*run->queue));
    for (uint32_t p = 0; p < fleet->pools_count; p++) {
        run->gang_of[p] = calloc(GANGS, sizeof(**run->gang_of));
        if (!run->queue || !run->gang_of[p] ||
            cells_create(&fleet->shapes[p], 0, &run->pools[p], NULL) < 0)
            abort();
    }
    while (run->next < GANGS || run->ends_count) {
        int64_t now_ms = run->next < GANGS ? gangs[run->next].submit_ms : INT64_MAX;

        if (run->ends_count)
            now_ms = MIN(now_ms, run->ends[0].at_ms);
        while (run->ends_count && run->ends[0].at_ms <= now_ms) {
            struct end end = ends_pop(run);
            struct gang *gang = &gangs[end.gang];

            if (end.version != gang->ends)
                continue;
            gang->is_running = false;
            for (uint32_t p = 0; p < fleet->pools_count; p++)
                cells_remove(run->pools[p], gang->job[p]);
        }
        for (; run->next < GANGS && gangs[run->next].submit_ms <= now_ms; run->next++)
            add_gang(run, run->next);
        serve(run, now_ms);
    }
    for (uint32_t p = 0; p < fleet->pools_count; p++) {
        if (!cells_check(run->pools[p], NULL))
            abort();
        cells_destroy(run->pools[p]);
        free(run->gang_of[p]);
    }
    defrag_plan_fini(&run->plan);
    free(run->ends);
    free(run->queue);
}

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
    double work = 0, devices = 0, at = 0;
    uint32_t largest = 0;

    for (uint32_t p = 0; p < fleet->pools_count; p++) {
        const uint32_t *counts = fleet->shapes[p].counts;

        devices += (double)counts[0] * counts[1] * counts[2] * counts[3];
        largest = MAX(largest, counts[0] * counts[1] * counts[2]);
    }
    for (uint32_t g = 0; g < GANGS; g++) {
        uint32_t size = (uint32_t)(8 * exp(rng_unit(&rng) * log(257))) / 8 * 8;

        size = MIN(size, 2048u);
        gangs[g] = (struct gang){ .ask = { size / 8, 8, supernode_level, false } };
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
    struct gang *gangs = calloc(GANGS, sizeof(*gangs));
    double *all[3], *hard[3];
    uint32_t count[3] = { 0, 0, 0 }, hard_count[3] = { 0, 0, 0 };
    uint32_t plans = 0, moved = 0, split = 0;
    double cost = 0, busy = 0, tries = 0, plan_us = 0;
    struct waits waits[3];
    char name[64], note[512];

    for (uint32_t m = 0; m < 3; m++) {
        all[m] = calloc((size_t)GANGS * seeds, sizeof(double));
        hard[m] = calloc((size_t)GANGS * seeds, sizeof(double));
        if (!gangs || !all[m] || !hard[m])
            abort();
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct run run;

            draw_gangs(gangs, fleet, load, seed);
            for (uint32_t g = 0; g < GANGS && m == 2; g++)
                gangs[g].ask.is_hard = false;
            run_all(&run, fleet, gangs, m == 1);
            count[m] += gather(gangs, all[m] + count[m], hard[m], &hard_count[m]);
            plans += run.plans;
            moved += run.moved;
            split += run.split_hard;
            cost += run.moved_device_ms;
            busy += m == 1 ? run.busy_device_ms : 0;
            tries += run.tries;
            plan_us += run.plan_us;
        }
        waits[m] = weigh(all[m], count[m], hard[m], hard_count[m]);
        free(all[m]);
        free(hard[m]);
    }
    free(gangs);
    snprintf(name, sizeof(name), "supernode_%s_%.0f", fleet->name, load * 100);
    snprintf(note, sizeof(note),
             "p99 of all gangs; were there no supernodes to mind: %.0f; mean %.0f, best fit %.0f, "
             "no supernodes %.0f; longest %.0f, best fit %.0f; %u seeds",
             waits[2].p99_s, waits[1].mean_s, waits[0].mean_s, waits[2].mean_s, waits[1].max_s,
             waits[0].max_s, seeds);
    shown_print(&(struct shown){ name, waits[1].p99_s, "s", "<=0.5x", "best fit without moves",
                                 waits[0].p99_s, note });
    snprintf(name, sizeof(name), "supernode_%s_%.0f_hard", fleet->name, load * 100);
    snprintf(note, sizeof(note),
             "p99 of gangs that must be in one supernode; were there none to mind: %.0f; %u plans "
             "moved %u gangs of %u, %.3f %% of the work; %.0f us a plan looked for",
             waits[2].p99_hard_s, plans, moved, GANGS * seeds, cost / busy * 100,
             tries > 0 ? plan_us / tries : 0);
    shown_print(&(struct shown){ name, waits[1].p99_hard_s, "s", "<=0.5x", "best fit without moves",
                                 waits[0].p99_hard_s, note });
    snprintf(name, sizeof(name), "supernode_%s_%.0f_split", fleet->name, load * 100);
    shown_print(
        &(struct shown){ name, split, "gangs", "<=0", NULL, 0,
                         "topology-hard gangs ever placed over two supernodes, both ways" });
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
