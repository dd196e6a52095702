/* journal_lock.h - "one process holds a journal at a time".
 *
 * The lock is flock on a file of its own, which the kernel lets go of with the process; the file
 * holds the pid for people and stays behind, unlocked. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

/* -EBUSY held (err names the pid); -EROFS, -EACCES, -ENOSPC, ...: cannot be made. */
int journal_lock_take(const char *path, int *fd_out, struct err *err);
/* Does a process hold it now? An absent lock is held by none. */
bool journal_lock_is_held(const char *path);
