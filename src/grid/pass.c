#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/power.h"
#include "grid/packing.h"
#include "grid/ranks.h"
#include "grid/reclaim.h"
#include "grid/state.h"

#define LIFTED (UINT64_C(1) << 62) /* versions of limits while a promise is lifted */
#define BACKFILL_DEPTH QUEUE_NEAR  /* jobs of one bucket tried for one short enough */
#define IDLE_MIN 32u               /* buckets met for nothing, before the like are set aside */

int64_t job_end_bound(const struct grid *grid, const struct job *job)
{
    const struct promise *promise = promise_of(grid, job);
    int64_t span_ms = job->item.bucket ? job->item.span_ms : job_span_ms(grid, job);

    /* A pass a little later than the promised start takes of the slack, not of who comes next. */
    if (promise && promise->plan && promise->start_ms < grid->now_ms &&
        promise->start_ms > grid->now_ms - END_SLACK_MS / 2)
        return promise->end_ms;
    return span_end_ms(grid->now_ms, span_ms);
}

bool pass_can_start(const void *context, const struct queue_key *key)
{
    const struct grid *grid = context;
    const struct shape *shape = &grid->shapes.list[key->shape];

    return shape->candidates_version != grid->fleet.shape_version || shape->candidates_count > 0 ||
           shape->sites_max > 1;
}

uint32_t pass_full_tenant(const struct grid *grid, const struct job *job, enum hold *hold_out)
{
    const struct shape *shape = job_shape(grid, job);

    return pass_full_for(grid, job, (uint64_t)shape->tasks * shape->cpus,
                         (uint64_t)shape->tasks * shape->devices_milli, hold_out);
}

uint32_t pass_full_for(const struct grid *grid, const struct job *job, uint64_t cpus,
                       uint64_t devices_milli, enum hold *hold_out)
{
    for (uint32_t at = job->tenant; at; at = grid->tenants[at].parent) {
        const struct tenant *tenant = &grid->tenants[at];
        struct promised_sums beside = { 0 };

        if (tenant->cpus_max < 0 && tenant->devices_milli_max < 0)
            continue;
        if (grid->promises_count && !job->is_promised)
            beside = promises_beside(grid, job, at);
        *hold_out = HOLD_QUOTA_CPUS;
        if (tenant->cpus_max >= 0 && tenant->cpus_held + tenant->cpus_below + beside.cpus + cpus >
                                         (uint64_t)tenant->cpus_max)
            return at;
        *hold_out = HOLD_QUOTA_DEVICES;
        if (tenant->devices_milli_max >= 0 && devices_milli &&
            tenant->devices_milli_held + tenant->devices_milli_below + beside.devices_milli +
                    devices_milli >
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
    uint32_t promised = 0;

    if (job->array && job->array->parallel_max && grid->promises_count && !job->is_promised)
        promised = promises_beside(grid, job, 0).elements;
    if (job->array && job->array->parallel_max &&
        job->array->active + promised >= job->array->parallel_max)
        return HOLD_PARALLEL;
    if (pass_full_tenant(grid, job, &hold))
        return hold;
    left = budget_left(grid, job->tenant);
    if (left == INT64_MAX)
        return HOLD_NONE;
    left -= promises_price(grid, job);
    price = budget_price(grid, job);
    if (price < 0)
        return HOLD_BUDGET_UNKNOWN;
    return price > left ? HOLD_BUDGET : HOLD_NONE;
}

struct blocked { /* one that has no room, by its place in the order */
    uint32_t rank;
    int64_t order_ms;
    uint64_t id;
    struct job *job;
};
struct pass {
    struct grid *grid;
    struct job *head; /* the first in order that is blocked by lack of room alone */
    /* Of each class the first that fit nowhere, in order, and how many were looked at. */
    struct blocked blocked[CLASS_COUNT][GRID_RESERVATIONS_MAX];
    uint32_t blocked_count[CLASS_COUNT], blocked_next[CLASS_COUNT], seen_count[CLASS_COUNT];
    /* Those with a place as the pass began, by their buckets; NULL: started since. */
    struct promised {
        uint32_t bucket;
        struct job *job;
    } promised[PROMISES_MAX + PROMISES_OWN_MAX];
    uint32_t promised_count;
    uint64_t promised_mask;                 /* bit n % 64: bucket n may be of one of them */
    struct grant *grants[ACROSS_SITES_MAX]; /* found over several sites, for who starts next */
    uint32_t grants_count;
    uint32_t idle_count;    /* buckets met for nothing since the walk was put in order */
    uint64_t limit_version; /* of the fleet, by which buckets were set aside */
};

/* --- who is blocked --------------------------------------------------------------------------- */

/* How many of each class are of interest. */
static uint32_t blocked_most(const struct grid *grid)
{
    return grid->reservations;
}

static bool is_before(const struct blocked *a, const struct blocked *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->order_ms != b->order_ms ? a->order_ms < b->order_ms : a->id < b->id;
}

/* Put into the list of its class, which holds the first few. */
static void list_blocked(struct pass *pass, struct job *job)
{
    uint32_t job_class = job_terms(pass->grid, job)->job_class;
    struct blocked one = { queue_rank(&pass->grid->queue, job_class, job->tenant,
                                      job->rank ? job->rank->level : 0),
                           job->item.order_ms, job->item.id, job };
    struct blocked *list = pass->blocked[job_class];
    uint32_t *count = &pass->blocked_count[job_class];
    uint32_t at = *count, first = pass->blocked_next[job_class];

    while (at > first && is_before(&one, &list[at - 1]))
        at--;
    if (at == blocked_most(pass->grid))
        return;
    if (*count < blocked_most(pass->grid))
        ++*count;
    for (uint32_t i = *count - 1; i > at; i--)
        list[i] = list[i - 1];
    list[at] = one;
}

static bool is_blocked_by_room(struct grid *grid, struct job *job)
{
    return grid->shapes.list[job->shape].candidates_count && pass_hold(grid, job) == HOLD_NONE &&
           !power_holds(grid, job);
}

static void consider_blocked(struct pass *pass, const struct queue_use *use)
{
    struct grid *grid = pass->grid;
    uint32_t count = pass->blocked_count[use->job_class];
    struct blocked one = { queue_rank(&grid->queue, use->job_class, use->tenant, use->level),
                           use->first_ms, use->first_id, NULL };

    if (count == blocked_most(grid) && !is_before(&one, &pass->blocked[use->job_class][count - 1]))
        return;
    one.job = (struct job *)grid->queue.buckets[use->number].first;
    if (is_blocked_by_room(grid, one.job))
        list_blocked(pass, one.job);
}

/* Is it worth a look whether it fits over several sites? Not where nothing has become free since
 * the last one. */
static bool may_go_across(const struct grid *grid, uint32_t number)
{
    const struct shape *shape = &grid->shapes.list[number];

    return shape->sites_max > 1 && (shape->no_across_room != grid->fleet.room_version ||
                                    shape->no_across_limited != grid->fleet.limit_version);
}

/* Room only shrinks while a pass runs: what fits nowhere at its begin need not be walked over, but
 * for who are the first of them. */
static bool may_start(void *context, const struct queue_use *use)
{
    struct pass *pass = context;
    struct grid *grid = pass->grid;

    if (fit_exists(&grid->shapes.list[use->shape], &grid->fleet, grid->counts.passes_total,
                   &grid->fit) ||
        may_go_across(grid, use->shape))
        return true;
    consider_blocked(pass, use);
    return false;
}

static bool has_room(const struct grid *grid, uint32_t shape)
{
    return grid->shapes.list[shape].no_fit_version != grid->fleet.room_version;
}

static void hold(struct grid *grid, const struct job *job)
{
    reserve_hold(&grid->reserve, job_shape(grid, job), &grid->fleet,
                 &job_terms(grid, job)->objective, &grid->fit, grid->now_ms);
}

/* In its turn, this one has no room: it is promised a start if it is among the first of its class.
 * Where the head's start is not known, it holds its place after a while. */
static void block(struct pass *pass, struct job *job)
{
    struct grid *grid = pass->grid;
    uint32_t job_class = job_terms(grid, job)->job_class;
    bool is_head = !pass->head;
    const struct promise *promise;

    if (!is_blocked_by_room(grid, job))
        return;
    pass->seen_count[job_class]++;
    if (is_head)
        pass->head = job;
    promise = job->is_promised ? promise_of(grid, job) : promises_make(grid, job);
    if (is_head && (promise ? !promise->plan : grid->ranks != NULL) &&
        grid->now_ms - job->item.eligible_ms >= GRID_HOLD_AFTER_MS && !ranks_lets_past(grid, job) &&
        !assigns_lets_past(grid, job))
        hold(grid, job);
    if (job->item.next) /* its like stand behind it */
        list_blocked(pass, (struct job *)job->item.next);
}

static bool has_unsettled(const struct pass *pass)
{
    bool any = false;

    for (uint32_t c = 0; c < CLASS_COUNT; c++)
        any |= pass->blocked_next[c] < pass->blocked_count[c] &&
               pass->seen_count[c] < blocked_most(pass->grid);
    return any;
}

/* Those that fit nowhere and stand before the bucket, in order; NULL = all of them. */
static void settle_blocked(struct pass *pass, const struct queue_bucket *bucket)
{
    struct blocked until = { .rank = UINT32_MAX };

    if (!has_unsettled(pass))
        return;
    if (bucket)
        until = (struct blocked){ queue_rank(&pass->grid->queue, bucket->key.job_class,
                                             bucket->key.tenant, bucket->key.level),
                                  bucket->first->order_ms, bucket->first->id, NULL };
    for (uint32_t c = CLASS_COUNT; c-- > (bucket ? bucket->key.job_class : 0);)
        while (pass->blocked_next[c] < pass->blocked_count[c] &&
               is_before(&pass->blocked[c][pass->blocked_next[c]], &until)) {
            struct job *job = pass->blocked[c][pass->blocked_next[c]++].job;

            if (pass->seen_count[c] < blocked_most(pass->grid))
                block(pass, job);
        }
}

/* The turns have changed. Who was not among the first as the pass began is so in the next one. */
static void reorder_blocked(struct pass *pass)
{
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        uint32_t first = pass->blocked_next[c], count = pass->blocked_count[c];

        pass->blocked_count[c] = first;
        for (uint32_t i = first; i < count; i++)
            list_blocked(pass, pass->blocked[c][i].job);
    }
}

/* --- who starts ------------------------------------------------------------------------------- */

/* Its own promise is no bar to a job. Set again when it does not start. */
static bool fits_instead(struct grid *grid, struct job *job, struct promise *promise)
{
    struct fleet_window *window = &grid->fleet.window;
    uint64_t version = grid->fleet.limit_version;
    bool fits;

    window->until_ms = job_end_bound(grid, job);
    if (!has_room(grid, job->shape) ||
        (promise->no_fit_version == version && window->until_ms >= promise->no_fit_until_ms))
        return false;
    window->is_promised = true;
    promise_unset(promise, &grid->fleet);
    promise_touch(&grid->reserve.hold, &grid->fleet);         /* it does not bind this one */
    grid->fleet.limit_version = LIFTED + ++grid->fleet.lifts; /* what is found now is of now only */
    fits = (promise->is_claim ? fit_find_firm : fit_find)(job_shape(grid, job), &grid->fleet,
                                                          &job_terms(grid, job)->objective,
                                                          FIT_LIMITED, &grid->fit);
    grid->fleet.limit_version = fits ? version + 1 : version;
    if (fits)
        return true;
    promise_set(promise, &grid->fleet);
    promise->no_fit_version = version;
    promise->no_fit_until_ms = window->until_ms;
    return false;
}

static void list_promised(struct pass *pass)
{
    struct grid *grid = pass->grid;

    for (uint32_t i = 0; i < grid->promises_count; i++) {
        struct job *job = grid_job(grid, grid->promises[i]->job_id);

        if (!grid->promises[i]->plan)
            continue;
        pass->promised[pass->promised_count++] = (struct promised){ job->item.bucket, job };
        pass->promised_mask |= (uint64_t)1 << job->item.bucket % 64;
    }
}

/* May one of the bucket have been promised a start as the pass began? */
static bool has_promised(const struct pass *pass, uint32_t bucket)
{
    return pass->promised_mask >> bucket % 64 & 1;
}

/* One of the bucket that was promised a start: it fits where it was promised, or sooner. */
static struct job *find_promised(struct pass *pass, uint32_t bucket)
{
    struct grid *grid = pass->grid;

    if (!has_promised(pass, bucket))
        return NULL;
    for (uint32_t i = 0; i < pass->promised_count; i++) {
        struct job *job = pass->promised[i].job;

        if (pass->promised[i].bucket != bucket || !job || pass_hold(grid, job) != HOLD_NONE)
            continue;
        if (fits_instead(grid, job, promise_of(grid, job))) {
            pass->promised[i].job = NULL;
            return job;
        }
    }
    return NULL;
}

static bool has_place(const struct grid *grid, const struct job *job)
{
    return job->is_promised && promise_of(grid, job)->plan;
}

static bool fits_within(struct grid *grid, struct job *job, int64_t until_ms)
{
    grid->fleet.window.until_ms = until_ms;
    grid->fleet.window.is_promised = false;
    if (fit_is_known_not(job_shape(grid, job), &grid->fleet, FIT_LIMITED))
        return false; /* without a look at what it asks for */
    return fit_find(job_shape(grid, job), &grid->fleet, &job_terms(grid, job)->objective,
                    FIT_LIMITED, &grid->fit);
}

/* One of the first few of the bucket, but for the first, that is over before `failed_ms`, by which
 * one that runs longer met a promise. */
static struct job *find_shorter(struct pass *pass, struct queue_bucket *bucket, uint32_t number,
                                int64_t failed_ms)
{
    struct grid *grid = pass->grid;
    const struct queue_near *near = queue_near(bucket);

    for (uint32_t i = 1; i < near->count && failed_ms; i++) {
        struct job *job = (struct job *)near->items[i];
        int64_t span_ms = near->spans_ms[i], until_ms;

        if (has_promised(pass, number)) /* else the job itself need not be looked at */
            span_ms = job_end_bound(grid, job) - grid->now_ms;
        if (span_ms >= failed_ms - grid->now_ms || has_place(grid, job))
            continue;
        until_ms = promise_horizon(&grid->fleet, grid->now_ms + span_ms);
        if (fits_within(grid, job, until_ms))
            return job;
        failed_ms = until_ms;
    }
    return NULL;
}

/* Beside all promises that begin while it may run: the first of the bucket, or one of the next
 * that is short enough; NULL = none. */
static struct job *find_start(struct pass *pass, struct queue_bucket *bucket, uint32_t number,
                              enum fit_when *when)
{
    struct grid *grid = pass->grid;
    struct job *first = (struct job *)bucket->first;
    struct shape *shape = job_shape(grid, first);
    int64_t failed_ms, shortest_ms;

    *when = grid->fleet.promises_count ? FIT_LIMITED : FIT_NOW;
    if (*when == FIT_NOW)
        return fit_find(shape, &grid->fleet, &job_terms(grid, first)->objective, FIT_NOW,
                        &grid->fit)
                   ? first
                   : NULL;
    failed_ms = promise_horizon(&grid->fleet, job_end_bound(grid, first));
    if (!has_place(grid, first) && fits_within(grid, first, failed_ms))
        return first;
    shortest_ms = queue_shortest_ms(bucket);
    if (shortest_ms == INT64_MAX || grid->now_ms + shortest_ms >= failed_ms ||
        fit_is_nowhere(shape, &grid->fleet, &grid->fit))
        return NULL;
    return find_shorter(pass, bucket, number, failed_ms);
}

/* Even the shortest of the first few would run into a promise: told without a look at them. */
static bool is_too_long(const struct grid *grid, struct queue_bucket *bucket)
{
    const struct shape *shape = &grid->shapes.list[bucket->key.shape];
    int64_t least_ms;

    if (!grid->fleet.promises_count || shape->no_fit_limited != grid->fleet.limit_version)
        return false;
    least_ms = queue_shortest_ms(bucket);
    return least_ms == INT64_MAX || grid->now_ms + least_ms >= shape->no_fit_until_ms;
}

/* One of the bucket that starts now, if any does. */
static struct job *find_one(struct pass *pass, struct queue_bucket *bucket, uint32_t number,
                            enum fit_when *when)
{
    struct grid *grid = pass->grid;
    struct job *found;

    if (!has_room(grid, bucket->key.shape))
        return NULL; /* what was left when the pass began is taken */
    *when = FIT_LIMITED;
    found = find_promised(pass, number);
    if (!found && !is_too_long(grid, bucket) &&
        pass_hold(grid, (struct job *)bucket->first) == HOLD_NONE)
        found = find_start(pass, bucket, number, when);
    return found;
}

static void forget_promised(struct pass *pass, const struct job *job)
{
    for (uint32_t i = 0; i < pass->promised_count; i++)
        if (pass->promised[i].job == job)
            pass->promised[i].job = NULL;
}

/* The first of a bucket for which no one site has room, over several of them: beside the promises
 * that begin while it may run. Into pass.grants. */
static struct job *find_across(struct pass *pass, struct queue_bucket *bucket)
{
    struct grid *grid = pass->grid;
    struct job *job = (struct job *)bucket->first;
    struct shape *shape = job_shape(grid, job);
    enum fit_when when = grid->fleet.promises_count ? FIT_LIMITED : FIT_NOW;
    uint64_t version = grid->fleet.limit_version;

    if (!may_go_across(grid, bucket->key.shape) || pass_hold(grid, job) != HOLD_NONE)
        return NULL;
    grid->fleet.window.until_ms = promise_horizon(&grid->fleet, job_end_bound(grid, job));
    grid->fleet.window.is_promised = has_place(grid, job);
    if (has_place(grid, job)) /* its own promise is no bar to it */
        promise_unset(promise_of(grid, job), &grid->fleet);
    pass->grants_count = across_find(shape, &grid->fleet, &job_terms(grid, job)->objective, when,
                                     &grid->fit, pass->grants);
    if (pass->grants_count) {
        forget_promised(pass, job);
        return job;
    }
    if (has_place(grid, job)) {
        promise_set(promise_of(grid, job), &grid->fleet);
        grid->fleet.limit_version = version;
    }
    shape->no_across_room = grid->fleet.room_version;
    shape->no_across_limited = grid->fleet.limit_version;
    return NULL;
}

/* Of what is found, in grid.fit. */
static struct grant_choice choice_of(const struct grid *grid, const struct job *job,
                                     enum choice_how how)
{
    const struct shape *shape = job_shape(grid, job);
    struct grant_choice choice = { how, grid->fit.rank, shape->candidates_count, 0, 0 };
    const struct candidate *other = NULL;

    if (choice.rank >= choice.places || shape->candidates[choice.rank].site != grid->fit.site ||
        shape->candidates[choice.rank].chip != grid->fit.chip)
        return (struct grant_choice){ .how = how };
    if (choice.places > 1)
        other = &shape->candidates[choice.rank ? 0 : 1];
    if (other) {
        choice.other_site = other->site + 1;
        choice.other_chip = other->chip;
    }
    return choice;
}

void pass_start(struct grid *grid, struct job *job, enum fit_when when, enum choice_how how)
{
    struct grant_choice choice = choice_of(grid, job, how);
    struct grant *grant;

    if (elastic_is(job_terms(grid, job))) {
        elastic_start(grid, job, when, elastic_most(grid, job));
    } else {
        grant = fit_grant(job_shape(grid, job), &grid->fleet, &grid->fit, when);
        attempt_start(grid, job, &grant, 1);
    }
    if (job->grant)
        job->grant->choice = choice;
}

static void start_found(struct pass *pass, struct job *job, enum fit_when when)
{
    bool has_promise = has_place(pass->grid, job);
    enum choice_how how = has_promise ? CHOICE_PROMISED : pass->head ? CHOICE_AROUND : CHOICE_TURN;

    if (!pass->grants_count) {
        pass_start(pass->grid, job, when, how);
        return;
    }
    attempt_start(pass->grid, job, pass->grants, pass->grants_count);
    if (job->grant)
        job->grant->choice.how = CHOICE_ACROSS;
    pass->grants_count = 0;
}

/* Whose promised start has come starts first, whatever stands before it. */
static uint32_t start_due(struct grid *grid)
{
    uint32_t starts = 0;

    for (uint32_t i = 0; i < grid->promises_count;) {
        struct promise *promise = grid->promises[i];
        struct job *job = grid_job(grid, promise->job_id);

        if (promise->start_ms <= grid->now_ms && fits_instead(grid, job, promise)) {
            pass_start(grid, job, FIT_LIMITED, CHOICE_PROMISED);
            starts++;
        } else {
            i++;
        }
    }
    return starts;
}

/* Once the first blocked of its class are found, a bucket of which nobody can start now need not be
 * met: neither for lack of room, nor because even its shortest would run into a promise. */
static bool may_still_start(void *context, const struct queue_head *head)
{
    const struct pass *pass = context;
    struct grid *grid = pass->grid;

    if (pass->seen_count[15u - (head->rank >> 28)] < blocked_most(grid))
        return true;
    if (!has_room(grid, head->shape))
        return may_go_across(grid, head->shape);
    return has_promised(pass, head->number) ||
           !is_too_long(grid, &grid->queue.buckets[head->number]) ||
           may_go_across(grid, head->shape);
}

static void set_idle_aside(struct pass *pass)
{
    struct queue *queue = &pass->grid->queue;

    if (++pass->idle_count < IDLE_MIN || pass->idle_count < queue->heap_count / 8)
        return;
    queue_walk_reorder(queue, may_still_start, pass);
    pass->idle_count = 0;
}

/* The next bucket in order. Where more fits beside the promises than before, all that were set
 * aside are met after all. */
static struct queue_bucket *walk_next(struct pass *pass, uint32_t *number_out)
{
    struct grid *grid = pass->grid;

    if (pass->limit_version != grid->fleet.limit_version)
        queue_walk_wake(&grid->queue);
    pass->limit_version = grid->fleet.limit_version;
    return queue_walk_next(&grid->queue, number_out);
}

void pass_run(struct grid *grid)
{
    struct pass pass = { .grid = grid };
    struct queue_bucket *bucket;
    uint32_t number, starts;
    bool has_turns, is_time, makes_room;

    grid->wants_pass = false;
    grid->counts.passes_total++;
    if (grid->fleet.packer)
        packer_look(grid->fleet.packer, &grid->fleet);
    power_resume(grid);
    is_time = ranks_begin(grid);
    grid->fleet.window = (struct fleet_window){ INT64_MIN, INT64_MAX, false };
    pass.head = preempt_first(grid);
    promises_begin(grid);
    if (pass.head)
        hold(grid, pass.head);
    if (grid->standby_grants)
        standby_replenish(grid);
    starts = start_due(grid);
    has_turns = shares_rank(grid);
    starts += reclaim_run(grid);
    assigns_begin(grid);
    list_promised(&pass);
    queue_walk_begin(&grid->queue, may_start, &pass);
    pass.limit_version = grid->fleet.limit_version;
    while ((bucket = walk_next(&pass, &number)) != NULL) {
        struct job *job = (struct job *)bucket->first, *found;
        uint32_t left = bucket->count;
        enum fit_when when;

        if (starts >= GRID_PASS_STARTS_MAX) { /* before one is found: it would lose its promise */
            grid->wants_pass = true;
            break;
        }
        if (grid->assigns && assigns_waits(grid, job))
            continue;
        settle_blocked(&pass, bucket);
        found = find_one(&pass, bucket, number, &when);
        if (!found)
            found = find_across(&pass, bucket);
        if (!found) {
            if (pass.seen_count[bucket->key.job_class] < blocked_most(grid))
                block(&pass, job);
            else
                set_idle_aside(&pass);
            continue;
        }
        start_found(&pass, found, when);
        starts++;
        if (left > 1)
            queue_walk_again(&grid->queue, number);
        if (has_turns && shares_have_moved(grid, job_shape(grid, found))) {
            shares_rank_again(grid);
            queue_walk_reorder(&grid->queue, may_still_start, &pass);
            reorder_blocked(&pass);
        }
    }
    if (!bucket)
        settle_blocked(&pass, NULL);
    assigns_round(grid, pass.head, bucket == NULL);
    reserve_release_hold(&grid->reserve, &grid->fleet);
    if (pass.head && pass.head->state != JOB_QUEUED)
        pass.head = NULL; /* it has started after all */
    makes_room = grid->elastic_grants && widen_make_room(grid, pass.head);
    preempt_run(grid, makes_room ? NULL : pass.head);
    freight_withdraw(grid);
    ranks_end(grid, pass.head, is_time);
    if (grid->elastic_grants)
        widen_grow(grid, bucket == NULL);
    defrag_run(grid);
}
