/* wire.h - what controller and agent say to each other.
 *
 * The agent dials out. It opens `GET /api/v1/site-session?site=NAME&incarnation=N` and reads
 * commands from the endless answer, one JSON object a line; it posts reports to
 * `POST /api/v1/site-session/reports`, one JSON object a line, and may forget those that were
 * answered 200 (they are durable). Both sides tolerate repeats: everything carries (job, epoch).
 * A line is at most WIRE_LINE_BYTES_MAX. Unknown types and keys are ignored (newer peers).
 *
 * Order of a session: agent -> report HELLO (inventory, attempts it knows) is posted first; the
 * controller answers with the session number; the agent then opens the stream with it. The
 * controller sends RUN/STOP as effects come, after a first RECONCILE that lists every attempt the
 * site should hold; the agent reports ENDED for those it has ended, UNKNOWN for those it has never
 * heard of (after RECONCILE only), and stops what is not listed.
 *
 * A site's agent says the same to the agents of its nodes, which dial it (docs/nodes.md): it is
 * their controller. RUN then names all parts of the attempt, with addresses; each runs its own.
 *
 * Leases (docs/leases.md): RECONCILE says how long an answered post holds. The agent posts ALIVE
 * when it has posted nothing else for `every_ms`; what runs with `lease` it stops, from `stop_ms`
 * before the lease ends, so that nothing of it is left then. Both count on CLOCK_BOOTTIME, each its
 * own: the agent from when it sent what was answered 200, the controller from when that came. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/inventory.h"
#include "model/receipt.h"
#include "model/request.h"
#include "model/site_policy.h"
#include "model/tariff_file.h"
#include "model/usage.h"

#define WIRE_LINE_BYTES_MAX (4u << 20)
#define WIRE_HEARTBEAT_MS 2000    /* controller -> agent: PING, at least this often */
#define WIRE_SILENCE_MS_MAX 10000 /* no line for so long: the stream is broken */
#define WIRE_LEASE_MS_MAX (366 * 24 * 3600 * 1000LL)
#define WIRE_PARTS_MAX 4096u
#define WIRE_ATTEMPTS_MAX 100000u        /* in one RECONCILE or HELLO */
#define WIRE_TARIFF_ROWS_MAX 35136u      /* in one REPORT_TARIFF: a leap year of quarter hours */
#define WIRE_WAITS_MAX 8u                /* in one REPORT_QUEUE */
#define WIRE_LOG_BYTES_MAX (1u << 20)    /* of one REPORT_LOG, before base64 */
#define WIRE_ARENA_BYTES_MAX (16u << 20) /* enough for what any one line may hold */

struct wire_part { /* as alloc_part, with names: what one node holds of an attempt */
    char node[MODEL_NAME_BYTES];
    char address[MODEL_NAME_BYTES]; /* where the others reach it; "" = not told (a controller) */
    uint32_t tasks, cpus, devices_count;
    int64_t memory_bytes, disk_bytes;
    struct {
        uint32_t index, milli;
    } devices[NODE_DEVICES_MAX];
    uint32_t shares_count; /* of a mixed gang: how much of all work each task does, ppm; else 0 */
    uint32_t shares_ppm[NODE_DEVICES_MAX];
};

struct wire_across_site { /* a part of a gang that is at several sites */
    char site[MODEL_NAME_BYTES];
    uint32_t tasks;
};

enum wire_command_type {
    WIRE_RUN,
    WIRE_STOP,
    WIRE_RECONCILE,
    WIRE_PING,
    WIRE_LOG_READ,
    WIRE_FORGET,
    WIRE_RECEIPT, /* what the network booked, signed; comes before the FORGET of the attempt */
    WIRE_TUNNEL,  /* connect `port` of the attempt's tasks with tunnel `request` */
    WIRE_SUSPEND, /* it is to stand still where it is; answered with REPORT_SUSPENDED */
    WIRE_RESUME,  /* and goes on */
    WIRE_PRESTAGE /* bring `checkpoint` of the job, which runs elsewhere, into the store here */
};
struct wire_attempt_id {
    uint64_t job_id;
    uint32_t epoch;
};
#define WIRE_GRACE_JOB (-1)   /* as the job says */
#define WIRE_GRACE_SAVES (-2) /* the same, once it has had the time to save a checkpoint */
struct wire_command {
    enum wire_command_type type;
    struct wire_attempt_id attempt; /* run, stop, suspend, resume, log_read, forget */
    /* run */
    char tenant[MODEL_NAME_BYTES], user[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES];
    uint64_t array_id;
    uint32_t array_index, array_count;
    uint32_t attempt_number;        /* 1 = first */
    int64_t duration_ms_max;        /* 0 = none */
    int64_t deadline_ms;            /* when it should be done, by the network's clock; 0 = none */
    int32_t run_as_uid, run_as_gid; /* -1 = the agent chooses (private uid of the tenant) */
    bool host_paths;                /* the tenant may use folders of the host as its unix user */
    bool lease;                     /* it must not outlive the lease */
    char site[MODEL_NAME_BYTES];    /* whose node this is (a site's agent); "" = it is the site */
    const char *spec_json;          /* with secrets; JSON object as text */
    char checkpoint[65];            /* to go on from, by its name in the store; "" = none */
    int64_t checkpoint_saved_ms;    /* by the clock of the site that saved it */
    int64_t checkpoint_every_ms;    /* how often it should save; 0 = as the job says */
    uint32_t parts_count;
    const struct wire_part *parts;
    /* run, of a gang at several sites: all of them in the order of ranks, and which is meant */
    uint32_t across_count, across_self; /* count 0 = it is at this site alone */
    struct wire_across_site across[REQUEST_SITES_MAX];
    uint32_t port; /* tunnel */
    bool resume;   /* tunnel: it was begun before the controller's last start */
    bool direct;   /* tunnel: the other agent comes to this one's address, if it can */
    /* stop */
    int64_t grace_ms; /* WIRE_GRACE_...: as the job says, or so long */
    char reason[160];
    /* reconcile */
    uint32_t attempts_count;
    const struct wire_attempt_id *attempts;
    uint32_t suspended_count; /* of these, who is to stand still: all others go on */
    const struct wire_attempt_id *suspended;
    int64_t lease_ms; /* 0 = none is kept */
    int64_t stop_ms, every_ms;
    /* ping */
    int64_t time_ms;
    /* log_read: answer with REPORT_LOG lines carrying `request` until `follow_until`/EOF */
    uint64_t request;
    bool stream_stderr, follow;
    int64_t offset; /* bytes; negative = that many before the end */
    bool cancel;    /* end this request's following */
    /* prestage: of the data its job works on; not told: a controller of before */
    bool labels_told;
    uint32_t labels_count;
    char labels[REQUEST_LABELS_MAX][MODEL_NAME_BYTES];
    struct receipt_signed receipt; /* receipt */
};

enum wire_report_type {
    REPORT_HELLO,
    REPORT_STARTED,
    REPORT_PROGRESS,
    REPORT_ENDED,
    REPORT_UNKNOWN,
    REPORT_LOG,
    REPORT_NODE, /* a device turned sick or well, a node cordoned itself */
    REPORT_INVENTORY,
    REPORT_ALIVE,     /* nothing but that; never in the journal */
    REPORT_SUSPENDED, /* it stands still, or could not be made to: `reason` */
    REPORT_TARIFF,    /* what the owner's series says of its power */
    REPORT_QUEUE,     /* how long work waits in the engine's own queue */
    REPORT_LINK       /* how fast files came and went */
};
struct wire_wait { /* of work that is so wide; all of them each time, narrower first */
    uint32_t has_devices, nodes_max, pending;
    int64_t wait_ms;
};
struct wire_report {
    enum wire_report_type type;
    struct wire_attempt_id attempt;
    /* hello, inventory */
    struct site_info site;
    const struct site_policy *policy; /* its owner's; NULL = not told (an older agent) */
    char version[32];
    uint64_t incarnation; /* grows with each start of the agent */
    int64_t boot_ms;      /* hello, alive: its CLOCK_BOOTTIME; 0 = it keeps no lease */
    uint32_t attempts_count;
    const struct wire_attempt_id
        *attempts; /* all it holds, running or ended and not acknowledged */
    /* started, progress, ended */
    int64_t started_ms, ended_ms, checkpoint_ms;
    int64_t stall_ms;   /* progress: how long the newest save that was asked for took; 0 = none */
    struct usage usage; /* carbon and price are filled by the controller */
    uint32_t outcome;   /* numbers of enum attempt_outcome in grid/event.h */
    int32_t exit_code;
    char reason[160];
    struct receipt_signed receipt; /* ended: what the site signs; empty = it does not (yet) */
    bool suspended;                /* suspended */
    /* log */
    uint64_t request;
    int64_t offset;
    const char *data; /* raw bytes; base64 on the wire */
    uint32_t data_len;
    bool eof;
    struct tariff_file tariff; /* tariff; rows borrowed */
    /* queue */
    uint32_t waits_count;
    struct wire_wait waits[WIRE_WAITS_MAX];
    /* link: a second, of content and frames as they are on the way; 0 = nothing was carried */
    int64_t down_bytes_s, up_bytes_s;
    /* node */
    char node[MODEL_NAME_BYTES];
    int32_t device; /* -1 = the node */
    bool cordoned;  /* `reason` begins with WIRE_NODE_UNHEALTHY; false ends only such */
};
#define WIRE_NODE_UNHEALTHY "unhealthy: "

/* What a site signs of the attempt whose end it reports, and what its receipt must say when it
 * comes with that report. Carbon and price are the network's to fill: 0. `network`: the pin of its
 * CA. */
void wire_report_receipt(const struct wire_report *report, const char *network, const char *site,
                         struct receipt *receipt_out);

/* Append one line, '\n' included. Text that is not UTF-8 or holds control characters is printed
 * with
 * '?' in their place. -EINVAL: a number that has no place on the wire (above 2^63-1), too many of
 * something, or a `spec_json` that is not one JSON object on one line; -ENOSPC: longer than
 * WIRE_LINE_BYTES_MAX or than `out` may grow; -ENOMEM. On failure `out` holds what it held. */
int wire_command_print(const struct wire_command *command, struct buf *out);
int wire_report_print(const struct wire_report *report, struct buf *out);
/* `line` without '\n'. Pointers live in `arena`. Keys that are missing get their default: -1 for
 * run_as_uid, run_as_gid, grace_ms and device, 1 for attempt_number, else 0, "" and false; but what
 * a type cannot do without must be there. -EBADMSG and why; -ENOTSUP for a type this side does not
 * know (skip it); -ENOMEM. Long or dirty `reason`s are cut and cleaned rather than refused.
 * report->site.nodes is malloc'd: site_info_fini, needed after success only. */
int wire_command_parse(const char *line, size_t len, struct arena *arena,
                       struct wire_command *command_out, struct err *err);
int wire_report_parse(const char *line, size_t len, struct arena *arena,
                      struct wire_report *report_out, struct err *err);
