/* POST /jobs/{id}/move: stop it where it is, with a checkpoint, and go on elsewhere. */
#include "controller/api_handlers.h"

#include "controller/job_lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void api_plain_line(const char *text, char *out, size_t bytes)
{
    snprintf(out, bytes, "%s", text ? text : "");
    for (unsigned char *p = (unsigned char *)out; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
}

int job_move(struct api_call *call, const struct job_move *move, uint64_t *seq_out, struct err *err)
{
    struct event event = { .type = EVENT_JOB_MOVE };
    char reason[REASON_BYTES];

    event.job_move.job_id = move->job_id;
    event.job_move.to = move->to ? move->to : "";
    event.job_move.force = move->force;
    event.job_move.by = call->who.user;
    api_plain_line(move->reason, reason, sizeof(reason));
    event.job_move.reason = reason;
    return shell_apply(call->controller->shell, &event, NULL, seq_out, err);
}

/* The body's members; false: answered. */
static bool read_move(struct api_call *call, const json_t *body, struct job_move *move)
{
    const char *key;
    const json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)body, key, value) {
        bool is_good;

        if (!strcmp(key, "to"))
            is_good = (move->to = json_string_value(value)) && api_is_name(move->to);
        else if (!strcmp(key, "reason"))
            is_good =
                (move->reason = json_string_value(value)) && strlen(move->reason) < REASON_BYTES;
        else if (!strcmp(key, "force"))
            is_good = json_is_boolean(value);
        else {
            api_error(call, 400, "unknown_field", key,
                      "%.40s: not known; a move has to, force and "
                      "reason",
                      key);
            return false;
        }
        if (!is_good) {
            api_error(call, 400, "invalid", key, "%s: expected %s", key,
                      !strcmp(key, "force") ? "true or false"
                      : !strcmp(key, "to")  ? "the name of a site"
                                            : "a line of text");
            return false;
        }
    }
    move->force = json_is_true(json_object_get(body, "force"));
    return true;
}

static void move(struct api_call *call, const struct job_found *found)
{
    struct shell *shell = call->controller->shell;
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    struct job_move move = { .job_id = found->id };
    uint64_t seq = shell_last_seq(shell);
    struct err err = { 0 };
    int rc;

    if (!body || !read_move(call, body, &move))
        return;
    rc = job_move(call, &move, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    job_reply_state(call, found, seq);
}

void api_job_move(struct api_call *call)
{
    job_lookup(call, call->params[0], move);
}
