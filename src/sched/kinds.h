/* kinds.h - what has changed where, for those who remember what they worked out before it.
 *
 * A kind is one chip at one site, or (the last of a site) work without devices or on any chip
 * there. Whatever is looked for at a candidate (shape.h) depends on the nodes of its kind alone, so
 * what was found stands until one of them changes: versions tell that something did, the log what.
 * They are side by side for the whole fleet, since a pass compares many of them. Derived, never
 * stored; laid out anew when a site's chips change, with fleet.shape_version: all is then looked
 * for again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fleet;
struct fleet_site;
struct grant;

#define KIND_CHANGES 64u
struct fleet_change { /* one part of a grant was made, has ended, or is bound to another end */
    int64_t end_ms;   /* of the grant; INT64_MAX where it was made another */
    uint32_t node;
    bool is_hold; /* it leaves less room, not more */
};
struct fleet_kind {
    uint64_t room_version;  /* grows when more may fit here than before */
    uint64_t limit_version; /* the same beside what is promised */
    uint64_t changes_count;
    uint64_t whole; /* devices of which nothing is used, well or not: a bound for quick refusals */
    struct fleet_change *changes; /* the last ones: [number % KIND_CHANGES]; NULL = none yet */
};

void kinds_fini(struct fleet *fleet);
/* By the sites' chips; all versions are new. Of the site whose chips are others, say
 * kinds_count_whole after. */
void kinds_lay_out(struct fleet *fleet);
void kinds_count_whole(struct fleet_site *site);     /* anew; fleet_take_part keeps it along */
bool kinds_are_sound(const struct fleet_site *site); /* for checks: are these right? */
/* More may fit beside the promises, or (has_room) at all: on the node, on a grant's, at the site.
 */
void kinds_touch_node(struct fleet *fleet, uint32_t site, uint32_t node, bool has_room);
void kinds_touch_grant(struct fleet *fleet, const struct grant *grant, bool has_room);
void kinds_touch_site(struct fleet *fleet, uint32_t site);
void kinds_log(struct fleet *fleet, const struct grant *grant, int64_t end_ms, bool is_hold);
