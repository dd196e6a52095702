#include "agent/simsite_log.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#define LINE_BYTES_MAX (8u << 20)
#define PARTS_MAX 4096u

struct simsite_log {
    int fd;
    struct buf line;
};

struct simsite_part *simsite_parts_create(uint32_t parts_count, uint32_t devices_count)
{
    size_t parts_bytes = parts_count * sizeof(struct simsite_part);
    struct simsite_part *parts =
        calloc(1, parts_bytes + (devices_count + 1u) * sizeof(*parts->devices));

    if (parts && parts_count)
        parts[0].devices = (void *)(parts + parts_count);
    return parts;
}

/* ---- writing ---- */

static struct buf *begin(struct simsite_log *log, const char *what, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    buf_clear(&log->line);
    buf_printf(&log->line, "{\"ms\":%" PRId64 ",\"%s\":\"%s\"", clock_wall_ms(), what, name);
    return &log->line;
}

static int end(struct simsite_log *log)
{
    buf_add_text(&log->line, "}\n");
    return log->line.failed ? -ENOMEM : file_write_all(log->fd, log->line.data, log->line.len);
}

static void add_reason(struct buf *line, const char *reason)
{
    json_t *text = json_string_nocheck(reason);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

    buf_printf(line, ",\"reason\":%s", quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(text);
}

static void add_part(struct buf *line, const struct simsite_part *part)
{
    buf_printf(line, "[%" PRIu32 ",%" PRIu32 ",[", part->node, part->cpus);
    for (uint32_t d = 0; d < part->devices_count; d++)
        buf_printf(line, "%s%" PRIu32 ",%" PRIu32, d ? "," : "", part->devices[d].index,
                   part->devices[d].milli);
    buf_add_text(line, "]]");
}

static void add_times(struct buf *line, const struct attempt_record *record)
{
    buf_printf(line,
               ",\"begin\":%" PRId64 ",\"until\":%" PRId64 ",\"end\":%" PRIu32 ",\"code\":%" PRId32,
               record->started_ms, record->ended_ms, record->end, record->exit_code);
}

int simsite_log_run(struct simsite_log *log, const struct simsite_run *run)
{
    struct buf *line = begin(log, "run", run->record.key);

    add_times(line, &run->record);
    if (run->lease)
        buf_printf(line, ",\"lease\":%" PRIu64, run->lease);
    buf_add_text(line, ",\"parts\":[");
    for (uint32_t i = 0; i < run->parts_count; i++) {
        buf_add_text(line, i ? "," : "");
        add_part(line, &run->parts[i]);
    }
    buf_add_text(line, "]");
    return end(log);
}

int simsite_log_stop(struct simsite_log *log, const struct attempt_record *record)
{
    struct buf *line = begin(log, "stop", record->key);

    buf_printf(line, ",\"until\":%" PRId64 ",\"end\":%" PRIu32 ",\"checkpoint\":%" PRId64,
               record->ended_ms, record->end, record->checkpoint_ms);
    add_reason(line, record->reason);
    return end(log);
}

void simsite_log_clash(struct simsite_log *log, struct attempt_key key, uint32_t node,
                       uint32_t device)
{
    buf_printf(begin(log, "clash", key), ",\"node\":%" PRIu32 ",\"device\":%" PRIu32, node, device);
    end(log);
}

int simsite_log_ended(struct simsite_log *log, const struct attempt_record *record)
{
    struct buf *line = begin(log, "ended", record->key);

    add_times(line, record);
    add_reason(line, record->reason);
    buf_printf(line,
               ",\"cpu_ms\":%" PRId64 ",\"cpu_held_ms\":%" PRId64 ",\"device_milli_ms\":%" PRId64,
               record->usage.cpu_ms, record->usage.cpu_held_ms, record->usage.device_milli_ms);
    return end(log);
}

void simsite_log_forget(struct simsite_log *log, struct attempt_key key)
{
    begin(log, "forget", key);
    end(log);
}

/* ---- reading ---- */

struct remembered {
    struct attempt_key key; /* padding zeroed */
    struct simsite_run run;
    UT_hash_handle hh;
};

static struct remembered *find(struct remembered *all, struct attempt_key key)
{
    struct attempt_key clean;
    struct remembered *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, all, &clean, sizeof(clean), found);
    return found;
}

static int64_t number(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static void read_times(const json_t *line, struct attempt_record *record)
{
    const char *reason = json_string_value(json_object_get(line, "reason"));

    record->started_ms = number(line, "begin");
    record->ended_ms = number(line, "until");
    record->end = (uint32_t)number(line, "end");
    record->exit_code = (int32_t)number(line, "code");
    if (reason)
        snprintf(record->reason, sizeof(record->reason), "%.159s", reason);
}

static bool read_parts(const json_t *list, struct simsite_run *run)
{
    size_t parts_count = json_array_size(list), devices_count = 0, at = 0;
    void *devices;

    for (size_t i = 0; i < parts_count; i++)
        devices_count += json_array_size(json_array_get(json_array_get(list, i), 2)) / 2;
    if (!parts_count || parts_count > PARTS_MAX || devices_count > PARTS_MAX * NODE_DEVICES_MAX)
        return false;
    run->parts = simsite_parts_create((uint32_t)parts_count, (uint32_t)devices_count);
    if (!run->parts)
        return false;
    devices = run->parts[0].devices;
    run->parts_count = (uint32_t)parts_count;
    for (size_t i = 0; i < parts_count; i++) {
        const json_t *told = json_array_get(list, i), *held = json_array_get(told, 2);
        struct simsite_part *part = &run->parts[i];

        part->node = (uint32_t)json_integer_value(json_array_get(told, 0));
        part->cpus = (uint32_t)json_integer_value(json_array_get(told, 1));
        part->devices_count = (uint32_t)(json_array_size(held) / 2);
        part->devices = devices;
        part->devices += at;
        at += part->devices_count;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            part->devices[d].index = (uint32_t)json_integer_value(json_array_get(held, d * 2));
            part->devices[d].milli = (uint32_t)json_integer_value(json_array_get(held, d * 2 + 1));
        }
    }
    return true;
}

static void read_run(struct remembered **all, struct attempt_key key, const json_t *line)
{
    struct remembered *one = find(*all, key) ? NULL : calloc(1, sizeof(*one));

    if (!one)
        return;
    one->key.job_id = key.job_id;
    one->key.epoch = key.epoch;
    one->run.record.key = one->key;
    read_times(line, &one->run.record);
    one->run.lease = (uint64_t)number(line, "lease");
    if (!read_parts(json_object_get(line, "parts"), &one->run)) {
        free(one);
        return;
    }
    HASH_ADD(hh, *all, key, sizeof(one->key), one);
}

static void drop(struct remembered **all, struct remembered *one)
{
    HASH_DEL(*all, one);
    free(one->run.parts);
    free(one);
}

static bool key_at(const json_t *line, const char *what, struct attempt_key *key_out)
{
    const char *name = json_string_value(json_object_get(line, what));

    return name && attempt_parse_name(name, key_out);
}

static void take_line(struct remembered **all, const char *text, size_t len)
{
    json_t *line = json_loadb(text, len, 0, NULL);
    struct attempt_key key = { 0 };
    struct remembered *one;

    if (key_at(line, "run", &key)) {
        read_run(all, key, line);
    } else if (key_at(line, "stop", &key) && (one = find(*all, key)) != NULL) {
        const char *reason = json_string_value(json_object_get(line, "reason"));

        one->run.stopped = true;
        one->run.record.end = (uint32_t)number(line, "end");
        one->run.record.ended_ms = number(line, "until");
        one->run.record.checkpoint_ms = number(line, "checkpoint");
        snprintf(one->run.record.reason, sizeof(one->run.record.reason), "%.159s",
                 reason ? reason : "");
    } else if (key_at(line, "ended", &key) && (one = find(*all, key)) != NULL) {
        one->run.ended = true;
        read_times(line, &one->run.record);
    } else if (key_at(line, "forget", &key) && (one = find(*all, key)) != NULL) {
        drop(all, one);
    }
    json_decref(line);
}

static void take_lines(struct remembered **all, const struct buf *text)
{
    const char *at = text->data, *stop = text->data + text->len;

    while (at && at < stop) {
        const char *line_end = memchr(at, '\n', (size_t)(stop - at));

        if (!line_end)
            return; /* cut off while it was written: it was answered to nobody */
        take_line(all, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
}

/* What is still known, into a fresh file. */
static int rewrite(const char *path, struct simsite_log *log, struct remembered *all,
                   struct err *err)
{
    struct remembered *one, *next;
    char fresh[4096];
    int rc = 0;

    if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
        return err_set(err, -ENAMETOOLONG, "%s: too long", path);
    log->fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log->fd < 0)
        return err_set(err, -errno, "%s: %s", fresh, strerror(errno));
    HASH_ITER (hh, all, one, next) {
        rc = rc < 0 ? rc : simsite_log_run(log, &one->run);
        if (rc == 0 && one->run.ended)
            rc = simsite_log_ended(log, &one->run.record);
        else if (rc == 0 && one->run.stopped)
            rc = simsite_log_stop(log, &one->run.record);
    }
    if (rc == 0 && rename(fresh, path) < 0)
        rc = -errno;
    return rc < 0 ? err_set(err, rc, "%s: %s", fresh, strerror(-rc)) : 0;
}

static int open_file(const char *path, size_t bytes, struct simsite_log *log,
                     struct remembered *all, struct err *err)
{
    if (bytes > SIMSITE_LOG_BYTES_MAX / 2)
        return rewrite(path, log, all, err);
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return log->fd < 0 ? err_set(err, -errno, "%s: %s", path, strerror(errno)) : 0;
}

int simsite_log_open(const char *path, void (*take)(void *context, const struct simsite_run *run),
                     void *context, struct simsite_log **log_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SIMSITE_LOG_BYTES_MAX);
    struct simsite_log *log = calloc(1, sizeof(*log));
    struct remembered *all = NULL, *one, *next;
    int rc = log ? file_read(path, &text, err) : err_set(err, -ENOMEM, "%s: out of memory", path);

    if (log)
        log->fd = -1;
    if (rc == -ENOENT)
        rc = 0;
    if (rc == 0) {
        take_lines(&all, &text);
        log->line = buf_init(LINE_BYTES_MAX);
        rc = open_file(path, text.len, log, all, err);
    }
    HASH_ITER (hh, all, one, next) {
        if (rc == 0)
            take(context, &one->run);
        else
            free(one->run.parts);
        HASH_DEL(all, one);
        free(one);
    }
    if (rc < 0) {
        simsite_log_close(log);
        return rc;
    }
    *log_out = log;
    return 0;
}

void simsite_log_close(struct simsite_log *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        close(log->fd);
    buf_fini(&log->line);
    free(log);
}
