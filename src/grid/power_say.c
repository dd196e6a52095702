/* What power has to do with where a job is, or would be, in words and figures. */
#include "grid/power.h"
#include "grid/state.h"
#include "model/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS 3600000LL

static void print_clock(int64_t ms, int64_t now_ms, char *out, size_t bytes)
{
    int64_t minutes = ms / 60000 % 1440;

    if (ms - now_ms < 24 * HOUR_MS)
        snprintf(out, bytes, "%02d:%02d UTC", (int)(minutes / 60), (int)(minutes % 60));
    else
        units_print_time(ms, out, bytes);
}

/* "0.082 EUR", "210 g of CO2": of a kWh. */
static void print_cost(const struct grid *grid, uint32_t site, bool is_green, double cost,
                       char *out, size_t bytes)
{
    const char *currency = grid->fleet.sites[site].info.tariff.currency;

    if (is_green)
        snprintf(out, bytes, "%.0f g of CO2", cost / 1000);
    else
        snprintf(out, bytes, "%.3f%s%s", cost / 1e6, *currency ? " " : "", currency);
}

static void say_wait(const struct grid *grid, const struct objective *objective,
                     const struct wait_verdict *verdict, char *out, size_t bytes)
{
    bool is_green = objective->kind == OBJECTIVE_GREENEST;
    const char *site = grid->fleet.sites[verdict->site].info.name;
    char when[40], now[48], then[48];
    double less = 100 * (1 - verdict->cost_then / verdict->cost_now);

    print_clock(verdict->start_ms, grid->now_ms, when, sizeof(when));
    if (objective->kind == OBJECTIVE_WEIGHTS) {
        snprintf(out, bytes, "until about %s at %s: %.0f %% less by its weights", when, site, less);
        return;
    }
    print_cost(grid, verdict->site, is_green, verdict->cost_now, now, sizeof(now));
    print_cost(grid, verdict->site, is_green, verdict->cost_then, then, sizeof(then));
    snprintf(out, bytes, "until about %s at %s: a kWh at %s instead of %s", when, site, then, now);
    if (verdict->cost_now > 0 && verdict->cost_then >= 0) {
        size_t len = strnlen(out, bytes);

        snprintf(out + len, bytes - len, " (%.0f %% less)", less);
    }
}

static void why_cut(struct grid *grid, const struct job *job, struct why *why)
{
    const struct site_power *power = power_of(grid, job->wait->cut_site - 1);
    const char *name = grid->fleet.sites[job->wait->cut_site - 1].info.name;
    char when[40];

    snprintf(why->code, sizeof(why->code), "power_cut");
    if (power->shed_until_ms) {
        print_clock(power->shed_until_ms, grid->now_ms, when, sizeof(when));
        why->start_estimate_ms = power->shed_until_ms;
        snprintf(why->text, sizeof(why->text),
                 "was stopped because %s must draw less until %s; it goes on then, or when there "
                 "is room elsewhere",
                 name, when);
    } else {
        snprintf(why->text, sizeof(why->text),
                 "was stopped because %s is at its power cap of %" PRId64
                 " W; it goes on when there is power, or room elsewhere",
                 name, MAX(power->cap_mw, (int64_t)0) / 1000);
    }
}

bool power_why_held(struct grid *grid, const struct job *job, struct why *why)
{
    const struct terms *terms = job_terms(grid, job);
    struct wait_verdict verdict;
    char text[200];

    if (!waits_is_held(job))
        return false;
    if (job->wait->cut_site) {
        why_cut(grid, job, why);
        return true;
    }
    waits_weigh(grid, job, &verdict);
    snprintf(why->code, sizeof(why->code), "tariff");
    why->start_estimate_ms = verdict.waits ? verdict.start_ms : job->wait->until_ms;
    if (verdict.waits)
        say_wait(grid, &terms->objective, &verdict, text, sizeof(text));
    else
        print_clock(job->wait->until_ms, grid->now_ms, text, sizeof(text));
    snprintf(why->text, sizeof(why->text), "waits %s; objective: fastest starts it now",
             verdict.waits ? text : "until the hour ends");
    return true;
}

bool power_why_queued(struct grid *grid, const struct job *job, struct why *why)
{
    const struct shape *shape = job_shape(grid, job);

    if (!power_holds(grid, job))
        return false;
    for (uint32_t i = 0; i < shape->candidates_count; i++) {
        const struct candidate *at = &shape->candidates[i];
        const struct fleet_site *site = &grid->fleet.sites[at->site];

        if (fit_has_power(shape, site, at->chip))
            continue;
        snprintf(why->code, sizeof(why->code), "power");
        snprintf(why->text, sizeof(why->text),
                 "there is room at %s but no power: needs about %" PRId64 " W, %" PRId64
                 " W are left below its cap: see `mains site tariff %s`",
                 site->info.name, at->watts_milli * shape->tasks / 1000,
                 MAX(site->power.left_mw, (int64_t)0) / 1000, site->info.name);
        return true;
    }
    return false;
}

/* What it would cost, and when, where it would wait for a better hour. */
void power_plan(struct grid *grid, const struct terms *terms, struct shape *shape,
                struct plan_candidate *candidates, uint32_t count)
{
    int64_t duration_ms = terms->duration_ms_max, price, carbon, price_now, carbon_now;
    struct wait_verdict verdict;
    char text[120];

    if (!waits_may(grid, terms))
        return;
    waits_decide(grid, terms, shape, duration_ms + END_SLACK_MS, &verdict);
    if (!verdict.waits)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct plan_candidate *at = &candidates[i];

        if (strcmp(at->site, grid->fleet.sites[verdict.site].info.name) != 0 || !at->fits_now)
            continue;
        at->fits_now = false; /* it would, and waits */
        at->start_estimate_ms = verdict.start_ms;
        tariffs_cost(grid, verdict.site, grid->now_ms, grid->now_ms + 1, at->energy_mj, &price_now,
                     &carbon_now);
        tariffs_cost(grid, verdict.site, verdict.start_ms, verdict.start_ms + duration_ms,
                     at->energy_mj, &price, &carbon);
        if (terms->objective.kind == OBJECTIVE_CHEAPEST)
            price = (int64_t)(verdict.cost_then * (double)at->energy_mj / 3.6e9);
        else if (terms->objective.kind == OBJECTIVE_GREENEST)
            carbon = (int64_t)(verdict.cost_then * (double)at->energy_mj / 3.6e6);
        at->price_micro += price - price_now;
        at->carbon_ug += carbon - carbon_now;
        say_wait(grid, &terms->objective, &verdict, text, sizeof(text));
        snprintf(at->reason, sizeof(at->reason), "waits %s", text);
    }
}

/* --- for the shell ---------------------------------------------------------------------------- */

void grid_power_get(const struct grid *grid, uint32_t site, struct power_view *view_out)
{
    const struct fleet_site *at = &grid->fleet.sites[site];
    const struct site_power *power = power_of(grid, site);

    *view_out = (struct power_view){ .price = at->info.tariff.power_price_micro_per_kwh,
                                     .carbon = at->info.tariff.carbon_g_per_kwh_milli,
                                     .constant = { TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN,
                                                   TARIFF_UNKNOWN },
                                     .limit_mw = -1 };
    if (!power) {
        for (uint32_t i = 0; i < grid->fleet.grants_count; i++)
            if (grid->fleet.grants[i]->site == site)
                view_out->draw_mw += fleet_grant_mw(&grid->fleet, grid->fleet.grants[i]);
        return;
    }
    view_out->price = at->power.price_micro_per_kwh;
    view_out->carbon = at->power.carbon_mg_per_kwh;
    view_out->constant = power->constant;
    view_out->draw_mw = power->draw_mw;
    view_out->limit_mw = power_limit_mw(grid, power);
    view_out->cut_until_ms = power->shed_until_ms;
    if (power->has_series) {
        view_out->slot_ms = power->facts.slot_ms;
        view_out->from_ms =
            tariff_slot_start_ms(&power->facts, tariff_slot_of(&power->facts, grid->now_ms));
    }
}

bool grid_power_row(const struct grid *grid, uint32_t site, int64_t time_ms,
                    struct tariff_row *row_out)
{
    const struct site_power *power = power_of(grid, site);
    const struct tariff *facts = power ? &power->facts : NULL;
    int64_t slot;

    if (!power || !power->has_series)
        return false;
    slot = tariff_slot_of(facts, time_ms);
    *row_out = (struct tariff_row){ tariff_get(facts, TARIFF_PRICE, slot),
                                    tariff_get(facts, TARIFF_CARBON, slot),
                                    tariff_get(facts, TARIFF_GREEN, slot),
                                    tariff_get(facts, TARIFF_CAP, slot) };
    return slot < facts->first_slot + (int64_t)facts->count;
}
