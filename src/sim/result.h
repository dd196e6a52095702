/* result.h - what came of one run: sums, waits and series. All counted things are integers in small
 * units; the same inputs give the same result, byte for byte. A result owns its lists. */
#pragma once

#include "sim/fleet.h"
#include "sim/series.h"

#define SIM_WHYS_MAX 8u
#define SIM_REASONS_MAX 24u
#define SIM_STORIES_MAX 16u
#define SIM_MOMENTS_MAX 64u

struct sim_spread { /* of a list of times */
    uint64_t count;
    int64_t mean_ms, p50_ms, p90_ms, p99_ms, most_ms;
};

enum sim_network_series { /* the first series of the set; then two a group, then one a site */
                          SIM_SERIES_QUEUED,
                          SIM_SERIES_RUNNING,
                          SIM_SERIES_DEVICES, /* held, 1/1000 */
                          SIM_SERIES_CPUS,    /* held */
                          SIM_SERIES_POWER,   /* mW of what runs */
                          SIM_SERIES_MONEY,   /* micro-units an hour */
                          SIM_SERIES_CARBON,  /* ug an hour */
                          SIM_SERIES_DOWN,    /* nodes that are closed by a fault or a window */
                          SIM_SERIES_NETWORK_COUNT
};

struct sim_group { /* the devices of one kind at one site, or its CPUs (chip "") */
    uint32_t site;
    char chip[MODEL_NAME_BYTES];
    uint64_t capacity; /* devices; CPUs */
    uint64_t attempts;
    __int128 held_ms; /* devices x ms in 1/1000; CPUs x ms */
};
struct sim_site_sums {
    int64_t energy_mj, carbon_ug, price_micro;
    uint64_t attempts, failures; /* of its nodes, devices, link and power */
};
struct sim_why {
    char code[32], text[256];
    uint64_t jobs;
};
#define SIM_TENANTS_MAX 1000u
struct sim_tenant { /* of those that have jobs the first so many, by name as they came */
    char name[MODEL_NAME_BYTES];
    uint64_t jobs, ended;
    __int128 wait_ms;  /* submit to first start, of those that started */
    __int128 delay_ms; /* submit to end less the run: of those that ended; restarts count */
};
struct sim_reason { /* for which jobs waited: by the network's own record, asked now and then */
    char code[32];
    uint64_t asked;   /* how often it was the answer */
    __int128 wait_ms; /* job-ms, by what was asked */
    /* Of the one asked that had waited longest. */
    uint64_t job;
    int64_t waited_ms;
    char text[256];
};
struct sim_moment { /* of a job whose story was asked for */
    int64_t at_ms;
    char code[32], text[256];
    char sooner[256]; /* what would have started it sooner; "" = nothing known */
};
struct sim_story {
    uint64_t job; /* sim_job.id */
    uint32_t index;
    uint32_t moments_count;
    struct sim_moment *moments; /* SIM_MOMENTS_MAX: past it, the last is overwritten */
};
struct sim_goodput {                 /* device-ms (1/1000), or CPU-ms where no job held a device */
    __int128 useful, lost, overhead; /* overhead: saving checkpoints and coming back */
};

struct sim_result {
    char policy[MODEL_NAME_BYTES];
    int64_t end_ms;              /* the last end, from the start */
    uint64_t held_milli;         /* devices held when it was stopped (--until), in 1/1000 */
    uint64_t submitted, refused; /* refused: by the grid, at submit */
    uint64_t done, failed, cancelled, never_started,
        cut_off; /* cut off: ran at the end (--until) */
    uint64_t attempts, restarts, passes, steps;
    uint64_t suspends;                    /* times an attempt was held still in place */
    uint64_t yields;                      /* of the restarts: attempts that made way */
    uint64_t sheds;                       /* grid events */
    uint64_t deadlines, deadlines_missed; /* jobs that ended by themselves and had one */
    uint64_t node_failures, chip_failures, link_failures, site_failures, windows;
    struct sim_spread wait[CLASS_COUNT], wait_all; /* submit to first start */
    struct sim_spread turnaround; /* submit to end, of jobs that ended by themselves */
    int64_t slowdown_milli;       /* mean of max(1, turnaround / max(run, 10 s)), in 1/1000 */
    struct sim_goodput devices, cpus;
    __int128 job_run, job_span; /* of restarted jobs, devices x ms: useful, first start to end */
    int64_t energy_mj, carbon_ug, price_micro;
    uint64_t power_unknown; /* attempts on a chip whose watts are not known */
    uint64_t
        speed_unknown; /* attempts whose chip or reference has no known speed: as in the trace */
    struct sim_why whys[SIM_WHYS_MAX];
    uint32_t whys_count;
    struct sim_reason reasons[SIM_REASONS_MAX]; /* the heaviest first */
    uint32_t reasons_count;
    struct sim_story stories[SIM_STORIES_MAX];
    uint32_t stories_count;
    struct sim_group *groups;
    uint32_t groups_count;
    struct sim_site_sums *sites; /* fleet->sites_count */
    uint32_t sites_count;
    struct sim_series_set series;
    struct sim_tenant *tenants;
    uint32_t tenants_count;
    /* Mean wait of the jobs submitted in each bucket, by class: sums and counts. */
    int64_t (*wait_sums)[CLASS_COUNT];
    uint32_t (*wait_counts)[CLASS_COUNT];
};

void sim_result_fini(struct sim_result *result);
static inline uint32_t sim_series_of_group(uint32_t group)
{
    return SIM_SERIES_NETWORK_COUNT + group;
}
static inline uint32_t sim_series_of_site(const struct sim_result *result, uint32_t site)
{
    return SIM_SERIES_NETWORK_COUNT + result->groups_count + site; /* mW */
}
static inline uint32_t sim_series_of_site_money(const struct sim_result *result, uint32_t site)
{
    return sim_series_of_site(result, result->sites_count + site); /* micro-units an hour */
}
static inline uint32_t sim_series_of_site_carbon(const struct sim_result *result, uint32_t site)
{
    return sim_series_of_site(result, 2 * result->sites_count + site); /* ug an hour */
}
/* Sorts `times`. */
struct sim_spread sim_spread_of(int64_t *times, uint64_t count);
