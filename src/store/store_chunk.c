#include "base/file.h"
#include "store/chunker.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void store_chunk_path(const struct store_id *id, char path_out[STORE_PATH_BYTES])
{
    store_id_format(id, path_out + 3);
    path_out[0] = path_out[3];
    path_out[1] = path_out[4];
    path_out[2] = '/';
}

bool store_has_chunk(struct store *store, const struct store_id *id)
{
    char path[STORE_PATH_BYTES];

    store_chunk_path(id, path);
    return faccessat(store->chunks_fd, path, F_OK, 0) == 0 ||
           (store->pending_count && faccessat(store->tmp_fd, path + 3, F_OK, 0) == 0);
}

/* To tmp/ under its own name; what is there is pending. */
static int keep_pending(struct store *store, const struct store_id *id, const void *frame,
                        size_t len, struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc = 0;
    int fd;

    if (store->pending_count == STORE_BATCH_CHUNKS) /* the flush that was due failed */
        rc = store_flush(store, err);
    if (rc == 0)
        rc = store_step(store, "chunk", err);
    if (rc < 0)
        return rc;
    store_chunk_path(id, path);
    fd =
        openat(store->tmp_fd, path + 3, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "store: chunk %s: %s", path + 3, strerror(errno));
    rc = file_write_all(fd, frame, len);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0) {
        unlinkat(store->tmp_fd, path + 3, 0);
        return err_set(err, rc, "store: chunk %s: %s", path + 3, strerror(-rc));
    }
    store->pending[store->pending_count++] = *id;
    store->pending_bytes += (int64_t)len;
    if (store->pending_count == STORE_BATCH_CHUNKS || store->pending_bytes >= STORE_BATCH_BYTES)
        return store_flush(store, err);
    return 0;
}

/* The 256 folders are made as they are needed. */
static int give_name(struct store *store, const char *path)
{
    char folder[3] = { path[0], path[1], '\0' };

    if (renameat(store->tmp_fd, path + 3, store->chunks_fd, path) == 0)
        return 0;
    if (errno != ENOENT || (mkdirat(store->chunks_fd, folder, 0700) < 0 && errno != EEXIST))
        return -errno;
    return renameat(store->tmp_fd, path + 3, store->chunks_fd, path) < 0 ? -errno : 0;
}

int store_flush(struct store *store, struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc;

    if (store->pending_count == 0)
        return 0;
    rc = store_step(store, "sync", err);
    if (rc < 0)
        return rc;
    if (store->params.sync && syncfs(store->tmp_fd) < 0)
        return err_set(err, -errno, "store: sync: %s", strerror(errno));
    while (store->pending_count) {
        store_chunk_path(&store->pending[store->pending_count - 1], path);
        rc = store_step(store, "chunk rename", err);
        if (rc < 0)
            return rc;
        rc = give_name(store, path);
        if (rc < 0)
            return err_set(err, rc, "store: chunk %s: %s", path + 3, strerror(-rc));
        store->pending_count--;
    }
    store->pending_bytes = 0;
    /* The names too, before anything is built on them. */
    rc = store_step(store, "sync names", err);
    if (rc == 0 && store->params.sync && syncfs(store->tmp_fd) < 0)
        return err_set(err, -errno, "store: sync: %s", strerror(errno));
    return rc;
}

int store_chunk_add(struct store *store, const uint8_t *content, size_t len,
                    struct chunk_ref *chunk_out, struct store_put_result *result, struct err *err)
{
    struct chunk_ref chunk = { .id = store_id_of(content, len), .bytes = (uint32_t)len };
    int rc;

    result->chunks_count++;
    result->content_bytes += (int64_t)len;
    if (!store_has_chunk(store, &chunk.id)) {
        buf_clear(&store->frame);
        rc = frame_encode(store->codec, content, len, &store->frame);
        if (rc < 0)
            return err_set(err, rc, "store: a chunk of %zu bytes: %s", len, strerror(-rc));
        result->new_chunks_count++;
        result->new_bytes += (int64_t)len;
        result->stored_bytes += (int64_t)store->frame.len;
        rc = keep_pending(store, &chunk.id, store->frame.data, store->frame.len, err);
        if (rc < 0)
            return rc;
    }
    *chunk_out = chunk;
    return 0;
}

/* Read and check; a damaged one is removed, as it is of no use and would count as here. */
static int load(struct store *store, const struct store_id *id, uint32_t *bytes_out,
                struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc = store_flush(store, err);

    if (rc < 0)
        return rc;
    store_chunk_path(id, path);
    buf_clear(&store->frame);
    rc = store_read(store->chunks_fd, path, &store->frame, err);
    if (rc == -ENOENT)
        return err_set(err, rc, "chunk %s: missing", path + 3);
    if (rc == 0)
        rc = frame_decode(store->codec, store->frame.data, store->frame.len, id, store->content,
                          bytes_out, err);
    else if (rc == -EFBIG)
        rc = err_set(err, -EBADMSG, "chunk %s: longer than a chunk can be", path + 3);
    if (rc == -EBADMSG)
        unlinkat(store->chunks_fd, path, 0);
    return rc;
}

int store_chunk_load(struct store *store, const struct chunk_ref *chunk, uint32_t *bytes_out,
                     struct err *err)
{
    uint32_t bytes;
    int rc = load(store, &chunk->id, &bytes, err);

    if (rc < 0)
        return rc;
    /* The chunk is what its name says: the manifest lies. */
    if (chunk->bytes && chunk->bytes != bytes)
        return err_set(err, -EPROTO, "a chunk of %u bytes where the manifest says %u",
                       (unsigned)bytes, (unsigned)chunk->bytes);
    *bytes_out = bytes;
    return 0;
}

int store_chunk_read(struct store *store, const struct chunk_ref *chunk, struct buf *content_out,
                     struct err *err)
{
    uint32_t bytes;
    int rc = store_chunk_load(store, chunk, &bytes, err);

    if (rc < 0)
        return rc;
    rc = buf_add(content_out, store->content, bytes);
    return rc < 0 ? err_set(err, rc, "store: no room for a chunk: %s", strerror(-rc)) : 0;
}

int store_chunk_export(struct store *store, const struct store_id *id, struct buf *frame_out,
                       struct err *err)
{
    uint32_t bytes;
    int rc = load(store, id, &bytes, err);

    if (rc < 0)
        return rc;
    rc = buf_add(frame_out, store->frame.data, store->frame.len);
    return rc < 0 ? err_set(err, rc, "store: no room for a chunk: %s", strerror(-rc)) : 0;
}

int store_chunk_import(struct store *store, const struct store_id *id, const void *frame,
                       size_t len, struct err *err)
{
    uint32_t bytes;
    int rc;

    if (store_has_chunk(store, id))
        return 0;
    rc = frame_decode(store->codec, frame, len, id, store->content, &bytes, err);
    if (rc < 0)
        return rc;
    return keep_pending(store, id, frame, len, err);
}
