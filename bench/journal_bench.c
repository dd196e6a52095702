/* journal_bench.c - durable records a second, and how long one waits to be durable.
 *
 *     journal_bench [FOLDER [SECONDS]]
 *
 * Works in a fresh folder in FOLDER (default: the working directory, which should be on the disk
 * that is to be measured) and removes it. Peers, in the same run on the same disk: plain SQLite
 * (WAL, synchronous=FULL) inserting groups of 16 without a hash chain, and one fdatasync a record
 * on a plain file. One JSON line a figure. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "journal/journal.h"

#define RECORD_BYTES 256
#define WRITERS_MAX 64
#define WINDOW_MAX 1024
#define GOAL_PER_S 100000
#define SQLITE_GROUP 16
#define LATENCY_STEP_US 10
#define LATENCY_STEPS 20000

static void die(const char *what, const char *why)
{
    fprintf(stderr, "journal bench: %s: %s\n", what, why);
    exit(1);
}

struct load {
    struct journal_writer *writer;
    int64_t end_us;
    uint32_t window; /* records a writer leaves outstanding; 1: one at a time */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic uint64_t durable_seq;
};

struct load_writer {
    struct load *load;
    pthread_t thread;
    uint64_t records;
    uint32_t latency_counts[LATENCY_STEPS];
    struct {
        uint64_t seq;
        int64_t at_us;
    } sent[WINDOW_MAX];
};

static void on_durable(void *context, uint64_t durable_seq, int rc, const char *reason)
{
    struct load *load = context;

    if (rc < 0)
        die("append", reason);
    pthread_mutex_lock(&load->mutex);
    atomic_store(&load->durable_seq, durable_seq);
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->mutex);
}

static void wait_durable(struct load *load, uint64_t seq)
{
    if (atomic_load(&load->durable_seq) >= seq)
        return;
    pthread_mutex_lock(&load->mutex);
    while (atomic_load(&load->durable_seq) < seq)
        pthread_cond_wait(&load->changed, &load->mutex);
    pthread_mutex_unlock(&load->mutex);
}

static void *load_run(void *context)
{
    struct load_writer *self = context;
    struct load *load = self->load;
    uint32_t window = load->window;
    char record[RECORD_BYTES];
    uint64_t sent = 0;
    uint64_t safe = 0;

    memset(record, 'r', sizeof(record));
    while (clock_mono_us() < load->end_us || safe < sent) {
        struct err err;
        uint64_t durable;

        while (sent - safe < window && clock_mono_us() < load->end_us) {
            self->sent[sent % window].at_us = clock_mono_us();
            memcpy(record, &sent, sizeof(sent));
            if (journal_writer_append(load->writer, record, sizeof(record),
                                      &self->sent[sent % window].seq, &err) < 0)
                die("append", err.text);
            sent++;
        }
        if (safe == sent)
            break;
        wait_durable(load, self->sent[safe % window].seq);
        durable = atomic_load(&load->durable_seq);
        while (safe < sent && self->sent[safe % window].seq <= durable) {
            int64_t step = (clock_mono_us() - self->sent[safe % window].at_us) / LATENCY_STEP_US;

            self->latency_counts[MIN(step, LATENCY_STEPS - 1)]++;
            safe++;
        }
    }
    self->records = sent;
    return NULL;
}

struct result {
    double per_s;
    double p50_us, p99_us, max_us;
};

static double quantile(const uint64_t *counts, uint64_t total, double part)
{
    uint64_t below = 0;

    for (int i = 0; i < LATENCY_STEPS; i++) {
        below += counts[i];
        if (below > 0 && (double)below >= part * (double)total)
            return (i + 1) * (double)LATENCY_STEP_US;
    }
    return LATENCY_STEPS * (double)LATENCY_STEP_US;
}

static struct result load_measure(const char *folder, int writers_count, uint32_t window,
                                  double seconds)
{
    CLEANUP(freep) char *path = path_format("%s/journal-%d-%u.db", folder, writers_count, window);
    struct load_writer *writers = calloc((size_t)writers_count, sizeof(*writers));
    uint64_t *counts = calloc(LATENCY_STEPS, sizeof(*counts));
    struct load load = { .window = window,
                         .mutex = PTHREAD_MUTEX_INITIALIZER,
                         .changed = PTHREAD_COND_INITIALIZER };
    struct journal *journal = NULL;
    struct result result;
    uint64_t total = 0;
    struct err err;
    int64_t start_us;

    if (!path || !writers || !counts)
        die("load", "out of memory");
    if (journal_open_sqlite(&(struct journal_open){ .path = path, .create = true }, &journal,
                            &err) < 0 ||
        journal_writer_start(journal, on_durable, &load, &load.writer, &err) < 0)
        die("open", err.text);
    start_us = clock_mono_us();
    load.end_us = start_us + (int64_t)(seconds * 1e6);
    for (int i = 0; i < writers_count; i++) {
        writers[i].load = &load;
        if (pthread_create(&writers[i].thread, NULL, load_run, &writers[i]))
            die("thread", "cannot be started");
    }
    for (int i = 0; i < writers_count; i++) {
        pthread_join(writers[i].thread, NULL);
        total += writers[i].records;
        for (int k = 0; k < LATENCY_STEPS; k++)
            counts[k] += writers[i].latency_counts[k];
    }
    result.per_s = (double)total * 1e6 / (double)(clock_mono_us() - start_us);
    result.p50_us = quantile(counts, total, 0.5);
    result.p99_us = quantile(counts, total, 0.99);
    result.max_us = quantile(counts, total, 1.0);
    journal_writer_stop(load.writer);
    if (journal->last_seq != total)
        die("load", "records are missing");
    journal_close(journal);
    free(writers);
    free(counts);
    return result;
}

/* One thread, plain inserts, a transaction of 16 rows each. */
static double peer_sqlite(const char *folder, double seconds)
{
    CLEANUP(freep) char *path = path_format("%s/peer.db", folder);
    char record[RECORD_BYTES];
    sqlite3_stmt *insert = NULL;
    sqlite3 *db = NULL;
    int64_t start_us;
    int64_t count = 0;

    memset(record, 'r', sizeof(record));
    if (!path || sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE records(seq INTEGER PRIMARY KEY, data BLOB NOT NULL)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO records VALUES(?1, ?2)", -1, &insert, NULL) !=
            SQLITE_OK)
        die("peer", sqlite3_errmsg(db));
    start_us = clock_mono_us();
    while ((double)(clock_mono_us() - start_us) < seconds * 1e6) {
        if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
            die("peer", sqlite3_errmsg(db));
        for (int i = 0; i < SQLITE_GROUP; i++) {
            sqlite3_bind_int64(insert, 1, ++count);
            sqlite3_bind_blob(insert, 2, record, sizeof(record), SQLITE_STATIC);
            if (sqlite3_step(insert) != SQLITE_DONE)
                die("peer", sqlite3_errmsg(db));
            sqlite3_reset(insert);
        }
        if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            die("peer", sqlite3_errmsg(db));
    }
    seconds = (double)(clock_mono_us() - start_us) / 1e6;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return (double)count / seconds;
}

static double peer_file(const char *folder, double seconds)
{
    CLEANUP(freep) char *path = path_format("%s/peer.log", folder);
    CLEANUP(closep) int fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    int64_t start_us = clock_mono_us();
    char record[RECORD_BYTES];
    int64_t count = 0;

    memset(record, 'r', sizeof(record));
    if (fd < 0)
        die("peer", "cannot create a file");
    while ((double)(clock_mono_us() - start_us) < seconds * 1e6) {
        if (write(fd, record, sizeof(record)) != sizeof(record) || fdatasync(fd) < 0)
            die("peer", "cannot write");
        count++;
    }
    return (double)count * 1e6 / (double)(clock_mono_us() - start_us);
}

struct figure {
    const char *name, *unit;
    double value;
    double goal; /* 0: none */
    bool below;  /* the goal is a ceiling */
    const char *peer;
    double peer_value;
    const char *note;
};

static void figure_print(const struct figure *figure)
{
    bool holds = figure->below ? figure->value < figure->goal : figure->value >= figure->goal;

    printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"%s\"", figure->name, figure->value,
           figure->unit);
    if (figure->goal > 0)
        printf(",\"goal\":\"%s%.0f\",\"holds\":%s", figure->below ? "<" : ">=", figure->goal,
               holds ? "true" : "false");
    else
        printf(",\"goal\":null,\"holds\":null");
    if (figure->peer)
        printf(",\"peer\":\"%s\",\"peer_value\":%.0f,\"ratio\":%.2f", figure->peer,
               figure->peer_value, figure->value / figure->peer_value);
    else
        printf(",\"peer\":null,\"peer_value\":null,\"ratio\":null");
    printf(",\"note\":\"%s\"}\n", figure->note);
    fflush(stdout);
}

#define PEER_SQLITE "SQLite WAL FULL, groups of 16, no chain"
#define PEER_FILE "write + fdatasync a record, one file"

static void bench_run(const char *folder, double seconds)
{
    double file_per_s = peer_file(folder, seconds / 2);
    double sqlite_per_s = peer_sqlite(folder, seconds);
    struct result grouped = load_measure(folder, 8, 512, 2 * seconds);
    struct result alone = load_measure(folder, 1, 1, seconds / 2);
    struct result strict = load_measure(folder, 8, 1, seconds);
    struct result crowd = load_measure(folder, 64, 1, seconds);
    struct figure figures[] = {
        { "journal", "events/s", grouped.per_s, GOAL_PER_S, false, PEER_SQLITE, sqlite_per_s,
          "8 writers, 512 records of 256 B outstanding each, durable and hash-chained" },
        { "journal_p50", "us", grouped.p50_us, 0, false, NULL, 0, "append to durable, same load" },
        { "journal_p99", "us", grouped.p99_us, 0, false, NULL, 0, "append to durable, same load" },
        { "journal_max", "us", grouped.max_us, 0, false, NULL, 0, "append to durable, same load" },
        { "journal_single", "events/s", alone.per_s, 0, false, PEER_FILE, file_per_s,
          "1 writer, one record at a time" },
        { "journal_single_p50", "us", alone.p50_us, 1000, true, NULL, 0, "append to durable" },
        { "journal_single_p99", "us", alone.p99_us, 0, false, NULL, 0, "append to durable" },
        { "journal_strict_8", "events/s", strict.per_s, 0, false, PEER_FILE, file_per_s,
          "8 writers, one record at a time each" },
        { "journal_strict_8_p50", "us", strict.p50_us, 0, false, NULL, 0, "append to durable" },
        { "journal_strict_8_p99", "us", strict.p99_us, 0, false, NULL, 0, "append to durable" },
        { "journal_strict_64", "events/s", crowd.per_s, 0, false, PEER_FILE, file_per_s,
          "64 writers, one record at a time each" },
        { "journal_strict_64_p50", "us", crowd.p50_us, 0, false, NULL, 0, "append to durable" },
        { "journal_strict_64_p99", "us", crowd.p99_us, 0, false, NULL, 0, "append to durable" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(figures); i++)
        figure_print(&figures[i]);
}

int main(int argc, char **argv)
{
    char *folder = path_format("%s/journal-bench.XXXXXX", argc > 1 ? argv[1] : ".");
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;

    if (!folder || !mkdtemp(folder))
        die(argc > 1 ? argv[1] : ".", "cannot make a folder there");
    if (!(seconds >= 0.1 && seconds <= 600))
        die("SECONDS", "0.1 to 600");
    bench_run(folder, seconds);
    dir_remove(folder, NULL);
    free(folder);
    return 0;
}
