#include "agent/kube_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOST_MS 15000 /* after a start: time for what was asked for before it to be told */

/* ---- the end of an attempt ---- */

static void finish(struct kube *kube, struct kube_attempt *attempt)
{
    char name[ATTEMPT_NAME_BYTES];
    int rc;

    kube_log_stop(kube, attempt);
    kube_log_close(attempt);
    rc = engine_write_record(&kube->place, &attempt->end_record);
    if (rc < 0) {
        attempt_name(attempt->key, name);
        log_error("attempt %s: its record cannot be written: %s", name, strerror(-rc));
    }
    attempt->record = attempt->end_record;
    attempt->state = ATTEMPT_ENDED;
    attempt->stage = KUBE_CLEANING;
    attempt->again_at_ms = 0;
    kube_order_free(TAKE(attempt->order));
    kube->config.told(kube->config.context, NOTE_ENDED, &attempt->record);
    kube_queue(kube, attempt);
    kube_drive_ready(kube);
}

void kube_conclude(struct kube *kube, struct kube_attempt *attempt, enum attempt_end end,
                   int32_t exit_code, int64_t ended_ms, const char *reason)
{
    struct attempt_record *record = &attempt->end_record;

    if (attempt->ended || attempt->state == ATTEMPT_ENDED)
        return;
    if (end != END_STOPPED &&
        kube_lease_has_ended(kube, attempt, end == END_EXITED && exit_code == 0)) {
        end = END_LEASE;
        exit_code = 0;
        reason = "the site was not answered by the network for longer than its lease";
    }
    attempt->ended = true;
    *record = attempt->record;
    record->end = end;
    record->exit_code = exit_code;
    record->ended_ms = MAX(ended_ms ? ended_ms : clock_wall_ms(), record->started_ms);
    snprintf(record->reason, sizeof(record->reason), "%.159s", reason);
    engine_parts_fill_usage(attempt->note.parts, attempt->note.parts_count, record->ended_ms,
                            record);
    attempt->last_log_ms = kube_now() + KUBE_LOG_LAST_MS;
    if (end == END_LOST)
        log_warn("job %" PRIu64 ": attempt %" PRIu32 " is lost: %s", attempt->key.job_id,
                 attempt->key.epoch, record->reason);
    kube_settle(kube, attempt);
}

void kube_stop(struct kube *kube, struct kube_attempt *attempt, enum attempt_end end,
               int64_t grace_ms, const char *reason)
{
    int64_t grace = grace_ms < 0 ? attempt->note.grace_ms : grace_ms;
    int64_t kill_at = kube_now() + grace;

    if (attempt->ended || (attempt->save.until_ms && grace_ms == WIRE_GRACE_SAVES))
        return;
    attempt->save.until_ms = 0;
    if (!attempt->stopping) {
        attempt->stopping = true;
        if (attempt->state == ATTEMPT_BEGUN && attempt->waits_for[0]) /* for so long, at least */
            queuing_begun(&kube->queuing, attempt->note.parts[0].devices > 0,
                          attempt->note.parts_count, clock_wall_ms() - attempt->note.begun_ms,
                          clock_wall_ms());
        attempt->stop_end = end;
        attempt->again_at_ms = 0;
        snprintf(attempt->record.reason, sizeof(attempt->record.reason), "%.159s", reason);
        if (grace_ms == WIRE_GRACE_SAVES && kube_save_first(kube, attempt))
            return;
        if (grace < attempt->note.grace_ms)
            attempt->kill_at_ms = kill_at;
    } else if (grace < attempt->note.grace_ms) {
        attempt->kill_at_ms = attempt->kill_at_ms ? MIN(attempt->kill_at_ms, kill_at) : kill_at;
    }
    kube_queue(kube, attempt);
    kube_drive_ready(kube);
}

/* ---- what the news mean ---- */

static void take_started(struct kube *kube, struct kube_attempt *attempt)
{
    int64_t started_ms = 0;
    uint32_t began = 0;

    if (attempt->state != ATTEMPT_BEGUN)
        return;
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        const struct kube_pod *pod = &attempt->ranks[i].pod;

        if (!attempt->ranks[i].known || !pod->began)
            continue;
        began++;
        started_ms = MAX(started_ms, pod->started_ms);
    }
    /* A gang has begun when all of it has; where it is over before that, when the last did. */
    if (began == 0 || (began < attempt->note.tasks && !attempt->over_ms && !attempt->job_gone))
        return;
    attempt->state = ATTEMPT_RUNNING;
    attempt->record.started_ms = started_ms ? started_ms : clock_wall_ms();
    attempt->progress_at_ms = kube_now() + KUBE_PROGRESS_MS;
    attempt->image_since_ms = 0;
    queuing_begun(&kube->queuing, attempt->note.parts[0].devices > 0, attempt->note.parts_count,
                  attempt->record.started_ms - attempt->note.begun_ms, clock_wall_ms());
    kube->config.told(kube->config.context, NOTE_STARTED, &attempt->record);
}

/* Every pod that was told of has ended or is gone, so that nothing runs any more. */
static bool is_quiet(const struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        const struct kube_rank *rank = &attempt->ranks[i];

        if (rank->known && !rank->gone && !rank->pod.ended)
            return false;
    }
    return true;
}

/* `by_itself`: not because somebody deleted it. */
static bool has_failed_pod(const struct kube_attempt *attempt, bool by_itself)
{
    struct kube_outcome outcome;

    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        const struct kube_rank *rank = &attempt->ranks[i];

        if (rank->known && !(by_itself && rank->pod.deleting) &&
            kube_outcome_of_pod(&rank->pod, &outcome))
            return true;
    }
    return false;
}

static bool all_ended(const struct kube_attempt *attempt)
{
    uint32_t ended = 0;

    for (uint32_t i = 0; i < attempt->note.tasks; i++)
        ended += attempt->ranks[i].known && attempt->ranks[i].pod.ended;
    return ended == attempt->note.tasks;
}

static void conclude_stopped(struct kube *kube, struct kube_attempt *attempt)
{
    kube_conclude(kube, attempt, attempt->stop_end, 0, 0, attempt->record.reason);
}

static void take_over(struct kube *kube, struct kube_attempt *attempt)
{
    struct kube_outcome outcome;

    if (!is_quiet(attempt))
        return;
    if (!(attempt->job.complete ? all_ended(attempt) : has_failed_pod(attempt, false)) &&
        kube_now() - attempt->over_ms < KUBE_OVER_MS)
        return; /* word of its pods comes another way, maybe later */
    if (attempt->stopping) {
        conclude_stopped(kube, attempt);
        return;
    }
    kube_outcome_of_job(&attempt->job, attempt->ranks, attempt->note.tasks, &outcome);
    kube_conclude(kube, attempt, outcome.end, outcome.exit_code, outcome.ended_ms, outcome.reason);
}

static void take_gone(struct kube *kube, struct kube_attempt *attempt)
{
    struct kube_outcome outcome;

    if (!is_quiet(attempt))
        return;
    if (attempt->stopping) {
        conclude_stopped(kube, attempt);
        return;
    }
    if (has_failed_pod(attempt, true)) {
        kube_outcome_of_job(&attempt->job, attempt->ranks, attempt->note.tasks, &outcome);
        kube_conclude(kube, attempt, outcome.end, outcome.exit_code, outcome.ended_ms,
                      outcome.reason);
    } else {
        kube_conclude(kube, attempt, END_SIGNALLED, SIGTERM, 0, "its Job was deleted at the site");
    }
}

static void take_trouble(struct kube *kube, struct kube_attempt *attempt)
{
    char text[ATTEMPT_REASON_BYTES];
    int64_t now = kube_now();
    enum kube_trouble worst = KUBE_TROUBLE_NONE;
    const struct kube_pod *pod = NULL;

    for (uint32_t i = 0; i < attempt->note.tasks && worst != KUBE_TROUBLE_HOPELESS; i++) {
        enum kube_trouble trouble = attempt->ranks[i].known && !attempt->ranks[i].gone
                                        ? kube_outcome_trouble(&attempt->ranks[i].pod)
                                        : KUBE_TROUBLE_NONE;

        if (trouble > worst) {
            worst = trouble;
            pod = &attempt->ranks[i].pod;
        }
    }
    if (!pod) {
        attempt->image_since_ms = 0;
        return;
    }
    if (!attempt->image_since_ms)
        attempt->image_since_ms = now;
    if (worst == KUBE_TROUBLE_IMAGE &&
        now - attempt->image_since_ms < kube->settings->image_wait_ms)
        return;
    snprintf(text, sizeof(text), "%s: %.110s", pod->waiting, pod->waiting_text);
    kube_stop(kube, attempt, END_START_FAILED, 0, text);
}

/* Why it does not run yet: the first pod that says so. */
static void tell_waiting(struct kube *kube, struct kube_attempt *attempt)
{
    struct attempt_record said = attempt->record;
    const char *why = NULL, *what = NULL;
    uint32_t began = 0;

    if (attempt->state != ATTEMPT_BEGUN || attempt->stopping || !attempt->has_job)
        return;
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        const struct kube_rank *rank = &attempt->ranks[i];

        began += rank->known && rank->pod.began;
        if (why || !rank->known || rank->gone || rank->pod.began)
            continue;
        if (rank->pod.pending[0]) {
            what = rank->pod.pending;
            why = rank->pod.pending_text;
        } else if (rank->pod.waiting[0] && strcmp(rank->pod.waiting, "ContainerCreating") != 0) {
            what = rank->pod.waiting;
            why = rank->pod.waiting_text;
        }
    }
    if (!what && !began && attempt->event[0]) { /* pods that do not come to be, say */
        what = attempt->event;
        why = attempt->event_text;
    }
    if (attempt->job.suspended && kube->settings->gang == KUBE_GANG_KUEUE) {
        what = "suspended";
        why = "its queue has not admitted it";
    }
    if (!what)
        return;
    snprintf(said.reason, sizeof(said.reason), "queued at the site: %s%s%.110s", what,
             why[0] ? ": " : "", why);
    if (began)
        snprintf(said.reason, sizeof(said.reason),
                 "at the site: %" PRIu32 " of %" PRIu32 " pods run; %s: %.80s", began,
                 attempt->note.tasks, what, why);
    if (strcmp(attempt->waits_for, said.reason) == 0)
        return;
    snprintf(attempt->waits_for, sizeof(attempt->waits_for), "%s", said.reason);
    log_info("job %" PRIu64 ": %s", attempt->key.job_id, said.reason);
    kube->config.told(kube->config.context, NOTE_PROGRESS, &said);
}

/* Only after a restart: what is not there, and will not come. */
static void check_adopted(struct kube *kube, struct kube_attempt *attempt)
{
    if (attempt->order || attempt->stage != KUBE_THERE || attempt->stopping)
        return;
    if (attempt->has_job && !attempt->note.dressed) {
        kube_conclude(kube, attempt, END_LOST, 0, 0,
                      "the agent ended before all of it was in Kubernetes");
        return;
    }
    if (attempt->has_job || !kube_watch_is_synced(kube->jobs) ||
        kube_now() - attempt->asked_ms < LOST_MS)
        return;
    /* Called lost, it is run again: a list that was begun since has to say so. */
    if (!attempt->doubted_ms)
        attempt->doubted_ms = kube_now();
    if (kube_watch_list_ms(kube->jobs) >= attempt->doubted_ms)
        kube_conclude(kube, attempt, END_LOST, 0, 0, "Kubernetes knows nothing of it");
    else
        kube_watch_list(kube->jobs);
}

void kube_settle(struct kube *kube, struct kube_attempt *attempt)
{
    if (attempt->state == ATTEMPT_ENDED) {
        if (attempt->stage == KUBE_CLEANING)
            kube_queue(kube, attempt);
        return;
    }
    if (!attempt->ended) {
        if (!attempt->over_ms && (attempt->job.complete || attempt->job.failed))
            attempt->over_ms = kube_now();
        take_started(kube, attempt);
        take_trouble(kube, attempt);
        tell_waiting(kube, attempt);
        if (attempt->over_ms && !attempt->ended)
            take_over(kube, attempt);
        else if (attempt->job_gone)
            take_gone(kube, attempt);
        else if (attempt->was_free && attempt->job.suspended && !attempt->stopping)
            kube_stop(kube, attempt, END_LOST, -1, "preempted at the site: its Job was suspended");
        else
            check_adopted(kube, attempt);
        if (attempt->state == ATTEMPT_ENDED) /* a turn of this function inside of it */
            return;
    }
    kube_log_follow(kube, attempt);
    if (attempt->ended && !attempt->collecting &&
        (kube_log_is_whole(attempt) || kube_now() >= attempt->last_log_ms) &&
        !kube_stage_collect(kube, attempt))
        finish(kube, attempt);
}

/* ---- jobs ---- */

static void jobs_begin(void *context)
{
    struct kube *kube = context;
    struct kube_attempt *attempt, *next;

    HASH_ITER (hh, kube->attempts, attempt, next)
        attempt->listed = false;
}

static void jobs_item(void *context, const char *type, const json_t *object)
{
    struct kube *kube = context;
    struct kube_attempt *attempt;
    struct kube_job job;
    bool deleted = strcmp(type, "DELETED") == 0;

    if (!kube_job_parse(object, kube->place.tag, &job))
        return;
    attempt = kube_find(kube, job.key);
    if (!attempt) {
        if (!deleted && !job.deleting)
            kube_delete_orphan(kube, &job);
        return;
    }
    attempt->listed = attempt->has_job = true;
    attempt->job = job;
    attempt->was_free = attempt->was_free || !job.suspended;
    attempt->job_gone = deleted;
    if (attempt->state == ATTEMPT_ENDED) {
        if (deleted)
            attempt->stage = KUBE_GONE;
        else if (!job.deleting && attempt->stage == KUBE_GONE)
            attempt->stage = KUBE_CLEANING; /* it came after all */
    }
    kube_settle(kube, attempt);
    kube_queue(kube, attempt);
    kube_drive_ready(kube);
}

static void jobs_end(void *context)
{
    struct kube *kube = context;
    struct kube_attempt *attempt, *next;

    HASH_ITER (hh, kube->attempts, attempt, next) {
        if (attempt->listed)
            continue;
        if (attempt->state == ATTEMPT_ENDED) {
            attempt->stage = attempt->busy ? attempt->stage : KUBE_GONE;
        } else if (attempt->has_job) {
            attempt->job_gone = true;
            kube_settle(kube, attempt);
        }
    }
}

/* ---- pods ---- */

static void pods_begin(void *context)
{
    struct kube *kube = context;
    struct kube_attempt *attempt, *next;

    HASH_ITER (hh, kube->attempts, attempt, next)
        for (uint32_t i = 0; i < attempt->note.tasks; i++)
            attempt->ranks[i].listed = false;
}

static void pods_item(void *context, const char *type, const json_t *object)
{
    struct kube *kube = context;
    struct kube_attempt *attempt;
    struct kube_rank *rank;
    struct kube_pod pod;

    if (!kube_pod_parse(object, kube->place.tag, &pod))
        return;
    attempt = kube_find(kube, pod.key);
    if (!attempt || attempt->state == ATTEMPT_ENDED || pod.index < 0 ||
        (uint32_t)pod.index >= attempt->note.tasks)
        return;
    rank = &attempt->ranks[pod.index];
    if (rank->known && strcmp(rank->pod.uid, pod.uid) != 0 && rank->pod.ended)
        return; /* one that took its place, of which the attempt knows nothing: the Job decides */
    rank->known = rank->listed = true;
    rank->pod = pod;
    rank->gone = strcmp(type, "DELETED") == 0;
    kube_settle(kube, attempt);
}

static void pods_end(void *context)
{
    struct kube *kube = context;
    struct kube_attempt *attempt, *next;

    HASH_ITER (hh, kube->attempts, attempt, next) {
        if (attempt->state == ATTEMPT_ENDED)
            continue;
        for (uint32_t i = 0; i < attempt->note.tasks; i++)
            if (attempt->ranks[i].known && !attempt->ranks[i].listed)
                attempt->ranks[i].gone = true;
        kube_settle(kube, attempt);
    }
}

int kube_heard_open(struct kube *kube, struct err *err)
{
    struct kube_watch_config jobs = { .api = kube->api,
                                      .what = "jobs",
                                      .path = kube->jobs_path,
                                      .query = kube->own_query,
                                      .begin = jobs_begin,
                                      .item = jobs_item,
                                      .end = jobs_end,
                                      .context = kube };
    struct kube_watch_config pods = jobs;

    pods.what = "pods";
    pods.path = kube->pods_path;
    pods.begin = pods_begin;
    pods.item = pods_item;
    pods.end = pods_end;
    kube->jobs = kube_watch_create(&jobs);
    kube->pods = kube_watch_create(&pods);
    return kube->jobs && kube->pods ? 0 : err_set(err, -ENOMEM, "kubernetes: out of memory");
}

/* ---- time ---- */

static void tell_progress(struct kube *kube, struct kube_attempt *attempt, int64_t now)
{
    struct attempt_record said = attempt->record;

    if (attempt->state != ATTEMPT_RUNNING || attempt->ended || now < attempt->progress_at_ms)
        return;
    attempt->progress_at_ms = now + KUBE_PROGRESS_MS;
    engine_parts_fill_usage(attempt->note.parts, attempt->note.parts_count, clock_wall_ms(), &said);
    said.reason[0] = '\0';
    kube->config.told(kube->config.context, NOTE_PROGRESS, &said);
}

void kube_heard_tick(struct kube *kube, struct kube_attempt *attempt)
{
    int64_t now = kube_now(), limit = attempt->note.duration_ms_max;

    kube_lease_tick(kube, attempt, now);
    if (attempt->state == ATTEMPT_RUNNING && !attempt->stopping && !attempt->ended && limit > 0 &&
        clock_wall_ms() - attempt->record.started_ms >= limit)
        kube_stop(kube, attempt, END_TIME_LIMIT, -1, "its time was over");
    if (attempt->stopping && !attempt->ended && attempt->kill_at_ms && now >= attempt->kill_at_ms) {
        attempt->kill_at_ms = now + KUBE_DELETE_AGAIN_MS;
        kube_kill_pods(kube, attempt, 0);
    }
    tell_progress(kube, attempt, now);
    kube_settle(kube, attempt);
    kube_drive(kube, attempt);
}
