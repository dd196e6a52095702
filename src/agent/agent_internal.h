/* agent_internal.h - the agent's own state, shared by its files only. */
#pragma once

#include "agent/agent.h"
#include "agent/executor.h"
#include "agent/labels.h"
#include "agent/lease.h"
#include "agent/logread.h"
#include "agent/meter.h"
#include "agent/receipts.h"
#include "agent/renew.h"
#include "agent/saves.h"
#include "agent/session.h"
#include "agent/site.h"
#include "agent/prestage.h"
#include "agent/staging.h"
#include "agent/telling.h"
#include "agent/tenants.h"
#include "agent/tunnel.h"
#include "agent/watch.h"

#include <uv.h>

struct agent {
    const struct agent_config *config;
    char *agent_dir;
    int lock_fd;
    uint64_t incarnation;
    uv_loop_t loop;
    uv_poll_t executor_poll;
    uv_timer_t tick, unknown_timer, minute, alive;
    uv_timer_t contact; /* when it may be heard again, or no longer */
    uv_signal_t signals[2];
    uv_work_t chores; /* retention */
    bool chores_running;
    uint32_t ticks_count;

    struct executor *executor;
    struct session *session;
    struct lease lease;
    struct err criu; /* why jobs here cannot be saved by CRIU; "" = they can */
    struct receipts *receipts;
    int64_t receipts_trimmed_ms; /* clock_mono_ms; the chores' own */
    struct renewal *renewal;     /* of the certificate; NULL where it has none */
    struct logread *logread;
    struct watch *watch;     /* NULL: the engine looks its nodes over itself */
    struct pricing *pricing; /* NULL: nothing changes over time */
    struct depot *depot;
    struct turns *turns;
    struct saves *saves;
    struct staging *staging;
    struct prestage *prestage;
    struct tunnels *tunnels;
    struct tenants *tenants; /* NULL unless root */
    struct site site;
    bool policy_is_bad; /* and that was said */
    struct slurm_settings slurm;
    struct kube_settings kube;
    struct meter *meter;
    struct telling telling;

    struct wire_attempt_id *unknown; /* of the last RECONCILE, and not yet ordered anew */
    uint32_t unknown_count;
    struct wire_attempt_id *held; /* of the last HELLO */
    int exit_code;
};

/* agent.c */
void agent_take_lease(struct agent *agent, const struct wire_command *reconcile);
void agent_tell_node(struct agent *agent);
void agent_tell_inventory(struct agent *agent);
/* agent_nodes.c: a site over several machines */
bool agent_has_nodes(const struct agent *agent);
int agent_open_nodes(struct agent *agent, struct err *err); /* where it is one */
/* agent_command.c */
void agent_on_command(void *context, const struct wire_command *command);
void agent_on_note(void *context, enum attempt_note_type type, const struct attempt_record *record);
/* An attempt has brought what it had to the network: its end may be told. */
void agent_on_saved(void *context, struct attempt_key key);
/* Its checkpoint is here, or cannot be. */
void agent_on_staged(void *context, const struct attempt_order *order,
                     const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                     int rc, const struct err *err);
void agent_link(void *context, struct transfer_link *link_out);
struct turn agent_turn(void *context, struct attempt_key key, enum turn_kind kind,
                       int64_t since_ms);
void agent_send_unknown(struct agent *agent);
void agent_start_tick(struct agent *agent);
