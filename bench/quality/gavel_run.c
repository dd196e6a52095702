#include "gavel_run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUND_S 360.0
#define ROUNDS_MAX 60000u
#define DEVICES 36u
#define NOT_RUNNING UINT32_MAX

struct sim_job {
    double arrival_s, end_s, done, alone_s;
    double rate[GAVEL_KINDS];
    uint32_t kind, mate, slot, switches;
    bool has_run;
};
struct sim {
    const struct gavel_setup *setup;
    struct sim_job *jobs;
    uint32_t *active; /* by arrival */
    struct assign_job *asked;
    struct assign_slot *slots;
    double *weights;
    struct assign *assign;
    uint32_t active_count, next, left;
    double now_s, decide_s;
    uint64_t pairs, rounds;
};

static void prepare_jobs(struct sim *sim)
{
    const struct gavel_setup *setup = sim->setup;
    double at = 0;

    for (uint32_t i = 0; i < setup->jobs; i++) {
        const struct gavel_job *given = &setup->list->jobs[i];
        struct sim_job *job = &sim->jobs[i];
        double best = 0;

        at += setup->jobs_per_h > 0 ? given->gap * 3600 / setup->jobs_per_h : 0;
        for (uint32_t k = 0; k < GAVEL_KINDS; k++) {
            job->rate[k] = setup->rates->steps_per_s[k][given->work];
            best = fmax(best, job->rate[k]);
        }
        job->arrival_s = at;
        job->alone_s = given->steps / best;
        job->kind = job->mate = NOT_RUNNING;
    }
    sim->left = setup->to - setup->from;
}

static double steps_of(const struct sim *sim, uint32_t index)
{
    return sim->setup->list->jobs[index].steps;
}

static double weight_of(const struct sim *sim, uint32_t index, uint32_t kind)
{
    const struct sim_job *job = &sim->jobs[index];
    double best = steps_of(sim, index) / job->alone_s, age_h = (sim->now_s - job->arrival_s) / 3600;
    uint32_t gang = sim->setup->list->jobs[index].gang;
    double done_h = job->done / best / 3600, left_h = job->alone_s / 3600 - done_h;
    double equal = 0;

    if (sim->setup->policy == GAVEL_MAINS)
        return assign_weight(&sim->setup->params, job->rate[kind] / best, done_h, age_h, gang);
    if (sim->setup->policy == GAVEL_BATCH)
        return assign_weight_batch(&sim->setup->params, job->rate[kind] / best, left_h, gang);
    for (uint32_t k = 0; k < GAVEL_KINDS; k++)
        equal += job->rate[k] / GAVEL_KINDS;
    return job->rate[kind] / equal * gang / ((job->done / equal / 3600 + 1) / (age_h + 1));
}

static void decide_assign(struct sim *sim)
{
    const struct gavel_setup *setup = sim->setup;
    static const uint32_t capacity[GAVEL_KINDS] = { DEVICES, DEVICES, DEVICES };
    struct assign_sharing sharing = { setup->rates->share, GAVEL_WORKS };
    struct assign_params params = setup->params;
    struct assign_problem problem = { .jobs = sim->asked,
                                      .weights = sim->weights,
                                      .capacity = capacity,
                                      .sharing = setup->is_shared ? &sharing : NULL,
                                      .jobs_count = sim->active_count,
                                      .kinds_count = GAVEL_KINDS };

    if (setup->policy == GAVEL_LAS && !(setup->switch_s > 0))
        params.stay = 0; /* its own; where switching costs it has the same hysteresis */
    for (uint32_t i = 0; i < sim->active_count; i++)
        sim->jobs[sim->active[i]].slot = i;
    for (uint32_t i = 0; i < sim->active_count; i++) {
        const struct sim_job *job = &sim->jobs[sim->active[i]];
        const struct gavel_job *given = &setup->list->jobs[sim->active[i]];
        bool has_mate = job->mate != NOT_RUNNING && !(sim->jobs[job->mate].end_s > 0);

        sim->asked[i] =
            (struct assign_job){ .id = sim->active[i],
                                 .gang = given->gang,
                                 .work = given->work,
                                 .held = job->kind,
                                 .mate = has_mate ? sim->jobs[job->mate].slot : ASSIGN_NONE };
        for (uint32_t k = 0; k < GAVEL_KINDS; k++)
            sim->weights[i * GAVEL_KINDS + k] = weight_of(sim, sim->active[i], k);
    }
    sim->pairs += assign_solve(sim->assign, &params, &problem, sim->slots).pairs;
}

/* Strict: the first that finds no room ends the round's line. */
static void decide_fifo(struct sim *sim)
{
    uint32_t left[GAVEL_KINDS] = { DEVICES, DEVICES, DEVICES };
    bool is_perf = sim->setup->policy == GAVEL_FIFO_PERF, is_open = true;

    for (uint32_t i = 0; i < sim->active_count; i++) {
        const struct sim_job *job = &sim->jobs[sim->active[i]];

        sim->slots[i] = (struct assign_slot){ ASSIGN_NONE, ASSIGN_NONE };
        if (is_perf || job->kind == NOT_RUNNING)
            continue;
        sim->slots[i].kind = job->kind;
        left[job->kind] -= sim->setup->list->jobs[sim->active[i]].gang;
    }
    for (uint32_t i = 0; i < sim->active_count && is_open; i++) {
        const struct sim_job *job = &sim->jobs[sim->active[i]];
        uint32_t gang = sim->setup->list->jobs[sim->active[i]].gang, best = ASSIGN_NONE;

        if (sim->slots[i].kind != ASSIGN_NONE)
            continue;
        for (uint32_t k = 0; k < GAVEL_KINDS; k++)
            if (left[k] >= gang && job->rate[k] > 0 &&
                (best == ASSIGN_NONE || (is_perf && job->rate[k] > job->rate[best])))
                best = k;
        is_open = best != ASSIGN_NONE;
        if (!is_open)
            break;
        sim->slots[i].kind = best;
        left[best] -= gang;
    }
}

static void work_one(struct sim *sim, uint32_t i)
{
    uint32_t index = sim->active[i], kind = sim->slots[i].kind, mate = sim->slots[i].mate;
    struct sim_job *job = &sim->jobs[index];
    double span = ROUND_S, rate, left = steps_of(sim, index) - job->done;

    if (kind != ASSIGN_NONE) {
        rate = job->rate[kind];
        if (mate != ASSIGN_NONE)
            rate *= sim->setup->rates
                        ->share[((size_t)kind * GAVEL_WORKS + sim->asked[i].work) * GAVEL_WORKS +
                                sim->asked[mate].work];
        if (job->has_run && kind != job->kind) {
            job->switches++;
            span -= sim->setup->switch_s;
        }
        job->has_run = true;
        if (left <= rate * span)
            job->end_s = sim->now_s + ROUND_S - span + left / rate;
        job->done += fmin(left, rate * span);
    }
    job->kind = kind == ASSIGN_NONE ? NOT_RUNNING : kind;
    job->mate = mate == ASSIGN_NONE ? NOT_RUNNING : sim->active[mate];
}

static void run_round(struct sim *sim)
{
    struct timespec from, to;
    uint32_t kept = 0;

    while (sim->next < sim->setup->jobs && sim->jobs[sim->next].arrival_s <= sim->now_s)
        sim->active[sim->active_count++] = sim->next++;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    if (sim->setup->policy == GAVEL_FIFO || sim->setup->policy == GAVEL_FIFO_PERF)
        decide_fifo(sim);
    else
        decide_assign(sim);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    sim->decide_s += (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    for (uint32_t i = 0; i < sim->active_count; i++)
        work_one(sim, i);
    for (uint32_t i = 0; i < sim->active_count; i++) {
        uint32_t index = sim->active[i];

        if (!(sim->jobs[index].end_s > 0))
            sim->active[kept++] = index;
        else if (index >= sim->setup->from && index < sim->setup->to)
            sim->left--;
    }
    sim->active_count = kept;
    sim->now_s += ROUND_S;
    sim->rounds++;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void summarise(const struct sim *sim, double *jct, double *slow, struct gavel_figures *out)
{
    uint32_t count = 0;
    double sum = 0, switches = 0;

    *out = (struct gavel_figures){ .unfinished = sim->left };
    for (uint32_t i = sim->setup->from; i < sim->setup->to; i++) {
        const struct sim_job *job = &sim->jobs[i];

        if (!(job->end_s > 0))
            continue;
        jct[count] = (job->end_s - job->arrival_s) / 3600;
        slow[count] = jct[count] * 3600 / job->alone_s;
        out->makespan_h = fmax(out->makespan_h, job->end_s / 3600);
        sum += jct[count++];
        switches += job->switches;
    }
    if (!count)
        return;
    qsort(jct, count, sizeof(*jct), compare_doubles);
    qsort(slow, count, sizeof(*slow), compare_doubles);
    out->jct_mean_h = sum / count;
    out->jct_p99_h = jct[(count * 99 + 99) / 100 - 1];
    out->jct_max_h = jct[count - 1];
    out->slow_p99 = slow[(count * 99 + 99) / 100 - 1];
    out->slow_max = slow[count - 1];
    out->switches_per_job = switches / count;
    out->pairs_mean = (double)sim->pairs / (double)sim->rounds;
    out->round_us_mean = sim->decide_s * 1e6 / (double)sim->rounds;
}

int gavel_run(const struct gavel_setup *setup, struct gavel_figures *figures)
{
    struct sim sim = { .setup = setup, .assign = assign_create() };
    double *sorted = calloc(setup->jobs, 2 * sizeof(*sorted));
    int rc = -ENOMEM;

    sim.jobs = calloc(setup->jobs, sizeof(*sim.jobs));
    sim.active = calloc(setup->jobs, sizeof(*sim.active));
    sim.asked = calloc(setup->jobs, sizeof(*sim.asked));
    sim.slots = calloc(setup->jobs, sizeof(*sim.slots));
    sim.weights = calloc(setup->jobs, GAVEL_KINDS * sizeof(*sim.weights));
    if (sorted && sim.jobs && sim.active && sim.asked && sim.slots && sim.weights) {
        prepare_jobs(&sim);
        while (sim.left && sim.rounds < ROUNDS_MAX)
            run_round(&sim);
        summarise(&sim, sorted, sorted + setup->jobs, figures);
        rc = 0;
    }
    free(sorted);
    free(sim.jobs);
    free(sim.active);
    free(sim.asked);
    free(sim.slots);
    free(sim.weights);
    assign_destroy(sim.assign);
    return rc;
}

/* Work of the list at these prices of device-hours, in hours of the whole pool. */
static double area_at(const struct gavel_rates *rates, const struct gavel_list *list, uint32_t jobs,
                      const double *price)
{
    double area = 0;

    for (uint32_t i = 0; i < jobs; i++) {
        const struct gavel_job *job = &list->jobs[i];
        double least = INFINITY;

        for (uint32_t k = 0; k < GAVEL_KINDS; k++)
            if (rates->steps_per_s[k][job->work] > 0)
                least = fmin(least, price[k] / rates->steps_per_s[k][job->work]);
        area += least * job->gang * job->steps;
    }
    return area / DEVICES / 3600;
}

/* Any prices that sum to 1 bound the makespan; the bound is concave in them, so the grid closes in
 * on its best point. */
double gavel_makespan_bound(const struct gavel_rates *rates, const struct gavel_list *list,
                            uint32_t jobs)
{
    double bound = 0, at[2] = { 1.0 / 3, 1.0 / 3 }, best[2] = { 1.0 / 3, 1.0 / 3 }, area = 0;

    for (uint32_t i = 0; i < jobs; i++) {
        double rate = 0;

        for (uint32_t k = 0; k < GAVEL_KINDS; k++)
            rate = fmax(rate, rates->steps_per_s[k][list->jobs[i].work]);
        bound = fmax(bound, list->jobs[i].steps / rate / 3600);
    }
    for (double step = 1.0 / 30; step > 1e-5; step /= 2) {
        int reach = step > 1.0 / 31 ? 30 : 4;

        for (int a = -reach; a <= reach; a++)
            for (int b = -reach; b <= reach; b++) {
                double price[GAVEL_KINDS] = { at[0] + a * step, at[1] + b * step }, found;

                price[2] = 1 - price[0] - price[1];
                if (price[0] < 0 || price[1] < 0 || price[2] < 0)
                    continue;
                found = area_at(rates, list, jobs, price);
                if (!(found > area))
                    continue;
                area = found;
                best[0] = price[0];
                best[1] = price[1];
            }
        at[0] = best[0];
        at[1] = best[1];
    }
    return fmax(bound, area);
}
