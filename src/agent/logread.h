/* logread.h - answers to LOG_READ: pieces of an attempt's logs, and what comes as it comes. */
#pragma once

#include "agent/executor.h"
#include "agent/session.h"

#define LOGREAD_READERS_MAX 1024u

struct logread; /* opaque */

int logread_create(uv_loop_t *loop, const char *agent_dir, struct executor *executor,
                   struct session *session, struct logread **logread_out, struct err *err);
/* Call after session_destroy or before, never after the loop is gone. */
void logread_destroy(struct logread *logread);
/* LOG_READ: begin, or cancel. */
void logread_command(struct logread *logread, const struct wire_command *command);
/* The attempt ended: its logs are whole. */
void logread_ended(struct logread *logread, struct attempt_key key);
/* The session has room again. */
void logread_resume(struct logread *logread);
/* The session broke: nobody listens any more. */
void logread_drop_all(struct logread *logread);
