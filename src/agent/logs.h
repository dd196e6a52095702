/* logs.h - from the pipes of a job's stdout and stderr to bounded files.
 *
 * Each stream goes to `stdout` or `stderr` in the attempt's folder (made at its first byte) and,
 * where the job named one, to a file of the user's. Past the limit the kept log gets one line that
 * says so and the rest is dropped; the job never blocks on it. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct log_stream {
    const char *name; /* "stdout" */
    int pipe_fd;      /* read end, non-blocking; -1 = at its end */
    int file_fd;      /* -1 until the first byte */
    int user_fd;      /* -1 = none; owned by whoever opened it */
    int64_t bytes;
    bool truncated;
};
struct logs {
    struct log_stream streams[2]; /* stdout, stderr */
    int folder_fd;
    int64_t bytes_max; /* per stream */
};

/* Make the pipes; `write_fds_out` (close-on-exec) are for the ranks, the caller closes them. */
int logs_open(struct logs *logs, int folder_fd, int64_t bytes_max, int write_fds_out[2],
              struct err *err);
/* Move what is there now. False once the stream is at its end. */
bool logs_pump(struct logs *logs, int stream);
void logs_close(struct logs *logs);
