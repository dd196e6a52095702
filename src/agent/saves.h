/* saves.h - what attempts here have saved goes to the network: checkpoints while they run and when
 * they end, outputs when they end.
 *
 * A checkpoint is taken when it has not changed for a moment, and again whenever it is newer; it
 * counts once the network has all of it. The end of an attempt that has something to bring is told
 * after that: what comes after the end would be refused. An end does not wait for ever: when
 * nothing moves for SAVES_END_MS it is told as it is.
 *
 * Of an attempt that works on data which may not leave the site (labels.h) nothing goes: what it
 * saved and put out stays here, and that is logged. */
#pragma once

#include "agent/attempt.h"
#include "agent/depot.h"
#include "model/site_policy.h"

#define SAVES_END_MS (10 * 60 * 1000LL)

struct saves;
struct saves_config {
    uv_loop_t *loop;
    struct depot *depot;
    const char *agent_dir;
    const char *site;
    bool keeps_outputs; /* outputs go to the network (it does not share this machine) */
    /* What may leave; it may change. */
    const struct site_policy *policy;
    /* Where the network is now; an empty link when there is no session. */
    void (*link)(void *context, struct transfer_link *link_out);
    struct turn (*turn)(void *context, struct attempt_key key, enum turn_kind kind,
                        int64_t since_ms);
    /* The end of this attempt may be told. */
    void (*ended)(void *context, struct attempt_key key);
    void *context;
};
int saves_create(const struct saves_config *config, struct saves **saves_out, struct err *err);
/* Before the depot is destroyed, and after. */
void saves_close(struct saves *saves);
void saves_destroy(struct saves *saves);

/* An attempt was ordered, or ordered again. `uid`: who must be able to read what it saves. */
void saves_watch(struct saves *saves, struct attempt_key key, const char *spec_json, uid_t uid);
/* Its supervisor has seen a checkpoint of this time. */
void saves_seen(struct saves *saves, struct attempt_key key, int64_t checkpoint_ms);
/* Of engines whose attempts have no supervisor here to tell: look at all that run, now. */
void saves_look(struct saves *saves);
/* The network is heard again: what waits to be tried again is tried now. */
void saves_resume(struct saves *saves);
/* It has ended. True: `ended` will say when that may be told. False: it may be told now. */
bool saves_end(struct saves *saves, struct attempt_key key, const struct attempt_record *record);
