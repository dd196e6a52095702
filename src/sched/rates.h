/* rates.h - how fast one kind of work runs on one kind of chip: the M x N matrix.
 *
 * An entry is seconds per unit of work of (work class, chip, gang size), believed as a normal
 * distribution of its logarithm: a middle and a spread. What the job declares and what finished
 * runs measured are pooled by precision, so a declaration that was wrong is overruled by runs and
 * a single odd run is not believed alone. Where nothing is known of the very entry, it is carried
 * over from the same work on another chip or gang, by the ratio of the chips' figures (roofline)
 * and with more spread; where nothing is known of the work but its operations and bytes a unit,
 * it is the roofline itself. The spread is kept through all of it, so that a caller can plan with
 * the middle, promise with the far end (rates_seconds_at), or try a chip to learn.
 *
 * Owns its entries, belongs to one thread, holds at most `entries_max` (then new entries are not
 * taken, known ones still learn). Pure and deterministic. Declare, learn and get cost one look-up
 * by hash; to carry over, get also walks the entries of that work. Memory short: aborts (mem.h). */
#pragma once

#include "base/err.h"
#include "sched/figures.h"

#include <stdbool.h>
#include <stdint.h>

#define RATES_GANG_MAX 1000000u

enum rate_source {
    RATE_UNKNOWN,
    RATE_ROOFLINE, /* from operations and bytes a unit */
    RATE_CARRIED,  /* from the same work on another chip or gang */
    RATE_DECLARED, /* by the job, no run yet */
    RATE_LEARNED   /* at least one finished run */
};

struct rate {
    double seconds; /* per unit, the middle (median); 0 = unknown */
    double spread;  /* standard deviation of ln(seconds) */
    enum rate_source source;
    uint32_t runs;
};

struct rates_params {
    double run_spread;      /* of one finished run about the truth */
    double declared_spread; /* of what a job declares */
    double chip_spread;     /* added (in quadrature) when carried over to another chip */
    double gang_spread;     /* the same for each doubling of the gang */
    double gang_loss;       /* share of speed-up lost at each doubling when carried over */
    double roofline_spread;
    double roofline_share; /* of the roofline that work reaches, as the middle */
    double floor_spread;   /* no entry is believed better than this: machines differ */
    double runs_max;       /* weight of the past, in runs: older ones fade, so rates follow */
    uint32_t entries_max;
};
struct rates_params rates_params_default(void);

/* What a unit of the work asks of a chip. `metric` is the arithmetic it uses. */
struct rates_work {
    double operations; /* a unit, in 1e12; 0 = not known */
    double bytes;      /* a unit, in 1e9; 0 = not known */
    enum chip_metric metric;
};

struct rates_key {
    uint64_t work; /* the class: what the caller counts as the same work */
    uint32_t chip; /* the caller's number of a kind of chip */
    uint32_t gang; /* devices, 1 .. RATES_GANG_MAX */
};

struct rates;
struct rates *rates_create(const struct rates_params *params);
void rates_destroy(struct rates *rates);

/* The chip's figures, copied; needed to carry over. Chips are numbered from 0, below 65536. */
int rates_set_chip(struct rates *rates, uint32_t chip, const struct chip_figures *figures,
                   struct err *err);
/* -EINVAL: a figure negative or not finite; -ENOSPC. */
int rates_set_work(struct rates *rates, uint64_t work, const struct rates_work *profile,
                   struct err *err);
/* What the job's own file says; once more replaces. -EINVAL, -ENOSPC as above. */
int rates_declare(struct rates *rates, const struct rates_key *key, double seconds_per_unit,
                  struct err *err);
/* A run ended well: `units` of work in `seconds` of running. -EINVAL, -ENOSPC. */
int rates_learn(struct rates *rates, const struct rates_key *key, double units, double seconds,
                struct err *err);

struct rate rates_get(const struct rates *rates, const struct rates_key *key);
/* Seconds a unit that are exceeded with the chance of `sigmas` standard deviations: 0 = one half,
 * 1.64 = one in twenty. 0 when unknown. */
double rates_seconds_at(const struct rate *rate, double sigmas);
/* Rate on this chip over the best of the chips given: what assign_weight takes. 0 = unknown. */
double rates_share(const struct rates *rates, const struct rates_key *key, const uint32_t *chips,
                   uint32_t chips_count);

/* What a unit of work, and the rest of a job, come to at one place. */
struct rates_place {
    double wait_s;            /* until it could start there */
    double watts;             /* of one device under load, site overhead included */
    double device_hour_price; /* money, whatever the unit, without power */
    double kwh_price;
    double kwh_carbon_g;
    double setup_s; /* staging, restart: paid once, devices held */
};
struct rates_bill {
    double finish_s; /* from now, by the middle */
    double late_s;   /* the same at `sigmas` */
    double money, joules, carbon_g;
    double money_per_unit, joules_per_unit, carbon_g_per_unit;
};
/* `units` > 0 left to do on `gang` devices. False when the rate is unknown. */
bool rates_bill(const struct rate *rate, uint32_t gang, double units, double sigmas,
                const struct rates_place *place, struct rates_bill *bill_out);

/* For snapshots: entries in a fixed order (as they came), and taken back in that order. */
struct rates_entry {
    struct rates_key key;
    double declared_seconds; /* 0 = not declared */
    double ln_mean, weight;  /* of runs: middle of ln(seconds a unit), and how many count */
    uint32_t runs;
};
uint32_t rates_count(const struct rates *rates);
const struct rates_entry *rates_at(const struct rates *rates, uint32_t index);
int rates_restore(struct rates *rates, const struct rates_entry *entry, struct err *err);
