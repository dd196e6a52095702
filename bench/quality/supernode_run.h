/* supernode_run.h - gangs on supernodes, start to end: in order of arrival without moves, or as
 * `mains` orders them, with moves. */
#pragma once

#include "sched/cells.h"
#include "sched/order.h"

#include <stdbool.h>
#include <stdint.h>

#define GANGS 8000u
#define POOLS_MAX 3u

struct fleet {
    const char *name;
    struct cells_shape shapes[POOLS_MAX]; /* node of 8, rack, supernode, pool */
    uint32_t pools_count;
};
#define SUPERNODE_LEVEL 2u
uint64_t fleet_devices(const struct fleet *fleet);

struct gang {
    int64_t submit_ms, run_ms; /* what it needs */
    struct cells_ask ask;
    bool is_tied; /* drawn as hard */
    /* What came of it. */
    int64_t end_ms;
    uint32_t stops;
    /* While it runs. */
    int64_t left_ms, since_ms, moved_ms, said_ms, owed_ms;
    struct order_job job;
    struct order_rank rank;
    uint32_t handle[POOLS_MAX]; /* in each pool */
    uint32_t pool;              /* where it runs */
    uint32_t ends;              /* how often its end was put into the heap */
    bool is_running;
};

enum supernode_way {
    WAY_ARRIVAL, /* in order of arrival, past what does not fit; nobody is moved or stopped */
    WAY_MOVES,   /* the same, with sched/defrag's moves */
    WAY_MAINS    /* order, making way and ageing by sched/order, and moves */
};
struct run_figures {
    uint32_t plans, moved, stopped, split_hard, tries;
    double moved_device_ms, busy_device_ms, plan_us;
};
void supernode_run(const struct fleet *fleet, struct gang *gangs, enum supernode_way way,
                   struct run_figures *figures);
