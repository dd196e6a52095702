#include "wire/wire.h"

#include "wire/wire_field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define IN(type) (1u << WIRE_##type)
#define STAND (IN(SUSPEND) | IN(RESUME))
#define ATTEMPT_NEEDED                                                                             \
    (IN(RUN) | IN(STOP) | IN(FORGET) | IN(PRESTAGE) | IN(RECEIPT) | IN(TUNNEL) | STAND)
#define ATTEMPT_TYPES (ATTEMPT_NEEDED | IN(LOG_READ))
#define AT(m) offsetof(struct wire_command, m), sizeof(((struct wire_command *)0)->m)

static const char *const type_names[] = {
    [WIRE_RUN] = "run",           [WIRE_STOP] = "stop",         [WIRE_RECONCILE] = "reconcile",
    [WIRE_PING] = "ping",         [WIRE_LOG_READ] = "log_read", [WIRE_FORGET] = "forget",
    [WIRE_PRESTAGE] = "prestage", [WIRE_RECEIPT] = "receipt",   [WIRE_TUNNEL] = "tunnel",
    [WIRE_SUSPEND] = "suspend",   [WIRE_RESUME] = "resume",
};

static const struct wire_field fields[] = {
    { "job", WIRE_U64, AT(attempt.job_id), 0, INT64_MAX, 0, ATTEMPT_TYPES, ATTEMPT_NEEDED },
    { "epoch", WIRE_U32, AT(attempt.epoch), 0, UINT32_MAX, 0, ATTEMPT_TYPES, ATTEMPT_NEEDED },
    { "tenant", WIRE_TEXT, AT(tenant), 0, 0, 0, IN(RUN), 0 },
    { "user", WIRE_TEXT, AT(user), 0, 0, 0, IN(RUN), 0 },
    { "name", WIRE_TEXT, AT(name), 0, 0, 0, IN(RUN), 0 },
    { "array_id", WIRE_U64, AT(array_id), 0, INT64_MAX, 0, IN(RUN), 0 },
    { "array_index", WIRE_U32, AT(array_index), 0, UINT32_MAX, 0, IN(RUN), 0 },
    { "array_count", WIRE_U32, AT(array_count), 0, UINT32_MAX, 0, IN(RUN), 0 },
    { "attempt", WIRE_U32, AT(attempt_number), 0, UINT32_MAX, 1, IN(RUN), 0 },
    { "duration_ms_max", WIRE_I64, AT(duration_ms_max), 0, INT64_MAX, 0, IN(RUN), 0 },
    { "deadline_ms", WIRE_I64, AT(deadline_ms), 0, INT64_MAX, 0, IN(RUN), 0 },
    { "uid", WIRE_I32, AT(run_as_uid), -1, INT32_MAX, -1, IN(RUN), 0 },
    { "gid", WIRE_I32, AT(run_as_gid), -1, INT32_MAX, -1, IN(RUN), 0 },
    { "host_paths", WIRE_BOOL, AT(host_paths), 0, 1, 0, IN(RUN), 0 },
    { "checkpoint", WIRE_NAME, AT(checkpoint), 0, 0, 0, IN(RUN) | IN(PRESTAGE), IN(PRESTAGE) },
    { "checkpoint_saved_ms", WIRE_I64, AT(checkpoint_saved_ms), 0, INT64_MAX, 0, IN(RUN), 0 },
    { "checkpoint_every_ms", WIRE_I64, AT(checkpoint_every_ms), 0, INT64_MAX, 0, IN(RUN), 0 },
    { "site", WIRE_NAME, AT(site), 0, 0, 0, IN(RUN), 0 },
    { "lease", WIRE_BOOL, AT(lease), 0, 1, 0, IN(RUN), 0 },
    { "lease_ms", WIRE_I64, AT(lease_ms), 0, WIRE_LEASE_MS_MAX, 0, IN(RECONCILE), 0 },
    { "stop_ms", WIRE_I64, AT(stop_ms), 0, WIRE_LEASE_MS_MAX, 0, IN(RECONCILE), 0 },
    { "every_ms", WIRE_I64, AT(every_ms), 0, WIRE_LEASE_MS_MAX, 0, IN(RECONCILE), 0 },
    { "grace_ms", WIRE_I64, AT(grace_ms), WIRE_GRACE_SAVES, INT64_MAX, -1, IN(STOP), 0 },
    { "reason", WIRE_LINE, AT(reason), 0, 0, 0, IN(STOP) | IN(SUSPEND), 0 },
    { "time_ms", WIRE_I64, AT(time_ms), 0, INT64_MAX, 0, IN(PING), 0 },
    { "request", WIRE_U64, AT(request), 0, INT64_MAX, 0, IN(LOG_READ) | IN(TUNNEL),
      IN(LOG_READ) | IN(TUNNEL) },
    { "port", WIRE_U32, AT(port), 1, 65535, 0, IN(TUNNEL), IN(TUNNEL) },
    { "resume", WIRE_BOOL, AT(resume), 0, 1, 0, IN(TUNNEL), 0 },
    { "direct", WIRE_BOOL, AT(direct), 0, 1, 0, IN(TUNNEL), 0 },
    { "across_self", WIRE_U32, AT(across_self), 0, REQUEST_SITES_MAX - 1, 0, IN(RUN), 0 },
    { "stderr", WIRE_BOOL, AT(stream_stderr), 0, 1, 0, IN(LOG_READ), 0 },
    { "follow", WIRE_BOOL, AT(follow), 0, 1, 0, IN(LOG_READ), 0 },
    { "offset", WIRE_I64, AT(offset), INT64_MIN, INT64_MAX, 0, IN(LOG_READ), 0 },
    { "cancel", WIRE_BOOL, AT(cancel), 0, 1, 0, IN(LOG_READ), 0 },
    { "receipt", WIRE_TEXT, AT(receipt.text), 0, 0, 0, IN(RECEIPT), IN(RECEIPT) },
    { "signature", WIRE_TEXT, AT(receipt.signature), 0, 0, 0, IN(RECEIPT), IN(RECEIPT) },
    { "key", WIRE_TEXT, AT(receipt.key), 0, 0, 0, IN(RECEIPT), IN(RECEIPT) },
};

#undef AT
#define AT(m) offsetof(struct wire_part, m), sizeof(((struct wire_part *)0)->m)

static const struct wire_field part_fields[] = {
    { "node", WIRE_NAME, AT(node), 0, 0, 0, 1, 1 },
    { "address", WIRE_TEXT, AT(address), 0, 0, 0, 1, 0 },
    { "tasks", WIRE_U32, AT(tasks), 0, UINT32_MAX, 0, 1, 0 },
    { "cpus", WIRE_U32, AT(cpus), 0, UINT32_MAX, 0, 1, 0 },
    { "memory_bytes", WIRE_I64, AT(memory_bytes), 0, INT64_MAX, 0, 1, 0 },
    { "disk_bytes", WIRE_I64, AT(disk_bytes), 0, INT64_MAX, 0, 1, 0 },
};

static int print_part(const struct wire_part *part, struct buf *out)
{
    int rc;

    if (part->devices_count > NODE_DEVICES_MAX)
        return -EINVAL;
    /* The table begins every member with a comma: what always stands comes first. */
    buf_add_text(out, "{\"devices\":[");
    for (uint32_t i = 0; i < part->devices_count; i++) {
        if (part->devices[i].milli < 1 || part->devices[i].milli > 1000)
            return -EINVAL;
        buf_printf(out, "%s[%" PRIu32 ",%" PRIu32 "]", i ? "," : "", part->devices[i].index,
                   part->devices[i].milli);
    }
    buf_add_char(out, ']');
    if (part->shares_count > NODE_DEVICES_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < part->shares_count; i++)
        buf_printf(out, "%s%" PRIu32, i ? "," : ",\"shares\":[", part->shares_ppm[i]);
    if (part->shares_count)
        buf_add_char(out, ']');
    rc = wire_print_fields(out, part_fields, ARRAY_COUNT(part_fields), 0, part);
    buf_add_char(out, '}');
    return rc;
}

/* [["west",4],["east",2]] */
static int print_across(const struct wire_command *command, struct buf *out)
{
    if (command->across_count > REQUEST_SITES_MAX || command->across_self >= command->across_count)
        return -EINVAL;
    buf_add_text(out, ",\"across\":[");
    for (uint32_t i = 0; i < command->across_count; i++) {
        buf_add_text(out, i ? ",[" : "[");
        wire_print_text(out, command->across[i].site);
        buf_printf(out, ",%" PRIu32 "]", command->across[i].tasks);
    }
    return buf_add_char(out, ']');
}

static int print_run(const struct wire_command *command, struct buf *out)
{
    int rc = 0;

    if (!command->spec_json || command->spec_json[0] != '{' || strchr(command->spec_json, '\n') ||
        !command->parts_count || command->parts_count > WIRE_PARTS_MAX)
        return -EINVAL;
    buf_add_text(out, ",\"parts\":[");
    for (uint32_t i = 0; rc == 0 && i < command->parts_count; i++) {
        if (i)
            buf_add_char(out, ',');
        rc = print_part(&command->parts[i], out);
    }
    buf_add_char(out, ']');
    if (rc == 0 && command->across_count)
        rc = print_across(command, out);
    buf_add_text(out, ",\"spec\":");
    buf_add_text(out, command->spec_json);
    return rc;
}

static int print_labels(const struct wire_command *command, struct buf *out)
{
    if (command->labels_count > REQUEST_LABELS_MAX)
        return -EINVAL;
    buf_add_text(out, ",\"labels\":[");
    for (uint32_t i = 0; i < command->labels_count; i++) {
        buf_add_text(out, i ? "," : "");
        wire_print_text(out, command->labels[i]);
    }
    return buf_add_char(out, ']');
}

int wire_command_print(const struct wire_command *command, struct buf *out)
{
    size_t start = out->len;
    int rc;

    if ((uint32_t)command->type >= ARRAY_COUNT(type_names))
        return -EINVAL;
    wire_begin_line(out, type_names[command->type]);
    rc = wire_print_fields(out, fields, ARRAY_COUNT(fields), command->type, command);
    if (rc == 0 && command->type == WIRE_RUN)
        rc = print_run(command, out);
    if (rc == 0 && command->type == WIRE_RECONCILE)
        rc = wire_print_attempts(out, "attempts", command->attempts, command->attempts_count);
    if (rc == 0 && command->type == WIRE_RECONCILE && command->suspended_count)
        rc = wire_print_attempts(out, "suspended", command->suspended, command->suspended_count);
    if (rc == 0 && command->type == WIRE_PRESTAGE && command->labels_told)
        rc = print_labels(command, out);
    return wire_end_line(out, start, rc);
}

static int parse_devices(const json_t *list, struct wire_part *part, struct err *err)
{
    size_t count = json_array_size(list);

    if ((list && !json_is_array(list)) || count > NODE_DEVICES_MAX)
        return err_field(err, -EBADMSG, "devices", "devices: expected a list of at most %u",
                         NODE_DEVICES_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_t *index = json_array_get(pair, 0);
        const json_t *milli = json_array_get(pair, 1);

        if (json_array_size(pair) != 2 || !json_is_integer(index) ||
            json_integer_value(index) < 0 || json_integer_value(index) > UINT32_MAX ||
            !json_is_integer(milli) || json_integer_value(milli) < 1 ||
            json_integer_value(milli) > 1000)
            return err_field(err, -EBADMSG, "devices", "devices[%zu]: expected [index, 1..1000]",
                             i);
        part->devices[i].index = (uint32_t)json_integer_value(index);
        part->devices[i].milli = (uint32_t)json_integer_value(milli);
    }
    part->devices_count = (uint32_t)count;
    return 0;
}

static int parse_shares(const json_t *list, struct wire_part *part, struct err *err)
{
    size_t count = json_array_size(list);

    if ((list && !json_is_array(list)) || count > NODE_DEVICES_MAX)
        return err_field(err, -EBADMSG, "shares", "shares: expected a list of at most %u",
                         NODE_DEVICES_MAX);
    for (size_t i = 0; i < count; i++) {
        json_int_t ppm = json_integer_value(json_array_get(list, i));

        if (!json_is_integer(json_array_get(list, i)) || ppm < 0 || ppm > 1000000)
            return err_field(err, -EBADMSG, "shares", "shares[%zu]: expected 0..1000000", i);
        part->shares_ppm[i] = (uint32_t)ppm;
    }
    part->shares_count = (uint32_t)count;
    return 0;
}

static int parse_parts(const json_t *list, struct arena *arena, struct wire_command *command,
                       struct err *err)
{
    size_t count = json_array_size(list);
    struct wire_part *parts;

    if (count < 1 || count > WIRE_PARTS_MAX)
        return err_field(err, -EBADMSG, "parts", "parts: expected a list of 1..%u", WIRE_PARTS_MAX);
    parts = arena_alloc(arena, count, sizeof(*parts));
    if (!parts)
        return err_set(err, -ENOMEM, "parts: out of memory");
    for (size_t i = 0; i < count; i++) {
        const json_t *part = json_array_get(list, i);
        int rc = json_is_object(part) ? 0 : err_field(err, -EBADMSG, "parts", "expected an object");

        if (rc == 0)
            rc = wire_parse_fields(part, part_fields, ARRAY_COUNT(part_fields), 0, &parts[i], err);
        if (rc == 0)
            rc = parse_devices(json_object_get(part, "devices"), &parts[i], err);
        if (rc == 0)
            rc = parse_shares(json_object_get(part, "shares"), &parts[i], err);
        if (rc < 0)
            return err_prefix(err, rc, "parts[%zu]", i);
    }
    command->parts = parts;
    command->parts_count = (uint32_t)count;
    return 0;
}

static int parse_across(const json_t *list, struct wire_command *command, struct err *err)
{
    size_t count = json_array_size(list);

    if ((list && !json_is_array(list)) || count > REQUEST_SITES_MAX ||
        (count && command->across_self >= count))
        return err_field(err, -EBADMSG, "across", "across: expected a list of at most %u sites",
                         REQUEST_SITES_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        const char *site = json_string_value(json_array_get(pair, 0));
        const json_t *tasks = json_array_get(pair, 1);

        if (json_array_size(pair) != 2 || !site || !wire_is_name(site) ||
            strlen(site) >= sizeof(command->across[i].site) || !json_is_integer(tasks) ||
            json_integer_value(tasks) < 1 || json_integer_value(tasks) > REQUEST_ACROSS_TASKS_MAX)
            return err_field(err, -EBADMSG, "across", "across[%zu]: expected [site, 1..%u]", i,
                             REQUEST_ACROSS_TASKS_MAX);
        snprintf(command->across[i].site, sizeof(command->across[i].site), "%s", site);
        command->across[i].tasks = (uint32_t)json_integer_value(tasks);
    }
    command->across_count = (uint32_t)count;
    return 0;
}

/* The spec stays text for the agent: the job's own parser reads it there. */
static int parse_spec(const json_t *spec, struct arena *arena, struct wire_command *command,
                      struct err *err)
{
    char *text;
    size_t len;

    if (!json_is_object(spec))
        return err_field(err, -EBADMSG, "spec", "spec: expected an object");
    len = json_dumpb(spec, NULL, 0, JSON_COMPACT);
    text = len ? arena_alloc(arena, len + 1, 1) : NULL;
    if (!text || json_dumpb(spec, text, len, JSON_COMPACT) != len)
        return err_set(err, -ENOMEM, "spec: out of memory");
    command->spec_json = text;
    return 0;
}

static int parse_labels(const json_t *list, struct wire_command *command, struct err *err)
{
    json_t *item;
    size_t i;

    command->labels_told = list != NULL;
    if (list && (!json_is_array(list) || json_array_size(list) > REQUEST_LABELS_MAX))
        return err_field(err, -EBADMSG, "labels", "labels: expected a list of at most %u",
                         REQUEST_LABELS_MAX);
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(item);

        if (!name || !*name || json_string_length(item) >= MODEL_NAME_BYTES ||
            strlen(name) != json_string_length(item))
            return err_field(err, -EBADMSG, "labels", "labels[%zu]: expected a name", i);
        memcpy(command->labels[command->labels_count++], name, strlen(name) + 1);
    }
    return 0;
}

int wire_command_parse(const char *line, size_t len, struct arena *arena,
                       struct wire_command *command_out, struct err *err)
{
    CLEANUP(wire_json_freep) json_t *root = NULL;
    struct wire_command command = { 0 };
    uint32_t type = 0;
    int rc = wire_parse_line(line, len, type_names, ARRAY_COUNT(type_names), &root, &type, err);

    if (rc < 0)
        return rc;
    command.type = (enum wire_command_type)type;
    rc = wire_parse_fields(root, fields, ARRAY_COUNT(fields), type, &command, err);
    if (rc == 0 && type == WIRE_RUN)
        rc = parse_parts(json_object_get(root, "parts"), arena, &command, err);
    if (rc == 0 && type == WIRE_RUN)
        rc = parse_across(json_object_get(root, "across"), &command, err);
    if (rc == 0 && type == WIRE_RUN)
        rc = parse_spec(json_object_get(root, "spec"), arena, &command, err);
    if (rc == 0 && type == WIRE_RECONCILE)
        rc = wire_parse_attempts(json_object_get(root, "attempts"), arena, &command.attempts,
                                 &command.attempts_count, err);
    if (rc == 0 && type == WIRE_PRESTAGE)
        rc = parse_labels(json_object_get(root, "labels"), &command, err);
    if (rc == 0 && type == WIRE_RECONCILE && json_object_get(root, "suspended"))
        rc = wire_parse_attempts(json_object_get(root, "suspended"), arena, &command.suspended,
                                 &command.suspended_count, err);
    if (rc < 0)
        return err_prefix(err, rc, "%s", type_names[type]);
    *command_out = command;
    return 0;
}
