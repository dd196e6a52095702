/* slurm_command.h - runs one of Slurm's commands and waits for it: never through a shell, and never
 * longer than its time. Blocks: on the executor's worker only. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define SLURM_OUTPUT_BYTES_MAX (64u << 20)
#define SLURM_COMMAND_MS_MAX 60000

struct slurm_result {
    struct buf out, complaint; /* stdout and stderr */
    int exit_code;             /* 128 + signal when a signal ended it */
    int64_t took_ms;
};

/* `argv` ends with NULL; its first word is sought in `bin_dir`, or in PATH when that is NULL.
 * `input` (NULL = none) is its stdin. 0 when it ran, whatever its exit code; -ETIMEDOUT: killed,
 * and nobody knows how far it came; else why it could not be run. */
int slurm_command_run(const char *const *argv, const char *bin_dir, const char *input,
                      struct slurm_result *result, struct err *err);
void slurm_result_fini(struct slurm_result *result);
/* The first line of what it complained, for a person. */
void slurm_result_say(const struct slurm_result *result, char *out, size_t out_bytes);
/* Is that a trouble that passes: the controller away or slow? */
bool slurm_result_is_passing(const struct slurm_result *result);
