/* leftover.h - what an attempt whose supervisor was killed may have left: processes, a cgroup,
 * a work folder. */
#pragma once

#include "agent/attempt.h"
#include "agent/supervisor.h"

/* The variable that marks every process of an attempt, for machines without cgroups. */
#define LEFTOVER_MARK "MAINS_ATTEMPT_TAG"

/* "<tag of the agent>-<job>.<epoch>" */
void leftover_mark(const struct supervisor_place *place, struct attempt_key key, char *out,
                   size_t out_bytes);
/* Kill and remove all of it. The caller knows that no supervisor lives. */
void leftover_remove(const struct supervisor_place *place, struct attempt_key key);
