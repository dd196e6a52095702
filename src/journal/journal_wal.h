/* journal_wal.h - look at SQLite's write-ahead log before SQLite does.
 *
 * SQLite takes the log up to the first frame whose checksum fails and forgets the rest. That is
 * right for a commit that a crash tore, and silently loses answered records where a frame in the
 * middle went bad. The two can be told apart: a commit is begun only after the one before was
 * synced, so at most the last commit of the log can be torn. */
#pragma once

#include "base/err.h"

/* 0: absent, empty, whole or torn at its end. -EBADMSG: a frame that had been synced is damaged.
 * `path` is the database's; the log is `path`-wal. Changes nothing. */
int journal_wal_check(const char *path, struct err *err);
