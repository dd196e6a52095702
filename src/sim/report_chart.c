#include "sim/report_chart.h"

#include "base/cleanup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 880.0
#define HEIGHT 190.0
#define LEFT 64.0
#define HOUR_MS 3600000.0
#define DAY_MS 86400000.0

const char *const chart_colors[CHART_COLORS] = { "#1f6feb", "#d1453b", "#2f9e44", "#e8890c",
                                                 "#7048e8", "#0c8599", "#c2255c", "#7d8794" };

void chart_add_text(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            buf_add_text(out, "&lt;");
        else if (*text == '&')
            buf_add_text(out, "&amp;");
        else if (*text == '"')
            buf_add_text(out, "&quot;");
        else if (*text == '\'')
            buf_add_text(out, "&#39;");
        else
            buf_add_char(out, *text);
}

/* --- axes ------------------------------------------------------------------------------------- */

/* What divides by four into round figures. */
static double round_up(double most)
{
    static const double steps[] = { 1, 1.2, 1.6, 2, 3, 4, 6, 8, 10 };
    double power = pow(10, floor(log10(most)));
    uint32_t i = 0;

    while (i + 1 < ARRAY_COUNT(steps) && steps[i] * power < most)
        i++;
    return steps[i] * power;
}

/* Whole minutes, hours or days, so that there are at most nine. */
static double tick_ms(double end_ms)
{
    static const double hours[] = { 1. / 60,  1. / 12,  .25,       1,        2,       6,
                                    12,       24,       48,        120,      7 * 24., 14 * 24.,
                                    30 * 24., 90 * 24., 180 * 24., 360 * 24. };
    uint32_t i = 0;

    while (i + 1 < ARRAY_COUNT(hours) && hours[i] * HOUR_MS * 8 < end_ms)
        i++;
    return fmax(ceil(end_ms / 8 / (hours[i] * HOUR_MS)), 1) * hours[i] * HOUR_MS;
}

static void begin(struct buf *out, const char *title, double most, double end_ms)
{
    double tick = tick_ms(end_ms), unit = tick >= DAY_MS    ? DAY_MS
                                          : tick >= HOUR_MS ? HOUR_MS
                                                            : 60000;
    const char *name = tick >= DAY_MS ? "d" : tick >= HOUR_MS ? "h" : "min";

    buf_add_text(out, "<h2>");
    chart_add_text(out, title);
    buf_printf(out, "</h2>\n<svg viewBox='0 -8 %.0f %.0f' role='img'>\n", LEFT + WIDTH + 24,
               HEIGHT + 34);
    for (int i = 0; i <= 4; i++) {
        double y = HEIGHT - HEIGHT * i / 4;

        buf_printf(out,
                   "<line x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f' class='g'/><text x='%.0f' "
                   "y='%.1f' text-anchor='end'>%.4g</text>\n",
                   LEFT, LEFT + WIDTH, y, y, LEFT - 6, y + 4, most * i / 4);
    }
    for (uint32_t i = 0; i * tick <= end_ms * 1.0001; i++) {
        double at = i * tick;

        buf_printf(out, "<text x='%.1f' y='%.0f' text-anchor='middle'>%.4g %s</text>\n",
                   LEFT + WIDTH * at / end_ms, HEIGHT + 18, at / unit, name);
    }
}

static double x_of(const struct sim_result *result, uint32_t bucket, double end_ms)
{
    return LEFT + WIDTH * ((double)bucket + 0.5) * (double)result->series.width_ms / end_ms;
}

static void add_name(struct buf *out, const char *name, uint32_t color)
{
    buf_printf(out, "<span><i style='background:%s'></i>", chart_colors[color % CHART_COLORS]);
    chart_add_text(out, name);
    buf_add_text(out, "</span>");
}

/* --- lines ------------------------------------------------------------------------------------ */

static double value_at(const struct chart_line *line, uint32_t bucket)
{
    const struct sim_result *result = line->result;

    if (!line->is_wait)
        return sim_series_mean(&result->series, line->series, bucket, result->end_ms) / line->scale;
    if (!result->wait_counts[bucket][line->of_class])
        return NAN;
    return (double)result->wait_sums[bucket][line->of_class] /
           result->wait_counts[bucket][line->of_class] / line->scale;
}

static void add_line(struct buf *out, const struct chart_line *line, uint32_t number, double most,
                     double end_ms)
{
    const struct sim_series_set *series = &line->result->series;
    uint32_t points = 0;

    buf_printf(out, "<path fill='none' stroke='%s' stroke-width='1.5' stroke-linecap='round'%s d='",
               chart_colors[number % CHART_COLORS],
               number >= CHART_COLORS ? " stroke-dasharray='5 3'" : "");
    for (uint32_t b = 0; b < series->buckets; b++) {
        double value = value_at(line, b), x = x_of(line->result, b, end_ms);

        if (isnan(value) || x > LEFT + WIDTH)
            continue;
        buf_printf(out, "%s%.1f %.1f", points ? "L" : "M", x, HEIGHT - HEIGHT * value / most);
        points++;
    }
    buf_add_text(out, points == 1 ? "h1'/>\n" : "'/>\n"); /* one alone is a dot */
}

void chart_add_lines(struct buf *out, const char *title, const struct chart_line *lines,
                     uint32_t count)
{
    double most = 0, end_ms = 1;

    for (uint32_t i = 0; i < count; i++) {
        end_ms = fmax(end_ms, (double)lines[i].result->end_ms);
        for (uint32_t b = 0; b < lines[i].result->series.buckets; b++)
            most = fmax(most, value_at(&lines[i], b)); /* fmax passes NAN over */
    }
    most = most > 0 ? round_up(most) : 1;
    begin(out, title, most, end_ms);
    for (uint32_t i = 0; i < count; i++)
        add_line(out, &lines[i], i, most, end_ms);
    buf_add_text(out, "</svg><p class='k'>");
    for (uint32_t i = 0; i < count; i++)
        add_name(out, lines[i].name, i);
    buf_add_text(out, "</p>\n");
}

/* --- stacked areas ---------------------------------------------------------------------------- */

struct layer {
    const char *name;
    double sum;
    uint32_t order;       /* of first mention: breaks ties */
    double *means;        /* a bucket each */
    uint32_t names_count; /* of those added up */
};

static int compare_layers(const void *a, const void *b)
{
    const struct layer *x = a, *y = b;

    if (x->sum != y->sum)
        return x->sum < y->sum ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void add_to_layer(struct layer *layer, const struct sim_result *result, uint32_t series,
                         double scale)
{
    layer->names_count++;
    for (uint32_t b = 0; b < result->series.buckets; b++) {
        double mean = sim_series_mean(&result->series, series, b, result->end_ms) / scale;

        layer->means[b] += mean;
        layer->sum += mean;
    }
}

/* One layer a name, the largest first; what is past the seventh is added to the eighth. */
static uint32_t make_layers(struct layer *layers, double *means, const struct sim_result *result,
                            uint32_t first, const char *const *names, uint32_t count, double scale)
{
    uint32_t used = 0, at, kept;

    for (uint32_t i = 0; i < count; i++) {
        if (!names[i])
            continue;
        for (at = 0; at < used && strcmp(layers[at].name, names[i]) != 0; at++)
            ;
        if (at == used) {
            layers[at] = (struct layer){ .name = names[i],
                                         .order = at,
                                         .means = means + (size_t)at * SIM_BUCKETS_MAX };
            used++;
        }
        add_to_layer(&layers[at], result, first + i, scale);
    }
    qsort(layers, used, sizeof(*layers), compare_layers);
    kept = MIN(used, CHART_COLORS);
    for (uint32_t i = CHART_COLORS; i < used; i++)
        for (uint32_t b = 0; b < result->series.buckets; b++)
            layers[CHART_COLORS - 1].means[b] += layers[i].means[b];
    if (used > CHART_COLORS)
        layers[CHART_COLORS - 1].name = "all others";
    while (kept && layers[kept - 1].sum <= 0)
        kept--;
    return kept;
}

/* From the layer's top, there and back along its bottom. */
static void add_area(struct buf *out, const struct sim_result *result, const struct layer *layers,
                     uint32_t number, double most)
{
    uint32_t buckets = result->series.buckets;

    buf_printf(out, "<path fill='%s' fill-opacity='.8' d='", chart_colors[number]);
    for (uint32_t edge = 0; edge < 2; edge++)
        for (uint32_t i = 0; i < buckets; i++) {
            uint32_t b = edge ? buckets - 1 - i : i;
            double height = 0;

            for (uint32_t l = 0; l < number + 1 - edge; l++)
                height += layers[l].means[b];
            buf_printf(out, "%s%.1f %.1f", edge || i ? "L" : "M",
                       fmin(x_of(result, b, (double)result->end_ms), LEFT + WIDTH),
                       HEIGHT - HEIGHT * height / most);
        }
    buf_add_text(out, "Z'/>\n");
}

void chart_add_stack(struct buf *out, const char *title, const struct sim_result *result,
                     uint32_t first, const char *const *names, uint32_t count, double scale)
{
    struct layer *layers = calloc((size_t)count + 1, sizeof(*layers));
    double *means = calloc(((size_t)count + 1) * SIM_BUCKETS_MAX, sizeof(*means));
    uint32_t kept;
    double most = 0;

    if (!layers || !means) {
        out->failed = true;
        goto out;
    }
    kept = make_layers(layers, means, result, first, names, count, scale);
    for (uint32_t b = 0; b < result->series.buckets; b++) {
        double height = 0;

        for (uint32_t l = 0; l < kept; l++)
            height += layers[l].means[b];
        most = fmax(most, height);
    }
    if (most <= 0)
        goto out;
    most = round_up(most);
    begin(out, title, most, fmax((double)result->end_ms, 1));
    for (uint32_t l = 0; l < kept; l++)
        add_area(out, result, layers, l, most);
    buf_add_text(out, "</svg><p class='k'>");
    for (uint32_t l = 0; l < kept; l++)
        add_name(out, layers[l].name, l);
    buf_add_text(out, "</p>\n");
out:
    free(layers);
    free(means);
}
