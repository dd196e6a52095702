/* executor.h - who runs attempts at a site: this machine itself, or an engine it stands before.
 *
 * One table of functions per engine: "local" (supervisors on this machine), "slurm" (a cluster,
 * through Slurm's own commands), "kubernetes" (a cluster, through its API server) and "sim" (a site
 * that is made up). An executor belongs to one thread, never blocks for long, and tells what
 * happened through `told`, from open, pump and tick only. What it holds survives the agent:
 * executor_open finds again all that was begun before. */
#pragma once

#include "agent/attempt.h"
#include "agent/lease.h"
#include "model/chip.h"
#include "wire/wire.h"

#define EXECUTOR_TICK_MS 2000

enum attempt_state {
    ATTEMPT_BEGUN, /* ordered; not yet heard that it runs */
    ATTEMPT_RUNNING,
    ATTEMPT_ENDED /* its record waits to be acknowledged */
};
struct attempt_view {
    struct attempt_key key;
    enum attempt_state state;
    const struct attempt_record *record; /* started_ms when running; all when ended */
};

typedef void (*executor_told_fn)(void *context, enum attempt_note_type type,
                                 const struct attempt_record *record);

struct executor;
struct slurm_settings;
struct kube_settings;
struct executor_config {
    const char *state_dir, *agent_dir;
    const struct slurm_settings *slurm; /* of the owner, for that engine */
    const char *sim_fleet;              /* the file, for that engine (simsite.h); NULL = none */
    const struct kube_settings *kube;   /* the same */
    executor_told_fn told;
    void (*changed)(void *context); /* `discover` would say something else now */
    void *context;
};
struct executor_ops {
    const char *name;
    bool images;       /* it runs the container images that jobs bring */
    bool is_elsewhere; /* nothing of this machine counts: it is not looked over */
    /* Its machines start nothing on each other: one process cannot start the others of a gang. */
    bool is_apart;
    bool one_kind; /* an attempt holds devices of one kind only */
    bool tunnels;  /* its tasks reach what listens on this machine's loopback, and it them */
    /* What is ordered with a lease is gone when that ends, whatever becomes of the agent. Where
     * not, such work is refused. */
    bool (*keeps_lease)(const struct executor *executor);
    /* The lease was taken up, or renewed. NULL: who stands over attempts looks itself. */
    void (*lease)(struct executor *executor, const struct lease *lease);
    /* Before any thread exists: it may fork. */
    int (*open)(const struct executor_config *config, struct executor **executor_out,
                struct err *err);
    /* Running attempts go on. */
    void (*close)(struct executor *executor);
    /* A descriptor for the loop: readable when executor_pump should be called. */
    int (*fd)(const struct executor *executor);
    /* -EPIPE: the engine is gone, start the agent anew. */
    int (*pump)(struct executor *executor, struct err *err);
    /* Every EXECUTOR_TICK_MS while it answers true: something has to be looked after. */
    bool (*tick)(struct executor *executor);
    /* -EEXIST: this epoch was begun before (find or recall says how it is); -EPIPE as pump;
     * -ENOTSUP: another site's engine may do it. */
    int (*start)(struct executor *executor, const struct attempt_order *order,
                 const char *spec_json, struct err *err);
    /* Ask it to stop; grace: WIRE_GRACE_JOB or _SAVES, or so long. -ENOENT: never heard of, or
     * ended. */
    int (*stop)(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                const char *reason, struct err *err);
    /* Hold it still in place, or let it go on. NOTE_SUSPENDED is told each time it is to stand;
     * that it goes on is not told. -ENOENT: never heard of, or ended. NULL: not to be had. */
    int (*suspend)(struct executor *executor, struct attempt_key key, bool is_suspended,
                   struct err *err);
    bool (*find)(struct executor *executor, struct attempt_key key, struct attempt_view *view_out);
    /* All it holds, in no order; `visit` may not change the executor. */
    void (*each)(struct executor *executor, void (*visit)(void *, const struct attempt_view *),
                 void *context);
    uint32_t (*count)(const struct executor *executor);
    /* The record of an attempt that was acknowledged before. */
    bool (*recall)(struct executor *executor, struct attempt_key key,
                   struct attempt_record *record_out);
    /* NULL = never: its usage has its energy in it, told by who ran it. */
    bool (*is_metered)(struct executor *executor, struct attempt_key key);
    /* The controller has the record: it need not be reported again. */
    void (*acknowledge)(struct executor *executor, struct attempt_key key);
    /* Nobody will ask for its record again: logs and outputs stay as long as there is room. */
    void (*forget)(struct executor *executor, struct attempt_key key);

    /* Only engines that stand before more than this machine; NULL otherwise. Without `discover` the
     * site's first node is this machine (nodes.h). */
    /* The nodes as last seen; malloc'd. */
    int (*discover)(struct executor *executor, const struct catalogue *catalogue,
                    struct node_info **nodes_out, uint32_t *count_out, struct err *err);
    /* How long work waits in the engine's own queue (queuing.h); how many rows. NULL: it has none.
     */
    uint32_t (*queue)(struct executor *executor, struct wire_wait rows_out[WIRE_WAITS_MAX]);
    /* As start, on any of these nodes. `order` tells all but the parts; its devices[0], if any, the
     * kind of device. */
    int (*start_parts)(struct executor *executor, const struct attempt_order *order,
                       const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                       struct err *err);
    /* One that it holds is ordered again, as in each session with the network; NULL: it needs no
     * word of that. */
    void (*again)(struct executor *executor, const struct attempt_order *order,
                  const struct wire_part *parts, uint32_t parts_count, const char *spec_json);
};
struct executor { /* an engine's own struct begins with it */
    const struct executor_ops *ops;
};

extern const struct executor_ops executor_local_ops;
extern const struct executor_ops executor_nodes_ops; /* local, and machines that dial it */
extern const struct executor_ops executor_slurm_ops;
extern const struct executor_ops executor_sim_ops;
extern const struct executor_ops executor_kubernetes_ops;
