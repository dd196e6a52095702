/* follow.h - follow one job: its output as it comes, until it has ended.
 *
 * An event loop of its own; stdout goes to stdout, stderr to stderr, unchanged (it is the job's
 * output, as if the job ran here). A network that goes away and comes back is waited for. */
#pragma once

#include "cli/remote.h"

struct follow_config {
    const struct remote *remote;
    const char *id;    /* a single job, or an element */
    const char *again; /* what to call to come back: "mains logs -f 12" */
    bool no_stdout, no_stderr;
    bool seams;          /* a line in stdout says where another attempt begins */
    bool stops_with_job; /* `run`: Ctrl-C twice cancels. Else Ctrl-C just leaves. */
    int64_t attempt;     /* only this one; 0 = each in turn */
};
/* `job_out` is the job as it ended (a new reference), or NULL when it was left before. 0; -EINTR:
 * left by a signal, its number in `signal_out`; other errors as of remote.h. */
int follow_job(const struct follow_config *config, json_t **job_out, int *signal_out,
               struct err *err);
