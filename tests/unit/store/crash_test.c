/* the end of the process before each change of the disk in turn: what roots hold is whole, nothing
 * damaged is in the store, and doing it again succeeds */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

struct crash {
    int64_t left; /* steps until the end; < 0: never */
    int64_t steps;
};

static int count_step(void *context, const char *name)
{
    struct crash *crash = context;

    (void)name;
    crash->steps++;
    return crash->left-- == 0 ? -EIO : 0;
}

static struct store *open_counted(const char *folder, struct crash *crash)
{
    struct store_params params = store_params_default();

    params.sync = false; /* what syncs promise is made by hand: see lose_tmp */
    params.step = count_step;
    params.step_context = crash;
    return scratch_open(scratch_path(folder, "s"), &params);
}

/* What was not synced may be cut anywhere after a power loss. */
static void lose_tmp(const char *folder, struct rng *rng)
{
    DIR *dir = opendir(scratch_path(folder, "s/tmp"));
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char name[300];
        struct stat st;

        snprintf(name, sizeof(name), "s/tmp/%s", entry->d_name);
        /* What has another name already was synced before it got that. */
        if (stat(scratch_path(folder, name), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
            assert_int_equal(truncate(scratch_path(folder, name),
                                      (off_t)rng_below(rng, (uint64_t)st.st_size + 1)),
                             0);
    }
    closedir(dir);
}

static void check_nothing_is_damaged(struct store *store)
{
    static const char *const roots[] = { "old", "new" };
    struct chunk_list bad;
    struct store_id id;
    struct err err;
    int64_t until;
    int held = 0;

    if (store_verify(store, NULL, &bad, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(bad.count, 0);
    for (size_t i = 0; i < ARRAY_COUNT(roots); i++) {
        if (store_root_find(store, roots[i], &id, &until, &err) == -ENOENT)
            continue;
        held++;
        if (store_verify(store, &id, &bad, &err) < 0)
            fail_msg("root %s: %s", roots[i], err.text);
        assert_int_equal(bad.count, 0);
    }
    assert_true(held >= 1); /* at no time was there none */
}

/* A new version comes, the old one leaves. */
static int exchange(struct store *store, const char *folder, struct err *err)
{
    const struct store_gc_params gc = { .now_ms = 1, .bytes_max = 0 };
    struct store_id id;
    int rc = store_put(store, AT_FDCWD, scratch_path(folder, "v2"), &id, NULL, err);

    if (rc == 0)
        rc = store_root_set(store, "new", &id, 0, err);
    if (rc == 0) {
        rc = store_root_remove(store, "old", err);
        rc = rc == -ENOENT ? 0 : rc;
    }
    return rc < 0 ? rc : store_gc(store, &gc, NULL, err);
}

static void prepare(const char *folder)
{
    struct crash never = { .left = -1 };
    CLEANUP(store_closep) struct store *store = NULL;
    struct store_id id;

    assert_int_equal(dir_remove(scratch_path(folder, "s"), NULL), 0);
    assert_int_equal(dir_remove(scratch_path(folder, "out"), NULL), 0);
    store = open_counted(folder, &never);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(folder, "v1"), &id, NULL, NULL), 0);
    assert_int_equal(store_root_set(store, "old", &id, 0, NULL), 0);
}

static void test_store_ends_before_each_step(void **state)
{
    const char *folder = *state;
    size_t len = 1500000;
    CLEANUP(freep) uint8_t *data = malloc(len);
    struct rng rng = { .state = 11 };

    scratch_fill(data, len, 1);
    scratch_write(scratch_path(folder, "v1"), data, len);
    scratch_fill(data + len / 2, len / 2, 2);
    scratch_write(scratch_path(folder, "v2"), data, len);
    for (int64_t stop = 0;; stop++) {
        struct crash crash = { .left = -1 };
        struct store *store;
        struct store_id id;
        struct err err;
        int64_t until;
        int rc;

        prepare(folder);
        store = open_counted(folder, &crash);
        crash = (struct crash){ .left = stop };
        rc = exchange(store, folder, &err);
        store_close(store);
        lose_tmp(folder, &rng);
        crash.left = -1;
        store = open_counted(folder, &crash);
        check_nothing_is_damaged(store);
        if (exchange(store, folder, &err) < 0)
            fail_msg("again after step %d: %s", (int)stop, err.text);
        check_nothing_is_damaged(store);
        assert_int_equal(store_root_find(store, "new", &id, &until, NULL), 0);
        assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(folder, "out"), NULL), 0);
        scratch_same(scratch_path(folder, "v2"), scratch_path(folder, "out/v2"));
        store_close(store);
        if (rc == 0) {
            assert_true(stop > 20);
            break;
        }
        assert_int_equal(rc, -EIO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_ends_before_each_step, scratch_make,
                                        scratch_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
