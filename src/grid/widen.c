/* Which elastic jobs grow into devices that nobody else can use, and which shrink for who waits.
 * sched/resize.h says who and by how much; here it is tried with the fit itself, beside all that is
 * promised, before anybody is asked.
 *
 * Growing. At a site nobody may wait who has no start promised and could ever run there. What a job
 * would hold is free now and over at each promise that its next attempt could run into, so no
 * promised start is made later. It has run for its hold, and what it wins is worth the restart.
 *
 * Shrinking. For the first that is blocked, or else one that is promised a start: jobs of its class
 * and below give what they have above their least, if it starts by that and each of them fits on
 * the rest. What is freed is promised to it. So it comes before anybody is preempted whole, and
 * nobody is stopped for good: who shrank grows again when it has run for its hold. */
#include "grid/owners.h"
#include "grid/guards.h"
#include "grid/power.h"
#include "grid/rates.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/owner.h"
#include "sched/resize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDEN_EVERY_MS 5000  /* this goes over all that runs */
#define SHRINK_WAIT_MS 5000  /* blocked so long: often something ends by itself */
#define RESTART_MS 60000     /* what starting again costs, besides what was lost */
#define WIDEN_POINTS 16u     /* sizes at which a job's rate is asked for */
#define SHRINK_CANDIDATES 4u /* places that are tried, */
#define SHRINK_HEADS 4u      /* for so many that wait */
#define SHRINK_ROUNDS 3u     /* each time asking for twice as much */
#define UNITS_MAX (1u << 30) /* devices or CPUs of one job */

struct crowd { /* elastic jobs of one site on one kind of chip */
    struct job **jobs;
    struct resize_job *list;
    uint32_t *units; /* devices, or CPUs, of a task */
    uint32_t *out;
    struct resize_point (*points)[WIDEN_POINTS];
    uint32_t count;
};

static void crowd_init(struct crowd *crowd, uint32_t count)
{
    *crowd = (struct crowd){ .jobs = mem_alloc(count, sizeof(*crowd->jobs)),
                             .list = mem_alloc(count, sizeof(*crowd->list)),
                             .units = mem_alloc(count, sizeof(*crowd->units)),
                             .out = mem_alloc(count, sizeof(*crowd->out)),
                             .points = mem_alloc(count, sizeof(*crowd->points)) };
}

static void crowd_fini(struct crowd *crowd)
{
    free(crowd->jobs);
    free(crowd->list);
    free(crowd->units);
    free(crowd->out);
    free(crowd->points);
}

static int compare_jobs(const void *a, const void *b)
{
    const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;

    return x->item.id < y->item.id ? -1 : x->item.id > y->item.id;
}

/* May an attempt there be stopped and begin again at once? Where the site has a queue of its own,
 * it would stand at the end of that. */
static bool is_handy(const struct fleet_site *site)
{
    return site->reachable && !site->power.is_capped && !site->freight.waits_count;
}

/* Elastic ones that run and may be started again, by id. */
static struct job **list_running(const struct grid *grid, uint32_t *count_out)
{
    struct job **jobs = mem_alloc(grid->elastic_grants, sizeof(struct job *));
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];
        struct job *job = grid_job(grid, grant->job_id);

        if (job_terms(grid, job)->tasks_max && job->state == JOB_RUNNING &&
            yield_is_possible(grid, job) && !suspend_holds(job) &&
            is_handy(&grid->fleet.sites[grant->site]))
            jobs[count++] = job;
    }
    if (count)
        qsort(jobs, count, sizeof(struct job *), compare_jobs);
    *count_out = count;
    return jobs;
}

/* --- what resize.h wants to know ---------------------------------------------------------------
 */

static uint32_t unit_of(const struct shape *shape)
{
    return shape->devices_milli ? MAX(shape->devices_milli / 1000, 1u) : shape->cpus;
}

static uint32_t units(uint64_t tasks, uint32_t unit)
{
    return (uint32_t)MIN(tasks * unit, (uint64_t)UNITS_MAX);
}

static int64_t restart_cost_ms(const struct grid *grid, const struct job *job)
{
    const struct spares_mean *stall = job->past ? &job->past->saves.stall : NULL;
    int64_t cost_ms = RESTART_MS + (stall && stall->count ? stall->sum_ms / stall->count : 0);
    int64_t saved_ms = MAX(job->started_ms, job->past ? job->past->checkpoint_ms : 0);

    if (job_terms(grid, job)->checkpoint == CHECKPOINT_OWN && saved_ms < grid->now_ms)
        cost_ms += grid->now_ms - saved_ms; /* nothing asks it to save */
    return cost_ms;
}

/* The work's rate at the widths that double; 0 points: nothing is known, and it is in proportion.
 */
static uint32_t fill_points(const struct grid *grid, const struct job *job, uint32_t unit,
                            struct resize_point *points)
{
    const struct terms *terms = job_terms(grid, job);
    uint32_t count = 0;

    for (uint64_t tasks = terms->tasks_min; tasks <= terms->tasks_max && count < WIDEN_POINTS;
         tasks *= 2) {
        double seconds = rates_at_width(grid, job, (uint32_t)tasks);

        if (!(seconds > 0))
            return 0;
        points[count++] = (struct resize_point){ units(tasks, unit), 1 / seconds };
    }
    return count;
}

static void crowd_add(const struct grid *grid, struct crowd *crowd, struct job *job,
                      const struct resize_params *params)
{
    const struct terms *terms = job_terms(grid, job);
    const struct grant *grant = job->grant;
    uint32_t at = crowd->count++, unit = unit_of(job_shape(grid, job));
    uint32_t tasks = job_shape(grid, job)->tasks;
    uint32_t step = terms->tasks_step == REQUEST_STEP_DOUBLE ? tasks : terms->tasks_step;
    int64_t hold_ms = terms->resize_hold_ms ? terms->resize_hold_ms : params->hold_ms;

    crowd->jobs[at] = job;
    crowd->units[at] = unit;
    crowd->list[at] = (struct resize_job){
        .id = job->item.id,
        .job_class = (enum job_class)terms->job_class,
        .devices = units(tasks, unit),
        .devices_min = units(terms->tasks_min, unit),
        .devices_max = units(MAX(elastic_most(grid, job), tasks), unit),
        .step = MAX(units(step, unit), 1u),
        .points = crowd->points[at],
        .points_count = fill_points(grid, job, unit, crowd->points[at]),
        .resize_ms = restart_cost_ms(grid, job),
        .left_ms = grant->end_ms < INT64_MAX ? MAX(grant->end_ms - END_SLACK_MS - grid->now_ms, 0)
                                             : INT64_MAX,
        .changed_ms = grant->granted_ms + hold_ms - params->hold_ms,
    };
}

/* --- growing ---------------------------------------------------------------------------------- */

/* Sites where somebody waits for room who has no start promised: what is idle there is for them. */
static void mark_wanted(struct grid *grid, bool *is_wanted)
{
    const struct queue *queue = &grid->queue;

    for (uint32_t i = 0; i < queue->used_count; i++) {
        const struct queue_bucket *bucket = &queue->buckets[queue->used[i].number];
        struct job *job = (struct job *)bucket->first;
        const struct promise *promise = promise_of(grid, job);
        const struct candidate *candidates;
        uint32_t count;

        if ((promise && promise->plan && bucket->count == 1) || pass_hold(grid, job) != HOLD_NONE ||
            power_holds(grid, job))
            continue;
        candidates = shape_candidates(job_shape(grid, job), &grid->fleet,
                                      &job_terms(grid, job)->objective, &count);
        for (uint32_t k = 0; k < count; k++)
            is_wanted[candidates[k].site] = true;
    }
}

static uint32_t idle_units(const struct fleet_site *site, uint16_t chip)
{
    uint64_t idle = 0;

    for (uint32_t n = 0; n < site->info.nodes_count; n++) {
        const struct fleet_node *node = &site->nodes[n];

        if (!node_is_open(node))
            continue;
        if (chip == FLEET_NO_CHIP && node_cpus_free(node) > 0)
            idle += (uint64_t)node_cpus_free(node);
        for (uint32_t d = 0; chip != FLEET_NO_CHIP && d < node->devices_count; d++)
            idle += node->devices[d].chip == chip && device_is_usable(&node->devices[d]) &&
                    !node->devices[d].used_milli;
    }
    return (uint32_t)MIN(idle, (uint64_t)UNITS_MAX);
}

/* Its next attempt must be paid for while the money of this one is still set aside. */
static bool is_paid(struct grid *grid, const struct job *job, uint32_t tasks)
{
    const struct shape *shape = job_shape(grid, job);
    uint64_t more = tasks > shape->tasks ? tasks - shape->tasks : 0;
    int64_t left_micro = budget_left(grid, job->tenant);
    enum hold hold;

    if (more && pass_full_for(grid, job, more * shape->cpus, more * shape->devices_milli, &hold))
        return false;
    return left_micro == INT64_MAX || budget_price_of(grid, job, tasks) <= left_micro;
}

/* Where its shape fits at the site beside the promises, for as long as it may run if it begins
 * soon; into grid.fit. */
static bool fits_at(struct grid *grid, const struct job *job, struct shape *shape, uint32_t site,
                    bool is_promised)
{
    int64_t span_ms = job_span_ms(grid, job);
    const struct candidate *candidates;
    uint32_t count;

    grid->fleet.window =
        (struct fleet_window){ INT64_MIN, span_end_ms(grid->now_ms + RESIZE_SLACK_MS, span_ms),
                               is_promised };
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count; i++)
        if (candidates[i].site == site &&
            fit_candidate(shape, &grid->fleet, site, candidates[i].chip, FIT_LIMITED, &grid->fit))
            return true;
    return false;
}

static bool could_be(struct grid *grid, struct job *job, uint32_t tasks)
{
    struct grant *grant = job->grant;
    uint32_t number;
    bool fits;

    if (!is_paid(grid, job, tasks))
        return false;
    number = elastic_shape(grid, job, tasks);
    fleet_release(&grid->fleet, grant);
    fits = fits_at(grid, job, shapes_at(&grid->shapes, number), grant->site, false);
    fleet_hold(&grid->fleet, grant);
    shapes_unref(&grid->shapes, number);
    return fits;
}

static void grow_crowd(struct grid *grid, struct crowd *crowd, struct resize *resize, uint16_t chip)
{
    const struct resize_params params = resize_params_default();
    const struct fleet_site *site = &grid->fleet.sites[crowd->jobs[0]->grant->site];
    uint32_t idle = idle_units(site, chip);

    if (!idle)
        return;
    resize_grow(resize, &params, crowd->list, crowd->count, idle, INT64_MAX, grid->now_ms,
                crowd->out);
    for (uint32_t i = 0; i < crowd->count; i++) {
        struct job *job = crowd->jobs[i];
        const struct terms *terms = job_terms(grid, job);
        uint32_t most = elastic_most(grid, job), now = job_shape(grid, job)->tasks;
        uint32_t tasks = crowd->out[i] / crowd->units[i];
        bool is_wish = job->width_wish > now && (most - now) * (uint64_t)crowd->units[i] <= idle;

        tasks = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step,
                              is_wish ? most : MIN(tasks, most));
        if (tasks > now && could_be(grid, job, tasks))
            elastic_ask(grid, job, tasks, 0, is_wish ? "as its user wants" : "there is room");
    }
}

void widen_grow(struct grid *grid, bool is_done)
{
    const struct resize_params params = resize_params_default();
    struct resize *resize;
    struct crowd crowd;
    struct job **jobs;
    uint32_t count, done = 0;
    bool *is_wanted;

    if (grid->now_ms < grid->elastic_next_ms)
        return;
    grid->elastic_next_ms = grid->now_ms + WIDEN_EVERY_MS;
    if (!is_done || yield_any_soon(grid) || grid->preempt_for)
        return; /* who gets what is free is not settled yet */
    jobs = list_running(grid, &count);
    is_wanted = mem_alloc(grid->fleet.sites_count + 1, sizeof(*is_wanted));
    if (count)
        mark_wanted(grid, is_wanted);
    crowd_init(&crowd, count);
    resize = resize_create();
    while (done < count) { /* those of one site and chip together; each once */
        uint32_t site = jobs[done]->grant->site, left = done;
        uint16_t chip = fleet_grant_chip(&grid->fleet, jobs[done]->grant);

        crowd.count = 0;
        for (uint32_t i = done; i < count; i++) {
            struct job *job = jobs[i];

            if (job->grant->site == site && fleet_grant_chip(&grid->fleet, job->grant) == chip) {
                jobs[i] = jobs[left];
                jobs[left++] = job;
                crowd_add(grid, &crowd, job, &params);
            }
        }
        done = left;
        if (!is_wanted[site])
            grow_crowd(grid, &crowd, resize, chip);
    }
    resize_destroy(resize);
    crowd_fini(&crowd);
    free(is_wanted);
    free(jobs);
}

void widen_tick(struct grid *grid)
{
    if (!grid->elastic_next_ms || grid->now_ms < grid->elastic_next_ms)
        return;
    if (grid->elastic_grants)
        grid->wants_pass = true;
    else
        grid->elastic_next_ms = 0;
}

/* --- shrinking -------------------------------------------------------------------------------- */

bool widen_is_pending(const struct grid *grid)
{
    for (uint32_t i = 0; i < grid->yielding_count; i++) {
        const struct job *job = grid_job(grid, grid->yielding[i]);

        if (job->yield_cause == YIELD_RESIZE && job->yield_for && yield_is_soon(grid, job))
            return true;
    }
    return false;
}

static uint32_t width_of(const struct grid *grid, const struct crowd *crowd, uint32_t i)
{
    const struct terms *terms = job_terms(grid, crowd->jobs[i]);

    return request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step,
                         crowd->out[i] / crowd->units[i]);
}

static struct grant *hold_found(struct grid *grid, const struct shape *shape, int64_t end_ms)
{
    struct grant *grant = fit_grant(shape, &grid->fleet, &grid->fit, FIT_LIMITED);

    grant->end_ms = end_ms;
    fleet_hold(&grid->fleet, grant);
    return grant;
}

static void drop_tried(struct grid *grid, struct grant *grant)
{
    if (!grant)
        return;
    fleet_release(&grid->fleet, grant);
    grant_destroy(grant);
}

/* With those at their smaller widths: does all of the head's gang fit at the site, and each of them
 * besides? All is as before afterwards. */
static bool try_out(struct grid *grid, struct job *head, uint32_t site, const struct crowd *crowd)
{
    struct grant **tried = mem_alloc(crowd->count + 1, sizeof(struct grant *));
    struct promise *promise = promise_of(grid, head);
    bool fits, is_lifted = promise && promise->plan;

    if (is_lifted)
        promise_unset(promise, &grid->fleet);
    for (uint32_t i = 0; i < crowd->count; i++)
        if (crowd->out[i] < crowd->list[i].devices)
            fleet_release(&grid->fleet, crowd->jobs[i]->grant);
    fits = fits_at(grid, head, job_shape(grid, head), site, true);
    if (fits)
        tried[crowd->count] = hold_found(grid, job_shape(grid, head), grid->fleet.window.until_ms);
    for (uint32_t i = 0; fits && i < crowd->count; i++) {
        uint32_t number;

        if (crowd->out[i] >= crowd->list[i].devices)
            continue;
        number = elastic_shape(grid, crowd->jobs[i], width_of(grid, crowd, i));
        fits = fits_at(grid, crowd->jobs[i], shapes_at(&grid->shapes, number), site, false);
        if (fits)
            tried[i] =
                hold_found(grid, shapes_at(&grid->shapes, number), grid->fleet.window.until_ms);
        shapes_unref(&grid->shapes, number);
    }
    for (uint32_t i = 0; i <= crowd->count; i++)
        drop_tried(grid, tried[i]);
    for (uint32_t i = 0; i < crowd->count; i++)
        if (crowd->out[i] < crowd->list[i].devices)
            fleet_hold(&grid->fleet, crowd->jobs[i]->grant);
    if (is_lifted)
        promise_set(promise, &grid->fleet);
    free(tried);
    return fits;
}

static bool may_shrink(const struct grid *grid, struct job *head, struct job *job, uint32_t site)
{
    const struct terms *terms = job_terms(grid, job);

    return job->grant->site == site && terms->job_class <= job_terms(grid, head)->job_class &&
           job_shape(grid, job)->tasks > terms->tasks_min &&
           (job_shape(grid, job)->devices_milli != 0) ==
               (job_shape(grid, head)->devices_milli != 0) &&
           !owners_protects(grid, job, site);
}

static bool shrink_at(struct grid *grid, struct job *head, const struct candidate *at,
                      struct crowd *crowd)
{
    const struct resize_params params = resize_params_default();
    const struct shape *shape = job_shape(grid, head);
    uint64_t fit_now = fit_count(shape, &grid->fleet, at->site, at->chip);
    uint64_t missing = shape->tasks > fit_now ? shape->tasks - fit_now : 1;
    uint32_t class_max = job_terms(grid, head)->job_class;
    uint64_t needed = MIN(missing * unit_of(shape), (uint64_t)UNITS_MAX);

    for (uint32_t round = 0; round < SHRINK_ROUNDS; round++, needed *= 2) {
        uint32_t freed =
            resize_shrink(&params, crowd->list, crowd->count, (enum job_class)class_max,
                          (uint32_t)needed, job_span_ms(grid, head), crowd->out);

        for (uint32_t i = 0; i < crowd->count; i++) /* the next width below is given up to */
            if (crowd->out[i] < crowd->list[i].devices)
                crowd->out[i] = units(width_of(grid, crowd, i), crowd->units[i]);
        if (freed && try_out(grid, head, at->site, crowd))
            return true;
        if (freed < needed)
            return false; /* there is no more */
    }
    return false;
}

/* Enough give at one place: they are asked, and what they free is promised to it. */
static bool make_room_for(struct grid *grid, struct job *head, struct job **jobs, uint32_t count,
                          struct crowd *crowd)
{
    const struct resize_params params = resize_params_default();
    struct candidate places[SHRINK_CANDIDATES];
    const struct candidate *candidates;
    uint32_t places_count;
    char why[48];

    candidates = shape_candidates(job_shape(grid, head), &grid->fleet,
                                  &job_terms(grid, head)->objective, &places_count);
    places_count = MIN(places_count, SHRINK_CANDIDATES);
    for (uint32_t i = 0; i < places_count; i++)
        places[i] = candidates[i];
    for (uint32_t i = 0; i < places_count; i++) {
        crowd->count = 0;
        for (uint32_t k = 0; k < count; k++)
            if (may_shrink(grid, head, jobs[k], places[i].site) &&
                !guards_keeps(grid, jobs[k], head) &&
                is_paid(grid, jobs[k], job_shape(grid, jobs[k])->tasks))
                crowd_add(grid, crowd, jobs[k], &params);
        for (uint32_t k = 0; k < crowd->count; k++) /* shrink_at goes down to a width it may be */
            crowd->list[k].step = units(1, crowd->units[k]);
        if (!crowd->count || !owner_is_open(&grid->fleet, job_shape(grid, head), places[i].site) ||
            !shrink_at(grid, head, &places[i], crowd))
            continue;
        snprintf(why, sizeof(why), "job %" PRIu64 " waits for room", head->item.id);
        for (uint32_t k = 0; k < crowd->count; k++)
            if (crowd->out[k] < crowd->list[k].devices)
                elastic_ask(grid, crowd->jobs[k], width_of(grid, crowd, k), head->item.id, why);
        promises_renew(grid, head);
        return true;
    }
    return false;
}

static bool is_in_need(struct grid *grid, const struct job *job)
{
    const struct promise *promise = promise_of(grid, job);

    return job->state == JOB_QUEUED && grid->now_ms - job->item.eligible_ms >= SHRINK_WAIT_MS &&
           !(promise && promise->plan && promise->start_ms <= grid->now_ms + END_SLACK_MS) &&
           pass_hold(grid, job) == HOLD_NONE && !power_holds(grid, job);
}

bool widen_make_room(struct grid *grid, struct job *head)
{
    struct job *heads[SHRINK_HEADS] = { head }, **jobs;
    uint32_t heads_count = head != NULL, count;
    struct crowd crowd;
    bool found = false;

    if (head && yield_pending(grid, YIELD_RESIZE, head->item.id))
        return true;
    if (!head || grid->now_ms < grid->elastic_next_ms || grid->preempt_for ||
        widen_is_pending(grid))
        return false;
    for (uint32_t i = 0; i < grid->promises_count && heads_count < SHRINK_HEADS; i++)
        if (grid->promises[i]->job_id != head->item.id)
            heads[heads_count++] = grid_job(grid, grid->promises[i]->job_id);
    jobs = list_running(grid, &count);
    crowd_init(&crowd, count);
    for (uint32_t i = 0; i < heads_count && count && !found; i++)
        if (is_in_need(grid, heads[i]))
            found = make_room_for(grid, heads[i], jobs, count, &crowd);
    crowd_fini(&crowd);
    free(jobs);
    return found && yield_pending(grid, YIELD_RESIZE, head->item.id);
}
