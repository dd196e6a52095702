/* engine.h - what executors that stand before another system keep on disk, below the agent's
 * folder: attempts/<job>.<epoch>/ of what was begun, ended/<job>.<epoch> the records that the
 * controller has not acknowledged, and a tag that tells this agent's work from that of others. */
#pragma once

#include "agent/attempt.h"

#define ENGINE_TAG_BYTES 16u

struct engine_place {
    char *agent_dir; /* owned */
    int agent_fd, attempts_fd, ended_fd;
    char tag[ENGINE_TAG_BYTES]; /* 8 hexadecimal digits */
};

/* Makes what is not there. `tag_file`: its name in the agent's folder. On failure engine_close is
 * still due. */
int engine_open(struct engine_place *place, const char *agent_dir, const char *tag_file,
                struct err *err);
void engine_close(struct engine_place *place); /* zeroes are fine */

/* Every attempt that is not acknowledged: begun, or ended (then `record` is not NULL). */
int engine_scan(const struct engine_place *place,
                void (*visit)(void *context, struct attempt_key key,
                              const struct attempt_record *record),
                void *context, struct err *err);
/* -EEXIST: begun before. The folder's descriptor in `fd_out`. */
int engine_begin(const struct engine_place *place, struct attempt_key key, int *fd_out,
                 struct err *err);
int engine_open_attempt(const struct engine_place *place, struct attempt_key key); /* or -errno */
/* As if it had never been ordered. */
void engine_remove(const struct engine_place *place, struct attempt_key key);

/* Its final record, whole or not at all. */
int engine_write_record(const struct engine_place *place, const struct attempt_record *record);
/* The controller has it: it moves into the attempt's folder. */
void engine_acknowledge(const struct engine_place *place, struct attempt_key key);
/* The record of an acknowledged attempt. */
bool engine_recall(const struct engine_place *place, struct attempt_key key,
                   struct attempt_record *record_out);
