#include "agent/depot.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define ORPHAN_MS (10 * 60 * 1000LL)
#define COLLECT_MS (10 * 60 * 1000LL)
#define PART_OF_DISK 5 /* the cache takes one part in so many of its file system at most */

struct queue {
    struct depot_task *first, **last;
};

struct depot {
    struct depot_config config;
    uv_thread_t thread;
    bool has_thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    uv_async_t told;
    struct queue tasks, ended; /* under the mutex, with `stopping` and the tasks' `cancelled` */
    bool stopping, ordered, gathering;
    atomic_bool hushed;
    /* The thread's own. */
    struct depot_bench bench;
    struct pace pace;
    int64_t bytes_max, collected_ms;
    struct transfer_meter meter;
};

static void push(struct queue *queue, struct depot_task *task)
{
    task->next = NULL;
    *queue->last = task;
    queue->last = &task->next;
}

/* Behind all whose turn is not later. */
static void push_in_turn(struct queue *queue, struct depot_task *task)
{
    struct depot_task **at = &queue->first;

    while (*at && turn_compare(&(*at)->turn, &task->turn) <= 0)
        at = &(*at)->next;
    task->next = *at;
    *at = task;
    if (!task->next)
        queue->last = &task->next;
}

static void wait_in_line(struct depot *depot, struct depot_task *task)
{
    if (depot->ordered)
        push_in_turn(&depot->tasks, task);
    else
        push(&depot->tasks, task);
}

static struct depot_task *pop(struct queue *queue)
{
    struct depot_task *task = queue->first;

    if (!task)
        return NULL;
    queue->first = task->next;
    if (!queue->first)
        queue->last = &queue->first;
    return task;
}

/* --- the thread ------------------------------------------------------------------------------- */

static int open_bench(struct depot *depot, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/store", depot->config.agent_dir);
    struct store_params params = store_params_default();
    struct statvfs fs;
    int rc;

    params.sync = false;
    if (!depot->bench.easy)
        depot->bench.easy = http_easy_create();
    if (!path || !depot->bench.easy)
        return err_set(err, -ENOMEM, "store: out of memory");
    rc = store_open(path, &params, &depot->bench.store, err);
    if (rc < 0)
        return rc;
    depot->bytes_max = DEPOT_BYTES_MAX;
    if (statvfs(path, &fs) == 0)
        depot->bytes_max =
            MIN(depot->bytes_max, (int64_t)(fs.f_blocks * fs.f_frsize / PART_OF_DISK));
    depot->pace =
        pace_init(depot->config.rate_bytes, MAX(depot->config.rate_bytes, 1), clock_mono_us());
    depot->bench.pace = depot->config.rate_bytes ? &depot->pace : NULL;
    depot->bench.agent_dir = depot->config.agent_dir;
    depot->bench.meter = &depot->meter;
    return 0;
}

static void collect(struct depot *depot)
{
    struct store_gc_params params = { .now_ms = clock_wall_ms(),
                                      .bytes_max = depot->bytes_max,
                                      .orphan_ms = ORPHAN_MS };
    struct store_gc_result result;
    struct err err = { 0 };

    depot->collected_ms = clock_mono_ms();
    if (store_gc(depot->bench.store, &params, &result, &err) < 0)
        log_warn("%s", err.text);
}

/* One step; true: the task is over. */
static bool work_on(struct depot *depot, struct depot_task *task)
{
    bool cancelled;

    uv_mutex_lock(&depot->mutex);
    cancelled = task->cancelled;
    uv_mutex_unlock(&depot->mutex);
    task->rc = cancelled ? -ECANCELED : 0;
    if (cancelled && task->drop)
        task->drop(task);
    if (task->rc == 0 && !depot->bench.store)
        task->rc = open_bench(depot, &task->err);
    if (task->rc == 0)
        task->rc = task->step(task, &depot->bench, &task->err);
    return task->rc <= 0;
}

static void thread_main(void *context)
{
    struct depot *depot = context;
    bool stopping = false;

    setpriority(PRIO_PROCESS, 0, 10); /* of this thread only: jobs and heartbeats come first */
    while (!stopping) {
        struct depot_task *task;
        bool over = false;

        uv_mutex_lock(&depot->mutex);
        while ((!depot->tasks.first || depot->gathering) && !depot->stopping)
            uv_cond_wait(&depot->wake, &depot->mutex);
        task = depot->stopping ? NULL : pop(&depot->tasks);
        uv_mutex_unlock(&depot->mutex);
        if (task)
            over = work_on(depot, task);
        uv_mutex_lock(&depot->mutex);
        if (over)
            push(&depot->ended, task);
        else if (task)
            wait_in_line(depot, task);
        stopping = depot->stopping;
        uv_mutex_unlock(&depot->mutex);
        if (over)
            uv_async_send(&depot->told);
        if (over && depot->bench.store && clock_mono_ms() - depot->collected_ms > COLLECT_MS)
            collect(depot);
    }
    store_close(depot->bench.store);
    http_easy_destroy(depot->bench.easy);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void tell(struct depot_task *task)
{
    while (task) {
        struct depot_task *next = task->next;

        task->done(task);
        task = next;
    }
}

static void on_told(uv_async_t *told)
{
    struct depot *depot = told->data;
    struct depot_task *tasks;

    uv_mutex_lock(&depot->mutex);
    tasks = depot->ended.first;
    depot->ended = (struct queue){ NULL, &depot->ended.first };
    uv_mutex_unlock(&depot->mutex);
    tell(tasks);
}

void depot_rates(struct depot *depot, int64_t *down_bytes_s_out, int64_t *up_bytes_s_out)
{
    *down_bytes_s_out = depot->meter.down_bytes_s;
    *up_bytes_s_out = depot->meter.up_bytes_s;
}

void depot_submit(struct depot *depot, struct depot_task *task)
{
    task->rc = 0;
    task->cancelled = false;
    uv_mutex_lock(&depot->mutex);
    wait_in_line(depot, task);
    uv_cond_signal(&depot->wake);
    uv_mutex_unlock(&depot->mutex);
}

void depot_set_ordered(struct depot *depot, bool ordered)
{
    uv_mutex_lock(&depot->mutex);
    depot->ordered = ordered;
    uv_mutex_unlock(&depot->mutex);
}

void depot_gather(struct depot *depot, bool gathering)
{
    uv_mutex_lock(&depot->mutex);
    depot->gathering = gathering;
    uv_cond_signal(&depot->wake);
    uv_mutex_unlock(&depot->mutex);
}

void depot_hush(struct depot *depot, bool hushed)
{
    atomic_store(&depot->hushed, hushed);
}

const atomic_bool *depot_hushed(const struct depot *depot)
{
    return &depot->hushed;
}

void depot_cancel(struct depot *depot, struct depot_task *task)
{
    uv_mutex_lock(&depot->mutex);
    task->cancelled = true;
    uv_mutex_unlock(&depot->mutex);
}

int depot_create(const struct depot_config *config, struct depot **depot_out, struct err *err)
{
    struct depot *depot = calloc(1, sizeof(*depot));

    if (!depot)
        return err_set(err, -ENOMEM, "store: out of memory");
    depot->config = *config;
    depot->tasks.last = &depot->tasks.first;
    depot->ended.last = &depot->ended.first;
    depot->collected_ms = clock_mono_ms() - COLLECT_MS;
    uv_mutex_init(&depot->mutex);
    uv_cond_init(&depot->wake);
    uv_async_init(config->loop, &depot->told, on_told);
    depot->told.data = depot;
    depot->has_thread = uv_thread_create(&depot->thread, thread_main, depot) == 0;
    if (!depot->has_thread) {
        depot_destroy(depot);
        return err_set(err, -EAGAIN, "store: no thread can be started");
    }
    *depot_out = depot;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct depot *depot = handle->data;

    uv_cond_destroy(&depot->wake);
    uv_mutex_destroy(&depot->mutex);
    free(depot);
}

void depot_destroy(struct depot *depot)
{
    if (!depot)
        return;
    uv_mutex_lock(&depot->mutex);
    depot->stopping = true;
    uv_cond_signal(&depot->wake);
    uv_mutex_unlock(&depot->mutex);
    if (depot->has_thread)
        uv_thread_join(&depot->thread);
    tell(depot->ended.first);
    for (struct depot_task *task = depot->tasks.first; task; task = task->next)
        task->rc = -ECANCELED;
    tell(depot->tasks.first);
    uv_close((uv_handle_t *)&depot->told, on_closed);
}
