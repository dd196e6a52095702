/* prestage.h - the newest checkpoint of a job with an `rto` goes to the site where it would most
 * likely go on, before that is needed. Best effort: nothing of it is journaled. */
#pragma once

#include "controller/context.h"

/* Its checkpoint `manifest` is in the network's store. */
void prestage_offer(struct controller *controller, uint64_t job_id, const char *manifest);
