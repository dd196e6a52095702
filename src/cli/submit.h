/* submit.h - what `run` and `submit` have in common. */
#pragma once

#include "cli/job_file.h"

/* POST the job. `answer_out`: {"id","jobs",...}, a new reference. Asked again by itself when no
 * answer came: the idempotency key makes that safe. */
int submit_job(struct remote *remote, const struct job_text *text, const char *key, bool dry_run,
               json_t **answer_out, struct err *err);
/* The current folder of a command that runs on a network of this machine is where it works. */
bool submit_is_here(const struct remote *remote);
