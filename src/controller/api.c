#include "controller/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "controller/changes.h"
#include "wire/members.h"
#include "controller/metrics.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_BODY_UNWANTED_MAX ((size_t)65536)

void jsonp(json_t **json)
{
    json_decref(*json);
}

/* --- routing ---------------------------------------------------------------------------------- */

uint32_t api_routes_count(void)
{
    uint32_t count = 0;

    while (api_routes[count].method)
        count++;
    return count;
}

struct path_part {
    const char *text;
    size_t len;
};

/* Does `path` match? Where the values of {names} stand goes to `params`. */
static bool match_path(const char *pattern, const char *path, struct path_part *params)
{
    uint32_t index = 0;

    while (*pattern) {
        size_t len;

        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        pattern = strchr(pattern, '}') + 1;
        /* The last one takes the rest only where a rest is meant: output paths hold '/'. */
        len = !*pattern && !strncmp(pattern - 6, "{path}", 6) ? strlen(path) : strcspn(path, "/");
        if (!len || len >= API_PARAM_BYTES || index >= API_PARAMS_MAX)
            return false;
        params[index++] = (struct path_part){ path, len };
        path += len;
    }
    return !*path;
}

/* `path_known` tells 405 from 404. */
static const struct route *find_route(const char *method, const char *path,
                                      struct path_part params[API_PARAMS_MAX], bool *path_known)
{
    *path_known = false;
    for (const struct route *route = api_routes; route->method; route++) {
        if (!match_path(route->path, path, params))
            continue;
        *path_known = true;
        if (!strcmp(route->method, method) ||
            (!strcmp(method, "HEAD") && !strcmp(route->method, "GET")))
            return route;
    }
    return NULL;
}

/* Who sends this: 1 by a token, 2 by a certificate, 0 nobody that is known. */
static int find_caller(const struct controller *controller, const struct http_request *request,
                       struct principal *who_out)
{
    const struct principal *who = auth_find(controller->auth, http_request_bearer(request));
    const char *name, *pin;

    if (who) {
        *who_out = *who;
        return 1;
    }
    if (http_request_bearer(request) || http_request_client(request, &name, &pin) != 1 ||
        !members_is_key_of(controller->members, name, pin))
        return 0;
    *who_out = (struct principal){ .role = ROLE_SITE, .unix_uid = -1, .unix_gid = -1 };
    snprintf(who_out->tenant, sizeof(who_out->tenant), "%s", name);
    snprintf(who_out->user, sizeof(who_out->user), "agent");
    return 2;
}

static const char *explain_unknown(const struct controller *controller,
                                   const struct http_request *request)
{
    const char *name, *pin;
    int rc = http_request_client(request, &name, &pin);
    const struct member *member = rc == 1 ? members_find(controller->members, name) : NULL;

    if (http_request_bearer(request))
        return "the token is not known or was revoked";
    if (rc < 0)
        return "the client certificate has expired, or is not of this network";
    if (member && member->removed_ms)
        return "this site was removed from the network: it may join with a new token only";
    if (rc == 1)
        return "this certificate counts no more: the site joined again with another key";
    return "send a token: Authorization: Bearer mains_...";
}

size_t api_body_max(void *context, const struct http_request *request)
{
    const struct controller *controller = context;
    struct path_part params[API_PARAMS_MAX];
    struct principal who;
    bool path_known;
    const struct route *route =
        find_route(http_request_method(request), http_request_path(request), params, &path_known);

    /* It is read away, so that what was wrong can be told: 404, 405, or nothing at all. */
    if (!route || !route->body_max)
        return API_BODY_UNWANTED_MAX;
    /* A big body is read only from someone who is known. */
    if (route->roles && !find_caller(controller, request, &who))
        return MIN(route->body_max, API_BODY_UNWANTED_MAX);
    return route->body_max;
}

static bool is_public(const struct route *route)
{
    return !route->roles;
}

void api_handle(void *context, struct http_request *request)
{
    struct controller *controller = context;
    struct api_call *call = malloc(sizeof(*call));
    struct path_part params[API_PARAMS_MAX] = { 0 };
    bool path_known;
    int known;

    if (!call) {
        http_reply(request, 503, "text/plain", "out of memory\n", 14, NULL, 0);
        return;
    }
    *call = (struct api_call){ .controller = controller,
                               .request = request,
                               .started_us = clock_mono_us() };
    http_request_set_user(request, call);
    call->route =
        find_route(http_request_method(request), http_request_path(request), params, &path_known);
    known = find_caller(controller, request, &call->who);
    call->by_certificate = known == 2;
    if ((!call->route || !is_public(call->route)) && !known) {
        api_error(call, 401, "unauthorized", NULL, "%s", explain_unknown(controller, request));
        return;
    }
    if (!call->route && path_known) {
        api_error(call, 405, "method_not_allowed", NULL, "%s is not for %s",
                  http_request_method(request), http_request_path(request));
        return;
    }
    if (!call->route) {
        api_error(call, 404, "not_found", NULL, "there is no %s", http_request_path(request));
        return;
    }
    if (!is_public(call->route) && !(call->route->roles & call->who.role)) {
        api_error(call, 403, "forbidden", NULL, "a token of role %s may not do this",
                  role_name(call->who.role));
        return;
    }
    if (controller->stopping) { /* sessions, streams and waits are gone already */
        api_error(call, 503, "overloaded", NULL, "the controller is stopping: ask again");
        return;
    }
    for (uint32_t i = 0; i < API_PARAMS_MAX && params[i].text; i++) {
        call->params[i] = strndup(params[i].text, params[i].len);
        if (!call->params[i]) {
            api_error(call, 500, "internal", NULL, "out of memory");
            return;
        }
    }
    call->route->handle(call);
}

static void call_free(struct api_call *call)
{
    for (uint32_t i = 0; i < API_PARAMS_MAX; i++)
        free(call->params[i]);
    free(call);
}

void api_gone(void *context, struct http_request *request)
{
    struct api_call *call = http_request_user(request);

    (void)context;
    if (!call)
        return;
    if (call->gone)
        call->gone(call);
    call_free(call);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void end_call(struct api_call *call, int status)
{
    struct controller *controller = call->controller;

    metrics_count_request(controller->metrics,
                          call->route ? (uint32_t)(call->route - api_routes) : api_routes_count(),
                          status, clock_mono_us() - call->started_us);
    http_request_set_user(call->request, NULL);
    call_free(call);
}

void api_reply_text(struct api_call *call, int status, const char *content_type, const void *body,
                    size_t len, const struct http_header *headers, uint32_t headers_count)
{
    http_reply(call->request, status, content_type, body, len, headers, headers_count);
    end_call(call, status);
}

void api_reply_json(struct api_call *call, int status, json_t *json)
{
    CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (!text) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    api_reply_text(call, status, "application/json", text, strlen(text), NULL, 0);
}

void api_error(struct api_call *call, int status, const char *code, const char *field,
               const char *fmt, ...)
{
    static const struct http_header retry[] = { { "Retry-After", "1" } };
    static const struct http_header challenge[] = { { "WWW-Authenticate", "Bearer" } };
    char message[512];
    CLEANUP(jsonp) json_t *json = NULL;
    CLEANUP(freep) char *text = NULL;
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    /* What is not UTF-8 came from the request: a client gets it back made harmless. */
    for (unsigned char *p = (unsigned char *)message; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
    json = json_pack("{s:{s:s, s:s%, s:s?}}", "error", "code", code, "message", message,
                     strlen(message), "field", field);
    if (!json) {
        for (unsigned char *p = (unsigned char *)message; *p; p++)
            if (*p >= 0x80)
                *p = '?';
        json = json_pack("{s:{s:s, s:s, s:n}}", "error", "code", code, "message", message, "field");
    }
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    api_reply_text(call, status, "application/json", text ? text : "{}", text ? strlen(text) : 2,
                   status == 503   ? retry
                   : status == 401 ? challenge
                                   : NULL,
                   status == 503 || status == 401 ? 1 : 0);
}

void api_fail(struct api_call *call, int rc, const struct err *err)
{
    static const struct {
        int rc, status;
        const char *code;
    } table[] = {
        { -EINVAL, 400, "invalid" },           { -ERANGE, 400, "invalid" },
        { -EBADMSG, 400, "invalid" },          { -ENOENT, 404, "not_found" },
        { -EPERM, 409, "conflict" },           { -EEXIST, 409, "conflict" },
        { -EPROTO, 409, "conflict" },          { -EALREADY, 409, "conflict" },
        { -E2BIG, 413, "too_large" },          { -ENOTSUP, 422, "unsupported" },
        { -EACCES, 403, "forbidden" },         { -EDQUOT, 403, "quota_exceeded" },
        { -ENOSPC, 503, "too_many_jobs" },     { -ENOBUFS, 503, "overloaded" },
        { -EAGAIN, 429, "too_often" },         { -EKEYREJECTED, 422, "key_reused" },
        { -EROFS, 503, "journal_unwritable" }, { -ENOTCONN, 503, "site_unreachable" },
    };
    const char *field = err && err->field[0] ? err->field : NULL;
    const char *text = err && err->text[0] ? err->text : strerror(-rc);

    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].rc == rc) {
            api_error(call, table[i].status, table[i].code, field, "%s", text);
            return;
        }
    log_error("api: %s %s: %s", call->route->method, call->route->path, text);
    api_error(call, 500, "internal", field, "%s", text);
}

bool api_apply(struct api_call *call, struct event *event, uint64_t *seq_out)
{
    struct controller *controller = call->controller;
    struct change change = { 0 };
    struct err err = { 0 };
    int rc;

    *seq_out = shell_last_seq(controller->shell);
    rc = shell_apply(controller->shell, event, NULL, seq_out, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return false;
    }
    if (rc == 0 && change_from_event(*seq_out, event, &change))
        events_note(controller->events, &change);
    return true;
}

int api_stream_begin(struct api_call *call, const char *content_type,
                     const struct http_header *headers, uint32_t headers_count)
{
    int rc = http_stream_begin(call->request, 200, content_type, headers, headers_count);

    if (rc < 0)
        api_error(call, 503, "overloaded", NULL, "the stream cannot be opened: %s", strerror(-rc));
    return rc;
}

void api_stream_end(struct api_call *call)
{
    http_stream_end(call->request);
    end_call(call, 200);
}

/* --- answers that wait for the disk --------------------------------------------------------------
 */

struct durable_reply {
    struct deferred deferred;
    struct api_call *call; /* NULL: answered or gone */
    int status;
    char *body;
    size_t len;
};

static void send_durable(struct deferred *deferred)
{
    struct durable_reply *reply = CONTAINER_OF(deferred, struct durable_reply, deferred);

    if (reply->call) {
        reply->call->gone = NULL;
        api_reply_text(reply->call, reply->status, "application/json", reply->body, reply->len,
                       NULL, 0);
    }
    free(reply->body);
    free(reply);
}

static void fail_durable(struct deferred *deferred, const char *reason)
{
    struct durable_reply *reply = CONTAINER_OF(deferred, struct durable_reply, deferred);
    struct api_call *call = TAKE(reply->call);

    if (!call)
        return;
    call->gone = NULL;
    api_error(call, 503, "journal_unwritable", NULL,
              "not recorded yet: the journal cannot be written: %s; it is kept in memory and may "
              "still be recorded: repeat with the same Idempotency-Key",
              reason);
}

static void drop_durable(struct api_call *call)
{
    struct durable_reply *reply = call->kept;

    reply->call = NULL;
}

void api_reply_durable_text(struct api_call *call, uint64_t seq, int status, char *body, size_t len)
{
    struct durable_reply *reply = body ? malloc(sizeof(*reply)) : NULL;

    if (!reply) {
        free(body);
        api_error(call, 500, "internal", NULL, "out of memory; the request was recorded");
        return;
    }
    *reply =
        (struct durable_reply){ .deferred = { .run = send_durable, .unwritable = fail_durable },
                                .call = call,
                                .status = status,
                                .body = body,
                                .len = len };
    call->gone = drop_durable;
    call->kept = reply;
    shell_defer(call->controller->shell, seq, &reply->deferred);
}

void api_reply_durable(struct api_call *call, uint64_t seq, int status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : strdup("{}");

    json_decref(json);
    api_reply_durable_text(call, seq, status, text, text ? strlen(text) : 0);
}

/* --- reading a request -------------------------------------------------------------------------
 */

bool api_is_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < MODEL_NAME_BYTES && text[0] != '.' && text[0] != '-' &&
           text[0] != '_' &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

bool api_query_int(struct api_call *call, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const char *text = http_request_query(call->request, key);
    char *end;
    long long value;

    if (!text)
        return true;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (!*text || *end || errno || value < min || value > max || strspn(text, " \t+")) {
        api_error(call, 400, "invalid", key,
                  "%s: expected a whole number from %" PRId64 " to %" PRId64, key, min, max);
        return false;
    }
    *out = value;
    return true;
}

bool api_query_time(struct api_call *call, const char *key, int64_t *out)
{
    const char *text = http_request_query(call->request, key);
    struct err err = { 0 };

    if (!text || units_parse_time(text, out, &err) == 0)
        return true;
    api_error(call, 400, "invalid", key, "%s: %s", key, err.text);
    return false;
}

bool api_query_name(struct api_call *call, const char *key, char out[MODEL_NAME_BYTES])
{
    const char *text = http_request_query(call->request, key);

    if (text && strlen(text) >= MODEL_NAME_BYTES) {
        api_error(call, 400, "invalid", key, "%s: longer than a name", key);
        return false;
    }
    snprintf(out, MODEL_NAME_BYTES, "%s", text ? text : "");
    return true;
}

bool api_query_bool(struct api_call *call, const char *key, bool *out)
{
    const char *text = http_request_query(call->request, key);

    if (!text)
        return true;
    if (!strcmp(text, "1") || !strcmp(text, "true"))
        *out = true;
    else if (!strcmp(text, "0") || !strcmp(text, "false"))
        *out = false;
    else {
        api_error(call, 400, "invalid", key, "%s: expected 1 or 0", key);
        return false;
    }
    return true;
}

json_t *api_body_json(struct api_call *call)
{
    size_t len = 0;
    const char *body = http_request_body(call->request, &len);
    json_error_t where;
    json_t *json = json_loadb(body ? body : "", len, JSON_REJECT_DUPLICATES, &where);

    if (!json_is_object(json)) {
        api_error(call, 400, "invalid_json", NULL, "the body is not a JSON object: %s (line %d)",
                  json ? "another type" : where.text, json ? 1 : where.line);
        json_decref(json);
        return NULL;
    }
    return json;
}

bool api_sees_tenant(const struct api_call *call, const char *tenant)
{
    return api_is_operator(call) || !strcmp(call->who.tenant, tenant);
}

const char *api_tenant_only(const struct api_call *call)
{
    return api_is_operator(call) ? NULL : call->who.tenant;
}
