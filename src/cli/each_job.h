/* each_job.h - one call of the network for each job that a command names. */
#pragma once

#include "cli/commands.h"
#include "cli/remote.h"

struct each_job {
    const char *method;
    const char *rest; /* of the path, behind the job's */
    json_t *body;     /* NULL = none */
    /* What a person reads of an answer; NULL = nothing. With --json the answers are shown as one
     * array in its stead. */
    const char *(*say)(const json_t *answer);
};

/* CLI_OK, or the code of the last call that went wrong; the others are made all the same. The body
 * is lent. */
int each_job(const struct cli_args *args, struct remote *remote, const struct each_job *what);
/* The same for a command that does no more than that: its network is opened, and the body taken,
 * which is of the options (NULL: they are no UTF-8 text, and nothing is asked). */
int each_job_asked(const struct cli_args *args, const struct each_job *what);
