/* scan.h - a file or folder as a tree that stays where it lies: named, and sent from there, without
 * a copy in a store.
 *
 * It is read once to be cut and named, and what is asked for then once more. A file that changes in
 * between is found by its time or size, and whoever takes the chunks checks their names. Belongs to
 * one thread. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

struct scan; /* opaque */

/* As store_put_as reads it, and with its errors. `path` is copied; `at_fd` must stay open. */
int scan_create(int at_fd, const char *path, const struct store_put_how *how,
                struct scan **scan_out, struct err *err);
void scan_destroy(struct scan *scan);
void scan_destroyp(struct scan **scan); /* for CLEANUP */

struct store_id scan_id(const struct scan *scan);
int64_t scan_content_bytes(const struct scan *scan);
/* Its text; good as long as the scan. */
const struct buf *scan_manifest(const struct scan *scan);
/* Append a chunk as bundle_add does (bundle.h). -ENOENT: not of this tree; -ESTALE: its file has
 * changed since. */
int scan_add(struct scan *scan, const struct store_id *id, struct buf *out, struct err *err);
