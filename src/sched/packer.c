#include "sched/packer.h"

#include "sched/mem.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SEED 1
#define GAIN_MOST 1e12 /* more than any node has, in 1/1000 of devices or CPUs */

struct packer *packer_create(enum packer_reach reach)
{
    const struct fill_params params = fill_params_default();
    struct packer *packer = mem_alloc(1, sizeof(*packer));

    packer->reach = reach;
    packer->fill = fill_create(&params, SEED);
    if (!packer->fill)
        abort(); /* memory is short: as mem.h */
    return packer;
}

void packer_destroy(struct packer *packer)
{
    if (!packer)
        return;
    fill_destroy(packer->fill);
    intern_fini(&packer->kinds);
    free(packer->groups);
    free(packer);
}

void packer_add_site(struct packer *packer, const struct fleet_site *site)
{
    for (uint32_t c = 0; c < site->chips_count; c++) {
        const char *kind = site->chips[c].kind;

        if (packer->kinds.live_count < FILL_CHIPS_MAX - 1 &&
            !intern_find(&packer->kinds, kind, (uint32_t)strlen(kind)))
            intern_text(&packer->kinds, kind);
    }
}

uint16_t packer_kind(const struct packer *packer, const char *kind)
{
    uint32_t number = intern_find(&packer->kinds, kind, (uint32_t)strlen(kind));

    return (uint16_t)(number ? number - 1 : FILL_CHIPS_MAX - 1);
}

void packer_look(struct packer *packer, const struct fleet *fleet)
{
    const struct fill_params *params = fill_params(packer->fill);

    packer->room = (struct fill_room){ 0 };
    for (uint32_t s = 0; s < fleet->sites_count; s++) {
        const struct fleet_site *site = &fleet->sites[s];

        for (uint32_t p = 0; p < site->room.pools_count; p++) {
            const struct room_pool *pool = &site->room.pools[p];
            uint16_t kind;

            if (!pool->devices_count || !pool->is_uniform)
                continue;
            kind = packer_kind(packer, site->chips[pool->chip].kind);
            packer->room.free_milli[kind] += pool->free_milli;
            packer->room.total_milli[kind] += pool->total_milli;
            packer->room.free_all_milli += pool->free_milli;
            if (pool->devices_count >= params->big_devices)
                packer->room.big_empty_milli +=
                    (uint64_t)pool->empty_count * pool->devices_count * FILL_DEVICE_MILLI;
        }
    }
}

/* What the node has free for devices of this kind (FLEET_NO_CHIP: of whichever it has); false: it
 * is not of one kind. */
static bool picture(const struct fleet_node *node, uint16_t chip, uint16_t kind, enum fit_when when,
                    struct fill_node *out)
{
    int64_t cpus = node_cpus_free(node);
    bool is_empty = node->cpus_used == 0;

    for (const struct fleet_limit *limit = when == FIT_LIMITED ? node->limits : NULL; limit;
         limit = limit->next)
        if (fleet_limit_binds(limit) && limit->cpus < cpus)
            cpus = limit->cpus;
    if (chip == FLEET_NO_CHIP && node->devices_count)
        chip = node->devices[0].chip;
    memset(out, 0, offsetof(struct fill_node, free_milli));
    out->cpu_milli = cpus > 0 ? cpus * 1000 : 0;
    out->chip = kind;
    for (uint32_t i = 0; i < node->devices_count; i++) {
        const struct fleet_device *device = &node->devices[i];
        uint32_t room = FILL_DEVICE_MILLI - device->used_milli;

        if (device->chip != chip)
            return false;
        room = when == FIT_LIMITED ? fleet_limited_room(node, i, room, false) : room;
        is_empty &= room == FILL_DEVICE_MILLI;
        if (device_is_usable(device))
            out->free_milli[out->devices_count++] = (uint16_t)room;
    }
    out->is_empty = is_empty;
    fill_node_seal(out);
    return true;
}

static uint64_t kinds_mask(const struct packer *packer, const struct shape *shape,
                           const struct fleet *fleet)
{
    uint64_t mask = 0;

    if (!shape->chips_count && !shape->needs_count)
        return UINT64_MAX;
    for (uint32_t s = 0; s < fleet->sites_count; s++)
        for (uint32_t c = 0; c < fleet->sites[s].chips_count; c++)
            if (shape_bar_of_chip(shape, &fleet->sites[s].chips[c], INT64_MAX) == BAR_NONE)
                mask |= UINT64_C(1) << packer_kind(packer, fleet->sites[s].chips[c].kind);
    return mask;
}

static bool ask_of(const struct shape *shape, struct fill_ask *out)
{
    uint64_t devices = (uint64_t)shape->tasks * shape->devices_milli / 1000;

    *out = (struct fill_ask){ .cpu_milli = (int64_t)shape->tasks * shape->cpus * 1000,
                              .chips = UINT64_MAX };
    if (shape->devices_milli % 1000) {
        out->devices = 1;
        out->milli = (uint16_t)shape->devices_milli;
    } else if (devices) {
        out->devices = (uint16_t)devices;
        out->milli = FILL_DEVICE_MILLI;
    }
    return devices <= FILL_DEVICES_MAX && out->cpu_milli <= FILL_CPU_MILLI_MAX &&
           (shape->tasks == 1 || shape->devices_milli % 1000 == 0);
}

bool packer_ask(struct shape *shape, const struct fleet *fleet)
{
    const struct packer *packer = fleet->packer;

    if (shape->ask_version == fleet->shape_version)
        return shape->is_scored;
    shape->ask_version = fleet->shape_version;
    shape->is_scored = ask_of(shape, &shape->ask);
    if (shape->devices_milli)
        shape->ask.chips = kinds_mask(packer, shape, fleet);
    else
        shape->is_scored &= packer->reach == PACKER_PLACES;
    shape->is_scored &= shape->ask.chips && fill_ask_is_valid(&shape->ask);
    return shape->is_scored;
}

/* All states of all nodes, for a draw. */
static uint32_t list_groups(struct packer *packer, const struct fleet *fleet)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < fleet->sites_count; s++) {
        const struct fleet_site *site = &fleet->sites[s];

        for (uint32_t c = 0; c < site->room.classes_count; c++) {
            const struct room_class *class = &site->room.classes[c];
            const struct room_pool *pool;

            if (!class->nodes_count)
                continue;
            pool = &site->room.pools[class->pool];
            if (!pool->devices_count || !pool->is_uniform)
                continue;
            MEM_GROW(packer->groups, packer->groups_cap, count + 1);
            picture(&site->nodes[room_first(&site->room, c)], pool->chip,
                    packer_kind(packer, site->chips[pool->chip].kind), FIT_NOW,
                    &packer->groups[count].node);
            packer->groups[count++].count = class->nodes_count;
        }
    }
    return count;
}

void packer_learn(struct packer *packer, struct shape *shape, const struct fleet *fleet)
{
    struct fill_ask ask = { .chips = UINT64_MAX };
    uint32_t groups_count;

    if (shape->devices_milli) {
        if (!packer_ask(shape, fleet))
            return; /* nothing here would do */
        ask = shape->ask;
    } else {
        ask.cpu_milli = (int64_t)shape->tasks * shape->cpus * 1000;
        if (!fill_ask_is_valid(&ask))
            return;
    }
    fill_learn(packer->fill, &ask);
    if (!fill_is_due(packer->fill))
        return;
    packer_look(packer, fleet);
    groups_count = list_groups(packer, fleet); /* before they are read: they may move */
    fill_draw(packer->fill, packer->groups, groups_count, &packer->room);
}

bool packer_look_at(const struct packer *packer, const struct shape *shape,
                    const struct fleet_node *node, uint16_t chip, uint16_t kind, enum fit_when when,
                    struct packer_look *out)
{
    const struct fill_ask *ask = &shape->ask;
    struct fill_node room;
    struct fill_score score;

    if (!picture(node, chip, kind, when, &room) || !fill_fits(&room, ask))
        return false;
    if (!node->devices_count) { /* as good as any can be, and best where least is left over */
        *out =
            (struct packer_look){ .gain = GAIN_MOST - (double)(room.cpu_milli - ask->cpu_milli) };
        return true;
    }
    score = fill_gain(packer->fill, &room, ask);
    out->gain = score.score;
    out->kept_milli = fill_is_kept(packer->fill, &room, ask) ? room.free_total : 0;
    out->share_room =
        ask->milli < FILL_DEVICE_MILLI ? room.free_milli[score.device] : FILL_DEVICE_MILLI;
    return true;
}

double packer_score(const struct packer *packer, const struct shape *shape, uint16_t kind,
                    const struct packer_look *look)
{
    return fill_less_kept(packer->fill, look->gain, kind, look->kept_milli, &shape->ask,
                          &packer->room);
}
