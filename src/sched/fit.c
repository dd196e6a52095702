#include "sched/fit_internal.h"

#include "base/cleanup.h"
#include "sched/fit_packed.h"
#include "sched/mem.h"
#include "sched/owner.h"
#include "sched/packer.h"

#include <stdlib.h>
#include <string.h>

void fit_fini(struct fit *fit)
{
    free(fit->parts);
    free(fit->groups);
    free(fit->nodes);
    *fit = (struct fit){ 0 };
}

static inline bool is_lent(const struct shape *shape, const struct fleet_node *node)
{
    return node->guard && node->guard != shape->guard;
}

/* Room of one device in 1/1000 for this shape; 0 when it is not of the kind that is meant. */
static inline uint32_t device_room(const struct shape *shape, const struct fleet_node *node,
                                   uint32_t index, uint16_t chip, enum fit_when when)
{
    const struct fleet_device *device = &node->devices[index];
    uint32_t room;

    if ((device->chip != chip && chip != FLEET_MIXED) ||
        device->memory_bytes < shape->device_memory_bytes)
        return 0;
    if (when == FIT_EVER)
        return 1000;
    if (!device_is_usable(device))
        return 0;
    if (when == FIT_EMPTY)
        return 1000;
    room = 1000u - device->used_milli;
    return when == FIT_LIMITED && node->limits
               ? fleet_limited_room(node, index, room, is_lent(shape, node))
               : room;
}

/* The need of memory is by device where the catalogue does not know: see shape_bar_of_chip. */
static bool devices_meet_needs(const struct shape *shape, const struct fleet_site *site,
                               const struct fleet_node *node, uint32_t index, uint16_t chip)
{
    const struct fleet_device *device = &node->devices[index];

    return (!shape->needs_count && chip != FLEET_MIXED) ||
           shape_bar_of_chip(shape, &site->chips[device->chip], device->memory_bytes) == BAR_NONE;
}

/* All devices of a task are of one kind: of a mixed gang's with several, those on one node are of
 * the kind of the first that will do. */
static uint16_t kind_on(const struct shape *shape, const struct fleet_site *site,
                        const struct fleet_node *node, uint16_t chip)
{
    if (chip != FLEET_MIXED || shape->devices_milli == 1000)
        return chip;
    for (uint32_t i = 0; i < node->devices_count; i++)
        if (devices_meet_needs(shape, site, node, i, chip))
            return node->devices[i].chip;
    return FLEET_NO_CHIP;
}

static uint32_t device_tasks(const struct shape *shape, const struct fleet_site *site,
                             const struct fleet_node *node, uint16_t chip, enum fit_when when)
{
    uint32_t milli = shape->devices_milli, whole = 0, shares = 0;

    chip = kind_on(shape, site, node, chip);
    for (uint32_t i = 0; i < node->devices_count; i++) {
        uint32_t room = device_room(shape, node, i, chip, when);

        if (!room || !devices_meet_needs(shape, site, node, i, chip))
            continue;
        whole += room == 1000;
        shares += room / milli;
    }
    return milli >= 1000 ? whole / (milli / 1000) : shares;
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cheap and often true: whole devices are wanted, and the node has not that many unused. */
static inline bool is_full(const struct shape *shape, const struct fleet_node *node,
                           enum fit_when when)
{
    return (when == FIT_NOW || when == FIT_LIMITED) && shape->devices_milli >= 1000 &&
           (uint64_t)node->devices_whole * 1000 < shape->devices_milli;
}

/* By all but devices. */
static inline int64_t tasks_beside_devices(const struct shape *shape, int64_t cpus, int64_t memory,
                                           int64_t disk)
{
    int64_t tasks;

    if (cpus < shape->cpus || memory < shape->memory_bytes || disk < shape->disk_bytes)
        return 0;
    tasks = cpus / shape->cpus;
    if (shape->memory_bytes)
        tasks = least(tasks, memory / shape->memory_bytes);
    if (shape->disk_bytes)
        tasks = least(tasks, disk / shape->disk_bytes);
    if (shape->tasks_per_node)
        tasks = least(tasks, shape->tasks_per_node);
    return least(tasks, shape->tasks);
}

/* In a cell of somebody else (or outside its own, where it is to be there) for whom it could not be
 * made to stop. Where it could ever run is another question: cells come and go. */
static inline bool is_guarded(const struct shape *shape, uint32_t guard, enum fit_when when)
{
    if (guard == shape->guard)
        return !guard && shape->own_only;
    return shape->own_only || (guard && !shape->lends && (when == FIT_NOW || when == FIT_LIMITED));
}

uint32_t fit_tasks(const struct shape *shape, const struct fleet_site *site,
                   const struct fleet_node *node, uint16_t chip, enum fit_when when)
{
    int64_t cpus = node->cpus, memory = node->memory_bytes, disk = node->disk_bytes, tasks;

    if (is_full(shape, node, when) || (when != FIT_EVER && !node_is_open(node)) ||
        is_guarded(shape, node->guard, when))
        return 0;
    if (shape->apart && (when == FIT_NOW || when == FIT_LIMITED) &&
        apart_bars_node(shape, site, (uint32_t)(node - site->nodes), when == FIT_LIMITED))
        return 0;
    if (when != FIT_EMPTY && when != FIT_EVER) {
        cpus -= node->cpus_used;
        memory -= node->memory_used;
        disk -= node->disk_used;
    }
    for (const struct fleet_limit *limit = when == FIT_LIMITED ? node->limits : NULL; limit;
         limit = limit->next) {
        if (!fleet_limit_binds_all(limit, is_lent(shape, node)))
            continue;
        cpus = least(cpus, limit->cpus);
        memory = least(memory, limit->memory_bytes);
        disk = least(disk, limit->disk_bytes);
    }
    tasks = tasks_beside_devices(shape, cpus, memory, disk);
    if (tasks && shape->devices_milli)
        tasks = least(tasks, device_tasks(shape, site, node, chip, when));
    return (uint32_t)tasks;
}

/* What is left over matters in this order: whole devices, then CPUs. */
static uint64_t node_waste(const struct shape *shape, const struct fleet_node *node, uint16_t chip,
                           enum fit_when when)
{
    uint64_t cpus_left = (uint64_t)node_cpus_free(node) - shape->cpus;
    uint64_t devices_left = 0;

    if (!shape->devices_milli) { /* held ones too: they come free, and need CPUs again */
        devices_left = node->devices_count;
    } else if (shape->devices_milli < 1000) {
        devices_left = 1000;
        for (uint32_t i = 0; i < node->devices_count; i++) {
            uint32_t room = device_room(shape, node, i, chip, when);

            if (room >= shape->devices_milli && room - shape->devices_milli < devices_left)
                devices_left = room - shape->devices_milli;
        }
    } else {
        for (uint32_t i = 0; i < node->devices_count; i++)
            devices_left += device_room(shape, node, i, chip, when) == 1000;
    }
    return devices_left << 32 | (cpus_left & UINT32_MAX);
}

static int compare_parts(const void *a, const void *b)
{
    const struct fit_part *x = a, *y = b;

    if (x->tasks != y->tasks)
        return x->tasks > y->tasks ? -1 : 1;
    if (x->waste != y->waste)
        return x->waste < y->waste ? -1 : 1;
    return x->node < y->node ? -1 : 1;
}

struct nodes { /* to look at; `list` NULL: the first of the site */
    const uint32_t *list;
    uint32_t count;
};

static void keep_better(struct fit_part *best, uint32_t node, uint32_t tasks, uint64_t waste)
{
    if (!best->tasks || waste < best->waste || (waste == best->waste && node < best->node))
        *best = (struct fit_part){ .node = node, .tasks = tasks, .waste = waste };
}

/* One node for all: the one with the least left over. */
static bool scan_single(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                        enum fit_when when, const struct nodes *nodes, struct fit *fit)
{
    struct fit_part best = { .tasks = 0 };

    for (uint32_t k = 0; k < nodes->count; k++) {
        uint32_t i = nodes->list ? nodes->list[k] : k;
        const struct fleet_node *node = &site->nodes[i];

        if (fit_tasks(shape, site, node, chip, when) >= shape->tasks)
            keep_better(&best, i, shape->tasks, node_waste(shape, node, chip, when));
    }
    return best.tasks && fit_set_one(fit, best.node, best.tasks);
}

/* The fewest nodes: the largest first, and for the rest the node that it fills best. */
static bool scan_gang(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                      enum fit_when when, const struct nodes *nodes, struct fit *fit)
{
    uint32_t left = shape->tasks, count = 0, taken = 0;
    uint64_t sum = 0;

    for (uint32_t k = 0; k < nodes->count; k++) {
        uint32_t i = nodes->list ? nodes->list[k] : k;
        uint32_t tasks = fit_tasks(shape, site, &site->nodes[i], chip, when);

        if (!tasks)
            continue;
        MEM_GROW(fit->parts, fit->parts_cap, count + 1);
        fit->parts[count++] = (struct fit_part){
            .node = i, .tasks = tasks, .waste = node_waste(shape, &site->nodes[i], chip, when)
        };
        sum += tasks;
    }
    if (sum < left)
        return false;
    qsort(fit->parts, count, sizeof(*fit->parts), compare_parts);
    while (left && taken < GRANT_PARTS_MAX) {
        uint32_t pick = taken;

        if (fit->parts[taken].tasks >= left) { /* sorted: go to the last that still holds it */
            uint32_t tasks;

            while (pick + 1 < count && fit->parts[pick + 1].tasks >= left)
                pick++;
            tasks = fit->parts[pick].tasks;
            while (pick > taken && fit->parts[pick - 1].tasks == tasks)
                pick--;
            fit->parts[pick].tasks = left;
        }
        left -= fit->parts[pick].tasks;
        fit->parts[taken++] = fit->parts[pick];
    }
    fit->parts_count = taken;
    return left == 0;
}

static bool has_too_few_devices(const struct shape *shape, const struct fleet_site *site,
                                enum fit_when when)
{
    return (when == FIT_NOW || when == FIT_LIMITED) && shape->devices_milli >= 1000 &&
           site->devices_whole < (uint64_t)shape->tasks * (shape->devices_milli / 1000);
}

bool fit_among(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
               enum fit_when when, const uint32_t *nodes, uint32_t count, struct fit *fit)
{
    const struct nodes among = { nodes, count };

    if (scan_single(shape, site, chip, when, &among, fit))
        return true;
    return shape->tasks > 1 && scan_gang(shape, site, chip, when, &among, fit);
}

bool fit_among_one(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                   enum fit_when when, struct fit *fit)
{
    const struct nodes all = { NULL, site->info.nodes_count };

    return scan_single(shape, site, chip, when, &all, fit);
}

bool fit_candidate_plainly(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                           uint16_t chip, enum fit_when when, struct fit *fit)
{
    const struct fleet_site *at = &fleet->sites[site];

    fit->site = site;
    fit->chip = chip;
    fit->parts_count = fit->share_room = 0;
    if (has_too_few_devices(shape, at, when))
        return false;
    if (shape->within || shape->spread)
        return topology_fit(shape, fleet, site, chip, when, fit);
    return fit_among(shape, at, chip, when, NULL, at->info.nodes_count, fit);
}

/* --- by state ------------------------------------------------------------------------------- */

bool fit_never_in_pool(const struct shape *shape, const struct room_pool *pool, uint16_t chip)
{
    return shape->devices_milli &&
           (!pool->devices_count ||
            (pool->is_uniform && pool->chip != chip && chip != FLEET_MIXED) ||
            (uint64_t)pool->devices_count * 1000 < shape->devices_milli);
}

/* Does a class tell all that matters to the shape, so that none of its nodes is looked at? */
static inline bool tells_all(const struct shape *shape, const struct room_pool *pool, uint16_t chip)
{
    return !shape->devices_milli || (shape->devices_milli >= 1000 && pool->is_uniform &&
                                     chip != FLEET_MIXED && !shape->needs_count);
}

/* fit_tasks of each node of a class, and of what tells_all, node_waste of one that holds a task. No
 * promise is on any of them: those stand apart. */
static inline uint32_t class_tasks(const struct shape *shape, const struct fleet_site *site,
                                   const struct room_class *class, uint32_t node, uint16_t chip,
                                   enum fit_when when)
{
    const struct room_pool *pool = &site->room.pools[class->pool];
    int64_t tasks;

    if (!tells_all(shape, pool, chip))
        return fit_tasks(shape, site, &site->nodes[node], chip, when);
    if ((shape->devices_milli && pool->device_memory_bytes < shape->device_memory_bytes) ||
        is_guarded(shape, class->guard, when))
        return 0;
    tasks = tasks_beside_devices(shape, (int64_t)pool->cpus - class->cpus_used,
                                 pool->memory_bytes - class->memory_used,
                                 pool->disk_bytes - class->disk_used);
    if (shape->devices_milli)
        tasks = least(tasks, class->whole / (shape->devices_milli / 1000));
    return (uint32_t)tasks;
}

static inline uint64_t class_waste(const struct shape *shape, const struct fleet_site *site,
                                   const struct room_class *class, uint32_t node, uint16_t chip,
                                   enum fit_when when)
{
    const struct room_pool *pool = &site->room.pools[class->pool];
    uint64_t cpus_left = (uint64_t)pool->cpus - class->cpus_used - shape->cpus;

    if (!tells_all(shape, pool, chip))
        return node_waste(shape, &site->nodes[node], chip, when);
    return (uint64_t)(shape->devices_milli ? class->whole : pool->devices_count) << 32 |
           (cpus_left & UINT32_MAX);
}

/* The best single node of a pool. The lists go up by whole free devices: where all devices are of
 * one kind, the first list that has one has the best. */
static void find_in_pool(const struct shape *shape, const struct fleet_site *site,
                         const struct room_pool *pool, uint16_t chip, enum fit_when when,
                         struct fit_part *best)
{
    uint64_t lists = fit_lists_from(pool, shape, shape->tasks);

    for (; lists; lists &= lists - 1) {
        uint32_t list = (uint32_t)__builtin_ctzll(lists);
        bool any = false;

        for (uint32_t at = pool->lists[list]; at != ROOM_NONE; at = site->room.classes[at].next) {
            const struct room_class *class = &site->room.classes[at];
            uint32_t node = room_first(&site->room, at);

            if (class_tasks(shape, site, class, node, chip, when) < shape->tasks)
                continue;
            keep_better(best, node, shape->tasks,
                        class_waste(shape, site, class, node, chip, when));
            any = true;
        }
        if (any && shape->devices_milli >= 1000 && pool->is_uniform && list < ROOM_WHOLE_MAX)
            return;
    }
}

/* As scan_single, among the site's distinct states. */
static bool find_single(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                        enum fit_when when, struct fit *fit)
{
    const struct room *room = &site->room;
    struct fit_part best = { .tasks = 0 };

    for (uint32_t p = 0; p < room->pools_count; p++)
        if (!fit_never_in_pool(shape, &room->pools[p], chip))
            find_in_pool(shape, site, &room->pools[p], chip, when, &best);
    for (uint32_t i = 0; i < room->apart_count; i++) {
        const struct fleet_node *node = &site->nodes[room->apart[i].node];

        if (!fit_is_out(shape, room, &room->apart[i], chip, shape->tasks) &&
            fit_tasks(shape, site, node, chip, when) >= shape->tasks)
            keep_better(&best, room->apart[i].node, shape->tasks,
                        node_waste(shape, node, chip, when));
    }
    return best.tasks && fit_set_one(fit, best.node, best.tasks);
}

static int compare_groups(const void *a, const void *b)
{
    const struct fit_group *x = a, *y = b;

    if (x->tasks != y->tasks)
        return x->tasks > y->tasks ? -1 : 1;
    if (x->waste != y->waste)
        return x->waste < y->waste ? -1 : 1;
    return x->node < y->node ? -1 : 1;
}

static uint64_t add_group(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                          enum fit_when when, uint32_t class, uint32_t node, struct fit *fit,
                          uint32_t *count)
{
    const struct room_class *of = class == ROOM_NONE ? NULL : &site->room.classes[class];
    uint32_t tasks = of ? class_tasks(shape, site, of, node, chip, when)
                        : fit_tasks(shape, site, &site->nodes[node], chip, when);
    uint32_t nodes = of ? of->nodes_count : 1;

    if (!tasks)
        return 0;
    MEM_GROW(fit->groups, fit->groups_cap, *count + 1);
    fit->groups[(*count)++] = (struct fit_group){
        .tasks = tasks,
        .class = class,
        .node = node,
        .nodes_count = nodes,
        .waste = of ? class_waste(shape, site, of, node, chip, when)
                    : node_waste(shape, &site->nodes[node], chip, when),
    };
    return (uint64_t)tasks * nodes;
}

/* One representative node of each class that may hold a task, and each node that stands apart
 * (class ROOM_NONE): the sum of what `visit` gives. Inlined, so that a visit is no call. */
typedef uint64_t (*visit_fn)(void *context, uint32_t class, uint32_t node);

static inline __attribute__((always_inline)) uint64_t sum_over(const struct shape *shape,
                                                               const struct room *room,
                                                               uint16_t chip, visit_fn visit,
                                                               void *context)
{
    uint64_t sum = 0;

    for (uint32_t p = 0; p < room->pools_count; p++) {
        const struct room_pool *pool = &room->pools[p];
        uint64_t lists = fit_lists_from(pool, shape, 1);

        if (fit_never_in_pool(shape, pool, chip))
            continue;
        for (; lists; lists &= lists - 1)
            for (uint32_t at = pool->lists[__builtin_ctzll(lists)]; at != ROOM_NONE;
                 at = room->classes[at].next)
                sum += visit(context, at, room_first(room, at));
    }
    for (uint32_t i = 0; i < room->apart_count; i++)
        if (!fit_is_out(shape, room, &room->apart[i], chip, 1))
            sum += visit(context, ROOM_NONE, room->apart[i].node);
    return sum;
}

struct listing {
    const struct shape *shape;
    const struct fleet_site *site;
    struct fit *fit;
    uint32_t *count;
    enum fit_when when;
    uint16_t chip;
};

static inline uint64_t visit_group(void *context, uint32_t class, uint32_t node)
{
    const struct listing *list = context;

    return add_group(list->shape, list->site, list->chip, list->when, class, node, list->fit,
                     list->count);
}

/* All that hold at least one task; gives how many tasks in all. */
static uint64_t list_groups(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                            enum fit_when when, struct fit *fit, uint32_t *count_out)
{
    struct listing list = { shape, site, fit, count_out, when, chip };

    *count_out = 0;
    return sum_over(shape, &site->room, chip, visit_group, &list);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The lowest `most` nodes of groups [from, end), which are alike. */
static uint32_t list_run(const struct room *room, struct fit *fit, uint32_t from, uint32_t end,
                         uint32_t most)
{
    uint32_t count = 0;

    for (uint32_t g = from; g < end; g++) {
        uint32_t part = MIN(most, fit->groups[g].nodes_count);

        MEM_GROW(fit->nodes, fit->nodes_cap, count + part);
        if (fit->groups[g].class == ROOM_NONE)
            fit->nodes[count++] = fit->groups[g].node;
        else
            count += room_list(room, fit->groups[g].class, part, fit->nodes + count);
    }
    if (end - from > 1)
        qsort(fit->nodes, count, sizeof(*fit->nodes), compare_numbers);
    return MIN(count, most);
}

/* What is left of the gang fits on one node of group `at`: is there one that it fills better? */
static uint32_t find_rest(const struct fit *fit, uint32_t at, uint32_t count, uint32_t left,
                          uint32_t node)
{
    uint32_t tasks = fit->groups[at].tasks, last = at;

    while (last + 1 < count && fit->groups[last + 1].tasks >= left)
        last++;
    if (fit->groups[last].tasks == tasks)
        return node;
    while (fit->groups[last - 1].tasks == fit->groups[last].tasks)
        last--;
    return fit->groups[last].node;
}

/* As scan_gang, group by group: the fewest nodes, the largest first. */
static bool find_gang(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                      enum fit_when when, struct fit *fit)
{
    uint32_t left = shape->tasks, count, taken = 0;

    if (list_groups(shape, site, chip, when, fit, &count) < left)
        return false;
    qsort(fit->groups, count, sizeof(*fit->groups), compare_groups);
    for (uint32_t g = 0, end; g < count && left && taken < GRANT_PARTS_MAX; g = end) {
        uint32_t tasks = fit->groups[g].tasks, run, whole = (left - 1) / tasks;

        for (end = g + 1; end < count && fit->groups[end].tasks == tasks; end++)
            if (fit->groups[end].waste != fit->groups[g].waste)
                break;
        whole = MIN(whole, GRANT_PARTS_MAX - taken);
        run = list_run(&site->room, fit, g, end, whole + 1);
        MEM_GROW(fit->parts, fit->parts_cap, taken + run);
        for (uint32_t i = 0; i < MIN(run, whole); i++)
            fit->parts[taken++] = (struct fit_part){ fit->nodes[i], tasks, 0 };
        left -= MIN(run, whole) * tasks;
        if (run <= whole || left > tasks)
            continue;
        if (taken < GRANT_PARTS_MAX) {
            uint32_t node = find_rest(fit, g, count, left, fit->nodes[whole]);

            fit->parts[taken++] = (struct fit_part){ node, left, 0 };
            left = 0;
        }
        break;
    }
    fit->parts_count = taken;
    return left == 0;
}

int64_t fit_chip_watts(const struct shape *shape, const struct fleet_site *site, uint16_t chip)
{
    int64_t watts = 0;

    if (chip == FLEET_NO_CHIP)
        return 0;
    if (chip != FLEET_MIXED)
        return site->chips[chip].power_watts > 0 ? site->chips[chip].power_watts : 0;
    for (uint32_t c = 0; c < site->chips_count; c++)
        if (site->chips[c].power_watts > watts &&
            shape_bar_of_chip(shape, &site->chips[c], INT64_MAX) == BAR_NONE)
            watts = site->chips[c].power_watts;
    return watts;
}

bool fit_has_power(const struct shape *shape, const struct fleet_site *site, uint16_t chip)
{
    __int128 task_mw = (__int128)site->power.cpu_mw_max * shape->cpus;

    if (!site->power.is_capped)
        return true;
    task_mw += (__int128)fit_chip_watts(shape, site, chip) * shape->devices_milli;
    return task_mw * shape->tasks <= site->power.left_mw;
}

/* Closed to it, whatever its nodes have free? */
static bool is_barred(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                      uint16_t chip, enum fit_when when)
{
    const struct fleet_site *at = &fleet->sites[site];

    return has_too_few_devices(shape, at, when) || !fit_has_power(shape, at, chip) ||
           !owner_is_open(fleet, shape, site);
}

bool fit_candidate(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                   uint16_t chip, enum fit_when when, struct fit *fit)
{
    const struct fleet_site *at = &fleet->sites[site];

    if (when != FIT_NOW && when != FIT_LIMITED)
        return fit_candidate_plainly(shape, fleet, site, chip, when, fit);
    fit->site = site;
    fit->chip = chip;
    fit->parts_count = fit->share_room = 0;
    if (is_barred(shape, fleet, site, chip, when))
        return false;
    if (shape->within || shape->spread)
        return topology_fit(shape, fleet, site, chip, when, fit);
    if (shape->apart) /* nodes in one state may differ in what is around them */
        return fit_among(shape, at, chip, when, NULL, at->info.nodes_count, fit);
    if (fleet->packer && chip != FLEET_MIXED && packer_knows(shape, fleet)) {
        struct fit_packed packed = fit_packed_begin(shape, fleet, when);

        fit_packed_consider(&packed, site, chip, NULL);
        if (fit_packed_choose(&packed, fit))
            return true;
    }
    if (find_single(shape, at, chip, when, fit))
        return true;
    return shape->tasks > 1 && find_gang(shape, at, chip, when, fit);
}

static inline uint64_t visit_count(void *context, uint32_t class, uint32_t node)
{
    const struct listing *list = context;
    const struct room_class *of = &list->site->room.classes[class];

    if (class == ROOM_NONE)
        return fit_tasks(list->shape, list->site, &list->site->nodes[node], list->chip, list->when);
    return (uint64_t)of->nodes_count *
           class_tasks(list->shape, list->site, of, node, list->chip, list->when);
}

uint64_t fit_count(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                   uint16_t chip)
{
    const struct fleet_site *at = &fleet->sites[site];
    struct listing list = { shape, at, NULL, NULL, FIT_NOW, chip };
    uint64_t sum = 0;

    for (uint32_t i = 0; shape->apart && i < at->info.nodes_count; i++)
        sum += fit_tasks(shape, at, &at->nodes[i], chip, FIT_NOW);
    if (shape->apart)
        return sum;
    return sum_over(shape, &at->room, chip, visit_count, &list);
}

/* --- over all candidates -------------------------------------------------------------------- */

static inline bool is_known_not_at(const struct candidate_fit *at, const struct fleet *fleet,
                                   uint64_t whole_asked, enum fit_when when)
{
    const struct fleet_kind *kind = &fleet->kinds[at->kind];

    /* Cheap and often true: there are not that many whole devices of the kind at the site. */
    return kind->whole < whole_asked || at->no_fit_version == kind->room_version ||
           (when == FIT_LIMITED && at->no_fit_limited == kind->limit_version &&
            fleet->window.until_ms >= at->no_fit_until_ms);
}

static void remember_not_at(struct candidate_fit *at, const struct fleet *fleet, enum fit_when when)
{
    const struct fleet_kind *kind = &fleet->kinds[at->kind];

    if (when == FIT_NOW) {
        at->no_fit_version = kind->room_version;
    } else if (when == FIT_LIMITED) {
        at->no_fit_limited = kind->limit_version;
        at->no_fit_until_ms = fleet->window.until_ms;
    }
}

/* Among all nodes of all candidates at once, by expected fill. */
static bool find_anywhere(struct shape *shape, const struct fleet *fleet, enum fit_when when,
                          uint32_t count, struct fit *fit)
{
    uint64_t whole_asked = (uint64_t)shape->tasks * (shape->devices_milli / 1000);
    struct fit_packed packed = fit_packed_begin(shape, fleet, when);

    if (!shape->picks)
        shape->picks = mem_alloc(count, sizeof(*shape->picks));
    for (uint32_t i = 0; i < count; i++) {
        const struct candidate *at = &shape->candidates[i];
        bool fits;

        if (is_known_not_at(&shape->fits[i], fleet, whole_asked, when) || at->chip == FLEET_MIXED)
            continue;
        fits = !is_barred(shape, fleet, at->site, at->chip, when) &&
               fit_packed_consider(&packed, at->site, at->chip, &shape->picks[i]);
        if (!fits && shape->tasks == 1) /* a gang may fit on several nodes */
            remember_not_at(&shape->fits[i], fleet, when);
    }
    if (!fit_packed_choose(&packed, fit))
        return false;
    fit->rank = 0;
    while (shape->candidates[fit->rank].site != fit->site ||
           shape->candidates[fit->rank].chip != fit->chip)
        fit->rank++;
    return true;
}

/* Lent only where nothing else will do. */
static bool fit_at(const struct shape *shape, const struct fleet *fleet,
                   const struct candidate *candidate, enum fit_when when, struct fit *fit)
{
    if (shape->lends && fleet->guarded_nodes) {
        struct shape firm = *shape;

        firm.lends = false;
        if (fit_candidate(&firm, fleet, candidate->site, candidate->chip, when, fit))
            return true;
    }
    return fit_candidate(shape, fleet, candidate->site, candidate->chip, when, fit);
}

bool fit_find_firm(struct shape *shape, const struct fleet *fleet,
                   const struct objective *objective, enum fit_when when, struct fit *fit)
{
    const struct candidate *candidates;
    struct shape firm;
    uint32_t count;

    if (!shape->lends || !fleet->guarded_nodes)
        return fit_find(shape, fleet, objective, when, fit);
    candidates = shape_candidates(shape, fleet, objective, &count);
    firm = *shape;
    firm.lends = false;
    for (uint32_t i = 0; i < count; i++)
        if (fit_candidate(&firm, fleet, candidates[i].site, candidates[i].chip, when, fit)) {
            fit->rank = i;
            return true;
        }
    return false;
}

bool fit_find(struct shape *shape, const struct fleet *fleet, const struct objective *objective,
              enum fit_when when, struct fit *fit)
{
    uint64_t whole_asked = (uint64_t)shape->tasks * (shape->devices_milli / 1000);
    bool is_scored;
    uint32_t count;

    if (fit_is_known_not(shape, fleet, when))
        return false;
    shape_candidates(shape, fleet, objective, &count);
    is_scored = fleet->packer && packer_ask(shape, fleet);
    if (is_scored && packer_chooses_place(fleet->packer, shape) &&
        (when == FIT_NOW || when == FIT_LIMITED) && find_anywhere(shape, fleet, when, count, fit))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        if (is_known_not_at(&shape->fits[i], fleet, whole_asked, when))
            continue;
        if (fit_at(shape, fleet, &shape->candidates[i], when, fit)) {
            fit->rank = i;
            return true;
        }
        remember_not_at(&shape->fits[i], fleet, when);
    }
    if (when == FIT_NOW) {
        shape->no_fit_version = fleet->room_version;
    } else if (when == FIT_LIMITED) {
        shape->no_fit_limited = fleet->limit_version;
        shape->no_fit_until_ms = fleet->window.until_ms;
    }
    return false;
}

/* It fitted somewhere, and nothing has been taken or given back there since. Power and hours are
 * other matters. */
static bool fits_still(const struct shape *shape, const struct fleet *fleet)
{
    const struct fleet_site *site = &fleet->sites[shape->fits_site];

    return !shape->apart && shape->fits_version == fleet->shape_version && !site->power.is_capped &&
           !site->policy && fleet->kinds[shape->fits_kind].changes_count == shape->fits_changes;
}

/* In whatever order they stand: no objective is asked for. */
bool fit_is_nowhere(struct shape *shape, const struct fleet *fleet, struct fit *fit)
{
    if (fit_is_known_not(shape, fleet, FIT_NOW))
        return true;
    if (fits_still(shape, fleet))
        return false;
    if (!fit_find(shape, fleet, &shape->sorted_by, FIT_NOW, fit))
        return true;
    shape->fits_site = fit->site;
    shape->fits_kind = kinds_at(&fleet->sites[fit->site], fit->chip);
    shape->fits_changes = fleet->kinds[shape->fits_kind].changes_count;
    shape->fits_version = fleet->shape_version;
    return false;
}

/* --- devices ------------------------------------------------------------------------------ */

/* Choose one part's devices into `room`-like `milli` per device: 0 = not taken. */
static uint32_t choose_devices(const struct shape *shape, const struct fleet_site *site,
                               const struct fleet_node *node, uint16_t chip, enum fit_when when,
                               uint32_t tasks, uint32_t share_room, uint32_t *milli)
{
    uint32_t wanted = tasks * (shape->devices_milli / 1000), used = 0;

    chip = kind_on(shape, site, node, chip);
    memset(milli, 0, node->devices_count * sizeof(*milli));
    if (shape->devices_milli >= 1000) {
        for (uint32_t i = 0; i < node->devices_count && used < wanted; i++)
            if (device_room(shape, node, i, chip, when) == 1000 &&
                devices_meet_needs(shape, site, node, i, chip)) {
                milli[i] = 1000;
                used++;
            }
        return used;
    }
    for (uint32_t t = 0; t < tasks; t++) {
        uint32_t best = UINT32_MAX, best_room = UINT32_MAX;

        for (uint32_t i = 0; i < node->devices_count; i++) {
            uint32_t room = device_room(shape, node, i, chip, when);

            if (room < milli[i] + shape->devices_milli ||
                !devices_meet_needs(shape, site, node, i, chip))
                continue;
            if (share_room ? room == share_room && best == UINT32_MAX
                           : room - milli[i] < best_room) {
                best = i;
                best_room = room - milli[i];
            }
        }
        if (best == UINT32_MAX)
            break;
        used += milli[best] == 0;
        milli[best] += shape->devices_milli;
    }
    return used;
}

struct grant *fit_grant(const struct shape *shape, const struct fleet *fleet, const struct fit *fit,
                        enum fit_when when)
{
    const struct fleet_site *site = &fleet->sites[fit->site];
    struct grant_device *devices;
    uint32_t devices_count = 0;
    struct grant *grant;

    for (uint32_t i = 0; shape->devices_milli && i < fit->parts_count; i++) {
        uint32_t most = shape->devices_milli >= 1000
                            ? fit->parts[i].tasks * (shape->devices_milli / 1000)
                            : fit->parts[i].tasks;
        uint32_t has = site->nodes[fit->parts[i].node].devices_count;

        devices_count += most < has ? most : has;
    }
    grant = grant_create(fit->parts_count, devices_count, &devices);
    grant->site = fit->site;
    grant->guard = shape->guard;
    grant->lends = shape->lends;
    for (uint32_t i = 0; i < fit->parts_count; i++) {
        const struct fleet_node *node = &site->nodes[fit->parts[i].node];
        struct grant_part *part = &grant->parts[i];
        uint32_t milli[NODE_DEVICES_MAX], tasks = fit->parts[i].tasks;

        part->node = fit->parts[i].node;
        part->tasks = tasks;
        part->cpus = tasks * shape->cpus;
        part->memory_bytes = tasks * shape->memory_bytes;
        part->disk_bytes = tasks * shape->disk_bytes;
        part->devices = devices;
        grant->cpus += part->cpus;
        if (!shape->devices_milli)
            continue;
        part->devices_count =
            choose_devices(shape, site, node, fit->chip, when, tasks, fit->share_room, milli);
        for (uint32_t d = 0; d < node->devices_count; d++)
            if (milli[d])
                *devices++ = (struct grant_device){ .index = d, .milli = milli[d] };
        grant->devices_milli += (uint64_t)tasks * shape->devices_milli;
    }
    grant_set_apart(grant, shape->apart);
    return grant;
}
