/* Many chunks in one message: what a stranger sends is refused before it is kept; and what a put is
 * told of names and readers. */
#include "scratch.h"

#include "store/bundle.h"
#include "store/frame.h"

#include <errno.h>
#include <fcntl.h>

#define CHUNKS 40u
#define CHUNK 40000u

static struct store *open_at(void **state, const char *name)
{
    return scratch_open(scratch_path(*state, name), NULL);
}

/* CHUNKS chunks of a store, as one message. */
static struct buf make_bundle(struct store *store, const char *folder, struct store_id *id_out)
{
    struct buf bundle = buf_init(BUNDLE_BYTES_MAX);
    struct manifest manifest;
    struct err err;

    scratch_random(scratch_path(folder, "file"), CHUNKS * CHUNK, 5);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(folder, "file"), id_out, NULL, &err),
                     0);
    assert_int_equal(store_manifest_read(store, id_out, &manifest, &err), 0);
    assert_true(manifest.chunks_count > 3);
    for (uint32_t i = 0; i < manifest.chunks_count; i++)
        assert_int_equal(bundle_add(store, &manifest.chunks[i].id, &bundle, &err), 0);
    manifest_fini(&manifest);
    return bundle;
}

/* Into a store that has nothing: what is there already is not looked at again. */
static int import_fresh(void **state, const struct buf *bundle, size_t len)
{
    static unsigned number;
    char name[32];
    struct store *store;
    uint32_t count = 0;
    struct err err;
    int rc;

    snprintf(name, sizeof(name), "to%u", number++);
    store = open_at(state, name);
    rc = bundle_import(store, bundle->data, len, &count, &err);
    store_close(store);
    return rc;
}

static void test_refused(void **state)
{
    struct store *from = open_at(state, "from");
    struct store_id id;
    struct buf bundle = make_bundle(from, *state, &id);
    const size_t ends[] = { 1, STORE_ID_BYTES, STORE_ID_BYTES + FRAME_HEADER_BYTES - 1,
                            STORE_ID_BYTES + FRAME_HEADER_BYTES, bundle.len - 1 };

    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        assert_int_equal(import_fresh(state, &bundle, ends[i]), -EBADMSG);
    /* A name of something else, a byte that was turned, a length that nobody has. */
    bundle.data[0] ^= 1;
    assert_int_equal(import_fresh(state, &bundle, bundle.len), -EBADMSG);
    bundle.data[0] ^= 1;
    bundle.data[bundle.len / 2] ^= 1;
    assert_int_equal(import_fresh(state, &bundle, bundle.len), -EBADMSG);
    bundle.data[bundle.len / 2] ^= 1;
    assert_int_equal(import_fresh(state, &bundle, bundle.len), 0);
    assert_int_equal(import_fresh(state, &bundle, 0), 0);
    memset(bundle.data + STORE_ID_BYTES + 12, 0xff, 4);
    assert_int_equal(import_fresh(state, &bundle, bundle.len), -EBADMSG);
    buf_fini(&bundle);
    store_close(from);
}

static void test_moves_a_tree(void **state)
{
    struct store *from = open_at(state, "from2"), *to = open_at(state, "to2");
    struct store_id id, same;
    struct buf bundle = make_bundle(from, *state, &id), text = buf_init(1 << 20);
    uint32_t count = 0;
    struct err err;

    assert_int_equal(store_manifest_export(from, &id, &text, &err), 0);
    assert_int_equal(store_manifest_import(to, text.data, text.len, &same, &err), 0);
    assert_int_equal(store_get(to, &id, AT_FDCWD, scratch_path(*state, "got"), &err), -ENOENT);
    assert_int_equal(bundle_import(to, bundle.data, bundle.len, &count, &err), 0);
    assert_true(count > 3);
    assert_int_equal(bundle_import(to, bundle.data, bundle.len, &count, &err), 0); /* again */
    assert_int_equal(store_get(to, &id, AT_FDCWD, scratch_path(*state, "got"), &err), 0);
    scratch_same(scratch_path(*state, "file"), scratch_path(*state, "got/file"));
    buf_fini(&bundle);
    buf_fini(&text);
    store_close(from);
    store_close(to);
}

/* Equal content many times, in one window: one chunk. */
static void test_equal_pieces(void **state)
{
    struct store *store = open_at(state, "store3");
    CLEANUP(freep) uint8_t *data = calloc(1, 4u << 20);
    struct store_put_result result;
    struct store_id id;
    struct err err;

    scratch_write(scratch_path(*state, "zeros"), data, 4u << 20);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "zeros"), &id, &result, &err),
                     0);
    assert_int_equal(result.content_bytes, 4 << 20);
    assert_true(result.chunks_count >= 8);
    assert_true(result.new_chunks_count <= 2);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "zeros2"), &err), 0);
    scratch_same(scratch_path(*state, "zeros"), scratch_path(*state, "zeros2/zeros"));
    store_close(store);
}

/* A folder and a file of one name are told apart by a named put. */
static void test_named(void **state)
{
    const struct store_put_how named = { .named = true };
    struct store *store = open_at(state, "store4");
    struct store_id folder, file;
    struct err err;

    assert_int_equal(mkdir(scratch_path(*state, "a"), 0700), 0);
    assert_int_equal(mkdir(scratch_path(*state, "a/ckpt"), 0700), 0);
    scratch_random(scratch_path(*state, "a/ckpt/ckpt"), 100, 1);
    assert_int_equal(
        store_put_as(store, AT_FDCWD, scratch_path(*state, "a/ckpt"), &named, &folder, NULL, &err),
        0);
    assert_int_equal(store_put_as(store, AT_FDCWD, scratch_path(*state, "a/ckpt/ckpt"), &named,
                                  &file, NULL, &err),
                     0);
    assert_false(store_id_is_equal(&folder, &file));
    assert_int_equal(store_get(store, &folder, AT_FDCWD, scratch_path(*state, "back"), &err), 0);
    scratch_same(scratch_path(*state, "a/ckpt/ckpt"), scratch_path(*state, "back/ckpt/ckpt"));
    store_close(store);
}

/* What belongs to another and is not for all to read does not go into a tree made for a reader. */
static void test_guarded(void **state)
{
    const struct store_put_how how = { .guarded = true, .reader = geteuid() + 1 };
    const struct store_put_how mine = { .guarded = true, .reader = geteuid() };
    struct store *store = open_at(state, "store5");
    const char *folder = scratch_path(*state, "open"), *file = scratch_path(*state, "open/secret");
    struct store_id id;
    struct err err;

    assert_int_equal(mkdir(folder, 0755), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    scratch_random(file, 10, 1);
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_equal(store_put_as(store, AT_FDCWD, folder, &how, &id, NULL, &err), 0);
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(store_put_as(store, AT_FDCWD, folder, &how, &id, NULL, &err), -EACCES);
    assert_non_null(strstr(err.text, "secret"));
    assert_int_equal(store_put_as(store, AT_FDCWD, file, &how, &id, NULL, &err), -EACCES);
    assert_int_equal(store_put_as(store, AT_FDCWD, folder, &mine, &id, NULL, &err), 0);
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(store_put_as(store, AT_FDCWD, folder, &how, &id, NULL, &err), -EACCES);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_moves_a_tree, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_equal_pieces, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_named, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_guarded, scratch_make, scratch_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
