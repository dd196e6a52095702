/* lease.h - until when this site may go on unheard with what must not run twice (docs/leases.md).
 *
 * All times are of CLOCK_BOOTTIME: nobody can set it, and it counts while the machine sleeps. The
 * agent renews its lease with each post that is answered, and writes it to `agent`/lease, one small
 * record, in place. Supervisors of attempts that are bound to it look there when it would end, so
 * that they stop also when the agent is gone.
 *
 * A lease that ended is never renewed: the next one has another number, and what was begun under
 * the old one stops, however soon the new one came. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct lease_state {
    uint64_t number; /* grows with each lease; 0 = there never was one */
    int64_t ends_ms; /* nothing of it is left by then */
    int64_t stop_ms; /* so long before, stopping begins */
};

/* The agent's own. */
struct lease {
    int fd;
    uint64_t boot; /* which start of the machine this is */
    struct lease_state state;
    int64_t lease_ms, every_ms; /* as the controller said last; 0 = it gives none */
};

/* Take up what the agent before this one held, if the machine has not been started anew since. */
int lease_open(int agent_fd, struct lease *lease_out, struct err *err);
void lease_close(struct lease *lease);
/* What the controller gives from now on. */
void lease_set_terms(struct lease *lease, int64_t lease_ms, int64_t stop_ms, int64_t every_ms);
/* A message sent at `sent_ms` was answered. -errno: it could not be written, and holds no longer
 * than before. */
int lease_renew(struct lease *lease, int64_t sent_ms, struct err *err);
/* May something begin that is bound to it? */
bool lease_is_held(const struct lease *lease);

/* Which start of the machine this is. */
uint64_t lease_boot(void);

/* A supervisor's look. -ENOENT: there is none of this start of the machine. */
int lease_read(int agent_fd, struct lease_state *state_out);
/* When an attempt that began under `number` has to begin to stop; 0 = it should be gone already. */
int64_t lease_stop_at(int agent_fd, uint64_t number, struct lease_state *state_out);
