#include "agent/engine_worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define JOIN_S 2

struct engine_worker {
    pthread_t thread;
    pthread_mutex_t mutex; /* over the lists and `stop` */
    pthread_cond_t wake;
    struct engine_task *waiting, *done;
    bool stop;
    int event_fd;
};

static void *work(void *argument)
{
    struct engine_worker *worker = argument;
    const uint64_t one = 1;

    pthread_mutex_lock(&worker->mutex);
    while (!worker->stop) {
        struct engine_task *task = worker->waiting;

        if (!task) {
            pthread_cond_wait(&worker->wake, &worker->mutex);
            continue;
        }
        DL_DELETE(worker->waiting, task);
        pthread_mutex_unlock(&worker->mutex);
        task->work(task);
        pthread_mutex_lock(&worker->mutex);
        DL_APPEND(worker->done, task);
        if (write(worker->event_fd, &one, sizeof(one)) < 0)
            continue; /* full: it is readable */
    }
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

int engine_worker_create(struct engine_worker **worker_out, struct err *err)
{
    struct engine_worker *worker = calloc(1, sizeof(*worker));
    int rc;

    if (!worker)
        return err_set(err, -ENOMEM, "worker: out of memory");
    worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->event_fd < 0) {
        free(worker);
        return err_set(err, -errno, "eventfd: %s", strerror(errno));
    }
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->wake, NULL);
    rc = pthread_create(&worker->thread, NULL, work, worker);
    if (rc != 0) {
        close(worker->event_fd);
        free(worker);
        return err_set(err, -rc, "thread: %s", strerror(rc));
    }
    *worker_out = worker;
    return 0;
}

int engine_worker_fd(const struct engine_worker *worker)
{
    return worker->event_fd;
}

void engine_worker_push(struct engine_worker *worker, struct engine_task *task)
{
    pthread_mutex_lock(&worker->mutex);
    DL_APPEND(worker->waiting, task);
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->mutex);
}

void engine_worker_pump(struct engine_worker *worker)
{
    struct engine_task *done, *task, *next;
    uint64_t count;

    if (read(worker->event_fd, &count, sizeof(count)) < 0)
        return; /* nothing is done */
    pthread_mutex_lock(&worker->mutex);
    done = worker->done;
    worker->done = NULL;
    pthread_mutex_unlock(&worker->mutex);
    DL_FOREACH_SAFE (done, task, next) {
        task->done(task);
        task->drop(task);
    }
}

bool engine_worker_destroy(struct engine_worker *worker)
{
    struct engine_task *task, *next;
    struct timespec until;

    if (!worker)
        return true;
    pthread_mutex_lock(&worker->mutex);
    worker->stop = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_S;
    if (pthread_timedjoin_np(worker->thread, NULL, &until) != 0) {
        pthread_detach(worker->thread);
        return false;
    }
    DL_CONCAT(worker->waiting, worker->done);
    DL_FOREACH_SAFE (worker->waiting, task, next)
        task->drop(task);
    close(worker->event_fd);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->wake);
    free(worker);
    return true;
}
