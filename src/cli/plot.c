#include "cli/plot.h"

#include "cli/term.h"
#include "cli/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN_LEFT 11u /* for the figures of the y axis */
#define WIDTH_MAX 400u
#define HEIGHT_MAX 200u

struct range {
    double min, max;
};

/* A round figure near `value`: 1, 2 or 5 times a power of ten (Heckbert, Graphics Gems, 1990). */
static double nice(double value)
{
    double power = pow(10, floor(log10(value)));
    double part = value / power;

    return (part < 1.5 ? 1 : part < 3 ? 2 : part < 7 ? 5 : 10) * power;
}

uint32_t plot_find_ticks(double min, double max, uint32_t want, double ticks_out[PLOT_TICKS_MAX])
{
    double step = nice((max - min) / MAX(want, 1u));
    double at = ceil(min / step - 1e-9) * step;
    uint32_t count = 0;

    if (!isfinite(step) || step <= 0) {
        ticks_out[0] = min;
        return 1;
    }
    for (; count < PLOT_TICKS_MAX; count++) {
        double tick = at + count * step;

        if (tick > max + step * 1e-9)
            break;
        ticks_out[count] = fabs(tick) < step * 1e-9 ? 0 : tick;
    }
    return count;
}

/* With the decimals that tell neighbours apart. */
static void print_tick(double value, const double *ticks, uint32_t count, char *out,
                       size_t out_bytes)
{
    double step = count > 1 ? ticks[1] - ticks[0] : 0;
    int decimals = step > 0 ? (int)ceil(-log10(step) - 1e-9) : 2;

    if (fabs(value) >= 1e7 || decimals > 6)
        snprintf(out, out_bytes, "%.4g", value);
    else
        snprintf(out, out_bytes, "%.*f", MAX(decimals, 0), value);
}

static struct range find_range(const struct plot *plot, bool is_y)
{
    struct range range = { INFINITY, -INFINITY };
    double pad;

    for (uint32_t s = 0; s < plot->series_count; s++)
        for (uint32_t i = 0; i < plot->series[s].count; i++) {
            double value = is_y ? plot->series[s].y[i] : plot->series[s].x[i];

            range.min = fmin(range.min, value);
            range.max = fmax(range.max, value);
        }
    if (!isfinite(range.min))
        return (struct range){ 0, 1 };
    /* One value, or values a rounding apart, still need a height. */
    pad = fmax(range.max - range.min, fabs(range.max) * 1e-9);
    pad = pad > 0 ? pad * (is_y ? 0.06 : 0.03) : 1;
    return (struct range){ range.min - pad, range.max + pad };
}

static double place(double value, struct range range, double size)
{
    return (value - range.min) / (range.max - range.min) * size;
}

/* --- in the terminal -------------------------------------------------------------------------- */

struct canvas {
    uint32_t columns, rows;  /* cells */
    uint32_t dots_x, dots_y; /* a cell is so many dots */
    unsigned char *dots;     /* per cell: bits of braille */
    unsigned char *owner;    /* per cell: series + 1 */
};

static void set_dot(struct canvas *canvas, int64_t x, int64_t y, uint32_t series)
{
    /* Bits of a braille cell, by column and row from the top (Unicode 2800). */
    static const unsigned char bits[2][4] = { { 0x01, 0x02, 0x04, 0x40 },
                                              { 0x08, 0x10, 0x20, 0x80 } };
    uint32_t cell;

    if (x < 0 || y < 0 || x >= (int64_t)canvas->columns * canvas->dots_x ||
        y >= (int64_t)canvas->rows * canvas->dots_y)
        return;
    cell = (uint32_t)(y / canvas->dots_y) * canvas->columns + (uint32_t)(x / canvas->dots_x);
    canvas->dots[cell] |= bits[x % canvas->dots_x][y % canvas->dots_y];
    canvas->owner[cell] = (unsigned char)(series + 1);
}

static void draw_series(struct canvas *canvas, const struct plot *plot, uint32_t index,
                        struct range x_range, struct range y_range)
{
    const struct plot_series *series = &plot->series[index];
    double wide = canvas->columns * canvas->dots_x - 1;
    double high = canvas->rows * canvas->dots_y - 1;
    double last_x = 0;
    double last_y = 0;

    for (uint32_t i = 0; i < series->count; i++) {
        double x = place(series->x[i], x_range, wide);
        double y = high - place(series->y[i], y_range, high);
        uint32_t steps = 1;

        if (i && !plot->points_only)
            steps = (uint32_t)fmax(1, ceil(fmax(fabs(x - last_x), fabs(y - last_y))));
        for (uint32_t s = i ? 1 : steps; s <= steps; s++) {
            double part = (double)s / steps;
            double from_x = i && !plot->points_only ? last_x : x;
            double from_y = i && !plot->points_only ? last_y : y;

            set_dot(canvas, llround(from_x + (x - from_x) * part),
                    llround(from_y + (y - from_y) * part), index);
        }
        last_x = x;
        last_y = y;
    }
}

static void print_row(const struct canvas *canvas, uint32_t row, bool utf8, bool color,
                      struct buf *out)
{
    static const enum term_color colors[PLOT_SERIES_MAX] = { TERM_CYAN, TERM_YELLOW, TERM_GREEN,
                                                             TERM_RED,  TERM_BOLD,   TERM_DIM };
    unsigned painted = 0; /* series + 1; 0 = none */

    for (uint32_t c = 0; c < canvas->columns; c++) {
        unsigned bits = canvas->dots[row * canvas->columns + c];
        unsigned owner = bits ? canvas->owner[row * canvas->columns + c] : 0;
        char glyph[4] = { (char)0xe2, (char)(0xa0 | bits >> 6), (char)(0x80 | (bits & 0x3f)), 0 };

        if (color && owner != painted && painted)
            buf_add_text(out, TERM_COLOR_OFF);
        if (color && owner != painted && owner)
            buf_add_text(out, term_color_on(colors[owner - 1]));
        painted = owner;
        if (!owner)
            buf_add_char(out, ' ');
        else if (utf8)
            buf_add_text(out, glyph);
        else
            buf_add_char(out, "*+ox#%"[owner - 1]);
    }
    if (color && painted)
        buf_add_text(out, TERM_COLOR_OFF);
}

static void print_x_axis(const struct plot *plot, const struct canvas *canvas, struct range range,
                         bool utf8, struct buf *out)
{
    double ticks[PLOT_TICKS_MAX];
    uint32_t count = plot_find_ticks(range.min, range.max, canvas->columns / 14 + 1, ticks);
    char marks[WIDTH_MAX + 1];
    char figures[WIDTH_MAX + 32];
    uint32_t free_from = 0;

    memset(marks, '-', canvas->columns);
    memset(figures, ' ', sizeof(figures));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)llround(place(ticks[i], range, canvas->columns - 1));
        char text[32];
        uint32_t len;
        uint32_t from;

        print_tick(ticks[i], ticks, count, text, sizeof(text));
        len = (uint32_t)strlen(text);
        from = at > len / 2 ? at - len / 2 : 0;
        marks[MIN(at, canvas->columns - 1)] = '+';
        if (from < free_from || from + len > canvas->columns + 8)
            continue;
        memcpy(figures + from, text, len);
        free_from = from + len + 1;
    }
    buf_printf(out, "%*s%s", (int)MARGIN_LEFT - 1, "", utf8 ? "\u2514" : "+");
    for (uint32_t i = 0; i < canvas->columns; i++)
        buf_add_text(out, !utf8             ? (const char[]){ marks[i], '\0' }
                          : marks[i] == '+' ? "\u2534"
                                            : "\u2500");
    for (uint32_t end = sizeof(figures); end && figures[end - 1] == ' '; end--)
        figures[end - 1] = '\0';
    buf_printf(out, "\n%*s%.*s\n", (int)MARGIN_LEFT, "", (int)sizeof(figures), figures);
    buf_printf(out, "%*s%*s\n", (int)MARGIN_LEFT, "",
               (int)(canvas->columns / 2 + strlen(plot->x_name) / 2), plot->x_name);
}

static void print_head(const struct plot *plot, struct buf *out)
{
    if (plot->title)
        buf_printf(out, "%*s%s\n", (int)MARGIN_LEFT, "", plot->title);
    buf_printf(out, "%s", plot->y_name);
    if (plot->series_count > 1)
        buf_add_text(out, ": ");
    for (uint32_t s = 0; plot->series_count > 1 && s < plot->series_count; s++)
        buf_printf(out, "%s%c %s", s ? ", " : "", "*+ox#%"[s], plot -> series[s].name);
    buf_add_char(out, '\n');
}

void plot_print_text(const struct plot *plot, uint32_t width, uint32_t height, bool utf8,
                     bool color, struct buf *out)
{
    struct canvas canvas = { .dots_x = utf8 ? 2 : 1, .dots_y = utf8 ? 4 : 1 };
    struct range x_range = find_range(plot, false);
    struct range y_range = find_range(plot, true);
    double ticks[PLOT_TICKS_MAX];
    uint32_t count;

    canvas.columns = MIN(MAX(width, MARGIN_LEFT + 20), WIDTH_MAX) - MARGIN_LEFT - 1;
    canvas.rows = MIN(MAX(height, 9u), HEIGHT_MAX) - 5;
    canvas.dots = calloc(canvas.columns, canvas.rows);
    canvas.owner = calloc(canvas.columns, canvas.rows);
    if (!canvas.dots || !canvas.owner) {
        out->failed = true;
        free(canvas.dots);
        free(canvas.owner);
        return;
    }
    for (uint32_t s = 0; s < plot->series_count; s++)
        draw_series(&canvas, plot, s, x_range, y_range);
    print_head(plot, out);
    count = plot_find_ticks(y_range.min, y_range.max, canvas.rows / 4 + 1, ticks);
    for (uint32_t r = 0; r < canvas.rows; r++) {
        char figure[32] = "";

        for (uint32_t t = 0; t < count; t++)
            if (llround((canvas.rows - 1) - place(ticks[t], y_range, canvas.rows - 1)) == r)
                print_tick(ticks[t], ticks, count, figure, sizeof(figure));
        buf_printf(out, "%*s %s", (int)MARGIN_LEFT - 2, figure,
                   utf8 ? (*figure ? "\u2524" : "\u2502") : (*figure ? "+" : "|"));
        print_row(&canvas, r, utf8, color, out);
        buf_add_char(out, '\n');
    }
    print_x_axis(plot, &canvas, x_range, utf8, out);
    free(canvas.dots);
    free(canvas.owner);
}

/* --- SVG -------------------------------------------------------------------------------------- */

static void add_xml(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            buf_add_text(out, "&lt;");
        else if (*text == '>')
            buf_add_text(out, "&gt;");
        else if (*text == '&')
            buf_add_text(out, "&amp;");
        else if (*text == '"')
            buf_add_text(out, "&quot;");
        else if ((unsigned char)*text >= 0x20)
            buf_add_char(out, *text);
    }
}

struct frame { /* of the axes, in pixels */
    double left, top, wide, high;
    struct range x, y;
};

static void add_text(struct buf *out, double x, double y, const char *more, const char *text)
{
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, more);
    add_xml(out, text);
    buf_add_text(out, "</text>\n");
}

static void add_axes(struct buf *out, const struct frame *frame)
{
    double ticks[PLOT_TICKS_MAX];
    uint32_t count = plot_find_ticks(frame->x.min, frame->x.max, 7, ticks);
    char figure[32];

    buf_add_text(out, "<g stroke=\"#d5d9de\" stroke-width=\"1\">\n");
    for (uint32_t i = 0; i < count; i++) {
        double x = frame->left + place(ticks[i], frame->x, frame->wide);

        buf_printf(out, "<path d=\"M%.1f %.1fv%.1f\"/>\n", x, frame->top, frame->high);
    }
    count = plot_find_ticks(frame->y.min, frame->y.max, 6, ticks);
    for (uint32_t i = 0; i < count; i++) {
        double y = frame->top + frame->high - place(ticks[i], frame->y, frame->high);

        buf_printf(out, "<path d=\"M%.1f %.1fh%.1f\"/>\n", frame->left, y, frame->wide);
    }
    buf_add_text(out, "</g>\n<g fill=\"#3c4650\" font-size=\"12\">\n");
    for (uint32_t i = 0; i < count; i++) {
        print_tick(ticks[i], ticks, count, figure, sizeof(figure));
        add_text(out, frame->left - 8,
                 frame->top + frame->high - place(ticks[i], frame->y, frame->high) + 4,
                 "text-anchor=\"end\"", figure);
    }
    count = plot_find_ticks(frame->x.min, frame->x.max, 7, ticks);
    for (uint32_t i = 0; i < count; i++) {
        print_tick(ticks[i], ticks, count, figure, sizeof(figure));
        add_text(out, frame->left + place(ticks[i], frame->x, frame->wide),
                 frame->top + frame->high + 18, "text-anchor=\"middle\"", figure);
    }
    buf_add_text(out, "</g>\n");
    buf_printf(out,
               "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
               "stroke=\"#3c4650\"/>\n",
               frame->left, frame->top, frame->wide, frame->high);
}

static void add_series(struct buf *out, const struct plot *plot, uint32_t index,
                       const struct frame *frame)
{
    /* Okabe and Ito: told apart also by those who see fewer colours. */
    static const char *const colors[PLOT_SERIES_MAX] = { "#0072b2", "#d55e00", "#009e73",
                                                         "#cc79a7", "#e69f00", "#56b4e9" };
    const struct plot_series *series = &plot->series[index];

    if (!plot->points_only && series->count > 1) {
        buf_printf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colors[index]);
        for (uint32_t i = 0; i < series->count; i++)
            buf_printf(out, "%c%.1f %.1f", i ? 'L' : 'M',
                       frame->left + place(series->x[i], frame->x, frame->wide),
                       frame->top + frame->high - place(series->y[i], frame->y, frame->high));
        buf_add_text(out, "\"/>\n");
    }
    buf_printf(out, "<g fill=\"%s\">\n", colors[index]);
    for (uint32_t i = 0; i < series->count; i++)
        buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n",
                   frame->left + place(series->x[i], frame->x, frame->wide),
                   frame->top + frame->high - place(series->y[i], frame->y, frame->high));
    buf_add_text(out, "</g>\n");
    if (plot->series_count > 1) {
        double y = frame->top + 16 + 18.0 * index;

        buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", frame->left + 14,
                   y - 4, colors[index]);
        add_text(out, frame->left + 24, y, "font-size=\"12\" fill=\"#3c4650\"", series->name);
    }
}

void plot_print_svg(const struct plot *plot, uint32_t width, uint32_t height, struct buf *out)
{
    struct frame frame = { .left = 76,
                           .top = plot->title ? 44 : 20,
                           .wide = width - 76.0 - 24,
                           .x = find_range(plot, false),
                           .y = find_range(plot, true) };
    char more[160];

    frame.high = height - frame.top - 56;
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
               "viewBox=\"0 0 %u %u\" font-family=\"sans-serif\">\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
               width, height, width, height);
    if (plot->title)
        add_text(out, frame.left + frame.wide / 2, 26,
                 "text-anchor=\"middle\" font-size=\"16\" fill=\"#14191f\"", plot->title);
    add_axes(out, &frame);
    add_text(out, frame.left + frame.wide / 2, height - 12.0,
             "text-anchor=\"middle\" font-size=\"13\" fill=\"#14191f\"", plot->x_name);
    snprintf(more, sizeof(more),
             "text-anchor=\"middle\" font-size=\"13\" fill=\"#14191f\" "
             "transform=\"rotate(-90 20 %.1f)\"",
             frame.top + frame.high / 2);
    add_text(out, 20, frame.top + frame.high / 2, more, plot->y_name);
    for (uint32_t s = 0; s < plot->series_count; s++)
        add_series(out, plot, s, &frame);
    buf_add_text(out, "</svg>\n");
}
