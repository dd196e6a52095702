/* What of an attempt over machines survives this agent: its parts and what was decided, then its
 * record. How far its parts are their nodes say again, each time they say HELLO. */
#include "agent/nodes_internal.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTE_BYTES_MAX (1u << 20)

char *gang_folder(const struct nodes *nodes, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    return path_format("%s/attempts/%s", nodes->dir, name);
}

struct gang *gang_create(struct attempt_key key, uint32_t parts_count)
{
    struct gang *gang = calloc(1, sizeof(*gang));

    if (gang)
        gang->parts = calloc(parts_count, sizeof(*gang->parts));
    if (!gang || !gang->parts) {
        free(gang);
        return NULL;
    }
    gang->key.job_id = key.job_id;
    gang->key.epoch = key.epoch;
    gang->record.key = gang->key;
    gang->parts_count = parts_count;
    gang->offsets_fd = -1;
    for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++)
        gang->log_fds[s] = -1;
    for (uint32_t i = 0; i < parts_count; i++)
        gang->parts[i].record.key = gang->key;
    return gang;
}

void gang_destroy(struct gang *gang)
{
    if (!gang)
        return;
    gang_logs_close(gang);
    if (gang->line)
        explicit_bzero(gang->line, gang->line_len); /* secrets */
    free(gang->line);
    free(gang->parts);
    free(gang);
}

int gang_save(const struct nodes *nodes, const struct gang *gang, struct err *err)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, gang->key);
    CLEANUP(freep) char *path = folder ? path_format("%s/gang", folder) : NULL;
    CLEANUP(freep) char *text = NULL;
    json_t *parts = json_array(), *root;

    for (uint32_t i = 0; i < gang->parts_count; i++)
        json_array_append_new(parts, json_string(gang->parts[i].node));
    root = json_pack("{s:o, s:I, s:b, s:I, s:I, s:s%, s:b, s:I, s:s%}", "parts", parts, "lease",
                     (json_int_t)gang->lease, "decided", gang->decided, "end",
                     (json_int_t)gang->record.end, "code", (json_int_t)gang->record.exit_code,
                     "reason", gang->record.reason, strlen(gang->record.reason), "stopping",
                     gang->stopping, "grace_ms", (json_int_t)gang->grace_ms, "why", gang->why,
                     strlen(gang->why));
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!path || !text)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    return file_write(path, text, strlen(text), 0600, false, err);
}

static int read_note(const char *folder, json_t **root_out)
{
    CLEANUP(freep) char *path = path_format("%s/gang", folder);
    CLEANUP(buf_fini) struct buf text = buf_init(NOTE_BYTES_MAX);
    int rc = path ? file_read(path, &text, NULL) : -ENOMEM;

    if (rc < 0)
        return rc;
    *root_out = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    return *root_out ? 0 : -EBADMSG;
}

static void take_text(const json_t *root, const char *key, char *out, size_t bytes)
{
    const char *text = json_string_value(json_object_get(root, key));

    snprintf(out, bytes, "%s", text ? text : "");
}

static int take_note(const json_t *root, struct attempt_key key, struct gang **gang_out)
{
    const json_t *parts = json_object_get(root, "parts");
    size_t count = json_array_size(parts);
    struct gang *gang = count && count <= WIRE_PARTS_MAX ? gang_create(key, (uint32_t)count) : NULL;

    if (!gang)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(parts, i));

        snprintf(gang->parts[i].node, sizeof(gang->parts[i].node), "%s", name ? name : "");
    }
    gang->lease = (uint64_t)json_integer_value(json_object_get(root, "lease"));
    gang->decided = json_is_true(json_object_get(root, "decided"));
    gang->record.end = (uint32_t)json_integer_value(json_object_get(root, "end"));
    gang->record.exit_code = (int32_t)json_integer_value(json_object_get(root, "code"));
    take_text(root, "reason", gang->record.reason, sizeof(gang->record.reason));
    gang->stopping = json_is_true(json_object_get(root, "stopping"));
    gang->grace_ms = json_integer_value(json_object_get(root, "grace_ms"));
    take_text(root, "why", gang->why, sizeof(gang->why));
    *gang_out = gang;
    return 0;
}

bool gang_recall(const struct nodes *nodes, struct attempt_key key, const char *file,
                 struct attempt_record *record_out)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, key);
    CLEANUP(freep) char *path = folder ? path_format("%s/%s", folder, file) : NULL;
    CLEANUP(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    return fd >= 0 && attempt_record_read(fd, key, record_out) == 0;
}

int gang_load(struct nodes *nodes, struct attempt_key key, struct gang **gang_out)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, key);
    struct attempt_record record;
    json_t *root = NULL;
    int rc = folder ? read_note(folder, &root) : -ENOMEM;

    if (rc == 0)
        rc = take_note(root, key, gang_out);
    json_decref(root);
    if (rc == 0 && gang_recall(nodes, key, "final", &record)) {
        (*gang_out)->record = record;
        (*gang_out)->state = ATTEMPT_ENDED;
        for (uint32_t i = 0; i < (*gang_out)->parts_count; i++)
            (*gang_out)->parts[i].state = PART_ENDED;
    }
    return rc;
}

/* Through another name: a record is there or is not. */
int gang_save_final(const struct nodes *nodes, const struct gang *gang)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, gang->key);
    CLEANUP(freep) char *path = folder ? path_format("%s/final", folder) : NULL;
    CLEANUP(freep) char *part = folder ? path_format("%s/final.new", folder) : NULL;
    CLEANUP(closep)
    int fd = part ? open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    int rc;

    if (fd < 0 || !path)
        return part && path ? -errno : -ENOMEM;
    rc = attempt_record_write(fd, &gang->record);
    if (rc == 0 && rename(part, path) < 0)
        rc = -errno;
    return rc;
}
