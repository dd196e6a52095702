/* load.h - the jobs that are simulated: when each came, what it asked for, how long it ran. Made
 * by a trace reader, a generator or a journal. A load owns its jobs and its names. */
#pragma once

#include "base/err.h"
#include "model/request.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_JOBS_MAX 20000000u
#define SIM_RUN_MS_MAX (366LL * 24 * 3600 * 1000)       /* a single job */
#define SIM_SPAN_MS_MAX (20 * 366LL * 24 * 3600 * 1000) /* first submit to last */

#define SIM_TIME_MS_MAX 4102444800000LL /* a submit told as Unix ms: the year 2100 */

enum sim_outcome { SIM_DONE, SIM_FAILED, SIM_CANCELLED };

struct sim_job {
    uint64_t id;          /* where it comes from; of a load that has none, its place, from 1 */
    int64_t submit_ms;    /* from the first moment of the simulation */
    int64_t run_ms;       /* what it ran for, on its reference chip */
    int64_t limit_ms;     /* the time limit its user gave; 0 = none known */
    int64_t cancel_ms;    /* when its user cancelled it, as submit_ms; -1 = never */
    int64_t memory_bytes; /* per task */
    uint32_t tasks;       /* 0: shaped for the fleet, from `gpus` (see sim_job_shape) */
    uint32_t tasks_most;  /* an elastic one may be so wide, and is then as much faster; else 0 */
    uint32_t gpus;        /* of the whole job, when tasks is 0 */
    uint32_t cpus_per_device;                     /* the same; 0 = one CPU a task */
    uint32_t cpus, devices_milli, tasks_per_node; /* per task */
    uint32_t tenant, user;                        /* sim_load_name */
    uint32_t chips;                               /* sim_load_chips: kinds that will do; 0 = any */
    uint32_t reference;   /* the chip that run_ms was measured on; 0 = not known */
    uint8_t job_class;    /* enum job_class */
    uint8_t outcome;      /* enum sim_outcome */
    bool objective_given; /* it has an objective of its own */
    uint8_t objective;    /* enum objective_kind */
    uint32_t request;     /* sim_load_request: instead of the sizes above; 0 = none */
    int64_t deadline_ms;  /* as submit_ms; 0 = none */
    int64_t units_milli;  /* how much it does of its work */
    uint32_t work;        /* its class of work: sim_load_name; 0 = none told */
    uint8_t within;       /* enum topology_level */
    bool within_hard;
    bool mixed; /* a gang's tasks may be on several kinds of chip */
};

struct sim_chip_set {
    uint32_t count;
    uint32_t names[REQUEST_CHIPS_MAX]; /* sim_load_name */
};

struct sim_pace;
struct sim_load {
    struct sim_job *jobs;
    uint32_t jobs_count, jobs_cap;
    char (*names)[MODEL_NAME_BYTES]; /* [0] is "" */
    uint32_t names_count, names_cap;
    uint32_t *chains; /* of the names' hash table */
    uint32_t *name_next;
    uint32_t chains_count;
    struct sim_chip_set *chip_sets; /* [0] is empty */
    uint32_t chip_sets_count, chip_sets_cap;
    struct job_request *requests; /* [0] is not used */
    uint32_t requests_count, requests_cap;
    bool has_elastic;
    struct sim_pace *rates; /* by class of work, then chip: rates.h */
    uint32_t rates_count;
    char source[128]; /* "swf nasa.swf" */
    /* What reading it met. */
    uint64_t lines_bad;     /* not readable */
    uint64_t lines_skipped; /* readable, but no job that ran: no length, no processors, ... */
};

struct sim_load *sim_load_create(void);
void sim_load_destroy(struct sim_load *load);
void sim_load_destroyp(struct sim_load **load);

/* A job with everything at its default: one task, one CPU, CLASS_NORMAL. */
struct sim_job sim_job_init(void);
/* -E2BIG, -ENOMEM, -EINVAL for a field out of its bounds. */
int sim_load_add(struct sim_load *load, const struct sim_job *job, struct err *err);
/* The number of a name, cut to MODEL_NAME_BYTES - 1 and made printable; "" is 0.
 * UINT32_MAX: out of memory. */
uint32_t sim_load_name(struct sim_load *load, const char *name);
/* The number of a set of chips: "A|B". 0 for an empty one. UINT32_MAX: out of memory or too many */
uint32_t sim_load_chips(struct sim_load *load, const char *names, char separator);
/* Keep a request whole, for jobs that say more than sim_job holds; 0: out of memory. */
uint32_t sim_load_request(struct sim_load *load, const struct job_request *request);
/* By time of submit, equal ones as they came; the earliest is moved to 0 when `rebase`. */
int sim_load_finish(struct sim_load *load, bool rebase, struct err *err);

/* Tasks and devices of a job on nodes of at most `node_devices` devices: on one node where it
 * fits, else whole nodes where it divides, else one device a task. */
void sim_job_shape(const struct sim_job *job, uint32_t node_devices, struct request_shape *shape);
