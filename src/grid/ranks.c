/* Whose work goes first by what it has had and is expected to need. */
#include "grid/ranks.h"

#include "grid/power.h"
#include "model/units.h"
#include "sched/life.h"
#include "sched/mem.h"
#include "sched/order.h"
#include "sched/predict.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANKS_EVERY_MS 300000
#define LEVEL_LAST (QUEUE_LEVELS - 1)
#define LEFT_MS_MAX (INT64_C(1) << 41) /* of one job: sums of GRID_JOBS_MAX stay in range */
#define HEADS_MAX 64u                  /* buckets for whose jobs room may be made in one pass */
#define MADE_MAX 32u                   /* jobs for which it is */
#define SOON_MS (2 * END_SLACK_MS)     /* a start promised so soon needs no room made */

enum kind { KIND_CPUS, KIND_DEVICES, KIND_COUNT }; /* what a job is measured by */

struct ranks {
    struct predict predict;
    struct predict_record *records;
    struct life life[KIND_COUNT];
    int64_t left_ms[KIND_COUNT];    /* of all that have a rank */
    uint64_t lane_held[KIND_COUNT]; /* what aged ones ask for */
    uint64_t total[KIND_COUNT];     /* what the network has; derived */
    int64_t next_ms; /* when those that wait are looked at again; 0 = nobody is blocked */
};

/* --- a job, as sched/order sees it ------------------------------------------------------------ */

static enum kind kind_of(const struct grid *grid, const struct job *job)
{
    return job_shape(grid, job)->devices_milli ? KIND_DEVICES : KIND_CPUS;
}

/* Of an elastic job the least, however wide it is at the time: so it stays the like of itself. */
static uint32_t tasks_of(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);

    return terms->tasks_max ? terms->tasks_min : job_shape(grid, job)->tasks;
}

/* Devices, where it has any, begun ones as whole; else CPUs. */
static uint32_t width_of(const struct grid *grid, const struct job *job)
{
    const struct shape *shape = job_shape(grid, job);
    uint64_t width = ((uint64_t)tasks_of(grid, job) * shape->devices_milli + 999) / 1000;

    if (!shape->devices_milli)
        width = (uint64_t)tasks_of(grid, job) * shape->cpus;
    return (uint32_t)MIN(MAX(width, 1), INT32_MAX);
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t out;

    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

/* How long its ended attempts ran; of an elastic job as long as at its least width for as much. */
static int64_t ended_ms(const struct grid *grid, const struct job *job)
{
    const struct shape *shape = job_shape(grid, job);
    const struct usage *ended = job->past ? &job->past->ended : NULL;
    int64_t ms = ended ? MAX(ended->wall_ms, 0) : 0;

    if (ended && job_terms(grid, job)->tasks_max)
        ms = shape->devices_milli
                 ? MAX(ended->device_milli_ms, 0) / shape->devices_milli / tasks_of(grid, job)
                 : MAX(ended->cpu_held_ms, 0) / shape->cpus / tasks_of(grid, job);
    return MIN(ms, LEFT_MS_MAX);
}

static int64_t ran_ms(const struct grid *grid, const struct job *job)
{
    int64_t ms = job->grant ? grid->now_ms - job->grant->granted_ms : 0;

    if (job_terms(grid, job)->tasks_max)
        ms = MIN(times(ms, job_shape(grid, job)->tasks) / tasks_of(grid, job), LEFT_MS_MAX);
    return ended_ms(grid, job) + ms;
}

/* What one like it needs yet that has run so long. */
static int64_t need_ms(const struct grid *grid, const struct job *job)
{
    return life_need_ms(&grid->ranks->life[kind_of(grid, job)], width_of(grid, job),
                        ran_ms(grid, job));
}

static struct order_job describe(const struct grid *grid, const struct job *job)
{
    int64_t deadline_ms = job_terms(grid, job)->deadline_ms;
    uint32_t width = width_of(grid, job);

    return (struct order_job){ .id = job->item.id,
                               .submit_ms = job->item.eligible_ms,
                               .attained_ms = times(ran_ms(grid, job), width),
                               .ran_ms = ran_ms(grid, job),
                               .predicted_ms = job->rank->predicted_ms,
                               /* Who waits keeps its place, whatever is learned meanwhile. */
                               .need_ms = job->grant ? need_ms(grid, job) : job->rank->need_ms,
                               .deadline_ms = deadline_ms ? deadline_ms : INT64_MAX,
                               .devices = width,
                               .job_class = CLASS_COUNT - 1 - job_terms(grid, job)->job_class,
                               .is_aged = job->rank->is_aged };
}

static struct order_params params_for(const struct grid *grid, const struct job *job)
{
    return order_params_for(grid->ranks ? grid->ranks->total[kind_of(grid, job)] : 0);
}

struct order_rank ranks_rank(const struct grid *grid, const struct job *job)
{
    struct order_params params = params_for(grid, job);
    struct order_job described = describe(grid, job);

    return order_rank(&params, &described, grid->now_ms);
}

static uint8_t level_of(const struct grid *grid, const struct job *job)
{
    return (uint8_t)MIN(ranks_rank(grid, job).level, LEVEL_LAST);
}

/* Who has the same tenant, user, name and width is alike; nobody's jobs (0) are like nothing. The
 * numbers of names mean nothing, so their texts' hashes are taken. */
static uint64_t key_of(const struct grid *grid, const struct job *job)
{
    uint64_t who = predict_key(intern_hash(&grid->tenant_names, job->tenant),
                               intern_hash(&grid->strings, job->user));
    uint64_t what =
        predict_key(intern_hash(&grid->strings, job->name),
                    (uint64_t)width_of(grid, job) << 1 | (kind_of(grid, job) == KIND_DEVICES));

    return job->user ? predict_key(who, what) : 0;
}

/* --- what is kept along ----------------------------------------------------------------------- */

static void set_left(struct grid *grid, struct job *job)
{
    int64_t *sum = &grid->ranks->left_ms[kind_of(grid, job)];
    int64_t attained = times(ended_ms(grid, job), width_of(grid, job));
    int64_t left = MIN(order_work_left_ms(job->rank->said_ms, attained), LEFT_MS_MAX);

    *sum += left - job->rank->left_ms;
    job->rank->left_ms = left;
}

static struct job_rank *add_rank(struct job *job)
{
    return job->rank = mem_alloc(1, sizeof(*job->rank));
}

static void begin_rank(struct grid *grid, struct job *job)
{
    struct predict_params params = predict_params_default();
    uint32_t width = width_of(grid, job);
    struct predict_answer like =
        predict_ask(&grid->ranks->predict, &params, key_of(grid, job), width);
    struct job_rank *rank = add_rank(job);

    /* What others' jobs of its width took says what work to expect in all, not who goes first. */
    rank->predicted_ms = like.source == PREDICT_KEY ? like.typical_ms : 0;
    rank->said_ms = MIN(times(like.mean_ms, width), LEFT_MS_MAX);
    rank->need_ms = need_ms(grid, job);
    rank->learned_ms = ended_ms(grid, job);
    set_left(grid, job);
}

static void drop_rank(struct grid *grid, struct job *job)
{
    enum kind kind = kind_of(grid, job);

    grid->ranks->left_ms[kind] -= job->rank->left_ms;
    if (job->rank->is_aged)
        grid->ranks->lane_held[kind] -= width_of(grid, job);
    free(job->rank);
    job->rank = NULL;
}

/* Its deadline calls, or no longer can: by time alone. */
static void watch_deadline(struct grid *grid, struct job *job)
{
    struct order_params params = params_for(grid, job);
    struct order_job described = describe(grid, job);
    int64_t at_ms;

    if (described.deadline_ms == INT64_MAX)
        return;
    params.patience_ms_min = INT64_MAX; /* ages are looked at elsewhere */
    at_ms = order_change_ms(&params, &described, grid->now_ms);
    if (at_ms < INT64_MAX)
        timers_add(grid, MAX(at_ms, grid->now_ms + 1), job->item.id);
}

void ranks_enqueue(struct grid *grid, struct job *job)
{
    if (!grid->ranks)
        return;
    if (!job->rank)
        begin_rank(grid, job);
    job->rank->need_ms = need_ms(grid, job);
    job->rank->level = level_of(grid, job);
    watch_deadline(grid, job);
}

/* To another bucket, when its level is another. */
static void requeue(struct grid *grid, struct job *job)
{
    uint8_t level = job->rank ? level_of(grid, job) : 0;
    struct queue_key key;

    queue_remove(&grid->queue, &job->item);
    if (job->rank)
        job->rank->level = level;
    key = job_queue_key(grid, job);
    queue_add(&grid->queue, &key, &job->item);
    grid->wants_pass = true;
}

static void count_all(struct grid *grid)
{
    uint64_t *total = grid->ranks->total;

    memset(grid->ranks->total, 0, sizeof(grid->ranks->total));
    for (uint32_t s = 0; s < grid->fleet.sites_count; s++) {
        const struct fleet_site *site = &grid->fleet.sites[s];

        for (uint32_t n = 0; n < site->info.nodes_count; n++) {
            if (!site->nodes[n].present)
                continue;
            total[KIND_DEVICES] += site->nodes[n].devices_count;
            total[KIND_CPUS] += site->nodes[n].cpus;
        }
    }
}

static uint32_t last_levels(const struct grid *grid)
{
    struct order_params devices = order_params_for(grid->ranks->total[KIND_DEVICES]);
    struct order_params cpus = order_params_for(grid->ranks->total[KIND_CPUS]);

    return order_level_last(&devices) << 8 | order_level_last(&cpus);
}

void ranks_fleet_changed(struct grid *grid)
{
    uint32_t before;

    if (!grid->ranks)
        return;
    before = last_levels(grid);
    count_all(grid);
    if (last_levels(grid) == before)
        return;
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id))
        if (job->rank && job->state == JOB_QUEUED && level_of(grid, job) != job->rank->level)
            requeue(grid, job);
}

bool ranks_has_timer(const struct grid *grid, const struct job *job)
{
    return job->rank && job->state == JOB_QUEUED && job_terms(grid, job)->deadline_ms;
}

void ranks_fire(struct grid *grid, struct job *job)
{
    if (level_of(grid, job) == job->rank->level)
        return;
    requeue(grid, job);
    watch_deadline(grid, job);
}

static void learn_life(struct grid *grid, struct job *job, bool is_ended)
{
    int64_t ms = ended_ms(grid, job);

    if (ms > job->rank->learned_ms || is_ended)
        life_learn(&grid->ranks->life[kind_of(grid, job)], width_of(grid, job),
                   job->rank->learned_ms, MAX(ms, job->rank->learned_ms), is_ended);
    job->rank->learned_ms = MAX(ms, job->rank->learned_ms);
}

void ranks_settled(struct grid *grid, struct job *job)
{
    if (!job->rank)
        return;
    set_left(grid, job);
    learn_life(grid, job, false);
}

/* It ran to an end of its own: one that was lost or cancelled says less than it would have taken.
 */
static bool teaches(const struct job *job, enum job_state state)
{
    if (job->cancel_requested || !job->past || job->past->ended.wall_ms <= 0)
        return false;
    return state == JOB_DONE || (state == JOB_FAILED && job->outcome <= OUTCOME_DISK);
}

void ranks_job_ended(struct grid *grid, struct job *job, enum job_state state)
{
    struct predict_params params = predict_params_default();

    if (!grid->ranks)
        return;
    if (teaches(job, state))
        predict_learn(&grid->ranks->predict, &params, key_of(grid, job), width_of(grid, job),
                      MIN(MAX(ended_ms(grid, job) - suspend_stood_ms(grid, job), (int64_t)1),
                          DURATION_MS_MAX));
    if (!job->rank)
        return;
    learn_life(grid, job, teaches(job, state));
    drop_rank(grid, job);
}

static void create(struct grid *grid)
{
    struct ranks *ranks = grid->ranks = mem_alloc(1, sizeof(*ranks));

    ranks->records = mem_alloc(PREDICT_KEYS_MAX, sizeof(*ranks->records));
    predict_init(&ranks->predict, ranks->records, PREDICT_KEYS_MAX);
    count_all(grid);
}

void ranks_free(struct grid *grid)
{
    if (grid->ranks)
        free(grid->ranks->records);
    free(grid->ranks);
    grid->ranks = NULL;
}

void ranks_set(struct grid *grid, bool is_on)
{
    if (is_on == (grid->ranks != NULL))
        return;
    if (is_on)
        create(grid);
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        if (is_on && job->state != JOB_HELD)
            begin_rank(grid, job);
        else if (job->rank)
            drop_rank(grid, job);
        if (job->state != JOB_QUEUED)
            continue;
        requeue(grid, job);
        if (is_on)
            watch_deadline(grid, job);
    }
    if (!is_on)
        ranks_free(grid);
}

/* --- who has waited too long ------------------------------------------------------------------ */

int64_t ranks_next_ms(const struct grid *grid)
{
    return grid->ranks && grid->ranks->next_ms ? grid->ranks->next_ms : INT64_MAX;
}

void ranks_tick(struct grid *grid)
{
    if (ranks_next_ms(grid) <= grid->now_ms)
        grid->wants_pass = true;
}

static enum order_lane_answer ask_lane(struct grid *grid, struct job *job)
{
    struct order_params params = params_for(grid, job);
    struct order_job described = describe(grid, job);
    enum kind kind = kind_of(grid, job);
    uint64_t total = grid->ranks->total[kind];
    enum order_lane_answer answer;

    described.arrival_wait_ms = order_arrival_wait_ms(grid->ranks->left_ms[kind], total);
    answer =
        order_lane_ask(&params, &grid->ranks->lane_held[kind], total, &described, grid->now_ms);
    if (answer != ORDER_LANE_TAKEN)
        return answer;
    job->rank->is_aged = true;
    if (job->state == JOB_QUEUED)
        requeue(grid, job);
    return answer;
}

bool ranks_begin(struct grid *grid)
{
    uint32_t look = order_params_for(0).lane_look;
    bool is_full[KIND_COUNT] = { false };

    if (ranks_next_ms(grid) > grid->now_ms)
        return false;
    for (struct job *job = grid_job_after(grid, 0); job && look;
         job = grid_job_after(grid, job->item.id)) {
        enum kind kind = kind_of(grid, job);

        if (!job->rank || job->rank->is_aged || is_full[kind])
            continue;
        look--;
        is_full[kind] = ask_lane(grid, job) == ORDER_LANE_FULL;
    }
    return true;
}

bool ranks_lets_past(const struct grid *grid, const struct job *job)
{
    struct order_rank rank = { .level = job->rank ? job->rank->level : 0 };

    return grid->ranks && !order_holds_room(&rank);
}

/* --- who makes way ---------------------------------------------------------------------------- */

bool ranks_may_displace(const struct grid *grid, const struct order_rank *blocked,
                        const struct job *running, int64_t cost_ms)
{
    struct order_params params = params_for(grid, running);
    struct order_running one = { .rank = ranks_rank(grid, running),
                                 .run_ms = grid->now_ms - running->grant->granted_ms,
                                 .cost_ms = cost_ms,
                                 .devices = width_of(grid, running),
                                 .is_preemptible = true };

    return order_may_displace(&params, blocked, &one);
}

/* The first heads, in order, that fit nowhere. */
static uint32_t list_heads(struct grid *grid, const struct queue_bucket *heads[HEADS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *bucket = &grid->queue.buckets[grid->queue.used[i].number];
        struct shape *shape = &grid->shapes.list[bucket->key.shape];
        uint32_t at = count;

        if (!fit_is_nowhere(shape, &grid->fleet, &grid->fit) || !shape->candidates_count ||
            !grid->class_grants[bucket->key.job_class])
            continue;
        while (at && queue_bucket_is_before(&grid->queue, bucket, heads[at - 1]))
            at--;
        if (at == HEADS_MAX)
            continue;
        count = MIN(count + 1, HEADS_MAX);
        for (uint32_t k = count - 1; k > at; k--)
            heads[k] = heads[k - 1];
        heads[at] = bucket;
    }
    return count;
}

/* Its tenant may have it, and it is not to start soon anyway. */
static bool wants_room(struct grid *grid, const struct job *job)
{
    const struct promise *promise = promise_of(grid, job);

    return pass_hold(grid, job) == HOLD_NONE && !power_holds(grid, job) &&
           !(promise && promise->plan && promise->start_ms <= grid->now_ms + SOON_MS);
}

/* For so many of the bucket at most; false: one would not get it, nor then would its like. */
static bool make_room_for(struct grid *grid, const struct queue_bucket *bucket, uint32_t *left)
{
    for (struct queue_item *item = bucket->first; item && *left; item = item->next) {
        struct job *job = (struct job *)item;

        if (yield_pending(grid, YIELD_TURN, item->id) || !wants_room(grid, job))
            continue;
        if (!preempt_for_turn(grid, job))
            return false;
        promises_renew(grid, job);
        --*left;
    }
    return true;
}

static bool is_alike(const struct queue_key *a, const struct queue_key *b)
{
    return a->job_class == b->job_class && a->tenant == b->tenant && a->shape == b->shape;
}

static void make_room(struct grid *grid)
{
    const struct queue_bucket *heads[HEADS_MAX];
    uint32_t count = list_heads(grid, heads), left = MADE_MAX, failed = 0;

    for (uint32_t i = 0; i < count && left; i++) {
        bool is_known = false; /* its like of a better level got nothing */

        for (uint32_t k = 0; k < failed; k++)
            is_known |= is_alike(&heads[k]->key, &heads[i]->key);
        if (!is_known && !make_room_for(grid, heads[i], &left))
            heads[failed++] = heads[i];
    }
}

void ranks_end(struct grid *grid, const struct job *head, bool is_time)
{
    if (!grid->ranks)
        return;
    if (!head)
        grid->ranks->next_ms = 0;
    else if (is_time || !grid->ranks->next_ms)
        grid->ranks->next_ms = grid->now_ms + RANKS_EVERY_MS;
    if (head && is_time && !grid->preempts_not)
        make_room(grid);
}

/* --- in words --------------------------------------------------------------------------------- */

void ranks_say(const struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    const struct job_rank *rank = job->rank;
    uint32_t width = width_of(grid, job);
    const char *unit = kind_of(grid, job) == KIND_DEVICES ? "device" : "CPU";
    const char *s = width == 1 ? "" : "s";
    char took[32];

    if (rank->is_aged) {
        snprintf(out, bytes, "it has waited so long that it goes first of its class");
    } else if (rank->level == ORDER_LEVEL_DUE) {
        snprintf(out, bytes, "it goes first of its class: it must start now for its deadline");
    } else if (rank->predicted_ms > ran_ms(grid, job)) {
        units_print_duration(MAX(rank->predicted_ms / 1000, 1) * 1000, took, sizeof(took));
        snprintf(out, bytes,
                 "the last of its user, name and width took about %s: with %u %s%s it is of "
                 "level %u, and less goes first",
                 took, width, unit, s, rank->level - ORDER_LEVEL_FIRST + 1);
    } else {
        units_print_duration(ran_ms(grid, job) / 1000 * 1000, took, sizeof(took));
        snprintf(out, bytes,
                 "it has had %s of %u %s%s so far: it is of level %u, and less goes first",
                 ran_ms(grid, job) < 1000 ? "nothing" : took, width, unit, s,
                 rank->level - ORDER_LEVEL_FIRST + 1);
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */

static void put_record(struct buf *out, const struct predict_record *record)
{
    put_i64(out, record->log2_q16);
    put_i64(out, record->mean_ms);
    put_u64(out, record->count);
}

static void put_predictions(const struct ranks *ranks, struct buf *out)
{
    uint64_t count = 0;

    put_u64(out, ranks->predict.seen_count);
    for (size_t i = 0; i < ARRAY_COUNT(ranks->predict.sizes); i++)
        put_record(out, &ranks->predict.sizes[i]);
    for (uint32_t i = 0; i < PREDICT_KEYS_MAX; i++)
        count += ranks->records[i].key != 0;
    put_u64(out, count);
    for (uint32_t i = 0; i < PREDICT_KEYS_MAX; i++) {
        const struct predict_record *record = &ranks->records[i];

        if (!record->key)
            continue;
        put_u64(out, i);
        put_u64(out, record->key);
        put_u64(out, record->seen_at);
        put_record(out, record);
    }
}

static void put_lives(const struct ranks *ranks, struct buf *out)
{
    const uint64_t each = LIFE_WIDTHS * LIFE_SPANS, all = KIND_COUNT * each;
    uint64_t count = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < all; i++) {
            const struct life_width *width = &ranks->life[i / each].widths[i % each / LIFE_SPANS];
            const struct life_span *span = &width->spans[i % LIFE_SPANS];

            if (!span->reached && !span->ended && !span->ms)
                continue;
            count++;
            if (!pass)
                continue;
            put_u64(out, i);
            put_u64(out, span->reached);
            put_u64(out, span->ended);
            put_i64(out, span->ms);
        }
        if (!pass)
            put_u64(out, count);
    }
}

void ranks_put(const struct grid *grid, struct buf *out)
{
    uint64_t count = 0;

    put_u64(out, grid->ranks != NULL);
    if (!grid->ranks)
        return;
    put_i64(out, grid->ranks->next_ms);
    put_predictions(grid->ranks, out);
    put_lives(grid->ranks, out);
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id))
        count += job->rank != NULL;
    put_u64(out, count);
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id)) {
        if (!job->rank)
            continue;
        put_u64(out, job->item.id);
        put_i64(out, job->rank->predicted_ms);
        put_i64(out, job->rank->said_ms);
        put_i64(out, job->rank->need_ms);
        put_u64(out, (uint64_t)job->rank->level << 1 | job->rank->is_aged);
    }
}

static bool take_max(struct cursor *in, uint64_t max, uint64_t *out)
{
    return get_u64(in, out) == 0 && *out <= max;
}

static bool take_time(struct cursor *in, int64_t max, int64_t *out)
{
    return get_i64(in, out) == 0 && *out >= 0 && *out <= max;
}

static bool take_record(struct cursor *in, struct predict_record *record)
{
    uint64_t count;

    if (!take_time(in, INT64_C(62) << 16, &record->log2_q16) ||
        !take_time(in, DURATION_MS_MAX, &record->mean_ms) || !take_max(in, UINT32_MAX, &count))
        return false;
    record->count = (uint32_t)count;
    return true;
}

static bool take_predictions(struct ranks *ranks, struct cursor *in)
{
    uint64_t count, slot, next = 0;

    if (get_u64(in, &ranks->predict.seen_count) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(ranks->predict.sizes); i++)
        if (!take_record(in, &ranks->predict.sizes[i]))
            return false;
    if (!take_max(in, PREDICT_KEYS_MAX, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct predict_record *record;

        if (!take_max(in, PREDICT_KEYS_MAX - 1, &slot) || slot < next)
            return false;
        next = slot + 1;
        record = &ranks->records[slot];
        if (get_u64(in, &record->key) < 0 || !record->key ||
            !take_max(in, ranks->predict.seen_count, &record->seen_at) ||
            !take_record(in, record) || !record->count)
            return false;
    }
    return true;
}

static bool take_lives(struct ranks *ranks, struct cursor *in)
{
    const uint64_t each = LIFE_WIDTHS * LIFE_SPANS, all = KIND_COUNT * each;
    uint64_t count, at, next = 0, reached, ended;

    if (!take_max(in, all, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct life_span *span;

        if (!take_max(in, all - 1, &at) || at < next)
            return false;
        next = at + 1;
        span = &ranks->life[at / each].widths[at % each / LIFE_SPANS].spans[at % LIFE_SPANS];
        if (!take_max(in, UINT32_MAX, &reached) || !take_max(in, UINT32_MAX, &ended) ||
            !take_time(in, INT64_MAX, &span->ms))
            return false;
        span->reached = (uint32_t)reached;
        span->ended = (uint32_t)ended;
    }
    return true;
}

static bool take_job(struct grid *grid, struct cursor *in, uint32_t version)
{
    uint64_t id, flags;
    struct job_rank *rank;
    struct job *job;

    if (get_u64(in, &id) < 0)
        return false;
    job = grid_job(grid, id);
    if (!job || job->rank)
        return false;
    rank = add_rank(job);
    if (!take_time(in, DURATION_MS_MAX, &rank->predicted_ms) ||
        !take_time(in, LEFT_MS_MAX, &rank->said_ms) ||
        (version >= 28 && !take_time(in, INT64_MAX, &rank->need_ms)) ||
        !take_max(in, LEVEL_LAST << 1 | 1, &flags))
        return false;
    rank->is_aged = flags & 1;
    rank->learned_ms = ended_ms(grid, job);
    set_left(grid, job);
    if (rank->is_aged)
        grid->ranks->lane_held[kind_of(grid, job)] += width_of(grid, job);
    if (job->state == JOB_QUEUED) {
        struct queue_key key;

        queue_remove(&grid->queue, &job->item);
        rank->level = (uint8_t)(flags >> 1);
        key = job_queue_key(grid, job);
        queue_add(&grid->queue, &key, &job->item);
        /* Its hour may have come, and no event since that fires timers: the next one does. */
        if (level_of(grid, job) != rank->level)
            timers_add(grid, grid->now_ms, job->item.id);
        else
            watch_deadline(grid, job);
    }
    rank->level = (uint8_t)(flags >> 1);
    return true;
}

int ranks_take(struct grid *grid, struct cursor *in, uint32_t version)
{
    uint64_t is_on, count;

    if (!take_max(in, 1, &is_on) || is_on != (grid->order == ORDER_PREDICTED))
        return -EBADMSG;
    if (!is_on)
        return 0;
    create(grid);
    if (!take_time(in, INT64_MAX / 2, &grid->ranks->next_ms) ||
        !take_predictions(grid->ranks, in) || (version >= 28 && !take_lives(grid->ranks, in)) ||
        !take_max(in, GRID_JOBS_MAX, &count))
        return -EBADMSG;
    for (uint64_t i = 0; i < count; i++)
        if (!take_job(grid, in, version))
            return -EBADMSG;
    return 0;
}

/* --- checks ----------------------------------------------------------------------------------- */

int ranks_check(const struct grid *grid, struct err *err)
{
    int64_t left_ms[KIND_COUNT] = { 0 };
    uint64_t lane[KIND_COUNT] = { 0 };

    if ((grid->ranks != NULL) != (grid->order == ORDER_PREDICTED))
        return err_set(err, -EINVAL, "invariant: ranks are %s and the order is %s",
                       grid->ranks ? "kept" : "not kept", grid_order_name(grid->order));
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id)) {
        if (job->rank ? !grid->ranks : grid->ranks && job->state != JOB_HELD)
            return err_set(err, -EINVAL, "invariant: job %" PRIu64 " has %s rank", job->item.id,
                           job->rank ? "a" : "no");
        if (!job->rank)
            continue;
        left_ms[kind_of(grid, job)] += job->rank->left_ms;
        lane[kind_of(grid, job)] += job->rank->is_aged ? width_of(grid, job) : 0;
    }
    for (uint32_t k = 0; grid->ranks && k < KIND_COUNT; k++)
        if (left_ms[k] != grid->ranks->left_ms[k] || lane[k] != grid->ranks->lane_held[k])
            return err_set(err, -EINVAL, "invariant: ranks: the sums of what waits are wrong");
    return 0;
}
