/* plot.h - points of x and y as a picture: in the terminal, and as SVG. */
#pragma once

#include "base/buf.h"

#include <stdint.h>

#define PLOT_SERIES_MAX 6u
#define PLOT_TICKS_MAX 12u

struct plot_series {
    const char *name;
    const double *x, *y; /* finite */
    uint32_t count;
};
struct plot {
    const char *title, *x_name, *y_name; /* title NULL = none */
    struct plot_series series[PLOT_SERIES_MAX];
    uint32_t series_count;
    bool points_only; /* do not join them */
};

/* Round figures that span min..max: about `want` of them, at most PLOT_TICKS_MAX. */
uint32_t plot_find_ticks(double min, double max, uint32_t want, double ticks_out[PLOT_TICKS_MAX]);
/* `width` x `height` characters in all. Braille dots with `utf8`, else ASCII. */
void plot_print_text(const struct plot *plot, uint32_t width, uint32_t height, bool utf8,
                     bool color, struct buf *out);
/* `width` x `height` pixels; one self-contained file, texts escaped. */
void plot_print_svg(const struct plot *plot, uint32_t width, uint32_t height, struct buf *out);
