#include "sched/room.h"

#include "sched/fleet.h"
#include "sched/intern.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define USE_BITS 10 /* of a device's use in 1/1000; its type stands above */

void room_fini(struct room *room)
{
    for (uint32_t i = 0; i < room->classes_count; i++) {
        free(room->classes[i].bits);
        free(room->classes[i].uses);
    }
    free(room->pools);
    free(room->classes);
    free(room->chains);
    free(room->order);
    free(room->spots);
    free(room->apart);
    *room = (struct room){ 0 };
}

/* --- pools ---------------------------------------------------------------------------------- */

struct device_type {
    int64_t memory_bytes;
    uint32_t chip, is_usable;
};

/* Give each device the number of its type. */
static void set_types(struct fleet_site *site)
{
    struct intern types = { 0 };

    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        for (uint32_t d = 0; d < site->nodes[i].devices_count; d++) {
            struct fleet_device *device = &site->nodes[i].devices[d];
            struct device_type type = { .memory_bytes = device->memory_bytes,
                                        .chip = device->chip,
                                        .is_usable = device_is_usable(device) };

            device->type = intern_get(&types, &type, sizeof(type), NULL);
        }
    intern_fini(&types);
}

static void sort_uses(uint32_t *uses, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) { /* few, and mostly in order */
        /* NOLINTNEXTLINE(-Wanalyzer-use-of-uninitialized-value): callers set all `count` of them */
        uint32_t moved = uses[i], at = i;

        for (; at && uses[at - 1] > moved; at--)
            uses[at] = uses[at - 1];
        uses[at] = moved;
    }
}

static void types_of(const struct fleet_node *node, uint32_t *types)
{
    for (uint32_t d = 0; d < node->devices_count; d++)
        types[d] = node->devices[d].type;
    sort_uses(types, node->devices_count);
}

/* 0: the same when empty. */
static int compare_nodes(const struct fleet_node *a, const struct fleet_node *b)
{
    uint32_t x[NODE_DEVICES_MAX], y[NODE_DEVICES_MAX];

    if (a->devices_count != b->devices_count)
        return a->devices_count < b->devices_count ? -1 : 1;
    if (a->cpus != b->cpus)
        return a->cpus < b->cpus ? -1 : 1;
    if (a->memory_bytes != b->memory_bytes)
        return a->memory_bytes < b->memory_bytes ? -1 : 1;
    if (a->disk_bytes != b->disk_bytes)
        return a->disk_bytes < b->disk_bytes ? -1 : 1;
    types_of(a, x);
    types_of(b, y);
    return memcmp(x, y, a->devices_count * sizeof(*x));
}

static int compare_places(const void *a, const void *b, void *context)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const struct fleet_node *nodes = context;
    int sign = compare_nodes(&nodes[x], &nodes[y]);

    return sign ? sign : x < y ? -1 : 1;
}

static int compare_pools(const void *a, const void *b)
{
    const struct room_pool *x = a, *y = b;

    return x->nodes[0] < y->nodes[0] ? -1 : 1;
}

static void set_pool(struct room_pool *pool, const struct fleet_site *site, uint32_t *nodes,
                     uint32_t count)
{
    const struct fleet_node *first = &site->nodes[nodes[0]];

    *pool = (struct room_pool){ .nodes = nodes,
                                .nodes_count = count,
                                .devices_count = first->devices_count,
                                .words = (count + 63) / 64,
                                .cpus = first->cpus,
                                .memory_bytes = first->memory_bytes,
                                .disk_bytes = first->disk_bytes,
                                .chip = FLEET_NO_CHIP,
                                .is_uniform = true };
    for (uint32_t d = 0; d < first->devices_count; d++) {
        pool->is_uniform &= first->devices[d].chip == first->devices[0].chip &&
                            first->devices[d].memory_bytes == first->devices[0].memory_bytes;
        pool->chip = first->devices[0].chip;
        pool->device_memory_bytes = first->devices[0].memory_bytes;
    }
    for (uint32_t w = 0; w <= ROOM_WHOLE_MAX; w++)
        pool->lists[w] = ROOM_NONE;
}

static void make_pools(struct room *room, const struct fleet_site *site)
{
    uint32_t open = 0, cap = 0;

    for (uint32_t i = 0; i < room->nodes_count; i++) {
        room->spots[i] = (struct room_spot){ ROOM_NONE, ROOM_NONE, ROOM_NONE, ROOM_NONE };
        if (node_is_open(&site->nodes[i]))
            room->order[open++] = i;
    }
    qsort_r(room->order, open, sizeof(*room->order), compare_places, site->nodes);
    for (uint32_t i = 0, end; i < open; i = end) {
        for (end = i + 1; end < open; end++)
            if (compare_nodes(&site->nodes[room->order[i]], &site->nodes[room->order[end]]) != 0)
                break;
        MEM_GROW(room->pools, cap, room->pools_count + 1);
        set_pool(&room->pools[room->pools_count++], site, room->order + i, end - i);
    }
    if (room->pools_count)
        qsort(room->pools, room->pools_count, sizeof(*room->pools), compare_pools);
    for (uint32_t p = 0; p < room->pools_count; p++)
        for (uint32_t i = 0; i < room->pools[p].nodes_count; i++) {
            room->spots[room->pools[p].nodes[i]].pool = p;
            room->spots[room->pools[p].nodes[i]].position = i;
        }
}

/* --- classes -------------------------------------------------------------------------------- */

struct state { /* of a node, to look its class up */
    uint64_t hash;
    uint32_t whole, free_milli, usable, most_milli;
    uint32_t uses[NODE_DEVICES_MAX];
};

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    return hash ^ (hash >> 32);
}

static void state_of(const struct fleet_node *node, uint32_t pool, struct state *state)
{
    uint64_t hash =
        mix(mix(mix(mix(0x9e3779b97f4a7c15u, pool), node->cpus_used), (uint64_t)node->memory_used),
            (uint64_t)node->disk_used);

    hash = node->guard ? mix(hash, node->guard) : hash;
    state->whole = state->free_milli = state->usable = state->most_milli = 0;
    for (uint32_t d = 0; d < node->devices_count; d++) {
        const struct fleet_device *device = &node->devices[d];
        bool is_usable = device_is_usable(device);
        uint32_t milli = is_usable ? 1000u - device->used_milli : 0;

        state->whole += is_usable && !device->used_milli;
        state->free_milli += milli;
        state->most_milli = MAX(state->most_milli, milli);
        state->usable += is_usable;
        state->uses[d] = device->type << USE_BITS | (is_usable ? device->used_milli : 0);
    }
    sort_uses(state->uses, node->devices_count);
    for (uint32_t d = 0; d < node->devices_count; d++)
        hash = mix(hash, state->uses[d]);
    state->hash = hash;
}

static uint32_t find_class(const struct room *room, const struct fleet_node *node, uint32_t pool,
                           const struct state *state)
{
    uint32_t at = room->chains[state->hash & room->chains_mask];

    for (; at != ROOM_NONE; at = room->classes[at].chain) {
        const struct room_class *class = &room->classes[at];

        if (class->hash == state->hash && class->pool == pool &&
            class->cpus_used == node->cpus_used && class->memory_used == node->memory_used &&
            class->disk_used == node->disk_used && class->guard == node->guard &&
            (!node->devices_count ||
             memcmp(class->uses, state->uses, node->devices_count * sizeof(*class->uses)) == 0))
            return at;
    }
    return ROOM_NONE;
}

static uint32_t add_class(struct room *room, const struct fleet_node *node, uint32_t pool_index,
                          const struct state *state)
{
    struct room_pool *pool = &room->pools[pool_index];
    uint32_t list = MIN(state->whole, ROOM_WHOLE_MAX), at = room->classes_free;
    uint32_t *chain = &room->chains[state->hash & room->chains_mask];
    struct room_class *class;

    if (at == ROOM_NONE) {
        MEM_GROW(room->classes, room->classes_cap, room->classes_count + 1);
        at = room->classes_count++;
        room->classes[at] = (struct room_class){ 0 };
    } else {
        room->classes_free = room->classes[at].next;
    }
    class = &room->classes[at];
    MEM_GROW(class->bits, class->words_cap, pool->words);
    if (class->bits)
        memset(class->bits, 0, pool->words * sizeof(*class->bits));
    if (node->devices_count) {
        class->uses = mem_resize(class->uses, node->devices_count, sizeof(*class->uses));
        memcpy(class->uses, state->uses, node->devices_count * sizeof(*class->uses));
    }
    class->hash = state->hash;
    class->cpus_used = node->cpus_used;
    class->memory_used = node->memory_used;
    class->disk_used = node->disk_used;
    class->guard = node->guard;
    class->pool = pool_index;
    class->whole = state->whole;
    class->free_milli = state->free_milli;
    class->usable = state->usable;
    class->most_milli = state->most_milli;
    class->nodes_count = 0;
    class->chain = *chain;
    *chain = at;
    class->prev = ROOM_NONE;
    class->next = pool->lists[list];
    if (class->next != ROOM_NONE)
        room->classes[class->next].prev = at;
    pool->lists[list] = at;
    pool->lists_used |= (uint64_t)1 << list;
    return at;
}

static void drop_class(struct room *room, uint32_t at)
{
    struct room_class *class = &room->classes[at];
    struct room_pool *pool = &room->pools[class->pool];
    uint32_t list = MIN(class->whole, ROOM_WHOLE_MAX);
    uint32_t *chain = &room->chains[class->hash & room->chains_mask];

    while (*chain != at)
        chain = &room->classes[*chain].chain;
    *chain = class->chain;
    if (class->next != ROOM_NONE)
        room->classes[class->next].prev = class->prev;
    if (class->prev != ROOM_NONE)
        room->classes[class->prev].next = class->next;
    else
        pool->lists[list] = class->next;
    if (pool->lists[list] == ROOM_NONE)
        pool->lists_used &= ~((uint64_t)1 << list);
    class->next = room->classes_free;
    room->classes_free = at;
}

static bool is_empty(const struct room_class *class, const struct room_pool *pool)
{
    return !class->cpus_used && class->whole == pool->devices_count;
}

static void leave(struct room *room, struct room_spot *spot)
{
    struct room_class *class = &room->classes[spot->class];
    uint32_t was = spot->class;

    room->changes_count++;
    class->bits[spot->position / 64] &= ~((uint64_t)1 << spot->position % 64);
    room->pools[spot->pool].whole_free -= class->whole;
    room->pools[spot->pool].free_milli -= class->free_milli;
    room->pools[spot->pool].total_milli -= class->usable * 1000u;
    room->pools[spot->pool].empty_count -= is_empty(class, &room->pools[spot->pool]);
    spot->class = ROOM_NONE;
    if (!--class->nodes_count)
        drop_class(room, was);
}

static void join(struct room *room, const struct fleet_node *node, struct room_spot *spot)
{
    struct state state;
    struct room_class *class;

    room->changes_count++;
    state_of(node, spot->pool, &state);
    spot->class = find_class(room, node, spot->pool, &state);
    if (spot->class == ROOM_NONE)
        spot->class = add_class(room, node, spot->pool, &state);
    class = &room->classes[spot->class];
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): chains are empty after room_fini, so it is new */
    class->bits[spot->position / 64] |= (uint64_t)1 << spot->position % 64;
    class->nodes_count++;
    room->pools[spot->pool].whole_free += class->whole;
    room->pools[spot->pool].free_milli += class->free_milli;
    room->pools[spot->pool].total_milli += class->usable * 1000u;
    room->pools[spot->pool].empty_count += is_empty(class, &room->pools[spot->pool]);
}

/* --- what others call ----------------------------------------------------------------------- */

void room_build(struct room *room, struct fleet_site *site)
{
    uint64_t changes_count = room->changes_count;
    uint32_t chains = 64;

    room_fini(room);
    room->changes_count = changes_count + 1;
    room->nodes_count = site->info.nodes_count;
    while (chains < room->nodes_count)
        chains *= 2;
    room->chains_mask = chains - 1;
    room->chains = mem_alloc(chains, sizeof(*room->chains));
    memset(room->chains, 0xff, chains * sizeof(*room->chains)); /* ROOM_NONE */
    room->order = mem_alloc(room->nodes_count, sizeof(*room->order));
    room->spots = mem_alloc(room->nodes_count, sizeof(*room->spots));
    room->classes_free = ROOM_NONE;
    set_types(site);
    make_pools(room, site);
    for (uint32_t i = 0; i < room->nodes_count; i++)
        if (room->spots[i].pool != ROOM_NONE)
            join(room, &site->nodes[i], &room->spots[i]);
    for (uint32_t i = 0; i < room->nodes_count; i++)
        room_set_apart(room, site, i, site->nodes[i].limits != NULL);
}

void room_move(struct room *room, const struct fleet_site *site, uint32_t node)
{
    struct room_spot *spot = &room->spots[node];

    if (spot->apart != ROOM_NONE)
        room->apart[spot->apart].whole = site->nodes[node].devices_whole;
    if (spot->class == ROOM_NONE)
        return;
    leave(room, spot);
    join(room, &site->nodes[node], spot);
}

void room_set_apart(struct room *room, const struct fleet_site *site, uint32_t node, bool is_apart)
{
    struct room_spot *spot = &room->spots[node];

    if (spot->pool == ROOM_NONE || is_apart == (spot->apart != ROOM_NONE))
        return;
    if (is_apart) {
        leave(room, spot);
        MEM_GROW(room->apart, room->apart_cap, room->apart_count + 1);
        spot->apart = room->apart_count;
        room->apart[room->apart_count++] =
            (struct room_apart){ node, spot->pool, site->nodes[node].devices_whole };
        return;
    }
    room->apart[spot->apart] = room->apart[--room->apart_count];
    room->spots[room->apart[spot->apart].node].apart = spot->apart;
    spot->apart = ROOM_NONE;
    join(room, &site->nodes[node], spot);
}

uint32_t room_first(const struct room *room, uint32_t class)
{
    const struct room_class *of = &room->classes[class];
    uint32_t word = 0;

    while (!of->bits[word])
        word++;
    return room->pools[of->pool].nodes[word * 64 + (uint32_t)__builtin_ctzll(of->bits[word])];
}

uint32_t room_list(const struct room *room, uint32_t class, uint32_t most, uint32_t *nodes_out)
{
    const struct room_class *of = &room->classes[class];
    const struct room_pool *pool = &room->pools[of->pool];
    uint32_t count = 0;

    for (uint32_t word = 0; word < pool->words; word++)
        for (uint64_t bits = of->bits[word]; bits; bits &= bits - 1) {
            if (count == most)
                return count;
            nodes_out[count++] = pool->nodes[word * 64 + (uint32_t)__builtin_ctzll(bits)];
        }
    return count;
}

bool room_is_sound(const struct room *room, const struct fleet_site *site)
{
    uint64_t whole_free = 0, whole = 0;

    if (room->nodes_count != site->info.nodes_count)
        return false;
    for (uint32_t p = 0; p < room->pools_count; p++)
        whole_free += room->pools[p].whole_free;
    for (uint32_t i = 0; i < room->nodes_count; i++) {
        const struct room_spot *spot = &room->spots[i];
        const struct room_class *class;
        struct state state;

        if ((spot->pool != ROOM_NONE) != node_is_open(&site->nodes[i]))
            return false;
        if (spot->apart != ROOM_NONE &&
            (room->apart[spot->apart].node != i || room->apart[spot->apart].pool != spot->pool ||
             room->apart[spot->apart].whole != site->nodes[i].devices_whole))
            return false;
        if (spot->pool == ROOM_NONE || spot->apart != ROOM_NONE)
            continue;
        state_of(&site->nodes[i], spot->pool, &state);
        if (spot->class != find_class(room, &site->nodes[i], spot->pool, &state))
            return false;
        class = &room->classes[spot->class];
        if (class->whole != state.whole ||
            !(class->bits[spot->position / 64] >> spot->position % 64 & 1) ||
            room->pools[spot->pool].nodes[spot->position] != i)
            return false;
        whole += state.whole;
    }
    return whole == whole_free;
}
