/* bridge.h - connections between the tasks of a gang over several sites, passed from one site's
 * agent to the other's (src/agent/tunnel.h).
 *
 * POST /api/v1/site-session/tunnels?site=NAME: {"job","epoch","to","port","direct"} is answered
 *   {"tunnel":ID}, and with an "address" when the other agent is to be tried there first.
 * POST .../tunnels/ID?site=&offset=N[&end=true]: bytes from there on.
 * GET .../tunnels/ID?site=&offset=N: bytes from there on; 204: none yet; {"end":true}: no more.
 * DELETE .../tunnels/ID?site=[&done=true]: broken off; or all is out.
 *
 * Only a site that holds a part of an attempt opens one, to another part of that attempt; only
 * those two sites are answered. Offsets make a repeated call harmless. A POST is answered when its
 * bytes have arrived at the other end, so nothing is owed here: after a restart, the 404 of a
 * tunnel that is not known makes who asked for it ask again, with its number ("tunnel"). All of an
 * attempt's are closed (410) when no part of it holds any more, a site's when its agent has started
 * anew. At most BRIDGE_WINDOW_BYTES and a piece wait here each way. */
#pragma once

#include "controller/api.h"

#define BRIDGE_WINDOW_BYTES (256u << 10)
#define BRIDGE_PIECE_BYTES_MAX (512u << 10)
#define BRIDGE_MAX 512u
#define BRIDGE_OF_SITE_MAX 256u

struct bridges; /* one per controller */
struct bridges *bridges_create(struct controller *controller);
void bridges_destroy(struct bridges *bridges);
void bridges_handle_open(struct api_call *call);
void bridges_handle_put(struct api_call *call);
void bridges_handle_get(struct api_call *call);
void bridges_handle_close(struct api_call *call);
/* The site's agent has said HELLO: of an earlier start of it nothing is left there. */
void bridges_hello(struct bridges *bridges, const char *site, uint64_t incarnation);
