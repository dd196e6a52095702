/* fill_set.h - many nodes scored at once: those alike in free room are scored once.
 *
 * Nodes are known by a small number of the caller's choice (0 .. nodes_max - 1), which also
 * settles ties: of equal scores the lowest number wins. The set keeps its own picture of each
 * node's free room: the caller says what it is after every change (fill_set_put). A decision
 * costs one look at each distinct free room (of 1,213 nodes some 300-700, about 20 us) and a few
 * values not seen before. Owns its `fill`; one owner, pure, as fill.h; some 400 bytes a node.
 *
 * For a snapshot keep fill_memory(fill_set_fill(set)); to go on, fill_restore it into a new set and
 * put the nodes: in which order does not matter. */
#pragma once

#include "sched/fill.h"

struct fill_choice {
    uint32_t node;
    uint16_t devices_count;
    uint16_t devices[FILL_DEVICES_MAX]; /* indices into the node's free_milli, rising */
    double score;
};

struct fill_set; /* opaque */
/* NULL: parameters out of range, or memory is short. */
struct fill_set *fill_set_create(const struct fill_params *params, uint64_t seed,
                                 uint32_t nodes_max);
void fill_set_destroy(struct fill_set *set);

/* The node's free room is now this (sealed or not); `memory_bytes` of memory are free. A new
 * number joins; `node` NULL leaves. */
void fill_set_put(struct fill_set *set, uint32_t number, const struct fill_node *node,
                  int64_t memory_bytes);
/* An ask has arrived: learn from it, and draw anew when that is due. Once each. */
void fill_set_learn(struct fill_set *set, const struct fill_ask *ask);
/* The best node for the ask; nothing is taken. False: it fits nowhere. */
bool fill_set_find(struct fill_set *set, const struct fill_ask *ask, int64_t memory_bytes,
                   struct fill_choice *choice_out);

struct fill *fill_set_fill(struct fill_set *set);           /* borrowed; for its memory */
uint32_t fill_set_groups_count(const struct fill_set *set); /* distinct free rooms now */
