/* tree_walk.h - read a file or folder as a tree: cut into chunks, in the order of its manifest.
 *
 * What becomes of the chunks is the caller's: store_put keeps them, a scan only names them. Each
 * file is the same before and after it was read, or it is -EAGAIN. */
#pragma once

#include "store/store_internal.h"

#include <sys/stat.h>

struct tree_walk {
    const struct store_put_how *put;
    /* `chunk` of each piece is to be filled in; the pieces' content is good during the call. */
    int (*take)(void *context, struct store_piece *pieces, uint32_t count, struct err *err);
    /* A file, the newest entry, was read to its end. NULL = not wanted. */
    int (*file)(void *context, const struct stat *st, struct err *err);
    void *context;
};

/* As store_put_as says it, into a fresh manifest. */
int tree_walk_run(const struct tree_walk *how, int at_fd, const char *path,
                  struct manifest *manifest, struct err *err);
