/* replay.h - a live network's journal as a load, and its sites as a fleet: yesterday under another
 * policy, fleet, tariff or outage.
 *
 * The journal is stepped through a grid of its own, as the controller did. Each job keeps the
 * moment it became ready, what it asked for, how long its last attempt ran and on which chip, and
 * when its user cancelled it. Jobs that were still waiting at the end are left out (lines_skipped):
 * nobody knows how long they would run. */
#pragma once

#include "sim/fleet.h"
#include "sim/load.h"
#include "sim/policy.h"

/* `state` is the controller's folder; its journal may be in use. `fleet_out` may be NULL.
 * `policy_out` becomes the network's own ("as-journaled"): its order, and its tenants with their
 * weights, limits and budgets as they are at the end; the list comes from `arena`.
 * -ENOENT none there; -EBADMSG damaged; -EINVAL no job or no site in it. */
int sim_replay_open(const char *state, const struct catalogue *catalogue, struct arena *arena,
                    struct sim_load **load_out, struct sim_fleet **fleet_out,
                    struct sim_policy *policy_out, struct err *err);
struct journal;
int sim_replay_read(struct journal *journal, const struct catalogue *catalogue, struct arena *arena,
                    struct sim_load **load_out, struct sim_fleet **fleet_out,
                    struct sim_policy *policy_out, struct err *err);
