#include "sched/fit_packed.h"

#include "sched/fit_internal.h"

struct look { /* at one candidate */
    const struct fit_packed *packed;
    const struct fleet_site *at;
    struct fit_picks *picks;
    uint16_t chip;
    uint16_t kind; /* packer's number of the chip's; UINT16_MAX = not looked up */
    bool is_kept;  /* by gain alone: it is to last */
    double scores[2];
};

struct fit_packed fit_packed_begin(const struct shape *shape, const struct fleet *fleet,
                                   enum fit_when when)
{
    return (
        struct fit_packed){ .shape = shape, .fleet = fleet, .when = when, .best.node = ROOM_NONE };
}

/* Of the candidate's chip; of work without devices, of the chip that it would be beside. */
static uint16_t kind_of(struct look *look, const struct fleet_node *node)
{
    const struct packer *packer = look->packed->fleet->packer;

    if (look->chip == FLEET_NO_CHIP)
        return node->devices_count
                   ? packer_kind(packer, look->at->chips[node->devices[0].chip].kind)
                   : 0;
    if (look->kind == UINT16_MAX)
        look->kind = packer_kind(packer, look->at->chips[look->chip].kind);
    return look->kind;
}

static void look_at(struct look *look, uint32_t number)
{
    const struct fit_packed *packed = look->packed;
    const struct packer *packer = packed->fleet->packer;
    const struct fleet_node *node = &look->at->nodes[number];
    struct fit_pick pick = { .node = number }, *best;
    uint32_t slot;
    double score;

    if (fit_tasks(packed->shape, look->at, node, look->chip, packed->when) < packed->shape->tasks)
        return;
    look->picks->fits = true;
    pick.kind = kind_of(look, node);
    if (!packer_look_at(packer, packed->shape, node, look->chip, pick.kind, packed->when,
                        &pick.look))
        return;
    look->picks->states++;
    slot = look->is_kept && pick.look.kept_milli;
    score =
        look->is_kept ? pick.look.gain : packer_score(packer, packed->shape, pick.kind, &pick.look);
    best = &look->picks->best[slot];
    if (best->node != ROOM_NONE &&
        (score < look->scores[slot] || (score <= look->scores[slot] && number > best->node)))
        return;
    look->scores[slot] = score;
    *best = pick;
}

static void look_at_classes(struct look *look)
{
    const struct room *room = &look->at->room;
    const struct shape *shape = look->packed->shape;

    for (uint32_t p = 0; p < room->pools_count; p++) {
        const struct room_pool *pool = &room->pools[p];
        uint64_t lists = fit_lists_from(pool, shape, shape->tasks);

        if (fit_never_in_pool(shape, pool, look->chip))
            continue;
        for (; lists; lists &= lists - 1)
            for (uint32_t at = pool->lists[__builtin_ctzll(lists)]; at != ROOM_NONE;
                 at = room->classes[at].next)
                if (!fit_class_is_out(shape, pool, &room->classes[at]))
                    look_at(look, room_first(room, at));
    }
}

static void look_at_apart(struct look *look)
{
    const struct room *room = &look->at->room;
    const struct shape *shape = look->packed->shape;

    for (uint32_t i = 0; i < room->apart_count; i++)
        if (!fit_is_out(shape, room, &room->apart[i], look->chip, shape->tasks))
            look_at(look, room->apart[i].node);
}

static void compare(struct fit_packed *packed, uint32_t site, uint16_t chip,
                    const struct fit_pick *pick)
{
    double score;

    if (pick->node == ROOM_NONE)
        return;
    score = packer_score(packed->fleet->packer, packed->shape, pick->kind, &pick->look);
    if (packed->best.node != ROOM_NONE &&
        (score < packed->score ||
         (score <= packed->score &&
          (site != packed->site || chip != packed->chip || pick->node > packed->best.node))))
        return;
    packed->score = score;
    packed->best = *pick;
    packed->site = site;
    packed->chip = chip;
}

static const struct fit_picks no_picks = { .best = { { .node = ROOM_NONE },
                                                     { .node = ROOM_NONE } } };

/* Into the sum; gives whether any fits. */
static bool add(struct fit_packed *packed, uint32_t site, uint16_t chip,
                const struct fit_picks *found)
{
    packed->states += found->states;
    packed->is_full = packed->states > packer_states_max(packed->fleet->packer);
    for (uint32_t i = 0; i < 2 && !packed->is_full; i++)
        compare(packed, site, chip, &found->best[i]);
    return found->fits;
}

/* Those that stand apart are like no other, and are looked at each time. */
static bool consider_apart(struct fit_packed *packed, struct look *look, uint32_t site)
{
    struct fit_picks apart = no_picks;

    look->picks = &apart;
    look->is_kept = false;
    look_at_apart(look);
    return add(packed, site, look->chip, &apart);
}

bool fit_packed_consider(struct fit_packed *packed, uint32_t site, uint16_t chip,
                         struct fit_picks *kept)
{
    const struct fleet_site *at = &packed->fleet->sites[site];
    uint64_t draws_count = packer_draws(packed->fleet->packer);
    struct fit_picks once = { 0 }, *picks = kept ? kept : &once;
    struct look look = { packed, at, picks, chip, UINT16_MAX, kept != NULL, { 0 } };
    bool fits;

    if (packed->is_full)
        return true;
    if (picks->changes_count != at->room.changes_count || picks->draws_count != draws_count) {
        *picks = no_picks;
        look_at_classes(&look);
        picks->changes_count = at->room.changes_count;
        picks->draws_count = draws_count;
    }
    fits = add(packed, site, chip, picks);
    if (at->room.apart_count && !packed->is_full)
        fits |= consider_apart(packed, &look, site);
    return fits || packed->is_full;
}

bool fit_packed_choose(const struct fit_packed *packed, struct fit *fit)
{
    if (packed->best.node == ROOM_NONE)
        return false;
    fit->site = packed->site;
    fit->chip = packed->chip;
    fit->share_room = packed->best.look.share_room;
    return fit_set_one(fit, packed->best.node, packed->shape->tasks);
}
