/* supervisor.h - the process that stands over one attempt, from its order to its final record.
 *
 * It is forked by the spawner, holds the lock of the attempt's folder while it lives, and needs
 * neither agent nor controller. One thread, one poll loop; between events it sleeps. It runs as
 * the agent's user; the ranks are other processes, which die when it dies. Whatever the job does,
 * in the end no process of it is left and a record stands in ended/. */
#pragma once

#include "agent/attempt.h"
#include "agent/cgroup.h"

/* What all supervisors of an agent share; made once, before the spawner is forked. */
struct supervisor_place {
    const char *state_dir, *agent_dir;
    int agent_fd;  /* the folder of the agent */
    int ended_fd;  /* its ended/ */
    int notify_fd; /* the FIFO, for writing; -1 in the agent itself */
    struct cgroup_root cgroups;
    char tag[24];        /* tells agents on one machine apart */
    char work_base[256]; /* where dropped, unsandboxed jobs have their work folders; "" = none */
};
/* Fill in the cgroups, the tag and the work folders' base; the rest is the caller's. */
int supervisor_place_prepare(struct supervisor_place *place, struct err *err);

/* Stand over one attempt, to its record. Takes the descriptor of the attempt's folder, and with it
 * its lock. `cgroup` is the one we are in (v1) or our ranks are to be born in (v2); NULL: there is
 * none, or there should be one, but `trouble` (else NULL).
 *
 * True: the agent was told and every process of the attempt is gone, so this process may serve
 * another attempt once all descriptors it did not have before are closed. False: it must exit. */
bool supervisor_run(const struct supervisor_place *place, const struct attempt_order *order,
                    const char *spec_json, int attempt_fd, struct cgroup *cgroup,
                    const char *trouble);

/* Write a final record durably enough for kill -9 (rename). Telling the agent is another thing. */
int supervisor_write_record(const struct supervisor_place *place, int folder_fd,
                            const struct attempt_record *record);
