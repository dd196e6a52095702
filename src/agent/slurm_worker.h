/* slurm_worker.h - one thread that runs what may take long, one thing after the other: Slurm's
 * commands, and the copying of inputs and outputs. The loop's thread gives tasks and takes them
 * back when they are done. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct slurm_task {
    void (*work)(struct slurm_task *task); /* on the worker */
    void (*done)(struct slurm_task *task); /* on the loop's thread */
    void (*drop)(struct slurm_task *task); /* frees it, after done or instead of it */
    struct slurm_task *prev, *next;        /* the worker's */
};
struct slurm_worker; /* opaque */

int slurm_worker_create(struct slurm_worker **worker_out, struct err *err);
/* Readable when slurm_worker_pump has something to do. */
int slurm_worker_fd(const struct slurm_worker *worker);
void slurm_worker_push(struct slurm_worker *worker, struct slurm_task *task);
void slurm_worker_pump(struct slurm_worker *worker);
/* What waits is dropped. True: the thread is gone, and all it used may go too; false: it is in a
 * command that takes long, and must be left to the end of the process. */
bool slurm_worker_destroy(struct slurm_worker *worker);
