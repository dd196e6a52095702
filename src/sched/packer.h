/* packer.h - which of the nodes that have room a job goes to, by expected fill (fill.h).
 *
 * For work that fits one node and leaves some of it over: a share of a device, or fewer devices
 * than the node has. Nodes are scored by their distinct states (room.h), and only among those in
 * which the fit is certain; what is asked is learned as it arrives. Without a packer (fleet.packer
 * NULL) the node with the least left over is taken.
 *
 * Where more than PACKER_STATES_MAX states would have to be scored the least left over is taken as
 * well: that bounds a decision. A value not seen since the last draw costs 2-20 us, a known one
 * 30 ns. Kinds of chip past FILL_CHIPS_MAX - 1 count as one.
 *
 * Pure; one owner. What lasts is the fill's memory and the order of the kinds. */
#pragma once

#include "sched/fill.h"
#include "sched/fit.h"
#include "sched/shape.h"

#define PACKER_STATES_MAX 256u

struct packer {
    struct fill *fill;
    struct fill_room room; /* of the fleet, when last looked at */
    struct intern kinds;   /* numbered in the order in which they came */
    struct fill_group *groups;
    uint32_t groups_cap;
};

struct packer *packer_create(void);
void packer_destroy(struct packer *packer);
/* The site's kinds of chip get their numbers; known ones have theirs. */
void packer_add_site(struct packer *packer, const struct fleet_site *site);
/* Sum up the fleet's room: scores are as of then. Costs the pools there are. */
void packer_look(struct packer *packer, const struct fleet *fleet);
/* A job of this shape has arrived; draws anew when that is due. */
void packer_learn(struct packer *packer, struct shape *shape, const struct fleet *fleet);

/* What the shape asks of a node, for packer_score; false: its node is not chosen by score. */
bool packer_ask(struct shape *shape, const struct fleet *fleet);
/* How good the node is for it; it fits there. `free_milli_out`: of the device to share; 1000.
 * False: this node is not scored (it would be full, or has several kinds of device). */
bool packer_score(const struct packer *packer, const struct shape *shape,
                  const struct fleet_node *node, uint16_t chip, uint16_t kind, enum fit_when when,
                  double *score_out, uint32_t *free_milli_out);
/* The number of a kind of chip. */
uint16_t packer_kind(const struct packer *packer, const char *kind);
