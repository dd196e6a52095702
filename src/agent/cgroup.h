/* cgroup.h - limits and accounts of an attempt's processes, by what this machine has: cgroup v2,
 * else v1 controllers (cpu, cpuacct, memory, pids; each may be missing), else nothing (then only
 * rlimits hold).
 *
 * cgroup_root_open finds, once, a place the agent may write; groups are folders below it. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum cgroup_kind { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };
enum cgroup_controller { CG_CPU, CG_CPUACCT, CG_MEMORY, CG_PIDS, CG_COUNT };

struct cgroup_root {
    enum cgroup_kind kind;
    int fds[CG_COUNT]; /* folders that hold the attempts' groups; -1 = none. v2: all the same */
};
struct cgroup_limits {
    uint32_t cpus;        /* weight, and quota unless cpus_unlimited */
    bool cpus_unlimited;  /* holds every CPU of the node */
    int64_t memory_bytes; /* 0 = none */
    uint32_t pids_max;    /* 0 = none */
};
struct cgroup {
    const struct cgroup_root *root;
    char name[48];
    int fds[CG_COUNT]; /* -1 = none */
    /* v1: what was written last, so that the next attempt of the group writes only what differs */
    struct cgroup_limits limits;
    bool is_limited;
    int64_t oom_kills_before; /* of the group's earlier attempts */
};
struct cgroup_usage {
    int64_t cpu_us;            /* -1 = not known */
    int64_t memory_peak_bytes; /* -1 = not known */
    int64_t oom_kills;
};

/* The cgroup this process is in, under `controller` ("" = v2), from /proc/self/cgroup. */
bool cgroup_own_path(const char *controller, char *out, size_t out_bytes);
/* `tag` tells agents on one machine apart. Never fails: without a place the kind is NONE. */
void cgroup_root_open(const char *tag, struct cgroup_root *root_out);
/* Leaves nothing behind unless groups with processes are still in there. */
void cgroup_root_close(struct cgroup_root *root);

/* Make the group (limits come later, with the order). */
int cgroup_create(const struct cgroup_root *root, const char *name, struct cgroup *cgroup_out,
                  struct err *err);
int cgroup_limit(struct cgroup *cgroup, const struct cgroup_limits *limits, struct err *err);
/* Move the calling process in. Slow: the kernel may wait for a grace period of its locks, tens of
 * milliseconds, before it lets a process change groups; so supervisors enter theirs while they
 * wait for an order, and what they start is born there. Only for v1; -errno. */
int cgroup_enter(const struct cgroup *cgroup);
/* v1: the calling process leaves the group that bounds its CPUs, and only that one, for the folder
 * above it: those it has started stay. Slow, as entering. */
void cgroup_leave_cpu(const struct cgroup *cgroup);
/* v2 can give birth inside a group (CLONE_INTO_CGROUP): the descriptor for it; -1 = no v2. */
int cgroup_birth_fd(const struct cgroup *cgroup);
void cgroup_measure(const struct cgroup *cgroup, struct cgroup_usage *usage_out);
/* A descriptor that becomes readable (POLLPRI or POLLIN) when memory ran out; -1 = not offered. */
int cgroup_watch_oom(const struct cgroup *cgroup);
/* All processes in it stand still, soon, or go on. Only v2 (-ENOTSUP): in v1 we are in it. */
int cgroup_set_frozen(const struct cgroup *cgroup, bool is_frozen);
/* SIGKILL everything in it but ourselves, again and again until it is empty (at most ~2 s). -EBUSY
 * when it is not. */
int cgroup_kill(const struct cgroup *cgroup);
/* Make an emptied group (v1: we are in it, alone) as good as new for another attempt: its accounts
 * start at nothing again. False: it cannot be, for instance as pages of the last attempt are still
 * counted in it; then make another one. */
bool cgroup_renew(struct cgroup *cgroup);
/* Remove the emptied group. */
void cgroup_remove(struct cgroup *cgroup);
/* Kill and remove a group by name: what a supervisor that died left behind. */
void cgroup_sweep(const struct cgroup_root *root, const char *name);
/* Remove a group that should be empty, by name; cgroup_sweep when it is not. */
void cgroup_discard(const struct cgroup_root *root, const char *name);
/* Remove every group that nothing lives in: of supervisors whose spawner was gone when they ended.
 */
void cgroup_sweep_empty(const struct cgroup_root *root);
