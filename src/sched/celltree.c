#include "sched/celltree.h"
#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int cells_shape_check(const struct cells_shape *shape, struct err *err)
{
    uint64_t nodes = 1;

    if (shape->levels_count < 1 || shape->levels_count > CELLS_LEVELS_MAX)
        return err_set(err, -EINVAL, "topology: %u levels; it takes 1 to %u", shape->levels_count,
                       CELLS_LEVELS_MAX);
    for (uint32_t l = 0; l < shape->levels_count; l++) {
        if (shape->counts[l] < 1)
            return err_set(err, -EINVAL, "topology: level %u has nothing in it", l);
        if (l > 0)
            nodes *= shape->counts[l];
        if (nodes > CELLS_NODES_MAX)
            return err_set(err, -ENOSPC, "topology: more than %u nodes", CELLS_NODES_MAX);
    }
    if (shape->counts[0] > CELLS_NODE_DEVICES_MAX)
        return err_set(err, -EINVAL, "topology: %u devices in a node; at most %u", shape->counts[0],
                       CELLS_NODE_DEVICES_MAX);
    return 0;
}

/* --- cells by value --- */

static void index_add(struct cell_index *index, uint32_t cell, uint32_t value)
{
    index->bits[(size_t)value * index->words + cell / 64] |= UINT64_C(1) << (cell % 64);
    if (!index->counts[value]++)
        index->values[value / 64] |= UINT64_C(1) << (value % 64);
}

static void index_remove(struct cell_index *index, uint32_t cell, uint32_t value)
{
    index->bits[(size_t)value * index->words + cell / 64] &= ~(UINT64_C(1) << (cell % 64));
    if (!--index->counts[value])
        index->values[value / 64] &= ~(UINT64_C(1) << (value % 64));
}

/* The least value >= `least` that a cell has; CELLS_NONE = none. */
static uint32_t index_value(const struct cell_index *index, uint32_t least)
{
    uint32_t word = least / 64;
    uint64_t bits;

    if (least > index->values_max)
        return CELLS_NONE;
    bits = index->values[word] & (~UINT64_C(0) << (least % 64));
    while (!bits) {
        if (++word > index->values_max / 64)
            return CELLS_NONE;
        bits = index->values[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(bits);
}

/* The lowest number among the cells with a value that somebody has. Sets, not lists: what was
 * done before must not show, for equal states to decide alike after a restart. */
static uint32_t index_lowest(const struct cell_index *index, uint32_t value)
{
    const uint64_t *bits = index->bits + (size_t)value * index->words;
    uint32_t word = 0;

    while (!bits[word])
        word++;
    return word * 64 + (uint32_t)__builtin_ctzll(bits[word]);
}

static void index_init(struct cell_index *index, uint32_t cells, uint32_t values_max)
{
    index->values_max = values_max;
    index->words = (cells + 63) / 64;
    index->counts = mem_alloc((size_t)values_max + 1, sizeof(*index->counts));
    index->bits = mem_alloc(((size_t)values_max + 1) * index->words, sizeof(*index->bits));
    index->values = mem_alloc(values_max / 64 + 1, sizeof(*index->values));
    for (uint32_t c = 0; c < cells; c++)
        index_add(index, c, values_max);
}

void celltree_init(struct celltree *tree, const struct cells_shape *shape)
{
    uint32_t top = shape->levels_count - 1;

    *tree = (struct celltree){ .shape = *shape };
    tree->sizes[0] = 1;
    for (uint32_t l = 1; l <= top; l++)
        tree->sizes[l] = tree->sizes[l - 1] * shape->counts[l];
    for (uint32_t l = 0; l <= top; l++)
        tree->cells_count[l] = tree->sizes[top] / tree->sizes[l];
    tree->free = mem_alloc(tree->sizes[top], sizeof(*tree->free));
    for (uint32_t n = 0; n < tree->sizes[top]; n++)
        tree->free[n] = shape->counts[0];
    tree->devices_free = (uint64_t)tree->sizes[top] * shape->counts[0];
    index_init(&tree->index[0], tree->cells_count[0], shape->counts[0]);
    for (uint32_t l = 1; l <= top; l++) {
        tree->whole[l] = mem_alloc(tree->cells_count[l], sizeof(**tree->whole));
        for (uint32_t c = 0; c < tree->cells_count[l]; c++)
            tree->whole[l][c] = tree->sizes[l];
        index_init(&tree->index[l], tree->cells_count[l], tree->sizes[l]);
    }
}

void celltree_fini(struct celltree *tree)
{
    for (uint32_t l = 0; l < CELLS_LEVELS_MAX; l++) {
        free(tree->whole[l]);
        free(tree->index[l].counts);
        free(tree->index[l].bits);
        free(tree->index[l].values);
    }
    free(tree->free);
    *tree = (struct celltree){ 0 };
}

void celltree_change(struct celltree *tree, uint32_t node, int32_t devices)
{
    uint32_t have = tree->shape.counts[0];
    uint32_t before = tree->free[node];
    uint32_t after = (uint32_t)((int32_t)before + devices);
    uint32_t cell = node;

    assert(node < tree->cells_count[0] && after <= have);
    if (!devices)
        return;
    index_remove(&tree->index[0], node, before);
    tree->free[node] = after;
    tree->devices_free += (uint64_t)(int64_t)devices;
    index_add(&tree->index[0], node, after);
    if ((before == have) == (after == have))
        return;
    for (uint32_t l = 1; l < tree->shape.levels_count; l++) {
        uint32_t *whole;

        cell /= tree->shape.counts[l];
        whole = &tree->whole[l][cell];
        index_remove(&tree->index[l], cell, *whole);
        *whole = after == have ? *whole + 1 : *whole - 1;
        index_add(&tree->index[l], cell, *whole);
    }
}

void celltree_take(struct celltree *tree, const struct cells_part *parts, uint32_t parts_count)
{
    for (uint32_t i = 0; i < parts_count; i++)
        celltree_change(tree, parts[i].node, -(int32_t)parts[i].devices);
}

void celltree_give(struct celltree *tree, const struct cells_part *parts, uint32_t parts_count)
{
    for (uint32_t i = 0; i < parts_count; i++)
        celltree_change(tree, parts[i].node, (int32_t)parts[i].devices);
}

uint32_t celltree_parts_max(const struct celltree *tree, const struct cells_ask *ask)
{
    return MIN(ask->tasks, tree->cells_count[0]);
}

/* --- finding --- */

static uint32_t tasks_per_node(const struct celltree *tree, const struct cells_ask *ask)
{
    return ask->task_devices ? tree->shape.counts[0] / ask->task_devices : 0;
}

static uint32_t whole_at(const struct celltree *tree, uint32_t level, uint32_t cell)
{
    return level ? tree->whole[level][cell] : tree->free[cell] == tree->shape.counts[0];
}

/* The node of a cell with the least room that takes `devices` and is not wholly free, else a whole
 * one that is not in `parts`. */
static uint32_t node_tightest(const struct celltree *tree, uint32_t first, uint32_t count,
                              uint32_t devices, const struct cells_part *parts,
                              uint32_t parts_count)
{
    uint32_t best = CELLS_NONE;

    for (uint32_t n = first; n < first + count; n++) {
        bool is_used = false;

        if (tree->free[n] < devices || (best != CELLS_NONE && tree->free[n] >= tree->free[best]))
            continue;
        for (uint32_t i = 0; tree->free[n] == tree->shape.counts[0] && i < parts_count; i++)
            is_used = is_used || parts[i].node == n;
        if (!is_used)
            best = n;
        if (best == n && tree->free[n] == devices)
            break;
    }
    return best;
}

/* `nodes` wholly free nodes of a cell that has them: down into the child that is left with least,
 * or, when none holds all, the fullest ones first. */
static uint32_t take_whole(const struct celltree *tree, uint32_t level, uint32_t cell,
                           uint32_t nodes, uint32_t task_devices, struct cells_part *parts)
{
    uint32_t fan = tree->shape.counts[level];
    uint32_t first = cell * fan;
    uint32_t parts_count = 0;
    uint32_t last = UINT32_MAX, last_child = CELLS_NONE; /* walk children by whole, descending */

    if (level == 0) {
        parts[0] = (struct cells_part){ cell, task_devices };
        return 1;
    }
    for (;;) {
        uint32_t snug = CELLS_NONE, most = CELLS_NONE;

        for (uint32_t c = first; c < first + fan; c++) {
            uint32_t whole = whole_at(tree, level - 1, c);

            if (last_child != CELLS_NONE && (whole > last || (whole == last && c <= last_child)))
                continue; /* taken in full before */
            if (whole >= nodes && (snug == CELLS_NONE || whole < whole_at(tree, level - 1, snug)))
                snug = c;
            if (most == CELLS_NONE || whole > whole_at(tree, level - 1, most))
                most = c;
        }
        if (snug != CELLS_NONE)
            return parts_count +
                   take_whole(tree, level - 1, snug, nodes, task_devices, parts + parts_count);
        assert(most != CELLS_NONE);
        last = whole_at(tree, level - 1, most);
        last_child = most;
        parts_count += take_whole(tree, level - 1, most, last, task_devices, parts + parts_count);
        nodes -= last;
    }
}

/* Tasks that fit in a cell when partly used nodes count too. */
static uint64_t tasks_in(const struct celltree *tree, const struct cells_ask *ask, uint32_t level,
                         uint32_t cell)
{
    uint32_t first = cell * tree->sizes[level];
    uint64_t tasks = 0;

    for (uint32_t n = first; n < first + tree->sizes[level] && tasks < ask->tasks; n++)
        tasks += tree->free[n] / ask->task_devices;
    return tasks;
}

/* Partly used nodes, those with least room first, until all tasks have theirs. */
static uint32_t take_partial(const struct celltree *tree, const struct cells_ask *ask,
                             uint32_t level, uint32_t cell, struct cells_part *parts)
{
    uint32_t first = cell * tree->sizes[level];
    uint32_t tasks = ask->tasks, parts_count = 0;

    for (uint32_t room = ask->task_devices; room <= tree->shape.counts[0] && tasks; room++) {
        for (uint32_t n = first; n < first + tree->sizes[level] && tasks; n++) {
            uint32_t here = MIN(tasks, room / ask->task_devices);

            if (tree->free[n] != room)
                continue;
            parts[parts_count++] = (struct cells_part){ n, here * ask->task_devices };
            tasks -= here;
        }
    }
    return tasks ? 0 : parts_count;
}

uint32_t celltree_find_in(const struct celltree *tree, const struct cells_ask *ask, uint32_t level,
                          uint32_t cell, struct cells_part *parts)
{
    uint32_t per_node = tasks_per_node(tree, ask);
    uint32_t first = cell * tree->sizes[level];
    uint32_t nodes, rest, parts_count = 0;

    if (!per_node || !ask->tasks)
        return 0;
    nodes = ask->tasks / per_node;
    rest = ask->tasks % per_node;
    if (whole_at(tree, level, cell) >= nodes) {
        uint32_t node;

        if (nodes)
            parts_count = take_whole(tree, level, cell, nodes, per_node * ask->task_devices, parts);
        if (!rest)
            return parts_count;
        node = node_tightest(tree, first, tree->sizes[level], rest * ask->task_devices, parts,
                             parts_count);
        if (node != CELLS_NONE) {
            parts[parts_count++] = (struct cells_part){ node, rest * ask->task_devices };
            return parts_count;
        }
    }
    if (ask->task_devices == tree->shape.counts[0] || tasks_in(tree, ask, level, cell) < ask->tasks)
        return 0;
    return take_partial(tree, ask, level, cell, parts);
}

/* One level, from the index: the cell left with least whole nodes. */
static uint32_t find_at(const struct celltree *tree, const struct cells_ask *ask, uint32_t level,
                        struct cells_part *parts)
{
    uint32_t per_node = tasks_per_node(tree, ask);
    uint32_t nodes = (ask->tasks + per_node - 1) / per_node;
    uint32_t value, parts_count;

    if (level == 0) {
        value =
            nodes > 1 ? CELLS_NONE : index_value(&tree->index[0], ask->tasks * ask->task_devices);
        if (value == CELLS_NONE)
            return 0;
        parts[0] = (struct cells_part){ index_lowest(&tree->index[0], value),
                                        ask->tasks * ask->task_devices };
        return 1;
    }
    if (nodes > tree->sizes[level])
        return 0;
    value = index_value(&tree->index[level], nodes);
    if (value != CELLS_NONE)
        return celltree_find_in(tree, ask, level, index_lowest(&tree->index[level], value), parts);
    if (ask->tasks % per_node == 0 && ask->task_devices * per_node == tree->shape.counts[0] &&
        per_node == 1)
        return 0; /* whole nodes or nothing */
    for (uint32_t c = 0; c < tree->cells_count[level]; c++) {
        parts_count = celltree_find_in(tree, ask, level, c, parts);
        if (parts_count)
            return parts_count;
    }
    return 0;
}

uint32_t celltree_find(const struct celltree *tree, const struct cells_ask *ask,
                       struct cells_part *parts, uint32_t *level_out)
{
    uint32_t top = tree->shape.levels_count - 1;
    uint32_t last = ask->is_hard ? MIN(ask->level, top) : top;

    if (!tasks_per_node(tree, ask) || !ask->tasks ||
        (uint64_t)ask->tasks * ask->task_devices > tree->devices_free)
        return 0;
    for (uint32_t l = 0; l <= last; l++) {
        uint32_t parts_count = find_at(tree, ask, l, parts);

        if (parts_count) {
            if (level_out)
                *level_out = l;
            return parts_count;
        }
    }
    return 0;
}

uint32_t celltree_count_tasks(const struct celltree *tree, uint32_t task_devices,
                              uint32_t tasks_max)
{
    uint64_t tasks = 0;

    for (uint32_t n = 0; n < tree->cells_count[0] && tasks < tasks_max; n++)
        tasks += tree->free[n] / task_devices;
    return (uint32_t)MIN(tasks, tasks_max);
}

uint32_t celltree_level_least(const struct cells_shape *shape, const struct cells_ask *ask)
{
    uint64_t tasks = ask->task_devices ? shape->counts[0] / ask->task_devices : 0;

    for (uint32_t l = 0; l < shape->levels_count; l++) {
        tasks *= l ? shape->counts[l] : 1;
        if (tasks >= ask->tasks && ask->tasks)
            return l;
    }
    return CELLS_NONE;
}
