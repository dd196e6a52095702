/* a tree that is sent from where it lies: what is refused, what changes on the way, what arrives */
#include "scratch.h"

#include "store/bundle.h"
#include "store/scan.h"

#include <errno.h>
#include <fcntl.h>

static struct store *open_unsynced(const char *folder, const char *name)
{
    struct store_params params = store_params_default();

    params.sync = false;
    return scratch_open(scratch_path(folder, name), &params);
}

static const struct store_put_how plain = { .named = false };

static struct scan *scan_of(const char *path, bool named)
{
    const struct store_put_how how = { .named = named };
    struct scan *scan = NULL;
    struct err err = { .text = "" };

    if (scan_create(AT_FDCWD, path, &how, &scan, &err) < 0)
        fail_msg("%s", err.text);
    return scan;
}

/* All that `sink` has not, in messages of about a megabyte. */
static int carry(struct scan *scan, struct store *sink, struct err *err)
{
    const struct buf *text = scan_manifest(scan);
    CLEANUP(buf_fini) struct buf body = buf_init(BUNDLE_BYTES_MAX);
    struct chunk_list list = { .count = 0 };
    struct manifest manifest = { .entries = NULL };
    struct store_id id;
    uint32_t count = 0;
    int rc = store_manifest_import(sink, text->data, text->len, &id, err);

    if (rc == 0)
        rc = store_manifest_read(sink, &id, &manifest, err);
    if (rc == 0)
        rc = store_missing(sink, &manifest, &list, err);
    for (uint32_t i = 0; rc == 0 && i < list.count; i++) {
        rc = scan_add(scan, &list.chunks[i].id, &body, err);
        if (rc == 0 && (body.len > 1000000 || i + 1 == list.count)) {
            rc = bundle_import(sink, body.data, body.len, &count, err);
            buf_clear(&body);
        }
    }
    chunk_list_fini(&list);
    manifest_fini(&manifest);
    return rc < 0 ? rc : store_flush(sink, err);
}

static void make_tree(const char *folder)
{
    CLEANUP(freep) char *text = calloc(1, 3000001);

    memset(text, 'a', 3000000); /* shrinks, and is the same chunk many times */
    assert_int_equal(dir_make(scratch_path(folder, "t/deep/er"), 0700, NULL), 0);
    scratch_random(scratch_path(folder, "t/one"), 5000000, 1);
    scratch_random(scratch_path(folder, "t/deep/two"), 700, 2);
    scratch_write(scratch_path(folder, "t/deep/er/text"), text, 3000000);
    scratch_write(scratch_path(folder, "t/empty"), "", 0);
    assert_int_equal(symlink("deep/two", scratch_path(folder, "t/link")), 0);
}

static void test_scan_refuses(void **state)
{
    struct scan *scan = NULL;
    struct err err;

    assert_int_equal(scan_create(AT_FDCWD, scratch_path(*state, "none"), &plain, &scan, &err),
                     -ENOENT);
    assert_int_equal(mkfifo(scratch_path(*state, "pipe"), 0600), 0);
    assert_int_equal(scan_create(AT_FDCWD, scratch_path(*state, "pipe"), &plain, &scan, &err),
                     -EINVAL);
    assert_null(scan);
}

static void test_scan_is_as_put(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");

    make_tree(*state);
    for (int what = 0; what < 3; what++) {
        const char *path = scratch_path(*state, what == 2 ? "t/one" : "t");
        const struct store_put_how how = { .named = what == 1 };
        CLEANUP(scan_destroyp) struct scan *scan = scan_of(path, how.named);
        CLEANUP(store_closep) struct store *sink = NULL;
        char name[16], laid[32];
        struct store_put_result result;
        struct store_id put, found;
        struct err err = { .text = "" };

        assert_int_equal(store_put_as(store, AT_FDCWD, path, &how, &put, &result, &err), 0);
        found = scan_id(scan);
        assert_true(store_id_is_equal(&put, &found));
        assert_int_equal(scan_content_bytes(scan), result.content_bytes);
        snprintf(name, sizeof(name), "sink%d", what);
        snprintf(laid, sizeof(laid), "laid%d", what);
        sink = open_unsynced(*state, name);
        if (carry(scan, sink, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(store_get(sink, &put, AT_FDCWD, scratch_path(*state, laid), &err), 0);
        snprintf(laid, sizeof(laid), "laid%d/%sone", what, what == 1 ? "t/" : "");
        scratch_same(scratch_path(*state, "t/one"), scratch_path(*state, laid));
        if (what == 2)
            continue;
        snprintf(laid, sizeof(laid), "laid%d/%sdeep/er/text", what, what == 1 ? "t/" : "");
        scratch_same(scratch_path(*state, "t/deep/er/text"), scratch_path(*state, laid));
    }
}

/* Between the two readings: of another time, of another size, gone, another in its place; and with
 * nothing to see but what it holds, which whoever takes it finds. */
static void test_scan_that_changes(void **state)
{
    struct store_id none = { .bytes = { 1 } };
    CLEANUP(buf_fini) struct buf body = buf_init(BUNDLE_BYTES_MAX);

    for (int how = 0; how < 5; how++) {
        CLEANUP(store_closep) struct store *sink = NULL;
        CLEANUP(scan_destroyp) struct scan *scan = NULL;
        const char *path = scratch_path(*state, "f");
        struct stat st;
        char name[16];
        struct err err = { .text = "" };
        int rc;

        scratch_random(path, 900000, 7);
        assert_int_equal(stat(path, &st), 0);
        scan = scan_of(path, false);
        snprintf(name, sizeof(name), "sink%d", how);
        sink = open_unsynced(*state, name);
        if (how == 0) {
            assert_int_equal(
                utimensat(AT_FDCWD, path, (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0), 0);
        } else if (how == 1) {
            assert_int_equal(truncate(path, 899999), 0);
        } else if (how == 2) {
            assert_int_equal(unlink(path), 0);
        } else {
            if (how == 3) {
                assert_int_equal(rename(path, scratch_path(*state, "other")), 0);
                scratch_random(path, 900000, 8);
            } else {
                CLEANUP(closep) int fd = open(path, O_WRONLY);

                assert_int_equal(pwrite(fd, "other", 5, 400000), 5);
            }
            assert_int_equal(
                utimensat(AT_FDCWD, path, (struct timespec[2]){ st.st_mtim, st.st_mtim }, 0), 0);
        }
        rc = carry(scan, sink, &err);
        assert_int_equal(rc, how == 4 ? -EBADMSG : -ESTALE);
        if (how < 4)
            assert_non_null(strstr(err.text, "f: changed"));
        assert_int_equal(scan_add(scan, &none, &body, &err), -ENOENT);
        assert_int_equal(body.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scan_refuses, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_scan_is_as_put, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_scan_that_changes, scratch_make, scratch_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
