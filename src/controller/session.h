/* session.h - the controller's end of a site's session.
 *
 *   agent: POST /api/v1/site-session/reports?site=NAME            body: one HELLO line
 *          -> 200 {"session":N}           (older sessions of the site are fenced from here on)
 *   agent: GET  /api/v1/site-session?site=NAME&incarnation=I&session=N   -> the command stream:
 *          RECONCILE first, then RUN/STOP for what is owed, then commands as they come, PING
 *   agent: POST /api/v1/site-session/reports?site=NAME&session=N  -> 200 {"accepted":K}, durable
 * A fenced session gets 409 `session_stale` on reports and the end of its stream: say HELLO again.
 * FORGET is sent for each ENDED once it is durable. */
#pragma once

#include "base/buf.h"
#include "grid/grid.h"
#include "wire/wire.h"

struct controller;
struct api_call;
struct sessions; /* one per controller */

struct sessions *sessions_create(struct controller *controller);
/* At the start no site is heard, whatever the journal's last word was: none gets work until its
 * agent is here. One that was renamed or taken away is never heard again. */
void sessions_begin(struct sessions *sessions);
/* Ends the streams; sites are told apart from lost ones by the reconnect. */
void sessions_destroy(struct sessions *sessions);

/* The site that speaks: of the query, and allowed to. NULL: answered. */
const char *session_site_of(struct api_call *call);
void session_handle_stream(struct api_call *call);
void session_handle_reports(struct api_call *call);

/* An effect of a step at `seq`: queued for the site's session, sent once `seq` is durable. */
void sessions_take_effect(struct sessions *sessions, uint64_t seq, const struct effect *effect);
/* Send a command at once (log reads). -ENOTCONN: the site has no open stream. */
int sessions_send(struct sessions *sessions, const char *site, const struct wire_command *command);
/* Say in the log that something of the site's was refused; only some of much is said. */
void sessions_refuse(struct sessions *sessions, const char *site, const char *what,
                     const char *why);
/* Refuse what an agent of this site still has to say: it must say HELLO, and be taken, first. */
void sessions_fence(struct sessions *sessions, const char *site);
bool sessions_is_open(const struct sessions *sessions, const char *site);
uint32_t sessions_count(const struct sessions *sessions);
/* The journal can be written again: note the losses that could not be. */
void sessions_retry(struct sessions *sessions);
