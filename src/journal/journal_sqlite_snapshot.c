/* Snapshots in the sqlite backend: a row in `snapshots` over numbered rows in `snapshot_parts`.
 *
 * Parts are written first, each in a transaction of its own, and the row last, so a snapshot is
 * there whole or not at all. Its hash continues the chain from the record it was taken after, so
 * that a snapshot of another history is not taken for one of this. */
#include "journal/journal_sqlite.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

struct snapshot_row {
    uint64_t seq;
    uint64_t bytes;
    uint64_t part_first;
    uint8_t hash[JOURNAL_HASH_BYTES];
};

#define SNAPSHOTS_KEPT 2

/* Newest first. */
static int list_rows(struct journal_sqlite *journal, struct snapshot_row *rows, int *count_out,
                     struct err *err)
{
    sqlite3_stmt *list = journal->statements[STATEMENT_SNAPSHOTS_LIST];
    int count = 0;
    int rc = 0;
    int code;

    while ((code = sqlite3_step(list)) == SQLITE_ROW && count < SNAPSHOTS_KEPT) {
        struct snapshot_row *row = &rows[count++];
        const void *hash = sqlite3_column_blob(list, 1);

        *row = (struct snapshot_row){ .seq = (uint64_t)sqlite3_column_int64(list, 0),
                                      .bytes = (uint64_t)sqlite3_column_int64(list, 2),
                                      .part_first = (uint64_t)sqlite3_column_int64(list, 3) };
        if (hash && sqlite3_column_bytes(list, 1) == JOURNAL_HASH_BYTES)
            memcpy(row->hash, hash, JOURNAL_HASH_BYTES);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = journal_sqlite_fail(journal, "snapshots", err);
    sqlite3_reset(list);
    *count_out = count;
    return rc;
}

static uint64_t parts_of(uint64_t bytes)
{
    return (bytes + JOURNAL_SNAPSHOT_PART_BYTES - 1) / JOURNAL_SNAPSHOT_PART_BYTES;
}

/* -ENOENT: no such record. */
static int find_hash(struct journal_sqlite *journal, uint64_t seq, uint8_t *hash_out,
                     struct err *err)
{
    sqlite3_stmt *find = journal->statements[STATEMENT_RECORD_HASH];
    int rc = 0;
    int code;

    if (seq == 0) {
        memset(hash_out, 0, JOURNAL_HASH_BYTES);
        return 0;
    }
    sqlite3_bind_int64(find, 1, (sqlite3_int64)seq);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW && sqlite3_column_bytes(find, 0) == JOURNAL_HASH_BYTES)
        memcpy(hash_out, sqlite3_column_blob(find, 0), JOURNAL_HASH_BYTES);
    else if (code == SQLITE_ROW || code == SQLITE_DONE)
        rc = err_set(err, -ENOENT, "%s: no record %" PRIu64, journal->base.name, seq);
    else
        rc = journal_sqlite_fail(journal, "snapshots", err);
    sqlite3_reset(find);
    return rc;
}

/* The new parts go after those of the newest snapshot, over whatever an unfinished one left. */
static int start_save(struct journal_sqlite *journal, struct journal_snapshot_save *save,
                      struct err *err)
{
    struct snapshot_row rows[SNAPSHOTS_KEPT] = { 0 };
    int count = 0;
    int rc = list_rows(journal, rows, &count, err);

    if (rc < 0)
        return rc;
    save->parts_first = 1;
    for (int i = 0; i < count; i++)
        save->parts_first = MAX(save->parts_first, rows[i].part_first + parts_of(rows[i].bytes));
    rc = find_hash(journal, save->seq, save->hash, err);
    save->started = rc == 0;
    return rc;
}

static int add_row(struct journal_sqlite *journal, const struct journal_snapshot_save *save,
                   struct err *err)
{
    sqlite3_stmt *add = journal->statements[STATEMENT_SNAPSHOT_ADD];
    sqlite3_stmt *after = journal->statements[STATEMENT_PARTS_AFTER];
    uint64_t parts_end = save->parts_first + parts_of(save->len);

    sqlite3_bind_int64(add, 1, (sqlite3_int64)save->seq);
    sqlite3_bind_int64(add, 2, clock_wall_ms());
    sqlite3_bind_blob(add, 3, save->hash, JOURNAL_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(add, 4, (sqlite3_int64)save->len);
    sqlite3_bind_int64(add, 5, (sqlite3_int64)save->parts_first);
    sqlite3_bind_int64(after, 1, (sqlite3_int64)parts_end);
    if (journal_sqlite_step(journal, STATEMENT_SNAPSHOT_ADD) != SQLITE_DONE ||
        journal_sqlite_step(journal, STATEMENT_SNAPSHOTS_TRIM) != SQLITE_DONE ||
        journal_sqlite_step(journal, STATEMENT_PARTS_AFTER) != SQLITE_DONE)
        return journal_sqlite_fail(journal, "snapshot", err);
    return 0;
}

static int add_part(struct journal_sqlite *journal, const struct journal_snapshot_save *save,
                    uint64_t part, size_t part_bytes, struct err *err)
{
    sqlite3_stmt *add = journal->statements[STATEMENT_PART_ADD];

    sqlite3_bind_int64(add, 1, (sqlite3_int64)part);
    sqlite3_bind_blob(add, 2, (const char *)save->data + save->saved_bytes, (int)part_bytes,
                      SQLITE_STATIC);
    /* Let go of one part for each that is added, so that neither ever takes long. */
    if (journal_sqlite_step(journal, STATEMENT_PART_ADD) != SQLITE_DONE ||
        journal_sqlite_step(journal, STATEMENT_PARTS_STALE) != SQLITE_DONE)
        return journal_sqlite_fail(journal, "snapshot", err);
    return 0;
}

int journal_sqlite_snapshot_step(struct journal *base, struct journal_snapshot_save *save,
                                 struct err *err)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    struct journal_snapshot_save next;
    int rc = save->started ? 0 : start_save(journal, save, err);

    if (rc == 0)
        rc = journal_sqlite_begin(journal, "snapshot", err);
    if (rc < 0)
        return rc;
    next = *save;
    if (save->saved_bytes < save->len) {
        uint64_t index = save->saved_bytes / JOURNAL_SNAPSHOT_PART_BYTES;
        size_t bytes = MIN(save->len - save->saved_bytes, JOURNAL_SNAPSHOT_PART_BYTES);

        journal_chain_hash(save->hash, index + 1, (const char *)save->data + save->saved_bytes,
                           bytes, next.hash);
        rc = add_part(journal, save, save->parts_first + index, bytes, err);
        next.saved_bytes += bytes;
    }
    if (rc == 0 && next.saved_bytes == next.len) {
        rc = add_row(journal, &next, err);
        next.done = true;
    }
    rc = journal_sqlite_end(journal, rc, "snapshot", err);
    if (rc == 0)
        *save = next;
    return rc;
}

int journal_sqlite_snapshot_save(struct journal *base, uint64_t seq, const void *data, size_t len,
                                 struct err *err)
{
    struct journal_snapshot_save save = { .seq = seq, .data = data, .len = len };
    int rc = 0;

    while (rc == 0 && !save.done)
        rc = journal_sqlite_snapshot_step(base, &save, err);
    return rc;
}

static int load_part(struct journal_sqlite *journal, uint64_t part, size_t part_bytes,
                     struct buf *out, struct err *err)
{
    sqlite3_stmt *read = journal->statements[STATEMENT_PART_READ];
    int rc = 0;

    sqlite3_bind_int64(read, 1, (sqlite3_int64)part);
    if (sqlite3_step(read) != SQLITE_ROW || sqlite3_column_bytes(read, 0) != (int)part_bytes)
        rc = -EBADMSG;
    else if (buf_add(out, sqlite3_column_blob(read, 0), part_bytes) < 0)
        rc = err_set(err, -EFBIG, "%s: snapshot larger than %zu bytes", journal->base.name,
                     out->max);
    sqlite3_reset(read);
    return rc;
}

/* -EBADMSG: damaged. */
static int load_one(struct journal_sqlite *journal, const struct snapshot_row *row, struct buf *out,
                    struct err *err)
{
    uint8_t hash[JOURNAL_HASH_BYTES];
    size_t left = row->bytes;
    int rc = find_hash(journal, row->seq, hash, err);

    if (rc < 0 || row->bytes > JOURNAL_SNAPSHOT_BYTES_MAX)
        return -EBADMSG;
    for (uint64_t i = 0; left > 0; i++) {
        size_t bytes = MIN(left, JOURNAL_SNAPSHOT_PART_BYTES);

        rc = load_part(journal, row->part_first + i, bytes, out, err);
        if (rc < 0)
            return rc;
        journal_chain_hash(hash, i + 1, out->data + out->len - bytes, bytes, hash);
        left -= bytes;
    }
    return memcmp(hash, row->hash, sizeof(hash)) == 0 ? 0 : -EBADMSG;
}

int journal_sqlite_snapshot_load(struct journal *base, uint64_t *seq_out, struct buf *out,
                                 struct err *err)
{
    struct journal_sqlite *journal = CONTAINER_OF(base, struct journal_sqlite, base);
    struct snapshot_row rows[SNAPSHOTS_KEPT] = { 0 };
    size_t len_before = out->len;
    int count = 0;
    int rc = list_rows(journal, rows, &count, err);

    if (rc < 0 && rc != -EBADMSG)
        return rc;
    for (int i = 0; i < count; i++) {
        rc = load_one(journal, &rows[i], out, err);
        if (rc == 0) {
            *seq_out = rows[i].seq;
            return 0;
        }
        out->len = len_before;
        if (out->data)
            out->data[len_before] = '\0';
        if (rc != -EBADMSG)
            return rc;
    }
    if (count)
        return err_set(err, -ENOENT, "%s: each of its %d snapshots is damaged", base->name, count);
    return err_set(err, -ENOENT, "%s: no snapshot", base->name);
}
