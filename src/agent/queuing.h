/* queuing.h - how long work waits in the queue of the engine that a site stands before (Slurm,
 * Kubernetes), from attempts of ours: those that have begun there lately, and those that wait now.
 *
 * By width, in steps of nodes, and apart for work with devices. Of each step the greater of two
 * medians: of the waits of the last hour (16 at most), and of what those that wait now have waited,
 * or have to wait yet as the engine itself expects. Work that is wider waits no less. Less than
 * QUEUING_LEAST_MS is nothing. Pure; one thread. */
#pragma once

#include "wire/wire.h"

#define QUEUING_STEPS 4u
#define QUEUING_KEPT 16u
#define QUEUING_LEAST_MS 5000
#define QUEUING_RECENT_MS (3600 * INT64_C(1000))
#define QUEUING_EVERY_MS 10000 /* a change is told no sooner after the last */

struct queuing_step {
    struct {
        int64_t at_ms, wait_ms;
    } begun[QUEUING_KEPT];
    uint32_t begun_count; /* ever */
    uint32_t pending;
    int64_t waits_ms[QUEUING_KEPT]; /* of those that wait now; the first of them */
};
struct queuing {
    struct queuing_step steps[2][QUEUING_STEPS]; /* without devices, with */
};

/* One has begun after so long, or was taken back and had waited for so long. */
void queuing_begun(struct queuing *queuing, bool has_devices, uint32_t nodes, int64_t wait_ms,
                   int64_t now_ms);
/* Those that wait are told anew, one by one. */
void queuing_clear(struct queuing *queuing);
/* `left_ms`: until it begins, as the engine expects; 0 = it does not say. */
void queuing_waits(struct queuing *queuing, bool has_devices, uint32_t nodes, int64_t age_ms,
                   int64_t left_ms);
/* What is to be told: 0 = nothing waits, and nothing had to. */
uint32_t queuing_rows(const struct queuing *queuing, int64_t now_ms,
                      struct wire_wait rows_out[WIRE_WAITS_MAX]);
/* Is it worth telling, after that? By a quarter, and ten seconds. */
bool queuing_is_news(const struct wire_wait *told, uint32_t told_count,
                     const struct wire_wait *rows, uint32_t count);
