#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line, whatever was printed into it: control bytes and DEL become '?'. */
static void make_one_line(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    err->field[0] = '\0';
    make_one_line(err->text);
    return code;
}

int err_field(struct err *err, int code, const char *field, const char *fmt, ...)
{
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    snprintf(err->field, sizeof(err->field), "%s", field);
    make_one_line(err->text);
    make_one_line(err->field);
    return code;
}

int err_prefix(struct err *err, int code, const char *fmt, ...)
{
    char before[sizeof(err->text)];
    char joined[2 * sizeof(err->text) + 2];
    va_list args;

    if (!err)
        return code;
    va_start(args, fmt);
    vsnprintf(before, sizeof(before), fmt, args);
    va_end(args);
    snprintf(joined, sizeof(joined), "%s: %s", before, err->text);
    memcpy(err->text, joined, sizeof(err->text) - 1);
    err->text[sizeof(err->text) - 1] = '\0';
    make_one_line(err->text);
    return code;
}
