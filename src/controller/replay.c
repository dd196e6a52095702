#include "controller/replay.h"

#include "base/arena.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define REPLAY_SNAPSHOT_BYTES_MAX ((size_t)8 << 30)

struct step_ear {
    struct replay *replay;
    uint64_t seq;
};

static void on_effect(void *context, const struct effect *effect)
{
    struct step_ear *ear = context;

    ear->replay->effect(ear->replay->context, ear->seq, effect);
}

static int apply_record(void *context, const struct journal_record *record)
{
    struct step_ear *ear = context;
    struct replay *replay = ear->replay;
    struct arena arena = arena_init(EVENT_ARENA_BYTES_MAX);
    struct event event;
    int rc;

    rc = event_decode(record->data, record->len, &arena, &event, NULL);
    if (rc == 0) {
        ear->seq = record->seq;
        if (replay->event)
            replay->event(replay->context, record->seq, &event);
        rc = grid_step(replay->grid, &event, replay->effect ? on_effect : NULL, ear, NULL, NULL);
    }
    arena_fini(&arena);
    if (rc < 0)
        return rc;
    replay->time_ms = event.time_ms;
    replay->seq = record->seq;
    return replay->seq_max && record->seq >= replay->seq_max ? 1 : 0;
}

static int load_snapshot(struct replay *replay, struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = buf_init(REPLAY_SNAPSHOT_BYTES_MAX);
    uint64_t seq = 0;
    int rc = replay->journal->ops->snapshot_load(replay->journal, &seq, &bytes, err);

    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    if (seq > replay->journal->last_seq || seq > replay->history_seq)
        return 0;
    rc = grid_restore(bytes.data, bytes.len, &replay->grid, err);
    if (rc < 0) /* the records are the truth: a snapshot only saves time */
        return 0;
    replay->seq = replay->snapshot_seq = seq;
    return 0;
}

int replay_run(struct replay *replay, struct err *err)
{
    struct step_ear ear = { .replay = replay };
    struct err why = { 0 };
    int rc = 0;

    replay->grid = NULL;
    replay->seq = replay->snapshot_seq = 0;
    replay->time_ms = 0;
    if (replay->use_snapshot)
        rc = load_snapshot(replay, err);
    if (rc < 0)
        return rc;
    if (!replay->grid)
        replay->grid = grid_create();
    if (!replay->grid)
        return err_set(err, -ENOMEM, "replay: out of memory");
    if (replay->seq_max && replay->seq >= replay->seq_max)
        return 0;
    rc = journal_read(replay->journal, replay->seq + 1, apply_record, &ear, &why);
    if (rc >= 0)
        return 0;
    grid_destroy(TAKE(replay->grid));
    if (why.text[0])
        return err_set(err, rc, "%s", why.text);
    return err_set(err, -EBADMSG, "journal record %" PRIu64 " cannot be applied: %s",
                   replay->seq + 1, strerror(-rc));
}
