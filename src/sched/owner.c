#include "sched/owner.h"

#include "sched/mem.h"

#include <stdlib.h>
#include <string.h>

#define CONTACTS_TRIED_MAX 256u

/* --- who may come --------------------------------------------------------------------------- */

/* Data that is at home at a site which does not let it leave stays at the sites where it is. */
static bool may_leave(const struct fleet *fleet, uint32_t to, const char *label, uint32_t *home_out)
{
    const struct site_policy *there = fleet->sites[to].policy;

    if (there && site_policy_has_label(there->here, there->here_count, label))
        return true;
    for (uint32_t i = 0; i < fleet->sites_count; i++) {
        const struct site_policy *home = fleet->sites[i].policy;

        if (!home || !home->leave_told || i == to ||
            !site_policy_has_label(home->here, home->here_count, label) ||
            site_policy_has_label(home->leave, home->leave_count, label))
            continue;
        if (home_out)
            *home_out = i;
        return false;
    }
    return true;
}

enum policy_bar owner_bar(const struct fleet *fleet, const struct shape *shape, uint32_t site,
                          const char **label_out, uint32_t *home_out)
{
    static const struct request_access nobody;
    const struct request_access *ask = shape->access ? shape->access : &nobody;
    const struct site_policy *policy = fleet->sites[site].policy;
    enum policy_bar bar = policy ? site_policy_bar(policy, ask, label_out) : POLICY_LETS;

    for (uint32_t i = 0; i < ask->refused_count && bar == POLICY_LETS; i++)
        if (ask->refused[i] == site)
            bar = POLICY_BARS_REFUSED;
    for (uint32_t i = 0; i < ask->labels_count && bar == POLICY_LETS; i++)
        if (!may_leave(fleet, site, ask->labels[i], home_out)) {
            if (label_out)
                *label_out = ask->labels[i];
            bar = POLICY_BARS_LEAVE;
        }
    return bar;
}

int64_t owner_next_start(const struct fleet *fleet, const struct shape *shape, uint32_t site,
                         int64_t time_ms)
{
    const struct site_policy *policy = fleet->sites[site].policy;

    int64_t span_ms = shape->access ? shape->access->span_ms : 0;

    if (!policy || (!policy->contacts_count && (!policy->windows_count || !span_ms)))
        return time_ms;
    for (uint32_t i = 0; i < CONTACTS_TRIED_MAX && time_ms < INT64_MAX; i++) {
        int64_t open_ms = policy->windows_count && span_ms
                              ? site_policy_next_start(policy, time_ms, span_ms)
                              : time_ms;
        int64_t heard_ms =
            open_ms < INT64_MAX ? site_policy_next_contact(policy, open_ms) : INT64_MAX;

        if (heard_ms == time_ms)
            return time_ms;
        time_ms = heard_ms;
    }
    return time_ms < INT64_MAX ? INT64_MAX
                               : time_ms; /* they never meet, as far as that was tried */
}

/* --- what is in force ----------------------------------------------------------------------- */

static void places_changed(struct fleet *fleet, uint32_t site)
{
    kinds_touch_site(fleet, site);
    fleet->limit_version++;
    fleet->shape_version++;
    fleet->room_version++;
}

void fleet_set_policy(struct fleet *fleet, uint32_t index, const struct site_policy *policy)
{
    struct fleet_site *site = &fleet->sites[index];

    fleet->policies_count -= site->policy != NULL;
    free(site->policy);
    site->policy = NULL;
    if (policy && !site_policy_is_empty(policy)) {
        site->policy = mem_alloc(1, sizeof(*policy));
        *site->policy = *policy;
        fleet->policies_count++;
    }
    places_changed(fleet, index);
}

void fleet_open_hours(struct fleet *fleet, uint32_t site)
{
    kinds_touch_site(fleet, site);
    fleet->limit_version++;
    fleet->room_version++;
}

void fleet_set_limits(struct fleet *fleet, uint32_t site, const struct site_limits *limits)
{
    fleet->sites[site].limits = *limits;
    fleet->sites[site].limits_told = limits->watts >= 0 || limits->cpus >= 0 ||
                                     limits->devices >= 0 || limits->memory_bytes >= 0;
    fleet->sites[site].has_limits =
        limits->cpus >= 0 || limits->devices >= 0 || limits->memory_bytes >= 0;
    fleet_index_site(fleet, site);
}

/* Of `has`, what is left of the limit; -1 = there is none. */
static int64_t take_most(int64_t *left, int64_t has)
{
    int64_t most = *left < 0 || has < *left ? has : *left;

    if (*left >= 0)
        *left -= most;
    return most;
}

void fleet_trim_nodes(struct fleet_site *site)
{
    struct site_limits left = { -1, -1, -1, -1 };

    if (site->has_limits)
        left = site->limits;
    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const struct node_info *info = &site->info.nodes[i];
        struct fleet_node *node = &site->nodes[i];

        node->cpus = info->cpus;
        node->memory_bytes = info->memory_bytes;
        for (uint32_t d = 0; d < node->devices_count; d++)
            node->devices[d].over = false;
        if (!node_is_open(node))
            continue;
        node->cpus = (uint32_t)take_most(&left.cpus, info->cpus);
        node->memory_bytes = take_most(&left.memory_bytes, info->memory_bytes);
        for (uint32_t d = 0; d < node->devices_count; d++) {
            struct fleet_device *device = &node->devices[d];

            if (device_is_usable(device))
                device->over = take_most(&left.devices, 1) == 0;
        }
    }
}
