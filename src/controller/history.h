/* history.h - ended jobs and what they used, in DIR/history.db: a SQLite file that a person may
 * query. Derived: everything in it comes from the journal and history_rebuild makes it again.
 *
 * A thread writes it. The loop stages effects as they come (copied), hands them over once their
 * seq is durable, and is told when they are applied. Rows are keyed by (job, epoch), so applying a
 * record twice changes nothing; meta.applied_seq says up to where the journal is in. Queries run
 * on the loop's own connection. */
#pragma once

#include "controller/history_sql.h"
#include "grid/grid.h"

#include <uv.h>

struct history;
struct history_config {
    const char *state_dir;
    uv_loop_t *loop; /* NULL: no loop tells; use history_flush (rebuild) */
    void (*advanced)(void *context, uint64_t applied_seq);
    void *context;
    /* The network's own key, for what it books of attempts that their sites signed: lent, and used
     * by the thread alone. NULL: it signs nothing. */
    struct sign_key *signer;
};

/* A history of another layout is made anew (applied_seq 0). */
int history_open(const struct history_config *config, struct history **history_out,
                 struct err *err);
void history_close(struct history *history); /* flushes, ends the thread */

/* JOB_ENDED, USAGE, SETTLED and RECEIPT effects are staged, others ignored; so are those applied
 * already. */
void history_add_effect(struct history *history, uint64_t seq, const struct grid *grid,
                        const struct effect *effect);
/* All up to `seq` is durable: hand what is staged to the thread. With `mark`, applied_seq moves to
 * `seq` even when nothing was staged. */
void history_commit(struct history *history, uint64_t seq, bool mark);
/* Block until little is queued (replay), or all is applied; -EIO when it cannot be written. */
int history_throttle(struct history *history, uint32_t items_max);

uint64_t history_applied_seq(const struct history *history);
uint64_t history_needed_seq(const struct history *history); /* of the newest staged effect */
bool history_is_writable(const struct history *history);

struct history_wait {
    struct history_wait *next;
    uint64_t seq;
    void (*run)(struct history_wait *self, int rc); /* -EIO: the history cannot be written */
};
/* Run `wait` once every effect staged so far can be queried: perhaps at once. */
void history_wait(struct history *history, struct history_wait *wait);
void history_wait_cancel(struct history *history, struct history_wait *wait);

/* The loop's connection. */
struct history_db *history_reader(struct history *history);
