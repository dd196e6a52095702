/* engine_job.h - the files of an attempt that another system runs, where its nodes see the agent's
 * folder at the same path: the work folder, inputs into it, outputs and logs out of it. Blocks:
 * for a worker. */
#pragma once

#include "agent/engine.h"
#include "agent/supervisor_internal.h"

struct engine_job {
    struct supervisor sup; /* what staging wants to know of an attempt */
    struct supervisor_place place;
    char folder[PATH_MAX]; /* the attempt's */
};

/* Makes the work folder, or opens the one the job names. All but the text is borrowed.
 * engine_job_close is due whatever comes back. */
int engine_job_open(struct engine_job *job, const struct attempt_order *order,
                    const char *spec_json, int attempt_fd, const char *state_dir,
                    const char *agent_dir, struct err *err);
void engine_job_close(struct engine_job *job);
/* Before it starts: inputs, and the checkpoint that it goes on from (sup.restored). */
int engine_job_prepare(struct engine_job *job, struct err *err);
/* When the newest file of what a running attempt saves below `path` was written, Unix ms; 0 = there
 * is none. */
int64_t engine_job_saved_ms(const struct engine_place *place, struct attempt_key key,
                            const char *path);
/* Its guards are asked to have it save; `asked` counts how often. False, and logged: they cannot.
 */
bool engine_job_ask_to_save(const struct engine_place *place, struct attempt_key key,
                            uint32_t *asked);
/* After its end: outputs, and the log files that the job's user named. `node` and `tasks` are of
 * its first part. Goes on after what fails; the first error is returned. */
int engine_job_collect(struct engine_job *job, const char *node, uint32_t tasks, struct err *err);
