/* apart.h - work that keeps away from other work of its tenant, at one node, rack, supernode or
 * site (struct request_apart).
 *
 * Two jobs of a tenant are kept apart when one avoids a label that the other has; how far is said
 * by who avoids, and the wider of both holds. It works both ways: who comes later keeps away,
 * whoever of the two said so. Tasks of one gang are not kept apart from each other.
 *
 * A site knows where such work holds something (marks, kept along by fleet_take_part) and where it
 * is promised something. Few jobs say anything of this; the others cost one comparison. Those that
 * do look at each node, with what was found kept until a mark changes. */
#pragma once

#include "model/request.h"

#include <stdbool.h>
#include <stdint.h>

struct fleet_limit;
struct fleet_site;
struct shape;

struct apart_mark { /* one part of a grant, or of a promised one */
    const struct request_apart *of;
    uint32_t node;
    const struct fleet_limit *limit; /* of the promise; NULL = held */
};
struct apart_marks { /* of a site; in no order that means anything */
    struct apart_mark *held, *promised;
    uint32_t held_count, held_cap, promised_count, promised_cap;
    uint64_t version; /* of the held ones, and of the site's nodes and domains */
};
void apart_marks_fini(struct apart_marks *marks);
void apart_hold(struct apart_marks *marks, const struct request_apart *of, uint32_t node);
void apart_release(struct apart_marks *marks, const struct request_apart *of, uint32_t node);
void apart_promise(struct apart_marks *marks, const struct request_apart *of, uint32_t node,
                   const struct fleet_limit *limit);
void apart_unpromise(struct apart_marks *marks, const struct fleet_limit *limit);

/* Does it say anything? */
static inline bool apart_is_told(const struct request_apart *apart)
{
    return apart->labels_count || apart->avoids_count;
}
/* How far apart the two must be: enum apart_level; -1 = they need not. */
int apart_conflict(const struct request_apart *a, const struct request_apart *b);

/* What is known of a site's nodes for one shape (shape.bars). */
struct apart_bars {
    uint64_t *bits; /* by node: barred by what is held */
    uint32_t words, site;
    uint64_t version;
};
struct apart_bars *apart_bars_create(void);
void apart_bars_destroy(struct apart_bars *bars);
/* May the shape not be on this node, for what is held at the site and (`is_limited`) what is
 * promised there within fleet.window? */
bool apart_bars_node(const struct shape *shape, const struct fleet_site *site, uint32_t node,
                     bool is_limited);
/* A job that keeps it from being at the site as it could else be; NULL = none. */
const struct request_apart *apart_find(const struct shape *shape, const struct fleet_site *site);
