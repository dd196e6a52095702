/* The list run by sched/order and sched/predict. What stands here is only the machine around them:
 * who waits in buckets by size, what runs where, and the clock. */
#include "quality/replay.h"
#include "sched/life.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SIZES_MAX 64u
#define NO_JOB UINT32_MAX
#define RUNNING_MAX (POOL_NODES_MAX * NODE_DEVICES)

struct state {
    struct order_job job;
    struct order_rank rank; /* as queued */
    struct pool_place place;
    int64_t remain_ms, since_ms; /* work still to do, restarts with it; of this attempt */
    int64_t said_ms, left_ms;    /* device-ms expected at first; taken to be needed yet */
    uint32_t stamp, slot;        /* of its end; among the running, NO_JOB = it waits */
    uint32_t younger, older;     /* among the unfinished that are not aged */
    uint32_t heap_at;
};
/* Those of one size that wait, best first. */
struct bucket {
    uint32_t *jobs;
    uint32_t devices, count, cap;
    bool is_closed; /* for this pass */
};
struct replay {
    struct replay_list *list;
    const struct replay_how *how;
    struct pool pool;
    struct state *states;
    struct bucket buckets[SIZES_MAX];
    struct replay_heap ends;
    struct predict predict;
    struct life life;
    struct predict_record *records;
    struct order_place places[POOL_NODES_MAX];
    struct order_holding holdings[POOL_NODES_MAX * NODE_DEVICES];
    struct order_running running[RUNNING_MAX];
    uint32_t running_jobs[RUNNING_MAX];
    bool stop[RUNNING_MAX], used[POOL_NODES_MAX];
    uint32_t room[POOL_NODES_MAX], chosen[RUNNING_MAX];
    int64_t now_ms, pass_ms, left_ms;
    uint64_t lane_held, devices_total;
    uint32_t buckets_count, running_count, waiting_count;
    uint32_t oldest, youngest; /* unfinished and not aged */
};

/* --- who waits: a heap a size --- */

static struct bucket *bucket_of(struct replay *replay, uint32_t devices)
{
    for (uint32_t i = 0; i < replay->buckets_count; i++)
        if (replay->buckets[i].devices == devices)
            return &replay->buckets[i];
    assert(replay->buckets_count < SIZES_MAX);
    replay->buckets[replay->buckets_count].devices = devices;
    return &replay->buckets[replay->buckets_count++];
}

static void bucket_put(struct replay *replay, struct bucket *bucket, uint32_t at, uint32_t i)
{
    bucket->jobs[at] = i;
    replay->states[i].heap_at = at;
}

static void bucket_up(struct replay *replay, struct bucket *bucket, uint32_t at)
{
    uint32_t i = bucket->jobs[at];

    for (; at > 0; at = (at - 1u) / 2u) {
        uint32_t parent = bucket->jobs[(at - 1u) / 2u];

        if (!order_is_before(&replay->states[i].rank, &replay->states[parent].rank))
            break;
        bucket_put(replay, bucket, at, parent);
    }
    bucket_put(replay, bucket, at, i);
}

static void job_need(struct replay *replay, struct order_job *job)
{
    job->need_ms = life_need_ms(&replay->life, job->devices, job->ran_ms);
}

static void bucket_add(struct replay *replay, uint32_t i)
{
    struct bucket *bucket = bucket_of(replay, replay->states[i].job.devices);

    if (bucket->count == bucket->cap) {
        bucket->cap = MAX(64u, 2u * bucket->cap);
        bucket->jobs = replay_resize(bucket->jobs, bucket->cap, sizeof(*bucket->jobs));
    }
    job_need(replay, &replay->states[i].job);
    replay->states[i].rank =
        order_rank(&replay->how->order, &replay->states[i].job, replay->now_ms);
    bucket->jobs[bucket->count++] = i;
    bucket_up(replay, bucket, bucket->count - 1u);
    replay->waiting_count++;
}

static void bucket_pop(struct replay *replay, struct bucket *bucket)
{
    uint32_t last = bucket->jobs[--bucket->count], at = 0;

    replay->waiting_count--;
    if (bucket->count == 0)
        return;
    for (uint32_t child = 1; child < bucket->count; child = 2u * at + 1u) {
        const struct state *states = replay->states;

        if (child + 1u < bucket->count && order_is_before(&states[bucket->jobs[child + 1u]].rank,
                                                          &states[bucket->jobs[child]].rank))
            child++;
        if (!order_is_before(&states[bucket->jobs[child]].rank, &states[last].rank))
            break;
        bucket_put(replay, bucket, at, bucket->jobs[child]);
        at = child;
    }
    bucket_put(replay, bucket, at, last);
}

/* --- what runs --- */

static void job_start(struct replay *replay, uint32_t i)
{
    struct state *state = &replay->states[i];
    struct replay_job *job = &replay->list->jobs[i];
    uint32_t slot = replay->running_count++;

    if (job->first_start_s < 0)
        job->first_start_s = replay->now_ms / 1000;
    else
        state->remain_ms += replay->how->restart_s * 1000;
    state->since_ms = replay->now_ms;
    state->slot = slot;
    state->stamp++;
    replay->running_jobs[slot] = i;
    replay->running[slot] = (struct order_running){ .rank = state->rank,
                                                    .cost_ms = order_stop_cost_ms(
                                                        0, 0, true, replay->how->restart_s * 1000),
                                                    .devices = state->job.devices,
                                                    .is_preemptible = replay->how->is_preemptible };
    for (uint32_t p = 0; p < state->place.count; p++) {
        struct order_place *place = &replay->places[state->place.nodes[p]];

        replay->holdings[place->first + place->count++] =
            (struct order_holding){ slot, place_devices(&state->place, p) };
        place->free = replay->pool.free[state->place.nodes[p]];
    }
    replay_heap_add(&replay->ends, (double)(replay->now_ms + state->remain_ms), i, state->stamp);
}

static void holdings_rename(struct replay *replay, const struct pool_place *at, uint32_t from,
                            uint32_t to)
{
    for (uint32_t p = 0; p < at->count; p++) {
        struct order_place *place = &replay->places[at->nodes[p]];

        for (uint32_t h = place->first; h < place->first + place->count; h++)
            if (replay->holdings[h].running == from) {
                if (to == NO_JOB)
                    replay->holdings[h] = replay->holdings[place->first + --place->count];
                else
                    replay->holdings[h].running = to;
                break;
            }
        place->free = replay->pool.free[at->nodes[p]];
    }
}

static void job_stop(struct replay *replay, uint32_t i)
{
    struct state *state = &replay->states[i];
    int64_t ran_ms = replay->now_ms - state->since_ms, left_ms;
    uint32_t last = --replay->running_count, slot = state->slot;

    pool_give(&replay->pool, &state->place);
    holdings_rename(replay, &state->place, slot, NO_JOB);
    if (slot != last) {
        uint32_t moved = replay->running_jobs[last];

        replay->running[slot] = replay->running[last];
        replay->running_jobs[slot] = moved;
        replay->states[moved].slot = slot;
        holdings_rename(replay, &replay->states[moved].place, last, slot);
    }
    state->slot = NO_JOB;
    state->stamp++;
    state->remain_ms -= ran_ms;
    life_learn(&replay->life, state->job.devices, state->job.ran_ms, state->job.ran_ms + ran_ms,
               state->remain_ms <= 0);
    state->job.ran_ms += ran_ms;
    state->job.attained_ms += ran_ms * state->job.devices;
    left_ms =
        state->remain_ms <= 0 ? 0 : order_work_left_ms(state->said_ms, state->job.attained_ms);
    replay->left_ms += left_ms - state->left_ms;
    state->left_ms = left_ms;
}

static void unlink_job(struct replay *replay, uint32_t i)
{
    struct state *state = &replay->states[i];

    *(state->older == NO_JOB ? &replay->oldest : &replay->states[state->older].younger) =
        state->younger;
    *(state->younger == NO_JOB ? &replay->youngest : &replay->states[state->younger].older) =
        state->older;
}

static uint64_t key_of(const struct replay_job *job)
{
    return job->user != 0 ? predict_key(job->user, job->devices) : 0;
}

static void job_end(struct replay *replay, uint32_t i)
{
    struct replay_job *job = &replay->list->jobs[i];

    job_stop(replay, i);
    job->end_s = replay->now_ms / 1000;
    if (replay->states[i].job.is_aged)
        replay->lane_held -= job->devices;
    else
        unlink_job(replay, i);
    predict_learn(&replay->predict, &replay->how->predict, key_of(job), job->devices,
                  replay->states[i].job.ran_ms);
}

static void job_arrive(struct replay *replay, uint32_t i)
{
    struct state *state = &replay->states[i];
    struct replay_job *job = &replay->list->jobs[i];
    struct predict_answer answer =
        predict_ask(&replay->predict, &replay->how->predict, key_of(job), job->devices);

    state->job = (struct order_job){ .id = i,
                                     .submit_ms = job->submit_s * 1000,
                                     .deadline_ms = INT64_MAX,
                                     .devices = job->devices };
    if (answer.source == PREDICT_KEY)
        state->job.predicted_ms = answer.typical_ms;
    state->said_ms = state->left_ms = answer.mean_ms * job->devices;
    replay->left_ms += state->left_ms;
    state->remain_ms = job->duration_s * 1000;
    state->slot = NO_JOB;
    state->younger = NO_JOB;
    state->older = replay->youngest;
    *(replay->youngest == NO_JOB ? &replay->oldest : &replay->states[replay->youngest].younger) = i;
    replay->youngest = i;
    job->first_start_s = -1;
    job->restarts = 0;
    bucket_add(replay, i);
}

/* --- a pass --- */

static void pass_age(struct replay *replay)
{
    uint32_t looked = 0, next;

    for (uint32_t i = replay->oldest; i != NO_JOB && looked < replay->how->order.lane_look;
         i = next, looked++) {
        struct state *state = &replay->states[i];
        struct order_job now = state->job;
        enum order_lane_answer answer;

        next = state->younger;
        now.arrival_wait_ms = order_arrival_wait_ms(replay->left_ms, replay->devices_total);
        if (state->slot != NO_JOB)
            now.ran_ms += replay->now_ms - state->since_ms;
        answer = order_lane_ask(&replay->how->order, &replay->lane_held, replay->devices_total,
                                &now, replay->now_ms);
        if (answer == ORDER_LANE_FULL)
            return;
        if (answer == ORDER_LANE_NOT_YET)
            continue;
        state->job.is_aged = true;
        unlink_job(replay, i);
        if (state->slot == NO_JOB) {
            state->rank = order_rank(&replay->how->order, &state->job, replay->now_ms);
            bucket_up(replay, bucket_of(replay, state->job.devices), state->heap_at);
        }
    }
}

static void pass_rank(struct replay *replay)
{
    for (uint32_t slot = 0; slot < replay->running_count; slot++) {
        const struct state *state = &replay->states[replay->running_jobs[slot]];
        struct order_job now = state->job;
        int64_t ran_ms = replay->now_ms - state->since_ms;

        now.ran_ms += ran_ms;
        now.attained_ms += ran_ms * now.devices;
        job_need(replay, &now);
        replay->running[slot].rank = order_rank(&replay->how->order, &now, replay->now_ms);
        replay->running[slot].run_ms = ran_ms;
    }
}

static struct order_want want_of(const struct replay *replay, const struct bucket *bucket)
{
    return (struct order_want){ .rank = replay->states[bucket->jobs[0]].rank,
                                .parts = bucket->devices / NODE_DEVICES,
                                .devices = NODE_DEVICES,
                                .rest = bucket->devices % NODE_DEVICES };
}

static struct order_pool pool_of(const struct replay *replay)
{
    return (struct order_pool){ replay->places, replay->holdings, replay->running,
                                replay->pool.nodes_count, replay->running_count };
}

/* Those marked stop, and what stands first in the bucket starts; their count, in `chosen`. */
static uint32_t make_way(struct replay *replay, struct bucket *bucket)
{
    uint32_t i = bucket->jobs[0], count = 0;

    for (uint32_t slot = 0; slot < replay->running_count; slot++)
        if (replay->stop[slot])
            replay->chosen[count++] = replay->running_jobs[slot];
    bucket_pop(replay, bucket);
    for (uint32_t v = 0; v < count; v++) {
        job_stop(replay, replay->chosen[v]);
        replay->list->jobs[replay->chosen[v]].restarts++;
    }
    if (!pool_take(&replay->pool, replay->states[i].job.devices, &replay->states[i].place))
        assert(!"the victims gave less room than was said");
    job_start(replay, i);
    return count;
}

/* Who makes way for the bucket's first, by being moved or stopped. False: it cannot be. */
static bool choose(struct replay *replay, struct bucket *bucket, bool moves)
{
    const struct order_params *params = &replay->how->order;
    struct order_want want = want_of(replay, bucket);
    struct order_pool pool = pool_of(replay);

    memset(replay->stop, 0, replay->running_count * sizeof(*replay->stop));
    memset(replay->used, 0, replay->pool.nodes_count * sizeof(*replay->used));
    return moves ? order_pick_moves(params, &want, &pool, replay->stop, replay->used, replay->room)
                 : order_pick_victims(params, &want, &pool, replay->stop, replay->used);
}

static bool pass_displace(struct replay *replay, struct bucket *bucket)
{
    uint32_t count;

    if (!choose(replay, bucket, false))
        return false;
    count = make_way(replay, bucket);
    for (uint32_t v = 0; v < count; v++)
        bucket_add(replay, replay->chosen[v]);
    return true;
}

/* Who is moved goes on at once, where it fits. */
static bool pass_move(struct replay *replay, struct bucket *bucket)
{
    uint32_t count;

    if (!choose(replay, bucket, true))
        return false;
    count = make_way(replay, bucket);
    for (uint32_t v = 0; v < count; v++) {
        struct state *state = &replay->states[replay->chosen[v]];

        if (pool_take(&replay->pool, state->job.devices, &state->place))
            job_start(replay, replay->chosen[v]);
        else
            bucket_add(replay, replay->chosen[v]);
    }
    return true;
}

static struct bucket *pass_best(struct replay *replay)
{
    struct bucket *best = NULL;

    for (uint32_t b = 0; b < replay->buckets_count; b++) {
        struct bucket *bucket = &replay->buckets[b];

        if (!bucket->is_closed && bucket->count > 0 &&
            (!best || order_is_before(&replay->states[bucket->jobs[0]].rank,
                                      &replay->states[best->jobs[0]].rank)))
            best = bucket;
    }
    return best;
}

static void pass_run(struct replay *replay)
{
    bool may_stop = replay->now_ms >= replay->pass_ms;
    struct bucket *bucket;

    if (may_stop) {
        replay->pass_ms = replay->now_ms + replay->how->pass_s * 1000;
        pass_age(replay);
        pass_rank(replay);
    }
    for (uint32_t b = 0; b < replay->buckets_count; b++)
        replay->buckets[b].is_closed = false;
    while ((bucket = pass_best(replay))) {
        uint32_t i = bucket->jobs[0];

        if (pool_take(&replay->pool, bucket->devices, &replay->states[i].place)) {
            bucket_pop(replay, bucket);
            job_start(replay, i);
        } else if (!may_stop || !replay->how->is_preemptible ||
                   (!pass_move(replay, bucket) && !pass_displace(replay, bucket))) {
            /* Where nothing can be stopped, room for who has waited too long is only had by
             * letting nobody past. */
            if (!replay->how->is_preemptible && order_holds_room(&replay->states[i].rank))
                return;
            bucket->is_closed = true;
        }
    }
}

/* --- the clock --- */

static int64_t next_ms(struct replay *replay, uint32_t next)
{
    int64_t at = INT64_MAX;

    while (replay->ends.count > 0 &&
           replay->states[replay->ends.items[0].number].stamp != replay->ends.items[0].stamp)
        replay_heap_pop(&replay->ends);
    if (next < replay->list->count)
        at = replay->list->jobs[next].submit_s * 1000;
    if (replay->ends.count > 0)
        at = MIN(at, (int64_t)replay->ends.items[0].key);
    if (replay->waiting_count > 0 && replay->pass_ms > replay->now_ms)
        at = MIN(at, replay->pass_ms);
    return at;
}

static void run_all(struct replay *replay, uint32_t pool)
{
    const struct replay_list *list = replay->list;
    uint32_t next = 0;

    for (;;) {
        while (next < list->count && list->jobs[next].pool != pool)
            next++;
        replay->now_ms = next_ms(replay, next);
        if (replay->now_ms == INT64_MAX)
            return;
        while (replay->ends.count > 0 && (int64_t)replay->ends.items[0].key <= replay->now_ms) {
            struct replay_heap_item end = replay->ends.items[0];

            replay_heap_pop(&replay->ends);
            if (replay->states[end.number].stamp == end.stamp)
                job_end(replay, end.number);
        }
        for (; next < list->count && list->jobs[next].submit_s * 1000 <= replay->now_ms; next++)
            if (list->jobs[next].pool == pool)
                job_arrive(replay, next);
        pass_run(replay);
    }
}

void replay_run_order(struct replay_list *list, uint32_t pool, uint32_t nodes,
                      const struct replay_how *how)
{
    struct replay *replay = replay_alloc(1, sizeof(*replay));

    replay->list = list;
    replay->how = how;
    replay->states = replay_alloc(list->count, sizeof(*replay->states));
    replay->records = replay_alloc(PREDICT_KEYS_MAX, sizeof(*replay->records));
    replay->oldest = replay->youngest = NO_JOB;
    replay->devices_total = nodes * NODE_DEVICES;
    pool_init(&replay->pool, nodes);
    predict_init(&replay->predict, replay->records, PREDICT_KEYS_MAX);
    for (uint32_t n = 0; n < nodes; n++)
        replay->places[n] = (struct order_place){ NODE_DEVICES, n * NODE_DEVICES, 0 };
    run_all(replay, pool);
    assert(replay->waiting_count == 0);
    for (uint32_t b = 0; b < replay->buckets_count; b++)
        free(replay->buckets[b].jobs);
    free(replay->ends.items);
    free(replay->records);
    free(replay->states);
    free(replay);
}
