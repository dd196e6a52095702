/* api.h - one HTTP request on its way: routed, its sender known, to be answered exactly once.
 *
 * A handler answers at once, or keeps the call and answers later: then it sets `gone`, which is
 * called instead when the client leaves first; after either the call must not be touched. */
#pragma once

#include "base/err.h"
#include "controller/auth.h"
#include "controller/context.h"
#include "grid/grid.h"
#include "net/http_server.h"

#include <jansson.h>

#define API_PARAMS_MAX 2u
#define API_PARAM_BYTES 1024u
#define API_LIST_MAX 1000u
#define API_LIST_DEFAULT 100u

struct api_call;
struct route {
    const char *method;
    const char *path; /* "/api/v1/jobs/{id}"; a last "{path}" of outputs takes the rest */
    unsigned roles;   /* who may; 0 = anyone, without a token */
    size_t body_max;
    void (*handle)(struct api_call *call);
};
/* All routes, ended by one without a method. */
extern const struct route api_routes[];
uint32_t api_routes_count(void);

struct api_call {
    struct controller *controller;
    struct http_request *request;
    const struct route *route;
    struct principal who;         /* role 0 when the route needs none */
    bool by_certificate;          /* a site that joined, told by its certificate */
    char *params[API_PARAMS_MAX]; /* the path's {names}, in order; freed with the call */
    int64_t started_us;
    void (*gone)(struct api_call *call);
    void *kept;       /* the keeper's own */
    bool is_repeated; /* handled a second time: history_call_again */
};

/* For http_server_config. `context` is the controller. */
size_t api_body_max(void *context, const struct http_request *request);
void api_handle(void *context, struct http_request *request);
void api_gone(void *context, struct http_request *request);

/* --- answers; each ends the call -------------------------------------------------------------- */
void api_reply_json(struct api_call *call, int status, json_t *json); /* takes `json` */
void api_reply_text(struct api_call *call, int status, const char *content_type, const void *body,
                    size_t len, const struct http_header *headers, uint32_t headers_count);
/* {"error":{"code","message","field"}}; `field` NULL = none. Codes: docs/openapi.yaml. */
void api_error(struct api_call *call, int status, const char *code, const char *field,
               const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The answer to a failed check or step. */
void api_fail(struct api_call *call, int rc, const struct err *err);
/* Put the event to the journal and the grid, and tell those who listen. True also where it was so
 * already; false: the call was answered with why not. `seq_out`: what its answer must wait for. */
bool api_apply(struct api_call *call, struct event *event, uint64_t *seq_out);
/* Streams: begin, push with http_stream_push, end. -errno: the call has ended. */
int api_stream_begin(struct api_call *call, const char *content_type,
                     const struct http_header *headers, uint32_t headers_count);
void api_stream_end(struct api_call *call);

/* Answer once `seq` is durable (503 journal_unwritable when it cannot be now). Takes `json`, which
 * may be NULL for a body of "{}". */
void api_reply_durable(struct api_call *call, uint64_t seq, int status, json_t *json);
/* The same with text that is JSON already; `body` is malloc'd and taken. */
void api_reply_durable_text(struct api_call *call, uint64_t seq, int status, char *body,
                            size_t len);

/* --- reading a request ------------------------------------------------------------------------ */
/* Integer of the query; `out` keeps its default when the key is absent. false: answered 400. */
bool api_query_int(struct api_call *call, const char *key, int64_t min, int64_t max, int64_t *out);
/* A time of the query, in Unix ms; likewise. */
bool api_query_time(struct api_call *call, const char *key, int64_t *out);
/* A name, "" when the key is absent. */
bool api_query_name(struct api_call *call, const char *key, char out[MODEL_NAME_BYTES]);
bool api_query_bool(struct api_call *call, const char *key, bool *out);
/* The name of a tenant, user or site: letters, digits, '.', '_', '-', the first a letter or digit.
 */
bool api_is_name(const char *text);
/* The body as a JSON object; NULL: answered 400. */
json_t *api_body_json(struct api_call *call);
static inline bool api_is_operator(const struct api_call *call)
{
    return call->who.role & ROLES_OPERATORS;
}
/* May this caller see this tenant's things? */
bool api_sees_tenant(const struct api_call *call, const char *tenant);
/* The tenant a caller is confined to; NULL = all. */
const char *api_tenant_only(const struct api_call *call);
void jsonp(json_t **json); /* for CLEANUP */
