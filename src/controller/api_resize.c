/* POST /jobs/{id}/resize: how wide its user wants an elastic job to be. */
#include "controller/api_handlers.h"

#include "controller/job_lookup.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The body's members; false: answered. */
static bool read_resize(struct api_call *call, const json_t *body, struct event *event)
{
    const json_t *tasks = json_object_get(body, "tasks"), *value;
    const char *key, *reason = json_string_value(json_object_get(body, "reason"));
    bool is_auto = json_is_string(tasks) && !strcmp(json_string_value(tasks), "auto");

    json_object_foreach ((json_t *)(uintptr_t)body, key, value)
        if (strcmp(key, "tasks") != 0 && strcmp(key, "reason") != 0) {
            api_error(call, 400, "unknown_field", key,
                      "%.40s: not known; a resize has tasks and reason", key);
            return false;
        }
    if (!is_auto && (!json_is_integer(tasks) || json_integer_value(tasks) < 1 ||
                     json_integer_value(tasks) > REQUEST_TASKS_MAX)) {
        api_error(call, 400, "invalid", "tasks", "tasks: expected a whole number, or auto");
        return false;
    }
    if (json_object_get(body, "reason") && (!reason || strlen(reason) >= REASON_BYTES)) {
        api_error(call, 400, "invalid", "reason", "reason: expected a line of text");
        return false;
    }
    event->job_resize.tasks = is_auto ? 0 : (uint32_t)json_integer_value(tasks);
    event->job_resize.reason = reason ? reason : "";
    return true;
}

static void resize(struct api_call *call, const struct job_found *found)
{
    struct shell *shell = call->controller->shell;
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    struct event event = { .type = EVENT_JOB_RESIZE };
    uint64_t seq = shell_last_seq(shell);
    char reason[REASON_BYTES];
    struct err err = { 0 };
    int rc;

    if (!body || !read_resize(call, body, &event))
        return;
    event.job_resize.job_id = found->id;
    event.job_resize.by = call->who.user;
    api_plain_line(event.job_resize.reason, reason, sizeof(reason));
    event.job_resize.reason = reason;
    rc = shell_apply(shell, &event, NULL, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    job_reply_state(call, found, seq);
}

void api_job_resize(struct api_call *call)
{
    job_lookup(call, call->params[0], resize);
}
