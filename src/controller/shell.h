/* shell.h - append, step, perform when durable: the one place where the grid changes.
 *
 * shell_apply checks an event, gives it a sequence number, steps the grid (effects go to the hook
 * at once, to be copied) and hands the record to the journal's writer at the end of this turn of
 * the loop, together with the scheduling pass it asked for: one burst of requests is one pass and
 * one commit. What must wait until a record is safe is queued with shell_defer. Loop thread only.
 */
#pragma once

#include "controller/replay.h"

#include <uv.h>

struct shell;

/* Something to do once `seq` is durable. The owner embeds it; `run` may free it. */
struct deferred {
    struct deferred *next;
    uint64_t seq;
    void (*run)(struct deferred *self);
    /* The journal cannot be written now: answer whoever waits. `run` still comes. NULL = nothing.
     */
    void (*unwritable)(struct deferred *self, const char *reason);
};

struct shell_config {
    uv_loop_t *loop;
    struct journal *journal; /* borrowed; outlives the shell */
    struct grid *grid;       /* taken over */
    int64_t time_ms;         /* of the last event replayed */
    uint64_t snapshot_seq;   /* of the snapshot that was loaded; 0 = none */
    uint32_t snapshot_records;
    seq_effect_fn effect; /* each effect of each step, before it is durable: copy what is needed */
    /* A snapshot of the state after `seq` was taken and `seq` is durable: call shell_save_snapshot
     * once all that is derived from the journal up to `seq` is safe too. */
    void (*snapshot_ready)(void *context, uint64_t seq);
    void (*durable)(void *context, uint64_t seq); /* after what was deferred up to it has run */
    void (*writable_changed)(void *context, bool writable);
    void *context;
};

int shell_create(const struct shell_config *config, struct shell **shell_out, struct err *err);
/* Write out what is queued and stop the writer. */
void shell_stop(struct shell *shell);
void shell_destroy(struct shell *shell);

/* `event->time_ms` is set here. What grid_check refuses comes back as it does there; -EROFS: the
 * journal cannot be written; -ENOBUFS: too much waits to be written. `seq_out` may be NULL. */
int shell_apply(struct shell *shell, struct event *event, struct step_result *result_out,
                uint64_t *seq_out, struct err *err);
/* Runs at once when `seq` is durable already. */
void shell_defer(struct shell *shell, uint64_t seq, struct deferred *deferred);

struct grid *shell_grid(struct shell *shell);
uint64_t shell_last_seq(const struct shell *shell); /* stepped, perhaps not durable */
uint64_t shell_durable_seq(const struct shell *shell);
bool shell_is_writable(const struct shell *shell, const char **reason_out);
/* The network's time: the wall clock, but never stepped (base/clock.h), nor before the last event.
 */
int64_t shell_now_ms(struct shell *shell);
/* See snapshot_ready: the seq of the snapshot that waits to be saved (0 = none), and save it. */
uint64_t shell_snapshot_seq(const struct shell *shell);
void shell_save_snapshot(struct shell *shell);
/* The state now, to be saved by an orderly stop. malloc'd; NULL when memory is short. */
void *shell_take_snapshot(struct shell *shell, size_t *len_out);

struct shell_stats {
    uint64_t passes_total, snapshots_total, commits_total;
    uint64_t commit_samples; /* one record at a time is timed, from hand-over to durable */
    int64_t commit_us_sum;
    int64_t commit_us_last, pass_us_last;
};
const struct shell_stats *shell_stats(const struct shell *shell);
