#include "wire/wire_field.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void wire_json_freep(json_t **json)
{
    json_decref(*json);
}

/* Length of the UTF-8 sequence at `text` (NUL-terminated), 0 when there is none. Overlong forms,
 * surrogates and what lies beyond U+10FFFF are none. */
static size_t utf8_len(const unsigned char *text)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = text[0] < 0x80             ? 1
                 : (text[0] & 0xe0) == 0xc0 ? 2
                 : (text[0] & 0xf0) == 0xe0 ? 3
                 : (text[0] & 0xf8) == 0xf0 ? 4
                                            : 0;
    uint32_t code;

    if (len <= 1)
        return len;
    code = text[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return len;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

int wire_print_text(struct buf *out, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    buf_add_char(out, '"');
    while (*p) {
        size_t len = utf8_len(p);

        if (!len || is_control(*p)) {
            buf_add_char(out, '?');
            p++;
            continue;
        }
        if (*p == '"' || *p == '\\')
            buf_add_char(out, '\\');
        buf_add(out, p, len);
        p += len;
    }
    buf_add_char(out, '"');
    return out->failed ? -ENOSPC : 0;
}

static bool is_number(enum wire_kind kind)
{
    return kind == WIRE_U64 || kind == WIRE_U32 || kind == WIRE_I64 || kind == WIRE_I32;
}

static bool load_number(const struct wire_field *field, const void *member, int64_t *out)
{
    uint64_t wide;

    switch (field->kind) {
    case WIRE_U64:
        memcpy(&wide, member, sizeof(wide));
        if (wide > INT64_MAX)
            return false;
        *out = (int64_t)wide;
        break;
    case WIRE_I64:
        *out = *(const int64_t *)member;
        break;
    case WIRE_U32:
        *out = *(const uint32_t *)member;
        break;
    default:
        *out = *(const int32_t *)member;
        break;
    }
    return *out >= field->min && *out <= field->max;
}

static void store_number(const struct wire_field *field, void *member, int64_t number)
{
    if (field->kind == WIRE_U64)
        *(uint64_t *)member = (uint64_t)number;
    else if (field->kind == WIRE_I64)
        *(int64_t *)member = number;
    else if (field->kind == WIRE_U32)
        *(uint32_t *)member = (uint32_t)number;
    else
        *(int32_t *)member = (int32_t)number;
}

int wire_print_fields(struct buf *out, const struct wire_field *fields, size_t count, uint32_t type,
                      const void *object)
{
    for (size_t i = 0; i < count; i++) {
        const struct wire_field *field = &fields[i];
        const char *member = (const char *)object + field->offset;
        bool needed = (field->needed & 1u << type) != 0;
        int64_t number;

        if (!(field->types & 1u << type))
            continue;
        if (is_number(field->kind)) {
            if (!load_number(field, member, &number))
                return -EINVAL;
            if (needed || number != field->otherwise)
                buf_printf(out, ",\"%s\":%" PRId64, field->key, number);
        } else if (field->kind == WIRE_BOOL) {
            if (needed || *(const bool *)member)
                buf_printf(out, ",\"%s\":%s", field->key, *(const bool *)member ? "true" : "false");
        } else if (needed || *member) {
            buf_printf(out, ",\"%s\":", field->key);
            wire_print_text(out, member);
        }
    }
    return out->failed ? -ENOSPC : 0;
}

bool wire_is_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    return !strchr("._-", text[0]) && !text[strspn(text, letters)];
}

/* As much of `text` as fits, whole characters only, controls replaced. */
static void copy_line(const char *text, char *out, size_t bytes)
{
    size_t used = 0;

    while (*text) {
        size_t len = utf8_len((const unsigned char *)text);

        if (!len)
            len = 1;
        if (used + len >= bytes)
            break;
        memcpy(out + used, text, len);
        if (is_control((unsigned char)*text))
            out[used] = '?';
        used += len;
        text += len;
    }
    out[used] = '\0';
}

static int parse_text(const struct wire_field *field, const json_t *value, char *member,
                      struct err *err)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (!text)
        return err_field(err, -EBADMSG, field->key, "%s: expected a string", field->key);
    if (field->kind == WIRE_LINE) {
        copy_line(text, member, field->bytes);
        return 0;
    }
    if (len >= field->bytes)
        return err_field(err, -EBADMSG, field->key, "%s: longer than %zu bytes", field->key,
                         field->bytes - 1);
    if (field->kind == WIRE_NAME && *text && !wire_is_name(text))
        return err_field(err, -EBADMSG, field->key, "%s: \"%.60s\" is not a name", field->key,
                         text);
    for (size_t i = 0; i < len; i++)
        if (is_control((unsigned char)text[i]))
            return err_field(err, -EBADMSG, field->key, "%s: control character", field->key);
    memcpy(member, text, len + 1);
    return 0;
}

static int parse_field(const struct wire_field *field, const json_t *value, char *member,
                       struct err *err)
{
    json_int_t number = json_integer_value(value);

    if (field->kind == WIRE_BOOL) {
        if (!json_is_boolean(value))
            return err_field(err, -EBADMSG, field->key, "%s: expected true or false", field->key);
        *(bool *)(void *)member = json_is_true(value);
        return 0;
    }
    if (!is_number(field->kind))
        return parse_text(field, value, member, err);
    if (!json_is_integer(value) || number < field->min || number > field->max)
        return err_field(err, -EBADMSG, field->key, "%s: expected an integer %" PRId64 "..%" PRId64,
                         field->key, field->min, field->max);
    store_number(field, member, number);
    return 0;
}

int wire_parse_fields(const json_t *root, const struct wire_field *fields, size_t count,
                      uint32_t type, void *object, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct wire_field *field = &fields[i];
        const json_t *value = json_object_get(root, field->key);
        char *member = (char *)object + field->offset;
        int rc;

        if (!value || !(field->types & 1u << type)) {
            if (field->needed & 1u << type)
                return err_field(err, -EBADMSG, field->key, "%s: missing", field->key);
            if (is_number(field->kind))
                store_number(field, member, field->otherwise);
            continue;
        }
        rc = parse_field(field, value, member, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int wire_print_attempts(struct buf *out, const char *key, const struct wire_attempt_id *attempts,
                        uint32_t count)
{
    if (count > WIRE_ATTEMPTS_MAX)
        return -EINVAL;
    buf_printf(out, ",\"%s\":[", key);
    for (uint32_t i = 0; i < count; i++) {
        if (attempts[i].job_id > INT64_MAX)
            return -EINVAL;
        buf_printf(out, "%s[%" PRIu64 ",%" PRIu32 "]", i ? "," : "", attempts[i].job_id,
                   attempts[i].epoch);
    }
    buf_add_char(out, ']');
    return out->failed ? -ENOSPC : 0;
}

int wire_parse_attempts(const json_t *list, struct arena *arena,
                        const struct wire_attempt_id **attempts_out, uint32_t *count_out,
                        struct err *err)
{
    size_t count = json_array_size(list);
    struct wire_attempt_id *attempts;

    if (!json_is_array(list) || count > WIRE_ATTEMPTS_MAX)
        return err_field(err, -EBADMSG, "attempts", "attempts: expected a list of at most %u",
                         WIRE_ATTEMPTS_MAX);
    attempts = arena_alloc(arena, count ? count : 1, sizeof(*attempts));
    if (!attempts)
        return err_set(err, -ENOMEM, "attempts: out of memory");
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_t *job = json_array_get(pair, 0);
        const json_t *epoch = json_array_get(pair, 1);

        if (json_array_size(pair) != 2 || !json_is_integer(job) || json_integer_value(job) < 0 ||
            !json_is_integer(epoch) || json_integer_value(epoch) < 0 ||
            json_integer_value(epoch) > UINT32_MAX)
            return err_field(err, -EBADMSG, "attempts", "attempts[%zu]: expected [job, epoch]", i);
        attempts[i].job_id = (uint64_t)json_integer_value(job);
        attempts[i].epoch = (uint32_t)json_integer_value(epoch);
    }
    *attempts_out = attempts;
    *count_out = (uint32_t)count;
    return 0;
}

int wire_parse_line(const char *line, size_t len, const char *const *names, uint32_t names_count,
                    json_t **root_out, uint32_t *type_out, struct err *err)
{
    CLEANUP(wire_json_freep) json_t *root = NULL;
    json_error_t error;
    const char *name;

    if (len > WIRE_LINE_BYTES_MAX)
        return err_set(err, -EBADMSG, "a line of %zu bytes: longer than %u", len,
                       WIRE_LINE_BYTES_MAX);
    root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return err_set(err, -ENOMEM, "out of memory");
    if (!root)
        return err_set(err, -EBADMSG, "not JSON: %s at byte %d", error.text, error.position);
    name = json_string_value(json_object_get(root, "type"));
    if (!name)
        return err_set(err, -EBADMSG, "expected an object with a \"type\"");
    for (uint32_t i = 0; i < names_count; i++) {
        if (strcmp(name, names[i]) == 0) {
            *type_out = i;
            *root_out = TAKE(root);
            return 0;
        }
    }
    return err_set(err, -ENOTSUP, "type \"%.40s\" is not known here", name);
}

int wire_begin_line(struct buf *out, const char *name)
{
    return buf_printf(out, "{\"type\":\"%s\"", name);
}

int wire_end_line(struct buf *out, size_t start, int rc)
{
    if (rc == 0)
        buf_add(out, "}\n", 2);
    if (rc == 0 && (out->failed || out->len - start > WIRE_LINE_BYTES_MAX))
        rc = -ENOSPC;
    if (rc == 0)
        return 0;
    out->len = start;
    out->failed = false;
    if (out->data)
        out->data[start] = '\0';
    return rc;
}
