#include "grid/event.h"

#include "grid/event_fields.h"

#include <errno.h>
#include <string.h>

#define HEAD_BYTES 12u

int event_encode(const struct event *event, struct buf *out)
{
    const struct fields *fields = event_fields(event->type);
    size_t start = out->len;
    uint8_t head[HEAD_BYTES];
    int rc;

    if (!fields)
        return -EINVAL;
    head[0] = (uint8_t)event->type;
    head[1] = (uint8_t)(event->type >> 8);
    head[2] = EVENT_VERSION & 0xff;
    head[3] = EVENT_VERSION >> 8;
    for (int i = 0; i < 8; i++)
        head[4 + i] = (uint8_t)((uint64_t)event->time_ms >> (8 * i));
    buf_add(out, head, sizeof(head));
    rc = fields_encode(fields, event, out, NULL);
    if (rc == 0 && out->len - start > EVENT_BYTES_MAX)
        rc = -EINVAL;
    if (rc < 0 && out->data) {
        out->len = start;
        out->data[start] = '\0';
    }
    return rc;
}

int event_decode(const void *data, size_t len, struct arena *arena, struct event *event_out,
                 struct err *err)
{
    const uint8_t *bytes = data;
    const struct fields *fields;
    unsigned type, version;
    uint64_t time = 0;
    int rc;

    if (len < HEAD_BYTES)
        return err_set(err, -EBADMSG, "event of %zu bytes: too short", len);
    if (len > EVENT_BYTES_MAX)
        return err_set(err, -EBADMSG, "event of %zu bytes: too long", len);
    type = bytes[0] | (unsigned)bytes[1] << 8;
    version = bytes[2] | (unsigned)bytes[3] << 8;
    for (int i = 0; i < 8; i++)
        time |= (uint64_t)bytes[4 + i] << (8 * i);
    fields = event_fields(type);
    if (!fields)
        return err_set(err, -EBADMSG, "event of unknown type %u", type);
    if (version == 0 || version > EVENT_VERSION)
        return err_set(err, -EBADMSG, "event of version %u; this program reads 1 to %u", version,
                       EVENT_VERSION);
    memset(event_out, 0, sizeof(*event_out));
    event_out->type = type;
    event_out->time_ms = (int64_t)time;
    rc = fields_decode(fields, bytes + HEAD_BYTES, len - HEAD_BYTES, arena, event_out, err);
    return rc < 0 ? err_prefix(err, rc, "%s", event_type_name(type)) : 0;
}

json_t *event_to_json(const struct event *event)
{
    const struct fields *fields = event_fields(event->type);
    json_t *object = fields ? json_object() : NULL;

    if (!object)
        return NULL;
    if (json_object_set_new(object, "type", json_string(event_type_name(event->type))) < 0 ||
        json_object_set_new(object, "version", json_integer(EVENT_VERSION)) < 0 ||
        json_object_set_new(object, "time_ms", json_integer(event->time_ms)) < 0 ||
        fields_to_json(fields, event, object) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int event_from_json(const json_t *json, struct arena *arena, struct event *event_out,
                    struct err *err)
{
    static const char *const head[] = { "type", "version", "time_ms", NULL };
    const char *name = json_string_value(json_object_get(json, "type"));
    const json_t *version = json_object_get(json, "version");
    const json_t *time = json_object_get(json, "time_ms");
    const struct fields *fields = NULL;
    unsigned type = 0;
    int rc;

    if (!name)
        return err_field(err, -EINVAL, "type", "event without a type");
    for (unsigned i = 1; !fields && i <= EVENT_TYPE_LAST; i++)
        if (strcmp(event_type_name(i), name) == 0)
            fields = event_fields(type = i);
    if (!fields)
        return err_field(err, -EINVAL, "type", "unknown event type \"%s\"", name);
    if (!json_is_integer(version) || json_integer_value(version) < 1 ||
        json_integer_value(version) > EVENT_VERSION)
        return err_field(err, -EINVAL, "version", "event version: expected 1 to %u", EVENT_VERSION);
    if (!json_is_integer(time))
        return err_field(err, -EINVAL, "time_ms", "event without time_ms");
    memset(event_out, 0, sizeof(*event_out));
    event_out->type = type;
    event_out->time_ms = json_integer_value(time);
    rc = fields_from_json(fields, json, head, arena, event_out, err);
    return rc < 0 ? err_prefix(err, rc, "%s", name) : 0;
}
