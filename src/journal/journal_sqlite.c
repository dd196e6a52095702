#include "journal/journal_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/journal_lock.h"
#include "journal/journal_wal.h"

/* 2 MiB of log: copying them into the file holds commits up for a few milliseconds, and little of
 * them is written twice, as records only ever go to the end. */
#define CHECKPOINT_PAGES 512
#define CHECKPOINT_IDLE_PAGES 64

int journal_sqlite_fail(struct journal_sqlite *journal, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(journal->db);
    int cause = sqlite3_system_errno(journal->db);
    const char *name = journal->base.name;

    switch (code & 0xff) {
    case SQLITE_FULL:
        cause = ENOSPC;
        break;
    case SQLITE_READONLY:
        cause = EROFS;
        break;
    case SQLITE_NOMEM:
        cause = ENOMEM;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        cause = EBUSY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        cause = EBADMSG;
        break;
    case SQLITE_CANTOPEN:
        cause = cause ? cause : EIO;
        break;
    case SQLITE_IOERR:
        /* The errno may be left over from a call before; these fit. */
        if (code == SQLITE_IOERR_CORRUPTFS)
            cause = EBADMSG;
        else if (cause != ENOSPC && cause != EDQUOT && cause != EROFS)
            cause = EIO;
        break;
    default:
        cause = EIO;
    }
    if (cause == ENOSPC || cause == EDQUOT)
        return err_set(err, -ENOSPC,
                       "%s: %s: the disk is full: free some space; what was answered is safe", name,
                       doing);
    if ((code & 0xff) == SQLITE_NOTADB)
        return err_set(err, -EBADMSG,
                       "%s: not a journal, or its header is damaged (%s). Nothing was changed",
                       name, sqlite3_errmsg(journal->db));
    if (cause == EBADMSG)
        return err_set(
            err, -EBADMSG,
            "%s: %s: the file is damaged (%s). Nothing was changed: copy it and its -wal "
            "aside, then restore a backup, or save the good records with "
            "'mains journal export'",
            name, doing, sqlite3_errmsg(journal->db));
    return err_set(err, -cause, "%s: %s: %s (%s)", name, doing, sqlite3_errmsg(journal->db),
                   strerror(cause));
}

int journal_sqlite_step(struct journal_sqlite *journal, enum sqlite_statement statement)
{
    int rc = sqlite3_step(journal->statements[statement]);

    sqlite3_reset(journal->statements[statement]);
    return rc;
}

int journal_sqlite_begin(struct journal_sqlite *journal, const char *doing, struct err *err)
{
    return journal_sqlite_step(journal, STATEMENT_BEGIN) == SQLITE_DONE
               ? 0
               : journal_sqlite_fail(journal, doing, err);
}

int journal_sqlite_end(struct journal_sqlite *journal, int rc, const char *doing, struct err *err)
{
    if (rc == 0 && journal_sqlite_step(journal, STATEMENT_COMMIT) == SQLITE_DONE)
        return 0;
    if (rc == 0)
        rc = journal_sqlite_fail(journal, doing, err);
    /* SQLite has rolled back by itself after some failures. */
    if (!sqlite3_get_autocommit(journal->db))
        journal_sqlite_step(journal, STATEMENT_ROLLBACK);
    return rc;
}

static int sqlite_append(struct journal *base, const struct journal_blob *blobs,
                         const uint8_t (*hashes)[JOURNAL_HASH_BYTES], uint32_t count,
                         struct err *err)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    sqlite3_stmt *add = journal->statements[STATEMENT_RECORD_ADD];
    int rc = journal_sqlite_begin(journal, "append", err);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        /* A NULL pointer would bind NULL, not the empty blob. */
        const void *data = blobs[i].len ? blobs[i].data : "";
        uint64_t seq = base->last_seq + 1 + i;

        sqlite3_bind_int64(add, 1, (sqlite3_int64)seq);
        sqlite3_bind_blob(add, 2, data, (int)blobs[i].len, SQLITE_STATIC);
        sqlite3_bind_blob(add, 3, hashes[i], JOURNAL_HASH_BYTES, SQLITE_STATIC);
        if (journal_sqlite_step(journal, STATEMENT_RECORD_ADD) != SQLITE_DONE)
            rc = journal_sqlite_fail(journal, "append", err);
    }
    rc = journal_sqlite_end(journal, rc, "append", err);
    /* The bytes are the caller's and may go now. */
    sqlite3_clear_bindings(add);
    return rc;
}

static void record_from_row(sqlite3_stmt *row, struct journal_record *record)
{
    const void *hash = sqlite3_column_blob(row, 2);

    record->seq = (uint64_t)sqlite3_column_int64(row, 0);
    record->data = sqlite3_column_blob(row, 1);
    record->len = (uint32_t)sqlite3_column_bytes(row, 1);
    /* A hash of another length cannot match; zeroes never do. */
    memset(record->hash, 0, sizeof(record->hash));
    if (hash && sqlite3_column_bytes(row, 2) == JOURNAL_HASH_BYTES)
        memcpy(record->hash, hash, JOURNAL_HASH_BYTES);
}

/* In chunks, each its own read transaction: a long reading beside a writer would else keep the
 * write-ahead log from starting over, and it would grow. */
static int sqlite_read(struct journal *base, uint64_t from_seq, journal_record_fn fn, void *context,
                       uint64_t *next_out, struct err *err)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    sqlite3_stmt *read = journal->statements[STATEMENT_RECORDS_READ];
    int rows_count;

    *next_out = from_seq;
    do {
        int code;

        rows_count = 0;
        if (*next_out > INT64_MAX)
            return 0;
        sqlite3_bind_int64(read, 1, (sqlite3_int64)*next_out);
        while ((code = sqlite3_step(read)) == SQLITE_ROW) {
            struct journal_record record;
            int rc;

            record_from_row(read, &record);
            rc = fn(context, &record);
            if (rc) {
                sqlite3_reset(read);
                return rc;
            }
            *next_out = record.seq + 1;
            rows_count++;
        }
        if (code != SQLITE_DONE) {
            int rc = journal_sqlite_fail(journal, "read", err);

            sqlite3_reset(read);
            return rc;
        }
        sqlite3_reset(read);
    } while (rows_count == JOURNAL_SQLITE_READ_RECORDS);
    return 0;
}

static int check_pages(struct journal_sqlite *journal, struct err *err)
{
    sqlite3_stmt *check = NULL;
    const char *said = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(journal->db, "PRAGMA integrity_check(1)", -1, &check, NULL) ==
            SQLITE_OK &&
        sqlite3_step(check) == SQLITE_ROW)
        said = (const char *)sqlite3_column_text(check, 0);
    if (!said)
        rc = journal_sqlite_fail(journal, "check", err);
    else if (strcmp(said, "ok") != 0)
        rc = err_set(err, -EBADMSG,
                     "%s: every record is whole, but the file around them is damaged (%s): export "
                     "them into a new journal with 'mains journal export' and 'import'",
                     journal->base.name, said);
    sqlite3_finalize(check);
    return rc;
}

static int sqlite_check(struct journal *base, struct err *err)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    CLEANUP(freep) char *lock = path_format("%s.lock", base->name);
    int rc = 0;

    if (!lock)
        return err_set(err, -ENOMEM, "%s: out of memory", base->name);
    /* The log of a running writer changes under the eye. */
    if (!base->read_only || !journal_lock_is_held(lock))
        rc = journal_wal_check(base->name, err);
    return rc == 0 ? check_pages(journal, err) : rc;
}

static void sqlite_maintain(struct journal *base, bool idle)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    int log_pages = 0;
    int copied_pages = 0;

    if (journal->wal_pages < (idle ? CHECKPOINT_IDLE_PAGES : CHECKPOINT_PAGES))
        return;
    /* The log starts over by itself with the next commit once all of it is in the file. */
    if (sqlite3_wal_checkpoint_v2(journal->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log_pages,
                                  &copied_pages) == SQLITE_OK &&
        copied_pages == log_pages)
        journal->wal_pages = 0;
}

static void sqlite_close(struct journal *base)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);

    for (int i = 0; i < STATEMENTS_COUNT; i++)
        sqlite3_finalize(journal->statements[i]);
    sqlite3_close(journal->db);
    if (journal->lock_fd >= 0)
        close(journal->lock_fd);
    free(journal->base.name);
    free(journal);
}

const struct journal_ops journal_sqlite_ops = {
    .name = "sqlite",
    .append = sqlite_append,
    .read = sqlite_read,
    .snapshot_save = journal_sqlite_snapshot_save,
    .snapshot_load = journal_sqlite_snapshot_load,
    .close = sqlite_close,
    .snapshot_step = journal_sqlite_snapshot_step,
    .check = sqlite_check,
    .maintain = sqlite_maintain,
};
