/* Many chunks at once: shared out among the pool's workers in batches, so that the names of a batch
 * are found side by side (blake2b_many.h) and what is new of it is one pack (pack.h). */
#include "base/file.h"
#include "store/blake2b_many.h"
#include "store/chunker.h"
#include "store/pack.h"
#include "store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_PIECES_MIN 8u
#define BATCH_PIECES_MAX STORE_PACK_PIECES_MAX
#define BATCH_BYTES_MAX (8u << 20) /* of content */

static_assert(BATCH_BYTES_MAX >= CHUNK_BYTES_MAX, "a batch holds a chunk");

struct batch {
    uint32_t first, count;
    uint32_t pack; /* its number, should it become one */
    bool packed;
};

struct many {
    struct store *store;
    struct store_piece *pieces;
    struct batch batches[STORE_PIECES_MAX];
    uint32_t batches_count;
};

/* What each worker works with; what was made before a failure is kept for the next try. */
static int make_pool(struct store *store)
{
    if (!store->pool)
        store->pool = pool_create();
    for (uint32_t i = 0; store->pool && i < pool_workers(store->pool); i++) {
        if (store->contents[i])
            continue;
        store->frames[i] = buf_init(BATCH_PIECES_MAX * (size_t)FRAME_BYTES_MAX);
        if (!store->codecs[i])
            store->codecs[i] = frame_codec_create(store->params.level);
        store->contents[i] = store->codecs[i] ? malloc(BATCH_BYTES_MAX) : NULL;
        if (!store->contents[i])
            return -ENOMEM;
    }
    return store->pool ? 0 : -ENOMEM;
}

/* The same number of pieces for all, none too large. `bytes_of` says what a piece unpacks to. */
static void cut_batches(struct many *many, uint32_t count,
                        uint32_t (*bytes_of)(const struct store_piece *piece))
{
    uint32_t workers = pool_workers(many->store->pool);
    uint32_t each = MIN(MAX((count + workers - 1) / workers, BATCH_PIECES_MIN), BATCH_PIECES_MAX);
    uint32_t bytes = 0;

    many->batches_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t more = bytes_of(&many->pieces[i]);
        struct batch *batch = many->batches_count ? &many->batches[many->batches_count - 1] : NULL;

        if (!batch || batch->count == each || bytes + more > BATCH_BYTES_MAX) {
            batch = &many->batches[many->batches_count++];
            *batch = (struct batch){ .first = i, .pack = ++many->store->packs_made };
            bytes = 0;
        }
        batch->count++;
        bytes += more;
    }
}

/* What of a batch is new, on its way to the disk. */
struct fresh {
    struct pack_part parts[BATCH_PIECES_MAX];
    struct store_piece *pieces[BATCH_PIECES_MAX];
    uint8_t heads[BATCH_PIECES_MAX][FRAME_HEADER_BYTES];
    uint32_t count;
};

/* The file in tmp/ is made by whoever is first: two pieces of one content are one chunk. */
static int write_loose(struct store *store, const struct pack_part *part)
{
    char path[STORE_PATH_BYTES];
    int fd, rc;

    store_chunk_path(&part->id, path);
    fd = store_open_new(store, path + 3);
    if (fd < 0)
        return fd;
    rc = file_write_all(fd, part->head, part->head_len);
    if (rc == 0)
        rc = file_write_all(fd, part->body, part->body_len);
    store_write_behind(store, fd);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(store->tmp_fd, path + 3, 0);
    return rc;
}

static void write_fresh(struct store *store, struct batch *batch, struct fresh *fresh)
{
    int rc;

    for (uint32_t i = 0; i < fresh->count; i++)
        fresh->pieces[i]->stored = pack_part_bytes(&fresh->parts[i]);
    batch->packed = fresh->count > 1 && !store->no_packs;
    if (batch->packed) {
        rc = store_pack_write(store, fresh->parts, fresh->count, batch->pack, 0);
        for (uint32_t i = 0; i < fresh->count; i++) {
            fresh->pieces[i]->rc = rc;
            fresh->pieces[i]->is_new = rc == 0;
        }
        return;
    }
    for (uint32_t i = 0; i < fresh->count; i++) {
        rc = write_loose(store, &fresh->parts[i]);
        fresh->pieces[i]->rc = rc == -EEXIST ? 0 : rc;
        fresh->pieces[i]->is_new = rc == 0;
    }
}

/* Does the batch have it already? */
static bool is_repeated(const struct fresh *fresh, const struct store_id *id)
{
    for (uint32_t i = 0; i < fresh->count; i++)
        if (store_id_is_equal(&fresh->parts[i].id, id))
            return true;
    return false;
}

/* --- cut here --------------------------------------------------------------------------------- */

/* Its frame: header and content apart where it is not compressed. */
static int frame_piece(struct store *store, uint32_t worker, struct store_piece *piece,
                       struct fresh *fresh)
{
    struct buf *frames = &store->frames[worker];
    struct pack_part *part = &fresh->parts[fresh->count];
    size_t before = frames->len;
    int rc;

    *part = (struct pack_part){ .id = piece->chunk.id };
    fresh->pieces[fresh->count] = piece;
    if (!frame_is_worth_packing(store->codecs[worker])) {
        frame_plain_header(piece->len, fresh->heads[fresh->count]);
        part->head = fresh->heads[fresh->count++];
        part->head_len = FRAME_HEADER_BYTES;
        part->body = piece->content;
        part->body_len = (uint32_t)piece->len;
        return 0;
    }
    rc = frame_encode(store->codecs[worker], piece->content, piece->len, frames);
    if (rc < 0)
        return rc;
    part->body = frames->data + before; /* room for a whole batch was made: it stays there */
    part->body_len = (uint32_t)(frames->len - before);
    fresh->count++;
    return 0;
}

static uint32_t added_bytes(const struct store_piece *piece)
{
    return (uint32_t)piece->len;
}

static void add_batch(void *context, uint32_t worker, uint32_t index)
{
    struct many *many = context;
    struct store *store = many->store;
    struct batch *batch = &many->batches[index];
    struct store_piece *pieces = &many->pieces[batch->first];
    uint32_t count = batch->count;
    struct blake2b_piece names[BATCH_PIECES_MAX];
    struct fresh fresh = { .count = 0 };
    int rc = 0;

    buf_clear(&store->frames[worker]);
    rc = buf_reserve(&store->frames[worker], (size_t)count * FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < count; i++)
        names[i] = (struct blake2b_piece){ .data = pieces[i].content, .len = pieces[i].len };
    blake2b_many(names, count);
    for (uint32_t i = 0; i < count; i++) {
        struct store_piece *piece = &pieces[i];

        memcpy(piece->chunk.id.bytes, names[i].digest, STORE_ID_BYTES);
        piece->chunk.bytes = (uint32_t)piece->len;
        piece->is_new = false;
        piece->rc = rc;
        if (rc == 0 && !store_has_chunk(store, &piece->chunk.id) &&
            !is_repeated(&fresh, &piece->chunk.id))
            piece->rc = frame_piece(store, worker, piece, &fresh);
    }
    write_fresh(store, batch, &fresh);
}

/* --- come from elsewhere ---------------------------------------------------------------------- */

/* As its header says; what is no header is refused when its turn comes. */
static uint32_t imported_bytes(const struct store_piece *piece)
{
    uint32_t bytes = 0;

    return frame_content_bytes(piece->content, piece->len, &bytes) == 0 ? bytes : 0;
}

/* What a frame unpacks to must have its name. */
static void import_batch(void *context, uint32_t worker, uint32_t index)
{
    struct many *many = context;
    struct store *store = many->store;
    struct batch *batch = &many->batches[index];
    struct blake2b_piece names[BATCH_PIECES_MAX];
    struct store_piece *named[BATCH_PIECES_MAX];
    struct fresh fresh = { .count = 0 };
    uint8_t *room = store->contents[worker];
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        struct store_piece *piece = &many->pieces[batch->first + i];
        const uint8_t *content;
        struct err err;

        piece->is_new = false;
        piece->rc = 0;
        if (store_has_chunk(store, &piece->chunk.id))
            continue;
        piece->rc = frame_unpack(store->codecs[worker], piece->content, piece->len,
                                 &piece->chunk.id, room, &content, &piece->chunk.bytes, &err);
        if (piece->rc < 0)
            continue;
        room += content == room ? piece->chunk.bytes : 0;
        names[count] = (struct blake2b_piece){ .data = content, .len = piece->chunk.bytes };
        named[count++] = piece;
    }
    blake2b_many(names, count);
    for (uint32_t i = 0; i < count; i++) {
        struct store_piece *piece = named[i];

        if (memcmp(piece->chunk.id.bytes, names[i].digest, STORE_ID_BYTES) != 0) {
            piece->rc = -EBADMSG;
        } else if (!is_repeated(&fresh, &piece->chunk.id)) {
            fresh.pieces[fresh.count] = piece;
            fresh.parts[fresh.count++] = (struct pack_part){ .id = piece->chunk.id,
                                                             .body = piece->content,
                                                             .body_len = (uint32_t)piece->len };
        }
    }
    write_fresh(store, batch, &fresh);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void make_pending(struct store *store, const struct batch *batch,
                         const struct store_piece *pieces)
{
    for (uint32_t i = 0; i < batch->count; i++)
        if (pieces[i].is_new)
            store_pending_add(store,
                              &(struct pending){ .id = pieces[i].chunk.id,
                                                 .pack = batch->packed ? batch->pack : 0 },
                              (int64_t)pieces[i].stored);
}

/* By all workers; by the caller alone where tests look at each step. */
static int run_batches(struct many *many,
                       void (*work)(void *context, uint32_t worker, uint32_t batch),
                       struct err *err)
{
    int rc = 0;

    if (!many->store->params.step) {
        pool_run(many->store->pool, many->batches_count, work, many);
        return 0;
    }
    for (uint32_t i = 0; rc == 0 && i < many->batches_count; i++) {
        rc = store_step(many->store, "pack", err);
        if (rc == 0)
            work(many, 0, i);
    }
    return rc;
}

/* What is new is pending. */
static int run_many(struct store *store, struct store_piece *pieces, uint32_t count,
                    uint32_t (*bytes_of)(const struct store_piece *piece),
                    void (*work)(void *context, uint32_t worker, uint32_t batch), struct err *err)
{
    struct many many = { .store = store, .pieces = pieces };
    int rc = make_pool(store) < 0 ? err_set(err, -ENOMEM, "store: out of memory") : 0;

    if (rc == 0 && store->pending_count + count > STORE_BATCH_CHUNKS)
        rc = store_flush(store, err);
    if (rc < 0)
        return rc;
    cut_batches(&many, count, bytes_of);
    rc = run_batches(&many, work, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        const struct store_piece *piece = &pieces[i];
        char name[STORE_ID_TEXT_BYTES];

        if (piece->rc < 0 && rc == 0) {
            store_id_format(&piece->chunk.id, name);
            rc = err_set(err, piece->rc, "store: chunk %s: %s", name,
                         piece->rc == -EBADMSG ? "not what its name says" : strerror(-piece->rc));
        }
    }
    for (uint32_t i = 0; i < many.batches_count; i++)
        make_pending(store, &many.batches[i], &pieces[many.batches[i].first]);
    if (rc == 0 && store->pending_bytes >= STORE_BATCH_BYTES)
        rc = store_flush(store, err);
    return rc;
}

int store_chunk_add_many(struct store *store, struct store_piece *pieces, uint32_t count,
                         struct store_put_result *result, struct err *err)
{
    int rc;

    if (count == 0)
        return 0;
    if (count == 1)
        return store_chunk_add(store, pieces[0].content, pieces[0].len, &pieces[0].chunk, result,
                               err);
    rc = run_many(store, pieces, count, added_bytes, add_batch, err);
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
    if (count == 0)
        return 0;
    if (count == 1)
        return store_chunk_import(store, &pieces[0].chunk.id, pieces[0].content, pieces[0].len,
                                  err);
    return run_many(store, pieces, count, imported_bytes, import_batch, err);
}

/* --- out again -------------------------------------------------------------------------------- */

#define LAID_AT_ONCE 16u
static_assert(LAID_AT_ONCE * CHUNK_BYTES_MAX <= BATCH_BYTES_MAX, "they are unpacked side by side");

struct laying {
    struct store *store;
    const struct chunk_ref *chunks;
    uint32_t count;
    int fd;
    int64_t offsets[STORE_PIECES_MAX];
    int rcs[STORE_PIECES_MAX];
};

static int write_at(int fd, const uint8_t *data, size_t len, int64_t at)
{
    while (len) {
        ssize_t done = pwrite(fd, data, len, at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        data += done;
        len -= (size_t)done;
        at += done;
    }
    return 0;
}

static void lay_batch(void *context, uint32_t worker, uint32_t index)
{
    struct laying *laying = context;
    struct store *store = laying->store;
    uint32_t first = index * LAID_AT_ONCE;
    uint32_t count = MIN(LAID_AT_ONCE, laying->count - first);
    struct buf *frames = &store->frames[worker];
    struct blake2b_piece names[LAID_AT_ONCE];
    uint8_t *room = store->contents[worker];
    struct err err;
    int failed;

    buf_clear(frames);
    failed = buf_reserve(frames, LAID_AT_ONCE * (size_t)FRAME_BYTES_MAX); /* it stays where it is */
    for (uint32_t i = 0; i < count; i++) {
        const struct chunk_ref *chunk = &laying->chunks[first + i];
        const uint8_t *content = room;
        size_t before = frames->len;
        char path[STORE_PATH_BYTES];
        uint32_t bytes = 0;
        int rc = failed;

        store_chunk_path(&chunk->id, path);
        if (rc == 0)
            rc = store_frame_read(store, path, &chunk->id, frames, &err);
        if (rc == 0)
            rc = frame_unpack(store->codecs[worker], frames->data + before, frames->len - before,
                              &chunk->id, room, &content, &bytes, &err);
        room += rc == 0 && content == room ? bytes : 0;
        names[i] = (struct blake2b_piece){ .data = content, .len = rc == 0 ? bytes : 0 };
        laying->rcs[first + i] = rc;
    }
    blake2b_many(names, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct chunk_ref *chunk = &laying->chunks[first + i];
        int *rc = &laying->rcs[first + i];

        if (*rc == 0 && memcmp(chunk->id.bytes, names[i].digest, STORE_ID_BYTES) != 0)
            *rc = -EBADMSG;
        else if (*rc == 0 && names[i].len != chunk->bytes)
            *rc = -EPROTO; /* the chunk is what its name says: the manifest lies */
        if (*rc == 0)
            *rc = write_at(laying->fd, names[i].data, names[i].len, laying->offsets[first + i]);
    }
}

int store_chunk_lay_many(struct store *store, const struct chunk_ref *chunks, uint32_t count,
                         int fd, int64_t offset, struct err *err)
{
    struct laying laying = { .store = store, .chunks = chunks, .fd = fd };

    if (make_pool(store) < 0)
        return err_set(err, -ENOMEM, "store: out of memory");
    for (; count; count -= laying.count, laying.chunks += laying.count) {
        laying.count = MIN(count, STORE_PIECES_MAX);
        for (uint32_t i = 0; i < laying.count; i++) {
            laying.offsets[i] = offset;
            offset += laying.chunks[i].bytes;
        }
        pool_run(store->pool, (laying.count + LAID_AT_ONCE - 1) / LAID_AT_ONCE, lay_batch, &laying);
        for (uint32_t i = 0; i < laying.count; i++) {
            char path[STORE_PATH_BYTES];
            int rc = laying.rcs[i];

            store_chunk_path(&laying.chunks[i].id, path);
            if (rc == -EBADMSG) /* it is of no use, and would count as here */
                unlinkat(store->chunks_fd, path, 0);
            if (rc < 0)
                return err_set(err, rc, "chunk %s: %s", path + 3,
                               rc == -ENOENT    ? "missing"
                               : rc == -EBADMSG ? "damaged, removed"
                               : rc == -EPROTO  ? "of another size than the manifest says"
                                                : strerror(-rc));
        }
    }
    return 0;
}
