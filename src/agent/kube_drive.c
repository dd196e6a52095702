#include "agent/kube_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PATH_BYTES 400u
#define CONFLICT 409
#define NOT_FOUND 404
#define FORBIDDEN 403

enum verb { VERB_JOB, VERB_SECRET, VERB_SERVICE, VERB_GROUP, VERB_FREE, VERB_DELETE, VERB_KILL };

struct call { /* what a request was for */
    struct kube *kube;
    struct attempt_key key;
    enum verb verb;
};

void kube_queue(struct kube *kube, struct kube_attempt *attempt)
{
    if (attempt->queued)
        return;
    attempt->queued = true;
    DL_APPEND(kube->ready, attempt);
}

void kube_drive_ready(struct kube *kube)
{
    while (kube->ready && kube->calls < KUBE_CALLS_MAX && !kube->closing) {
        struct kube_attempt *attempt = kube->ready;

        DL_DELETE(kube->ready, attempt);
        attempt->queued = false;
        kube_drive(kube, attempt);
    }
}

static void again(struct kube_attempt *attempt, int64_t pause_ms)
{
    attempt->again_at_ms = kube_now() + pause_ms;
}

/* ---- answers ---- */

static void write_note(struct kube *kube, struct kube_attempt *attempt)
{
    int fd = engine_open_attempt(&kube->place, attempt->key);

    if (fd < 0 || kube_note_write(fd, &attempt->note) < 0)
        log_warn("job %" PRIu64 ": its note cannot be written", attempt->key.job_id);
    closep(&fd);
}

static enum kube_stage after_job(const struct kube_attempt *attempt, enum kube_stage stage)
{
    const struct kube_order *order = attempt->order;

    if (attempt->note.dressed)
        return KUBE_THERE;
    if (stage < KUBE_SECRET && kube_order_needs_secret(order))
        return KUBE_SECRET;
    if (stage < KUBE_SERVICE && kube_order_needs_service(order))
        return KUBE_SERVICE;
    if (stage < KUBE_GROUP && kube_order_needs_group(order))
        return KUBE_GROUP;
    /* Kueue lets go what it admits, when it does. */
    return order->settings->gang == KUBE_GANG_KUEUE || stage >= KUBE_FREEING ? KUBE_THERE
                                                                             : KUBE_FREEING;
}

static void advance(struct kube *kube, struct kube_attempt *attempt)
{
    attempt->failures = 0;
    attempt->again_at_ms = 0;
    attempt->stage = after_job(attempt, attempt->stage);
    if (attempt->stage != KUBE_THERE)
        return;
    if (!attempt->note.dressed) {
        attempt->note.dressed = true;
        write_note(kube, attempt);
    }
    kube_order_free(TAKE(attempt->order));
}

static void tell_trouble(struct kube *kube, struct kube_attempt *attempt,
                         const struct kube_answer *answer)
{
    struct attempt_record said = attempt->record;

    snprintf(said.reason, sizeof(said.reason), "at the site: Kubernetes: %.120s", answer->said);
    if (strcmp(attempt->waits_for, said.reason) == 0)
        return;
    snprintf(attempt->waits_for, sizeof(attempt->waits_for), "%s", said.reason);
    log_info("job %" PRIu64 ": %s", attempt->key.job_id, said.reason);
    if (attempt->state == ATTEMPT_BEGUN)
        kube->config.told(kube->config.context, NOTE_PROGRESS, &said);
}

/* A quota's room comes back when others end. */
static bool is_passing(const struct kube_answer *answer)
{
    return kube_answer_is_passing(answer) ||
           (answer->status == FORBIDDEN && strstr(answer->said, "exceeded quota"));
}

static void on_refused(struct kube *kube, struct kube_attempt *attempt, const char *what,
                       const struct kube_answer *answer)
{
    char text[ATTEMPT_REASON_BYTES];

    attempt->failures++;
    if (is_passing(answer)) {
        again(attempt, kube_api_pause(attempt->failures, answer));
        tell_trouble(kube, attempt, answer);
        return;
    }
    snprintf(text, sizeof(text), "%s is refused: %.120s", what, answer->said);
    if (!attempt->stopping)
        kube_conclude(kube, attempt, END_START_FAILED, 0, clock_wall_ms(), text);
}

static void on_made(struct kube *kube, struct kube_attempt *attempt, enum verb verb,
                    const struct kube_answer *answer)
{
    static const char *const names[] = { [VERB_JOB] = "the Job",
                                         [VERB_SECRET] = "its Secret",
                                         [VERB_SERVICE] = "its Service",
                                         [VERB_GROUP] = "its PodGroup",
                                         [VERB_FREE] = "to let it go" };
    const char *uid =
        json_string_value(json_object_get(json_object_get(answer->json, "metadata"), "uid"));

    if (answer->status / 100 == 2 || (answer->status == CONFLICT && verb != VERB_FREE)) {
        if (verb != VERB_JOB) {
            advance(kube, attempt);
        } else if (answer->status / 100 == 2 && uid) {
            kube_text_clean(uid, attempt->uid, sizeof(attempt->uid));
            advance(kube, attempt);
        } else if (!attempt->has_job) {
            again(attempt, KUBE_PAUSE_MS_MIN); /* made before: the watch will tell of it */
        }
        return;
    }
    if (verb == VERB_FREE && (answer->status == NOT_FOUND || answer->status == CONFLICT)) {
        again(attempt, KUBE_PAUSE_MS_MIN); /* gone: the watch will tell */
        return;
    }
    on_refused(kube, attempt, names[verb], answer);
}

static void on_deleted(struct kube *kube, struct kube_attempt *attempt,
                       const struct kube_answer *answer)
{
    int64_t now = kube_now();

    if (answer->status == NOT_FOUND) {
        /* One that was asked for a moment ago may still arrive. */
        if (!attempt->has_job && attempt->asked && now - attempt->asked_ms < KUBE_UNSURE_MS) {
            again(attempt, KUBE_UNSURE_MS / 8);
            return;
        }
        attempt->job_gone = true;
        if (attempt->stage == KUBE_CLEANING)
            attempt->stage = KUBE_GONE;
        kube_settle(kube, attempt);
        return;
    }
    if (answer->status / 100 != 2) {
        attempt->failures++;
        again(attempt, kube_api_pause(attempt->failures, answer));
        log_warn("job %" PRIu64 ": it cannot be deleted: %s", attempt->key.job_id, answer->said);
        return;
    }
    attempt->failures = 0;
    attempt->deleting = true;
    attempt->delete_at_ms = now + KUBE_DELETE_AGAIN_MS;
    if (attempt->stage == KUBE_CLEANING)
        attempt->stage = KUBE_GONE;
}

static void on_call(void *context, const struct kube_answer *answer)
{
    struct call *call = context;
    struct kube *kube = call->kube;
    struct kube_attempt *attempt = kube->closing ? NULL : kube_find(kube, call->key);
    enum verb verb = call->verb;

    free(call);
    kube->calls--;
    if (kube->closing)
        return;
    if (attempt && verb == VERB_KILL) {
        if (answer->status / 100 != 2 && answer->status != NOT_FOUND)
            log_warn("job %" PRIu64 ": its pods cannot be killed: %s", attempt->key.job_id,
                     answer->said);
    } else if (attempt) {
        attempt->busy = false;
        if (verb == VERB_DELETE)
            on_deleted(kube, attempt, answer);
        else
            on_made(kube, attempt, verb, answer);
        kube_queue(kube, attempt);
    }
    kube_drive_ready(kube);
}

static void ask(struct kube *kube, struct attempt_key key, enum verb verb, const char *method,
                const char *path, const json_t *body)
{
    struct call *call = calloc(1, sizeof(*call));
    static const struct kube_answer none = { .text = "", .said = "out of memory" };

    kube->calls++;
    if (!call) {
        struct kube_attempt *attempt = kube_find(kube, key);

        kube->calls--;
        if (attempt && verb != VERB_KILL) {
            attempt->busy = false;
            again(attempt, kube_api_pause(1, &none));
        }
        return;
    }
    *call = (struct call){ kube, key, verb };
    kube_api_call(kube->api, method, path, body, on_call, call);
}

/* ---- requests ---- */

static void path_of(const struct kube *kube, const char *group, const char *kind, const char *name,
                    char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "/%s/namespaces/%s/%s%s%s", group, kube_api_namespace(kube->api),
             kind, name ? "/" : "", name ? name : "");
}

static void make(struct kube *kube, struct kube_attempt *attempt)
{
    static const struct {
        enum kube_stage stage;
        enum verb verb;
        const char *group, *kind;
    } steps[] = {
        { KUBE_MAKING, VERB_JOB, "apis/batch/v1", "jobs" },
        { KUBE_SECRET, VERB_SECRET, "api/v1", "secrets" },
        { KUBE_SERVICE, VERB_SERVICE, "api/v1", "services" },
        { KUBE_GROUP, VERB_GROUP, "apis/scheduling.volcano.sh/v1beta1", "podgroups" },
    };
    char path[PATH_BYTES];
    json_t *body = NULL;
    struct err err;
    size_t i = 0;
    int rc;

    while (steps[i].stage != attempt->stage)
        i++;
    switch (steps[i].verb) {
    case VERB_JOB:
        rc = kube_object_job(attempt->order, &body, &err);
        attempt->asked = true;
        attempt->asked_ms = kube_now();
        break;
    case VERB_SECRET:
        rc = kube_object_secret(attempt->order, attempt->uid, &body, &err);
        break;
    case VERB_SERVICE:
        rc = kube_object_service(attempt->order, attempt->uid, &body, &err);
        break;
    default:
        rc = kube_object_group(attempt->order, attempt->uid, &body, &err);
        break;
    }
    if (rc < 0) {
        kube_conclude(kube, attempt, END_START_FAILED, 0, clock_wall_ms(), err.text);
        return;
    }
    path_of(kube, steps[i].group, steps[i].kind, NULL, path);
    attempt->busy = true;
    ask(kube, attempt->key, steps[i].verb, "POST", path, body);
    json_decref(body);
}

static void free_job(struct kube *kube, struct kube_attempt *attempt)
{
    json_t *body = json_pack("{s:{s:b}}", "spec", "suspend", 0);
    char name[KUBE_NAME_BYTES], path[PATH_BYTES];

    kube_object_name(kube->place.tag, attempt->key, name);
    path_of(kube, "apis/batch/v1", "jobs", name, path);
    attempt->busy = true;
    ask(kube, attempt->key, VERB_FREE, "PATCH", path, body);
    json_decref(body);
}

static void delete_job(struct kube *kube, struct attempt_key key, const char *name,
                       const char *policy)
{
    json_t *body = json_pack("{s:s,s:s,s:s}", "apiVersion", "v1", "kind", "DeleteOptions",
                             "propagationPolicy", policy);
    char path[PATH_BYTES];

    path_of(kube, "apis/batch/v1", "jobs", name, path);
    ask(kube, key, VERB_DELETE, "DELETE", path, body);
    json_decref(body);
}

void kube_delete_orphan(struct kube *kube, const struct kube_job *job)
{
    log_info("%s belongs to no attempt: it is deleted", job->name);
    delete_job(kube, job->key, job->name, "Background");
}

void kube_kill_pods(struct kube *kube, struct kube_attempt *attempt, int64_t grace_ms)
{
    /* 0 would take the pod off the books while it may still run. */
    int64_t grace_s = MAX((grace_ms + 999) / 1000, 1);
    json_t *body = json_pack("{s:s,s:s,s:I}", "apiVersion", "v1", "kind", "DeleteOptions",
                             "gracePeriodSeconds", (json_int_t)grace_s);
    char base[PATH_BYTES], path[PATH_BYTES * 2];

    path_of(kube, "api/v1", "pods", NULL, base);
    snprintf(path, sizeof(path), "%s?labelSelector=%s%%3D%s%%2C%s%%3D%" PRIu64 "%%2C%s%%3D%" PRIu32,
             base, "mains.local%2Fagent", kube->place.tag, "mains.local%2Fjob", attempt->key.job_id,
             "mains.local%2Fepoch", attempt->key.epoch);
    ask(kube, attempt->key, VERB_KILL, "DELETE", path, body);
    json_decref(body);
}

/* ---- one attempt ---- */

static void drive_stop(struct kube *kube, struct kube_attempt *attempt)
{
    char name[KUBE_NAME_BYTES];
    int64_t now = kube_now();

    if (!attempt->asked && !attempt->has_job) {
        attempt->job_gone = true; /* nobody was ever asked */
        kube_settle(kube, attempt);
        return;
    }
    if (attempt->job_gone || (attempt->deleting && now < attempt->delete_at_ms))
        return;
    kube_object_name(kube->place.tag, attempt->key, name);
    attempt->busy = true;
    /* Foreground: the Job goes when its pods are gone, and that is the news we wait for. */
    delete_job(kube, attempt->key, name, "Foreground");
}

static void drive_clean(struct kube *kube, struct kube_attempt *attempt)
{
    char name[KUBE_NAME_BYTES];

    if (attempt->job_gone || !(attempt->asked || attempt->has_job)) {
        attempt->stage = KUBE_GONE;
        return;
    }
    kube_object_name(kube->place.tag, attempt->key, name);
    attempt->busy = true;
    delete_job(kube, attempt->key, name, "Background");
}

void kube_drive(struct kube *kube, struct kube_attempt *attempt)
{
    if (attempt->busy || attempt->stage == KUBE_GONE || kube_now() < attempt->again_at_ms ||
        kube->closing)
        return;
    if (kube->calls >= KUBE_CALLS_MAX) {
        kube_queue(kube, attempt);
        return;
    }
    if (attempt->stage == KUBE_CLEANING) {
        drive_clean(kube, attempt);
        return;
    }
    if (attempt->ended)
        return;
    if (attempt->stopping) {
        if (!attempt->save.until_ms)
            drive_stop(kube, attempt);
        return;
    }
    switch (attempt->stage) {
    case KUBE_MAKING:
        if (attempt->has_job) { /* an answer was lost, but the watch has told */
            snprintf(attempt->uid, sizeof(attempt->uid), "%s", attempt->job.uid);
            advance(kube, attempt);
            kube_queue(kube, attempt);
            return;
        }
        make(kube, attempt);
        break;
    case KUBE_SECRET:
    case KUBE_SERVICE:
    case KUBE_GROUP:
        make(kube, attempt);
        break;
    case KUBE_FREEING:
        free_job(kube, attempt);
        break;
    case KUBE_STAGING:
        kube_stage_begin(kube, attempt);
        break;
    case KUBE_THERE:
    case KUBE_CLEANING:
    case KUBE_GONE:
        break;
    }
}
