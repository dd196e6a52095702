#include "agent/kube_internal.h"

#include "agent/engine_job.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEC_FILE "spec"
#define SPEC_BYTES_MAX (8u << 20)

struct stage_task {
    struct engine_task task;
    struct kube *kube;
    struct attempt_order order;
    char *spec_json; /* NULL: of the attempt's folder */
    char node[MODEL_NAME_BYTES];
    uint32_t tasks;
    bool restored, guarded;
    int rc;
    struct err err;
};

static struct stage_task *stage_of(struct engine_task *task)
{
    return CONTAINER_OF(task, struct stage_task, task);
}

static void drop(struct engine_task *task)
{
    struct stage_task *stage = stage_of(task);

    if (stage->spec_json)
        explicit_bzero(stage->spec_json, strlen(stage->spec_json));
    free(stage->spec_json);
    free(stage);
}

static struct stage_task *make_task(struct kube *kube, const struct kube_attempt *attempt)
{
    struct stage_task *stage = calloc(1, sizeof(*stage));

    if (!stage)
        return NULL;
    stage->kube = kube;
    stage->order.key = attempt->key;
    stage->tasks = attempt->note.parts_count ? attempt->note.parts[0].tasks : 1;
    snprintf(stage->node, sizeof(stage->node), "%s",
             attempt->note.parts_count ? attempt->note.parts[0].node : "");
    stage->task.drop = drop;
    return stage;
}

/* ---- before ---- */

/* What is collected later is told by the spec, without its secrets. */
static int keep_spec(int attempt_fd, const struct job_spec *spec)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SPEC_BYTES_MAX);
    CLEANUP(closep) int fd = -1;
    int rc = spec_print_json(spec, false, &text);

    if (rc < 0)
        return rc;
    fd = openat(attempt_fd, SPEC_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : file_write_all(fd, text.data, text.len);
}

static int write_guard(int attempt_fd)
{
    CLEANUP(closep)
    int fd = openat(attempt_fd, KUBE_GUARD_FILE,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? -errno : file_write_all(fd, guard_script, strlen(guard_script));

    return rc < 0 ? rc : file_write_all(fd, guard_alone, strlen(guard_alone));
}

static void prepare_work(struct engine_task *task)
{
    struct stage_task *stage = stage_of(task);
    struct kube *kube = stage->kube;
    CLEANUP(closep) int fd = engine_open_attempt(&kube->place, stage->order.key);
    struct engine_job *job = malloc(sizeof(*job));

    if (!job || fd < 0) {
        stage->rc = err_set(&stage->err, job ? fd : -ENOMEM, "attempt: its folder is gone");
        free(job);
        return;
    }
    stage->rc = engine_job_open(job, &stage->order, stage->spec_json, fd, kube->state_dir,
                                kube->place.agent_dir, &stage->err);
    if (stage->rc == 0)
        stage->rc = engine_job_prepare(job, &stage->err);
    stage->restored = job->sup.restored;
    if (stage->rc == 0 && stage->guarded)
        stage->rc = write_guard(fd);
    if (stage->rc == 0) {
        stage->rc = keep_spec(fd, job->sup.spec);
        if (stage->rc < 0)
            err_set(&stage->err, stage->rc, "attempt: %s", strerror(-stage->rc));
    }
    engine_job_close(job);
    free(job);
}

static void prepare_done(struct engine_task *task)
{
    struct stage_task *stage = stage_of(task);
    struct kube *kube = stage->kube;
    struct kube_attempt *attempt = kube_find(kube, stage->order.key);

    if (!attempt)
        return;
    attempt->busy = false;
    if (stage->rc < 0)
        kube_conclude(kube, attempt, attempt->stopping ? attempt->stop_end : END_START_FAILED, 0, 0,
                      stage->err.text);
    else
        attempt->stage = KUBE_MAKING;
    if (attempt->order)
        attempt->order->restored = stage->restored;
    kube_queue(kube, attempt);
    kube_drive_ready(kube);
}

void kube_stage_begin(struct kube *kube, struct kube_attempt *attempt)
{
    struct stage_task *stage = make_task(kube, attempt);

    if (stage) {
        stage->order = attempt->order->base;
        stage->spec_json = strdup(attempt->order->spec_json);
        stage->guarded = kube_order_is_guarded(attempt->order);
    }
    if (!stage || !stage->spec_json) {
        free(stage);
        kube_conclude(kube, attempt, END_START_FAILED, 0, 0, "attempt: out of memory");
        return;
    }
    stage->task.work = prepare_work;
    stage->task.done = prepare_done;
    attempt->busy = true;
    engine_worker_push(kube->worker, &stage->task);
}

/* ---- after ---- */

static void collect_work(struct engine_task *task)
{
    struct stage_task *stage = stage_of(task);
    struct kube *kube = stage->kube;
    CLEANUP(closep) int fd = engine_open_attempt(&kube->place, stage->order.key);
    CLEANUP(buf_fini) struct buf text = buf_init(SPEC_BYTES_MAX);
    CLEANUP(freep) char *path = path_format("/proc/self/fd/%d/" SPEC_FILE, fd);
    struct engine_job *job = malloc(sizeof(*job));

    stage->rc = !job || !path ? -ENOMEM : file_read(path, &text, &stage->err);
    if (stage->rc == 0) {
        stage->rc = engine_job_open(job, &stage->order, text.data ? text.data : "", fd,
                                    kube->state_dir, kube->place.agent_dir, &stage->err);
        if (stage->rc == 0)
            stage->rc = engine_job_collect(job, stage->node, stage->tasks, &stage->err);
        engine_job_close(job);
    }
    free(job);
}

static void collect_done(struct engine_task *task)
{
    struct stage_task *stage = stage_of(task);
    struct kube_attempt *attempt = kube_find(stage->kube, stage->order.key);
    struct attempt_record *record;

    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return;
    record = &attempt->end_record;
    if (stage->rc < 0 && record->end == END_EXITED && record->exit_code == 0) {
        record->exit_code = 1;
        snprintf(record->reason, sizeof(record->reason), "%.159s", stage->err.text);
    }
    attempt->collecting = false;
    attempt->note.staged = false; /* all of it is collected */
    kube_settle(stage->kube, attempt);
}

bool kube_stage_collect(struct kube *kube, struct kube_attempt *attempt)
{
    struct stage_task *stage;

    if (!attempt->note.staged || !attempt->end_record.started_ms || !kube->worker)
        return false;
    stage = make_task(kube, attempt);
    if (!stage)
        return false;
    stage->order.host_paths = true; /* checked when it began; it ran as this user */
    snprintf(stage->order.user, sizeof(stage->order.user), "%s", attempt->note.user);
    stage->order.array_id = attempt->note.array_id;
    stage->order.array_index = attempt->note.array_index;
    stage->order.array_count = attempt->note.array_count;
    stage->task.work = collect_work;
    stage->task.done = collect_done;
    attempt->collecting = true;
    engine_worker_push(kube->worker, &stage->task);
    return true;
}
