#include "agent/engine_part.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void engine_part_take(const struct wire_part *from, struct engine_part *part)
{
    memset(part, 0, sizeof(*part));
    snprintf(part->node, sizeof(part->node), "%s", from->node);
    part->tasks = from->tasks;
    part->cpus = from->cpus;
    part->memory_bytes = from->memory_bytes;
    part->devices = from->devices_count;
    for (uint32_t d = 0; d < from->devices_count; d++)
        part->device_mask |= UINT64_C(1) << (from->devices[d].index % 64);
}

json_t *engine_parts_print(const struct engine_part *parts, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        const struct engine_part *part = &parts[i];

        json_array_append_new(list, json_pack("{s:s,s:i,s:i,s:i,s:I,s:I}", "node", part->node,
                                              "tasks", (int)part->tasks, "cpus", (int)part->cpus,
                                              "devices", (int)part->devices, "memory_bytes",
                                              (json_int_t)part->memory_bytes, "mask",
                                              (json_int_t)part->device_mask));
    }
    return list;
}

static void read_part(const json_t *object, struct engine_part *part)
{
    const char *node = json_string_value(json_object_get(object, "node"));

    snprintf(part->node, sizeof(part->node), "%s", node ? node : "");
    part->tasks = (uint32_t)json_integer_value(json_object_get(object, "tasks"));
    part->cpus = (uint32_t)json_integer_value(json_object_get(object, "cpus"));
    part->devices = (uint32_t)json_integer_value(json_object_get(object, "devices"));
    part->memory_bytes = json_integer_value(json_object_get(object, "memory_bytes"));
    part->device_mask = (uint64_t)json_integer_value(json_object_get(object, "mask"));
}

int engine_parts_read(const json_t *json, struct engine_part **parts_out, uint32_t *count_out)
{
    size_t count = json_array_size(json);
    struct engine_part *parts;

    if (count == 0 || count > WIRE_PARTS_MAX)
        return -EBADMSG;
    parts = calloc(count, sizeof(*parts));
    if (!parts)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        read_part(json_array_get(json, i), &parts[i]);
    *parts_out = parts;
    *count_out = (uint32_t)count;
    return 0;
}

void engine_parts_fill_usage(const struct engine_part *parts, uint32_t count, int64_t until_ms,
                             struct attempt_record *record)
{
    int64_t wall = record->started_ms ? MAX(until_ms - record->started_ms, 0) : 0;
    int64_t cpus = 0, devices = 0;

    for (uint32_t i = 0; i < count; i++) {
        cpus += parts[i].cpus;
        devices += parts[i].devices;
    }
    record->usage.wall_ms = wall;
    record->usage.cpu_held_ms = wall * cpus;
    record->usage.device_milli_ms = wall * devices * 1000;
}

int engine_note_write(int attempt_fd, const char *name, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    char fresh[64];
    int rc = -ENOMEM, fd = -1;

    snprintf(fresh, sizeof(fresh), "%s.new", name);
    if (text) {
        fd = openat(attempt_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        rc = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
    }
    /* The engine is asked next: what is not on the disk then could be asked for twice after a
     * crash. */
    if (rc == 0 && fdatasync(fd) < 0)
        rc = -errno;
    closep(&fd);
    if (rc == 0 && renameat(attempt_fd, fresh, attempt_fd, name) < 0)
        rc = -errno;
    free(text);
    json_decref(root);
    return rc;
}

json_t *engine_note_read(int attempt_fd, const char *name)
{
    CLEANUP(closep) int fd = openat(attempt_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
}
