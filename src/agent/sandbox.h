/* sandbox.h - what a sandboxed job sees of the machine.
 *
 * A root of its own (tmpfs, read-only) with the system's folders bound read-only, its own /proc
 * and pids, a private /tmp, /var/tmp and /dev/shm of bounded size, a /dev with the harmless nodes
 * and those of its devices, and its work folder at SANDBOX_WORK. Nothing else of the host is
 * there: no home, no state folder, no other attempt. The network is the host's. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SANDBOX_WORK "/job"
#define SANDBOX_BIN "/mains/bin"
#define SANDBOX_DEVICE_NODES_MAX 256u

struct sandbox {
    const char *root_dir;  /* an empty folder to build on */
    const char *work_path; /* host folder that becomes the work folder */
    int work_fd;           /* the same, opened as its user: what is at work_path must be this */
    const char *work_seen; /* where: SANDBOX_WORK, or the host's own path */
    const char *bin_dir;   /* commands of ours for the job, seen at SANDBOX_BIN; NULL = none */
    const char *state_dir; /* never seen, should it lie below something bound */
    bool root_inside;      /* the job's uid is root's: the kernel's settings are covered */
    int64_t tmp_bytes;     /* of /tmp, /var/tmp and /dev/shm each; 0 = half of memory */
    uint32_t device_nodes_count;
    const char *device_nodes[SANDBOX_DEVICE_NODES_MAX];
};

/* Fork a process 1 of new pid, mount, ipc and uts namespaces, as fork(): 0 in the child. Without
 * root, in a user namespace that knows only the own uid. `cgroup_fd` (of cgroup v2, or -1) is where
 * it is born. -errno. */
pid_t sandbox_fork(int cgroup_fd);
/* In the child: build the view and make it the root. */
int sandbox_enter(const struct sandbox *sandbox, struct err *err);
