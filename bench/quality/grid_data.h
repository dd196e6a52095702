/* grid_data.h - the public hourly series, and job sets and forecast errors made from seeds, that
 * the carbon, money and wind benches share. Reads plain CSV (the benches' scripts unpack it). */
#pragma once

#include "base/err.h"
#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

#define GRID_HOUR_MS INT64_C(3600000)
#define GRID_HALF_MS INT64_C(1800000)
#define GRID_LEADS 168u
#define GRID_COLUMNS_MAX 64u
#define GRID_HOURS_MAX 40000u

struct grid_series {
    char zone[24];
    int64_t first_ms; /* of value 0, UTC */
    double *values;   /* holes are filled with the value a day before, else the next known */
    uint32_t count, holes;
};
struct grid_table {
    struct grid_series columns[GRID_COLUMNS_MAX];
    uint32_t count;
};

/* Read FOLDER/STEM_YEAR.csv for each year (one after the other without a gap between them); only
 * the columns whose name ends in `suffix`, which is cut off. -ENOENT: a file is not there. */
int grid_table_read(struct grid_table *table, const char *folder, const char *stem,
                    const int *years, uint32_t years_count, const char *suffix, struct err *err);
void grid_table_fini(struct grid_table *table);
const struct grid_series *grid_table_find(const struct grid_table *table, const char *zone);

/* The zone's standard time against UTC, no summer time. */
int64_t grid_zone_offset_ms(const char *zone);

/* A job of Let's Wait Awhile (Middleware 2021). */
struct grid_job {
    int64_t submit_ms, nominal_ms, work_ms, deadline_ms;
};
enum grid_flex { GRID_NEXT_WORKDAY, GRID_SEMI_WEEKLY };
/* ML jobs: on workdays, at 9:00-16:30 local time, 4 to 89.5 h in steps of half an hour; all end,
 * slip included, inside [from_ms, to_ms). By submit time. */
uint32_t grid_draw_ml(struct grid_job *jobs, uint32_t count, enum grid_flex flex, int64_t from_ms,
                      int64_t to_ms, int64_t offset_ms, uint64_t seed);
/* Half an hour a night at 1:00 local time, which may move by +-window_ms. */
uint32_t grid_draw_nightly(struct grid_job *jobs, uint32_t jobs_max, int64_t window_ms,
                           int64_t from_ms, int64_t to_ms, int64_t offset_ms);

/* Forecast error: forecast = truth * exp(-e), e AR(1) with 0.95 per hour and stationary deviation
 * `sd`, its innovations shared between forecasts, so that near hours are accurate. */
struct grid_error {
    double *innovations; /* by hour of the series */
    uint32_t count;
};
int grid_error_init(struct grid_error *error, uint32_t count, double sd, uint64_t seed);
void grid_error_fini(struct grid_error *error);
/* The forecast issued in hour `at` for the hours at + 1 .. ; returns how many, up to `leads`. */
uint32_t grid_error_forecast(const struct grid_error *error, const struct grid_series *series,
                             uint32_t at, uint32_t leads, double *values_out);

/* One JSON line. goal NULL: none; peer NULL: none. */
void grid_print_figure(const char *name, double value, const char *unit, const char *goal,
                       bool holds, const char *peer, double peer_value, const char *note);
