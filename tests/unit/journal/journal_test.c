/* One suite, run against every backend: what any journal promises. */
#include "journal_helper.h"

#include <pthread.h>

struct fixture {
    const char *backend;
    char *folder;
    struct journal *journal;
};

static void fixture_open(struct fixture *fixture)
{
    CLEANUP(freep) char *path = path_format("%s/j.db", fixture->folder);
    struct err err = { 0 };
    int rc = strcmp(fixture->backend, "mem") == 0
                 ? journal_open_mem(&fixture->journal, &err)
                 : journal_open_sqlite(&(struct journal_open){ .path = path, .create = true },
                                       &fixture->journal, &err);
    if (rc < 0)
        fail_msg("%s: %s", fixture->backend, err.text);
}

/* What was written is still there in a journal opened anew; mem has only its life. */
static void fixture_reopen(struct fixture *fixture)
{
    if (strcmp(fixture->backend, "mem") == 0)
        return;
    journal_close(fixture->journal);
    fixture_open(fixture);
}

static void check_refusals(struct fixture *fixture)
{
    static const struct journal_blob long_one = { .data = "", .len = JOURNAL_RECORD_BYTES_MAX + 1 };
    struct journal_blob blob = { .data = "x", .len = 1 };
    struct journal *journal = fixture->journal;
    struct err err = { 0 };

    assert_int_equal(journal_append(journal, &blob, 0, &err), -EINVAL);
    assert_int_equal(journal_append(journal, &blob, JOURNAL_GROUP_RECORDS_MAX + 1, &err), -EINVAL);
    assert_int_equal(journal_append(journal, &long_one, 1, &err), -EINVAL);
    assert_int_equal(journal_snapshot_save(journal, 1, "x", 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "the last is 0"));
    assert_int_equal(records_expect(journal, 0), 0);
}

static void check_empty(struct fixture *fixture)
{
    struct records_seen seen = { 0 };
    struct buf out = buf_init(100);
    uint64_t seq = 9;

    assert_int_equal(fixture->journal->last_seq, 0);
    assert_int_equal(records_expect(fixture->journal, 0), 0);
    assert_int_equal(journal_read(fixture->journal, 5, records_see, &seen, NULL), 0);
    assert_int_equal(seen.first, 0);
    assert_int_equal(journal_snapshot_load(fixture->journal, &seq, &out, NULL), -ENOENT);
    assert_int_equal(seq, 9);
    buf_fini(&out);
}

static void check_append(struct fixture *fixture)
{
    static const uint32_t groups[] = { 1, 1, 2, 255, 256, 257, 1000 };
    uint64_t total = 0;

    for (size_t i = 0; i < ARRAY_COUNT(groups); i++) {
        assert_int_equal(records_append(fixture->journal, groups[i], NULL), 0);
        total += groups[i];
        assert_int_equal(fixture->journal->last_seq, total);
        fixture_reopen(fixture);
        assert_int_equal(records_expect(fixture->journal, total), total);
    }
}

static void check_sizes(struct fixture *fixture)
{
    static const uint32_t sizes[] = { 0, 1, 4095, 4096, 65537, JOURNAL_RECORD_BYTES_MAX };
    char *bytes = calloc(1, JOURNAL_RECORD_BYTES_MAX);

    assert_non_null(bytes);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct journal_blob blob = { .data = sizes[i] ? bytes : NULL, .len = sizes[i] };

        assert_int_equal(journal_append(fixture->journal, &blob, 1, NULL), 0);
    }
    free(bytes);
    fixture_reopen(fixture);
    assert_int_equal(journal_verify(fixture->journal, NULL, NULL), 0);
    assert_int_equal(fixture->journal->last_seq, ARRAY_COUNT(sizes));
}

static void check_read_from(struct fixture *fixture)
{
    static const struct {
        uint64_t from, stop_at, first, last;
        int rc;
    } cases[] = {
        { 0, 0, 1, 700, 0 },        { 1, 0, 1, 700, 0 },        { 2, 0, 2, 700, 0 },
        { 256, 257, 256, 257, 77 }, { 700, 0, 700, 700, 0 },    { 701, 0, 0, 0, 0 },
        { 702, 0, 0, 0, 0 },        { UINT64_MAX, 0, 0, 0, 0 },
    };

    assert_int_equal(records_append(fixture->journal, 700, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct records_seen seen = { .stop_at = cases[i].stop_at };
        int rc = journal_read(fixture->journal, cases[i].from, records_see, &seen, NULL);

        if (rc != cases[i].rc || seen.wrong || seen.first != cases[i].first ||
            seen.last != cases[i].last)
            fail_msg("case %zu: rc %d, %" PRIu64 " to %" PRIu64, i, rc, seen.first, seen.last);
    }
}

/* The chain by hand, for three records: anybody can recompute it from the documentation. */
static void check_chain(struct fixture *fixture)
{
    static const uint8_t last[JOURNAL_HASH_BYTES] = { 0x54, 0x1c, 0xbb, 0x68, 0x23, 0x57, 0x64,
                                                      0x20, 0xd5, 0xd3, 0xe3, 0x63, 0x4b, 0x24,
                                                      0xa9, 0x8d, 0xe3, 0xd6, 0x91, 0x14, 0x7e,
                                                      0x7f, 0x48, 0xe6, 0xb1, 0xdd, 0xbd, 0xeb,
                                                      0xed, 0xef, 0x0c, 0x51 };
    static const struct journal_blob blobs[] = { { "a", 1 }, { "", 0 }, { "bc", 2 } };

    assert_int_equal(journal_append(fixture->journal, blobs, 2, NULL), 0);
    assert_int_equal(journal_append(fixture->journal, blobs + 2, 1, NULL), 0);
    fixture_reopen(fixture);
    assert_memory_equal(fixture->journal->last_hash, last, sizeof(last));
}

static void expect_snapshot(struct journal *journal, uint64_t seq, const char *data, size_t len)
{
    struct buf out = buf_init(8 << 20);
    struct err err = { 0 };
    uint64_t found = 0;

    if (journal_snapshot_load(journal, &found, &out, &err) < 0)
        fail_msg("snapshot: %s", err.text);
    assert_int_equal(found, seq);
    assert_int_equal(out.len, len);
    if (len)
        assert_memory_equal(out.data, data, len);
    buf_fini(&out);
}

static void check_snapshots(struct fixture *fixture)
{
    static const size_t sizes[] = {
        3, JOURNAL_SNAPSHOT_PART_BYTES,     3 * JOURNAL_SNAPSHOT_PART_BYTES + 1,
        0, JOURNAL_SNAPSHOT_PART_BYTES - 1, 5 * JOURNAL_SNAPSHOT_PART_BYTES,
        1
    };
    char *data = malloc(6 * JOURNAL_SNAPSHOT_PART_BYTES);
    struct buf tight = buf_init(0);
    uint64_t seq = 0;

    assert_non_null(data);
    assert_int_equal(journal_snapshot_save(fixture->journal, 0, "start", 5, NULL), 0);
    expect_snapshot(fixture->journal, 0, "start", 5);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        memset(data, 'A' + (int)i, sizes[i]);
        assert_int_equal(records_append(fixture->journal, 3, NULL), 0);
        seq = fixture->journal->last_seq - 1;
        assert_int_equal(journal_snapshot_save(fixture->journal, seq, data, sizes[i], NULL), 0);
        fixture_reopen(fixture);
        expect_snapshot(fixture->journal, seq, data, sizes[i]);
    }
    assert_int_equal(journal_snapshot_save(fixture->journal, seq, "again", 5, NULL), 0);
    expect_snapshot(fixture->journal, seq, "again", 5);
    assert_true(journal_snapshot_load(fixture->journal, &seq, &tight, NULL) < 0);
    records_expect(fixture->journal, 21);
    buf_fini(&tight);
    free(data);
}

/* --- the writer --------------------------------------------------------------------------- */

struct durable {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t seq;
    int failures;
    bool backwards;
};

static void on_done(void *context, uint64_t durable_seq, int rc, const char *reason)
{
    struct durable *durable = context;

    pthread_mutex_lock(&durable->mutex);
    if (rc < 0 && (!reason || !reason[0]))
        durable->backwards = true;
    durable->failures += rc < 0;
    durable->backwards = durable->backwards || durable_seq < durable->seq;
    durable->seq = durable_seq;
    pthread_cond_broadcast(&durable->changed);
    pthread_mutex_unlock(&durable->mutex);
}

static void durable_wait(struct durable *durable, uint64_t seq, int failures)
{
    pthread_mutex_lock(&durable->mutex);
    while (durable->seq < seq || durable->failures < failures)
        pthread_cond_wait(&durable->changed, &durable->mutex);
    pthread_mutex_unlock(&durable->mutex);
}

#define DURABLE_INIT                                                                               \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, false                           \
    }

/* Records whose bytes go with their place in the queue: callers take turns, as a controller's one
 * loop does. */
static void writer_add(struct journal_writer *writer, uint64_t seq)
{
    char bytes[RECORD_BYTES_MAX];
    uint64_t got = 0;

    assert_int_equal(journal_writer_append(writer, bytes, record_make(seq, bytes), &got, NULL), 0);
    assert_int_equal(got, seq);
}

static void check_writer(struct fixture *fixture)
{
    struct durable durable = DURABLE_INIT;
    struct journal_writer *writer = NULL;
    uint64_t seq = 0;

    assert_int_equal(journal_writer_start(fixture->journal, on_done, &durable, &writer, NULL), 0);
    assert_int_equal(journal_writer_append(writer, "", JOURNAL_RECORD_BYTES_MAX + 1, &seq, NULL),
                     -EINVAL);
    for (uint64_t i = 1; i <= 3; i++) { /* one at a time: a lone record never waits for others */
        writer_add(writer, i);
        durable_wait(&durable, i, 0);
        assert_true(journal_writer_durable(writer) >= i);
    }
    for (uint64_t i = 4; i <= 10000; i++)
        writer_add(writer, i);
    durable_wait(&durable, 5000, 0);
    journal_writer_stop(writer);
    assert_int_equal(durable.seq, 10000);
    assert_false(durable.backwards);
    fixture_reopen(fixture);
    assert_int_equal(records_expect(fixture->journal, 10000), 10000);
}

struct many {
    struct journal_writer *writer;
    struct durable *durable;
    int wrong;
};

static void *many_run(void *context)
{
    struct many *many = context;
    uint64_t seq = 0;

    for (int i = 0; i < 500; i++) {
        uint64_t before = seq;

        if (journal_writer_append(many->writer, &i, sizeof(i), &seq, NULL) < 0 || seq <= before)
            many->wrong++;
        if (i % 100 == 0)
            durable_wait(many->durable, seq, 0);
    }
    return NULL;
}

static void check_writer_threads(struct fixture *fixture)
{
    struct durable durable = DURABLE_INIT;
    struct many many = { .durable = &durable };
    pthread_t threads[8];

    assert_int_equal(journal_writer_start(fixture->journal, on_done, &durable, &many.writer, NULL),
                     0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_run, &many), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    journal_writer_stop(many.writer);
    assert_int_equal(many.wrong, 0);
    assert_int_equal(durable.seq, 4000);
    fixture_reopen(fixture);
    assert_int_equal(journal_verify(fixture->journal, NULL, NULL), 0);
    assert_int_equal(fixture->journal->last_seq, 4000);
}

static void check_writer_snapshot(struct fixture *fixture)
{
    struct durable durable = DURABLE_INIT;
    struct journal_writer *writer = NULL;
    size_t len = 5 * JOURNAL_SNAPSHOT_PART_BYTES + 7;
    char *data = malloc(len);
    char *expected = malloc(len);

    assert_non_null(data);
    assert_non_null(expected);
    memset(data, 's', len);
    memset(expected, 's', len);
    assert_int_equal(journal_writer_start(fixture->journal, on_done, &durable, &writer, NULL), 0);
    assert_int_equal(journal_writer_snapshot(writer, 1, strdup("early"), 5), -EINVAL);
    for (uint64_t i = 1; i <= 100; i++)
        writer_add(writer, i);
    assert_int_equal(journal_writer_snapshot(writer, 100, data, len), 0);
    for (uint64_t i = 101; i <= 2000; i++)
        writer_add(writer, i);
    journal_writer_stop(writer);
    fixture_reopen(fixture);
    assert_int_equal(records_expect(fixture->journal, 2000), 2000);
    expect_snapshot(fixture->journal, 100, expected, len);
    free(expected);
}

static const struct {
    const char *name;
    void (*run)(struct fixture *fixture);
} checks[] = {
    { "refusals", check_refusals },
    { "empty", check_empty },
    { "append", check_append },
    { "sizes", check_sizes },
    { "read from", check_read_from },
    { "chain", check_chain },
    { "snapshots", check_snapshots },
    { "writer", check_writer },
    { "writer threads", check_writer_threads },
    { "writer snapshot", check_writer_snapshot },
};

static void run_suite(const char *backend)
{
    for (size_t i = 0; i < ARRAY_COUNT(checks); i++) {
        struct fixture fixture = { .backend = backend, .folder = scratch_make() };

        print_message("# %s: %s\n", backend, checks[i].name);
        fixture_open(&fixture);
        checks[i].run(&fixture);
        journal_close(fixture.journal);
        scratch_remove(fixture.folder);
    }
}

static void test_mem(void **state)
{
    (void)state;
    run_suite("mem");
}

static void test_sqlite(void **state)
{
    (void)state;
    run_suite("sqlite");
}

/* --- what the mem backend adds: faults on order, to see the writer keep and retry ------------- */

static void test_writer_retries(void **state)
{
    struct durable durable = DURABLE_INIT;
    struct journal_writer *writer = NULL;
    struct journal *journal = NULL;

    (void)state;
    assert_int_equal(journal_open_mem(&journal, NULL), 0);
    assert_int_equal(journal_writer_start(journal, on_done, &durable, &writer, NULL), 0);
    writer_add(writer, 1);
    durable_wait(&durable, 1, 0);

    journal_mem_set_fault(journal, -ENOSPC);
    for (uint64_t i = 2; i <= 20; i++)
        writer_add(writer, i);
    durable_wait(&durable, 1, 1);
    assert_int_equal(journal_writer_durable(writer), 1);
    journal_mem_set_fault(journal, 0);
    durable_wait(&durable, 20, 1);
    assert_int_equal(records_expect(journal, 20), 20);

    /* Stopped while it cannot write: says so, and what was durable stays. */
    journal_mem_set_fault(journal, -EIO);
    writer_add(writer, 21);
    journal_writer_stop(writer);
    assert_int_equal(durable.seq, 20);
    assert_true(durable.failures >= 2);
    assert_false(durable.backwards);
    assert_int_equal(records_expect(journal, 20), 20);
    journal_close(journal);
}

static void test_writer_backlog(void **state)
{
    struct durable durable = DURABLE_INIT;
    struct journal_writer *writer = NULL;
    struct journal *journal = NULL;
    char *bytes = calloc(1, JOURNAL_RECORD_BYTES_MAX);
    struct err err = { 0 };
    uint64_t seq = 0;
    int rc = 0;

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(journal_open_mem(&journal, NULL), 0);
    journal_mem_set_fault(journal, -ENOSPC);
    assert_int_equal(journal_writer_start(journal, on_done, &durable, &writer, NULL), 0);
    for (int i = 0; i < 100 && rc == 0; i++)
        rc = journal_writer_append(writer, bytes, JOURNAL_RECORD_BYTES_MAX, &seq, &err);
    assert_int_equal(rc, -ENOBUFS);
    assert_true(seq >= 60 && seq <= 64);
    journal_writer_stop(writer);
    assert_int_equal(journal->last_seq, 0);
    journal_close(journal);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem),
        cmocka_unit_test(test_sqlite),
        cmocka_unit_test(test_writer_retries),
        cmocka_unit_test(test_writer_backlog),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
