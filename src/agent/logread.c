#include "agent/logread.h"

#include "agent/nodes.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#define PIECE_BYTES (64u << 10)

struct reader {
    struct logread *logread;
    uint64_t request;
    struct attempt_key key;
    const char *stream; /* "stdout" */
    char *folder;
    int fd; /* -1 until the log is there */
    int64_t offset;
    bool follow, ended, gone;
    uv_fs_event_t watch;
    struct reader *prev, *next;
};

struct logread {
    uv_loop_t *loop;
    char *agent_dir;
    struct executor *executor;
    struct session *session;
    struct reader *readers;
    uint32_t count;
    char *piece;
};

static void free_reader(uv_handle_t *handle)
{
    struct reader *reader = handle->data;

    free(reader->folder);
    free(reader);
}

static void close_reader(struct reader *reader)
{
    if (reader->gone)
        return;
    reader->gone = true;
    DL_DELETE(reader->logread->readers, reader);
    reader->logread->count--;
    if (reader->fd >= 0)
        close(reader->fd);
    uv_close((uv_handle_t *)&reader->watch, free_reader);
}

static void send_piece(struct reader *reader, const char *data, size_t len, bool eof)
{
    struct wire_report report = { .type = REPORT_LOG,
                                  .attempt = { reader->key.job_id, reader->key.epoch },
                                  .request = reader->request,
                                  .offset = reader->offset,
                                  .data = data,
                                  .data_len = (uint32_t)len,
                                  .eof = eof };

    session_report(reader->logread->session, &report);
}

static void open_log(struct reader *reader)
{
    CLEANUP(freep) char *path = path_format("%s/%s", reader->folder, reader->stream);
    struct stat st;

    if (reader->fd >= 0 || !path)
        return;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->fd >= 0 && reader->offset < 0 && fstat(reader->fd, &st) == 0)
        reader->offset = MAX(st.st_size + reader->offset, 0);
}

/* Send what is there, as far as the session has room; the reader may be gone after it. */
static void pump(struct reader *reader)
{
    struct logread *logread = reader->logread;
    bool over = reader->ended || !reader->follow; /* before reading: nothing comes after that */

    if (reader->gone)
        return;
    open_log(reader);
    while (!reader->gone && session_backlog(logread->session) < SESSION_BACKLOG_BYTES) {
        ssize_t got =
            reader->fd < 0 ? 0 : pread(reader->fd, logread->piece, PIECE_BYTES, reader->offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got > 0) {
            send_piece(reader, logread->piece, (size_t)got, false);
            reader->offset += got;
            continue;
        }
        if (over) {
            reader->offset = MAX(reader->offset, 0);
            send_piece(reader, "", 0, true);
            close_reader(reader);
        }
        break;
    }
}

static void on_change(uv_fs_event_t *handle, const char *filename, int events, int status)
{
    struct reader *reader = handle->data;

    (void)events;
    (void)status;
    if (reader->gone || (filename && strcmp(filename, reader->stream) != 0))
        return;
    pump(reader);
    session_flush(reader->logread->session);
}

static struct reader *find_reader(struct logread *logread, uint64_t request)
{
    struct reader *reader;

    DL_FOREACH (logread->readers, reader) {
        if (reader->request == request)
            return reader;
    }
    return NULL;
}

static bool is_over(struct logread *logread, struct attempt_key key)
{
    struct attempt_view view;

    return !logread->executor->ops->find(logread->executor, key, &view) ||
           view.state == ATTEMPT_ENDED;
}

void logread_command(struct logread *logread, const struct wire_command *command)
{
    struct reader *reader = find_reader(logread, command->request);
    char name[ATTEMPT_NAME_BYTES];

    if (reader)
        close_reader(reader);
    if (command->cancel)
        return;
    reader = logread->count < LOGREAD_READERS_MAX ? calloc(1, sizeof(*reader)) : NULL;
    if (reader) {
        reader->key = (struct attempt_key){ command->attempt.job_id, command->attempt.epoch };
        attempt_name(reader->key, name);
        if (logread->executor->ops == &executor_nodes_ops)
            reader->folder = nodes_log_folder(logread->executor, reader->key);
        if (!reader->folder)
            reader->folder = path_format("%s/attempts/%s", logread->agent_dir, name);
    }
    if (!reader || !reader->folder) {
        struct wire_report report = { .type = REPORT_LOG,
                                      .attempt = command->attempt,
                                      .request = command->request,
                                      .offset = MAX(command->offset, 0),
                                      .data = "",
                                      .eof = true };

        free(reader);
        session_report(logread->session, &report);
        return;
    }
    reader->logread = logread;
    reader->request = command->request;
    reader->stream = command->stream_stderr ? "stderr" : "stdout";
    reader->fd = -1;
    reader->offset = command->offset;
    reader->follow = command->follow;
    reader->ended = is_over(logread, reader->key);
    uv_fs_event_init(logread->loop, &reader->watch);
    reader->watch.data = reader;
    DL_APPEND(logread->readers, reader);
    logread->count++;
    /* Watched before it is read, so that nothing falls between. */
    if (reader->follow && !reader->ended &&
        uv_fs_event_start(&reader->watch, on_change, reader->folder, 0) < 0)
        reader->follow = false;
    pump(reader);
}

void logread_ended(struct logread *logread, struct attempt_key key)
{
    struct reader *reader, *next;

    DL_FOREACH_SAFE (logread->readers, reader, next) {
        if (reader->key.job_id != key.job_id || reader->key.epoch != key.epoch)
            continue;
        reader->ended = true;
        uv_fs_event_stop(&reader->watch);
        pump(reader);
    }
}

void logread_resume(struct logread *logread)
{
    struct reader *reader, *next;

    DL_FOREACH_SAFE (logread->readers, reader, next)
        pump(reader);
}

void logread_drop_all(struct logread *logread)
{
    struct reader *reader, *next;

    DL_FOREACH_SAFE (logread->readers, reader, next)
        close_reader(reader);
}

int logread_create(uv_loop_t *loop, const char *agent_dir, struct executor *executor,
                   struct session *session, struct logread **logread_out, struct err *err)
{
    struct logread *logread = calloc(1, sizeof(*logread));

    if (logread) {
        logread->agent_dir = strdup(agent_dir);
        logread->piece = malloc(PIECE_BYTES);
    }
    if (!logread || !logread->agent_dir || !logread->piece) {
        logread_destroy(logread);
        return err_set(err, -ENOMEM, "logs: out of memory");
    }
    logread->loop = loop;
    logread->executor = executor;
    logread->session = session;
    *logread_out = logread;
    return 0;
}

void logread_destroy(struct logread *logread)
{
    if (!logread)
        return;
    logread_drop_all(logread);
    free(logread->agent_dir);
    free(logread->piece);
    free(logread);
}
