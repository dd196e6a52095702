#include "sched/fleet.h"

#include "sched/mem.h"
#include "sched/owner.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODE_CPUS_MAX 65536u
#define BYTES_MAX (1LL << 56)

void fleet_fini(struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->sites_count; i++) {
        struct fleet_site *site = &fleet->sites[i];

        for (uint32_t k = 0; k < site->info.nodes_count; k++) {
            free(site->nodes[k].devices);
            free(site->nodes[k].cordon_reason);
        }
        room_fini(&site->room);
        domains_fini(&site->domains);
        ends_fini(&site->ends);
        apart_marks_fini(&site->marks);
        freight_site_fini(&site->freight);
        free(site->policy);
        free(site->nodes);
        free(site->chips);
        free(site->info.nodes);
    }
    kinds_fini(fleet);
    free(fleet->sites);
    free(fleet->promises);
    free(fleet->grants);
    free(fleet->own_rooms);
    *fleet = (struct fleet){ 0 };
}

int fleet_find_site(const struct fleet *fleet, const char *name)
{
    for (uint32_t i = 0; i < fleet->sites_count; i++)
        if (strcmp(fleet->sites[i].info.name, name) == 0)
            return (int)i;
    return -1;
}

int fleet_find_node(const struct fleet *fleet, uint32_t site, const char *name)
{
    const struct site_info *info = &fleet->sites[site].info;

    for (uint32_t i = 0; i < info->nodes_count; i++)
        if (strcmp(info->nodes[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* --- inventory ---------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_node(const struct node_info *node, struct err *err)
{
    if (!node->name[0])
        return err_set(err, -EINVAL, "a node without a name");
    if (node->cpus > NODE_CPUS_MAX || node->memory_bytes < 0 || node->memory_bytes > BYTES_MAX ||
        node->disk_bytes < 0 || node->disk_bytes > BYTES_MAX ||
        node->devices_count > NODE_DEVICES_MAX)
        return err_set(err, -EINVAL, "node %s: a figure is out of range", node->name);
    for (uint32_t i = 0; i < node->devices_count; i++)
        if (!node->devices[i].chip[0] || node->devices[i].memory_bytes < 0 ||
            node->devices[i].memory_bytes > BYTES_MAX || node->devices[i].health > DEVICE_SICK)
            return err_set(err, -EINVAL, "node %s: device %u is not well described", node->name, i);
    return 0;
}

int fleet_check_site(const struct fleet *fleet, const struct site_info *info, uint32_t sites_max,
                     struct err *err)
{
    int index = info->name[0] ? fleet_find_site(fleet, info->name) : -1;
    uint32_t count = info->nodes_count;
    const char **names;
    int rc = 0;

    if (!info->name[0])
        return err_set(err, -EINVAL, "a site without a name");
    if (index < 0 && fleet->sites_count >= sites_max)
        return err_set(err, -ENOSPC, "site %s: there are %u sites already", info->name, sites_max);
    if (count > SITE_NODES_MAX)
        return err_set(err, -EINVAL, "site %s: more than %u nodes", info->name, SITE_NODES_MAX);
    if (info->tariff.carbon_g_per_kwh_milli < 0 || info->tariff.power_price_micro_per_kwh < 0 ||
        info->tariff.cpu_price_micro_per_hour < 0 || info->tariff.device_price_micro_per_hour < 0)
        return err_set(err, -EINVAL, "site %s: a tariff below zero", info->name);
    names = mem_alloc(count, sizeof(*names));
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        names[i] = info->nodes[i].name;
        rc = check_node(&info->nodes[i], err);
    }
    if (rc == 0)
        qsort(names, count, sizeof(*names), compare_names);
    for (uint32_t i = 1; rc == 0 && i < count; i++)
        if (strcmp(names[i], names[i - 1]) == 0)
            rc = err_set(err, -EINVAL, "two nodes are named %s", names[i]);
    if (rc == 0 && index >= 0) { /* absent nodes that still hold work keep their place */
        const struct fleet_site *site = &fleet->sites[index];
        uint32_t kept = 0;

        for (uint32_t i = 0; i < site->info.nodes_count; i++) {
            const char *name = site->info.nodes[i].name;

            if (site->nodes[i].grants_count &&
                !bsearch(&name, names, count, sizeof(*names), compare_names))
                kept++;
        }
        if (count + kept > SITE_NODES_MAX)
            rc = err_set(err, -ENOSPC, "site %s: more than %u nodes with those still in use",
                         info->name, SITE_NODES_MAX);
    }
    free(names);
    return rc;
}

/* A kind's place in the site's chips; figures that nobody told are "not known". */
static uint16_t chip_index(struct fleet_site *site, const char *kind)
{
    struct chip_figures *chip;

    for (uint32_t i = 0; i < site->chips_count; i++)
        if (strcmp(site->chips[i].kind, kind) == 0)
            return (uint16_t)i;
    if (site->chips_count >= FLEET_MIXED - 1)
        return 0;
    site->chips = mem_resize(site->chips, site->chips_count + 1, sizeof(*site->chips));
    chip = &site->chips[site->chips_count];
    memset(chip, 0, sizeof(*chip));
    memcpy(chip->kind, kind, strnlen(kind, sizeof(chip->kind) - 1));
    for (int i = 0; i < METRIC_COUNT; i++)
        chip->metric_milli[i] = -1;
    chip->power_watts = chip->power_idle_watts = -1;
    return (uint16_t)site->chips_count++;
}

static void set_chips(struct fleet_site *site, const struct chip_figures *chips, uint32_t count)
{
    struct chip_figures *old = site->chips;
    uint32_t old_count = site->chips_count;

    /* Told ones first; then what absent nodes still have. */
    site->chips = mem_alloc(count + old_count, sizeof(*chips));
    site->chips_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t index = chip_index(site, chips[i].kind); /* may move the list */

        site->chips[index] = chips[i];
    }
    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        for (uint32_t k = 0; k < site->nodes[i].devices_count; k++) {
            const char *kind = site->info.nodes[i].devices[k].chip;
            uint32_t before = site->chips_count;
            uint16_t index = chip_index(site, kind);

            for (uint32_t o = 0; site->chips_count > before && o < old_count; o++)
                if (strcmp(old[o].kind, kind) == 0)
                    site->chips[index] = old[o];
            site->nodes[i].devices[k].chip = index;
        }
    free(old);
}

/* What tells a device from others of its node: its uuid, else its kind and place. */
static uint64_t device_key(const struct node_info *info, uint32_t index)
{
    const char *text = info->devices[index].uuid;
    uint64_t key = 0xcbf29ce484222325u;

    if (!*text) {
        text = info->devices[index].chip;
        key += index;
    }
    for (; *text; text++)
        key = (key ^ (uint8_t)*text) * 0x100000001b3u;
    return key;
}

/* Its place in the new list. Careless vendors repeat an id: each place is given once. */
static uint32_t device_match(uint64_t key, const uint64_t *keys, uint32_t count, uint64_t *taken)
{
    for (uint32_t i = 0; i < count; i++)
        if (keys[i] == key && !(*taken >> i & 1)) {
            *taken |= (uint64_t)1 << i;
            return i;
        }
    return FLEET_DEVICE_GONE;
}

struct move { /* of one node's devices, from the old list to the new one */
    uint64_t old_keys[NODE_DEVICES_MAX], new_keys[NODE_DEVICES_MAX];
    uint32_t moved[NODE_DEVICES_MAX];
    uint32_t new_count;
};

static void move_part(const struct move *move, struct grant_part *part,
                      struct fleet_device *devices)
{
    for (uint32_t d = 0; d < part->devices_count; d++) {
        struct grant_device *held = &part->devices[d];

        if (held->index != FLEET_DEVICE_GONE) {
            held->gone_key = move->old_keys[held->index];
            held->index = move->moved[held->index];
            if (held->index != FLEET_DEVICE_GONE)
                held->gone_key = 0;
            continue;
        }
        /* It was gone: is it back, and not held by somebody else meanwhile? */
        for (uint32_t i = 0; i < move->new_count; i++)
            if (move->new_keys[i] == held->gone_key &&
                devices[i].used_milli + held->milli <= 1000) {
                devices[i].used_milli = (uint16_t)(devices[i].used_milli + held->milli);
                held->index = i;
                held->gone_key = 0;
                break;
            }
    }
}

static int compare_jobs(const void *a, const void *b)
{
    const struct grant *x = *(struct grant *const *)a, *y = *(struct grant *const *)b;

    return x->job_id < y->job_id ? -1 : 1;
}

/* In the order of job ids, so that nobody's luck depends on where its grant is listed. */
static void move_held_devices(struct fleet *fleet, uint32_t site, uint32_t node,
                              const struct move *move, struct fleet_device *devices)
{
    struct grant **list = mem_alloc(fleet->grants_count, sizeof(struct grant *));
    uint32_t count = 0;

    for (uint32_t i = 0; i < fleet->grants_count; i++)
        if (fleet->grants[i]->site == site)
            list[count++] = fleet->grants[i];
    qsort(list, count, sizeof(struct grant *), compare_jobs);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < list[i]->parts_count; k++)
            if (list[i]->parts[k].node == node)
                move_part(move, &list[i]->parts[k], devices);
    free(list);
}

static void count_whole(struct fleet_site *site, struct fleet_node *node)
{
    uint32_t whole = 0;

    for (uint32_t i = 0; i < node->devices_count; i++)
        whole += node->devices[i].used_milli == 0;
    site->devices_whole += whole;
    site->devices_whole -= node->devices_whole;
    node->devices_whole = whole;
}

bool fleet_limit_take(struct fleet_limit *limit, const struct grant_part *part, bool give_back)
{
    int64_t sign = give_back ? 1 : -1;
    bool is_broken;

    limit->cpus += sign * part->cpus;
    limit->memory_bytes += sign * part->memory_bytes;
    limit->disk_bytes += sign * part->disk_bytes;
    is_broken = limit->cpus < 0 || limit->memory_bytes < 0 || limit->disk_bytes < 0;
    for (uint32_t d = 0; d < part->devices_count; d++) {
        uint32_t index = part->devices[d].index;

        if (index == FLEET_DEVICE_GONE)
            continue;
        limit->devices_milli[index] += (int32_t)(sign * part->devices[d].milli);
        is_broken |= limit->devices_milli[index] < 0;
    }
    return is_broken && !give_back;
}

uint32_t fleet_limited_room(const struct fleet_node *node, uint32_t device, uint32_t room,
                            bool is_lent)
{
    for (const struct fleet_limit *limit = node->limits; limit; limit = limit->next)
        if (fleet_limit_binds_all(limit, is_lent) && limit->devices_milli[device] < (int32_t)room)
            room = limit->devices_milli[device] > 0 ? (uint32_t)limit->devices_milli[device] : 0;
    return room;
}

bool fleet_limit_is_broken(const struct fleet_limit *limit)
{
    bool is_broken = limit->cpus < 0 || limit->memory_bytes < 0 || limit->disk_bytes < 0;

    for (uint32_t d = 0; d < NODE_DEVICES_MAX && !is_broken; d++)
        is_broken = limit->devices_milli[d] < 0;
    return is_broken;
}

/* A grant that holds until `end_ms` is there, or no longer, when the promises begin. */
static void take_limits(struct fleet *fleet, const struct grant *grant, int64_t end_ms,
                        bool give_back)
{
    struct fleet_site *site = &fleet->sites[grant->site];

    for (uint32_t i = 0; fleet->promises_count && i < grant->parts_count; i++) {
        struct fleet_limit *limit = site->nodes[grant->parts[i].node].limits;

        for (; limit; limit = limit->next) {
            if (!limit->is_always && (limit->start_ms >= end_ms ||
                                      fleet_is_lent(&site->nodes[grant->parts[i].node], grant)))
                continue;
            if (fleet_limit_take(limit, &grant->parts[i], give_back))
                fleet->is_overpromised = true;
        }
    }
}

static void set_node(struct fleet *fleet, uint32_t site_index, uint32_t index,
                     const struct node_info *info)
{
    struct fleet_site *site = &fleet->sites[site_index];
    struct node_info *old = &site->info.nodes[index];
    struct fleet_node *node = &site->nodes[index];
    struct fleet_device *devices = mem_alloc(info->devices_count, sizeof(*devices));
    bool any_moved = node->devices_count != info->devices_count;
    struct move move = { .new_count = info->devices_count };
    uint64_t taken = 0;

    for (uint32_t i = 0; i < info->devices_count; i++) {
        move.new_keys[i] = device_key(info, i);
        devices[i].memory_bytes = info->devices[i].memory_bytes;
        devices[i].healthy = info->devices[i].health == DEVICE_OK;
    }
    for (uint32_t i = 0; i < node->devices_count; i++) {
        uint32_t to;

        move.old_keys[i] = device_key(old, i);
        to = device_match(move.old_keys[i], move.new_keys, info->devices_count, &taken);
        move.moved[i] = to;
        any_moved |= to != i;
        if (to == FLEET_DEVICE_GONE)
            continue;
        devices[to].used_milli = node->devices[i].used_milli;
        devices[to].cordoned = node->devices[i].cordoned;
    }
    if (any_moved && node->grants_count)
        move_held_devices(fleet, site_index, index, &move, devices);
    free(node->devices);
    node->devices = devices;
    node->devices_count = info->devices_count;
    count_whole(site, node);
    node->cpus = info->cpus;
    node->memory_bytes = info->memory_bytes;
    node->disk_bytes = info->disk_bytes;
    node->present = true;
    memcpy(old, info, offsetof(struct node_info, devices));
    memcpy(old->devices, info->devices, info->devices_count * sizeof(info->devices[0]));
}

static uint32_t add_node(struct fleet *fleet, struct fleet_site *site)
{
    uint32_t index = site->info.nodes_count;

    /* The place of one that is gone and holds nothing, when all are taken. */
    for (uint32_t i = 0; index >= SITE_NODES_MAX && i < site->info.nodes_count; i++)
        if (!site->nodes[i].present && !site->nodes[i].grants_count) {
            site->devices_whole -= site->nodes[i].devices_whole;
            fleet->guarded_nodes -= site->nodes[i].guard != 0;
            free(site->nodes[i].devices);
            free(site->nodes[i].cordon_reason);
            memset(&site->nodes[i], 0, sizeof(site->nodes[i]));
            memset(&site->info.nodes[i], 0, offsetof(struct node_info, devices));
            return i;
        }
    assert(index < SITE_NODES_MAX);
    if (index == site->nodes_cap) {
        MEM_GROW(site->nodes, site->nodes_cap, index + 1);
        site->info.nodes = mem_resize(site->info.nodes, site->nodes_cap, sizeof(*site->info.nodes));
    }
    memset(&site->nodes[index], 0, sizeof(site->nodes[index]));
    memset(&site->info.nodes[index], 0, offsetof(struct node_info, devices));
    site->info.nodes_count++;
    return index;
}

/* All at once: a node_info is large, and most of it is never written. */
static void reserve_nodes(struct fleet_site *site, uint32_t count)
{
    site->nodes_cap = count;
    site->nodes = mem_resize(site->nodes, count, sizeof(*site->nodes));
    site->info.nodes = mem_resize(site->info.nodes, count, sizeof(*site->info.nodes));
}

/* A new site of 10,000 nodes must not compare each name with each other. */
static int find_from(const struct fleet *fleet, uint32_t site, uint32_t hint, const char *name)
{
    const struct site_info *info = &fleet->sites[site].info;

    if (hint < info->nodes_count && strcmp(info->nodes[hint].name, name) == 0)
        return (int)hint;
    return fleet_find_node(fleet, site, name);
}

uint32_t fleet_set_site(struct fleet *fleet, const struct site_info *info,
                        const struct chip_figures *chips, uint32_t chips_count)
{
    int found = fleet_find_site(fleet, info->name);
    bool is_new = found < 0;
    uint32_t index = is_new ? fleet->sites_count : (uint32_t)found;
    struct fleet_site *site;
    struct node_info *nodes;

    if (is_new) {
        MEM_GROW(fleet->sites, fleet->sites_cap, index + 1);
        fleet->sites[index] = (struct fleet_site){ .number = index };
        fleet->sites_count++;
    }
    site = &fleet->sites[index];
    if (is_new)
        reserve_nodes(site, info->nodes_count);
    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        site->nodes[i].present = false;
    nodes = site->info.nodes;
    {
        uint32_t count = site->info.nodes_count;

        site->info = *info;
        site->info.nodes = nodes;
        site->info.nodes_count = count;
    }
    for (uint32_t i = 0; i < info->nodes_count; i++) {
        int node = is_new ? -1 : find_from(fleet, index, i, info->nodes[i].name);

        set_node(fleet, index, node < 0 ? add_node(fleet, site) : (uint32_t)node, &info->nodes[i]);
    }
    set_chips(site, chips, chips_count);
    site->reachable = true;
    fleet_index_site(fleet, index);
    return index;
}

void fleet_index_site(struct fleet *fleet, uint32_t site)
{
    if (fleet->sites[site].has_limits || fleet->sites[site].was_trimmed)
        fleet_trim_nodes(&fleet->sites[site]);
    fleet->sites[site].was_trimmed = fleet->sites[site].has_limits;
    room_build(&fleet->sites[site].room, &fleet->sites[site]);
    domains_build(&fleet->sites[site].domains, &fleet->sites[site]);
    fleet->sites[site].marks.version++;
    if (fleet->sites[site].kinds_count != fleet->sites[site].chips_count + 1)
        kinds_lay_out(fleet);
    kinds_count_whole(&fleet->sites[site]);
    kinds_touch_site(fleet, site);
    fleet->limit_version++;
    fleet->shape_version++;
    fleet->room_version++;
}

void fleet_set_reachable(struct fleet *fleet, uint32_t site, bool reachable)
{
    if (fleet->sites[site].reachable == reachable)
        return;
    fleet->sites[site].reachable = reachable;
    kinds_touch_site(fleet, site);
    fleet->shape_version++;
    fleet->room_version++;
}

void fleet_set_guard(struct fleet *fleet, uint32_t site, uint32_t node, uint32_t guard)
{
    struct fleet_site *at = &fleet->sites[site];

    fleet->guarded_nodes += (guard != 0) - (at->nodes[node].guard != 0);
    at->nodes[node].guard = guard;
    room_move(&at->room, at, node);
}

void fleet_guards_changed(struct fleet *fleet, uint32_t site)
{
    kinds_touch_site(fleet, site);
    fleet->limit_version++;
    fleet->shape_version++;
    fleet->room_version++;
}

void fleet_set_cordon(struct fleet *fleet, uint32_t site, uint32_t index, int32_t device,
                      bool cordoned, const char *reason)
{
    struct fleet_node *node = &fleet->sites[site].nodes[index];

    if (device < 0) {
        node->cordoned = cordoned;
        free(node->cordon_reason);
        node->cordon_reason = cordoned && reason[0] ? mem_copy(reason, strlen(reason)) : NULL;
    } else {
        node->devices[device].cordoned = cordoned;
    }
    fleet_index_site(fleet, site);
}

/* --- grants ------------------------------------------------------------------------------- */

struct grant *grant_create(uint32_t parts_count, uint32_t devices_count,
                           struct grant_device **devices_out)
{
    size_t parts_bytes = parts_count * sizeof(struct grant_part);
    struct grant *grant =
        mem_alloc(1, sizeof(*grant) + parts_bytes + devices_count * sizeof(struct grant_device));

    grant->parts_count = parts_count;
    grant->parts = (struct grant_part *)(grant + 1);
    *devices_out = (struct grant_device *)(grant->parts + parts_count);
    return grant;
}

void grant_destroy(struct grant *grant)
{
    if (grant)
        free(grant->apart);
    free(grant);
}

void grant_set_apart(struct grant *grant, const struct request_apart *apart)
{
    grant->apart = apart ? mem_copy(apart, sizeof(*apart)) : NULL;
    for (uint32_t i = 0; i < grant->parts_count; i++)
        grant->parts[i].apart = grant->apart;
}

void fleet_take_part(struct fleet_site *site, const struct grant_part *part, bool give_back)
{
    struct fleet_node *node = &site->nodes[part->node];
    int64_t sign = give_back ? -1 : 1;
    uint32_t whole = node->devices_whole;

    if (part->apart) {
        if (give_back)
            apart_release(&site->marks, part->apart, part->node);
        else
            apart_hold(&site->marks, part->apart, part->node);
    }
    node->cpus_used = (uint32_t)((int64_t)node->cpus_used + sign * part->cpus);
    node->memory_used += sign * part->memory_bytes;
    node->disk_used += sign * part->disk_bytes;
    for (uint32_t d = 0; d < part->devices_count; d++) {
        struct fleet_device *device;
        int32_t more;

        if (part->devices[d].index == FLEET_DEVICE_GONE)
            continue;
        device = &node->devices[part->devices[d].index];
        more = -!device->used_milli;
        device->used_milli = (uint16_t)(device->used_milli + sign * part->devices[d].milli);
        more += !device->used_milli;
        whole += (uint32_t)more;
        site->kinds[device->chip].whole += (uint64_t)more;
    }
    site->devices_whole += whole;
    site->devices_whole -= node->devices_whole;
    site->kinds[site->kinds_count - 1].whole = site->devices_whole;
    domains_move(&site->domains, part->node, node->devices_whole, whole);
    node->devices_whole = whole;
}

static void link_part(struct fleet_node *node, struct grant_part *part, const struct grant *of)
{
    part->of = of;
    part->prev = NULL;
    part->next = node->parts;
    if (part->next)
        part->next->prev = part;
    node->parts = part;
    node->grants_count++;
}

static void unlink_part(struct fleet_node *node, const struct grant_part *part)
{
    *(part->prev ? &part->prev->next : &node->parts) = part->next;
    if (part->next)
        part->next->prev = part->prev;
    node->grants_count--;
}

static void take(struct fleet *fleet, struct grant *grant, bool give_back)
{
    struct fleet_site *site = &fleet->sites[grant->site];

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        uint32_t node = grant->parts[i].node;

        fleet_take_part(site, &grant->parts[i], give_back);
        if (give_back)
            unlink_part(&site->nodes[node], &grant->parts[i]);
        else
            link_part(&site->nodes[node], &grant->parts[i], grant);
        room_move(&site->room, site, node);
    }
}

void fleet_hold(struct fleet *fleet, struct grant *grant)
{
    take(fleet, grant, false);
    MEM_GROW(fleet->grants, fleet->grants_cap, fleet->grants_count + 1);
    grant->slot = fleet->grants_count;
    fleet->grants[fleet->grants_count++] = grant;
    ends_add(&fleet->sites[grant->site].ends, grant);
    kinds_log(fleet, grant, grant->end_ms, true);
    take_limits(fleet, grant, grant->end_ms, false);
}

void fleet_release(struct fleet *fleet, struct grant *grant)
{
    take(fleet, grant, true);
    fleet->grants[grant->slot] = fleet->grants[--fleet->grants_count];
    fleet->grants[grant->slot]->slot = grant->slot;
    ends_remove(&fleet->sites[grant->site].ends, grant);
    kinds_touch_grant(fleet, grant, true);
    if (grant->apart) /* nodes around may be open to others again */
        kinds_touch_site(fleet, grant->site);
    fleet_own_room(fleet, grant);
    fleet->limit_version++; /* beside the promises there is more, too */
    kinds_log(fleet, grant, grant->end_ms, false);
    take_limits(fleet, grant, grant->end_ms, true);
    fleet->room_version++;
}

uint16_t fleet_grant_chip(const struct fleet *fleet, const struct grant *grant)
{
    const struct fleet_site *site = &fleet->sites[grant->site];

    for (uint32_t i = 0; i < grant->parts_count; i++)
        for (uint32_t d = 0; d < grant->parts[i].devices_count; d++)
            if (grant->parts[i].devices[d].index != FLEET_DEVICE_GONE)
                return site->nodes[grant->parts[i].node]
                    .devices[grant->parts[i].devices[d].index]
                    .chip;
    return FLEET_NO_CHIP;
}

void fleet_set_end(struct fleet *fleet, struct grant *grant, int64_t end_ms)
{
    struct fleet_site *site = &fleet->sites[grant->site];

    ends_remove(&site->ends, grant);
    take_limits(fleet, grant, grant->end_ms, true);
    grant->end_ms = end_ms;
    take_limits(fleet, grant, grant->end_ms, false);
    ends_add(&site->ends, grant);
    kinds_log(fleet, grant, INT64_MAX, false); /* what was planned with the other end is void */
    kinds_touch_grant(fleet, grant, false);
    fleet_own_room(fleet, grant);
    fleet->limit_version++;
}
