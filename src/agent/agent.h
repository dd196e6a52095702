/* agent.h - a site's side: it discovers what the machine has, keeps one session with the
 * controller, and runs what it is told to run.
 *
 * State, all under `state_dir`/agent (mode 0700, made when absent):
 *     lock                      held (flock) by the running agent
 *     incarnation               a number that grows with each start
 *     nodes/                    of a site over several machines (nodes.h)
 *     notify                    a FIFO on which supervisors tell what happened
 *     attempts/<job>.<epoch>/   one attempt: held (flock) by its supervisor while it lives
 *     ended/<job>.<epoch>  final records, kept until the controller says WIRE_FORGET
 *
 * A running attempt belongs to its supervisor, not to the agent: the agent may die and start again
 * at any moment, and finds what runs and what ended by reading these folders. */
#pragma once

#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_config {
    const char *state_dir;      /* absolute */
    const char *controller_url; /* "http://127.0.0.1:7743"; NULL = `state_dir`/endpoint.json, read
                                   again before each try to connect */
    const char *token_file;     /* the site's token as text; NULL = `state_dir`/site.token */
    const char *site;           /* NULL = the name of this host */
    const char *owner;          /* NULL = "local" */
    const char *region;         /* NULL = "" */
    /* What the owner lends: 0 = all there is. More CPUs than there are overcommits them. */
    uint32_t cpus_lent;
    int64_t memory_lent_bytes;
    bool allow_no_sandbox; /* may jobs run unsandboxed when they ask for it? */
    const char *executor;  /* "local", "slurm", "kubernetes", "sim"; NULL = as site.json says, else
                              "local" */
    /* Where other machines of the site dial ("0.0.0.0"; port 0 = as last time, or any); NULL: there
     * are none. */
    const char *nodes_address;
    uint16_t nodes_port;
    const char *node;      /* what this machine is called as a node; NULL = as the host */
    const char *sim_fleet; /* what a simulated site has (simsite.h) */
    bool sandbox_off;      /* run everything unsandboxed: benches, machines that cannot */
    enum log_level log_level;
};

#define NODES_PORT_DEFAULT 7744u

/* Run until SIGTERM or SIGINT: the process's exit code (2: another agent holds the folder). Call
 * before any thread or loop exists: it forks the process from which supervisors are forked. Running
 * attempts outlive the return. */
int agent_main(const struct agent_config *config);
