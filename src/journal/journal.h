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

/* A snapshot being written part by part, so that appends go on in between. */
#define JOURNAL_SNAPSHOT_BYTES_MAX (1u << 30)
#define JOURNAL_SNAPSHOT_PART_BYTES (256u << 10)
struct journal_snapshot_save {
    uint64_t seq;
    const void *data; /* borrowed until done */
    size_t len;
    /* The backend's own, all 0 at first. */
    size_t saved_bytes;
    uint64_t parts_first;
    uint8_t hash[JOURNAL_HASH_BYTES];
    bool started, done;
};

struct journal_ops {
    const char *name;
    /* Durable when it returns 0; all or none. `hashes` has one chain hash a blob.
     * -ENOSPC disk full, -EROFS, -EIO, -EBADMSG damaged. */
    int (*append)(struct journal *journal, const struct journal_blob *blobs,
                  const uint8_t (*hashes)[JOURNAL_HASH_BYTES], uint32_t count, struct err *err);
    /* As stored, unchecked: journal_read checks the chain. `next_out` gets the first seq that was
     * not given to `fn`, also when reading fails. */
    int (*read)(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                uint64_t *next_out, struct err *err);
    /* Snapshots of the state after `seq`; the newest two are kept. */
    int (*snapshot_save)(struct journal *journal, uint64_t seq, const void *data, size_t len,
                         struct err *err);
    int (*snapshot_load)(
        struct journal *journal, uint64_t *seq_out, struct buf *out,
        struct err *err); /* -ENOENT = none; a damaged one is skipped for the one before */
    void (*close)(struct journal *journal);
    /* The rest is optional: NULL where a backend has nothing to do. */
    int (*snapshot_step)(struct journal *journal, struct journal_snapshot_save *save,
                         struct err *err);                  /* one part; the last sets save->done */
    int (*check)(struct journal *journal, struct err *err); /* the storage under the records */
    /* Housekeeping between groups (`idle`: nothing waits to be written). Its failure loses nothing
     * and shows in the next append. */
    void (*maintain)(struct journal *journal, bool idle);
};
struct journal {
    const struct journal_ops *ops;
    char *name; /* for messages: the path, or "mem" */
    bool read_only;
    uint64_t last_seq;
    uint8_t last_hash[JOURNAL_HASH_BYTES];
};

struct journal_open {
    const char *path; /* sqlite file; ignored by mem */
    bool read_only; /* verify, export, sim, event streams: takes no lock, may run beside a writer */
    bool create;
};
/* -EBUSY: held by another process (err names its pid); -EROFS, -EACCES, -ENOSPC; -ENOENT absent and
 * not `create`; -EBADMSG with where the damage is (the file is left as it is); -EPROTO another
 * program's file, or written by a later version. A torn last record is cut off only where nothing
 * answered depended on it (SQLite's WAL does).
 * The newest JOURNAL_OPEN_CHECK_RECORDS are checked here; older ones when they are read. */
#define JOURNAL_OPEN_CHECK_RECORDS 10000u
int journal_open_sqlite(const struct journal_open *how, struct journal **journal_out,
                        struct err *err);
int journal_open_mem(struct journal **journal_out, struct err *err);
/* For tests and the simulator: appends and snapshots of a mem journal fail with `rc` (< 0) until
 * it is 0 again. Any thread. */
void journal_mem_set_fault(struct journal *journal, int rc);
void journal_close(struct journal *journal);

/* One thread at a time may use a journal; while a writer runs it is the writer's. Another thread
 * or process opens the file once more, read_only.
 * -EINVAL count or a length past its ceiling; else as journal_ops.append. */
int journal_append(struct journal *journal, const struct journal_blob *blobs, uint32_t count,
                   struct err *err);
/* From `from_seq` (0 is taken as 1) to the end, each checked against the chain before `fn` sees it.
 * `fn` must not use the journal. A read_only journal's last_seq follows what was read.
 * -EBADMSG names the first bad record. */
int journal_read(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                 struct err *err);
/* Recompute the chain from record 1, check gaps and (sqlite) page integrity.
 * -EBADMSG names the first bad record. `records_out` (may be NULL): good ones before it. */
int journal_verify(struct journal *journal, uint64_t *records_out, struct err *err);
/* -EINVAL: `seq` is past the last record, or too large; else as append. */
int journal_snapshot_save(struct journal *journal, uint64_t seq, const void *data, size_t len,
                          struct err *err);
int journal_snapshot_load(struct journal *journal, uint64_t *seq_out, struct buf *out,
                          struct err *err);
void journal_chain_hash(const uint8_t previous[JOURNAL_HASH_BYTES], uint64_t seq, const void *data,
                        size_t len, uint8_t hash_out[JOURNAL_HASH_BYTES]);

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
 * JOURNAL_BACKLOG_BYTES_MAX wait already; -EINVAL longer than JOURNAL_RECORD_BYTES_MAX. */
#define JOURNAL_BACKLOG_BYTES_MAX (256u << 20)
int journal_writer_append(struct journal_writer *writer, const void *data, uint32_t len,
                          uint64_t *seq_out, struct err *err);
/* Queue a snapshot of the state after `seq`, written after that record, in parts between groups;
 * takes `data` (malloc'd). One waits at a time: a newer one takes the place of one not yet begun,
 * and -EBUSY comes back while one is being written; -EINVAL for a `seq` not queued yet. `data` is
 * taken on failure, too. One that cannot be written is dropped: the records have it all. */
int journal_writer_snapshot(struct journal_writer *writer, uint64_t seq, void *data, size_t len);
uint64_t journal_writer_durable(const struct journal_writer *writer);
/* Write out what is queued (one last try) and stop. The journal itself stays open. */
void journal_writer_stop(struct journal_writer *writer);
