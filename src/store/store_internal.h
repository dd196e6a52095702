/* store_internal.h - what the parts of the store share. */
#pragma once

#include "store/frame.h"
#include "store/pool.h"
#include "store/store.h"

#include <dirent.h>

#define STORE_PATH_BYTES (3 + STORE_ID_TEXT_BYTES) /* "ab/" and the name */
#define STORE_FILE_SUFFIX_PART ".part"

struct store {
    struct store_params params;
    struct frame_codec *codec;
    struct pool *pool;                            /* made when there is work for it; NULL before */
    struct frame_codec *codecs[POOL_WORKERS_MAX]; /* of its workers, as these */
    struct buf frames[POOL_WORKERS_MAX];
    uint8_t *contents[POOL_WORKERS_MAX]; /* CHUNK_BYTES_MAX each */
    uint32_t plain[POOL_WORKERS_MAX];    /* so many chunks more are not worth packing */
    struct store_id *pending;            /* chunks in tmp/, not synced yet */
    uint32_t pending_count;
    int64_t pending_bytes;
    uint8_t *content; /* CHUNK_BYTES_MAX */
    struct buf frame;
    int fd;
    int chunks_fd;
    int manifests_fd;
    int roots_fd;
    int tmp_fd;
    int lock_fd;
};

/* The hook of the tests: to be asked before each change of the disk. */
int store_step(const struct store *store, const char *name, struct err *err);
/* Write through tmp/, synced as the parameters say, and rename to `name` in folder `to_fd`. */
int store_write(struct store *store, int to_fd, const char *name, const void *data, size_t len,
                const char *step, struct err *err);
/* Append a file of a folder of the store. -ENOENT without a line; else `err` says it. */
int store_read(int dir_fd, const char *name, struct buf *data_out, struct err *err);
int store_sync_folder(const struct store *store, int dir_fd, struct err *err);
/* A DIR of its own over an opened folder; NULL with errno. */
DIR *store_list(int dir_fd);

/* Where a chunk is below chunks/. */
void store_chunk_path(const struct store_id *id, char path_out[STORE_PATH_BYTES]);
/* Cut out of `content`: hashed; framed and kept when it is new. */
int store_chunk_add(struct store *store, const uint8_t *content, size_t len,
                    struct chunk_ref *chunk_out, struct store_put_result *result, struct err *err);
/* The same for many at once, by the pool's workers; as one after the other where tests look at each
 * step. */
#define STORE_PIECES_MAX 256u
struct store_piece {
    const uint8_t *content;
    size_t len;
    struct chunk_ref chunk; /* filled in, as what follows */
    bool is_new;
    size_t stored;
    int rc;
};
int store_chunk_add_many(struct store *store, struct store_piece *pieces, uint32_t count,
                         struct store_put_result *result, struct err *err);
/* As store_chunk_import, for many: `content` and `len` are frames, chunk.id their names. */
int store_chunk_import_many(struct store *store, struct store_piece *pieces, uint32_t count,
                            struct err *err);
/* Unpack into store->content, checked against the reference's name and, when it has one, its size.
 * A damaged one is removed. */
int store_chunk_load(struct store *store, const struct chunk_ref *chunk, uint32_t *bytes_out,
                     struct err *err);
/* Print, keep and name a manifest; its chunks are flushed first. */
int store_manifest_keep(struct store *store, const struct manifest *manifest,
                        struct store_id *id_out, int64_t *bytes_out, struct err *err);
/* A root's file as it says; -EBADMSG. */
int store_root_parse(const char *text, size_t len, struct store_id *id_out, int64_t *until_ms_out);
