/* cancel_many.h - cancel all live jobs that a filter names, in as many requests as it takes. */
#pragma once

#include "cli/remote.h"

struct cancel_counts {
    uint64_t cancelled, stopping; /* ended; run still, and were told to stop */
};

/* `query` is of DELETE /jobs, without its first '?': "state=live&user=ann". How far it is goes to
 * stderr where that is a terminal, unless `quiet`. On an error `counts_out` tells what was done. */
int cancel_many(struct remote *remote, const char *query, const char *reason, bool quiet,
                struct cancel_counts *counts_out, struct err *err);
