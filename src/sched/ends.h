/* ends.h - a site's grants by when they are bound to end: soonest first, of equal ones the one
 * that has run longest, then by job.
 *
 * A heap that is kept along; a walk goes over it in order without taking it apart, so that
 * looking at the next few ends costs the few. What is past its bound and not yet reported may end
 * at any time: it stands with those without a bound, behind all others. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct grant;

struct ends {
    struct grant **heap;
    uint32_t count, cap;
};
void ends_fini(struct ends *ends);
void ends_add(struct ends *ends, struct grant *grant);
void ends_remove(struct ends *ends, struct grant *grant);
/* The first end after now_ms; INT64_MAX = none is known. */
int64_t ends_next_ms(const struct ends *ends, int64_t now_ms);

struct ends_walk { /* scratch; reuse it */
    const struct ends *ends;
    int64_t now_ms;
    uint32_t *next; /* a heap of places whose parents have been walked over */
    uint32_t next_count, next_cap;
    struct grant **late;
    uint32_t late_count, late_cap, late_first;
    bool is_late_sorted;
};
void ends_walk_fini(struct ends_walk *walk);
void ends_walk_begin(struct ends_walk *walk, const struct ends *ends, int64_t now_ms);
/* NULL at the end. *end_ms_out: INT64_MAX = not known. */
struct grant *ends_walk_next(struct ends_walk *walk, int64_t *end_ms_out);
