/* The start that was promised to the first in line stays promised.
 *
 * Who was blocked and first at the end of a pass is the head of the next one too, and starts before
 * anybody else as soon as it fits. Without that a job of a tenant whose turn comes up, or any that
 * arrives and stands before it, would take the reservation along, and the start that `why` had
 * told would be made later; a wide job could lose it again and again.
 *
 * It gives way to work that stands above it whatever the turn: of a higher class, or within its
 * tenant's guarantee when it is not itself, or back in the queue from before it. Held back (by a
 * quota, a budget, a cut of power), it keeps nobody waiting either. */
#include "grid/power.h"
#include "grid/state.h"

static bool is_own(const struct grid *grid, const struct job *job)
{
    struct share_amount amount = shares_of_shape(job_shape(grid, job));

    return grid->guarantees_count &&
           share_is_within(grid->share, job_tenant(grid, job)->account, &amount);
}

/* Nothing but room keeps it. */
static bool can_start(struct grid *grid, struct job *job)
{
    uint32_t count;

    if (pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
        return false;
    shape_candidates(job_shape(grid, job), &grid->fleet, &job_terms(grid, job)->objective, &count);
    return count > 0;
}

/* It ran, was lost or made way, and stands where it stood: that is before it, and no arrival. */
static bool is_back(const struct job *other, const struct job *job)
{
    return other->epoch > 0 && queue_is_before(0, &other->item, 0, &job->item);
}

/* Does somebody wait who stands above it? */
static bool is_outranked(struct grid *grid, const struct job *job)
{
    uint32_t job_class = job_terms(grid, job)->job_class;
    bool own = is_own(grid, job);

    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *bucket = &grid->queue.buckets[grid->queue.used[i]];
        struct job *other = (struct job *)bucket->first;

        if (bucket->key.job_class < job_class)
            continue;
        if (bucket->key.job_class == job_class && (own || !is_own(grid, other)) &&
            !is_back(other, job))
            continue;
        if (can_start(grid, other))
            return true;
    }
    return false;
}

struct job *promise_job(struct grid *grid)
{
    struct job *job = grid->promised_id ? grid_job(grid, grid->promised_id) : NULL;

    if (!job || job->state != JOB_QUEUED || !can_start(grid, job) || is_outranked(grid, job))
        return NULL;
    return job;
}

struct job *promise_first(struct grid *grid)
{
    struct job *job = promise_job(grid);
    struct shape *shape;

    if (!job)
        return NULL;
    shape = job_shape(grid, job);
    if (!fit_find(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW, &grid->fit))
        return job;
    attempt_start(grid, job, fit_grant(shape, &grid->fleet, &grid->fit, FIT_NOW));
    return NULL;
}

void promise_keep(struct grid *grid, const struct job *head)
{
    grid->promised_id = head ? head->item.id : 0;
}
