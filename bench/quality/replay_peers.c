/* What this is measured beside: strict FIFO, strict SJF that knows every duration, and EASY
 * backfill that knows every end. None of them preempts. */
#include "quality/replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct replay_list *list;
    struct pool pool;
    struct replay_heap ends;
    struct pool_place *places; /* by job */
    int64_t now_s;
    uint32_t next, number; /* the next to come; the pool */
};

static void run_init(struct run *run, struct replay_list *list, uint32_t pool, uint32_t nodes)
{
    memset(run, 0, sizeof(*run));
    run->list = list;
    run->number = pool;
    run->places = replay_alloc(list->count, sizeof(*run->places));
    pool_init(&run->pool, nodes);
}

static void run_fini(struct run *run)
{
    free(run->ends.items);
    free(run->places);
}

static bool run_start(struct run *run, uint32_t i)
{
    struct replay_job *job = &run->list->jobs[i];

    if (!pool_take(&run->pool, job->devices, &run->places[i]))
        return false;
    job->first_start_s = run->now_s;
    job->end_s = run->now_s + job->duration_s;
    job->restarts = 0;
    replay_heap_add(&run->ends, (double)job->end_s, i, 0);
    return true;
}

/* Move to the next moment at which something comes or ends, and take back what ended. */
static bool run_advance(struct run *run)
{
    const struct replay_list *list = run->list;

    while (run->next < list->count && list->jobs[run->next].pool != run->number)
        run->next++;
    if (run->next == list->count && run->ends.count == 0)
        return false;
    run->now_s = INT64_MAX;
    if (run->next < list->count)
        run->now_s = list->jobs[run->next].submit_s;
    if (run->ends.count > 0 && (int64_t)run->ends.items[0].key < run->now_s)
        run->now_s = (int64_t)run->ends.items[0].key;
    while (run->ends.count > 0 && (int64_t)run->ends.items[0].key <= run->now_s) {
        pool_give(&run->pool, &run->places[run->ends.items[0].number]);
        replay_heap_pop(&run->ends);
    }
    return true;
}

/* The next job that has come by now; -1: none. */
static int64_t run_arrival(struct run *run)
{
    while (run->next < run->list->count && run->list->jobs[run->next].submit_s <= run->now_s) {
        uint32_t i = run->next++;

        if (run->list->jobs[i].pool == run->number)
            return i;
    }
    return -1;
}

static void run_strict(struct replay_list *list, uint32_t pool, uint32_t nodes, bool by_duration)
{
    struct replay_heap queue = { 0 };
    struct run run;
    int64_t i;

    run_init(&run, list, pool, nodes);
    while (run_advance(&run)) {
        while ((i = run_arrival(&run)) >= 0)
            replay_heap_add(&queue, by_duration ? (double)list->jobs[i].duration_s : 0.0,
                            (uint32_t)i, 0);
        while (queue.count > 0 && run_start(&run, queue.items[0].number))
            replay_heap_pop(&queue);
    }
    assert(queue.count == 0);
    free(queue.items);
    run_fini(&run);
}

void replay_run_fifo(struct replay_list *list, uint32_t pool, uint32_t nodes)
{
    run_strict(list, pool, nodes, false);
}

void replay_run_sjf(struct replay_list *list, uint32_t pool, uint32_t nodes)
{
    run_strict(list, pool, nodes, true);
}

/* --- EASY --- */

struct easy {
    struct run run;
    uint32_t *next; /* of a waiting job the one behind it; UINT32_MAX = none */
    uint32_t first, last, depth;
    /* What is promised to the head, once it does not fit: when, and what each node has over then.
     * Ends being known and backfill never in its way, it stays true until the head starts. */
    uint32_t head;
    int64_t shadow_s;
    uint8_t over[POOL_NODES_MAX];
    uint32_t over_free[NODE_DEVICES + 1u];
};

static int compare_items(const void *a, const void *b)
{
    const struct replay_heap_item *x = a, *y = b;

    return x->key > y->key || (x->key >= y->key && x->number > y->number) ? 1 : -1;
}

static void easy_promise(struct easy *easy, uint32_t head)
{
    struct run *run = &easy->run;
    uint32_t count = run->ends.count;
    struct replay_heap_item *ends = replay_alloc(count, sizeof(*ends));
    struct pool then = run->pool;
    struct pool_place place;

    if (count > 0)
        memcpy(ends, run->ends.items, count * sizeof(*ends));
    qsort(ends, count, sizeof(*ends), compare_items);
    easy->head = head;
    easy->shadow_s = run->now_s;
    for (uint32_t i = 0; i < count; i++) {
        if (pool_fits(&then, run->list->jobs[head].devices) &&
            (int64_t)ends[i].key > easy->shadow_s)
            break;
        easy->shadow_s = (int64_t)ends[i].key;
        pool_give(&then, &run->places[ends[i].number]);
    }
    if (!pool_take(&then, run->list->jobs[head].devices, &place))
        assert(!"the pool is too small for the job");
    memcpy(easy->over, then.free, sizeof(then.free));
    free(ends);
}

/* May it start now without being in the head's way? It has just been placed. */
static bool easy_is_harmless(struct easy *easy, uint32_t i)
{
    struct run *run = &easy->run;
    const struct pool_place *place = &run->places[i];

    if (run->now_s + run->list->jobs[i].duration_s <= easy->shadow_s)
        return true;
    for (uint32_t p = 0; p < place->count; p++)
        if (easy->over[place->nodes[p]] < place_devices(place, p))
            return false;
    for (uint32_t p = 0; p < place->count; p++)
        easy->over[place->nodes[p]] =
            (uint8_t)(easy->over[place->nodes[p]] - place_devices(place, p));
    return true;
}

/* Where it may go on for longer than the head will wait: on nodes with enough over. */
static bool easy_take_over(struct easy *easy, uint32_t i)
{
    struct run *run = &easy->run;
    struct pool narrow = run->pool;

    memset(narrow.with_free, 0, sizeof(narrow.with_free));
    narrow.devices_free = 0;
    for (uint32_t n = 0; n < narrow.nodes_count; n++) {
        narrow.free[n] = MIN(narrow.free[n], easy->over[n]);
        narrow.with_free[narrow.free[n]]++;
        narrow.devices_free += narrow.free[n];
    }
    return pool_take(&narrow, run->list->jobs[i].devices, &run->places[i]);
}

static bool easy_backfill(struct easy *easy, uint32_t i)
{
    struct run *run = &easy->run;
    struct replay_job *job = &run->list->jobs[i];
    struct pool taken;

    if (!pool_fits(&run->pool, job->devices))
        return false;
    taken = run->pool;
    if (!pool_take(&run->pool, job->devices, &run->places[i]))
        return false;
    if (!easy_is_harmless(easy, i)) {
        run->pool = taken;
        if (!easy_take_over(easy, i))
            return false;
        for (uint32_t p = 0; p < run->places[i].count; p++) {
            uint32_t node = run->places[i].nodes[p];
            uint8_t devices = place_devices(&run->places[i], p);

            easy->over[node] = (uint8_t)(easy->over[node] - devices);
            pool_hold(&run->pool, node, devices);
        }
    }
    job->first_start_s = run->now_s;
    job->end_s = run->now_s + job->duration_s;
    job->restarts = 0;
    replay_heap_add(&run->ends, (double)job->end_s, i, 0);
    return true;
}

static void easy_pass(struct easy *easy)
{
    struct run *run = &easy->run;
    uint32_t before, at;

    while (easy->first != UINT32_MAX && run_start(run, easy->first)) {
        easy->first = easy->next[easy->first];
        if (easy->first == UINT32_MAX)
            easy->last = UINT32_MAX;
    }
    if (easy->first == UINT32_MAX || run->pool.devices_free == 0)
        return;
    if (easy->head != easy->first)
        easy_promise(easy, easy->first);
    before = easy->first;
    at = easy->next[before];
    for (uint32_t looked = 0; at != UINT32_MAX && looked < easy->depth; looked++) {
        if (easy_backfill(easy, at)) {
            easy->next[before] = easy->next[at];
            if (easy->last == at)
                easy->last = before;
            if (run->pool.devices_free == 0)
                return;
        } else {
            before = at;
        }
        at = easy->next[before];
    }
}

void replay_run_easy(struct replay_list *list, uint32_t pool, uint32_t nodes, uint32_t depth)
{
    struct easy easy = { .first = UINT32_MAX, .last = UINT32_MAX, .head = UINT32_MAX };
    int64_t i;

    easy.depth = depth;
    run_init(&easy.run, list, pool, nodes);
    easy.next = replay_alloc(list->count, sizeof(*easy.next));
    while (run_advance(&easy.run)) {
        while ((i = run_arrival(&easy.run)) >= 0) {
            easy.next[i] = UINT32_MAX;
            if (easy.last == UINT32_MAX)
                easy.first = (uint32_t)i;
            else
                easy.next[easy.last] = (uint32_t)i;
            easy.last = (uint32_t)i;
        }
        easy_pass(&easy);
    }
    assert(easy.first == UINT32_MAX);
    free(easy.next);
    run_fini(&easy.run);
}
