/* shift.h - when, and at which site, a flexible job should run.
 *
 * Waiting is worth it when a cheaper (or greener) slot comes before the deadline. The caller turns
 * tariffs into one cost per slot (money, carbon, energy that is not green, or a weighted sum: see
 * shift_outlook_add) with a standard deviation where it is a forecast; cost may be below zero.
 *
 * Interruptible work runs now when fewer milliseconds before its deadline are expected to be
 * cheaper than the present than the work still needs. Asked again whenever the outlook changes
 * (each slot) this is the optimal plan when the outlook is sure, and the plan for what is expected
 * when it is not; how little a poor forecast says is the outlook's business (forecast.h draws it to
 * what history shows). Uninterrupted work starts now unless a later start is expected cheaper. A
 * deadline is never traded: when what is left to it is the work, the job runs. Time before the
 * deadline that the outlook does not reach counts as being like the time it shows.
 *
 * Pure, no memory of its own. Units: ms, W; cost in any unit per kWh. A decision costs one pass
 * over the slots to the deadline; a plan sorts them: at most SHIFT_SLOTS_MAX (six weeks of quarter
 * hours). Source: Wiesner et al., Let's Wait Awhile, Middleware 2021 (the scenarios and the sure
 * plan); the margins by own measurement, docs/quality/money.md. */
#pragma once

#include "sched/tariff.h"

#define SHIFT_SLOTS_MAX 4096u
#define SHIFT_SITES_MAX 256u

struct shift_params {
    double move_sigmas; /* a move's gain must exceed its cost by so many of its deviations */
    double move_share;  /* and by this share of what staying costs */
};
struct shift_params shift_params_default(void);

/* Cost per kWh of the slots from the one that holds the present, which is known: sd counts for the
 * later ones. Arrays are the caller's. */
struct shift_outlook {
    int64_t from_ms; /* start of slot 0 */
    int64_t slot_ms;
    uint32_t count; /* slots known of; past them nothing is */
    const double *cost;
    const double *sd; /* NULL: sure */
};

/* Cost of a slot at a site with green power of its own, where every slot is matched by itself:
 * the share (0 .. 1) of a job's watts that is expected not to be green when `load_watts` are
 * drawn already and the supply is `mean_watts`, give or take a deviation (normal; 0 = sure). */
double shift_unmatched_share(double mean_watts, double sd_watts, double load_watts,
                             double job_watts);

struct shift_job {
    int64_t work_ms;     /* still to be run, from a restart's loss to the last result; > 0 */
    int64_t deadline_ms; /* must have ended; before now + work_ms: it runs at once */
    int64_t nominal_ms;  /* when it would start if nobody shifted it; <= now for most */
    int64_t restart_ms;  /* lost by a pause: it must pay for that much more work */
    int64_t run_ms_min;  /* once started, not paused before it has run this long; 0 = any */
    int64_t ran_ms;      /* since its last start; counts when is_running */
    bool is_interruptible;
    bool is_running;
};

enum shift_reason {
    SHIFT_DEADLINE,   /* runs: no slack is left */
    SHIFT_CHEAP_NOW,  /* runs: not enough time is expected to be cheaper */
    SHIFT_NO_OUTLOOK, /* runs (once nominal): nothing is known of later slots */
    SHIFT_HELD,       /* runs: it was started and a pause now would not pay or is not allowed */
    SHIFT_CHEAPER,    /* waits: enough cheaper time is expected */
    SHIFT_NOT_YET     /* waits: before its nominal start, and that is no dearer */
};
const char *shift_reason_name(enum shift_reason reason); /* "deadline", "cheap_now", ... */

struct shift_verdict {
    bool is_run;
    enum shift_reason reason;
    int64_t until_ms; /* holds until then at least: ask again then, or when the outlook changes */
    double cost_now;  /* per kWh, of the present slot */
    double cost_at_once; /* mean per kWh if it runs through from now */
    int64_t cheaper_ms;  /* expected to be cheaper than now, counted until it was enough */
    int64_t slack_ms;    /* deadline - now - work */
};
/* Should the job run at `now_ms`? The outlook begins in the slot that holds now_ms. */
struct shift_verdict shift_decide(const struct shift_job *job, const struct shift_outlook *outlook,
                                  int64_t now_ms);

struct shift_plan {
    int64_t start_ms, end_ms; /* first and last moment it is expected to run */
    double cost;              /* mean per kWh expected over the work */
    double cost_at_once;      /* the same if it ran through from now (or its nominal start) */
    double sd;                /* of the cost, the slots' errors taken as one (the cautious case) */
    uint32_t pieces_count;    /* runs it is cut into */
};
/* The cheapest plan the outlook shows, as if it were sure. `runs_ms_out` (may be NULL) gets for
 * each slot of the outlook the ms planned in it. -EINVAL: an outlook of no or too many slots,
 * work that is not positive; -ENOSPC: it does not fit before the deadline or the outlook's end. */
int shift_plan(const struct shift_job *job, const struct shift_outlook *outlook, int64_t now_ms,
               struct shift_plan *plan_out, int64_t *runs_ms_out, struct err *err);

struct shift_site {
    struct shift_outlook outlook;
    double move_cost;   /* in the outlook's unit, for the whole job; 0 at home */
    int64_t move_ms;    /* before it may start there */
    double rate;        /* work done per ms against home, > 0 */
    double power_watts; /* drawn while it runs there */
};
struct shift_choice {
    uint32_t site;    /* where; the home when none pays */
    double cost;      /* expected there, move included */
    double cost_home; /* expected at home */
    double sd;        /* of the difference */
    struct shift_plan plan;
};
/* Where a job not yet started should go, `home` being where its data is: the site of least expected
 * cost, moved to only when what it saves exceeds the margin of `params`. Ties stay, then by
 * index. -EINVAL: no site; -ENOSPC: it fits nowhere before the deadline. */
int shift_choose_site(const struct shift_params *params, const struct shift_job *job,
                      const struct shift_site *sites, uint32_t sites_count, uint32_t home,
                      int64_t now_ms, struct shift_choice *choice_out, struct err *err);
