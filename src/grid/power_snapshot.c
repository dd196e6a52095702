/* What sites' power costs and may be, as a part of a snapshot and back. */
#include "grid/fields.h"
#include "grid/power.h"
#include "grid/reader.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>

static void put_tariff(struct buf *out, const struct tariff *tariff)
{
    put_i64(out, tariff->first_slot);
    put_u64(out, tariff->count);
    for (int s = 0; s < TARIFF_SERIES_COUNT; s++) {
        put_u64(out, tariff->values[s] != NULL);
        for (uint32_t i = 0; tariff->values[s] && i < tariff->count; i++)
            put_i64(out, tariff_get(tariff, (enum tariff_series)s, tariff->first_slot + i));
    }
}

static void put_word(void *context, uint64_t word)
{
    put_u64(context, word);
}

static void put_ahead(struct buf *out, const struct power_ahead *ahead)
{
    put_u64(out, ahead->forecast != NULL);
    if (!ahead->forecast)
        return;
    put_u64(out, ahead->has_observed);
    put_i64(out, ahead->observed_slot);
    forecast_save(ahead->forecast, put_word, out);
}

static void put_site(const struct grid *grid, uint32_t index, struct buf *out)
{
    const struct site_power *power = grid->powers[index];
    const struct fleet_power *now = &grid->fleet.sites[index].power;

    put_u64(out, index);
    put_i64(out, power->constant.price);
    put_i64(out, power->constant.carbon);
    put_i64(out, power->constant.green);
    put_i64(out, power->constant.cap);
    put_i64(out, power->shed_mw);
    put_i64(out, power->shed_until_ms);
    put_i64(out, power->cap_mw);
    put_i64(out, now->price_micro_per_kwh);
    put_i64(out, now->carbon_mg_per_kwh);
    put_u64(out, power->has_series);
    if (!power->has_series)
        return;
    put_i64(out, power->facts.slot_ms);
    put_tariff(out, &power->facts);
    put_tariff(out, &power->given);
    for (int m = 0; m < POWER_METRICS; m++)
        put_ahead(out, &power->ahead[m]);
}

void power_put(const struct grid *grid, struct buf *out)
{
    put_u64(out, grid->powers_count);
    if (!grid->powers_count)
        return;
    put_i64(out, grid->power_next_ms);
    put_i64(out, grid->observe_ms);
    for (uint32_t i = 0; i < grid->powers_cap; i++)
        if (grid->powers[i])
            put_site(grid, i, out);
}

/* --- and back ----------------------------------------------------------------------------------
 */

static bool take_u64(struct cursor *in, uint64_t max, uint64_t *out)
{
    return get_u64(in, out) == 0 && *out <= max;
}

static bool take_i64(struct cursor *in, int64_t min, int64_t max, int64_t *out)
{
    return get_i64(in, out) == 0 && *out >= min && *out <= max;
}

static bool take_tariff(struct cursor *in, struct tariff *tariff)
{
    int64_t first, last = TARIFF_TIME_MS_MAX / tariff->slot_ms;
    uint64_t count, has;

    if (!take_i64(in, -last, last, &first) || !take_u64(in, tariff->slots_max, &count))
        return false;
    for (int s = 0; s < TARIFF_SERIES_COUNT; s++) {
        if (!take_u64(in, 1, &has))
            return false;
        for (uint64_t i = 0; has && i < count; i++) {
            int64_t value;

            if (!take_i64(in, INT64_MIN, INT64_MAX, &value) ||
                tariff_set(tariff, (enum tariff_series)s, first + (int64_t)i, value, NULL) < 0)
                return false;
        }
        if (has && !count)
            return false;
    }
    return tariff->count == count && (!count || tariff->first_slot == first);
}

static bool take_word(void *context, uint64_t *word_out)
{
    return get_u64(context, word_out) == 0;
}

static bool take_ahead(struct cursor *in, uint32_t version, struct site_power *power,
                       enum power_metric metric)
{
    struct power_ahead *ahead = &power->ahead[metric];
    uint64_t has, observed;
    int64_t last = TARIFF_TIME_MS_MAX / power->facts.slot_ms;

    if (!take_u64(in, 1, &has))
        return false;
    if (!has)
        return true;
    if (!take_u64(in, 1, &observed) || !take_i64(in, -last, last, &ahead->observed_slot) ||
        tariffs_init_forecast(power, metric) < 0)
        return false;
    ahead->has_observed = observed;
    return forecast_load(ahead->forecast, version >= 23, take_word, in);
}

static bool take_row(struct cursor *in, struct tariff_row *row)
{
    const int64_t most = TARIFF_VALUE_MAX;
    int64_t *const values[] = { &row->price, &row->carbon, &row->green, &row->cap };
    const int64_t least[] = { -most, 0, 0, 0 }, largest[] = { most, most, 1000000, most };

    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        if (get_i64(in, values[i]) < 0 ||
            (*values[i] != TARIFF_UNKNOWN && (*values[i] < least[i] || *values[i] > largest[i])))
            return false;
    return true;
}

static bool take_site(struct grid *grid, uint32_t version, struct cursor *in)
{
    struct site_power *power;
    struct fleet_power now;
    int64_t slot_ms;
    uint64_t index, has;

    if (!grid->fleet.sites_count || !take_u64(in, grid->fleet.sites_count - 1, &index) ||
        power_of(grid, (uint32_t)index))
        return false;
    power = power_make(grid, (uint32_t)index);
    now = grid->fleet.sites[index].power;
    now.has_rates = true;
    if (!take_row(in, &power->constant) || !take_i64(in, 0, INT64_MAX / 4, &power->shed_mw) ||
        !take_i64(in, 0, EVENT_TIME_MS_MAX * 2, &power->shed_until_ms) ||
        !take_i64(in, -1, INT64_MAX / 4, &power->cap_mw) ||
        !take_i64(in, INT64_MIN, INT64_MAX, &now.price_micro_per_kwh) ||
        !take_i64(in, 0, INT64_MAX, &now.carbon_mg_per_kwh) || !take_u64(in, 1, &has))
        return false;
    fleet_set_power(&grid->fleet, (uint32_t)index, &now);
    if (!has)
        return true;
    if (!take_i64(in, TARIFF_SLOT_MS_MIN, TARIFF_SLOT_MS_MAX, &slot_ms) ||
        tariffs_init_series(power, slot_ms, NULL) < 0)
        return false;
    return take_tariff(in, &power->facts) && take_tariff(in, &power->given) &&
           take_ahead(in, version, power, POWER_MONEY) &&
           take_ahead(in, version, power, POWER_CARBON);
}

int power_take(struct grid *grid, uint32_t version, struct cursor *in)
{
    uint64_t count;

    if (!take_u64(in, grid->fleet.sites_count, &count))
        return -EBADMSG;
    if (!count)
        return 0;
    if (!take_i64(in, 0, INT64_MAX, &grid->power_next_ms) ||
        !take_i64(in, 0, INT64_MAX, &grid->observe_ms))
        return -EBADMSG;
    for (uint64_t i = 0; i < count; i++)
        if (!take_site(grid, version, in))
            return -EBADMSG;
    for (uint32_t i = 0; i < grid->powers_cap; i++)
        if (grid->powers[i])
            power_restored(grid, i);
    return 0;
}

/* --- of a job ------------------------------------------------------------------------------- */

void power_take_wait(struct reader *reader, struct job *job)
{
    struct job_wait *wait = job->wait = mem_alloc(1, sizeof(*wait));

    wait->until_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX * 2);
    wait->saved_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    wait->stopped_ms = take_signed(reader, 0, reader->grid->now_ms);
    wait->cut_site = (uint32_t)take(reader, reader->grid->fleet.sites_count);
    wait->cuts_count = (uint32_t)take(reader, UINT32_MAX);
    if (wait->cut_site && job->state != JOB_HELD)
        reader->failed = true;
    if (reader->version < 18)
        return;
    wait->suspended_ms = take_signed(reader, 0, MAX(reader->grid->now_ms, (int64_t)1));
    wait->frozen_ms = take_signed(reader, 0, MAX(reader->grid->now_ms, (int64_t)1));
    wait->lasts_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    wait->stood_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    wait->stood_before_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    if (wait->suspended_ms ? job->state != JOB_RUNNING || !job->grant
                           : wait->frozen_ms || wait->lasts_ms)
        reader->failed = true;
    if (!reader->failed && wait->frozen_ms)
        job->grant->is_idle = true;
}
