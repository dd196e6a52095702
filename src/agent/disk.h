/* disk.h - how much a work folder holds, and its end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_ENTRIES_MAX                                                                           \
    500000 /* a walk counts no further: more files than that are over a limit */

/* Bytes on disk below an opened folder; follows no link, stays on its file system. More than
 * DISK_ENTRIES_MAX entries, or folders too deep to walk, count as INT64_MAX. */
int64_t disk_used_bytes(int folder_fd);
/* Bytes of files on the folder's file system that have no name any more but are held open or mapped
 * by descendants of `ancestor`: what a walk cannot see. As far as we may look at them. */
int64_t disk_hidden_bytes(int folder_fd, pid_t ancestor);
bool disk_is_empty(int folder_fd);
/* Remove a private work folder and all in it. With `keep_empty` one that is empty stays. */
void disk_clear_work(const char *path, bool keep_empty);
