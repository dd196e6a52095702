/* api_handlers.h - what the table of routes points at; docs/openapi.yaml says what each does. */
#pragma once

#include "controller/api.h"

void api_jobs_submit(struct api_call *call);
void api_jobs_batch(struct api_call *call);
void api_plan(struct api_call *call);

void api_jobs_list(struct api_call *call);
void api_job_get(struct api_call *call);
void api_job_why(struct api_call *call);
void api_job_cancel(struct api_call *call);
void api_jobs_cancel(struct api_call *call);
/* Of what came: one line of plain text. */
void api_plain_line(const char *text, char *out, size_t bytes);
void api_job_resize(struct api_call *call);
void api_job_move(struct api_call *call);
struct job_move {
    uint64_t job_id;
    const char *to, *reason; /* NULL = "" */
    bool force;
};
/* As grid_check says it may. `seq_out` is set when it is done. */
int job_move(struct api_call *call, const struct job_move *move, uint64_t *seq_out,
             struct err *err);
void api_job_outputs(struct api_call *call);
void api_job_output(struct api_call *call);
void api_job_artifacts(struct api_call *call);

void api_sites_list(struct api_call *call);
void api_site_tariff_get(struct api_call *call);
void api_site_tariff_set(struct api_call *call);
void api_site_tariff_clear(struct api_call *call);
void api_site_shed(struct api_call *call);
void api_site_shed_end(struct api_call *call);
void api_site_limits(struct api_call *call);
/* New references. */
json_t *owner_limits_to_json(const struct grid *grid, uint32_t site);
json_t *owner_policy_to_json(const struct grid *grid, uint32_t site);
void api_site_get(struct api_call *call);
void api_site_remove(struct api_call *call);
void api_site_drain(struct api_call *call);
void api_site_resume(struct api_call *call);
void api_site_token(struct api_call *call);
void api_site_certificate(struct api_call *call);
void api_join(struct api_call *call);
void api_site_forget(struct api_call *call);
void api_site_readmit(struct api_call *call);
void api_nodes_list(struct api_call *call);
void api_devices_list(struct api_call *call);
void api_node_cordon(struct api_call *call);
void api_node_uncordon(struct api_call *call);

void api_tenants_list(struct api_call *call);
void api_tenant_get(struct api_call *call);
void api_tenant_set(struct api_call *call);
void api_policy_get(struct api_call *call);
void api_policy_set(struct api_call *call);

void api_store_manifest_put(struct api_call *call);
void api_store_manifest_get(struct api_call *call);
void api_store_manifest_missing(struct api_call *call);
void api_store_chunks_put(struct api_call *call);
void api_store_chunks_get(struct api_call *call);
void api_site_stored(struct api_call *call);
void api_site_inputs(struct api_call *call);

void api_rates(struct api_call *call);

void api_usage(struct api_call *call);
void api_disputes(struct api_call *call);
void api_receipts(struct api_call *call);
void api_tokens_list(struct api_call *call);
void api_tokens_create(struct api_call *call);
void api_tokens_revoke(struct api_call *call);

void api_journal_status(struct api_call *call);
void api_version(struct api_call *call);
void api_whoami(struct api_call *call);
void api_openapi(struct api_call *call);
void api_metrics(struct api_call *call);
void api_healthz(struct api_call *call);
void api_readyz(struct api_call *call);
