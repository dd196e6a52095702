/* GET /tenants, GET and PUT /tenants/{tenant}: limits, and what is held under them. */
#include "controller/api_handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_MAX 1000000000000LL /* of any limit: far above any network, far below an overflow */

static json_t *limit_to_json(int64_t limit)
{
    return limit < 0 ? json_null() : json_integer(limit);
}

static json_t *tenant_to_json(const struct tenant_view *view)
{
    return json_pack("{s:s, s:I, s:o, s:I, s:o, s:I, s:o}", "name", view->name, "jobs",
                     (json_int_t)view->jobs_live, "jobs_max", limit_to_json(view->jobs_max), "cpus",
                     (json_int_t)view->cpus_held, "cpus_max", limit_to_json(view->cpus_max),
                     "devices_milli", (json_int_t)view->devices_milli_held, "devices_milli_max",
                     limit_to_json(view->devices_milli_max));
}

/* One that has no jobs and no limits is not in the grid: it has none, that is all. */
static void find_tenant(struct api_call *call, const char *name, struct tenant_view *view)
{
    if (!grid_tenant_find(shell_grid(call->controller->shell), name, view))
        *view = (struct tenant_view){
            .name = name, .cpus_max = -1, .devices_milli_max = -1, .jobs_max = -1
        };
}

void api_tenants_list(struct api_call *call)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    const char *only = api_tenant_only(call);
    const char *after = http_request_query(call->request, "after");
    int64_t limit = API_LIST_DEFAULT;
    json_t *list;
    const char *last = NULL;
    struct tenant_view view;

    if (!api_query_int(call, "limit", 1, API_LIST_MAX, &limit))
        return;
    list = json_array();
    if (only) {
        find_tenant(call, only, &view);
        json_array_append_new(list, tenant_to_json(&view));
    } else {
        for (view.name = after ? after : ""; grid_tenant_next(grid, view.name, &view);) {
            if (json_array_size(list) == (size_t)limit) {
                last = json_string_value(
                    json_object_get(json_array_get(list, (size_t)limit - 1), "name"));
                break;
            }
            json_array_append_new(list, tenant_to_json(&view));
        }
    }
    api_reply_json(call, 200, json_pack("{s:s?, s:o}", "next", last, "tenants", list));
}

void api_tenant_get(struct api_call *call)
{
    struct tenant_view view;

    if (!api_sees_tenant(call, call->params[0])) {
        api_error(call, 404, "not_found", NULL, "there is no tenant %s", call->params[0]);
        return;
    }
    find_tenant(call, call->params[0], &view);
    api_reply_json(call, 200, tenant_to_json(&view));
}

/* false: answered. */
static bool read_limits(struct api_call *call, json_t *body, struct event *event)
{
    const struct {
        const char *key;
        int64_t *limit;
    } limits[] = { { "jobs_max", &event->tenant_set.jobs_max },
                   { "cpus_max", &event->tenant_set.cpus_max },
                   { "devices_milli_max", &event->tenant_set.devices_milli_max } };
    const char *key;
    json_t *value;

    json_object_foreach (body, key, value) {
        size_t i = 0;

        while (i < ARRAY_COUNT(limits) && strcmp(limits[i].key, key))
            i++;
        if (i == ARRAY_COUNT(limits)) {
            api_error(call, 400, "invalid", key,
                      "%s: unknown key; expected jobs_max, cpus_max, devices_milli_max", key);
            return false;
        }
        if (!json_is_null(value) && (!json_is_integer(value) || json_integer_value(value) < -1 ||
                                     json_integer_value(value) > LIMIT_MAX)) {
            api_error(call, 400, "invalid", key,
                      "%s: expected a whole number from 0 to %lld, or null for no limit", key,
                      LIMIT_MAX);
            return false;
        }
        *limits[i].limit = json_is_null(value) ? -1 : json_integer_value(value);
    }
    return true;
}

void api_tenant_set(struct api_call *call)
{
    struct shell *shell = call->controller->shell;
    struct event event = { .type = EVENT_TENANT_SET };
    CLEANUP(jsonp) json_t *body = NULL;
    struct tenant_view view;
    struct err err = { 0 };
    uint64_t seq = 0;
    int rc;

    if (!api_is_name(call->params[0])) {
        api_error(call, 400, "invalid", "tenant",
                  "tenant: 1 to %u letters, digits, '.', '_' and '-', the first a letter or digit",
                  MODEL_NAME_BYTES - 1);
        return;
    }
    body = api_body_json(call);
    if (!body)
        return;
    find_tenant(call, call->params[0], &view);
    event.tenant_set.tenant = call->params[0];
    event.tenant_set.jobs_max = view.jobs_max;
    event.tenant_set.cpus_max = view.cpus_max;
    event.tenant_set.devices_milli_max = view.devices_milli_max;
    if (!read_limits(call, body, &event))
        return;
    rc = shell_apply(shell, &event, NULL, &seq, &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    find_tenant(call, call->params[0], &view);
    api_reply_durable(call, seq, 200, tenant_to_json(&view));
}
