/* grid.h - the network as a state machine: grid_step(state, event) -> state', effects.
 *
 * Pure: no I/O, no clock, no threads, no globals; several grids live in one process. The same
 * events give the same state, byte for byte (grid_snapshot), on every machine.
 *
 * A shell (controller, simulator) appends the event to its log, steps, and performs the effects
 * once the event is durable. Effects are idempotent and carry (job, epoch); after a restart the
 * shell replays with effects thrown away and then calls grid_reissue.
 *
 * Ids: a single job takes the next id. An array of n elements takes n + 1: the array's own id A,
 * then element k (from 0) has id A + 1 + k.
 *
 * Time is the grid's own clock: the greatest event time so far. When memory is short the process
 * aborts: a crash loses nothing that was answered, a half-done step would.
 *
 * The grid holds live jobs (queued, held, starting, running, stopping) and, of ended ones, only
 * what is still needed (dependents waiting, idempotency keys inside GRID_KEY_KEEP_MS). Ended jobs
 * leave through EFFECT_JOB_ENDED. */
#pragma once

#include "grid/event.h"

struct grid; /* opaque */

#define GRID_JOBS_MAX 2000000u
#define GRID_KEY_KEEP_MS (24 * 3600 * 1000LL)
/* A job whose attempts keep getting lost ends as failed: so many, and one more for each so long
 * that its attempts have run in all. A run of weeks outlives a loss now and then, a node that kills
 * what it gets is not fed for ever. */
#define GRID_LOST_TRIES_MAX 5u
#define GRID_LOST_FORGIVE_MS (3600 * 1000LL)
#define GRID_ELEMENTS_MAX 100000u /* of one array */
#define GRID_PARTS_MAX 4096u      /* nodes of one gang */
#define GRID_SITES_MAX 4096u
#define GRID_WEIGHT_MILLI_MAX 1000000000u
#define GRID_LEASE_MS_MAX (366 * 24 * 3600 * 1000LL)
#define GRID_GUARANTEE_MAX (1LL << 40)
#define GRID_PASS_STARTS_MAX 1000u    /* a pass that starts so many stops there and wants another */
#define GRID_OUTCOMES_KEPT (1u << 22) /* how far back `after` may name an ended job, in ids */
#define GRID_RESERVATIONS_MAX 16u
#define GRID_HOLD_AFTER_MS                                                                         \
    (5 * 60 * 1000LL) /* see docs/scheduling.md: when the head holds nodes                         \
                       */

enum grid_order { /* numbers are for ever: they are in journals and snapshots */
                  ORDER_FAIR = 0,
                  ORDER_FIFO = 1,
                  ORDER_PREDICTED = 2, /* fair, and of one tenant what needs less goes first */
                  ORDER_DEADLINE = 3   /* who must start first to keep its deadline */
};
#define ORDER_LAST ORDER_DEADLINE
enum job_state {               /* numbers are for ever */
                 JOB_HELD = 0, /* waits for `after` or `begin` */
                 JOB_QUEUED = 1,
                 JOB_STARTING = 2, /* run effect given, not yet reported started */
                 JOB_RUNNING = 3,
                 JOB_STOPPING = 4, /* stop effect given */
                 JOB_DONE = 5,     /* exit 0 */
                 JOB_FAILED = 6,
                 JOB_CANCELLED = 7
};
const char *job_state_name(enum job_state state); /* "queued" */
bool job_state_is_final(enum job_state state);

/* The share of one node that one attempt holds. Devices in 1/1000 each. */
struct alloc_part {
    uint32_t node;  /* index in the site's inventory */
    uint32_t tasks; /* tasks of the gang on this node */
    uint32_t cpus;
    int64_t memory_bytes;
    int64_t disk_bytes;
    uint32_t devices_count;
    struct {
        uint32_t index; /* in node_info.devices */
        uint32_t milli;
    } devices[NODE_DEVICES_MAX];
    /* Of a mixed gang: how much of all work each task here should do, in ppm; else none. */
    uint32_t shares_count;
    uint32_t shares_ppm[NODE_DEVICES_MAX];
};
struct allocation {
    char site[MODEL_NAME_BYTES];
    uint32_t parts_count;
    const struct alloc_part *parts; /* borrowed until the next step */
    uint32_t spares_count; /* nodes that stand by; they follow the parts, and nothing runs there */
};

/* Of an attempt at several sites, in the order of its ranks. Each part has an epoch of its own; the
 * first, with rank 0, has the attempt's. */
struct across_site {
    char site[MODEL_NAME_BYTES];
    uint32_t epoch, first_rank, tasks;
    bool is_over; /* its part has ended */
};
struct across_view {
    uint32_t sites_count; /* 0 = it is at one site */
    uint32_t self;        /* which of them `allocation` is of */
    struct across_site sites[REQUEST_SITES_MAX];
};

/* A job as the shell may read it; all pointers borrowed until the next step. */
struct job_view {
    uint64_t id;
    uint64_t array_id;    /* 0 = not an element */
    uint32_t array_index; /* 0 .. elements-1 */
    uint32_t array_count;
    enum job_state state;
    uint32_t epoch; /* of the newest attempt; 0 = none yet */
    uint32_t attempts_failed, attempts_lost;
    const char *tenant, *user, *name;
    const struct job_request
        *request; /* rebuilt into a scratch of the grid: good until next call */
    const char *spec_json;
    uint32_t spec_len;
    int64_t submitted_ms, eligible_ms, started_ms, ended_ms; /* 0 = not yet */
    int64_t promised_start_ms;    /* it starts by then; 0 = nothing is promised */
    struct allocation allocation; /* parts_count 0 = holds none; of several sites, one's */
    struct across_view across;
    int32_t exit_code;
    enum attempt_outcome outcome; /* of the newest ended attempt */
    const char *reason;           /* of the state, one line, "" when there is none */
    bool cancel_requested;
    bool suspended;       /* it runs, and was told to stand still in place: `reason` */
    bool stands;          /* and does */
    int64_t suspended_ms; /* how long its attempts have stood so, in all */
    struct usage usage;   /* all attempts together, so far */
    /* Its newest checkpoint that the network holds, by its name in the store; "" = none. */
    const char *checkpoint;
    uint32_t checkpoint_epoch; /* of the attempt that wrote it */
    int64_t checkpoint_bytes, checkpoint_saved_ms;
    int64_t checkpoint_every_ms;   /* how often this attempt should save; 0 = as the job says */
    uint32_t width_min, width_max; /* of an elastic job, in tasks; 0 = it is not */
    uint32_t width_wish;           /* no wider than this, as its user says; 0 = not said */
};

enum effect_type {
    EFFECT_RUN,         /* site: run attempt (job, epoch) on allocation */
    EFFECT_STOP,        /* site: stop (job, epoch) */
    EFFECT_JOB_CHANGED, /* tell watchers: state, reason */
    EFFECT_JOB_ENDED,   /* final: write history; after this the grid forgets it (no JOB_CHANGED) */
    EFFECT_USAGE,       /* one ledger row: an attempt's usage; view.allocation still shows what it
                           held. Comes before the JOB_CHANGED or JOB_ENDED of the same attempt */
    EFFECT_SUSPEND,     /* site: hold (job, epoch) still where it is, and say so */
    EFFECT_RESUME,      /* site: (job, epoch) goes on */
    EFFECT_RECEIPT, /* what a site signed of an attempt: `receipt`; no view. The USAGE or SETTLED
                       of the same attempt follows */
    EFFECT_SETTLED  /* the ledger row of an attempt that was closed by LEASE_ENDED, as its site
                       told it later: `usage` in all, `more` beyond the row. Once an attempt; no
                       view: the job may have ended */
};
struct effect {
    enum effect_type type;
    uint64_t job_id;
    uint32_t epoch;
    struct job_view view;            /* as of after the step; strings good until the next step */
    struct usage usage;              /* EFFECT_USAGE, _SETTLED: of this attempt */
    struct usage more;               /* EFFECT_SETTLED */
    uint32_t outcome;                /* EFFECT_USAGE, _SETTLED */
    int32_t exit_code;               /* EFFECT_USAGE */
    int64_t granted_ms, released_ms; /* EFFECT_USAGE, _SETTLED */
    /* EFFECT_USAGE: what the site claimed and cannot be; `usage` holds the bounds. */
    uint32_t disputes_count;
    struct usage_dispute disputes[USAGE_CLAIMS];
    const struct event_receipt *receipt; /* EFFECT_RECEIPT: good during the call */
};
/* The shell's ear: called for each effect in order, inside grid_step. NULL = throw away. */
typedef void (*effect_fn)(void *context, const struct effect *effect);

struct step_result {
    uint64_t job_id;     /* job_submitted: the job's or the array's id (also on a repeated key) */
    uint32_t jobs_count; /* 1, or the array's elements */
    bool repeated;       /* the idempotency key was known: nothing changed */
};

struct grid *grid_create(void);
void grid_destroy(struct grid *grid);
/* How many of the first blocked jobs of each class are promised a start: 1 .. 16, else 4. A grid's
 * own from the first event on. */
#define GRID_RESERVATIONS 4u
void grid_set_reservations(struct grid *grid, uint32_t count);

/* Check without changing: what grid_step would refuse, refused before it is journaled.
 * -ENOENT unknown job, tenant or site; -EINVAL; -EPROTO not legal in this state;
 * -EDQUOT over quota; -ENOSPC too many jobs; -EALREADY nothing would change; -EKEYREJECTED the
 * idempotency key came with another body; -EACCES the site was forgotten. */
int grid_check(const struct grid *grid, const struct event *event, struct err *err);
/* The same of cells whose tenant may not be set yet: it would be first. */
int grid_check_cells(const struct grid *grid, const struct event_tenant_cells *event,
                     struct err *err);
/* A key that is remembered: what the submit with it answered. So a repeat need not be journaled;
 * one that was journaled all the same changes nothing (result.repeated). */
bool grid_find_key(const struct grid *grid, const char *tenant, const char *key,
                   struct step_result *result_out);
/* How an ended job (or array, taken together) ended, while that is remembered
 * (GRID_OUTCOMES_KEPT): JOB_DONE, JOB_FAILED or JOB_CANCELLED; -1 = live, unknown or too old. */
int grid_find_outcome(const struct grid *grid, uint64_t id);
/* Apply. An event that grid_check refuses changes nothing and gives the same error (a replayed
 * journal never holds one). Stale reports (old epoch, ended job) are legal and change nothing. */
int grid_step(struct grid *grid, const struct event *event, effect_fn perform, void *context,
              struct step_result *result_out, struct err *err);
/* Give RUN for attempts that are starting or running, STOP for those stopping. */
void grid_reissue(struct grid *grid, effect_fn perform, void *context);

bool grid_wants_pass(const struct grid *grid);       /* something changed that may start a job */
int64_t grid_next_timer_ms(const struct grid *grid); /* send TICK then; INT64_MAX = none. May be one
                                                        that no longer matters: a tick sweeps it */

bool grid_find_job(struct grid *grid, uint64_t id, struct job_view *view_out);
/* Where an attempt, or a part of one, holds; false: it does not, or no longer. */
struct attempt_place {
    const char *site; /* good until the next step */
    bool started;     /* as its site said */
};
bool grid_find_attempt(const struct grid *grid, uint64_t job_id, uint32_t epoch,
                       struct attempt_place *out);
/* Live jobs by id, ascending, after `after_id`; false at the end. `tenant` NULL = all. */
bool grid_next_job(struct grid *grid, uint64_t after_id, const char *tenant,
                   struct job_view *view_out);
/* The same from the newest down: below `before_id` (UINT64_MAX = from the end). */
bool grid_prev_job(struct grid *grid, uint64_t before_id, const char *tenant,
                   struct job_view *view_out);
/* An array's live elements. */
uint32_t grid_array_live(const struct grid *grid, uint64_t array_id, uint32_t *queued_out,
                         uint32_t *running_out);
struct grid_counts {
    uint64_t held, queued, starting, running, stopping;
    uint64_t submitted_total, done_total, failed_total, cancelled_total, attempts_total;
    uint64_t passes_total;
};
struct grid_counts grid_count(const struct grid *grid);

/* A tenant's limits (-1 = none) and what is held under them; known while it has jobs or limits. */
struct tenant_view {
    const char *name; /* good until the next step */
    int64_t cpus_max, devices_milli_max, jobs_max;
    uint64_t cpus_held, devices_milli_held; /* as jobs_live: with all tenants under it */
    uint32_t jobs_live;
    const char *parent;    /* "" = the network */
    uint32_t weight_milli; /* among its siblings */
    int64_t guarantee_cpus, guarantee_devices_milli;
    int64_t budget_micro, spent_micro, reserved_micro; /* budget -1 = none */
};
bool grid_tenant_find(const struct grid *grid, const char *name, struct tenant_view *view_out);
/* In the order of their names, after `after` ("" = the first). Looks at all tenants. */
bool grid_tenant_next(const struct grid *grid, const char *after, struct tenant_view *view_out);

/* Whole cells of a site that a tenant is guaranteed (guards.h), one by one from 0 in the order in
 * which they were bound; false past the last. Texts are good until the next step. */
struct cell_view {
    const char *tenant, *site, *chip;
    uint32_t level;    /* enum topology_level */
    const char *place; /* the rack, the supernode, the node; "" = all of the chip's pool */
    uint32_t nodes;    /* that are there */
    uint64_t devices_milli, own_milli, lent_milli; /* own: held by whose cell it is */
};
bool grid_cell(const struct grid *grid, uint32_t index, struct cell_view *view_out);
const char *grid_level_name(uint32_t level); /* "rack" */

/* How the network orders work, as the operator set it. */
struct grid_policy {
    uint32_t order;        /* enum grid_order */
    bool preempts;         /* those who go first may take back room */
    uint32_t fills;        /* by expected fill: enum packer_reach (sched/packer.h) */
    bool by_value;         /* borrowed devices count by what they are worth */
    bool defrags;          /* work is moved so that gangs find room */
    bool assigns;          /* jobs go to the kinds of chip that all of them gain most by */
    uint32_t reservations; /* blocked jobs of a class that are promised a start */
};
struct grid_policy grid_policy(const struct grid *grid);
const char *grid_order_name(uint32_t order); /* "fair" */
int grid_order_find(const char *name);       /* enum grid_order, or -1 */

/* Sites and what is free there now. */
struct node_view {
    const struct node_info *info;
    bool cordoned, present;
    const char *cordon_reason;
    uint32_t cpus_free;
    int64_t memory_free_bytes, disk_free_bytes;
    uint32_t devices_free_milli[NODE_DEVICES_MAX];
    bool devices_cordoned[NODE_DEVICES_MAX];
    uint32_t jobs_count;
};
uint32_t grid_site_count(const struct grid *grid);
const struct site_info *grid_site_get(const struct grid *grid, uint32_t index, bool *reachable_out);
uint64_t grid_site_session(const struct grid *grid, uint32_t index); /* as site_seen told last */
bool grid_site_is_forgotten(const struct grid *grid, uint32_t index);
struct lease_view {
    int64_t ms;      /* how long it may go on unheard with what must not run twice; 0 = no lease */
    int64_t lost_ms; /* Unix ms: not heard since; 0 = it is heard */
    bool is_over;
};
void grid_site_lease(const struct grid *grid, uint32_t index, struct lease_view *view_out);
/* Attempts that were closed because their site's lease had ended, and on which it has not reported
 * yet. Oldest first, from cursor 0. */
struct dark_view {
    uint64_t job_id;
    uint32_t epoch;
    const char *site; /* good until the next step */
};
bool grid_dark_next(const struct grid *grid, uint32_t *cursor, struct dark_view *view_out);
bool grid_dark_find(const struct grid *grid, uint64_t job_id, uint32_t epoch,
                    struct dark_view *view_out);
int grid_site_find(const struct grid *grid, const char *name); /* index or -1 */
bool grid_node_get(const struct grid *grid, uint32_t site, uint32_t node,
                   struct node_view *view_out);
/* Sums over the nodes that are present. Cheap: for each look at /metrics. */
struct site_totals {
    uint64_t nodes, cordoned, cpus, cpus_free, devices, devices_free_milli;
    uint64_t attempts; /* of absent nodes too; one of a gang counts on each of its nodes */
};
struct site_totals grid_site_totals(const struct grid *grid, uint32_t site);
/* Is this event of a site's inventory what is known already? Then it need not be journaled: the
 * step would change nothing but that the site is heard. */
bool grid_site_is_known(const struct grid *grid, const struct event *joined);

/* What the site's owner lets in there; NULL = everything. Limits of an operator: -1 = none. */
const struct site_policy *grid_site_policy(const struct grid *grid, uint32_t index);
struct site_limits grid_site_limits(const struct grid *grid, uint32_t index);

/* How files come and go there, as measured, and how long work waits in its own queue. */
struct freight_view {
    int64_t down_bytes_s, up_bytes_s; /* 0 = not known */
    int64_t held_bytes;               /* of trees that it is believed to hold */
    uint32_t waits_count;
    const struct freight_wait *waits; /* good until the next step */
};
struct freight_view grid_site_freight(const struct grid *grid, uint32_t index);

/* What a site's power costs and may be. */
struct power_view {
    int64_t price, carbon;      /* now: 1/1,000,000 and mg CO2 a kWh drawn, what is green as none */
    struct tariff_row constant; /* as an operator told; TARIFF_UNKNOWN: as the site itself says */
    int64_t slot_ms, from_ms;   /* of the series, from the slot that holds the present; 0 = none */
    int64_t draw_mw, limit_mw;  /* of what is held, by the catalogue; -1 = no limit */
    int64_t cut_until_ms;       /* 0 = no cut */
};
void grid_power_get(const struct grid *grid, uint32_t site, struct power_view *view_out);
/* What is known of the slot that holds `time_ms`; false past the last one. */
bool grid_power_row(const struct grid *grid, uint32_t site, int64_t time_ms,
                    struct tariff_row *row_out);

/* Why a job is where it is: data, and one line a person can act on. */
struct why {
    char code[32];  /* "cpus", "devices", "chip", "priority", "dependency", "begin", "quota", ... */
    char text[256]; /* "needs 64 CPUs on one node; the largest node (vm) has 2: lower --cpus" */
    uint64_t ahead; /* jobs before it in order, when that is the reason */
    int64_t start_estimate_ms; /* Unix ms; 0 = not known */
    char rate[160];    /* how fast its work runs where it is, or would best be; "" = not known */
    char freight[320]; /* what is moved for it, and sites' own queues; "" = nothing of it */
    char order[160];   /* what places it among its like, where that is not age; "" = age does */
    char assign[160];  /* which kinds of chip its work gains by, while the policy assigns; or "" */
};
int grid_why(struct grid *grid, uint64_t job_id, struct why *why_out);

/* How fast a class of work runs on a kind of chip. Texts are good until the next step. */
struct rate_view {
    const char *tenant, *class, *source; /* "declared", "learned", "carried", "roofline" */
    char chip[MODEL_NAME_BYTES + 16]; /* "h100"; "h100@250": a quarter of one; "cpu": no device */
    uint32_t gang;                    /* devices, or CPUs */
    uint32_t runs;
    double seconds;          /* a unit, of all the gang together; 0 = not known */
    double spread;           /* standard deviation of its logarithm */
    double declared_seconds; /* 0 = never declared */
};
/* What was declared or learned, in the order in which it came; false past the last. */
bool grid_rate_entry(const struct grid *grid, uint32_t index, struct rate_view *view_out);
/* What is believed of a class on the chips known since the first work came, one by one from 0;
 * false past the last, or when the class is not known. */
bool grid_rate_guess(const struct grid *grid, const char *tenant, const char *class,
                     uint32_t chip_index, uint32_t gang, struct rate_view *view_out);

/* What would happen to this request now; nothing changes. Candidates best first. */
struct plan_candidate {
    char site[MODEL_NAME_BYTES];
    char node[MODEL_NAME_BYTES]; /* of the first part */
    char chip[MODEL_NAME_BYTES]; /* "" = no device */
    uint32_t nodes_count;
    bool fits_now, fits_ever;
    int64_t start_estimate_ms;
    int64_t duration_ms;                       /* the limit, or 0 when none is given */
    int64_t price_micro, energy_mj, carbon_ug; /* over duration; modelled */
    double score;
    /* Of its files, to the site and back, and how long it waits in the site's own queue. */
    int64_t move_bytes, move_ms, move_price_micro, wait_ms;
    int64_t price_most_micro;         /* by its time limit, with what is moved; 0 = it has none */
    double unit_seconds, rate_spread; /* of its class of work there; 0 = not known */
    const char *rate_source;          /* "learned", "" */
    uint32_t rate_runs;
    char reason[160]; /* why not, or why it leads */
};
#define PLAN_CANDIDATES_MAX 16u
int grid_plan(struct grid *grid, const struct job_request *request, const char *tenant,
              int64_t now_ms, struct plan_candidate *candidates_out, uint32_t *count_out,
              struct err *err);

/* One change of what a job asks, or of what holds it back, and what that would do. */
struct why_change {
    char code[24];  /* the key of the job file that would change, or "quota", "budget", ... */
    char text[200]; /* "a duration of 40m" */
    char site[MODEL_NAME_BYTES], chip[MODEL_NAME_BYTES]; /* where it would go; "" = not told */
    int64_t start_ms;         /* when it could start then; 0 = not known */
    int64_t price_micro;      /* there, over its duration, or an hour; modelled; -1 = not told */
    int64_t price_more_micro; /* than at the place that it waits for; 0 when that is not known */
};
#define WHY_CHANGES_MAX 8u
#define WHY_PLACES_MAX 4u
/* How a job that holds something came to be where it is. */
struct why_choice {
    char how[16]; /* "turn", "around", "promised", "across"; "" = not told: it went on there */
    uint32_t rank, places; /* which of how many places, from 1, best first; 0 = not told */
    char other_site[MODEL_NAME_BYTES], other_chip[MODEL_NAME_BYTES]; /* of the best, where it got
                                                                        another, else the second */
    char text[240];
};
/* The rest of the record: the best places as a plan shows them, and what would start it sooner. */
struct why_more {
    struct why_choice choice;
    uint32_t places_count, changes_count;
    struct plan_candidate places[WHY_PLACES_MAX];
    struct why_change changes[WHY_CHANGES_MAX]; /* the soonest first, then the cheapest */
};
/* The same as grid_plan, of a job that would be called `name`: what such jobs of that user left is
 * known; with what would start it sooner. */
int grid_plan_named(struct grid *grid, const struct job_request *request, const char *tenant,
                    const char *user, const char *name, int64_t now_ms,
                    struct plan_candidate *candidates_out, uint32_t *count_out,
                    struct why_more *more_out, struct err *err);
/* Of a job that waits; of one that holds a grant, how it came to it. Changes nothing. -ENOENT. */
int grid_why_more(struct grid *grid, uint64_t job_id, struct why_more *more_out);
/* The whole state as bytes; the same state gives the same bytes. Versioned like events. */
int grid_snapshot(const struct grid *grid, struct buf *out);
int grid_restore(const void *data, size_t len, struct grid **grid_out, struct err *err);

/* All invariants of the design that state alone can show: nothing promised twice, sums of parts
 * equal what is free, one attempt a job, indexes consistent. 0, or -EINVAL and which. */
int grid_check_invariants(const struct grid *grid, struct err *err);
