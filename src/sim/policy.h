/* policy.h - what may be varied beside the same fleet and load: a short table of keys, each of
 * which the grid obeys today (docs/simulator.md). An unknown key is refused. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "model/request.h"

#define SIM_POLICIES_MAX 16u

enum sim_limits {
    SIM_LIMITS_TRACE, /* as the users gave them; none where none is known */
    SIM_LIMITS_EXACT, /* what the job will run for: the scheduler knows it all */
    SIM_LIMITS_NONE
};
enum sim_objective {
    SIM_OBJECTIVE_JOB,
    SIM_OBJECTIVE_FASTEST,
    SIM_OBJECTIVE_CHEAPEST,
    SIM_OBJECTIVE_GREENEST
};

struct sim_quota {
    char tenant[MODEL_NAME_BYTES];
    int64_t cpus_max, devices_milli_max, jobs_max; /* -1 = no limit */
    char parent[MODEL_NAME_BYTES];                 /* "" = the network */
    int64_t weight_milli, guarantee_cpus, guarantee_devices_milli;
    int64_t budget_micro; /* -1 = none */
};
struct sim_cells { /* whole ones that a tenant is guaranteed */
    char tenant[MODEL_NAME_BYTES];
    char site[MODEL_NAME_BYTES], chip[MODEL_NAME_BYTES];
    uint32_t nodes, racks, supernodes, pools;
};
struct sim_policy {
    char name[MODEL_NAME_BYTES];
    uint32_t limits;       /* enum sim_limits */
    uint32_t objective;    /* enum sim_objective: of jobs that have none of their own */
    int64_t limits_milli;  /* exact limits times this, in 1/1000 */
    int64_t pass_every_ms; /* a scheduling pass at most that often */
    uint32_t fill;         /* 1: nodes by expected fill */
    uint32_t defrag;       /* 1: work is moved so that gangs find room */
    uint32_t by_value;     /* 1: borrowed devices count by what they are worth */
    uint32_t assign;       /* 1: jobs are assigned to kinds of chip by their rates */
    uint32_t order;        /* enum grid_order */
    uint32_t preempts_not; /* 1: nobody makes way for others */
    uint32_t reservations; /* the first so many blocked jobs of a class are promised a start */
    uint32_t spares; /* nodes beside each gang of several nodes that saves and runs for a day */
    uint32_t spares_planned; /* 1: as many as pay for themselves, instead */
    uint32_t shifts_not;     /* 1: no job waits for cheaper or greener hours */
    /* So many of the jobs that have no deadline get one, so long after submit and limit. */
    int64_t patient_share_milli, patient_within_ms;
    uint32_t patient_saves;         /* 1: they can be stopped and go on where they were */
    uint32_t saves;                 /* 1: so can all jobs */
    uint32_t moves;                 /* 1: when a site's lease has ended, its jobs go on elsewhere */
    int64_t lease_ms;               /* how long a site may be unheard before that */
    const struct sim_quota *quotas; /* parents before those under them */
    uint32_t quotas_count;
    const struct sim_cells *cells;
    uint32_t cells_count;
};

struct sim_policy sim_policy_init(void); /* "default" */
/* Is there one of the tenant among the first `count`? */
bool sim_quotas_have(const struct sim_quota *quotas, uint32_t count, const char *tenant);
/* Lists come from `arena`. A file that names no policy is called as the file is. */
int sim_policy_open(const char *path, struct arena *arena, struct sim_policy *policy_out,
                    struct err *err);
int sim_policy_read(const char *file, const char *text, size_t len, struct arena *arena,
                    struct sim_policy *policy_out, struct err *err);
/* "order: fifo": what is not named stays. */
int sim_policy_change(const char *text, struct arena *arena, struct sim_policy *policy,
                      struct err *err);
