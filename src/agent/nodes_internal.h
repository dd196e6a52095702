/* nodes_internal.h - the executor over several machines: its own state, shared by its files only.
 */
#pragma once

#include "agent/nodes.h"
#include "base/buf.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "wire/door.h"
#include "wire/members.h"

#include <uthash.h>

#define NODES_LEASE_MS 20000 /* of a node; a third of the site's own where that is less */
#define NODES_LEASE_MS_MIN 1500
#define NODES_TICK_MS 250
#define NODES_GONE_MS 2000 /* so long without its stream: it counts as not heard */
#define NODES_LOG_STREAMS 2u

struct machine { /* a node that has joined */
    struct machine *next;
    char name[MODEL_NAME_BYTES];
    char address[64];       /* where it spoke from last */
    struct node_info *info; /* as it told; NULL = not yet */
    int64_t lease_ms;       /* as it was told last */
    uint64_t session;       /* 0 = none since this agent began */
    struct http_request *stream;
    bool choked;              /* it reads too slowly: its stream lacks something */
    bool heard;               /* told so */
    bool is_sick;             /* as it says itself */
    char reason[160];         /* why it is sick */
    int64_t heard_boot_ms;    /* the last post that was answered */
    int64_t gone_boot_ms;     /* since when there is no stream */
    int64_t granted_until_ms; /* by then all that it runs has surely stopped (CLOCK_BOOTTIME) */
    int64_t backlog_since_ms; /* monotonic */
};

enum part_state { PART_ORDERED, PART_RUNNING, PART_ENDED };
struct part_log {
    uint64_t request; /* of LOG_READ; 0 = none is under way */
    int64_t offset;   /* of what stands in the attempt's own log */
    bool eof;
    struct buf tail; /* a line that is not whole, not counted in `offset` */
};
struct gang_part {
    char node[MODEL_NAME_BYTES];
    bool is_here;
    bool run_told, stop_told; /* in its session */
    enum part_state state;
    struct attempt_record record; /* as told last */
    struct part_log logs[NODES_LOG_STREAMS];
};
struct gang {               /* an attempt over machines */
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    enum attempt_state state;
    struct attempt_record record; /* of all */
    uint64_t lease; /* the number of the site's, which it must not outlive; 0 = none */
    bool decided;   /* how it ends: in `record` */
    bool stopping;  /* with `grace_ms` and `why` */
    int64_t grace_ms;
    char why[ATTEMPT_REASON_BYTES];
    char *line; /* RUN, as it goes to the nodes; NULL after a restart, until it is ordered again */
    size_t line_len;
    int64_t over_mono_ms; /* when all parts had ended; 0 = not yet */
    uint32_t parts_count;
    struct gang_part *parts;
    int log_fds[NODES_LOG_STREAMS], offsets_fd;
    int64_t log_bytes[NODES_LOG_STREAMS];
    UT_hash_handle hh;
};

struct nodes {
    struct executor base;
    struct executor_config up; /* whom to tell */
    struct executor *local;
    char *dir;                  /* agent_dir/nodes */
    struct nodes_config config; /* loop NULL: not begun */
    struct machine *machines;
    uint32_t machines_count;
    struct gang *gangs;
    struct members *members;
    struct door *door;
    struct http_server *server;
    struct http_client *client; /* of what is passed on to the network */
    struct relayed *relayed;
    char token_hash[TOKEN_HASH_BYTES]; /* of `mains node` here */
    uint64_t session_last, request_last;
    int64_t ping_mono_ms;
    int64_t lease_known_ms; /* of nodes, when this agent began; 0 = not known */
    uv_timer_t tick;
};

/* executor_nodes.c, gang_look.c */
struct gang *gang_find(const struct nodes *nodes, struct attempt_key key);
struct gang_part *gang_part_of(struct gang *gang, const char *node); /* NULL */
/* Can work that must be gone when the site's lease ends lie on nodes, with leases of their own? */
bool gang_lease_is_enough(const struct nodes *nodes);
/* All of them, by the clock: parts that are lost, leases that end, logs that come. */
void gangs_look(struct nodes *nodes);
/* Something of it has changed: decide, stop, tell, end. */
void gang_look(struct nodes *nodes, struct gang *gang);
void gang_part_started(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                       int64_t started_ms);
void gang_part_ended(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                     const struct attempt_record *record);
void gang_part_lost(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                    const char *reason);
void gang_progress(struct nodes *nodes, struct gang *gang);

/* gang_note.c: what survives the agent */
char *gang_folder(const struct nodes *nodes, struct attempt_key key);
struct gang *gang_create(struct attempt_key key, uint32_t parts_count);
void gang_destroy(struct gang *gang);
int gang_save(const struct nodes *nodes, const struct gang *gang, struct err *err);
int gang_load(struct nodes *nodes, struct attempt_key key, struct gang **gang_out);
int gang_save_final(const struct nodes *nodes, const struct gang *gang);
bool gang_recall(const struct nodes *nodes, struct attempt_key key, const char *file,
                 struct attempt_record *record_out);

/* nodes_log.c */
int gang_logs_open(const struct nodes *nodes, struct gang *gang, struct err *err);
void gang_logs_close(struct gang *gang);
/* Ask its node for what has not come yet; `follow`: and for what comes. */
void gang_logs_ask(struct nodes *nodes, struct gang *gang, struct gang_part *part);
void gang_logs_take(struct nodes *nodes, const struct machine *machine,
                    const struct wire_report *report);
/* What this machine's own part has written. */
void gang_logs_copy(struct nodes *nodes, struct gang *gang, struct gang_part *part);
bool gang_logs_are_whole(const struct gang *gang);

/* RUN, to a node that may not have heard it, or that has begun anew. */
void gang_send_order(struct nodes *nodes, struct gang *gang, struct gang_part *part);

/* nodes_session.c */
struct machine *machine_find(const struct nodes *nodes, const char *name);
struct machine *machine_add(struct nodes *nodes, const char *name);
void machine_send(struct machine *machine, const struct wire_command *command);
void machine_send_line(struct machine *machine, const char *line, size_t len);
bool machine_is_open(const struct machine *machine);
void machine_end_stream(struct nodes *nodes, struct machine *machine, const char *why);
void machine_tell(struct nodes *nodes, const struct machine *machine); /* how it stands */
void machine_stream_gone(struct nodes *nodes, const struct http_request *request);
int machines_load(struct nodes *nodes, struct err *err);
void machines_look(struct nodes *nodes); /* who is heard, whose lease is over */
void machines_free(struct nodes *nodes);
void machine_forget(struct nodes *nodes, struct machine *machine); /* it was removed */
/* From when a message of a node came until what it runs is surely gone, if that was the last. */
int64_t nodes_lease_span_ms(const struct nodes *nodes);
void nodes_take_stream(struct nodes *nodes, struct machine *machine, struct http_request *request);
void nodes_take_reports(struct nodes *nodes, struct machine *machine, struct http_request *request);

/* nodes_door.c */
int nodes_door_open(struct nodes *nodes, struct err *err);
int nodes_door_remove(struct nodes *nodes, struct err *err); /* it listens no more */
void nodes_door_close(struct nodes *nodes);
void nodes_reply_json(struct http_request *request, int status, json_t *json); /* takes it */
void nodes_reply_error(struct http_request *request, int status, const char *code, const char *fmt,
                       ...) PRINTF_LIKE(4, 5);

/* nodes_relay.c: what a node asks of the network's store goes through here */
bool nodes_relay_is_for(const char *path);
size_t nodes_relay_body_max(const char *path);
void nodes_relay_take(struct nodes *nodes, struct machine *machine, struct http_request *request);
void nodes_relay_gone(struct nodes *nodes, struct http_request *request);
void nodes_relay_close(struct nodes *nodes);
