/* sim_load.h - random events: jobs of all kinds, quotas, cordons. Strings are static. */
#pragma once

#include "base/rng.h"
#include "grid/event.h"

/* `jobs_count` ids exist; `now_ms` is the time the event will carry. */
void sim_load_submit(struct event *event, struct rng *rng, uint64_t next_id, int64_t now_ms,
                     uint32_t serial);
void sim_load_tenant(struct event *event, struct rng *rng);
#define SIM_TARIFF_ROWS 40u
void sim_load_tariff(struct event *event, struct rng *rng, const char *site, int64_t now_ms,
                     struct tariff_row rows[SIM_TARIFF_ROWS]);
void sim_load_shed(struct event *event, struct rng *rng, const char *site);
void sim_load_owner(struct event *event, struct rng *rng, uint32_t index); /* 0 .. 2 */
void sim_load_policy(struct event *event, struct rng *rng);
/* Whole nodes of a site that a tenant is guaranteed, or none any more; often refused. */
void sim_load_cells(struct event *event, struct rng *rng, const char *site);
/* How long work waits in the site's own queue (`waits` is what the event points to), or how fast
 * its link is. */
void sim_load_freight(struct event *event, struct rng *rng, const char *site,
                      struct freight_wait waits[2]);
/* What the owner of the site lets in from now on, or an operator limits it to; `policy` is pointed
 * to. */
void sim_load_site_policy(struct event *event, struct rng *rng, const char *site, int64_t now_ms,
                          struct site_policy *policy);
