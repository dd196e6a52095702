#include "controller/why_json.h"

#include "controller/job_json.h"

static json_t *place_to_json(const struct plan_candidate *c)
{
    json_t *rate =
        c->unit_seconds > 0
            ? json_pack("{s:f, s:f, s:s, s:I}", "seconds_per_unit", c->unit_seconds, "spread",
                        c->rate_spread, "source", c->rate_source, "runs", (json_int_t)c->rate_runs)
            : json_null();

    return json_pack(
        "{s:s, s:s, s:s?, s:I, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:f, s:o, s:s, s:I, "
        "s:I, s:I, s:I, s:I}",
        "site", c->site, "node", c->node, "chip", c->chip[0] ? c->chip : NULL, "nodes_count",
        (json_int_t)c->nodes_count, "fits_now", c->fits_now, "fits_ever", c->fits_ever,
        "start_estimate_at", time_to_json(c->start_estimate_ms), "duration_ms",
        (json_int_t)c->duration_ms, "price_micro", (json_int_t)c->price_micro, "energy_mj",
        (json_int_t)c->energy_mj, "carbon_ug", (json_int_t)c->carbon_ug, "score", c->score, "rate",
        rate, "reason", c->reason, "move_bytes", (json_int_t)c->move_bytes, "move_ms",
        (json_int_t)c->move_ms, "move_price_micro", (json_int_t)c->move_price_micro, "wait_ms",
        (json_int_t)c->wait_ms, "price_most_micro", (json_int_t)c->price_most_micro);
}

json_t *why_places_to_json(const struct plan_candidate *places, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, place_to_json(&places[i]));
    return list;
}

json_t *why_choice_to_json(const struct why_choice *choice)
{
    if (!choice->how[0])
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:s?, s:s?, s:s}", "how", choice->how, "rank",
                     (json_int_t)choice->rank, "places", (json_int_t)choice->places, "other_site",
                     choice->other_site[0] ? choice->other_site : NULL, "other_chip",
                     choice->other_chip[0] ? choice->other_chip : NULL, "text", choice->text);
}

static json_t *change_to_json(const struct why_change *change)
{
    bool has_price = change->price_micro >= 0;

    return json_pack(
        "{s:s, s:s, s:s?, s:s?, s:o, s:o, s:o}", "change", change->code, "text", change->text,
        "site", change->site[0] ? change->site : NULL, "chip",
        change->chip[0] ? change->chip : NULL, "start_estimate_at", time_to_json(change->start_ms),
        "price_micro", has_price ? json_integer(change->price_micro) : json_null(),
        "price_more_micro", has_price ? json_integer(change->price_more_micro) : json_null());
}

json_t *why_changes_to_json(const struct why_more *more)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < more->changes_count; i++)
        json_array_append_new(list, change_to_json(&more->changes[i]));
    return list;
}
