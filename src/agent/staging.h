/* staging.h - what an attempt needs before it can start comes from the network first: the
 * checkpoint that it goes on from.
 *
 * It is fetched into the depot's store and laid out as agent_dir/staged/<job>.<epoch>/, owned by
 * who the job runs as; its supervisor moves it into the work folder. Nothing of it is remembered:
 * an agent that begins anew is ordered again, and fetches what it had not. */
#pragma once

#include "agent/attempt.h"
#include "agent/depot.h"
#include "wire/wire.h"

#define STAGING_WEB_BYTES_MAX (1LL << 40) /* of one address; less where the job has less disk */

struct staging;
struct staging_config {
    uv_loop_t *loop;
    struct depot *depot;
    const char *agent_dir;
    const char *site;
    void (*link)(void *context, struct transfer_link *link_out);
    struct turn (*turn)(void *context, struct attempt_key key, enum turn_kind kind,
                        int64_t since_ms);
    /* All of it is there (`rc` 0): start it; or it cannot be had. `order` has `staged` set. Good
     * during the call only. */
    void (*ready)(void *context, const struct attempt_order *order, const struct wire_part *parts,
                  uint32_t parts_count, const char *spec_json, int rc, const struct err *err);
    void *context;
};
int staging_create(const struct staging_config *config, struct staging **staging_out,
                   struct err *err);
void staging_close(struct staging *staging); /* before the depot is destroyed, and */
void staging_destroy(struct staging *staging);

/* Must something be fetched for this command before it can start? */
bool staging_is_needed(const struct wire_command *command);
int staging_begin(struct staging *staging, const struct attempt_order *order,
                  const struct wire_command *command, struct err *err);
/* The network is heard again: what waits to be tried again is tried now. */
void staging_resume(struct staging *staging);
bool staging_has(const struct staging *staging, struct attempt_key key);
/* It is not to start any more; `ready` is not called. False: it is not being staged. */
bool staging_cancel(struct staging *staging, struct attempt_key key);
/* All that are being staged. */
void staging_each(const struct staging *staging, void (*visit)(void *, struct attempt_key),
                  void *context);
uint32_t staging_count(const struct staging *staging);
