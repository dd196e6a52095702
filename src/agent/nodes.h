/* nodes.h - a local site over several machines: this one, whose agent speaks for the site, and
 * others whose agents dial this one (docs/nodes.md).
 *
 * The executor "nodes" stands before the executor "local" of this machine. An attempt that lies on
 * this machine alone goes straight to that; any other is split: each machine runs its part, and
 * what they report becomes one report. A node's agent is an agent like any other, whose controller
 * is this one: it says HELLO, holds a lease, reads its stream of commands and posts reports, over
 * TLS, with a certificate of the site's own authority.
 *
 * State, all under `agent_dir`/nodes (0700): ca.key, ca.crt, server.key (net/ca.h), members.json
 * (wire/members.h), known/NAME (what a node said of itself last), door.json (0600: where it
 * listens, and the token that `mains node` of this machine shows), attempts/<job>.<epoch>/: gang
 * (its parts), stdout, stderr and offsets (of all parts), final (its record), then ended. */
#pragma once

#include "agent/executor.h"
#include "agent/lease.h"
#include "agent/transfer.h"

#include <uv.h>

#define NODES_MAX 256u /* of one site, this machine not counted */

struct nodes_config {
    uv_loop_t *loop;
    const char *address;       /* to listen on; NULL: no more, what nodes had is ended in order */
    uint16_t port;             /* 0 = the one of the last time, or any */
    const char *site, *node;   /* the site's name, and this machine's as a node of it */
    const struct lease *lease; /* the site's */
    void (*link)(void *context, struct transfer_link *link_out); /* to the network */
    void (*changed)(void *context); /* nodes_fill would say something else now */
    /* A node is not heard, or sick, or well again. */
    void (*node_state)(void *context, const char *node, bool cordoned, const char *reason);
    /* What an attempt leaves may not leave this site. */
    bool (*stays)(void *context, struct attempt_key key);
    void (*meter)(void *context, struct attempt_record *record, bool ended); /* of this machine */
    void *context;
};

/* All of these are for an executor of executor_nodes_ops only. */
/* Listen; from here on nodes are heard. -errno of the address, the key files. */
int nodes_begin(struct executor *executor, const struct nodes_config *config, struct err *err);
/* Before the loop is closed; the loop must turn once more. */
void nodes_end(struct executor *executor);
/* The other machines, as each told last; how many. */
uint32_t nodes_fill(struct executor *executor, struct node_info *nodes_out, uint32_t nodes_max);
/* Tell node_state of each. */
void nodes_tell_states(struct executor *executor);
/* Where the logs of an attempt over machines are, malloc'd; NULL: it is none. */
char *nodes_log_folder(struct executor *executor, struct attempt_key key);
