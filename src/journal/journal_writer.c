/* Group commit. Callers fill one batch while the thread writes the other; what has gathered by the
 * time a commit ends is the next group. So an idle journal commits a single record at once, and a
 * busy one makes its groups as large as the load asks for, with no delay to tune. */
#include "journal/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GROUP_BYTES_MAX (16u << 20)
#define IDLE_AFTER_MS 50
/* A batch that grew past this under a burst gives its memory back. */
#define BATCH_BYTES_KEPT (4u << 20)
#define BATCH_RECORDS_MIN 256u

struct batch_record {
    size_t offset;
    uint32_t len;
};

struct batch {
    uint8_t *bytes;
    size_t len, cap;
    struct batch_record *records;
    size_t records_count, records_cap;
};

struct journal_writer {
    struct journal *journal;
    journal_done_fn done;
    void *context;
    pthread_t thread;
    _Atomic uint64_t durable_seq;

    pthread_mutex_t mutex; /* over the rest, but for what is the thread's own */
    pthread_cond_t wake;
    bool waiting; /* the thread is, for records */
    bool stopping;
    uint64_t queued_seq;
    struct batch filling;
    size_t writing_bytes; /* of the batch being written: part of the backlog */
    struct journal_snapshot_save snapshot_next; /* .data NULL: none */
    bool snapshot_running;

    /* The thread's own. */
    struct batch writing;
    struct journal_snapshot_save snapshot;
    struct journal_blob blobs[JOURNAL_GROUP_RECORDS_MAX];
};

static size_t batch_cost(const struct batch *batch)
{
    return batch->len + batch->records_count * sizeof(batch->records[0]);
}

static bool batch_reserve(struct batch *batch, uint32_t len)
{
    if (batch->len + len > batch->cap || !batch->bytes) {
        size_t cap = MAX(2 * batch->cap, batch->len + len + 65536);
        uint8_t *bytes = realloc(batch->bytes, cap);

        if (!bytes)
            return false;
        batch->bytes = bytes;
        batch->cap = cap;
    }
    if (batch->records_count == batch->records_cap) {
        size_t cap = MAX(2 * batch->records_cap, BATCH_RECORDS_MIN);
        struct batch_record *records = realloc(batch->records, cap * sizeof(*records));

        if (!records)
            return false;
        batch->records = records;
        batch->records_cap = cap;
    }
    return true;
}

static void batch_fini(struct batch *batch)
{
    free(batch->bytes);
    free(batch->records);
    *batch = (struct batch){ 0 };
}

static void batch_clear(struct batch *batch)
{
    if (batch->cap + batch->records_cap * sizeof(batch->records[0]) > BATCH_BYTES_KEPT)
        batch_fini(batch);
    batch->len = 0;
    batch->records_count = 0;
}

static struct timespec time_after_ms(int64_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* Sleep until the next try, or until stopped. */
static void wait_retry(struct journal_writer *writer)
{
    struct timespec at = time_after_ms(JOURNAL_RETRY_MS);

    pthread_mutex_lock(&writer->mutex);
    while (!writer->stopping &&
           pthread_cond_timedwait(&writer->wake, &writer->mutex, &at) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&writer->mutex);
}

static bool is_stopping(struct journal_writer *writer)
{
    bool stopping;

    pthread_mutex_lock(&writer->mutex);
    stopping = writer->stopping;
    pthread_mutex_unlock(&writer->mutex);
    return stopping;
}

/* The next group of the batch from record `from` on, into writer->blobs. */
static uint32_t group_make(struct journal_writer *writer, size_t from)
{
    const struct batch *batch = &writer->writing;
    uint32_t count = 0;
    size_t bytes = 0;

    while (from + count < batch->records_count && count < JOURNAL_GROUP_RECORDS_MAX) {
        const struct batch_record *record = &batch->records[from + count];

        if (count > 0 && bytes + record->len > GROUP_BYTES_MAX)
            break;
        writer->blobs[count++] =
            (struct journal_blob){ .data = batch->bytes + record->offset, .len = record->len };
        bytes += record->len;
    }
    return count;
}

/* Append the group, again and again until it is durable. false: stopped before it was. */
static bool group_write(struct journal_writer *writer, uint32_t count)
{
    for (;;) {
        /* Asked first, so that a try always follows the order to stop. */
        bool stopping = is_stopping(writer);
        struct err err = { 0 };
        int rc = journal_append(writer->journal, writer->blobs, count, &err);

        if (rc == 0) {
            atomic_store(&writer->durable_seq, writer->journal->last_seq);
            writer->done(writer->context, writer->journal->last_seq, 0, NULL);
            return true;
        }
        writer->done(writer->context, writer->journal->last_seq, rc, err.text);
        if (stopping)
            return false;
        wait_retry(writer);
    }
}

static void snapshot_end(struct journal_writer *writer)
{
    free((void *)writer->snapshot.data);
    writer->snapshot = (struct journal_snapshot_save){ 0 };
    pthread_mutex_lock(&writer->mutex);
    writer->snapshot_running = false;
    pthread_mutex_unlock(&writer->mutex);
}

/* One part of the snapshot. One that cannot be written is dropped: the state is in the records, the
 * next snapshot takes its place, and what keeps it from being written keeps records from it, too,
 * and is told there. */
static void snapshot_work(struct journal_writer *writer)
{
    struct journal_snapshot_save *snapshot = &writer->snapshot;
    struct journal *journal = writer->journal;
    int rc;

    if (journal->ops->snapshot_step) {
        rc = journal->ops->snapshot_step(journal, snapshot, NULL);
    } else {
        rc = journal_snapshot_save(journal, snapshot->seq, snapshot->data, snapshot->len, NULL);
        snapshot->done = true;
    }
    if (rc < 0 || snapshot->done)
        snapshot_end(writer);
}

static bool batch_write(struct journal_writer *writer)
{
    size_t written = 0;

    while (written < writer->writing.records_count) {
        uint32_t count = group_make(writer, written);

        if (!group_write(writer, count))
            return false;
        written += count;
        if (writer->snapshot.data)
            snapshot_work(writer);
        if (writer->journal->ops->maintain)
            writer->journal->ops->maintain(writer->journal, false);
    }
    batch_clear(&writer->writing);
    return true;
}

/* With the mutex held: begin the snapshot that waits, once its record is safe. */
static void snapshot_take(struct journal_writer *writer)
{
    if (writer->snapshot_running || !writer->snapshot_next.data ||
        writer->snapshot_next.seq > writer->journal->last_seq)
        return;
    writer->snapshot = writer->snapshot_next;
    writer->snapshot_next = (struct journal_snapshot_save){ 0 };
    writer->snapshot_running = true;
}

/* With the mutex held: wait for something to do. false: nothing came for a while. */
static bool work_wait(struct journal_writer *writer, bool rested)
{
    struct timespec at = time_after_ms(IDLE_AFTER_MS);
    bool timed_out = false;

    snapshot_take(writer);
    while (!timed_out && !writer->filling.records_count && !writer->stopping &&
           !writer->snapshot_running) {
        writer->waiting = true;
        if (rested)
            pthread_cond_wait(&writer->wake, &writer->mutex);
        else
            timed_out = pthread_cond_timedwait(&writer->wake, &writer->mutex, &at) == ETIMEDOUT;
        writer->waiting = false;
        snapshot_take(writer);
    }
    return !timed_out;
}

static void *writer_run(void *context)
{
    struct journal_writer *writer = context;
    const struct journal_ops *ops = writer->journal->ops;
    bool rested = !ops->maintain; /* housekeeping was done since the last work */

    for (;;) {
        bool worked;
        bool ending;
        struct batch empty;

        pthread_mutex_lock(&writer->mutex);
        worked = work_wait(writer, rested);
        empty = writer->writing;
        writer->writing = writer->filling;
        writer->filling = empty;
        writer->writing_bytes = batch_cost(&writer->writing);
        ending = writer->stopping && !writer->writing.records_count && !writer->snapshot_running;
        pthread_mutex_unlock(&writer->mutex);

        if (ending)
            break;
        if (!worked) {
            if (ops->maintain)
                ops->maintain(writer->journal, true);
            rested = true;
            continue;
        }
        rested = !ops->maintain;
        if (!writer->writing.records_count && writer->snapshot.data)
            snapshot_work(writer);
        else if (!batch_write(writer))
            break;
    }
    return NULL;
}

int journal_writer_start(struct journal *journal, journal_done_fn done, void *context,
                         struct journal_writer **writer_out, struct err *err)
{
    struct journal_writer *writer = calloc(1, sizeof(*writer));
    pthread_condattr_t attributes;
    sigset_t all;
    sigset_t before;
    int rc;

    if (!writer)
        return err_set(err, -ENOMEM, "journal writer: out of memory");
    writer->journal = journal;
    writer->done = done;
    writer->context = context;
    writer->queued_seq = journal->last_seq;
    atomic_store(&writer->durable_seq, journal->last_seq);
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->wake, &attributes);
    pthread_condattr_destroy(&attributes);

    /* Signals are for the threads that expect them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&writer->thread, NULL, writer_run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        pthread_cond_destroy(&writer->wake);
        pthread_mutex_destroy(&writer->mutex);
        free(writer);
        return err_set(err, -rc, "journal writer: %s", strerror(rc));
    }
    *writer_out = writer;
    return 0;
}

int journal_writer_append(struct journal_writer *writer, const void *data, uint32_t len,
                          uint64_t *seq_out, struct err *err)
{
    struct batch *batch = &writer->filling;
    bool wake = false;
    int rc = 0;

    if (len > JOURNAL_RECORD_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: a record of %" PRIu32 " bytes (at most %u)",
                       writer->journal->name, len, JOURNAL_RECORD_BYTES_MAX);
    pthread_mutex_lock(&writer->mutex);
    if (batch_cost(batch) + writer->writing_bytes + len > JOURNAL_BACKLOG_BYTES_MAX) {
        rc = err_set(err, -ENOBUFS, "%s: %u MiB wait to be written already", writer->journal->name,
                     JOURNAL_BACKLOG_BYTES_MAX >> 20);
    } else if (!batch_reserve(batch, len)) {
        rc = err_set(err, -ENOMEM, "%s: out of memory", writer->journal->name);
    } else {
        if (len)
            memcpy(batch->bytes + batch->len, data, len);
        batch->records[batch->records_count++] =
            (struct batch_record){ .offset = batch->len, .len = len };
        batch->len += len;
        *seq_out = ++writer->queued_seq;
        wake = writer->waiting;
        writer->waiting = false; /* one signal is enough */
    }
    pthread_mutex_unlock(&writer->mutex);
    if (wake)
        pthread_cond_signal(&writer->wake);
    return rc;
}

int journal_writer_snapshot(struct journal_writer *writer, uint64_t seq, void *data, size_t len)
{
    int rc = 0;

    pthread_mutex_lock(&writer->mutex);
    if (seq > writer->queued_seq || len > JOURNAL_SNAPSHOT_BYTES_MAX || !data) {
        rc = -EINVAL;
    } else if (writer->snapshot_running) {
        rc = -EBUSY;
    } else {
        void *older = (void *)writer->snapshot_next.data;

        writer->snapshot_next =
            (struct journal_snapshot_save){ .seq = seq, .data = data, .len = len };
        data = older;
        pthread_cond_signal(&writer->wake);
    }
    pthread_mutex_unlock(&writer->mutex);
    free(data);
    return rc;
}

uint64_t journal_writer_durable(const struct journal_writer *writer)
{
    return atomic_load(&writer->durable_seq);
}

void journal_writer_stop(struct journal_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    batch_fini(&writer->filling);
    batch_fini(&writer->writing);
    free((void *)writer->snapshot.data);
    free((void *)writer->snapshot_next.data);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}
