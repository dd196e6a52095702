/* reserve.h - what is promised to the job at the head of the line that does not fit now (EASY).
 *
 * From the ends that running work is bound to, the first moment at which the head fits and where.
 * Backfill may then take whatever is over at that moment (FIT_LIMITED), or anything at all if it
 * is gone by then. With ends that nobody knows, start_ms is INT64_MAX and the place is where it
 * fits once the longest-running have ended. */
#pragma once

#include "sched/fit.h"

struct reserve_part { /* what was given back while looking ahead */
    const struct grant_part *part;
};
struct reserve {
    bool is_planned;
    int64_t start_ms; /* INT64_MAX = not known */
    uint32_t site, candidate; /* where; the latter an index into the shape's candidates */
    struct fleet_limit *limits; /* one per node that is promised; nodes point here */
    uint32_t limits_count, limits_cap;
    struct fleet_limit *kept; /* the newest plan's limits as they were: see candidate_ahead.plan */
    uint32_t kept_count, kept_cap;
    uint64_t plan;
    struct ends_walk walk; /* scratch */
    struct reserve_part *parts;
    uint32_t parts_count, parts_cap;
};

void reserve_fini(struct reserve *reserve);
/* Plan for `shape`, which does not fit now but has candidates. What was found at a
 * candidate is kept with it and looked at anew only when a change there may matter; the answer is
 * the same. `fit` is scratch. */
void reserve_plan(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                  const struct objective *objective, struct fit *fit, int64_t now_ms);
/* A grant found with FIT_LIMITED is about to be held: it uses up what was over. */
void reserve_took(struct reserve *reserve, struct fleet *fleet, const struct grant *grant);
/* Nothing is promised; nodes point nowhere. */
void reserve_clear(struct reserve *reserve, struct fleet *fleet);
/* When the shape could start, by the bounds of what runs: now, later, INT64_MAX = not known. For
 * `plan` and `why`; -1: never. */
int64_t reserve_estimate(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, struct fit *fit, int64_t now_ms);
