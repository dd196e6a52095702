#include "agent/slurm_job.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE_BYTES_MAX (8u << 20)

void slurm_note_fini(struct slurm_note *note)
{
    free(note->parts);
    note->parts = NULL;
    note->parts_count = 0;
}

void slurm_job_name(const char *tag, struct attempt_key key, char out[80])
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    snprintf(out, 80, "mains-%s-%s", tag, name);
}

bool slurm_job_parse_name(const char *tag, const char *name, struct attempt_key *key_out)
{
    size_t len = strlen(tag);

    if (strncmp(name, "mains-", 6) != 0 || strncmp(name + 6, tag, len) != 0 || name[6 + len] != '-')
        return false;
    return attempt_parse_name(name + 7 + len, key_out);
}

static json_t *note_to_json(const struct slurm_note *note)
{
    json_t *parts = json_array();
    json_t *root = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:s,s:s,s:o}", "slurm_id", (json_int_t)note->slurm_id,
        "submitted_ms", (json_int_t)note->submitted_ms, "duration_ms",
        (json_int_t)note->duration_ms_max, "grace_ms", (json_int_t)note->grace_ms, "array",
        (json_int_t)note->array_id, "index", (int)note->array_index, "count",
        (int)note->array_count, "user", note->user, "partition", note->partition, "parts", parts);

    for (uint32_t i = 0; root && i < note->parts_count; i++) {
        const struct slurm_part *part = &note->parts[i];

        json_array_append_new(parts, json_pack("{s:s,s:i,s:i,s:i,s:I,s:I}", "node", part->node,
                                               "tasks", (int)part->tasks, "cpus", (int)part->cpus,
                                               "devices", (int)part->devices, "memory_bytes",
                                               (json_int_t)part->memory_bytes, "mask",
                                               (json_int_t)part->device_mask));
    }
    return root;
}

int slurm_note_write(int attempt_fd, const struct slurm_note *note)
{
    json_t *root = note_to_json(note);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    int rc = -ENOMEM, fd = -1;

    if (text) {
        fd = openat(attempt_fd, "slurm.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        rc = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
    }
    /* sbatch follows: what is not on the disk then could be submitted twice after a crash. */
    if (rc == 0 && fdatasync(fd) < 0)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    if (rc == 0 && renameat(attempt_fd, "slurm.new", attempt_fd, "slurm") < 0)
        rc = -errno;
    free(text);
    json_decref(root);
    return rc;
}

static void take_text(const json_t *object, const char *key, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(out, out_bytes, "%s", text ? text : "");
}

static void take_part(const json_t *object, struct slurm_part *part)
{
    take_text(object, "node", part->node, sizeof(part->node));
    part->tasks = (uint32_t)json_integer_value(json_object_get(object, "tasks"));
    part->cpus = (uint32_t)json_integer_value(json_object_get(object, "cpus"));
    part->devices = (uint32_t)json_integer_value(json_object_get(object, "devices"));
    part->memory_bytes = json_integer_value(json_object_get(object, "memory_bytes"));
    part->device_mask = (uint64_t)json_integer_value(json_object_get(object, "mask"));
}

int slurm_note_read(int attempt_fd, struct attempt_key key, struct slurm_note *note_out)
{
    int fd = openat(attempt_fd, "slurm", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    json_t *root = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
    const json_t *parts = json_object_get(root, "parts");
    size_t count = json_array_size(parts);
    struct slurm_note note = { .key = key };

    if (fd >= 0)
        close(fd);
    if (!root || count == 0 || count > WIRE_PARTS_MAX) {
        json_decref(root);
        return fd < 0 ? -ENOENT : -EBADMSG;
    }
    note.slurm_id = (uint64_t)json_integer_value(json_object_get(root, "slurm_id"));
    note.submitted_ms = json_integer_value(json_object_get(root, "submitted_ms"));
    note.duration_ms_max = json_integer_value(json_object_get(root, "duration_ms"));
    note.grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    note.array_id = (uint64_t)json_integer_value(json_object_get(root, "array"));
    note.array_index = (uint32_t)json_integer_value(json_object_get(root, "index"));
    note.array_count = (uint32_t)json_integer_value(json_object_get(root, "count"));
    take_text(root, "user", note.user, sizeof(note.user));
    take_text(root, "partition", note.partition, sizeof(note.partition));
    note.parts = calloc(count, sizeof(*note.parts));
    for (size_t i = 0; note.parts && i < count; i++)
        take_part(json_array_get(parts, i), &note.parts[i]);
    note.parts_count = (uint32_t)count;
    json_decref(root);
    if (!note.parts)
        return -ENOMEM;
    *note_out = note;
    return 0;
}

/* ---- what the job itself says ---- */

/* "1m2.34s" or "1m2.340000s": whole ms; 0 = none there. */
static int64_t times_ms(const char *word)
{
    char *end;
    double minutes = strtod(word, &end), seconds;

    if (end == word || *end != 'm' || !(minutes >= 0) || minutes > 1e8)
        return 0;
    word = end + 1;
    seconds = strtod(word, &end);
    if (end == word || *end != 's' || !(seconds >= 0) || seconds > 1e8)
        return 0;
    return (int64_t)((minutes * 60 + seconds) * 1000);
}

bool slurm_event_parse(const char *text, size_t len, struct slurm_event *event_out)
{
    struct slurm_event event = { 0 };
    char line[128];
    char *end, *rest;
    size_t at = 0, line_len;

    line_len = MIN(len, sizeof(line) - 1);
    memcpy(line, text, line_len);
    line[line_len] = '\0';
    line[strcspn(line, "\n")] = '\0';
    event.exit_code = (int32_t)strtol(line, &rest, 10);
    if (rest == line || *rest != ' ' || event.exit_code < 0 || event.exit_code > 255)
        return false;
    event.at_ms = strtoll(rest, &end, 10);
    if (end == rest || event.at_ms <= 0)
        return false;
    if (*end == ' ')
        snprintf(event.host, sizeof(event.host), "%.63s", end + 1);
    while (at < len && text[at] != '\n')
        at++;
    while (at < len) {
        char word[40];
        size_t word_len = 0;

        while (at < len && (text[at] == ' ' || text[at] == '\n'))
            at++;
        while (at < len && text[at] != ' ' && text[at] != '\n') {
            if (word_len + 1 < sizeof(word))
                word[word_len++] = text[at];
            at++;
        }
        word[word_len] = '\0';
        event.cpu_ms += times_ms(word);
    }
    *event_out = event;
    return true;
}
