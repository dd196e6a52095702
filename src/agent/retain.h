/* retain.h - old attempts' folders (logs, outputs, records) go when they are too old or too many.
 */
#pragma once

#include <stdint.h>

#define RETAIN_ATTEMPTS_MAX 20000u
#define RETAIN_AGE_MS (7 * 24 * 3600 * 1000LL)
#define RETAIN_BYTES_MAX (20LL << 30) /* logs and outputs of ended attempts together */
#define RETAIN_EVERY_MS 60000
#define RETAIN_BATCH_MAX 2000u /* removed at one go, so that the thread does not run for ever */

struct retain_limits {
    uint32_t attempts_max;
    int64_t age_ms_max, bytes_max;
};

/* Remove what is over the limits, oldest first. Only attempts whose record the controller has
 * (ended in their folder) count and go. Blocks: call it from a worker thread. How many went.
 */
uint32_t retain_run(const char *agent_dir, int64_t now_ms, const struct retain_limits *limits);
