/* What would happen to a request now: the same candidates and the same fit as a pass uses. */
#include "grid/advice.h"
#include "grid/rates.h"
#include "grid/freight.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "grid/state.h"
#include "model/units.h"
#include "sched/explain.h"
#include "sched/owner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS 3600000LL

int64_t plan_over_time(int64_t per_hour, uint32_t tasks, int64_t duration_ms)
{
    __int128 sum = (__int128)per_hour * tasks * duration_ms / HOUR_MS;

    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

static void set_name(char out[MODEL_NAME_BYTES], const char *name)
{
    memset(out, 0, MODEL_NAME_BYTES);
    memcpy(out, name, strnlen(name, MODEL_NAME_BYTES - 1));
}

/* How wide an elastic job could be there now, beside what runs; "" = it is not elastic. */
static void say_width(struct grid *grid, const struct shape *shape, const struct candidate *at,
                      const struct terms *terms, char *out, size_t bytes)
{
    struct shape wide = *shape;
    uint64_t room;

    out[0] = '\0';
    if (!terms->tasks_max)
        return;
    wide.tasks = terms->tasks_max;
    room = fit_count(&wide, &grid->fleet, at->site, at->chip);
    snprintf(out, bytes, " on %u of %u to %u tasks",
             request_width(shape->tasks, terms->tasks_max, terms->tasks_step,
                           (uint32_t)MIN(room, (uint64_t)terms->tasks_max)),
             shape->tasks, terms->tasks_max);
}

static void fill(struct grid *grid, struct shape *shape, const struct candidate *from,
                 const struct terms *terms, int64_t now_ms, struct plan_candidate *out)
{
    const struct fleet_site *site = &grid->fleet.sites[from->site];
    int64_t billed_ms = terms->duration_ms_max ? terms->duration_ms_max : HOUR_MS;
    struct fit *fit = &grid->fit;
    struct reserve_ask ask = { .now_ms = now_ms, .span_ms = INT64_MAX, .before_ms = -1 };
    bool is_shut = !owner_is_open(&grid->fleet, shape, from->site);
    int64_t start_ms;
    char width[64];

    if (terms->duration_ms_max)
        ask.span_ms = terms->duration_ms_max + END_SLACK_MS;
    grid->fleet.window =
        (struct fleet_window){ INT64_MIN, span_end_ms(now_ms, ask.span_ms), false };
    memset(out, 0, sizeof(*out));
    set_name(out->site, site->info.name);
    if (from->chip != FLEET_NO_CHIP)
        set_name(out->chip, from->chip == FLEET_MIXED ? "mixed" : site->chips[from->chip].kind);
    out->fits_ever = true;
    out->fits_now = fit_candidate(shape, &grid->fleet, from->site, from->chip, FIT_LIMITED, fit);
    start_ms = out->fits_now ? now_ms
                             : reserve_estimate(&grid->reserve, shape, &grid->fleet, from->site,
                                                from->chip, &ask, fit);
    out->start_estimate_ms = start_ms > 0 && start_ms < INT64_MAX ? start_ms : 0;
    if (fit->parts_count) {
        set_name(out->node, site->info.nodes[fit->parts[0].node].name);
        out->nodes_count = fit->parts_count;
    }
    out->duration_ms = terms->duration_ms_max;
    out->price_micro = plan_over_time(from->price_micro, shape->tasks, billed_ms);
    out->carbon_ug = plan_over_time(from->carbon_ug, shape->tasks, billed_ms);
    out->energy_mj = plan_over_time(from->watts_milli * 3600, shape->tasks, billed_ms);
    out->score = from->score;
    out->move_bytes = from->freight.in_bytes + from->freight.out_bytes;
    out->move_ms = from->freight.in_ms + from->freight.out_ms;
    out->move_price_micro = from->freight.money_micro;
    out->wait_ms = from->freight.wait_ms;
    if (terms->duration_ms_max) {
        struct request_freight none = { .span_ms = terms->duration_ms_max };

        out->price_most_micro =
            freight_price_most(&none, from->price_micro, shape->tasks, &from->freight);
    }
    out->unit_seconds = from->rate.seconds;
    out->rate_spread = from->rate.spread;
    out->rate_source = from->rate.seconds > 0 ? rate_source_name(from->rate.source) : "";
    out->rate_runs = from->rate.runs;
    say_width(grid, shape, from, terms, width, sizeof(width));
    snprintf(out->reason, sizeof(out->reason), "%s%s%s",
             out->fits_now                ? "fits now"
             : is_shut                    ? "fits when its owner's hours let it in"
             : out->start_estimate_ms > 0 ? "fits when running work has ended"
                                          : "fits when running work has ended; no limit says when",
             out->fits_now ? width : "",
             terms->duration_ms_max ? "" : "; figures are for one hour: no duration is given");
}

static void fill_never(struct grid *grid, const struct shape *shape, uint32_t site,
                       const struct verdict *is, struct plan_candidate *out)
{
    memset(out, 0, sizeof(*out));
    set_name(out->site, grid->fleet.sites[site].info.name);
    if (is->code == VERDICT_POLICY) {
        owners_say_bar(grid, shape, site, out->reason, sizeof(out->reason));
        return;
    }
    snprintf(out->reason, sizeof(out->reason), "does not fit: %s", verdict_name(is->code));
    if (is->needed)
        snprintf(out->reason, sizeof(out->reason),
                 "does not fit: %s: needs %" PRId64 ", has %" PRId64, verdict_name(is->code),
                 is->needed, is->most);
}

/* All places are too dear for what its user lets it cost. */
static void fill_dear(const struct grid *grid, const struct shape *shape,
                      struct plan_candidate *out)
{
    char least[32];

    memset(out, 0, sizeof(*out));
    set_name(out->site, grid->fleet.sites[shape->dear_site].info.name);
    units_print_micro(shape->dear_micro, least, sizeof(least));
    out->price_most_micro = shape->dear_micro;
    snprintf(out->reason, sizeof(out->reason),
             "may cost %s by its duration, more than max_price; nowhere is it less", least);
}

/* Of two that are full now, the one that has room first; a start that is not known comes last. */
static bool is_sooner(const struct plan_candidate *a, const struct plan_candidate *b)
{
    return a->start_estimate_ms > 0 &&
           (b->start_estimate_ms <= 0 || a->start_estimate_ms < b->start_estimate_ms);
}

static void insert_later(struct plan_candidate *list, uint32_t count,
                         const struct plan_candidate *one)
{
    uint32_t at = count;

    for (; at && is_sooner(one, &list[at - 1]); at--)
        list[at] = list[at - 1];
    list[at] = *one;
}

/* Where places are chosen by expected fill, the one it chooses stands first. */
static void put_chosen_first(struct grid *grid, struct shape *shape,
                             const struct objective *objective, struct plan_candidate *list,
                             uint32_t count)
{
    const struct fleet *fleet = &grid->fleet;
    const struct fleet_site *site;
    uint32_t at = 0;

    if (!fleet->packer || count < 2 || !fit_find(shape, fleet, objective, FIT_LIMITED, &grid->fit))
        return;
    site = &fleet->sites[grid->fit.site];
    for (; at < count; at++)
        if (!strcmp(list[at].site, site->info.name) &&
            (grid->fit.chip >= site->chips_count ||
             !strcmp(list[at].chip, site->chips[grid->fit.chip].kind)))
            break;
    if (at && at < count) {
        struct plan_candidate chosen = list[at];

        memmove(list + 1, list, at * sizeof(*list));
        list[0] = chosen;
        set_name(list[0].node, site->info.nodes[grid->fit.parts[0].node].name);
    }
}

void plan_list(struct grid *grid, struct shape *shape, const struct terms *terms, int64_t now_ms,
               struct plan_candidate *out, uint32_t *count_out)
{
    struct plan_candidate later[PLAN_CANDIDATES_MAX], one;
    uint32_t count = 0, later_count = 0, found;
    const struct candidate *candidates =
        shape_candidates(shape, &grid->fleet, &terms->objective, &found);

    /* As a pass takes them: the first in order that fits now; else where there is room first. */
    for (uint32_t i = 0; i < found && count + later_count < PLAN_CANDIDATES_MAX; i++) {
        fill(grid, shape, &candidates[i], terms, now_ms, &one);
        if (one.fits_now)
            out[count++] = one;
        else
            insert_later(later, later_count++, &one);
    }
    put_chosen_first(grid, shape, &terms->objective, out, count);
    if (later_count)
        memcpy(out + count, later, later_count * sizeof(later[0]));
    count += later_count;
    power_plan(grid, terms, shape, out, count);
    if (!found && shape->dear_count)
        fill_dear(grid, shape, &out[count++]);
    for (uint32_t i = 0; i < grid->fleet.sites_count && count < PLAN_CANDIDATES_MAX; i++) {
        struct verdict is = explain_shape(shape, &grid->fleet, i);

        if (is.code != VERDICT_BUSY && !(is.code == VERDICT_CLOSED && shape->dear_count))
            fill_never(grid, shape, i, &is, &out[count++]);
    }
    *count_out = count;
}

int grid_plan(struct grid *grid, const struct job_request *request, const char *tenant,
              int64_t now_ms, struct plan_candidate *candidates_out, uint32_t *count_out,
              struct err *err)
{
    return grid_plan_named(grid, request, tenant, "", "", now_ms, candidates_out, count_out, NULL,
                           err);
}

int grid_plan_named(struct grid *grid, const struct job_request *request, const char *tenant,
                    const char *user, const char *name, int64_t now_ms,
                    struct plan_candidate *candidates_out, uint32_t *count_out,
                    struct why_more *more_out, struct err *err)
{
    uint32_t number;
    struct request_shape asked = request->shape;
    struct work_book own = { 0 };
    struct shape *shape;
    struct terms terms;
    int rc = request_check(request, err);

    if (rc < 0)
        return rc;
    if (now_ms < grid->now_ms)
        now_ms = grid->now_ms;
    terms_of_request(request, &terms);
    rates_plan_begin(grid, tenant, request, &own, &asked);
    owners_fill(grid, tenant ? tenant : "", &terms, &asked);
    freight_expect(grid, tenant ? tenant : "", user, name, &terms);
    freight_fill(grid, &terms, NULL, &asked);
    number = shapes_get(&grid->shapes, &asked);
    shape = shapes_at(&grid->shapes, number);
    plan_list(grid, shape, &terms, now_ms, candidates_out, count_out);
    if (more_out) {
        memset(more_out, 0, sizeof(*more_out));
        advice_find(grid, &asked, &terms, candidates_out, *count_out, more_out);
        shape = shapes_at(&grid->shapes, number);
    }
    rates_plan_end(grid, &own, shape);
    shapes_unref(&grid->shapes, number);
    return 0;
}
