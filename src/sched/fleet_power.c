/* What sites draw: figures of the catalogue, beside what they may. */
#include "sched/fleet.h"

#include "base/cleanup.h"

#define IDLE_PARTS 4 /* where the catalogue does not say: a quarter of what it draws under load */

void fleet_set_power(struct fleet *fleet, uint32_t index, const struct fleet_power *power)
{
    struct fleet_site *site = &fleet->sites[index];
    const struct fleet_power was = site->power;
    bool is_more = was.is_capped && (!power->is_capped || power->left_mw > was.left_mw ||
                                     power->cpu_mw_max < was.cpu_mw_max);

    site->power = *power;
    if (is_more) { /* what did not fit may fit now */
        kinds_touch_site(fleet, index);
        fleet->limit_version++;
        fleet->room_version++;
    }
    if (was.has_rates != power->has_rates ||
        (power->has_rates && (was.price_micro_per_kwh != power->price_micro_per_kwh ||
                              was.carbon_mg_per_kwh != power->carbon_mg_per_kwh))) {
        kinds_touch_site(fleet, index);
        fleet->shape_version++; /* the order of places is another */
        fleet->room_version++;
    }
}

/* Of a figure under load what is drawn with nothing to do; a guess that is never too low. */
static int64_t idle_of(int64_t load, int64_t idle)
{
    return idle < 0 ? (load + IDLE_PARTS - 1) / IDLE_PARTS : MIN(idle, load);
}

int64_t fleet_idle_mw(const struct fleet *fleet, const struct grant *grant)
{
    const struct fleet_site *site = &fleet->sites[grant->site];
    int64_t sum = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        const struct node_info *info = &site->info.nodes[part->node];
        int64_t cpu_mw = (int64_t)info->cpu_load_watts * 1000;

        if (info->cpus && cpu_mw > 0)
            sum += idle_of(cpu_mw,
                           info->cpu_idle_watts > 0 ? (int64_t)info->cpu_idle_watts * 1000 : -1) *
                   part->cpus / info->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            uint32_t at = part->devices[d].index;
            const struct chip_figures *chip =
                at < node->devices_count ? &site->chips[node->devices[at].chip] : NULL;

            if (chip && chip->power_watts > 0)
                sum += idle_of((int64_t)chip->power_watts * part->devices[d].milli,
                               chip->power_idle_watts < 0
                                   ? -1
                                   : (int64_t)chip->power_idle_watts * part->devices[d].milli);
        }
    }
    return sum;
}

int64_t fleet_grant_mw(const struct fleet *fleet, const struct grant *grant)
{
    return grant->is_idle ? fleet_idle_mw(fleet, grant) : fleet_load_mw(fleet, grant);
}

int64_t fleet_load_mw(const struct fleet *fleet, const struct grant *grant)
{
    const struct fleet_site *site = &fleet->sites[grant->site];
    int64_t sum = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        const struct node_info *info =
            &site->info.nodes[part->node]; /* whatever it is limited to */

        if (info->cpus && info->cpu_load_watts > 0)
            sum += (int64_t)info->cpu_load_watts * 1000 * part->cpus / info->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            uint32_t at = part->devices[d].index;

            if (at < node->devices_count && site->chips[node->devices[at].chip].power_watts > 0)
                sum += (int64_t)site->chips[node->devices[at].chip].power_watts *
                       part->devices[d].milli;
        }
    }
    return sum;
}
