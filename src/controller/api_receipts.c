/* GET /ledger/receipts: what sites and the network signed of ended attempts. */
#include "controller/history_call.h"
#include "controller/job_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECEIPTS_MAX 1000u

struct receipts_call {
    struct history_call base;
    struct receipt_filter filter;
    char tenant[MODEL_NAME_BYTES], site[MODEL_NAME_BYTES];
};

static int add_receipt(void *context, const struct history_receipt *row)
{
    struct receipts_call *receipts = context;

    json_array_append_new(receipts->base.rows,
                          json_pack("{s:s, s:I, s:s, s:s, s:s, s:o, s:s, s:o*, s:o*}", "job",
                                    row->job, "epoch", (json_int_t)row->epoch, "tenant",
                                    row->tenant, "site", row->site, "owner", row->owner,
                                    "released_at", time_to_json(row->released_ms), "verdict",
                                    receipt_verdict_name(row->verdict), "site_receipt",
                                    receipt_to_json(&row->by_site), "network_receipt",
                                    receipt_to_json(&row->by_network)));
    return 0;
}

static int ask(struct history_call *self, struct history_db *db, json_t **json_out, struct err *err)
{
    struct receipts_call *receipts = CONTAINER_OF(self, struct receipts_call, base);
    int rc;

    receipts->filter.tenant = receipts->tenant[0] ? receipts->tenant : NULL;
    receipts->filter.site = receipts->site[0] ? receipts->site : NULL;
    rc = history_db_list_receipts(db, &receipts->filter, add_receipt, receipts, err);
    if (rc == 0)
        *json_out = json_pack("{s:O}", "receipts", self->rows);
    return rc;
}

/* "12" or "12.3". false: answered. */
static bool take_job(struct api_call *call, struct receipt_filter *filter)
{
    const char *text = http_request_query(call->request, "job");
    unsigned long long job, element = 0;
    char *end;

    filter->element = -1;
    if (!text)
        return true;
    errno = 0;
    job = strtoull(text, &end, 10);
    if (*end == '.' && end[1] >= '0' && end[1] <= '9') {
        element = strtoull(end + 1, &end, 10);
        filter->element = (int64_t)element;
    }
    if (*text < '0' || *text > '9' || *end || errno || !job || job > INT64_MAX ||
        element > UINT32_MAX) {
        api_error(call, 400, "invalid", "job", "job: expected an id as 12 or 12.3");
        return false;
    }
    filter->job_id = job;
    return true;
}

void api_receipts(struct api_call *call)
{
    struct receipts_call taken = { .base.ask = ask };
    const char *own = api_tenant_only(call);
    int64_t limit = API_LIST_DEFAULT;

    if (!take_job(call, &taken.filter) || !api_query_int(call, "limit", 1, RECEIPTS_MAX, &limit) ||
        !api_query_name(call, "site", taken.site))
        return;
    taken.filter.limit = (uint32_t)limit;
    snprintf(taken.tenant, sizeof(taken.tenant), "%s", own ? own : "");
    history_call_begin(call, &taken.base, sizeof(taken));
}
