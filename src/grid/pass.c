#include "grid/power.h"
#include "grid/packing.h"
#include "grid/state.h"

#define BACKFILL_DEPTH 16u /* jobs of one bucket tried for one short enough */

int64_t job_end_bound(const struct grid *grid, const struct job *job)
{
    int64_t duration_ms = job_terms(grid, job)->duration_ms_max;

    return duration_ms ? grid->now_ms + duration_ms + END_SLACK_MS : INT64_MAX;
}

uint32_t pass_full_tenant(const struct grid *grid, const struct job *job, enum hold *hold_out)
{
    const struct shape *shape = job_shape(grid, job);
    uint64_t cpus = (uint64_t)shape->tasks * shape->cpus;
    uint64_t devices_milli = (uint64_t)shape->tasks * shape->devices_milli;

    for (uint32_t at = job->tenant; at; at = grid->tenants[at].parent) {
        const struct tenant *tenant = &grid->tenants[at];

        *hold_out = HOLD_QUOTA_CPUS;
        if (tenant->cpus_max >= 0 &&
            tenant->cpus_held + tenant->cpus_below + cpus > (uint64_t)tenant->cpus_max)
            return at;
        *hold_out = HOLD_QUOTA_DEVICES;
        if (tenant->devices_milli_max >= 0 && devices_milli &&
            tenant->devices_milli_held + tenant->devices_milli_below + devices_milli >
                (uint64_t)tenant->devices_milli_max)
            return at;
    }
    *hold_out = HOLD_NONE;
    return 0;
}

enum hold pass_hold(struct grid *grid, const struct job *job)
{
    enum hold hold;
    int64_t left, price;

    if (job->array && job->array->parallel_max && job->array->active >= job->array->parallel_max)
        return HOLD_PARALLEL;
    if (pass_full_tenant(grid, job, &hold))
        return hold;
    left = budget_left(grid, job->tenant);
    if (left == INT64_MAX)
        return HOLD_NONE;
    price = budget_price(grid, job);
    if (price < 0)
        return HOLD_BUDGET_UNKNOWN;
    return price > left ? HOLD_BUDGET : HOLD_NONE;
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
    if (!fit_find(shape, &grid->fleet, &terms->objective, FIT_NOW, &grid->fit))
        return NULL;
    for (uint32_t i = 0; item && i < BACKFILL_DEPTH; i++, item = item->next) {
        struct job *job = (struct job *)item;

        if (job_end_bound(grid, job) <= grid->reserve.start_ms &&
            grid->reserve.start_ms != INT64_MAX &&
            fit_find(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW, &grid->fit))
            return job;
    }
    return NULL;
}

struct pass {
    struct grid *grid;
    struct queue_bucket *blocked; /* the first in order that fits nowhere; NULL = none */
    const struct queue_bucket *after;
};

static void consider_blocked(struct pass *pass, const struct queue_bucket *bucket)
{
    struct grid *grid = pass->grid;

    if ((pass->blocked && !queue_bucket_is_before(&grid->queue, bucket, pass->blocked)) ||
        (pass->after && !queue_bucket_is_before(&grid->queue, pass->after, bucket)))
        return;
    if (!grid->shapes.list[bucket->key.shape].candidates_count ||
        pass_hold(grid, (struct job *)bucket->first) != HOLD_NONE ||
        power_holds(grid, (struct job *)bucket->first))
        return;
    pass->blocked = &grid->queue.buckets[bucket->first->bucket];
}

/* Room only shrinks while a pass runs: what fits nowhere at its begin need not be walked over, but
 * for who is the first of them. */
static void find_blocked(struct pass *pass)
{
    const struct grid *grid = pass->grid;

    pass->blocked = NULL;
    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *other = &grid->queue.buckets[grid->queue.used[i]];

        if (grid->shapes.list[other->key.shape].no_fit_version == grid->fleet.room_version)
            consider_blocked(pass, other);
    }
}

static bool may_start(void *context, const struct queue_bucket *bucket)
{
    struct pass *pass = context;
    struct grid *grid = pass->grid;

    if (fit_exists(&grid->shapes.list[bucket->key.shape], &grid->fleet, grid->counts.passes_total,
                   &grid->fit))
        return true;
    consider_blocked(pass, bucket);
    return false;
}

/* The first that is blocked, if it is before `bucket` (NULL: whatever comes). One that a quota has come to hold since the
 * pass began blocks nobody: the next one, then. */
static struct job *blocked_before(struct pass *pass, const struct queue_bucket *bucket)
{
    struct grid *grid = pass->grid;

    while (pass->blocked &&
           (!bucket || queue_bucket_is_before(&grid->queue, pass->blocked, bucket))) {
        struct job *job = (struct job *)pass->blocked->first;

        if (pass_hold(grid, job) == HOLD_NONE)
            return job;
        pass->after = pass->blocked;
        find_blocked(pass);
    }
    return NULL;
}

void pass_run(struct grid *grid)
{
    struct pass pass = { .grid = grid };
    uint32_t number, starts = 0;
    struct queue_bucket *bucket;
    struct job *head; /* the first that is blocked by lack of room alone */
    bool has_turns;

    grid->wants_pass = false;
    grid->counts.passes_total++;
    if (grid->fleet.packer)
        packer_look(grid->fleet.packer, &grid->fleet);
    power_resume(grid);
    reserve_clear(&grid->reserve, &grid->fleet);
    head = preempt_first(grid);
    if (!head)
        head = promise_first(grid);
    has_turns = shares_rank(grid);
    queue_walk_begin_with(&grid->queue, may_start, &pass);
    while ((bucket = queue_walk_next(&grid->queue, &number)) != NULL) {
        struct job *job = (struct job *)bucket->first;
        struct shape *shape = &grid->shapes.list[bucket->key.shape];
        const struct objective *objective;
        enum fit_when when = FIT_NOW;
        uint32_t candidates, left = bucket->count;

        if (!head)
            head = blocked_before(&pass, bucket);
        if (head && shape->no_fit_version == grid->fleet.room_version)
            continue; /* what was left when the pass began is taken */
        objective = &job_terms(grid, job)->objective;
        if (pass_hold(grid, job) != HOLD_NONE)
            continue;
        if (head) { /* what fits beside the promises fits */
            job = find_backfill(grid, head, job, &when);
            if (!job)
                continue;
        } else if (!fit_find(shape, &grid->fleet, objective, FIT_NOW, &grid->fit)) {
            shape_candidates(shape, &grid->fleet, objective, &candidates);
            if (candidates && !power_holds(grid, job))
                head = job;
            continue;
        }
        if (starts++ == GRID_PASS_STARTS_MAX) {
            grid->wants_pass = true;
            break;
        }
        start(grid, job, when);
        if (left > 1)
            queue_walk_again(&grid->queue, number);
        if (has_turns && shares_have_moved(grid, shape)) {
            shares_rank(grid);
            queue_walk_reorder(&grid->queue);
            pass.after = NULL;
            if (!head)
                find_blocked(&pass);
        }
    }
    reserve_clear(&grid->reserve, &grid->fleet);
    if (!head)
        head = blocked_before(&pass, NULL);
    promise_keep(grid, head);
    preempt_run(grid, head);
}
