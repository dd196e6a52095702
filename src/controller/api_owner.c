/* What the owner of a site lets in, as others read it; and an operator's limits. */
#include "controller/api_handlers.h"
#include "controller/changes.h"
#include "controller/context.h"
#include "controller/shell.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LIMIT_MAX (INT64_C(1) << 56)

static const struct {
    const char *key;
    size_t offset;
} figures[] = {
    { "cpus", offsetof(struct site_limits, cpus) },
    { "devices", offsetof(struct site_limits, devices) },
    { "memory_bytes", offsetof(struct site_limits, memory_bytes) },
    { "watts", offsetof(struct site_limits, watts) },
};

json_t *owner_limits_to_json(const struct grid *grid, uint32_t site)
{
    struct site_limits limits = grid_site_limits(grid, site);
    json_t *object = json_object();

    for (size_t i = 0; i < ARRAY_COUNT(figures); i++) {
        int64_t value = *(const int64_t *)((const char *)&limits + figures[i].offset);

        json_object_set_new(object, figures[i].key, value < 0 ? json_null() : json_integer(value));
    }
    return object;
}

json_t *owner_policy_to_json(const struct grid *grid, uint32_t site)
{
    const struct site_policy *policy = grid_site_policy(grid, site);

    return policy ? site_policy_to_json(policy) : json_null();
}

/* What is not named stays; null is no limit. false: answered. */
static bool read_limits(struct api_call *call, json_t *body, struct site_limits *limits)
{
    const char *key;
    json_t *value;

    json_object_foreach (body, key, value) {
        size_t i = 0;

        while (i < ARRAY_COUNT(figures) && strcmp(figures[i].key, key) != 0)
            i++;
        if (i == ARRAY_COUNT(figures)) {
            api_error(call, 400, "invalid", key,
                      "%.40s: unknown key; expected cpus, devices, memory_bytes, watts", key);
            return false;
        }
        if (!json_is_null(value) && (!json_is_integer(value) || json_integer_value(value) < 0 ||
                                     json_integer_value(value) > LIMIT_MAX)) {
            api_error(call, 400, "invalid", key, "%s: expected a whole number, or null", key);
            return false;
        }
        *(int64_t *)((char *)limits + figures[i].offset) =
            json_is_null(value) ? -1 : json_integer_value(value);
    }
    return true;
}

void api_site_limits(struct api_call *call)
{
    struct controller *controller = call->controller;
    const struct grid *grid = shell_grid(controller->shell);
    int site = grid_site_find(grid, call->params[0]);
    struct event event = { .type = EVENT_SITE_POLICY };
    CLEANUP(jsonp) json_t *body = NULL;
    struct change change = { 0 };
    struct err err = { 0 };
    uint64_t seq = shell_last_seq(controller->shell);
    int rc;

    if (site < 0) {
        api_error(call, 404, "not_found", "site", "there is no site %s", call->params[0]);
        return;
    }
    body = api_body_json(call);
    if (!body)
        return;
    event.site_policy.site = call->params[0];
    event.site_policy.kind = POLICY_LIMITS;
    event.site_policy.limits = grid_site_limits(grid, (uint32_t)site);
    event.site_policy.by = call->who.user;
    if (!read_limits(call, body, &event.site_policy.limits))
        return;
    rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
    api_reply_durable(
        call, seq, 200,
        json_pack("{s:s, s:o}", "site", call->params[0], "limits",
                  owner_limits_to_json(shell_grid(controller->shell), (uint32_t)site)));
}
