/* slurm_internal.h - the slurm executor's own state, shared by its files only. */
#pragma once

#include "agent/engine.h"
#include "agent/executor.h"
#include "agent/guard.h"
#include "agent/queuing.h"
#include "agent/save_wait.h"
#include "agent/slurm_command.h"
#include "agent/slurm_job.h"
#include "agent/engine_worker.h"

#include <uthash.h>

#define SLURM_LOOK_MS_MIN 2000  /* one squeue for all, at most this often */
#define SLURM_LOOK_MS_MAX 60000 /* and at least this often, whatever goes wrong */
#define SLURM_LOOK_SHARE 20     /* and no more than this part of the time, by what it takes */
#define SLURM_NODES_MS 20000    /* a look at all nodes */
#define SLURM_PROGRESS_MS 30000
#define SLURM_MISSED_MAX 3    /* looks without a job that should be there */
#define SLURM_UNSURE_MS 15000 /* after a sbatch that did not answer, before it may be repeated */
#define SLURM_SUBMITS_MAX 5u
#define SLURM_SAVE_LOOK_MS 250 /* for a checkpoint that was asked for before a stop */

struct slurm_attempt {
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    enum attempt_state state;
    struct attempt_record record;
    struct slurm_note note;
    struct slurm_order *order; /* kept until sbatch has answered for good; NULL = after a restart */
    bool submitting;           /* the worker has it */
    bool unsure;               /* sbatch did not answer: only squeue can tell */
    int64_t unsure_ms;         /* since then, monotonic */
    uint32_t submits;
    int64_t submit_at_ms;      /* again, monotonic; 0 = not */
    enum slurm_job_state seen; /* by the last look */
    uint32_t missed;           /* looks that did not list it */
    bool looked;               /* listed by the look under way */
    bool event_ended;          /* its own word is there, in `end_event` */
    struct slurm_event end_event;
    uint32_t looks_since_end;
    bool stopping, told_term;
    uint32_t stop_end;  /* enum attempt_end */
    int64_t kill_at_ms; /* monotonic */
    uint32_t saves_asked;
    int64_t save_at_ms;    /* the next by its rhythm, monotonic; 0 = none */
    struct save_wait save; /* before the stop */
    int64_t progress_at_ms;
    bool collecting;
    char waits_for[64];  /* Slurm's reason while it is queued there */
    int64_t expected_ms; /* when Slurm thinks that it begins; 0 = it does not say */
    UT_hash_handle hh;
};

struct slurm {
    struct executor base;
    struct executor_config config;
    struct slurm_settings settings;
    char *state_dir;
    struct engine_place place;
    int events_fd, inotify_fd, epoll_fd;
    struct engine_worker *worker;
    struct guard guard;
    bool bound;   /* some attempt is, to a lease */
    int timer_fd; /* while somebody is waited for to save */
    struct slurm_attempt *attempts;
    struct queuing queuing;

    bool looking, looking_nodes;
    int64_t look_at_ms, look_began_ms, nodes_at_ms; /* monotonic */
    uint32_t look_failures;

    uint32_t nodes_count, partitions_count;
    struct slurm_node *nodes; /* those we may use, in Slurm's order */
    struct slurm_foreign {
        uint32_t cpus, devices;
        int64_t memory_bytes;
    } * foreign, *foreign_before;
    struct slurm_partition *partitions; /* those allowed */
};

/* slurm_watch.c: what is heard of attempts */
void slurm_read_events(struct slurm *slurm);
void slurm_look(struct slurm *slurm);
void slurm_finish(struct slurm *slurm, struct slurm_attempt *attempt, enum attempt_end end,
                  int32_t exit_code, int64_t ended_ms, const char *reason);
void slurm_cancel(struct slurm *slurm, const struct slurm_attempt *attempt, const char *signal);
uint32_t slurm_queue(struct executor *executor, struct wire_wait rows_out[WIRE_WAITS_MAX]);
int64_t slurm_now_mono(void);
struct slurm_attempt *slurm_find(const struct slurm *slurm, struct attempt_key key);

/* slurm_stop.c: how attempts are ended, and what is saved before */
void slurm_stop_attempt(struct slurm *slurm, struct slurm_attempt *attempt, enum attempt_end end,
                        int64_t grace_ms, const char *reason);
/* Once, SIGTERM: when it is to stop, has saved, and is known by a number in Slurm. */
void slurm_stop_tell(struct slurm *slurm, struct slurm_attempt *attempt);
/* The lease, the rhythm of saving, the next step of a stop. */
void slurm_stop_tick(struct slurm *slurm, struct slurm_attempt *attempt, int64_t now);
void slurm_stop_look(struct slurm *slurm); /* its timer has fired */
void slurm_take_lease(struct executor *executor, const struct lease *lease);
bool slurm_keeps_lease(const struct executor *executor);
void slurm_answer_guards(struct slurm *slurm);

/* slurm_submit.c */
void slurm_submit(struct slurm *slurm, struct slurm_attempt *attempt);
void slurm_order_free(struct slurm_order *order);

/* slurm_site.c: what the cluster has */
int slurm_site_read(struct slurm *slurm, struct err *err); /* blocks */
void slurm_site_look(struct slurm *slurm);
int slurm_site_discover(struct executor *executor, const struct catalogue *catalogue,
                        struct node_info **nodes_out, uint32_t *count_out, struct err *err);
const struct slurm_partition *
slurm_site_partition(const struct slurm *slurm, const struct slurm_order *order, struct err *err);
/* The gres of a node's device, and where it stands. NULL = no such device. */
const struct slurm_gres *slurm_site_gres(const struct slurm *slurm, const char *node,
                                         uint32_t device);
int slurm_site_rank(const struct slurm *slurm, const char *node); /* -1 = not ours */
