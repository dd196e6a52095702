/* GET /ledger/disputes: what sites claimed that was not possible, or signed otherwise. */
#include "controller/api_handlers.h"

#include "controller/history.h"
#include "controller/job_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISPUTES_MAX 10000u

struct dispute_call {
    struct history_wait wait;
    struct api_call *call;
    struct dispute_filter filter;
    char tenant[MODEL_NAME_BYTES], site[MODEL_NAME_BYTES];
    json_t *rows;
};

static const struct {
    const char *name, *unit;
} claims[USAGE_CLAIM_LAST + 1] = {
    [CLAIM_TIME] = { "time", "ms" },
    [CLAIM_CPU] = { "cpu", "ms" },
    [CLAIM_DEVICES] = { "devices", "milli_ms" },
    [CLAIM_ENERGY] = { "energy", "mj" },
    [CLAIM_ORDER] = { "order", "ms" },
    [CLAIM_MEMORY] = { "memory", "bytes" },
    [CLAIM_RECEIPT] = { "receipt", "" },
};

static int add_dispute(void *context, const struct history_dispute *row)
{
    struct dispute_call *disputes = context;
    bool known = (uint32_t)row->dispute.what <= USAGE_CLAIM_LAST;

    json_array_append_new(
        disputes->rows,
        json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:s, s:s}", "job", row->job,
                  "epoch", (json_int_t)row->epoch, "tenant", row->tenant, "site", row->site,
                  "owner", row->owner, "what", known ? claims[row->dispute.what].name : "unknown",
                  "unit", known ? claims[row->dispute.what].unit : "", "claimed",
                  (json_int_t)row->dispute.claimed, "counted", (json_int_t)row->dispute.bound,
                  "released_at", time_to_json(row->released_ms), "site_receipt",
                  receipt_verdict_name(row->verdict), "network_receipt",
                  row->booked ? "holds" : "unsigned"));
    return 0;
}

static void on_history(struct history_wait *wait, int rc)
{
    struct dispute_call *disputes = CONTAINER_OF(wait, struct dispute_call, wait);
    struct api_call *call = disputes->call;
    struct err err = { 0 };
    json_t *json = NULL;

    call->gone = NULL;
    if (disputes->tenant[0])
        disputes->filter.tenant = disputes->tenant;
    if (disputes->site[0])
        disputes->filter.site = disputes->site;
    if (rc == 0)
        rc = history_db_list_disputes(history_reader(call->controller->history), &disputes->filter,
                                      add_dispute, disputes, &err);
    if (rc == 0)
        json = json_pack("{s:O}", "disputes", disputes->rows);
    json_decref(disputes->rows);
    free(disputes);
    if (rc < 0)
        api_error(call, 503, "history_unavailable", NULL, "%s",
                  err.text[0] ? err.text : "the history cannot be written now");
    else
        api_reply_json(call, 200, json);
}

static void on_gone(struct api_call *call)
{
    struct dispute_call *disputes = call->kept;

    history_wait_cancel(call->controller->history, &disputes->wait);
    json_decref(disputes->rows);
    free(disputes);
}

void api_disputes(struct api_call *call)
{
    struct dispute_call taken = { .call = call, .filter = { .limit = DISPUTES_MAX } };
    struct dispute_call *disputes;
    const char *own = api_tenant_only(call);

    if (!api_query_time(call, "since", &taken.filter.since_ms) ||
        !api_query_time(call, "until", &taken.filter.until_ms) ||
        !api_query_name(call, "tenant", taken.tenant) || !api_query_name(call, "site", taken.site))
        return;
    if (own && taken.tenant[0] && strcmp(taken.tenant, own) != 0) {
        api_error(call, 403, "forbidden", "tenant", "tenant: you may see your own disputes only");
        return;
    }
    if (own)
        snprintf(taken.tenant, sizeof(taken.tenant), "%s", own);
    disputes = malloc(sizeof(*disputes));
    if (!disputes) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    *disputes = taken;
    disputes->rows = json_array();
    disputes->wait.run = on_history;
    call->gone = on_gone;
    call->kept = disputes;
    history_wait(call->controller->history, &disputes->wait);
}
