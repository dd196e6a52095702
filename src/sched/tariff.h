/* tariff.h - what a site's electricity is over time: price, carbon, green share, power cap, own
 * supply.
 *
 * A tariff holds up to five series of whole numbers in slots of one length, slot 0 beginning at
 * time 0 (UTC ms since 1970), so that slot n is [n * slot_ms, (n + 1) * slot_ms). It keeps the
 * last `slots_max` slots up to the newest one set: putting a newer one in drops what is too old. A
 * slot nobody set is TARIFF_UNKNOWN and stays so: nothing is made up here (forecast.h does that,
 * and says how sure it is). One thread owns a tariff; memory for the slots is the tariff's. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum tariff_series {
    TARIFF_PRICE,  /* 1/1,000,000 of the currency per kWh; may be below zero */
    TARIFF_CARBON, /* mg CO2 equivalent per kWh */
    TARIFF_GREEN,  /* ppm of the power drawn that is green, 0 .. 1,000,000 */
    TARIFF_CAP,    /* W the site may draw; 0 = nothing may run */
    TARIFF_SUPPLY, /* W of green power of the site's own (wind, sun): what is drawn above is not */
    TARIFF_SERIES_COUNT
};

#define TARIFF_UNKNOWN INT64_MIN
#define TARIFF_SLOTS_MAX 105408u                  /* three leap years of quarter hours */
#define TARIFF_VALUE_MAX INT64_C(1000000000000)   /* 10^12 either way */
#define TARIFF_SLOT_MS_MIN INT64_C(60000)         /* a minute */
#define TARIFF_SLOT_MS_MAX INT64_C(86400000)      /* a day */
#define TARIFF_WATTS_MAX INT64_C(1000000000000)   /* 1 TW */
#define TARIFF_TIME_MS_MAX INT64_C(8640000000000) /* some year 2243 */

struct tariff {
    int64_t slot_ms;
    int64_t first_slot; /* the oldest kept */
    uint32_t count;     /* slots from there to the newest */
    uint32_t slots_max;
    int64_t *values[TARIFF_SERIES_COUNT]; /* rings by slot; NULL until the series has a value */
};

/* -EINVAL: slot_ms or slots_max out of range. */
int tariff_init(struct tariff *tariff, int64_t slot_ms, uint32_t slots_max, struct err *err);
void tariff_fini(struct tariff *tariff);

/* The slot that holds `time_ms`, and where a slot begins. */
int64_t tariff_slot_of(const struct tariff *tariff, int64_t time_ms);
int64_t tariff_slot_start_ms(const struct tariff *tariff, int64_t slot);

/* Set one slot; TARIFF_UNKNOWN takes a value back. -EINVAL: a value no such series can have, or a
 * time out of range; -ERANGE: older than what is kept. */
int tariff_set(struct tariff *tariff, enum tariff_series series, int64_t slot, int64_t value,
               struct err *err);
int64_t tariff_get(const struct tariff *tariff, enum tariff_series series, int64_t slot);
int64_t tariff_at(const struct tariff *tariff, enum tariff_series series, int64_t time_ms);

struct tariff_sum {
    int64_t total;      /* over the known part, rounded to the nearest unit */
    int64_t unknown_ms; /* of the interval: not in the total */
};
/* What `watts` drawn over [from_ms, to_ms) amount to: price -> 1/1,000,000 of the currency,
 * carbon -> ug, green -> mJ of green energy, cap -> mJ that may be drawn (watts do not count),
 * supply -> mJ of the draw that it covers, matched slot by slot.
 * Rounded once, so that [a,b) + [b,c) is within one unit of [a,c). Costs the slots touched; an
 * empty or backward interval is nothing. */
struct tariff_sum tariff_integrate(const struct tariff *tariff, enum tariff_series series,
                                   int64_t from_ms, int64_t to_ms, int64_t watts);
