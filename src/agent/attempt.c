#include "agent/attempt.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const note_names[] = { "started", "progress", "ended", "suspended" };

void attempt_name(struct attempt_key key, char out[ATTEMPT_NAME_BYTES])
{
    snprintf(out, ATTEMPT_NAME_BYTES, "%" PRIu64 ".%" PRIu32, key.job_id, key.epoch);
}

bool attempt_parse_name(const char *name, struct attempt_key *key_out)
{
    char again[ATTEMPT_NAME_BYTES];
    struct attempt_key key;
    char *end;
    unsigned long epoch;

    if (name[0] < '1' || name[0] > '9')
        return false;
    errno = 0;
    key.job_id = strtoull(name, &end, 10);
    if (errno || *end != '.' || end[1] < '0' || end[1] > '9')
        return false;
    epoch = strtoul(end + 1, &end, 10);
    if (errno || epoch > UINT32_MAX)
        return false;
    key.epoch = (uint32_t)epoch;
    attempt_name(key, again);
    if (strncmp(name, again, strlen(again)) != 0)
        return false;
    if (*end != '\0')
        return false;
    *key_out = key;
    return true;
}

static int print_text(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *p < 0x20 || *p > 0x7e ? '?' : (char)*p);
    }
    return buf_add_char(out, '"');
}

int attempt_note_print(const struct attempt_note *note, struct buf *out)
{
    const struct attempt_record *record = &note->record;
    const struct usage *usage = &record->usage;
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(record->key, name);
    buf_printf(out, "{\"note\":\"%s\",\"attempt\":\"%s\"", note_names[note->type], name);
    if (note->pid)
        buf_printf(out, ",\"pid\":%d", (int)note->pid);
    buf_printf(out, ",\"started_ms\":%" PRId64 ",\"ended_ms\":%" PRId64, record->started_ms,
               record->ended_ms);
    if (record->checkpoint_ms)
        buf_printf(out, ",\"checkpoint_ms\":%" PRId64, record->checkpoint_ms);
    if (record->stall_ms)
        buf_printf(out, ",\"stall_ms\":%" PRId64, record->stall_ms);
    if (record->suspended_ms)
        buf_printf(out, ",\"suspended_ms\":%" PRId64, record->suspended_ms);
    if (note->type == NOTE_ENDED)
        buf_printf(out, ",\"end\":%" PRIu32 ",\"exit_code\":%" PRId32, record->end,
                   record->exit_code);
    if (record->reason[0] && (note->type == NOTE_ENDED || note->type == NOTE_SUSPENDED)) {
        buf_add_text(out, ",\"reason\":");
        print_text(out, record->reason);
    }
    buf_printf(out,
               ",\"usage\":{\"wall_ms\":%" PRId64 ",\"cpu_ms\":%" PRId64 ",\"cpu_held_ms\":%" PRId64
               ",\"device_milli_ms\":%" PRId64 ",\"memory_peak_bytes\":%" PRId64
               ",\"energy_mj\":%" PRId64 ",\"energy_measured\":%s}",
               usage->wall_ms, usage->cpu_ms, usage->cpu_held_ms, usage->device_milli_ms,
               usage->memory_peak_bytes, usage->energy_mj,
               usage->energy_measured ? "true" : "false");
    if (record->devices_count) {
        buf_add_text(out, ",\"devices\":[");
        for (uint32_t i = 0; i < record->devices_count; i++)
            buf_printf(out, "%s%" PRIu32 ",%" PRIu32, i ? "," : "", record->devices[i].index,
                       record->devices[i].milli);
        buf_add_char(out, ']');
    }
    buf_add_text(out, "}\n");
    return out->failed ? -ENOMEM : 0;
}

static int64_t get_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void parse_devices(const json_t *list, struct attempt_record *record)
{
    size_t count = json_array_size(list) / 2;

    for (size_t i = 0; i < count && i < NODE_DEVICES_MAX; i++) {
        record->devices[i].index = (uint32_t)json_integer_value(json_array_get(list, 2 * i));
        record->devices[i].milli = (uint32_t)json_integer_value(json_array_get(list, 2 * i + 1));
        record->devices_count = (uint32_t)i + 1;
    }
}

static void parse_usage(const json_t *object, struct usage *usage)
{
    usage->wall_ms = get_int(object, "wall_ms");
    usage->cpu_ms = get_int(object, "cpu_ms");
    usage->cpu_held_ms = get_int(object, "cpu_held_ms");
    usage->device_milli_ms = get_int(object, "device_milli_ms");
    usage->memory_peak_bytes = get_int(object, "memory_peak_bytes");
    usage->energy_mj = get_int(object, "energy_mj");
    usage->energy_measured = json_is_true(json_object_get(object, "energy_measured"));
}

int attempt_note_parse(const char *line, size_t len, struct attempt_note *note_out, struct err *err)
{
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(root, "note"));
    const char *name = json_string_value(json_object_get(root, "attempt"));
    const char *reason = json_string_value(json_object_get(root, "reason"));
    struct attempt_note note = { 0 };
    size_t index = 0;

    while (type && index < ARRAY_COUNT(note_names) && strcmp(type, note_names[index]) != 0)
        index++;
    if (!type || index == ARRAY_COUNT(note_names) || !name ||
        !attempt_parse_name(name, &note.record.key)) {
        json_decref(root);
        return err_set(err, -EBADMSG, "not a note of an attempt");
    }
    note.type = (enum attempt_note_type)index;
    note.pid = (pid_t)get_int(root, "pid");
    note.record.end = (uint32_t)get_int(root, "end");
    note.record.exit_code = (int32_t)get_int(root, "exit_code");
    note.record.started_ms = get_int(root, "started_ms");
    note.record.ended_ms = get_int(root, "ended_ms");
    note.record.checkpoint_ms = get_int(root, "checkpoint_ms");
    note.record.stall_ms = get_int(root, "stall_ms");
    note.record.suspended_ms = get_int(root, "suspended_ms");
    if (reason)
        snprintf(note.record.reason, sizeof(note.record.reason), "%s", reason);
    parse_usage(json_object_get(root, "usage"), &note.record.usage);
    parse_devices(json_object_get(root, "devices"), &note.record);
    json_decref(root);
    *note_out = note;
    return 0;
}

static int write_block(int fd, const char *data, size_t len, size_t block, off_t at)
{
    char bytes[ATTEMPT_FILE_BYTES];
    ssize_t put;

    if (len > block)
        return -E2BIG;
    memcpy(bytes, data, len);
    memset(bytes + len, ' ', block - len);
    bytes[block - 1] = '\n';
    do
        put = pwrite(fd, bytes, block, at);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    return (size_t)put < block ? -ENOSPC : 0;
}

int attempt_run_write(int fd, const char *line)
{
    return write_block(fd, line, strlen(line), ATTEMPT_RUN_BYTES, 0);
}

int attempt_record_write(int fd, const struct attempt_record *record)
{
    struct attempt_note note = { .type = NOTE_ENDED, .record = *record };
    CLEANUP(buf_fini) struct buf line = buf_init(ATTEMPT_NOTE_BYTES_MAX);
    int rc = attempt_note_print(&note, &line);

    return rc < 0 ? rc
                  : write_block(fd, line.data, line.len, ATTEMPT_NOTE_BYTES_MAX, ATTEMPT_RUN_BYTES);
}

int attempt_record_read(int fd, struct attempt_key key, struct attempt_record *record_out)
{
    char text[ATTEMPT_NOTE_BYTES_MAX];
    ssize_t got = pread(fd, text, sizeof(text), ATTEMPT_RUN_BYTES);
    const char *end = got > 0 ? memchr(text, '\n', (size_t)got) : NULL;
    struct attempt_note note;

    if (!end || attempt_note_parse(text, (size_t)(end - text), &note, NULL) < 0 ||
        note.type != NOTE_ENDED)
        return -EBADMSG;
    /* In a file that serves again stands the record of the one before. */
    if (note.record.key.job_id != key.job_id || note.record.key.epoch != key.epoch)
        return -EBADMSG;
    *record_out = note.record;
    return 0;
}
