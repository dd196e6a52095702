/* journal_sqlite.h - what the files of the sqlite backend share; for this folder alone.
 *
 * The tables are in docs/journal.md. Statements are prepared once; a step that fails leaves its
 * statement reset. */
#pragma once

#include "journal/journal.h"

#include <sqlite3.h>

#define JOURNAL_SQLITE_READ_RECORDS 256 /* in one read transaction */

enum sqlite_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_RECORD_ADD,
    STATEMENT_RECORDS_READ,
    STATEMENT_RECORD_LAST,
    STATEMENT_RECORD_HASH,
    STATEMENT_SNAPSHOTS_LIST,
    STATEMENT_SNAPSHOT_ADD,
    STATEMENT_SNAPSHOTS_TRIM,
    STATEMENT_PART_ADD,
    STATEMENT_PART_READ,
    STATEMENT_PARTS_STALE,
    STATEMENT_PARTS_AFTER,
    STATEMENTS_COUNT
};

struct journal_sqlite {
    struct journal base;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS_COUNT];
    int lock_fd;
    int wal_pages; /* in the write-ahead log after the last commit */
};

extern const struct journal_ops journal_sqlite_ops;

/* The -errno for what SQLite last said, with a line for a person; `doing` is "append", ... */
int journal_sqlite_fail(struct journal_sqlite *journal, const char *doing, struct err *err);
/* Step a statement that gives no rows, and reset it. */
int journal_sqlite_step(struct journal_sqlite *journal, enum sqlite_statement statement);
int journal_sqlite_begin(struct journal_sqlite *journal, const char *doing, struct err *err);
/* Commit where `rc` is 0, else roll back; gives the first thing that failed. */
int journal_sqlite_end(struct journal_sqlite *journal, int rc, const char *doing, struct err *err);

/* journal_sqlite_snapshot.c */
int journal_sqlite_snapshot_save(struct journal *journal, uint64_t seq, const void *data,
                                 size_t len, struct err *err);
int journal_sqlite_snapshot_step(struct journal *journal, struct journal_snapshot_save *save,
                                 struct err *err);
int journal_sqlite_snapshot_load(struct journal *journal, uint64_t *seq_out, struct buf *out,
                                 struct err *err);
