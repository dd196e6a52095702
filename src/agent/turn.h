/* turn.h - whose turn it is where a link carries one thing after another: at a site that is heard
 * now and then, what would be lost by waiting goes first.
 *
 * Results before all else, then checkpoints, then what is to start; within these by class, then
 * deadline, then age. An order's class and deadline are remembered while its attempt is held. */
#pragma once

#include "agent/attempt.h"
#include "model/request.h"

enum turn_kind {               /* the first goes first */
                 TURN_OUTPUTS, /* of what has ended */
                 TURN_LAST_CHECKPOINT,
                 TURN_CHECKPOINT, /* of what runs */
                 TURN_STAGING,
                 TURN_PRESTAGE
};
struct turn {
    enum turn_kind kind;
    uint32_t job_class;  /* enum job_class: the higher goes first */
    int64_t deadline_ms; /* the sooner goes first; 0 = none: after those that have one */
    int64_t since_ms;    /* the older goes first */
};
/* Below 0: `a` goes before `b`; 0: whoever came first. */
int turn_compare(const struct turn *a, const struct turn *b);

/* What orders said, by attempt. */
struct turns;
struct turns *turns_create(void); /* NULL: no memory */
void turns_destroy(struct turns *turns);
/* `spec_json` has the class. Best effort: what is not noted is of class normal, without deadline.
 */
void turns_note(struct turns *turns, struct attempt_key key, const char *spec_json,
                int64_t deadline_ms);
struct turn turns_find(const struct turns *turns, struct attempt_key key, enum turn_kind kind,
                       int64_t since_ms);
void turns_forget(struct turns *turns, struct attempt_key key);
