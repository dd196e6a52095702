#include "grid/state.h"

#define BACKFILL_DEPTH 16u /* jobs of one bucket tried for one short enough */

int64_t job_end_bound(const struct grid *grid, const struct job *job)
{
    int64_t duration_ms = job_terms(grid, job)->duration_ms_max;

    return duration_ms ? grid->now_ms + duration_ms + END_SLACK_MS : INT64_MAX;
}

enum hold pass_hold(const struct grid *grid, const struct job *job)
{
    const struct tenant *tenant = job_tenant(grid, job);
    const struct shape *shape = job_shape(grid, job);

    if (job->array && job->array->parallel_max && job->array->active >= job->array->parallel_max)
        return HOLD_PARALLEL;
    if (tenant->cpus_max >= 0 &&
        tenant->cpus_held + (uint64_t)shape->tasks * shape->cpus > (uint64_t)tenant->cpus_max)
        return HOLD_QUOTA_CPUS;
    if (tenant->devices_milli_max >= 0 && shape->devices_milli &&
        tenant->devices_milli_held + (uint64_t)shape->tasks * shape->devices_milli >
            (uint64_t)tenant->devices_milli_max)
        return HOLD_QUOTA_DEVICES;
    return HOLD_NONE;
}

static void start(struct grid *grid, struct job *job, enum fit_when when)
{
    struct grant *grant = fit_grant(job_shape(grid, job), &grid->fleet, &grid->fit, when);

    if (when == FIT_LIMITED)
        reserve_took(&grid->reserve, &grid->fleet, grant);
    attempt_start(grid, job, grant);
}

/* Behind a blocked head: what does not delay it. Gives the job to start, or NULL. */
static struct job *find_backfill(struct grid *grid, struct job *head, struct job *first,
                                 enum fit_when *when)
{
    const struct terms *terms = job_terms(grid, first);
    struct shape *shape = job_shape(grid, first);
    struct queue_item *item = &first->item;

    if (!grid->reserve.is_planned)
        reserve_plan(&grid->reserve, job_shape(grid, head), &grid->fleet,
                     &job_terms(grid, head)->objective, &grid->fit, grid->now_ms);
    if (grid->reserve.start_ms == INT64_MAX &&
        grid->now_ms - head->item.eligible_ms < GRID_HOLD_AFTER_MS) {
        *when = FIT_NOW; /* nobody knows when it could start: others need not wait yet */
        return fit_find(shape, &grid->fleet, &terms->objective, FIT_NOW, &grid->fit) ? first : NULL;
    }
    *when = FIT_LIMITED;
    if (fit_find(shape, &grid->fleet, &terms->objective, FIT_LIMITED, &grid->fit))
        return first;
    *when = FIT_NOW;
    for (uint32_t i = 0; item && i < BACKFILL_DEPTH; i++, item = item->next) {
        struct job *job = (struct job *)item;

        if (job_end_bound(grid, job) <= grid->reserve.start_ms &&
            grid->reserve.start_ms != INT64_MAX &&
            fit_find(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW, &grid->fit))
            return job;
    }
    return NULL;
}

void pass_run(struct grid *grid)
{
    uint32_t number, starts = 0;
    struct queue_bucket *bucket;
    struct job *head = NULL; /* the first that is blocked by lack of room alone */

    grid->wants_pass = false;
    grid->counts.passes_total++;
    reserve_clear(&grid->reserve, &grid->fleet);
    queue_walk_begin(&grid->queue);
    while ((bucket = queue_walk_next(&grid->queue, &number)) != NULL) {
        struct job *job = (struct job *)bucket->first;
        struct shape *shape = job_shape(grid, job);
        const struct objective *objective = &job_terms(grid, job)->objective;
        enum fit_when when = FIT_NOW;
        uint32_t candidates, left = bucket->count;

        if (pass_hold(grid, job) != HOLD_NONE)
            continue;
        if (!fit_find(shape, &grid->fleet, objective, FIT_NOW, &grid->fit)) {
            shape_candidates(shape, &grid->fleet, objective, &candidates);
            if (!head && candidates)
                head = job;
            continue;
        }
        if (head) {
            job = find_backfill(grid, head, job, &when);
            if (!job)
                continue;
        }
        if (starts++ == GRID_PASS_STARTS_MAX) {
            grid->wants_pass = true;
            break;
        }
        start(grid, job, when);
        if (left > 1)
            queue_walk_again(&grid->queue, number);
    }
    reserve_clear(&grid->reserve, &grid->fleet);
}
