/* the store: what it refuses, what comes back, what versions share, what leaves */
#include "scratch.h"

#include "store/chunker.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

static struct store *open_unsynced(const char *folder, const char *name)
{
    struct store_params params = store_params_default();

    params.sync = false;
    return scratch_open(scratch_path(folder, name), &params);
}

static void test_store_open_refuses(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    struct store *other = NULL;
    struct err err;

    assert_non_null(store); /* and held while another asks for it */
    assert_int_equal(store_open(scratch_path(*state, "s"), NULL, &other, &err), -EBUSY);
    scratch_write(scratch_path(*state, "file"), "x", 1);
    assert_int_equal(store_open(scratch_path(*state, "file"), NULL, &other, &err), -ENOTDIR);
    assert_int_equal(dir_make(scratch_path(*state, "new"), 0700, &err), 0);
    scratch_write(scratch_path(*state, "new/format"), "mains-store 2\n", 14);
    assert_int_equal(store_open(scratch_path(*state, "new"), NULL, &other, &err), -EPROTONOSUPPORT);
    assert_null(other);
}

static void test_store_put_refuses(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    const char *tree = scratch_path(*state, "tree");
    struct store_id id;
    struct err err;

    assert_int_equal(store_put(store, AT_FDCWD, tree, &id, NULL, &err), -ENOENT);
    assert_int_equal(mkdir(tree, 0755), 0);
    assert_int_equal(symlink("tree", scratch_path(*state, "link")), 0);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "link"), &id, NULL, &err),
                     -ELOOP);
    assert_int_equal(mkfifo(scratch_path(*state, "tree/pipe"), 0600), 0);
    assert_int_equal(store_put(store, AT_FDCWD, tree, &id, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "pipe"));
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "tree/pipe"), &id, NULL, &err),
                     -EINVAL);
    unlink(scratch_path(*state, "tree/pipe"));
    assert_int_equal(symlink("../../etc", scratch_path(*state, "tree/out")), 0);
    assert_int_equal(store_put(store, AT_FDCWD, tree, &id, NULL, &err), -EINVAL);
    unlink(scratch_path(*state, "tree/out"));
    scratch_write(scratch_path(*state, "tree/two\nlines"), "x", 1);
    assert_int_equal(store_put(store, AT_FDCWD, tree, &id, NULL, &err), -EINVAL);
}

static void test_store_put_and_get_trees(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    static const size_t lengths[] = { 0, 1, CHUNK_BYTES_MIN, 300000, 5000000 };
    struct store_put_result first, second;
    struct store_id id, again;
    struct stat st;
    char target[64] = "";
    struct err err;

    assert_int_equal(dir_make(scratch_path(*state, "t/a-b"), 0755, &err), 0);
    assert_int_equal(dir_make(scratch_path(*state, "t/a/deep"), 0755, &err), 0);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        char name[64];

        snprintf(name, sizeof(name), "t/a/deep/%zu bytes", lengths[i]);
        scratch_random(scratch_path(*state, name), lengths[i], i + 1);
    }
    assert_int_equal(symlink("deep/1 bytes", scratch_path(*state, "t/a/newest")), 0);
    assert_int_equal(chmod(scratch_path(*state, "t/a/deep/1 bytes"), 0751), 0);
    assert_int_equal(chmod(scratch_path(*state, "t/a-b"), 0555), 0);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "t"), &id, &first, &err), 0);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "t"), &again, &second, &err),
                     0);
    assert_true(store_id_is_equal(&id, &again));
    assert_int_equal(second.new_chunks_count, 0);
    assert_int_equal(second.content_bytes, first.content_bytes);
    assert_true(first.new_bytes == first.content_bytes);

    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "u"), &err), 0);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "u"), &err), -EEXIST);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        char from[64], to[64];

        snprintf(from, sizeof(from), "t/a/deep/%zu bytes", lengths[i]);
        snprintf(to, sizeof(to), "u/a/deep/%zu bytes", lengths[i]);
        scratch_same(scratch_path(*state, from), scratch_path(*state, to));
    }
    assert_int_equal(stat(scratch_path(*state, "u/a/deep/1 bytes"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0751);
    assert_int_equal(stat(scratch_path(*state, "u/a-b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0555);
    assert_int_equal(readlink(scratch_path(*state, "u/a/newest"), target, sizeof(target)), 12);
    assert_string_equal(target, "deep/1 bytes");
}

/* 5 % changed in few places, in bytes that do not shrink: a tenth moves at the most. */
static void test_store_versions_share(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    size_t len = (size_t)24 << 20;
    CLEANUP(freep) uint8_t *data = malloc(len);
    struct store_put_result first, second;
    struct store_id a, b;

    scratch_fill(data, len, 5);
    scratch_write(scratch_path(*state, "v1"), data, len);
    scratch_fill(data + len / 3, len / 40, 6);
    scratch_fill(data + len / 3 * 2, len / 40, 7);
    scratch_write(scratch_path(*state, "v2"), data, len);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "v1"), &a, &first, NULL), 0);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "v2"), &b, &second, NULL), 0);
    if (second.stored_bytes + second.manifest_bytes > (int64_t)len / 10)
        fail_msg("%jd bytes", (intmax_t)second.stored_bytes);
}

static const char *chunk_file(const char *folder, const struct store_id *id)
{
    char text[STORE_ID_TEXT_BYTES];
    char name[128];

    store_id_format(id, text);
    snprintf(name, sizeof(name), "s/chunks/%.2s/%s", text, text);
    return scratch_path(folder, name);
}

/* Damage is found, named, and mended by a transfer of that chunk alone. */
static void test_store_damage_is_mended(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    CLEANUP(store_closep) struct store *source = open_unsynced(*state, "source");
    CLEANUP(buf_fini) struct buf frame = buf_init(1 << 20);
    char name[STORE_ID_TEXT_BYTES];
    struct chunk_list list;
    struct manifest manifest;
    struct chunk_ref hurt;
    struct store_id id;
    struct err err;

    scratch_random(scratch_path(*state, "f"), 1000000, 3);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_put(source, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_manifest_read(store, &id, &manifest, &err), 0);
    assert_true(manifest.chunks_count > 3);
    hurt = manifest.chunks[2];
    for (int how = 0; how < 3; how++) {
        const char *path = chunk_file(*state, &hurt.id);

        if (how == 0) {
            int fd = open(path, O_WRONLY);

            assert_int_equal(pwrite(fd, "\xff", 1, 1000), 1);
            close(fd);
        } else {
            assert_int_equal(truncate(path, how == 1 ? 0 : 5000000), 0);
        }
        store_id_format(&hurt.id, name);
        if (how < 2) {
            assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err),
                             -EBADMSG);
            assert_non_null(strstr(err.text, name));
            assert_int_equal(access(scratch_path(*state, "g"), F_OK), -1);
            assert_int_equal(access(scratch_path(*state, "g.part"), F_OK), -1);
            assert_int_equal(store_missing(store, &manifest, &list, &err), 0);
        } else {
            assert_int_equal(store_verify(store, NULL, &list, &err), 0);
        }
        assert_int_equal(list.count, 1);
        assert_true(store_id_is_equal(&list.chunks[0].id, &hurt.id));
        chunk_list_fini(&list);
        buf_clear(&frame);
        assert_int_equal(store_chunk_export(source, &hurt.id, &frame, &err), 0);
        assert_int_equal(store_chunk_import(store, &manifest.chunks[1].id, "x", 1, &err), 0);
        assert_int_equal(store_chunk_import(store, &hurt.id, frame.data, frame.len - 1, &err),
                         -EBADMSG);
        assert_int_equal(store_chunk_import(store, &hurt.id, frame.data, frame.len, &err), 0);
        assert_int_equal(store_flush(store, &err), 0);
        assert_int_equal(store_verify(store, &id, &list, &err), 0);
        assert_int_equal(list.count, 0);
        chunk_list_fini(&list);
    }
    manifest_fini(&manifest);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
    scratch_same(scratch_path(*state, "f"), scratch_path(*state, "g/f"));
}

/* A transfer that breaks ever so often brings each chunk once. */
static void test_store_transfer_resumes(void **state)
{
    CLEANUP(store_closep) struct store *source = open_unsynced(*state, "source");
    CLEANUP(buf_fini) struct buf text = buf_init(1 << 20);
    CLEANUP(buf_fini) struct buf frame = buf_init(1 << 20);
    struct rng rng = { .state = 9 };
    struct store_id id, got;
    uint32_t moved = 0, total = 0;
    struct err err;

    scratch_random(scratch_path(*state, "f"), 6000000, 4);
    assert_int_equal(store_put(source, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_manifest_export(source, &id, &text, &err), 0);
    for (int tries = 0;; tries++) {
        CLEANUP(store_closep) struct store *sink = open_unsynced(*state, "sink");
        struct manifest manifest;
        struct chunk_list list;
        uint32_t some;

        assert_int_equal(store_manifest_import(sink, text.data, text.len, &got, &err), 0);
        assert_true(store_id_is_equal(&id, &got));
        assert_int_equal(store_manifest_read(sink, &got, &manifest, &err), 0);
        assert_int_equal(store_missing(sink, &manifest, &list, &err), 0);
        manifest_fini(&manifest);
        if (tries == 0)
            total = list.count;
        if (list.count == 0) {
            assert_int_equal(store_get(sink, &got, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
            chunk_list_fini(&list);
            break;
        }
        some = 1 + (uint32_t)rng_below(&rng, list.count);
        for (uint32_t i = 0; i < some; i++) {
            buf_clear(&frame);
            assert_int_equal(store_chunk_export(source, &list.chunks[i].id, &frame, &err), 0);
            assert_int_equal(
                store_chunk_import(sink, &list.chunks[i].id, frame.data, frame.len, &err), 0);
            moved++;
        }
        assert_int_equal(store_flush(sink, &err), 0);
        chunk_list_fini(&list);
    }
    assert_int_equal(moved, total);
    scratch_same(scratch_path(*state, "f"), scratch_path(*state, "g/f"));
}

static void test_store_manifest_that_lies(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    CLEANUP(buf_fini) struct buf text = buf_init(1 << 20);
    struct store_id id, lie;
    char *size;
    struct err err;

    scratch_write(scratch_path(*state, "f"), "four", 4);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_manifest_export(store, &id, &text, &err), 0);
    size = strstr(text.data, " 4 f\n"); /* four bytes -> five, both times */
    assert_non_null(size);
    size[1] = '5';
    size = strstr(text.data, " 4\nend");
    assert_non_null(size);
    size[1] = '5';
    assert_int_equal(store_manifest_import(store, text.data, text.len, &lie, &err), 0);
    assert_int_equal(store_get(store, &lie, AT_FDCWD, scratch_path(*state, "g"), &err), -EPROTO);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
}

static void test_store_roots(void **state)
{
    static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a b", "\x1b" };
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    struct store_id id = { .bytes = { 1 } }, found;
    int64_t until;
    struct err err;

    assert_int_equal(store_root_set(store, "a", &id, 0, &err), -ENOENT);
    scratch_write(scratch_path(*state, "f"), "x", 1);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(store_root_set(store, bad[i], &id, 0, &err), -EINVAL);
        assert_int_equal(store_root_remove(store, bad[i], &err), -EINVAL);
    }
    assert_int_equal(store_root_set(store, "a", &id, -1, &err), -EINVAL);
    assert_int_equal(store_root_find(store, "a", &found, &until, &err), -ENOENT);
    assert_int_equal(store_root_set(store, "a", &id, INT64_MAX, &err), 0);
    assert_int_equal(store_root_find(store, "a", &found, &until, &err), 0);
    assert_true(until == INT64_MAX && store_id_is_equal(&id, &found));
    scratch_write(scratch_path(*state, "s/roots/a"), "torn", 4);
    assert_int_equal(store_root_find(store, "a", &found, &until, &err), -EBADMSG);
    /* What a damaged root holds is not known: nothing goes. */
    assert_int_equal(store_gc(store, &(struct store_gc_params){ 0 }, NULL, &err), -EBADMSG);
    assert_int_equal(store_root_remove(store, "a", &err), 0);
    assert_int_equal(store_root_remove(store, "a", &err), -ENOENT);
}

static void test_store_gc(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    struct store_gc_params params = { .now_ms = 1000, .bytes_max = INT64_MAX };
    struct store_gc_result result;
    struct store_id ids[4];
    struct manifest manifest;
    struct err err;

    for (int i = 0; i < 4; i++) { /* each holds a third of a mebibyte of its own */
        char name[8];
        CLEANUP(freep) uint8_t *data = malloc(1 << 20);
        struct timespec times[2] = { { .tv_sec = 100 + i }, { .tv_sec = 100 + i } };
        char path[128], text[STORE_ID_TEXT_BYTES];

        scratch_fill(data, 1 << 20, 1);
        scratch_fill(data + (700 << 10), 324 << 10, (uint64_t)i + 2);
        snprintf(name, sizeof(name), "f%d", i);
        scratch_write(scratch_path(*state, name), data, 1 << 20);
        assert_int_equal(
            store_put(store, AT_FDCWD, scratch_path(*state, name), &ids[i], NULL, &err), 0);
        store_id_format(&ids[i], text);
        snprintf(path, sizeof(path), "s/manifests/%s", text);
        assert_int_equal(utimensat(AT_FDCWD, scratch_path(*state, path), times, 0), 0);
    }
    assert_int_equal(store_root_set(store, "held", &ids[0], 0, &err), 0);
    assert_int_equal(store_root_set(store, "lease", &ids[1], 1001, &err), 0);
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.freed_chunks_count, 0);
    assert_int_equal(result.freed_manifests_count, 0);

    /* Room for one more than the held two: the newest stays, the older one goes. */
    params.bytes_max = result.held_bytes + (500 << 10);
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.freed_manifests_count, 1);
    assert_true(result.freed_bytes > 200 << 10 && result.kept_bytes <= params.bytes_max);
    assert_int_equal(store_manifest_read(store, &ids[2], &manifest, &err), -ENOENT);
    assert_int_equal(store_get(store, &ids[3], AT_FDCWD, scratch_path(*state, "g3"), &err), 0);

    /* The lease is over; held ones stay whatever the room. */
    params = (struct store_gc_params){ .now_ms = 2000, .bytes_max = 0 };
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.ended_roots_count, 1);
    assert_int_equal(result.freed_manifests_count, 2);
    assert_int_equal(result.kept_bytes, result.held_bytes);
    assert_int_equal(store_get(store, &ids[0], AT_FDCWD, scratch_path(*state, "g0"), &err), 0);
    scratch_same(scratch_path(*state, "f0"), scratch_path(*state, "g0/f0"));
    assert_int_equal(store_root_remove(store, "held", &err), 0);
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.kept_chunks_count, 0);
}

/* Chunks of a transfer whose manifest is not here yet stay for a while. */
static void test_store_gc_spares_the_young(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    struct store_gc_params params = { .now_ms = 0, .bytes_max = 0, .orphan_ms = 60000 };
    CLEANUP(buf_fini) struct buf frame = buf_init(1 << 20);
    CLEANUP(store_closep) struct store *source = open_unsynced(*state, "source");
    struct store_gc_result result;
    struct timespec now;
    struct manifest manifest;
    struct store_id id, chunk;

    clock_gettime(CLOCK_REALTIME, &now);
    scratch_write(scratch_path(*state, "f"), "x", 1);
    assert_int_equal(store_put(source, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, NULL), 0);
    assert_int_equal(store_manifest_read(source, &id, &manifest, NULL), 0);
    chunk = manifest.chunks[0].id;
    manifest_fini(&manifest);
    assert_int_equal(store_chunk_export(source, &chunk, &frame, NULL), 0);
    assert_int_equal(store_chunk_import(store, &chunk, frame.data, frame.len, NULL), 0);
    params.now_ms = (int64_t)now.tv_sec * 1000 + 30000;
    assert_int_equal(store_gc(store, &params, &result, NULL), 0);
    assert_int_equal(result.kept_chunks_count, 1);
    params.now_ms += 60000;
    assert_int_equal(store_gc(store, &params, &result, NULL), 0);
    assert_int_equal(result.freed_chunks_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_open_refuses, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_put_refuses, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_put_and_get_trees, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_versions_share, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_damage_is_mended, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_transfer_resumes, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_manifest_that_lies, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_roots, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc_spares_the_young, scratch_make,
                                        scratch_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
