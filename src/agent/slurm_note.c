#include "agent/slurm_job.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE "slurm"

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

int slurm_note_write(int attempt_fd, const struct slurm_note *note)
{
    return engine_note_write(
        attempt_fd, NOTE,
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:i,s:I,s:s,s:I,s:i,s:i,s:s,s:s,s:o}", "slurm_id",
                  (json_int_t)note->slurm_id, "submitted_ms", (json_int_t)note->submitted_ms,
                  "duration_ms", (json_int_t)note->duration_ms_max, "grace_ms",
                  (json_int_t)note->grace_ms, "lease", (json_int_t)note->lease, "save_signal",
                  (int)note->save_signal, "save_every_ms", (json_int_t)note->save_every_ms,
                  "save_path", note->save_path, "array", (json_int_t)note->array_id, "index",
                  (int)note->array_index, "count", (int)note->array_count, "user", note->user,
                  "partition", note->partition, "parts",
                  engine_parts_print(note->parts, note->parts_count)));
}

static void take_text(const json_t *object, const char *key, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(out, out_bytes, "%s", text ? text : "");
}

int slurm_note_read(int attempt_fd, struct attempt_key key, struct slurm_note *note_out)
{
    json_t *root = engine_note_read(attempt_fd, NOTE);
    struct slurm_note note = { .key = key };
    int rc;

    if (!root)
        return -ENOENT;
    note.slurm_id = (uint64_t)json_integer_value(json_object_get(root, "slurm_id"));
    note.submitted_ms = json_integer_value(json_object_get(root, "submitted_ms"));
    note.duration_ms_max = json_integer_value(json_object_get(root, "duration_ms"));
    note.grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    note.lease = (uint64_t)json_integer_value(json_object_get(root, "lease"));
    note.save_signal = (int32_t)json_integer_value(json_object_get(root, "save_signal"));
    note.save_every_ms = json_integer_value(json_object_get(root, "save_every_ms"));
    take_text(root, "save_path", note.save_path, sizeof(note.save_path));
    note.array_id = (uint64_t)json_integer_value(json_object_get(root, "array"));
    note.array_index = (uint32_t)json_integer_value(json_object_get(root, "index"));
    note.array_count = (uint32_t)json_integer_value(json_object_get(root, "count"));
    take_text(root, "user", note.user, sizeof(note.user));
    take_text(root, "partition", note.partition, sizeof(note.partition));
    rc = engine_parts_read(json_object_get(root, "parts"), &note.parts, &note.parts_count);
    json_decref(root);
    if (rc == 0)
        *note_out = note;
    return rc;
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
