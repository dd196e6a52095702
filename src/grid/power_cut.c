/* Who draws less when a site must: the ways of each job there, with what each would lose; what is
 * chosen among them (sched/shed.h); and what the jobs are told.
 *
 * Suspended it stands in place (suspend.c). Stopped it waits the cut out, unless there is room
 * elsewhere when it has ended. Whose checkpoint may go on elsewhere and who has room there now
 * *moves*: the same stop, which costs a restart and what is brought there instead of the wait. Each
 * room is counted for one job alone, but it is not kept: who finds it taken waits the cut out like
 * any other. An elastic job may *shrink*: stopped as for any other width, it goes on at once on
 * what power is left for it, and grows again when its site is under no cap. */
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/shed.h"

#include <stdlib.h>

#define STOP_MS 10000   /* from the word to the site until the power falls: a default grace */
#define SAVE_MS 20000   /* the same with a checkpoint asked for first */
#define SUSPEND_MS 2000 /* until it stands still */
#define RESTART_MS 120000
#define MOVE_MS 30000      /* until it is at another site, besides what is brought there */
#define CUT_MOVES_MAX 64u  /* jobs that have a place elsewhere, a cut, */
#define CUT_TRIES_MAX 256u /* and for so many it is looked for */

struct cut {
    struct grid *grid;
    uint32_t site;
    int64_t lasts_ms;
    const char *why;
    struct shed_job *jobs;
    uint32_t jobs_count;
    struct grant *elsewhere[CUT_MOVES_MAX]; /* held while it is chosen who moves */
    uint32_t elsewhere_count, tries_count;
};

/* When what it was told has happened: one that stands, stops or goes on narrower. */
static int64_t settled_mw(const struct grid *grid, const struct job *job, const struct grant *grant)
{
    int64_t mw = fleet_grant_mw(&grid->fleet, grant);
    uint32_t tasks;

    if (suspend_holds(job))
        return fleet_idle_mw(&grid->fleet, grant);
    if (job->state != JOB_STOPPING)
        return mw;
    if (job->yield_cause != YIELD_RESIZE)
        return 0;
    tasks = job_asked(grid, job)->tasks;
    return job->width_next && job->width_next < tasks ? mw * job->width_next / tasks : mw;
}

/* --- elsewhere -------------------------------------------------------------------------------- */

static bool may_move(const struct cut *cut, const struct job *job)
{
    const struct grid *grid = cut->grid;

    return !job->across && !job->bound_site &&
           job_terms(grid, job)->checkpoint != CHECKPOINT_NONE && yield_is_possible(grid, job) &&
           !budget_exists(grid, job->tenant); /* a dearer place may not be paid for */
}

static void hold_elsewhere(struct cut *cut, const struct shape *shape)
{
    struct grid *grid = cut->grid;
    struct grant *grant = fit_grant(shape, &grid->fleet, &grid->fit, FIT_LIMITED);

    grant->end_ms = grid->fleet.window.until_ms;
    fleet_hold(&grid->fleet, grant);
    power_held(grid, grant, 1);
    cut->elsewhere[cut->elsewhere_count++] = grant;
}

static void drop_elsewhere(struct cut *cut)
{
    while (cut->elsewhere_count) {
        struct grant *grant = cut->elsewhere[--cut->elsewhere_count];

        power_held(cut->grid, grant, -1);
        fleet_release(&cut->grid->fleet, grant);
        grant_destroy(grant);
    }
}

/* What a move costs besides a restart; -1 = it has no room anywhere else now, beside all that is
 * promised and where owners let it. Sites with a queue of their own have no room to speak of. */
static int64_t find_elsewhere(struct cut *cut, const struct job *job)
{
    struct grid *grid = cut->grid;
    struct shape *shape = job_shape(grid, job);
    int64_t span_ms = job_span_ms(grid, job), cost_ms;
    const struct candidate *candidates;
    uint32_t count;

    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    grid->fleet.window =
        (struct fleet_window){ INT64_MIN, span_end_ms(grid->now_ms + RESIZE_SLACK_MS, span_ms),
                               false };
    for (uint32_t i = 0; i < count; i++) {
        const struct fleet_site *site = &grid->fleet.sites[candidates[i].site];

        if (candidates[i].site == cut->site || !site->reachable || site->freight.waits_count ||
            !fit_candidate(shape, &grid->fleet, candidates[i].site, candidates[i].chip, FIT_LIMITED,
                           &grid->fit))
            continue;
        cost_ms = MOVE_MS + candidates[i].freight.in_ms;
        hold_elsewhere(cut, shape);
        return cost_ms;
    }
    return -1;
}

/* Lower classes first: they are the first to be interrupted. */
static void find_moves(struct cut *cut)
{
    for (uint32_t job_class = 0; job_class < CLASS_COUNT; job_class++)
        for (uint32_t i = 0; i < cut->jobs_count; i++) {
            const struct job *job = grid_job(cut->grid, cut->jobs[i].id);

            if (cut->jobs[i].job_class != job_class || !may_move(cut, job))
                continue;
            if (cut->elsewhere_count < CUT_MOVES_MAX && cut->tries_count++ < CUT_TRIES_MAX)
                cut->jobs[i].move_ms = find_elsewhere(cut, job);
        }
    drop_elsewhere(cut);
}

/* --- narrower --------------------------------------------------------------------------------- */

/* Only of what each task has as much of, and where it goes on at once. */
static bool may_shrink(const struct cut *cut, const struct job *job, const struct shed_job *ways)
{
    const struct grid *grid = cut->grid;
    const struct terms *terms = job_terms(grid, job);
    const struct fleet_site *site = &grid->fleet.sites[cut->site];

    return terms->tasks_max && job_asked(grid, job)->tasks > terms->tasks_min && !terms->spares &&
           !job->across && !suspend_holds(job) && yield_is_possible(grid, job) && site->reachable &&
           !site->freight.waits_count && ways->devices > 1 && mixed_is_one_kind(grid, job->grant);
}

static void offer_shrink(const struct cut *cut, const struct job *job, struct shed_job *ways)
{
    const struct terms *terms = job_terms(cut->grid, job);
    uint32_t tasks = job_asked(cut->grid, job)->tasks;

    if (!may_shrink(cut, job, ways))
        return;
    ways->devices_min =
        (uint32_t)(((uint64_t)ways->devices * terms->tasks_min + tasks - 1) / tasks);
    ways->shrink_ms = terms->checkpoint == CHECKPOINT_ASKED ? SAVE_MS : STOP_MS;
    ways->shrink_lost_ms =
        ways->restart_ms + (terms->checkpoint == CHECKPOINT_ASKED ? 0 : ways->undone_ms);
}

/* As wide as what is left for it allows, and what others free beyond the need, which is taken off
 * *over_mw. A task counts as it will when the next attempt asks for its power. */
static void shrink(const struct cut *cut, struct job *job, const struct shed_choice *choice,
                   int64_t *over_mw)
{
    struct grid *grid = cut->grid;
    const struct terms *terms = job_terms(grid, job);
    uint32_t now = job_asked(grid, job)->tasks, tasks;
    int64_t mw = fleet_grant_mw(&grid->fleet, job->grant);
    int64_t task_mw = MAX((mw + now - 1) / now, power_job_mw(grid, job, cut->site) / (int64_t)now);
    int64_t left_mw = choice->watts_left * 1000 + *over_mw;
    char text[112];

    tasks = (uint32_t)MIN(left_mw / MAX(task_mw, (int64_t)1), (int64_t)now - 1);
    tasks = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, tasks);
    *over_mw = MAX(left_mw - task_mw * tasks, (int64_t)0);
    snprintf(text, sizeof(text), "site %.30s %s", grid->fleet.sites[cut->site].info.name, cut->why);
    elastic_ask(grid, job, tasks, 0, text);
}

/* --- the choice ------------------------------------------------------------------------------- */

static struct shed_job describe(const struct cut *cut, const struct job *job,
                                const struct grant *grant)
{
    const struct grid *grid = cut->grid;
    const struct terms *terms = job_terms(grid, job);
    int64_t mw = settled_mw(grid, job, grant);
    bool may_stop = yield_is_possible(grid, job);
    int64_t since = job->started_ms ? job->started_ms : grid->now_ms;
    int64_t checkpoint = job->past ? job->past->checkpoint_ms : 0;
    struct shed_job ways;

    if (terms->checkpoint != CHECKPOINT_NONE)
        since = MAX(since, MIN(checkpoint, grid->now_ms));
    ways = (struct shed_job){
        .id = job->item.id,
        .job_class = (enum job_class)terms->job_class,
        .devices = (uint32_t)MAX(grant->devices_milli / 1000, (uint64_t)1),
        .interrupts = job->wait ? job->wait->cuts_count : 0,
        .watts = mw / 1000,
        .undone_ms = grid->now_ms - since,
        .restart_ms = RESTART_MS,
        .stop_ms = may_stop ? STOP_MS : -1,
        .pause_ms = suspend_is_possible(grid, job, cut->lasts_ms) ? SUSPEND_MS : -1,
        .save_ms = may_stop && terms->checkpoint == CHECKPOINT_ASKED ? SAVE_MS : -1,
        .cap_ms = -1,
        .shrink_ms = -1,
        .watts_paused = (fleet_idle_mw(&grid->fleet, grant) + 999) / 1000,
        .move_ms = -1,
    };
    offer_shrink(cut, job, &ways);
    return ways;
}

static void tell(const struct cut *cut, const struct shed_choice *choice, int64_t *over_mw)
{
    struct grid *grid = cut->grid;
    struct job *job = grid_job(grid, cut->jobs[choice->job].id);
    const char *site = grid->fleet.sites[cut->site].info.name;
    struct job_wait *wait = job_wait_of(job);

    wait->cuts_count++;
    wait->stopped_ms = grid->now_ms;
    switch (choice->how) {
    case SHED_PAUSE:
        suspend_ask(grid, job, cut->lasts_ms,
                    "suspended: site %s %s; it goes on when there is power", site, cut->why);
        break;
    case SHED_SHRINK:
        shrink(cut, job, choice, over_mw);
        break;
    case SHED_MOVE:
        yield_ask(grid, job, YIELD_SHED, 0, "moves: site %s %s; it goes on at another site", site,
                  cut->why);
        break;
    case SHED_KEEP:
    case SHED_CAP:
    case SHED_SAVE:
    case SHED_STOP:
        yield_ask(grid, job, YIELD_SHED, 0, "stopped: site %s %s; it goes on when there is power",
                  site, cut->why);
        break;
    }
}

/* Who may be asked: those who stand already, or the others. One that stands draws next to nothing,
 * and until it has stopped as much as any. */
static void list_jobs(struct cut *cut, bool stand)
{
    struct grid *grid = cut->grid;

    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        const struct grant *grant = job_grant_at(job, cut->site);

        if (grant && suspend_holds(job) == stand && job->state != JOB_STOPPING &&
            cut->jobs_count < SHED_JOBS_MAX &&
            (yield_is_possible(grid, job) || suspend_is_possible(grid, job, cut->lasts_ms)))
            cut->jobs[cut->jobs_count++] = describe(cut, job, grant);
    }
}

static struct shed_result weigh(const struct cut *cut, int64_t watts, int64_t within_ms,
                                const struct shed_choice **choices_out)
{
    struct shed_params params = shed_params_default();
    struct shed_ask ask = { watts, within_ms, cut->lasts_ms, UINT32_MAX };
    struct shed_result result;

    params.watts_margin_milli = 0; /* the limit is of the same figures, not of a meter */
    params.time_margin_ms = MIN(params.time_margin_ms, within_ms / 4);
    result = shed_choose(cut->grid->shed, &params, &ask, cut->jobs, cut->jobs_count, choices_out);
    if (!result.is_met) { /* too little in time: late is better than not at all */
        ask.within_ms = MAX(within_ms, POWER_CAP_WITHIN_MS);
        result =
            shed_choose(cut->grid->shed, &params, &ask, cut->jobs, cut->jobs_count, choices_out);
    }
    return result;
}

static void choose(struct cut *cut, int64_t watts, int64_t within_ms)
{
    const struct shed_choice *choices;
    struct shed_result result;
    uint32_t awake_count;
    int64_t over_mw;

    if (!cut->grid->shed)
        cut->grid->shed = shed_create();
    list_jobs(cut, false);
    find_moves(cut);
    result = weigh(cut, watts, within_ms, &choices);
    awake_count = cut->jobs_count;
    if (!result.is_met)
        list_jobs(cut, true);
    if (cut->jobs_count > awake_count)
        result = weigh(cut, watts, within_ms, &choices);
    over_mw = MAX(result.watts_freed - watts, (int64_t)0) * 1000;
    for (uint32_t i = 0; i < result.count; i++)
        tell(cut, &choices[i], &over_mw);
}

/* What is being stopped already counts as gone, what was told to stand as idle. */
void power_enforce(struct grid *grid, uint32_t site, int64_t within_ms, int64_t lasts_ms,
                   const char *why)
{
    const struct site_power *power = power_of(grid, site);
    int64_t limit_mw = power_limit_mw(grid, power), draw_mw = power->draw_mw;
    struct cut cut = { .grid = grid, .site = site, .lasts_ms = lasts_ms, .why = why };

    if (limit_mw < 0 || draw_mw <= limit_mw)
        return;
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        const struct grant *grant = job_grant_at(job, site);

        if (grant)
            draw_mw -= fleet_grant_mw(&grid->fleet, grant) - settled_mw(grid, job, grant);
    }
    if (draw_mw <= limit_mw)
        return;
    cut.jobs = mem_alloc(grid->fleet.grants_count, sizeof(*cut.jobs));
    choose(&cut, (draw_mw - limit_mw + 999) / 1000, within_ms);
    free(cut.jobs);
}
