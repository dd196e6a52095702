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

/* --- many at once ----------------------------------------------------------------------------- */

static int make_pool(struct store *store)
{
    if (store->pool)
        return 0;
    store->pool = pool_create();
    for (uint32_t i = 0; store->pool && i < pool_workers(store->pool); i++) {
        store->frames[i] = buf_init(FRAME_BYTES_MAX);
        store->codecs[i] = frame_codec_create(store->params.level);
        store->contents[i] = malloc(CHUNK_BYTES_MAX);
        if (!store->codecs[i] || !store->contents[i])
            return -ENOMEM;
    }
    return store->pool ? 0 : -ENOMEM;
}

struct adding {
    struct store *store;
    struct store_piece *pieces;
};

/* The file in tmp/ is made by whoever is first: two pieces of one content are one chunk. */
static int write_piece(struct store *store, struct store_piece *piece, const void *frame,
                       size_t len)
{
    char path[STORE_PATH_BYTES];
    int fd, rc;

    store_chunk_path(&piece->chunk.id, path);
    fd =
        openat(store->tmp_fd, path + 3, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    rc = file_write_all(fd, frame, len);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(store->tmp_fd, path + 3, 0);
    piece->is_new = rc == 0;
    piece->stored = len;
    return rc;
}

/* Where packing saves little, as with weights of models, only every eighth chunk is tried. */
#define PLAIN_RUN 7u
static int pack_piece(struct store *store, uint32_t worker, const struct store_piece *piece)
{
    struct buf *frame = &store->frames[worker];
    int rc;

    buf_clear(frame);
    if (store->plain[worker]) {
        store->plain[worker]--;
        return frame_encode_plain(piece->content, piece->len, frame);
    }
    rc = frame_encode(store->codecs[worker], piece->content, piece->len, frame);
    if (rc == 0 && frame->len > piece->len - piece->len / 8)
        store->plain[worker] = PLAIN_RUN;
    return rc;
}

static void add_piece(void *context, uint32_t worker, uint32_t index)
{
    struct adding *adding = context;
    struct store *store = adding->store;
    struct store_piece *piece = &adding->pieces[index];
    struct buf *frame = &store->frames[worker];

    piece->chunk = (struct chunk_ref){ .id = store_id_of(piece->content, piece->len),
                                       .bytes = (uint32_t)piece->len };
    piece->is_new = false;
    piece->rc = 0;
    if (store_has_chunk(store, &piece->chunk.id))
        return;
    piece->rc = pack_piece(store, worker, piece);
    if (piece->rc == 0)
        piece->rc = write_piece(store, piece, frame->data, frame->len);
}

/* Of somebody else: what it unpacks to must have its name. */
static void import_piece(void *context, uint32_t worker, uint32_t index)
{
    struct adding *adding = context;
    struct store *store = adding->store;
    struct store_piece *piece = &adding->pieces[index];
    struct err err;

    piece->is_new = false;
    piece->rc = 0;
    if (store_has_chunk(store, &piece->chunk.id))
        return;
    piece->rc = frame_decode(store->codecs[worker], piece->content, piece->len, &piece->chunk.id,
                             store->contents[worker], &piece->chunk.bytes, &err);
    if (piece->rc == 0)
        piece->rc = write_piece(store, piece, piece->content, piece->len);
}

static int add_one_by_one(struct store *store, struct store_piece *pieces, uint32_t count,
                          struct store_put_result *result, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc =
            store_chunk_add(store, pieces[i].content, pieces[i].len, &pieces[i].chunk, result, err);
    return rc;
}

/* By all workers; what is new is pending. */
static int run_many(struct store *store, struct store_piece *pieces, uint32_t count,
                    void (*work)(void *context, uint32_t worker, uint32_t piece), struct err *err)
{
    struct adding adding = { store, pieces };
    int rc = make_pool(store) < 0 ? err_set(err, -ENOMEM, "store: out of memory") : 0;

    if (rc == 0 && store->pending_count + count > STORE_BATCH_CHUNKS)
        rc = store_flush(store, err);
    if (rc < 0)
        return rc;
    pool_run(store->pool, count, work, &adding);
    for (uint32_t i = 0; i < count; i++) {
        const struct store_piece *piece = &pieces[i];
        char name[STORE_ID_TEXT_BYTES];

        if (piece->rc < 0 && rc == 0) {
            store_id_format(&piece->chunk.id, name);
            rc = err_set(err, piece->rc, "store: chunk %s: %s", name,
                         piece->rc == -EBADMSG ? "not what its name says" : strerror(-piece->rc));
        }
        if (!piece->is_new)
            continue;
        store->pending[store->pending_count++] = piece->chunk.id;
        store->pending_bytes += (int64_t)piece->stored;
    }
    if (rc == 0 && store->pending_bytes >= STORE_BATCH_BYTES)
        rc = store_flush(store, err);
    return rc;
}

int store_chunk_add_many(struct store *store, struct store_piece *pieces, uint32_t count,
                         struct store_put_result *result, struct err *err)
{
    int rc;

    if (store->params.step || count < 2)
        return add_one_by_one(store, pieces, count, result, err);
    rc = run_many(store, pieces, count, add_piece, err);
    for (uint32_t i = 0; i < count; i++) {
        const struct store_piece *piece = &pieces[i];

        result->chunks_count++;
        result->content_bytes += (int64_t)piece->len;
        if (!piece->is_new)
            continue;
        result->new_chunks_count++;
        result->new_bytes += (int64_t)piece->len;
        result->stored_bytes += (int64_t)piece->stored;
    }
    return rc;
}

int store_chunk_import_many(struct store *store, struct store_piece *pieces, uint32_t count,
                            struct err *err)
{
    int rc = 0;

    if (!store->params.step && count > 1)
        return run_many(store, pieces, count, import_piece, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = store_chunk_import(store, &pieces[i].chunk.id, pieces[i].content, pieces[i].len, err);
    return rc;
}

/* What is pending gets its name first. */
static int read_chunk(struct store *store, const char *path, struct buf *frame_out, struct err *err)
{
    int rc = store_read(store->chunks_fd, path, frame_out, err);

    if (rc != -ENOENT || store->pending_count == 0)
        return rc;
    rc = store_flush(store, err);
    return rc < 0 ? rc : store_read(store->chunks_fd, path, frame_out, err);
}

/* Read and check; a damaged one is removed, as it is of no use and would count as here. */
static int load(struct store *store, const struct store_id *id, uint32_t *bytes_out,
                struct err *err)
{
    char path[STORE_PATH_BYTES];
    int rc;

    store_chunk_path(id, path);
    buf_clear(&store->frame);
    rc = read_chunk(store, path, &store->frame, err);
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
    rc = read_chunk(store, path, frame_out, err);
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
