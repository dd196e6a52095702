#include "cli/columns.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_BYTES 256u

struct line {
    char cells[COLUMNS_MAX][CELL_BYTES];
    uint32_t count;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char separator_of(const char *line, size_t len)
{
    if (memchr(line, '\t', len))
        return '\t';
    if (memchr(line, ',', len))
        return ',';
    return memchr(line, ';', len) ? ';' : ' ';
}

/* One cell from `at`; quotes may hold the separator, a doubled quote inside them is one. */
static size_t take_cell(const char *at, const char *end, char separator, char out[CELL_BYTES])
{
    const char *start = at;
    bool quoted;
    bool inside;
    size_t len = 0;

    while (at < end && is_blank(*at) && *at != separator)
        at++;
    quoted = inside = at < end && *at == '"';
    for (at += quoted; at < end; at++) {
        char c = *at;

        if (inside && c == '"' && at + 1 < end && at[1] == '"') {
            at++;
        } else if (inside && c == '"') {
            inside = false;
            continue;
        } else if (!inside && (c == separator || (separator == ' ' && is_blank(c)))) {
            break;
        }
        if (len + 1 < CELL_BYTES)
            out[len++] = c;
    }
    while (len && !quoted && is_blank(out[len - 1]))
        len--;
    out[len] = '\0';
    return (size_t)(at - start);
}

static int split(const char *text, size_t len, uint64_t number, struct line *line, struct err *err)
{
    const char *end = text + len;
    char separator = separator_of(text, len);

    line->count = 0;
    while (text < end && separator == ' ' && is_blank(*text))
        text++;
    for (const char *at = text;;) {
        if (line->count == COLUMNS_MAX)
            return err_set(err, -E2BIG, "line %" PRIu64 ": more than %u columns", number,
                           COLUMNS_MAX);
        at += take_cell(at, end, separator, line->cells[line->count++]);
        while (separator == ' ' && at < end && is_blank(*at))
            at++;
        if (at >= end)
            return 0;
        if (separator != ' ')
            at++;
    }
}

static double figure_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    return end == text || *end || !isfinite(value) ? NAN : value;
}

static int set_names(struct columns *columns, const struct line *line, bool numbered)
{
    columns->count = line->count;
    for (uint32_t i = 0; i < line->count; i++) {
        char number[16];

        snprintf(number, sizeof(number), "%u", i + 1);
        columns->names[i] = strdup(numbered ? number : line->cells[i]);
        if (!columns->names[i])
            return -ENOMEM;
    }
    return 0;
}

static int add_row(struct columns *columns, const struct line *line, uint64_t number,
                   struct err *err)
{
    if (line->count != columns->count)
        return err_set(err, -EINVAL, "line %" PRIu64 ": %u columns where %u were expected", number,
                       line->count, columns->count);
    if (columns->rows_count == COLUMNS_ROWS_MAX)
        return err_set(err, -E2BIG, "more than %u lines", COLUMNS_ROWS_MAX);
    if ((columns->rows_count & (columns->rows_count - 1)) == 0) {
        size_t room = columns->rows_count ? 2 * (size_t)columns->rows_count : 1;
        double *values = realloc(columns->values, room * columns->count * sizeof(*values));

        if (!values)
            return err_set(err, -ENOMEM, "out of memory");
        columns->values = values;
    }
    for (uint32_t i = 0; i < line->count; i++)
        columns->values[(size_t)columns->rows_count * columns->count + i] =
            figure_of(line->cells[i]);
    columns->rows_count++;
    return 0;
}

static int parse_lines(const char *text, size_t len, struct columns *columns, struct line *line,
                       struct err *err)
{
    const char *end = text + len;
    uint64_t number = 0;

    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t line_len = (size_t)((stop ? stop : end) - text);
        size_t start = 0;
        int rc = 0;

        number++;
        while (start < line_len && is_blank(text[start]))
            start++;
        while (line_len > start && text[line_len - 1] == '\r')
            line_len--;
        if (start < line_len && text[start] != '#') {
            rc = split(text, line_len, number, line, err);
            if (rc == 0 && columns->count == 0) {
                bool numbered = !isnan(figure_of(line->cells[0]));

                rc = set_names(columns, line, numbered);
                if (rc == 0 && numbered)
                    rc = add_row(columns, line, number, err);
            } else if (rc == 0) {
                rc = add_row(columns, line, number, err);
            }
        }
        if (rc < 0)
            return rc;
        text = stop ? stop + 1 : end;
    }
    return columns->count ? 0 : err_set(err, -EINVAL, "no table: nothing but empty lines");
}

int columns_parse(const char *text, size_t len, struct columns *columns_out, struct err *err)
{
    struct columns columns = { 0 };
    struct line *line = malloc(sizeof(*line));
    int rc =
        line ? parse_lines(text, len, &columns, line, err) : err_set(err, -ENOMEM, "out of memory");

    free(line);
    if (rc < 0) {
        columns_fini(&columns);
        return rc;
    }
    *columns_out = columns;
    return 0;
}

void columns_fini(struct columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++)
        free(columns->names[i]);
    free(columns->values);
    memset(columns, 0, sizeof(*columns));
}

int columns_find(const struct columns *columns, const char *name)
{
    char *end;
    unsigned long number;

    for (uint32_t i = 0; i < columns->count; i++)
        if (strcmp(columns->names[i], name) == 0)
            return (int)i;
    number = strtoul(name, &end, 10);
    return *name && *end == '\0' && number >= 1 && number <= columns->count ? (int)number - 1 : -1;
}
