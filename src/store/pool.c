#include "store/pool.h"

#include "base/cleanup.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct helper {
    struct pool *pool;
    uint32_t number;
    pthread_t thread;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    struct helper helpers[POOL_WORKERS_MAX - 1];
    uint32_t helpers_count;
    /* Under the mutex. */
    void (*work)(void *context, uint32_t worker, uint32_t piece);
    void *context;
    uint32_t next, count, busy;
    bool stopping;
};

/* With the mutex held, and held again when it returns. */
static void take_pieces(struct pool *pool, uint32_t worker)
{
    while (pool->next < pool->count) {
        uint32_t piece = pool->next++;

        pthread_mutex_unlock(&pool->mutex);
        pool->work(pool->context, worker, piece);
        pthread_mutex_lock(&pool->mutex);
    }
}

static void *help(void *context)
{
    struct helper *helper = context;
    struct pool *pool = helper->pool;

    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        if (pool->next == pool->count) {
            pthread_cond_wait(&pool->wake, &pool->mutex);
            continue;
        }
        pool->busy++;
        take_pieces(pool, helper->number);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct pool *pool_create(void)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (uint32_t i = 0; i + 1 < POOL_WORKERS_MAX && i + 1 < cpus; i++) {
        struct helper *helper = &pool->helpers[pool->helpers_count];

        *helper = (struct helper){ .pool = pool, .number = i + 1 };
        if (pthread_create(&helper->thread, NULL, help, helper) != 0)
            break;
        pool->helpers_count++;
    }
    return pool;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->helpers_count; i++)
        pthread_join(pool->helpers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

uint32_t pool_workers(const struct pool *pool)
{
    return pool->helpers_count + 1;
}

void pool_run(struct pool *pool, uint32_t count,
              void (*work)(void *context, uint32_t worker, uint32_t piece), void *context)
{
    pthread_mutex_lock(&pool->mutex);
    pool->work = work;
    pool->context = context;
    pool->next = 0;
    pool->count = count;
    if (count > 1)
        pthread_cond_broadcast(&pool->wake);
    take_pieces(pool, 0);
    while (pool->busy)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
