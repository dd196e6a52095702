/* sim_world.h - the world of the random driver: one real grid, the sites that play their part in
 * it, and the log of all that happened. sim_grid.c drives it; sim_tell.c is what sites and
 * operators say now and then, and what they ask. */
#pragma once

#include "sim_lease.h"
#include "sim_load.h"
#include "sim_model.h"

#define SITES_MAX 3u
#define LOG_MAX 65536u

struct entry { /* of the log */
    size_t at, len;
    uint64_t first_id, ids_count; /* what a submit answered */
    uint32_t ack_site;            /* SITES_MAX: none */
    uint64_t ack_job;
    uint32_t ack_epoch;
    uint32_t effects_end; /* in `pending`, from the entry before */
};
struct pending {   /* an effect that waits for its event to be durable */
    uint32_t site; /* SITES_MAX: a ledger row: the attempt is over */
    struct sim_command command;
};

struct sim {
    struct rng rng;
    int64_t now_ms;
    struct grid *grid;
    struct model model;
    struct sim_truth truth;
    struct sim_site sites[SITES_MAX];
    uint32_t sites_count;
    struct buf log;
    struct entry entries[LOG_MAX];
    uint32_t entries_count, durable_count;
    struct pending *pending;
    uint32_t pending_count, pending_cap, performed_count;
    uint8_t answered[SIM_IDS_MAX];
    uint64_t next_id, next_session;
    struct buf saved; /* a snapshot of the state after saved_count events */
    uint32_t saved_count;
    uint32_t serial, crashes;
    bool verbose, quiet_ear;
    const char *corpus; /* NULL = none */
};

/* sim_grid.c */
bool sim_apply(struct sim *sim, struct event *event);
int64_t sim_event_time(struct sim *sim);
void sim_join(struct sim *sim, struct sim_site *site);
void sim_check_state(struct sim *sim, const char *after);
void sim_commit(struct sim *sim);
void sim_deliver_report(struct sim *sim, struct sim_site *site, bool again);

/* sim_tell.c */
void sim_cordon(struct sim *sim, struct sim_site *site, bool cordoned);
void sim_change_inventory(struct sim *sim, struct sim_site *site);
void sim_ask_why(struct sim *sim);
void sim_ask_plan(struct sim *sim);
void sim_tell_power(struct sim *sim, const struct sim_site *site);
void sim_cut(struct sim *sim, struct sim_site *site);
void sim_tell_owner(struct sim *sim, const struct sim_site *site);
void sim_tell_freight(struct sim *sim, const struct sim_site *site);
void sim_calm_queue(struct sim *sim, const struct sim_site *site);
void sim_calm_owner(struct sim *sim, const struct sim_site *site);
void sim_calm_power(struct sim *sim, const struct sim_site *site);
