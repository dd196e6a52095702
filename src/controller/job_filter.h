/* job_filter.h - which jobs a request is about: the query of GET and DELETE /jobs.
 *
 * The keys are state, tenant, name, user, array and since; docs/openapi.yaml says what each means.
 */
#pragma once

#include "controller/api.h"

#define STATES_FINAL ((1u << JOB_DONE) | (1u << JOB_FAILED) | (1u << JOB_CANCELLED))
#define STATES_LIVE (~STATES_FINAL & ((1u << (JOB_CANCELLED + 1)) - 1))

struct job_filter {
    char tenant[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES], user[MODEL_NAME_BYTES]; /* "" = any */
    uint64_t array_id;                                                             /* 0 = any */
    int64_t since_ms; /* submitted then or later; 0 = any */
    unsigned states;  /* bits 1 << enum job_state; 0 = any */
};

/* A caller that is confined to a tenant gets that tenant. false: answered. */
bool job_filter_read(struct api_call *call, struct job_filter *filter_out);
/* Does the query name anything at all? */
bool job_filter_is_given(const struct api_call *call);
/* Of a live job; its tenant is not looked at. */
bool job_filter_takes(const struct job_filter *filter, const struct job_view *view);
/* The `after` of a query, from the `next` of a page. false: answered. */
bool job_cursor_read(struct api_call *call, uint64_t *id_out);
#define JOB_CURSOR_BYTES 32u
void job_cursor_print(uint64_t id, char out[JOB_CURSOR_BYTES]);
