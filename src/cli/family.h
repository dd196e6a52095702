/* family.h - the processes of `mains up`: a parent that starts the controller and the agent, starts
 * them again when they die, and stops them in order.
 *
 * One thread, no loop library: it waits for signals. The children die with the parent (they get
 * SIGTERM from the kernel); the attempts of jobs do not: they belong to their supervisors. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAMILY_ARGV_MAX 32u
/* Exit statuses of the children that mean more than failure. */
#define FAMILY_EXIT_HELD 2    /* another process holds the folder */
#define FAMILY_EXIT_DAMAGED 3 /* the journal: starting again mends nothing */

enum family_member { FAMILY_CONTROLLER, FAMILY_AGENT, FAMILY_COUNT };

struct family_child {
    const char *name;
    const char *argv[FAMILY_ARGV_MAX + 1]; /* borrowed */
    pid_t pid;                             /* 0 = not running */
    int64_t started_ms;
    int64_t start_at_ms; /* when to start it again; 0 = not asked for */
    uint32_t failures;   /* in a row */
    int exit_status;     /* of waitpid, of its last end */
};

struct family {
    struct family_child children[FAMILY_COUNT];
    int log_fd; /* where the children write, kept from growing; -1 = where the parent does */
    char *log_path;
    bool stop; /* asked to by a signal */
};

/* One word more of its command line, borrowed; beyond FAMILY_ARGV_MAX nothing is added. */
void family_child_word(struct family_child *child, const char *word);
/* `option value`; nothing when the value is NULL or empty. */
void family_child_pair(struct family_child *child, const char *option, const char *value);
/* How long to wait before the next start of a child that failed so often in a row. */
int64_t family_delay_ms(uint32_t failures);
/* Append what the children say to up.log of the state folder. */
int family_open_log(struct family *family, const char *state, struct err *err);
/* And what we say from now on; nothing is read any more. */
void family_leave_terminal(const struct family *family);
/* Block the signals that family_wait takes. */
void family_prepare(struct family *family);
int family_start(struct family *family, enum family_member member, struct err *err);
/* Wait at most `timeout_ms` for a signal and do what it asks: reap children, note a stop. */
void family_wait(struct family *family, int64_t timeout_ms);
/* Restart what is due, until a stop is asked for. A child that ended with a status which starting
 * again cannot mend ends it: -ECHILD. */
int family_run(struct family *family, struct err *err);
/* SIGTERM to the agent, then the controller; SIGKILL to what is still there after `grace_ms`. */
void family_stop(struct family *family, int64_t grace_ms);
