/* files.h - trees of files between this machine and the network's store (docs/store.md).
 *
 * What is put is sent from where it lies; the network is asked what it has not. What is fetched is
 * kept in a cache of the user's ($XDG_CACHE_HOME/mains/store, else ~/.cache/mains/store), so that a
 * second version moves what changed. While another command has it, and where there is none, a
 * temporary one serves. */
#pragma once

#include "cli/remote.h"
#include "store/store.h"

struct files; /* opaque */
int files_open(const struct remote *remote, struct files **files_out, struct err *err);
void files_close(struct files *files);
void files_closep(struct files **files); /* for CLEANUP */

/* Bring a file or folder to the network. With `named`, a folder stands in its tree by its own name.
 * `bytes_out` (may be NULL): of content. -EAGAIN, -ESTALE: it changes while it is read. */
int files_put(struct files *files, const char *path, bool named, struct store_id *id_out,
              int64_t *bytes_out, struct err *err);
/* Bring a tree from the network into the cache, every chunk checked. */
int files_fetch(struct files *files, const struct store_id *id, struct err *err);
/* The same, and lay it out as folder `path`, which must not be there. */
int files_get(struct files *files, const struct store_id *id, const char *path, struct err *err);
/* The cache, opened; good until files_close. */
int files_store(struct files *files, struct store **store_out, struct err *err);
/* What all of it took on the wire so far, bodies of requests and answers. */
int64_t files_carried(const struct files *files);
