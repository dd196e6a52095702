/* power_site.h - one site of like devices under a job list, for power_event: jobs start in order
 * of arrival (who does not fit is passed over), save by their own rhythm, and can be interrupted.
 *
 * Devices are counted, not placed. Work lost is booked where it happens: work done again, restarts
 * and saves asked for; waiting is device time that an interrupted or limited job did not work. */
#pragma once

#include "base/err.h"
#include "sched/shed.h"

#define SITE_STOP_MS 2000
#define SITE_PAUSE_MS 1000
#define SITE_CAP_MS 500
#define SITE_SHRINK_MS 5000
#define SITE_STEP_MS 3000 /* until a job asked to save stands still and writes */
#define SITE_SAVING                                                                                \
    0.15                 /* and draws so much of what it did above idle (FlagPerf: copies 7-13 %)  \
                          */
#define SITE_WORD_MS 500 /* until an order is at its node */

enum site_state { SITE_AHEAD, SITE_QUEUED, SITE_RUNNING, SITE_PAUSED, SITE_HELD, SITE_DONE };

struct site_means { /* which jobs can do what, percent */
    const char *name, *about;
    uint32_t unsaved, asked; /* save never; save when asked (besides by rhythm) */
    uint32_t paused, shrunk; /* of those on one node; of those on more than one device */
    bool is_capped;
};

struct site_job {
    int64_t submit_ms, length_ms;
    uint32_t gpus;
    /* drawn */
    enum job_class job_class;
    bool can_save, can_pause, can_shrink;
    int64_t rhythm_ms, write_ms, restart_ms; /* rhythm 0 = never */
    double draw; /* watts of a device above idle, 0 .. 1 of the chip's */
    /* as it goes */
    enum site_state state;
    int64_t started_ms, done_ms, saved_ms, mark_ms, restart_left_ms, end_ms, since_ms;
    double rate;
    int64_t watts_limit; /* of all its devices; 0 = none */
    bool is_ordered;     /* an interruption is on its way */
    uint32_t interrupts; /* each within a day of the one before */
    int64_t interrupted_ms;
};

struct site_order {
    int64_t at_ms, snapshot_ms; /* work saved by then; -1 = by rhythm only */
    uint32_t job;
    enum shed_how how;
    int64_t watts_limit;
    double rate;
};

struct site {
    struct site_job *jobs;            /* by submit */
    uint32_t jobs_count, next;        /* the next to arrive */
    uint32_t *running, *queue, *held; /* paused and limited ones are in running and in held */
    uint32_t running_count, queue_count, held_count, queue_first;
    struct site_order *orders;
    uint32_t orders_count;
    uint32_t gpus, free;
    double watts_base, watts_busy, watts_idle; /* of all hosts; of one device */
    int64_t now_ms;
    double watts_target; /* while a cut lasts; else 0 */
    bool may_start;
    bool is_capped;
    struct shed *shed;
    struct shed_held *held_list;
    uint32_t *chosen;
    double lost_redo, lost_restart, lost_save, waiting, busy; /* device-ms */
    uint32_t interrupted;
};

/* Read submit_s, duration_s, gpus from their columns; bigger than the site: left out. -errno. */
int site_load(struct site *site, const char *path, uint32_t nodes, struct err *err);
void site_fini(struct site *site);
/* A copy as it stands, with accounts at zero; `means` and `seed` draw what its jobs can do. */
void site_copy(struct site *to, const struct site *from, const struct site_means *means,
               uint64_t seed);
double site_watts(const struct site *site);
double site_job_watts(const struct site *site, const struct site_job *job);
double site_idle_watts(const struct site *site, const struct site_job *job);
/* Work that no complete checkpoint holds; until its own next one is complete (-1 = never). */
int64_t site_undone(struct site *site, struct site_job *job);
int64_t site_next_save(const struct site_job *job);
uint32_t site_interrupts(const struct site *site, const struct site_job *job); /* in a day */
/* Go on to `until_ms`, stopping at each arrival, end and order if `each` says so: it is called
 * after every one. */
void site_run(struct site *site, int64_t until_ms, void (*each)(struct site *site, void *context),
              void *context);
/* Interrupt or limit; in force after the way's time. */
void site_order_job(struct site *site, uint32_t job, enum shed_how how, int64_t watts_limit,
                    double rate);
void site_schedule(struct site *site);
/* What is still interrupted at the end is booked as if it came back now. */
void site_settle(struct site *site);
