/* rhythm.h - when may what somebody writes again and again be taken as whole? Pure.
 *
 * As a rule when it has not changed for RHYTHM_QUIET_MS. Of one that is written more often that
 * would be never: after RHYTHM_PATIENCE_MS of waiting in vain half of the longest rest that it was
 * met in is enough, as that was between two savings, not within one; never less than
 * RHYTHM_QUIET_MS_MIN. What has no such rests needs a marker. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RHYTHM_QUIET_MS 500
#define RHYTHM_QUIET_MS_MIN 50
#define RHYTHM_PATIENCE_MS 4000
#define RHYTHM_LOOKS 16 /* the last so many count */

struct rhythm {
    int64_t waiting_ms;             /* since when it is waited for; 0 = it is not */
    int64_t rests_ms[RHYTHM_LOOKS]; /* how long it had not changed, at each look */
    uint32_t looks_count;           /* so far; the ring is filled round and round */
};

/* It was looked at: `newest_ms` (Unix, as `now_ms`) is when it changed last. */
void rhythm_look(struct rhythm *rhythm, int64_t newest_ms, int64_t now_ms);
/* How long it must not have changed to be whole. */
int64_t rhythm_quiet_ms(const struct rhythm *rhythm, int64_t now_ms);
/* It was taken, or is not waited for any more. */
void rhythm_rest(struct rhythm *rhythm);
/* When to look again: often at first, more seldom the longer it is waited for; uneven, so that two
 * rhythms do not miss each other for ever. */
int64_t rhythm_again_ms(const struct rhythm *rhythm, int64_t now_ms);
