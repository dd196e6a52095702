#include "sched/kinds.h"

#include "base/cleanup.h"
#include "sched/fleet.h"
#include "sched/mem.h"

#include <stdlib.h>

void kinds_fini(struct fleet *fleet)
{
    for (uint32_t k = 0; k < fleet->kinds_count; k++)
        free(fleet->kinds[k].changes);
    free(fleet->kinds);
    fleet->kinds = NULL;
    fleet->kinds_count = 0;
}

void kinds_lay_out(struct fleet *fleet)
{
    struct fleet_kind *kinds;
    uint32_t count = 0;

    for (uint32_t i = 0; i < fleet->sites_count; i++)
        count += fleet->sites[i].chips_count + 1;
    kinds = mem_alloc(count, sizeof(*kinds));
    count = 0;
    for (uint32_t i = 0; i < fleet->sites_count; i++) {
        struct fleet_site *site = &fleet->sites[i];

        for (uint32_t k = 0; k < MIN(site->kinds_count, site->chips_count + 1); k++)
            kinds[count + k].whole = site->kinds[k].whole;
        site->kinds = kinds + count;
        site->kinds_first = count;
        site->kinds_count = site->chips_count + 1;
        count += site->kinds_count;
    }
    kinds_fini(fleet);
    fleet->kinds = kinds;
    fleet->kinds_count = count;
}

static uint64_t count_whole(const struct fleet_site *site, uint32_t chip)
{
    uint64_t whole = 0;

    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        for (uint32_t d = 0; d < site->nodes[i].devices_count; d++)
            whole +=
                site->nodes[i].devices[d].chip == chip && !site->nodes[i].devices[d].used_milli;
    return whole;
}

void kinds_count_whole(struct fleet_site *site)
{
    for (uint32_t k = 0; k < site->chips_count; k++)
        site->kinds[k].whole = count_whole(site, k);
    site->kinds[site->chips_count].whole = site->devices_whole;
}

bool kinds_are_sound(const struct fleet_site *site)
{
    bool are_sound = site->kinds[site->chips_count].whole == site->devices_whole;

    for (uint32_t k = 0; k < site->chips_count && are_sound; k++)
        are_sound = site->kinds[k].whole == count_whole(site, k);
    return are_sound;
}

/* Those of the node's chips, and the one of work without devices; repeated ones here and there. */
static uint32_t kinds_of(const struct fleet_site *site, uint32_t index,
                         uint32_t kinds[NODE_DEVICES_MAX + 1])
{
    const struct fleet_node *node = &site->nodes[index];
    uint32_t pool = site->room.spots[index].pool, count = 0;
    bool is_uniform = pool != ROOM_NONE && site->room.pools[pool].is_uniform;

    kinds[count++] = kinds_at(site, FLEET_NO_CHIP);
    for (uint32_t d = 0; d < node->devices_count; d++) {
        uint32_t kind = kinds_at(site, node->devices[d].chip);

        if (d == 0 || kind != kinds[count - 1])
            kinds[count++] = kind;
        if (is_uniform)
            break;
    }
    return count;
}

void kinds_touch_node(struct fleet *fleet, uint32_t site, uint32_t node, bool has_room)
{
    uint32_t kinds[NODE_DEVICES_MAX + 1], count = kinds_of(&fleet->sites[site], node, kinds);

    for (uint32_t k = 0; k < count; k++) {
        fleet->kinds[kinds[k]].limit_version++;
        fleet->kinds[kinds[k]].room_version += has_room;
    }
}

void kinds_touch_site(struct fleet *fleet, uint32_t index)
{
    const struct fleet_site *site = &fleet->sites[index];

    for (uint32_t k = 0; k < site->kinds_count; k++) {
        fleet->kinds[site->kinds_first + k].limit_version++;
        fleet->kinds[site->kinds_first + k].room_version++;
    }
}

void kinds_log(struct fleet *fleet, const struct grant *grant, int64_t end_ms, bool is_hold)
{
    uint32_t kinds[NODE_DEVICES_MAX + 1];

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        uint32_t node = grant->parts[i].node;
        uint32_t count = kinds_of(&fleet->sites[grant->site], node, kinds);

        for (uint32_t k = 0; k < count; k++) {
            struct fleet_kind *kind = &fleet->kinds[kinds[k]];

            if (!kind->changes)
                kind->changes = mem_alloc(KIND_CHANGES, sizeof(*kind->changes));
            kind->changes[kind->changes_count++ % KIND_CHANGES] =
                (struct fleet_change){ .end_ms = end_ms, .node = node, .is_hold = is_hold };
        }
    }
}

void kinds_touch_grant(struct fleet *fleet, const struct grant *grant, bool has_room)
{
    for (uint32_t i = 0; i < grant->parts_count; i++)
        kinds_touch_node(fleet, grant->site, grant->parts[i].node, has_room);
}
