#include "sim/engine_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_MS_FIRST 60000
#define SHORT_MS 10000 /* bounded slowdown: shorter jobs count as that long */

void sim_result_fini(struct sim_result *result)
{
    free(result->groups);
    free(result->sites);
    free(result->wait_sums);
    free(result->tenants);
    free(result->wait_counts);
    for (uint32_t i = 0; i < result->stories_count; i++)
        free(result->stories[i].moments);
    sim_series_fini(&result->series);
    *result = (struct sim_result){ 0 };
}

/* --- the beginning ---------------------------------------------------------------------------- */

static uint32_t add_group(struct sim_result *result, uint32_t site, const char *chip,
                          uint64_t capacity)
{
    struct sim_group *group;

    for (uint32_t i = result->groups_count; i-- > 0 && result->groups[i].site == site;)
        if (strcmp(result->groups[i].chip, chip) == 0) {
            result->groups[i].capacity += capacity;
            return i;
        }
    group = &result->groups[result->groups_count];
    *group = (struct sim_group){ .site = site, .capacity = capacity };
    memcpy(group->chip, chip, strlen(chip) + 1);
    return result->groups_count++;
}

static void add_groups(struct sim_engine *engine, uint32_t s)
{
    const struct sim_site *site = &engine->setup->fleet->sites[s];
    uint64_t cpus = 0;

    for (uint32_t p = 0; p < site->pools_count; p++) {
        const struct sim_pool *pool = &site->pools[p];

        cpus += (uint64_t)pool->nodes * pool->cpus;
        if (pool->devices)
            engine->sites[s].node_groups[p] =
                add_group(engine->result, s, pool->chip, (uint64_t)pool->nodes * pool->devices);
    }
    engine->sites[s].cpu_group = add_group(engine->result, s, "", cpus);
}

/* The speed of a chip by a pool that has it (which may override the catalogue), else by the
 * catalogue; -1 = not known. */
static int64_t find_speed(const struct sim_engine *engine, const char *kind)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    const struct chip *chip = catalogue_find(engine->setup->catalogue, kind);
    struct chip_figures figures = { 0 };
    int64_t speed;

    for (uint32_t s = 0; s < fleet->sites_count; s++)
        for (uint32_t p = 0; p < fleet->sites[s].pools_count; p++)
            if (fleet->sites[s].pools[p].devices &&
                strcmp(fleet->sites[s].pools[p].chip, kind) == 0)
                return sim_chip_speed(&fleet->sites[s].pools[p].figures);
    if (chip)
        memcpy(figures.metric_milli, chip->metric_milli, sizeof(figures.metric_milli));
    speed = sim_chip_speed(&figures);
    return speed > 0 ? speed : -1;
}

static void find_speeds(struct sim_engine *engine)
{
    const struct sim_load *load = engine->setup->load;

    for (uint32_t j = 0; j < load->jobs_count; j++) {
        uint32_t name = load->jobs[j].reference;

        if (name && !engine->speeds[name])
            engine->speeds[name] = find_speed(engine, load->names[name]);
    }
}

int sim_result_begin(struct sim_engine *engine)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    struct sim_result *result = engine->result;
    uint32_t pools = 1; /* calloc may give NULL for none, here and below */

    memcpy(result->policy, engine->setup->policy->name, sizeof(result->policy));
    for (uint32_t s = 0; s < fleet->sites_count; s++)
        pools += fleet->sites[s].pools_count + 1;
    result->groups = calloc(pools, sizeof(*result->groups));
    result->sites = calloc(MAX(fleet->sites_count, 1u), sizeof(*result->sites));
    result->sites_count = fleet->sites_count;
    engine->sites = calloc(MAX(fleet->sites_count, 1u), sizeof(*engine->sites));
    engine->speeds = calloc(MAX(engine->setup->load->names_count, 1u), sizeof(*engine->speeds));
    if (!result->groups || !result->sites || !engine->sites || !engine->speeds)
        return err_set(engine->err, -ENOMEM, "out of memory");
    for (uint32_t s = 0; s < fleet->sites_count; s++) {
        struct sim_site_state *site = &engine->sites[s];

        site->nodes = calloc(fleet->sites[s].nodes_count + 1, sizeof(*site->nodes));
        site->node_groups = calloc(fleet->sites[s].pools_count, sizeof(*site->node_groups));
        if (!site->nodes || !site->node_groups)
            return err_set(engine->err, -ENOMEM, "out of memory");
        add_groups(engine, s);
    }
    find_speeds(engine);
    if (!sim_series_init(&result->series,
                         SIM_SERIES_NETWORK_COUNT + result->groups_count + 3 * result->sites_count,
                         BUCKET_MS_FIRST))
        return err_set(engine->err, -ENOMEM, "out of memory");
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

struct sim_spread sim_spread_of(int64_t *times, uint64_t count)
{
    struct sim_spread spread = { .count = count };
    __int128 sum = 0;

    if (!count)
        return spread;
    qsort(times, count, sizeof(*times), compare_times);
    for (uint64_t i = 0; i < count; i++)
        sum += times[i];
    spread.mean_ms = (int64_t)(sum / (__int128)count);
    spread.p50_ms = times[(count - 1) / 2];
    spread.p90_ms = times[(count - 1) * 9 / 10];
    spread.p99_ms = times[(count - 1) * 99 / 100];
    spread.most_ms = times[count - 1];
    return spread;
}

static void count_why(struct sim_result *result, const char *code, const char *text)
{
    uint32_t at = 0;

    while (at < result->whys_count && strcmp(result->whys[at].code, code) != 0)
        at++;
    if (at == SIM_WHYS_MAX)
        return;
    if (at == result->whys_count) {
        snprintf(result->whys[at].code, sizeof(result->whys[at].code), "%s", code);
        snprintf(result->whys[at].text, sizeof(result->whys[at].text), "%s", text);
        result->whys_count++;
    }
    result->whys[at].jobs++;
}

/* Why those that never started did not, by the grid's own record, a few kinds of it. */
static void ask_why(struct sim_engine *engine, const struct sim_run_job *run)
{
    struct why why = { 0 };

    if (engine->result->never_started > 1000 || grid_why(engine->grid, run->id, &why) < 0)
        return; /* more of the same */
    count_why(engine->result, why.code, why.text);
}

void sim_result_refused(struct sim_engine *engine, uint32_t job)
{
    const char *text = strchr(engine->err->text, ' '); /* behind the event's name */

    text = text ? text + 1 : engine->err->text;
    count_why(engine->result, "refused", text);
    sim_why_tell(engine, job, "refused", "%s", text);
}

static void count_job(struct sim_engine *engine, uint32_t index)
{
    struct sim_run_job *run = &engine->jobs[index];
    struct sim_result *result = engine->result;

    if (run->state == SIM_JOB_LIVE && run->first_ms < 0) {
        result->never_started++;
        ask_why(engine, run);
    } else if (run->state == SIM_JOB_LIVE) {
        result->cut_off++;
    } else if (run->state == SIM_JOB_ENDED) {
        result->done += run->end_state == JOB_DONE;
        result->failed += run->end_state == JOB_FAILED;
        result->cancelled += run->end_state == JOB_CANCELLED;
        result->end_ms = MAX(result->end_ms, run->end_ms);
        if (run->restarts) {
            result->job_run += run->useful_ms;
            result->job_span += run->end_ms - run->first_ms;
        }
    }
}

static bool is_measured(const struct sim_engine *engine, uint32_t job)
{
    const struct sim_setup *setup = engine->setup;

    return !setup->measure_to || (job >= setup->measure_from && job <= setup->measure_to);
}

static void count_waits(struct sim_engine *engine, int64_t *times)
{
    const struct sim_load *load = engine->setup->load;
    struct sim_result *result = engine->result;
    uint64_t count;

    for (uint32_t class = 0; class <= CLASS_COUNT; class ++) { /* the last: all of them */
        struct sim_spread *spread = class < CLASS_COUNT ? &result->wait[class] : &result->wait_all;

        count = 0;
        for (uint32_t i = 0; i < load->jobs_count; i++)
            if (engine->jobs[i].first_ms >= 0 && is_measured(engine, i) &&
                (class == CLASS_COUNT || load->jobs[i].job_class == class))
                times[count++] = engine->jobs[i].first_ms - load->jobs[i].submit_ms;
        *spread = sim_spread_of(times, count);
    }
    for (uint32_t i = 0; i < load->jobs_count; i++) {
        int64_t bucket = load->jobs[i].submit_ms / result->series.width_ms;

        if (engine->jobs[i].first_ms < 0 || bucket >= SIM_BUCKETS_MAX)
            continue;
        result->wait_sums[bucket][load->jobs[i].job_class] +=
            engine->jobs[i].first_ms - load->jobs[i].submit_ms;
        result->wait_counts[bucket][load->jobs[i].job_class]++;
    }
}

static int count_tenants(struct sim_engine *engine)
{
    const struct sim_load *load = engine->setup->load;
    struct sim_result *result = engine->result;
    uint32_t *places = calloc((size_t)load->names_count + 1, sizeof(*places));

    result->tenants = calloc(SIM_TENANTS_MAX, sizeof(*result->tenants));
    if (!places || !result->tenants) {
        free(places);
        return err_set(engine->err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < load->jobs_count; i++) {
        const struct sim_run_job *run = &engine->jobs[i];
        uint32_t *place = &places[load->jobs[i].tenant];
        struct sim_tenant *tenant;

        if (!load->jobs[i].tenant || (!*place && result->tenants_count == SIM_TENANTS_MAX))
            continue;
        if (!*place) {
            *place = ++result->tenants_count;
            snprintf(result->tenants[*place - 1].name, MODEL_NAME_BYTES, "%s",
                     load->names[load->jobs[i].tenant]);
        }
        tenant = &result->tenants[*place - 1];
        tenant->jobs++;
        tenant->wait_ms += run->first_ms >= 0 ? run->first_ms - load->jobs[i].submit_ms : 0;
        if (run->state != SIM_JOB_ENDED || run->first_ms < 0)
            continue;
        tenant->ended++;
        tenant->delay_ms += MAX(run->end_ms - load->jobs[i].submit_ms - load->jobs[i].run_ms, 0);
    }
    free(places);
    return 0;
}

static void count_turnaround(struct sim_engine *engine, int64_t *times)
{
    const struct sim_load *load = engine->setup->load;
    __int128 slowdowns = 0;
    uint64_t count = 0;

    for (uint32_t i = 0; i < load->jobs_count; i++) {
        const struct sim_run_job *run = &engine->jobs[i];
        int64_t time_ms = run->end_ms - load->jobs[i].submit_ms;

        if (run->state != SIM_JOB_ENDED || run->first_ms < 0 || run->end_state == JOB_CANCELLED ||
            !is_measured(engine, i))
            continue;
        times[count++] = time_ms;
        slowdowns += MAX((__int128)time_ms * 1000 / MAX(load->jobs[i].run_ms, SHORT_MS), 1000);
    }
    engine->result->turnaround = sim_spread_of(times, count);
    engine->result->slowdown_milli = count ? (int64_t)(slowdowns / (__int128)count) : 0;
}

int sim_result_end(struct sim_engine *engine)
{
    struct sim_result *result = engine->result;
    uint32_t jobs_count = engine->setup->load->jobs_count;
    int64_t *times = calloc((size_t)jobs_count + 1, sizeof(*times));
    int rc;

    result->wait_sums = calloc(SIM_BUCKETS_MAX, sizeof(*result->wait_sums));
    result->wait_counts = calloc(SIM_BUCKETS_MAX, sizeof(*result->wait_counts));
    if (!times || !result->wait_sums || !result->wait_counts) {
        free(times);
        return err_set(engine->err, -ENOMEM, "out of memory");
    }
    sim_why_end(engine);
    result->held_milli = (uint64_t)result->series.list[SIM_SERIES_DEVICES].value;
    while (engine->active_count)
        sim_attempt_cut_off(engine, engine->active[engine->active_count - 1]);
    for (uint32_t i = 0; i < jobs_count; i++)
        count_job(engine, i);
    if (result->cut_off || !result->end_ms)
        result->end_ms = engine->now_ms;
    sim_series_close(&result->series, result->end_ms);
    count_waits(engine, times);
    count_turnaround(engine, times);
    free(times);
    rc = count_tenants(engine);
    for (uint32_t g = 0; g < result->groups_count; g++)
        result->groups[g].held_ms = sim_series_sum(&result->series, sim_series_of_group(g));
    for (uint32_t s = 0; s < result->sites_count; s++) {
        result->energy_mj += result->sites[s].energy_mj;
        result->carbon_ug += result->sites[s].carbon_ug;
        result->price_micro += result->sites[s].price_micro;
    }
    result->passes = grid_count(engine->grid).passes_total;
    return rc;
}
