/* criu.h - checkpoints of jobs that save nothing themselves, by CRIU (docs/leases.md#criu). */
#pragma once

#include "base/err.h"

#include <limits.h>

#define CRIU_KEEPER "mains-criu" /* in libexec: stands over the job (criu_main.c) */

/* The program and its keeper. -ENOENT and what is missing. */
int criu_find(char criu_out[PATH_MAX], char keeper_out[PATH_MAX], struct err *err);
/* Can jobs here be saved so? Asks `criu check`: forks, and may take some seconds. -ENOTSUP and
 * why not. */
int criu_check(struct err *err);
