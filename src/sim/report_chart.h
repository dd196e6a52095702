/* report_chart.h - the charts of the page: lines over time and stacked areas, as SVG text. */
#pragma once

#include "base/buf.h"
#include "sim/result.h"

#define CHART_COLORS 8u
#define CHART_LINES_MAX 32u

extern const char *const chart_colors[CHART_COLORS];

struct chart_line {
    const char *name;
    const struct sim_result *result;
    uint32_t series;
    double scale; /* the shown value is the mean divided by this */
    bool is_wait; /* not a series but the mean wait of a class */
    uint32_t of_class;
};

/* Text for HTML. */
void chart_add_text(struct buf *out, const char *text);
/* A heading, the chart, its legend. Lines are told apart by colour, from the ninth on by dashes. */
void chart_add_lines(struct buf *out, const char *title, const struct chart_line *lines,
                     uint32_t count);
/* `count` series from `first` on, those of equal `names` added up (NULL: left out); the seven
 * largest sums get a layer each, the rest one together. Nothing is drawn when all are zero. */
void chart_add_stack(struct buf *out, const char *title, const struct sim_result *result,
                     uint32_t first, const char *const *names, uint32_t count, double scale);
