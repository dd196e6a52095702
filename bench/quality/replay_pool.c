#include "quality/replay_pool.h"

#include <assert.h>
#include <string.h>

void pool_init(struct pool *pool, uint32_t nodes)
{
    memset(pool, 0, sizeof(*pool));
    assert(nodes <= POOL_NODES_MAX);
    pool->nodes_count = nodes;
    pool->devices_free = nodes * NODE_DEVICES;
    memset(pool->free, (int)NODE_DEVICES, nodes);
    pool->with_free[NODE_DEVICES] = nodes;
}

bool pool_fits(const struct pool *pool, uint32_t devices)
{
    uint32_t rest = devices % NODE_DEVICES, whole = devices / NODE_DEVICES;

    if (devices > pool->devices_free || whole > pool->with_free[NODE_DEVICES])
        return false;
    if (rest == 0 || whole < pool->with_free[NODE_DEVICES])
        return true;
    for (uint32_t room = rest; room < NODE_DEVICES; room++)
        if (pool->with_free[room] > 0)
            return true;
    return false;
}

static void node_set(struct pool *pool, uint32_t node, uint32_t room)
{
    pool->with_free[pool->free[node]]--;
    pool->with_free[room]++;
    pool->devices_free += room;
    pool->devices_free -= pool->free[node];
    pool->free[node] = (uint8_t)room;
}

static void take_part(struct pool *pool, uint32_t devices, struct pool_place *place)
{
    uint32_t room = devices;

    while (pool->with_free[room] == 0)
        room++;
    for (uint32_t i = 0; i < pool->nodes_count; i++)
        if (pool->free[i] == room) {
            node_set(pool, i, room - devices);
            place->nodes[place->count++] = (uint16_t)i;
            place->last = (uint8_t)devices;
            return;
        }
}

bool pool_take(struct pool *pool, uint32_t devices, struct pool_place *place)
{
    if (!pool_fits(pool, devices))
        return false;
    place->count = 0;
    for (; devices >= NODE_DEVICES; devices -= NODE_DEVICES)
        take_part(pool, NODE_DEVICES, place);
    if (devices > 0)
        take_part(pool, devices, place);
    return true;
}

void pool_hold(struct pool *pool, uint32_t node, uint32_t devices)
{
    assert(pool->free[node] >= devices);
    node_set(pool, node, pool->free[node] - devices);
}

void pool_give(struct pool *pool, const struct pool_place *place)
{
    for (uint32_t i = 0; i < place->count; i++)
        node_set(pool, place->nodes[i], pool->free[place->nodes[i]] + place_devices(place, i));
}
