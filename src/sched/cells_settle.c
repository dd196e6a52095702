#include "sched/cells_internal.h"
#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct virtual_cells *virtual_of(struct cells *cells, const struct record *record,
                                        uint32_t part)
{
    return &cells->owners[record->owner].levels[record->claim[part].level];
}

static uint32_t devices_on(const struct record *record, uint32_t node)
{
    for (uint32_t i = 0; i < record->parts_count; i++)
        if (record->parts[i].node == node)
            return record->parts[i].devices;
    return 0;
}

/* Which lent jobs leave a node for `devices` to be idle there, those worth least first; what they
 * are worth is in `worth_out`. False: not even with all of them gone. */
static bool choose_put_off(const struct cells *cells, uint32_t node, uint32_t devices,
                           uint32_t *jobs, uint32_t *count_out, double *worth_out)
{
    uint32_t lent_count, count = 0, room = cells->idle.free[node];
    double worth = 0;

    if (room < devices) {
        lent_count = cells_lent_on(cells, node, jobs);
        while (room < devices) {
            uint32_t best = count, swap;

            if (count == lent_count)
                return false;
            for (uint32_t i = count + 1; i < lent_count; i++) {
                double a = cells->records[jobs[i]].worth, b = cells->records[jobs[best]].worth;

                if (a < b || (a <= b && jobs[i] < jobs[best]))
                    best = i;
            }
            swap = jobs[count];
            jobs[count] = jobs[best];
            jobs[best] = swap;
            room += devices_on(&cells->records[jobs[count]], node);
            worth += cells->records[jobs[count]].worth;
            count++;
        }
    }
    *count_out = count;
    *worth_out += worth;
    return true;
}

static bool cell_is_open(const struct cells *cells, uint32_t level, uint32_t cell)
{
    uint32_t first = cell * cells->idle.sizes[level];

    for (uint32_t n = first; n < first + cells->idle.sizes[level]; n++)
        if (cells->closed[n])
            return false;
    return true;
}

/* The cell to bind a job's virtual root to: where least is put off, then where least is split,
 * then the one with most idle, for what will follow it there. */
static uint32_t choose_cell(const struct cells *cells, const struct record *record,
                            const struct virtual_cells *virt, uint32_t root)
{
    uint32_t level = virt->level, size = cells->idle.sizes[level];
    uint32_t best = CELLS_NONE, best_from = 0, best_idle = 0;
    uint32_t jobs[CELLS_NODE_DEVICES_MAX];
    double best_worth = 0;
    bool may[CELLS_TOPOLOGY_LEVELS_MAX] = { false };

    for (uint32_t l = level; l < cells->levels_count; l++)
        may[l] = cells->unbound_whole[l] && cells_may_split(cells, level, l);
    for (uint32_t c = 0; c < cells->idle.cells_count[level]; c++) {
        uint32_t from = cells_unbound_level(cells, level, c), unused, idle;
        double worth = 0;
        bool fits = true;

        if (from == CELLS_NONE || !may[from] || cells_is_under_bound(cells, level, c) ||
            !cell_is_open(cells, level, c))
            continue;
        for (uint32_t i = 0; i < record->claim_count && fits; i++)
            if (record->claim[i].level == level && record->claim[i].node / size == root)
                fits = choose_put_off(cells, c * size + record->claim[i].node % size,
                                      record->claim[i].devices, jobs, &unused, &worth);
        idle = level ? cells->idle.whole[level][c] : cells->idle.free[c];
        if (fits && (best == CELLS_NONE || worth < best_worth ||
                     (worth <= best_worth &&
                      (from < best_from || (from == best_from && idle > best_idle))))) {
            best = c;
            best_worth = worth;
            best_from = from;
            best_idle = idle;
        }
    }
    return best;
}

/* Give back the first `count` parts' use of their roots. */
static void drop_roots(struct cells *cells, const struct record *record, uint32_t count,
                       const bool *is_done)
{
    for (uint32_t i = 0; i < count; i++) {
        struct virtual_cells *virt = virtual_of(cells, record, i);
        uint32_t root = record->claim[i].node / cells->idle.sizes[virt->level];

        if ((!is_done || is_done[i]) && !--virt->users[root])
            cells_unbind(cells, virt, root);
    }
}

/* Where a claim's part lies in the pool; its root is bound. */
static uint32_t node_of(struct cells *cells, const struct record *record, uint32_t part)
{
    struct virtual_cells *virt = virtual_of(cells, record, part);
    uint32_t size = cells->idle.sizes[virt->level];

    return virt->bound[record->claim[part].node / size] * size + record->claim[part].node % size;
}

int cells_settle(struct cells *cells, uint32_t job, struct cells_list *put_off)
{
    struct record *record = &cells->records[job];
    uint32_t jobs[CELLS_NODE_DEVICES_MAX], count;
    struct cells_part *parts;
    double worth = 0;

    assert(record->claim && !record->is_firm);
    cells_release(cells, job);
    parts = mem_alloc(record->claim_count, sizeof(*parts));
    for (uint32_t i = 0; i < record->claim_count; i++) {
        struct virtual_cells *virt = virtual_of(cells, record, i);
        uint32_t root = record->claim[i].node / cells->idle.sizes[virt->level];

        if (virt->bound[root] == CELLS_NONE) {
            uint32_t cell = choose_cell(cells, record, virt, root);

            if (cell != CELLS_NONE)
                cells_bind(cells, virt, root, cell);
        }
        if (virt->bound[root] == CELLS_NONE || cells->closed[node_of(cells, record, i)]) {
            drop_roots(cells, record, i, NULL);
            free(parts);
            return -ENOSPC;
        }
        virt->users[root]++;
        parts[i] = (struct cells_part){ node_of(cells, record, i), record->claim[i].devices };
    }
    for (uint32_t i = 0; i < record->claim_count; i++) {
        bool is_room = choose_put_off(cells, parts[i].node, parts[i].devices, jobs, &count, &worth);

        assert(is_room);
        (void)is_room;
        for (uint32_t k = 0; k < count; k++) {
            cells_release(cells, jobs[k]);
            MEM_GROW(put_off->jobs, put_off->cap, put_off->count + 1);
            put_off->jobs[put_off->count++] = jobs[k];
        }
    }
    cells_hold(cells, job, parts, record->claim_count);
    record->is_firm = true;
    free(parts);
    return 0;
}

/* Does the part of the claim go with the part of the place? Binds what that takes. */
static bool adopt_part(struct cells *cells, const struct record *record, uint32_t part,
                       const struct cells_part *place)
{
    struct virtual_cells *virt = virtual_of(cells, record, part);
    uint32_t size = cells->idle.sizes[virt->level];
    uint32_t node = record->claim[part].node, root = node / size;
    uint32_t cell = place->node / size, from;

    if (place->devices != record->claim[part].devices || cells->closed[place->node] ||
        place->node % size != node % size)
        return false;
    if (virt->bound[root] != CELLS_NONE)
        return virt->bound[root] == cell;
    from = cells_unbound_level(cells, virt->level, cell);
    if (from == CELLS_NONE || cells_is_under_bound(cells, virt->level, cell) ||
        !cells_may_split(cells, virt->level, from))
        return false;
    cells_bind(cells, virt, root, cell);
    return true;
}

bool cells_adopt(struct cells *cells, uint32_t job)
{
    struct record *record = &cells->records[job];
    bool *is_done, *is_taken;
    uint32_t done = 0;

    assert(record->claim && record->parts && !record->is_firm);
    if (record->claim_count != record->parts_count)
        return false;
    is_done = mem_alloc(record->claim_count, sizeof(*is_done));
    is_taken = mem_alloc(record->claim_count, sizeof(*is_taken));
    for (uint32_t pass = 0; pass < 2; pass++) { /* what is bound already leaves no choice */
        for (uint32_t i = 0; i < record->claim_count; i++) {
            struct virtual_cells *virt = virtual_of(cells, record, i);
            uint32_t root = record->claim[i].node / cells->idle.sizes[virt->level];

            if (is_done[i] || (pass == 0 && virt->bound[root] == CELLS_NONE))
                continue;
            for (uint32_t k = 0; k < record->parts_count && !is_done[i]; k++) {
                if (is_taken[k] || !adopt_part(cells, record, i, &record->parts[k]))
                    continue;
                is_done[i] = is_taken[k] = true;
                virt->users[root]++;
                done++;
            }
            if (!is_done[i]) {
                pass = 2;
                break;
            }
        }
    }
    record->is_firm = done == record->claim_count;
    if (!record->is_firm)
        drop_roots(cells, record, record->claim_count, is_done);
    free(is_done);
    free(is_taken);
    return record->is_firm;
}

/* --- the rules, recounted --- */

static bool check_devices(const struct cells *cells, struct err *err)
{
    uint32_t nodes = cells->idle.cells_count[0], have = cells->idle.shape.counts[0];
    uint32_t *held = mem_alloc(nodes, sizeof(*held));
    bool is_right = true;

    for (uint32_t j = 0; j < cells->records_count; j++)
        for (uint32_t i = 0; i < cells->records[j].parts_count; i++)
            held[cells->records[j].parts[i].node] += cells->records[j].parts[i].devices;
    for (uint32_t n = 0; n < nodes && is_right; n++) {
        is_right = held[n] + cells->idle.free[n] + cells->closed_devices[n] == have;
        if (!is_right)
            err_set(err, -EPROTO, "node %u: %u held and %u idle of %u", n, held[n],
                    cells->idle.free[n], have);
    }
    free(held);
    return is_right;
}

/* Every bound cell has one owner, and a firm job's parts lie in cells bound for it. */
static bool check_bound(const struct cells *cells, struct err *err)
{
    uint32_t nodes = cells->idle.cells_count[0];
    uint32_t *bound_to = mem_alloc(nodes, sizeof(*bound_to));
    bool is_right = true;

    for (uint32_t o = 0; o < cells->owners_count; o++)
        for (uint32_t l = 0; l < cells->levels_count; l++) {
            const struct virtual_cells *virt = &cells->owners[o].levels[l];
            uint32_t size = cells->idle.sizes[l];

            for (uint32_t r = 0; r < virt->roots_count; r++) {
                if (virt->bound[r] == CELLS_NONE)
                    continue;
                for (uint32_t n = virt->bound[r] * size; n < (virt->bound[r] + 1) * size; n++) {
                    if (bound_to[n])
                        is_right = err_set(err, -EPROTO, "node %u: bound twice", n) == 0;
                    bound_to[n] = o + 1;
                }
            }
        }
    for (uint32_t j = 0; j < cells->records_count && is_right; j++) {
        const struct record *record = &cells->records[j];

        for (uint32_t i = 0; record->is_firm && i < record->parts_count; i++)
            if (bound_to[record->parts[i].node] != record->owner + 1)
                is_right = err_set(err, -EPROTO, "job %u: firm on node %u, which is not bound", j,
                                   record->parts[i].node) == 0;
    }
    free(bound_to);
    return is_right;
}

bool cells_check(const struct cells *cells, struct err *err)
{
    if (!cells_promises_hold(cells, cells->unbound_whole, cells->wanted))
        return err_set(err, -EPROTO, "a guarantee would not find its cells") == 0;
    for (uint32_t l = 0; l < cells->levels_count; l++) {
        uint64_t whole = 0;

        for (uint32_t c = 0; c < cells->idle.cells_count[l]; c++)
            whole += cells_unbound_level(cells, l, c) == l && !cells_is_under_bound(cells, l, c);
        if (whole != cells->unbound_whole[l])
            return err_set(err, -EPROTO,
                           "level %u: %" PRIu64 " unbound cells, %" PRIu64 " on the books", l,
                           whole, cells->unbound_whole[l]) == 0;
    }
    return check_devices(cells, err) && check_bound(cells, err);
}
