#include "controller/vault.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define ORPHAN_MS (3600 * 1000LL)    /* chunks whose manifest is still on its way */
#define COLLECT_MS (3600 * 1000LL)   /* leases are looked at this often */
#define COLLECT_AGAIN_MS (60 * 1000) /* when it was full, and is asked again */

struct vault {
    struct vault_config config;
    char *path;
    uv_thread_t thread;
    bool has_thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    uv_async_t told;
    struct vault_work *first, **last; /* under the mutex, as these */
    struct vault_work *ended, **ended_last;
    uint32_t waiting;
    size_t waiting_bytes;
    bool stopping;
    /* The thread's own. */
    struct store *store;
    int64_t bytes_max, bytes_used, collected_ms;
    bool counted;
};

/* --- the thread ------------------------------------------------------------------------------- */

static int open_store(struct vault *vault, struct err *err)
{
    struct statvfs fs;
    int rc = store_open(vault->path, NULL, &vault->store, err);

    if (rc < 0)
        return rc;
    vault->bytes_max = vault->config.bytes_max;
    if (!vault->bytes_max && statvfs(vault->path, &fs) == 0)
        vault->bytes_max = (int64_t)(fs.f_blocks * fs.f_frsize / 2);
    if (!vault->bytes_max)
        vault->bytes_max = INT64_MAX;
    return 0;
}

static int collect(struct vault *vault, int64_t room, struct err *err)
{
    struct store_gc_params params = { .now_ms = clock_wall_ms(),
                                      .bytes_max = MAX(vault->bytes_max - room, 0),
                                      .orphan_ms = ORPHAN_MS };
    struct store_gc_result result;
    int rc = store_gc(vault->store, &params, &result, err);

    vault->collected_ms = clock_mono_ms();
    if (rc < 0)
        return rc;
    vault->counted = true;
    vault->bytes_used = result.kept_bytes;
    if (result.freed_bytes)
        log_info("store: %" PRId64 " MiB freed, %" PRId64 " MiB kept", result.freed_bytes >> 20,
                 result.kept_bytes >> 20);
    return 0;
}

int vault_make_room(struct vault *vault, struct store *store, int64_t bytes, struct err *err)
{
    bool is_full;
    int rc = 0;

    (void)store;
    if (!vault->counted)
        rc = collect(vault, bytes, err);
    if (rc < 0)
        return rc;
    is_full = vault->bytes_used > vault->bytes_max - bytes;
    if (is_full && clock_mono_ms() - vault->collected_ms > COLLECT_AGAIN_MS) {
        rc = collect(vault, bytes, err);
        if (rc < 0)
            return rc;
        is_full = vault->bytes_used > vault->bytes_max - bytes;
    }
    if (is_full)
        return err_set(err, -ENOSPC,
                       "the network's store is full: it keeps %" PRId64 " of %" PRId64
                       " MiB; give it more (mains up --store), or wait until leases end",
                       vault->bytes_used >> 20, vault->bytes_max >> 20);
    vault->bytes_used += bytes;
    return 0;
}

static void work_on(struct vault *vault, struct vault_work *work)
{
    work->rc = vault->store ? 0 : open_store(vault, &work->err);
    if (work->rc == 0)
        work->rc = work->run(work, vault, vault->store, &work->err);
    uv_mutex_lock(&vault->mutex);
    vault->waiting--;
    vault->waiting_bytes -= work->bytes;
    *vault->ended_last = work;
    vault->ended_last = &work->next;
    uv_mutex_unlock(&vault->mutex);
    uv_async_send(&vault->told);
}

static struct vault_work *take(struct vault *vault)
{
    struct vault_work *work;

    uv_mutex_lock(&vault->mutex);
    if (!vault->first && !vault->stopping)
        uv_cond_timedwait(&vault->wake, &vault->mutex, (uint64_t)COLLECT_MS * 1000000u);
    work = vault->stopping ? NULL : vault->first;
    if (work) {
        vault->first = work->next;
        if (!vault->first)
            vault->last = &vault->first;
        work->next = NULL;
    }
    uv_mutex_unlock(&vault->mutex);
    return work;
}

static void thread_main(void *context)
{
    struct vault *vault = context;
    bool stopping = false;

    while (!stopping) {
        struct vault_work *work = take(vault);
        struct err err = { 0 };

        if (work)
            work_on(vault, work);
        else if (vault->store && clock_mono_ms() - vault->collected_ms >= COLLECT_MS &&
                 collect(vault, 0, &err) < 0)
            log_warn("%s", err.text);
        uv_mutex_lock(&vault->mutex);
        stopping = vault->stopping;
        uv_mutex_unlock(&vault->mutex);
    }
    store_close(vault->store);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void on_told(uv_async_t *told)
{
    struct vault *vault = told->data;
    struct vault_work *work;

    uv_mutex_lock(&vault->mutex);
    work = vault->ended;
    vault->ended = NULL;
    vault->ended_last = &vault->ended;
    uv_mutex_unlock(&vault->mutex);
    while (work) {
        struct vault_work *next = work->next;

        work->done(work);
        work = next;
    }
}

int vault_submit(struct vault *vault, struct vault_work *work)
{
    bool room;

    work->next = NULL;
    uv_mutex_lock(&vault->mutex);
    room = vault->waiting < VAULT_QUEUE_MAX &&
           work->bytes <= VAULT_QUEUE_BYTES_MAX - vault->waiting_bytes;
    if (room) {
        vault->waiting_bytes += work->bytes;
        vault->waiting++;
        *vault->last = work;
        vault->last = &work->next;
        uv_cond_signal(&vault->wake);
    }
    uv_mutex_unlock(&vault->mutex);
    return room ? 0 : -ENOBUFS;
}

int vault_create(const struct vault_config *config, struct vault **vault_out, struct err *err)
{
    struct vault *vault = calloc(1, sizeof(*vault));

    if (vault)
        vault->path = path_format("%s/store", config->state_dir);
    if (!vault || !vault->path) {
        free(vault);
        return err_set(err, -ENOMEM, "store: out of memory");
    }
    vault->config = *config;
    vault->last = &vault->first;
    vault->ended_last = &vault->ended;
    uv_mutex_init(&vault->mutex);
    uv_cond_init(&vault->wake);
    uv_async_init(config->loop, &vault->told, on_told);
    vault->told.data = vault;
    vault->has_thread = uv_thread_create(&vault->thread, thread_main, vault) == 0;
    if (!vault->has_thread) {
        vault_destroy(vault);
        return err_set(err, -EAGAIN, "store: no thread can be started");
    }
    *vault_out = vault;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct vault *vault = handle->data;

    uv_cond_destroy(&vault->wake);
    uv_mutex_destroy(&vault->mutex);
    free(vault->path);
    free(vault);
}

/* Nobody waits for it any more; its owner frees it. */
static void drop_all(struct vault_work *work)
{
    while (work) {
        struct vault_work *next = work->next;

        work->rc = -ECANCELED;
        work->done(work);
        work = next;
    }
}

void vault_destroy(struct vault *vault)
{
    if (!vault)
        return;
    uv_mutex_lock(&vault->mutex);
    vault->stopping = true;
    uv_cond_signal(&vault->wake);
    uv_mutex_unlock(&vault->mutex);
    if (vault->has_thread)
        uv_thread_join(&vault->thread);
    drop_all(vault->ended);
    drop_all(vault->first);
    uv_close((uv_handle_t *)&vault->told, on_closed);
}
