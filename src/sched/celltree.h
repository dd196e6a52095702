/* celltree.h - a uniform tree of cells and the devices free in it, with the tightest place for a
 * gang found from indexes.
 *
 * Level 0 is a node with counts[0] devices; a cell of level l is made of counts[l] cells of level
 * l-1; the last level is one cell, the whole tree. Cells of a level are numbered from 0; the
 * parent of cell c of level l is c / counts[l + 1]. A tree owns its arrays and decides nothing but
 * where: who holds what is cells.h's. Ties go to the lowest number.
 *
 * Cost: a change is O(levels); finding a place for whole nodes, or for what one node takes, is
 * O(levels + children looked into); tasks that leave a part of each of several nodes empty cost a
 * scan of the nodes. After Buddy allocation (Knowlton 1965) with counts instead of halves. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CELLS_LEVELS_MAX 8u /* of a tree; a network's topology has one less: see cells.h */
#define CELLS_NODE_DEVICES_MAX 64u
#define CELLS_NODES_MAX 1000000u
#define CELLS_NONE UINT32_MAX

struct cells_shape {
    uint32_t levels_count;             /* 1 .. CELLS_LEVELS_MAX */
    uint32_t counts[CELLS_LEVELS_MAX]; /* [0] devices in a node, [l] cells of level l-1 in one */
};

/* A gang: `tasks` tasks of `task_devices` devices each; a task never spans nodes. */
struct cells_ask {
    uint32_t tasks, task_devices;
    uint32_t level; /* the largest domain it wants to stay within */
    bool is_hard;   /* and must; else it takes the tightest larger one */
};

struct cells_part {
    uint32_t node, devices;
};

struct cell_index { /* the cells of one level by a value of 0 .. values_max, as sets */
    uint32_t values_max;
    uint32_t words;   /* of a set */
    uint32_t *counts; /* by value: cells that have it */
    uint64_t *bits;   /* by value, then by cell */
    uint64_t *values; /* values somebody has */
};

struct celltree {
    struct cells_shape shape;
    uint32_t cells_count[CELLS_LEVELS_MAX];
    uint32_t sizes[CELLS_LEVELS_MAX];          /* nodes in a cell of the level */
    uint32_t *free;                            /* devices free, by node */
    uint32_t *whole[CELLS_LEVELS_MAX];         /* wholly free nodes, by cell; level 0 has none */
    struct cell_index index[CELLS_LEVELS_MAX]; /* level 0 by devices free, others by whole nodes */
    uint64_t devices_free;
};

/* -EINVAL: a count of 0, too many levels or devices in a node; -ENOSPC: too many nodes. */
int cells_shape_check(const struct cells_shape *shape, struct err *err);
void celltree_init(struct celltree *tree, const struct cells_shape *shape); /* checked before */
void celltree_fini(struct celltree *tree);

/* Devices of one node turn free (+) or held (-); it never passes 0 or what the node has. */
void celltree_change(struct celltree *tree, uint32_t node, int32_t devices);
void celltree_take(struct celltree *tree, const struct cells_part *parts, uint32_t parts_count);
void celltree_give(struct celltree *tree, const struct cells_part *parts, uint32_t parts_count);

/* How many parts an ask may have at most: room that the callers give. */
uint32_t celltree_parts_max(const struct celltree *tree, const struct cells_ask *ask);

/* The tightest place: the lowest level at which one cell holds the gang, in that level the cell
 * that is left with least. The level is in `level_out`. 0 = there is none (soft asks: nowhere in
 * the tree). Nothing is taken. */
uint32_t celltree_find(const struct celltree *tree, const struct cells_ask *ask,
                       struct cells_part *parts, uint32_t *level_out);
/* The same inside one cell. */
uint32_t celltree_find_in(const struct celltree *tree, const struct cells_ask *ask, uint32_t level,
                          uint32_t cell, struct cells_part *parts);
/* Tasks that fit at once, counted up to `tasks_max`. O(nodes). */
uint32_t celltree_count_tasks(const struct celltree *tree, uint32_t task_devices,
                              uint32_t tasks_max);
/* The lowest level at which a cell of an empty tree holds the gang; CELLS_NONE = none does. */
uint32_t celltree_level_least(const struct cells_shape *shape, const struct cells_ask *ask);
