/* How wide an attempt is. A job that is elastic waits with its least width, so that it is promised
 * the earliest start, and starts as wide as there is room; its attempt is stopped as one that makes
 * way is, with a checkpoint first where it has a signal for that, and the next one has another
 * width, or other nodes. That is neither a failure nor a loss.
 *
 * Its width is the tasks of its shape, so quotas, budgets, shares and the ledger count what it
 * holds. While it stops, nobody plans with what it will hold again: to grow, its end is moved to
 * the latest that its next attempt can have; to shrink, nothing is planned anew until it has
 * (widen_is_pending). It goes on in the step in which its attempt ends, beside all that is
 * promised, so that nobody takes its place in between. */
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool elastic_is(const struct terms *terms)
{
    return terms->tasks_max || terms->spares;
}

uint32_t elastic_most(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);

    if (!terms->tasks_max)
        return job_asked(grid, job)->tasks;
    return request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step,
                         job->width_wish ? job->width_wish : terms->tasks_max);
}

uint32_t elastic_shape(struct grid *grid, const struct job *job, uint32_t tasks)
{
    struct request_shape *shape = mem_alloc(1, sizeof(*shape));
    uint32_t number;

    shape_to_request(job_shape(grid, job), shape);
    shape->tasks = tasks;
    number = shapes_get(&grid->shapes, shape);
    free(shape);
    return number;
}

/* It holds nothing. */
static void set_tasks(struct grid *grid, struct job *job, uint32_t tasks)
{
    struct request_shape *asked;

    if (job_asked(grid, job)->tasks == tasks)
        return;
    asked = mem_alloc(1, sizeof(*asked));
    shape_to_request(job_asked(grid, job), asked);
    asked->tasks = tasks;
    job_set_shape(grid, job, asked);
    free(asked);
    grid->request_of = 0; /* what was told of it is of another width */
}

void elastic_requeued(struct grid *grid, struct job *job)
{
    if (job_terms(grid, job)->tasks_max)
        set_tasks(grid, job, job_terms(grid, job)->tasks_min);
}

/* --- starting ---------------------------------------------------------------------------------
 */

struct place {
    uint32_t site;
    uint16_t chip;
    enum fit_when when;
};

/* Is the place one for so many of its tasks, by what they may cost? */
static bool is_candidate(struct grid *grid, const struct job *job, const struct place *at)
{
    const struct candidate *candidates;
    uint32_t count;

    candidates = shape_candidates(job_shape(grid, job), &grid->fleet,
                                  &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count; i++)
        if (candidates[i].site == at->site && candidates[i].chip == at->chip)
            return true;
    return false;
}

static bool fits_wide(struct grid *grid, struct job *job, const struct place *at, uint32_t tasks)
{
    set_tasks(grid, job, tasks);
    return is_candidate(grid, job, at) && pass_hold(grid, job) == HOLD_NONE &&
           !power_holds(grid, job) &&
           fit_candidate(job_shape(grid, job), &grid->fleet, at->site, at->chip, at->when,
                         &grid->fit);
}

/* The widest that fits, for the grant of its least width. Who fits wide fits narrow. */
static struct grant *widen(struct grid *grid, struct job *job, const struct place *at,
                           struct grant *least, uint32_t most)
{
    const struct terms *terms = job_terms(grid, job);
    uint32_t low = terms->tasks_min, high;
    struct grant *best = least;
    uint64_t room;

    set_tasks(grid, job, most);
    room = fit_count(job_shape(grid, job), &grid->fleet, at->site, at->chip);
    high = (uint32_t)MIN((uint64_t)most, MAX(room, low));
    high = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, high);
    for (uint32_t tasks = high; low < high;) {
        uint32_t middle;

        if (fits_wide(grid, job, at, tasks)) {
            grant_destroy(best);
            best = fit_grant(job_shape(grid, job), &grid->fleet, &grid->fit, at->when);
            low = tasks;
        } else {
            high = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, tasks - 1);
        }
        middle = low + (high - low + 1) / 2;
        tasks = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, middle);
        if (tasks <= low)
            tasks = high;
    }
    set_tasks(grid, job, low);
    return best;
}

void elastic_start(struct grid *grid, struct job *job, enum fit_when when, uint32_t most)
{
    const struct terms *terms = job_terms(grid, job);
    struct place at = { grid->fit.site, grid->fit.chip, when };
    struct grant *grant = fit_grant(job_shape(grid, job), &grid->fleet, &grid->fit, when);
    int64_t end_ms = job_end_bound(grid, job);

    promises_drop(grid, job);
    job_dequeue(grid, job);
    grid->fleet.window.until_ms = end_ms;
    grid->fleet.window.is_promised = false; /* that is so of its least width alone */
    if (terms->tasks_max)
        grant = widen(grid, job, &at, grant, most);
    if (terms->spares)
        grant = standby_add(grid, job, grant, when);
    attempt_take(grid, job, &grant, 1, end_ms);
}

bool elastic_resume(struct grid *grid, struct job *job, uint32_t site, uint32_t most)
{
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    uint32_t count;

    if (job->state != JOB_QUEUED || job->bound_site || !grid->fleet.sites[site].reachable ||
        pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
        return false;
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    grid->fleet.window = (struct fleet_window){ INT64_MIN, job_end_bound(grid, job), false };
    for (uint32_t i = 0; i < count; i++) {
        if (candidates[i].site != site ||
            !fit_candidate(shape, &grid->fleet, site, candidates[i].chip, FIT_LIMITED, &grid->fit))
            continue;
        elastic_start(grid, job, FIT_LIMITED, MIN(most, elastic_most(grid, job)));
        return true;
    }
    return false;
}

/* --- stopping ---------------------------------------------------------------------------------
 */

/* The latest that the attempt after this one may end, when it begins soon. */
static int64_t next_end(const struct grid *grid, const struct job *job)
{
    int64_t span_ms = job_span_ms(grid, job);

    return span_end_ms(grid->now_ms + RESIZE_SLACK_MS, span_ms);
}

void elastic_ask(struct grid *grid, struct job *job, uint32_t tasks, uint64_t for_id,
                 const char *why)
{
    uint32_t now = job_asked(grid, job)->tasks;

    if (tasks == now)
        yield_ask(grid, job, YIELD_RESIZE, for_id, "goes on with other nodes: %.110s", why);
    else
        yield_ask(grid, job, YIELD_RESIZE, for_id, "%s from %u to %u tasks: %.100s",
                  tasks > now ? "grows" : "shrinks", now, tasks, why);
    job->width_next = tasks;
    if (!for_id)
        fleet_set_end(&grid->fleet, job->grant, next_end(grid, job));
}

/* Does it have a spare node to go on with, and is `node` one that its tasks run on? */
static bool has_spare_for(const struct fleet_site *site, const struct grant *grant, uint32_t node)
{
    uint32_t gang = grant->parts_count - grant->spares_count;
    bool runs_there = false, has_spare = false;

    for (uint32_t i = 0; i < grant->parts_count; i++)
        if (i < gang)
            runs_there |= grant->parts[i].node == node;
        else
            has_spare |= node_is_open(&site->nodes[grant->parts[i].node]);
    return runs_there && has_spare;
}

void elastic_node_closed(struct grid *grid, uint32_t site_index, uint32_t node)
{
    const struct fleet_site *site = &grid->fleet.sites[site_index];
    uint64_t *ids = mem_alloc(site->nodes[node].grants_count + 1, sizeof(*ids));
    uint32_t count = 0;
    char why[112];

    for (const struct grant_part *part = site->nodes[node].parts; part && site->reachable;
         part = part->next)
        if (part->of->spares_count && has_spare_for(site, part->of, node) &&
            yield_is_possible(grid, grid_job(grid, part->of->job_id)))
            ids[count++] = part->of->job_id;
    ids_sort(ids, count);
    snprintf(why, sizeof(why), "node %s is closed, a spare one takes its place",
             site->info.nodes[node].name);
    for (uint32_t i = 0; i < count; i++) {
        struct job *job = grid_job(grid, ids[i]);

        elastic_ask(grid, job, job_asked(grid, job)->tasks, 0, why);
    }
    free(ids);
}

/* --- as its user wants ------------------------------------------------------------------------
 */

int elastic_check(const struct grid *grid, const struct event *event, struct err *err)
{
    uint64_t id = event->job_resize.job_id;
    uint32_t tasks = event->job_resize.tasks, width;
    const struct job *job = grid_job(grid, id);
    const struct terms *terms;

    if (grid_array(grid, id))
        return err_set(err, -EINVAL, "%" PRIu64 " is an array: resize its elements", id);
    if (!job && id && id < grid->next_id)
        return err_set(err, -EPROTO, "job %" PRIu64 " has ended", id);
    if (!job)
        return err_set(err, -ENOENT, "there is no job %" PRIu64, id);
    if (job->cancel_requested)
        return err_set(err, -EPROTO, "job %" PRIu64 " is being cancelled", id);
    terms = job_terms(grid, job);
    if (!terms->tasks_max)
        return err_set(err, -EPROTO,
                       "job %" PRIu64 " is not elastic: say `elastic` in its job file", id);
    if (tasks == job->width_wish)
        return err_set(err, -EALREADY, "job %" PRIu64 " is as wide as was asked", id);
    width = request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, tasks);
    if (tasks && (tasks < terms->tasks_min || tasks > terms->tasks_max))
        return err_field(err, -EINVAL, "tasks", "job %" PRIu64 " runs on %u to %u tasks", id,
                         terms->tasks_min, terms->tasks_max);
    if (tasks && tasks != width)
        return err_field(err, -EINVAL, "tasks",
                         "job %" PRIu64 " cannot run on %u tasks by its step; the next below is %u",
                         id, tasks, width);
    return 0;
}

void elastic_apply(struct grid *grid, const struct event *event)
{
    struct job *job = grid_job(grid, event->job_resize.job_id);
    const char *by = event->job_resize.by ? event->job_resize.by : "";
    const char *reason = event->job_resize.reason ? event->job_resize.reason : "";
    char why[112];
    uint32_t most;

    job->width_wish = event->job_resize.tasks;
    most = elastic_most(grid, job);
    grid->elastic_next_ms = 0; /* it may grow as soon as there is room */
    grid->wants_pass = true;
    if (!job->grant || job_asked(grid, job)->tasks <= most || !yield_is_possible(grid, job) ||
        !grid->fleet.sites[job->grant->site].reachable)
        return;
    snprintf(why, sizeof(why), "as asked%s%.40s%s%.50s", *by ? " by " : "", by, *reason ? ": " : "",
             reason);
    elastic_ask(grid, job, most, 0, why);
}

/* --- what others read -------------------------------------------------------------------------
 */

void elastic_say(const struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    const struct terms *terms = job_terms(grid, job);
    char wish[64] = "", spares[48] = "";

    out[0] = '\0';
    if (job->width_wish)
        snprintf(wish, sizeof(wish), ", no more than %u as its user wants", job->width_wish);
    if (job->grant && terms->spares)
        snprintf(spares, sizeof(spares), " with %u spare node%s", job->grant->spares_count,
                 job->grant->spares_count == 1 ? "" : "s");
    if (terms->tasks_max)
        snprintf(out, bytes, "%s %u of %u to %u tasks%s%s", job->grant ? "on" : "from",
                 job_asked(grid, job)->tasks, terms->tasks_min, terms->tasks_max, wish, spares);
    else if (*spares)
        snprintf(out, bytes, "on %u task%s%s", job_asked(grid, job)->tasks,
                 job_asked(grid, job)->tasks == 1 ? "" : "s", spares);
}

int elastic_check_job(const struct grid *grid, const struct job *job, struct err *err)
{
    const struct terms *terms = job_terms(grid, job);
    uint32_t tasks = job_asked(grid, job)->tasks;
    const struct grant *grant = job->grant;

    if (job->width_next && (job->state != JOB_STOPPING || job->yield_cause != YIELD_RESIZE))
        return err_set(err, -EINVAL, "invariant: job %" PRIu64 " does not stop to be resized",
                       job->item.id);
    if (grant && grant->spares_count &&
        (!terms->spares || grant->spares_count >= grant->parts_count ||
         grant->spares_count > grant->spares_wanted))
        return err_set(err, -EINVAL, "invariant: job %" PRIu64 " holds spare nodes for nothing",
                       job->item.id);
    if (!terms->tasks_max)
        return job->width_wish ? err_set(err, -EINVAL, "invariant: job %" PRIu64 " is not elastic",
                                         job->item.id)
                               : 0;
    if (grant ? request_width(terms->tasks_min, terms->tasks_max, terms->tasks_step, tasks) != tasks
              : tasks != terms->tasks_min)
        return err_set(err, -EINVAL, "invariant: job %" PRIu64 " is %u tasks wide, of %u to %u",
                       job->item.id, tasks, terms->tasks_min, terms->tasks_max);
    return 0;
}
