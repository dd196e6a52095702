#include "agent/kube_object.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE "kubernetes"

void kube_note_fini(struct kube_note *note)
{
    free(note->parts);
    note->parts = NULL;
    note->parts_count = 0;
}

static json_t *note_to_json(const struct kube_note *note)
{
    json_t *parts = json_array();
    json_t *root = json_pack(
        "{s:I,s:I,s:I,s:I,s:i,s:b,s:b,s:I,s:i,s:i,s:s,s:o}", "begun_ms", (json_int_t)note->begun_ms,
        "duration_ms", (json_int_t)note->duration_ms_max, "grace_ms", (json_int_t)note->grace_ms,
        "log_bytes", (json_int_t)note->log_bytes_max, "tasks", (int)note->tasks, "dressed",
        note->dressed, "staged", note->staged, "array", (json_int_t)note->array_id, "index",
        (int)note->array_index, "count", (int)note->array_count, "user", note->user, "parts",
        parts);

    for (uint32_t i = 0; root && i < note->parts_count; i++) {
        const struct kube_part *part = &note->parts[i];

        json_array_append_new(parts, json_pack("{s:s,s:i,s:i,s:i,s:I,s:I}", "node", part->node,
                                               "tasks", (int)part->tasks, "cpus", (int)part->cpus,
                                               "devices", (int)part->devices, "memory_bytes",
                                               (json_int_t)part->memory_bytes, "mask",
                                               (json_int_t)part->device_mask));
    }
    return root;
}

int kube_note_write(int attempt_fd, const struct kube_note *note)
{
    json_t *root = note_to_json(note);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    int rc = -ENOMEM, fd = -1;

    if (text) {
        fd = openat(attempt_fd, NOTE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        rc = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
    }
    if (rc == 0 && fdatasync(fd) < 0)
        rc = -errno;
    closep(&fd);
    if (rc == 0 && renameat(attempt_fd, NOTE ".new", attempt_fd, NOTE) < 0)
        rc = -errno;
    free(text);
    json_decref(root);
    return rc;
}

static void take_part(const json_t *object, struct kube_part *part)
{
    const char *node = json_string_value(json_object_get(object, "node"));

    snprintf(part->node, sizeof(part->node), "%s", node ? node : "");
    part->tasks = (uint32_t)json_integer_value(json_object_get(object, "tasks"));
    part->cpus = (uint32_t)json_integer_value(json_object_get(object, "cpus"));
    part->devices = (uint32_t)json_integer_value(json_object_get(object, "devices"));
    part->memory_bytes = json_integer_value(json_object_get(object, "memory_bytes"));
    part->device_mask = (uint64_t)json_integer_value(json_object_get(object, "mask"));
}

int kube_note_read(int attempt_fd, struct attempt_key key, struct kube_note *note_out)
{
    CLEANUP(closep) int fd = openat(attempt_fd, NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    json_t *root = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
    const json_t *parts = json_object_get(root, "parts");
    size_t count = json_array_size(parts);
    const char *user;
    struct kube_note note = { .key = key };

    note.tasks = (uint32_t)json_integer_value(json_object_get(root, "tasks"));
    if (!root || count == 0 || count > WIRE_PARTS_MAX || note.tasks == 0 ||
        note.tasks > KUBE_TASKS_MAX) {
        json_decref(root);
        return fd < 0 ? -ENOENT : -EBADMSG;
    }
    note.begun_ms = json_integer_value(json_object_get(root, "begun_ms"));
    note.duration_ms_max = json_integer_value(json_object_get(root, "duration_ms"));
    note.grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    note.log_bytes_max = json_integer_value(json_object_get(root, "log_bytes"));
    note.array_id = (uint64_t)json_integer_value(json_object_get(root, "array"));
    note.array_index = (uint32_t)json_integer_value(json_object_get(root, "index"));
    note.array_count = (uint32_t)json_integer_value(json_object_get(root, "count"));
    user = json_string_value(json_object_get(root, "user"));
    snprintf(note.user, sizeof(note.user), "%s", user ? user : "");
    note.dressed = json_is_true(json_object_get(root, "dressed"));
    note.staged = json_is_true(json_object_get(root, "staged"));
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
