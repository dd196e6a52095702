/* tree.h - walking and copying folders that somebody else may have filled with traps.
 *
 * Paths are relative to an opened folder and never leave it; no link is followed, no FIFO or
 * device opened. What is not a plain file or folder is passed over. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TREE_DEPTH_MAX 64
#define TREE_VISITS_MAX 500000u

/* Open what `path` (relative, no "..") names below the folder, whoever made the links on the way.
 * -ELOOP or -EXDEV: it would leave. */
int tree_open(int folder_fd, const char *path, int flags, mode_t mode);
/* mkdir -p of a path below the folder; with `parents_only` all but its last part. */
int tree_make(int folder_fd, const char *path, bool parents_only);

/* The names in an opened folder, sorted; free with tree_names_free. */
int tree_names(int folder_fd, char ***names_out, size_t *count_out);
void tree_names_free(char **names, size_t count);

/* One name that matched: `path` relative to the folder. Non-zero ends the walk and is returned. */
typedef int (*tree_match_fn)(void *context, const char *path, bool is_folder);
/* Everything that a pattern names: '*', '?' and [sets] inside one part of the path, "**" for any
 * number of parts. In the order of names. Each name looked at costs a visit, and several "**" look
 * at one often; -E2BIG when none is left. */
int tree_match(int folder_fd, const char *pattern, uint32_t *visits_left, tree_match_fn matched,
               void *context);

/* Copy the bytes of one opened file to another. -errno. */
int tree_copy_bytes(int from_fd, int to_fd);
