#include "quality/supernode_run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "sched/defrag.h"
#include "sched/predict.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MOVE_MS INT64_C(60000)
#define REST_MS INT64_C(1800000) /* nobody is moved twice in this time */
#define LOOK_MS INT64_C(300000)  /* between passes that may stop gangs */
#define SIZES_MAX 4096u
#define PLANS_MAX 4u /* looked for in a pass */
#define RUNNING_MAX 4096u
#define DOMAINS_MAX 64u /* of a pool */

struct end {
    int64_t at_ms;
    uint32_t gang, version;
};
struct run {
    struct cells *pools[POOLS_MAX];
    const struct fleet *fleet;
    struct gang *gangs;
    enum supernode_way way;
    struct run_figures *figures;
    uint32_t *queue, queued, next;
    uint32_t *gang_of[POOLS_MAX];
    struct end *ends;
    uint32_t ends_count, ends_cap;
    struct defrag_plan plan;
    struct defrag_params defrag;
    /* By sched/order. */
    struct order_params order;
    struct predict_params guess;
    struct predict predict;
    uint32_t *running, running_count;
    struct order_running *ranks;
    struct order_holding *holdings;
    uint32_t *held;
    bool *stop, *used;
    uint64_t devices_total, lane_held;
    int64_t look_ms, owed_ms;
};

static void *get(size_t count, size_t size)
{
    void *data = calloc(count, size);

    if (!data)
        abort();
    return data;
}

uint64_t fleet_devices(const struct fleet *fleet)
{
    uint64_t devices = 0;

    for (uint32_t p = 0; p < fleet->pools_count; p++) {
        const uint32_t *counts = fleet->shapes[p].counts;

        devices += (uint64_t)counts[0] * counts[1] * counts[2] * counts[3];
    }
    return devices;
}

static uint32_t devices_of(const struct gang *gang)
{
    return gang->ask.tasks * gang->ask.task_devices;
}

/* --- ends --- */

static bool end_before(const struct end *a, const struct end *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->gang < b->gang;
}

static void ends_add(struct run *run, uint32_t gang)
{
    struct end end = { run->gangs[gang].end_ms, gang, ++run->gangs[gang].ends };
    uint32_t at = run->ends_count++;

    if (run->ends_count > run->ends_cap) {
        run->ends_cap = run->ends_cap ? 2 * run->ends_cap : 1024;
        run->ends = realloc(run->ends, run->ends_cap * sizeof(*run->ends));
        if (!run->ends)
            abort();
    }
    for (; at > 0 && end_before(&end, &run->ends[(at - 1) / 2]); at = (at - 1) / 2)
        run->ends[at] = run->ends[(at - 1) / 2];
    run->ends[at] = end;
}

static struct end ends_pop(struct run *run)
{
    struct end top = run->ends[0], last = run->ends[--run->ends_count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < run->ends_count; child = 2 * at + 1) {
        if (child + 1 < run->ends_count && end_before(&run->ends[child + 1], &run->ends[child]))
            child++;
        if (!end_before(&run->ends[child], &last))
            break;
        run->ends[at] = run->ends[child];
        at = child;
    }
    run->ends[at] = last;
    return top;
}

/* --- starting and stopping --- */

/* Is a hard gang within one cell of its level? */
static bool is_whole(const struct cells *cells, uint32_t job, uint32_t level)
{
    uint32_t count;
    const struct cells_part *parts = cells_parts(cells, job, &count);
    uint32_t size = cells_tree(cells)->sizes[level];

    for (uint32_t i = 1; i < count; i++)
        if (parts[i].node / size != parts[0].node / size)
            return false;
    return true;
}

static void count_split(struct run *run, const struct gang *gang)
{
    run->figures->split_hard +=
        gang->ask.is_hard &&
        !is_whole(run->pools[gang->pool], gang->handle[gang->pool], gang->ask.level);
}

static void started(struct run *run, uint32_t g, uint32_t pool, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];

    gang->pool = pool;
    gang->moved_ms = now_ms - REST_MS;
    gang->since_ms = now_ms;
    gang->left_ms += gang->stops ? MOVE_MS : 0;
    gang->end_ms = now_ms + gang->left_ms;
    gang->is_running = true;
    assert(run->running_count < RUNNING_MAX);
    run->running[run->running_count++] = g;
    count_split(run, gang);
    ends_add(run, g);
}

/* Off its devices, at its end or before. */
static void left(struct run *run, uint32_t g, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];
    int64_t ran_ms = now_ms - gang->since_ms, owed_ms;

    for (uint32_t i = 0; i < run->running_count; i++)
        if (run->running[i] == g)
            run->running[i] = run->running[--run->running_count];
    gang->is_running = false;
    gang->ends++;
    gang->left_ms = gang->end_ms - now_ms;
    gang->job.ran_ms += ran_ms;
    gang->job.attained_ms += ran_ms * devices_of(gang);
    owed_ms = gang->left_ms <= 0 ? 0 : order_work_left_ms(gang->said_ms, gang->job.attained_ms);
    run->owed_ms += owed_ms - gang->owed_ms;
    gang->owed_ms = owed_ms;
}

/* Pools with the smallest supernodes first. */
static bool place(struct run *run, uint32_t g, int64_t now_ms)
{
    for (uint32_t p = 0; p < run->fleet->pools_count; p++)
        if (cells_lend(run->pools[p], run->gangs[g].handle[p])) {
            started(run, g, p, now_ms);
            return true;
        }
    return false;
}

/* --- room by moves --- */

static void set_worths(struct run *run, uint32_t pool, int64_t now_ms)
{
    for (uint32_t k = 0; k < run->running_count; k++) {
        struct gang *gang = &run->gangs[run->running[k]];

        if (gang->pool != pool)
            continue;
        cells_set_worth(run->pools[pool], gang->handle[pool],
                        now_ms - gang->moved_ms < REST_MS ? -1.0
                                                          : (double)MOVE_MS * devices_of(gang));
    }
}

static void move_all(struct run *run, uint32_t pool, int64_t now_ms)
{
    for (uint32_t i = 0; i < run->plan.moves_count; i++) {
        uint32_t other = run->gang_of[pool][run->plan.moves[i].job];
        struct gang *moved = &run->gangs[other];

        moved->end_ms += MOVE_MS;
        moved->moved_ms = now_ms;
        ends_add(run, other);
        run->figures->moved++;
        run->figures->moved_device_ms += (double)MOVE_MS * devices_of(moved);
        count_split(run, moved);
    }
}

static bool make_room(struct run *run, uint32_t g, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];

    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        bool is_found;
        int64_t from_us = clock_mono_us();

        set_worths(run, p, now_ms);
        is_found = defrag_find(run->pools[p], &run->defrag, gang->handle[p],
                               now_ms - gang->submit_ms, &run->plan);
        run->figures->tries++;
        run->figures->plan_us += (double)(clock_mono_us() - from_us);
        if (!is_found)
            continue;
        defrag_apply(run->pools[p], gang->handle[p], &run->plan);
        started(run, g, p, now_ms);
        run->figures->plans++;
        move_all(run, p, now_ms);
        return true;
    }
    return false;
}

/* --- room by making way --- */

static struct order_job as_of(const struct gang *gang, int64_t now_ms)
{
    struct order_job job = gang->job;
    int64_t ran_ms = gang->is_running ? now_ms - gang->since_ms : 0;

    job.ran_ms += ran_ms;
    job.attained_ms += ran_ms * devices_of(gang);
    return job;
}

static void rank_running(struct run *run, int64_t now_ms)
{
    for (uint32_t k = 0; k < run->running_count; k++) {
        const struct gang *gang = &run->gangs[run->running[k]];
        struct order_job job = as_of(gang, now_ms);

        run->ranks[k] = (struct order_running){ .rank = order_rank(&run->order, &job, now_ms),
                                                .run_ms = now_ms - gang->since_ms,
                                                .cost_ms = MOVE_MS,
                                                .devices = devices_of(gang),
                                                .is_preemptible = true };
    }
}

/* Could stopping all who may be stopped be enough? */
static bool may_suffice(const struct run *run, const struct gang *gang)
{
    uint64_t room = 0;

    for (uint32_t p = 0; p < run->fleet->pools_count; p++)
        room += cells_tree(run->pools[p])->devices_free;
    for (uint32_t k = 0; k < run->running_count; k++)
        if (order_may_displace(&run->order, &gang->rank, &run->ranks[k]))
            room += run->ranks[k].devices;
    return room >= devices_of(gang);
}

/* What each holds in each domain of a pool, in `held`: a row of DOMAINS_MAX for each running. */
static void count_held(struct run *run, uint32_t pool, uint32_t level)
{
    uint32_t nodes = cells_tree(run->pools[pool])->sizes[level];

    memset(run->held, 0, (size_t)run->running_count * DOMAINS_MAX * sizeof(*run->held));
    for (uint32_t k = 0; k < run->running_count; k++) {
        const struct gang *gang = &run->gangs[run->running[k]];
        const struct cells_part *parts;
        uint32_t count = 0;

        if (gang->pool != pool)
            continue;
        parts = cells_parts(run->pools[pool], gang->handle[pool], &count);
        for (uint32_t i = 0; i < count; i++)
            run->held[k * DOMAINS_MAX + parts[i].node / nodes] += parts[i].devices;
    }
}

/* Domains that may hold the whole gang: supernodes for who must be in one, else pools. */
static uint32_t list_domains(struct run *run, const struct gang *gang, struct order_place *places)
{
    uint32_t level = gang->ask.is_hard ? SUPERNODE_LEVEL : SUPERNODE_LEVEL + 1, count = 0;
    uint32_t holdings = 0;

    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        const struct celltree *tree = cells_tree(run->pools[p]);

        count_held(run, p, level);
        for (uint32_t cell = 0; cell < tree->cells_count[level]; cell++) {
            struct order_place *to = &places[count++];

            *to = (struct order_place){ tree->whole[level][cell] * 8, holdings, 0 };
            for (uint32_t k = 0; k < run->running_count; k++)
                if (run->held[k * DOMAINS_MAX + cell] &&
                    order_may_displace(&run->order, &gang->rank, &run->ranks[k]))
                    run->holdings[to->first + to->count++] =
                        (struct order_holding){ k, run->held[k * DOMAINS_MAX + cell] };
            holdings += to->count;
        }
    }
    return count;
}

static void put_back(struct run *run, uint32_t at, uint32_t g)
{
    while (at < run->queued &&
           order_is_before(&run->gangs[run->queue[at]].rank, &run->gangs[g].rank))
        at++;
    memmove(&run->queue[at + 1], &run->queue[at], (run->queued++ - at) * sizeof(*run->queue));
    run->queue[at] = g;
}

/* `at`: those in the queue from here on have not been looked at in this pass. */
static bool make_way(struct run *run, uint32_t g, uint32_t at, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];
    struct order_place places[DOMAINS_MAX * POOLS_MAX];
    struct order_want want = { .rank = gang->rank, .parts = 1, .devices = devices_of(gang) };
    struct order_pool pool = { places, run->holdings, run->ranks, 0, run->running_count };
    uint32_t stopped[RUNNING_MAX], count = 0;

    if (!may_suffice(run, gang))
        return false;
    pool.places_count = list_domains(run, gang, places);
    memset(run->stop, 0, RUNNING_MAX * sizeof(*run->stop));
    memset(run->used, 0, pool.places_count * sizeof(*run->used));
    if (!order_pick_victims(&run->order, &want, &pool, run->stop, run->used))
        return false;
    for (uint32_t k = 0; k < pool.running_count; k++)
        if (run->stop[k])
            stopped[count++] = run->running[k];
    for (uint32_t i = 0; i < count; i++) {
        struct gang *other = &run->gangs[stopped[i]];
        struct order_job job;

        cells_release(run->pools[other->pool], other->handle[other->pool]);
        left(run, stopped[i], now_ms);
        other->stops++;
        run->figures->stopped++;
        run->figures->moved_device_ms += (double)MOVE_MS * devices_of(other);
        job = as_of(other, now_ms);
        other->rank = order_rank(&run->order, &job, now_ms);
    }
    if (!place(run, g, now_ms))
        assert(!"who made way gave less room than was said");
    for (uint32_t i = 0; i < count; i++)
        put_back(run, at, stopped[i]);
    rank_running(run, now_ms);
    return true;
}

/* Oldest first: a gang's number is its place in line. */
static void age(struct run *run, int64_t now_ms)
{
    uint32_t looked = 0;

    for (uint32_t g = 0; g < run->next && looked < run->order.lane_look; g++) {
        struct gang *gang = &run->gangs[g];
        struct order_job job = as_of(gang, now_ms);
        enum order_lane_answer answer;

        if (gang->job.is_aged || (!gang->is_running && gang->left_ms <= 0))
            continue;
        looked++;
        job.arrival_wait_ms = order_arrival_wait_ms(run->owed_ms, run->devices_total);
        answer = order_lane_ask(&run->order, &run->lane_held, run->devices_total, &job, now_ms);
        if (answer == ORDER_LANE_FULL)
            return;
        if (answer == ORDER_LANE_TAKEN) {
            gang->job.is_aged = true;
            gang->rank = order_rank(&run->order, &gang->job, now_ms);
        }
    }
}

static const struct gang *sorted_gangs; /* of the sort at hand */

static int rank_compare(const void *a, const void *b)
{
    const struct order_rank *x = &sorted_gangs[*(const uint32_t *)a].rank;
    const struct order_rank *y = &sorted_gangs[*(const uint32_t *)b].rank;

    return order_is_before(x, y) ? -1 : order_is_before(y, x);
}

static void line_up(struct run *run)
{
    sorted_gangs = run->gangs;
    qsort(run->queue, run->queued, sizeof(*run->queue), rank_compare);
}

/* --- a pass --- */

static void serve(struct run *run, int64_t now_ms)
{
    uint32_t kept = 0, plans = 0;
    uint8_t failed[2][SIZES_MAX] = { { 0 } };
    bool may_stop = run->way == WAY_MAINS && now_ms >= run->look_ms;

    if (may_stop) {
        run->look_ms = now_ms + LOOK_MS;
        age(run, now_ms);
        rank_running(run, now_ms);
    }
    if (run->way == WAY_MAINS)
        line_up(run);
    for (uint32_t k = 0; k < run->queued; k++) {
        uint32_t g = run->queue[k];
        struct gang *gang = &run->gangs[g];
        uint8_t *has_failed = &failed[gang->ask.is_hard][gang->ask.tasks];

        if (!*has_failed &&
            (place(run, g, now_ms) ||
             (run->way != WAY_ARRIVAL && plans++ < PLANS_MAX && make_room(run, g, now_ms)))) {
            if (may_stop)
                rank_running(run, now_ms);
            continue;
        }
        if (!*has_failed && may_stop && make_way(run, g, k + 1, now_ms)) {
            memset(failed, 0, sizeof(failed)); /* more than was needed may be free now */
            continue;
        }
        *has_failed = 1;
        run->queue[kept++] = g;
    }
    run->queued = kept;
}

static void add_gang(struct run *run, uint32_t g)
{
    struct gang *gang = &run->gangs[g];
    struct predict_answer answer = predict_ask(&run->predict, &run->guess, 0, devices_of(gang));

    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        gang->handle[p] = cells_add(run->pools[p], CELLS_NONE, &gang->ask);
        assert(gang->handle[p] < GANGS);
        run->gang_of[p][gang->handle[p]] = g;
    }
    gang->left_ms = gang->run_ms;
    gang->job = (struct order_job){
        .id = g, .submit_ms = gang->submit_ms, .deadline_ms = INT64_MAX, .devices = devices_of(gang)
    };
    gang->rank = order_rank(&run->order, &gang->job, gang->submit_ms);
    gang->said_ms = gang->owed_ms = answer.mean_ms * devices_of(gang);
    run->owed_ms += gang->owed_ms;
    run->figures->busy_device_ms += (double)gang->run_ms * devices_of(gang);
    run->queue[run->queued++] = g;
}

static void end_gang(struct run *run, uint32_t g, int64_t now_ms)
{
    struct gang *gang = &run->gangs[g];

    left(run, g, now_ms);
    if (gang->job.is_aged)
        run->lane_held -= devices_of(gang);
    for (uint32_t p = 0; p < run->fleet->pools_count; p++)
        cells_remove(run->pools[p], gang->handle[p]);
    predict_learn(&run->predict, &run->guess, 0, devices_of(gang), gang->job.ran_ms);
}

static int64_t next_ms(const struct run *run)
{
    int64_t at = run->next < GANGS ? run->gangs[run->next].submit_ms : INT64_MAX;

    if (run->ends_count)
        at = MIN(at, run->ends[0].at_ms);
    if (run->way == WAY_MAINS && run->queued)
        at = MIN(at, run->look_ms);
    return at;
}

static void begin(struct run *run)
{
    run->guess = predict_params_default();
    run->devices_total = fleet_devices(run->fleet);
    run->order = order_params_for(run->devices_total);
    run->queue = get(GANGS + 1, sizeof(*run->queue));
    run->running = get(RUNNING_MAX, sizeof(*run->running));
    run->ranks = get(RUNNING_MAX, sizeof(*run->ranks));
    run->holdings = get((size_t)RUNNING_MAX * DOMAINS_MAX, sizeof(*run->holdings));
    run->held = get((size_t)RUNNING_MAX * DOMAINS_MAX, sizeof(*run->held));
    run->stop = get(RUNNING_MAX, sizeof(*run->stop));
    run->used = get(DOMAINS_MAX * POOLS_MAX, sizeof(*run->used));
    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        run->gang_of[p] = get(GANGS, sizeof(**run->gang_of));
        if (cells_create(&run->fleet->shapes[p], 0, &run->pools[p], NULL) < 0)
            abort();
    }
}

static void finish(struct run *run)
{
    for (uint32_t p = 0; p < run->fleet->pools_count; p++) {
        if (!cells_check(run->pools[p], NULL))
            abort();
        cells_destroy(run->pools[p]);
        free(run->gang_of[p]);
    }
    defrag_plan_fini(&run->plan);
    free(run->predict.records);
    free(run->ends);
    free(run->queue);
    free(run->running);
    free(run->ranks);
    free(run->holdings);
    free(run->held);
    free(run->stop);
    free(run->used);
}

void supernode_run(const struct fleet *fleet, struct gang *gangs, enum supernode_way way,
                   struct run_figures *figures)
{
    struct run run = { .fleet = fleet,
                       .gangs = gangs,
                       .way = way,
                       .figures = figures,
                       .defrag = defrag_params_default() };

    begin(&run);
    while (run.next < GANGS || run.ends_count) {
        int64_t now_ms = next_ms(&run);

        while (run.ends_count && run.ends[0].at_ms <= now_ms) {
            struct end end = ends_pop(&run);

            if (end.version == gangs[end.gang].ends)
                end_gang(&run, end.gang, now_ms);
        }
        for (; run.next < GANGS && gangs[run.next].submit_ms <= now_ms; run.next++)
            add_gang(&run, run.next);
        serve(&run, now_ms);
    }
    finish(&run);
}
