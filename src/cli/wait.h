/* wait.h - wait until a job, or all of an array, has ended. */
#pragma once

#include "cli/remote.h"

struct wait_config {
    struct remote *remote;
    const char *id;
    const char *name;    /* shown before the bar; NULL = the id */
    int64_t timeout_ms;  /* 0 = none */
    bool progress;       /* show a bar for an array */
    bool stops_with_job; /* Ctrl-C twice cancels */
    const char *again;   /* how to come back; NULL = nothing is said */
};
/* `job_out`: the job or array as it ended (a new reference). -ETIMEDOUT; -EINTR: left by a signal.
 */
int wait_job(const struct wait_config *config, json_t **job_out, struct err *err);
/* Exit status of an ended job or array: an array's is that of the first element that failed. */
int wait_exit_status(struct remote *remote, const json_t *job);
