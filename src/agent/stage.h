/* stage.h - files into the work folder before a job, and out of it after.
 *
 * A job may put anything into its work folder, links that point elsewhere included: nothing here
 * follows a link or leaves the folder. What is read or written in the host's folders is opened as
 * the job's user, so that nobody gets what he could not read or write himself. */
#pragma once

#include "base/err.h"

#include <stdint.h>

#define STAGE_FILES_MAX 100000u /* per attempt, each way */

struct supervisor;

/* The job's inputs, in order. -EACCES, -ENOENT, ... name the input. */
int stage_inputs(struct supervisor *sup, struct err *err);
/* What the outputs name, to the attempt's outputs/, and from there to `to`. Goes on after one that
 * fails; the first error is returned. */
int stage_collect(struct supervisor *sup, struct err *err);
/* A file of the user's for a log: relative to the work folder, or (where the tenant may) absolute;
 * opened as him, appended to. */
int stage_open_output(struct supervisor *sup, const char *path, int *fd_out, struct err *err);
/* When the newest file at or below a path of the work folder was written, Unix ms; 0 = none. */
int64_t stage_newest_ms(int work_fd, const char *path);
