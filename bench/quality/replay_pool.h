/* replay_pool.h - equal nodes of NODE_DEVICES devices and what is held of each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NODE_DEVICES 8u
#define POOL_NODES_MAX 1024u

/* Where a job runs: `count` nodes, and on each NODE_DEVICES devices but on the last. */
struct pool_place {
    uint32_t count;
    uint16_t nodes[POOL_NODES_MAX / 8u];
    uint8_t last; /* devices on the last one */
};
struct pool {
    uint32_t nodes_count, devices_free;
    uint8_t free[POOL_NODES_MAX];
    uint32_t with_free[NODE_DEVICES + 1u]; /* how many nodes have so many free */
};

void pool_init(struct pool *pool, uint32_t nodes);
bool pool_fits(const struct pool *pool, uint32_t devices);
/* Best fit for what is less than a node; whole nodes first for what is more. False: no room, and
 * nothing changes. */
bool pool_take(struct pool *pool, uint32_t devices, struct pool_place *place);
/* Take these devices of this node, which has them. */
void pool_hold(struct pool *pool, uint32_t node, uint32_t devices);
void pool_give(struct pool *pool, const struct pool_place *place);
static inline uint8_t place_devices(const struct pool_place *place, uint32_t part)
{
    return part + 1u < place->count ? (uint8_t)NODE_DEVICES : place->last;
}
