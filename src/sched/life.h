/* life.h - what a job needs yet that has run so long: learned from how long all of its width ran.
 *
 * Per width (the power of two of its devices) and per span of running time (four to a doubling) it
 * counts who came so far, who ended there and how long they were there. Who still runs or waits
 * counts with what it ran, so the long ones that have not ended yet are not forgotten (the
 * product-limit estimate: Kaplan, Meier 1958). From these: the least time, over all horizons, that
 * must be spent on such a job for each that ends, the inverse of Gittins' index (Gittins 1979;
 * Aalto, Ayesta, Righter 2009). To serve the least of it first makes the mean time to completion
 * least where nothing is known of a job but how long it ran.
 *
 * Until much is known, an assumed few lives speak, of which at each moment one in `t` ends a second
 * (heavy tails: what ran long runs long yet): then who has had least goes first.
 *
 * A pure function of the counts: doubles, + - * / only, so the same on every machine. A call costs
 * O(LIFE_SPANS) after something was learned of the width, else O(1). Zeroed is empty. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LIFE_WIDTHS 16u
#define LIFE_SPANS 96u /* to 2^24 s; what is longer counts as in the last */

struct life_span {
    uint32_t reached, ended; /* jobs; both stop at UINT32_MAX */
    int64_t ms;              /* that they were in it */
};
struct life_width {
    struct life_span spans[LIFE_SPANS];
    double need_ms[LIFE_SPANS]; /* derived */
    bool is_derived;
};
struct life {
    struct life_width widths[LIFE_WIDTHS];
};

/* A job of so many devices ran on, from `from_ms` of running in all to `to_ms`, and ended of itself
 * or did not. */
void life_learn(struct life *life, uint32_t devices, int64_t from_ms, int64_t to_ms, bool is_ended);
/* What must be spent, running, for each end among those that ran `ran_ms` already; 1 at least. */
int64_t life_need_ms(struct life *life, uint32_t devices, int64_t ran_ms);
