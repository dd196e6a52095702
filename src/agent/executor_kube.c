#include "agent/kube_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

#define TAG_FILE "kubernetes.tag"

static struct kube *kube_of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct kube, base);
}

int64_t kube_now(void)
{
    return clock_mono_ms();
}

struct kube_attempt *kube_find(const struct kube *kube, struct attempt_key key)
{
    struct attempt_key clean;
    struct kube_attempt *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, kube->attempts, &clean, sizeof(clean), found);
    return found;
}

static struct kube_attempt *add_attempt(struct kube *kube, struct attempt_key key, uint32_t tasks)
{
    struct kube_attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt)
        attempt->ranks = calloc(MAX(tasks, 1u), sizeof(*attempt->ranks));
    if (!attempt || !attempt->ranks) {
        free(attempt);
        return NULL;
    }
    attempt->key.job_id = key.job_id;
    attempt->key.epoch = key.epoch;
    attempt->record.key = attempt->key;
    attempt->note.key = attempt->key;
    attempt->log_fd = attempt->log_at_fd = -1;
    HASH_ADD(hh, kube->attempts, key, sizeof(attempt->key), attempt);
    return attempt;
}

static void drop_attempt(struct kube *kube, struct kube_attempt *attempt)
{
    if (attempt->queued)
        DL_DELETE(kube->ready, attempt);
    kube_log_stop(kube, attempt);
    kube_log_close(attempt);
    HASH_DEL(kube->attempts, attempt);
    kube_order_free(attempt->order);
    kube_note_fini(&attempt->note);
    free(attempt->ranks);
    free(attempt);
}

/* ---- orders ---- */

static int take_parts(const struct wire_part *parts, uint32_t count, struct kube_note *note,
                      struct err *err)
{
    note->parts = calloc(count, sizeof(*note->parts));
    if (!note->parts)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    note->parts_count = count;
    for (uint32_t i = 0; i < count; i++) {
        engine_part_take(&parts[i], &note->parts[i]);
        note->tasks += parts[i].tasks;
    }
    return note->tasks > 0 ? 0 : err_set(err, -EINVAL, "an attempt without a task");
}

static int take_devices(const struct kube *kube, const struct wire_part *parts, uint32_t count,
                        struct kube_order *order, struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct kube_node *node = kube_site_find(kube, parts[i].node);

        if (!node)
            return err_set(err, -ENOENT, "node %s is not in the cluster (any more)", parts[i].node);
        for (uint32_t d = 0; d < parts[i].devices_count; d++) {
            const struct kube_node_resource *resource =
                kube_site_resource(node, parts[i].devices[d].index);

            if (!resource)
                return err_set(err, -ENODEV, "%s has no device %" PRIu32, parts[i].node,
                               parts[i].devices[d].index);
            if (parts[i].devices[d].milli < 1000)
                return err_set(err, -ENOTSUP, "Kubernetes gives whole devices only, no shares");
            if (order->resource[0] && strcmp(order->resource, resource->name) != 0)
                return err_set(err, -ENOTSUP,
                               "one job of Kubernetes cannot hold two kinds of device");
            snprintf(order->resource, sizeof(order->resource), "%s", resource->name);
        }
    }
    return 0;
}

static void fill_note(const struct attempt_order *base, const struct kube_order *order,
                      struct kube_note *note)
{
    const struct job_spec *spec = order->spec;

    note->key = base->key;
    note->array_id = base->array_id;
    note->array_index = base->array_index;
    note->array_count = base->array_count;
    snprintf(note->user, sizeof(note->user), "%s", base->user);
    note->staged = order->work_path[0] != '\0';
    note->begun_ms = clock_wall_ms();
    note->duration_ms_max = base->duration_ms_max;
    note->grace_ms = spec->grace_ms;
    note->lease = base->lease;
    if (spec->checkpoint_signal && spec->checkpoint_path &&
        strlen(spec->checkpoint_path) < sizeof(note->save_path)) {
        note->save_signal = spec->checkpoint_signal;
        note->save_every_ms =
            base->checkpoint_every_ms ? base->checkpoint_every_ms : spec->checkpoint_every_ms;
        snprintf(note->save_path, sizeof(note->save_path), "%s", spec->checkpoint_path);
    }
    note->log_bytes_max = spec->log_bytes_max ? spec->log_bytes_max : ATTEMPT_LOG_BYTES_DEFAULT;
    if (spec->launch == LAUNCH_ONCE)
        note->tasks = 1;
    note->dressed = !kube_order_needs_secret(order) && !kube_order_needs_service(order) &&
                    !kube_order_needs_group(order);
}

static int choose_work(const struct kube *kube, struct kube_order *order, struct err *err)
{
    char name[ATTEMPT_NAME_BYTES];
    int len;

    if (!kube->settings->volume_claim[0])
        return 0;
    attempt_name(order->base.key, name);
    order->agent_dir = kube->place.agent_dir;
    len = snprintf(order->folder, sizeof(order->folder), "%s/attempts/%s", order->agent_dir, name);
    if (len >= (int)sizeof(order->folder))
        return err_set(err, -ENAMETOOLONG, "%s: its path is too long", order->agent_dir);
    len = order->spec->workdir
              ? snprintf(order->work_path, sizeof(order->work_path), "%s", order->spec->workdir)
              : snprintf(order->work_path, sizeof(order->work_path), "%s/attempts/%s/work",
                         kube->place.agent_dir, name);
    return len < (int)sizeof(order->work_path)
               ? 0
               : err_set(err, -ENAMETOOLONG, "work folder: its path is too long");
}

/* All that must be right before the attempt has begun. `note` and `order` are the caller's to
 * free. */
static int make_order(struct kube *kube, const struct attempt_order *base,
                      const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                      struct kube_note *note, struct kube_order *order, struct err *err)
{
    int rc;

    order->base = *base;
    order->note = note;
    order->settings = kube->settings;
    snprintf(order->tag, sizeof(order->tag), "%s", kube->place.tag);
    order->spec_json = strdup(spec_json);
    if (!order->spec_json)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    rc = spec_parse_json_text(spec_json, strlen(spec_json), &order->spec, err);
    if (rc == 0)
        rc = choose_work(kube, order, err);
    if (rc == 0)
        rc = take_parts(parts, parts_count, note, err);
    if (rc == 0) /* an elastic job's file says the least */
        order->spec->request.shape.tasks = note->tasks;
    if (rc == 0)
        rc = take_devices(kube, parts, parts_count, order, err);
    if (rc == 0) {
        fill_note(base, order, note);
        rc = kube_order_check(order, err);
    }
    return rc;
}

static int begin(struct kube *kube, struct kube_note *note, struct err *err)
{
    CLEANUP(closep) int fd = -1;
    int rc = engine_begin(&kube->place, note->key, &fd, err);

    if (rc < 0)
        return rc;
    rc = kube_note_write(fd, note); /* before anybody is asked */
    if (rc < 0) {
        engine_remove(&kube->place, note->key);
        return err_set(err, rc, "attempt %" PRIu64 ": %s", note->key.job_id, strerror(-rc));
    }
    return 0;
}

static int kube_start_parts(struct executor *executor, const struct attempt_order *base,
                            const struct wire_part *parts, uint32_t parts_count,
                            const char *spec_json, struct err *err)
{
    struct kube *kube = kube_of(executor);
    struct kube_order *order;
    struct kube_note note = { 0 };
    struct kube_attempt *attempt = NULL;
    int rc;

    if (kube_find(kube, base->key))
        return -EEXIST;
    if (parts_count == 0 || parts_count > WIRE_PARTS_MAX)
        return err_set(err, -EINVAL, "an attempt without a node");
    order = calloc(1, sizeof(*order));
    if (!order)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    rc = make_order(kube, base, parts, parts_count, spec_json, &note, order, err);
    if (rc == 0)
        rc = begin(kube, &note, err);
    if (rc == 0) {
        attempt = add_attempt(kube, base->key, note.tasks);
        if (!attempt)
            rc = err_set(err, -ENOMEM, "attempt: out of memory");
    }
    if (!attempt) {
        kube_order_free(order);
        kube_note_fini(&note);
        return rc;
    }
    attempt->note = note;
    kube->bound = kube->bound || note.lease;
    order->note = &attempt->note;
    attempt->order = order;
    attempt->stage = note.staged ? KUBE_STAGING : KUBE_MAKING;
    kube_queue(kube, attempt);
    kube_drive_ready(kube);
    return 0;
}

static int kube_start(struct executor *executor, const struct attempt_order *order,
                      const char *spec_json, struct err *err)
{
    (void)executor;
    (void)order;
    (void)spec_json;
    return err_set(err, -EINVAL, "an attempt in Kubernetes is told by its parts");
}

static int kube_stop_attempt(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                             const char *reason, struct err *err)
{
    struct kube *kube = kube_of(executor);
    struct kube_attempt *attempt = kube_find(kube, key);

    (void)err;
    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return -ENOENT;
    kube_stop(kube, attempt, END_STOPPED, grace_ms, reason);
    return 0;
}

/* ---- what it holds ---- */

static void view_of(const struct kube_attempt *attempt, struct attempt_view *view_out)
{
    view_out->key = attempt->key;
    view_out->state = attempt->state;
    view_out->record = &attempt->record;
}

static bool kube_find_view(struct executor *executor, struct attempt_key key,
                           struct attempt_view *view_out)
{
    struct kube_attempt *attempt = kube_find(kube_of(executor), key);

    if (attempt)
        view_of(attempt, view_out);
    return attempt != NULL;
}

static void kube_each(struct executor *executor, void (*visit)(void *, const struct attempt_view *),
                      void *context)
{
    struct kube_attempt *attempt, *next;
    struct attempt_view view;

    HASH_ITER (hh, kube_of(executor)->attempts, attempt, next) {
        view_of(attempt, &view);
        visit(context, &view);
    }
}

static uint32_t kube_count(const struct executor *executor)
{
    return HASH_COUNT(CONTAINER_OF(executor, struct kube, base)->attempts);
}

static bool kube_recall(struct executor *executor, struct attempt_key key,
                        struct attempt_record *record_out)
{
    return engine_recall(&kube_of(executor)->place, key, record_out);
}

static void kube_acknowledge(struct executor *executor, struct attempt_key key)
{
    struct kube *kube = kube_of(executor);
    struct kube_attempt *attempt = kube_find(kube, key);

    if (!attempt || attempt->state != ATTEMPT_ENDED)
        return;
    engine_acknowledge(&kube->place, key);
    if (attempt->stage == KUBE_CLEANING && attempt->has_job && !attempt->busy)
        kube_delete_orphan(kube, &attempt->job);
    if (attempt->note.lease)
        guard_forget(&kube->guard, key);
    drop_attempt(kube, attempt);
}

/* ---- its queue ---- */

/* Pods that no node takes yet, and Jobs that are not let go. */
static uint32_t kube_waits(struct executor *executor, struct wire_wait rows_out[WIRE_WAITS_MAX])
{
    struct kube *kube = kube_of(executor);
    struct kube_attempt *attempt, *next;
    int64_t now_ms = clock_wall_ms();

    queuing_clear(&kube->queuing);
    HASH_ITER (hh, kube->attempts, attempt, next)
        if (attempt->state == ATTEMPT_BEGUN && !attempt->stopping && attempt->waits_for[0])
            queuing_waits(&kube->queuing, attempt->note.parts[0].devices > 0,
                          attempt->note.parts_count, now_ms - attempt->note.begun_ms, 0);
    return queuing_rows(&kube->queuing, now_ms, rows_out);
}

/* ---- time ---- */

static bool kube_tick(struct executor *executor)
{
    struct kube *kube = kube_of(executor);
    struct kube_attempt *attempt, *next;

    kube_answer_guards(kube); /* where the files are a server's nobody wakes us */
    HASH_ITER (hh, kube->attempts, attempt, next)
        kube_heard_tick(kube, attempt);
    kube_drive_ready(kube);
    kube_site_tick(kube);
    return true;
}

static int kube_pump(struct executor *executor, struct err *err)
{
    struct kube *kube = kube_of(executor);

    (void)err;
    kube_api_pump(kube->api);
    if (kube->worker)
        engine_worker_pump(kube->worker);
    kube_answer_guards(kube);
    return 0;
}

static int kube_fd(const struct executor *executor)
{
    return CONTAINER_OF(executor, struct kube, base)->epoll_fd;
}

/* ---- opening: what is there from before ---- */

static void adopt(void *context, struct attempt_key key, const struct attempt_record *record)
{
    struct kube *kube = context;
    struct kube_note note = { .tasks = 1 };
    struct kube_attempt *attempt;
    int fd, rc = 0;

    if (!record) {
        fd = engine_open_attempt(&kube->place, key);
        rc = fd < 0 ? fd : kube_note_read(fd, key, &note);
        closep(&fd);
        if (rc < 0) { /* nobody was asked yet: as if it had not been ordered */
            engine_remove(&kube->place, key);
            return;
        }
    }
    attempt = add_attempt(kube, key, note.tasks);
    if (!attempt) {
        kube_note_fini(&note);
        return;
    }
    attempt->asked = true;
    attempt->asked_ms = kube_now();
    if (record) {
        attempt->note.tasks = 1;
        attempt->record = *record;
        attempt->state = ATTEMPT_ENDED;
        attempt->stage = KUBE_CLEANING;
        return;
    }
    attempt->note = note;
    kube->bound = kube->bound || note.lease;
    attempt->stage = KUBE_THERE;
}

static int open_api(struct kube *kube, struct err *err)
{
    const struct kube_settings *settings = kube->settings;
    struct kube_access access;
    int rc = kube_access_find(settings->kubeconfig, settings->context, &access, err);

    if (rc < 0)
        return rc;
    if (settings->namespace[0])
        snprintf(access.namespace, sizeof(access.namespace), "%s", settings->namespace);
    rc = kube_api_create(&access, &kube->api, err);
    if (rc < 0) {
        kube_access_fini(&access);
        return rc;
    }
    snprintf(kube->jobs_path, sizeof(kube->jobs_path), "/apis/batch/v1/namespaces/%s/jobs",
             kube_api_namespace(kube->api));
    snprintf(kube->pods_path, sizeof(kube->pods_path), "/api/v1/namespaces/%s/pods",
             kube_api_namespace(kube->api));
    snprintf(kube->own_query, sizeof(kube->own_query), "labelSelector=mains.local%%2Fagent%%3D%s",
             kube->place.tag);
    return 0;
}

/* Where there is a volume the agent sees it, too, and its own folder is on it. */
static int open_worker(struct kube *kube, struct err *err)
{
    const char *path = kube->settings->volume_path;
    size_t len = strlen(path);
    int rc;

    if (!kube->settings->volume_claim[0])
        return 0;
    if (strncmp(kube->place.agent_dir, path, len) != 0 || kube->place.agent_dir[len] != '/')
        return err_set(err, -EINVAL,
                       "kubernetes.volume: the state folder %s must be below %s, where pods and "
                       "this agent see the volume",
                       kube->state_dir, path);
    rc = guard_open(kube->place.agent_fd, &kube->guard, err);
    return rc < 0 ? rc : engine_worker_create(&kube->worker, err);
}

static int open_fd(struct kube *kube, struct err *err)
{
    struct epoll_event event = { .events = EPOLLIN };

    kube->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (kube->epoll_fd < 0 ||
        epoll_ctl(kube->epoll_fd, EPOLL_CTL_ADD, kube_api_fd(kube->api), &event) < 0 ||
        (kube->worker &&
         (epoll_ctl(kube->epoll_fd, EPOLL_CTL_ADD, engine_worker_fd(kube->worker), &event) < 0 ||
          epoll_ctl(kube->epoll_fd, EPOLL_CTL_ADD, kube->guard.inotify_fd, &event) < 0)))
        return err_set(err, -errno, "epoll: %s", strerror(errno));
    return 0;
}

static void kube_close(struct executor *executor)
{
    struct kube *kube = kube_of(executor);

    kube->closing = true;
    if (!engine_worker_destroy(kube->worker))
        return; /* it copies files, and uses this until the process ends */
    while (kube->attempts)
        drop_attempt(kube, kube->attempts);
    kube_watch_destroy(kube->jobs);
    kube_watch_destroy(kube->pods);
    kube_watch_destroy(kube->nodes);
    kube_watch_destroy(kube->others);
    kube_watch_destroy(kube->events);
    kube_api_destroy(kube->api);
    closep(&kube->epoll_fd);
    guard_close(&kube->guard);
    kube_site_close(kube);
    engine_close(&kube->place);
    free(kube->state_dir);
    free(kube);
}

static int kube_open(const struct executor_config *config, struct executor **executor_out,
                     struct err *err)
{
    struct kube *kube = calloc(1, sizeof(*kube));
    int rc = 0;

    if (!kube)
        return err_set(err, -ENOMEM, "executor: out of memory");
    kube->base.ops = &executor_kubernetes_ops;
    kube->config = *config;
    kube->settings = config->kube;
    kube->epoll_fd = -1;
    kube->state_dir = strdup(config->state_dir);
    if (!kube->state_dir)
        rc = err_set(err, -ENOMEM, "executor: out of memory");
    if (rc == 0)
        rc = engine_open(&kube->place, config->agent_dir, TAG_FILE, err);
    if (rc == 0)
        rc = open_worker(kube, err);
    if (rc == 0)
        rc = open_api(kube, err);
    if (rc == 0)
        rc = open_fd(kube, err);
    if (rc == 0)
        rc = engine_scan(&kube->place, adopt, kube, err);
    if (rc == 0) /* turns the loop: attempts must be known by then */
        rc = kube_site_open(kube, err);
    if (rc == 0)
        rc = kube_heard_open(kube, err);
    if (rc == 0)
        rc = kube_event_open(kube, err);
    if (rc < 0) {
        kube_close(&kube->base);
        return rc;
    }
    *executor_out = &kube->base;
    return 0;
}

const struct executor_ops executor_kubernetes_ops = {
    .name = "kubernetes",
    .images = true,
    .one_kind = true,
    .keeps_lease = kube_keeps_lease,
    .lease = kube_take_lease,
    .open = kube_open,
    .close = kube_close,
    .fd = kube_fd,
    .pump = kube_pump,
    .tick = kube_tick,
    .start = kube_start,
    .stop = kube_stop_attempt,
    .find = kube_find_view,
    .each = kube_each,
    .count = kube_count,
    .recall = kube_recall,
    .acknowledge = kube_acknowledge,
    .forget = kube_acknowledge,
    .discover = kube_site_discover,
    .queue = kube_waits,
    .start_parts = kube_start_parts,
};
