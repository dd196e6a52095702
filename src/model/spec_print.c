#include "model/spec_key.h"
#include "model/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void spec_print_text(const char *text, struct buf *out)
{
    static const char hex[] = "0123456789abcdef";
    const char *from = text;
    const char *p;

    buf_add_char(out, '"');
    for (p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
        size_t len = 6;

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        if (c == '"' || c == '\\' || c == '\n' || c == '\t' || c == '\r') {
            escape[1] = c == '\n' ? 'n' : c == '\t' ? 't' : c == '\r' ? 'r' : (char)c;
            len = 2;
        }
        buf_add(out, from, (size_t)(p - from));
        buf_add(out, escape, len);
        from = p + 1;
    }
    buf_add(out, from, (size_t)(p - from));
    buf_add_char(out, '"');
}

void spec_print_int(int64_t value, struct buf *out)
{
    char text[24];
    size_t at = sizeof(text);
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do {
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0)
        text[--at] = '-';
    buf_add(out, text + at, sizeof(text) - at);
}

void spec_print_decimal_milli(int64_t milli, struct buf *out)
{
    char text[32];

    units_print_milli(milli, text, sizeof(text));
    buf_add_text(out, text);
}

static void print_bytes(int64_t bytes, struct buf *out)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
    size_t step = 0;

    if (bytes == 0 || bytes % 1024) {
        spec_print_int(bytes, out);
        return;
    }
    for (bytes /= 1024; bytes % 1024 == 0 && step + 1 < ARRAY_COUNT(units); bytes /= 1024)
        step++;
    buf_add_char(out, '"');
    spec_print_int(bytes, out);
    buf_add_text(out, units[step]);
    buf_add_char(out, '"');
}

static void print_quoted(void (*print)(int64_t, char *, size_t), int64_t value, struct buf *out)
{
    char text[80];

    print(value, text, sizeof(text));
    buf_add_char(out, '"');
    buf_add_text(out, text);
    buf_add_char(out, '"');
}

static void print_pairs(const struct spec_pair *pairs, uint32_t count, struct buf *out)
{
    buf_add_char(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, ',');
        spec_print_text(pairs[i].name, out);
        buf_add_char(out, ':');
        spec_print_text(pairs[i].value, out);
    }
    buf_add_char(out, '}');
}

static void print_texts(const char *const *texts, uint32_t count, struct buf *out)
{
    buf_add_char(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, ',');
        spec_print_text(texts[i], out);
    }
    buf_add_char(out, ']');
}

static void print_names(const char (*names)[MODEL_NAME_BYTES], uint32_t count, struct buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        buf_add_char(out, i ? ',' : '[');
        spec_print_text(names[i], out);
    }
    buf_add_char(out, ']');
}

static void print_members(const struct spec_key *key, const char *list, uint32_t count,
                          bool with_secrets, struct buf *out)
{
    bool is_map = key->type == KEY_MAP;

    buf_add_char(out, is_map ? '{' : '[');
    for (uint32_t i = 0; i < count; i++) {
        const char *member = list + i * key->table->size;

        if (i)
            buf_add_char(out, ',');
        if (is_map) {
            spec_print_text(*(const char *const *)(const void *)member, out);
            buf_add_char(out, ':');
        }
        spec_print_table(key->table, member, with_secrets, out);
    }
    buf_add_char(out, is_map ? '}' : ']');
}

/* Is there nothing to print: absent, or the default? */
static bool is_default(const struct spec_key *key, const void *source)
{
    const void *at = (const char *)source + key->offset;
    const uint32_t *count = (const void *)((const char *)source + key->count_offset);

    switch (key->type) {
    case KEY_NAME:
    case KEY_TEXT:
    case KEY_LINE:
    case KEY_WORK_PATH:
    case KEY_HOST_PATH:
        return *(const char *const *)at == NULL;
    case KEY_U32:
    case KEY_FLAG:
    case KEY_ENUM:
    case KEY_MILLI:
        return *(const uint32_t *)at == (uint32_t)key->fallback;
    case KEY_BOOL:
        return *(const bool *)at == (key->fallback != 0);
    case KEY_BYTES:
    case KEY_DURATION:
        return *(const int64_t *)at == key->fallback;
    case KEY_WHEN:
        return *(const int64_t *)at == 0 && *(const int64_t *)(const void *)count == 0;
    case KEY_SIGNAL:
        return *(const int32_t *)at == 0;
    case KEY_TEXTS:
    case KEY_NAMES:
    case KEY_PAIRS:
    case KEY_LIST:
    case KEY_MAP:
        return *count == 0;
    case KEY_OBJECT:
    case KEY_CUSTOM: /* known only once it printed nothing */
        return false;
    }
    return true;
}

static void print_signal(int32_t number, struct buf *out)
{
    const char *name = spec_signal_name(number);

    if (name)
        spec_print_text(name, out);
    else
        spec_print_int(number, out);
}

static void print_value(const struct spec_key *key, const void *source, bool with_secrets,
                        struct buf *out)
{
    const void *at = (const char *)source + key->offset;
    const uint32_t *count = (const void *)((const char *)source + key->count_offset);
    const int64_t *after = (const void *)count;

    switch (key->type) {
    case KEY_NAME:
    case KEY_TEXT:
    case KEY_LINE:
    case KEY_WORK_PATH:
    case KEY_HOST_PATH:
        spec_print_text(*(const char *const *)at, out);
        break;
    case KEY_U32:
        spec_print_int(*(const uint32_t *)at, out);
        break;
    case KEY_FLAG:
        buf_add_text(out, *(const uint32_t *)at ? "true" : "false");
        break;
    case KEY_BOOL:
        buf_add_text(out, *(const bool *)at ? "true" : "false");
        break;
    case KEY_MILLI:
        spec_print_decimal_milli(*(const uint32_t *)at, out);
        break;
    case KEY_BYTES:
        print_bytes(*(const int64_t *)at, out);
        break;
    case KEY_DURATION:
        print_quoted(units_print_duration, *(const int64_t *)at, out);
        break;
    case KEY_WHEN:
        if (*(const int64_t *)at)
            print_quoted(units_print_time, *(const int64_t *)at, out);
        else
            print_quoted(units_print_duration, *after, out);
        break;
    case KEY_ENUM:
        spec_print_text(key->names[*(const uint32_t *)at], out);
        break;
    case KEY_SIGNAL:
        print_signal(*(const int32_t *)at, out);
        break;
    case KEY_TEXTS:
        print_texts(*(const char *const *const *)at, *count, out);
        break;
    case KEY_NAMES:
        print_names(at, *count, out);
        break;
    case KEY_PAIRS:
        print_pairs(*(const struct spec_pair *const *)at, *count, out);
        break;
    case KEY_OBJECT:
        spec_print_table(key->table, source, with_secrets, out);
        break;
    case KEY_LIST:
    case KEY_MAP:
        print_members(key, *(const char *const *)at, *count, with_secrets, out);
        break;
    case KEY_CUSTOM:
        key->print(source, out);
        break;
    }
}

void spec_print_table(const struct spec_table *table, const void *source, bool with_secrets,
                      struct buf *out)
{
    bool first = true;

    buf_add_char(out, '{');
    for (uint32_t i = 0; i < table->keys_count; i++) {
        const struct spec_key *key = &table->keys[i];
        size_t before = out->len;
        size_t value_at;

        if ((key->secret && !with_secrets) || is_default(key, source))
            continue;
        if (!first)
            buf_add_char(out, ',');
        buf_add_char(out, '"');
        buf_add_text(out, key->name);
        buf_add(out, "\":", 2);
        value_at = out->len;
        print_value(key, source, with_secrets, out);
        /* Objects of defaults only are left out. */
        if (out->len == value_at || (key->type == KEY_OBJECT && out->len == value_at + 2)) {
            if (!out->failed) {
                out->len = before;
                out->data[before] = '\0';
            }
            continue;
        }
        first = false;
    }
    buf_add_char(out, '}');
}

int spec_print_json(const struct job_spec *spec, bool with_secrets, struct buf *out)
{
    size_t before = out->len;

    buf_reserve(out, 512);
    spec_print_table(&spec_job_table, spec, with_secrets, out);
    if (!out->failed)
        return 0;
    out->len = before;
    if (out->data)
        out->data[before] = '\0';
    return -ENOSPC;
}
