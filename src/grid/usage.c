#include "grid/power.h"
#include "grid/state.h"

static int64_t fit_64(__int128 value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static int64_t not_below_0(int64_t value)
{
    return value < 0 ? 0 : value;
}

/* value * price / scale, rounded to the nearest. */
static __int128 scaled(__int128 value, int64_t price, int64_t scale)
{
    return (value * price + scale / 2) / scale;
}

struct usage usage_of_grant(const struct grid *grid, const struct grant *grant,
                            const struct usage *reported)
{
    const struct fleet_site *site = &grid->fleet.sites[grant->site];
    const struct site_tariff *tariff = &site->info.tariff;
    int64_t cpu_price = fleet_cpu_price(site), device_price = fleet_device_price(site);
    int64_t wall_ms = grid->now_ms - grant->granted_ms;
    __int128 cpu_ms = (__int128)grant->cpus * wall_ms;
    __int128 device_ms = (__int128)grant->devices_milli * wall_ms;
    struct usage usage = { .wall_ms = wall_ms };
    int64_t power_price, carbon;

    usage.cpu_held_ms = fit_64(cpu_ms);
    usage.device_milli_ms = fit_64(device_ms);
    if (reported) { /* a site's figures are a claim: never below zero */
        usage.cpu_ms = not_below_0(reported->cpu_ms);
        usage.memory_peak_bytes = not_below_0(reported->memory_peak_bytes);
        usage.energy_mj = not_below_0(reported->energy_mj);
        usage.energy_measured = reported->energy_measured;
    }
    /* 1 kWh = 3.6e9 mJ; g/1000 per kWh = 1000 ug per kWh. */
    usage.carbon_ug = fit_64(scaled(usage.energy_mj, tariff->carbon_g_per_kwh_milli, 3600000));
    usage.price_micro =
        fit_64(scaled(cpu_ms, cpu_price, 3600000) + scaled(device_ms, device_price, 3600000000LL) +
               scaled(usage.energy_mj, tariff->power_price_micro_per_kwh, 3600000000LL));
    if (grid->powers_count && tariffs_cost(grid, grant->site, grant->granted_ms, grid->now_ms,
                                           usage.energy_mj, &power_price, &carbon)) {
        usage.carbon_ug = carbon;
        usage.price_micro = fit_64(scaled(cpu_ms, cpu_price, 3600000) +
                                   scaled(device_ms, device_price, 3600000000LL) + power_price);
    }
    return usage;
}

static void add(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = INT64_MAX;
}

void usage_add(struct usage *sum, const struct usage *usage, bool first)
{
    add(&sum->wall_ms, usage->wall_ms);
    add(&sum->cpu_ms, usage->cpu_ms);
    add(&sum->cpu_held_ms, usage->cpu_held_ms);
    add(&sum->device_milli_ms, usage->device_milli_ms);
    if (usage->memory_peak_bytes > sum->memory_peak_bytes)
        sum->memory_peak_bytes = usage->memory_peak_bytes;
    add(&sum->energy_mj, usage->energy_mj);
    add(&sum->carbon_ug, usage->carbon_ug);
    add(&sum->price_micro, usage->price_micro);
    sum->energy_measured = usage->energy_measured && (first || sum->energy_measured);
}
