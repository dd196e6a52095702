/* store_internal.h - what the parts of the store share. */
#pragma once

#include "store/frame.h"
#include "store/pack.h"
#include "store/pool.h"
#include "store/store.h"

#include <dirent.h>

#define STORE_PATH_BYTES (3 + STORE_ID_TEXT_BYTES) /* "ab/" and the name */
#define STORE_FILE_SUFFIX_PART ".part"

#define STORE_PIECES_MAX 256u
struct store_piece {
    const uint8_t *content;
    size_t len;
    struct chunk_ref chunk; /* filled in, as what follows */
    bool is_new;
    size_t stored;
    int rc;
};

struct pending {
    struct store_id id;
    uint32_t pack; /* tmp/pack-N has it; 0 = a file of its own name */
    bool renames;  /* takes the place of what has its name (gc) */
};

struct store {
    struct store_params params;
    struct frame_codec *codec;
    struct pool *pool;                            /* made when there is work for it; NULL before */
    struct frame_codec *codecs[POOL_WORKERS_MAX]; /* of its workers, as these */
    struct buf frames[POOL_WORKERS_MAX];
    uint8_t *contents[POOL_WORKERS_MAX]; /* what a batch unpacks to (store_many.c) */
    struct pending *pending;             /* chunks in tmp/, not synced yet: STORE_BATCH_CHUNKS */
    uint32_t *pending_slots;             /* 2 * STORE_BATCH_CHUNKS: index + 1, found by name */
    uint32_t pending_count;
    int64_t pending_bytes;
    uint32_t packs_made; /* since it was opened: they need names in tmp/ */
    bool no_packs;       /* this file system has no hard links */
    uint8_t *content;    /* CHUNK_BYTES_MAX */
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

/* What was written goes to the disk from now on, so that the sync that waits for it is short. A
 * wish: it promises nothing. */
void store_write_behind(const struct store *store, int fd);

/* store_pending.c: `bytes` of a frame are in tmp/. The caller sees to it that there is room. */
void store_pending_add(struct store *store, const struct pending *pending, int64_t bytes);
bool store_pending_has(const struct store *store, const struct store_id *id);
#define STORE_PACK_NAME_BYTES 24u
void store_pack_name(uint32_t number, char name_out[STORE_PACK_NAME_BYTES]);
/* Write it as tmp/pack-NUMBER; `made_ms` (Unix) is when its chunks came, 0 = now. At most
 * STORE_PACK_PIECES_MAX parts, which are sorted. -errno, and there is none. */
#define STORE_PACK_PIECES_MAX 32u
int store_pack_write(const struct store *store, struct pack_part *parts, uint32_t count,
                     uint32_t number, int64_t made_ms);
/* A new file of tmp/, or -errno. */
int store_open_new(const struct store *store, const char *name);

/* Where a chunk is below chunks/. */
void store_chunk_path(const struct store_id *id, char path_out[STORE_PATH_BYTES]);
/* Append its frame, unchecked. -ENOENT without a line; else `err` says it. */
int store_frame_read(struct store *store, const char *path, const struct store_id *id,
                     struct buf *frame_out, struct err *err);
/* Cut out of `content`: hashed; framed and kept when it is new. */
int store_chunk_add(struct store *store, const uint8_t *content, size_t len,
                    struct chunk_ref *chunk_out, struct store_put_result *result, struct err *err);
/* The same for many at once, by the pool's workers. */
int store_chunk_add_many(struct store *store, struct store_piece *pieces, uint32_t count,
                         struct store_put_result *result, struct err *err);
/* As store_chunk_import, for many: `content` and `len` are frames, chunk.id their names. */
int store_chunk_import_many(struct store *store, struct store_piece *pieces, uint32_t count,
                            struct err *err);
/* Write the chunks of a manifest, one after the other from `offset` on, to a file: each checked
 * against its name and its size. What is damaged is removed. Nothing may be pending. */
int store_chunk_lay_many(struct store *store, const struct chunk_ref *chunks, uint32_t count,
                         int fd, int64_t offset, struct err *err);
/* Unpack into store->content, checked against the reference's name and, when it has one, its size.
 * A damaged one is removed. */
int store_chunk_load(struct store *store, const struct chunk_ref *chunk, uint32_t *bytes_out,
                     struct err *err);
/* Print, keep and name a manifest; its chunks are flushed first. */
int store_manifest_keep(struct store *store, const struct manifest *manifest,
                        struct store_id *id_out, int64_t *bytes_out, struct err *err);
/* A root's file as it says; -EBADMSG. */
int store_root_parse(const char *text, size_t len, struct store_id *id_out, int64_t *until_ms_out);
