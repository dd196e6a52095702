/* tunnel.h - connections between the tasks of a gang over several sites: through the network, or
 * straight to the other site's agent where its owner tells an address and that answers.
 *
 * For each task elsewhere this agent listens at the task's own address and port (peers.h). What is
 * connected there is carried to the controller, which passes it to the agent of the task's site,
 * which connects to the task: it waits up to TUNNEL_PATIENCE_MS for that to listen. Only tasks of
 * the same attempt, and their ports alone, are reached, as this side and the controller see to.
 *
 * Bytes go in pieces, each way by itself: a piece is posted, and the next when that was taken; a
 * piece is fetched, and the next when the task has taken that. Both say from which byte on, and
 * what was posted is kept until the other side has it: a link that breaks for a while, or a
 * controller that is started again, loses nothing and delays all. At most about TUNNEL_PIECE_BYTES
 * each way are here, and whoever sends faster than the other side reads waits, as with TCP. */
#pragma once

#include "agent/peers.h"
#include "agent/transfer.h"

#include <uv.h>

#define TUNNEL_PIECE_BYTES (256u << 10)
#define TUNNEL_PATIENCE_MS 60000
#define TUNNEL_STREAMS_MAX 256u

struct tunnels; /* opaque; one thread */
struct tunnels_config {
    uv_loop_t *loop;
    const char *site;
    const char *address; /* where other sites' agents reach this one; NULL, "" = nowhere */
    /* Where the network is: see session_link. */
    void (*link)(void *context, struct transfer_link *link_out);
    void *context;
};
int tunnels_create(const struct tunnels_config *config, struct tunnels **tunnels_out,
                   struct err *err);
/* Freed once its handles are closed. */
void tunnels_destroy(struct tunnels *tunnels);
/* Listen for the tasks elsewhere; a second time changes nothing. -EADDRINUSE and the like. */
int tunnels_begin(struct tunnels *tunnels, struct attempt_key key,
                  const struct attempt_across *across, struct err *err);
/* No new connections, either way; those that are go on until the tasks end them. */
void tunnels_end(struct tunnels *tunnels, struct attempt_key key);
/* WIRE_TUNNEL: somebody's connection `id` is for this port of a task here; with is_direct its agent
 * tries to come here by itself; is_resumed: it should be here from before. */
void tunnels_connect(struct tunnels *tunnels, struct attempt_key key, uint64_t id, uint32_t port,
                     bool is_direct, bool is_resumed);
/* "192.0.2.7:7800" */
bool tunnel_address_is_valid(const char *text);
