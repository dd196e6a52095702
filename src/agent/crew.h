/* crew.h - the processes of one attempt: start them, know when each ends, signal them.
 *
 * Unsandboxed, the ranks are children of the supervisor itself. Sandboxed, a process of ours is
 * process 1 of the attempt's own pid namespace and stands between: when it ends, for whatever
 * reason, the kernel kills all that is in there. Both look the same from here.
 *
 * `setup`, when there is one, runs alone first; the ranks follow when it ended with 0. */
#pragma once

#include "agent/cgroup.h"
#include "agent/identity.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CREW_SETUP_RANK (-1)
/* oom_score_adj: when memory runs out, of the attempt or of the machine, the job dies before its
 * supervisor does; else nobody would know how it ended. */
#define CREW_OOM_JOB "500"
#define CREW_OOM_SUPERVISOR "-1000"

struct sandbox;

struct crew_plan {
    uint32_t ranks_count;
    char *const *argv;
    char *const *const *envs; /* ranks_count of them */
    char *const *setup_argv;  /* NULL = none; runs with the first rank's environment */
    const char *workdir;      /* as the ranks see it */
    int workdir_fd;           /* unsandboxed: entered before the identity changes; else -1 */
    int stdout_fd, stderr_fd;
    const struct identity *identity;
    const struct cgroup *cgroup;   /* where every process is born or we are; NULL = none */
    const struct sandbox *sandbox; /* NULL = none */
    int64_t file_bytes_max;        /* RLIMIT_FSIZE; 0 = none */
    int64_t data_bytes_max;        /* RLIMIT_DATA: where no cgroup limits memory; 0 = none */
    uint32_t processes_max;        /* RLIMIT_NPROC: where no cgroup limits them; 0 = none */
};

struct crew {
    const struct crew_plan *plan;
    pid_t init_pid; /* 0 = the ranks are our children */
    int init_fd;    /* socket to it; -1 */
    pid_t *pids;    /* ours; 0 = ended or not started */
    pid_t setup_pid;
    uint32_t live; /* ranks running */
    bool ranks_started;
};

struct crew_event {
    enum { CREW_STARTED, CREW_ENDED, CREW_FAILED } type;
    int32_t rank;   /* ENDED; CREW_SETUP_RANK */
    int32_t status; /* ENDED: as of waitpid; FAILED: -errno */
    char text[160]; /* FAILED: why no rank runs */
};
typedef void (*crew_event_fn)(void *context, const struct crew_event *event);

/* Of the calling process; only a system call or two. What must not be undone is set before the
 * identity changes. A refusal is ignored. */
void crew_set_oom(const char *adjust);
/* fork() with namespaces, and born in a group of cgroup v2 when `cgroup_fd` is not -1. -errno. */
pid_t crew_clone(uint64_t namespaces, int cgroup_fd);

/* Start. What happens comes through `told`, some of it perhaps during the call. */
int crew_start(const struct crew_plan *plan, struct crew *crew_out, crew_event_fn told,
               void *context, struct err *err);
/* A child was reaped. */
void crew_reaped(struct crew *crew, pid_t pid, int status, crew_event_fn told, void *context);
/* The socket to process 1 is readable. */
void crew_read(struct crew *crew, crew_event_fn told, void *context);
/* To the ranks only, or to all their processes. */
void crew_signal(struct crew *crew, int signal_number, bool all);
/* Kill what is left, whatever it did to hide, and reap it. False: something was left that had to
 * be hunted for. */
bool crew_kill(struct crew *crew);
void crew_fini(struct crew *crew);
