/* Opening a journal file: whose it is, whether it is whole, and its tables when it is new. Nothing
 * is written to a file before all of that is known. */
#include "journal/journal_sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/journal_damage.h"
#include "journal/journal_lock.h"
#include "journal/journal_wal.h"

#define FORMAT_VERSION 1
#define APPLICATION_ID 0x4d4e534a /* "MNSJ" */
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#define BUSY_WAIT_MS 5000
#define WAL_KEPT_BYTES 67108864 /* 64 MiB */

/* By name, as sqlite_schema gives them. */
static const char *const tables[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE records(seq INTEGER PRIMARY KEY, data BLOB NOT NULL, hash BLOB NOT NULL)",
    "CREATE TABLE snapshot_parts(part INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    ("CREATE TABLE snapshots(seq INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL, "
     "hash BLOB NOT NULL, bytes INTEGER NOT NULL, part_first INTEGER NOT NULL)"),
};

static const char *const statement_texts[STATEMENTS_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_RECORD_ADD] = "INSERT INTO records(seq, data, hash) VALUES(?1, ?2, ?3)",
    [STATEMENT_RECORDS_READ] = "SELECT seq, data, hash FROM records WHERE seq >= ?1 "
                               "ORDER BY seq LIMIT " TEXT(JOURNAL_SQLITE_READ_RECORDS),
    [STATEMENT_RECORD_LAST] = "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1",
    [STATEMENT_RECORD_HASH] = "SELECT hash FROM records WHERE seq = ?1",
    [STATEMENT_SNAPSHOTS_LIST] = "SELECT seq, hash, bytes, part_first FROM snapshots "
                                 "ORDER BY seq DESC LIMIT 2",
    [STATEMENT_SNAPSHOT_ADD] = "INSERT OR REPLACE INTO snapshots"
                               "(seq, created_ms, hash, bytes, part_first) "
                               "VALUES(?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_SNAPSHOTS_TRIM] = "DELETE FROM snapshots WHERE seq NOT IN "
                                 "(SELECT seq FROM snapshots ORDER BY seq DESC LIMIT 2)",
    [STATEMENT_PART_ADD] = "INSERT OR REPLACE INTO snapshot_parts(part, data) VALUES(?1, ?2)",
    [STATEMENT_PART_READ] = "SELECT data FROM snapshot_parts WHERE part = ?1",
    /* At most one a call: letting go of a large snapshot must not hold up the records. */
    [STATEMENT_PARTS_STALE] = "DELETE FROM snapshot_parts WHERE part = "
                              "(SELECT min(part) FROM snapshot_parts) "
                              "AND part < (SELECT min(part_first) FROM snapshots)",
    [STATEMENT_PARTS_AFTER] = "DELETE FROM snapshot_parts WHERE part >= ?1",
};

static int on_commit(void *context, sqlite3 *db, const char *schema, int wal_pages)
{
    struct journal_sqlite *journal = context;

    (void)db;
    (void)schema;
    journal->wal_pages = wal_pages;
    return SQLITE_OK;
}

static int run(struct journal_sqlite *journal, const char *sql, struct err *err)
{
    return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : journal_sqlite_fail(journal, "open", err);
}

/* The one number a query gives. */
static int ask_number(struct journal_sqlite *journal, const char *sql, int64_t *number_out,
                      struct err *err)
{
    sqlite3_stmt *query = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(journal->db, sql, -1, &query, NULL) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW)
        *number_out = sqlite3_column_int64(query, 0);
    else
        rc = journal_sqlite_fail(journal, "open", err);
    sqlite3_finalize(query);
    return rc;
}

static int create_tables(struct journal_sqlite *journal, struct err *err)
{
    int rc = run(journal, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; BEGIN IMMEDIATE", err);

    for (size_t i = 0; i < ARRAY_COUNT(tables) && rc == 0; i++)
        rc = run(journal, tables[i], err);
    if (rc == 0)
        rc = run(
            journal,
            "INSERT INTO meta(key, value) VALUES('format', '" TEXT(
                FORMAT_VERSION) "'), ('created', strftime('%Y-%m-%dT%H:%M:%SZ','now'));"
                                "PRAGMA user_version=" TEXT(
                                    FORMAT_VERSION) ";"
                                                    "PRAGMA application_id=" TEXT(
                                                        APPLICATION_ID) ";COMMIT;"
                                                                        "PRAGMA "
                                                                        "wal_checkpoint(TRUNCATE)",
            err);
    return rc;
}

/* Our own tables to the letter, and nothing beside them: no triggers, views or generated columns
 * that would run with our statements. */
static int check_tables(struct journal_sqlite *journal, struct err *err)
{
    sqlite3_stmt *list = NULL;
    size_t count = 0;
    bool same = true;
    int code = sqlite3_prepare_v2(journal->db, "SELECT sql FROM sqlite_schema ORDER BY name", -1,
                                  &list, NULL);

    while (code == SQLITE_OK && sqlite3_step(list) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(list, 0);

        same = same && count < ARRAY_COUNT(tables) && sql && strcmp(sql, tables[count]) == 0;
        count++;
    }
    code = sqlite3_finalize(list);
    if (code != SQLITE_OK)
        return journal_sqlite_fail(journal, "open", err);
    if (!same || count != ARRAY_COUNT(tables))
        return err_set(err, -EPROTO, "%s: its tables are not those of a journal of format %d",
                       journal->base.name, FORMAT_VERSION);
    return 0;
}

static int check_format(struct journal_sqlite *journal, struct err *err)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t tables_count = 0;
    int rc = ask_number(journal, "PRAGMA application_id", &application, err);

    if (rc == 0)
        rc = ask_number(journal, "PRAGMA user_version", &version, err);
    if (rc == 0)
        rc = ask_number(journal, "SELECT count(*) FROM sqlite_schema", &tables_count, err);
    if (rc < 0)
        return rc;
    /* New, or left so by a crash while it was made. */
    if (application == 0 && version == 0 && tables_count == 0 && !journal->base.read_only)
        return create_tables(journal, err);
    if (application != APPLICATION_ID)
        return err_set(err, -EPROTO, "%s: not a journal of mains", journal->base.name);
    if (version != FORMAT_VERSION)
        return err_set(err, -EPROTO,
                       "%s: journal of format %d, this program reads %d: use a later mains",
                       journal->base.name, (int)version, FORMAT_VERSION);
    return check_tables(journal, err);
}

static int prepare_statements(struct journal_sqlite *journal, struct err *err)
{
    for (int i = 0; i < STATEMENTS_COUNT; i++)
        if (sqlite3_prepare_v3(journal->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &journal->statements[i], NULL) != SQLITE_OK)
            return journal_sqlite_fail(journal, "open", err);
    return 0;
}

static int find_last(struct journal_sqlite *journal, struct err *err)
{
    sqlite3_stmt *last = journal->statements[STATEMENT_RECORD_LAST];
    int code = sqlite3_step(last);
    int rc = 0;

    if (code == SQLITE_ROW) {
        const void *hash = sqlite3_column_blob(last, 1);

        journal->base.last_seq = (uint64_t)sqlite3_column_int64(last, 0);
        if (hash && sqlite3_column_bytes(last, 1) == JOURNAL_HASH_BYTES)
            memcpy(journal->base.last_hash, hash, JOURNAL_HASH_BYTES);
        if (sqlite3_column_int64(last, 0) < 1)
            rc = journal_damage(&journal->base, 1, "the sequence does not start at 1", err);
    } else if (code != SQLITE_DONE) {
        rc = journal_sqlite_fail(journal, "open", err);
    }
    sqlite3_reset(last);
    return rc;
}

static int check_newest(struct journal_sqlite *journal, struct err *err)
{
    uint64_t last = journal->base.last_seq;

    return journal_read(&journal->base,
                        last > JOURNAL_OPEN_CHECK_RECORDS ? last - JOURNAL_OPEN_CHECK_RECORDS + 1
                                                          : 1,
                        NULL, NULL, err);
}

static int connect_file(struct journal_sqlite *journal, const char *vfs, struct err *err)
{
    bool read_only = journal->base.read_only;
    int flags = SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    int rc;

    sqlite3_close(journal->db);
    journal->db = NULL;
    if (sqlite3_open_v2(journal->base.name, &journal->db, flags, vfs) != SQLITE_OK)
        return journal_sqlite_fail(journal, "open", err);
    sqlite3_extended_result_codes(journal->db, 1);
    sqlite3_busy_timeout(journal->db, BUSY_WAIT_MS);
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Until all is known to be well: a file that is refused is left as it is. */
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_hook(journal->db, on_commit, journal);
    /* First of all: with this the index of the log is in memory instead of in a shared file. */
    rc = vfs ? run(journal, "PRAGMA locking_mode=EXCLUSIVE", err) : 0;
    if (rc == 0)
        rc = run(journal,
                 "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192",
                 err);
    if (rc == 0 && !read_only)
        rc = run(journal,
                 "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=" TEXT(WAL_KEPT_BYTES), err);
    if (rc == 0) {
        int64_t ignored;

        rc = ask_number(journal, "SELECT count(*) FROM sqlite_schema", &ignored, err);
    }
    return rc;
}

/* Nothing may open and close the file itself beside SQLite: that would drop the locks (POSIX ones,
 * by process and file) of another connection in this process. So stat, and open only what is not
 * there yet. */
static int make_file(const struct journal_open *how, struct err *err)
{
    CLEANUP(freep) char *wal = path_format("%s-wal", how->path);
    CLEANUP(closep) int fd = -1;
    struct stat st = { 0 };
    struct stat wal_st;
    bool absent = stat(how->path, &st) < 0;

    if (!wal)
        return err_set(err, -ENOMEM, "%s: out of memory", how->path);
    if (absent && errno != ENOENT)
        return err_set(err, -errno, "%s: %s", how->path, strerror(errno));
    if (st.st_size == 0 && stat(wal, &wal_st) == 0 && wal_st.st_size > 0)
        return err_set(err, -EBADMSG,
                       "%s: missing or empty, but records may be in %s: put the file back from "
                       "a backup, or move the -wal away to start anew",
                       how->path, wal);
    if (!absent)
        return 0;
    if (!how->create || how->read_only)
        return err_set(err, -ENOENT, "%s: no journal there", how->path);
    fd = open(how->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? err_set(err, -errno, "%s: %s", how->path, strerror(errno)) : 0;
}

static int take_lock(struct journal_sqlite *journal, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s.lock", journal->base.name);

    if (!path)
        return err_set(err, -ENOMEM, "%s: out of memory", journal->base.name);
    return journal_lock_take(path, &journal->lock_fd, err);
}

static int open_file(struct journal_sqlite *journal, const struct journal_open *how,
                     struct err *err)
{
    bool read_only = how->read_only;
    int rc = 0;

    if (!read_only)
        rc = take_lock(journal, err);
    if (rc == 0)
        rc = make_file(how, err);
    if (rc == 0 && !read_only)
        rc = journal_wal_check(journal->base.name, err);
    if (rc < 0)
        return rc;
    rc = connect_file(journal, NULL, err);
    /* In a folder that may not be written there is no place for the shared index of the log. Where
     * nobody writes, none is needed: the log is read into memory. */
    if (read_only && (rc == -EROFS || rc == -EACCES || rc == -EPERM || rc == -ENOENT))
        rc = connect_file(journal, "unix-none", err);
    if (rc == 0)
        rc = check_format(journal, err);
    if (rc == 0)
        rc = prepare_statements(journal, err);
    if (rc == 0)
        rc = find_last(journal, err);
    if (read_only && rc == -EBADMSG && journal->statements[STATEMENTS_COUNT - 1])
        return 0; /* what is whole can still be read, and the reading says where it ends */
    if (rc == 0 && !read_only)
        rc = check_newest(journal, err);
    if (rc == 0 && !read_only)
        rc = run(journal, "PRAGMA journal_mode=WAL", err);
    if (rc == 0 && !read_only)
        sqlite3_db_config(journal->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return rc;
}

int journal_open_sqlite(const struct journal_open *how, struct journal **journal_out,
                        struct err *err)
{
    struct journal_sqlite *journal = calloc(1, sizeof(*journal));
    int rc;

    assert(how->path && how->path[0]);
    if (!journal)
        return err_set(err, -ENOMEM, "%s: out of memory", how->path);
    journal->lock_fd = -1;
    journal->base.ops = &journal_sqlite_ops;
    journal->base.read_only = how->read_only;
    journal->base.name = strdup(how->path);
    rc = journal->base.name ? open_file(journal, how, err)
                            : err_set(err, -ENOMEM, "%s: out of memory", how->path);
    if (rc < 0) {
        journal_sqlite_ops.close(&journal->base);
        return rc;
    }
    *journal_out = &journal->base;
    return 0;
}
