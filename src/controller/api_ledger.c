/* GET /ledger/disputes: what sites claimed that was not possible, or signed otherwise. */
#include "controller/history_call.h"
#include "controller/job_json.h"

#include <stdio.h>
#include <string.h>

#define DISPUTES_MAX 10000u

struct dispute_call {
    struct history_call base;
    struct dispute_filter filter;
    char tenant[MODEL_NAME_BYTES], site[MODEL_NAME_BYTES];
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
        disputes->base.rows,
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

static int ask(struct history_call *self, struct history_db *db, json_t **json_out, struct err *err)
{
    struct dispute_call *disputes = CONTAINER_OF(self, struct dispute_call, base);
    int rc;

    disputes->filter.tenant = disputes->tenant[0] ? disputes->tenant : NULL;
    disputes->filter.site = disputes->site[0] ? disputes->site : NULL;
    rc = history_db_list_disputes(db, &disputes->filter, add_dispute, disputes, err);
    if (rc == 0)
        *json_out = json_pack("{s:O}", "disputes", self->rows);
    return rc;
}

void api_disputes(struct api_call *call)
{
    struct dispute_call taken = { .base.ask = ask, .filter = { .limit = DISPUTES_MAX } };
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
    history_call_begin(call, &taken.base, sizeof(taken));
}
