#include "sched/cells_internal.h"
#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void cells_list_fini(struct cells_list *list)
{
    free(list->jobs);
    *list = (struct cells_list){ 0 };
}

int cells_create(const struct cells_shape *shape, uint32_t owners_count, struct cells **cells_out,
                 struct err *err)
{
    struct cells *cells;
    uint32_t nodes;
    int rc = cells_shape_check(shape, err);

    if (rc < 0)
        return rc;
    if (shape->levels_count > CELLS_TOPOLOGY_LEVELS_MAX)
        return err_set(err, -EINVAL, "topology: %u levels; at most %u", shape->levels_count,
                       CELLS_TOPOLOGY_LEVELS_MAX);
    if (owners_count > CELLS_OWNERS_MAX)
        return err_set(err, -EINVAL, "%u owners of one pool; at most %u", owners_count,
                       CELLS_OWNERS_MAX);
    cells = mem_alloc(1, sizeof(*cells));
    celltree_init(&cells->idle, shape);
    cells->levels_count = shape->levels_count;
    cells->owners_count = owners_count;
    cells->owners = mem_alloc(owners_count + 1, sizeof(*cells->owners));
    nodes = cells->idle.cells_count[0];
    cells->holders = mem_alloc((size_t)nodes * shape->counts[0], sizeof(*cells->holders));
    cells->holders_count = mem_alloc(nodes, sizeof(*cells->holders_count));
    cells->closed_devices = mem_alloc(nodes, sizeof(*cells->closed_devices));
    cells->closed = mem_alloc(nodes, sizeof(*cells->closed));
    for (uint32_t l = 0; l < cells->levels_count; l++)
        cells->bound_inside[l] =
            mem_alloc(cells->idle.cells_count[l], sizeof(**cells->bound_inside));
    cells->unbound_whole[cells->levels_count - 1] = 1;
    *cells_out = cells;
    return 0;
}

static void virtual_fini(struct virtual_cells *virt)
{
    celltree_fini(&virt->tree);
    free(virt->bound);
    free(virt->users);
    *virt = (struct virtual_cells){ 0 };
}

void cells_destroy(struct cells *cells)
{
    if (!cells)
        return;
    for (uint32_t i = 0; i < cells->records_count; i++) {
        free(cells->records[i].claim);
        free(cells->records[i].parts);
    }
    for (uint32_t o = 0; o < cells->owners_count; o++)
        for (uint32_t l = 0; l < cells->levels_count; l++)
            virtual_fini(&cells->owners[o].levels[l]);
    for (uint32_t l = 0; l < cells->levels_count; l++)
        free(cells->bound_inside[l]);
    celltree_fini(&cells->idle);
    free(cells->owners);
    free(cells->records);
    free(cells->unused);
    free(cells->holders);
    free(cells->holders_count);
    free(cells->closed_devices);
    free(cells->closed);
    free(cells);
}

/* --- which cells are bound: buddy bookkeeping --- */

/* Would every guarantee still find its cells if `whole` largest unbound cells were left? From the
 * top down: what one level does not want is split for the next. */
bool cells_promises_hold(const struct cells *cells, const uint64_t *whole, const uint64_t *wanted)
{
    uint64_t left = 0;

    for (uint32_t l = cells->levels_count; l-- > 0;) {
        uint64_t split = l + 1 < cells->levels_count ? cells->idle.shape.counts[l + 1] : 0;

        left = left * split + whole[l];
        if (left < wanted[l])
            return false;
        left -= wanted[l];
    }
    return true;
}

/* The largest unbound cell that a cell is in; CELLS_NONE = it is bound, wholly or in part. */
uint32_t cells_unbound_level(const struct cells *cells, uint32_t level, uint32_t cell)
{
    if (cells->bound_inside[level][cell])
        return CELLS_NONE;
    while (level + 1 < cells->levels_count) {
        uint32_t parent = cell / cells->idle.shape.counts[level + 1];

        if (cells->bound_inside[level + 1][parent])
            break;
        cell = parent;
        level++;
    }
    return level;
}

/* A cell under a bound one has nothing bound inside: ask the bits above. */
bool cells_is_under_bound(const struct cells *cells, uint32_t level, uint32_t cell)
{
    while (++level < cells->levels_count) {
        cell /= cells->idle.shape.counts[level];
        if (cells->bound_inside[level][cell] == UINT32_MAX)
            return true;
    }
    return false;
}

bool cells_may_split(const struct cells *cells, uint32_t level, uint32_t from)
{
    uint64_t whole[CELLS_TOPOLOGY_LEVELS_MAX], wanted[CELLS_TOPOLOGY_LEVELS_MAX];

    memcpy(whole, cells->unbound_whole, sizeof(whole));
    memcpy(wanted, cells->wanted, sizeof(wanted));
    whole[from]--;
    for (uint32_t l = level; l < from; l++)
        whole[l] += cells->idle.shape.counts[l + 1] - 1;
    wanted[level]--;
    return cells_promises_hold(cells, whole, wanted);
}

/* A bound cell is marked UINT32_MAX, so that what is under it can tell. */
void cells_bind(struct cells *cells, struct virtual_cells *virt, uint32_t root, uint32_t cell)
{
    uint32_t level = virt->level;
    uint32_t from = cells_unbound_level(cells, level, cell);

    assert(from != CELLS_NONE && !cells_is_under_bound(cells, level, cell));
    cells->unbound_whole[from]--;
    for (uint32_t l = level; l < from; l++)
        cells->unbound_whole[l] += cells->idle.shape.counts[l + 1] - 1;
    cells->wanted[level]--;
    virt->bound[root] = cell;
    virt->bound_count++;
    cells->bound_inside[level][cell] = UINT32_MAX;
    for (uint32_t l = level + 1; l < cells->levels_count; l++) {
        cell /= cells->idle.shape.counts[l];
        cells->bound_inside[l][cell]++;
    }
}

void cells_unbind(struct cells *cells, struct virtual_cells *virt, uint32_t root)
{
    uint32_t level = virt->level;
    uint32_t cell = virt->bound[root];
    uint32_t to, at = cell;

    cells->bound_inside[level][cell] = 0;
    for (uint32_t l = level + 1; l < cells->levels_count; l++) {
        at /= cells->idle.shape.counts[l];
        cells->bound_inside[l][at]--;
    }
    to = cells_unbound_level(cells, level, cell);
    for (uint32_t l = level; l < to; l++)
        cells->unbound_whole[l] -= cells->idle.shape.counts[l + 1] - 1;
    cells->unbound_whole[to]++;
    cells->wanted[level]++;
    virt->bound[root] = CELLS_NONE;
    virt->bound_count--;
}

int cells_set_guarantee(struct cells *cells, uint32_t owner, uint32_t level, uint32_t count,
                        struct err *err)
{
    uint64_t wanted[CELLS_TOPOLOGY_LEVELS_MAX];
    struct virtual_cells *virt;
    struct cells_shape shape;

    if (owner >= cells->owners_count || level >= cells->levels_count)
        return err_set(err, -EINVAL, "guarantee: owner %u, level %u: there is no such", owner,
                       level);
    if (cells->owners[owner].claims_count)
        return err_set(err, -EBUSY, "guarantee: owner %u has %u jobs on its own share", owner,
                       cells->owners[owner].claims_count);
    if (count > cells->idle.cells_count[level])
        return err_set(err, -ENOSPC, "guarantee: %u cells of level %u; the pool has %u", count,
                       level, cells->idle.cells_count[level]);
    virt = &cells->owners[owner].levels[level];
    memcpy(wanted, cells->wanted, sizeof(wanted));
    wanted[level] += count;
    wanted[level] -= virt->roots_count;
    if (!cells_promises_hold(cells, cells->unbound_whole, wanted))
        return err_set(err, -ENOSPC,
                       "guarantee: %u cells of level %u for owner %u: the rest is promised", count,
                       level, owner);
    cells->wanted[level] = wanted[level];
    virtual_fini(virt);
    if (!count)
        return 0;
    shape = (struct cells_shape){ .levels_count = level + 2 };
    memcpy(shape.counts, cells->idle.shape.counts, (level + 1) * sizeof(*shape.counts));
    shape.counts[level + 1] = count;
    celltree_init(&virt->tree, &shape);
    virt->level = level;
    virt->roots_count = count;
    virt->bound = mem_alloc(count, sizeof(*virt->bound));
    virt->users = mem_alloc(count, sizeof(*virt->users));
    for (uint32_t r = 0; r < count; r++)
        virt->bound[r] = CELLS_NONE;
    return 0;
}

uint64_t cells_guaranteed_devices(const struct cells *cells, uint32_t owner)
{
    uint64_t devices = 0;

    for (uint32_t l = 0; l < cells->levels_count; l++)
        devices += (uint64_t)cells->owners[owner].levels[l].roots_count * cells->idle.sizes[l] *
                   cells->idle.shape.counts[0];
    return devices;
}

/* --- records --- */

uint32_t cells_add(struct cells *cells, uint32_t owner, const struct cells_ask *ask)
{
    uint32_t job;

    assert(ask->tasks && ask->task_devices);
    assert(owner == CELLS_NONE || owner < cells->owners_count);
    if (cells->unused_count) {
        job = cells->unused[--cells->unused_count];
    } else {
        MEM_GROW(cells->records, cells->records_cap, cells->records_count + 1);
        job = cells->records_count++;
    }
    cells->records[job] = (struct record){ .ask = *ask, .owner = owner, .is_used = true };
    return job;
}

void cells_remove(struct cells *cells, uint32_t job)
{
    cells_unclaim(cells, job);
    cells_release(cells, job);
    cells->records[job].is_used = false;
    MEM_GROW(cells->unused, cells->unused_cap, cells->unused_count + 1);
    cells->unused[cells->unused_count++] = job;
}

enum cells_place cells_place_of(const struct cells *cells, uint32_t job)
{
    const struct record *record = &cells->records[job];

    return !record->parts ? CELLS_WAITING : record->is_firm ? CELLS_FIRM : CELLS_LENT;
}

const struct cells_part *cells_parts(const struct cells *cells, uint32_t job, uint32_t *count_out)
{
    *count_out = cells->records[job].parts_count;
    return cells->records[job].parts;
}

const struct celltree *cells_tree(const struct cells *cells)
{
    return &cells->idle;
}

void cells_set_worth(struct cells *cells, uint32_t job, double worth)
{
    cells->records[job].worth = worth;
}

bool cells_has_claim(const struct cells *cells, uint32_t job)
{
    return cells->records[job].claim != NULL;
}

uint32_t cells_lent_on(const struct cells *cells, uint32_t node, uint32_t *jobs)
{
    const uint32_t *holders = cells->holders + (size_t)node * cells->idle.shape.counts[0];
    uint32_t count = 0;

    for (uint32_t i = 0; i < cells->holders_count[node]; i++)
        if (!cells->records[holders[i]].is_firm)
            jobs[count++] = holders[i];
    return count;
}

void cells_set_open(struct cells *cells, uint32_t node, bool is_open)
{
    if (cells->closed[node] == !is_open)
        return;
    cells->closed[node] = !is_open;
    if (is_open) {
        celltree_change(&cells->idle, node, cells->closed_devices[node]);
        cells->closed_devices[node] = 0;
    } else {
        cells->closed_devices[node] = (uint8_t)cells->idle.free[node];
        celltree_change(&cells->idle, node, -(int32_t)cells->closed_devices[node]);
    }
}

/* --- the pool's devices --- */

void cells_hold(struct cells *cells, uint32_t job, const struct cells_part *parts, uint32_t count)
{
    struct record *record = &cells->records[job];
    uint32_t per_node = cells->idle.shape.counts[0];

    assert(!record->parts && count);
    record->parts = mem_alloc(count, sizeof(*parts));
    memcpy(record->parts, parts, count * sizeof(*parts));
    record->parts_count = count;
    celltree_take(&cells->idle, parts, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = parts[i].node;

        assert(cells->holders_count[node] < per_node);
        cells->holders[(size_t)node * per_node + cells->holders_count[node]++] = job;
    }
}

static void unsettle(struct cells *cells, struct record *record)
{
    struct owner *owner = &cells->owners[record->owner];

    for (uint32_t i = 0; i < record->claim_count; i++) {
        struct virtual_cells *virt = &owner->levels[record->claim[i].level];
        uint32_t root = record->claim[i].node / cells->idle.sizes[virt->level];

        if (!--virt->users[root])
            cells_unbind(cells, virt, root);
    }
    record->is_firm = false;
}

void cells_release(struct cells *cells, uint32_t job)
{
    struct record *record = &cells->records[job];
    uint32_t per_node = cells->idle.shape.counts[0];

    if (!record->parts)
        return;
    if (record->is_firm)
        unsettle(cells, record);
    for (uint32_t i = 0; i < record->parts_count; i++) {
        uint32_t node = record->parts[i].node;
        uint32_t *holders = cells->holders + (size_t)node * per_node;
        uint32_t k = 0;

        if (cells->closed[node])
            cells->closed_devices[node] += (uint8_t)record->parts[i].devices;
        else
            celltree_change(&cells->idle, node, (int32_t)record->parts[i].devices);
        while (holders[k] != job)
            k++;
        memmove(holders + k, holders + k + 1,
                (--cells->holders_count[node] - k) * sizeof(*holders));
    }
    free(record->parts);
    record->parts = NULL;
    record->parts_count = 0;
}

bool cells_put(struct cells *cells, uint32_t job, const struct cells_part *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (cells->idle.free[parts[i].node] < parts[i].devices)
            return false;
    cells_hold(cells, job, parts, count);
    return true;
}

bool cells_lend(struct cells *cells, uint32_t job)
{
    const struct cells_ask *ask = &cells->records[job].ask;
    uint32_t most = celltree_parts_max(&cells->idle, ask), count;
    struct cells_part few[16];
    struct cells_part *parts = few;

    if ((uint64_t)ask->tasks * ask->task_devices > cells->idle.devices_free)
        return false;
    if (most > ARRAY_COUNT(few))
        parts = mem_alloc(most, sizeof(*parts));
    count = celltree_find(&cells->idle, ask, parts, NULL);
    if (count)
        cells_hold(cells, job, parts, count);
    if (parts != few)
        free(parts);
    return count > 0;
}

/* --- claims: places in the owner's virtual cluster --- */

/* What a claim may span: within a guaranteed cell as asked; the cells of one level together only
 * when they need not be near each other in the pool. */
static struct cells_ask ask_within(const struct cells *cells, const struct cells_ask *ask,
                                   uint32_t level)
{
    struct cells_ask within = *ask;

    if (ask->is_hard && ask->level + 1 < cells->levels_count)
        within.level = MIN(ask->level, level);
    else
        within.is_hard = false;
    return within;
}

static uint32_t claim_add(struct claim_part *claim, uint32_t level, const struct cells_part *parts,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        claim[i] = (struct claim_part){ level, parts[i].node, parts[i].devices };
    return count;
}

/* Over cells of several levels, the small ones first: only where nearness may be given up. */
static uint32_t claim_spread(const struct cells *cells, const struct owner *owner,
                             const struct cells_ask *ask, struct cells_part *parts,
                             struct claim_part *claim)
{
    uint32_t tasks = ask->tasks, count = 0;

    for (uint32_t l = 0; l < cells->levels_count && tasks; l++) {
        const struct virtual_cells *virt = &owner->levels[l];
        struct cells_ask some = *ask;

        if (!virt->roots_count)
            continue;
        some.is_hard = false;
        some.tasks = celltree_count_tasks(&virt->tree, ask->task_devices, tasks);
        if (!some.tasks)
            continue;
        count += claim_add(claim + count, l, parts, celltree_find(&virt->tree, &some, parts, NULL));
        tasks -= some.tasks;
    }
    return tasks ? 0 : count;
}

bool cells_may_claim(const struct cells *cells, uint32_t job)
{
    const struct record *record = &cells->records[job];
    uint64_t tasks = 0;

    if (record->owner == CELLS_NONE || record->ask.task_devices > cells->idle.shape.counts[0])
        return false;
    for (uint32_t l = 0; l < cells->levels_count; l++) {
        const struct virtual_cells *virt = &cells->owners[record->owner].levels[l];
        struct cells_ask within = ask_within(cells, &record->ask, l);
        uint32_t least;

        if (!virt->roots_count)
            continue;
        least = celltree_level_least(&virt->tree.shape, &within);
        if (least != CELLS_NONE && (!within.is_hard || least <= within.level))
            return true;
        tasks += (uint64_t)virt->tree.cells_count[0] *
                 (cells->idle.shape.counts[0] / record->ask.task_devices);
    }
    return tasks >= record->ask.tasks &&
           !ask_within(cells, &record->ask, cells->levels_count).is_hard;
}

bool cells_claim(struct cells *cells, uint32_t job)
{
    struct record *record = &cells->records[job];
    uint32_t most = celltree_parts_max(&cells->idle, &record->ask), count = 0;
    struct owner *owner;
    struct cells_part *parts;
    struct claim_part *claim;

    if (record->owner == CELLS_NONE || record->ask.task_devices > cells->idle.shape.counts[0])
        return false;
    assert(!record->claim);
    owner = &cells->owners[record->owner];
    parts = mem_alloc(most, sizeof(*parts));
    claim = mem_alloc(most, sizeof(*claim));
    for (uint32_t l = 0; l < cells->levels_count && !count; l++) {
        struct cells_ask within = ask_within(cells, &record->ask, l);

        if (owner->levels[l].roots_count)
            count = claim_add(claim, l, parts,
                              celltree_find(&owner->levels[l].tree, &within, parts, NULL));
    }
    if (!count && !ask_within(cells, &record->ask, cells->levels_count).is_hard)
        count = claim_spread(cells, owner, &record->ask, parts, claim);
    free(parts);
    if (!count) {
        free(claim);
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        celltree_change(&owner->levels[claim[i].level].tree, claim[i].node,
                        -(int32_t)claim[i].devices);
    record->claim = claim;
    record->claim_count = count;
    owner->claims_count++;
    return true;
}

void cells_unclaim(struct cells *cells, uint32_t job)
{
    struct record *record = &cells->records[job];
    struct owner *owner;

    if (!record->claim)
        return;
    if (record->is_firm)
        unsettle(cells, record);
    owner = &cells->owners[record->owner];
    for (uint32_t i = 0; i < record->claim_count; i++)
        celltree_change(&owner->levels[record->claim[i].level].tree, record->claim[i].node,
                        (int32_t)record->claim[i].devices);
    owner->claims_count--;
    free(record->claim);
    record->claim = NULL;
    record->claim_count = 0;
}
