/* watch.h - looks at this machine's devices again and again: at once when something comes or goes
 * below /dev or the kernel tells of a fault, else every few seconds where there are devices, as
 * often as a look is cheap (at most 0.2 % of the time is spent on looks), and at least twice a
 * minute.
 *
 * Looks run on a worker thread, one at a time; calls back on the loop's. */
#pragma once

#include "agent/discover.h"
#include "agent/health.h"

#include <uv.h>

#define WATCH_MS_MIN 5000
#define WATCH_MS_MAX 30000
#define WATCH_SETTLE_MS 300 /* after something came or went: the rest of it comes, too */

struct watch_config {
    uv_loop_t *loop;
    const struct discover_config *discover; /* without opencl: it would fork */
    struct node_info *node;                 /* what the network knows; written between looks */
    const char *state_dir;
    /* After each look: what the tools measured, by the node's devices. */
    void (*looked)(void *context, const struct discover_readings *readings);
    void (*changed)(void *context);                                   /* *node is another */
    void (*node_changed)(void *context, const struct health *health); /* sick, or well again */
    void *context;
};

struct watch;
int watch_create(const struct watch_config *config, struct watch **watch_out, struct err *err);
/* Before the loop is closed, which frees it. */
void watch_destroy(struct watch *watch);
const struct health *watch_health(const struct watch *watch);
