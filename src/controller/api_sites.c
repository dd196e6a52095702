/* GET /sites, /nodes, /devices; cordon and uncordon. */
#include "controller/api_handlers.h"

#include "base/clock.h"
#include "controller/changes.h"
#include "controller/job_json.h"
#include "controller/leases.h"
#include "wire/members.h"
#include "controller/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

/* NULL: it keeps none. */
static json_t *lease_to_json(const struct controller *controller, uint32_t index)
{
    const struct grid *grid = shell_grid(controller->shell);
    bool reachable;
    const char *site = grid_site_get(grid, index, &reachable)->name;
    bool drifts = leases_drifts(controller->leases, site);
    int64_t left_ms = leases_left_ms(controller->leases, site);
    struct lease_view view;
    const char *state;

    grid_site_lease(grid, index, &view);
    if (!view.ms)
        return json_null();
    state = view.is_over ? "over" : drifts ? "uncounted" : reachable ? "held" : "running_out";
    return json_pack("{s:s, s:I, s:o, s:o}", "state", state, "lease_ms", (json_int_t)view.ms,
                     "left_ms",
                     view.is_over || drifts || left_ms < 0 ? json_null() : json_integer(left_ms),
                     "unheard_since", time_to_json(view.lost_ms));
}

/* How files come and go, and how long work waits in the site's own queue. */
static json_t *freight_to_json(const struct grid *grid, uint32_t index)
{
    struct freight_view view = grid_site_freight(grid, index);
    json_t *waits = json_array();

    for (uint32_t i = 0; i < view.waits_count; i++)
        json_array_append_new(waits, json_pack("{s:b, s:I, s:I, s:I}", "devices",
                                               (int)view.waits[i].has_devices, "nodes_max",
                                               (json_int_t)view.waits[i].nodes_max, "pending",
                                               (json_int_t)view.waits[i].pending, "wait_ms",
                                               (json_int_t)view.waits[i].wait_ms));
    return json_pack("{s:o, s:o, s:I, s:o}", "down_bytes_s",
                     view.down_bytes_s ? json_integer(view.down_bytes_s) : json_null(),
                     "up_bytes_s", view.up_bytes_s ? json_integer(view.up_bytes_s) : json_null(),
                     "held_bytes", (json_int_t)view.held_bytes, "waits", waits);
}

static json_t *site_to_json(const struct controller *controller, uint32_t index)
{
    const struct grid *grid = shell_grid(controller->shell);
    bool reachable;
    const struct site_info *site = grid_site_get(grid, index, &reachable);
    const struct member *member = members_find(controller->members, site->name);
    struct site_totals totals = grid_site_totals(grid, index);

    json_t *json =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:o, s:I, s:b, s:o, s:o, s:o}", "name",
                  site->name, "owner", site->owner, "region", site->region, "reachable", reachable,
                  "connected", sessions_is_open(controller->sessions, site->name), "forgotten",
                  grid_site_is_forgotten(grid, index), "nodes", (json_int_t)site->nodes_count,
                  "tariff", tariff_to_json(&site->tariff), "jobs", (json_int_t)totals.attempts,
                  "drained", site->nodes_count && totals.cordoned == site->nodes_count, "joined_at",
                  time_to_json(member ? member->joined_ms : 0), "certificate_until",
                  time_to_json(member && member->pin[0] ? member->cert_until_ms : 0), "removed_at",
                  time_to_json(member ? member->removed_ms : 0));

    json_object_set_new(json, "policy", owner_policy_to_json(grid, index));
    json_object_set_new(json, "lease", lease_to_json(controller, index));
    json_object_set_new(json, "limits", owner_limits_to_json(grid, index));
    json_object_set_new(json, "freight", freight_to_json(grid, index));
    return json;
}

void api_sites_list(struct api_call *call)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    json_t *list = json_array();

    for (uint32_t i = 0; i < grid_site_count(grid); i++)
        json_array_append_new(list, site_to_json(call->controller, i));
    api_reply_json(call, 200, json_pack("{s:o}", "sites", list));
}

/* The index of the site in the path; -1: answered. */
static int find_site(struct api_call *call)
{
    int index = grid_site_find(shell_grid(call->controller->shell), call->params[0]);

    if (index < 0)
        api_error(call, 404, "not_found", "site", "there is no site %s", call->params[0]);
    return index;
}

void api_site_get(struct api_call *call)
{
    int index = find_site(call);

    if (index >= 0)
        api_reply_json(call, 200, site_to_json(call->controller, (uint32_t)index));
}

static json_t *node_to_json(const char *site, bool reachable, const struct node_view *view)
{
    const struct node_info *info = view->info;
    uint64_t free_milli = 0;

    for (uint32_t i = 0; i < info->devices_count; i++)
        free_milli += view->devices_free_milli[i];
    return json_pack(
        "{s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b, "
        "s:s?, s:s?}",
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
        "os", info->os, "energy_measured", info->energy_measured, "rack",
        info->rack[0] ? info->rack : NULL, "supernode",
        info->supernode[0] ? info->supernode : NULL);
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

/* One page of nodes or devices: where it begins and, when it is full, where the next one does.
 * Sites and nodes keep their places, so a page is never told twice. */
struct place_page {
    bool devices;
    uint32_t site, node, device, limit;
    const char *only; /* the site; NULL = all that are not forgotten */
    json_t *rows;
};

static bool take_number(const char **at, char stop, uint32_t *out)
{
    size_t digits = strspn(*at, "0123456789");

    if (!digits || digits > 9 || (*at)[digits] != stop)
        return false;
    *out = (uint32_t)strtoul(*at, NULL, 10);
    *at += digits + (stop != '\0');
    return true;
}

/* `after` is where the page begins, as "site.node.device" in numbers. False: answered. */
static bool read_page(struct api_call *call, struct place_page *page)
{
    const char *after = http_request_query(call->request, "after");
    int64_t limit = API_LIST_MAX;

    if (!api_query_int(call, "limit", 1, API_LIST_MAX, &limit))
        return false;
    page->limit = (uint32_t)limit;
    page->only = http_request_query(call->request, "site");
    if (!after || (take_number(&after, '.', &page->site) && take_number(&after, '.', &page->node) &&
                   take_number(&after, '\0', &page->device)))
        return true;
    api_error(call, 400, "invalid", "after", "after: expected the `next` of the page before");
    return false;
}

/* False: the page is full. */
static bool add_node(struct place_page *page, const char *site, bool reachable,
                     const struct node_view *view)
{
    if (!page->devices) {
        if (json_array_size(page->rows) == page->limit)
            return false;
        json_array_append_new(page->rows, node_to_json(site, reachable, view));
        return true;
    }
    for (; page->device < view->info->devices_count; page->device++) {
        if (json_array_size(page->rows) == page->limit)
            return false;
        json_array_append_new(page->rows, device_to_json(site, view, page->device));
    }
    page->device = 0;
    return true;
}

/* False: the page is full, and `page` is where the next one begins. */
static bool fill_page(const struct grid *grid, struct place_page *page)
{
    for (; page->site < grid_site_count(grid); page->site++, page->node = page->device = 0) {
        bool reachable;
        const struct site_info *site = grid_site_get(grid, page->site, &reachable);
        struct node_view view;

        if ((page->only && strcmp(page->only, site->name) != 0) ||
            grid_site_is_forgotten(grid, page->site))
            continue;
        for (; page->node < site->nodes_count; page->node++)
            if (grid_node_get(grid, page->site, page->node, &view) &&
                !add_node(page, site->name, reachable, &view))
                return false;
    }
    return true;
}

static void list_nodes(struct api_call *call, bool devices)
{
    struct place_page page = { .devices = devices };
    char next[40] = "";

    if (!read_page(call, &page))
        return;
    page.rows = json_array();
    if (!fill_page(shell_grid(call->controller->shell), &page))
        snprintf(next, sizeof(next), "%" PRIu32 ".%" PRIu32 ".%" PRIu32, page.site, page.node,
                 page.device);
    api_reply_json(call, 200,
                   json_pack("{s:o, s:s?}", devices ? "devices" : "nodes", page.rows, "next",
                             next[0] ? next : NULL));
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
    char text[REASON_BYTES];
    uint64_t seq;

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
    if (!api_apply(call, &event, &seq))
        return;
    sessions_fence(controller->sessions, call->params[0]);
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

/* The credentials end at once; what the network thought it ran there is lost. */
void api_site_remove(struct api_call *call)
{
    struct controller *controller = call->controller;
    struct grid *grid = shell_grid(controller->shell);
    const char *site = call->params[0];
    int index = grid_site_find(grid, site);
    struct event event = { .type = EVENT_SITE_FORGOTTEN };
    struct err err = { 0 };
    uint64_t seq = shell_last_seq(controller->shell);
    uint64_t attempts = index < 0 ? 0 : grid_site_totals(grid, (uint32_t)index).attempts;
    bool force = false;
    int rc;

    if (!api_query_bool(call, "force", &force))
        return;
    if (attempts && sessions_is_open(controller->sessions, site) && !force) {
        api_error(call, 409, "conflict", "site",
                  "site %s runs %" PRIu64 " jobs: drain it first, or use --force", site, attempts);
        return;
    }
    rc = members_remove(controller->members, site, clock_wall_ms(), &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    sessions_fence(controller->sessions, site);
    event.site_forgotten.site = site;
    event.site_forgotten.forgotten = true;
    event.site_forgotten.by = call->who.user;
    event.site_forgotten.reason = "removed from the network";
    if (index >= 0 && !api_apply(call, &event, &seq))
        return;
    api_reply_durable(call, seq, 200, json_pack("{s:s, s:b}", "site", site, "removed", 1));
}

/* Those that save checkpoints; the others go on there. */
static uint32_t move_all_of(struct api_call *call, uint64_t *seq)
{
    struct shell *shell = call->controller->shell;
    uint32_t moved = 0;
    struct job_view view;

    for (uint64_t id = 0; grid_next_job(shell_grid(shell), id, NULL, &view);) {
        struct err err = { 0 };

        id = view.id;
        if (view.allocation.parts_count && !strcmp(view.allocation.site, call->params[0]))
            moved += job_move(call, &(struct job_move){ .job_id = id, .reason = "drained" }, seq,
                              &err) == 0;
    }
    return moved;
}

/* All nodes of a site at once: no new work, or work again. What runs goes on. */
static void set_drained(struct api_call *call, bool drained)
{
    struct controller *controller = call->controller;
    int index = find_site(call);
    uint64_t seq = shell_last_seq(controller->shell);
    struct node_view view;
    char name[MODEL_NAME_BYTES];
    char text[REASON_BYTES];
    bool reachable, moves = false;
    uint32_t nodes, moved;

    if (index < 0 || !api_query_bool(call, "move", &moves))
        return;
    nodes = grid_site_get(shell_grid(controller->shell), (uint32_t)index, &reachable)->nodes_count;
    snprintf(text, sizeof(text), "site drained by %s", call->who.user);
    for (uint32_t n = 0; n < nodes; n++) {
        struct event event = { .type = EVENT_NODE_STATE };

        if (!grid_node_get(shell_grid(controller->shell), (uint32_t)index, n, &view))
            continue;
        snprintf(name, sizeof(name), "%s", view.info->name);
        event.node_state.site = call->params[0];
        event.node_state.node = name;
        event.node_state.device = -1;
        event.node_state.cordoned = drained;
        event.node_state.reason = drained ? text : "";
        if (!api_apply(call, &event, &seq))
            return;
    }
    moved = drained && moves ? move_all_of(call, &seq) : 0;
    api_reply_durable(
        call, seq, 200,
        json_pack(
            "{s:s, s:b, s:I, s:I}", "site", call->params[0], "drained", drained, "jobs",
            (json_int_t)grid_site_totals(shell_grid(controller->shell), (uint32_t)index).attempts,
            "moving", (json_int_t)moved));
}

void api_site_drain(struct api_call *call)
{
    set_drained(call, true);
}

void api_site_resume(struct api_call *call)
{
    set_drained(call, false);
}

static void set_cordon(struct api_call *call, bool cordoned)
{
    const char *reason = http_request_query(call->request, "reason");
    struct event event = { .type = EVENT_NODE_STATE };
    char text[REASON_BYTES];
    int64_t device = -1;
    uint64_t seq;

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
    if (!api_apply(call, &event, &seq))
        return;
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
