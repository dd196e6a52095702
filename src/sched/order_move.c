/* Who goes on elsewhere, so that what is free lies together. */
#include "sched/order.h"

#include <stddef.h>

struct search {
    const struct order_params *params;
    const struct order_want *want;
    const struct order_pool *pool;
    bool *move, *used;
    uint32_t *room;
};
struct moves { /* what clears one place */
    uint32_t running[ORDER_MOVES_MAX], to[ORDER_MOVES_MAX], devices[ORDER_MOVES_MAX];
    uint32_t count, sum;
};

static bool may_move(const struct search *search, const struct order_holding *holding)
{
    const struct order_running *running = &search->pool->running[holding->running];

    return !search->move[holding->running] && running->is_preemptible &&
           running->devices == holding->devices &&
           running->rank.job_class >= search->want->rank.job_class &&
           running->rank.level != ORDER_LEVEL_AGED && order_has_settled(search->params, running);
}

/* The fullest other place that takes so many, of those in use: empty ones stay whole. */
static uint32_t find_room(const struct search *search, uint32_t from, uint32_t devices)
{
    const struct order_pool *pool = search->pool;
    uint32_t best = pool->places_count;

    for (uint32_t i = 0; i < pool->places_count; i++)
        if (i != from && !search->used[i] && pool->places[i].count > 0 &&
            search->room[i] >= devices &&
            (best == pool->places_count || search->room[i] < search->room[best]))
            best = i;
    return best;
}

static void undo(const struct search *search, const struct moves *moves)
{
    for (uint32_t i = 0; i < moves->count; i++)
        search->room[moves->to[i]] += moves->devices[i];
}

/* Not more than `most` devices; room is as before where that cannot be. */
static bool place_clear(const struct search *search, uint32_t at, uint32_t need, uint32_t most,
                        struct moves *moves)
{
    const struct order_place *place = &search->pool->places[at];
    uint32_t room = search->room[at];

    moves->count = moves->sum = 0;
    for (uint32_t h = place->first; room < need && h < place->first + place->count; h++) {
        const struct order_holding *holding = &search->pool->holdings[h];
        uint32_t to;

        if (moves->count == ORDER_MOVES_MAX || moves->sum + holding->devices > most ||
            !may_move(search, holding))
            continue;
        to = find_room(search, at, holding->devices);
        if (to == search->pool->places_count)
            continue;
        search->room[to] -= holding->devices;
        room += holding->devices;
        moves->running[moves->count] = holding->running;
        moves->devices[moves->count] = holding->devices;
        moves->to[moves->count++] = to;
        moves->sum += holding->devices;
    }
    if (room < need)
        undo(search, moves);
    return room >= need;
}

static bool take_part(const struct search *search, uint32_t need)
{
    uint32_t best = search->pool->places_count, most = UINT32_MAX;
    struct moves moves;

    for (uint32_t i = 0; i < search->pool->places_count && most > 0; i++)
        if (!search->used[i] && place_clear(search, i, need, most - 1u, &moves)) {
            undo(search, &moves);
            best = i;
            most = moves.sum;
        }
    if (best == search->pool->places_count || !place_clear(search, best, need, most, &moves))
        return false;
    search->used[best] = true;
    for (uint32_t i = 0; i < moves.count; i++)
        search->move[moves.running[i]] = true;
    return true;
}

bool order_pick_moves(const struct order_params *params, const struct order_want *want,
                      const struct order_pool *pool, bool *move, bool *used, uint32_t *room)
{
    struct search search = { params, want, pool, move, used, room };
    uint64_t wanted = (uint64_t)want->parts * want->devices + want->rest, free = 0;

    for (uint32_t i = 0; i < pool->places_count; i++) {
        room[i] = pool->places[i].free;
        free += room[i];
    }
    if (wanted > free || want->parts > pool->places_count)
        return false;
    for (uint32_t i = 0; i < want->parts; i++)
        if (!take_part(&search, want->devices))
            return false;
    return want->rest == 0 || take_part(&search, want->rest);
}
