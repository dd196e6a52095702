/* guards.h - whole cells of a site's topology that tenants are guaranteed: nodes, racks,
 * supernodes, pools of one kind of chip (HiveD, OSDI'20).
 *
 * A tenant that is set may be guaranteed so many cells of a level of a chip at a site; all under it
 * that have none of their own share them. Each cell is bound to a place in the topology, no two of
 * them to the same node, and the tenant is the *guard* of its nodes. From then on
 *   - of others only work that can be made to stop (lent: class low or with checkpoints, and queued
 *     again on loss) is placed there, and no start is ever promised to it there;
 *   - the guard's own work is tried there first, and what is lent is stopped for it as soon as it
 *     would fit there were nothing lent (reclaim.c). Its own work there is never stopped for
 *     others.
 * What ran there when the cell was bound ends by itself. Cells are bound where least of that is,
 * and side by side, so that what is left of the topology stays whole (buddy allocation).
 *
 * A cell is a place by name: nodes that join it (their labels say so) are in it, closed ones come
 * back to it. State: the cells, in the order in which they were bound, and the numbers of their
 * guards. A node's guard is that of the first cell that it is in. */
#pragma once

#include "grid/event.h"

#define GUARD_CELLS_MAX 65536u
#define GUARDS_MAX 4096u
#define GUARD_CHIP_CPU "cpu" /* nodes without devices */

struct grid;
struct job;
struct terms;
struct cursor;
struct shape;
struct grant;

struct guard_cell {
    uint32_t guard; /* place in grid.guards, from 1 */
    uint32_t site;
    uint32_t level;               /* enum topology_level */
    char chip[MODEL_NAME_BYTES];  /* kind of chip, or GUARD_CHIP_CPU */
    char place[MODEL_NAME_BYTES]; /* label of the rack or supernode, name of the node; "" = pool */
    int64_t since_ms;             /* bound, or its nodes are others since then */
};

/* -ENOENT: no such tenant (it must be set before) or site; -EINVAL; -EALREADY; -ENOSPC: the site
 * cannot hold all that is promised, each cell whole. */
int guards_check_event(const struct grid *grid, const struct event_tenant_cells *event,
                       struct err *err);
void guards_apply_event(struct grid *grid, const struct event_tenant_cells *event);
/* A site or the tree of tenants may have changed with this. */
void guards_follow(struct grid *grid, const struct event *event);

/* Whose cells are the tenant's own; 0 = nobody's. */
uint32_t guards_of(const struct grid *grid, uint32_t tenant);
uint32_t guards_ask(const struct grid *grid, const char *tenant, const struct terms *terms);
/* Can it always be made to stop? */
bool guards_may_lend(const struct terms *terms);
/* The job holds something of its own cells: it is not stopped for who has another guard. */
bool guards_keeps(const struct grid *grid, const struct job *job, const struct job *against);
/* Is all of the plan where the shape may be for good? */
bool guards_lets(const struct grid *grid, const struct shape *shape, const struct grant *plan);

void guards_put(const struct grid *grid, struct buf *out);
int guards_take(struct grid *grid, struct cursor *in);      /* -EBADMSG. Sites and jobs are there */
int guards_check(const struct grid *grid, struct err *err); /* the invariants */
