/* DELETE /jobs/{id}, and DELETE /jobs: all that a filter names, some thousand a request. */
#include "controller/api_handlers.h"

#include "controller/job_filter.h"
#include "controller/job_lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CANCEL_SCAN_MAX 200000u /* live jobs looked at in one request */
#define CANCEL_DEFAULT 5000     /* about 50 ms of the loop: others are served in between */
#define CANCEL_MAX 20000

/* The reason as it is kept: one line of plain text. */
static void take_reason(struct api_call *call, char out[REASON_BYTES])
{
    const char *reason = http_request_query(call->request, "reason");

    snprintf(out, REASON_BYTES, "%s", reason ? reason : "");
    for (unsigned char *p = (unsigned char *)out; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
}

static int cancel_id(struct api_call *call, uint64_t id, const char *reason, uint64_t *seq,
                     struct err *err)
{
    struct event event = { .type = EVENT_JOB_CANCELLED };

    event.job_cancelled.job_id = id;
    event.job_cancelled.by = call->who.user;
    event.job_cancelled.reason = reason;
    return shell_apply(call->controller->shell, &event, NULL, seq, err);
}

static void cancel(struct api_call *call, const struct job_found *found)
{
    struct shell *shell = call->controller->shell;
    char reason[REASON_BYTES];
    struct job_view view;
    struct err err = { 0 };
    const char *state;
    uint64_t seq = shell_last_seq(shell);
    int rc = 0;

    take_reason(call, reason);
    if (!job_found_is_final(found))
        rc = cancel_id(call, found->id, reason, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    if (found->kind == JOB_IS_ARRAY)
        state =
            grid_array_live(shell_grid(shell), found->id, NULL, NULL) ? "stopping" : "cancelled";
    else if (found->kind == JOB_IS_ENDED)
        state = job_state_name(found->row.state);
    else if (grid_find_job(shell_grid(shell), found->id, &view))
        state = job_state_name(view.state);
    else
        state = "cancelled";
    if (job_found_is_final(found)) /* nothing was asked of the journal */
        api_reply_json(call, 202, json_pack("{s:s, s:s}", "id", call->params[0], "state", state));
    else
        api_reply_durable(call, seq, 202,
                          json_pack("{s:s, s:s}", "id", call->params[0], "state", state));
}

void api_job_cancel(struct api_call *call)
{
    job_lookup(call, call->params[0], cancel);
}

/* --- all that a filter names ------------------------------------------------------------------ */

struct sweep {
    struct job_filter filter;
    char reason[REASON_BYTES];
    uint64_t at_id, seq;
    uint32_t cancelled, stopping; /* ended by this request; run still, and were told to stop */
    bool more;
};

/* 0, also when something is left: `more`. */
static int sweep_run(struct api_call *call, struct sweep *sweep, uint32_t limit, struct err *err)
{
    struct grid *grid = shell_grid(call->controller->shell);
    const char *tenant = sweep->filter.tenant[0] ? sweep->filter.tenant : NULL;
    struct job_view view;

    for (uint32_t scanned = 0; grid_next_job(grid, sweep->at_id, tenant, &view); scanned++) {
        uint64_t id = view.id;
        int rc;

        if (scanned >= CANCEL_SCAN_MAX || sweep->cancelled + sweep->stopping >= limit) {
            sweep->more = true;
            return 0;
        }
        if (job_filter_takes(&sweep->filter, &view) && !view.cancel_requested) {
            rc = cancel_id(call, id, sweep->reason, &sweep->seq, err);
            if (rc == -ENOBUFS && sweep->cancelled + sweep->stopping) {
                sweep->more = true; /* the journal catches up before the next request */
                return 0;
            }
            if (rc < 0 && rc != -EALREADY)
                return rc;
            if (rc == 0 && grid_find_job(grid, id, &view) && !job_state_is_final(view.state))
                sweep->stopping++;
            else
                sweep->cancelled += rc == 0;
        }
        sweep->at_id = id;
    }
    return 0;
}

void api_jobs_cancel(struct api_call *call)
{
    struct sweep sweep = { .seq = shell_last_seq(call->controller->shell) };
    char next[JOB_CURSOR_BYTES];
    int64_t limit = CANCEL_DEFAULT;
    struct err err = { 0 };
    int rc;

    if (!job_filter_read(call, &sweep.filter) || !job_cursor_read(call, &sweep.at_id) ||
        !api_query_int(call, "limit", 1, CANCEL_MAX, &limit))
        return;
    if (!job_filter_is_given(call)) {
        api_error(call, 400, "invalid", "state",
                  "state: say which jobs to cancel; state=live is all of them");
        return;
    }
    take_reason(call, sweep.reason);
    rc = sweep_run(call, &sweep, (uint32_t)limit, &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    job_cursor_print(sweep.at_id, next);
    api_reply_durable(call, sweep.seq, 200,
                      json_pack("{s:I, s:I, s:s?}", "cancelled", (json_int_t)sweep.cancelled,
                                "stopping", (json_int_t)sweep.stopping, "next",
                                sweep.more ? next : NULL));
}
