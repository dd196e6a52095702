/* laid.h - from what was fetched for an attempt (agent_dir/staged/<job>.<epoch>/) into its work
 * folder: renamed where both are on one file system, else copied as the job's user. Nothing is
 * written outside the work folder, and no link is followed there. */
#pragma once

#include "base/err.h"

struct supervisor;

/* The folder of what was fetched; -ENOENT: nothing was. */
int laid_open(const struct supervisor *sup);
/* `name` of the opened folder `from` to path `to` of the work folder, folders above it made. What
 * is there stays, unless something of the same name comes: folders are merged, files replaced. `to`
 * "." puts a folder's content into the work folder itself. -errno. */
int laid_put(struct supervisor *sup, int from, const char *name, const char *to);
/* The same with what a path of the folder names. */
int laid_put_path(struct supervisor *sup, int from, const char *path, const char *to);
/* Away with what was fetched. */
void laid_clear(const struct supervisor *sup);
