/* fit.h - where a gang fits: all of its tasks or none, at one site, on one kind of chip.
 *
 * Packing keeps what is whole whole: work without devices goes to nodes without devices first, a
 * share of a device to the device with the least room that takes it, the rest of a gang to the
 * node with the least left over. Ties go by index. Existence is exact: when some placement
 * exists, one is found (up to GRANT_PARTS_MAX nodes). */
#pragma once

#include "sched/fleet.h"
#include "sched/shape.h"

#define GRANT_PARTS_MAX 4096u /* nodes of one gang: what one message to a site holds */

enum fit_when {
    FIT_NOW,     /* beside all that is held */
    FIT_LIMITED, /* and beside what is promised within fleet.window */
    FIT_EMPTY,   /* if nothing were held */
    FIT_EVER     /* if besides every node and device were there, well and open */
};

/* How many tasks of the shape fit on the node. */
uint32_t fit_tasks(const struct shape *shape, const struct fleet_site *site,
                   const struct fleet_node *node, uint16_t chip, enum fit_when when);

struct fit_part {
    uint32_t node, tasks;
    uint64_t waste; /* what would be left over, packed for comparing */
};
struct fit_group {               /* nodes that are alike for this shape */
    uint32_t tasks, class, node; /* class ROOM_NONE: one node that stands apart */
    uint32_t nodes_count;
    uint64_t waste;
};
/* Scratch and answer of a search; reuse it. */
struct fit {
    uint32_t site;
    uint16_t chip;
    uint32_t parts_count, parts_cap;
    struct fit_part *parts;
    struct fit_group *groups;
    uint32_t groups_cap;
    uint32_t *nodes;
    uint32_t nodes_cap;
    uint32_t rank;       /* of the candidate, as fit_find found it */
    uint32_t share_room; /* of the device to share, as its node was chosen for it; 0 = any */
};
void fit_fini(struct fit *fit);

/* What one device draws at most there, by the catalogue; 0 = not known. */
int64_t fit_chip_watts(const struct shape *shape, const struct fleet_site *site, uint16_t chip);
/* May the site draw what the whole gang would, at most? */
bool fit_has_power(const struct shape *shape, const struct fleet_site *site, uint16_t chip);
/* Try one candidate; the answer is in `fit`. FIT_NOW and FIT_LIMITED look at the distinct states
 * of the site's nodes (room.h), the others at each node. */
bool fit_candidate(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                   uint16_t chip, enum fit_when when, struct fit *fit);
/* The same answer by looking at each node: while things are tried out, and in tests. */
bool fit_candidate_plainly(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                           uint16_t chip, enum fit_when when, struct fit *fit);
/* Among these nodes alone, ascending (NULL: the first `count` of the site): one node for all of it
 * where one holds it, else the fewest. */
bool fit_among(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
               enum fit_when when, const uint32_t *nodes, uint32_t count, struct fit *fit);
/* On one node or not at all. */
bool fit_among_one(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                   enum fit_when when, struct fit *fit);
/* How many tasks fit at a candidate now, none of a node counted beyond the shape's own. */
uint64_t fit_count(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                   uint16_t chip);
/* Can no node of the pool hold any of it, whatever is free? Cheap; false = perhaps. */
bool fit_never_in_pool(const struct shape *shape, const struct room_pool *pool, uint16_t chip);
/* Try the shape's candidates in the objective's order. A failure is remembered by candidate until
 * room appears there. */
bool fit_find(struct shape *shape, const struct fleet *fleet, const struct objective *objective,
              enum fit_when when, struct fit *fit);
/* As fit_find, but never on others' cells; what is not found is not remembered. */
bool fit_find_firm(struct shape *shape, const struct fleet *fleet,
                   const struct objective *objective, enum fit_when when, struct fit *fit);
/* Was it found not to fit, and has nothing changed since? */
static inline bool fit_is_known_not(const struct shape *shape, const struct fleet *fleet,
                                    enum fit_when when)
{
    return shape->no_fit_version == fleet->room_version ||
           (when == FIT_LIMITED && shape->no_fit_limited == fleet->limit_version &&
            fleet->window.until_ms >= shape->no_fit_until_ms);
}
/* Does it fit at none of them now? As it is, not as of some earlier asking. */
bool fit_is_nowhere(struct shape *shape, const struct fleet *fleet, struct fit *fit);
/* Is there a candidate at all in which it fits now? Remembered until room appears, or `pass` (not
 * 0) is another: a yes is as of the first asking in that pass. */
static inline bool fit_exists(struct shape *shape, const struct fleet *fleet, uint64_t pass,
                              struct fit *fit)
{
    if (shape->no_fit_version == fleet->room_version)
        return false;
    if (shape->fits_in_pass == pass)
        return true;
    if (fit_is_nowhere(shape, fleet, fit))
        return false;
    shape->fits_in_pass = pass;
    return true;
}
/* The grant for what was found, with its devices chosen; not yet held. */
struct grant *fit_grant(const struct shape *shape, const struct fleet *fleet, const struct fit *fit,
                        enum fit_when when);
