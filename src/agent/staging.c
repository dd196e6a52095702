#include "agent/staging.h"

#include "agent/tree.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN_MS_MIN 500
#define AGAIN_MS_MAX 15000

struct staged {
    struct depot_task task; /* first */
    struct staged *next;
    struct staging *staging;
    struct attempt_order *order;
    char *spec_json;
    struct wire_part *parts;
    uint32_t parts_count;
    struct store_id checkpoint;
    uv_timer_t timer;
    int64_t again_ms;
    bool busy, cancelled;
    /* While busy, the depot's. */
    struct transfer_link link;
    struct transfer transfer;
    bool carrying;
};

struct staging {
    struct staging_config config;
    struct staged *list;
    bool closing;
};

/* --- on the depot's thread -------------------------------------------------------------------- */

/* Of what we have just made ourselves, in a folder that is ours. */
static int give_away(int folder, uid_t uid, gid_t gid)
{
    char **names = NULL;
    size_t count = 0;
    int rc = tree_names(folder, &names, &count);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        CLEANUP(closep)
        int below = openat(folder, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fchownat(folder, names[i], uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            rc = -errno;
        else if (below >= 0)
            rc = give_away(below, uid, gid);
    }
    tree_names_free(names, count);
    return rc;
}

static int lay_out(const struct staged *staged, const struct depot_bench *bench, struct err *err)
{
    char name[ATTEMPT_NAME_BYTES];
    CLEANUP(freep) char *folder = NULL;
    CLEANUP(freep) char *path = NULL;
    CLEANUP(closep) int fd = -1;
    int rc;

    attempt_name(staged->order->key, name);
    folder = path_format("%s/staged/%s", bench->agent_dir, name);
    path = folder ? path_format("%s/checkpoint", folder) : NULL;
    if (!path)
        return err_set(err, -ENOMEM, "staging: out of memory");
    rc = dir_remove(folder, err); /* of an order that came before */
    if (rc == 0)
        rc = dir_make(folder, 0700, err);
    if (rc == 0)
        rc = store_get(bench->store, &staged->checkpoint, AT_FDCWD, path, err);
    if (rc < 0 || !staged->order->drop)
        return rc;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = fd < 0 ? -errno : give_away(fd, staged->order->uid, staged->order->gid);
    return rc < 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

static int step(struct depot_task *task, const struct depot_bench *bench, struct err *err)
{
    struct staged *staged = (struct staged *)task;
    int rc;

    if (!staged->carrying) {
        staged->transfer = transfer_init(bench->store, bench->easy, &staged->link, bench->pace,
                                         false, &staged->checkpoint);
        staged->carrying = true;
    }
    rc = transfer_step(&staged->transfer, err);
    if (rc != 0)
        return rc;
    rc = lay_out(staged, bench, err);
    /* A chunk was damaged here, and is gone: it comes again. */
    return rc == -EBADMSG || rc == -ENOENT ? -EAGAIN : rc;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void done(struct depot_task *task);

static void begin(struct staged *staged)
{
    staged->busy = true;
    staged->carrying = false;
    staged->staging->config.link(staged->staging->config.context, &staged->link);
    staged->task.step = step;
    staged->task.done = done;
    depot_submit(staged->staging->config.depot, &staged->task);
}

static void on_timer(uv_timer_t *timer)
{
    begin(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct staged *staged = handle->data;

    transfer_link_fini(&staged->link);
    if (staged->spec_json)
        explicit_bzero(staged->spec_json, strlen(staged->spec_json)); /* secrets */
    free(staged->spec_json);
    free(staged->parts);
    free(staged->order);
    free(staged);
}

static void drop(struct staged *staged)
{
    struct staged **at = &staged->staging->list;

    while (*at != staged)
        at = &(*at)->next;
    *at = staged->next;
    uv_close((uv_handle_t *)&staged->timer, on_closed);
}

static void remove_staged(const struct staged *staged)
{
    char name[ATTEMPT_NAME_BYTES];
    CLEANUP(freep) char *folder = NULL;

    attempt_name(staged->order->key, name);
    folder = path_format("%s/staged/%s", staged->staging->config.agent_dir, name);
    if (folder)
        dir_remove(folder, NULL);
}

/* Will it ever come? What the network does not have, or does not give us, will not. */
static bool is_hopeless(int rc)
{
    return rc == -ENOENT || rc == -EACCES || rc == -EFBIG || rc == -EINVAL || rc == -EPROTO;
}

static void done(struct depot_task *task)
{
    struct staged *staged = (struct staged *)task;
    const struct staging_config *config = &staged->staging->config;
    char name[ATTEMPT_NAME_BYTES];
    struct err err = { 0 };

    if (staged->carrying)
        transfer_fini(&staged->transfer);
    transfer_link_fini(&staged->link);
    staged->busy = false;
    if (staged->staging->closing)
        return;
    attempt_name(staged->order->key, name);
    if (staged->cancelled) {
        remove_staged(staged);
        drop(staged);
    } else if (task->rc == 0 || is_hopeless(task->rc)) {
        err_set(&err, task->rc, "its checkpoint cannot be fetched: %.200s", task->err.text);
        staged->order->staged = 1;
        config->ready(config->context, staged->order, staged->parts, staged->parts_count,
                      staged->spec_json, task->rc, &err);
        drop(staged);
    } else {
        staged->again_ms = MIN(MAX(staged->again_ms * 2, AGAIN_MS_MIN), AGAIN_MS_MAX);
        if (staged->again_ms > AGAIN_MS_MIN)
            log_warn("attempt %s waits for its checkpoint: %s", name, task->err.text);
        uv_timer_start(&staged->timer, on_timer, (uint64_t)staged->again_ms, 0);
    }
}

static struct staged *find(const struct staging *staging, struct attempt_key key)
{
    for (struct staged *staged = staging->list; staged; staged = staged->next)
        if (staged->order->key.job_id == key.job_id && staged->order->key.epoch == key.epoch)
            return staged;
    return NULL;
}

bool staging_is_needed(const struct wire_command *command)
{
    return command->checkpoint[0] != '\0';
}

int staging_begin(struct staging *staging, const struct attempt_order *order,
                  const struct wire_command *command, struct err *err)
{
    struct staged *staged = calloc(1, sizeof(*staged));
    size_t parts_bytes = command->parts_count * sizeof(*command->parts);

    if (!staged)
        return err_set(err, -ENOMEM, "staging: out of memory");
    staged->staging = staging;
    staged->timer.data = staged;
    staged->order = malloc(sizeof(*order));
    staged->parts = malloc(parts_bytes + 1);
    staged->spec_json = strdup(command->spec_json);
    if (!staged->order || !staged->parts || !staged->spec_json ||
        !store_id_parse(command->checkpoint, strlen(command->checkpoint), &staged->checkpoint)) {
        on_closed((uv_handle_t *)&staged->timer);
        return err_set(err, -EINVAL, "its checkpoint is no name of a manifest");
    }
    *staged->order = *order;
    if (parts_bytes)
        memcpy(staged->parts, command->parts, parts_bytes);
    staged->parts_count = command->parts_count;
    uv_timer_init(staging->config.loop, &staged->timer);
    staged->next = staging->list;
    staging->list = staged;
    begin(staged);
    return 0;
}

bool staging_has(const struct staging *staging, struct attempt_key key)
{
    const struct staged *staged = find(staging, key);

    return staged && !staged->cancelled;
}

bool staging_cancel(struct staging *staging, struct attempt_key key)
{
    struct staged *staged = find(staging, key);

    if (!staged || staged->cancelled)
        return false;
    staged->cancelled = true;
    if (staged->busy)
        depot_cancel(staging->config.depot, &staged->task);
    else
        drop(staged);
    return true;
}

void staging_each(const struct staging *staging, void (*visit)(void *, struct attempt_key),
                  void *context)
{
    for (const struct staged *staged = staging->list; staged; staged = staged->next)
        if (!staged->cancelled)
            visit(context, staged->order->key);
}

uint32_t staging_count(const struct staging *staging)
{
    uint32_t count = 0;

    for (const struct staged *staged = staging->list; staged; staged = staged->next)
        count += !staged->cancelled;
    return count;
}

int staging_create(const struct staging_config *config, struct staging **staging_out,
                   struct err *err)
{
    struct staging *staging = calloc(1, sizeof(*staging));

    if (!staging)
        return err_set(err, -ENOMEM, "staging: out of memory");
    staging->config = *config;
    *staging_out = staging;
    return 0;
}

void staging_close(struct staging *staging)
{
    if (staging)
        staging->closing = true;
}

void staging_destroy(struct staging *staging)
{
    if (!staging)
        return;
    while (staging->list)
        drop(staging->list);
    free(staging);
}
