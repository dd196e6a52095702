/* Events: why a Job has no pods (quota, admission), which nothing else tells, and why a pod has no
 * node, where its scheduler does not say so in the pod itself. They are for people: nothing is
 * decided by them, and a cluster that does not show them works as well. */
#include "agent/kube_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY "fieldSelector=type%3DWarning"

/* "mains-<tag>-<job>-<epoch>", and what a pod's name has behind it. */
static bool parse_name(const char *name, const char *tag, struct attempt_key *key_out)
{
    size_t len = strlen(tag);
    unsigned long long job, epoch;
    char *end;

    if (strncmp(name, "mains-", 6) != 0 || strncmp(name + 6, tag, len) != 0 || name[6 + len] != '-')
        return false;
    name += 7 + len;
    errno = 0;
    job = strtoull(name, &end, 10);
    if (end == name || *end != '-' || *name < '0' || *name > '9')
        return false;
    name = end + 1;
    epoch = strtoull(name, &end, 10);
    if (end == name || (*end && *end != '-') || *name < '0' || *name > '9' || errno ||
        epoch > UINT32_MAX)
        return false;
    memset(key_out, 0, sizeof(*key_out));
    key_out->job_id = job;
    key_out->epoch = (uint32_t)epoch;
    return true;
}

bool kube_event_parse(const json_t *json, const char *tag, struct attempt_key *key_out,
                      char reason[48], char text[KUBE_TEXT_BYTES])
{
    static const char *const reasons[] = { "FailedCreate", "FailedScheduling", "Unschedulable" };
    const json_t *of = json_object_get(json, "involvedObject");
    const char *name = json_string_value(json_object_get(of, "name"));
    const char *said = json_string_value(json_object_get(json, "reason"));
    const char *message = json_string_value(json_object_get(json, "message"));

    if (!name || !said || !parse_name(name, tag, key_out))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++)
        if (strcmp(said, reasons[i]) == 0) {
            snprintf(reason, 48, "%s", said);
            kube_text_clean(message ? message : "", text, KUBE_TEXT_BYTES);
            return true;
        }
    return false;
}

static void events_begin(void *context)
{
    ((struct kube *)context)->events_denied = false;
}

static void events_item(void *context, const char *type, const json_t *object)
{
    struct kube *kube = context;
    struct kube_attempt *attempt;
    char reason[48], text[KUBE_TEXT_BYTES];
    struct attempt_key key;

    if (strcmp(type, "DELETED") == 0 ||
        !kube_event_parse(object, kube->place.tag, &key, reason, text))
        return;
    attempt = kube_find(kube, key);
    if (!attempt || attempt->state != ATTEMPT_BEGUN)
        return;
    memcpy(attempt->event, reason, sizeof(attempt->event));
    memcpy(attempt->event_text, text, sizeof(attempt->event_text));
    kube_settle(kube, attempt);
}

static void events_end(void *context)
{
    (void)context;
}

static void events_failed(void *context, const struct kube_answer *answer)
{
    struct kube *kube = context;

    if (answer->status == 403 && !kube->events_denied)
        log_info("events are not shown to this account: why a job waits may not be known");
    kube->events_denied = kube->events_denied || answer->status == 403;
}

int kube_event_open(struct kube *kube, struct err *err)
{
    struct kube_watch_config events = { .api = kube->api,
                                        .what = "events",
                                        .path = kube->events_path,
                                        .query = QUERY,
                                        .begin = events_begin,
                                        .item = events_item,
                                        .end = events_end,
                                        .failed = events_failed,
                                        .context = kube };

    snprintf(kube->events_path, sizeof(kube->events_path), "/api/v1/namespaces/%s/events",
             kube_api_namespace(kube->api));
    kube->events = kube_watch_create(&events);
    return kube->events ? 0 : err_set(err, -ENOMEM, "kubernetes: out of memory");
}
