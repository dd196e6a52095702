#include "agent/slurm_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENT_BYTES_MAX (1u << 20)
#define SIGNAL_BASE 128

int64_t slurm_now_mono(void)
{
    return clock_mono_ms();
}

static const char *bin_dir(const struct slurm *slurm)
{
    return slurm->settings.bin_dir[0] ? slurm->settings.bin_dir : NULL;
}

/* ---- the end of an attempt: outputs on the worker, then its record ---- */

struct finish_task {
    struct engine_task task;
    struct slurm *slurm;
    struct slurm_order order;
    struct attempt_record record;
    bool lease_is_over;
};

static char *read_text(int folder_fd, const char *path)
{
    CLEANUP(closep) int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct buf text = buf_init(EVENT_BYTES_MAX * 4u);
    char piece[8192];
    ssize_t got;

    while (fd >= 0 && (got = read(fd, piece, sizeof(piece))) > 0)
        buf_add(&text, piece, (size_t)got);
    return buf_take(&text);
}

/* Word of what its lease has ended: the guard's own, or that it was another lease. */
static void look_at_lease(struct finish_task *finish, int attempt_fd)
{
    struct attempt_record *record = &finish->record;

    if (!finish->order.note.lease || record->end == END_STOPPED || record->end == END_LEASE ||
        (!finish->lease_is_over && (attempt_fd < 0 || !guard_has_ended(attempt_fd))))
        return;
    record->end = END_LEASE;
    record->exit_code = 0;
    snprintf(record->reason, sizeof(record->reason),
             "the site was not answered by the network for longer than its lease");
}

static void finish_work(struct engine_task *task)
{
    struct finish_task *finish = CONTAINER_OF(task, struct finish_task, task);
    struct attempt_record *record = &finish->record;
    struct slurm *slurm = finish->slurm;
    char name[ATTEMPT_NAME_BYTES];
    struct err err = { 0 };
    CLEANUP(closep) int fd = -1;
    int rc;

    attempt_name(record->key, name);
    fd = openat(slurm->place.attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    finish->order.spec_json = fd >= 0 ? read_text(fd, "script/spec") : NULL;
    look_at_lease(finish, fd);
    if (record->started_ms && finish->order.spec_json && finish->order.spec_json[0] &&
        slurm_job_collect(&finish->order, fd, &err) < 0 && record->end == END_EXITED &&
        record->exit_code == 0) {
        record->exit_code = 1;
        snprintf(record->reason, sizeof(record->reason), "%.159s", err.text);
    }
    rc = engine_write_record(&slurm->place, record);
    if (rc < 0)
        log_error("attempt %s: its record cannot be written: %s", name, strerror(-rc));
    if (fd >= 0)
        slurm_job_clean(fd);
}

static void finish_done(struct engine_task *task)
{
    struct finish_task *finish = CONTAINER_OF(task, struct finish_task, task);
    struct slurm *slurm = finish->slurm;
    struct slurm_attempt *attempt = slurm_find(slurm, finish->record.key);
    char path[ATTEMPT_NAME_BYTES + 16], name[ATTEMPT_NAME_BYTES];

    if (!attempt)
        return;
    attempt->record = finish->record;
    attempt->state = ATTEMPT_ENDED;
    attempt->collecting = false;
    attempt_name(attempt->key, name);
    snprintf(path, sizeof(path), "%s.started", name);
    unlinkat(slurm->events_fd, path, 0);
    snprintf(path, sizeof(path), "%s.ended", name);
    unlinkat(slurm->events_fd, path, 0);
    slurm->config.told(slurm->config.context, NOTE_ENDED, &attempt->record);
}

static void finish_drop(struct engine_task *task)
{
    struct finish_task *finish = CONTAINER_OF(task, struct finish_task, task);

    free(finish->order.note.parts);
    free(finish->order.spec_json);
    free(finish);
}

static void fill_usage(const struct slurm_attempt *attempt, int64_t until_ms,
                       struct attempt_record *record)
{
    engine_parts_fill_usage(attempt->note.parts, attempt->note.parts_count, until_ms, record);
    if (attempt->event_ended)
        record->usage.cpu_ms = attempt->end_event.cpu_ms;
}

void slurm_finish(struct slurm *slurm, struct slurm_attempt *attempt, enum attempt_end end,
                  int32_t exit_code, int64_t ended_ms, const char *reason)
{
    struct finish_task *finish;
    struct engine_part *parts;
    int64_t left_ms;

    if (attempt->collecting || attempt->state == ATTEMPT_ENDED)
        return;
    finish = calloc(1, sizeof(*finish));
    parts = calloc(attempt->note.parts_count, sizeof(*parts));
    if (!finish || !parts) { /* the next look tries again */
        free(finish);
        free(parts);
        return;
    }
    memcpy(parts, attempt->note.parts, attempt->note.parts_count * sizeof(*parts));
    finish->slurm = slurm;
    finish->record = attempt->record;
    /* Where it has said itself how it ended, in the dark maybe, that counts. */
    finish->lease_is_over = attempt->note.lease && !attempt->event_ended &&
                            guard_is_over(&slurm->guard, attempt->note.lease, &left_ms);
    finish->record.end = end;
    finish->record.exit_code = exit_code;
    finish->record.ended_ms = MAX(ended_ms, finish->record.started_ms);
    snprintf(finish->record.reason, sizeof(finish->record.reason), "%.159s", reason);
    fill_usage(attempt, finish->record.ended_ms, &finish->record);
    finish->order.note = attempt->note;
    finish->order.note.parts = parts;
    finish->order.base.key = attempt->key;
    finish->order.base.array_id = attempt->note.array_id;
    finish->order.base.array_index = attempt->note.array_index;
    finish->order.base.array_count = attempt->note.array_count;
    snprintf(finish->order.base.user, sizeof(finish->order.base.user), "%s", attempt->note.user);
    finish->order.base.host_paths = true; /* checked when it began; it ran as this user */
    finish->order.state_dir = slurm->state_dir;
    finish->order.agent_dir = slurm->place.agent_dir;
    finish->order.settings = &slurm->settings;
    finish->task =
        (struct engine_task){ .work = finish_work, .done = finish_done, .drop = finish_drop };
    attempt->collecting = true;
    engine_worker_push(slurm->worker, &finish->task);
}

/* ---- scancel ---- */

struct cancel_task {
    struct engine_task task;
    const struct slurm *slurm;
    char id[24], signal[24];
};

static void cancel_work(struct engine_task *task)
{
    struct cancel_task *cancel = CONTAINER_OF(task, struct cancel_task, task);
    const char *const with[] = { "scancel", "--full", cancel->signal, cancel->id, NULL };
    const char *const without[] = { "scancel", cancel->id, NULL };
    struct slurm_result result;
    struct err err;
    char text[120];

    if (slurm_command_run(cancel->signal[0] ? with : without, bin_dir(cancel->slurm), NULL, &result,
                          &err) < 0) {
        log_warn("%s", err.text);
    } else if (result.exit_code != 0) {
        slurm_result_say(&result, text, sizeof(text));
        log_debug("scancel %s: %s", cancel->id, text);
    }
    slurm_result_fini(&result);
}

static void cancel_done(struct engine_task *task)
{
    (void)task; /* how it went, the next look tells */
}

static void cancel_drop(struct engine_task *task)
{
    free(CONTAINER_OF(task, struct cancel_task, task));
}

void slurm_cancel(struct slurm *slurm, const struct slurm_attempt *attempt, const char *signal)
{
    struct cancel_task *cancel = attempt->note.slurm_id ? calloc(1, sizeof(*cancel)) : NULL;

    if (!cancel)
        return;
    cancel->slurm = slurm;
    snprintf(cancel->id, sizeof(cancel->id), "%" PRIu64, attempt->note.slurm_id);
    if (signal)
        snprintf(cancel->signal, sizeof(cancel->signal), "--signal=%.10s", signal);
    cancel->task =
        (struct engine_task){ .work = cancel_work, .done = cancel_done, .drop = cancel_drop };
    engine_worker_push(slurm->worker, &cancel->task);
}

/* ---- what jobs say themselves ---- */

static void take_started(struct slurm *slurm, struct slurm_attempt *attempt, int64_t at_ms)
{
    if (attempt->state != ATTEMPT_BEGUN)
        return;
    attempt->state = ATTEMPT_RUNNING;
    attempt->record.started_ms = at_ms;
    attempt->progress_at_ms = slurm_now_mono() + SLURM_PROGRESS_MS;
    queuing_begun(&slurm->queuing, attempt->note.parts[0].devices > 0, attempt->note.parts_count,
                  at_ms - attempt->note.submitted_ms, clock_wall_ms());
    slurm->config.told(slurm->config.context, NOTE_STARTED, &attempt->record);
}

/* Its own word is enough, but where a signal ended it: then Slurm knows why (memory, time). */
static void take_end(struct slurm *slurm, struct slurm_attempt *attempt)
{
    const struct slurm_event *event = &attempt->end_event;
    int64_t limit = attempt->note.duration_ms_max;
    int32_t number = event->exit_code - SIGNAL_BASE;
    char text[96] = "";

    if (attempt->stopping) {
        slurm_finish(slurm, attempt, attempt->stop_end, 0, event->at_ms, attempt->record.reason);
        return;
    }
    if (number <= 0 || number >= NSIG) {
        if (event->exit_code)
            snprintf(text, sizeof(text), "exit status %" PRId32, event->exit_code);
        slurm_finish(slurm, attempt, END_EXITED, event->exit_code, event->at_ms, text);
        return;
    }
    if (attempt->seen == SLURM_MEMORY) {
        slurm_finish(slurm, attempt, END_MEMORY, 0, event->at_ms, "out of memory, says Slurm");
    } else if (attempt->seen == SLURM_TIMEOUT ||
               (limit > 0 && event->at_ms - attempt->record.started_ms >= limit)) {
        slurm_finish(slurm, attempt, END_TIME_LIMIT, 0, event->at_ms, "its time was over");
    } else if (attempt->seen > SLURM_ENDING || attempt->looks_since_end >= SLURM_MISSED_MAX) {
        snprintf(text, sizeof(text), "killed by signal %" PRId32 "%s", number,
                 attempt->seen == SLURM_CANCELLED ? " (cancelled at the site)" : "");
        slurm_finish(slurm, attempt, END_SIGNALLED, number, event->at_ms, text);
    }
}

static void take_event(struct slurm *slurm, const char *file)
{
    char *text;
    const char *dot = strrchr(file, '.');
    char name[ATTEMPT_NAME_BYTES];
    struct slurm_attempt *attempt;
    struct slurm_event event;
    struct attempt_key key;
    bool ended = dot && strcmp(dot, ".ended") == 0;

    if (!dot || (!ended && strcmp(dot, ".started") != 0) || (size_t)(dot - file) >= sizeof(name))
        return;
    snprintf(name, sizeof(name), "%.*s", (int)(dot - file), file);
    if (!attempt_parse_name(name, &key))
        return;
    attempt = slurm_find(slurm, key);
    if (!attempt || attempt->collecting || attempt->state == ATTEMPT_ENDED ||
        (ended ? attempt->event_ended : attempt->state == ATTEMPT_RUNNING))
        return;
    text = read_text(slurm->events_fd, file);
    if (text && slurm_event_parse(text, strlen(text), &event)) {
        if (!ended) {
            take_started(slurm, attempt, event.at_ms);
        } else {
            if (attempt->state == ATTEMPT_BEGUN) { /* its start was not seen */
                char started[ATTEMPT_NAME_BYTES + 16];

                snprintf(started, sizeof(started), "%s.started", name);
                take_event(slurm, started);
            }
            attempt->event_ended = true;
            attempt->end_event = event;
            take_end(slurm, attempt);
        }
    }
    free(text);
}

void slurm_read_events(struct slurm *slurm)
{
    int fd = openat(slurm->events_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        closep(&fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        take_event(slurm, entry->d_name);
    closedir(dir);
}

/* ---- one squeue for all ---- */

struct look_task {
    struct engine_task task;
    struct slurm *slurm;
    int rc;
    struct err err;
    int64_t began_ms;
    struct slurm_result result;
};

static void look_work(struct engine_task *task)
{
    struct look_task *look = CONTAINER_OF(task, struct look_task, task);
    char user[24];
    const char *const argv[] = { "squeue",          "-a", "-h", "-t", "all", "-u", user, "-o",
                                 SLURM_JOBS_FORMAT, NULL };
    char text[160];

    snprintf(user, sizeof(user), "%u", (unsigned)geteuid());
    look->began_ms = slurm_now_mono();
    look->rc = slurm_command_run(argv, bin_dir(look->slurm), NULL, &look->result, &look->err);
    if (look->rc == 0 && look->result.exit_code != 0) {
        slurm_result_say(&look->result, text, sizeof(text));
        look->rc = err_set(&look->err, -EIO, "squeue: %s", text);
    }
}

static void tell_waiting(struct slurm *slurm, struct slurm_attempt *attempt,
                         const struct slurm_job *job)
{
    struct attempt_record said = attempt->record;

    if (attempt->state != ATTEMPT_BEGUN || strcmp(attempt->waits_for, job->reason) == 0)
        return;
    snprintf(attempt->waits_for, sizeof(attempt->waits_for), "%s", job->reason);
    if (strcmp(job->reason, "None") == 0)
        return;
    snprintf(said.reason, sizeof(said.reason), "queued at the site: Slurm job %" PRIu64 ": %s",
             job->id, job->reason);
    log_info("job %" PRIu64 ": %s", attempt->key.job_id, said.reason);
    slurm->config.told(slurm->config.context, NOTE_PROGRESS, &said);
}

/* As the last look had it. */
uint32_t slurm_queue(struct executor *executor, struct wire_wait rows_out[WIRE_WAITS_MAX])
{
    struct slurm *slurm = CONTAINER_OF(executor, struct slurm, base);
    struct slurm_attempt *attempt, *next;
    int64_t now_ms = clock_wall_ms();

    queuing_clear(&slurm->queuing);
    HASH_ITER (hh, slurm->attempts, attempt, next)
        if (attempt->state == ATTEMPT_BEGUN && attempt->note.slurm_id && !attempt->stopping &&
            attempt->seen == SLURM_PENDING)
            queuing_waits(&slurm->queuing, attempt->note.parts[0].devices > 0,
                          attempt->note.parts_count, now_ms - attempt->note.submitted_ms,
                          attempt->expected_ms ? attempt->expected_ms - now_ms : 0);
    return queuing_rows(&slurm->queuing, now_ms, rows_out);
}

static void visit_job(void *context, const struct slurm_job *job)
{
    struct slurm *slurm = context;
    struct slurm_attempt *attempt;
    struct attempt_key key;

    if (!slurm_job_parse_name(slurm->place.tag, job->name, &key))
        return;
    attempt = slurm_find(slurm, key);
    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return;
    if (attempt->note.slurm_id && attempt->note.slurm_id != job->id) {
        return; /* a second one ends by itself: see slurm_job.h, `claimed` */
    }
    attempt->note.slurm_id = job->id; /* found by its name: sbatch's answer was lost */
    attempt->unsure = false;
    attempt->submit_at_ms = 0;
    attempt->looked = true;
    attempt->missed = 0;
    attempt->seen = job->state;
    attempt->expected_ms = job->state == SLURM_PENDING ? job->start_s * 1000 : 0;
    if (job->state == SLURM_PENDING)
        tell_waiting(slurm, attempt, job);
    else if (job->start_s && job->state != SLURM_CANCELLED)
        take_started(slurm, attempt, job->start_s * 1000);
    slurm_stop_tell(slurm, attempt);
}

/* Slurm says it is over, and the job itself has had time to say how. */
static void conclude(struct slurm *slurm, struct slurm_attempt *attempt)
{
    static const struct {
        enum slurm_job_state seen;
        enum attempt_end end;
        int32_t exit_code;
        const char *reason;
    } ends[] = {
        { SLURM_TIMEOUT, END_TIME_LIMIT, 0, "its time was over, says Slurm" },
        { SLURM_MEMORY, END_MEMORY, 0, "out of memory, says Slurm" },
        { SLURM_NODE_FAIL, END_LOST, 0, "its node failed, says Slurm" },
        { SLURM_PREEMPTED, END_LOST, 0, "preempted at the site" },
        { SLURM_CANCELLED, END_SIGNALLED, SIGTERM, "cancelled at the site" },
        { SLURM_FAILED, END_EXITED, 1, "failed, says Slurm; its exit status is not known" },
        { SLURM_COMPLETED, END_EXITED, 0, "" },
    };

    if (attempt->stopping) {
        slurm_finish(slurm, attempt, attempt->stop_end, 0, clock_wall_ms(), attempt->record.reason);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (ends[i].seen == attempt->seen) {
            slurm_finish(slurm, attempt, ends[i].end, ends[i].exit_code, clock_wall_ms(),
                         ends[i].reason);
            return;
        }
    slurm_finish(slurm, attempt, END_LOST, 0, clock_wall_ms(),
                 "Slurm knows nothing of it any more");
}

static void after_look(struct slurm *slurm, struct slurm_attempt *attempt, int64_t began_ms)
{
    bool listed = attempt->looked;

    attempt->looked = false;
    if (attempt->state == ATTEMPT_ENDED || attempt->collecting || attempt->submitting)
        return;
    if (attempt->event_ended) {
        attempt->looks_since_end++;
        take_end(slurm, attempt);
        return;
    }
    if (listed && attempt->seen <= SLURM_ENDING)
        return;
    if (attempt->unsure || !attempt->note.slurm_id) {
        if (attempt->unsure && began_ms - attempt->unsure_ms < SLURM_UNSURE_MS)
            return;
        attempt->unsure = false; /* it has not arrived: it may be asked for again */
        if (attempt->stopping)
            slurm_finish(slurm, attempt, attempt->stop_end, 0, clock_wall_ms(),
                         attempt->record.reason);
        else if (!attempt->order)
            slurm_finish(slurm, attempt, END_LOST, 0, clock_wall_ms(),
                         "the agent ended before Slurm had taken it");
        return;
    }
    /* One that never began has nothing to say. */
    if (++attempt->missed >= SLURM_MISSED_MAX ||
        (listed && attempt->seen == SLURM_CANCELLED &&
         (attempt->stopping || attempt->state == ATTEMPT_BEGUN)))
        conclude(slurm, attempt);
}

static void tell_progress(struct slurm *slurm, struct slurm_attempt *attempt, int64_t now)
{
    struct attempt_record said = attempt->record;

    if (attempt->state != ATTEMPT_RUNNING || attempt->collecting || now < attempt->progress_at_ms)
        return;
    attempt->progress_at_ms = now + SLURM_PROGRESS_MS;
    fill_usage(attempt, clock_wall_ms(), &said);
    said.reason[0] = '\0';
    slurm->config.told(slurm->config.context, NOTE_PROGRESS, &said);
}

static void look_done(struct engine_task *task)
{
    struct look_task *look = CONTAINER_OF(task, struct look_task, task);
    struct slurm *slurm = look->slurm;
    struct slurm_attempt *attempt, *next;
    int64_t now = slurm_now_mono(), pause;

    slurm->looking = false;
    slurm_read_events(slurm);
    if (look->rc < 0) {
        slurm->look_failures++;
        pause = (int64_t)SLURM_LOOK_MS_MIN << MIN(slurm->look_failures, 5u);
        slurm->look_at_ms = now + MIN(pause, SLURM_LOOK_MS_MAX);
        log_warn("%s: asked again in %" PRId64 " s", look->err.text,
                 MIN(pause, SLURM_LOOK_MS_MAX) / 1000);
        return; /* what runs goes on; nothing is concluded from silence */
    }
    slurm->look_failures = 0;
    pause = look->result.took_ms * SLURM_LOOK_SHARE;
    slurm->look_at_ms = look->began_ms + MIN(MAX(pause, SLURM_LOOK_MS_MIN), SLURM_LOOK_MS_MAX);
    slurm_parse_jobs(look->result.out.data ? look->result.out.data : "", look->result.out.len,
                     visit_job, slurm);
    HASH_ITER (hh, slurm->attempts, attempt, next) {
        after_look(slurm, attempt, look->began_ms);
        tell_progress(slurm, attempt, now);
    }
}

static void look_drop(struct engine_task *task)
{
    struct look_task *look = CONTAINER_OF(task, struct look_task, task);

    slurm_result_fini(&look->result);
    free(look);
}

void slurm_look(struct slurm *slurm)
{
    struct look_task *look;

    if (slurm->looking || slurm_now_mono() < slurm->look_at_ms)
        return;
    look = calloc(1, sizeof(*look));
    if (!look)
        return;
    look->slurm = slurm;
    look->task = (struct engine_task){ .work = look_work, .done = look_done, .drop = look_drop };
    slurm->looking = true;
    engine_worker_push(slurm->worker, &look->task);
}
