/* session.h - the agent's end of its session with the controller (src/wire/wire.h).
 *
 * It dials, says HELLO, opens the stream of commands, posts reports, and when anything breaks it
 * begins again after a pause that grows and varies. Reports are batched: while one POST is on its
 * way the next ones gather. What a broken session had not delivered is thrown away: the RECONCILE
 * of the next one makes the owner tell everything again. */
#pragma once

#include "wire/wire.h"

#include <uv.h>

#define SESSION_PAUSE_MS_MIN 50
#define SESSION_PAUSE_MS_MAX 2000
#define SESSION_BACKLOG_BYTES (1u << 20) /* of reports: past it, log data waits */
#define SESSION_QUEUE_BYTES_MAX (64u << 20)

struct session; /* opaque; one thread */
struct session_config {
    uv_loop_t *loop;
    const char *state_dir;      /* for endpoint.json and site.token */
    const char *controller_url; /* NULL = of endpoint.json, read before each try */
    const char *token_file;     /* NULL = `state_dir`/site.token */
    const char *site;
    uint64_t incarnation;
    /* Fill in a HELLO; what it points to stays the owner's until the next call. */
    void (*hello)(void *context, struct wire_report *report);
    void (*command)(void *context, const struct wire_command *command);
    /* A post was answered: see session_acked_ms. */
    void (*acked)(void *context);
    /* The queue has room again for log data. */
    void (*drained)(void *context);
    void (*closed)(void *context); /* it broke: forget what was under way */
    void *context;
};

int session_create(const struct session_config *config, struct session **session_out,
                   struct err *err);
/* Stops for good; freed once its handles are closed. */
void session_destroy(struct session *session);
/* Queue a report; dropped while there is no session (RECONCILE will ask). */
void session_report(struct session *session, const struct wire_report *report);
/* Send what is queued, unless something is on its way; call at the end of a batch. */
void session_flush(struct session *session);
/* Where the network is and as whom to speak, while there is a session: strings to be freed; else
 * nothing. */
struct transfer_link;
void session_link(const struct session *session, struct transfer_link *link_out);
/* By CLOCK_BOOTTIME: when the newest message was sent of those that were answered in this session
 * (0 = none), and of all. */
int64_t session_acked_ms(const struct session *session);
int64_t session_sent_ms(const struct session *session);
/* How long a small post may take before the session is begun anew; 0 = as long as any. */
void session_set_patience(struct session *session, int64_t patience_ms);
size_t session_backlog(const struct session *session);
/* Not to be heard: whatever is open ends, and nothing is dialled until it may again. */
void session_hold(struct session *session, bool holds);
bool session_is_open(const struct session *session); /* else reports are dropped */
