#include "agent/vendor_text.h"

#include <string.h>
#include <strings.h>

#define NUMBER_MAX INT64_C(1000000000000000) /* x 1000 still fits */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

struct slice slice_of(const char *text)
{
    return (struct slice){ text, strlen(text) };
}

struct slice slice_trim(struct slice slice)
{
    while (slice.len && is_blank(slice.data[0])) {
        slice.data++;
        slice.len--;
    }
    while (slice.len && is_blank(slice.data[slice.len - 1]))
        slice.len--;
    return slice;
}

bool slice_is(struct slice slice, const char *text)
{
    return slice.len == strlen(text) && strncasecmp(slice.data, text, slice.len) == 0;
}

bool slice_begins(struct slice slice, const char *text)
{
    size_t len = strlen(text);

    return slice.len >= len && strncasecmp(slice.data, text, len) == 0;
}

bool slice_has(struct slice slice, const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i + len <= slice.len; i++)
        if (strncasecmp(slice.data + i, text, len) == 0)
            return true;
    return false;
}

void slice_copy(struct slice slice, char *out, size_t out_bytes)
{
    size_t len = slice.len < out_bytes - 1 ? slice.len : out_bytes - 1;

    for (size_t i = 0; i < len; i++)
        out[i] = slice.data[i] >= 0x20 && slice.data[i] < 0x7f ? slice.data[i] : '?';
    out[len] = '\0';
}

bool slice_next_line(struct slice *rest, struct slice *line_out)
{
    const char *end;
    size_t len;

    if (rest->len == 0)
        return false;
    end = memchr(rest->data, '\n', rest->len);
    len = end ? (size_t)(end - rest->data) : rest->len;
    *line_out = slice_trim((struct slice){ rest->data, len });
    len += end ? 1 : 0;
    rest->data += len;
    rest->len -= len;
    return true;
}

uint32_t slice_split(struct slice line, char separator, struct slice cells[SLICE_CELLS_MAX])
{
    uint32_t count = 0;

    line = slice_trim(line);
    if (line.len && line.data[0] == separator) {
        line.data++;
        line.len--;
    }
    if (line.len && line.data[line.len - 1] == separator)
        line.len--;
    while (count < SLICE_CELLS_MAX) {
        const char *end = line.len ? memchr(line.data, separator, line.len) : NULL;
        size_t len = end ? (size_t)(end - line.data) : line.len;

        cells[count++] = slice_trim((struct slice){ line.data, len });
        if (!end)
            break;
        line.data += len + 1;
        line.len -= len + 1;
    }
    return count;
}

bool slice_next_word(struct slice *rest, struct slice *word_out)
{
    struct slice from = *rest;
    size_t len = 0;

    while (from.len && is_blank(from.data[0])) {
        from.data++;
        from.len--;
    }
    while (len < from.len && !is_blank(from.data[len]))
        len++;
    *word_out = (struct slice){ from.data, len };
    rest->data = from.data + len;
    rest->len = from.len - len;
    return len > 0;
}

struct slice slice_word(struct slice slice, uint32_t n)
{
    struct slice word = { slice.data, 0 };

    for (uint32_t i = 0; i <= n; i++)
        if (!slice_next_word(&slice, &word))
            break;
    return word;
}

bool slice_parse_u32(struct slice slice, uint32_t *out)
{
    uint64_t value = 0;

    if (slice.len == 0 || slice.len > 9)
        return false;
    for (size_t i = 0; i < slice.len; i++) {
        if (!is_digit(slice.data[i]))
            return false;
        value = value * 10 + (uint64_t)(slice.data[i] - '0');
    }
    *out = (uint32_t)value;
    return true;
}

/* The number at the slice's start; how many bytes it takes, 0 = none. */
static size_t take_milli(struct slice slice, int64_t *milli_out)
{
    int64_t whole = 0, part = 0, unit = 100;
    size_t i = 0;

    for (; i < slice.len && is_digit(slice.data[i]); i++)
        if (whole < NUMBER_MAX / 10)
            whole = whole * 10 + (slice.data[i] - '0');
    if (i == 0)
        return 0;
    if (i + 1 < slice.len && slice.data[i] == '.' && is_digit(slice.data[i + 1]))
        for (i++; i < slice.len && is_digit(slice.data[i]); i++, unit /= 10)
            part += (slice.data[i] - '0') * unit;
    *milli_out = whole * 1000 + part;
    return i;
}

bool slice_parse_milli(struct slice slice, int64_t *milli_out)
{
    return take_milli(slice_trim(slice), milli_out) > 0;
}

/* Does `slice` begin with the unit, and nothing that would make it a longer word? */
static bool unit_follows(struct slice slice, const char *unit)
{
    size_t len = strlen(unit);

    while (slice.len && is_blank(slice.data[0])) {
        slice.data++;
        slice.len--;
    }
    if (strcmp(unit, "C") == 0 && slice.len >= 3 && memcmp(slice.data, "\xe2\x84\x83", 3) == 0)
        return true;
    return slice_begins(slice, unit) && (slice.len == len || !is_letter(slice.data[len]));
}

bool slice_find_quantity(struct slice slice, const char *unit, bool last, int64_t *milli_out)
{
    bool found = false;

    for (size_t i = 0; i < slice.len;) {
        struct slice rest = { slice.data + i, slice.len - i };
        char before = i ? slice.data[i - 1] : ' ';
        int64_t milli;
        size_t len;

        /* "A018K" and "0x1f" are no numbers. */
        if (!is_digit(slice.data[i]) || is_letter(before) || is_digit(before) || before == '.') {
            i++;
            continue;
        }
        len = take_milli(rest, &milli);
        if (unit_follows((struct slice){ rest.data + len, rest.len - len }, unit)) {
            *milli_out = milli;
            found = true;
            if (!last)
                return true;
        }
        i += len;
    }
    return found;
}

bool slice_is_bus_id(struct slice slice)
{
    size_t colons = 0, dots = 0;

    if (slice.len < 7 || slice.len > 31)
        return false;
    for (size_t i = 0; i < slice.len; i++) {
        char c = slice.data[i];

        if (c == ':')
            colons++;
        else if (c == '.')
            dots++;
        else if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'f'))
            return false;
    }
    return (colons == 1 || colons == 2) && dots == 1 && slice.data[slice.len - 2] == '.';
}

bool slice_is_name_byte(char c)
{
    return is_digit(c) || is_letter(c) || c == '.' || c == '_' || c == '-';
}
