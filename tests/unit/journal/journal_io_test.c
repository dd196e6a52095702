/* Every write and every sync of the disk fails once: nothing is called durable that is not, and the
 * next try goes through. And the power goes at any of them: what was called durable is there, and
 * what it tore is not taken for damage. */
#include "journal_helper.h"

#include "faulty_vfs.h"

static struct journal *open_well(const char *path)
{
    struct journal *journal = NULL;
    struct err err = { 0 };

    if (journal_open_sqlite(&(struct journal_open){ .path = path, .create = true }, &journal,
                            &err) < 0)
        fail_msg("open: %s", err.text);
    return journal;
}

/* The n-th write or sync fails, for every n an append, a checkpoint and a snapshot make. */
static void test_each_call_fails(void **state)
{
    static const struct {
        bool lasting;
        int code;
        int rc;
    } cases[] = {
        { false, SQLITE_IOERR, -EIO },
        { true, SQLITE_IOERR, -EIO },
        { true, SQLITE_FULL, -ENOSPC },
    };
    char *folder = scratch_make();
    CLEANUP(freep) char *path = path_format("%s/j.db", folder);
    struct journal *journal = open_well(path);
    static const char state_bytes[300000];
    int failures = 0;

    (void)state;
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        for (int n = 1; n <= 24; n++) {
            uint64_t before = journal->last_seq;
            struct err err = { 0 };
            int rc;

            faulty_arm(n, cases[c].lasting, cases[c].code);
            rc = records_append(journal, 30, &err);
            if (rc == 0) {
                before += 30;
                journal->ops->maintain(journal, true); /* may fail, and tells nobody */
                rc = journal_snapshot_save(journal, before, state_bytes, sizeof(state_bytes), &err);
            }
            faulty_arm(0, false, 0);
            if (rc < 0) {
                failures++;
                if (rc != cases[c].rc || !strstr(err.text, path))
                    fail_msg("call %d: %d \"%s\"", n, rc, err.text);
            }
            assert_int_equal(journal->last_seq, before);
            assert_int_equal(records_append(journal, 2, NULL), 0);
            if (n % 6 == 0) {
                records_expect(journal, before + 2);
                journal_close(journal);
                journal = open_well(path);
                assert_int_equal(journal->last_seq, before + 2);
            }
        }
    }
    assert_true(failures > 40);
    records_expect(journal, 1);
    journal_close(journal);
    scratch_remove(folder);
}

/* A journal that cannot be made says why, and can be made once the disk is well. */
static void test_creation_fails(void **state)
{
    (void)state;
    for (int n = 1; n <= 30; n++) {
        char *folder = scratch_make();
        CLEANUP(freep) char *path = path_format("%s/j.db", folder);
        struct journal *journal = NULL;
        struct err err = { 0 };
        int rc;

        faulty_arm(n, n % 2, SQLITE_IOERR);
        rc = journal_open_sqlite(&(struct journal_open){ .path = path, .create = true }, &journal,
                                 &err);
        faulty_arm(0, false, 0);
        if (rc < 0 && (rc != -EIO || !strstr(err.text, path)))
            fail_msg("call %d: %d \"%s\"", n, rc, err.text);
        if (rc < 0)
            journal = open_well(path);
        assert_int_equal(records_append(journal, 3, NULL), 0);
        journal_close(journal);
        journal = open_well(path);
        assert_int_equal(records_expect(journal, 3), 3);
        journal_close(journal);
        scratch_remove(folder);
    }
}

/* --- power loss --------------------------------------------------------------------------- */

static void disks_begin(void)
{
    for (int i = 0; i < FAULTY_FILES_MAX; i++)
        faulty.disks[i] = (struct faulty_disk){ .synced = buf_init(FAULTY_FILE_BYTES_MAX),
                                                .now = buf_init(FAULTY_FILE_BYTES_MAX) };
    faulty.keep_disks = true;
}

/* Work until the power goes at the armed call; gives the last record that was called durable. */
static uint64_t work_until_dark(const char *path, struct rng *rng)
{
    struct journal *journal = NULL;
    static char bytes[300000];
    uint64_t durable = 0;

    if (journal_open_sqlite(&(struct journal_open){ .path = path, .create = true }, &journal,
                            NULL) < 0)
        return 0;
    while (faulty.calls < faulty.fail_at) {
        uint64_t what = rng_below(rng, 10);

        if (what == 0)
            journal->ops->maintain(journal, true);
        else if (what == 1)
            (void)journal_snapshot_save(journal, durable, bytes,
                                        (size_t)rng_below(rng, sizeof(bytes)), NULL);
        else if (records_append(journal, 1 + (uint32_t)rng_below(rng, 12), NULL) == 0)
            durable = journal->last_seq;
    }
    for (int i = 0; i < FAULTY_FILES_MAX; i++)
        disk_lose_power(&faulty.disks[i], rng);
    journal_close(journal);
    return durable;
}

static void disks_store(const char *path)
{
    CLEANUP(freep) char *wal = path_format("%s-wal", path);
    CLEANUP(freep) char *shm = path_format("%s-shm", path);

    unlink(shm);
    for (int i = 0; i < FAULTY_FILES_MAX; i++) {
        struct faulty_disk *disk = &faulty.disks[i];

        assert_int_equal(file_write(i ? wal : path, disk->synced.data ? disk->synced.data : "",
                                    disk->synced.len, 0600, false, NULL),
                         0);
        buf_fini(&disk->synced);
        buf_fini(&disk->now);
    }
}

static void test_power_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct rng rng = { seed };
        char *folder = scratch_make();
        CLEANUP(freep) char *path = path_format("%s/j.db", folder);
        struct journal *journal = NULL;
        struct err err = { 0 };
        uint64_t durable;

        disks_begin();
        faulty_arm(12 + (int)rng_below(&rng, 400), true, SQLITE_IOERR);
        durable = work_until_dark(path, &rng);
        faulty.keep_disks = false;
        faulty_arm(0, false, 0);
        disks_store(path);
        if (journal_open_sqlite(&(struct journal_open){ .path = path, .create = true }, &journal,
                                &err) < 0)
            fail_msg("seed %" PRIu64 ": %s", seed, err.text);
        records_expect(journal, durable);
        journal_close(journal);
        scratch_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call_fails),
        cmocka_unit_test(test_creation_fails),
        cmocka_unit_test(test_power_loss),
    };

    faulty_register();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
