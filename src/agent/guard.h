/* guard.h - the end of what a cluster runs for us is promised by a guard that runs beside it.
 *
 * Where an engine starts the processes (Slurm, Kubernetes), none of ours stands over them: when
 * this agent is dead, or cut off together with its cluster, nobody would stop what must not outlive
 * the site's lease (docs/leases.md). So the job's own process is started by a guard, a shell text
 * that needs nothing but a POSIX sh, `sleep`, `mv` and /proc/uptime on the node, and ends it there
 * by the node's own CLOCK_BOOTTIME. The two meet in a folder of the agent's that the nodes see:
 *
 *     guard/lease          "<boot> <number> <ends> <stop>", by the agent's clock; renewed
 *     guard/asks/<stem>    a guard's question: one word, never used before
 *     guard/<stem>         the answer: that word, "<boot> <now>", and the lease, or "no"
 *
 * <stem> is "<job>.<epoch>.<place>". The guard notes its own time before it asks. The answer holds
 * the agent's time of some moment after that: so whatever the agent's clock says, no more of the
 * lease is left than the guard counts. How late a file is seen (a file server's cache, an agent
 * that was frozen while it wrote) makes a guard stop sooner, never later. It asks again every five
 * minutes, as clocks do not go alike: two of them that are slewed apart, 500 ppm each, make 0.3 s
 * of the 0.5 s that it keeps off the end. No answer for ten, and it takes no renewal any more. */
#pragma once

#include "agent/attempt.h"
#include "agent/lease.h"

#define GUARD_FOLDER "guard"
#define GUARD_ASKS_MAX 4096u /* answered in one go */

/* The text, to be sourced; what it reads, it takes out of the environment again:
 *     MAINS_GUARD_DIR     guard/
 *     MAINS_GUARD_PLACE   the attempt's folder. `over` is made there when the lease ends it; a line
 *                         in `save` that was not there before: the checkpoint signal is due
 *     MAINS_GUARD_NAME    "<job>.<epoch>"
 *     MAINS_GUARD_LEASE   the lease's number; "" = none
 *     MAINS_GUARD_SIGNAL  the number of the checkpoint signal; "" = none
 * Then `guard_run WORDS...` runs them (the exit code in guard_code, GUARD_CODE where the lease
 * ended it); guard_first=0 before that says that another on this node asks for all. */
extern const char guard_script[];
/* After it, it is a program of its own, which is given the words and passes SIGTERM on. */
extern const char guard_alone[];
#define GUARD_CODE 75
#define GUARD_OVER "over"
#define GUARD_SAVE "save"

struct guard {
    int agent_fd;             /* borrowed */
    int folder_fd, asks_fd;   /* -1 = not open */
    int inotify_fd;           /* readable when somebody asks, where the folder is this machine's */
    uint64_t boot;            /* which start of the machine */
    struct lease_state lease; /* as it is now */
    struct lease_state told;  /* as the file says */
};

/* On failure guard_close is due. */
int guard_open(int agent_fd, struct guard *guard, struct err *err);
void guard_close(struct guard *guard);
/* The lease as it is now. `wanted`: somebody is bound to it, so that the file is worth writing. */
void guard_take_lease(struct guard *guard, const struct lease *lease, bool wanted);
/* The number of the lease that an attempt which may run is bound to; 0 = it may not. */
typedef uint64_t (*guard_lease_fn)(void *context, struct attempt_key key);
/* Answer those who ask. */
void guard_answer(struct guard *guard, guard_lease_fn lease_of, void *context);
/* Must what began under lease `number` begin to stop? Then `left_ms_out` is what is left until all
 * of it has to be gone, at least 0. */
bool guard_is_over(const struct guard *guard, uint64_t number, int64_t *left_ms_out);
/* An attempt has ended: away with its answers. */
void guard_forget(const struct guard *guard, struct attempt_key key);

/* In an attempt's folder: ask for a checkpoint (`count` grows); did the lease end it? */
int guard_ask_to_save(int attempt_fd, uint32_t count);
bool guard_has_ended(int attempt_fd);
/* Variables of the guard, for an attempt in `folder`; `add` is given each, its value borrowed. */
struct guard_job {
    const char *agent_dir, *folder;
    struct attempt_key key;
    uint64_t lease;
    int signal_number;
};
void guard_each_variable(const struct guard_job *job,
                         void (*add)(void *context, const char *name, const char *value),
                         void *context);
