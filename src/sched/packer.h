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

#define PACKER_STATES_MAX 4096u
#define PACKER_STATES_FEW 256u /* of PACKER_NODES */

enum packer_reach {
    PACKER_OFF,
    PACKER_NODES, /* as it began, for journals of then: devices alone, nodes of one candidate alone
                   */
    PACKER_PLACES
};

struct packer {
    uint32_t reach; /* enum packer_reach; who makes it another grows fleet.shape_version */
    struct fill *fill;
    struct fill_room room; /* of the fleet, when last looked at */
    struct intern kinds;   /* numbered in the order in which they came */
    struct fill_group *groups;
    uint32_t groups_cap;
};

struct packer *packer_create(enum packer_reach reach);
void packer_destroy(struct packer *packer);
/* The site's kinds of chip get their numbers; known ones have theirs. */
void packer_add_site(struct packer *packer, const struct fleet_site *site);
/* Sum up the fleet's room: scores are as of then. Costs the pools there are. */
void packer_look(struct packer *packer, const struct fleet *fleet);
/* A job of this shape has arrived; draws anew when that is due. */
void packer_learn(struct packer *packer, struct shape *shape, const struct fleet *fleet);

/* What the shape asks of a node, for packer_score; false: its node is not chosen by score. */
bool packer_ask(struct shape *shape, const struct fleet *fleet);
/* Was it true, and is it as of now? */
static inline bool packer_knows(const struct shape *shape, const struct fleet *fleet)
{
    return shape->is_scored && shape->ask_version == fleet->shape_version;
}
/* Do scores choose among all candidates of the shape, sorted as they are, and not only among the
 * nodes of the one that its objective puts first? */
static inline bool packer_chooses_place(const struct packer *packer, const struct shape *shape)
{
    return packer->reach == PACKER_PLACES && shape->is_indifferent && !shape->within &&
           !shape->spread && !shape->apart;
}
static inline uint32_t packer_states_max(const struct packer *packer)
{
    return packer->reach == PACKER_PLACES ? PACKER_STATES_MAX : PACKER_STATES_FEW;
}
struct packer_look { /* at a node, for an ask */
    double gain;
    uint32_t kept_milli; /* of it, held back for others */
    uint32_t share_room; /* free of the device to share; 1000 for whole ones */
};
/* What placing it there gains, until the next draw (fill_gain). False: it does not fit there, or
 * the node has several kinds of device. */
bool packer_look_at(const struct packer *packer, const struct shape *shape,
                    const struct fleet_node *node, uint16_t chip, uint16_t kind, enum fit_when when,
                    struct packer_look *out);
/* How good that is, beside what is kept for others as of packer_look. */
double packer_score(const struct packer *packer, const struct shape *shape, uint16_t kind,
                    const struct packer_look *look);
static inline uint64_t packer_draws(const struct packer *packer)
{
    return fill_memory(packer->fill)->draws_count;
}
/* The number of a kind of chip. */
uint16_t packer_kind(const struct packer *packer, const char *kind);
