/* store.h - a content-addressed store of files, one folder on disk (docs/store.md).
 *
 * Files are cut into chunks by content (chunker.h), a chunk is kept once under the name of its
 * content (frame.h), a tree of files is a manifest (manifest.h), and what is to stay is held by a
 * root: a name with a lease. Versions that differ by a little share all else.
 *
 * A store belongs to one process (a lock on the folder refuses a second one) and to one thread.
 * Functions give 0 or -errno and fill `err` when it is not NULL.
 *
 * Durable: a chunk has its name only after its bytes were synced, a manifest only after its chunks,
 * a root only after its manifest. So whatever the moment of a crash, what a root holds is whole;
 * what was on its way is in tmp/, which is emptied when the store is opened. Syncing is by batch
 * (STORE_BATCH_BYTES), one syncfs each. With `sync` false nothing is synced: for caches that can be
 * made again; after a power loss, verify.
 *
 * Moving a tree to another store: export the manifest there, import it and hold it by a root; ask
 * store_missing; export and import those chunks, in any order, as often as the link breaks; flush;
 * ask again until nothing is missing. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "store/id.h"
#include "store/manifest.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_BATCH_BYTES (1LL << 30)
#define STORE_BATCH_CHUNKS 16384u
#define STORE_ROOT_NAME_BYTES_MAX 128u
#define STORE_ROOTS_MAX 100000u

struct store; /* opaque */

struct store_params {
    bool sync;
    int level; /* zstd's, -7 .. 19 */
    struct manifest_limits limits;
    /* Tests: called before each step that changes the disk, with its name; what it returns other
     * than 0 stops the call there, as the end of the process would. NULL: never. */
    int (*step)(void *context, const char *name);
    void *step_context;
};

/* Synced, level 1, default limits. */
struct store_params store_params_default(void);

/* Open, or make, the store in folder `path`. -EBUSY: another process has it; -EPROTONOSUPPORT: a
 * format of another version; -ENOTDIR, ... */
int store_open(const char *path, const struct store_params *params, struct store **store_out,
               struct err *err);
/* What was not flushed is forgotten. NULL is fine. */
void store_close(struct store *store);
void store_closep(struct store **store);

struct store_put_result {
    int64_t content_bytes; /* of all files */
    int64_t new_bytes;     /* content of chunks that the store did not have */
    int64_t stored_bytes;  /* what they take, compressed, headers included */
    int64_t chunks_count;
    int64_t new_chunks_count;
    int64_t manifest_bytes;
    int64_t newest_ms; /* when the newest file, as it was read, was written; Unix, 0 = no file */
    uint32_t files_count, entries_count;
};

/* Take in a file, or the content of a folder, at `path` relative to `at_fd` (or AT_FDCWD). Opened
 * without following links; links in a folder are kept as links, when manifest.h allows them. A file
 * becomes a tree of one entry, by its last name. -EINVAL: something that cannot be kept (device,
 * socket, link that leads out, name with control bytes); -EAGAIN: a file changed while it was read;
 * -EFBIG: limits. `result_out` may be NULL. */
int store_put(struct store *store, int at_fd, const char *path, struct store_id *id_out,
              struct store_put_result *result_out, struct err *err);
/* The same with more said. With `named`, a folder stands in the tree by its last name too, so that
 * it can be told from a file. With `guarded`, whatever uid `reader` could not read by its owner or
 * by the rights of all is refused (-EACCES): for trees that somebody else asks us to read. */
struct store_put_how {
    bool named;
    bool guarded;
    uint32_t reader;
};
int store_put_as(struct store *store, int at_fd, const char *path, const struct store_put_how *how,
                 struct store_id *id_out, struct store_put_result *result_out, struct err *err);
/* Lay the tree out as folder `path`, which must not be there (-EEXIST), in a folder where nobody
 * else writes: made beside it and renamed when whole. Every chunk is checked.
 * -ENOENT, -EBADMSG: a chunk is missing or was damaged (and is now missing); it is named. */
int store_get(struct store *store, const struct store_id *id, int at_fd, const char *path,
              struct err *err);

/* The newest mark of time on a manifest decides what leaves first; reading it marks it.
 * -ENOENT; -EBADMSG damaged (and now gone). Free with manifest_fini. */
int store_manifest_read(struct store *store, const struct store_id *id,
                        struct manifest *manifest_out, struct err *err);
/* Append its text, checked. */
int store_manifest_export(struct store *store, const struct store_id *id, struct buf *text_out,
                          struct err *err);
/* Text from anybody: checked in full; its name is what it is. Flushes. -EBADMSG, -EINVAL, -EFBIG.
 */
int store_manifest_import(struct store *store, const void *text, size_t len,
                          struct store_id *id_out, struct err *err);

/* A list of chunks, each once, in the order of first use; free with chunk_list_fini. */
struct chunk_list {
    struct chunk_ref *chunks;
    uint32_t count;
    uint32_t room;
    int64_t bytes; /* of content, together; 0 for chunks of unknown size */
};
void chunk_list_fini(struct chunk_list *list);
int chunk_list_add(struct chunk_list *list, const struct chunk_ref *chunk); /* -ENOMEM, -EFBIG */

/* The chunks of a manifest that are not here: what a transfer has to bring. */
int store_missing(struct store *store, const struct manifest *manifest, struct chunk_list *list_out,
                  struct err *err);
/* Read and check every chunk of a manifest, or of the store (`id` NULL; then every manifest too).
 * What is missing or damaged is listed; what is damaged is removed, so that it is fetched again.
 * -EBADMSG: a manifest was damaged (named, and removed): ask again. */
int store_verify(struct store *store, const struct store_id *id, struct chunk_list *bad_out,
                 struct err *err);

/* Append a chunk's content, checked against its name and, where it is told, its size. -ENOENT,
 * -EBADMSG (removed), -EPROTO: it has another size. */
int store_chunk_read(struct store *store, const struct chunk_ref *chunk, struct buf *content_out,
                     struct err *err);
bool store_has_chunk(struct store *store, const struct store_id *id);
/* Append one chunk's frame, checked. -ENOENT, -EBADMSG (removed). */
int store_chunk_export(struct store *store, const struct store_id *id, struct buf *frame_out,
                       struct err *err);
/* The same without the check, for one who checks himself. */
int store_chunk_frame(struct store *store, const struct store_id *id, struct buf *frame_out,
                      struct err *err);
/* Take in a frame from anybody. 0 also when it is here already. -EBADMSG: not that chunk.
 * Durable, and seen by store_verify of the whole store, after store_flush. */
int store_chunk_import(struct store *store, const struct store_id *id, const void *frame,
                       size_t len, struct err *err);
int store_flush(struct store *store, struct err *err);

/* Hold a manifest by a name, until `until_ms` (Unix; 0 = without end); an older root of that name
 * is replaced. Names: 1 .. STORE_ROOT_NAME_BYTES_MAX of A-Z a-z 0-9 . _ - and no '.' in front.
 * -ENOENT: no such manifest. */
int store_root_set(struct store *store, const char *name, const struct store_id *id,
                   int64_t until_ms, struct err *err);
int store_root_find(struct store *store, const char *name, struct store_id *id_out,
                    int64_t *until_ms_out, struct err *err);
int store_root_remove(struct store *store, const char *name, struct err *err);

struct store_gc_params {
    int64_t now_ms;    /* leases that ended before it are over */
    int64_t bytes_max; /* what chunks may take on disk; held ones stay even above it */
    int64_t orphan_ms; /* chunks of no manifest stay that long (a manifest may be on its way) */
};

struct store_gc_result {
    int64_t kept_bytes; /* of chunk files */
    int64_t freed_bytes;
    int64_t held_bytes; /* of kept_bytes, what roots hold */
    uint32_t kept_chunks_count;
    uint32_t freed_chunks_count;
    uint32_t freed_manifests_count;
    uint32_t ended_roots_count;
};

/* Roots whose lease is over go. What no root holds stays, least recently used manifests leaving
 * first, as far as `bytes_max` has room. */
int store_gc(struct store *store, const struct store_gc_params *params,
             struct store_gc_result *result_out, struct err *err);
