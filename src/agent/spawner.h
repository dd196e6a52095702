/* spawner.h - the small process from which supervisors are forked.
 *
 * Forking from the agent would copy its page tables and could happen while its threads hold locks;
 * so the agent forks the spawner first of all and then hands it orders over a socket. The spawner
 * holds nothing but its ends of the socket and of the notify FIFO, does one thing at a time, and
 * ends when the agent does (after the orders it was given). Supervisors outlive both. */
#pragma once

#include "agent/supervisor.h"

struct spawner {
    int fd;    /* the agent's end */
    pid_t pid; /* a child of the agent */
};

/* Fork it. Call while the process has one thread; somebody must have the notify FIFO open for
 * reading. `place` is copied by the fork. */
int spawner_start(const struct supervisor_place *place, struct spawner *spawner_out,
                  struct err *err);
/* Hand over an order and its attempt folder (a flock'd descriptor, which stays the caller's).
 * -EPIPE: the spawner is gone. */
int spawner_send(struct spawner *spawner, const struct attempt_order *order, const char *spec_json,
                 int attempt_fd, struct err *err);
void spawner_close(struct spawner *spawner);
