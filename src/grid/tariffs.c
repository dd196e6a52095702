#include "grid/owners.h"
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)

struct site_power *power_of(const struct grid *grid, uint32_t site)
{
    return site < grid->powers_cap ? grid->powers[site] : NULL;
}

struct site_power *power_make(struct grid *grid, uint32_t site)
{
    struct site_power *power;
    uint32_t cap = grid->powers_cap;

    if (power_of(grid, site))
        return grid->powers[site];
    MEM_GROW(grid->powers, grid->powers_cap, site + 1);
    for (; cap < grid->powers_cap; cap++)
        grid->powers[cap] = NULL;
    power = grid->powers[site] = mem_alloc(1, sizeof(*power));
    power->constant =
        (struct tariff_row){ TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN };
    power->cap_mw = -1;
    grid->powers_count++;
    return power;
}

static void clear_series(struct site_power *power)
{
    tariff_fini(&power->facts);
    tariff_fini(&power->given);
    for (int m = 0; m < POWER_METRICS; m++) {
        forecast_destroy(power->ahead[m].forecast);
        free(power->ahead[m].mean);
        free(power->ahead[m].sd);
    }
    memset(power->ahead, 0, sizeof(power->ahead));
    power->has_series = false;
}

void power_free(struct grid *grid)
{
    for (uint32_t i = 0; i < grid->powers_cap; i++)
        if (grid->powers[i]) {
            clear_series(grid->powers[i]);
            free(grid->powers[i]);
        }
    free(grid->powers);
}

/* --- what is told ---------------------------------------------------------------------------- */

static uint32_t slots_max(int64_t slot_ms)
{
    return (uint32_t)MIN(POWER_KEEP_MS / slot_ms, (int64_t)TARIFF_SLOTS_MAX);
}

static int check_row(const struct tariff_row *row, uint32_t index, struct err *err)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } figures[] = {
        { "price", row->price, -TARIFF_VALUE_MAX, TARIFF_VALUE_MAX },
        { "carbon", row->carbon, 0, TARIFF_VALUE_MAX },
        { "green", row->green, 0, 1000000 },
        { "cap", row->cap, 0, TARIFF_WATTS_MAX },
    };

    for (size_t i = 0; i < ARRAY_COUNT(figures); i++)
        if (figures[i].value != TARIFF_UNKNOWN &&
            (figures[i].value < figures[i].least || figures[i].value > figures[i].most))
            return err_field(err, -EINVAL, figures[i].name, "row %u: %s is out of range", index + 1,
                             figures[i].name);
    return 0;
}

static int check_slots(const struct site_power *power, const struct event_site_tariff *tariff,
                       struct err *err)
{
    int64_t slot_ms = tariff->slot_ms;

    if (slot_ms < TARIFF_SLOT_MS_MIN || slot_ms > TARIFF_SLOT_MS_MAX)
        return err_field(err, -EINVAL, "slot", "a tariff's slots are a minute to a day long");
    if (power && power->has_series && power->facts.slot_ms != slot_ms)
        return err_field(err, -EINVAL, "slot",
                         "site %s has a tariff in slots of %" PRId64 " s, this one has %" PRId64
                         " s: clear that one first",
                         tariff->site, power->facts.slot_ms / 1000, slot_ms / 1000);
    if (tariff->from_ms % slot_ms || tariff->from_ms < 0 ||
        tariff->from_ms > EVENT_TIME_MS_MAX - (int64_t)tariff->rows_count * slot_ms ||
        tariff->from_ms + (int64_t)tariff->rows_count * slot_ms > TARIFF_TIME_MS_MAX)
        return err_field(err, -EINVAL, "from",
                         "a tariff begins at the start of a slot, in a year we may live to see");
    if (!tariff->rows_count || tariff->rows_count > slots_max(slot_ms))
        return err_field(err, -EINVAL, "rows", "a tariff of %u slots: expected 1 to %u",
                         tariff->rows_count, slots_max(slot_ms));
    return 0;
}

int tariffs_check(const struct grid *grid, const struct event_site_tariff *tariff, struct err *err)
{
    int site = tariff->site ? fleet_find_site(&grid->fleet, tariff->site) : -1, rc = 0;
    const struct site_power *power;

    if (site < 0)
        return err_set(err, -ENOENT, "there is no site %s", tariff->site ? tariff->site : "");
    power = power_of(grid, (uint32_t)site);
    switch (tariff->kind) {
    case TARIFF_FACTS:
    case TARIFF_FORECAST:
        rc = check_slots(power, tariff, err);
        break;
    case TARIFF_CONSTANT:
        if (tariff->rows_count != 1)
            return err_set(err, -EINVAL, "a constant tariff is one row");
        break;
    case TARIFF_CLEAR:
        if (tariff->rows_count)
            return err_set(err, -EINVAL, "a tariff to be cleared has no rows");
        if (!power)
            return err_set(err, -EALREADY, "site %s has no tariff but its own", tariff->site);
        break;
    default:
        return err_set(err, -EINVAL, "unknown kind of tariff %u", tariff->kind);
    }
    for (uint32_t i = 0; rc == 0 && i < tariff->rows_count; i++)
        rc = check_row(&tariff->rows[i], i, err);
    return rc;
}

int tariffs_init_series(struct site_power *power, int64_t slot_ms, struct err *err)
{
    int rc = tariff_init(&power->facts, slot_ms, slots_max(slot_ms), err);

    if (rc == 0)
        rc = tariff_init(&power->given, slot_ms, slots_max(slot_ms), err);
    power->has_series = rc == 0;
    return rc;
}

static void set_rows(struct tariff *to, const struct event_site_tariff *tariff)
{
    int64_t first = tariff_slot_of(to, tariff->from_ms);

    for (uint32_t i = 0; i < tariff->rows_count; i++) {
        const int64_t values[] = { [TARIFF_PRICE] = tariff->rows[i].price,
                                   [TARIFF_CARBON] = tariff->rows[i].carbon,
                                   [TARIFF_GREEN] = tariff->rows[i].green,
                                   [TARIFF_CAP] = tariff->rows[i].cap };

        for (int s = 0; s < (int)ARRAY_COUNT(values); s++)
            if (values[s] != TARIFF_UNKNOWN) /* what is too old is left out */
                tariff_set(to, (enum tariff_series)s, first + i, values[s], NULL);
    }
}

void tariffs_apply(struct grid *grid, const struct event_site_tariff *tariff)
{
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, tariff->site);
    struct site_power *power = power_make(grid, site);

    switch (tariff->kind) {
    case TARIFF_CONSTANT:
        power->constant = tariff->rows[0];
        break;
    case TARIFF_CLEAR:
        clear_series(power);
        power->constant =
            (struct tariff_row){ TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN };
        waits_ask_again(grid);
        break;
    default:
        if (!power->has_series)
            tariffs_init_series(power, tariff->slot_ms, NULL);
        set_rows(tariff->kind == TARIFF_FACTS ? &power->facts : &power->given, tariff);
    }
    grid->observe_ms = 0;
    power_recount(grid, site);
    grid->wants_pass = true;
}

/* --- what it is at one time --------------------------------------------------------------------
 */

static int64_t first_known(int64_t a, int64_t b, int64_t c)
{
    return a != TARIFF_UNKNOWN ? a : b != TARIFF_UNKNOWN ? b : c;
}

static int64_t fact(const struct site_power *power, enum tariff_series series, int64_t slot)
{
    return power->has_series ? tariff_get(&power->facts, series, slot) : TARIFF_UNKNOWN;
}

static int64_t price_at(const struct grid *grid, uint32_t site, const struct site_power *power,
                        int64_t slot)
{
    return first_known(fact(power, TARIFF_PRICE, slot), power->constant.price,
                       grid->fleet.sites[site].info.tariff.power_price_micro_per_kwh);
}

/* mg per kWh drawn; what is green counts as none. */
static int64_t carbon_with(const struct grid *grid, uint32_t site, const struct site_power *power,
                           int64_t carbon, int64_t green)
{
    carbon = first_known(carbon, power->constant.carbon,
                         grid->fleet.sites[site].info.tariff.carbon_g_per_kwh_milli);
    green = first_known(green, power->constant.green, 0);
    return (int64_t)((__int128)carbon * (1000000 - green) / 1000000);
}

static int64_t carbon_at(const struct grid *grid, uint32_t site, const struct site_power *power,
                         int64_t slot)
{
    return carbon_with(grid, site, power, fact(power, TARIFF_CARBON, slot),
                       fact(power, TARIFF_GREEN, slot));
}

static int64_t value_at(const struct grid *grid, uint32_t site, const struct site_power *power,
                        enum power_metric metric, int64_t slot)
{
    return metric == POWER_MONEY ? price_at(grid, site, power, slot)
                                 : carbon_at(grid, site, power, slot);
}

/* Has the metric a series at all, and is it known of this slot? */
static bool has_metric(const struct site_power *power, enum power_metric metric)
{
    if (!power->has_series)
        return false;
    if (metric == POWER_MONEY)
        return power->facts.values[TARIFF_PRICE] != NULL;
    return power->facts.values[TARIFF_CARBON] || power->facts.values[TARIFF_GREEN];
}

static bool is_known(const struct site_power *power, enum power_metric metric, int64_t slot)
{
    const struct tariff *facts = &power->facts;

    if (metric == POWER_MONEY)
        return tariff_get(facts, TARIFF_PRICE, slot) != TARIFF_UNKNOWN;
    return (!facts->values[TARIFF_CARBON] ||
            tariff_get(facts, TARIFF_CARBON, slot) != TARIFF_UNKNOWN) &&
           (!facts->values[TARIFF_GREEN] ||
            tariff_get(facts, TARIFF_GREEN, slot) != TARIFF_UNKNOWN);
}

void tariffs_set_rates(struct grid *grid, uint32_t site)
{
    struct fleet_power now = grid->fleet.sites[site].power;
    struct site_power *power = power_of(grid, site);
    int64_t slot = power->has_series ? tariff_slot_of(&power->facts, grid->now_ms) : 0, cap;
    int64_t owner_cap = owners_cap_watts(grid, site);

    now.has_rates = true;
    now.price_micro_per_kwh = price_at(grid, site, power, slot);
    now.carbon_mg_per_kwh = carbon_at(grid, site, power, slot);
    cap = first_known(fact(power, TARIFF_CAP, slot), power->constant.cap, -1);
    if (cap < 0 || (owner_cap >= 0 && owner_cap < cap))
        cap = owner_cap;
    power->cap_mw = cap < 0 ? -1 : cap * 1000;
    fleet_set_power(&grid->fleet, site, &now);
}

int64_t tariffs_next_ms(const struct grid *grid, uint32_t site)
{
    const struct site_power *power = power_of(grid, site);
    const struct tariff *facts = &power->facts;
    int64_t slot;

    if (!power->has_series || !facts->count)
        return INT64_MAX;
    slot = tariff_slot_of(facts, grid->now_ms) + 1;
    /* The slot after the last one: what was known ends with it. */
    if (slot > facts->first_slot + (int64_t)facts->count)
        return INT64_MAX;
    return tariff_slot_start_ms(facts, MAX(slot, facts->first_slot));
}

/* --- what the past has cost ----------------------------------------------------------------------
 */

static int64_t fit_int64(__int128 value)
{
    return value > INT64_MAX ? INT64_MAX : value < -INT64_MAX ? -INT64_MAX : (int64_t)value;
}

static __int128 divide_nearest(__int128 value, __int128 by)
{
    return value >= 0 ? (value + by / 2) / by : -((-value + by / 2) / by);
}

bool tariffs_cost(const struct grid *grid, uint32_t site, int64_t from_ms, int64_t to_ms,
                  int64_t energy_mj, int64_t *price_out, int64_t *carbon_out)
{
    const struct site_power *power = power_of(grid, site);
    __int128 price = 0, carbon = 0, ms = MAX(to_ms - from_ms, 1);
    int64_t slot_ms, at = from_ms;

    if (!power)
        return false;
    slot_ms = power->has_series ? power->facts.slot_ms : INT64_MAX;
    do {
        int64_t slot = power->has_series ? tariff_slot_of(&power->facts, at) : 0;
        int64_t end_ms = power->has_series ? (slot + 1) * slot_ms : to_ms;
        int64_t part = MAX(MIN(end_ms, to_ms) - at, to_ms == from_ms);

        price += (__int128)price_at(grid, site, power, slot) * part;
        carbon += (__int128)carbon_at(grid, site, power, slot) * part;
        at = end_ms;
    } while (at < to_ms);
    /* Means in a millionth of their units: products stay inside the range. */
    price = divide_nearest(price * 1000000, ms);
    carbon = divide_nearest(carbon * 1000000, ms);
    *price_out = fit_int64(divide_nearest(price * energy_mj, 3600000000000000));
    *carbon_out = fit_int64(divide_nearest(carbon * energy_mj, 3600000000000));
    return true;
}

/* --- what it will be
 * ------------------------------------------------------------------------------ */

int tariffs_init_forecast(struct site_power *power, enum power_metric metric)
{
    struct forecast_params params = forecast_params_default();

    if (DAY_MS % power->facts.slot_ms ||
        DAY_MS / power->facts.slot_ms > (int64_t)FORECAST_DAY_SLOTS_MAX)
        return -EINVAL; /* such slots are as they are told */
    return forecast_create(&params, (uint32_t)(DAY_MS / power->facts.slot_ms),
                           &power->ahead[metric].forecast, NULL);
}

static void give(const struct grid *grid, uint32_t site, struct site_power *power,
                 enum power_metric metric, uint32_t day_slots)
{
    struct power_ahead *ahead = &power->ahead[metric];
    const struct tariff *given = &power->given;
    uint32_t count = FORECAST_LEAD_DAYS * day_slots;
    double *values;

    ahead->is_filled = false;
    if (!given->count)
        return;
    values = mem_alloc(count, sizeof(*values));
    for (uint32_t i = 0; i < count; i++) {
        int64_t slot = ahead->observed_slot + 1 + i;
        int64_t carbon = tariff_get(given, TARIFF_CARBON, slot);
        int64_t green = tariff_get(given, TARIFF_GREEN, slot);
        int64_t price = tariff_get(given, TARIFF_PRICE, slot);

        values[i] = (double)NAN;
        if (metric == POWER_MONEY && price != TARIFF_UNKNOWN)
            values[i] = (double)price;
        else if (metric == POWER_CARBON && (carbon != TARIFF_UNKNOWN || green != TARIFF_UNKNOWN))
            values[i] = (double)carbon_with(grid, site, power, carbon, green);
    }
    forecast_give(ahead->forecast, ahead->observed_slot + 1, values, count);
    free(values);
}

static void observe(struct grid *grid, uint32_t site, struct site_power *power,
                    enum power_metric metric)
{
    struct power_ahead *ahead = &power->ahead[metric];
    int64_t slot_ms = power->facts.slot_ms, now = tariff_slot_of(&power->facts, grid->now_ms);
    int64_t first, last;

    if (!has_metric(power, metric) ||
        (!ahead->forecast && tariffs_init_forecast(power, metric) < 0))
        return;
    first = ahead->has_observed
                ? ahead->observed_slot + 1
                : MAX(power->facts.first_slot, now - FORECAST_DAYS_MAX * DAY_MS / slot_ms);
    last = MIN(now, power->facts.first_slot + (int64_t)power->facts.count - 1);
    while (last >= first && !is_known(power, metric, last))
        last--;
    for (int64_t slot = first; slot <= last; slot++) {
        forecast_observe(ahead->forecast, slot,
                         is_known(power, metric, slot)
                             ? (double)value_at(grid, site, power, metric, slot)
                             : (double)NAN,
                         NULL);
        ahead->has_observed = true;
        ahead->observed_slot = slot;
        ahead->is_filled = false;
    }
    if (ahead->has_observed)
        give(grid, site, power, metric, (uint32_t)(DAY_MS / slot_ms));
}

void tariffs_observe(struct grid *grid)
{
    if (!grid->powers_count || grid->now_ms < grid->observe_ms)
        return;
    grid->observe_ms = INT64_MAX;
    for (uint32_t i = 0; i < grid->powers_cap; i++) {
        struct site_power *power = grid->powers[i];

        if (!power || !power->has_series)
            continue;
        for (int m = 0; m < POWER_METRICS; m++)
            observe(grid, i, power, (enum power_metric)m);
        grid->observe_ms = MIN(grid->observe_ms, (tariff_slot_of(&power->facts, grid->now_ms) + 1) *
                                                     power->facts.slot_ms);
    }
}

/* Derived, and so free to be remembered in what is otherwise only read. */
static bool fill_ahead(struct power_ahead *ahead, int64_t slot_ms)
{
    uint32_t count = (uint32_t)(FORECAST_LEAD_DAYS * DAY_MS / slot_ms);

    if (!ahead->has_observed)
        return false;
    if (ahead->is_filled)
        return ahead->count > 0;
    if (!ahead->mean) {
        ahead->mean = mem_alloc(count, sizeof(*ahead->mean));
        ahead->sd = mem_alloc(count, sizeof(*ahead->sd));
    }
    ahead->count = forecast_fill(ahead->forecast, count, ahead->mean, ahead->sd) ? count : 0;
    ahead->is_filled = true;
    return ahead->count > 0;
}

/* One metric from slot `first` on: facts, then what the forecast says, until nothing is known. */
static uint32_t fill_metric(const struct grid *grid, uint32_t site, struct site_power *power,
                            enum power_metric metric, int64_t first, uint32_t most, double *cost,
                            double *sd)
{
    struct power_ahead *ahead = &power->ahead[metric];
    bool has_ahead = fill_ahead(ahead, power->facts.slot_ms);
    uint32_t i = 0;

    for (; i < most; i++) {
        int64_t slot = first + i, lead = slot - ahead->observed_slot;

        if (is_known(power, metric, slot)) {
            cost[i] = (double)value_at(grid, site, power, metric, slot);
            sd[i] = 0;
        } else if (has_ahead && lead >= 1 && lead <= (int64_t)ahead->count) {
            cost[i] = ahead->mean[lead - 1];
            sd[i] = ahead->sd[lead - 1];
        } else if (i == 0) { /* as it is billed: where no slot says, by the constants */
            cost[i] = (double)value_at(grid, site, power, metric, slot);
            sd[i] = 0;
        } else {
            break;
        }
    }
    return i;
}

static double mean_of(const double *list, uint32_t count)
{
    double sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += list[i];
    return count && sum > 0 ? sum / count : 1;
}

static uint32_t fill_weighted(const struct grid *grid, uint32_t site, struct site_power *power,
                              const struct objective *objective, int64_t first, uint32_t most,
                              double *cost, double *sd)
{
    double *money = mem_alloc(2 * (size_t)most, sizeof(*money)), *money_sd = money + most;
    const double weights[] = { objective->weight_money_milli, objective->weight_carbon_milli };
    uint32_t counts[POWER_METRICS] = { most, most }, count;
    double scale_money, scale_carbon;

    memset(cost, 0, most * sizeof(*cost));
    memset(sd, 0, most * sizeof(*sd));
    if (has_metric(power, POWER_MONEY) && weights[0] > 0)
        counts[0] = fill_metric(grid, site, power, POWER_MONEY, first, most, money, money_sd);
    if (has_metric(power, POWER_CARBON) && weights[1] > 0)
        counts[1] = fill_metric(grid, site, power, POWER_CARBON, first, most, cost, sd);
    count = MIN(counts[0], counts[1]);
    scale_money = weights[0] / mean_of(money, count);
    scale_carbon = weights[1] / mean_of(cost, count);
    for (uint32_t i = 0; i < count; i++) {
        cost[i] = money[i] * scale_money + cost[i] * scale_carbon;
        sd[i] = money_sd[i] * scale_money + sd[i] * scale_carbon;
    }
    free(money);
    return count;
}

bool tariffs_outlook(const struct grid *grid, uint32_t site, const struct objective *objective,
                     int64_t now_ms, int64_t until_ms, double *cost, double *sd,
                     struct shift_outlook *outlook_out)
{
    struct site_power *power = power_of(grid, site);
    int64_t first, most;
    uint32_t count;

    if (!power || !power->has_series)
        return false;
    first = tariff_slot_of(&power->facts, now_ms);
    most = tariff_slot_of(&power->facts, until_ms - 1) - first + 1;
    if (most > (int64_t)SHIFT_SLOTS_MAX)
        most = SHIFT_SLOTS_MAX;
    if (most < 2)
        return false;
    if (objective->kind == OBJECTIVE_WEIGHTS) {
        count = fill_weighted(grid, site, power, objective, first, (uint32_t)most, cost, sd);
    } else {
        enum power_metric metric =
            objective->kind == OBJECTIVE_CHEAPEST ? POWER_MONEY : POWER_CARBON;

        if (!has_metric(power, metric))
            return false;
        count = fill_metric(grid, site, power, metric, first, (uint32_t)most, cost, sd);
    }
    *outlook_out = (struct shift_outlook){ .from_ms = tariff_slot_start_ms(&power->facts, first),
                                           .slot_ms = power->facts.slot_ms,
                                           .count = count,
                                           .cost = cost,
                                           .sd = sd };
    return count > 1;
}
