#include "base/file.h"
#include "store/chunker.h"
#include "store/pack.h"
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
    return store_pending_has(store, id) || faccessat(store->chunks_fd, path, F_OK, 0) == 0;
}

void store_write_behind(const struct store *store, int fd)
{
    if (store->params.sync)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
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
    fd = store_open_new(store, path + 3);
    if (fd < 0)
        return err_set(err, fd, "store: chunk %s: %s", path + 3, strerror(-fd));
    rc = file_write_all(fd, frame, len);
    store_write_behind(store, fd);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0) {
        unlinkat(store->tmp_fd, path + 3, 0);
        return err_set(err, rc, "store: chunk %s: %s", path + 3, strerror(-rc));
    }
    store_pending_add(store, &(struct pending){ .id = *id }, (int64_t)len);
    if (store->pending_count == STORE_BATCH_CHUNKS || store->pending_bytes >= STORE_BATCH_BYTES)
        return store_flush(store, err);
    return 0;
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

int store_frame_read(struct store *store, const char *path, const struct store_id *id,
                     struct buf *frame_out, struct err *err)
{
    CLEANUP(closep)
    int fd = openat(store->chunks_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int rc = fd < 0 ? -errno : pack_read_frame(fd, id, frame_out);

    if (rc == -EBADMSG)
        return err_set(err, rc, "chunk %s: its file is damaged", path + 3);
    return rc < 0 && rc != -ENOENT ? err_set(err, rc, "store: %s: %s", path, strerror(-rc)) : rc;
}

/* What is pending gets its name first. */
static int read_chunk(struct store *store, const char *path, const struct store_id *id,
                      struct buf *frame_out, struct err *err)
{
    int rc = store_frame_read(store, path, id, frame_out, err);

    if (rc != -ENOENT || store->pending_count == 0)
        return rc;
    rc = store_flush(store, err);
    return rc < 0 ? rc : store_frame_read(store, path, id, frame_out, err);
}

/* Read and check; a damaged one is removed, as it is of no use and would count as here. */
static int load(struct store *store, const struct store_id *id, uint32_t *bytes_out,
                struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc;

    store_chunk_path(id, path);
    buf_clear(&store->frame);
    rc = read_chunk(store, path, id, &store->frame, err);
    if (rc == -ENOENT)
        return err_set(err, rc, "chunk %s: missing", path + 3);
    if (rc == 0)
        rc = frame_decode(store->codec, store->frame.data, store->frame.len, id, store->content,
                          bytes_out, err);
    if (rc == -EBADMSG)
        unlinkat(store->chunks_fd, path, 0);
    return rc;
}

int store_chunk_load(struct store *store, const struct chunk_ref *chunk, uint32_t *bytes_out,
                     struct err *err)
{
    uint32_t bytes = 0;
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

int store_chunk_frame(struct store *store, const struct store_id *id, struct buf *frame_out,
                      struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc;

    store_chunk_path(id, path);
    rc = read_chunk(store, path, id, frame_out, err);
    return rc == -ENOENT ? err_set(err, rc, "chunk %s: missing", path + 3) : rc;
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
