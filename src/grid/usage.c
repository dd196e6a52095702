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

/* --- what is possible ------------------------------------------------------------------------ */

/* Two clocks, and a report on its way: so much is no lie. */
#define BOUND_SLACK_MS 2000
#define BOUND_SLACK_SHARE 8 /* 1/8 of the time */
/* Far above what is built: CPUs that boost, a board that draws more than it says for a while. */
#define BOUND_CPU_WATTS 25
#define BOUND_NODE_WATTS 100
#define BOUND_NODE_CPU_WATTS_MAX 100 /* a CPU of a node that says it draws more than that */
#define BOUND_DEVICE_WATTS 1500      /* whose chip has no figure */

static int64_t possible_ms(const struct grid *grid, const struct grant *grant)
{
    int64_t wall_ms = grid->now_ms - grant->granted_ms;

    return wall_ms + wall_ms / BOUND_SLACK_SHARE + BOUND_SLACK_MS;
}

static int64_t node_watts(const struct node_info *node)
{
    int64_t cpus = node->cpus ? node->cpus : 1;
    int64_t assumed = BOUND_CPU_WATTS * cpus + BOUND_NODE_WATTS;
    int64_t told = 2 * (int64_t)node->cpu_load_watts;
    int64_t most = BOUND_NODE_CPU_WATTS_MAX * cpus + BOUND_NODE_WATTS;

    told = told < most ? told : most;
    return told > assumed ? told : assumed;
}

/* Neither counts what was granted alone: where nothing confines a job, it may use the node's idle
 * CPUs as well, and a measured node draws for all of them. */
static void sum_possible(const struct grid *grid, const struct grant *grant, __int128 *cpus_out,
                         __int128 *watts_milli_out)
{
    const struct fleet_site *site = &grid->fleet.sites[grant->site];

    *cpus_out = *watts_milli_out = 0;
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct node_info *info = &site->info.nodes[part->node];
        const struct fleet_node *node = &site->nodes[part->node];

        *cpus_out += info->cpus > part->cpus ? info->cpus : part->cpus;
        *watts_milli_out += (__int128)node_watts(info) * 1000;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            uint32_t at = part->devices[d].index;
            int64_t watts = at < node->devices_count
                                ? site->chips[node->devices[at].chip].power_watts
                                : BOUND_DEVICE_WATTS;

            watts = watts > 0 ? watts + watts / 4 : BOUND_DEVICE_WATTS;
            *watts_milli_out += (__int128)watts * part->devices[d].milli;
        }
    }
}

static void dispute(struct usage_dispute *out, uint32_t *count, enum usage_claim what,
                    int64_t claimed, __int128 bound)
{
    if (claimed >= 0 && claimed <= bound)
        return;
    out[*count].what = what;
    out[*count].claimed = claimed;
    out[(*count)++].bound = claimed < 0 ? 0 : fit_64(bound);
}

uint32_t usage_dispute(const struct grid *grid, const struct grant *grant,
                       const struct usage *reported, const struct event_attempt_ended *ended,
                       struct usage_dispute out[USAGE_CLAIMS])
{
    int64_t ms = possible_ms(grid, grant);
    __int128 cpus, watts_milli;
    uint32_t count = 0;

    sum_possible(grid, grant, &cpus, &watts_milli);
    dispute(out, &count, CLAIM_TIME, reported->wall_ms, ms);
    dispute(out, &count, CLAIM_CPU, reported->cpu_ms, cpus * ms);
    dispute(out, &count, CLAIM_DEVICES, reported->device_milli_ms,
            (__int128)grant->devices_milli * ms);
    dispute(out, &count, CLAIM_ENERGY, reported->energy_mj, watts_milli * ms / 1000);
    if (ended && ended->started_ms > 0 && ended->ended_ms < ended->started_ms)
        out[count++] = (struct usage_dispute){ .what = CLAIM_ORDER,
                                               .claimed = ended->started_ms - ended->ended_ms };
    return count;
}

void usage_bounds(const struct grid *grid, const struct grant *grant, int64_t *cpu_ms_out,
                  int64_t *energy_mj_out)
{
    int64_t ms = possible_ms(grid, grant);
    __int128 cpus, watts_milli;

    sum_possible(grid, grant, &cpus, &watts_milli);
    *cpu_ms_out = fit_64(cpus * ms);
    *energy_mj_out = fit_64(watts_milli * ms / 1000);
}

/* --- what is counted ------------------------------------------------------------------------- */

static void take_claims(const struct grid *grid, const struct grant *grant,
                        const struct usage *reported, struct usage *usage)
{
    struct usage_dispute disputes[USAGE_CLAIMS];
    uint32_t count = usage_dispute(grid, grant, reported, NULL, disputes);

    usage->cpu_ms = reported->cpu_ms;
    usage->energy_mj = reported->energy_mj;
    usage->memory_peak_bytes = not_below_0(reported->memory_peak_bytes);
    usage->energy_measured = reported->energy_measured;
    for (uint32_t i = 0; i < count; i++)
        if (disputes[i].what == CLAIM_CPU)
            usage->cpu_ms = disputes[i].bound;
        else if (disputes[i].what == CLAIM_ENERGY)
            usage->energy_mj = disputes[i].bound;
}

struct usage usage_of_grant(const struct grid *grid, const struct grant *grant,
                            const struct usage *reported)
{
    struct usage_span span = { .site = grant->site,
                               .from_ms = grant->granted_ms,
                               .until_ms = grid->now_ms,
                               .cpus = grant->cpus,
                               .devices_milli = grant->devices_milli,
                               .cpu_ms_more = grant->cpu_ms_more,
                               .device_milli_ms_more = grant->device_milli_ms_more };
    struct usage claims = { 0 };

    if (reported)
        take_claims(grid, grant, reported, &claims);
    return usage_of_span(grid, &span, &claims);
}

struct usage usage_of_span(const struct grid *grid, const struct usage_span *span,
                           const struct usage *claims)
{
    const struct fleet_site *site = &grid->fleet.sites[span->site];
    const struct site_tariff *tariff = &site->info.tariff;
    int64_t cpu_price = fleet_cpu_price(site), device_price = fleet_device_price(site);
    int64_t wall_ms = span->until_ms - span->from_ms;
    __int128 cpu_ms = (__int128)span->cpus * wall_ms + span->cpu_ms_more;
    __int128 device_ms = (__int128)span->devices_milli * wall_ms + span->device_milli_ms_more;
    struct usage usage = *claims;
    int64_t power_price, carbon;

    usage.wall_ms = wall_ms;
    usage.cpu_held_ms = fit_64(cpu_ms);
    usage.device_milli_ms = fit_64(device_ms);
    /* 1 kWh = 3.6e9 mJ; g/1000 per kWh = 1000 ug per kWh. */
    usage.carbon_ug = fit_64(scaled(usage.energy_mj, tariff->carbon_g_per_kwh_milli, 3600000));
    usage.price_micro =
        fit_64(scaled(cpu_ms, cpu_price, 3600000) + scaled(device_ms, device_price, 3600000000LL) +
               scaled(usage.energy_mj, tariff->power_price_micro_per_kwh, 3600000000LL));
    if (grid->powers_count && tariffs_cost(grid, span->site, span->from_ms, span->until_ms,
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
