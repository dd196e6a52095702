/* session_guard.h - how much of one site's talk the controller writes down: a site that lies, or
 * has gone mad, fills neither the log nor the journal. Pure but for the time, which is given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_LINES 10u                   /* log lines about refused reports ... */
#define GUARD_LINES_MS 60000              /* ... in so long */
#define GUARD_BYTES ((int64_t)16 << 20)   /* of what may be said again and again, at once ... */
#define GUARD_BYTES_PER_MS ((int64_t)256) /* ... and from then on */

struct session_guard { /* zeroes: as new */
    int64_t lines_since_ms, bytes_at_ms;
    uint32_t lines, unsaid;
    int64_t bytes_spent;
};

/* May a refused report be logged? `unsaid_out`: how many were not, since the last that was. */
bool session_guard_says(struct session_guard *guard, int64_t mono_ms, uint32_t *unsaid_out);
/* May a report of so many bytes, of a kind that has no natural end (inventories, progress, nodes),
 * be journaled? false: it must come again, later. */
bool session_guard_takes(struct session_guard *guard, int64_t mono_ms, size_t bytes);
