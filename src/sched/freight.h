/* freight.h - what it takes to bring a job's files to a site and what it leaves there back, and how
 * long work waits there in a queue of the site's own.
 *
 * All files pass the network's store: what a site does not hold yet comes from there over the
 * site's link, what a job leaves goes back the same way. A site's owner tells what a GB costs in
 * each direction and what the link carries (model/site_policy.h); what transfers really took
 * overrules the rate. What a site holds is a guess: trees that jobs there needed or saved, the
 * newest FREIGHT_HELD_MAX of them, as long as they would fit into its cache.
 *
 * Pure, and in integers: the same calls in the same order give the same bytes. */
#pragma once

#include "model/request.h"
#include "model/site_policy.h"

#define FREIGHT_HELD_MAX 256u
#define FREIGHT_HELD_BYTES_MAX (INT64_C(64) << 30)
#define FREIGHT_WAITS_MAX 8u
#define FREIGHT_WAIT_MS_MAX (INT64_C(366) * 24 * 3600 * 1000)
#define FREIGHT_SLACK_MS 60000 /* beyond a time limit, in what something may cost at most */

struct freight_held {
    uint64_t name;
    int64_t bytes, used_ms;
};
/* How long work waits in the site's own queue (Slurm, Kubernetes), by how wide it is. */
struct freight_wait {
    uint32_t has_devices; /* 1: of work with devices, 0: without */
    uint32_t nodes_max;   /* of work on up to so many nodes */
    uint32_t pending;     /* attempts of ours that wait there now */
    int64_t wait_ms;
};
struct freight_site {
    struct freight_held *held; /* in no order that means anything */
    uint32_t held_count, held_cap;
    int64_t held_bytes;
    int64_t down_bytes_s, up_bytes_s; /* measured; 0 = never */
    uint32_t waits_count;
    struct freight_wait waits[FREIGHT_WAITS_MAX]; /* without devices first, then by nodes_max */
};
void freight_site_fini(struct freight_site *site);
/* It has the tree from now on; true: that was not known. */
bool freight_hold(struct freight_site *site, uint64_t name, int64_t bytes, int64_t now_ms);
bool freight_has(const struct freight_site *site, uint64_t name);
/* Rows in their order, within bounds. */
bool freight_waits_are_sound(const struct freight_wait *waits, uint32_t count);
/* Of work that takes so many nodes; 0 = none, or not told. */
int64_t freight_wait_ms(const struct freight_site *site, bool has_devices, uint64_t nodes);

/* How much jobs leave, by who submitted them and their name: one place a key, the newest key has
 * it. A moving mean. */
#define FREIGHT_OUTS 4096u
struct freight_out {
    uint64_t key; /* 0 = free */
    int64_t bytes;
};
uint64_t freight_key(const char *tenant, const char *user, const char *name); /* never 0 */
void freight_learn_out(struct freight_out outs[FREIGHT_OUTS], uint64_t key, int64_t bytes);
int64_t freight_expect_out(const struct freight_out outs[FREIGHT_OUTS], uint64_t key); /* 0 = ? */

struct freight_cost {
    int64_t wait_ms;             /* in the site's own queue */
    int64_t in_bytes, out_bytes; /* to the site, and from it */
    int64_t in_ms, out_ms;       /* 0 where nobody knows how fast the link is */
    int64_t money_micro;
};
/* `ask` NULL: nothing is moved; `policy` NULL: nothing is told. */
struct freight_cost freight_cost(const struct request_freight *ask,
                                 const struct site_policy *policy, const struct freight_site *site);
/* With its share of power: what `tasks` at so much an hour cost at most by the time limit, and what
 * is moved for them. */
int64_t freight_price_most(const struct request_freight *ask, int64_t hour_micro, uint32_t tasks,
                           const struct freight_cost *cost);
