/* submit.h - what `run` and `submit` have in common. */
#pragma once

#include "cli/job_file.h"

/* A job on its way: where to, what, and what was answered. */
struct submission {
    struct remote remote;
    struct job_text text;
    json_t *answer; /* {"id","jobs",...} */
};

/* Read the job that `args` name and POST it. Asked again by itself when no answer came: the
 * idempotency key (NULL = one of its own) makes that safe. Fini after success only. */
int submission_send(const struct cli_args *args, const char *key, bool dry_run,
                    struct submission *submission_out, struct err *err);
void submission_fini(struct submission *submission);
/* Wait until all of it has ended, with a bar unless --quiet. Gives the exit status, as it ended. */
int submission_wait(const struct cli_args *args, struct submission *submission, bool show_json);
