/* GET /rates: how fast classes of work run on kinds of chip. */
#include "controller/api_handlers.h"

#include <string.h>

#define RATES_LIST_MAX 10000 /* entries and guesses of one answer; past it, ask by class */
#define GANG_MAX 1000000

static json_t *rate_to_json(const struct rate_view *view)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:s, s:I, s:o}", "tenant", view->tenant,
                     "class", view->class, "chip", view->chip, "gang", (json_int_t)view->gang,
                     "seconds_per_unit", view->seconds, "spread", view->spread, "source",
                     view->source, "runs", (json_int_t)view->runs, "declared_seconds",
                     view->declared_seconds > 0 ? json_real(view->declared_seconds) : json_null());
}

/* What is carried over to the chips of which nothing was declared or learned. */
static void add_guesses(const struct grid *grid, const char *tenant, const char *class,
                        uint32_t gang, json_t *list)
{
    struct rate_view view;

    for (uint32_t i = 0; grid_rate_guess(grid, tenant, class, i, gang, &view); i++)
        if (view.seconds > 0 && strcmp(view.source, "declared") != 0 &&
            strcmp(view.source, "learned") != 0 && json_array_size(list) < RATES_LIST_MAX)
            json_array_append_new(list, rate_to_json(&view));
}

void api_rates(struct api_call *call)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    const char *class = http_request_query(call->request, "class");
    const char *asked = http_request_query(call->request, "tenant");
    const char *only = api_tenant_only(call);
    int64_t gang = 0;
    struct rate_view view;
    json_t *list;

    if (!api_query_int(call, "gang", 1, GANG_MAX, &gang))
        return;
    if (!only && asked && *asked)
        only = asked;
    list = json_array();
    for (uint32_t i = 0; grid_rate_entry(grid, i, &view); i++)
        if ((!only || strcmp(only, view.tenant) == 0) &&
            (!class || strcmp(class, view.class) == 0) && (!gang || gang == view.gang) &&
            json_array_size(list) < RATES_LIST_MAX)
            json_array_append_new(list, rate_to_json(&view));
    if (class && gang)
        add_guesses(grid, only ? only : call->who.tenant, class, (uint32_t)gang, list);
    api_reply_json(call, 200, json_pack("{s:o}", "rates", list));
}
