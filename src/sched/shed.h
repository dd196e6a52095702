/* shed.h - a site must draw less, and soon ("25 % less for 3 h, in 30 s"): which jobs are capped,
 * shrunk, paused, saved and stopped, moved or stopped, so that the cut is met in time and the
 * least work is lost; and in which order they come back.
 *
 * Each job offers ways of drawing less, each with the watts it frees, how long until it does, and
 * a cost in device-milliseconds: work that must be done again, saves, restarts and moves in full
 * (lost), and the time its devices do not work during the cut at a much lower weight (waiting:
 * whoever is interrupted, about as much waits; it decides between a cap and a pause). Classes
 * weigh the cost, so lower ones go first; so does having been interrupted before, which keeps one
 * job from paying for all. Ways that are not done in time do not count at all.
 *
 * The choice of at most one way a job is a knapsack to be covered at least cost. It is solved over
 * each job's convex hull by cost per watt, with every way to finish tried on the way (Gens and
 * Levner 1979: never twice the least where ways are one a job), then ways that turned out needless
 * or dear are taken back. The bound of the relaxed problem is told beside the cost. Ties go by id.
 *
 * The clock speed of a capped device is taken as the cube root of its power above idle, and work
 * as the clock speed: more is lost to a cap in this model than measured (McDonald et al. 2022:
 * V100s capped from 250 to 150 W train 6.8 % slower on average; here 19 %).
 *
 * Pure, and all state is the caller's; `struct shed` is scratch, kept to save allocations. Cost:
 * ways sorted once, O(n log n), and swaps_max times n; 600 jobs took 1 to 4 ms on a busy core. */
#pragma once

#include "model/request.h"

#include <stdbool.h>
#include <stdint.h>

#define SHED_JOBS_MAX (1u << 20)

enum shed_how {
    SHED_KEEP,
    SHED_CAP,    /* devices' power limited to watts_left in all */
    SHED_SHRINK, /* goes on with devices_left */
    SHED_PAUSE,  /* suspended in place, memory kept, devices held */
    SHED_SAVE,   /* asked for a checkpoint, or left to its own next one, and stopped then */
    SHED_MOVE,   /* as SHED_SAVE or SHED_STOP, and started at another site */
    SHED_STOP    /* now; goes on from its newest complete checkpoint */
};

struct shed_job {
    uint64_t id; /* unique among those given */
    enum job_class job_class;
    uint32_t devices;    /* >= 1 */
    uint32_t interrupts; /* how often it was shed lately (in a day, say); each adds half its cost */
    int64_t watts;       /* its devices now: measured, else as the chip draws under load */
    int64_t watts_idle;  /* the same devices with nothing on them */
    int64_t undone_ms;   /* of work that no complete checkpoint holds */
    int64_t restart_ms;
    /* Until power falls, by each way; -1 = not this way. save_ms: until it stands still to write
     * the checkpoint asked for, or until its own next one is complete. */
    int64_t stop_ms, pause_ms, save_ms, cap_ms, shrink_ms;
    int64_t save_lost_ms;   /* of work, by a save: standing still, or done after the snapshot */
    int64_t watts_saving;   /* its devices while it writes */
    int64_t watts_paused;   /* while it is suspended, where that is more than watts_idle */
    int64_t watts_cap_min;  /* lowest cap its devices take, in all */
    uint32_t devices_min;   /* when shrunk */
    int64_t shrink_lost_ms; /* of work, by a shrink: standing still, or to be done again */
    int64_t move_ms; /* without work on the way to another site, besides restart_ms; -1 = none */
};

struct shed_params {
    uint32_t class_weight[CLASS_COUNT];
    uint32_t waiting_milli;      /* weight of a device's waiting beside its lost work */
    int64_t time_margin_ms;      /* of the time given: word to the agents, and meters */
    uint32_t watts_margin_milli; /* freed beyond what is needed */
    int64_t touch_device_ms;     /* an interruption's cost besides: fewer are better */
    uint32_t swaps_max;
};
/* Classes 1, 4, 16, 64; waiting 0.02; 5 s; 2 %; one device-minute; 64 swaps. */
struct shed_params shed_params_default(void);

struct shed_ask {
    int64_t watts;              /* to be freed */
    int64_t within_ms;          /* from now */
    int64_t lasts_ms;           /* how long */
    uint32_t devices_elsewhere; /* room for moves */
};

struct shed_choice {
    uint32_t job; /* index into what was given */
    enum shed_how how;
    bool is_saved;         /* SHED_MOVE: after a checkpoint, as SHED_SAVE */
    uint32_t devices_left; /* that work on here: SHED_CAP, SHED_SHRINK; else 0 */
    int64_t watts_left;    /* drawn by all its devices then */
    int64_t watts_freed;
    int64_t ready_ms;   /* when */
    int64_t lost_ms;    /* device time: done again, saved, restarted, moved */
    int64_t waiting_ms; /* device time not worked during the cut */
};

struct shed_result {
    uint32_t count;
    int64_t watts_freed, lost_ms, waiting_ms; /* sums */
    double cost, cost_bound;                  /* weighted; no choice at all costs less than this */
    bool is_met;
};

struct shed; /* scratch and the choices of the last call */
struct shed *shed_create(void);
void shed_destroy(struct shed *shed);
/* Choose among `jobs` (count <= SHED_JOBS_MAX, asserted). When all together is not enough, all of
 * it is chosen and is_met is false. Choices in the order of `jobs`, good until the next call. */
struct shed_result shed_choose(struct shed *shed, const struct shed_params *params,
                               const struct shed_ask *ask, const struct shed_job *jobs,
                               uint32_t count, const struct shed_choice **choices_out);

struct shed_held { /* capped, shrunk, paused or stopped by a cut */
    uint64_t id;
    enum job_class job_class;
    int64_t watts;    /* more, when it is back */
    int64_t slack_ms; /* until its deadline cannot be met; INT64_MAX = none */
    int64_t since_ms; /* when it was interrupted */
};
/* Who comes back into `watts` of room: higher class first, then the least slack, then who was
 * interrupted first, then by id; who does not fit is passed over. Their indexes, in order, into
 * chosen_out (room for `count`); returns how many. `held` is left as it is. */
uint32_t shed_resume(struct shed *shed, const struct shed_held *held, uint32_t count, int64_t watts,
                     uint32_t *chosen_out);
