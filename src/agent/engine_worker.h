/* engine_worker.h - one thread that runs what may take long, one thing after the other: commands
 * of the engine, and the copying of inputs and outputs. The loop's thread gives tasks and takes
 * them back when they are done. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct engine_task {
    void (*work)(struct engine_task *task); /* on the worker */
    void (*done)(struct engine_task *task); /* on the loop's thread */
    void (*drop)(struct engine_task *task); /* frees it, after done or instead of it */
    struct engine_task *prev, *next;        /* the worker's */
};
struct engine_worker; /* opaque */

int engine_worker_create(struct engine_worker **worker_out, struct err *err);
/* Readable when engine_worker_pump has something to do. */
int engine_worker_fd(const struct engine_worker *worker);
void engine_worker_push(struct engine_worker *worker, struct engine_task *task);
void engine_worker_pump(struct engine_worker *worker);
/* What waits is dropped. True: the thread is gone, and all it used may go too; false: it is in a
 * command that takes long, and must be left to the end of the process. */
bool engine_worker_destroy(struct engine_worker *worker);
