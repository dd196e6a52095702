/* sim_site.h - a made-up site and the made-up network to it.
 *
 * Commands travel in order within a session and are lost with it; reports are delayed, repeated
 * and reordered, and kept by the site until they were acknowledged. The site remembers the newest
 * epoch of a job that it took or disowned and never starts that one or an older one again. */
#pragma once

#include "base/rng.h"
#include "grid/grid.h"

#define SIM_NODES_MAX 4u
#define SIM_DEVICES_MAX 4u
#define SIM_GHOSTS 16u
#define SIM_IDS_MAX 16384u

struct sim_attempt {
    uint64_t job_id;
    uint32_t epoch;
    bool running, started_told;
    int64_t held_ms; /* it stands still since then; 0 = it does not */
    int64_t started_ms, ends_ms;
    bool is_leased;   /* it must be gone when the site's lease ends */
    uint32_t outcome; /* what it will end with */
    int32_t exit_code;
    int64_t energy_mj;
};

struct sim_command {
    enum { SIM_RUN, SIM_STOP, SIM_SUSPEND, SIM_RESUME, SIM_RECONCILE } type;
    uint64_t job_id;
    uint32_t epoch;
    uint64_t together; /* SIM_RUN: the marks of all parts of the attempt */
    int64_t duration_ms_max;
    bool is_leased;
    int64_t hello_ms;      /* SIM_RECONCILE: when the HELLO before was sent */
    uint32_t listed_count; /* SIM_RECONCILE */
    uint64_t *listed;      /* job, epoch, whether it is to stand still; owned */
};

struct sim_report { /* on its way to the controller */
    enum { SIM_STARTED, SIM_PROGRESS, SIM_ENDED, SIM_UNKNOWN, SIM_STANDS, SIM_STANDS_NOT } type;
    struct sim_attempt attempt;
};

struct sim_node {
    char name[16];
    bool present;
    uint32_t cpus, devices_count;
    uint32_t devices_first; /* uuids are NODE.devices_first + i */
};

/* Both ends of a site's lease: sim_lease.c. */
struct sim_lease {
    int64_t ends_ms;   /* as the site knows */
    int64_t sent_ms;   /* of the sign of life under way; 0 = none */
    bool heard;        /* it has come, and its answer is under way */
    int64_t surely_ms; /* as the controller counts: over by then */
};

struct sim_site {
    char name[16], owner[16], region[16];
    uint32_t index;
    struct sim_node nodes[SIM_NODES_MAX];
    uint32_t nodes_count;
    bool is_open, suspends;
    struct sim_lease lease;
    uint64_t session;
    struct sim_attempt *attempts; /* held: running, or ended and not acknowledged */
    uint32_t attempts_count, attempts_cap;
    struct sim_command *commands;
    uint32_t commands_count, commands_cap;
    struct sim_report *reports;
    uint32_t reports_count, reports_cap;
    struct sim_report ghosts[SIM_GHOSTS]; /* reports that were given once: they may come again */
    uint32_t ghosts_count;
    uint32_t fence[SIM_IDS_MAX]; /* by job: epochs up to this are never started again */
};

/* What runs anywhere: the driver's proof that no job runs twice at once. */
struct sim_truth {
    /* By job, one bit an epoch (sim_mark), of the last 32 at least. */
    uint64_t running[SIM_IDS_MAX];
    uint64_t billed[SIM_IDS_MAX]; /* over, durably */
    uint64_t across;              /* parts that ran beside another of theirs */
    uint64_t attempts_started, preempted, moved, leases_ended, suspended, resized, wishes;
    char failure[256]; /* the first thing that went wrong; "" = nothing */
};
static inline uint64_t sim_mark(uint32_t epoch)
{
    return UINT64_C(1) << epoch % 64;
}
void sim_fail(struct sim_truth *truth, const char *fmt, ...) PRINTF_LIKE(2, 3);

void sim_site_init(struct sim_site *site, uint32_t index, struct rng *rng);
void sim_site_fini(struct sim_site *site);
/* Inventory as the site tells it now; `nodes` has room for SIM_NODES_MAX. */
void sim_site_inventory(const struct sim_site *site, struct site_info *info_out,
                        struct node_info *nodes);
/* Is this attempt here, running or not acknowledged? */
bool sim_site_holds(struct sim_site *site, uint64_t job_id, uint32_t epoch);
void sim_site_send(struct sim_site *site, const struct sim_command *command);
void sim_site_drop_session(struct sim_site *site); /* what is on the way, both ways, is gone */
/* One command arrives, in order. False: none. */
bool sim_site_take_command(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                           int64_t now_ms);
/* Attempts whose time has come end. */
void sim_site_work(struct sim_site *site, struct sim_truth *truth, struct rng *rng, int64_t now_ms);
/* Everything it holds dies and is forgotten: a new disk. */
/* A node or a device comes or goes. */
void sim_site_change(struct sim_site *site, struct rng *rng);
void sim_site_wipe(struct sim_site *site, struct sim_truth *truth);
/* What must not outlive the lease ends, if it has ended by now: at each moment, of every site. */
void sim_site_watch(struct sim_site *site, struct sim_truth *truth, int64_t now_ms);
/* The event that a report becomes. */
void sim_report_event(const struct sim_report *report, struct rng *rng, int64_t now_ms,
                      struct event *event);
/* One report, any of those on the way; sometimes it stays on the way as well. False: none. */
bool sim_site_give_report(struct sim_site *site, struct rng *rng, struct sim_report *out);
/* One that came before, however long ago. */
bool sim_site_repeat_report(struct sim_site *site, struct rng *rng, struct sim_report *out);
/* The controller has this one's end on record. */
void sim_site_acknowledge(struct sim_site *site, uint64_t job_id, uint32_t epoch);
