/* room.h - a site's nodes by what they have free, so that a place is found among the distinct
 * states there are and not among all nodes.
 *
 * Nodes that are the same when empty make a pool; those of a pool that have the same free make a
 * class: same CPUs, memory and disk used, the same use of devices but for their order, and in the
 * cells of the same owner, if in any. What holds of one node of a class holds of all: how many
 * tasks fit, and what would be left over. A class knows its nodes as bits, so the lowest index is
 * at hand and ties stay ties by index.
 *
 * Derived: made anew when the inventory changes, kept along with each grant, never stored. Closed
 * nodes (gone, cordoned) are in no class. A node that is promised in part stands apart, in a list:
 * it is like no other. Cost of a change: a hash look-up and two bits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROOM_NONE UINT32_MAX
#define ROOM_WHOLE_MAX 63u /* classes are listed by whole free devices; more count as so many */

struct fleet_site;

struct room_pool {
    uint32_t *nodes; /* ascending; a slice of room.order */
    uint32_t nodes_count;
    uint32_t devices_count;                                /* of one node */
    uint32_t words;                                        /* of a class's bits */
    int64_t memory_bytes, disk_bytes, device_memory_bytes; /* the last when is_uniform */
    uint32_t cpus;
    uint16_t chip;       /* of all its devices, when is_uniform */
    bool is_uniform;     /* one kind of device with one size of memory, or none at all */
    uint64_t whole_free; /* devices, over the nodes in classes */
    uint64_t free_milli, total_milli; /* of usable devices, over the nodes in classes */
    uint32_t empty_count;             /* nodes in classes that hold nothing */
    uint64_t lists_used;              /* bit w: lists[w] is not empty */
    uint32_t lists[ROOM_WHOLE_MAX + 1];
};

struct room_class {
    int64_t memory_used, disk_used;
    uint64_t hash;
    uint32_t cpus_used;
    uint32_t pool, whole, nodes_count; /* nodes_count 0: free */
    uint32_t free_milli, usable;       /* of devices, of one node */
    uint32_t most_milli;               /* free of one of them */
    uint32_t guard;                    /* of its nodes */
    uint32_t chain, next, prev;        /* hash chain; list of its pool and whole */
    uint32_t words_cap;
    uint64_t *bits; /* of positions in pool.nodes */
    uint32_t *uses; /* pool.devices_count; sorted */
};

struct room_spot {           /* of a node */
    uint32_t pool, position; /* ROOM_NONE: closed */
    uint32_t class;          /* ROOM_NONE: closed or apart */
    uint32_t apart;          /* place in room.apart */
};

struct room_apart { /* a node that stands apart */
    uint32_t node, pool;
    uint32_t whole; /* of its devices, those of which nothing is used, well or not */
};

struct room {
    struct room_pool *pools; /* by their first node */
    uint32_t pools_count;
    struct room_class *classes;
    uint32_t classes_count, classes_cap, classes_free;
    uint32_t *chains;
    uint32_t chains_mask;
    uint32_t *order;
    struct room_spot *spots;
    uint32_t nodes_count;
    struct room_apart *apart;
    uint32_t apart_count, apart_cap;
    uint64_t changes_count; /* grows with each change of any of it, and never falls */
};

void room_fini(struct room *room);
/* From nothing, by what the site's nodes are and hold; those with limits stand apart. */
void room_build(struct room *room, struct fleet_site *site);
/* What is held of the node has changed. */
void room_move(struct room *room, const struct fleet_site *site, uint32_t node);
void room_set_apart(struct room *room, const struct fleet_site *site, uint32_t node, bool is_apart);

/* The lowest node of a class. */
uint32_t room_first(const struct room *room, uint32_t class);
/* Its nodes ascending, at most `most` of them; gives how many. */
uint32_t room_list(const struct room *room, uint32_t class, uint32_t most, uint32_t *nodes_out);
/* Is the index what building it anew would give? For checks. */
bool room_is_sound(const struct room *room, const struct fleet_site *site);
