/* What a site's power costs over time, and cuts: see docs/scheduling.md. */
#include "controller/api_handlers.h"
#include "controller/changes.h"
#include "controller/context.h"
#include "controller/shell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_SHOWN 336u /* two weeks of hours */

static const struct {
    const char *key;
    size_t offset;
    int64_t least, most;
} figures[] = {
    { "price_micro", offsetof(struct tariff_row, price), -TARIFF_VALUE_MAX, TARIFF_VALUE_MAX },
    { "carbon_mg", offsetof(struct tariff_row, carbon), 0, TARIFF_VALUE_MAX },
    { "green_ppm", offsetof(struct tariff_row, green), 0, 1000000 },
    { "cap_w", offsetof(struct tariff_row, cap), 0, TARIFF_WATTS_MAX },
};

static json_t *row_to_json(const struct tariff_row *row)
{
    json_t *object = json_object();

    for (size_t i = 0; i < ARRAY_COUNT(figures); i++) {
        int64_t value = *(const int64_t *)((const char *)row + figures[i].offset);

        json_object_set_new(object, figures[i].key,
                            value == TARIFF_UNKNOWN ? json_null() : json_integer(value));
    }
    return object;
}

static json_t *number_or_null(bool is_there, int64_t value)
{
    return is_there ? json_integer(value) : json_null();
}

static json_t *power_to_json(const struct grid *grid, uint32_t site, const char *name)
{
    struct power_view view;
    struct tariff_row row;
    json_t *rows = json_array();

    grid_power_get(grid, site, &view);
    for (uint32_t i = 0; i < ROWS_SHOWN && view.slot_ms; i++) {
        if (!grid_power_row(grid, site, view.from_ms + (int64_t)i * view.slot_ms, &row))
            break;
        json_array_append_new(rows, row_to_json(&row));
    }
    return json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "site", name, "price_micro",
        (json_int_t)view.price, "carbon_mg", (json_int_t)view.carbon, "constant",
        row_to_json(&view.constant), "slot_ms", number_or_null(view.slot_ms, view.slot_ms),
        "from_ms", number_or_null(view.slot_ms, view.from_ms), "rows", rows, "draw_mw",
        (json_int_t)view.draw_mw, "limit_mw", number_or_null(view.limit_mw >= 0, view.limit_mw),
        "cut_until_ms", number_or_null(view.cut_until_ms, view.cut_until_ms));
}

/* -1: answered. */
static int find_site(struct api_call *call)
{
    int site = grid_site_find(shell_grid(call->controller->shell), call->params[0]);

    if (site < 0)
        api_error(call, 404, "not_found", "site", "there is no site %s", call->params[0]);
    return site;
}

void api_site_tariff_get(struct api_call *call)
{
    int site = find_site(call);

    if (site >= 0)
        api_reply_json(
            call, 200,
            power_to_json(shell_grid(call->controller->shell), (uint32_t)site, call->params[0]));
}

/* --- told ---------------------------------------------------------------------------------- */

/* false: answered. */
static bool read_row(struct api_call *call, const json_t *from, size_t index,
                     struct tariff_row *row)
{
    const char *key;
    json_t *value;

    *row = (struct tariff_row){ TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN };
    if (!json_is_object(from)) {
        api_error(call, 400, "invalid", "rows", "rows[%zu]: expected an object", index);
        return false;
    }
    json_object_foreach ((json_t *)from, key, value) {
        size_t i = 0;

        while (i < ARRAY_COUNT(figures) && strcmp(figures[i].key, key) != 0)
            i++;
        if (i == ARRAY_COUNT(figures)) {
            api_error(call, 400, "invalid", "rows",
                      "rows[%zu].%.40s: unknown key; expected price_micro, carbon_mg, green_ppm, "
                      "cap_w",
                      index, key);
            return false;
        }
        if (json_is_null(value))
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < figures[i].least ||
            json_integer_value(value) > figures[i].most) {
            api_error(call, 400, "invalid", "rows",
                      "rows[%zu].%s: expected a whole number from %" PRId64 " to %" PRId64, index,
                      key, figures[i].least, figures[i].most);
            return false;
        }
        *(int64_t *)((char *)row + figures[i].offset) = json_integer_value(value);
    }
    return true;
}

/* false: answered. */
static bool read_kind(struct api_call *call, const json_t *value, uint32_t *kind_out)
{
    static const char *const kinds[] = { "facts", "forecast", "constant" };
    const char *text = json_string_value(value);

    for (uint32_t i = 0; text && i < ARRAY_COUNT(kinds); i++)
        if (strcmp(text, kinds[i]) == 0) {
            *kind_out = i;
            return true;
        }
    api_error(call, 400, "invalid", "kind", "kind: expected facts, forecast or constant");
    return false;
}

/* The whole body; `rows_out` is malloc'd. false: answered. */
static bool read_tariff(struct api_call *call, json_t *body, struct event_site_tariff *tariff,
                        struct tariff_row **rows_out)
{
    const json_t *rows = json_object_get(body, "rows");
    const char *key;
    json_t *value;

    json_object_foreach (body, key, value) {
        bool is_ms = strcmp(key, "from_ms") == 0 || strcmp(key, "slot_ms") == 0;

        if (is_ms && json_is_integer(value))
            *(strcmp(key, "from_ms") == 0 ? &tariff->from_ms : &tariff->slot_ms) =
                json_integer_value(value);
        else if (is_ms) {
            api_error(call, 400, "invalid", key, "%s: expected whole milliseconds", key);
            return false;
        } else if (strcmp(key, "kind") != 0 && strcmp(key, "rows") != 0) {
            api_error(call, 400, "invalid", key,
                      "%.40s: unknown key; expected kind, from_ms, slot_ms, rows", key);
            return false;
        }
    }
    if (!read_kind(call, json_object_get(body, "kind"), &tariff->kind))
        return false;
    if (!json_is_array(rows) || !json_array_size(rows) || json_array_size(rows) > TARIFF_ROWS_MAX) {
        api_error(call, 400, "invalid", "rows", "rows: expected a list of 1 to %u",
                  TARIFF_ROWS_MAX);
        return false;
    }
    tariff->rows_count = (uint32_t)json_array_size(rows);
    *rows_out = calloc(tariff->rows_count, sizeof(**rows_out));
    if (!*rows_out) {
        api_fail(call, -ENOMEM, NULL);
        return false;
    }
    tariff->rows = *rows_out;
    for (uint32_t i = 0; i < tariff->rows_count; i++)
        if (!read_row(call, json_array_get(rows, i), i, &(*rows_out)[i]))
            return false;
    return true;
}

static void apply(struct api_call *call, struct event *event)
{
    struct controller *controller = call->controller;
    uint64_t seq = 0;

    if (!api_apply(call, event, &seq))
        return;
    api_reply_durable(
        call, seq, 200,
        power_to_json(shell_grid(controller->shell),
                      (uint32_t)grid_site_find(shell_grid(controller->shell), call->params[0]),
                      call->params[0]));
}

void api_site_tariff_set(struct api_call *call)
{
    struct event event = { .type = EVENT_SITE_TARIFF };
    CLEANUP(jsonp) json_t *body = NULL;
    struct tariff_row *rows = NULL;

    if (find_site(call) < 0)
        return;
    body = api_body_json(call);
    if (!body)
        return;
    event.site_tariff.site = call->params[0];
    event.site_tariff.by = call->who.user;
    if (read_tariff(call, body, &event.site_tariff, &rows))
        apply(call, &event);
    free(rows);
}

void api_site_tariff_clear(struct api_call *call)
{
    struct event event = { .type = EVENT_SITE_TARIFF };

    if (find_site(call) < 0)
        return;
    event.site_tariff.site = call->params[0];
    event.site_tariff.kind = TARIFF_CLEAR;
    event.site_tariff.by = call->who.user;
    apply(call, &event);
}

/* --- cuts ------------------------------------------------------------------------------------- */

void api_site_shed(struct api_call *call)
{
    struct event event = { .type = EVENT_SITE_SHED };
    CLEANUP(jsonp) json_t *body = NULL;
    const char *key;
    json_t *value;

    if (find_site(call) < 0)
        return;
    body = api_body_json(call);
    if (!body)
        return;
    event.site_shed.site = call->params[0];
    event.site_shed.by = call->who.user;
    event.site_shed.reason = "";
    event.site_shed.within_ms = 30000;
    json_object_foreach (body, key, value) {
        bool is_share = strcmp(key, "share_ppm") == 0;
        int64_t *ms = strcmp(key, "within_ms") == 0  ? &event.site_shed.within_ms
                      : strcmp(key, "lasts_ms") == 0 ? &event.site_shed.lasts_ms
                                                     : NULL;

        if (strcmp(key, "reason") == 0 && json_is_string(value)) {
            event.site_shed.reason = json_string_value(value);
        } else if ((!is_share && !ms) || !json_is_integer(value) || json_integer_value(value) < 1 ||
                   json_integer_value(value) > (is_share ? 1000000 : SHED_MS_MAX)) {
            api_error(call, 400, "invalid", key,
                      "%.40s: expected share_ppm (1 to 1000000), within_ms and lasts_ms (1 ms to "
                      "31 days), reason",
                      key);
            return;
        } else if (is_share) {
            event.site_shed.share_ppm = (uint32_t)json_integer_value(value);
        } else {
            *ms = json_integer_value(value);
        }
    }
    if (!event.site_shed.share_ppm || !event.site_shed.lasts_ms)
        api_error(call, 400, "invalid", event.site_shed.share_ppm ? "lasts_ms" : "share_ppm",
                  "a cut needs share_ppm and lasts_ms");
    else
        apply(call, &event);
}

void api_site_shed_end(struct api_call *call)
{
    struct event event = { .type = EVENT_SITE_SHED };

    if (find_site(call) < 0)
        return;
    event.site_shed.site = call->params[0];
    event.site_shed.by = call->who.user;
    event.site_shed.reason = "";
    apply(call, &event);
}
