/* sim_load.h - random events: jobs of all kinds, quotas, cordons. Strings are static. */
#pragma once

#include "base/rng.h"
#include "grid/event.h"

/* `jobs_count` ids exist; `now_ms` is the time the event will carry. */
void sim_load_submit(struct event *event, struct rng *rng, uint64_t next_id, int64_t now_ms,
                     uint32_t serial);
void sim_load_tenant(struct event *event, struct rng *rng);
