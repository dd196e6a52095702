/* GET /sites, /nodes, /devices; cordon and uncordon. */
#include "controller/api_handlers.h"

#include "controller/changes.h"
#include "controller/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static json_t *tariff_to_json(const struct site_tariff *tariff)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:b, s:b}", "carbon_g_per_kwh_milli",
                     (json_int_t)tariff->carbon_g_per_kwh_milli, "power_price_micro_per_kwh",
                     (json_int_t)tariff->power_price_micro_per_kwh, "cpu_price_micro_per_hour",
                     (json_int_t)tariff->cpu_price_micro_per_hour, "device_price_micro_per_hour",
                     (json_int_t)tariff->device_price_micro_per_hour, "currency", tariff->currency,
                     "carbon_assumed", tariff->carbon_assumed, "price_assumed",
                     tariff->price_assumed);
}

void api_sites_list(struct api_call *call)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    json_t *list = json_array();

    for (uint32_t i = 0; i < grid_site_count(grid); i++) {
        bool reachable;
        const struct site_info *site = grid_site_get(grid, i, &reachable);

        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:o}", "name", site->name, "owner",
                      site->owner, "region", site->region, "reachable", reachable, "connected",
                      sessions_is_open(call->controller->sessions, site->name), "forgotten",
                      grid_site_is_forgotten(grid, i), "nodes", (json_int_t)site->nodes_count,
                      "tariff", tariff_to_json(&site->tariff)));
    }
    api_reply_json(call, 200, json_pack("{s:o}", "sites", list));
}

static json_t *node_to_json(const char *site, bool reachable, const struct node_view *view)
{
    const struct node_info *info = view->info;
    uint64_t free_milli = 0;

    for (uint32_t i = 0; i < info->devices_count; i++)
        free_milli += view->devices_free_milli[i];
    return json_pack(
        "{s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b}",
        "site", site, "name", info->name, "state",
        !view->present   ? "gone"
        : !reachable     ? "unreachable"
        : view->cordoned ? "cordoned"
                         : "ready",
        "reason", view->cordoned ? view->cordon_reason : NULL, "cpus", (json_int_t)info->cpus,
        "cpus_free", (json_int_t)view->cpus_free, "memory_bytes", (json_int_t)info->memory_bytes,
        "memory_free_bytes", (json_int_t)view->memory_free_bytes, "disk_bytes",
        (json_int_t)info->disk_bytes, "disk_free_bytes", (json_int_t)view->disk_free_bytes,
        "devices", (json_int_t)info->devices_count, "devices_free_milli", (json_int_t)free_milli,
        "jobs", (json_int_t)view->jobs_count, "cpu_model", info->cpu_model, "arch", info->arch,
        "os", info->os, "energy_measured", info->energy_measured);
}

static json_t *device_to_json(const char *site, const struct node_view *view, uint32_t index)
{
    const struct device_info *device = &view->info->devices[index];

    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:s?, s:s}", "site",
                     site, "node", view->info->name, "index", (json_int_t)device->index, "chip",
                     device->chip, "vendor", device->vendor, "family", device->family, "uuid",
                     device->uuid, "state",
                     device->health == DEVICE_SICK                     ? "sick"
                     : view->cordoned || view->devices_cordoned[index] ? "cordoned"
                                                                       : "ready",
                     "memory_bytes", (json_int_t)device->memory_bytes, "free_milli",
                     (json_int_t)view->devices_free_milli[index], "whole_free",
                     view->devices_free_milli[index] == 1000, "health_text",
                     device->health_text[0] ? device->health_text : NULL, "driver", device->driver);
}

/* Nodes of all sites that are not forgotten, or of ?site=. */
static void list_nodes(struct api_call *call, bool devices)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    const char *only = http_request_query(call->request, "site");
    json_t *list = json_array();

    for (uint32_t s = 0; s < grid_site_count(grid); s++) {
        bool reachable;
        const struct site_info *site = grid_site_get(grid, s, &reachable);
        struct node_view view;

        if ((only && strcmp(only, site->name)) || grid_site_is_forgotten(grid, s))
            continue;
        for (uint32_t n = 0; n < site->nodes_count; n++) {
            if (!grid_node_get(grid, s, n, &view))
                continue;
            if (!devices) {
                json_array_append_new(list, node_to_json(site->name, reachable, &view));
                continue;
            }
            for (uint32_t d = 0; d < view.info->devices_count; d++)
                json_array_append_new(list, device_to_json(site->name, &view, d));
        }
    }
    api_reply_json(call, 200, json_pack("{s:o}", devices ? "devices" : "nodes", list));
}

void api_nodes_list(struct api_call *call)
{
    list_nodes(call, false);
}

void api_devices_list(struct api_call *call)
{
    list_nodes(call, true);
}

static void set_forgotten(struct api_call *call, bool forgotten)
{
    struct controller *controller = call->controller;
    const char *reason = http_request_query(call->request, "reason");
    struct event event = { .type = EVENT_SITE_FORGOTTEN };
    struct change change = { 0 };
    struct err err = { 0 };
    char text[REASON_BYTES];
    uint64_t seq = shell_last_seq(controller->shell);
    int rc;

    if (forgotten && sessions_is_open(controller->sessions, call->params[0])) {
        api_error(call, 409, "conflict", "site",
                  "site %s is connected: stop its agent first, or cordon its nodes instead",
                  call->params[0]);
        return;
    }
    snprintf(text, sizeof(text), "%s", reason ? reason : "");
    event.site_forgotten.site = call->params[0];
    event.site_forgotten.forgotten = forgotten;
    event.site_forgotten.by = call->who.user;
    event.site_forgotten.reason = text;
    rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    sessions_fence(controller->sessions, call->params[0]);
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
    api_reply_durable(call, seq, 200,
                      json_pack("{s:s, s:b}", "site", call->params[0], "forgotten", forgotten));
}

void api_site_forget(struct api_call *call)
{
    set_forgotten(call, true);
}

void api_site_readmit(struct api_call *call)
{
    set_forgotten(call, false);
}

static void set_cordon(struct api_call *call, bool cordoned)
{
    struct controller *controller = call->controller;
    const char *reason = http_request_query(call->request, "reason");
    struct event event = { .type = EVENT_NODE_STATE };
    struct change change = { 0 };
    char text[REASON_BYTES];
    int64_t device = -1;
    struct err err = { 0 };
    uint64_t seq = shell_last_seq(controller->shell);
    int rc;

    if (!api_query_int(call, "device", 0, NODE_DEVICES_MAX - 1, &device))
        return;
    snprintf(text, sizeof(text), "%.120s%s%s", reason ? reason : "", reason ? " - " : "by ",
             call->who.user);
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
    event.node_state.site = call->params[0];
    event.node_state.node = call->params[1];
    event.node_state.device = (int32_t)device;
    event.node_state.cordoned = cordoned;
    event.node_state.reason = cordoned ? text : "";
    rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
    api_reply_durable(call, seq, 200,
                      json_pack("{s:s, s:s, s:b}", "site", call->params[0], "node", call->params[1],
                                "cordoned", cordoned));
}

void api_node_cordon(struct api_call *call)
{
    set_cordon(call, true);
}

void api_node_uncordon(struct api_call *call)
{
    set_cordon(call, false);
}
