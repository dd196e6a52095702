#include "controller/history.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "controller/controller.h"
#include "controller/job_json.h"
#include "controller/replay.h"
#include "controller/seal.h"
#include "journal/journal.h"
#include "net/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_RETRY_MS 1000
#define HISTORY_NODES_SHOWN 16u
#define HISTORY_QUEUE_REPLAY_MAX 20000u

struct signed_end { /* by a site, of an attempt whose row comes with it or is there */
    struct history_receipt row;
    char site[MODEL_NAME_BYTES];
};
enum item_type { ITEM_JOB, ITEM_ATTEMPT, ITEM_DISPUTE, ITEM_SETTLED, ITEM_MARK };
struct item {
    struct item *next;
    uint64_t seq;
    enum item_type type;
    union {
        struct history_job job;
        struct history_attempt attempt;
        struct history_dispute dispute;
    };
    struct arena strings;
    struct signed_end *receipt; /* of ITEM_ATTEMPT, ITEM_SETTLED; NULL = none came */
};
struct item_list {
    struct item *head, **tail;
    uint32_t count;
};

struct history {
    struct history_config config;
    struct history_db *reader, *writer;
    struct item_list staged;    /* not durable yet */
    struct signed_end *receipt; /* its attempt's end is to follow; NULL = none */
    uint64_t needed_seq, applied_seq;
    struct history_wait *waits;
    bool writable;
    uv_async_t applied_async;
    uv_thread_t thread;
    bool thread_runs;

    uv_mutex_t lock; /* below: shared with the thread */
    uv_cond_t wake, drained;
    struct item_list queue;
    bool stop, failing, busy;
    uint64_t applied_shared;
    char reason[256];
};

static void list_init(struct item_list *list)
{
    *list = (struct item_list){ .tail = &list->head };
}

static void list_add(struct item_list *list, struct item *item)
{
    if (!item)
        return; /* popped from an empty list */
    item->next = NULL;
    *list->tail = item;
    list->tail = &item->next;
    list->count++;
}

static struct item *list_pop(struct item_list *list)
{
    struct item *item = list->head;

    if (!item)
        return NULL;
    list->head = item->next;
    if (!list->head)
        list->tail = &list->head;
    list->count--;
    return item;
}

static void item_free(struct item *item)
{
    arena_fini(&item->strings);
    free(item->receipt);
    free(item);
}

/* --- the thread ------------------------------------------------------------------------------- */

/* What was booked, signed by the network. */
static int sign_booked(struct sign_key *signer, const struct item *item, struct receipt_signed *out,
                       struct receipt *booked, struct err *err)
{
    const struct history_attempt *attempt = &item->attempt;

    *booked = (struct receipt){ .side = RECEIPT_NETWORK,
                                .job_id = attempt->job_id,
                                .epoch = attempt->epoch,
                                .outcome = attempt->outcome,
                                .exit_code = attempt->exit_code,
                                .began_ms = attempt->granted_ms,
                                .ended_ms = attempt->released_ms,
                                .usage = attempt->usage };
    snprintf(booked->network, sizeof(booked->network), "%s", sign_key_pin(signer));
    snprintf(booked->site, sizeof(booked->site), "%s", item->receipt->site);
    snprintf(out->key, sizeof(out->key), "%s", sign_key_public(signer));
    if (receipt_print(booked, out->text) < 0)
        return err_set(err, -EINVAL, "a receipt cannot be printed");
    return sign_text(signer, out->text, out->signature, err);
}

/* Where the two receipts differ, as disputes. Of an attempt that was closed unheard the network may
 * have booked more: what its site told while it ran. */
static int put_differences(struct history *history, const struct item *item,
                           const struct receipt *booked, struct err *err)
{
    static const struct {
        const char *field;
        enum usage_claim what;
    } claims[] = { { "wall_ms", CLAIM_TIME },
                   { "cpu_ms", CLAIM_CPU },
                   { "device_milli_ms", CLAIM_DEVICES },
                   { "energy_mj", CLAIM_ENERGY },
                   { "memory_peak_bytes", CLAIM_MEMORY } };
    struct receipt_difference list[RECEIPT_DIFFERENCES_MAX];
    struct receipt site;
    uint32_t count = 0;
    int rc = 0;

    if (receipt_parse(item->receipt->row.by_site.text, &site, NULL) == 0)
        count = receipt_compare(&site, booked, list);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct usage_dispute dispute = { .claimed = list[i].site, .bound = list[i].network };

        if (item->type == ITEM_SETTLED && list[i].site <= list[i].network)
            continue;
        for (size_t c = 0; c < ARRAY_COUNT(claims); c++)
            if (strcmp(claims[c].field, list[i].field) == 0)
                dispute.what = claims[c].what;
        rc = history_db_dispute_attempt(history->writer, booked->job_id, booked->epoch, &dispute,
                                        err);
    }
    return rc;
}

/* The row of the attempt is written: what both sides signed of it. */
static int write_receipt(struct history *history, const struct item *item, struct err *err)
{
    struct history_receipt *row = item->receipt ? &item->receipt->row : NULL;
    struct usage_dispute refused = { .what = CLAIM_RECEIPT };
    struct sign_key *signer = history->config.signer;
    struct receipt booked;
    struct err why;
    int rc;

    if (!row)
        return 0;
    if (signer && sign_booked(signer, item, &row->by_network, &booked, &why) < 0) {
        log_warn("job %" PRIu64 ", attempt %" PRIu32 ": booked, and not signed: %s", row->job_id,
                 row->epoch, why.text);
        signer = NULL;
    }
    if (!signer)
        row->by_network = (struct receipt_signed){ .text = "" };
    rc = history_db_put_receipt(history->writer, row, err);
    if (rc < 0)
        return rc;
    if (row->verdict == RECEIPT_HOLDS)
        return signer ? put_differences(history, item, &booked, err) : 0;
    refused.claimed = row->verdict;
    return history_db_dispute_attempt(history->writer, row->job_id, row->epoch, &refused, err);
}

static int write_item(struct history *history, const struct item *item, struct err *err)
{
    int rc;

    switch (item->type) {
    case ITEM_JOB:
        return history_db_put_job(history->writer, &item->job, err);
    case ITEM_ATTEMPT:
        rc = history_db_put_attempt(history->writer, &item->attempt, err);
        return rc < 0 ? rc : write_receipt(history, item, err);
    case ITEM_DISPUTE:
        return history_db_put_dispute(history->writer, &item->dispute, err);
    case ITEM_SETTLED:
        rc = history_db_settle(history->writer, &item->attempt, err);
        return rc < 0 ? rc : write_receipt(history, item, err);
    case ITEM_MARK:
        return 0;
    }
    return 0;
}

static int write_group(struct history *history, const struct item *head, uint64_t *seq_out,
                       struct err *err)
{
    uint64_t seq = 0;
    int rc = history_db_begin(history->writer, err);

    if (rc < 0)
        return rc;
    for (const struct item *item = head; item && rc == 0; item = item->next) {
        rc = write_item(history, item, err);
        seq = MAX(seq, item->seq);
    }
    if (rc == 0)
        rc = history_db_commit(history->writer, seq, err);
    if (rc < 0)
        history_db_rollback(history->writer);
    *seq_out = seq;
    return rc;
}

static void tell_loop(struct history *history)
{
    if (history->config.loop)
        uv_async_send(&history->applied_async);
}

/* Write `group`, however often it takes; false: told to stop first. */
static bool write_until_done(struct history *history, struct item *head)
{
    for (;;) {
        struct err err = { 0 };
        uint64_t seq = 0;
        int rc = write_group(history, head, &seq, &err);
        bool stop;

        uv_mutex_lock(&history->lock);
        if (rc == 0)
            history->applied_shared = MAX(history->applied_shared, seq);
        history->failing = rc < 0;
        memcpy(history->reason, err.text, sizeof(history->reason));
        if (rc < 0 && !history->stop)
            uv_cond_timedwait(&history->wake, &history->lock, HISTORY_RETRY_MS * 1000000ull);
        stop = history->stop;
        uv_mutex_unlock(&history->lock);
        tell_loop(history);
        if (rc == 0)
            return true;
        if (stop)
            return false;
    }
}

static void thread_main(void *context)
{
    struct history *history = context;
    bool going = true;

    while (going) {
        struct item_list group;

        uv_mutex_lock(&history->lock);
        history->busy = false;
        uv_cond_broadcast(&history->drained);
        while (!history->queue.head && !history->stop)
            uv_cond_wait(&history->wake, &history->lock);
        group = history->queue;
        list_init(&history->queue);
        history->busy = true;
        uv_mutex_unlock(&history->lock);
        if (!group.head)
            break;
        going = write_until_done(history, group.head);
        for (struct item *item = group.head, *next; item; item = next) {
            next = item->next;
            item_free(item);
        }
    }
    uv_mutex_lock(&history->lock);
    history->busy = false;
    uv_cond_broadcast(&history->drained);
    uv_mutex_unlock(&history->lock);
}

/* --- the loop's side -------------------------------------------------------------------------- */

static void run_waits(struct history *history, uint64_t applied, int rc)
{
    struct history_wait *due = NULL, **link = &history->waits;

    while (*link) {
        struct history_wait *wait = *link;

        if (rc == 0 && wait->seq > applied) {
            link = &wait->next;
            continue;
        }
        *link = wait->next;
        wait->next = due;
        due = wait;
    }
    while (due) {
        struct history_wait *wait = due;

        due = wait->next;
        wait->run(wait, rc);
    }
}

static void on_applied(uv_async_t *async)
{
    struct history *history = async->data;
    uint64_t applied;
    bool failing;
    char reason[256];

    uv_mutex_lock(&history->lock);
    applied = history->applied_shared;
    failing = history->failing;
    memcpy(reason, history->reason, sizeof(reason));
    uv_mutex_unlock(&history->lock);
    if (history->writable == failing) {
        history->writable = !failing;
        if (failing)
            log_error("%s; trying again every %d ms, the journal keeps it all", reason,
                      HISTORY_RETRY_MS);
        else
            log_info("history: written again");
    }
    history->applied_seq = MAX(history->applied_seq, applied);
    run_waits(history, history->applied_seq, failing ? -EIO : 0);
    if (!failing && history->config.advanced)
        history->config.advanced(history->config.context, history->applied_seq);
}

void history_wait(struct history *history, struct history_wait *wait)
{
    wait->seq = history->needed_seq;
    if (wait->seq <= history->applied_seq || !history->writable) {
        wait->run(wait, wait->seq <= history->applied_seq ? 0 : -EIO);
        return;
    }
    wait->next = history->waits;
    history->waits = wait;
}

void history_wait_cancel(struct history *history, struct history_wait *wait)
{
    for (struct history_wait **link = &history->waits; *link; link = &(*link)->next)
        if (*link == wait) {
            *link = wait->next;
            return;
        }
}

static struct item *item_create(uint64_t seq, enum item_type type)
{
    struct item *item = calloc(1, sizeof(*item));

    if (!item) {
        log_error("history: out of memory");
        abort(); /* a row left out would be lost for good: a restart brings it back */
    }
    item->seq = seq;
    item->type = type;
    item->strings = arena_init((size_t)16 << 20);
    return item;
}

static const char *keep(struct item *item, const char *text)
{
    const char *copy = arena_strdup(&item->strings, text ? text : "");

    if (!copy) {
        log_error("history: out of memory");
        abort();
    }
    return copy;
}

static void stage_job(struct history *history, uint64_t seq, const struct job_view *view)
{
    struct item *item = item_create(seq, ITEM_JOB);
    CLEANUP(buf_fini) struct buf spec = buf_init((size_t)16 << 20);
    struct history_job *job = &item->job;

    buf_add_text(&spec, "{");
    if (view->spec_json && view->spec_len)
        buf_add_text(&spec, seal_open_part(view->spec_json));
    else
        buf_add_text(&spec, "}");
    *job = (struct history_job){ .id = view->id,
                                 .array_id = view->array_id,
                                 .array_index = view->array_index,
                                 .array_count = view->array_count,
                                 .name = keep(item, view->name),
                                 .tenant = keep(item, view->tenant),
                                 .user = keep(item, view->user),
                                 .reason = keep(item, view->reason),
                                 .spec = keep(item, spec.failed ? "{}" : spec.data),
                                 .state = view->state,
                                 .outcome = view->outcome,
                                 .epoch = view->epoch,
                                 .exit_code = view->exit_code,
                                 .submitted_ms = view->submitted_ms,
                                 .started_ms = view->started_ms,
                                 .ended_ms = view->ended_ms,
                                 .usage = view->usage };
    job->job_class =
        keep(item, job_class_name(view->request ? view->request->job_class : CLASS_NORMAL));
    list_add(&history->staged, item);
}

/* "node-1,node-2,... (40 nodes)" and the first chip held. */
static void describe_place(const struct grid *grid, const struct allocation *allocation,
                           struct buf *nodes, const char **chip_out, const char **owner_out)
{
    int site = grid_site_find(grid, allocation->site);
    bool reachable;
    const struct site_info *info =
        site < 0 ? NULL : grid_site_get(grid, (uint32_t)site, &reachable);

    *chip_out = *owner_out = "";
    if (!info)
        return;
    *owner_out = info->owner;
    for (uint32_t i = 0; i < allocation->parts_count; i++) {
        const struct alloc_part *part = &allocation->parts[i];
        const struct node_info *node =
            part->node < info->nodes_count ? &info->nodes[part->node] : NULL;

        if (!node)
            continue;
        if (i < HISTORY_NODES_SHOWN)
            buf_printf(nodes, "%s%s", i ? "," : "", node->name);
        else if (i == HISTORY_NODES_SHOWN)
            buf_printf(nodes, ",... (%" PRIu32 " nodes)", allocation->parts_count);
        if (!(*chip_out)[0] && part->devices_count && part->devices[0].index < node->devices_count)
            *chip_out = node->devices[part->devices[0].index].chip;
    }
}

/* Its site signed it: kept until the end of the attempt follows, which it does at once. */
static void stage_receipt(struct history *history, const struct event_receipt *receipt)
{
    struct signed_end *end = calloc(1, sizeof(*end));
    struct receipt_signed *by_site = end ? &end->row.by_site : NULL;

    if (!by_site) {
        log_error("history: out of memory");
        abort();
    }
    end->row.job_id = receipt->job_id;
    end->row.epoch = receipt->epoch;
    end->row.verdict = receipt->verdict;
    snprintf(end->site, sizeof(end->site), "%s", receipt->site);
    snprintf(by_site->text, sizeof(by_site->text), "%s", receipt->text);
    snprintf(by_site->signature, sizeof(by_site->signature), "%s", receipt->signature);
    snprintf(by_site->key, sizeof(by_site->key), "%s", receipt->key);
    free(history->receipt);
    history->receipt = end;
}

static struct signed_end *take_receipt(struct history *history, const struct effect *effect)
{
    const struct signed_end *end = history->receipt;

    return end && end->row.job_id == effect->job_id && end->row.epoch == effect->epoch
               ? TAKE(history->receipt)
               : NULL;
}

static void stage_attempt(struct history *history, uint64_t seq, const struct grid *grid,
                          const struct effect *effect)
{
    CLEANUP(buf_fini) struct buf nodes = buf_init(4096);
    struct item *item = item_create(seq, ITEM_ATTEMPT);
    const struct job_view *view = &effect->view;
    const char *chip, *owner;

    buf_add_text(&nodes, "");
    describe_place(grid, &view->allocation, &nodes, &chip, &owner);
    item->attempt = (struct history_attempt){ .job_id = effect->job_id,
                                              .epoch = effect->epoch,
                                              .tenant = keep(item, view->tenant),
                                              .user = keep(item, view->user),
                                              .job_name = keep(item, view->name),
                                              .site = keep(item, view->allocation.site),
                                              .owner = keep(item, owner),
                                              .nodes = keep(item, nodes.data),
                                              .chip = keep(item, chip),
                                              .outcome = effect->outcome,
                                              .exit_code = effect->exit_code,
                                              .granted_ms = effect->granted_ms,
                                              .released_ms = effect->released_ms,
                                              .usage = effect->usage };
    item->receipt = take_receipt(history, effect);
    list_add(&history->staged, item);
    for (uint32_t i = 0; i < effect->disputes_count; i++) {
        item = item_create(seq, ITEM_DISPUTE);
        item->dispute = (struct history_dispute){ .job_id = effect->job_id,
                                                  .epoch = effect->epoch,
                                                  .tenant = keep(item, view->tenant),
                                                  .site = keep(item, view->allocation.site),
                                                  .owner = keep(item, owner),
                                                  .released_ms = effect->released_ms,
                                                  .dispute = effect->disputes[i] };
        list_add(&history->staged, item);
    }
}

static void stage_settled(struct history *history, uint64_t seq, const struct effect *effect)
{
    struct item *item = item_create(seq, ITEM_SETTLED);

    item->attempt = (struct history_attempt){ .job_id = effect->job_id,
                                              .epoch = effect->epoch,
                                              .outcome = effect->outcome,
                                              .granted_ms = effect->granted_ms,
                                              .released_ms = effect->released_ms,
                                              .usage = effect->usage };
    item->receipt = take_receipt(history, effect);
    list_add(&history->staged, item);
}

void history_add_effect(struct history *history, uint64_t seq, const struct grid *grid,
                        const struct effect *effect)
{
    if (seq <= history->applied_seq)
        return;
    if (effect->type == EFFECT_JOB_ENDED)
        stage_job(history, seq, &effect->view);
    else if (effect->type == EFFECT_USAGE)
        stage_attempt(history, seq, grid, effect);
    else if (effect->type == EFFECT_SETTLED)
        stage_settled(history, seq, effect);
    else if (effect->type == EFFECT_RECEIPT) {
        stage_receipt(history, effect->receipt);
        return;
    } else
        return;
    history->needed_seq = seq;
}

void history_commit(struct history *history, uint64_t seq, bool mark)
{
    bool any = false;

    if (!mark && (!history->staged.head || history->staged.head->seq > seq))
        return;
    uv_mutex_lock(&history->lock);
    while (history->staged.head && history->staged.head->seq <= seq) {
        list_add(&history->queue, list_pop(&history->staged));
        any = true;
    }
    if (mark && seq > history->applied_shared) {
        list_add(&history->queue, item_create(seq, ITEM_MARK));
        any = true;
    }
    if (any)
        uv_cond_broadcast(&history->wake);
    uv_mutex_unlock(&history->lock);
}

int history_throttle(struct history *history, uint32_t items_max)
{
    int rc = 0;

    uv_mutex_lock(&history->lock);
    while ((history->queue.count > items_max || (!items_max && history->busy)) && rc == 0) {
        if (history->failing)
            rc = -EIO;
        else
            uv_cond_timedwait(&history->drained, &history->lock, 100000000ull);
    }
    if (history->failing)
        rc = -EIO;
    if (rc == 0 && !items_max)
        history->applied_seq = MAX(history->applied_seq, history->applied_shared);
    uv_mutex_unlock(&history->lock);
    return rc;
}

uint64_t history_applied_seq(const struct history *history)
{
    return history->applied_seq;
}

uint64_t history_needed_seq(const struct history *history)
{
    return history->needed_seq;
}

bool history_is_writable(const struct history *history)
{
    return history->writable;
}

struct history_db *history_reader(struct history *history)
{
    return history->reader;
}

/* --- life ------------------------------------------------------------------------------------- */

static void remove_file(const char *path)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };

    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        CLEANUP(freep) char *name = path_format("%s%s", path, suffixes[i]);

        if (name)
            unlink(name);
    }
}

int history_open(const struct history_config *config, struct history **history_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/history.db", config->state_dir);
    struct history *history = calloc(1, sizeof(*history));
    int rc;

    if (!path || !history) {
        free(history);
        return err_set(err, -ENOMEM, "out of memory");
    }
    history->config = *config;
    list_init(&history->staged);
    list_init(&history->queue);
    history->writable = true;
    rc = history_db_open(path, true, &history->writer, err);
    if (rc < 0 && access(path, F_OK) == 0 && access(path, W_OK) == 0) {
        log_warn("%s: made again from the journal", err ? err->text : "history");
        remove_file(path);
        rc = history_db_open(path, true, &history->writer, err);
    }
    if (rc == 0)
        rc = history_db_open(path, false, &history->reader, err);
    if (rc < 0) {
        history_db_close(history->writer);
        free(history);
        return rc;
    }
    history->applied_seq = history->applied_shared = history_db_applied(history->writer);
    uv_mutex_init(&history->lock);
    uv_cond_init(&history->wake);
    uv_cond_init(&history->drained);
    if (config->loop) {
        uv_async_init(config->loop, &history->applied_async, on_applied);
        history->applied_async.data = history;
        uv_unref((uv_handle_t *)&history->applied_async);
    }
    history->thread_runs = uv_thread_create(&history->thread, thread_main, history) == 0;
    *history_out = history;
    return 0;
}

static void history_free(struct history *history)
{
    struct item *item;

    while ((item = list_pop(&history->staged)))
        item_free(item);
    while ((item = list_pop(&history->queue)))
        item_free(item);
    free(history->receipt);
    history_db_close(history->reader);
    history_db_close(history->writer);
    uv_cond_destroy(&history->wake);
    uv_cond_destroy(&history->drained);
    uv_mutex_destroy(&history->lock);
    free(history);
}

static void on_async_closed(uv_handle_t *handle)
{
    history_free(handle->data);
}

void history_close(struct history *history)
{
    if (!history)
        return;
    uv_mutex_lock(&history->lock);
    history->stop = true;
    uv_cond_broadcast(&history->wake);
    uv_mutex_unlock(&history->lock);
    if (history->thread_runs)
        uv_thread_join(&history->thread);
    if (history->config.loop)
        uv_close((uv_handle_t *)&history->applied_async, on_async_closed);
    else
        history_free(history);
}

/* --- rebuild ---------------------------------------------------------------------------------- */

struct rebuild {
    struct history *history;
    struct replay replay;
};

static void rebuild_effect(void *context, uint64_t seq, const struct effect *effect)
{
    struct rebuild *rebuild = context;

    history_add_effect(rebuild->history, seq, rebuild->replay.grid, effect);
    history_commit(rebuild->history, seq - 1, false);
    history_throttle(rebuild->history, HISTORY_QUEUE_REPLAY_MAX);
}

/* As the controller itself signs: with the key it serves with, where that is its own. */
static struct sign_key *open_signer(const char *state_dir)
{
    CLEANUP(freep) char *path = path_format("%s/server.key", state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(CA_PEM_BYTES_MAX);
    struct sign_key *signer = NULL;
    struct err err;

    if (!path || file_read(path, &text, NULL) < 0)
        return NULL;
    if (sign_key_open(text.data ? text.data : "", &signer, &err) < 0)
        log_warn("%s: %s", path, err.text);
    if (text.data)
        explicit_bzero(text.data, text.len);
    return signer;
}

int history_rebuild(const char *state_dir, uint64_t *records_out, struct err *err)
{
    CLEANUP(freep) char *journal_path = path_format("%s/journal.db", state_dir);
    CLEANUP(freep) char *path = path_format("%s/history.db", state_dir);
    struct journal_open how = { .path = journal_path };
    struct history_config config = { .state_dir = state_dir };
    struct rebuild rebuild = { 0 };
    int rc;

    if (!path || !journal_path)
        return err_set(err, -ENOMEM, "out of memory");
    /* Opened for writing, though nothing is: its lock keeps a controller out. */
    rc = journal_open_sqlite(&how, &rebuild.replay.journal, err);
    if (rc < 0)
        return rc;
    remove_file(path);
    config.signer = open_signer(state_dir);
    rc = history_open(&config, &rebuild.history, err);
    if (rc == 0) {
        rebuild.replay.effect = rebuild_effect;
        rebuild.replay.context = &rebuild;
        rc = replay_run(&rebuild.replay, err);
    }
    if (rc == 0) {
        history_commit(rebuild.history, rebuild.replay.seq, true);
        rc = history_throttle(rebuild.history, 0);
        if (rc < 0)
            err_set(err, rc, "%s", rebuild.history->reason);
    }
    if (rc == 0 && records_out)
        *records_out = rebuild.replay.seq;
    grid_destroy(rebuild.replay.grid);
    history_close(rebuild.history);
    sign_key_close(config.signer);
    journal_close(rebuild.replay.journal);
    return rc;
}
