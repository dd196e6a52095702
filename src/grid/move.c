/* A job that somebody wants elsewhere: its attempt is stopped as one that makes way is, with a
 * checkpoint first where it has a signal for that, and the next one is bound to a site, or away
 * from the one it leaves. That is neither a failure nor a loss.
 *
 * The binding is a place more in its shape, for one attempt; what the job asked for is kept beside
 * it (shape_asked) and holds again for those that follow. */
#include "grid/state.h"
#include "sched/explain.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Only there, or anywhere but there. False: the list of places is full. */
static bool add_place(struct request_shape *shape, const char *site, bool away)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < shape->places_count; i++)
        if (away || shape->places[i].deny || shape->places[i].kind != PLACE_SITE)
            shape->places[kept++] = shape->places[i];
    shape->places_count = kept;
    if (kept == REQUEST_PLACES_MAX)
        return false;
    shape->places[kept] = (struct request_place){ .kind = PLACE_SITE, .deny = away };
    memcpy(shape->places[kept].name, site, strlen(site));
    shape->places_count++;
    if (!away)
        shape->sites_max = 0; /* one site is all it may have */
    return true;
}

/* --- may it -----------------------------------------------------------------------------------
 */

static bool fits_across(struct shapes *shapes, uint32_t number, const struct grid *grid)
{
    const struct objective any = { .kind = OBJECTIVE_FASTEST };
    struct shape *shape = shapes_at(shapes, number);

    return shape->sites_max > 1 && across_most(shape, &grid->fleet, &any) >= shape->tasks;
}

static int check_fit(const struct grid *grid, const struct job *job, const char *site, bool away,
                     struct err *err)
{
    struct request_shape *asked = mem_alloc(1, sizeof(*asked));
    struct shapes own = { 0 };
    struct verdict is;
    int rc = 0;

    shape_to_request(job_asked(grid, job), asked);
    if (job_terms(grid, job)->tasks_max) /* elastic: however wide it is now */
        asked->tasks = job_terms(grid, job)->tasks_min;
    if (!away && !shape_allows_site(job_asked(grid, job),
                                    &grid->fleet.sites[fleet_find_site(&grid->fleet, site)].info))
        rc = err_set(err, -EPROTO, "job %" PRIu64 ": its `where` does not allow site %s",
                     job->item.id, site);
    else if (!add_place(asked, site, away))
        rc = err_set(err, -EPROTO, "job %" PRIu64 " names too many places in its `where`",
                     job->item.id);
    if (rc == 0) {
        uint32_t number = shapes_get(&own, asked);

        is =
            explain_shape(shapes_at(&own, number), &grid->fleet,
                          away ? EXPLAIN_ALL_SITES : (uint32_t)fleet_find_site(&grid->fleet, site));
        if (is.code != VERDICT_BUSY && away && fits_across(&own, number, grid))
            is.code = VERDICT_BUSY;
        if (is.code != VERDICT_BUSY && away)
            rc = err_set(err, -EPROTO, "job %" PRIu64 " fits at no other site than %s (%s)",
                         job->item.id, site, verdict_name(is.code));
        else if (is.code == VERDICT_UNREACHABLE || is.code == VERDICT_CLOSED)
            rc = err_set(err, -EPROTO, "site %s takes no work now: it is %s", site,
                         is.code == VERDICT_CLOSED ? "cordoned" : "not heard");
        else if (is.code != VERDICT_BUSY)
            rc = err_set(err, -EPROTO, "job %" PRIu64 " never fits at site %s (%s)", job->item.id,
                         site, verdict_name(is.code));
        shapes_fini(&own);
    }
    free(asked);
    return rc;
}

static int check_running(const struct grid *grid, const struct job *job, bool force,
                         struct err *err)
{
    const struct terms *terms = job_terms(grid, job);
    const struct fleet_site *at = &grid->fleet.sites[job->grant->site];

    if (!terms->requeue_on_loss)
        return err_set(err, -EPROTO,
                       "job %" PRIu64 " may not be started again (requeue_on_loss: false)",
                       job->item.id);
    if (terms->checkpoint == CHECKPOINT_NONE && !force)
        return err_set(err, -EPROTO,
                       "job %" PRIu64 " saves no checkpoint and would begin anew: --force moves it "
                       "all the same",
                       job->item.id);
    if (!at->reachable)
        return err_set(err, -EPROTO,
                       "site %s, where job %" PRIu64 " runs, is not heard: it cannot be stopped",
                       at->info.name, job->item.id);
    return 0;
}

static int check_state(const struct grid *grid, uint64_t id, const struct job *job, struct err *err)
{
    if (grid_array(grid, id))
        return err_set(err, -EINVAL, "%" PRIu64 " is an array: move its elements", id);
    if (!job && id && id < grid->next_id)
        return err_set(err, -EPROTO, "job %" PRIu64 " has ended", id);
    if (!job)
        return err_set(err, -ENOENT, "there is no job %" PRIu64, id);
    if (job->cancel_requested || job->state == JOB_STOPPING)
        return err_set(err, -EPROTO, "job %" PRIu64 " is being stopped", id);
    if (job->state == JOB_HELD)
        return err_set(err, -EPROTO, "job %" PRIu64 " is held: it runs nowhere yet", id);
    return 0;
}

int move_check(const struct grid *grid, const struct event *event, struct err *err)
{
    const struct job *job = grid_job(grid, event->job_move.job_id);
    const char *to = event->job_move.to ? event->job_move.to : "", *from;
    int rc = check_state(grid, event->job_move.job_id, job, err);
    int site = fleet_find_site(&grid->fleet, to);

    if (rc < 0)
        return rc;
    if (*to && site < 0)
        return err_set(err, -ENOENT, "there is no site %s", to);
    if (*to && grid_site_is_forgotten(grid, (uint32_t)site))
        return err_set(err, -EPROTO, "site %s was forgotten", to);
    if (!job->grant)
        return *to ? check_fit(grid, job, to, false, err) : 0;
    from = grid->fleet.sites[job->grant->site].info.name;
    if (strcmp(from, to) == 0)
        return err_set(err, -EALREADY, "job %" PRIu64 " is at site %s already", job->item.id, to);
    rc = check_running(grid, job, event->job_move.force, err);
    return rc < 0 ? rc : check_fit(grid, job, *to ? to : from, !*to, err);
}

/* --- shapes -----------------------------------------------------------------------------------
 */

struct shape *job_asked(const struct grid *grid, const struct job *job)
{
    return &grid->shapes.list[job->shape_asked ? job->shape_asked : job->shape];
}

/* What it asked for, and the place, or kind of chip there, that it is bound to or away from. */
static uint32_t bound_shape(struct grid *grid, const struct job *job,
                            const struct request_shape *asked)
{
    struct request_shape *bound = mem_copy(asked, sizeof(*asked));
    uint32_t number;

    add_place(bound, grid->fleet.sites[job->bound_site - 1].info.name, job->bound_away);
    if (job->bound_chip) {
        const char *chip = intern_data(&grid->strings, job->bound_chip);

        memset(bound->chips, 0, sizeof(bound->chips));
        memcpy(bound->chips[0], chip, strlen(chip));
        bound->chips_count = 1;
    }
    number = shapes_get(&grid->shapes, bound);
    free(bound);
    return number;
}

void job_set_shape(struct grid *grid, struct job *job, const struct request_shape *asked)
{
    uint32_t number = shapes_get(&grid->shapes, asked), other = 0;
    bool is_queued = job->item.bucket != 0;
    struct queue_key key;

    if (job->bound_site)
        other = bound_shape(grid, job, asked);
    if (is_queued)
        queue_remove(&grid->queue, &job->item);
    shapes_unref(&grid->shapes, job->shape);
    if (job->shape_asked)
        shapes_unref(&grid->shapes, job->shape_asked);
    job->shape = other ? other : number;
    job->shape_asked = other ? number : 0;
    if (!is_queued)
        return;
    key = job_queue_key(grid, job); /* its place in line stays */
    queue_add(&grid->queue, &key, &job->item);
}

/* --- doing it ---------------------------------------------------------------------------------
 */

/* `site` 0 = it goes where it likes; `chip` NULL = to any kind there. */
static void bind(struct grid *grid, struct job *job, uint32_t site, bool away, const char *chip)
{
    struct request_shape *asked = mem_alloc(1, sizeof(*asked));
    uint32_t bound_chip = intern_text(&grid->strings, chip);

    shape_to_request(job_asked(grid, job), asked);
    intern_unref(&grid->strings, job->bound_chip);
    job->bound_chip = bound_chip;
    job->bound_site = site;
    job->bound_away = away;
    job_set_shape(grid, job, asked);
    free(asked);
}

void move_bind_kind(struct grid *grid, struct job *job, uint32_t site, const char *chip)
{
    bind(grid, job, site + 1, false, chip);
}

void move_unbind(struct grid *grid, struct job *job)
{
    bind(grid, job, 0, false, NULL);
}

void move_requeued(struct grid *grid, struct job *job)
{
    if (job->moves)
        job->moves = false; /* this is the attempt that it is bound for */
    else if (job->bound_site)
        move_unbind(grid, job);
}

void move_apply(struct grid *grid, const struct event *event)
{
    struct job *job = grid_job(grid, event->job_move.job_id);
    const char *to = event->job_move.to ? event->job_move.to : "";
    const char *by = event->job_move.by ? event->job_move.by : "";
    const char *why = event->job_move.reason ? event->job_move.reason : "";
    uint32_t there = *to ? (uint32_t)fleet_find_site(&grid->fleet, to) + 1 : 0;

    if (!job->grant) {
        job_dequeue(grid, job);
        bind(grid, job, there, false, NULL);
        job_enqueue(grid, job);
        return;
    }
    bind(grid, job, there ? there : job->grant->site + 1, !there, NULL);
    job->moves = true;
    yield_ask(grid, job, YIELD_MOVE, 0, "moves %s %s%s%.40s%s%.60s",
              there ? "to site" : "away from", grid->fleet.sites[job->bound_site - 1].info.name,
              *by ? ", as asked by " : "", by, *why ? ": " : "", why);
}
