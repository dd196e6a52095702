#include "grid/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void put_u64(struct buf *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;

    do {
        bytes[len] = (uint8_t)(value & 0x7f);
        value >>= 7;
        if (value)
            bytes[len] |= 0x80;
        len++;
    } while (value);
    buf_add(out, bytes, len);
}

void put_i64(struct buf *out, int64_t value)
{
    put_u64(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

void put_bytes(struct buf *out, const void *data, size_t len)
{
    put_u64(out, len);
    buf_add(out, data, len);
    buf_add_char(out, '\0');
}

void put_text(struct buf *out, const char *text)
{
    put_bytes(out, text ? text : "", text ? strlen(text) : 0);
}

int get_u64(struct cursor *in, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;

        if (in->at == in->end)
            return -EBADMSG;
        byte = *in->at++;
        if (shift == 63 && byte > 1)
            return -EBADMSG;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return 0;
        }
    }
    return -EBADMSG;
}

int get_i64(struct cursor *in, int64_t *out)
{
    uint64_t value = 0;

    if (get_u64(in, &value) < 0)
        return -EBADMSG;
    *out = (int64_t)((value >> 1) ^ (~(value & 1) + 1));
    return 0;
}

int get_text(struct cursor *in, const char **out, size_t *len_out)
{
    uint64_t len = 0;

    if (get_u64(in, &len) < 0 || in->at == in->end || len > (uint64_t)(in->end - in->at) - 1)
        return -EBADMSG;
    if (memchr(in->at, '\0', len + 1) != in->at + len)
        return -EBADMSG;
    *out = (const char *)in->at;
    *len_out = len;
    in->at += len + 1;
    return 0;
}

/* --- encode --------------------------------------------------------------------------------- */

static uint32_t field_count(const struct field *field, const void *base)
{
    if (field->kind == FIELD_FIXED)
        return field->max;
    return *(const uint32_t *)((const char *)base + field->count_offset);
}

/* A struct's length stands before it and is known after it: one byte is kept free and widened
 * when the struct turns out longer than 127 bytes. */
static int encode_struct(const struct fields *fields, const void *base, struct buf *out,
                         struct err *err)
{
    size_t start = out->len, len;
    int rc;

    buf_add_char(out, '\0');
    rc = fields_encode(fields, base, out, err);
    if (rc < 0)
        return rc;
    if (out->failed)
        return -ENOSPC;
    len = out->len - start - 1;
    if (len < 0x80) {
        out->data[start] = (char)len;
    } else {
        struct buf head = buf_init(16);
        size_t more;

        put_u64(&head, len);
        more = head.len - 1;
        if (head.failed || buf_reserve(out, more) < 0) {
            buf_fini(&head);
            return -ENOMEM;
        }
        buf_add(out, "\0\0\0\0\0\0\0\0\0", more);
        memmove(out->data + start + head.len, out->data + start + 1, len);
        memcpy(out->data + start, head.data, head.len);
        buf_fini(&head);
    }
    return 0;
}

static int encode_elements(const struct field *field, const void *base, struct buf *out,
                           struct err *err)
{
    const char *at = (const char *)base + field->offset;
    uint32_t count = field_count(field, base);

    if (field->kind == FIELD_LIST)
        at = *(const char *const *)at;
    if (count > field->max)
        return err_set(err, -EINVAL, "%s: %u entries, at most %u", field->name, count, field->max);
    put_u64(out, count);
    for (uint32_t i = 0; i < count; i++, at += field->bytes) {
        int rc = field->of->plain ? fields_encode(field->of, at, out, err)
                                  : encode_struct(field->of, at, out, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int encode_text(const struct field *field, const char *text, size_t len, struct buf *out,
                       struct err *err)
{
    size_t max = field->kind == FIELD_TEXT ? field->bytes - 1 : field->max;

    if (len > max)
        return err_set(err, -EINVAL, "%s: longer than %zu bytes", field->name, max);
    if (field->kind == FIELD_BLOB && memchr(text, '\0', len))
        return err_set(err, -EINVAL, "%s: holds a NUL byte", field->name);
    put_bytes(out, text, len);
    return 0;
}

static int encode_field(const struct field *field, const void *base, struct buf *out,
                        struct err *err)
{
    const char *at = (const char *)base + field->offset;
    const char *text;

    switch (field->kind) {
    case FIELD_U8:
        put_u64(out, *(const uint8_t *)at);
        return 0;
    case FIELD_U16:
        put_u64(out, *(const uint16_t *)at);
        return 0;
    case FIELD_U32:
        put_u64(out, *(const uint32_t *)at);
        return 0;
    case FIELD_U64:
        put_u64(out, *(const uint64_t *)at);
        return 0;
    case FIELD_I32:
        put_i64(out, *(const int32_t *)at);
        return 0;
    case FIELD_I64:
        put_i64(out, *(const int64_t *)at);
        return 0;
    case FIELD_BOOL:
        put_u64(out, *(const bool *)at);
        return 0;
    case FIELD_STRING:
        text = *(const char *const *)at;
        return encode_text(field, text ? text : "", text ? strlen(text) : 0, out, err);
    case FIELD_TEXT:
        return encode_text(field, at, strnlen(at, field->bytes), out, err);
    case FIELD_BLOB:
        text = *(const char *const *)at;
        return encode_text(field, text ? text : "", text ? field_count(field, base) : 0, out, err);
    case FIELD_STRUCT:
        return encode_struct(field->of, at, out, err);
    case FIELD_ARRAY:
    case FIELD_FIXED:
    case FIELD_LIST:
        return encode_elements(field, base, out, err);
    }
    return -EINVAL;
}

int fields_encode(const struct fields *fields, const void *base, struct buf *out, struct err *err)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        int rc = encode_field(&fields->list[i], base, out, err);

        if (rc < 0)
            return rc;
    }
    return out->failed ? err_set(err, -ENOSPC, "record too long") : 0;
}

/* --- decode --------------------------------------------------------------------------------- */

static int bad(const struct field *field, struct err *err)
{
    return err_set(err, -EBADMSG, "field %s is damaged", field->name);
}

static int decode_unsigned(const struct field *field, struct cursor *in, char *at, struct err *err)
{
    uint64_t value = 0;

    if (get_u64(in, &value) < 0)
        return bad(field, err);
    switch (field->kind) {
    case FIELD_U8:
        if (value > UINT8_MAX)
            return bad(field, err);
        *(uint8_t *)at = (uint8_t)value;
        return 0;
    case FIELD_U16:
        if (value > UINT16_MAX)
            return bad(field, err);
        *(uint16_t *)at = (uint16_t)value;
        return 0;
    case FIELD_U32:
        if (value > UINT32_MAX)
            return bad(field, err);
        *(uint32_t *)at = (uint32_t)value;
        return 0;
    case FIELD_BOOL:
        if (value > 1)
            return bad(field, err);
        *(bool *)at = value != 0;
        return 0;
    default:
        *(uint64_t *)at = value;
        return 0;
    }
}

static int decode_signed(const struct field *field, struct cursor *in, char *at, struct err *err)
{
    int64_t value = 0;

    if (get_i64(in, &value) < 0)
        return bad(field, err);
    if (field->kind == FIELD_I64) {
        *(int64_t *)at = value;
        return 0;
    }
    if (value < INT32_MIN || value > INT32_MAX)
        return bad(field, err);
    *(int32_t *)at = (int32_t)value;
    return 0;
}

static int decode_text(const struct field *field, struct cursor *in, void *base, struct err *err)
{
    char *at = (char *)base + field->offset;
    const char *text;
    size_t len;

    if (get_text(in, &text, &len) < 0)
        return bad(field, err);
    if (len > (field->kind == FIELD_TEXT ? field->bytes - 1 : field->max))
        return bad(field, err);
    if (field->kind == FIELD_TEXT)
        memcpy(at, text, len + 1);
    else
        *(const char **)at = text;
    if (field->kind == FIELD_BLOB)
        *(uint32_t *)((char *)base + field->count_offset) = (uint32_t)len;
    return 0;
}

static void set_number(const struct field *field, char *at, int64_t value)
{
    switch (field->kind) {
    case FIELD_U8:
        *(uint8_t *)at = (uint8_t)value;
        break;
    case FIELD_U16:
        *(uint16_t *)at = (uint16_t)value;
        break;
    case FIELD_U32:
    case FIELD_I32:
        *(int32_t *)at = (int32_t)value;
        break;
    case FIELD_U64:
    case FIELD_I64:
        *(int64_t *)at = value;
        break;
    case FIELD_BOOL:
        *(bool *)at = value != 0;
        break;
    default:
        break;
    }
}

/* What a record that ends before this field means; of a FIXED, from element `first` on. */
static void set_missing(const struct field *field, char *base, uint32_t first)
{
    char *at = base + field->offset;

    if (field->kind == FIELD_STRING || field->kind == FIELD_BLOB) {
        *(const char **)at = "";
    } else if (field->kind == FIELD_STRUCT) {
        for (uint32_t i = 0; i < field->of->count; i++)
            set_missing(&field->of->list[i], at, 0);
    } else if (field->kind == FIELD_FIXED) {
        for (uint32_t i = first; i < field->max; i++)
            for (uint32_t k = 0; k < field->of->count; k++)
                set_missing(&field->of->list[k], at + (size_t)i * field->bytes, 0);
    } else {
        set_number(field, at, field->missing);
    }
}

static int decode_run(const struct fields *fields, struct cursor *in, struct arena *arena,
                      void *base, struct err *err);

static int decode_struct(const struct fields *of, const struct field *field, struct cursor *in,
                         struct arena *arena, void *base, struct err *err)
{
    struct cursor inner;
    uint64_t len = 0;
    int rc;

    if (get_u64(in, &len) < 0 || len > (uint64_t)(in->end - in->at))
        return bad(field, err);
    inner = (struct cursor){ in->at, in->at + len };
    in->at += len;
    rc = decode_run(of, &inner, arena, base, err);
    if (rc == 0 && inner.at != inner.end)
        return bad(field, err);
    return rc;
}

static int decode_elements(const struct field *field, struct cursor *in, struct arena *arena,
                           void *base, struct err *err)
{
    char *at = (char *)base + field->offset;
    uint64_t count = 0;

    /* An element takes a byte at least, so a short record cannot ask for much memory. */
    if (get_u64(in, &count) < 0 || count > field->max || count > (uint64_t)(in->end - in->at))
        return bad(field, err);
    if (field->kind == FIELD_LIST) {
        char *list = arena_alloc(arena, count ? count : 1, field->bytes);

        if (!list)
            return err_set(err, -ENOMEM, "%s: out of memory for %" PRIu64 " entries", field->name,
                           count);
        *(char **)at = list;
        at = list;
    }
    if (field->kind != FIELD_FIXED)
        *(uint32_t *)((char *)base + field->count_offset) = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++, at += field->bytes) {
        int rc = field->of->plain ? decode_run(field->of, in, arena, at, err)
                                  : decode_struct(field->of, field, in, arena, at, err);
        if (rc < 0)
            return rc;
    }
    if (field->kind == FIELD_FIXED)
        set_missing(field, base, (uint32_t)count);
    return 0;
}

static int decode_field(const struct field *field, struct cursor *in, struct arena *arena,
                        void *base, struct err *err)
{
    char *at = (char *)base + field->offset;

    switch (field->kind) {
    case FIELD_U8:
    case FIELD_U16:
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_BOOL:
        return decode_unsigned(field, in, at, err);
    case FIELD_I32:
    case FIELD_I64:
        return decode_signed(field, in, at, err);
    case FIELD_STRING:
    case FIELD_TEXT:
    case FIELD_BLOB:
        return decode_text(field, in, base, err);
    case FIELD_STRUCT:
        return decode_struct(field->of, field, in, arena, at, err);
    case FIELD_ARRAY:
    case FIELD_FIXED:
    case FIELD_LIST:
        return decode_elements(field, in, arena, base, err);
    }
    return -EBADMSG;
}

static int decode_run(const struct fields *fields, struct cursor *in, struct arena *arena,
                      void *base, struct err *err)
{
    uint32_t i = 0;

    /* A plain value is never missing: its list's count promised it. */
    for (; i < fields->count && (in->at != in->end || fields->plain); i++) {
        int rc = decode_field(&fields->list[i], in, arena, base, err);

        if (rc < 0)
            return rc;
    }
    for (; i < fields->count; i++)
        set_missing(&fields->list[i], base, 0);
    return 0;
}

int fields_decode(const struct fields *fields, const void *data, size_t len, struct arena *arena,
                  void *base, struct err *err)
{
    struct cursor in = { data, (const uint8_t *)data + len };
    int rc = decode_run(fields, &in, arena, base, err);

    if (rc == 0 && in.at != in.end)
        return err_set(err, -EBADMSG, "%zu bytes too many", (size_t)(in.end - in.at));
    return rc;
}
