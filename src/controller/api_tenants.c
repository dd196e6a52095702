/* GET /tenants, GET and PUT /tenants/{tenant}: limits, shares and money, and what is held under
 * them. GET and PUT /policy: how work is ordered. */
#include "controller/api_handlers.h"

#include "sched/packer.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_MAX 1000000000000LL /* of any limit: far above any network, far below an overflow */
#define CELLS_AT_ONCE_MAX 1000u   /* sites and chips of one call */
#define MONEY_MAX 1000000000000000000LL

static json_t *limit_to_json(int64_t limit)
{
    return limit < 0 ? json_null() : json_integer(limit);
}

static json_t *cell_to_json(const struct cell_view *cell)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "site", cell->site, "chip",
                     cell->chip, "level", grid_level_name(cell->level), "place", cell->place,
                     "nodes", (json_int_t)cell->nodes, "devices_milli",
                     (json_int_t)cell->devices_milli, "own_milli", (json_int_t)cell->own_milli,
                     "lent_milli", (json_int_t)cell->lent_milli);
}

/* {tenant: [cell, ..]} of all: to look at a cell goes over its site's nodes, so once an answer. */
static json_t *all_cells(const struct grid *grid)
{
    json_t *all = json_object();
    struct cell_view cell;

    for (uint32_t i = 0; grid_cell(grid, i, &cell); i++) {
        if (!json_object_get(all, cell.tenant))
            json_object_set_new(all, cell.tenant, json_array());
        json_array_append_new(json_object_get(all, cell.tenant), cell_to_json(&cell));
    }
    return all;
}

static json_t *tenant_to_json(const struct tenant_view *view, const json_t *cells)
{
    json_t *own = json_object_get(cells, view->name);

    return json_pack(
        "{s:s, s:I, s:o, s:I, s:o, s:I, s:o, s:s?, s:I, s:I, s:I, s:o, s:I, s:I, s:o}", "name",
        view->name, "jobs", (json_int_t)view->jobs_live, "jobs_max", limit_to_json(view->jobs_max),
        "cpus", (json_int_t)view->cpus_held, "cpus_max", limit_to_json(view->cpus_max),
        "devices_milli", (json_int_t)view->devices_milli_held, "devices_milli_max",
        limit_to_json(view->devices_milli_max), "parent",
        view->parent && *view->parent ? view->parent : NULL, "weight_milli",
        (json_int_t)view->weight_milli, "guarantee_cpus", (json_int_t)view->guarantee_cpus,
        "guarantee_devices_milli", (json_int_t)view->guarantee_devices_milli, "budget_micro",
        limit_to_json(view->budget_micro), "spent_micro", (json_int_t)view->spent_micro,
        "reserved_micro", (json_int_t)view->reserved_micro, "cells",
        own ? json_incref(own) : json_array());
}

static json_t *one_to_json(const struct grid *grid, const struct tenant_view *view)
{
    CLEANUP(jsonp) json_t *cells = all_cells(grid);

    return tenant_to_json(view, cells);
}

/* One that has no jobs and no limits is not in the grid: it has none, that is all. */
static void find_tenant(struct api_call *call, const char *name, struct tenant_view *view)
{
    if (!grid_tenant_find(shell_grid(call->controller->shell), name, view))
        *view = (struct tenant_view){ .name = name,
                                      .cpus_max = -1,
                                      .devices_milli_max = -1,
                                      .jobs_max = -1,
                                      .parent = "",
                                      .weight_milli = 1000,
                                      .budget_micro = -1 };
}

void api_tenants_list(struct api_call *call)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    const char *only = api_tenant_only(call);
    const char *after = http_request_query(call->request, "after");
    int64_t limit = API_LIST_DEFAULT;
    CLEANUP(jsonp) json_t *cells = NULL;
    json_t *list;
    const char *last = NULL;
    struct tenant_view view;

    if (!api_query_int(call, "limit", 1, API_LIST_MAX, &limit))
        return;
    list = json_array();
    if (only) {
        find_tenant(call, only, &view);
        json_array_append_new(list, one_to_json(grid, &view));
    } else {
        cells = all_cells(grid);
        for (view.name = after ? after : ""; grid_tenant_next(grid, view.name, &view);) {
            if (json_array_size(list) == (size_t)limit) {
                last = json_string_value(
                    json_object_get(json_array_get(list, (size_t)limit - 1), "name"));
                break;
            }
            json_array_append_new(list, tenant_to_json(&view, cells));
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
    api_reply_json(call, 200, one_to_json(shell_grid(call->controller->shell), &view));
}

/* What a body may say; null is `none`, where there is one. */
struct setting {
    const char *key;
    size_t offset;
    int64_t min, max;
    bool has_none;
};
#define SETTING(key_, min_, max_, has_none_)                                                       \
    {                                                                                              \
#key_, offsetof(struct event_tenant_set, key_), min_, max_, has_none_                      \
    }
static const struct setting settings[] = {
    SETTING(jobs_max, -1, LIMIT_MAX, true),
    SETTING(cpus_max, -1, LIMIT_MAX, true),
    SETTING(devices_milli_max, -1, LIMIT_MAX, true),
    SETTING(guarantee_cpus, 0, LIMIT_MAX, false),
    SETTING(guarantee_devices_milli, 0, LIMIT_MAX, false),
    SETTING(budget_micro, -1, MONEY_MAX, true),
};

static const struct setting *find_setting(const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(settings); i++)
        if (!strcmp(settings[i].key, key))
            return &settings[i];
    return NULL;
}

/* false: answered. */
static bool read_setting(struct api_call *call, const struct setting *setting, const json_t *value,
                         struct event *event)
{
    json_int_t number = json_is_null(value) ? -1 : json_integer_value(value);

    if ((json_is_null(value) && !setting->has_none) ||
        (!json_is_null(value) && !json_is_integer(value)) || number < setting->min ||
        number > setting->max) {
        api_error(call, 400, "invalid", setting->key,
                  "%s: expected a whole number from 0 to %" PRId64 "%s", setting->key, setting->max,
                  setting->has_none ? ", or null for no limit" : "");
        return false;
    }
    *(int64_t *)((char *)&event->tenant_set + setting->offset) = number;
    return true;
}

/* false: answered. */
static bool read_limits(struct api_call *call, json_t *body, struct event *event)
{
    const char *key;
    json_t *value;

    json_object_foreach (body, key, value) {
        const struct setting *setting = find_setting(key);

        if (setting) {
            if (!read_setting(call, setting, value, event))
                return false;
        } else if (!strcmp(key, "parent")) {
            if (!json_is_null(value) && !api_is_name(json_string_value(value))) {
                api_error(call, 400, "invalid", key,
                          "parent: expected the name of a tenant, or null for the network");
                return false;
            }
            event->tenant_set.parent = json_is_null(value) ? "" : json_string_value(value);
        } else if (!strcmp(key, "weight_milli")) {
            if (!json_is_integer(value) || json_integer_value(value) < 1 ||
                json_integer_value(value) > GRID_WEIGHT_MILLI_MAX) {
                api_error(call, 400, "invalid", key, "weight_milli: expected 1 to %u",
                          GRID_WEIGHT_MILLI_MAX);
                return false;
            }
            event->tenant_set.weight_milli = (uint32_t)json_integer_value(value);
        } else if (!strcmp(key, "cells")) {
            continue; /* by themselves: set_cells */
        } else {
            api_error(call, 400, "invalid", key,
                      "%s: unknown key; expected jobs_max, cpus_max, devices_milli_max, parent, "
                      "weight_milli, guarantee_cpus, guarantee_devices_milli, budget_micro, cells",
                      key);
            return false;
        }
    }
    return true;
}

/* How many whole ones of a level; false: that is no number. */
static bool read_count(const json_t *cells, const char *level, uint32_t *out)
{
    const json_t *value = json_object_get(cells, level);

    *out = (uint32_t)json_integer_value(value);
    return !value || (json_is_integer(value) && json_integer_value(value) >= 0 &&
                      json_integer_value(value) <= SITE_NODES_MAX);
}

/* false: answered. */
static bool read_cells(struct api_call *call, const json_t *cells, struct event *event)
{
    struct event_tenant_cells *to = &event->tenant_cells;
    const char *site = json_string_value(json_object_get(cells, "site"));
    const char *chip = json_string_value(json_object_get(cells, "chip"));

    *event = (struct event){ .type = EVENT_TENANT_CELLS };
    *to = (struct event_tenant_cells){
        .tenant = call->params[0], .site = site, .chip = chip, .by = call->who.user
    };
    if (site && chip && strlen(site) < MODEL_NAME_BYTES && strlen(chip) < MODEL_NAME_BYTES &&
        read_count(cells, "node", &to->nodes) && read_count(cells, "rack", &to->racks) &&
        read_count(cells, "supernode", &to->supernodes) && read_count(cells, "pool", &to->pools))
        return true;
    api_error(call, 400, "invalid", "cells",
              "cells: expected {site, chip, node, rack, supernode, pool}, the last four whole "
              "numbers, 0 where left out");
    return false;
}

/* Are they, or would they be, the tenant's? False: answered. */
static bool take_cells(struct api_call *call, int rc, const struct err *err)
{
    if (rc == 0 || rc == -EALREADY)
        return true;
    if (rc == -ENOSPC) /* not what the network is short of, but what is promised */
        api_error(call, 409, "conflict", "cells", "%s", err->text);
    else
        api_fail(call, rc, err);
    return false;
}

/* Each by itself, before anything is changed; false: answered. */
static bool check_cells(struct api_call *call, const json_t *list)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    struct event event;
    struct err err = { 0 };
    size_t index;
    json_t *cells;

    if (list && (!json_is_array(list) || json_array_size(list) > CELLS_AT_ONCE_MAX)) {
        api_error(call, 400, "invalid", "cells", "cells: expected a list of at most %u",
                  CELLS_AT_ONCE_MAX);
        return false;
    }
    json_array_foreach (list, index, cells)
        if (!read_cells(call, cells, &event) ||
            !take_cells(call, grid_check_cells(grid, &event.tenant_cells, &err), &err))
            return false;
    return true;
}

/* One after the other, up to the first that is refused; false: answered. */
static bool set_cells(struct api_call *call, const json_t *list, uint64_t *seq)
{
    struct event event;
    struct err err = { 0 };
    size_t index;
    json_t *cells;

    json_array_foreach (list, index, cells)
        if (!read_cells(call, cells, &event) ||
            !take_cells(call, shell_apply(call->controller->shell, &event, NULL, seq, &err), &err))
            return false;
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
    event.tenant_set.parent = view.parent;
    event.tenant_set.weight_milli = view.weight_milli;
    event.tenant_set.guarantee_cpus = view.guarantee_cpus;
    event.tenant_set.guarantee_devices_milli = view.guarantee_devices_milli;
    event.tenant_set.budget_micro = view.budget_micro;
    if (!read_limits(call, body, &event) || !check_cells(call, json_object_get(body, "cells")))
        return;
    rc = shell_apply(shell, &event, NULL, &seq, &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    if (!set_cells(call, json_object_get(body, "cells"), &seq))
        return;
    find_tenant(call, call->params[0], &view);
    api_reply_durable(call, seq, 200, one_to_json(shell_grid(shell), &view));
}

/* --- how work is ordered ---------------------------------------------------------------------- */

static json_t *policy_to_json(const struct grid *grid)
{
    struct grid_policy policy = grid_policy(grid);

    return json_pack("{s:s, s:b, s:b, s:I, s:b, s:b, s:b}", "order", grid_order_name(policy.order),
                     "preempt", policy.preempts, "fill", policy.fills != PACKER_OFF, "reservations",
                     (json_int_t)policy.reservations, "defrag", policy.defrags, "by_value",
                     policy.by_value, "assign", policy.assigns);
}

void api_policy_get(struct api_call *call)
{
    api_reply_json(call, 200, policy_to_json(shell_grid(call->controller->shell)));
}

void api_policy_set(struct api_call *call)
{
    struct shell *shell = call->controller->shell;
    struct grid_policy policy = grid_policy(shell_grid(shell));
    struct event event = { .type = EVENT_POLICY_SET };
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    struct err err = { 0 };
    const char *key;
    uint64_t seq = 0;
    json_t *value;
    int rc;

    if (!body)
        return;
    event.policy_set.order = policy.order;
    event.policy_set.preempts = policy.preempts;
    event.policy_set.fills = policy.fills;
    event.policy_set.defrags = policy.defrags;
    event.policy_set.by_value = policy.by_value;
    event.policy_set.assigns = policy.assigns;
    event.policy_set.by = call->who.user;
    json_object_foreach (body, key, value) {
        if (!strcmp(key, "order") && json_is_string(value) &&
            grid_order_find(json_string_value(value)) >= 0) {
            event.policy_set.order = (uint32_t)grid_order_find(json_string_value(value));
        } else if (!strcmp(key, "preempt") && json_is_boolean(value)) {
            event.policy_set.preempts = json_is_true(value);
        } else if (!strcmp(key, "fill") && json_is_boolean(value)) {
            event.policy_set.fills = json_is_true(value) ? PACKER_PLACES : PACKER_OFF;
        } else if (!strcmp(key, "defrag") && json_is_boolean(value)) {
            event.policy_set.defrags = json_is_true(value);
        } else if (!strcmp(key, "by_value") && json_is_boolean(value)) {
            event.policy_set.by_value = json_is_true(value);
        } else if (!strcmp(key, "assign") && json_is_boolean(value)) {
            event.policy_set.assigns = json_is_true(value);
        } else if (!strcmp(key, "reservations") && json_is_integer(value) &&
                   json_integer_value(value) >= 1 &&
                   json_integer_value(value) <= (json_int_t)GRID_RESERVATIONS_MAX) {
            event.policy_set.reservations = (uint32_t)json_integer_value(value);
        } else {
            api_error(call, 400, "invalid", key,
                      "%s: expected order (fair, fifo, predicted or deadline), preempt, fill, "
                      "defrag, by_value and assign (true or false), reservations (1 to %u)",
                      key, GRID_RESERVATIONS_MAX);
            return;
        }
    }
    rc = shell_apply(shell, &event, NULL, &seq, &err);
    if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_durable(call, seq, 200, policy_to_json(shell_grid(shell)));
}
