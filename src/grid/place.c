/* Sites, nodes and tenants: events about them. */
#include "grid/power.h"
#include "grid/packing.h"
#include "grid/rates.h"
#include "grid/ranks.h"
#include "grid/state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int find_site(const struct grid *grid, const char *name, struct err *err)
{
    int index = name ? fleet_find_site(&grid->fleet, name) : -1;

    return index >= 0 ? index : err_set(err, -ENOENT, "there is no site %s", name ? name : "");
}

static int check_node_state(const struct grid *grid, const struct event *event, struct err *err)
{
    int site = find_site(grid, event->node_state.site, err), node;
    const struct fleet_node *at;
    int32_t device = event->node_state.device;

    if (site < 0)
        return site;
    node = fleet_find_node(&grid->fleet, (uint32_t)site,
                           event->node_state.node ? event->node_state.node : "");
    if (node < 0)
        return err_set(err, -ENOENT, "site %s has no node %s", event->node_state.site,
                       event->node_state.node ? event->node_state.node : "");
    at = &grid->fleet.sites[site].nodes[node];
    if (device < -1 || (device >= 0 && (uint32_t)device >= at->devices_count))
        return err_set(err, -ENOENT, "node %s has no device %d", event->node_state.node, device);
    if ((device < 0 ? at->cordoned : at->devices[device].cordoned) == event->node_state.cordoned)
        return err_set(err, -EALREADY, "node %s is as it should be", event->node_state.node);
    return 0;
}

static int check_tenant(const struct grid *grid, const struct event *event, struct err *err)
{
    const char *name = event->tenant_set.tenant;

    if (!name || !*name || strnlen(name, MODEL_NAME_BYTES) == MODEL_NAME_BYTES)
        return err_set(err, -EINVAL, "a tenant needs a name of at most %u bytes",
                       MODEL_NAME_BYTES - 1);
    if (event->tenant_set.cpus_max < -1 || event->tenant_set.devices_milli_max < -1 ||
        event->tenant_set.jobs_max < -1)
        return err_set(err, -EINVAL, "tenant %s: a limit is -1 (none) or more", name);
    if (grid->tenant_names.live_count >= TENANTS_MAX &&
        !intern_find(&grid->tenant_names, name, (uint32_t)strlen(name)))
        return err_set(err, -ENOSPC, "the network has %u tenants already", TENANTS_MAX);
    return shares_check_tenant(grid, event, err);
}

int place_check(const struct grid *grid, const struct event *event, struct err *err)
{
    int site;

    switch (event->type) {
    case EVENT_SITE_JOINED:
        if (event->site_joined.chips_count > SITE_CHIPS_MAX)
            return err_set(err, -EINVAL, "more than %u kinds of chip", SITE_CHIPS_MAX);
        return fleet_check_site(&grid->fleet, &event->site_joined.site, GRID_SITES_MAX, err);
    case EVENT_SITE_SEEN:
        if (event->site_seen.lease_ms < 0 || event->site_seen.lease_ms > GRID_LEASE_MS_MAX)
            return err_set(err, -EINVAL, "a lease of %" PRId64 " ms", event->site_seen.lease_ms);
        site = find_site(grid, event->site_seen.site, err);
        return site < 0 ? site : 0;
    case EVENT_SITE_LOST:
        site = find_site(grid, event->site_lost.site, err);
        return site < 0 ? site : 0;
    case EVENT_NODE_STATE:
        return check_node_state(grid, event, err);
    case EVENT_TENANT_SET:
        return check_tenant(grid, event, err);
    default:
        return -EINVAL;
    }
}

static void set_tenant(struct grid *grid, const struct event *event)
{
    uint32_t number = grid_tenant(grid, event->tenant_set.tenant);
    struct tenant *tenant = &grid->tenants[number];

    if (tenant->has_limits)
        grid_tenant_unref(grid, number); /* its limits count as one user */
    tenant->has_limits = true;
    tenant->cpus_max = event->tenant_set.cpus_max;
    tenant->devices_milli_max = event->tenant_set.devices_milli_max;
    tenant->jobs_max = event->tenant_set.jobs_max;
    tenant->parent = event->tenant_set.parent && *event->tenant_set.parent
                         ? intern_find(&grid->tenant_names, event->tenant_set.parent,
                                       (uint32_t)strlen(event->tenant_set.parent))
                         : 0;
    tenant->weight_milli = event->tenant_set.weight_milli;
    tenant->guarantee_cpus = event->tenant_set.guarantee_cpus;
    tenant->guarantee_devices_milli = event->tenant_set.guarantee_devices_milli;
    tenant->budget_micro = event->tenant_set.budget_micro;
    shares_rebuild(grid, false);
}

void place_apply(struct grid *grid, const struct event *event)
{
    struct fleet *fleet = &grid->fleet;
    int site, node;

    switch (event->type) {
    case EVENT_SITE_JOINED:
        power_recount(grid,
                      fleet_set_site(fleet, &event->site_joined.site, event->site_joined.chips,
                                     event->site_joined.chips_count));
        /* It takes work again: another lease has begun. */
        site = fleet_find_site(fleet, event->site_joined.site.name);
        fleet->sites[site].lease.is_over = false;
        fleet->sites[site].lease.lost_ms = 0;
        packing_site_joined(grid, event->site_joined.site.name);
        rates_site_joined(grid, event->site_joined.site.name);
        shares_set_total(grid);
        ranks_fleet_changed(grid);
        break;
    case EVENT_SITE_SEEN:
        site = fleet_find_site(fleet, event->site_seen.site);
        fleet->sites[site].session = event->site_seen.session;
        fleet->sites[site].lease = (struct fleet_lease){ .ms = event->site_seen.lease_ms };
        fleet_set_reachable(fleet, (uint32_t)site, true);
        break;
    case EVENT_SITE_LOST:
        site = fleet_find_site(fleet, event->site_lost.site);
        if (fleet->sites[site].session != event->site_lost.session)
            return; /* that session was followed by another */
        if (fleet->sites[site].reachable)
            fleet->sites[site].lease.lost_ms = grid->now_ms;
        fleet_set_reachable(fleet, (uint32_t)site, false);
        break;
    case EVENT_NODE_STATE:
        site = fleet_find_site(fleet, event->node_state.site);
        node = fleet_find_node(fleet, (uint32_t)site, event->node_state.node);
        fleet_set_cordon(fleet, (uint32_t)site, (uint32_t)node, event->node_state.device,
                         event->node_state.cordoned,
                         event->node_state.reason ? event->node_state.reason : "");
        if (event->node_state.cordoned && event->node_state.device < 0)
            elastic_node_closed(grid, (uint32_t)site, (uint32_t)node);
        break;
    case EVENT_SITE_FORGOTTEN:
        forget_apply(grid, event);
        shares_set_total(grid);
        break;
    case EVENT_TENANT_SET:
        set_tenant(grid, event);
        break;
    default:
        return;
    }
    grid->wants_pass = true;
}
