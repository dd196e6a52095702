/* freeze.h - all processes below this one stand still, with their memory, and go on later.
 *
 * By what the machine has: cgroup v2 (the attempt's own group; the caller is not in it), else a
 * group of v1's freezer, made when it is first needed and named by `mark`, else SIGSTOP to each.
 * v1 holds back even SIGKILL, so what is frozen must be thawed before it is killed. */
#pragma once

#include "agent/cgroup.h"

enum freeze_way { FREEZE_NOT, FREEZE_V2, FREEZE_V1, FREEZE_SIGNAL };

#define FREEZE_MARK_BYTES 96u

/* -EAGAIN: some process would not stand (all go on again); -ESRCH: there is none; else -errno. */
int freeze_all(const char *mark, const struct cgroup *cgroup, enum freeze_way *way_out,
               struct err *err);
void freeze_thaw(const char *mark, const struct cgroup *cgroup, enum freeze_way way);
/* Let go what a supervisor that died left frozen, and remove the group of that mark, if any. */
void freeze_remove(const char *mark);
