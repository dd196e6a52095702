#include "controller/shell.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHELL_BACKLOG_BYTES_MAX (JOURNAL_BACKLOG_BYTES_MAX / 2)
#define SHELL_SNAPSHOT_RECORDS 100000u
#define SHELL_SNAPSHOT_BYTES_MAX ((size_t)4 << 30)
#define SHELL_TIMER_MS_MAX (3600 * 1000)
/* A pass that took long is given time to breathe: requests come first. */
#define SHELL_PASS_SHARE 2
#define SHELL_GAP_TOLD_MS 60000

struct shell {
    struct shell_config config;
    struct journal_writer *writer;
    struct grid *grid;
    uv_async_t durable_async;
    uv_prepare_t settle;
    uv_timer_t timer, pass_timer;
    int handles_open;

    uint64_t last_seq, durable_seq, flushed_seq;
    int64_t time_ms;
    struct steady_clock clock;
    int64_t clock_told_ms; /* of the gap to the wall clock: told last */
    /* Records of this turn, each u32 length + bytes. */
    struct buf turn;
    size_t backlog_bytes;
    struct deferred *head, **tail;

    bool writable;
    char reason[256];
    bool stopped;
    int64_t timer_at_ms, pass_not_before_us;
    uint64_t snapshot_seq, snapshot_pending_seq;
    struct buf snapshot;
    struct deferred snapshot_deferred;

    struct shell_stats stats;
    uint64_t mark_seq; /* the record whose way to the disk is timed; 0 = none */
    int64_t mark_us;

    /* Written by the writer's thread. */
    uv_mutex_t lock;
    uint64_t report_seq, report_commits;
    int report_rc;
    char report_reason[256];
};

/* --- from the writer's thread ------------------------------------------------------------- */

static void on_written(void *context, uint64_t durable_seq, int rc, const char *reason)
{
    struct shell *shell = context;

    uv_mutex_lock(&shell->lock);
    shell->report_seq = durable_seq;
    shell->report_rc = rc;
    shell->report_commits++;
    if (rc < 0) {
        struct err err;

        err_set(&err, rc, "%s", reason && reason[0] ? reason : strerror(-rc));
        memcpy(shell->report_reason, err.text, sizeof(err.text));
    }
    uv_mutex_unlock(&shell->lock);
    uv_async_send(&shell->durable_async);
}

/* --- durable: perform what waited ----------------------------------------------------------- */

static void run_durable(struct shell *shell)
{
    while (shell->head && shell->head->seq <= shell->durable_seq) {
        struct deferred *deferred = shell->head;

        shell->head = deferred->next;
        if (!shell->head)
            shell->tail = &shell->head;
        deferred->next = NULL;
        deferred->run(deferred);
    }
}

static void set_writable(struct shell *shell, bool writable)
{
    if (shell->writable == writable)
        return;
    shell->writable = writable;
    if (writable)
        log_info("journal: written again, all that was queued is safe");
    else
        log_error("journal: cannot be written: %s; trying again every %d ms", shell->reason,
                  JOURNAL_RETRY_MS);
    if (shell->config.writable_changed)
        shell->config.writable_changed(shell->config.context, writable);
}

static void on_durable(uv_async_t *async)
{
    struct shell *shell = async->data;
    uint64_t durable, commits;
    int rc;

    uv_mutex_lock(&shell->lock);
    durable = shell->report_seq;
    rc = shell->report_rc;
    commits = shell->report_commits;
    if (rc < 0)
        memcpy(shell->reason, shell->report_reason, sizeof(shell->reason));
    uv_mutex_unlock(&shell->lock);
    shell->stats.commits_total = commits;
    if (rc < 0) {
        set_writable(shell, false);
        for (struct deferred *d = shell->head; d; d = d->next)
            if (d->unwritable)
                d->unwritable(d, shell->reason);
        return;
    }
    set_writable(shell, true);
    if (durable <= shell->durable_seq)
        return;
    /* By the mean size: exact again whenever all is written. */
    shell->backlog_bytes =
        (size_t)((double)shell->backlog_bytes * (double)(shell->last_seq - durable) /
                 (double)(shell->last_seq - shell->durable_seq));
    shell->durable_seq = durable;
    if (shell->mark_seq && durable >= shell->mark_seq) {
        shell->mark_seq = 0;
        shell->stats.commit_us_last = clock_mono_us() - shell->mark_us;
        shell->stats.commit_us_sum += shell->stats.commit_us_last;
        shell->stats.commit_samples++;
    }
    run_durable(shell);
    shell->config.durable(shell->config.context, durable);
}

void shell_defer(struct shell *shell, uint64_t seq, struct deferred *deferred)
{
    deferred->seq = seq;
    deferred->next = NULL;
    if (!shell->head && seq <= shell->durable_seq) {
        deferred->run(deferred);
        return;
    }
    /* The queue is in order of seq: what asks for an older one waits behind it, which is safe. */
    *shell->tail = deferred;
    shell->tail = &deferred->next;
}

/* --- append and step -------------------------------------------------------------------------- */

static int turn_add(struct shell *shell, const struct event *event, struct err *err)
{
    size_t start = shell->turn.len;
    uint32_t len = 0;
    int rc;

    rc = buf_add(&shell->turn, &len, sizeof(len));
    if (rc == 0)
        rc = event_encode(event, &shell->turn);
    if (rc < 0 || shell->turn.len - start - sizeof(len) > EVENT_BYTES_MAX) {
        shell->turn.len = start;
        shell->turn.failed = false;
        return err_set(err, rc < 0 ? rc : -E2BIG, "the event does not fit the journal");
    }
    len = (uint32_t)(shell->turn.len - start - sizeof(len));
    memcpy(shell->turn.data + start, &len, sizeof(len));
    shell->backlog_bytes += len;
    return 0;
}

static void flush_turn(struct shell *shell)
{
    const char *at = shell->turn.data;
    const char *end = at + shell->turn.len;

    if (!shell->turn.len)
        return;
    while (at < end) {
        uint64_t seq = 0;
        uint32_t len;
        struct err err = { 0 };

        memcpy(&len, at, sizeof(len));
        at += sizeof(len);
        if (journal_writer_append(shell->writer, at, len, &seq, &err) < 0) {
            /* The state has stepped past what can be kept: only a replay gets back in line. */
            log_error("journal: %s: stopping, so that a restart replays what is safe", err.text);
            abort();
        }
        at += len;
        shell->flushed_seq++;
        if (seq != shell->flushed_seq) {
            log_error("journal: gave seq %" PRIu64 " where %" PRIu64 " was due", seq,
                      shell->flushed_seq);
            abort();
        }
    }
    if (!shell->mark_seq) {
        shell->mark_seq = shell->flushed_seq;
        shell->mark_us = clock_mono_us();
    }
    buf_clear(&shell->turn);
    if (shell->turn.cap > (4u << 20))
        buf_fini(&shell->turn);
}

struct effect_ear {
    struct shell *shell;
    uint64_t seq;
};

static void on_effect(void *context, const struct effect *effect)
{
    struct effect_ear *ear = context;

    ear->shell->config.effect(ear->shell->config.context, ear->seq, effect);
}

static int append_and_step(struct shell *shell, struct event *event, struct step_result *result_out,
                           struct err *err)
{
    struct effect_ear ear = { shell, shell->last_seq + 1 };
    int rc = turn_add(shell, event, err);

    if (rc < 0)
        return rc;
    shell->last_seq++;
    shell->time_ms = event->time_ms;
    rc = grid_step(shell->grid, event, on_effect, &ear, result_out, err);
    if (rc < 0) {
        log_error("grid: %s at seq %" PRIu64 " passed the check and failed the step: %s",
                  event_type_name(event->type), shell->last_seq, err ? err->text : "");
        abort();
    }
    return 0;
}

int shell_apply(struct shell *shell, struct event *event, struct step_result *result_out,
                uint64_t *seq_out, struct err *err)
{
    int rc;

    if (!shell->writable)
        return err_set(err, -EROFS, "the journal cannot be written: %s", shell->reason);
    if (shell->backlog_bytes > SHELL_BACKLOG_BYTES_MAX)
        return err_set(err, -ENOBUFS, "%zu MiB wait to be written: try again later",
                       shell->backlog_bytes >> 20);
    event->time_ms = shell_now_ms(shell);
    rc = grid_check(shell->grid, event, err);
    if (rc < 0)
        return rc;
    rc = append_and_step(shell, event, result_out, err);
    if (rc == 0 && seq_out)
        *seq_out = shell->last_seq;
    return rc;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

/* Who set the clock should know that it is not followed at once; coming nearer is no news. */
static void tell_gap(struct shell *shell, int64_t gap_ms)
{
    int64_t told = shell->clock_told_ms;

    if (distance(gap_ms, told) < SHELL_GAP_TOLD_MS)
        return;
    if (distance(gap_ms, 0) > SHELL_GAP_TOLD_MS && distance(gap_ms, 0) > distance(told, 0))
        log_warn("the machine's clock was set: it is %" PRId64 " s %s the network's time, which "
                 "comes up with it by a hundredth of the time that passes",
                 distance(gap_ms, 0) / 1000, gap_ms > 0 ? "ahead of" : "behind");
    shell->clock_told_ms = gap_ms;
}

int64_t shell_now_ms(struct shell *shell)
{
    int64_t wall_ms = clock_wall_ms();
    int64_t now_ms = steady_clock_read(&shell->clock, wall_ms, clock_boot_ms());

    tell_gap(shell, wall_ms - now_ms);
    return MAX(now_ms, shell->time_ms);
}

/* --- the end of a turn: pass, flush, timer, snapshot --------------------------------------------
 */

static void on_pass_timer(uv_timer_t *timer)
{
    (void)timer; /* waking the loop is all: on_settle follows */
}

static void run_pass(struct shell *shell)
{
    struct event event = { .type = EVENT_PASS };
    int64_t before = clock_mono_us();

    if (!shell->writable || shell->backlog_bytes > SHELL_BACKLOG_BYTES_MAX)
        return;
    if (before < shell->pass_not_before_us) {
        uv_timer_start(&shell->pass_timer, on_pass_timer,
                       (uint64_t)(shell->pass_not_before_us - before) / 1000 + 1, 0);
        return;
    }
    event.time_ms = shell_now_ms(shell);
    if (append_and_step(shell, &event, NULL, NULL) < 0)
        return;
    shell->stats.passes_total++;
    shell->stats.pass_us_last = clock_mono_us() - before;
    if (shell->stats.pass_us_last > 1000)
        shell->pass_not_before_us = clock_mono_us() + SHELL_PASS_SHARE * shell->stats.pass_us_last;
}

static void on_timer(uv_timer_t *timer)
{
    struct shell *shell = timer->data;
    struct event event = { .type = EVENT_TICK };

    shell->timer_at_ms = INT64_MAX;
    if (!shell->writable || grid_next_timer_ms(shell->grid) > shell_now_ms(shell))
        return;
    event.time_ms = shell_now_ms(shell);
    append_and_step(shell, &event, NULL, NULL);
}

static void set_timer(struct shell *shell)
{
    int64_t at = shell->writable ? grid_next_timer_ms(shell->grid) : INT64_MAX;
    int64_t wait;

    if (at == shell->timer_at_ms)
        return;
    shell->timer_at_ms = at;
    if (at == INT64_MAX) {
        uv_timer_stop(&shell->timer);
        return;
    }
    wait = at - shell_now_ms(shell);
    uv_update_time(shell->config.loop);
    uv_timer_start(&shell->timer, on_timer, (uint64_t)MIN(MAX(wait, 1), SHELL_TIMER_MS_MAX), 0);
}

static void on_snapshot_durable(struct deferred *deferred)
{
    struct shell *shell = CONTAINER_OF(deferred, struct shell, snapshot_deferred);

    shell->config.snapshot_ready(shell->config.context, shell->snapshot_pending_seq);
}

static void maybe_snapshot(struct shell *shell)
{
    uint32_t every =
        shell->config.snapshot_records ? shell->config.snapshot_records : SHELL_SNAPSHOT_RECORDS;

    if (shell->snapshot_pending_seq || shell->last_seq - shell->snapshot_seq < every)
        return;
    shell->snapshot = buf_init(SHELL_SNAPSHOT_BYTES_MAX);
    shell->snapshot_seq = shell->last_seq; /* also when it fails: not again at once */
    if (grid_snapshot(shell->grid, &shell->snapshot) < 0) {
        log_warn("snapshot at %" PRIu64 ": out of memory; going on without", shell->last_seq);
        buf_fini(&shell->snapshot);
        return;
    }
    shell->snapshot_pending_seq = shell->last_seq;
    shell->snapshot_deferred.run = on_snapshot_durable;
    shell->snapshot_deferred.unwritable = NULL;
    shell_defer(shell, shell->last_seq, &shell->snapshot_deferred);
}

/* Waits only once it is durable itself. */
uint64_t shell_snapshot_seq(const struct shell *shell)
{
    return shell->snapshot_pending_seq <= shell->durable_seq ? shell->snapshot_pending_seq : 0;
}

void shell_save_snapshot(struct shell *shell)
{
    size_t len = shell->snapshot.len;
    char *data = buf_take(&shell->snapshot);
    uint64_t seq = shell->snapshot_pending_seq;

    shell->snapshot_pending_seq = 0;
    shell->stats.snapshots_total++;
    if (data && journal_writer_snapshot(shell->writer, seq, data, len) < 0)
        log_warn("snapshot at %" PRIu64 ": not saved", seq);
}

void *shell_take_snapshot(struct shell *shell, size_t *len_out)
{
    struct buf bytes = buf_init(SHELL_SNAPSHOT_BYTES_MAX);

    if (grid_snapshot(shell->grid, &bytes) < 0) {
        buf_fini(&bytes);
        return NULL;
    }
    *len_out = bytes.len;
    return buf_take(&bytes);
}

static void on_settle(uv_prepare_t *prepare)
{
    struct shell *shell = prepare->data;

    if (shell->stopped)
        return;
    if (grid_wants_pass(shell->grid))
        run_pass(shell);
    flush_turn(shell);
    set_timer(shell);
    if (shell->writable)
        maybe_snapshot(shell);
}

/* --- life ------------------------------------------------------------------------------------- */

int shell_create(const struct shell_config *config, struct shell **shell_out, struct err *err)
{
    struct shell *shell = calloc(1, sizeof(*shell));
    int rc;

    if (!shell)
        return err_set(err, -ENOMEM, "out of memory");
    shell->config = *config;
    shell->grid = config->grid;
    shell->tail = &shell->head;
    shell->turn = buf_init(JOURNAL_BACKLOG_BYTES_MAX);
    shell->writable = true;
    shell->timer_at_ms = INT64_MAX;
    shell->time_ms = config->time_ms;
    steady_clock_init(&shell->clock, MAX(clock_wall_ms(), config->time_ms), clock_boot_ms());
    shell->snapshot_seq = config->snapshot_seq;
    shell->last_seq = shell->durable_seq = shell->flushed_seq = config->journal->last_seq;
    shell->report_seq = shell->last_seq;
    uv_mutex_init(&shell->lock);
    uv_async_init(config->loop, &shell->durable_async, on_durable);
    uv_prepare_init(config->loop, &shell->settle);
    uv_timer_init(config->loop, &shell->timer);
    uv_timer_init(config->loop, &shell->pass_timer);
    shell->durable_async.data = shell->settle.data = shell;
    shell->timer.data = shell->pass_timer.data = shell;
    shell->handles_open = 4;
    uv_prepare_start(&shell->settle, on_settle);
    rc = journal_writer_start(config->journal, on_written, shell, &shell->writer, err);
    if (rc < 0)
        return rc; /* start-up only: the process ends */
    *shell_out = shell;
    return 0;
}

void shell_stop(struct shell *shell)
{
    if (shell->stopped)
        return;
    flush_turn(shell);
    shell->stopped = true;
    journal_writer_stop(TAKE(shell->writer));
    on_durable(&shell->durable_async);
}

static void on_closed(uv_handle_t *handle)
{
    struct shell *shell = handle->data;

    if (--shell->handles_open)
        return;
    grid_destroy(shell->grid);
    buf_fini(&shell->turn);
    buf_fini(&shell->snapshot);
    uv_mutex_destroy(&shell->lock);
    free(shell);
}

void shell_destroy(struct shell *shell)
{
    if (!shell)
        return;
    shell_stop(shell);
    uv_close((uv_handle_t *)&shell->durable_async, on_closed);
    uv_close((uv_handle_t *)&shell->settle, on_closed);
    uv_close((uv_handle_t *)&shell->timer, on_closed);
    uv_close((uv_handle_t *)&shell->pass_timer, on_closed);
}

struct grid *shell_grid(struct shell *shell)
{
    return shell->grid;
}

uint64_t shell_last_seq(const struct shell *shell)
{
    return shell->last_seq;
}

uint64_t shell_durable_seq(const struct shell *shell)
{
    return shell->durable_seq;
}

bool shell_is_writable(const struct shell *shell, const char **reason_out)
{
    if (reason_out)
        *reason_out = shell->writable ? "" : shell->reason;
    return shell->writable;
}

const struct shell_stats *shell_stats(const struct shell *shell)
{
    return &shell->stats;
}
