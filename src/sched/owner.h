/* owner.h - what the owners of sites let happen at them, as the scheduler obeys it: who may come at
 * all (that decides a shape's candidates), at which hours, at which prices at least; and what an
 * operator limits a site to.
 *
 * A site without a policy, and a shape of which nobody asks anything, cost a comparison. */
#pragma once

#include "model/site_policy.h"
#include "sched/shape.h"

/* What keeps the shape out, whatever the time. `label_out` and `home_out` (may be NULL): of the
 * data that may not come, or not leave site `home`. */
enum policy_bar owner_bar(const struct fleet *fleet, const struct shape *shape, uint32_t site,
                          const char **label_out, uint32_t *home_out);
static inline bool owner_lets(const struct fleet *fleet, const struct shape *shape, uint32_t site)
{
    return (!fleet->policies_count && !shape->access) ||
           owner_bar(fleet, shape, site, NULL, NULL) == POLICY_LETS;
}

/* The first time from `time_ms` on at which the site's hours let the shape start there, and it can
 * be told to; INT64_MAX = never. */
int64_t owner_next_start(const struct fleet *fleet, const struct shape *shape, uint32_t site,
                         int64_t time_ms);
/* At fleet.now_ms. */
static inline bool owner_is_open(const struct fleet *fleet, const struct shape *shape,
                                 uint32_t site)
{
    const struct site_policy *policy = fleet->sites[site].policy;

    if (!policy || (!policy->windows_count && !policy->contacts_count))
        return true;
    return fleet->sites[site].reachable &&
           owner_next_start(fleet, shape, site, fleet->now_ms) == fleet->now_ms;
}
/* Is it heard, or will it be by its plan? */
static inline bool owner_is_expected(const struct fleet_site *site)
{
    return site->reachable || (site->policy && site->policy->contacts_count);
}

/* Take the policy (copied; NULL or empty = none) or the limits in force from now on. */
void fleet_set_policy(struct fleet *fleet, uint32_t site, const struct site_policy *policy);
void fleet_set_limits(struct fleet *fleet, uint32_t site, const struct site_limits *limits);
/* A window has opened: what did not fit may fit now. */
void fleet_open_hours(struct fleet *fleet, uint32_t site);
/* Nodes as they were told, less what is over the site's limits: of the last nodes first. */
void fleet_trim_nodes(struct fleet_site *site);
