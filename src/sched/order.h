/* order.h - who goes first, and who makes way: the order of waiting and running jobs by what they
 * have had, with ageing, and the choice of whom to stop for a blocked job.
 *
 * Rank. Class first. Within a class a job stands in a level: the power of two of the device time
 * it has had (or is expected to need, when its own history says so), so that short and narrow work
 * goes before long and wide without anybody declaring a length. Within a level, who was first.
 * A job that waits keeps its rank until order_change_ms: heaps and buckets stay as they are, and a
 * running job sinks a level each time its device time doubles. Levels end at `work_ms_last`: what
 * is larger goes in order of submission. (Foreground-background queues: Nuyens, Wierman 2008;
 * in levels, with restarts: Tiresias, NSDI 2019. The figures in docs/quality are our own.)
 *
 * Ageing. Each job is told at submission how long it would wait in order of arrival
 * (order_clock_add). One that has waited longer than `patience` times that goes into the aged
 * lane: ahead of its class, never stopped for its class, oldest first, on at most `lane_milli` of
 * the devices.
 * No starvation: a job is aged once it has waited max(patience_ms_min, patience x its own
 * estimate), whatever comes later; from then on only aged jobs of its class that were submitted
 * earlier (and classes above) can be before it, so when jobs can be stopped it waits at most
 * until they have had their device time on the lane's share: with W device-ms left in those,
 * W / lane + one pass. Where jobs cannot be stopped, the pass holds back room for a blocked aged
 * job (order_holds_room), and it starts once what runs has ended. Tests state and check this.
 *
 * No ping-pong. A job of the same class makes way only once it has run `run_ms_min` and
 * `cost_times` what stopping costs, and only for a better level, or for one of the same level that
 * was submitted `gap_ms` earlier. So A and B change places at most once a level, which is
 * logarithmic in the work, and restarts take at most 1/cost_times of the device time.
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
    uint32_t lane_look;      /* how many of the oldest a pass looks at for the lane */
    int64_t due_ms_spare;    /* a deadline calls this long before the latest start */
};
struct order_params order_params_default(void);

struct order_job {
    uint64_t id;
    int64_t submit_ms;       /* when it could first have run */
    int64_t attained_ms;     /* device-ms it has had, the present attempt with it */
    int64_t ran_ms;          /* of all attempts */
    int64_t arrival_wait_ms; /* told by order_clock_add at submission */
    int64_t predicted_ms;    /* duration, from the user's own history; 0 = not known */
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

/* The wait in order of arrival, of a pool worked off in that order, from expected work. */
struct order_clock {
    int64_t backlog_ms; /* device-ms expected to be done before one who comes now */
    int64_t at_ms;
};
/* A job comes that is expected to need `work_ms` device-ms: gives its arrival_wait_ms. */
int64_t order_clock_add(struct order_clock *clock, int64_t now_ms, uint64_t devices_total,
                        int64_t work_ms);
/* It turned out to need more (or less, negative) than was said. */
void order_clock_correct(struct order_clock *clock, int64_t more_ms);

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
