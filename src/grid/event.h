/* event.h - everything that can happen to the grid, and its durable encoding.
 *
 * The journal stores each event as one record: u16 type, u16 version, i64 time_ms, then the type's
 * fields in order, little-endian, as docs/journal.md lists them (varints and length-prefixed bytes;
 * a version only ever adds fields at the end, and a reader takes defaults for those that are not
 * there). Decoding untrusted bytes never reads past them: -EBADMSG.
 *
 * The event carries the time and every random draw; the core has neither clock nor dice. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "model/inventory.h"
#include "model/receipt.h"
#include "model/request.h"
#include "model/site_policy.h"
#include "model/usage.h"
#include "sched/figures.h"
#include "sched/freight.h"
#include "sched/tariff.h"

#define EVENT_VERSION 1u
#define EVENT_BYTES_MAX (4u << 20)
#define EVENT_TEXT_BYTES_MAX 4096u          /* reasons, notes, keys; names are MODEL_NAME_BYTES */
#define SITE_CHIPS_MAX 1024u                /* kinds of chip at one site */
#define EVENT_TIME_MS_MAX 253402300799999LL /* the year 9999 */
#define REASON_BYTES 160u

enum event_type { /* numbers are for ever: they are in journals */
                  EVENT_JOB_SUBMITTED = 1,
                  EVENT_JOB_CANCELLED = 2, /* asked for by a user */
                  EVENT_SITE_JOINED =
                      3,               /* inventory told or told again; nodes not named are gone */
                  EVENT_SITE_SEEN = 4, /* a session opened */
                  EVENT_SITE_LOST = 5, /* its session closed or went silent */
                  EVENT_PASS = 6,      /* run a scheduling pass now */
                  EVENT_TICK = 7,      /* time passed: timers due fire */
                  EVENT_ATTEMPT_STARTED = 8,  /* reported by the site */
                  EVENT_ATTEMPT_PROGRESS = 9, /* usage so far, checkpoint saved */
                  EVENT_ATTEMPT_ENDED = 10,   /* reported by the site: final */
                  EVENT_ATTEMPT_UNKNOWN =
                      11, /* the site, asked to reconcile, has no trace of the attempt */
                  EVENT_NODE_STATE =
                      12, /* a node or one of its devices: cordoned, sick, well again */
                  EVENT_TENANT_SET = 13,     /* a tenant and its quotas */
                  EVENT_NOTE = 14,           /* free text of an operator, for the record */
                  EVENT_SITE_FORGOTTEN = 15, /* gone for good, as an operator says; or readmitted */
                  EVENT_SITE_TARIFF =
                      16,                /* what a site's power costs over time: see grid/power.h */
                  EVENT_SITE_SHED = 17,  /* a site must draw less for a while; or no longer */
                  EVENT_POLICY_SET = 18, /* how the network orders work, as an operator says */
                  EVENT_LEASE_ENDED =
                      19, /* a site was not answered for so long that its lease is over */
                  EVENT_JOB_MOVE = 20, /* a user or operator wants it to run elsewhere */
                  EVENT_SITE_POLICY =
                      21, /* what the owner of a site lets happen there, or an operator limits */
                  EVENT_CHECKPOINT_STORED = 22, /* an attempt's checkpoint is whole in the store */
                  /* 23, 25: not given yet */
                  EVENT_JOB_RESIZE = 24, /* how wide its user wants an elastic job to be */
                  EVENT_RECEIPT = 26, /* what a site signed of an attempt that ends with the next */
                  EVENT_SITE_QUEUE = 27,        /* how long work waits in the site's own queue */
                  EVENT_SITE_LINK = 28,         /* how fast files came and went over its link */
                  EVENT_ATTEMPT_SUSPENDED = 33, /* reported by the site: it stands, or cannot */
                  EVENT_TENANT_CELLS = 39       /* whole cells of a site that a tenant has */
};

#define EVENT_TYPE_LAST EVENT_TENANT_CELLS

#define OUTCOME_LAST OUTCOME_DEFRAG
enum attempt_outcome {                        /* numbers are for ever */
                       OUTCOME_EXITED = 0,    /* exit_code tells */
                       OUTCOME_SIGNALLED = 1, /* exit_code = signal */
                       OUTCOME_TIME_LIMIT = 2,
                       OUTCOME_MEMORY = 3,  /* killed by its memory limit */
                       OUTCOME_DISK = 4,    /* wrote past its disk limit */
                       OUTCOME_STOPPED = 5, /* a stop that the controller asked for */
                       OUTCOME_START_FAILED =
                           6, /* never ran: `reason` says why (sandbox, missing folder, ...) */
                       OUTCOME_LOST = 7, /* its supervisor or node died: nobody knows its exit */
                       /* Said by the grid alone, of an attempt that was stopped as asked. */
                       OUTCOME_PREEMPTED = 8, /* its room went to another job */
                       OUTCOME_SHED = 9,      /* its site had to draw less */
                       OUTCOME_PAUSED = 10,   /* it waits for better hours */
                       OUTCOME_MOVED = 11,    /* it goes on elsewhere, as somebody asked */
                       /* Said by the grid, and by a site that stopped it for that. */
                       OUTCOME_LEASE = 12,   /* its site was not heard for longer than its lease */
                       OUTCOME_REFUSED = 13, /* said by the site: its owner does not let it in */
                       OUTCOME_RESIZED = 14, /* it goes on with more, fewer or other nodes */
                       OUTCOME_DEFRAG = 15   /* said by the grid: moved, so that a gang has room */
};

/* A cut of power lasts, and is met within, at most so long. */
#define SHED_MS_MAX (31LL * 24 * 3600 * 1000)

/* What a site's power is in one slot of time; TARIFF_UNKNOWN: not told. */
struct tariff_row {
    int64_t price;  /* 1/1,000,000 of the currency per kWh; may be below zero */
    int64_t carbon; /* mg CO2 equivalent per kWh of what is not green */
    int64_t green;  /* ppm that is green */
    int64_t cap;    /* W that running jobs may draw */
};
#define TARIFF_ROWS_MAX 35136u          /* of one event: a leap year of quarter hours */
enum tariff_kind {                      /* numbers are for ever */
                   TARIFF_FACTS = 0,    /* so it is or was; what an exchange has settled, too */
                   TARIFF_FORECAST = 1, /* somebody's guess, of whatever quality */
                   TARIFF_CONSTANT = 2, /* one row: when no slot says otherwise */
                   TARIFF_CLEAR = 3     /* forget all of it; the site's own constants hold again */
};

struct event_site_tariff {
    const char *site;
    uint32_t kind;   /* enum tariff_kind */
    int64_t from_ms; /* start of the first row's slot, a multiple of slot_ms */
    int64_t slot_ms;
    uint32_t rows_count;
    const struct tariff_row *rows;
    const char *by;
};
struct event_site_shed {
    const char *site;
    uint32_t share_ppm; /* of what its jobs draw now */
    int64_t within_ms;  /* from now, it must be met */
    int64_t lasts_ms;   /* 0 = a cut that lasts ends now */
    const char *by, *reason;
};

enum site_policy_kind {                   /* numbers are for ever */
                        POLICY_OWNER = 0, /* as its site told it: one policy */
                        POLICY_LIMITS = 1 /* as an operator says: limits */
};
struct event_site_policy { /* all of it, each time */
    const char *site;
    uint32_t kind;                    /* enum site_policy_kind */
    uint32_t policies_count;          /* POLICY_OWNER: 1, or 0 = the site has none any more */
    const struct site_policy *policy; /* the first of policies_count */
    struct site_limits limits;        /* POLICY_LIMITS */
    const char *by;
};

struct event_job_submitted {
    struct job_request request;
    const char *tenant, *user, *name;
    const char *idempotency_key; /* "" = none; unique per tenant while the job is remembered */
    uint32_t elements_count;     /* 0 = a single job; else an array of that many */
    uint32_t parallel_max;
    const char *spec_json; /* the canonical spec with secrets sealed by the controller: opaque */
    uint32_t spec_len;
    uint64_t body_hash; /* of what came with the key: another one is refused; 0 = not known */
};
struct event_tenant_set { /* all of it, each time */
    const char *tenant;
    int64_t cpus_max, devices_milli_max, jobs_max; /* -1 = no limit; with all tenants under it */
    const char *parent;                            /* "" = the network */
    uint32_t weight_milli;                         /* among its siblings; 1000 is one */
    int64_t guarantee_cpus, guarantee_devices_milli;
    int64_t budget_micro; /* of money, from its first setting on; -1 = none */
};
struct event_tenant_cells { /* all it has of that chip at that site, each time; see guards.h */
    const char *tenant, *site;
    const char *chip;                         /* "cpu": nodes without devices */
    uint32_t nodes, racks, supernodes, pools; /* so many whole ones; all 0 = none any more */
    const char *by;
};
struct event_attempt_ended {
    uint64_t job_id;
    uint32_t epoch;
    uint32_t outcome; /* enum attempt_outcome */
    int32_t exit_code;
    int64_t started_ms, ended_ms; /* the site's clock, as it saw them; 0 = never started */
    struct usage usage;
    const char *reason; /* one line, may be "" */
    /* What it left in the network's store, as the shell saw it come; 0 bytes = nothing is known. */
    struct request_good output;
};
struct event_site_queue { /* all of it, each time */
    const char *site;
    uint32_t waits_count;
    const struct freight_wait *waits;
};
struct event_site_link {
    const char *site;
    int64_t down_bytes_s, up_bytes_s; /* 0 = not measured */
};
/* The shell has seen that the store holds all of it. Only the site of the newest attempt, or of the
 * one that ended last, is listened to. */
#define CHECKPOINT_NAME_CHARS 64u
struct event_checkpoint_stored {
    uint64_t job_id;
    uint32_t epoch;
    const char *site;
    const char *manifest; /* its name in the store: CHECKPOINT_NAME_CHARS lower-case hex digits */
    int64_t bytes;        /* of content */
    int64_t saved_ms;     /* when the job had written it, by the site's clock */
};
/* Comes before the ATTEMPT_ENDED of the same attempt, from a site that signs. The shell has looked
 * at it: the verdict says what it found. It decides nothing; the history keeps it. */
struct event_receipt {
    uint64_t job_id;
    uint32_t epoch;
    const char *site;
    uint32_t verdict;                   /* enum receipt_verdict */
    const char *text, *signature, *key; /* as in model/receipt.h */
};
struct event {
    enum event_type type;
    int64_t time_ms;
    union {
        struct event_job_submitted job_submitted;
        struct {
            uint64_t job_id; /* a job, or an array: all elements */
            const char *by;
            const char *reason;
        } job_cancelled;
        struct {
            struct site_info site;
            /* What the catalogue says of the site's chips, so that the same journal gives the same
             * state whatever becomes of the catalogue: see event_fill_chips. */
            uint32_t chips_count;
            const struct chip_figures *chips;
        } site_joined;
        struct {
            const char *site;
            uint64_t session; /* grows; a stale session's events are refused by the shell */
            /* site_seen: how long it may go on unheard with what must not run twice, in all; 0:
             * its agent keeps no lease. */
            int64_t lease_ms;
        } site_seen, site_lost, lease_ended;
        struct {
            uint64_t job_id;
            uint32_t epoch;
            int64_t started_ms;
        } attempt_started;
        struct {
            uint64_t job_id;
            uint32_t epoch;
            struct usage usage;
            int64_t checkpoint_ms; /* when the newest complete checkpoint was saved; 0 = none */
            const char *reason;    /* what it waits for at the site, where it is queued again */
            int64_t stall_ms;      /* how long the newest save that was asked for took; 0 = none */
        } attempt_progress;
        struct event_attempt_ended attempt_ended;
        struct {
            uint64_t job_id;
            uint32_t epoch;
        } attempt_unknown;
        struct {
            uint64_t job_id;
            uint32_t epoch;
            bool suspended;     /* false: it could not be done */
            const char *reason; /* why not */
        } attempt_suspended;
        struct {
            const char *site, *node;
            int32_t device; /* -1 = the whole node */
            bool cordoned;
            const char *reason;
        } node_state;
        struct event_tenant_set tenant_set;
        struct event_tenant_cells tenant_cells;
        struct {
            uint32_t order;    /* enum grid_order */
            uint32_t preempts; /* 1: those who go first may take back room */
            const char *by;
            uint32_t fills;        /* by expected fill: enum packer_reach (sched/packer.h) */
            uint32_t reservations; /* promised starts a class; 0 = as it is */
            uint32_t defrags;      /* 1: work is moved so that gangs find room (grid/defrag.c) */
            uint32_t by_value;     /* 1: borrowed devices count by their value (grid/shares.c) */
            uint32_t assigns;      /* 1: jobs are assigned to kinds of chip (grid/assigns.h) */
        } policy_set;
        struct {
            const char *text;
        } note;
        struct {
            const char *site;
            bool forgotten; /* false = readmitted */
            const char *by;
            const char *reason;
        } site_forgotten;
        struct event_site_tariff site_tariff;
        struct event_site_shed site_shed;
        struct event_site_policy site_policy;
        struct event_checkpoint_stored checkpoint_stored;
        struct event_receipt receipt;
        struct event_site_queue site_queue;
        struct event_site_link site_link;
        struct {
            uint64_t job_id;
            const char *to; /* a site; "" = away from where it is */
            bool force;     /* also when it saves no checkpoint and so begins anew */
            const char *by, *reason;
        } job_move;
        struct {
            uint64_t job_id;
            uint32_t tasks; /* no more than these; 0 = as many as there is room for */
            const char *by, *reason;
        } job_resize;
    };
};

/* Append the record. -EINVAL for a field out of its bounds (`out` is as before). NULL strings count
 * as "". */
int event_encode(const struct event *event, struct buf *out);
/* Strings point into `data` (records hold the NUL); lists are in `arena`. -EBADMSG; -ENOMEM past
 * the arena's ceiling (a site of n nodes takes n x sizeof(struct node_info), of which little is
 * touched). With less than EVENT_ARENA_BYTES_MAX some record of a journal may not be read. */
struct arena;
#define EVENT_ARENA_BYTES_MAX                                                                      \
    (((size_t)64 << 20) + (size_t)SITE_NODES_MAX * sizeof(struct node_info))
int event_decode(const void *data, size_t len, struct arena *arena, struct event *event_out,
                 struct err *err);
/* For `mains journal export|import`: one JSON object. */
json_t *event_to_json(const struct event *event);
int event_from_json(const json_t *json, struct arena *arena, struct event *event_out,
                    struct err *err);
const char *event_type_name(enum event_type type); /* "job_submitted" */

/* Fill site_joined.chips with the catalogue's figures of every chip kind the site has. Memory comes
 * from `arena`. -ENOMEM. */
struct catalogue;
int event_fill_chips(struct event *event, const struct catalogue *catalogue, struct arena *arena);
