/* journal.h - durable, ordered, hash-chained records. Knows nothing of what they mean.
 *
 * A record has a sequence number (1, 2, 3, ... without gaps), opaque bytes, and a chain hash:
 * SHA-256(previous hash || seq as 8 bytes big-endian || bytes); the hash before record 1 is 32
 * zero bytes. Backends: "sqlite" (one file, WAL, synchronous=FULL) and "mem" (same rules, for tests
 * and the simulator). One process holds a journal at a time (a lock file says who).
 *
 * Two layers: `struct journal` is the synchronous table; `struct journal_writer` is a thread that
 * groups appends of many callers into one transaction and calls back when they are durable. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_HASH_BYTES 32u
#define JOURNAL_RECORD_BYTES_MAX (4u << 20)
#define JOURNAL_GROUP_RECORDS_MAX 4096u

struct journal_record {
    uint64_t seq;
    const void *data; /* borrowed during the callback */
    uint32_t len;
    uint8_t hash[JOURNAL_HASH_BYTES];
};
/* Non-zero stops the reading and is returned by it. */
typedef int (*journal_record_fn)(void *context, const struct journal_record *record);

struct journal;
struct journal_blob {
    const void *data;
    uint32_t len;
};

struct journal_ops {
    const char *name;
    /* Durable when it returns 0; all or none. -ENOSPC disk full, -EROFS, -EIO, -EBADMSG damaged. */
    int (*append)(struct journal *journal, const struct journal_blob *blobs, uint32_t count,
                  struct err *err);
    int (*read)(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                struct err *err);
    /* Snapshots of the state after `seq`; the newest two are kept. */
    int (*snapshot_save)(struct journal *journal, uint64_t seq, const void *data, size_t len,
                         struct err *err);
    int (*snapshot_load)(
        struct journal *journal, uint64_t *seq_out, struct buf *out,
        struct err *err); /* -ENOENT = none; a damaged one is skipped for the one before */
    void (*close)(struct journal *journal);
};
struct journal {
    const struct journal_ops *ops;
    uint64_t last_seq;
    uint8_t last_hash[JOURNAL_HASH_BYTES];
};

struct journal_open {
    const char *path; /* sqlite file; ignored by mem */
    bool read_only;   /* verify, export, sim: takes no lock */
    bool create;
};
/* -EBUSY: held by another process (err names its pid); -EROFS; -EBADMSG with where the damage is;
 * a torn last record is cut off only where nothing answered depended on it (SQLite's WAL does). */
int journal_open_sqlite(const struct journal_open *how, struct journal **journal_out,
                        struct err *err);
int journal_open_mem(struct journal **journal_out, struct err *err);
void journal_close(struct journal *journal);
int journal_append(struct journal *journal, const struct journal_blob *blobs, uint32_t count,
                   struct err *err);
int journal_read(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                 struct err *err);
/* Recompute the chain from record 1, check gaps and (sqlite) page integrity.
 * -EBADMSG names the first bad record. */
int journal_verify(struct journal *journal, uint64_t *records_out, struct err *err);

/* --- group commit ------------------------------------------------------------------------- */
struct journal_writer;
/* `done` runs on the writer's thread, once per group: all records up to `durable_seq` are safe, or
 * rc < 0: none of those after it is; the writer keeps them, in order, and tries again every
 * JOURNAL_RETRY_MS until they are safe or it is stopped. */
typedef void (*journal_done_fn)(void *context, uint64_t durable_seq, int rc, const char *reason);
#define JOURNAL_RETRY_MS 500
int journal_writer_start(struct journal *journal, journal_done_fn done, void *context,
                         struct journal_writer **writer_out, struct err *err);
/* Queue a record; its bytes are copied. Gives the seq it will have. Any thread. -ENOBUFS when
 * JOURNAL_BACKLOG_BYTES_MAX wait already. */
#define JOURNAL_BACKLOG_BYTES_MAX (256u << 20)
int journal_writer_append(struct journal_writer *writer, const void *data, uint32_t len,
                          uint64_t *seq_out, struct err *err);
/* Queue a snapshot of the state after `seq`, written after that record; takes `data` (malloc'd). */
int journal_writer_snapshot(struct journal_writer *writer, uint64_t seq, void *data, size_t len);
uint64_t journal_writer_durable(const struct journal_writer *writer);
/* Write out what is queued (one last try) and stop. The journal itself stays open. */
void journal_writer_stop(struct journal_writer *writer);
