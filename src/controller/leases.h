/* leases.h - until when sites may go on unheard, by this side's clock (docs/leases.md).
 *
 * A site's agent holds a lease from when it sent what was answered. Here it counts from when that
 * came, on CLOCK_BOOTTIME, for somewhat longer: by the most that the two clocks may drift apart,
 * and a margin for the last process to die. Then the lease is surely over, the site's session is
 * fenced and LEASE_ENDED goes into the journal. Loop thread only. */
#pragma once

#include "wire/wire.h"

struct controller;
struct leases;

#define LEASE_MS_DEFAULT 60000
#define LEASE_MS_MIN 2000
#define LEASE_MS_MAX (30 * 24 * 3600 * 1000LL)
#define LEASE_DRIFT_PPM 500

/* "60s", as an operator writes it: LEASE_MS_MIN .. LEASE_MS_MAX. -EINVAL, -ERANGE. */
int leases_parse(const char *text, int64_t *lease_ms_out, struct err *err);
struct leases *leases_create(struct controller *controller);
/* Nobody knows when the process before this one last answered a site: what the journal says of
 * leases counts in full from now. */
void leases_begin(struct leases *leases);
void leases_destroy(struct leases *leases); /* its timer is freed with the loop's walk */

/* A HELLO of the site has come. `boot_ms`: its agent's clock; 0 = it keeps no lease. */
void leases_hello(struct leases *leases, const char *site, int64_t boot_ms);
/* Something of its current session has come. `boot_ms` 0 = it did not say. */
void leases_heard(struct leases *leases, const char *site, int64_t boot_ms);
/* What its session is given: lease_ms, stop_ms and every_ms of a RECONCILE, 0 where it keeps none.
 */
void leases_fill(const struct leases *leases, const char *site, struct wire_command *reconcile);
/* How long until it is surely over, if nothing more is heard; -1 = it is, or there is none. */
int64_t leases_left_ms(const struct leases *leases, const char *site);
/* It should have said something by now: its stream may stand open all the same. */
bool leases_is_silent(const struct leases *leases, const char *site);
/* Its agent's clock goes too slowly beside ours: its leases cannot be counted, and never end. */
bool leases_drifts(const struct leases *leases, const char *site);
