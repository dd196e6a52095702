/* cells.h - owners' guaranteed cells in a shared pool: what each may have at once, whenever it
 * asks.
 *
 * A pool of identical nodes is a tree of cells (celltree.h: node < board < rack < supernode <
 * pool). An owner is guaranteed a number of cells of each level; no cell is promised twice. The
 * guarantee is a cluster of its own, held virtually: an owner's job *claims* a place in it as it
 * would alone, and only when the job has to run there the virtual cell is *bound* to a cell of the
 * pool (HiveD, OSDI'20: buddy cells, bound on demand, so that any idle cell will do and what is
 * not bound stays whole for others). Everything idle may be *lent* to anybody; lent work is put off
 * when its cell is bound. So:
 *   - a claim fails only if it would not fit in the owner's own cluster, whatever others run;
 *   - a claim can always be settled at once, by putting lent work off;
 *   - work that is settled is never put off.
 *
 * A job here is a handle with at most one claim and at most one place. The module owns its
 * records, knows no time and prefers to put off what is worth least (cells_set_worth). Cost:
 * claim, lend, release O(levels + nodes of the gang) where celltree is; settling a first job in a
 * virtual cell scans the cells of its level. Deterministic; ties go to the lowest number. */
#pragma once

#include "sched/celltree.h"

#define CELLS_OWNERS_MAX 4096u
#define CELLS_TOPOLOGY_LEVELS_MAX (CELLS_LEVELS_MAX - 1)

struct cells;

enum cells_place {
    CELLS_WAITING, /* on no device */
    CELLS_LENT,    /* on idle devices, until they are wanted */
    CELLS_FIRM     /* on its claim's cells, for as long as it likes */
};

struct cells_list { /* job handles; grows; free with cells_list_fini */
    uint32_t *jobs;
    uint32_t count, cap;
};
void cells_list_fini(struct cells_list *list);

/* The topology is copied. -EINVAL, -ENOSPC: see cells_shape_check; owners 0 .. CELLS_OWNERS_MAX. */
int cells_create(const struct cells_shape *shape, uint32_t owners_count, struct cells **cells_out,
                 struct err *err);
void cells_destroy(struct cells *cells);

/* Guarantee `count` cells of `level` to the owner, instead of what it had at that level.
 * -ENOSPC: the pool cannot hold all that is promised, each cell whole, beside what is bound now;
 * -EBUSY: the owner has claims (its virtual cells are in use); -EINVAL: no such owner or level. */
int cells_set_guarantee(struct cells *cells, uint32_t owner, uint32_t level, uint32_t count,
                        struct err *err);
uint64_t cells_guaranteed_devices(const struct cells *cells, uint32_t owner);

/* A closed node takes nothing new: no lent work, no binding. What is there stays until released. */
void cells_set_open(struct cells *cells, uint32_t node, bool is_open);

/* A new job, waiting. `owner` may be CELLS_NONE: it can only be lent to. */
uint32_t cells_add(struct cells *cells, uint32_t owner, const struct cells_ask *ask);
/* Gives back all that it has; the handle may be given out again. */
void cells_remove(struct cells *cells, uint32_t job);

/* Could the owner's empty cluster hold it? If not, it can only ever be lent to. */
bool cells_may_claim(const struct cells *cells, uint32_t job);
/* Take a place in the owner's virtual cluster. False: it is too full for that. A hard ask stays
 * within one guaranteed cell of its level or larger, or anywhere when it names the pool. */
bool cells_claim(struct cells *cells, uint32_t job);
void cells_unclaim(struct cells *cells, uint32_t job); /* firm work turns lent */
bool cells_has_claim(const struct cells *cells, uint32_t job);

/* Put a waiting job on idle devices. False: none that would do. */
bool cells_lend(struct cells *cells, uint32_t job);
/* Make a lent job with a claim firm where it is. False: its place is bound to others, or binding
 * it would break a guarantee. Nothing is put off. */
bool cells_adopt(struct cells *cells, uint32_t job);
/* Put a job with a claim on its claim's cells. Lent work in the way is put off: it is waiting
 * then, with its claim if it had one, and its handles are added to `put_off`. A job that ran
 * lent elsewhere leaves there. -ENOSPC only when closed nodes leave too little; it is waiting then.
 */
int cells_settle(struct cells *cells, uint32_t job, struct cells_list *put_off);
/* Take it off its devices; a claim stays. */
void cells_release(struct cells *cells, uint32_t job);

/* What is lost when it is put off, in any one unit; 0 at first. */
void cells_set_worth(struct cells *cells, uint32_t job, double worth);

enum cells_place cells_place_of(const struct cells *cells, uint32_t job);
const struct cells_part *cells_parts(const struct cells *cells, uint32_t job, uint32_t *count_out);
const struct celltree *cells_tree(const struct cells *cells); /* what is idle */
/* The lent jobs on a node; those that are firm are not among them. */
uint32_t cells_lent_on(const struct cells *cells, uint32_t node, uint32_t *jobs /* one a device */);

/* Put a waiting job exactly there (a plan made by others; see defrag.h). False: not idle. */
bool cells_put(struct cells *cells, uint32_t job, const struct cells_part *parts, uint32_t count);

/* Every rule above, recounted from the records; false and one line in `err` when one is broken.
 * For tests and the simulator. O(everything). */
bool cells_check(const struct cells *cells, struct err *err);
