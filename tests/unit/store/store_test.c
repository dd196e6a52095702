/* the store: what it refuses, what comes back, what versions share, what leaves */
#include "scratch.h"

#include "store/chunker.h"
#include "store/pack.h"
#include "store/store_internal.h"

#include <dirent.h>
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
    scratch_write(scratch_path(*state, "new/format"), "mains-store 3\n", 14);
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

/* A byte of the chunk itself, in the pack that it shares with others. */
static void flip_byte(const char *path, const struct store_id *id)
{
    CLEANUP(closep) int fd = open(path, O_RDWR);
    struct pack_index index;
    uint8_t byte = 0;
    off_t at = -1;

    assert_int_equal(pack_read_index(fd, &index), 1);
    for (uint32_t i = 0; i < index.count; i++)
        if (store_id_is_equal(&index.chunks[i].id, id))
            at = (off_t)index.chunks[i].offset + 1000;
    assert_true(at > 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void bring_chunks(struct store *from, struct store *to, const struct chunk_list *list)
{
    CLEANUP(buf_fini) struct buf frame = buf_init(1 << 20);
    struct err err;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct store_id *id = &list->chunks[i].id;

        buf_clear(&frame);
        assert_int_equal(store_chunk_export(from, id, &frame, &err), 0);
        assert_int_equal(store_chunk_import(to, id, frame.data, frame.len - 1, &err), -EBADMSG);
        assert_int_equal(store_chunk_import(to, id, frame.data, frame.len, &err), 0);
    }
    assert_int_equal(store_flush(to, &err), 0);
}

/* Damage is found, named, and mended by a transfer of what was damaged alone. */
static void test_store_damage_is_mended(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    CLEANUP(store_closep) struct store *source = open_unsynced(*state, "source");
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
        if (how == 0)
            flip_byte(chunk_file(*state, &hurt.id), &hurt.id);
        else /* by now it has a file of its own; then, a pack that is cut off */
            assert_int_equal(truncate(chunk_file(*state, &manifest.chunks[how == 1 ? 2 : 0].id),
                                      how == 1 ? 0 : 20),
                             0);
        store_id_format(&hurt.id, name);
        if (how < 2) {
            assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err),
                             -EBADMSG);
            assert_non_null(strstr(err.text, name));
            assert_int_equal(access(scratch_path(*state, "g"), F_OK), -1);
            assert_int_equal(access(scratch_path(*state, "g.part"), F_OK), -1);
            assert_int_equal(store_missing(store, &manifest, &list, &err), 0);
            assert_int_equal(list.count, 1);
            assert_true(store_id_is_equal(&list.chunks[0].id, &hurt.id));
        } else {
            assert_int_equal(store_verify(store, NULL, &list, &err), 0);
            assert_int_equal(list.count, manifest.chunks_count - 1);
        }
        bring_chunks(source, store, &list);
        chunk_list_fini(&list);
        assert_int_equal(store_verify(store, &id, &list, &err), 0);
        assert_int_equal(list.count, 0);
        chunk_list_fini(&list);
    }
    manifest_fini(&manifest);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
    scratch_same(scratch_path(*state, "f"), scratch_path(*state, "g/f"));
}

/* As older programs left it: each chunk a file of its own, format 1. All of it is read, and what
 * comes on top shares with it. */
static void test_store_of_format_1(void **state)
{
    CLEANUP(store_closep) struct store *source = open_unsynced(*state, "source");
    CLEANUP(buf_fini) struct buf text = buf_init(1 << 20);
    struct store_put_result result;
    struct manifest manifest;
    struct store *store;
    struct store_id id;
    struct err err;

    scratch_random(scratch_path(*state, "f"), 2000000, 8);
    assert_int_equal(store_put(source, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_manifest_read(source, &id, &manifest, &err), 0);
    store_close(open_unsynced(*state, "s"));
    scratch_write(scratch_path(*state, "s/format"), "mains-store 1\n", 14);
    for (uint32_t i = 0; i < manifest.chunks_count; i++) {
        CLEANUP(buf_fini) struct buf frame = buf_init(1 << 20);
        char folder[512];

        assert_int_equal(store_chunk_export(source, &manifest.chunks[i].id, &frame, &err), 0);
        snprintf(folder, sizeof(folder), "%s", chunk_file(*state, &manifest.chunks[i].id));
        *strrchr(folder, '/') = '\0';
        assert_int_equal(dir_make(folder, 0700, &err), 0);
        scratch_write(chunk_file(*state, &manifest.chunks[i].id), frame.data, frame.len);
    }
    manifest_fini(&manifest);
    assert_int_equal(store_manifest_export(source, &id, &text, &err), 0);

    store = open_unsynced(*state, "s");
    assert_int_equal(store_manifest_import(store, text.data, text.len, &id, &err), 0);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
    scratch_same(scratch_path(*state, "f"), scratch_path(*state, "g/f"));
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "f"), &id, &result, &err), 0);
    assert_int_equal(result.new_chunks_count, 0);
    assert_int_equal(
        store_gc(store, &(struct store_gc_params){ .bytes_max = INT64_MAX }, NULL, &err), 0);
    store_close(store);
    store = open_unsynced(*state, "s"); /* which is now of format 2 */
    buf_clear(&text);
    assert_int_equal(file_read(scratch_path(*state, "s/format"), &text, &err), 0);
    assert_string_equal(text.data, "mains-store 2\n");
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "h"), &err), 0);
    store_close(store);
}

/* A file system without hard links: each chunk is a file of its own. */
static void test_store_without_packs(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    const struct store_gc_params params = { .now_ms = 1000, .bytes_max = 0 };
    struct store_gc_result result;
    struct manifest manifest;
    struct store_id id;
    struct stat st;
    struct err err;

    assert_false(store->no_packs); /* here there are */
    store->no_packs = true;
    scratch_random(scratch_path(*state, "f"), 3000000, 12);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "f"), &id, NULL, &err), 0);
    assert_int_equal(store_manifest_read(store, &id, &manifest, &err), 0);
    for (uint32_t i = 0; i < manifest.chunks_count; i++) {
        assert_int_equal(stat(chunk_file(*state, &manifest.chunks[i].id), &st), 0);
        assert_int_equal(st.st_nlink, 1);
    }
    manifest_fini(&manifest);
    assert_int_equal(store_get(store, &id, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
    scratch_same(scratch_path(*state, "f"), scratch_path(*state, "g/f"));
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.kept_bytes, 0);
    assert_true(result.freed_bytes > 2900000);
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

/* What files below a folder take, each once however many names it has. */
static int64_t disk_bytes(const char *folder)
{
    int64_t bytes = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[1024];
        struct stat st;

        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || lstat(path, &st) < 0)
            continue;
        bytes += S_ISDIR(st.st_mode) ? disk_bytes(path) : st.st_size / (int64_t)st.st_nlink;
    }
    closedir(dir);
    return bytes;
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
    /* All but what packs are made of, and too little of what is gone to be worth a rewrite. */
    assert_true(result.kept_bytes >= result.held_bytes);
    assert_true(result.kept_bytes - result.held_bytes < 64 << 10);
    assert_int_equal(store_get(store, &ids[0], AT_FDCWD, scratch_path(*state, "g0"), &err), 0);
    scratch_same(scratch_path(*state, "f0"), scratch_path(*state, "g0/f0"));
    assert_int_equal(store_root_remove(store, "held", &err), 0);
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.kept_chunks_count, 0);
}

/* Of a pack few chunks stay: it is written anew, and what it took is free. */
static void test_store_gc_rewrites_packs(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    struct store_gc_params params = { .now_ms = 1000, .bytes_max = INT64_MAX };
    struct store_gc_result before, after;
    size_t len = 6000000, part = 1500000;
    CLEANUP(freep) uint8_t *data = malloc(len);
    struct store_id whole, some;
    struct chunk_list bad;
    struct err err;

    scratch_fill(data, len, 1);
    scratch_write(scratch_path(*state, "whole"), data, len);
    scratch_write(scratch_path(*state, "some"), data, part);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "whole"), &whole, NULL, &err),
                     0);
    assert_int_equal(store_put(store, AT_FDCWD, scratch_path(*state, "some"), &some, NULL, &err),
                     0);
    assert_int_equal(store_root_set(store, "some", &some, 0, &err), 0);
    assert_int_equal(store_gc(store, &params, &before, &err), 0);
    assert_true(before.kept_bytes > (int64_t)len);
    assert_int_equal(before.freed_bytes, 0);

    params.bytes_max = 0; /* "whole" goes, and with it three quarters of what is in packs */
    assert_int_equal(store_gc(store, &params, &after, &err), 0);
    assert_int_equal(after.freed_manifests_count, 1);
    assert_true(after.kept_bytes >= after.held_bytes &&
                after.kept_bytes < (int64_t)part + (1 << 20));
    assert_int_equal(after.freed_bytes, before.kept_bytes - after.kept_bytes);
    assert_true(disk_bytes(scratch_path(*state, "s/chunks")) <= after.kept_bytes + (1 << 20));
    assert_int_equal(store_verify(store, NULL, &bad, &err), 0);
    assert_int_equal(bad.count, 0);
    assert_int_equal(store_get(store, &some, AT_FDCWD, scratch_path(*state, "g"), &err), 0);
    scratch_same(scratch_path(*state, "some"), scratch_path(*state, "g/some"));
    before = after;
    assert_int_equal(store_gc(store, &params, &after, &err), 0); /* there is no more to do */
    assert_int_equal(after.freed_bytes, 0);
    assert_int_equal(after.kept_bytes, before.kept_bytes);
}

/* 31 small chunks and a large one, which is in no tree, in one pack. */
static void add_pack(struct store *store, struct manifest *manifest, uint32_t number)
{
    static uint8_t large[FRAME_HEADER_BYTES + 70000];
    uint8_t small[STORE_PACK_PIECES_MAX][FRAME_HEADER_BYTES + sizeof(uint32_t)];
    struct pack_part parts[STORE_PACK_PIECES_MAX];
    uint32_t pack = ++store->packs_made;
    struct err err;

    frame_plain_header(sizeof(large) - FRAME_HEADER_BYTES, large);
    memcpy(large + FRAME_HEADER_BYTES, &number, sizeof(number));
    parts[0] = (struct pack_part){ .id = store_id_of(large + FRAME_HEADER_BYTES,
                                                     sizeof(large) - FRAME_HEADER_BYTES),
                                   .body = large,
                                   .body_len = sizeof(large) };
    for (uint32_t i = 1; i < STORE_PACK_PIECES_MAX; i++) {
        uint32_t content = number * STORE_PACK_PIECES_MAX + i;
        struct chunk_ref chunk = { store_id_of(&content, sizeof(content)), sizeof(content) };
        char name[16];

        frame_plain_header(sizeof(content), small[i]);
        memcpy(small[i] + FRAME_HEADER_BYTES, &content, sizeof(content));
        parts[i] =
            (struct pack_part){ .id = chunk.id, .body = small[i], .body_len = sizeof(small[i]) };
        snprintf(name, sizeof(name), "f%08u", (unsigned)content);
        assert_int_equal(manifest_add_file(manifest, name, 0644, &err), 0);
        assert_int_equal(manifest_add_chunk(manifest, &chunk, &err), 0);
    }
    if (store->pending_count + STORE_PACK_PIECES_MAX > STORE_BATCH_CHUNKS)
        assert_int_equal(store_flush(store, &err), 0);
    assert_int_equal(store_pack_write(store, parts, STORE_PACK_PIECES_MAX, pack, 0), 0);
    for (uint32_t i = 0; i < STORE_PACK_PIECES_MAX; i++)
        store_pending_add(store, &(struct pending){ .id = parts[i].id, .pack = pack },
                          pack_part_bytes(&parts[i]));
}

/* What is left of many packs may be many chunks of few bytes: no more wait than there is room for.
 */
static void test_store_gc_rewrites_small_chunks(void **state)
{
    CLEANUP(store_closep) struct store *store = open_unsynced(*state, "s");
    const struct store_gc_params params = { .now_ms = INT64_MAX / 2, .bytes_max = INT64_MAX };
    const uint32_t packs = STORE_BATCH_CHUNKS / (STORE_PACK_PIECES_MAX - 1) + 2;
    struct manifest manifest = manifest_init(NULL);
    struct store_gc_result result;
    struct store_id id;
    struct chunk_list bad;
    int64_t bytes;
    struct err err;

    for (uint32_t i = 0; i < packs; i++)
        add_pack(store, &manifest, i);
    assert_int_equal(store_manifest_keep(store, &manifest, &id, &bytes, &err), 0);
    manifest_fini(&manifest);
    assert_int_equal(store_root_set(store, "some", &id, 0, &err), 0);
    assert_int_equal(store_gc(store, &params, &result, &err), 0);
    assert_int_equal(result.freed_chunks_count, packs);
    assert_int_equal(result.kept_chunks_count, packs * (STORE_PACK_PIECES_MAX - 1));
    assert_true(result.freed_bytes > packs * 70000LL);
    assert_int_equal(store_verify(store, NULL, &bad, &err), 0);
    assert_int_equal(bad.count, 0);
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
        cmocka_unit_test_setup_teardown(test_store_of_format_1, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_without_packs, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_transfer_resumes, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_manifest_that_lies, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_roots, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc_rewrites_packs, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc_rewrites_small_chunks, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(test_store_gc_spares_the_young, scratch_make,
                                        scratch_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
