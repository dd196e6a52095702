/* How the readers refuse, and what they take for a name, a path and text. */
#include "model/spec_key.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* "resources.cpus", "inputs[3].to" */
static void print_field(const struct spec_step *step, char *out, size_t out_bytes)
{
    const struct spec_step *way[SPEC_DEPTH_MAX];
    size_t depth = 0, len = 0;

    for (; step && step->up && depth < SPEC_DEPTH_MAX; step = step->up)
        way[depth++] = step;
    out[0] = '\0';
    while (depth-- > 0 && len < out_bytes) {
        int added =
            way[depth]->key
                ? snprintf(out + len, out_bytes - len, "%s%.40s", len ? "." : "", way[depth]->key)
                : snprintf(out + len, out_bytes - len, "[%zu]", way[depth]->index);

        len += added > 0 ? (size_t)added : 0;
    }
}

static int refuse(struct spec_reader *reader, const struct spec_step *step, bool at_key, int code,
                  const char *fmt, va_list args)
{
    char field[sizeof(reader->err->field)];
    char message[sizeof(reader->err->text)];

    if (!reader->err)
        return code;
    print_field(step, field, sizeof(field));
    vsnprintf(message, sizeof(message), fmt, args);
    err_field(reader->err, code, field, "%s%s%s", field, field[0] ? ": " : "", message);
    if (reader->locator) {
        struct spec_place place = reader->locator->find(reader->locator->context, step, at_key);

        if (place.file && place.line)
            err_prefix(reader->err, code, "%s:%" PRIu32 ":%" PRIu32, place.file, place.line,
                       place.column);
        else if (place.file)
            err_prefix(reader->err, code, "%s", place.file);
    }
    return code;
}

int spec_refuse(struct spec_reader *reader, const struct spec_step *step, int code, const char *fmt,
                ...)
{
    va_list args;

    va_start(args, fmt);
    refuse(reader, step, false, code, fmt, args);
    va_end(args);
    return code;
}

int spec_refuse_key(struct spec_reader *reader, const struct spec_step *step, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    refuse(reader, step, true, -EINVAL, fmt, args);
    va_end(args);
    return -EINVAL;
}

int spec_no_memory(struct spec_reader *reader, const struct spec_step *step)
{
    return spec_refuse(reader, step, -E2BIG, "the job is too big: more than %u MiB in all",
                       SPEC_ARENA_BYTES_MAX >> 20);
}

void spec_describe_value(const json_t *value, char *out, size_t out_bytes)
{
    switch (json_typeof(value)) {
    case JSON_STRING: {
        const char *text = json_string_value(value);
        size_t len = json_string_length(value), keep = len;

        if (len > 40)
            for (keep = 40; keep > 0 && ((unsigned char)text[keep] & 0xc0) == 0x80;)
                keep--;
        snprintf(out, out_bytes, "\"%.*s%s\"", (int)keep, text, keep < len ? "..." : "");
        return;
    }
    case JSON_INTEGER:
        snprintf(out, out_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        snprintf(out, out_bytes, "%.15g", json_real_value(value));
        return;
    case JSON_TRUE:
        snprintf(out, out_bytes, "true");
        return;
    case JSON_FALSE:
        snprintf(out, out_bytes, "false");
        return;
    case JSON_NULL:
        snprintf(out, out_bytes, "nothing");
        return;
    case JSON_ARRAY:
        snprintf(out, out_bytes, "a list");
        return;
    case JSON_OBJECT:
        snprintf(out, out_bytes, "a mapping");
        return;
    }
}

int spec_expected(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                  const char *fmt, ...)
{
    char expected[160], got[64];
    va_list args;

    va_start(args, fmt);
    vsnprintf(expected, sizeof(expected), fmt, args);
    va_end(args);
    spec_describe_value(value, got, sizeof(got));
    return spec_refuse(reader, step, -EINVAL, "expected %s, not %s", expected, got);
}

bool spec_name_is_valid(const char *text)
{
    size_t len = 0;

    for (; text[len]; len++) {
        char c = text[len];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!plain && (len == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return len >= 1 && len < MODEL_NAME_BYTES;
}

bool spec_env_name_is_valid(const char *text)
{
    size_t len = 0;

    for (; text[len]; len++) {
        char c = text[len];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
              (len && c >= '0' && c <= '9')))
            return false;
    }
    return len >= 1 && len < 256;
}

bool spec_text_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;

    while (p < end) {
        uint32_t least = 0, code = *p++;
        int more = 0;

        if (code == 0)
            return false;
        if (code < 0x80)
            continue;
        if (code >= 0xc2 && code < 0xe0) {
            code &= 0x1f;
            more = 1;
            least = 0x80;
        } else if ((code & 0xf0) == 0xe0) {
            code &= 0x0f;
            more = 2;
            least = 0x800;
        } else if (code >= 0xf0 && code < 0xf5) {
            code &= 0x07;
            more = 3;
            least = 0x10000;
        } else {
            return false;
        }
        for (; more > 0; more--) {
            if (p == end || (*p & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*p++ & 0x3f);
        }
        if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}

bool spec_text_has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return true;
    return false;
}

bool spec_path_has_dot_dot(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return true;
    }
    return false;
}

bool spec_work_path_is_valid(const char *text)
{
    return text[0] && text[0] != '/' && text[0] != '~' && !spec_text_has_control(text) &&
           !spec_path_has_dot_dot(text);
}

int spec_read_name(struct spec_reader *reader, const struct spec_step *step, const char *text,
                   const char *what)
{
    if (spec_name_is_valid(text))
        return 0;
    return spec_refuse(reader, step, -EINVAL,
                       "expected %s of 1 to 63 letters, digits, '.', '_' and '-', not \"%.40s\"",
                       what, text);
}

int spec_read_model_name(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, const char *what, char out[MODEL_NAME_BYTES])
{
    const char *text = json_string_value(value);
    int rc;

    if (!text)
        return spec_expected(reader, step, value, "%s", what);
    rc = spec_read_name(reader, step, text, what);
    if (rc == 0)
        memcpy(out, text, strlen(text) + 1);
    return rc;
}
