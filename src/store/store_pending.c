/* What is in tmp/ on its way to its names: found by name, synced together. */
#include "base/file.h"
#include "store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS (2 * STORE_BATCH_CHUNKS)

static_assert((SLOTS & (SLOTS - 1)) == 0, "a power of two");

/* Names are of content that was hashed here: nobody chooses where they fall. */
static uint32_t slot_of(const struct store_id *id)
{
    uint32_t bits;

    memcpy(&bits, id->bytes, sizeof(bits));
    return bits & (SLOTS - 1);
}

static void index_one(struct store *store, uint32_t index)
{
    uint32_t slot = slot_of(&store->pending[index].id);

    while (store->pending_slots[slot])
        slot = (slot + 1) & (SLOTS - 1);
    store->pending_slots[slot] = index + 1;
}

static void index_all(struct store *store)
{
    memset(store->pending_slots, 0, SLOTS * sizeof(*store->pending_slots));
    for (uint32_t i = 0; i < store->pending_count; i++)
        index_one(store, i);
}

void store_pending_add(struct store *store, const struct pending *pending, int64_t bytes)
{
    assert(store->pending_count < STORE_BATCH_CHUNKS);
    store->pending[store->pending_count] = *pending;
    index_one(store, store->pending_count++);
    store->pending_bytes += bytes;
}

bool store_pending_has(const struct store *store, const struct store_id *id)
{
    if (!store->pending_count)
        return false;
    for (uint32_t slot = slot_of(id); store->pending_slots[slot]; slot = (slot + 1) & (SLOTS - 1))
        if (store_id_is_equal(&store->pending[store->pending_slots[slot] - 1].id, id))
            return true;
    return false;
}

void store_pack_name(uint32_t number, char name_out[STORE_PACK_NAME_BYTES])
{
    snprintf(name_out, STORE_PACK_NAME_BYTES, "pack-%u", (unsigned)number);
}

int store_open_new(const struct store *store, const char *name)
{
    int fd =
        openat(store->tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? -errno : fd;
}

int store_pack_write(const struct store *store, struct pack_part *parts, uint32_t count,
                     uint32_t number, int64_t made_ms)
{
    const struct timespec made = { made_ms / 1000, made_ms % 1000 * 1000000 };
    char name[STORE_PACK_NAME_BYTES];
    int fd, rc;

    store_pack_name(number, name);
    fd = store_open_new(store, name);
    if (fd < 0)
        return fd;
    rc = pack_write(fd, parts, count);
    if (rc == 0 && made_ms)
        futimens(fd, (const struct timespec[]){ made, made });
    store_write_behind(store, fd);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(store->tmp_fd, name, 0);
    return rc;
}

/* --- names ------------------------------------------------------------------------------------ */

static int make_folder(const struct store *store, const char *path)
{
    char folder[3] = { path[0], path[1], '\0' };

    return mkdirat(store->chunks_fd, folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Of a file of its own. */
static int move_loose(const struct store *store, const char *path)
{
    return renameat(store->tmp_fd, path + 3, store->chunks_fd, path) < 0 ? -errno : 0;
}

/* Of a pack: one more link to it. What is there already is as good. */
static int link_packed(const struct store *store, const char *pack, const char *path)
{
    if (linkat(store->tmp_fd, pack, store->chunks_fd, path, 0) == 0 || errno == EEXIST)
        return 0;
    return -errno;
}

/* The same in place of what has the name. */
static int exchange_packed(const struct store *store, const char *pack, const char *path)
{
    int rc;

    if (linkat(store->tmp_fd, pack, store->tmp_fd, path + 3, 0) < 0 && errno != EEXIST)
        return -errno;
    rc = move_loose(store, path);
    if (rc == 0) /* a rename onto another name of the same file does nothing, and leaves both */
        unlinkat(store->tmp_fd, path + 3, 0);
    return rc;
}

static int give_name_once(const struct store *store, const struct pending *pending,
                          const char *path)
{
    char pack[STORE_PACK_NAME_BYTES];

    if (!pending->pack)
        return move_loose(store, path);
    store_pack_name(pending->pack, pack);
    return pending->renames ? exchange_packed(store, pack, path) : link_packed(store, pack, path);
}

/* The 256 folders are made as they are needed. */
static int give_name(const struct store *store, const struct pending *pending, const char *path)
{
    int rc = give_name_once(store, pending, path);

    if (rc != -ENOENT)
        return rc;
    rc = make_folder(store, path);
    return rc < 0 ? rc : give_name_once(store, pending, path);
}

static int name_all(struct store *store, struct err *err)
{
    char path[STORE_PATH_BYTES], pack[STORE_PACK_NAME_BYTES];

    while (store->pending_count) {
        const struct pending *last = &store->pending[store->pending_count - 1];
        uint32_t number = last->pack;
        int rc = store_step(store, "chunk name", err);

        if (rc < 0)
            return rc;
        store_chunk_path(&last->id, path);
        rc = give_name(store, last, path);
        if (rc < 0)
            return err_set(err, rc, "store: chunk %s: %s", path + 3, strerror(-rc));
        store->pending_count--;
        if (number &&
            (!store->pending_count || store->pending[store->pending_count - 1].pack != number)) {
            store_pack_name(number, pack);
            unlinkat(store->tmp_fd, pack, 0);
        }
    }
    return 0;
}

int store_flush(struct store *store, struct err *err)
{
    int rc;

    if (store->pending_count == 0)
        return 0;
    rc = store_step(store, "sync", err);
    if (rc < 0)
        return rc;
    if (store->params.sync && syncfs(store->tmp_fd) < 0)
        return err_set(err, -errno, "store: sync: %s", strerror(errno));
    rc = name_all(store, err);
    index_all(store);
    if (rc < 0)
        return rc;
    store->pending_bytes = 0;
    /* The names too, before anything is built on them. */
    rc = store_step(store, "sync names", err);
    if (rc == 0 && store->params.sync && syncfs(store->tmp_fd) < 0)
        return err_set(err, -errno, "store: sync: %s", strerror(errno));
    return rc;
}
