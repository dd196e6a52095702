/* artifacts.h - what `artifacts` and `rerun` have in common: two lists of artifacts, compared. */
#pragma once

#include "cli/remote.h"

/* GET /jobs/JOB/artifacts; a new reference. */
int artifacts_read(struct remote *remote, const char *job, json_t **answer_out, struct err *err);
/* Print what differs between two lists of {path, digest}, a line each; how many lines. `before` and
 * `after` are what to call them. */
size_t artifacts_compare(const json_t *left, const json_t *right, const char *before,
                         const char *after);
