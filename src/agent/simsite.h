/* simsite.h - a site that is made up: so many nodes alike, and how long and how well attempts run
 * there. For tests and benches of everything but the running itself (executor_sim.c).
 *
 *     nodes: 213             # 1
 *     chip: h100-sxm-80g     # a kind of the catalogue; needed where there are devices
 *     devices: 8             # of each node; 0
 *     cpus: 64               # of each node; 64
 *     memory: 512G
 *     disk: 1T
 *     rack_nodes: 8          # nodes of one rack; 0 = no racks are told
 *     supernode_nodes: 48
 *     prefix: n              # nodes are n1, n2, ...
 *     run: 30s               # what an attempt takes, unless its job says SIM_SECONDS
 *     spread: exponential    # fixed, uniform (half to one and a half of it), exponential
 *     start: 0s              # from the order until it runs
 *     stop: 0s               # from being asked to stop until it has
 *     failures: 0.01         # the share of attempts that exit 1
 *     seed: 1
 *
 * What is drawn for an attempt follows from seed, job and epoch alone. A job's environment may
 * say SIM_SECONDS (a duration, as "90" or "250ms") and SIM_EXIT (its exit code). */
#pragma once

#include "agent/attempt.h"
#include "model/chip.h"

#define SIMSITE_FILE_BYTES_MAX (1u << 20)

enum simsite_spread { SIMSITE_FIXED, SIMSITE_UNIFORM, SIMSITE_EXPONENTIAL };
struct simsite {
    uint32_t nodes, devices, cpus; /* the last two of each node */
    uint32_t rack_nodes, supernode_nodes;
    int64_t memory_bytes, disk_bytes;
    char chip[MODEL_NAME_BYTES], prefix[MODEL_NAME_BYTES];
    int64_t run_ms, start_ms, stop_ms;
    uint32_t spread; /* enum simsite_spread */
    int64_t failures_milli;
    int64_t seed;
};

/* -EINVAL: file, line, column and what was expected. */
int simsite_read(const char *path, struct simsite *site_out, struct err *err);
/* The same of text in memory; `file` names it. */
int simsite_parse(const char *file, const char *text, size_t len, struct simsite *site_out,
                  struct err *err);
/* Its nodes, malloc'd; -ENOENT: the catalogue does not know the chip. */
int simsite_describe(const struct simsite *site, const struct catalogue *catalogue,
                     struct node_info **nodes_out, struct err *err);
/* The index of the node of this name; -1 = none. */
int simsite_find_node(const struct simsite *site, const char *name);

struct simsite_fate { /* of one attempt, if nobody stops it */
    int64_t run_ms;
    enum attempt_end end;
    int32_t exit_code;
};
/* `duration_ms_max` 0 = no limit. -EINVAL: the spec cannot be read. */
int simsite_draw(const struct simsite *site, struct attempt_key key, const char *spec_json,
                 int64_t duration_ms_max, struct simsite_fate *fate_out, struct err *err);
