/* One run of a job: how long it takes where it was put, what it draws, what a fault costs it. */
#include "sim/engine_internal.h"
#include "sim/rates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PPM 1000000
#define HOUR_MS 3600000LL
#define TOLD_RESTART_MS 60000
#define EXIT_KILLED 9
#define EXIT_STOPPED 15

/* --- where it runs ---------------------------------------------------------------------------- */

/* Nodes that stand by, besides those that it runs on. */
static void take_spares(struct sim_attempt *attempt, const struct allocation *allocation)
{
    attempt->spare_cpus = attempt->spare_devices_milli = 0;
    for (uint32_t i = 0; i < allocation->spares_count; i++) {
        const struct alloc_part *part = &allocation->parts[allocation->parts_count + i];

        attempt->spare_cpus += part->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++)
            attempt->spare_devices_milli += part->devices[d].milli;
    }
}

static struct sim_attempt *create(struct sim_engine *engine, const struct effect *effect,
                                  uint32_t job)
{
    const struct allocation *allocation = &effect->view.allocation;
    struct sim_attempt *attempt =
        calloc(1, sizeof(*attempt) + allocation->parts_count * sizeof(attempt->shares[0]));

    if (!attempt)
        return NULL;
    attempt->job = job;
    attempt->epoch = effect->epoch;
    attempt->serial = ++engine->serial;
    attempt->site = (uint32_t)grid_site_find(engine->grid, allocation->site);
    attempt->start_ms = engine->now_ms;
    attempt->held_ms = -1;
    attempt->shares_count = allocation->parts_count;
    for (uint32_t i = 0; i < allocation->parts_count; i++) {
        const struct alloc_part *part = &allocation->parts[i];

        attempt->shares[i].node = part->node;
        attempt->cpus += part->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            attempt->shares[i].devices |= 1ULL << part->devices[d].index;
            attempt->devices_milli += part->devices[d].milli;
        }
    }
    attempt->spares_ms = engine->now_ms;
    take_spares(attempt, allocation);
    return attempt;
}

static const struct sim_pool *pool_of(const struct sim_engine *engine,
                                      const struct sim_attempt *attempt)
{
    return sim_site_pool(&engine->setup->fleet->sites[attempt->site], attempt->shares[0].node);
}

static uint32_t group_of(const struct sim_engine *engine, const struct sim_attempt *attempt,
                         uint32_t share)
{
    const struct sim_site *site = &engine->setup->fleet->sites[attempt->site];

    return engine->sites[attempt->site]
        .node_groups[sim_site_pool(site, attempt->shares[share].node) - site->pools];
}

/* On several kinds of chip; their devices are whole. */
static bool is_mixed(const struct sim_engine *engine, const struct sim_attempt *attempt)
{
    for (uint32_t i = 1; attempt->devices_milli && i < attempt->shares_count; i++)
        if (group_of(engine, attempt, i) != group_of(engine, attempt, 0))
            return true;
    return false;
}

static int64_t share_milli(const struct sim_attempt *attempt, uint32_t share)
{
    return 1000 * (int64_t)__builtin_popcountll(attempt->shares[share].devices);
}

/* Of its devices in the mean: in a mixed gang each does as much as it is fast. 0 = not known. */
static int64_t speed_of(const struct sim_engine *engine, const struct sim_attempt *attempt)
{
    const struct sim_site *site = &engine->setup->fleet->sites[attempt->site];
    int64_t milli = 0;
    __int128 sum = 0;

    if (!is_mixed(engine, attempt))
        return sim_chip_speed(&pool_of(engine, attempt)->figures);
    for (uint32_t i = 0; i < attempt->shares_count; i++) {
        int64_t speed = sim_chip_speed(&sim_site_pool(site, attempt->shares[i].node)->figures);

        if (speed <= 0)
            return 0;
        sum += (__int128)speed * share_milli(attempt, i);
        milli += share_milli(attempt, i);
    }
    return milli ? (int64_t)(sum / milli) : 0;
}

/* Devices in 1/1000 (CPUs where it asks for none) of its least width, which its run time is of. */
static int64_t least_of(const struct sim_engine *engine, const struct sim_job *job)
{
    struct request_shape shape = { 0 };

    sim_job_shape(job, engine->setup->fleet->node_devices_most, &shape);
    return (int64_t)shape.tasks * (shape.devices_milli ? shape.devices_milli : shape.cpus);
}

/* Ms of wall time per 1,000,000 ms of work: the chip's speed beside the reference chip's, and the
 * slowest node of the gang sets the pace of all. */
static int64_t pace_of(struct sim_engine *engine, const struct sim_attempt *attempt)
{
    const struct sim_job *job = &engine->setup->load->jobs[attempt->job];
    int64_t reference = engine->speeds[job->reference];
    int64_t speed = speed_of(engine, attempt), pace = PPM, told, best;
    bool is_told = sim_rates_find(engine->setup->load, job->work,
                                  attempt->devices_milli ? pool_of(engine, attempt)->chip : "",
                                  &told, &best) &&
                   !job->request && !is_mixed(engine, attempt);

    if (is_told && told) {
        pace = (int64_t)((__int128)PPM * told / best);
    } else if (is_told) {
        engine->result->speed_unknown++;
    } else if (attempt->devices_milli && job->reference) {
        if (reference > 0 && speed > 0)
            pace = (int64_t)((__int128)PPM * reference / speed);
        else
            engine->result->speed_unknown++;
    }
    if (job->tasks_most && !job->request) /* linear: so much wider, so much faster */
        pace = (int64_t)((__int128)pace * least_of(engine, job) /
                         MAX(attempt->devices_milli ? attempt->devices_milli : attempt->cpus, 1));
    for (uint32_t i = 0; engine->faulty && i < attempt->shares_count; i++)
        if (engine->sites[attempt->site].nodes[attempt->shares[i].node].slow)
            return pace * 1000 / MAX(engine->setup->faults->slow_speed_milli, 1);
    return pace;
}

/* An hour, as of now. */
static void set_costs(struct sim_engine *engine, struct sim_attempt *attempt)
{
    const struct site_tariff *tariff = &engine->setup->fleet->sites[attempt->site].tariff;
    const struct sim_series_row *row =
        sim_power_row(engine, attempt->site, engine->setup->fleet->start_ms + engine->now_ms);
    int64_t price = tariff->power_price_micro_per_kwh, carbon = tariff->carbon_g_per_kwh_milli;
    int64_t green = 0;

    if (row) {
        price = row->price_micro != TARIFF_UNKNOWN ? row->price_micro : price;
        carbon = row->carbon_mg != TARIFF_UNKNOWN ? row->carbon_mg : carbon;
        green = row->green_ppm != TARIFF_UNKNOWN ? row->green_ppm : 0;
    }
    carbon = (int64_t)((__int128)carbon * (PPM - green) / PPM);
    attempt->carbon_ug = (int64_t)((__int128)attempt->watts_milli * carbon / 1000);
    attempt->price_micro =
        (int64_t)((__int128)tariff->cpu_price_micro_per_hour *
                      (attempt->cpus + attempt->spare_cpus) +
                  (__int128)tariff->device_price_micro_per_hour *
                      (attempt->devices_milli + attempt->spare_devices_milli) / 1000 +
                  (__int128)attempt->watts_milli * price / PPM);
}

static int64_t mixed_watts(struct sim_engine *engine, const struct sim_attempt *attempt)
{
    const struct sim_site *site = &engine->setup->fleet->sites[attempt->site];
    int64_t watts_milli = 0;
    bool is_known = true;

    for (uint32_t i = 0; i < attempt->shares_count; i++) {
        int64_t watts = sim_site_pool(site, attempt->shares[i].node)->figures.power_watts;

        is_known &= watts > 0;
        watts_milli += MAX(watts, 0) * share_milli(attempt, i);
    }
    engine->result->power_unknown += !is_known;
    return watts_milli;
}

/* Standing still, as the grid counts it: by the catalogue, else a quarter. */
static int64_t idle_watts(const struct sim_engine *engine, const struct sim_attempt *attempt)
{
    const struct sim_pool *pool = pool_of(engine, attempt);
    int64_t cpus_milli = (int64_t)pool->cpu_watts * 1000 * attempt->cpus / pool->cpus;
    int64_t devices_milli = attempt->load_watts_milli - cpus_milli;
    int64_t load = pool->figures.power_watts, idle = pool->figures.power_idle_watts;

    if (load > 0 && idle >= 0 && !is_mixed(engine, attempt))
        devices_milli = devices_milli * MIN(idle, load) / load;
    else
        devices_milli /= 4;
    return cpus_milli / 4 + devices_milli;
}

static void set_rates(struct sim_engine *engine, struct sim_attempt *attempt)
{
    const struct sim_pool *pool = pool_of(engine, attempt);
    int64_t watts_milli = (int64_t)pool->cpu_watts * 1000 * attempt->cpus / pool->cpus;

    if (is_mixed(engine, attempt))
        watts_milli += mixed_watts(engine, attempt);
    else if (attempt->devices_milli && pool->figures.power_watts > 0)
        watts_milli += (int64_t)pool->figures.power_watts * attempt->devices_milli;
    else if (attempt->devices_milli)
        engine->result->power_unknown++;
    attempt->watts_milli = attempt->load_watts_milli = watts_milli;
    attempt->idle_watts_milli = idle_watts(engine, attempt);
    set_costs(engine, attempt);
}

static void count_costs(struct sim_engine *engine, const struct sim_attempt *attempt, int64_t sign)
{
    struct sim_series_set *series = &engine->result->series;
    int64_t now_ms = engine->now_ms, money = sign * attempt->price_micro;
    int64_t carbon = sign * attempt->carbon_ug;

    sim_series_add(series, SIM_SERIES_MONEY, now_ms, money);
    sim_series_add(series, SIM_SERIES_CARBON, now_ms, carbon);
    sim_series_add(series, sim_series_of_site_money(engine->result, attempt->site), now_ms, money);
    sim_series_add(series, sim_series_of_site_carbon(engine->result, attempt->site), now_ms,
                   carbon);
}

static void count_series(struct sim_engine *engine, const struct sim_attempt *attempt, int64_t sign)
{
    struct sim_series_set *series = &engine->result->series;
    int64_t now_ms = engine->now_ms, devices_milli, cpus;

    devices_milli = attempt->devices_milli + attempt->spare_devices_milli;
    cpus = attempt->cpus + attempt->spare_cpus;
    sim_series_add(series, SIM_SERIES_DEVICES, now_ms, sign * devices_milli);
    sim_series_add(series, SIM_SERIES_CPUS, now_ms, sign * cpus);
    sim_series_add(series, SIM_SERIES_POWER, now_ms, sign * attempt->watts_milli);
    for (uint32_t i = 0; is_mixed(engine, attempt) && i < attempt->shares_count; i++)
        sim_series_add(series, sim_series_of_group(group_of(engine, attempt, i)), now_ms,
                       sign * share_milli(attempt, i));
    if (attempt->devices_milli && !is_mixed(engine, attempt))
        sim_series_add(series, sim_series_of_group(attempt->group), now_ms, sign * devices_milli);
    sim_series_add(series, sim_series_of_group(engine->sites[attempt->site].cpu_group), now_ms,
                   sign * cpus);
    sim_series_add(series, sim_series_of_site(engine->result, attempt->site), now_ms,
                   sign * attempt->watts_milli);
    count_costs(engine, attempt, sign);
}

void sim_attempt_reprice(struct sim_engine *engine, struct sim_attempt *attempt)
{
    count_costs(engine, attempt, -1);
    set_costs(engine, attempt);
    count_costs(engine, attempt, 1);
}

/* --- how long --------------------------------------------------------------------------------- */

static void set_checkpoints(struct sim_engine *engine, struct sim_attempt *attempt,
                            const struct sim_run_job *run)
{
    const struct sim_faults *faults = engine->setup->faults;
    const struct sim_checkpoint *plan = &faults->checkpoint;
    const struct sim_pool *pool = pool_of(engine, attempt);
    __int128 rate; /* failures of the gang in 1,000 days, in 1/1000 */

    if (run->restarts && !plan->on && sim_saves_when_told(engine, attempt->job))
        attempt->restart_ms = TOLD_RESTART_MS;
    if (!plan->on || engine->setup->load->jobs[attempt->job].run_ms < plan->least_ms)
        return;
    attempt->stall_ms = plan->stall_ms;
    attempt->restart_ms = run->restarts ? plan->restart_ms : 0;
    attempt->every_ms = plan->every_ms;
    if (attempt->every_ms)
        return;
    rate = (__int128)(pool->failures_milli >= 0 ? pool->failures_milli
                                                : faults->nodes.per_1000_days_milli) *
               attempt->shares_count +
           (__int128)faults->chips.per_1000_days_milli * attempt->devices_milli / 1000;
    attempt->every_ms =
        rate > 0 ? sim_checkpoint_interval(plan->stall_ms,
                                           (int64_t)((__int128)1000 * 24 * HOUR_MS * 1000 / rate))
                 : INT64_MAX / 4;
}

static int64_t wall_of(const struct sim_attempt *attempt)
{
    __int128 run = ((__int128)attempt->work_ms * attempt->pace_ppm + PPM / 2) / PPM;
    __int128 wall = attempt->restart_ms + run;

    if (attempt->every_ms && run)
        wall += (run - 1) / attempt->every_ms * attempt->stall_ms;
    return wall > SIM_SPAN_MS_MAX ? SIM_SPAN_MS_MAX : (int64_t)wall;
}

void sim_attempt_run(struct sim_engine *engine, const struct effect *effect)
{
    uint32_t job = engine->by_id[effect->job_id];
    struct sim_run_job *run = &engine->jobs[job];
    const struct sim_job *asked = &engine->setup->load->jobs[job];
    struct sim_attempt *attempt = create(engine, effect, job);
    int64_t wall_ms;

    if (!attempt) {
        sim_engine_fail(engine, -ENOMEM, "out of memory");
        return;
    }
    run->attempt = attempt;
    if (run->first_ms < 0)
        run->first_ms = engine->now_ms;
    engine->last_start_ms = engine->now_ms;
    attempt->work_ms = run->left_ms;
    attempt->group = attempt->devices_milli ? group_of(engine, attempt, 0)
                                            : engine->sites[attempt->site].cpu_group;
    attempt->pace_ppm = pace_of(engine, attempt);
    set_rates(engine, attempt);
    set_checkpoints(engine, attempt, run);
    wall_ms = wall_of(attempt);
    attempt->outcome = OUTCOME_EXITED;
    attempt->exit_code = asked->outcome == SIM_FAILED ? 1 : 0;
    if (engine->setup->policy->limits == SIM_LIMITS_TRACE && asked->limit_ms &&
        wall_ms > asked->limit_ms) {
        wall_ms = asked->limit_ms;
        attempt->outcome = OUTCOME_TIME_LIMIT;
        attempt->exit_code = 0;
    }
    attempt->slot = engine->active_count;
    engine->active[engine->active_count++] = attempt; /* room: one a job */
    engine->result->attempts++;
    engine->result->groups[attempt->group].attempts++;
    engine->result->sites[attempt->site].attempts++;
    count_series(engine, attempt, 1);
    sim_engine_expect(engine, engine->now_ms, SIM_ENTRY_STARTED, job, attempt->serial, 0);
    attempt->end_ms = engine->now_ms + wall_ms;
    sim_engine_expect(engine, attempt->end_ms, SIM_ENTRY_ENDED, job, attempt->serial, 0);
    sim_why_tell(engine, job, "running", "starts at %s%s%s",
                 engine->setup->fleet->sites[attempt->site].name,
                 attempt->devices_milli ? " on " : "", engine->result->groups[attempt->group].chip);
}

static void set_watts(struct sim_engine *engine, struct sim_attempt *attempt, int64_t watts_milli)
{
    count_series(engine, attempt, -1);
    attempt->watts_milli = watts_milli;
    set_costs(engine, attempt);
    count_series(engine, attempt, 1);
}

/* It stands no longer: what is left of it comes so much later. */
static void stop_standing(struct sim_engine *engine, struct sim_attempt *attempt)
{
    int64_t stood_ms = engine->now_ms - attempt->held_ms;

    if (attempt->held_ms < 0)
        return;
    attempt->stood_ms += stood_ms;
    attempt->stood_mj += (int64_t)((__int128)attempt->idle_watts_milli * stood_ms / 1000);
    attempt->end_ms += stood_ms;
    attempt->held_ms = -1;
    set_watts(engine, attempt, attempt->load_watts_milli);
}

void sim_attempt_suspend(struct sim_engine *engine, struct sim_attempt *attempt, bool is_held)
{
    if (attempt->slot == UINT32_MAX || is_held == (attempt->held_ms >= 0))
        return;
    attempt->serial = ++engine->serial; /* its planned end is void */
    if (is_held) {
        attempt->held_ms = engine->now_ms;
        set_watts(engine, attempt, attempt->idle_watts_milli);
        engine->result->suspends++;
        sim_engine_expect(engine, engine->now_ms, SIM_ENTRY_STANDS, attempt->job, attempt->serial,
                          0);
        return;
    }
    stop_standing(engine, attempt);
    sim_engine_expect(engine, attempt->end_ms, SIM_ENTRY_ENDED, attempt->job, attempt->serial, 0);
}

/* --- how it ends ------------------------------------------------------------------------------ */

/* Nothing ran there. */
static void account_spares(struct sim_engine *engine, struct sim_attempt *attempt)
{
    struct sim_goodput *sums =
        attempt->devices_milli ? &engine->result->devices : &engine->result->cpus;
    __int128 weight = attempt->devices_milli ? attempt->spare_devices_milli : attempt->spare_cpus;

    sums->overhead += weight * (engine->now_ms - attempt->spares_ms);
    attempt->spares_ms = engine->now_ms;
}

void sim_attempt_spares(struct sim_engine *engine, struct sim_attempt *attempt,
                        const struct allocation *allocation)
{
    if (attempt->slot == UINT32_MAX)
        return;
    account_spares(engine, attempt);
    count_series(engine, attempt, -1);
    take_spares(attempt, allocation);
    set_costs(engine, attempt);
    count_series(engine, attempt, 1);
}

/* What its time was worth. Of what a fault kills, only what a checkpoint holds counts. */
static void account(struct sim_engine *engine, struct sim_attempt *attempt, bool by_fault)
{
    struct sim_run_job *run = &engine->jobs[attempt->job];
    struct sim_goodput *sums =
        attempt->devices_milli ? &engine->result->devices : &engine->result->cpus;
    __int128 weight = attempt->devices_milli ? attempt->devices_milli : attempt->cpus;
    int64_t held = engine->now_ms - attempt->start_ms, elapsed = held - attempt->stood_ms;
    int64_t ran = MAX(elapsed - attempt->restart_ms, 0), done = ran, saved = 0;
    int64_t useful;

    if (attempt->every_ms && ran > attempt->every_ms) {
        int64_t cycle = attempt->every_ms + attempt->stall_ms, cycles = ran / cycle;

        saved = cycles * attempt->every_ms;
        done = saved + MIN(ran - cycles * cycle, attempt->every_ms);
    }
    useful = by_fault ? saved : done;
    sums->useful += weight * useful;
    sums->lost += weight * (done - useful);
    sums->overhead += weight * (held - done);
    account_spares(engine, attempt);
    attempt->useful_ms = useful;
    run->useful_ms += useful;
    run->left_ms -= MIN(run->left_ms, (int64_t)((__int128)useful * PPM / attempt->pace_ppm));
}

static void leave(struct sim_engine *engine, struct sim_attempt *attempt)
{
    attempt->ended_ms = engine->now_ms;
    count_series(engine, attempt, -1);
    engine->active[attempt->slot] = engine->active[--engine->active_count];
    engine->active[attempt->slot]->slot = attempt->slot;
    attempt->slot = UINT32_MAX;
}

void sim_attempt_kill(struct sim_engine *engine, struct sim_attempt *attempt, enum sim_end end)
{
    bool is_again = end != SIM_END_CANCEL; /* it goes on from its last checkpoint */

    if (attempt->slot == UINT32_MAX) /* it has ended already, unheard */
        return;
    stop_standing(engine, attempt);
    attempt->saved_at_stop = end == SIM_END_YIELD && sim_saves_when_told(engine, attempt->job);
    account(engine, attempt, is_again && !attempt->saved_at_stop);
    leave(engine, attempt);
    attempt->outcome = end == SIM_END_YIELD   ? OUTCOME_STOPPED
                       : end == SIM_END_LEASE ? OUTCOME_LEASE
                                              : OUTCOME_SIGNALLED;
    attempt->exit_code = end == SIM_END_FAULT ? EXIT_KILLED : EXIT_STOPPED;
    engine->result->yields += end == SIM_END_YIELD;
    if (is_again) {
        engine->jobs[attempt->job].restarts++;
        engine->result->restarts++;
        sim_why_tell(engine, attempt->job, "stopped", "%s",
                     end == SIM_END_YIELD   ? "makes way, or moves"
                     : end == SIM_END_LEASE ? "its site was not heard for too long"
                                            : "what it ran on broke, or was closed");
    }
    attempt->serial = ++engine->serial; /* its planned end is void */
    sim_engine_expect(engine, engine->now_ms, SIM_ENTRY_ENDED, attempt->job, attempt->serial, 0);
}

void sim_attempt_cut_off(struct sim_engine *engine, struct sim_attempt *attempt)
{
    if (attempt->slot == UINT32_MAX)
        return;
    stop_standing(engine, attempt);
    account(engine, attempt, false);
    leave(engine, attempt);
}

static struct sim_attempt *find(const struct sim_engine *engine, const struct sim_entry *entry)
{
    struct sim_attempt *attempt = engine->jobs[entry->a].attempt;

    return attempt && attempt->serial == entry->b ? attempt : NULL;
}

int sim_attempt_report_start(struct sim_engine *engine, const struct sim_entry *entry)
{
    const struct sim_attempt *attempt = find(engine, entry);
    struct event event = { .type = EVENT_ATTEMPT_STARTED };

    if (!attempt)
        return 0;
    event.attempt_started.job_id = engine->jobs[entry->a].id;
    event.attempt_started.epoch = attempt->epoch;
    event.attempt_started.started_ms = engine->setup->fleet->start_ms + attempt->start_ms;
    return sim_engine_step(engine, &event, NULL);
}

int sim_attempt_report_stands(struct sim_engine *engine, const struct sim_entry *entry)
{
    const struct sim_attempt *attempt = find(engine, entry);
    struct event event = { .type = EVENT_ATTEMPT_SUSPENDED };

    if (!attempt || engine->sites[attempt->site].links_down)
        return 0;
    event.attempt_suspended.job_id = engine->jobs[entry->a].id;
    event.attempt_suspended.epoch = attempt->epoch;
    event.attempt_suspended.suspended = true;
    event.attempt_suspended.reason = "";
    return sim_engine_step(engine, &event, NULL);
}

static int report_later(struct sim_engine *engine, struct sim_attempt *attempt)
{
    struct sim_site_state *site = &engine->sites[attempt->site];

    if (site->late_count == site->late_cap) {
        uint32_t cap = site->late_cap ? site->late_cap * 2 : 16;
        void *more = realloc(site->late, cap * sizeof(*site->late));

        if (!more)
            return -ENOMEM;
        site->late = more;
        site->late_cap = cap;
    }
    site->late[site->late_count].job = attempt->job;
    site->late[site->late_count++].serial = attempt->serial;
    return 0;
}

static int report_saved(struct sim_engine *engine, const struct sim_attempt *attempt)
{
    struct event event = { .type = EVENT_ATTEMPT_PROGRESS };

    event.attempt_progress.job_id = engine->jobs[attempt->job].id;
    event.attempt_progress.epoch = attempt->epoch;
    event.attempt_progress.checkpoint_ms = engine->setup->fleet->start_ms + engine->now_ms;
    return sim_engine_step(engine, &event, NULL);
}

int sim_attempt_report_end(struct sim_engine *engine, const struct sim_entry *entry)
{
    struct sim_attempt *attempt = find(engine, entry);
    int rc;

    if (!attempt)
        return 0;
    if (attempt->slot != UINT32_MAX) { /* of itself */
        account(engine, attempt, false);
        leave(engine, attempt);
    }
    if (!attempt->reported_late)
        engine->jobs[attempt->job].end_ms = engine->now_ms;
    if (engine->sites[attempt->site].links_down) {
        attempt->reported_late = true;
        return report_later(engine, attempt);
    }
    rc = attempt->saved_at_stop ? report_saved(engine, attempt) : 0;
    if (rc == 0)
        rc = sim_attempt_tell_end(engine, attempt);
    if (engine->jobs[entry->a].attempt == attempt) { /* a retry in the same step has its own */
        engine->jobs[entry->a].attempt = NULL;
        if (engine->jobs[entry->a].state == SIM_JOB_LIVE)
            sim_why_waits(engine, entry->a);
    }
    free(attempt);
    return rc;
}

int sim_attempt_tell_end(struct sim_engine *engine, const struct sim_attempt *attempt)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };
    struct event_attempt_ended *ended = &event.attempt_ended;
    int64_t wall_ms = attempt->ended_ms - attempt->start_ms;

    ended->job_id = engine->jobs[attempt->job].id;
    ended->epoch = attempt->epoch;
    ended->outcome = attempt->outcome;
    ended->exit_code = attempt->exit_code;
    ended->started_ms = engine->setup->fleet->start_ms + attempt->start_ms;
    ended->ended_ms = ended->started_ms + wall_ms;
    ended->usage.cpu_ms = (wall_ms - attempt->stood_ms) * attempt->cpus;
    ended->usage.energy_mj = attempt->stood_mj + (int64_t)((__int128)attempt->load_watts_milli *
                                                           (wall_ms - attempt->stood_ms) / 1000);
    ended->reason = attempt->exit_code == EXIT_KILLED ? "a node or device failed" : "";
    return sim_engine_step(engine, &event, NULL);
}

void sim_attempt_void(struct sim_engine *engine, struct sim_attempt *attempt)
{
    struct sim_goodput *sums =
        attempt->devices_milli ? &engine->result->devices : &engine->result->cpus;
    __int128 useful = (__int128)(attempt->devices_milli ? attempt->devices_milli : attempt->cpus) *
                      attempt->useful_ms;

    sums->useful -= useful;
    sums->lost += useful;
    engine->jobs[attempt->job].useful_ms -= attempt->useful_ms;
    engine->jobs[attempt->job].left_ms = attempt->work_ms;
    engine->jobs[attempt->job].end_ms = -1;
}
