/* libexec.h - where the programs that belong to this one are. */
#pragma once

#include <limits.h>
#include <stdbool.h>

/* `name` of libexec/mains: installed (beside bin/, or beside itself), else in the build's tree,
 * from src/cli, src/agent or tests/unit/X. False: not there, or not to be executed. */
bool libexec_find(const char *name, char path_out[PATH_MAX]);
