/* What real faults do to a journal file: torn logs, flipped bytes, kill -9, a full disk, a
 * read-only folder, other people's files. What was answered is there, or the file is refused and
 * left alone. */
#include "journal_helper.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/rng.h"

static int open_at(const char *path, bool read_only, struct journal **journal_out, struct err *err)
{
    return journal_open_sqlite(
        &(struct journal_open){ .path = path, .create = !read_only, .read_only = read_only },
        journal_out, err);
}

static struct journal *open_well(const char *path, bool read_only)
{
    struct journal *journal = NULL;
    struct err err = { 0 };

    if (open_at(path, read_only, &journal, &err) < 0)
        fail_msg("open: %s", err.text);
    return journal;
}

/* Refused with `rc` and a line that has `text` in it. */
static void expect_refused(const char *path, bool read_only, int rc, const char *text)
{
    struct journal *journal = NULL;
    struct err err = { 0 };
    int got = open_at(path, read_only, &journal, &err);

    if (got == 0)
        journal_close(journal);
    if (got != rc || !strstr(err.text, text))
        fail_msg("wanted %d \"%s\", got %d \"%s\"", rc, text, got, err.text);
}

static void load(const char *path, struct buf *out)
{
    struct err err = { 0 };

    buf_clear(out);
    if (file_read(path, out, &err) < 0)
        fail_msg("%s", err.text);
}

static void store(const char *path, const void *data, size_t len)
{
    assert_int_equal(file_write(path, data, len, 0600, false, NULL), 0);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A closed journal of `count` records at `path`. */
static void make_journal(const char *path, uint32_t count)
{
    struct journal *journal = open_well(path, false);

    assert_int_equal(records_append(journal, count, NULL), 0);
    journal_close(journal);
}

/* --- files that are none of ours ---------------------------------------------------------- */

static void test_refusals(void **state)
{
    static const struct {
        const char *sql; /* run on a good journal; NULL: `text` is the file instead */
        const char *text;
        int rc;
        const char *says;
    } cases[] = {
        { NULL,
          "not a database at all, but long enough to have a header of one. .............."
          "........................................................................",
          -EBADMSG, "not a database" },
        { "PRAGMA application_id=7", NULL, -EPROTO, "not a journal of mains" },
        { "PRAGMA user_version=2", NULL, -EPROTO, "use a later mains" },
        { "CREATE TABLE zebra(x)", NULL, -EPROTO, "not those of a journal" },
        { "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END", NULL, -EPROTO,
          "not those of a journal" },
        { "DROP TABLE records; CREATE VIEW records AS SELECT 1 AS seq, 2 AS data, 3 AS hash", NULL,
          -EPROTO, "not those of a journal" },
        { "DELETE FROM records WHERE seq=7", NULL, -EBADMSG,
          "record 7 is damaged (it is missing)" },
        { "DELETE FROM records WHERE seq<3", NULL, -EBADMSG, "record 1 is damaged" },
        { "UPDATE records SET data=x'00' WHERE seq=9", NULL, -EBADMSG, "record 9 is damaged" },
        { "UPDATE records SET hash=x'00' WHERE seq=20", NULL, -EBADMSG, "record 20 is damaged" },
        { "UPDATE records SET seq=-1 WHERE seq=1", NULL, -EBADMSG, "record 1 is damaged" },
    };
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(freep) char *wal = path_format("%s/j.db-wal", folder);
    CLEANUP(freep) char *nowhere = path_format("%s/none/j.db", folder);

    (void)state;
    expect_refused(path, true, -ENOENT, "no journal there");
    expect_refused(nowhere, false, -ENOENT, nowhere);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CLEANUP(buf_fini) struct buf before = buf_init(1 << 20);
        CLEANUP(buf_fini) struct buf after = buf_init(1 << 20);

        unlink(path);
        if (cases[i].sql) {
            make_journal(path, 20);
            run_sql(path, cases[i].sql);
        } else {
            store(path, cases[i].text, strlen(cases[i].text));
        }
        load(path, &before);
        expect_refused(path, false, cases[i].rc, cases[i].says);
        load(path, &after);
        if (before.len != after.len || memcmp(before.data, after.data, before.len) != 0)
            fail_msg("case %zu: the file was changed", i);
        unlink(wal);
    }
    unlink(path);
    store(wal, "records?", 8);
    expect_refused(path, false, -EBADMSG, "missing or empty");
    scratch_remove(folder);
}

/* A database in another journal mode is not converted before it is known to be ours. */
static void test_foreign_database(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/other.db", folder);
    CLEANUP(buf_fini) struct buf before = buf_init(1 << 20);
    CLEANUP(buf_fini) struct buf after = buf_init(1 << 20);

    (void)state;
    run_sql(path, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES('keep me')");
    load(path, &before);
    expect_refused(path, false, -EPROTO, "not a journal of mains");
    load(path, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    scratch_remove(folder);
}

/* --- one at a time ------------------------------------------------------------------------ */

static void test_busy(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(freep) char *by = path_format("held by process %d", (int)getpid());
    struct journal *journal = open_well(path, false);
    struct journal *reader = NULL;
    struct records_seen seen = { 0 };
    struct journal_blob blob = { "x", 1 };

    (void)state;
    expect_refused(path, false, -EBUSY, by);
    assert_int_equal(records_append(journal, 300, NULL), 0);

    /* A reader beside the writer, in the same process: neither disturbs the other. */
    reader = open_well(path, true);
    assert_int_equal(records_expect(reader, 300), 300);
    assert_int_equal(journal_append(reader, &blob, 1, NULL), -EROFS);
    assert_int_equal(records_append(journal, 300, NULL), 0);
    assert_int_equal(journal_read(reader, 301, records_see, &seen, NULL), 0);
    assert_int_equal(seen.first, 301);
    assert_int_equal(seen.last, 600);
    assert_int_equal(reader->last_seq, 600);
    assert_int_equal(records_append(journal, 5, NULL), 0);
    assert_int_equal(journal_read(reader, 604, records_see, &seen, NULL), 0);
    assert_int_equal(seen.last, 605);
    journal_close(reader);
    expect_refused(path, false, -EBUSY, by);
    assert_int_equal(records_append(journal, 5, NULL), 0);
    journal_close(journal);
    journal = open_well(path, false);
    assert_int_equal(records_expect(journal, 610), 610);
    journal_close(journal);
    scratch_remove(folder);
}

/* --- the write-ahead log ------------------------------------------------------------------ */

#define TORN_GROUPS 12

struct torn {
    char *folder, *path, *wal;
    struct buf db, log;                 /* as a crash left them */
    size_t log_bytes[TORN_GROUPS + 1];  /* of the log after each group */
    uint64_t last_seq[TORN_GROUPS + 1]; /* durable then */
};

static size_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

static void torn_make(struct torn *torn)
{
    struct journal *journal;

    torn->folder = scratch_make();
    torn->path = path_format("%s/j.db", torn->folder);
    torn->wal = path_format("%s/j.db-wal", torn->folder);
    torn->db = buf_init(4 << 20);
    torn->log = buf_init(4 << 20);
    journal = open_well(torn->path, false);
    torn->log_bytes[0] = 0;
    torn->last_seq[0] = 0;
    for (uint32_t i = 1; i <= TORN_GROUPS; i++) {
        assert_int_equal(records_append(journal, 1 + i * 7 % 5, NULL), 0);
        torn->log_bytes[i] = size_of(torn->wal);
        torn->last_seq[i] = journal->last_seq;
    }
    load(torn->path, &torn->db);
    load(torn->wal, &torn->log);
    journal_close(journal);
}

static void torn_restore(const struct torn *torn, size_t log_bytes)
{
    CLEANUP(freep) char *shm = path_format("%s-shm", torn->path);

    unlink(shm);
    store(torn->path, torn->db.data, torn->db.len);
    store(torn->wal, torn->log.data, log_bytes);
}

static void torn_fini(struct torn *torn)
{
    buf_fini(&torn->db);
    buf_fini(&torn->log);
    free(torn->path);
    free(torn->wal);
    scratch_remove(torn->folder);
}

static void torn_try(const struct torn *torn, size_t log_bytes)
{
    struct journal *journal;
    uint64_t expected = 0;

    for (int i = 0; i <= TORN_GROUPS; i++)
        if (torn->log_bytes[i] <= log_bytes)
            expected = torn->last_seq[i];
    torn_restore(torn, log_bytes);
    journal = open_well(torn->path, false);
    if (journal->last_seq != expected)
        fail_msg("log cut at %zu: last %" PRIu64 ", not %" PRIu64, log_bytes, journal->last_seq,
                 expected);
    records_expect(journal, expected);
    assert_int_equal(records_append(journal, 3, NULL), 0);
    records_expect(journal, expected + 3);
    journal_close(journal);
}

/* Cut at, before and after the end of every commit, and at places within frames. */
static void test_torn_log(void **state)
{
    static const size_t first_cuts[] = { 0, 1, 31, 32, 33, 55, 56, 57 };
    struct torn torn;

    (void)state;
    torn_make(&torn);
    for (size_t i = 0; i < ARRAY_COUNT(first_cuts); i++)
        torn_try(&torn, first_cuts[i]);
    for (int i = 1; i <= TORN_GROUPS; i++) {
        torn_try(&torn, torn.log_bytes[i] - 1);
        torn_try(&torn, torn.log_bytes[i]);
    }
    for (size_t cut = 100; cut < torn.log.len; cut += 14009)
        torn_try(&torn, cut);
    torn_fini(&torn);
}

/* A flipped byte in the log: in its last commit it looks like a torn one, before that it is damage
 * to what was answered, and the file is left alone. */
static void test_flipped_log(void **state)
{
    struct torn torn;

    (void)state;
    torn_make(&torn);
    for (size_t at = 0; at < torn.log.len; at += at < 60 ? 3 : 2777) {
        /* Where the last commit but one ends there are frames after the flip to tell by. */
        bool told = at < torn.log_bytes[TORN_GROUPS - 1];
        CLEANUP(buf_fini) struct buf after = buf_init(4 << 20);
        struct journal *journal = NULL;
        struct err err = { 0 };
        int rc;

        torn.log.data[at] ^= 0x10;
        torn_restore(&torn, torn.log.len);
        rc = open_at(torn.path, false, &journal, &err);
        if (rc == 0) {
            if (told)
                fail_msg("flip at %zu: went unseen, last %" PRIu64, at, journal->last_seq);
            records_expect(journal, torn.last_seq[TORN_GROUPS - 1]);
            journal_close(journal);
        } else {
            if (rc != -EBADMSG || !strstr(err.text, "-wal: ") || !strstr(err.text, "damaged"))
                fail_msg("flip at %zu: %d %s", at, rc, err.text);
            load(torn.wal, &after);
            assert_int_equal(after.len, torn.log.len);
            assert_memory_equal(after.data, torn.log.data, after.len);
            /* What is whole can be read, and verify says that there was more. */
            journal = open_well(torn.path, true);
            assert_int_equal(journal_verify(journal, NULL, &err), -EBADMSG);
            assert_non_null(strstr(err.text, "-wal: "));
            journal_close(journal);
        }
        torn.log.data[at] ^= 0x10;
    }
    torn_fini(&torn);
}

/* --- damaged pages ------------------------------------------------------------------------ */

/* What can be read of a damaged file is right, and it opens for writing only with all of it. Gives
 * whether it was refused. */
static bool flipped_try(const char *path, size_t at)
{
    struct records_seen seen = { 0 };
    struct journal *journal = NULL;
    struct err err = { 0 };

    if (open_at(path, true, &journal, &err) == 0) {
        journal_read(journal, 1, records_see, &seen, NULL);
        if (seen.wrong)
            fail_msg("flip at %zu: a wrong record was read", at);
        journal_close(journal);
    }
    if (open_at(path, false, &journal, &err) < 0) {
        if (!strstr(err.text, "j.db"))
            fail_msg("flip at %zu: \"%s\" does not name the file", at, err.text);
        return true;
    }
    seen = (struct records_seen){ 0 };
    if (journal_read(journal, 1, records_see, &seen, &err) < 0 || seen.last != 200 || seen.wrong)
        fail_msg("flip at %zu: opened, but only %" PRIu64 " records", at, seen.last);
    journal_close(journal);
    return false;
}

/* Flip bytes all over the file: the header and the tables' roots, then anywhere. */
static void test_flipped_pages(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(freep) char *wal = path_format("%s/j.db-wal", folder);
    CLEANUP(buf_fini) struct buf good = buf_init(4 << 20);
    struct rng rng = { 4242 };
    int refused = 0;

    (void)state;
    make_journal(path, 200);
    load(path, &good);
    for (int i = 0; i < 100; i++) {
        size_t at = i < 30 ? (size_t)i * 4 : (size_t)rng_below(&rng, good.len);
        char flip = (char)(1 << rng_below(&rng, 8));

        good.data[at] ^= flip;
        store(path, good.data, good.len);
        unlink(wal);
        refused += flipped_try(path, at);
        good.data[at] ^= flip;
    }
    assert_true(refused > 30);
    scratch_remove(folder);
}

static size_t find_bytes(const struct buf *file, const char *bytes, size_t len)
{
    const char *found = memmem(file->data, file->len, bytes, len);

    assert_non_null(found);
    return (size_t)(found - file->data);
}

static void test_damage_named(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(buf_fini) struct buf file = buf_init(4 << 20);
    struct records_seen seen = { 0 };
    char bytes[RECORD_BYTES_MAX];
    uint32_t len = record_make(123, bytes);
    struct err err = { 0 };
    uint64_t whole = 0;
    struct journal *journal;

    (void)state;
    make_journal(path, 500);
    load(path, &file);
    file.data[find_bytes(&file, bytes, len) + len / 2] ^= 1;
    store(path, file.data, file.len);
    expect_refused(path, false, -EBADMSG, "j.db: record 123 is damaged");
    expect_refused(path, false, -EBADMSG, "mains journal export");

    journal = open_well(path, true);
    assert_int_equal(journal_verify(journal, &whole, &err), -EBADMSG);
    assert_int_equal(whole, 122);
    assert_non_null(strstr(err.text, "record 123 is damaged"));
    assert_int_equal(journal_read(journal, 1, records_see, &seen, &err), -EBADMSG);
    assert_int_equal(seen.last, 122);
    assert_false(seen.wrong);
    /* Past the damage the chain goes on from the hash that is stored. */
    seen = (struct records_seen){ 0 };
    assert_int_equal(journal_read(journal, 124, records_see, &seen, &err), 0);
    assert_int_equal(seen.first, 124);
    assert_int_equal(seen.last, 500);
    journal_close(journal);
    scratch_remove(folder);
}

static void test_damaged_snapshot(void **state)
{
    static const char older[] = "the snapshot before: OLDER-OLDER-OLDER";
    static const char newer[] = "the newest snapshot: NEWER-NEWER-NEWER";
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(buf_fini) struct buf file = buf_init(4 << 20);
    CLEANUP(buf_fini) struct buf out = buf_init(1000);
    struct journal *journal = open_well(path, false);
    struct err err = { 0 };
    uint64_t seq = 0;

    (void)state;
    assert_int_equal(records_append(journal, 20, NULL), 0);
    assert_int_equal(journal_snapshot_save(journal, 10, older, sizeof(older), NULL), 0);
    assert_int_equal(journal_snapshot_save(journal, 20, newer, sizeof(newer), NULL), 0);
    journal_close(journal);

    load(path, &file);
    file.data[find_bytes(&file, newer, sizeof(newer)) + 5] ^= 1;
    store(path, file.data, file.len);
    journal = open_well(path, false);
    assert_int_equal(journal_snapshot_load(journal, &seq, &out, NULL), 0);
    assert_int_equal(seq, 10);
    assert_int_equal(out.len, sizeof(older));
    assert_memory_equal(out.data, older, sizeof(older));
    journal_close(journal);

    file.data[find_bytes(&file, older, sizeof(older)) + 5] ^= 1;
    store(path, file.data, file.len);
    journal = open_well(path, false);
    buf_clear(&out);
    assert_int_equal(journal_snapshot_load(journal, &seq, &out, &err), -ENOENT);
    assert_int_equal(out.len, 0);
    assert_non_null(strstr(err.text, "damaged"));
    assert_int_equal(records_expect(journal, 20), 20);
    journal_close(journal);
    scratch_remove(folder);
}

/* --- kill -9 ------------------------------------------------------------------------------ */

static void tell_durable(void *context, uint64_t durable_seq, int rc, const char *reason)
{
    int fd = *(int *)context;

    (void)reason;
    if (rc == 0 && write(fd, &durable_seq, sizeof(durable_seq)) != sizeof(durable_seq))
        _exit(2);
}

/* The child: append until killed, telling through the pipe what is durable. */
static void append_for_ever(const char *path, int fd)
{
    struct journal_writer *writer = NULL;
    struct journal *journal = NULL;
    char bytes[RECORD_BYTES_MAX];
    uint64_t seq = 0;

    if (open_at(path, false, &journal, NULL) < 0 ||
        journal_writer_start(journal, tell_durable, &fd, &writer, NULL) < 0)
        _exit(3);
    seq = journal->last_seq;
    for (;;) {
        if (seq - journal_writer_durable(writer) > 40) {
            sched_yield();
            continue;
        }
        if (journal_writer_append(writer, bytes, record_make(seq + 1, bytes), &seq, NULL) < 0)
            _exit(4);
        if (seq % 500 == 0)
            journal_writer_snapshot(writer, seq, calloc(1, 300000), 300000);
    }
}

static void test_kill(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    struct rng rng = { 99 };
    uint64_t told = 0;

    (void)state;
    for (int round = 0; round < 12; round++) {
        struct journal *journal;
        int ends[2];
        uint64_t more;
        int status;
        pid_t child;

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            append_for_ever(path, ends[1]);
        }
        close(ends[1]);
        more = 1 + rng_below(&rng, 20); /* groups seen before the end */
        for (uint64_t seq; more && read(ends[0], &seq, sizeof(seq)) == sizeof(seq); more--)
            told = seq;
        usleep((useconds_t)rng_below(&rng, 3000));
        kill(child, SIGKILL);
        for (uint64_t seq; read(ends[0], &seq, sizeof(seq)) == sizeof(seq);)
            told = seq;
        close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));

        journal = open_well(path, false);
        told = records_expect(journal, told);
        journal_close(journal);
    }
    assert_true(told > 0);
    scratch_remove(folder);
}

/* --- disks -------------------------------------------------------------------------------- */

/* A tmpfs of 1 MiB on `folder`, seen by this process alone. */
static bool mount_small(const char *folder)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", folder, "tmpfs", 0, "size=1m") < 0) {
        print_message("# skipped: a small tmpfs cannot be mounted here: %s\n", strerror(errno));
        return false;
    }
    return true;
}

struct full {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t durable_seq;
    int rc;
    char reason[256];
};

static void on_full(void *context, uint64_t durable_seq, int rc, const char *reason)
{
    struct full *full = context;

    pthread_mutex_lock(&full->mutex);
    full->durable_seq = durable_seq;
    full->rc = rc;
    snprintf(full->reason, sizeof(full->reason), "%s", reason ? reason : "");
    pthread_cond_signal(&full->changed);
    pthread_mutex_unlock(&full->mutex);
}

static bool full_failing(struct full *full)
{
    bool failing;

    pthread_mutex_lock(&full->mutex);
    failing = full->rc < 0;
    pthread_mutex_unlock(&full->mutex);
    return failing;
}

static void full_wait(struct full *full, uint64_t seq)
{
    pthread_mutex_lock(&full->mutex);
    while (full->durable_seq < seq)
        pthread_cond_wait(&full->changed, &full->mutex);
    pthread_mutex_unlock(&full->mutex);
}

static void fill_disk(const char *path)
{
    char bytes[4096] = { 0 };
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    close(fd);
}

/* The disk fills up under the writer: it says so and keeps what waits; once there is room, all of
 * it is written. */
static void test_full_disk(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(freep) char *ballast = path_format("%s/ballast", folder);
    struct full full = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, "" };
    struct journal_writer *writer = NULL;
    struct journal *journal;
    struct err err = { 0 };
    char bytes[RECORD_BYTES_MAX];
    uint64_t seq = 0;
    uint64_t last;

    (void)state;
    if (!mount_small(folder)) {
        scratch_remove(folder);
        skip();
    }
    fill_disk(ballast);
    expect_refused(path, false, -ENOSPC, "disk is full");
    assert_int_equal(truncate(ballast, 400 << 10), 0);

    journal = open_well(path, false);
    assert_int_equal(journal_writer_start(journal, on_full, &full, &writer, NULL), 0);
    while (!full_failing(&full)) {
        assert_int_equal(
            journal_writer_append(writer, bytes, record_make(seq + 1, bytes), &seq, NULL), 0);
        if (seq % 20 == 0)
            usleep(1000);
    }
    assert_int_equal(full.rc, -ENOSPC);
    assert_non_null(strstr(full.reason, "the disk is full"));
    assert_true(full.durable_seq > 0 && full.durable_seq < seq);

    assert_int_equal(truncate(ballast, 0), 0);
    full_wait(&full, seq);
    journal_writer_stop(writer);
    assert_int_equal(records_expect(journal, seq), seq);

    /* Full again, without a writer: all or none of a group, and nothing of it later. */
    fill_disk(ballast);
    while (records_append(journal, 20, &err) == 0)
        ;
    assert_non_null(strstr(err.text, "the disk is full"));
    last = journal->last_seq;
    journal_close(journal);
    assert_int_equal(truncate(ballast, 0), 0);
    journal = open_well(path, false);
    assert_int_equal(records_expect(journal, last), last);
    journal_close(journal);
    assert_int_equal(umount(folder), 0);
    scratch_remove(folder);
}

/* In a folder that cannot be written a journal is refused in plain words, and can still be read,
 * with the log a crash left. */
static void test_read_only_folder(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    CLEANUP(freep) char *nothing = path_format("%s/new.db", folder);
    struct torn torn;
    struct journal *journal;

    (void)state;
    if (!mount_small(folder)) {
        scratch_remove(folder);
        skip();
    }
    torn_make(&torn);
    torn_restore(&torn, torn.log.len);
    {
        CLEANUP(freep) char *wal = path_format("%s-wal", path);

        store(path, torn.db.data, torn.db.len);
        store(wal, torn.log.data, torn.log.len);
    }
    assert_int_equal(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    expect_refused(path, false, -EROFS, "cannot be written (Read-only file system)");
    expect_refused(nothing, false, -EROFS, "this user may write");
    expect_refused(nothing, true, -ENOENT, "no journal there");
    journal = open_well(path, true);
    assert_int_equal(records_expect(journal, torn.last_seq[TORN_GROUPS]),
                     torn.last_seq[TORN_GROUPS]);
    journal_close(journal);
    assert_int_equal(umount(folder), 0);
    torn_fini(&torn);
    scratch_remove(folder);
}

/* A folder of somebody else: as nobody, where this runs as root. */
static void test_folder_of_another(void **state)
{
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(chmod(folder, 0555), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct journal *journal = NULL;
        struct err err = { 0 };

        if (geteuid() == 0 && setuid(65534) < 0)
            _exit(2);
        if (open_at(path, false, &journal, &err) != -EACCES)
            _exit(3);
        _exit(strstr(err.text, "cannot be written (Permission denied)") ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_foreign_database),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_torn_log),
        cmocka_unit_test(test_flipped_log),
        cmocka_unit_test(test_flipped_pages),
        cmocka_unit_test(test_damage_named),
        cmocka_unit_test(test_damaged_snapshot),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_read_only_folder),
        cmocka_unit_test(test_folder_of_another),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
