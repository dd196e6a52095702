#include "sites_run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SITES_MAX 16u
#define POWER_WATTS 2930.0 /* an 8-GPU server, mean of Acme's Seren */
#define HOLES_MAX 0.1
#define US_USD_PER_GB 0.02 /* between two places of the United States */
#define GB_LEAST 1.0
#define GB_MOST 1000.0

/* USD a GB sent, and Mb/s of one flow between continents: `../shared/data/net`, Azure; London
 * stands on Dublin's row, Africa on Europe's links. */
enum continent { EU, US, SA, AP };
static const struct {
    const char *zone;
    enum continent continent;
    double usd_per_gb; /* to anywhere, but see US_USD_PER_GB */
} places[SITES_MAX] = {
    { "AU-NSW", AP, 0.08 },      { "AU-VIC", AP, 0.08 },     { "BR-SE", SA, 0.16 },
    { "CA-ON", US, 0.08 },       { "CL-SIC", SA, 0.08 },     { "DE-LU", EU, 0.08 },
    { "GB", EU, 0.05 },          { "IN", AP, 0.08 },         { "JP-TK", AP, 0.08 },
    { "KR", AP, 0.08 },          { "SG", AP, 0.08 },         { "US-CAL-CISO", US, 0.05 },
    { "US-MIDA-PJM", US, 0.05 }, { "US-NY-NYIS", US, 0.05 }, { "US-TEX-ERCO", US, 0.05 },
    { "ZA", EU, 0.16 },
};
static const double mbps[4][4] = {
    { 1000, 250, 120, 60 }, { 260, 1000, 150, 75 }, { 80, 150, 1000, 50 }, { 60, 75, 50, 1000 }
};

struct place {
    const struct grid_series *series;
    uint32_t index; /* in places */
    struct forecast *forecast;
    struct grid_error error;
    double cost[GRID_LEADS + 1], sd[GRID_LEADS + 1];
    uint32_t seen;
    double moves_gain; /* of the jobs whose home it is */
};

struct run { /* one job at one place */
    uint32_t place;
    int64_t from_ms, left_ms;
    double usd;
};

struct task {
    struct grid_job job;
    uint32_t home;
    double gigabytes;
    struct run ours, stay;
};

struct world {
    struct place places[SITES_MAX];
    uint32_t places_count;
    struct task *tasks;
    uint32_t tasks_count;
    bool is_given;
};

static double usd_per_hour(const struct place *place, uint32_t hour) /* prices are USD/MWh */
{
    return place->series->values[hour] * POWER_WATTS / 1e6;
}

static void move_terms(const struct world *world, const struct task *task, uint32_t to,
                       double *usd_out, int64_t *ms_out)
{
    uint32_t a = world->places[task->home].index, b = world->places[to].index;
    bool is_us = !strncmp(places[a].zone, "US-", 3) && !strncmp(places[b].zone, "US-", 3);
    double speed = mbps[places[a].continent][places[b].continent];

    *usd_out =
        to == task->home ? 0 : task->gigabytes * (is_us ? US_USD_PER_GB : places[a].usd_per_gb);
    /* In whole half hours, as the decisions are. */
    *ms_out =
        to == task->home
            ? 0
            : (int64_t)ceil(task->gigabytes * 8e6 / speed / (double)GRID_HALF_MS) * GRID_HALF_MS;
}

static struct shift_job ask_of(const struct task *task, int64_t left_ms)
{
    return (struct shift_job){ .work_ms = left_ms,
                               .deadline_ms = task->job.deadline_ms,
                               .nominal_ms = task->job.submit_ms,
                               .is_interruptible = true };
}

/* The sites of a task, each with what is seen of it (or, for the oracle, with what will be). */
static uint32_t lay_out_sites(const struct world *world, const struct task *task, uint32_t hour,
                              bool is_oracle, struct shift_site *sites)
{
    for (uint32_t i = 0; i < world->places_count; i++) {
        const struct place *place = &world->places[i];
        struct shift_site *site = &sites[i];

        memset(site, 0, sizeof(*site));
        site->outlook.from_ms = place->series->first_ms + (int64_t)hour * GRID_HOUR_MS;
        site->outlook.slot_ms = GRID_HOUR_MS;
        site->outlook.count = place->seen;
        site->outlook.cost = place->cost;
        site->outlook.sd = place->sd;
        if (is_oracle) {
            uint32_t left = place->series->count - hour;

            site->outlook.count = left < 240 ? left : 240;
            site->outlook.cost = place->series->values + hour;
            site->outlook.sd = NULL;
        }
        site->rate = 1;
        site->power_watts = POWER_WATTS;
        move_terms(world, task, i, &site->move_cost, &site->move_ms);
        site->move_cost *= 1000; /* the unit of USD/MWh x kWh */
    }
    return world->places_count;
}

static void begin_task(const struct world *world, struct task *task, uint32_t hour, int64_t now_ms,
                       struct sites_result *result)
{
    struct shift_params params = shift_params_default(), free_params = { 0 };
    struct shift_job ask = ask_of(task, task->job.work_ms);
    struct shift_site sites[SITES_MAX];
    struct shift_choice choice;
    uint32_t count = lay_out_sites(world, task, hour, false, sites);
    int64_t move_ms;
    double usd;

    task->stay = (struct run){ task->home, now_ms, task->job.work_ms, 0 };
    task->ours = task->stay;
    if (shift_choose_site(&params, &ask, sites, count, task->home, now_ms, &choice, NULL) == 0 &&
        choice.site != task->home) {
        move_terms(world, task, choice.site, &usd, &move_ms);
        task->ours = (struct run){ choice.site, now_ms + move_ms, task->job.work_ms, usd };
    }
    count = lay_out_sites(world, task, hour, true, sites);
    if (shift_choose_site(&free_params, &ask, sites, count, task->home, now_ms, &choice, NULL) == 0)
        result->oracle += choice.cost / 1000;
    for (int64_t t = now_ms; t < now_ms + task->job.work_ms; t += GRID_HALF_MS)
        result->at_once +=
            usd_per_hour(&world->places[task->home],
                         (uint32_t)((t - world->places[0].series->first_ms) / GRID_HOUR_MS)) /
            2;
}

static void step_run(const struct world *world, const struct task *task, struct run *run,
                     uint32_t hour, int64_t now_ms)
{
    const struct place *place = &world->places[run->place];
    struct shift_outlook outlook = { place->series->first_ms + (int64_t)hour * GRID_HOUR_MS,
                                     GRID_HOUR_MS, place->seen, place->cost, place->sd };
    struct shift_job ask = ask_of(task, run->left_ms);

    if (run->left_ms <= 0 || now_ms < run->from_ms || !shift_decide(&ask, &outlook, now_ms).is_run)
        return;
    run->usd += usd_per_hour(place, hour) / 2;
    run->left_ms -= GRID_HALF_MS;
}

static void end_task(struct world *world, const struct task *task, struct sites_result *result)
{
    double gain = task->stay.usd - task->ours.usd;

    result->stay += task->stay.usd;
    result->ours += task->ours.usd;
    if (task->ours.place == task->home)
        return;
    result->moved++;
    result->moved_gain += gain;
    world->places[task->home].moves_gain += gain;
    if (gain >= 0)
        return;
    result->moves_lost++;
    result->lost -= gain;
    result->worst = -gain > result->worst ? -gain : result->worst;
}

static int compare_tasks(const void *a, const void *b)
{
    const struct task *x = a, *y = b;

    if (x->job.submit_ms != y->job.submit_ms)
        return x->job.submit_ms < y->job.submit_ms ? -1 : 1;
    return (x->home > y->home) - (x->home < y->home);
}

static int make_world(struct world *world, const struct grid_table *table, double error_sd,
                      uint32_t jobs_count, uint64_t seed)
{
    struct forecast_params params = forecast_params_default();
    uint32_t each, hours = 0;
    struct rng rng = { seed };
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < SITES_MAX; i++) {
        struct place *place = &world->places[world->places_count];

        place->series = grid_table_find(table, places[i].zone);
        if (!place->series || place->series->holes > HOLES_MAX * place->series->count)
            continue;
        hours = place->series->count;
        place->index = i;
        rc = forecast_create(&params, 24, &place->forecast, NULL);
        if (rc == 0)
            rc = grid_error_init(&place->error, hours, error_sd < 0 ? 0 : error_sd, seed * 100 + i);
        world->places_count++;
    }
    world->is_given = error_sd >= 0;
    each = world->places_count ? jobs_count / world->places_count : 0;
    world->tasks = calloc((size_t)each * SITES_MAX + 1, sizeof(struct task));
    if (rc < 0 || !world->tasks)
        return rc < 0 ? rc : -ENOMEM;
    for (uint32_t i = 0; i < world->places_count; i++) {
        const struct grid_series *series = world->places[i].series;
        struct grid_job *jobs = calloc(each + 1, sizeof(*jobs));

        if (!jobs)
            return -ENOMEM;
        grid_draw_ml(jobs, each, GRID_SEMI_WEEKLY, series->first_ms,
                     series->first_ms + (int64_t)hours * GRID_HOUR_MS,
                     grid_zone_offset_ms(series->zone), seed + i);
        for (uint32_t k = 0; k < each; k++)
            world->tasks[world->tasks_count++] = (struct task){
                .job = jobs[k],
                .home = i,
                .gigabytes = GB_LEAST * pow(GB_MOST / GB_LEAST, rng_unit(&rng)),
            };
        free(jobs);
    }
    qsort(world->tasks, world->tasks_count, sizeof(struct task), compare_tasks);
    return 0;
}

static void look_around(struct world *world, uint32_t hour)
{
    for (uint32_t i = 0; i < world->places_count; i++) {
        struct place *place = &world->places[i];
        int64_t slot = place->series->first_ms / GRID_HOUR_MS + hour;
        double given[GRID_LEADS];

        forecast_observe(place->forecast, slot, place->series->values[hour], NULL);
        if (world->is_given)
            forecast_give(
                place->forecast, slot + 1, given,
                grid_error_forecast(&place->error, place->series, hour, GRID_LEADS, given));
        place->cost[0] = place->series->values[hour];
        place->sd[0] = 0;
        place->seen = forecast_fill(place->forecast, GRID_LEADS, place->cost + 1, place->sd + 1)
                          ? GRID_LEADS + 1
                          : 1;
    }
}

int sites_run(const struct grid_table *table, double error_sd, uint32_t jobs_count, uint64_t seed,
              struct sites_result *result_out)
{
    struct world world = { 0 };
    struct sites_result result = { 0 };
    int rc = make_world(&world, table, error_sd, jobs_count, seed);
    uint32_t first = 0, next = 0, hours = rc == 0 ? world.places[0].series->count : 0;

    for (uint32_t half = 0; half < 2 * hours; half++) {
        int64_t now_ms = world.places[0].series->first_ms + (int64_t)half * GRID_HALF_MS;

        if (half % 2 == 0)
            look_around(&world, half / 2);
        for (; next < world.tasks_count && world.tasks[next].job.submit_ms <= now_ms; next++)
            begin_task(&world, &world.tasks[next], half / 2, now_ms, &result);
        for (uint32_t i = first; i < next; i++) {
            struct task *task = &world.tasks[i];

            if (task->ours.left_ms <= 0 && task->stay.left_ms <= 0)
                continue;
            step_run(&world, task, &task->ours, half / 2, now_ms);
            step_run(&world, task, &task->stay, half / 2, now_ms);
            if (task->ours.left_ms <= 0 && task->stay.left_ms <= 0)
                end_task(&world, task, &result);
            result.missed += now_ms >= task->job.deadline_ms;
        }
        while (first < next && world.tasks[first].ours.left_ms <= 0 &&
               world.tasks[first].stay.left_ms <= 0)
            first++;
    }
    result.sites = world.places_count;
    result.jobs = world.tasks_count;
    result.least_home_gain = INFINITY;
    for (uint32_t i = 0; i < world.places_count; i++) {
        result.least_home_gain = fmin(result.least_home_gain, world.places[i].moves_gain);
        forecast_destroy(world.places[i].forecast);
        grid_error_fini(&world.places[i].error);
    }
    free(world.tasks);
    *result_out = result;
    return rc;
}

double sites_share(const struct sites_result *result, double cost)
{
    return 100 * (result->at_once - cost) / (result->at_once - result->oracle);
}
