/* promise.h - starts that are promised to jobs that wait: what of which node, from when to when.
 *
 * Each node knows what is over when each promise on it begins (struct fleet_limit): what it has,
 * less what then still runs by its bound, less the promises that are under way by then. Between
 * those moments there is only more, so work that holds something from now until E is beside all
 * promises when it fits what is free now and what is over at each promise that begins before E.
 * The limits are kept along as grants come and go (fleet_hold, fleet_release): a change costs the
 * promises on its nodes. Derived; made anew from grants and promises by promise_set. */
#pragma once

#include "sched/fleet.h"

enum promise_break { /* numbers are for ever: they are in snapshots */
                     PROMISE_KEPT = 0,
                     PROMISE_PLACE_LOST =
                         1,              /* its nodes or their site are gone, closed or smaller */
                     PROMISE_OVERDUE = 2 /* what ran there outlived the end it was bound to */
};

struct promise_look { /* nothing before then was found at a kind */
    uint64_t limit_version;
    int64_t before_ms; /* 0 = it was not looked for */
};
/* Where one who is promised a start was looked for a sooner one in vain: so it stands while no more
 * may fit there. Derived, never stored. */
struct promise_looks {
    struct promise_look *list; /* by kind (kinds.h); owned */
    uint32_t shape;
    uint64_t shape_version;
    int64_t span_ms;
};

struct promise {
    uint64_t job_id;
    uint32_t job_class;
    uint16_t chip;
    int64_t start_ms;           /* INT64_MAX = not known: there is no place */
    int64_t end_ms;             /* INT64_MAX = it may hold for ever */
    struct grant *plan;         /* owned; its place; NULL = none */
    int64_t broken_ms;          /* the earliest start that could not be kept, 0 = none; and why */
    uint32_t broken_by;         /* enum promise_break */
    struct fleet_limit *limits; /* one per part; on the nodes' lists while is_set */
    uint64_t no_fit_version;    /* fleet.limit_version at which it did not fit in place of itself */
    int64_t no_fit_until_ms;    /* beside others that begin before this */
    struct promise_looks looks;
    bool is_set, is_hold;
    bool is_own;   /* made for whose cells it is in: grid/reclaim.c */
    bool is_claim; /* what is lent there has been told to leave */
};

/* Promise the place: others are beside it from now on. A hold (is_hold) binds all that comes,
 * however short, and makes no other promise's limits smaller. */
void promise_set(struct promise *promise, struct fleet *fleet);
void promise_unset(struct promise *promise, struct fleet *fleet); /* may be set again */
/* The same for a while in which nobody but reserve_find looks: what was found beside it stands,
 * unless promise_touch tells that it is not set again as it was. */
void promise_lift(struct promise *promise, struct fleet *fleet);
void promise_touch(const struct promise *promise, struct fleet *fleet);
/* No place any more; unset first if need be. */
void promise_clear(struct promise *promise, struct fleet *fleet);
/* Can it still be kept, as far as that is known: its nodes and devices are there and open, and no
 * more is promised than there will be? */
bool promise_is_sound(const struct promise *promise, const struct fleet *fleet);
/* Are its limits what making them anew would give? For checks. */
bool promise_limits_are_sound(const struct promise *promise, const struct fleet *fleet);
/* The least moment before which the same promises begin as before `until_ms`. */
int64_t promise_horizon(const struct fleet *fleet, int64_t until_ms);
