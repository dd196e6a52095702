/* uploads.h - inputs of this machine that the job's site may not see: brought to the network's
 * store before the job is sent, and named by what they hold. */
#pragma once

#include "cli/remote.h"
#include "model/spec.h"

/* Which are: those that ask for it (`upload`), those of rclone's remotes, and all paths when the
 * network is not on this machine or has sites elsewhere that the job may go to. A path that is not
 * there yet (the job comes after another, which makes it) stays. Their `from` becomes
 * store:ID/NAME. */
int uploads_run(struct remote *remote, struct job_spec *spec, struct err *err);
