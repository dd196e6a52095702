#include "agent/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PUMP_BYTES 65536
#define PUMP_ROUNDS_MAX 64 /* then the other stream, and the timers, get their turn */

int logs_open(struct logs *logs, int folder_fd, int64_t bytes_max, int write_fds_out[2],
              struct err *err)
{
    static const char *const names[2] = { "stdout", "stderr" };

    logs->folder_fd = folder_fd;
    logs->bytes_max = bytes_max;
    for (int i = 0; i < 2; i++)
        logs->streams[i] =
            (struct log_stream){ .name = names[i], .pipe_fd = -1, .file_fd = -1, .user_fd = -1 };
    for (int i = 0; i < 2; i++) {
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0) {
            int rc = -errno;

            if (i == 1)
                close(write_fds_out[0]);
            logs_close(logs);
            return err_set(err, rc, "pipe for %s: %s", names[i], strerror(-rc));
        }
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        logs->streams[i].pipe_fd = ends[0];
        write_fds_out[i] = ends[1];
    }
    return 0;
}

static void write_fully(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t put = write(fd, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return; /* a full disk must not stop the job's own writes */
        data += put;
        len -= (size_t)put;
    }
}

static void keep(struct logs *logs, struct log_stream *stream, const char *data, size_t len)
{
    char mark[128];
    int64_t room = logs->bytes_max - stream->bytes;

    if (stream->user_fd >= 0)
        write_fully(stream->user_fd, data, len);
    if (stream->truncated)
        return;
    if (stream->file_fd < 0)
        stream->file_fd = openat(logs->folder_fd, stream->name,
                                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (stream->file_fd < 0)
        return;
    if ((int64_t)len <= room) {
        write_fully(stream->file_fd, data, len);
        stream->bytes += (int64_t)len;
        return;
    }
    write_fully(stream->file_fd, data, (size_t)MAX(room, 0));
    snprintf(mark, sizeof(mark), "\n[mains: %s truncated at %" PRId64 " bytes]\n", stream->name,
             logs->bytes_max);
    write_fully(stream->file_fd, mark, strlen(mark));
    stream->bytes = logs->bytes_max;
    stream->truncated = true;
}

bool logs_pump(struct logs *logs, int index)
{
    struct log_stream *stream = &logs->streams[index];
    char data[PUMP_BYTES];

    for (int i = 0; i < PUMP_ROUNDS_MAX && stream->pipe_fd >= 0; i++) {
        ssize_t got = read(stream->pipe_fd, data, sizeof(data));

        if (got > 0) {
            keep(logs, stream, data, (size_t)got);
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return true;
        close(stream->pipe_fd);
        stream->pipe_fd = -1;
    }
    return stream->pipe_fd >= 0;
}

void logs_close(struct logs *logs)
{
    for (int i = 0; i < 2; i++) {
        struct log_stream *stream = &logs->streams[i];

        if (stream->pipe_fd >= 0)
            close(stream->pipe_fd);
        if (stream->file_fd >= 0)
            close(stream->file_fd);
        stream->pipe_fd = stream->file_fd = -1;
    }
}
