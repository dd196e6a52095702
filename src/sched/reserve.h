/* reserve.h - when and where a job that does not fit now could start, beside what is promised.
 *
 * Ends that running work is bound to and the ends of promises are walked over in order until the
 * gang fits for as long as it may run: beside what runs then, and beside each promise that begins
 * while it would run. With ends that nobody knows in between, the start is not known
 * (INT64_MAX). */
#pragma once

#include "sched/fit.h"
#include "sched/promise.h"

struct reserve_part { /* what was given back, or taken, while looking ahead */
    const struct grant_part *part;
    bool is_taken;
};
struct reserve_mark { /* a promise at the site begins or ends */
    int64_t time_ms;
    const struct promise *promise;
    bool is_end;
};
struct reserve {
    struct promise hold;   /* of the head of the line whose start is not known, within a pass */
    struct ends_walk walk; /* scratch */
    struct reserve_part *parts;
    uint32_t parts_count, parts_cap;
    struct reserve_mark *marks;
    uint32_t marks_count, marks_cap, marks_next;
};
void reserve_fini(struct reserve *reserve);

struct reserve_ask {
    int64_t now_ms;
    int64_t span_ms;             /* it holds no longer than this; INT64_MAX = not known */
    int64_t before_ms;           /* only a start before this is of use; -1 = any */
    struct promise_looks *looks; /* of who asks, its place lifted; NULL = it is not kept */
};
/* The first start there is at any of the shape's candidates, and where: into `promise` (no place
 * in it yet; set by the caller). INT64_MAX = not known; -1: none before `before_ms`, or none at
 * all. What was found at a candidate is kept with it and looked at anew only when a change there
 * may matter; the answer is the same. `fit` is scratch. */
int64_t reserve_find(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                     const struct objective *objective, const struct reserve_ask *ask,
                     struct fit *fit, struct promise *promise);
/* The same at one candidate, without a place; the nodes are in `fit`. For `plan` and `why`. */
int64_t reserve_estimate(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, const struct reserve_ask *ask,
                         struct fit *fit);
/* Hold the place at which the shape fits once the longest-running have ended: others only take
 * what is then over. False: none beside the promises. */
bool reserve_hold(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                  const struct objective *objective, struct fit *fit, int64_t now_ms);
void reserve_release_hold(struct reserve *reserve, struct fleet *fleet);
