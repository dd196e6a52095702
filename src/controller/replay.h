/* replay.h - a journal turned back into a grid.
 *
 * The newest snapshot (where the caller may use one), then every record after it through the same
 * grid_step that ran live. Effects go to `effect` with the record's seq, or nowhere. */
#pragma once

#include "grid/grid.h"
#include "journal/journal.h"

typedef void (*seq_effect_fn)(void *context, uint64_t seq, const struct effect *effect);

struct replay {
    struct journal *journal; /* borrowed */
    bool use_snapshot;
    uint64_t history_seq; /* a snapshot past this one would hide effects that are still owed */
    uint64_t seq_max;     /* stop after this record; 0 = the end */
    seq_effect_fn effect; /* NULL = nowhere */
    void (*event)(void *context, uint64_t seq, const struct event *event); /* NULL, or each event */
    void *context;
    /* results */
    struct grid *grid; /* owned: grid_destroy */
    uint64_t seq;      /* of the last record applied, or the snapshot's */
    uint64_t snapshot_seq;
    int64_t time_ms; /* of the last event; 0 = none */
};

/* -EBADMSG: a record cannot be decoded or applied: err names its seq. */
int replay_run(struct replay *replay, struct err *err);
