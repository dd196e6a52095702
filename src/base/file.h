/* file.h - whole files, safely. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

/* Append the whole file to `buf`. -EFBIG past its ceiling; -errno of open/read. */
int file_read(const char *path, struct buf *buf, struct err *err);
/* Write through a temporary beside it and rename: readers see the old or the new file, never a
 * part. With `sync`, both file and folder are fsynced before the answer. */
int file_write(const char *path, const void *data, size_t len, mode_t mode, bool sync,
               struct err *err);
/* For what a user names on a command line: the same, but through a symbolic link to what it names,
 * and straight into what is no plain file (a terminal, a pipe, /dev/null), which stays. */
int file_put(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* Could file_put begin? Nothing is changed. -EISDIR, or -errno of making a file there. */
int file_check_put(const char *path, struct err *err);
/* All of it, through interruptions and short writes. 0 or -errno. */
int file_write_all(int fd, const char *data, size_t len);
/* mkdir -p; existing folders are fine. */
int dir_make(const char *path, mode_t mode, struct err *err);
/* Remove a folder and all in it; follows no link; absent is fine. */
int dir_remove(const char *path, struct err *err);
/* malloc'd "a/b/c" of printf-style parts; NULL when memory is short. */
char *path_format(const char *fmt, ...) PRINTF_LIKE(1, 2);
