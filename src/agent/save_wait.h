/* save_wait.h - a checkpoint that was asked for, and what is stopped when it is complete.
 *
 * Nobody says when it is: it is there when what is saved is newer than it was, and has not changed
 * for one look more. Times are monotonic ms; `newest_ms` is when the newest of its files was
 * written, on whatever clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct save_wait {
    int64_t until_ms;  /* no longer than that; 0 = nothing is waited for */
    int64_t newest_ms; /* as last seen */
    bool came;
};

static inline void save_wait_begin(struct save_wait *wait, int64_t newest_ms, int64_t until_ms)
{
    *wait = (struct save_wait){ until_ms, newest_ms, false };
}

/* A look. True: it is there, or its time is over; nothing is waited for any more. */
static inline bool save_wait_look(struct save_wait *wait, int64_t newest_ms, int64_t now_ms)
{
    bool is_new = newest_ms != wait->newest_ms;

    if ((wait->came && !is_new) || now_ms >= wait->until_ms) {
        wait->until_ms = 0;
        return true;
    }
    wait->came = wait->came || is_new;
    wait->newest_ms = newest_ms;
    return false;
}
