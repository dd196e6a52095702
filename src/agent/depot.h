/* depot.h - the site's own store (`agent_dir`/store, a cache) and the one thread that works in it:
 * what attempts save goes up to the network from here, what they need comes down into it.
 *
 * Tasks take turns, a message each, so that a big upload does not keep a start waiting; at a site
 * that is heard now and then they go one after another instead, each whole (turn.h). The store
 * is opened when the first task comes. It is not synced: what is lost is fetched or put again. */
#pragma once

#include "agent/transfer.h"
#include "agent/turn.h"

#include <uv.h>

#define DEPOT_BYTES_MAX (64LL << 30) /* of what the cache keeps; less where the disk is smaller */

struct depot;
struct depot_bench { /* what a task works with, on the depot's thread */
    struct store *store;
    struct http_easy *easy;
    struct pace *pace;
    const char *agent_dir;
    struct transfer_meter *meter;
};
struct depot_task { /* the owner embeds it */
    struct depot_task *next;
    /* One piece of work: 1 call again, 0 done, -errno. */
    int (*step)(struct depot_task *self, const struct depot_bench *bench, struct err *err);
    void (*drop)(
        struct depot_task *self); /* the same thread, instead of a step: it was cancelled */
    void (*done)(struct depot_task *self); /* on the loop; may free it */
    struct turn turn;                      /* whose turn it is, where that counts */
    int rc;                                /* -ECANCELED: was not finished */
    struct err err;
    bool cancelled; /* depot_cancel */
};

struct depot_config {
    uv_loop_t *loop;
    const char *agent_dir;
    int64_t rate_bytes; /* a second, both ways together; 0 = without limit */
};
int depot_create(const struct depot_config *config, struct depot **depot_out, struct err *err);
/* Tasks that were not done are told so (-ECANCELED). The loop must turn once more. */
void depot_destroy(struct depot *depot);
/* How fast files came and went; 0 = not known. Any thread. */
void depot_rates(struct depot *depot, int64_t *down_bytes_s_out, int64_t *up_bytes_s_out);
/* By their turns from now on, or a message each again. */
void depot_set_ordered(struct depot *depot, bool ordered);
/* While tasks come one after another, none is begun: then the first is the one that should be. */
void depot_gather(struct depot *depot, bool gathering);
/* The contact with the network is over, or there again; see transfer_link.over, which this gives.
 */
void depot_hush(struct depot *depot, bool hushed);
const atomic_bool *depot_hushed(const struct depot *depot);
void depot_submit(struct depot *depot, struct depot_task *task);
/* It ends after the step it is in, with -ECANCELED unless that was the last. */
void depot_cancel(struct depot *depot, struct depot_task *task);
