#include "agent/staging.h"

#include "agent/tree.h"
#include "agent/web.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "model/spec_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN_MS_MIN 500
#define AGAIN_MS_MAX 15000
#define CHECKPOINT_INDEX (-1)

struct item {      /* one tree to lay out */
    int32_t index; /* of the input; CHECKPOINT_INDEX */
    enum spec_source source;
    bool has_id, laid;
    struct store_id id;
    char *from, *digest; /* digest NULL = not told */
};

struct staged {
    struct depot_task task; /* first */
    struct staged *next;
    struct staging *staging;
    struct attempt_order *order;
    char *spec_json;
    struct wire_part *parts;
    uint32_t parts_count;
    struct item *items;
    uint32_t items_count;
    uv_timer_t timer;
    int64_t again_ms, since_ms;
    bool busy, cancelled;
    /* While busy, the depot's. */
    struct transfer_link link;
    struct transfer transfer;
    bool carrying, cleared;
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
    int rc = fchown(folder, uid, gid) < 0 ? -errno : tree_names(folder, &names, &count);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        CLEANUP(closep)
        int below = openat(folder, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (below >= 0)
            rc = give_away(below, uid, gid);
        else if (fchownat(folder, names[i], uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            rc = -errno;
    }
    tree_names_free(names, count);
    return rc;
}

static char *folder_of(const struct staged *staged)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(staged->order->key, name);
    return path_format("%s/staged/%s", staged->staging->config.agent_dir, name);
}

static int lay_out(const struct staged *staged, const struct item *item,
                   const struct depot_bench *bench, struct err *err)
{
    CLEANUP(freep) char *folder = folder_of(staged);
    CLEANUP(freep) char *path = NULL;
    CLEANUP(closep) int fd = -1;
    int rc;

    if (folder && item->index == CHECKPOINT_INDEX)
        path = path_format("%s/checkpoint", folder);
    else if (folder)
        path = path_format("%s/in.%d", folder, (int)item->index);
    if (!path)
        return err_set(err, -ENOMEM, "staging: out of memory");
    rc = store_get(bench->store, &item->id, AT_FDCWD, path, err);
    if (rc < 0)
        return rc == -EBADMSG || rc == -ENOENT ? -EAGAIN : rc; /* damaged here: it comes again */
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = fd < 0 || fchmod(fd, 0755) < 0 ? -errno : 0;
    if (rc == 0 && staged->order->drop)
        rc = give_away(fd, staged->order->uid, staged->order->gid);
    return rc < 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

/* Which trees its inputs of earlier jobs are: the network knows, and whether we may have them. */
static int resolve(struct staged *staged, const struct depot_bench *bench, struct err *err)
{
    CLEANUP(freep) char *text = NULL;
    char path[256];
    json_t *root, *row;
    size_t i;
    int rc;

    snprintf(path, sizeof(path), "/site-session/inputs?site=%s&job=%" PRIu64 "&epoch=%" PRIu32,
             staged->staging->config.site, staged->order->key.job_id, staged->order->key.epoch);
    rc = transfer_call(bench->easy, &staged->link, "GET", path, NULL, &text, err);
    if (rc < 0)
        return rc;
    root = json_loads(text ? text : "", 0, NULL);
    json_array_foreach (json_object_get(root, "inputs"), i, row) {
        const char *name = json_string_value(json_object_get(row, "manifest"));
        json_int_t index = json_integer_value(json_object_get(row, "index"));

        for (uint32_t k = 0; name && k < staged->items_count; k++)
            if (staged->items[k].index == index && staged->items[k].source == SOURCE_ARTIFACT)
                staged->items[k].has_id = store_id_parse(name, strlen(name), &staged->items[k].id);
    }
    json_decref(root);
    for (uint32_t k = 0; k < staged->items_count; k++)
        if (staged->items[k].source == SOURCE_ARTIFACT && !staged->items[k].has_id)
            return err_set(err, -EBADMSG, "%s: the network did not say what that is",
                           staged->items[k].from);
    return 1;
}

static int begin_items(struct staged *staged, const struct depot_bench *bench, struct err *err)
{
    CLEANUP(freep) char *folder = folder_of(staged);
    int rc = folder ? dir_remove(folder, err) : err_set(err, -ENOMEM, "staging: out of memory");

    if (rc == 0)
        rc = dir_make(folder, 0700, err);
    if (rc < 0)
        return rc;
    staged->cleared = true;
    for (uint32_t i = 0; i < staged->items_count; i++)
        if (staged->items[i].source == SOURCE_ARTIFACT && !staged->items[i].has_id)
            return resolve(staged, bench, err);
    return 1;
}

/* From an address: into the cache by what it must be, so that it is fetched once. */
static int fetch(struct staged *staged, struct item *item, const struct depot_bench *bench,
                 struct err *err)
{
    int64_t bytes_max =
        staged->order->disk_bytes > 0 ? staged->order->disk_bytes : STAGING_WEB_BYTES_MAX;
    CLEANUP(freep) char *folder = folder_of(staged);
    int rc = folder ? web_fetch(bench->store, item->from, item->digest, folder, bytes_max,
                                &item->id, err)
                    : err_set(err, -ENOMEM, "staging: out of memory");

    item->has_id = rc == 0;
    return rc < 0 ? rc : 1;
}

static int step_item(struct staged *staged, struct item *item, const struct depot_bench *bench,
                     struct err *err)
{
    int rc;

    if (!item->has_id)
        return fetch(staged, item, bench, err);
    if (!staged->carrying) {
        staged->transfer =
            transfer_init(bench->store, bench->easy, &staged->link, bench->pace, false, &item->id);
        staged->transfer.meter = bench->meter;
        staged->carrying = true;
    }
    rc = transfer_step(&staged->transfer, err);
    if (rc != 0)
        return rc;
    transfer_fini(&staged->transfer);
    staged->carrying = false;
    rc = lay_out(staged, item, bench, err);
    item->laid = rc == 0;
    return rc < 0 ? rc : 1;
}

static int step(struct depot_task *task, const struct depot_bench *bench, struct err *err)
{
    struct staged *staged = (struct staged *)task;

    if (!staged->cleared)
        return begin_items(staged, bench, err);
    for (uint32_t i = 0; i < staged->items_count; i++)
        if (!staged->items[i].laid)
            return step_item(staged, &staged->items[i], bench, err);
    return 0;
}

static void drop_step(struct depot_task *task)
{
    struct staged *staged = (struct staged *)task;

    if (staged->carrying)
        transfer_fini(&staged->transfer); /* it waits for what is on its way: not on the loop */
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void done(struct depot_task *task);

static void begin(struct staged *staged)
{
    staged->busy = true;
    staged->carrying = staged->cleared = false;
    for (uint32_t i = 0; i < staged->items_count; i++)
        staged->items[i].laid = false;
    staged->staging->config.link(staged->staging->config.context, &staged->link);
    staged->task.turn = staged->staging->config.turn(
        staged->staging->config.context, staged->order->key, TURN_STAGING, staged->since_ms);
    staged->task.step = step;
    staged->task.drop = drop_step;
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
    for (uint32_t i = 0; i < staged->items_count; i++) {
        free(staged->items[i].from);
        free(staged->items[i].digest);
    }
    free(staged->items);
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
    CLEANUP(freep) char *folder = folder_of(staged);

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
        err_set(&err, task->rc, "what it needs cannot be fetched: %.200s", task->err.text);
        staged->order->staged = 1;
        config->ready(config->context, staged->order, staged->parts, staged->parts_count,
                      staged->spec_json, task->rc, &err);
        drop(staged);
    } else {
        staged->again_ms = MIN(MAX(staged->again_ms * 2, AGAIN_MS_MIN), AGAIN_MS_MAX);
        if (staged->again_ms > AGAIN_MS_MIN)
            log_warn("attempt %s waits for what it needs: %s", name, task->err.text);
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

static bool is_fetched(const char *from)
{
    enum spec_source source = from ? spec_source_of(from) : SOURCE_PATH;

    return source == SOURCE_STORE || source == SOURCE_ARTIFACT || source == SOURCE_WEB;
}

bool staging_is_needed(const struct wire_command *command)
{
    bool needed = command->checkpoint[0] != '\0';
    json_t *spec, *input;
    size_t i;

    if (needed || !strstr(command->spec_json, "\"inputs\""))
        return needed; /* most have none: they are not worth a parse */
    spec = json_loads(command->spec_json, 0, NULL);
    json_array_foreach (json_object_get(spec, "inputs"), i, input)
        needed = needed || is_fetched(json_string_value(json_object_get(input, "from")));
    json_decref(spec);
    return needed;
}

static bool add_input(struct staged *staged, int32_t index, const json_t *input)
{
    const char *from = json_string_value(json_object_get(input, "from"));
    const char *digest = json_string_value(json_object_get(input, "digest"));
    struct item *item = &staged->items[staged->items_count];
    size_t len;
    const char *name = from ? spec_source_name(from, &len) : NULL;

    if (!is_fetched(from))
        return true;
    *item = (struct item){ .index = index, .source = spec_source_of(from) };
    item->from = strdup(from);
    item->digest = digest ? strdup(digest) : NULL;
    staged->items_count++;
    if (item->source == SOURCE_STORE)
        item->has_id = len == STORE_ID_CHARS && store_id_parse(name, len, &item->id);
    return item->from && (item->digest || !digest) &&
           (item->has_id || item->source != SOURCE_STORE);
}

static bool add_items(struct staged *staged, const struct wire_command *command)
{
    json_t *spec = json_loads(command->spec_json, 0, NULL), *input;
    const json_t *inputs = json_object_get(spec, "inputs");
    bool good = true;
    size_t i;

    staged->items = calloc(json_array_size(inputs) + 1, sizeof(*staged->items));
    good = staged->items != NULL;
    if (good && command->checkpoint[0]) {
        struct item *item = &staged->items[staged->items_count++];

        item->index = CHECKPOINT_INDEX;
        item->source = SOURCE_STORE;
        item->has_id = good =
            store_id_parse(command->checkpoint, strlen(command->checkpoint), &item->id);
    }
    json_array_foreach (inputs, i, input)
        good = good && add_input(staged, (int32_t)i, input);
    json_decref(spec);
    return good;
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
    if (!staged->order || !staged->parts || !staged->spec_json || !add_items(staged, command)) {
        on_closed((uv_handle_t *)&staged->timer);
        return err_set(err, -EINVAL, "what it needs cannot be fetched: a name makes no sense");
    }
    *staged->order = *order;
    if (parts_bytes)
        memcpy(staged->parts, command->parts, parts_bytes);
    staged->parts_count = command->parts_count;
    staged->since_ms = clock_mono_ms();
    uv_timer_init(staging->config.loop, &staged->timer);
    staged->next = staging->list;
    staging->list = staged;
    begin(staged);
    return 0;
}

void staging_resume(struct staging *staging)
{
    for (struct staged *staged = staging->list; staged; staged = staged->next)
        if (!staged->busy && uv_is_active((uv_handle_t *)&staged->timer)) {
            uv_timer_stop(&staged->timer);
            begin(staged);
        }
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
