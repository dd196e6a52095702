/* order.h - who goes first, and who makes way: the order of waiting and running jobs by what they
 * have had, with ageing, and the choice of whom to stop for a blocked job.
 *
 * Rank. Class first. Within a class a job stands in a level: the power of two of the device time
 * it needs yet for each that ends, as all of its width showed (sched/life.h; not told: that it has
 * had; or is expected to need, when its own history says so), so that short and narrow work goes
 * before long and wide without anybody declaring a length. Within a level, who was first.
 * A job that waits keeps its rank until order_change_ms: heaps and buckets stay as they are, and a
 * running job sinks (or, near an end that many come to, rises) as it runs on. Levels end at
 * `work_ms_last`: what is larger goes in order of submission. (Foreground-background queues:
 * Nuyens, Wierman 2008; in levels, with restarts: Tiresias, NSDI 2019. The figures in docs/quality
 * are our own.)
 *
 * Ageing. One that has waited longer than max(patience_ms_min, `patience` times the wait in order
 * of arrival as it stands, order_arrival_wait_ms) goes into the aged lane: ahead of its class,
 * never stopped for its class, oldest first, on at most `lane_milli` of the devices; on
 * `lane_milli_max` of them while the wait in order of arrival is `lane_ms_long` or more.
 * No starvation: while the work waiting is bounded, so is patience. Once a job's patience is over,
 * only jobs of its class that were submitted earlier and are aged too (and classes above) can keep
 * it out: where jobs can be stopped and its devices fit the lane beside the widest before it (w),
 * it runs, to its end, after at most W / (lane - w) and a pass, W being the device-ms left in those
 * before it, whatever comes later. Where places part the devices, an aged job may also wait for
 * aged ones on them. Where jobs cannot be stopped, the pass lets nobody past a blocked aged job
 * (order_holds_room), and it starts at the latest when what runs has ended. A wider lane makes the
 * longest wait shorter and the mean longer: docs/quality/venus_philly.md has both ends.
 *
 * No ping-pong. A job makes way for one of its class only once it has run `run_ms_min` and
 * `cost_times` what stopping costs, and only for a better level, or for one of the same level that
 * was submitted `gap_ms` earlier. So of two jobs the one that made way stops the other again only
 * after their levels have changed, and restarts take at most 1/cost_times of the time. (For an aged
 * job, or one of a higher class, it makes way at once; the other way round never happens.)
 *
 * Pure; integers only, so the same on every machine; no memory of its own. Times are ms; work is
 * device-ms (devices x ms of holding them). Smaller classes go first; ties go by id. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ORDER_LEVEL_AGED 0u
#define ORDER_LEVEL_DUE 1u   /* must start now to keep its deadline */
#define ORDER_LEVEL_FIRST 2u /* and one more for each doubling */
#define ORDER_PARTS_MAX 16384u

struct order_params {
    int64_t work_ms_fresh; /* device-ms a device: what a job is taken to need that has had none */
    int64_t work_ms_last;  /* device-ms: from here on all are of one level */
    int64_t gap_ms;        /* of one level, the older displaces one this much younger */
    int64_t run_ms_min;    /* nobody of the same class is stopped sooner */
    int64_t cost_times;    /* nor before it has run this many times what stopping costs */
    int64_t patience_ms_min;
    uint32_t patience_milli; /* of the wait in order of arrival */
    uint32_t lane_milli;     /* of the devices, for aged jobs */
    uint32_t lane_milli_max; /* the same, while order_arrival_wait_ms is lane_ms_long or more */
    int64_t lane_ms_long;
    uint32_t lane_look;   /* how many of the oldest a pass looks at for the lane */
    int64_t due_ms_spare; /* a deadline calls this long before the latest start */
};
/* For a network of so many devices. Only the last level differs: it begins no sooner than at an
 * hour of all of them, so that in a large network, too, it holds the few jobs that are largest. */
struct order_params order_params_for(uint64_t devices_total);
uint32_t order_level_last(const struct order_params *params);

struct order_job {
    uint64_t id;
    int64_t submit_ms;       /* when it could first have run */
    int64_t attained_ms;     /* device-ms it has had, the present attempt with it */
    int64_t ran_ms;          /* of all attempts */
    int64_t arrival_wait_ms; /* order_arrival_wait_ms, as it stands */
    int64_t predicted_ms;    /* duration, from the user's own history; 0 = not known */
    int64_t need_ms;         /* run time a job like it needs yet, as life_need_ms; 0 = not known */
    int64_t deadline_ms;     /* INT64_MAX = none */
    uint32_t devices;        /* 0 counts as 1 */
    uint32_t job_class;
    bool is_aged; /* once true it stays, to the job's end: kept by the caller */
};
struct order_rank {
    uint32_t job_class, level;
    int64_t submit_ms;
    uint64_t id;
};
struct order_rank order_rank(const struct order_params *params, const struct order_job *job,
                             int64_t now_ms);
bool order_is_before(const struct order_rank *a, const struct order_rank *b);
/* When a waiting job's rank may change by time alone (its deadline calls, or it may be aged);
 * INT64_MAX: not before something happens to it. */
int64_t order_change_ms(const struct order_params *params, const struct order_job *job,
                        int64_t now_ms);

/* --- ageing --- */

/* What a job that was said to need `said_ms` and has had `attained_ms` is taken to need yet: who
 * outlives what was said is taken to need as much again as it has had (durations have heavy
 * tails). */
int64_t order_work_left_ms(int64_t said_ms, int64_t attained_ms);
/* The wait in order of arrival while unfinished jobs are taken to need `left_ms` device-ms in all:
 * the caller keeps that sum as jobs come, stop and end. */
int64_t order_arrival_wait_ms(int64_t left_ms, uint64_t devices_total);

enum order_lane_answer {
    ORDER_LANE_NOT_YET, /* it has not waited long enough: look at the next */
    ORDER_LANE_TAKEN,   /* it is aged from now on; its devices are counted */
    ORDER_LANE_FULL     /* look no further in this pass */
};
/* Ask for the unfinished jobs that are not aged, oldest first, at most `lane_look` in a pass.
 * `held` is how many devices aged, unfinished jobs ask for; the caller takes a job's off when it
 * ends. An empty lane takes a job of any width. */
enum order_lane_answer order_lane_ask(const struct order_params *params, uint64_t *held,
                                      uint64_t devices_total, const struct order_job *job,
                                      int64_t now_ms);
/* Does this blocked job hold back what could start behind it? */
bool order_holds_room(const struct order_rank *rank);

/* --- whom to stop --- */

struct order_running {
    struct order_rank rank;
    int64_t run_ms;  /* of the present attempt */
    int64_t cost_ms; /* what stopping costs on each device: work since its last checkpoint, and
                        restarting */
    uint32_t devices;
    bool is_preemptible;
};
/* Work lost at once if it were stopped now, a device: what it did since `checkpoint_ms` (when it
 * last saved, or began) and the restart; a job that saves when told to loses only the latter. */
int64_t order_stop_cost_ms(int64_t now_ms, int64_t checkpoint_ms, bool saves_when_told,
                           int64_t restart_ms);
/* It has run long enough to be stopped for one of its class: run_ms_min, and cost_times the cost.
 */
bool order_has_settled(const struct order_params *params, const struct order_running *running);
bool order_may_displace(const struct order_params *params, const struct order_rank *blocked,
                        const struct order_running *running);

struct order_holding {
    uint32_t running; /* index */
    uint32_t devices; /* here */
};
struct order_place { /* a node, or any domain that a part must fit into */
    uint32_t free;
    uint32_t first, count; /* its holdings */
};
struct order_want {
    struct order_rank rank;
    uint32_t parts, devices; /* parts, each with so many devices in one place of its own */
    uint32_t rest;           /* and one more with so many; 0 = none */
};
struct order_pool {
    const struct order_place *places;
    const struct order_holding *holdings;
    const struct order_running *running;
    uint32_t places_count, running_count;
};
/* Whom to stop so that `want` fits: the lowest class first, then the least device-ms lost; ties by
 * index. Places are chosen one by one, so the answer is cheap, not always the cheapest. `stop`
 * (running_count, all false) is set for those; `used` (places_count, all false) is scratch. False:
 * no such choice, and then both are undefined. Cost: parts x holdings. */
bool order_pick_victims(const struct order_params *params, const struct order_want *want,
                        const struct order_pool *pool, bool *stop, bool *used);

/* --- whom to move --- */

/* Where what is free would do for `want` if it lay together: who goes on in another place, after a
 * restart, so that it fits. Only what is in one place in whole, has settled (as above), is no
 * better than `want` in class and not aged; a place at a time, each where the fewest devices move.
 * `move` (running_count, all false) is set for those; `used` (places_count, all false) and `room`
 * (places_count) are scratch. False: it cannot be, and then all three are undefined. Cost: parts x
 * places x holdings. */
#define ORDER_MOVES_MAX 64u /* of one place */
bool order_pick_moves(const struct order_params *params, const struct order_want *want,
                      const struct order_pool *pool, bool *move, bool *used, uint32_t *room);
