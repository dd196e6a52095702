/* receipts.h - what sites sign of ended attempts (model/receipt.h): looked at when it comes, put
 * into the journal before the end itself, and answered with what the network booked and signs.
 *
 * Only a site that joined with a key of its own signs; of others, and of agents that do not sign
 * yet, attempts are `unsigned` and all goes as it always did. */
#pragma once

#include "controller/context.h"
#include "wire/wire.h"

/* A REPORT_ENDED that is news, before it becomes an event: what the site signed is judged and
 * kept; one that does not hold is logged. Nothing where nothing came that could be looked at. */
void receipts_note(struct controller *controller, const char *site,
                   const struct wire_report *report);
/* Once all up to `seq` is durable: RECEIPT with what was booked, if the site signed, then FORGET.
 * What the site does not get is sent again when it says ENDED again. */
void receipts_forget(struct controller *controller, const char *site, uint64_t seq,
                     const struct wire_report *report);
