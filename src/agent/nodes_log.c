/* The logs of an attempt over machines: each node is asked for its own, and what comes is put into
 * one log here, by whole lines as they come. How much of each stands there is written beside it, so
 * that an agent which begins anew asks for what follows. */
#include "agent/nodes_internal.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_BYTES_MAX (64u << 10) /* a longer line is parted */
#define PIECE_BYTES (64u << 10)
#define CUT_TEXT "\n[mains: the log is cut here: it is longer than this site keeps]\n"

static const char *const names[NODES_LOG_STREAMS] = { "stdout", "stderr" };

/* offsets: the size of each log, then of each part what stands in them. */
static off_t offset_place(const struct gang *gang, const struct gang_part *part, uint32_t stream)
{
    size_t index = part ? 1 + (size_t)(part - gang->parts) : 0;

    return (off_t)((index * NODES_LOG_STREAMS + stream) * sizeof(int64_t));
}

static int64_t read_offset(const struct gang *gang, const struct gang_part *part, uint32_t stream)
{
    int64_t value = 0;

    if (pread(gang->offsets_fd, &value, sizeof(value), offset_place(gang, part, stream)) !=
        sizeof(value))
        value = 0;
    return MAX(value, 0);
}

static bool write_offset(const struct gang *gang, const struct gang_part *part, uint32_t stream,
                         int64_t value)
{
    return pwrite(gang->offsets_fd, &value, sizeof(value), offset_place(gang, part, stream)) ==
           sizeof(value);
}

int gang_logs_open(const struct nodes *nodes, struct gang *gang, struct err *err)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, gang->key);
    CLEANUP(freep) char *offsets = folder ? path_format("%s/offsets", folder) : NULL;

    for (uint32_t i = 0; i < gang->parts_count; i++)
        for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++)
            gang->parts[i].logs[s].tail = buf_init(TAIL_BYTES_MAX * 2);
    if (!offsets)
        return err_set(err, -ENOMEM, "logs: out of memory");
    gang->offsets_fd = open(offsets, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (gang->offsets_fd < 0)
        return err_set(err, -errno, "%s: %s", offsets, strerror(errno));
    for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++) {
        CLEANUP(freep) char *path = path_format("%s/%s", folder, names[s]);

        gang->log_bytes[s] = read_offset(gang, NULL, s);
        for (uint32_t i = 0; i < gang->parts_count; i++)
            gang->parts[i].logs[s].offset = read_offset(gang, &gang->parts[i], s);
        gang->log_fds[s] =
            path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
        /* What was written just before this agent was killed comes again. */
        if (gang->log_fds[s] < 0 || ftruncate(gang->log_fds[s], gang->log_bytes[s]) < 0)
            return err_set(err, -errno, "%s: %s", folder, strerror(errno));
    }
    return 0;
}

void gang_logs_close(struct gang *gang)
{
    for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++) {
        if (gang->log_fds[s] >= 0)
            close(gang->log_fds[s]);
        gang->log_fds[s] = -1;
        for (uint32_t i = 0; i < gang->parts_count; i++)
            buf_fini(&gang->parts[i].logs[s].tail);
    }
    if (gang->offsets_fd >= 0)
        close(gang->offsets_fd);
    gang->offsets_fd = -1;
}

/* On a full disk the rest is lost, as a job's own log is. */
static void append(struct gang *gang, uint32_t stream, const char *data, size_t len)
{
    int64_t room = ATTEMPT_LOG_BYTES_DEFAULT - gang->log_bytes[stream];
    bool cut = (int64_t)len > room;

    if (gang->log_fds[stream] < 0 || room <= 0)
        return;
    if (cut)
        len = (size_t)room;
    if (lseek(gang->log_fds[stream], gang->log_bytes[stream], SEEK_SET) < 0 ||
        file_write_all(gang->log_fds[stream], data, len) < 0)
        return;
    gang->log_bytes[stream] += (int64_t)len;
    if (cut && file_write_all(gang->log_fds[stream], CUT_TEXT, sizeof(CUT_TEXT) - 1) == 0)
        gang->log_bytes[stream] += (int64_t)sizeof(CUT_TEXT) - 1;
}

static void flush(struct gang *gang, struct gang_part *part, uint32_t stream, size_t len)
{
    struct part_log *log = &part->logs[stream];

    if (!len)
        return;
    append(gang, stream, log->tail.data, len);
    buf_consume(&log->tail, len);
    log->offset += (int64_t)len;
    write_offset(gang, NULL, stream, gang->log_bytes[stream]);
    write_offset(gang, part, stream, log->offset);
}

static void take(struct gang *gang, struct gang_part *part, uint32_t stream, const char *data,
                 size_t len)
{
    struct buf *tail = &part->logs[stream].tail;

    while (len) {
        size_t piece = MIN(len, TAIL_BYTES_MAX);
        const char *end;

        if (buf_add(tail, data, piece) < 0)
            return;
        data += piece;
        len -= piece;
        end = memrchr(tail->data, '\n', tail->len);
        if (end)
            flush(gang, part, stream, (size_t)(end + 1 - tail->data));
        if (tail->len > TAIL_BYTES_MAX)
            flush(gang, part, stream, tail->len);
    }
}

static void finish(struct gang *gang, struct gang_part *part, uint32_t stream)
{
    flush(gang, part, stream, part->logs[stream].tail.len);
    part->logs[stream].eof = true;
    part->logs[stream].request = 0;
}

bool gang_logs_are_whole(const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->parts_count; i++)
        for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++)
            if (!gang->parts[i].logs[s].eof)
                return false;
    return true;
}

void gang_logs_ask(struct nodes *nodes, struct gang *gang, struct gang_part *part)
{
    struct machine *machine = machine_find(nodes, part->node);

    for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++) {
        struct part_log *log = &part->logs[s];
        struct wire_command command = { .type = WIRE_LOG_READ,
                                        .attempt = { gang->key.job_id, gang->key.epoch },
                                        .stream_stderr = s == 1,
                                        .follow = true };

        if (log->eof || log->request || !machine || !machine_is_open(machine))
            continue;
        buf_clear(&log->tail); /* it comes again */
        log->request = ++nodes->request_last;
        command.request = log->request;
        command.offset = log->offset;
        machine_send(machine, &command);
    }
}

/* Whose part `request` is for, at this node; `stream_out` of which log. */
static struct gang_part *find_request(struct nodes *nodes, const char *node, uint64_t request,
                                      struct gang **gang_out, uint32_t *stream_out)
{
    struct gang *gang, *next;

    HASH_ITER (hh, nodes->gangs, gang, next) {
        struct gang_part *part = gang->state == ATTEMPT_ENDED ? NULL : gang_part_of(gang, node);

        for (uint32_t s = 0; part && s < NODES_LOG_STREAMS; s++)
            if (part->logs[s].request == request) {
                *gang_out = gang;
                *stream_out = s;
                return part;
            }
    }
    return NULL;
}

void gang_logs_take(struct nodes *nodes, const struct machine *machine,
                    const struct wire_report *report)
{
    struct gang *gang = NULL;
    uint32_t stream = 0;
    struct gang_part *part =
        report->request ? find_request(nodes, machine->name, report->request, &gang, &stream)
                        : NULL;
    struct part_log *log = part ? &part->logs[stream] : NULL;

    if (!part)
        return;
    if (report->offset == log->offset + (int64_t)log->tail.len)
        take(gang, part, stream, report->data, report->data_len);
    if (!report->eof)
        return;
    finish(gang, part, stream);
    gang_look(nodes, gang);
}

void gang_logs_copy(struct nodes *nodes, struct gang *gang, struct gang_part *part)
{
    CLEANUP(freep) char *piece = malloc(PIECE_BYTES);
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(gang->key, name);
    for (uint32_t s = 0; piece && s < NODES_LOG_STREAMS; s++) {
        struct part_log *log = &part->logs[s];
        CLEANUP(freep)
        char *path = path_format("%s/attempts/%s/%s", nodes->up.agent_dir, name, names[s]);
        CLEANUP(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        ssize_t got;

        if (log->eof)
            continue;
        while (fd >= 0 &&
               (got = pread(fd, piece, PIECE_BYTES, log->offset + (off_t)log->tail.len)) > 0)
            take(gang, part, s, piece, (size_t)got);
        if (part->state == PART_ENDED)
            finish(gang, part, s);
    }
}
