/* rclone.h - remotes of rclone (rclone.org) as sources and sinks: the user's own rclone, with his
 * settings, here. So credentials stay on his machine, and he reaches what he may reach.
 *
 *     rclone:REMOTE:PATH    as his settings name it
 *     s3://BUCKET/PATH      S3 with the credentials of the environment (AWS_ACCESS_KEY_ID, ...) */
#pragma once

#include "base/err.h"

#include <stdbool.h>

bool rclone_is_remote(const char *text);
/* Bring the file or folder to `path`, which is made. -ENOENT: rclone is not installed here; -EIO
 * with rclone's own last words. Ends with this process, should that end before. */
int rclone_fetch(const char *from, const char *path, struct err *err);
/* Bring what is in `folder` below the remote's path. What is there already, and the same by its
 * hash, is passed over, so that a sending that broke goes on; where a remote knows no hashes all is
 * sent. What else is there stays. Errors as above. */
int rclone_send(const char *folder, const char *to, struct err *err);
/* One file, to exactly that path. */
int rclone_send_file(const char *path, const char *to, struct err *err);
