/* Starts that are promised: to the first few blocked jobs of each class (conservative backfilling;
 * who comes behind them may go around, as in EASY). A promise is planned against the ends that
 * running work is bound to and the promises there are; whatever starts afterwards is beside it.
 * So it only ever moves to an earlier start, but when its place is lost or what runs there outlives
 * the end it was bound to. */
#include "grid/guards.h"
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/owner.h"
#include "sched/topology.h"

#include <inttypes.h>
#include <errno.h>
#include <stdlib.h>

struct promise *promise_of(const struct grid *grid, const struct job *job)
{
    for (uint32_t i = 0; job->is_promised && i < grid->promises_count; i++)
        if (grid->promises[i]->job_id == job->item.id)
            return grid->promises[i];
    return NULL;
}

static struct promise *add(struct grid *grid, struct job *job)
{
    struct promise *promise = mem_alloc(1, sizeof(*promise));

    promise->job_id = job->item.id;
    promise->job_class = job_terms(grid, job)->job_class;
    promise->start_ms = promise->end_ms = INT64_MAX;
    MEM_GROW(grid->promises, grid->promises_cap, grid->promises_count + 1);
    grid->promises[grid->promises_count++] = promise;
    job->is_promised = true;
    return promise;
}

static void drop_at(struct grid *grid, uint32_t at)
{
    struct job *job = grid_job(grid, grid->promises[at]->job_id);

    promise_clear(grid->promises[at], &grid->fleet);
    free(grid->promises[at]->looks.list);
    free(grid->promises[at]);
    grid->promises_count--;
    for (; at < grid->promises_count; at++)
        grid->promises[at] = grid->promises[at + 1];
    if (job)
        job->is_promised = false;
}

void promises_drop(struct grid *grid, struct job *job)
{
    for (uint32_t i = 0; job->is_promised && i < grid->promises_count; i++)
        if (grid->promises[i]->job_id == job->item.id)
            drop_at(grid, i);
}

void promises_fini(struct grid *grid)
{
    while (grid->promises_count)
        drop_at(grid, grid->promises_count - 1);
    free(grid->promises);
}

/* What was looked for in vain, for a job of another shape by now, tells nothing. */
static struct promise_looks *looks_of(struct promise *promise, const struct job *job)
{
    struct promise_looks *looks = &promise->looks;

    if (looks->shape != job->shape) {
        free(looks->list);
        *looks = (struct promise_looks){ .shape = job->shape };
    }
    return looks;
}

/* The first start there is for it, into `found`; with own_only, in its own cells, which what is
 * lent of them may need END_SLACK_MS to leave. */
static int64_t find_start(struct grid *grid, struct promise *promise, int64_t before_ms,
                          bool own_only, struct promise *found)
{
    struct job *job = grid_job(grid, promise->job_id);
    struct reserve_ask ask = { .now_ms = grid->now_ms,
                               .before_ms = before_ms,
                               .looks = looks_of(promise, job) };
    struct shape *shape = job_shape(grid, job);
    int64_t lent_ms = own_only ? END_SLACK_MS : 0, start_ms;

    ask.span_ms = job_end_bound(grid, job);
    if (ask.span_ms < INT64_MAX)
        ask.span_ms -= grid->now_ms;
    if (ask.span_ms < INT64_MAX - lent_ms)
        ask.span_ms += lent_ms;
    if (before_ms >= lent_ms)
        ask.before_ms -= lent_ms;
    shape->own_only = own_only;
    start_ms = reserve_find(&grid->reserve, shape, &grid->fleet, &job_terms(grid, job)->objective,
                            &ask, &grid->fit, found);
    shape->own_only = false;
    return found->plan && start_ms > grid->now_ms ? start_ms + lent_ms : start_ms;
}

/* The place it had is given back for this one, which it owns from then on. */
static void set_place(struct grid *grid, struct promise *promise, const struct promise *place)
{
    promise_touch(promise, &grid->fleet); /* it may have been lifted only */
    promise_clear(promise, &grid->fleet);
    promise->is_claim = place->is_claim;
    promise->start_ms = place->start_ms;
    promise->end_ms = place->end_ms;
    promise->plan = place->plan;
    promise->chip = place->chip;
    promise_set(promise, &grid->fleet);
}

/* Plan for it, only before `before_ms` (-1: whenever); it has no place that is set. What it had is
 * kept when there is nothing sooner. Who could start now is left to the order of the pass, but for
 * those who were promised that already (may_be_now). */
static void plan(struct grid *grid, struct promise *promise, int64_t before_ms, bool may_be_now)
{
    struct job *job = grid_job(grid, promise->job_id);
    struct promise found = { .job_id = promise->job_id }, own = { .job_id = promise->job_id };
    int64_t start_ms = find_start(grid, promise, before_ms, false, &found), own_ms;

    if (job_shape(grid, job)->guard) {
        own_ms = find_start(grid, promise, found.plan ? start_ms : before_ms, true, &own);
        if (own.plan && (!found.plan || own_ms < start_ms)) {
            promise_clear(&found, &grid->fleet);
            found = own;
            start_ms = own_ms;
        } else {
            promise_clear(&own, &grid->fleet);
        }
    }
    if (found.plan && start_ms <= grid->now_ms && !may_be_now)
        promise_clear(&found, &grid->fleet);
    found.start_ms = start_ms;
    if (found.plan)
        set_place(grid, promise, &found);
    else if (promise->plan)
        promise_set(promise, &grid->fleet);
}

static uint32_t count_of(const struct grid *grid, bool is_own)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->promises_count; i++)
        count += grid->promises[i]->is_own == is_own;
    return count;
}

/* Where work is not ordered by age, one that never had a start to tell may be behind by now: it
 * leaves its place to the job. Starts for which room is being made are besides. */
static bool make_place(struct grid *grid, uint32_t job_class)
{
    uint32_t count = 0, planless = UINT32_MAX;

    for (uint32_t i = 0; i < grid->promises_count; i++) {
        const struct promise *promise = grid->promises[i];

        if (promise->job_class != job_class || promise->is_own)
            continue;
        count +=
            !(grid->ranks && promise->plan && promise->start_ms <= grid->now_ms + END_SLACK_MS);
        if (!promise->plan)
            planless = i;
    }
    if (count < grid->reservations)
        return count_of(grid, false) < PROMISES_MAX;
    if (!grid->ranks || planless == UINT32_MAX)
        return false;
    drop_at(grid, planless);
    return true;
}

struct promise *promises_make(struct grid *grid, struct job *job)
{
    struct promise *promise;

    if (!make_place(grid, job_terms(grid, job)->job_class))
        return NULL;
    promise = add(grid, job);
    if (!widen_is_pending(grid)) /* else in a pass soon */
        plan(grid, promise, -1, false);
    return promise;
}

void promises_own(struct grid *grid, struct job *job)
{
    if (count_of(grid, true) < PROMISES_OWN_MAX && !widen_is_pending(grid)) {
        struct promise *promise = add(grid, job);

        promise->is_own = true;
        plan(grid, promise, -1, false);
    }
}

bool promises_claim(struct grid *grid, struct job *job, struct grant *plan, uint16_t chip,
                    int64_t start_ms, int64_t end_ms)
{
    const struct promise place = {
        .is_claim = true, .start_ms = start_ms, .end_ms = end_ms, .plan = plan, .chip = chip
    };
    struct promise *promise = promise_of(grid, job);

    if (!(promise && promise->is_own) && count_of(grid, true) == PROMISES_OWN_MAX) {
        grant_destroy(plan);
        return false;
    }
    if (!promise)
        promise = add(grid, job);
    plan->job_id = job->item.id;
    promise->is_own = true;
    set_place(grid, promise, &place);
    return true;
}

void promises_renew(struct grid *grid, struct job *job)
{
    struct promise *promise = promise_of(grid, job);

    if (!promise && count_of(grid, false) == PROMISES_MAX)
        return;
    if (!promise)
        promise = add(grid, job);
    promise_unset(promise, &grid->fleet);
    plan(grid, promise, promise->plan ? promise->start_ms : -1, false);
    if (!promise->plan)
        promises_drop(grid, job);
}

static void break_promise(struct grid *grid, struct promise *promise, enum promise_break by)
{
    if (!promise->broken_ms || promise->start_ms < promise->broken_ms) {
        promise->broken_ms = promise->start_ms;
        promise->broken_by = by;
    }
    promise_clear(promise, &grid->fleet);
}

/* May it still be there, and are its nodes in one domain, where the job asks for that? Their labels
 * may have changed, as may what the site's owner lets in and whose cells they are in. */
static bool is_possible_yet(const struct grid *grid, const struct promise *promise)
{
    const struct grant *plan = promise->plan;
    const struct shape *shape = job_shape(grid, grid_job(grid, promise->job_id));

    if (!owner_lets(&grid->fleet, shape, plan->site) || !guards_lets(grid, shape, plan) ||
        (promise->start_ms > grid->now_ms &&
         owner_next_start(&grid->fleet, shape, plan->site, promise->start_ms) != promise->start_ms))
        return false;
    return topology_holds(shape, &grid->fleet.sites[plan->site], plan->parts, plan->parts_count);
}

/* Sites or nodes have changed, or more is promised than there will be. All are set anew in their
 * order, so that of those that collide the one that was made last goes. */
static void look_at_all(struct grid *grid)
{
    struct promise *broken[PROMISES_MAX + PROMISES_OWN_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->promises_count; i++)
        promise_unset(grid->promises[i], &grid->fleet);
    for (uint32_t i = 0; i < grid->promises_count; i++) {
        struct promise *promise = grid->promises[i];

        if (!promise->plan)
            continue;
        if (!is_possible_yet(grid, promise)) {
            break_promise(grid, promise, PROMISE_PLACE_LOST);
            broken[count++] = promise;
            continue;
        }
        promise_set(promise, &grid->fleet);
        for (uint32_t k = 0; k <= i && promise->plan; k++)
            if (grid->promises[k]->plan && !promise_is_sound(grid->promises[k], &grid->fleet)) {
                break_promise(grid, promise, PROMISE_PLACE_LOST);
                broken[count++] = promise;
            }
    }
    grid->fleet.is_overpromised = false;
    for (uint32_t i = 0; i < count; i++)
        plan(grid, broken[i], -1, true);
}

/* Is there a sooner start by now? */
static void look_again(struct grid *grid, struct promise *promise)
{
    if (promise->start_ms <= grid->now_ms)
        return; /* it may start */
    promise_lift(promise, &grid->fleet);
    plan(grid, promise, promise->plan ? promise->start_ms : -1, false);
}

/* What should have begun and has not: whatever was to come after it is late as well. They are
 * planned as if anew, in the order in which they were to begin. */
static void look_at_late(struct grid *grid)
{
    struct promise *late[PROMISES_MAX + PROMISES_OWN_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->promises_count; i++) {
        struct promise *promise = grid->promises[i];
        uint32_t at = count;

        if (!promise->plan || promise->start_ms >= grid->now_ms - END_SLACK_MS / 2)
            continue;
        promise_unset(promise, &grid->fleet);
        for (; at && promise->start_ms < late[at - 1]->start_ms; at--)
            late[at] = late[at - 1];
        late[at] = promise;
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        int64_t was_ms = late[i]->start_ms;

        promise_clear(late[i], &grid->fleet);
        plan(grid, late[i], -1, true);
        if (late[i]->start_ms == grid->now_ms || late[i]->broken_ms)
            continue;
        late[i]->broken_ms = was_ms;
        late[i]->broken_by = PROMISE_OVERDUE;
    }
}

void promises_begin(struct grid *grid)
{
    for (uint32_t i = grid->promises_count; i-- > 0;) {
        struct job *job = grid_job(grid, grid->promises[i]->job_id);

        if (pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
            drop_at(grid, i);
    }
    if (!grid->promises_count)
        return;
    if (grid->promises_version != grid->fleet.shape_version || grid->fleet.is_overpromised)
        look_at_all(grid);
    grid->promises_version = grid->fleet.shape_version;
    look_at_late(grid);
    if (widen_is_pending(grid))
        return;
    look_again(grid, grid->promises[grid->counts.passes_total % grid->promises_count]);
}

static bool is_within(const struct grid *grid, uint32_t tenant, uint32_t above)
{
    for (; tenant; tenant = grid->tenants[tenant].parent)
        if (tenant == above)
            return true;
    return false;
}

struct promised_sums promises_beside(const struct grid *grid, const struct job *job,
                                     uint32_t tenant)
{
    int64_t end_ms = job_end_bound(grid, job);
    struct promised_sums sums = { 0 };

    for (uint32_t i = 0; i < grid->promises_count; i++) {
        const struct promise *promise = grid->promises[i];
        const struct job *other;

        if (!promise->plan || promise->start_ms >= end_ms)
            continue;
        other = grid_job(grid, promise->job_id);
        sums.elements += other->array && other->array == job->array;
        if (!tenant || !is_within(grid, other->tenant, tenant))
            continue;
        sums.cpus += promise->plan->cpus;
        sums.devices_milli += promise->plan->devices_milli;
    }
    return sums;
}

int64_t promises_price(struct grid *grid, const struct job *job)
{
    int64_t sum = 0;

    for (uint32_t i = 0; !job->is_promised && i < grid->promises_count; i++) {
        const struct job *other = grid_job(grid, grid->promises[i]->job_id);
        int64_t price =
            grid->promises[i]->plan && other->tenant == job->tenant ? budget_price(grid, other) : 0;

        if (price > 0 && __builtin_add_overflow(sum, price, &sum))
            return INT64_MAX;
    }
    return sum;
}

void promises_restore(struct grid *grid, struct job *job, const struct promise *promise)
{
    struct promise *to = add(grid, job);
    struct promise made = *promise;

    made.job_id = to->job_id;
    made.job_class = to->job_class;
    *to = made;
    if (to->plan)
        promise_set(to, &grid->fleet);
}

int promises_check(const struct grid *grid, struct err *err)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < grid->promises_count; i++) {
        const struct promise *promise = grid->promises[i];
        const struct job *job = grid_job(grid, promise->job_id);

        if (!job || job->state != JOB_QUEUED || !job->is_promised ||
            promise_of(grid, job) != promise)
            return err_set(err, -EINVAL,
                           "invariant: a start is promised to job %" PRIu64
                           ", which waits for none",
                           promise->job_id);
        if ((promise->plan != NULL) != promise->is_set ||
            promise->is_set != (promise->start_ms < INT64_MAX))
            return err_set(err, -EINVAL,
                           "invariant: job %" PRIu64 " is promised a start without a place",
                           promise->job_id);
        set += promise->is_set;
        if (promise->is_set && grid->promises_version == grid->fleet.shape_version &&
            !promise_limits_are_sound(promise, &grid->fleet))
            return err_set(err, -EINVAL,
                           "invariant: what is over beside job %" PRIu64 "'s promise is wrong",
                           promise->job_id);
    }
    return set == grid->fleet.promises_count
               ? 0
               : err_set(err, -EINVAL, "invariant: %u promises have places, %u are set", set,
                         grid->fleet.promises_count);
}
