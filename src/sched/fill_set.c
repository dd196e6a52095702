#include "sched/fill_set.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct member {
    struct fill_node node; /* devices in the node's own order */
    int64_t memory_bytes;
    uint32_t group; /* NONE = not in the set */
    uint32_t before, after;
};
struct group_list {
    uint32_t first, last; /* members, by number */
    uint32_t next;        /* of the same bucket */
};

struct fill_set {
    struct fill *fill;
    uint32_t nodes_max;
    struct member *members;
    struct fill_group *groups; /* dense; what fill_draw sees */
    struct group_list *lists;  /* beside it */
    uint32_t groups_count;
    uint32_t *buckets;
    uint32_t buckets_mask;
    struct fill_room room;
};

struct fill_set *fill_set_create(const struct fill_params *params, uint64_t seed,
                                 uint32_t nodes_max)
{
    struct fill_set *set = calloc(1, sizeof(*set));
    uint32_t buckets = 64;

    if (!set)
        return NULL;
    while (buckets < nodes_max && buckets < UINT32_C(1) << 30)
        buckets *= 2;
    set->nodes_max = nodes_max;
    set->buckets_mask = buckets - 1;
    set->fill = fill_create(params, seed);
    set->members = calloc(nodes_max + 1, sizeof(*set->members));
    set->groups = calloc(nodes_max + 1, sizeof(*set->groups));
    set->lists = calloc(nodes_max + 1, sizeof(*set->lists));
    set->buckets = calloc(buckets, sizeof(*set->buckets));
    if (!set->fill || !set->members || !set->groups || !set->lists || !set->buckets) {
        fill_set_destroy(set);
        return NULL;
    }
    memset(set->buckets, 0xff, buckets * sizeof(*set->buckets));
    for (uint32_t i = 0; i < nodes_max; i++)
        set->members[i].group = NONE;
    return set;
}

void fill_set_destroy(struct fill_set *set)
{
    if (!set)
        return;
    fill_destroy(set->fill);
    free(set->members);
    free(set->groups);
    free(set->lists);
    free(set->buckets);
    free(set);
}

struct fill *fill_set_fill(struct fill_set *set)
{
    return set->fill;
}

uint32_t fill_set_groups_count(const struct fill_set *set)
{
    return set->groups_count;
}

/* ---- groups ------------------------------------------------------------------------------ */

static int compare_milli(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* The picture of a group: devices in rising order, nothing undefined behind them. */
static void node_canon(const struct fill_node *node, struct fill_node *out)
{
    memset(out, 0, sizeof(*out));
    out->cpu_milli = node->cpu_milli;
    out->chip = node->chip;
    out->devices_count = node->devices_count;
    out->is_empty = node->is_empty;
    memcpy(out->free_milli, node->free_milli, node->devices_count * sizeof(*node->free_milli));
    qsort(out->free_milli, out->devices_count, sizeof(*out->free_milli), compare_milli);
    fill_node_seal(out);
}

static bool node_is_alike(const struct fill_node *a, const struct fill_node *b)
{
    return a->free_hash == b->free_hash && a->cpu_milli == b->cpu_milli && a->chip == b->chip &&
           a->devices_count == b->devices_count && a->is_empty == b->is_empty &&
           memcmp(a->free_milli, b->free_milli, a->devices_count * sizeof(*a->free_milli)) == 0;
}

static uint32_t *bucket_of(struct fill_set *set, const struct fill_node *node)
{
    uint64_t hash = node->free_hash ^ (uint64_t)node->cpu_milli * 0x9e3779b97f4a7c15u ^
                    (uint64_t)node->chip << 40;

    return &set->buckets[(hash ^ hash >> 32) & set->buckets_mask];
}

static uint32_t group_get(struct fill_set *set, const struct fill_node *canon)
{
    uint32_t *bucket = bucket_of(set, canon);
    uint32_t group = *bucket;

    while (group != NONE && !node_is_alike(&set->groups[group].node, canon))
        group = set->lists[group].next;
    if (group != NONE)
        return group;
    group = set->groups_count++;
    set->groups[group] = (struct fill_group){ .node = *canon };
    set->lists[group] = (struct group_list){ .first = NONE, .last = NONE, .next = *bucket };
    *bucket = group;
    return group;
}

static uint32_t *link_to(struct fill_set *set, uint32_t group)
{
    uint32_t *link = bucket_of(set, &set->groups[group].node);

    while (*link != group)
        link = &set->lists[*link].next;
    return link;
}

/* The last group takes the empty one's place. */
static void group_drop(struct fill_set *set, uint32_t group)
{
    uint32_t moved = set->groups_count - 1;

    *link_to(set, group) = set->lists[group].next;
    set->groups_count--;
    if (moved == group)
        return;
    *link_to(set, moved) = group;
    set->groups[group] = set->groups[moved];
    set->lists[group] = set->lists[moved];
    for (uint32_t i = set->lists[group].first; i != NONE; i = set->members[i].after)
        set->members[i].group = group;
}

static void room_add(struct fill_set *set, const struct fill_node *node, bool add)
{
    uint64_t sign = add ? 1 : UINT64_MAX; /* modulo 2^64 */
    uint64_t total = (uint64_t)node->devices_count * FILL_DEVICE_MILLI;

    if (!node->devices_count)
        return;
    set->room.free_milli[node->chip] += sign * node->free_total;
    set->room.total_milli[node->chip] += sign * total;
    set->room.free_all_milli += sign * node->free_total;
    if (node->is_empty && node->devices_count >= fill_params(set->fill)->big_devices)
        set->room.big_empty_milli += sign * node->free_total;
}

static void member_leave(struct fill_set *set, uint32_t number)
{
    struct member *member = &set->members[number];
    struct group_list *list = &set->lists[member->group];

    room_add(set, &member->node, false);
    if (member->before != NONE)
        set->members[member->before].after = member->after;
    else
        list->first = member->after;
    if (member->after != NONE)
        set->members[member->after].before = member->before;
    else
        list->last = member->before;
    if (--set->groups[member->group].count == 0)
        group_drop(set, member->group);
    member->group = NONE;
}

static void member_join(struct fill_set *set, uint32_t number)
{
    struct member *member = &set->members[number];
    struct group_list *list;
    struct fill_node canon;

    node_canon(&member->node, &canon);
    member->group = group_get(set, &canon);
    set->groups[member->group].count++;
    list = &set->lists[member->group];
    member->before = list->last;
    while (member->before != NONE && member->before > number)
        member->before = set->members[member->before].before;
    member->after = member->before == NONE ? list->first : set->members[member->before].after;
    if (member->before != NONE)
        set->members[member->before].after = number;
    else
        list->first = number;
    if (member->after != NONE)
        set->members[member->after].before = number;
    else
        list->last = number;
    room_add(set, &member->node, true);
}

void fill_set_put(struct fill_set *set, uint32_t number, const struct fill_node *node,
                  int64_t memory_bytes)
{
    struct member *member = &set->members[number];

    assert(number < set->nodes_max);
    if (member->group != NONE)
        member_leave(set, number);
    if (!node)
        return;
    assert(node->chip < FILL_CHIPS_MAX && node->devices_count <= FILL_DEVICES_MAX);
    member->node = *node;
    fill_node_seal(&member->node);
    member->memory_bytes = memory_bytes;
    member_join(set, number);
}

/* ---- decisions --------------------------------------------------------------------------- */

void fill_set_learn(struct fill_set *set, const struct fill_ask *ask)
{
    fill_learn(set->fill, ask);
    if (fill_is_due(set->fill))
        fill_draw(set->fill, set->groups, set->groups_count, &set->room);
}

static void choose_devices(const struct fill_node *node, const struct fill_ask *ask,
                           uint32_t free_milli, struct fill_choice *choice)
{
    choice->devices_count = 0;
    for (uint16_t i = 0; i < node->devices_count && choice->devices_count < ask->devices; i++)
        if (node->free_milli[i] == free_milli)
            choice->devices[choice->devices_count++] = i;
}

/* The lowest number of the group with the memory; NONE when none has. */
static uint32_t member_with(const struct fill_set *set, uint32_t group, int64_t memory_bytes)
{
    uint32_t number = set->lists[group].first;

    while (number != NONE && set->members[number].memory_bytes < memory_bytes)
        number = set->members[number].after;
    return number;
}

bool fill_set_find(struct fill_set *set, const struct fill_ask *ask, int64_t memory_bytes,
                   struct fill_choice *choice_out)
{
    struct fill_choice best = { .node = NONE };
    uint32_t best_free = 0;

    for (uint32_t i = 0; i < set->groups_count; i++) {
        const struct fill_node *node = &set->groups[i].node;
        struct fill_score score;
        uint32_t number;

        if (!fill_fits(node, ask))
            continue;
        number = member_with(set, i, memory_bytes);
        if (number == NONE)
            continue;
        score = fill_score(set->fill, node, ask, &set->room);
        if (best.node != NONE &&
            (score.score < best.score || (score.score <= best.score && number > best.node)))
            continue;
        best.node = number;
        best.score = score.score;
        best_free =
            ask->milli < FILL_DEVICE_MILLI ? node->free_milli[score.device] : FILL_DEVICE_MILLI;
    }
    if (best.node == NONE)
        return false;
    choose_devices(&set->members[best.node].node, ask, best_free, &best);
    *choice_out = best;
    return true;
}
