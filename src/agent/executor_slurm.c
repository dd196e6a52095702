#include "agent/slurm_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "model/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GRACE_MS_DEFAULT 10000

static struct slurm *slurm_of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct slurm, base);
}

struct slurm_attempt *slurm_find(const struct slurm *slurm, struct attempt_key key)
{
    struct attempt_key clean;
    struct slurm_attempt *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, slurm->attempts, &clean, sizeof(clean), found);
    return found;
}

static struct slurm_attempt *add_attempt(struct slurm *slurm, struct attempt_key key)
{
    struct slurm_attempt *attempt = calloc(1, sizeof(*attempt));

    if (!attempt)
        return NULL;
    attempt->key.job_id = key.job_id;
    attempt->key.epoch = key.epoch;
    attempt->record.key = attempt->key;
    attempt->note.key = attempt->key;
    HASH_ADD(hh, slurm->attempts, key, sizeof(attempt->key), attempt);
    return attempt;
}

static void drop_attempt(struct slurm *slurm, struct slurm_attempt *attempt)
{
    HASH_DEL(slurm->attempts, attempt);
    slurm_order_free(attempt->order);
    slurm_note_fini(&attempt->note);
    free(attempt);
}

/* ---- orders ---- */

/* In Slurm's own order of nodes, in which it numbers them. */
static int take_parts(const struct slurm *slurm, const struct wire_part *parts, uint32_t count,
                      struct slurm_order *order, struct err *err)
{
    uint32_t taken = 0;

    for (uint32_t i = 0; i < count; i++)
        if (slurm_site_rank(slurm, parts[i].node) < 0)
            return err_set(err, -ENOENT, "node %s is not in Slurm (any more)", parts[i].node);
    for (uint32_t n = 0; n < slurm->nodes_count && taken < count; n++)
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(parts[i].node, slurm->nodes[n].name) != 0)
                continue;
            engine_part_take(&parts[i], &order->note.parts[taken]);
            taken++;
            break;
        }
    order->note.parts_count = taken;
    return taken == count ? 0 : err_set(err, -EINVAL, "a node was told twice");
}

static int take_devices(const struct slurm *slurm, const struct wire_part *parts, uint32_t count,
                        struct slurm_order *order, struct err *err)
{
    const struct slurm_gres *first = NULL;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t d = 0; d < parts[i].devices_count; d++) {
            const struct slurm_gres *gres =
                slurm_site_gres(slurm, parts[i].node, parts[i].devices[d].index);

            if (!gres)
                return err_set(err, -ENODEV, "%s has no device %" PRIu32, parts[i].node,
                               parts[i].devices[d].index);
            if (parts[i].devices[d].milli < 1000)
                return err_set(err, -ENOTSUP, "Slurm gives whole devices only, no shares");
            if (first &&
                (strcmp(first->name, gres->name) != 0 || strcmp(first->type, gres->type) != 0))
                return err_set(err, -ENOTSUP, "one job of Slurm cannot hold two kinds of device");
            first = gres;
        }
    if (first)
        snprintf(order->gres, sizeof(order->gres), "%s%s%s", first->name, first->type[0] ? ":" : "",
                 first->type);
    return 0;
}

static int make_order(struct slurm *slurm, const struct attempt_order *base,
                      const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                      struct slurm_order **order_out, struct err *err)
{
    struct slurm_order *order = calloc(1, sizeof(*order));
    const struct slurm_partition *partition;
    int rc;

    if (order) {
        order->spec_json = strdup(spec_json);
        order->note.parts = calloc(parts_count, sizeof(*order->note.parts));
    }
    if (!order || !order->spec_json || !order->note.parts) {
        slurm_order_free(order);
        return err_set(err, -ENOMEM, "attempt: out of memory");
    }
    order->base = *base;
    order->note.key = base->key;
    order->note.duration_ms_max = base->duration_ms_max;
    order->note.submitted_ms = clock_wall_ms();
    order->note.grace_ms = GRACE_MS_DEFAULT;
    order->note.lease = base->lease;
    order->note.array_id = base->array_id;
    order->note.array_index = base->array_index;
    order->note.array_count = base->array_count;
    snprintf(order->note.user, sizeof(order->note.user), "%s", base->user);
    order->state_dir = slurm->state_dir;
    order->agent_dir = slurm->place.agent_dir;
    order->settings = &slurm->settings;
    snprintf(order->tag, sizeof(order->tag), "%s", slurm->place.tag);
    rc = take_parts(slurm, parts, parts_count, order, err);
    if (rc == 0)
        rc = take_devices(slurm, parts, parts_count, order, err);
    partition = rc == 0 ? slurm_site_partition(slurm, order, err) : NULL;
    if (!partition) {
        slurm_note_fini(&order->note);
        slurm_order_free(order);
        return rc < 0 ? rc : -ENOENT;
    }
    snprintf(order->note.partition, sizeof(order->note.partition), "%s", partition->name);
    *order_out = order;
    return 0;
}

/* What the note keeps of the spec: how it is stopped, and saves. */
static int read_spec(const char *spec_json, struct slurm_order *order, struct err *err)
{
    struct slurm_note *note = &order->note;
    struct job_spec *spec = NULL;
    int rc = spec_parse_json_text(spec_json, strlen(spec_json), &spec, err);

    if (rc < 0)
        return rc;
    note->grace_ms = spec->grace_ms;
    if (spec->checkpoint_signal && spec->checkpoint_path &&
        strlen(spec->checkpoint_path) < sizeof(note->save_path)) {
        note->save_signal = spec->checkpoint_signal;
        note->save_every_ms = order->base.checkpoint_every_ms ? order->base.checkpoint_every_ms
                                                              : spec->checkpoint_every_ms;
        snprintf(note->save_path, sizeof(note->save_path), "%s", spec->checkpoint_path);
    }
    if (note->lease && spec->launch == LAUNCH_ONCE && note->parts_count > 1)
        rc = err_set(err, -ENOTSUP,
                     "on_unreachable: move: with launch: once only Slurm can end what runs on the "
                     "other nodes, and it may be away");
    spec_destroy(spec);
    return rc;
}

static int slurm_start_parts(struct executor *executor, const struct attempt_order *base,
                             const struct wire_part *parts, uint32_t parts_count,
                             const char *spec_json, struct err *err)
{
    struct slurm *slurm = slurm_of(executor);
    struct slurm_attempt *attempt;
    struct slurm_order *order = NULL;
    int rc, fd = -1;

    if (slurm_find(slurm, base->key))
        return -EEXIST;
    if (parts_count == 0)
        return err_set(err, -EINVAL, "an attempt without a node");
    rc = make_order(slurm, base, parts, parts_count, spec_json, &order, err);
    if (rc == 0)
        rc = read_spec(spec_json, order, err);
    if (rc == 0)
        rc = engine_begin(&slurm->place, base->key, &fd, err);
    closep(&fd);
    attempt = rc == 0 ? add_attempt(slurm, base->key) : NULL;
    if (!attempt) {
        if (order)
            slurm_note_fini(&order->note);
        slurm_order_free(order);
        return rc < 0 ? rc : err_set(err, -ENOMEM, "attempt: out of memory");
    }
    attempt->order = order;
    attempt->note = order->note; /* owns the parts, which the order borrows */
    slurm->bound = slurm->bound || attempt->note.lease;
    attempt->seen = SLURM_PENDING;
    slurm_submit(slurm, attempt);
    return 0;
}

static int slurm_start(struct executor *executor, const struct attempt_order *order,
                       const char *spec_json, struct err *err)
{
    (void)executor;
    (void)order;
    (void)spec_json;
    return err_set(err, -EINVAL, "an attempt in Slurm is told by its parts");
}

static int slurm_stop(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                      const char *reason, struct err *err)
{
    struct slurm *slurm = slurm_of(executor);
    struct slurm_attempt *attempt = slurm_find(slurm, key);

    (void)err;
    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return -ENOENT;
    slurm_stop_attempt(slurm, attempt, END_STOPPED, grace_ms, reason);
    return 0;
}

/* ---- what it holds ---- */

static void view_of(const struct slurm_attempt *attempt, struct attempt_view *view_out)
{
    view_out->key = attempt->key;
    view_out->state = attempt->state;
    view_out->record = &attempt->record;
}

static bool slurm_find_view(struct executor *executor, struct attempt_key key,
                            struct attempt_view *view_out)
{
    struct slurm_attempt *attempt = slurm_find(slurm_of(executor), key);

    if (attempt)
        view_of(attempt, view_out);
    return attempt != NULL;
}

static void slurm_each(struct executor *executor,
                       void (*visit)(void *, const struct attempt_view *), void *context)
{
    struct slurm_attempt *attempt, *next;
    struct attempt_view view;

    HASH_ITER (hh, slurm_of(executor)->attempts, attempt, next) {
        view_of(attempt, &view);
        visit(context, &view);
    }
}

static uint32_t slurm_count(const struct executor *executor)
{
    return HASH_COUNT(CONTAINER_OF(executor, struct slurm, base)->attempts);
}

static bool slurm_recall(struct executor *executor, struct attempt_key key,
                         struct attempt_record *record_out)
{
    return engine_recall(&slurm_of(executor)->place, key, record_out);
}

static void slurm_acknowledge(struct executor *executor, struct attempt_key key)
{
    struct slurm *slurm = slurm_of(executor);
    struct slurm_attempt *attempt = slurm_find(slurm, key);

    if (!attempt || attempt->state != ATTEMPT_ENDED)
        return;
    engine_acknowledge(&slurm->place, key);
    if (attempt->note.lease)
        guard_forget(&slurm->guard, key);
    drop_attempt(slurm, attempt);
}

/* ---- time ---- */

static void check_time(struct slurm *slurm, struct slurm_attempt *attempt, int64_t now)
{
    int64_t limit = attempt->note.duration_ms_max;

    if (attempt->state == ATTEMPT_ENDED || attempt->collecting)
        return;
    if (attempt->submit_at_ms && now >= attempt->submit_at_ms && !attempt->submitting &&
        !attempt->unsure && !attempt->note.slurm_id && !attempt->stopping) {
        if (attempt->submits < SLURM_SUBMITS_MAX * 20u)
            slurm_submit(slurm, attempt);
        else
            slurm_finish(slurm, attempt, END_START_FAILED, 0, clock_wall_ms(),
                         "Slurm did not answer");
    }
    if (!attempt->stopping && attempt->state == ATTEMPT_RUNNING && limit > 0 &&
        clock_wall_ms() - attempt->record.started_ms >= limit)
        slurm_stop_attempt(slurm, attempt, END_TIME_LIMIT, WIRE_GRACE_JOB, "its time was over");
    slurm_stop_tick(slurm, attempt, now);
}

static bool slurm_tick(struct executor *executor)
{
    struct slurm *slurm = slurm_of(executor);
    int64_t now = slurm_now_mono();
    struct slurm_attempt *attempt, *next;
    bool live = false;

    HASH_ITER (hh, slurm->attempts, attempt, next) {
        check_time(slurm, attempt, now);
        live = live || attempt->state != ATTEMPT_ENDED;
    }
    if (live) {
        slurm_read_events(slurm); /* where the files are a server's nobody wakes us */
        slurm_answer_guards(slurm);
        slurm_look(slurm);
    }
    slurm_site_look(slurm);
    return true;
}

static int slurm_pump(struct executor *executor, struct err *err)
{
    struct slurm *slurm = slurm_of(executor);
    char skipped[4096] __attribute__((aligned(8)));
    bool woken = false;
    uint64_t fired;

    (void)err;
    while (read(slurm->inotify_fd, skipped, sizeof(skipped)) > 0)
        woken = true;
    if (woken)
        slurm_read_events(slurm);
    slurm_answer_guards(slurm);
    if (read(slurm->timer_fd, &fired, sizeof(fired)) > 0)
        slurm_stop_look(slurm);
    engine_worker_pump(slurm->worker);
    return 0;
}

static int slurm_fd(const struct executor *executor)
{
    return CONTAINER_OF(executor, struct slurm, base)->epoll_fd;
}

/* ---- opening: what is there from before ---- */

static void adopt(void *context, struct attempt_key key, const struct attempt_record *record)
{
    struct slurm *slurm = context;
    struct slurm_attempt *attempt;
    struct slurm_note note = { 0 };
    int fd, rc;

    if (!record) {
        fd = engine_open_attempt(&slurm->place, key);
        rc = fd < 0 ? fd : slurm_note_read(fd, key, &note);
        closep(&fd);
        if (rc < 0) { /* sbatch was never asked: as if it had not been ordered */
            engine_remove(&slurm->place, key);
            return;
        }
    }
    attempt = add_attempt(slurm, key);
    if (!attempt) {
        slurm_note_fini(&note);
        return;
    }
    if (record) {
        attempt->record = *record;
        attempt->state = ATTEMPT_ENDED;
        return;
    }
    attempt->note = note;
    slurm->bound = slurm->bound || note.lease;
    attempt->unsure = note.slurm_id == 0;
    attempt->unsure_ms = slurm_now_mono();
    attempt->seen = SLURM_PENDING;
}

static int make_folders(struct slurm *slurm, struct err *err)
{
    CLEANUP(freep) char *events = NULL;
    int rc = engine_open(&slurm->place, slurm->config.agent_dir, "slurm.tag", err);

    if (rc < 0)
        return rc;
    if (mkdirat(slurm->place.agent_fd, SLURM_EVENTS, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "%s/" SLURM_EVENTS ": %s", slurm->place.agent_dir,
                       strerror(errno));
    rc = guard_open(slurm->place.agent_fd, &slurm->guard, err);
    if (rc < 0)
        return rc;
    slurm->events_fd =
        openat(slurm->place.agent_fd, SLURM_EVENTS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    events = path_format("%s/" SLURM_EVENTS, slurm->place.agent_dir);
    slurm->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (slurm->events_fd < 0 || !events || slurm->inotify_fd < 0 ||
        inotify_add_watch(slurm->inotify_fd, events, IN_MOVED_TO) < 0)
        return err_set(err, -EIO, "%s: cannot be watched: %s", slurm->place.agent_dir,
                       strerror(errno));
    return 0;
}

static int start_worker(struct slurm *slurm, struct err *err)
{
    struct epoll_event event = { .events = EPOLLIN };
    int rc = engine_worker_create(&slurm->worker, err);

    if (rc < 0)
        return rc;
    slurm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    slurm->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (slurm->epoll_fd < 0 || slurm->timer_fd < 0 ||
        epoll_ctl(slurm->epoll_fd, EPOLL_CTL_ADD, slurm->timer_fd, &event) < 0 ||
        epoll_ctl(slurm->epoll_fd, EPOLL_CTL_ADD, slurm->guard.inotify_fd, &event) < 0 ||
        epoll_ctl(slurm->epoll_fd, EPOLL_CTL_ADD, slurm->inotify_fd, &event) < 0 ||
        epoll_ctl(slurm->epoll_fd, EPOLL_CTL_ADD, engine_worker_fd(slurm->worker), &event) < 0)
        return err_set(err, -errno, "epoll: %s", strerror(errno));
    return 0;
}

static void slurm_close(struct executor *executor)
{
    struct slurm *slurm = slurm_of(executor);
    const int fds[] = { slurm->events_fd, slurm->inotify_fd, slurm->epoll_fd, slurm->timer_fd };

    if (!engine_worker_destroy(slurm->worker))
        return; /* it is in a command, and uses all of this until the process ends */
    while (slurm->attempts)
        drop_attempt(slurm, slurm->attempts);
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(slurm->nodes);
    free(slurm->partitions);
    free(slurm->foreign);
    free(slurm->foreign_before);
    free(slurm->state_dir);
    guard_close(&slurm->guard);
    engine_close(&slurm->place);
    free(slurm);
}

static int slurm_open(const struct executor_config *config, struct executor **executor_out,
                      struct err *err)
{
    struct slurm *slurm;
    int rc = 0;

    if (geteuid() == 0)
        return err_set(err, -EPERM,
                       "the slurm executor does not run as root, as all jobs run as its user: "
                       "start it as the user whose Slurm account it shall use");
    slurm = calloc(1, sizeof(*slurm));
    if (!slurm)
        return err_set(err, -ENOMEM, "executor: out of memory");
    slurm->base.ops = &executor_slurm_ops;
    slurm->config = *config;
    if (config->slurm)
        slurm->settings = *config->slurm;
    slurm->events_fd = slurm->inotify_fd = slurm->epoll_fd = slurm->timer_fd = -1;
    slurm->state_dir = strdup(config->state_dir);
    if (!slurm->state_dir)
        rc = err_set(err, -ENOMEM, "executor: out of memory");
    if (rc == 0)
        rc = make_folders(slurm, err);
    if (rc == 0)
        rc = engine_scan(&slurm->place, adopt, slurm, err);
    if (rc == 0) /* also counts what is there already as others' or ours */
        rc = slurm_site_read(slurm, err);
    if (rc == 0)
        rc = start_worker(slurm, err);
    if (rc < 0) {
        slurm_close(&slurm->base);
        return rc;
    }
    slurm_read_events(slurm);
    *executor_out = &slurm->base;
    return 0;
}

const struct executor_ops executor_slurm_ops = {
    .name = "slurm",
    .one_kind = true,
    .keeps_lease = slurm_keeps_lease,
    .lease = slurm_take_lease,
    .open = slurm_open,
    .close = slurm_close,
    .fd = slurm_fd,
    .pump = slurm_pump,
    .tick = slurm_tick,
    .start = slurm_start,
    .stop = slurm_stop,
    .find = slurm_find_view,
    .each = slurm_each,
    .count = slurm_count,
    .recall = slurm_recall,
    .acknowledge = slurm_acknowledge,
    .forget = slurm_acknowledge,
    .discover = slurm_site_discover,
    .queue = slurm_queue,
    .start_parts = slurm_start_parts,
};
