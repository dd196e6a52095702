/* telling.h - what a site tells now and then for the placement of work: how long work waits in its
 * engine's own queue, and how fast files came and went. Told when it is another than what was told
 * in this session, at a bounded rate. One thread. */
#pragma once

#include "agent/depot.h"
#include "agent/executor.h"
#include "agent/session.h"

struct telling {
    struct wire_wait waits[WIRE_WAITS_MAX]; /* as told last */
    uint32_t waits_count;
    bool waits_told;     /* in this session */
    int64_t waits_at_ms; /* monotonic */
    int64_t down_bytes_s, up_bytes_s;
};

/* A session has begun: what was told before may not have come. */
void telling_begin(struct telling *telling);
/* `depot` NULL: no files come. */
void telling_look(struct telling *telling, struct executor *executor, struct depot *depot,
                  struct session *session);
