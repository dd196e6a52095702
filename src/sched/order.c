#include "sched/order.h"

#include <stddef.h>

#define HOUR_MS (3600 * INT64_C(1000))

static const struct order_params defaults = {
    .work_ms_fresh = 30 * INT64_C(1000),
    .work_ms_last = 64000 * INT64_C(1000) * 1000,
    .gap_ms = 28 * HOUR_MS,
    .run_ms_min = 600 * INT64_C(1000),
    .cost_times = 10,
    .patience_ms_min = 24 * HOUR_MS,
    .patience_milli = 2400,
    .lane_milli = 100,
    .lane_milli_max = 310,
    .lane_ms_long = 24 * HOUR_MS,
    .lane_look = 1024,
    .due_ms_spare = 600 * INT64_C(1000),
};

/* a x b, or the most there is: ranks and bounds saturate rather than wrap. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t out;

    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t out;

    return __builtin_add_overflow(a, b, &out) ? INT64_MAX : out;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct order_params order_params_for(uint64_t devices_total)
{
    struct order_params params = defaults;
    int64_t devices = devices_total < INT32_MAX ? (int64_t)devices_total : INT32_MAX;

    params.work_ms_last = max_of(params.work_ms_last, devices * HOUR_MS);
    return params;
}

static uint32_t devices_of(const struct order_job *job)
{
    return job->devices > 0 ? job->devices : 1;
}

/* --- rank --- */

/* The latest moment at which a job that needs what is predicted still keeps its deadline. */
static int64_t latest_start_ms(const struct order_job *job)
{
    if (job->deadline_ms == INT64_MAX)
        return INT64_MAX;
    return job->deadline_ms - max_of(0, job->predicted_ms - job->ran_ms);
}

static bool is_due(const struct order_params *params, const struct order_job *job, int64_t now_ms)
{
    int64_t latest = latest_start_ms(job);

    /* Who cannot keep it any more has no call on others. */
    return latest != INT64_MAX && now_ms <= latest && latest - now_ms <= params->due_ms_spare;
}

static uint32_t level_of_work(const struct order_params *params, int64_t work_ms)
{
    int64_t fresh = max_of(1, params->work_ms_fresh);
    uint64_t ratio;

    if (work_ms > params->work_ms_last)
        work_ms = max_of(fresh, params->work_ms_last);
    ratio = (uint64_t)(work_ms / fresh);
    return ORDER_LEVEL_FIRST + 63u - (uint32_t)__builtin_clzll(ratio > 0 ? ratio : 1);
}

uint32_t order_level_last(const struct order_params *params)
{
    return level_of_work(params, INT64_MAX);
}

static uint32_t level_of(const struct order_params *params, const struct order_job *job)
{
    int64_t fresh = max_of(1, params->work_ms_fresh);
    int64_t work =
        max_of(job->attained_ms, times(max_of(0, job->predicted_ms), (int64_t)devices_of(job)));

    if (job->predicted_ms <= 0 && job->need_ms > 0)
        work = times(job->need_ms, (int64_t)devices_of(job));

    return level_of_work(params, plus(work, times(fresh, (int64_t)devices_of(job))));
}

struct order_rank order_rank(const struct order_params *params, const struct order_job *job,
                             int64_t now_ms)
{
    struct order_rank rank = { job->job_class, ORDER_LEVEL_AGED, job->submit_ms, job->id };

    if (!job->is_aged)
        rank.level = is_due(params, job, now_ms) ? ORDER_LEVEL_DUE : level_of(params, job);
    return rank;
}

bool order_is_before(const struct order_rank *a, const struct order_rank *b)
{
    if (a->job_class != b->job_class)
        return a->job_class < b->job_class;
    if (a->level != b->level)
        return a->level < b->level;
    if (a->submit_ms != b->submit_ms)
        return a->submit_ms < b->submit_ms;
    return a->id < b->id;
}

/* --- ageing --- */

static int64_t patience_ms(const struct order_params *params, const struct order_job *job)
{
    int64_t milli = (int64_t)params->patience_milli;
    int64_t wait = max_of(0, job->arrival_wait_ms);

    return max_of(params->patience_ms_min, plus(times(wait / 1000, milli), wait % 1000));
}

int64_t order_change_ms(const struct order_params *params, const struct order_job *job,
                        int64_t now_ms)
{
    int64_t aged = plus(plus(job->submit_ms, job->ran_ms), patience_ms(params, job));
    int64_t latest = latest_start_ms(job), due = latest;

    if (job->is_aged)
        return INT64_MAX;
    if (latest != INT64_MAX) {
        due = latest - params->due_ms_spare;
        if (due <= now_ms)
            due = latest >= now_ms ? plus(latest, 1) : INT64_MAX;
    }
    return due < aged || aged <= now_ms ? due : aged;
}

int64_t order_work_left_ms(int64_t said_ms, int64_t attained_ms)
{
    return attained_ms < said_ms ? said_ms - attained_ms : max_of(0, attained_ms);
}

int64_t order_arrival_wait_ms(int64_t left_ms, uint64_t devices_total)
{
    return max_of(0, left_ms) /
           (devices_total > 0 && devices_total <= INT32_MAX ? (int64_t)devices_total : 1);
}

/* Behind a backlog of a day and more somebody waits for long whatever the order: the fewer, and the
 * less, the wider the lane. */
static uint64_t lane_devices(const struct order_params *params, uint64_t devices_total,
                             int64_t arrival_wait_ms)
{
    uint64_t milli =
        arrival_wait_ms < params->lane_ms_long ? params->lane_milli : params->lane_milli_max;

    return devices_total / 1000u * milli + devices_total % 1000u * milli / 1000u;
}

enum order_lane_answer order_lane_ask(const struct order_params *params, uint64_t *held,
                                      uint64_t devices_total, const struct order_job *job,
                                      int64_t now_ms)
{
    int64_t waited = now_ms - job->submit_ms - job->ran_ms;

    if (waited < patience_ms(params, job))
        return ORDER_LANE_NOT_YET;
    if (*held > 0 &&
        *held + devices_of(job) > lane_devices(params, devices_total, job->arrival_wait_ms))
        return ORDER_LANE_FULL;
    *held += devices_of(job);
    return ORDER_LANE_TAKEN;
}

bool order_holds_room(const struct order_rank *rank)
{
    return rank->level <= ORDER_LEVEL_DUE;
}

/* --- whom to stop --- */

int64_t order_stop_cost_ms(int64_t now_ms, int64_t checkpoint_ms, bool saves_when_told,
                           int64_t restart_ms)
{
    return plus(max_of(0, restart_ms), saves_when_told ? 0 : max_of(0, now_ms - checkpoint_ms));
}

bool order_has_settled(const struct order_params *params, const struct order_running *running)
{
    return running->run_ms >= params->run_ms_min &&
           running->run_ms >= times(params->cost_times, running->cost_ms);
}

bool order_may_displace(const struct order_params *params, const struct order_rank *blocked,
                        const struct order_running *running)
{
    const struct order_rank *rank = &running->rank;

    if (!running->is_preemptible || blocked->job_class > rank->job_class)
        return false;
    if (blocked->job_class < rank->job_class)
        return true;
    if (rank->level == ORDER_LEVEL_AGED)
        return false;
    /* What the lane promises does not wait for its victims to settle; they are never stopped for
     * the same job twice, as it stays aged to its end. */
    if (blocked->level == ORDER_LEVEL_AGED)
        return true;
    if (!order_has_settled(params, running))
        return false;
    if (blocked->level != rank->level)
        return blocked->level < rank->level;
    return rank->submit_ms > plus(blocked->submit_ms, params->gap_ms);
}

/* What clearing a place costs: whom it hits first, then device-ms. */
struct price {
    uint32_t job_class; /* of the best job stopped; UINT32_MAX = none is */
    int64_t lost_ms;
};

static bool price_is_less(const struct price *a, const struct price *b)
{
    if (a->job_class != b->job_class)
        return a->job_class > b->job_class;
    return a->lost_ms < b->lost_ms;
}

struct search {
    const struct order_params *params;
    const struct order_want *want;
    const struct order_pool *pool;
    bool *stop;
};

static int64_t lost_ms(const struct order_running *running)
{
    return times(running->cost_ms, (int64_t)(running->devices > 0 ? running->devices : 1));
}

/* Is stopping `a` better than `b`, when `need` devices are still wanted here? One that gives
 * enough alone goes before two; of those the cheapest, else the one that gives most. */
static bool is_better(const struct order_pool *pool, const struct order_holding *a,
                      const struct order_holding *b, uint32_t need)
{
    const struct order_running *x = &pool->running[a->running], *y = &pool->running[b->running];
    bool a_does = a->devices >= need, b_does = b->devices >= need;

    if (x->rank.job_class != y->rank.job_class)
        return x->rank.job_class > y->rank.job_class;
    if (a_does != b_does)
        return a_does;
    if (!a_does && a->devices != b->devices)
        return a->devices > b->devices;
    if (lost_ms(x) != lost_ms(y))
        return lost_ms(x) < lost_ms(y);
    return order_is_before(&y->rank, &x->rank);
}

/* Mark, in `taken` (a bit a holding, the first 64 of the place), whom to stop for `need` devices
 * here. False: not possible. */
static bool place_clear(const struct search *search, const struct order_place *place, uint32_t need,
                        uint64_t *taken_out, struct price *price)
{
    const struct order_pool *pool = search->pool;
    const struct order_holding *list = &pool->holdings[place->first];
    uint32_t count = place->count < 64u ? place->count : 64u, room = place->free;
    uint64_t may = 0, taken = 0;

    *price = (struct price){ UINT32_MAX, 0 };
    for (uint32_t i = 0; i < count; i++) {
        const struct order_running *running = &pool->running[list[i].running];

        if (search->stop[list[i].running])
            room += list[i].devices;
        else if (order_may_displace(search->params, &search->want->rank, running))
            may |= UINT64_C(1) << i;
    }
    while (room < need) {
        uint32_t best = count;

        for (uint32_t i = 0; i < count; i++)
            if ((may >> i & 1u) &&
                (best == count || is_better(pool, &list[i], &list[best], need - room)))
                best = i;
        if (best == count)
            return false;
        may &= ~(UINT64_C(1) << best);
        taken |= UINT64_C(1) << best;
        room += list[best].devices;
        price->lost_ms = plus(price->lost_ms, lost_ms(&pool->running[list[best].running]));
        if (pool->running[list[best].running].rank.job_class < price->job_class)
            price->job_class = pool->running[list[best].running].rank.job_class;
    }
    *taken_out = taken;
    return true;
}

static bool take_part(const struct search *search, uint32_t need, bool *used)
{
    const struct order_pool *pool = search->pool;
    struct price price, best_price = { 0 };
    uint64_t taken, best_taken = 0;
    uint32_t best = pool->places_count;

    for (uint32_t i = 0; i < pool->places_count; i++) {
        if (used[i] || !place_clear(search, &pool->places[i], need, &taken, &price))
            continue;
        if (best == pool->places_count || price_is_less(&price, &best_price)) {
            best = i;
            best_price = price;
            best_taken = taken;
        }
    }
    if (best == pool->places_count)
        return false;
    used[best] = true;
    for (uint32_t i = 0; i < 64u && i < pool->places[best].count; i++)
        if (best_taken >> i & 1u)
            search->stop[pool->holdings[pool->places[best].first + i].running] = true;
    return true;
}

bool order_pick_victims(const struct order_params *params, const struct order_want *want,
                        const struct order_pool *pool, bool *stop, bool *used)
{
    struct search search = { params, want, pool, stop };

    if (want->parts > ORDER_PARTS_MAX || want->parts > pool->places_count)
        return false;
    for (uint32_t i = 0; i < want->parts; i++)
        if (!take_part(&search, want->devices, used))
            return false;
    return want->rest == 0 || take_part(&search, want->rest, used);
}
