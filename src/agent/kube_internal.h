/* kube_internal.h - the kubernetes executor's own state, shared by its files only.
 *
 *   executor_kube.c   the table's functions; what was there before
 *   kube_drive.c      makes the objects of an attempt, and takes them away
 *   kube_heard.c      what the watches tell of jobs and pods
 *   kube_outcome.c    how an attempt ended, from its job and its pods
 *   kube_log.c        the pods' logs into the attempt's
 *   kube_event.c      what the cluster says of pods that do not come to be
 *   kube_lease.c      the lease, and checkpoints before a stop
 *   kube_stage.c      inputs and outputs, where there is a shared volume
 *   kube_site.c       nodes, and what others use of them
 *   kube_object.c, kube_pod.c, kube_note.c   the objects themselves
 *   kube_api.c, kube_watch.c, kube_config.c  the API server
 *   kube_text.c, kube_resource.c, kube_settings.c   parsers
 *
 * All of it is in the agent's one thread; only staging on a shared volume is on a worker. */
#pragma once

#include "agent/engine.h"
#include "agent/guard.h"
#include "agent/executor.h"
#include "agent/queuing.h"
#include "agent/kube_object.h"
#include "agent/kube_text.h"
#include "agent/kube_watch.h"
#include "agent/engine_worker.h"
#include "agent/save_wait.h"

#include <uthash.h>

#define KUBE_SCRIPT KUBE_MOUNT "/script"
#define KUBE_CALLS_MAX 16u /* that make or take away objects, at once */
#define KUBE_UNSURE_MS 15000
#define KUBE_DELETE_AGAIN_MS 30000
#define KUBE_PROGRESS_MS 30000
#define KUBE_OTHERS_MS 10000 /* what others use is told at most this often */
#define KUBE_STARTUP_MS 30000
#define KUBE_OVER_MS 5000      /* after the end of a Job, for word of its pods */
#define KUBE_LOGS_MAX 64u      /* pods whose logs are followed at once */
#define KUBE_LOG_LAST_MS 20000 /* after the end of a pod, for the rest of its log */

struct kube_log; /* of one pod: kube_log.c */

struct kube_rank {
    bool known; /* `pod` was told */
    bool gone;  /* deleted, and its last state is in `pod` */
    bool listed;
    struct kube_pod pod;
    struct kube_log *log;
    bool log_whole;                   /* nothing more will come */
    int64_t log_eof_ms, log_again_ms; /* monotonic */
};

enum kube_stage {               /* what an attempt's objects wait for, in order */
                  KUBE_STAGING, /* the work folder on the volume */
                  KUBE_MAKING,  /* the Job */
                  KUBE_SECRET,
                  KUBE_SERVICE,
                  KUBE_GROUP,   /* what hangs on it, where it is needed */
                  KUBE_FREEING, /* the Job is let go */
                  KUBE_THERE,
                  KUBE_CLEANING, /* the record is written: the Job is taken away */
                  KUBE_GONE
};

struct kube_attempt {
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    enum attempt_state state;
    struct attempt_record record;
    struct kube_note note;
    struct kube_order *order; /* until its objects are there; NULL = after a restart */
    enum kube_stage stage;
    char uid[KUBE_UID_BYTES];
    bool busy;          /* a call or a worker's task is under way */
    bool asked;         /* the Job was asked for: it may be there whatever we heard */
    int64_t asked_ms;   /* monotonic, the last time */
    int64_t doubted_ms; /* since when its Job is missed, and a whole list is to say so; 0 = never */
    uint32_t failures;  /* calls in a row */
    int64_t again_at_ms; /* monotonic; 0 = at once */
    bool queued;         /* in kube->ready */
    struct kube_attempt *prev, *next;

    bool listed;   /* by the list under way */
    bool has_job;  /* the cluster has told of it */
    bool job_gone; /* and that it is gone */
    bool was_free; /* it was seen not suspended */
    struct kube_job job;
    struct kube_rank *ranks; /* note.tasks of them */

    bool stopping, deleting;
    uint32_t stop_end;      /* enum attempt_end */
    int64_t kill_at_ms;     /* monotonic; 0 = not: the pods' own grace counts */
    int64_t delete_at_ms;   /* when to ask again */
    int64_t image_since_ms; /* its image does not come since then; 0 = no such trouble */
    int64_t progress_at_ms;
    uint32_t saves_asked;
    int64_t save_at_ms;    /* the next by its rhythm, monotonic; 0 = none */
    struct save_wait save; /* before the stop */
    int64_t over_ms;       /* its Job is over since then; 0 = it is not */
    int64_t last_log_ms;   /* logs are waited for until then; 0 = not yet */
    bool ended;            /* how is in `end_record`; the logs may still come */
    struct attempt_record end_record;
    bool collecting;
    char waits_for[ATTEMPT_REASON_BYTES];
    char event[48], event_text[KUBE_TEXT_BYTES]; /* the newest that says why it does not start */
    int log_fd, log_at_fd;                       /* -1 = not open */
    int64_t log_bytes;
    bool log_full;
    UT_hash_handle hh;
};

struct kube_use_row {
    struct kube_use use;
    bool listed;
    UT_hash_handle hh; /* by use.uid */
};
struct kube_node_row {
    struct kube_node node;
    bool listed;
    int64_t cpu_milli, memory_bytes; /* of others */
    uint32_t devices;
    UT_hash_handle hh; /* by node.name */
};

struct kube {
    struct executor base;
    struct executor_config config;
    const struct kube_settings *settings;
    char *state_dir;
    struct engine_place place;
    struct kube_api *api;
    struct kube_watch *jobs, *pods, *nodes, *others, *events;
    char jobs_path[128], pods_path[128], own_query[96];
    struct engine_worker *worker; /* NULL: no volume */
    struct guard guard;           /* only with one */
    bool bound;                   /* some attempt is, to a lease */
    char events_path[128];
    bool events_denied;
    int epoll_fd;
    bool closing;

    struct kube_attempt *attempts;
    struct queuing queuing;
    struct kube_attempt *ready; /* to be driven */
    uint32_t calls, logs;

    struct kube_node_row *node_rows;
    struct kube_use_row *uses;
    bool nodes_told; /* they are there, or it is known that they will not be */
    bool nodes_synced, nodes_dirty, others_dirty, others_denied;
    int64_t others_told_ms;
    char nodes_failed[200];
    uint32_t sorted_count;
    struct kube_node_row **sorted; /* by name: as last discovered */
};

struct kube_attempt *kube_find(const struct kube *kube, struct attempt_key key);
int64_t kube_now(void); /* monotonic */

/* kube_drive.c */
void kube_drive(struct kube *kube, struct kube_attempt *attempt);
void kube_drive_ready(struct kube *kube);
void kube_queue(struct kube *kube, struct kube_attempt *attempt);
/* Away with the pods now, after so long at most. */
void kube_kill_pods(struct kube *kube, struct kube_attempt *attempt, int64_t grace_ms);
/* A Job of ours that belongs to no attempt. */
void kube_delete_orphan(struct kube *kube, const struct kube_job *job);

/* kube_heard.c */
int kube_heard_open(struct kube *kube, struct err *err);
void kube_heard_tick(struct kube *kube, struct kube_attempt *attempt);
void kube_stop(struct kube *kube, struct kube_attempt *attempt, enum attempt_end end,
               int64_t grace_ms, const char *reason);
/* It ended so; its record follows when its logs and outputs are there. */
void kube_conclude(struct kube *kube, struct kube_attempt *attempt, enum attempt_end end,
                   int32_t exit_code, int64_t ended_ms, const char *reason);
void kube_settle(struct kube *kube, struct kube_attempt *attempt);

/* kube_event.c */
int kube_event_open(struct kube *kube, struct err *err);
/* Of an attempt of the agent `tag`: which, and why it does not start. */
bool kube_event_parse(const json_t *json, const char *tag, struct attempt_key *key_out,
                      char reason[48], char text[KUBE_TEXT_BYTES]);

/* kube_lease.c */
bool kube_keeps_lease(const struct executor *executor);
void kube_take_lease(struct executor *executor, const struct lease *lease);
void kube_answer_guards(struct kube *kube);
/* It is to stop. True: it is asked for a checkpoint first, and stopped when that is there. */
bool kube_save_first(struct kube *kube, struct kube_attempt *attempt);
void kube_lease_tick(struct kube *kube, struct kube_attempt *attempt, int64_t now);
/* Did its lease end it? Not what ended well by itself, maybe in the dark. */
bool kube_lease_has_ended(const struct kube *kube, const struct kube_attempt *attempt,
                          bool went_well);

/* kube_outcome.c */
struct kube_outcome {
    enum attempt_end end;
    int32_t exit_code;
    int64_t ended_ms;
    char reason[ATTEMPT_REASON_BYTES];
};
/* How one pod's end is to be read. False: it went well. */
bool kube_outcome_of_pod(const struct kube_pod *pod, struct kube_outcome *outcome_out);
/* Of a whole attempt whose Job is over: the first of its pods that failed decides. */
void kube_outcome_of_job(const struct kube_job *job, const struct kube_rank *ranks, uint32_t count,
                         struct kube_outcome *outcome_out);
/* A container that waits for what will not come: it is hopeless at once, or it may mend. */
enum kube_trouble { KUBE_TROUBLE_NONE, KUBE_TROUBLE_IMAGE, KUBE_TROUBLE_HOPELESS };
enum kube_trouble kube_outcome_trouble(const struct kube_pod *pod);

/* kube_stage.c: the work folder on a shared volume */
void kube_stage_begin(struct kube *kube, struct kube_attempt *attempt);
/* Outputs and named logs. False: there is nothing to collect. */
bool kube_stage_collect(struct kube *kube, struct kube_attempt *attempt);

/* kube_log.c */
int kube_log_open(struct kube *kube, struct kube_attempt *attempt);
void kube_log_close(struct kube_attempt *attempt);
/* Follow the logs of what runs; the rest of the logs of what ended. */
void kube_log_follow(struct kube *kube, struct kube_attempt *attempt);
bool kube_log_is_whole(const struct kube_attempt *attempt);
void kube_log_stop(struct kube *kube, struct kube_attempt *attempt);
/* "<RFC 3339 time> <text>": where the text begins, NULL when there is no time. */
const char *kube_log_parse_line(const char *line, size_t len, int64_t *at_ns_out);

/* kube_site.c */
int kube_site_open(struct kube *kube, struct err *err);
void kube_site_tick(struct kube *kube);
void kube_site_close(struct kube *kube);
int kube_site_discover(struct executor *executor, const struct catalogue *catalogue,
                       struct node_info **nodes_out, uint32_t *count_out, struct err *err);
const struct kube_node *kube_site_find(const struct kube *kube, const char *name);
/* The resource of a node's device; NULL = it has no such device. */
const struct kube_node_resource *kube_site_resource(const struct kube_node *node, uint32_t device);

/* kube_pod.c */
const char *kube_pod_image(const struct kube_order *order); /* NULL = none */
/* A text of the job's that goes as a file; NULL = none. */
const char *kube_pod_text(const struct kube_order *order, bool setup);
json_t *kube_pod_command(const struct kube_order *order);                 /* NULL: no memory */
json_t *kube_pod_env(const struct kube_order *order, const char *object); /* the same */
