/* manifest.h - what a tree of files is made of: folders, files as lists of chunks, links.
 *
 * As text (docs/store.md), one line a fact, so that it can be read by eye; the id of a manifest is
 * the BLAKE2b-256 of its text, and one tree has one text: entries stand in order, numbers have one
 * spelling. Whoever builds one and whoever reads one passes the same checks:
 *
 *   paths  relative; 1 .. MANIFEST_PATH_BYTES_MAX bytes; no empty part, no "." or "..", no control
 *          bytes; at most MANIFEST_DEPTH_MAX parts; below a folder that is an entry itself
 *   modes  permission bits only: no set-id, no devices, no owners
 *   links  relative; ".." only in front and no more often than the link is deep. As parents are
 *          folders, never links, no chain of such links leads out of the tree
 *   files  every chunk but the last has CHUNK_BYTES_MIN bytes at least, so that a short text cannot
 *          ask for much work; sizes are stated and are the sum of the chunks
 *
 * A manifest owns its strings and arrays; belongs to one thread. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "store/id.h"

#include <stdint.h>

#define MANIFEST_PATH_BYTES_MAX 4095u
#define MANIFEST_NAME_BYTES_MAX 255u
#define MANIFEST_DEPTH_MAX 60u
#define MANIFEST_ENTRIES_MAX 1000000u
#define MANIFEST_CHUNKS_MAX 4000000u /* 512 GiB at the average */
#define MANIFEST_BYTES_MAX (512ull << 20)

enum manifest_kind { MANIFEST_DIR, MANIFEST_FILE, MANIFEST_LINK };

struct manifest_entry {
    enum manifest_kind kind;
    uint32_t mode;         /* 0 .. 0777; links: 0 */
    uint32_t chunk_first;  /* files: index into chunks */
    uint32_t chunks_count; /* files */
    int64_t bytes;         /* files */
    const char *path;
    const char *target; /* links; else NULL */
};

struct manifest_limits {
    uint32_t entries_max;
    uint32_t chunks_max;
    int64_t content_bytes_max; /* of all files together, unpacked */
};

struct manifest {
    struct manifest_entry *entries;
    uint32_t entries_count;
    uint32_t entries_room;
    struct chunk_ref *chunks; /* of all files, in order; the same chunk may be there many times */
    uint32_t chunks_count;
    uint32_t chunks_room;
    int64_t content_bytes;
    struct manifest_limits limits;
    struct arena text;
};

/* MANIFEST_ENTRIES_MAX, MANIFEST_CHUNKS_MAX, 4 TiB. */
struct manifest_limits manifest_limits_default(void);

/* Limits above the default ones are lowered to them. */
struct manifest manifest_init(const struct manifest_limits *limits);
void manifest_fini(struct manifest *manifest);

/* Add the next entry, in order (manifest_path_compare). -EINVAL: against the rules above;
 * -EFBIG: against the limits; -ENOMEM. Nothing changes on failure. */
int manifest_add_dir(struct manifest *manifest, const char *path, uint32_t mode, struct err *err);
int manifest_add_link(struct manifest *manifest, const char *path, const char *target,
                      struct err *err);
/* A file, empty so far; chunks are added to the newest entry, which must be a file. */
int manifest_add_file(struct manifest *manifest, const char *path, uint32_t mode, struct err *err);
int manifest_add_chunk(struct manifest *manifest, const struct chunk_ref *chunk, struct err *err);

/* NULL: none of that path. */
const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path);
/* What a file holds, as a name: equal for equal content. Of a file of one chunk, or none, the
 * BLAKE2b-256 of its content; of a larger one that of the names of its chunks. */
struct store_id manifest_digest(const struct manifest *manifest,
                                const struct manifest_entry *entry);

/* Append the text. -ENOSPC, -ENOMEM. */
int manifest_print(const struct manifest *manifest, struct buf *text_out);
/* Read a whole text, from anybody, into a fresh manifest; the line at fault is named. -EBADMSG: not
 * a manifest; -EINVAL, -EFBIG as above. On failure there is nothing to free. */
int manifest_parse(const char *text, size_t len, const struct manifest_limits *limits,
                   struct manifest *manifest_out, struct err *err);

/* As bytes, but '/' comes before all: a folder's content follows it at once. */
int manifest_path_compare(const char *a, const char *b);
