#include "cli/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BAD UINT32_MAX

/* One code point; BAD (and one byte) when the bytes are not UTF-8. */
static uint32_t decode(const char *text, size_t len, size_t *used_out)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)text[0];
    size_t need = first < 0x80             ? 1
                  : (first & 0xe0) == 0xc0 ? 2
                  : (first & 0xf0) == 0xe0 ? 3
                  : (first & 0xf8) == 0xf0 ? 4
                                           : 0;
    uint32_t code;

    *used_out = 1;
    if (need == 0 || need > len)
        return BAD;
    code = need == 1 ? first : first & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        unsigned char next = (unsigned char)text[i];

        if ((next & 0xc0) != 0x80)
            return BAD;
        code = code << 6 | (next & 0x3f);
    }
    if (code < least[need] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return BAD;
    *used_out = need;
    return code;
}

static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff ||
           (code >= 0xe0000 && code <= 0xe007f);
}

void text_add_safe(struct buf *out, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t used;
        uint32_t code = decode(text + at, len - at, &used);

        if (code == '\n')
            buf_add_text(out, "\\n");
        else if (code == '\t')
            buf_add_text(out, "\\t");
        else if (code == BAD || (is_harmful(code) && code < 0x80))
            buf_printf(out, "\\x%02x", (unsigned char)text[at]);
        else if (is_harmful(code))
            buf_printf(out, "\\u{%" PRIx32 "}", code);
        else
            buf_add(out, text + at, used);
        at += used;
    }
}

char *text_safe(const char *text)
{
    struct buf out = buf_init(8u << 20);
    char *taken;

    text_add_safe(&out, text, strlen(text));
    taken = out.failed ? NULL : buf_take(&out);
    buf_fini(&out);
    return taken;
}

static uint32_t width_of(uint32_t code)
{
    if ((code >= 0x300 && code <= 0x36f) || (code >= 0x200b && code <= 0x200d) ||
        (code >= 0xfe00 && code <= 0xfe0f))
        return 0;
    if ((code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) ||
        (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) ||
        (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) ||
        (code >= 0xffe0 && code <= 0xffe6) || (code >= 0x1f300 && code <= 0x1faff) ||
        (code >= 0x20000 && code <= 0x3fffd))
        return 2;
    return 1;
}

static size_t measure(const char *text, uint32_t width_max, uint32_t *width_out)
{
    size_t len = strlen(text);
    size_t at = 0;
    uint32_t width = 0;

    while (at < len) {
        size_t used;
        uint32_t code = decode(text + at, len - at, &used);
        uint32_t more = code == BAD ? 1 : width_of(code);

        if (width + more > width_max)
            break;
        width += more;
        at += used;
    }
    *width_out = width;
    return at;
}

uint32_t text_width(const char *text)
{
    uint32_t width;

    measure(text, UINT32_MAX - 2, &width);
    return width;
}

size_t text_fit(const char *text, uint32_t width)
{
    uint32_t taken;

    return measure(text, width, &taken);
}

void text_print_age(int64_t ms, char *out, size_t out_bytes)
{
    int64_t s = ms / 1000;

    if (ms < 0)
        s = 0;
    if (s < 60)
        snprintf(out, out_bytes, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(out, out_bytes, "%" PRId64 "m", s / 60);
    else if (s < 48 * 3600)
        snprintf(out, out_bytes, "%" PRId64 "h", s / 3600);
    else
        snprintf(out, out_bytes, "%" PRId64 "d", s / 86400);
}

void text_print_relative(int64_t at_ms, int64_t now_ms, char *out, size_t out_bytes)
{
    char age[24];

    if (at_ms > now_ms + 999) {
        text_print_age(at_ms - now_ms, age, sizeof(age));
        snprintf(out, out_bytes, "in %s", age);
    } else if (now_ms - at_ms < 1000) {
        snprintf(out, out_bytes, "now");
    } else {
        text_print_age(now_ms - at_ms, age, sizeof(age));
        snprintf(out, out_bytes, "%s ago", age);
    }
}

void text_wrap(struct buf *out, const char *text, uint32_t indent, uint32_t width)
{
    uint32_t column = 0;

    while (*text) {
        size_t len = strcspn(text, " \n");
        char word[256];
        uint32_t wide;

        snprintf(word, sizeof(word), "%.*s", (int)len, text);
        wide = text_width(word);
        if (len && column && column + 1 + wide > width) {
            buf_add_char(out, '\n');
            column = 0;
        }
        if (len && column == 0) {
            buf_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else if (len) {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, text, len);
        column += wide;
        text += len;
        while (*text == ' ' || *text == '\n')
            text++;
    }
    buf_add_char(out, '\n');
}

void text_print_number(double value, char *out, size_t out_bytes)
{
    double size = fabs(value);
    int decimals = size >= 100 || size == 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 4;

    if (!isfinite(value))
        snprintf(out, out_bytes, "-");
    else if (size >= 1e9 || (size > 0 && size < 0.0001))
        snprintf(out, out_bytes, "%.3g", value);
    else
        snprintf(out, out_bytes, "%.*f", decimals, value);
}
