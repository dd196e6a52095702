/* faults.h - what breaks, how often, and what a job does about it: a plan of rates and windows,
 * from which the engine draws by seed (docs/simulator.md). */
#pragma once

#include "sim/fleet.h"

struct sim_rate {
    int64_t per_1000_days_milli; /* failures of one thing in 1,000 days, in 1/1000; 0 = never */
    int64_t repair_ms;
};
struct sim_site_window {
    char site[MODEL_NAME_BYTES];
    struct sim_window window;
};
struct sim_checkpoint {
    int64_t every_ms;   /* of running; 0: by Young's formula from the gang's rate of failure */
    int64_t stall_ms;   /* what saving one costs */
    int64_t restart_ms; /* what coming back from one costs */
    int64_t least_ms;   /* jobs that run for less save none */
    bool on;
};
struct sim_shed { /* a grid event: so much less, for so long */
    char site[MODEL_NAME_BYTES];
    int64_t at_ms, length_ms, within_ms, percent_milli;
};
struct sim_faults {
    struct sim_rate nodes, chips, links, sites;
    int64_t slow_share_milli; /* of nodes, in 1/1000 */
    int64_t slow_speed_milli; /* what a slow node still does, in 1/1000 */
    struct sim_checkpoint checkpoint;
    const struct sim_site_window *windows;
    uint32_t windows_count;
    const struct sim_shed *sheds;
    uint32_t sheds_count;
};

struct sim_faults sim_faults_init(void); /* nothing breaks, nothing is saved */
/* Lists come from `arena`. -EINVAL with "file:line:column: ". */
int sim_faults_open(const char *path, struct arena *arena, struct sim_faults *faults_out,
                    struct err *err);
int sim_faults_read(const char *file, const char *text, size_t len, struct arena *arena,
                    struct sim_faults *faults_out, struct err *err);
/* Every window names a site of the fleet. */
int sim_faults_check(const struct sim_faults *faults, const struct sim_fleet *fleet,
                     struct err *err);
/* The best interval between checkpoints that each cost `stall_ms` when something fails every
 * `mtbf_ms` (Young 1974: sqrt(2 * stall * mtbf)); at least a second. */
int64_t sim_checkpoint_interval(int64_t stall_ms, int64_t mtbf_ms);
