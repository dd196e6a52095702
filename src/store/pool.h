/* pool.h - a few threads that share out pieces of one work, and the caller among them.
 *
 * They sleep between works. One caller; pieces must not depend on one another. */
#pragma once

#include <stdint.h>

#define POOL_WORKERS_MAX 4u

struct pool;
/* As many workers as there are CPUs, the caller counted, at most POOL_WORKERS_MAX. NULL when memory
 * is short; a pool whose threads cannot be started has the caller only. */
struct pool *pool_create(void);
void pool_destroy(struct pool *pool); /* NULL is fine */
uint32_t pool_workers(const struct pool *pool);
/* Call `work` for each piece 0 .. count - 1, by worker 0 .. pool_workers - 1; returns when all are
 * done. */
void pool_run(struct pool *pool, uint32_t count,
              void (*work)(void *context, uint32_t worker, uint32_t piece), void *context);
