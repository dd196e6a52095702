/* lend.h - owners' queues over one shared pool: nobody waits longer than alone, and idle devices
 * are lent.
 *
 * Each owner has a guaranteed cluster (cells.h). Its queue is scheduled in that cluster exactly as
 * it would be alone: in order of arrival, past what does not fit, until the first has waited for
 * `patience_ms`, which then nothing passes. The moment a job would start alone is its *turn*.
 *   - Before its turn a job may run on whatever is idle, lent; owners are served by fair share
 *     (share.h). It keeps its place in its owner's queue.
 *   - At its turn it runs on its own share: it stays where it is when that can be bound; it stays
 *     where it is, unbound, when it has come far enough that being put off once cannot make it
 *     later than alone; else it is moved to its own cells, and lent work in the way is put off.
 *   - A job that is put off goes on later from its last checkpoint and pays a restart, or starts
 *     afresh where that is sooner; work since the checkpoint is lost.
 *   - A job that has ended keeps its claim until it would have ended alone, so that the others'
 *     turns are exactly those of the owner alone (freeing it sooner may delay others: Graham's
 *     anomalies). Its devices are lent meanwhile.
 * So every job ends no later than alone, for any load of the others: a theorem, not a tendency.
 * It holds while nodes do not fail, and for work whose length is the same anywhere in the pool.
 * Work that its owner's empty cluster could not hold is only ever lent to.
 *
 * Nothing is known of how long work lasts. The module keeps the records, reads no clock: calls
 * carry the time, which never goes back. Cost of a pass: what is lent when something has to be put
 * off, the queues of owners whose cluster changed, and what waits until nothing is idle. */
#pragma once

#include "sched/cells.h"
#include "sched/share.h"

struct lend_params {
    int64_t checkpoint_ms; /* of running time between two checkpoints of a job */
    int64_t restart_ms;    /* what going on from a checkpoint costs */
    int64_t patience_ms;   /* how long the first in an owner's queue is passed by others */
    double own_worth;      /* how much dearer to put off an owner's job is while it is within its
                              guaranteed number of devices */
    struct share_params share;
};
struct lend_params lend_params_default(void); /* 30 min, 60 s, 6 h, 8, share's */

enum lend_what {
    LEND_START, /* run on cells_parts(); `done_ms` of its work is there already */
    LEND_STOP   /* put off; `done_ms` of its work is kept */
};
struct lend_action {
    enum lend_what what;
    uint32_t job;
    int64_t done_ms;
};

struct lend; /* opaque */

int lend_create(const struct lend_params *params, const struct cells_shape *shape,
                uint32_t owners_count, struct lend **lend_out, struct err *err);
void lend_destroy(struct lend *lend);
/* As cells_set_guarantee; the owner's fair share of what is lent is by its devices. */
int lend_set_guarantee(struct lend *lend, uint32_t owner, uint32_t level, uint32_t count,
                       struct err *err);

/* A new job at the end of its owner's queue. */
uint32_t lend_submit(struct lend *lend, uint32_t owner, const struct cells_ask *ask,
                     int64_t now_ms);
/* It ended by itself after `work_ms` of work in all. The handle ends with its claim. */
void lend_finish(struct lend *lend, uint32_t job, int64_t work_ms, int64_t now_ms);
/* It is taken back: it leaves its owner's queue too. */
void lend_cancel(struct lend *lend, uint32_t job, int64_t now_ms);

/* Its run was broken off (a node was lost); `done_ms` of its work is kept. It waits again, with its
 * turn if that has come: the next pass that can gives it its own cells. */
void lend_break(struct lend *lend, uint32_t job, int64_t done_ms, int64_t now_ms);
/* A closed node takes nothing new; what runs there goes on until it is told otherwise. */
void lend_set_open(struct lend *lend, uint32_t node, bool is_open);

/* Decide. Call after what happened at `now_ms` has been told, and at lend_next_ms. The actions,
 * in order, are borrowed until the next call. */
const struct lend_action *lend_pass(struct lend *lend, int64_t now_ms, uint32_t *count_out);
/* When something changes by itself; INT64_MAX = not. */
int64_t lend_next_ms(const struct lend *lend);

bool lend_is_lent(const struct lend *lend, uint32_t job); /* running before its turn */
const struct cells *lend_cells(const struct lend *lend);
