/* relay.h - GET /jobs/{id}/logs: bytes of a job's log, asked from its site and passed on.
 *
 * The attempts of a job follow each other without a mark. A follower stays until the job has ended
 * and its last byte is out; a site that goes away and comes back is asked again from the next byte.
 * A reader that is slow makes the site wait: nothing is dropped. */
#pragma once

#include "controller/changes.h"
#include "wire/wire.h"

struct relays;
struct relays *relays_create(struct controller *controller);
void relays_destroy(struct relays *relays);
void relays_handle(struct api_call *call);
/* REPORT_LOG of a site; what it was not asked for is dropped. */
void relays_take(struct relays *relays, const char *site, const struct wire_report *report);
void relays_tell(struct relays *relays, const struct change *change);
void relays_site_open(struct relays *relays, const char *site); /* its stream is open again */
