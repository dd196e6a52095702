/* forecast.h - what a series (price, carbon, green power) will be, and how sure that is.
 *
 * Blends a forecast that somebody gives, of unknown quality, with what history shows, and learns
 * the blend while it runs: for some leads ("knots") it keeps what it would have said, and when the
 * value comes it corrects the weights by least squares with forgetting. A given forecast that turns
 * out poor so loses weight against history, by lead, without anybody telling its error; with none
 * given, history alone stands. History is the mean of the same slot of the last days, the deviation
 * from it now and over the last day, and the same slots of yesterday and a week ago. Where a
 * forecast is given, what all this says of the next half day beyond "as far off the day's shape as
 * now" counts by how much of it has come true at that time of the day: a quiet night is not left to
 * weights learned by day.
 *
 * Order of calls, for each slot as it begins: forecast_observe with its value (the present is
 * known), forecast_give when a new forecast came, then forecast_fill at will. Slots count upward;
 * any unit, but one unit. Pure and deterministic; memory (about 150 KB hourly, 300 KB half-hourly)
 * is the forecast's. An observe, a give and a fill of 168 slots take some 50 us together.
 *
 * Source: regression of the outcome on competing forecasts (Granger and Ramanathan, 1984), shrunk
 * to a prior; which features, and the parameters, by own measurement on price 2020 and carbon 2021
 * of docs/quality/carbon.md; later years were kept to check. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define FORECAST_DAY_SLOTS_MAX 96u /* quarter hours */
#define FORECAST_DAYS_MAX 28u
#define FORECAST_KNOTS 14u
#define FORECAST_FEATURES 7u
#define FORECAST_LEAD_DAYS 7u /* leads past this are as uncertain as this one */

struct forecast_params {
    uint32_t history_days; /* behind the profile of a day; 1 .. FORECAST_DAYS_MAX */
    double memory_days;    /* a lesson's weight falls to 1/e after this */
    double prior_samples;  /* how many lessons the prior is worth */
    double prior_given;    /* before any lesson: weight of a given forecast against history */
    double prior_decay;    /* before any lesson: what a deviation keeps after a day */
    double outlier_sigmas; /* lessons beyond this many standard deviations weigh less */
    uint32_t
        lessons_days_min; /* of history before a forecast without a given one is worth acting on */
};
struct forecast_params forecast_params_default(void);

struct forecast; /* opaque */

/* `day_slots`: slots in a day, 1 .. FORECAST_DAY_SLOTS_MAX. -EINVAL: out of range. */
int forecast_create(const struct forecast_params *params, uint32_t day_slots,
                    struct forecast **forecast_out, struct err *err);
void forecast_destroy(struct forecast *forecast);
void forecast_destroyp(struct forecast **forecast);

/* The value of `slot`; NAN when it is not known. Slots go up; a jump counts as unknown slots, a
 * jump past the history starts afresh. One that is not after the last is refused: -ERANGE. */
int forecast_observe(struct forecast *forecast, int64_t slot, double value, struct err *err);
/* The forecast given from now on: values of slot .. slot + count - 1 (NAN where none; copied; what
 * is not ahead, or past FORECAST_LEAD_DAYS, is ignored). count 0 takes it back. */
void forecast_give(struct forecast *forecast, int64_t slot, const double *values, uint32_t count);

/* Expected values of the `count` slots after the last observed, and the standard deviation of
 * each (INFINITY: no lesson yet that tells). False, and nothing written, when there is neither a
 * given forecast nor enough history: then nothing is known that waiting could be built on. Where
 * the given one ends, history goes on.
 */
bool forecast_fill(const struct forecast *forecast, uint32_t count, double *mean_out,
                   double *sd_out);

/* What was learned, as data: root mean square error at a lead of the given forecast, of history
 * alone and of the blend. NAN: no lesson yet. */
struct forecast_skill {
    double given_rmse, history_rmse, blend_rmse;
};
struct forecast_skill forecast_get_skill(const struct forecast *forecast, uint32_t lead_slots);

/* All that it knows and has learned, word by word, and back into one that was created alike; for
 * snapshots. Load: false when `take` is, or a word cannot be: the forecast is then of no use. What
 * was saved before there was trust by the time of the day has none: it is learned anew. */
void forecast_save(const struct forecast *forecast, void (*put)(void *context, uint64_t word),
                   void *context);
bool forecast_load(struct forecast *forecast, bool has_trust,
                   bool (*take)(void *context, uint64_t *word_out), void *context);
