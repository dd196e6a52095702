/* spawner.h - the small process from which supervisors are forked.
 *
 * Forking from the agent would copy its page tables and could happen while its threads hold locks;
 * so the agent forks the spawner first of all. The spawner keeps some supervisors parked: forked,
 * in a cgroup of their own, waiting on the one socket that the agent sends orders into. An order
 * goes straight to a parked one, which costs neither a fork nor a change of cgroup any more; when
 * too few are left the spawner parks another. A supervisor whose attempt has ended parks itself
 * again, as long as nothing of the attempt is left in it or in its cgroup; those over the number
 * wanted are retired after a while. The spawner reaps supervisors and removes their cgroups.
 *
 * When the agent goes, so do the spawner and the parked; supervisors with an order outlive both. */
#pragma once

#include "agent/supervisor.h"

#define SPAWNER_PARKED_MIN 4
#define SPAWNER_PARKED_MAX 64

struct spawner {
    int fd;    /* the agent's end */
    pid_t pid; /* a child of the agent */
    int pid_fd;
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

/* For the program mains-spawner, which spawner_start runs where it finds it beside this program;
 * where it does not, the fork serves as it is. Strings point into `argv`. */
int spawner_read_args(int argc, char **argv, int *fd_out, struct supervisor_place *place_out,
                      struct err *err);
_Noreturn void spawner_serve(int fd, const struct supervisor_place *place);
