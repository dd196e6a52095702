#include "base/file.h"
#include "cli/columns.h"
#include "cli/commands.h"
#include "cli/plot.h"
#include "cli/text.h"
#include "model/units.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX (256u << 20)

static const struct cli_option options[] = {
    { "x", 'x', "COLUMN", NULL, "The column across: its name or number (the first)." },
    { "y", 'y', "COLUMN", NULL, "A column up (the second). May be given up to 6 times." },
    { "title", 't', "TEXT", NULL, "What stands above it." },
    { "svg", 0, "FILE", NULL, "Write it to this file as SVG too." },
    { "points", 'p', NULL, NULL, "Do not join the points." },
    { "sort", 's', NULL, NULL, "Join them in the order of x." },
    { "width", 0, "N", NULL, "Columns in the terminal (as wide as it is)." },
    { "height", 0, "N", NULL, "Lines in the terminal (18)." },
    { "quiet", 'q', NULL, NULL, "Nothing in the terminal." },
    { 0 },
};

struct point {
    double x, y;
};

static int compare_points(const void *a, const void *b)
{
    double x = ((const struct point *)a)->x;
    double y = ((const struct point *)b)->x;

    return (x > y) - (x < y);
}

/* The points of one series, without those that lack a figure. */
static int collect(const struct columns *columns, int x, int y, bool sort,
                   struct plot_series *series)
{
    size_t rows = MAX(columns->rows_count, 1u);
    struct point *points = calloc(rows, sizeof(*points));
    double *values = calloc(2 * rows, sizeof(*values));
    uint32_t count = 0;

    for (uint32_t r = 0; points && values && r < columns->rows_count; r++) {
        const double *row = &columns->values[(size_t)r * columns->count];

        if (isfinite(row[x]) && isfinite(row[y]))
            points[count++] = (struct point){ row[x], row[y] };
    }
    if (points && values && sort)
        qsort(points, count, sizeof(*points), compare_points);
    for (uint32_t i = 0; points && values && i < count; i++) {
        values[i] = points[i].x;
        values[rows + i] = points[i].y;
    }
    free(points);
    if (!values)
        return -ENOMEM;
    *series = (struct plot_series){ columns->names[y], values, values + rows, count };
    return 0;
}

static int find_column(const struct columns *columns, const char *name, uint32_t fallback,
                       int *index_out, struct err *err)
{
    if (!name && fallback >= columns->count)
        return err_set(err, -EINVAL, "the table has one column only");
    *index_out = name ? columns_find(columns, name) : (int)fallback;
    if (*index_out < 0)
        return err_set(err, -EINVAL, "the table has no column \"%s\"", name);
    return 0;
}

static int make_plot(const struct cli_args *args, const struct columns *columns, struct plot *plot,
                     struct err *err)
{
    const char *name;
    int x = 0;
    int y = 0;
    int rc = find_column(columns, cli_args_get(args, "x"), 0, &x, err);

    if (rc < 0)
        return rc;
    plot->title = cli_args_get(args, "title");
    plot->x_name = columns->names[x];
    plot->points_only = cli_args_has(args, "points");
    do {
        name = cli_args_nth(args, "y", plot->series_count);
        rc = find_column(columns, name, 1, &y, err);
        if (rc == 0 && plot->series_count == PLOT_SERIES_MAX)
            rc = err_set(err, -E2BIG, "more than %u columns up", PLOT_SERIES_MAX);
        if (rc == 0 && collect(columns, x, y, cli_args_has(args, "sort"),
                               &plot->series[plot->series_count]) < 0)
            rc = err_set(err, -ENOMEM, "out of memory");
        if (rc < 0)
            return rc;
        if (plot->series[plot->series_count++].count == 0)
            return err_set(err, -EINVAL, "column \"%s\" holds no figures", columns->names[y]);
    } while (cli_args_nth(args, "y", plot->series_count));
    plot->y_name = plot->series_count == 1 ? plot->series[0].name : "";
    return 0;
}

static int read_input(const struct cli_args *args, struct buf *text, struct err *err)
{
    const char *path = args->rest_count ? args->rest[0] : "-";

    return file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, text, err);
}

static int show(const struct cli_args *args, const struct plot *plot, struct err *err)
{
    const char *svg = cli_args_get(args, "svg");
    const char *width_text = cli_args_get(args, "width");
    const char *height_text = cli_args_get(args, "height");
    CLEANUP(buf_fini) struct buf out = buf_init(64u << 20);
    int64_t width = term_width(stdout) ? term_width(stdout) : 78;
    int64_t height = 18;
    int rc = 0;

    if (width_text)
        rc = units_parse_int(width_text, 32, 400, &width, err);
    if (rc == 0 && height_text)
        rc = units_parse_int(height_text, 9, 200, &height, err);
    if (rc == 0 && svg) {
        plot_print_svg(plot, 760, 440, &out);
        rc = out.failed ? err_set(err, -ENOMEM, "out of memory")
                        : file_put(svg, out.data, out.len, 0644, err);
        buf_clear(&out);
    }
    if (rc < 0 || cli_args_has(args, "quiet"))
        return rc;
    plot_print_text(plot, (uint32_t)MIN(width, 100), (uint32_t)height, term_has_utf8(),
                    term_has_color(stdout), &out);
    fputs(out.data ? out.data : "", stdout);
    return 0;
}

/* Names stand in a table that anyone may have written. */
static void make_safe(struct columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        char *safe = text_safe(columns->names[i]);

        if (safe) {
            free(columns->names[i]);
            columns->names[i] = safe;
        }
    }
}

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf text = buf_init(INPUT_BYTES_MAX);
    struct columns columns = { 0 };
    struct plot plot = { 0 };
    struct err err;
    int rc = read_input(args, &text, &err);

    if (rc == 0)
        rc = columns_parse(text.data ? text.data : "", text.len, &columns, &err);
    if (rc == 0) {
        make_safe(&columns);
        rc = make_plot(args, &columns, &plot, &err);
    }
    if (rc == 0)
        rc = show(args, &plot, &err);
    for (uint32_t s = 0; s < plot.series_count; s++)
        free((double *)plot.series[s].x);
    columns_fini(&columns);
    return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

const struct cli_command cmd_plot = {
    .name = "plot",
    .summary = "draw a table of figures in the terminal, and as SVG",
    .usage = "[OPTION...] [FILE]",
    .options = { options },
    .arguments = { { "FILE", NULL, true, false } },
    .text =
        "Reads CSV, TSV or columns parted by blanks, from FILE or standard input; the first line "
        "may name the columns, and lines that begin with # are passed over.",
    .examples = { { "mains plot --x temperature --y pressure --svg sweep.svg results.csv",
                    "A sweep, in the terminal and as a file." } },
    .run = run,
};
