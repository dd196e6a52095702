#include "grid/fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- out ------------------------------------------------------------------------------------ */

static json_t *text_to_json(const char *text, size_t len)
{
    json_t *value = json_stringn(text, len);
    json_t *object;
    char *hex;

    if (value)
        return value;
    hex = malloc(len * 2 + 1); /* not UTF-8: nothing may be lost on the way out and back */
    if (!hex)
        return NULL;
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
    object = json_object();
    if (object)
        json_object_set_new(object, "hex", json_string(hex));
    free(hex);
    return object;
}

static json_t *u64_to_json(uint64_t value)
{
    char text[24];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return json_string(text);
}

static json_t *field_to_json(const struct field *field, const char *base);

static json_t *struct_to_json(const struct fields *fields, const void *base)
{
    json_t *object;

    if (fields->plain)
        return field_to_json(&fields->list[0], base);
    object = json_object();
    if (object && fields_to_json(fields, base, object) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *elements_to_json(const struct field *field, const char *base)
{
    const char *at = base + field->offset;
    uint32_t count = field->max;
    json_t *list = json_array();

    if (field->kind != FIELD_FIXED)
        count = *(const uint32_t *)(base + field->count_offset);
    if (field->kind == FIELD_LIST)
        at = *(const char *const *)at;
    for (uint32_t i = 0; list && i < count; i++, at += field->bytes)
        if (json_array_append_new(list, struct_to_json(field->of, at)) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *field_to_json(const struct field *field, const char *base)
{
    const char *at = base + field->offset;
    const char *text;

    switch (field->kind) {
    case FIELD_U8:
        return json_integer(*(const uint8_t *)at);
    case FIELD_U16:
        return json_integer(*(const uint16_t *)at);
    case FIELD_U32:
        return json_integer(*(const uint32_t *)at);
    case FIELD_U64:
        return u64_to_json(*(const uint64_t *)at);
    case FIELD_I32:
        return json_integer(*(const int32_t *)at);
    case FIELD_I64:
        return json_integer(*(const int64_t *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_STRING:
        text = *(const char *const *)at;
        return text_to_json(text ? text : "", text ? strlen(text) : 0);
    case FIELD_TEXT:
        return text_to_json(at, strnlen(at, field->bytes));
    case FIELD_BLOB:
        text = *(const char *const *)at;
        return text_to_json(text ? text : "",
                            text ? *(const uint32_t *)(base + field->count_offset) : 0);
    case FIELD_STRUCT:
        return struct_to_json(field->of, at);
    case FIELD_ARRAY:
    case FIELD_FIXED:
    case FIELD_LIST:
        return elements_to_json(field, base);
    }
    return NULL;
}

int fields_to_json(const struct fields *fields, const void *base, json_t *object)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (json_object_set_new(object, fields->list[i].name,
                                field_to_json(&fields->list[i], base)) < 0)
            return -ENOMEM;
    return 0;
}

/* --- in ------------------------------------------------------------------------------------- */

static int bad(const struct field *field, struct err *err, const char *expected)
{
    const char *name = field->name[0] ? field->name : "entry";

    return err_field(err, -EINVAL, name, "%s: expected %s", name, expected);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* Text as the JSON value holds it, or spelled in hex digits. */
static int text_from_json(const struct field *field, const json_t *value, struct arena *arena,
                          const char **text_out, size_t *len_out, struct err *err)
{
    size_t max = field->kind == FIELD_TEXT ? field->bytes - 1 : field->max;
    const json_t *hex = json_object_get(value, "hex");
    const char *text = json_string_value(hex ? hex : value);
    size_t len = json_string_length(hex ? hex : value);
    char *copy;

    if (!text)
        return bad(field, err, "text");
    if (hex && len % 2)
        return bad(field, err, "pairs of hex digits");
    if ((hex ? len / 2 : len) > max)
        return bad(field, err, "shorter text");
    copy = arena_strndup(arena, hex ? "" : text, hex ? 0 : len);
    if (hex) {
        copy = arena_alloc(arena, len / 2 + 1, 1);
        for (size_t i = 0; copy && i < len / 2; i++) {
            int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

            if (high < 0 || low < 0)
                return bad(field, err, "pairs of hex digits");
            copy[i] = (char)(high << 4 | low);
        }
        len /= 2;
    }
    if (!copy)
        return err_set(err, -ENOMEM, "%s: out of memory", field->name);
    if (memchr(copy, '\0', len))
        return bad(field, err, "text without a NUL");
    *text_out = copy;
    *len_out = len;
    return 0;
}

static int number_from_json(const struct field *field, const json_t *value, int64_t min,
                            int64_t max, int64_t *out, struct err *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return bad(field, err, "a whole number in range");
    *out = json_integer_value(value);
    return 0;
}

static int u64_from_json(const struct field *field, const json_t *value, uint64_t *out,
                         struct err *err)
{
    const char *text = json_string_value(value);
    int64_t number = 0;
    uint64_t wide = 0;
    int rc;

    if (!text) {
        rc = number_from_json(field, value, 0, INT64_MAX, &number, err);
        if (rc == 0)
            *out = (uint64_t)number;
        return rc;
    }
    for (const char *c = text; *c; c++)
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(wide, 10u, &wide) ||
            __builtin_add_overflow(wide, (uint64_t)(*c - '0'), &wide))
            return bad(field, err, "a whole number in range");
    if (!*text)
        return bad(field, err, "a whole number in range");
    *out = wide;
    return 0;
}

static int field_from_json(const struct field *field, const json_t *value, struct arena *arena,
                           char *base, struct err *err);

static int struct_from_json(const struct fields *fields, const struct field *field,
                            const json_t *value, struct arena *arena, void *base, struct err *err)
{
    int rc;

    if (fields->plain)
        return field_from_json(&fields->list[0], value, arena, base, err);
    if (!json_is_object(value))
        return bad(field, err, "an object");
    rc = fields_from_json(fields, value, NULL, arena, base, err);
    return rc < 0 ? err_prefix(err, rc, "%s", field->name) : 0;
}

static int elements_from_json(const struct field *field, const json_t *value, struct arena *arena,
                              char *base, struct err *err)
{
    size_t count = json_array_size(value);
    char *at = base + field->offset;

    if (!json_is_array(value))
        return bad(field, err, "a list");
    if (count > field->max || (field->kind == FIELD_FIXED && count != field->max))
        return bad(field, err, "another number of entries");
    if (field->kind == FIELD_LIST) {
        char *list = arena_alloc(arena, count ? count : 1, field->bytes);

        if (!list)
            return err_set(err, -ENOMEM, "%s: out of memory", field->name);
        *(char **)at = list;
        at = list;
    }
    if (field->kind != FIELD_FIXED)
        *(uint32_t *)(base + field->count_offset) = (uint32_t)count;
    for (size_t i = 0; i < count; i++, at += field->bytes) {
        int rc = struct_from_json(field->of, field, json_array_get(value, i), arena, at, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int texts_from_json(const struct field *field, const json_t *value, struct arena *arena,
                           char *base, struct err *err)
{
    char *at = base + field->offset;
    const char *text = "";
    size_t len = 0;
    int rc = text_from_json(field, value, arena, &text, &len, err);

    if (rc < 0)
        return rc;
    if (field->kind == FIELD_TEXT)
        memcpy(at, text, len + 1);
    else
        *(const char **)at = text;
    if (field->kind == FIELD_BLOB)
        *(uint32_t *)(base + field->count_offset) = (uint32_t)len;
    return 0;
}

static int numbers_from_json(const struct field *field, const json_t *value, char *at,
                             struct err *err)
{
    static const struct {
        int64_t min, max;
    } range[] = {
        [FIELD_U8] = { 0, UINT8_MAX },          [FIELD_U16] = { 0, UINT16_MAX },
        [FIELD_U32] = { 0, UINT32_MAX },        [FIELD_I32] = { INT32_MIN, INT32_MAX },
        [FIELD_I64] = { INT64_MIN, INT64_MAX },
    };
    int64_t number = 0;
    int rc = number_from_json(field, value, range[field->kind].min, range[field->kind].max, &number,
                              err);

    if (rc < 0)
        return rc;
    switch (field->kind) {
    case FIELD_U8:
        *(uint8_t *)at = (uint8_t)number;
        break;
    case FIELD_U16:
        *(uint16_t *)at = (uint16_t)number;
        break;
    case FIELD_U32:
        *(uint32_t *)at = (uint32_t)number;
        break;
    case FIELD_I32:
        *(int32_t *)at = (int32_t)number;
        break;
    default:
        *(int64_t *)at = number;
        break;
    }
    return 0;
}

static int field_from_json(const struct field *field, const json_t *value, struct arena *arena,
                           char *base, struct err *err)
{
    char *at = base + field->offset;

    switch (field->kind) {
    case FIELD_U8:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_I32:
    case FIELD_I64:
        return numbers_from_json(field, value, at, err);
    case FIELD_U64:
        return u64_from_json(field, value, (uint64_t *)at, err);
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return bad(field, err, "true or false");
        *(bool *)at = json_is_true(value);
        return 0;
    case FIELD_STRING:
    case FIELD_TEXT:
    case FIELD_BLOB:
        return texts_from_json(field, value, arena, base, err);
    case FIELD_STRUCT:
        return struct_from_json(field->of, field, value, arena, at, err);
    case FIELD_ARRAY:
    case FIELD_FIXED:
    case FIELD_LIST:
        return elements_from_json(field, value, arena, base, err);
    }
    return -EINVAL;
}

static bool is_known(const struct fields *fields, const char *const *skip, const char *key)
{
    for (; skip && *skip; skip++)
        if (strcmp(*skip, key) == 0)
            return true;
    for (uint32_t i = 0; i < fields->count; i++)
        if (strcmp(fields->list[i].name, key) == 0)
            return true;
    return false;
}

int fields_from_json(const struct fields *fields, const json_t *object, const char *const *skip,
                     struct arena *arena, void *base, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)object, key, value) {
        if (!is_known(fields, skip, key))
            return err_field(err, -EINVAL, key, "unknown key \"%s\"", key);
    }
    for (uint32_t i = 0; i < fields->count; i++) {
        const json_t *item = json_object_get(object, fields->list[i].name);
        int rc;

        /* An export says everything: what is missing was cut out by a hand. */
        if (!item)
            return bad(&fields->list[i], err, "a value");
        rc = field_from_json(&fields->list[i], item, arena, base, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
