#include "agent/kube_object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE "kubernetes"

void kube_note_fini(struct kube_note *note)
{
    free(note->parts);
    note->parts = NULL;
    note->parts_count = 0;
}

int kube_note_write(int attempt_fd, const struct kube_note *note)
{
    return engine_note_write(
        attempt_fd, NOTE,
        json_pack("{s:I,s:i,s:I,s:s,s:I,s:I,s:I,s:I,s:i,s:b,s:b,s:I,s:i,s:i,s:s,s:o}", "lease",
                  (json_int_t)note->lease, "save_signal", (int)note->save_signal, "save_every_ms",
                  (json_int_t)note->save_every_ms, "save_path", note->save_path, "begun_ms",
                  (json_int_t)note->begun_ms, "duration_ms", (json_int_t)note->duration_ms_max,
                  "grace_ms", (json_int_t)note->grace_ms, "log_bytes",
                  (json_int_t)note->log_bytes_max, "tasks", (int)note->tasks, "dressed",
                  note->dressed, "staged", note->staged, "array", (json_int_t)note->array_id,
                  "index", (int)note->array_index, "count", (int)note->array_count, "user",
                  note->user, "parts", engine_parts_print(note->parts, note->parts_count)));
}

int kube_note_read(int attempt_fd, struct attempt_key key, struct kube_note *note_out)
{
    json_t *root = engine_note_read(attempt_fd, NOTE);
    const char *user = json_string_value(json_object_get(root, "user"));
    const char *save_path = json_string_value(json_object_get(root, "save_path"));
    struct kube_note note = { .key = key };
    int rc;

    if (!root)
        return -ENOENT;
    note.tasks = (uint32_t)json_integer_value(json_object_get(root, "tasks"));
    note.begun_ms = json_integer_value(json_object_get(root, "begun_ms"));
    note.duration_ms_max = json_integer_value(json_object_get(root, "duration_ms"));
    note.grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    note.log_bytes_max = json_integer_value(json_object_get(root, "log_bytes"));
    note.lease = (uint64_t)json_integer_value(json_object_get(root, "lease"));
    note.save_signal = (int32_t)json_integer_value(json_object_get(root, "save_signal"));
    note.save_every_ms = json_integer_value(json_object_get(root, "save_every_ms"));
    snprintf(note.save_path, sizeof(note.save_path), "%s", save_path ? save_path : "");
    note.array_id = (uint64_t)json_integer_value(json_object_get(root, "array"));
    note.array_index = (uint32_t)json_integer_value(json_object_get(root, "index"));
    note.array_count = (uint32_t)json_integer_value(json_object_get(root, "count"));
    snprintf(note.user, sizeof(note.user), "%s", user ? user : "");
    note.dressed = json_is_true(json_object_get(root, "dressed"));
    note.staged = json_is_true(json_object_get(root, "staged"));
    rc = note.tasks == 0 || note.tasks > KUBE_TASKS_MAX
             ? -EBADMSG
             : engine_parts_read(json_object_get(root, "parts"), &note.parts, &note.parts_count);
    json_decref(root);
    if (rc == 0)
        *note_out = note;
    return rc;
}
