/* What power costs over time, told to the grid as a site would hear it; grid events. */
#include "sim/engine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000LL
#define HISTORY_MS (14 * 24 * HOUR_MS) /* told at once: what a forecast learns from */
#define PUBLISH_MS (12 * HOUR_MS)
#define ROWS_MAX 4096u /* of one event */

const struct sim_series_row *sim_power_row(const struct sim_engine *engine, uint32_t site,
                                           int64_t unix_ms)
{
    const struct sim_tariff_series *series = &engine->setup->fleet->sites[site].series;
    int64_t at;

    if (!series->rows_count)
        return NULL;
    at = (unix_ms - series->from_ms) / series->slot_ms;
    at -= (unix_ms - series->from_ms) % series->slot_ms < 0;
    at %= (int64_t)series->rows_count;
    return &series->rows[at < 0 ? at + (int64_t)series->rows_count : at];
}

static struct tariff_row row_of(const struct sim_series_row *from)
{
    return (struct tariff_row){
        .price = from->price_micro,
        .carbon = from->carbon_mg,
        .green = from->green_ppm,
        .cap =
            from->cap_milliwatts == TARIFF_UNKNOWN ? TARIFF_UNKNOWN : from->cap_milliwatts / 1000,
    };
}

/* Slots from *from_ms up to `to_ms` (both Unix, multiples of the slot). */
static int tell(struct sim_engine *engine, uint32_t site, int64_t *from_ms, int64_t to_ms)
{
    const struct sim_site *at = &engine->setup->fleet->sites[site];
    struct tariff_row rows[ROWS_MAX];
    int rc = 0;

    while (rc == 0 && *from_ms < to_ms) {
        struct event event = { .type = EVENT_SITE_TARIFF };
        uint32_t count = 0;

        event.site_tariff.site = at->name;
        event.site_tariff.kind = TARIFF_FACTS;
        event.site_tariff.from_ms = *from_ms;
        event.site_tariff.slot_ms = at->series.slot_ms;
        event.site_tariff.by = "sim";
        for (; *from_ms < to_ms && count < ROWS_MAX; *from_ms += at->series.slot_ms) {
            const struct sim_series_row *row = sim_power_row(engine, site, *from_ms);

            if (!row)
                return 0;
            rows[count++] = row_of(row);
        }
        event.site_tariff.rows = rows;
        event.site_tariff.rows_count = count;
        rc = sim_engine_step(engine, &event, NULL);
    }
    return rc;
}

static int publish(struct sim_engine *engine, uint32_t site)
{
    const struct sim_tariff_series *series = &engine->setup->fleet->sites[site].series;
    int64_t now_ms = engine->setup->fleet->start_ms + engine->now_ms;
    int64_t slot_ms = series->slot_ms, to_ms = (now_ms / slot_ms + 1) * slot_ms;
    int64_t next_ms = to_ms - now_ms; /* with nothing known ahead, each slot as it begins */

    if (series->ahead_ms) {
        next_ms = PUBLISH_MS;
        to_ms = ((now_ms + series->ahead_ms + PUBLISH_MS) / slot_ms + 1) * slot_ms;
    }
    sim_engine_expect(engine, engine->now_ms + next_ms, SIM_ENTRY_TARIFF, site, 0, 0);
    return tell(engine, site, &engine->sites[site].told_ms, to_ms);
}

int sim_power_begin(struct sim_engine *engine)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    const struct sim_faults *faults = engine->setup->faults;
    int rc = 0;

    for (uint32_t s = 0; rc == 0 && s < fleet->sites_count; s++) {
        const struct sim_tariff_series *series = &fleet->sites[s].series;
        int64_t slot_ms = series->slot_ms;

        if (!series->rows_count)
            continue;
        engine->sites[s].told_ms =
            MAX(fleet->start_ms - HISTORY_MS, (int64_t)0) / slot_ms * slot_ms;
        rc = publish(engine, s);
        sim_engine_expect(engine, slot_ms - fleet->start_ms % slot_ms, SIM_ENTRY_SLOT, s, 0, 0);
    }
    for (uint32_t i = 0; i < faults->sheds_count; i++)
        sim_engine_expect(engine, faults->sheds[i].at_ms, SIM_ENTRY_SHED, i, 0, 0);
    return rc < 0 ? rc : engine->rc;
}

/* What runs there costs something else from now on. */
static void next_slot(struct sim_engine *engine, uint32_t site)
{
    for (uint32_t i = 0; i < engine->active_count; i++)
        if (engine->active[i]->site == site)
            sim_attempt_reprice(engine, engine->active[i]);
    sim_engine_expect(engine, engine->now_ms + engine->setup->fleet->sites[site].series.slot_ms,
                      SIM_ENTRY_SLOT, site, 0, 0);
}

static int shed(struct sim_engine *engine, const struct sim_shed *from)
{
    struct event event = { .type = EVENT_SITE_SHED };

    event.site_shed = (struct event_site_shed){ .site = from->site,
                                                .share_ppm = (uint32_t)(from->percent_milli * 10),
                                                .within_ms = from->within_ms,
                                                .lasts_ms = from->length_ms,
                                                .by = "grid operator",
                                                .reason = "" };
    engine->result->sheds++;
    return sim_engine_step(engine, &event, NULL);
}

int sim_power_take(struct sim_engine *engine, const struct sim_entry *entry)
{
    switch (entry->kind) {
    case SIM_ENTRY_TARIFF:
        return publish(engine, entry->a);
    case SIM_ENTRY_SLOT:
        next_slot(engine, entry->a);
        return engine->rc;
    case SIM_ENTRY_SHED:
        return shed(engine, &engine->setup->faults->sheds[entry->a]);
    default:
        return -EINVAL;
    }
}
