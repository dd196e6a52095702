/* sim_lease.h - a site's lease, as both of its ends count it (docs/leases.md), in one true time. */
#pragma once

#include "sim_site.h"

#define SIM_LEASE_MS 90000
#define SIM_LEASE_SURELY_MS 90500 /* the controller counts longer */

/* Must a job that asks so be gone when its site's lease ends? */
bool sim_lease_binds(const struct job_request *request);
/* The controller heard something of the site, or has to assume that it did. */
void sim_lease_heard(struct sim_lease *lease, int64_t now_ms);
/* What the site sent then was answered. What ran under a lease that has ended is gone by now. */
void sim_lease_renew(struct sim_lease *lease, int64_t sent_ms, int64_t now_ms);
/* One step of a sign of life: it is sent, comes, or is answered. The session is open. */
void sim_lease_beat(struct sim_lease *lease, struct rng *rng, int64_t now_ms);
