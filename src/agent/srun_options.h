/* srun_options.h - the command line of `srun`, as scripts that were written for Slurm have it.
 *
 * Source: srun(1) of Slurm 22.05. What shapes an allocation of its own (partition, time, memory,
 * devices) means nothing inside a job that has its allocation: read and left out. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SRUN_TASKS_MAX 4096u

enum srun_mpi { SRUN_MPI_LOOK, SRUN_MPI_YES, SRUN_MPI_NO };
struct srun_options {
    uint32_t tasks, cpus_per_task; /* 0 = as the job has them */
    bool label, kill_on_bad_exit, overcommit, help;
    enum srun_mpi mpi; /* whether a launcher of MPI starts the tasks */
    const char *folder, *name;
    const char *out, *err, *in; /* NULL = ours */
    char *const *command;       /* within argv, NULL-terminated */
};

/* -EINVAL: what and what was expected. */
int srun_options_read(int argc, char **argv, struct srun_options *options_out, struct err *err);
