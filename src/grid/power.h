/* power.h - what a site's power costs over time, what its jobs draw, caps and cuts. Only for the
 * files of this folder.
 *
 * tariffs.c  the series: facts and forecasts, rates now, costs of the past, outlooks
 * power.c    what is drawn, the cap, the cut; who comes back
 * power_cut.c who is suspended, stopped, moved or made narrower for it
 * suspend.c  jobs that stand still in place meanwhile
 * waits.c    jobs that wait for cheaper or greener hours within their deadline
 *
 * A site without any of it has no struct site_power and costs nothing. */
#pragma once

#include "grid/event.h"
#include "sched/forecast.h"
#include "sched/shape.h"
#include "sched/shift.h"

#define POWER_KEEP_MS (400LL * 24 * 3600 * 1000) /* of slots, facts and forecasts together */
#define POWER_NAME_SITES 16u                     /* places looked at for one job */

struct grid;
struct job;
struct terms;

enum power_metric { POWER_MONEY, POWER_CARBON, POWER_METRICS };

struct power_ahead { /* a forecast and what it says, worked out when asked for */
    struct forecast *forecast;
    bool has_observed;
    int64_t observed_slot;
    uint32_t count; /* 0 = not worked out, or nothing is known */
    bool is_filled;
    double *mean, *sd;
};

/* Of a job that waits for power, cheaper or at all, or has been stopped for it. */
struct job_wait {
    int64_t until_ms;   /* held for a better hour, asked again then; running: likewise. 0 = not */
    int64_t saved_ms;   /* of its work is in a checkpoint: of attempts that were stopped for this */
    int64_t stopped_ms; /* when a cut stopped it last */
    uint32_t cut_site;  /* index + 1 of the site whose cut it waits out, held; 0 = none */
    uint32_t cuts_count;
    uint64_t units; /* of work, in grid.waiting_units while it is held, */
    uint64_t width; /* and in waiting_width */
    /* suspend.c: asked for, and done as its site says; 0 = not. */
    int64_t suspended_ms, frozen_ms;
    int64_t lasts_ms;                  /* so much later its attempt is bound to end since then */
    int64_t stood_ms, stood_before_ms; /* suspended in all: the newest attempt, those before */
};

struct site_power {
    bool has_series;
    struct tariff facts, given; /* of one slot length */
    struct tariff_row constant; /* TARIFF_UNKNOWN: as the site itself tells */
    struct power_ahead ahead[POWER_METRICS];
    int64_t shed_mw, shed_until_ms; /* a cut: what jobs may draw, until; 0 = none */
    int64_t cap_mw;                 /* by the tariff, as of the last tick; -1 = none */
    int64_t draw_mw;                /* of all that is held: derived */
};

/* --- tariffs.c ---------------------------------------------------------------------------- */
int tariffs_check(const struct grid *grid, const struct event_site_tariff *tariff, struct err *err);
void tariffs_apply(struct grid *grid, const struct event_site_tariff *tariff);
struct site_power *power_of(const struct grid *grid, uint32_t site); /* NULL = nothing special */
struct site_power *power_make(struct grid *grid, uint32_t site);
void power_free(struct grid *grid);
int tariffs_init_series(struct site_power *power, int64_t slot_ms, struct err *err);
int tariffs_init_forecast(struct site_power *power, enum power_metric metric);
/* What is known of the time up to now goes into the forecasts. */
void tariffs_observe(struct grid *grid);
/* Energy drawn evenly over [from_ms, to_ms): its price in 1/1,000,000 and its ug of CO2. False:
 * the site's own constants say it. */
bool tariffs_cost(const struct grid *grid, uint32_t site, int64_t from_ms, int64_t to_ms,
                  int64_t energy_mj, int64_t *price_out, int64_t *carbon_out);
/* As of now, for the order of places. */
void tariffs_set_rates(struct grid *grid, uint32_t site);
int64_t tariffs_next_ms(const struct grid *grid, uint32_t site); /* when they may change */
/* The cost of a kWh by the objective, slot by slot from now to `until_ms` or as far as is known.
 * The arrays have room for SHIFT_SLOTS_MAX. False: nothing changes there over time. */
bool tariffs_outlook(const struct grid *grid, uint32_t site, const struct objective *objective,
                     int64_t now_ms, int64_t until_ms, double *cost, double *sd,
                     struct shift_outlook *outlook_out);

/* --- power.c ------------------------------------------------------------------------------ */
int power_check_shed(const struct grid *grid, const struct event_site_shed *shed, struct err *err);
void power_apply_shed(struct grid *grid, const struct event_site_shed *shed);
void power_held(struct grid *grid, const struct grant *grant, int sign);
void power_set_idle(struct grid *grid, struct grant *grant, bool is_idle);
void power_recount(struct grid *grid, uint32_t site); /* its nodes, chips or cap have changed */
void power_tick(struct grid *grid);                   /* what time has brought */
int64_t power_limit_mw(const struct grid *grid, const struct site_power *power); /* -1 = none */
/* Is power all that keeps it from starting somewhere? */
bool power_holds(struct grid *grid, const struct job *job);
/* What it would draw there by what a start is weighed with, as wide as it is. */
int64_t power_job_mw(const struct grid *grid, const struct job *job, uint32_t site);
/* A cut has stopped it: it waits that out, held, unless there is room elsewhere. */
bool power_wait_out(struct grid *grid, struct job *job, uint32_t site);
void power_list(struct grid *grid, const struct job *job); /* it has a cut_site, or stands */
void power_resume(struct grid *grid);                      /* as a pass begins */
void power_restored(struct grid *grid, uint32_t site);     /* what is derived of it */
int power_check_draws(const struct grid *grid, struct err *err);
struct job_wait *job_wait_of(struct job *job); /* made when there is none */

/* --- power_cut.c -------------------------------------------------------------------------- */
#define POWER_CAP_WITHIN_MS (15 * 60 * 1000LL) /* a tariff's cap has been known for longer */
/* Have the site draw no more than its limit, soon and for so long: by what loses the least. `why`
 * is what the site must, in the line that owners of jobs read. */
void power_enforce(struct grid *grid, uint32_t site, int64_t within_ms, int64_t lasts_ms,
                   const char *why);

/* --- suspend.c ---------------------------------------------------------------------------- */
#define SUSPEND_MS_MAX (24 * 3600 * 1000LL)
bool suspend_holds(const struct job *job); /* it stands, or was told to */
/* For so long? */
bool suspend_is_possible(const struct grid *grid, const struct job *job, int64_t lasts_ms);
/* `fmt` is the one line that its owner reads. It must be possible. */
void suspend_ask(struct grid *grid, struct job *job, int64_t lasts_ms, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void suspend_resume(struct grid *grid, struct job *job);
void suspend_over(struct grid *grid, struct job *job); /* it is being stopped, or has ended */
void suspend_reported(struct grid *grid, const struct event *event);
void suspend_begin(struct job *job);                                      /* an attempt begins */
int64_t suspend_stood_ms(const struct grid *grid, const struct job *job); /* in all attempts */
int64_t suspend_next_ms(const struct grid *grid); /* when suspend_tick has something to do */
void suspend_tick(struct grid *grid);
int suspend_check(const struct grid *grid, const struct job *job, struct err *err);

/* --- power_snapshot.c --------------------------------------------------------------------- */
struct cursor;
void power_put(const struct grid *grid, struct buf *out);
/* Of a snapshot of that version. -EBADMSG. The fleet is there, with grants. */
int power_take(struct grid *grid, uint32_t version, struct cursor *in);
struct reader;
void power_take_wait(struct reader *reader, struct job *job);

/* --- power_say.c -------------------------------------------------------------------------- */
struct why;
struct plan_candidate;
/* False: power has nothing to do with it. */
bool power_why_held(struct grid *grid, const struct job *job, struct why *why);
bool power_why_queued(struct grid *grid, const struct job *job, struct why *why);
void power_plan(struct grid *grid, const struct terms *terms, struct shape *shape,
                struct plan_candidate *candidates, uint32_t count);

/* --- waits.c ------------------------------------------------------------------------------ */
struct wait_verdict {
    bool waits;
    uint32_t site;              /* where it is expected to run */
    int64_t until_ms;           /* waits: asked again then */
    int64_t start_ms;           /* waits: when it is expected to start */
    double cost_now, cost_then; /* a kWh, at once and as planned; in the outlook's unit */
    int64_t latest_ms;          /* it starts then in any case */
};
bool waits_may(const struct grid *grid, const struct terms *terms);
/* Should what has not started wait? `left_ms` of work. */
void waits_decide(struct grid *grid, const struct terms *terms, struct shape *shape,
                  int64_t left_ms, struct wait_verdict *verdict_out);
/* The same of one that is held, as it stands. */
void waits_weigh(struct grid *grid, const struct job *job, struct wait_verdict *verdict_out);
int64_t waits_left_ms(const struct grid *grid, const struct job *job);
/* Ready to be queued: it waits instead (held, with a timer). */
bool waits_hold(struct grid *grid, struct job *job);
void waits_leave(struct grid *grid, struct job *job);    /* held no longer, for whatever reason */
void waits_watch(struct grid *grid, struct job *job);    /* it was started: ask when a pause pays */
void waits_restored(struct grid *grid, struct job *job); /* its timers and sums */
int waits_check(const struct grid *grid, const struct job *job, uint64_t units[2],
                uint64_t width[2], struct err *err); /* an invariant; adds up what waits */
bool waits_is_held(const struct job *job);
bool waits_has_timer(const struct job *job, int64_t time_ms);
void waits_fire(struct grid *grid, struct job *job); /* its timer is due */
void waits_ask_again(struct grid *grid); /* all that are held for a better hour, at the next tick */
void waits_count(struct grid *grid, struct job *job); /* it is held, and its work waits */
/* It was stopped at `site`, by a cut or for a better hour. True: it is held, else to be queued. */
bool waits_stopped(struct grid *grid, struct job *job, bool by_cut, uint32_t site);
uint64_t waits_units(const struct grid *grid, const struct job *job);
