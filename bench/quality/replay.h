/* replay.h - a list of finished jobs run again on one pool of equal nodes: what the rows on queues
 * share. It holds the list and the peers (FIFO, SJF with an oracle, EASY with perfect limits); how
 * `mains` orders and preempts is src/sched's, which replay_run_order calls.
 *
 * Times are seconds since the list's beginning. A job of less than a node has its devices on one
 * node, the fullest that takes it; a wider one takes whole nodes, and its rest the same way. */
#pragma once

#include "base/err.h"
#include "quality/replay_pool.h"
#include "sched/order.h"
#include "sched/predict.h"

#include <stddef.h>

struct replay_job {
    int64_t submit_s, duration_s;
    uint64_t user; /* 0 = not told */
    uint32_t devices, pool;
    /* What came of it. */
    int64_t first_start_s, end_s;
    uint32_t restarts;
};
struct replay_list {
    struct replay_job *jobs; /* by submit, then as in the file */
    uint32_t count, cap;
};

/* The columns the rows need, by name. A user is a hash of the name. `pools` says which pool a `vc`
 * is, ended by NULL (NULL: all jobs are of pool 0). -ENOENT: the data is not at hand. */
int replay_read(const char *path, const char *const *pools, struct replay_list *list,
                struct err *err);
void replay_list_fini(struct replay_list *list);

/* Each runs the jobs of one pool, start to end, and fills in what came of them. */
void replay_run_fifo(struct replay_list *list, uint32_t pool, uint32_t nodes);
void replay_run_sjf(struct replay_list *list, uint32_t pool, uint32_t nodes);
/* Ends known exactly; the first `depth` waiting jobs are looked at behind the head. */
void replay_run_easy(struct replay_list *list, uint32_t pool, uint32_t nodes, uint32_t depth);

struct replay_how {
    struct order_params order;
    struct predict_params predict;
    bool is_preemptible; /* the jobs' own fact, as is what a restart costs: */
    int64_t restart_s;
    int64_t pass_s; /* between passes that may stop jobs; starts need not wait for one */
};
/* By sched/order and sched/predict: what they are told of a job is when it came, its devices, and
 * who its user is where the list says so. */
void replay_run_order(struct replay_list *list, uint32_t pool, uint32_t nodes,
                      const struct replay_how *how);

struct replay_figures {
    double jct_mean_s, wait_mean_s, wait_p99_s, wait_longest_s, first_wait_longest_s;
    uint64_t restarts;
    uint32_t restarts_most;
};
/* Over all jobs of the list. A wait is all the time that a job was in and did no work: in the
 * queue, before its first start or after being stopped, and restarting. */
struct replay_figures replay_measure(const struct replay_list *list);

/* One JSON line; the goal is to be at most `goal` (NAN: none); `peer` may be NULL. */
void replay_print(const char *name, double value, const char *unit, double goal, const char *peer,
                  double peer_value, const char *note);

/* A binary heap of (key, number), least first, ties by number. */
struct replay_heap_item {
    double key;
    uint32_t number, stamp;
};
struct replay_heap {
    struct replay_heap_item *items;
    uint32_t count, cap;
};
void replay_heap_add(struct replay_heap *heap, double key, uint32_t number, uint32_t stamp);
void replay_heap_pop(struct replay_heap *heap);
void *replay_alloc(size_t count, size_t size); /* zeroed; ends the process when memory is short */
void *replay_resize(void *data, size_t count, size_t size);
