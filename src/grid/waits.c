/* Who waits for cheaper or greener hours, and who pauses for them (sched/shift.h decides).
 *
 * A job waits only while there is room for it now: where room is short it takes its place in line.
 * Its deadline is kept with a margin, and with the time that all who wait would take, one after
 * the other, on the room that there is: those who wait for the same hour do not all fit into it. */
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define RESTART_MS 120000LL           /* lost by a pause, besides what no checkpoint holds */
#define RUN_MS_MIN (15 * 60 * 1000LL) /* once started */
#define MARGIN_MS (5 * 60 * 1000LL)
#define MARGIN_SHARE 10       /* a tenth of the work, */
#define ROOM_TASKS_MAX 65536u /* of one job */
#define MARGIN_MOST_MS (3600 * 1000LL)

struct outlooks { /* room for one */
    double *cost, *sd;
};

static struct outlooks scratch(struct grid *grid)
{
    if (!grid->outlook_out)
        grid->outlook_out = mem_alloc(2 * SHIFT_SLOTS_MAX, sizeof(double));
    return (struct outlooks){ grid->outlook_out, grid->outlook_out + SHIFT_SLOTS_MAX };
}

/* --- who may -----------------------------------------------------------------------------------
 */

bool waits_may(const struct grid *grid, const struct terms *terms)
{
    const struct objective *objective = &terms->objective;

    if (!grid->powers_count || terms->waits_never || !terms->deadline_ms || !terms->duration_ms_max)
        return false;
    switch ((enum objective_kind)objective->kind) {
    case OBJECTIVE_FASTEST:
        return false;
    case OBJECTIVE_CHEAPEST:
    case OBJECTIVE_GREENEST:
        return true;
    case OBJECTIVE_WEIGHTS: /* when time is not worth more than both */
        return objective->weight_money_milli + objective->weight_carbon_milli >
               objective->weight_time_milli;
    }
    return false;
}

static bool is_interruptible(const struct terms *terms)
{
    return terms->checkpoint != CHECKPOINT_NONE && terms->requeue_on_loss;
}

static int64_t left_after(const struct terms *terms, int64_t saved_ms)
{
    int64_t left_ms = MAX(terms->duration_ms_max - saved_ms, terms->duration_ms_max / 20);

    return left_ms + END_SLACK_MS + (saved_ms ? RESTART_MS : 0);
}

int64_t waits_left_ms(const struct grid *grid, const struct job *job)
{
    return left_after(job_terms(grid, job), job->wait ? job->wait->saved_ms : 0);
}

/* Before its deadline, besides what is known to take time. */
static int64_t margin_ms(int64_t work_ms)
{
    return MARGIN_MS + MIN(work_ms / MARGIN_SHARE, MARGIN_MOST_MS);
}

static uint64_t width_of(const struct shape *shape)
{
    return (uint64_t)(shape->devices_milli ? shape->devices_milli : shape->cpus) * shape->tasks;
}

uint64_t waits_units(const struct grid *grid, const struct job *job)
{
    return (uint64_t)waits_left_ms(grid, job) / 1000 * width_of(job_shape(grid, job));
}

/* --- should it ---------------------------------------------------------------------------------
 */

/* How long all who wait, and this, would take on what is free now, beyond this one's own time.
 * Where all of them have room at once nobody is behind another. */
static int64_t behind_ms(struct grid *grid, struct shape *shape, int64_t left_ms)
{
    bool on_devices = shape->devices_milli > 0;
    struct shape wide = *shape;
    uint64_t work = grid->waiting_units[on_devices] + (uint64_t)left_ms / 1000 * width_of(shape);
    uint64_t room = 0;

    wide.tasks = ROOM_TASKS_MAX; /* of a node, too, as many as there is room for */
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        const struct candidate *at = &shape->candidates[i];

        room += fit_count(&wide, &grid->fleet, at->site, at->chip) * width_of(shape) / shape->tasks;
    }
    if (!room)
        return INT64_MAX / 4;
    if (grid->waiting_width[on_devices] + width_of(shape) <= room)
        return 0;
    return MAX((int64_t)MIN(work / room * 1500, (uint64_t)INT64_MAX / 4) - left_ms, (int64_t)0);
}

static double rate_now(const struct grid *grid, const struct candidate *at,
                       const struct objective *objective)
{
    const struct fleet_site *site = &grid->fleet.sites[at->site];
    bool is_money = objective->kind != OBJECTIVE_GREENEST;

    if (site->power.has_rates)
        return (double)(is_money ? site->power.price_micro_per_kwh : site->power.carbon_mg_per_kwh);
    return (double)(is_money ? site->info.tariff.power_price_micro_per_kwh
                             : site->info.tariff.carbon_g_per_kwh_milli);
}

/* What a task for an hour costs there when a kWh costs `rate`: held devices and CPUs too. */
static double hourly(const struct grid *grid, const struct candidate *at,
                     const struct objective *objective, double rate)
{
    double kw = (double)MAX(at->watts_milli, (int64_t)1000) / 1e6;

    if (objective->kind == OBJECTIVE_CHEAPEST)
        return (double)at->price_micro + kw * (rate - rate_now(grid, at, objective));
    return kw * rate;
}

static void look_at(struct grid *grid, const struct candidate *at, const struct terms *terms,
                    const struct shift_job *job, struct wait_verdict *best, double *best_cost)
{
    const struct objective *objective = &terms->objective;
    struct outlooks room = scratch(grid);
    struct wait_verdict now = { .site = at->site, .latest_ms = job->deadline_ms - job->work_ms };
    struct shift_outlook outlook;
    double cost;

    now.cost_now = now.cost_then = rate_now(grid, at, objective);
    if (tariffs_outlook(grid, at->site, objective, grid->now_ms, job->deadline_ms, room.cost,
                        room.sd, &outlook)) {
        struct shift_verdict verdict = shift_decide(job, &outlook, grid->now_ms);
        struct shift_plan plan;

        now.waits = !verdict.is_run;
        now.until_ms = MAX(verdict.until_ms, grid->now_ms + 1);
        now.start_ms = now.until_ms;
        now.cost_now = now.cost_then = verdict.cost_at_once;
        if (now.waits && shift_plan(job, &outlook, grid->now_ms, &plan, NULL, NULL) == 0) {
            now.cost_then = plan.cost;
            now.start_ms = MAX(plan.start_ms, now.until_ms);
        }
    }
    cost = hourly(grid, at, objective, now.cost_then);
    if (*best_cost <= cost)
        return;
    *best_cost = cost;
    *best = now;
}

void waits_decide(struct grid *grid, const struct terms *terms, struct shape *shape,
                  int64_t left_ms, struct wait_verdict *verdict_out)
{
    struct shift_job job = { .work_ms = left_ms,
                             .deadline_ms = terms->deadline_ms,
                             .nominal_ms = grid->now_ms,
                             .restart_ms = RESTART_MS,
                             .run_ms_min = RUN_MS_MIN,
                             .is_interruptible = is_interruptible(terms) };
    double best_cost = (double)INFINITY;
    uint32_t count;

    *verdict_out = (struct wait_verdict){ .start_ms = grid->now_ms };
    if (!waits_may(grid, terms) ||
        !fit_find(shape, &grid->fleet, &terms->objective, FIT_NOW, &grid->fit))
        return;
    shape_candidates(shape, &grid->fleet, &terms->objective, &count);
    job.deadline_ms -= margin_ms(left_ms) + behind_ms(grid, shape, left_ms);
    if (job.deadline_ms - left_ms <= grid->now_ms)
        return;
    for (uint32_t i = 0; i < count && i < POWER_NAME_SITES; i++) {
        look_at(grid, &shape->candidates[i], terms, &job, verdict_out, &best_cost);
        if (terms->objective.kind == OBJECTIVE_WEIGHTS)
            break; /* weights compare within a site: the place is the first by the score */
    }
}

/* --- held
 * ------------------------------------------------------------------------------------------ */

static bool on_devices(const struct grid *grid, const struct job *job)
{
    return job_shape(grid, job)->devices_milli > 0;
}

void waits_leave(struct grid *grid, struct job *job)
{
    if (!job->wait)
        return;
    grid->waiting_units[on_devices(grid, job)] -= job->wait->units;
    grid->waiting_width[on_devices(grid, job)] -= job->wait->width;
    job->wait->units = job->wait->width = 0;
    job->wait->until_ms = 0;
    job->wait->cut_site = 0;
}

void waits_restored(struct grid *grid, struct job *job)
{
    if (!job->wait)
        return;
    if (waits_is_held(job) && job->wait->until_ms)
        waits_count(grid, job);
    if (job->wait->until_ms)
        timers_add(grid, job->wait->until_ms, job->item.id);
    if ((waits_is_held(job) && job->wait->cut_site) || suspend_holds(job))
        power_list(grid, job);
}

int waits_check(const struct grid *grid, const struct job *job, uint64_t units[2],
                uint64_t width[2], struct err *err)
{
    const struct job_wait *wait = job->wait;
    bool is_held = waits_is_held(job);
    int rc = suspend_check(grid, job, err);

    if (rc < 0 || !wait)
        return rc;
    units[on_devices(grid, job)] += wait->units;
    width[on_devices(grid, job)] += wait->width;
    if (wait->units != (is_held && wait->until_ms ? waits_units(grid, job) : 0) ||
        wait->width != (is_held && wait->until_ms ? width_of(job_shape(grid, job)) : 0))
        return err_set(err, -EINVAL, "job %" PRIu64 ": its waiting work is counted wrongly",
                       job->item.id);
    if (is_held && job->deps && job->deps->waiting)
        return err_set(err, -EINVAL, "job %" PRIu64 " waits for power before it is ready",
                       job->item.id);
    if (wait->cut_site && (job->state != JOB_HELD || !power_of(grid, wait->cut_site - 1)))
        return err_set(err, -EINVAL, "job %" PRIu64 " waits out a cut that there is not",
                       job->item.id);
    return 0;
}

void waits_count(struct grid *grid, struct job *job)
{
    job->wait->units = waits_units(grid, job);
    job->wait->width = width_of(job_shape(grid, job));
    grid->waiting_units[on_devices(grid, job)] += job->wait->units;
    grid->waiting_width[on_devices(grid, job)] += job->wait->width;
}

bool waits_hold(struct grid *grid, struct job *job)
{
    struct wait_verdict verdict;

    if (!waits_may(grid, job_terms(grid, job)) || pass_hold(grid, job) != HOLD_NONE)
        return false;
    waits_decide(grid, job_terms(grid, job), job_shape(grid, job), waits_left_ms(grid, job),
                 &verdict);
    if (!verdict.waits)
        return false;
    if (job->state != JOB_HELD)
        job_set_state(grid, job, JOB_HELD);
    if (!job->item.eligible_ms)
        job->item.eligible_ms = grid->now_ms; /* it stands in line as if it had been queued */
    job_wait_of(job)->until_ms = verdict.until_ms;
    waits_count(grid, job);
    timers_add(grid, verdict.until_ms, job->item.id);
    return true;
}

bool waits_is_held(const struct job *job)
{
    return job->state == JOB_HELD && job->wait && (job->wait->until_ms || job->wait->cut_site);
}

void waits_weigh(struct grid *grid, const struct job *job, struct wait_verdict *verdict_out)
{
    uint64_t *units = &grid->waiting_units[on_devices(grid, job)];
    uint64_t *width = &grid->waiting_width[on_devices(grid, job)];

    *units -= job->wait->units; /* it is not behind itself */
    *width -= job->wait->width;
    waits_decide(grid, job_terms(grid, job), job_shape(grid, job), waits_left_ms(grid, job),
                 verdict_out);
    *units += job->wait->units;
    *width += job->wait->width;
}

/* --- running
 * --------------------------------------------------------------------------------------- */

void waits_watch(struct grid *grid, struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    const struct site_power *power;

    if (job->wait)
        job->wait->until_ms = 0;
    if (!grid->powers_count)
        return;
    power = power_of(grid, job->grant->site);
    if (!power || !power->has_series || !waits_may(grid, terms) || !is_interruptible(terms))
        return;
    job_wait_of(job)->until_ms =
        (tariff_slot_of(&power->facts, grid->now_ms) + 1) * power->facts.slot_ms;
    timers_add(grid, job->wait->until_ms, job->item.id);
}

static bool should_pause(struct grid *grid, const struct job *job, struct shift_verdict *verdict)
{
    const struct terms *terms = job_terms(grid, job);
    struct outlooks room = scratch(grid);
    struct shift_outlook outlook;
    int64_t saved_at = job->past ? MAX(job->past->checkpoint_ms, job->started_ms) : job->started_ms;
    int64_t ran_ms =
        grid->now_ms - job->started_ms - (suspend_stood_ms(grid, job) - job->wait->stood_before_ms);
    int64_t undone_ms = terms->checkpoint == CHECKPOINT_ASKED ? 0 : grid->now_ms - saved_at;
    int64_t left_ms = MAX(waits_left_ms(grid, job) - ran_ms, END_SLACK_MS);
    struct shift_job asked = { .work_ms = left_ms,
                               .nominal_ms = job->started_ms,
                               .restart_ms = RESTART_MS + MAX(undone_ms, (int64_t)0),
                               .run_ms_min = RUN_MS_MIN,
                               .ran_ms = ran_ms,
                               .is_interruptible = true,
                               .is_running = true };

    /* It must find a place again: as if all of it were still to be done, and the line before it. */
    asked.deadline_ms = terms->deadline_ms - margin_ms(terms->duration_ms_max) - asked.restart_ms -
                        behind_ms(grid, job_shape(grid, job), left_ms);
    if (asked.deadline_ms - left_ms <= grid->now_ms ||
        !tariffs_outlook(grid, job->grant->site, &terms->objective, grid->now_ms, asked.deadline_ms,
                         room.cost, room.sd, &outlook))
        return false;
    *verdict = shift_decide(&asked, &outlook, grid->now_ms);
    return !verdict->is_run && verdict->reason == SHIFT_CHEAPER;
}

bool waits_has_timer(const struct job *job, int64_t time_ms)
{
    if (!job->wait || job->wait->until_ms != time_ms)
        return false;
    return job->state == JOB_HELD || job->state == JOB_STARTING || job->state == JOB_RUNNING;
}

void waits_fire(struct grid *grid, struct job *job)
{
    struct shift_verdict verdict;

    if (job->state == JOB_HELD) {
        waits_leave(grid, job);
        if (!waits_hold(grid, job)) {
            job_enqueue(grid, job);
            grid_emit(grid, EFFECT_JOB_CHANGED, job);
        }
        return;
    }
    job->wait->until_ms = 0;
    if (job->state == JOB_RUNNING && job->started_ms && !suspend_holds(job) &&
        yield_is_possible(grid, job) && should_pause(grid, job, &verdict))
        yield_ask(grid, job, YIELD_TARIFF, 0, "paused for %s hours: it goes on from its checkpoint",
                  job_terms(grid, job)->objective.kind == OBJECTIVE_GREENEST ? "greener"
                                                                             : "cheaper");
    else
        waits_watch(grid, job);
}

void waits_ask_again(struct grid *grid)
{
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        if (!waits_is_held(job) || job->wait->until_ms <= grid->now_ms)
            continue;
        job->wait->until_ms = grid->now_ms;
        timers_add(grid, grid->now_ms, job->item.id);
    }
}

/* Where it was stopped, by a cut or for a better hour, is told by `site`. True: it is held. */
bool waits_stopped(struct grid *grid, struct job *job, bool by_cut, uint32_t site)
{
    struct job_wait *wait = job_wait_of(job);
    int64_t restart_ms = wait->saved_ms ? RESTART_MS : 0; /* of the time that it ran no work */

    wait->until_ms = 0;
    if (job->past && job->started_ms && job->past->checkpoint_ms > job->started_ms)
        wait->saved_ms += MAX(MIN(job->past->checkpoint_ms, grid->now_ms) - job->started_ms -
                                  wait->stood_ms - restart_ms,
                              (int64_t)0);
    job->started_ms = 0;
    if (waits_hold(grid, job))
        return true;
    return by_cut && power_wait_out(grid, job, site);
}
