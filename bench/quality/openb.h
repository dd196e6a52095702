/* openb.h - Alibaba's GPU cluster of 2023 (the openb lists) for the fill bench: reading, arrivals,
 * the peers (FGD, BestFit) and an upper bound. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define OPENB_NODES_MAX 2048u
#define OPENB_DEVICES_MAX 8u
#define OPENB_PODS_MAX 16384u
#define OPENB_CHIPS_MAX 16u

struct openb_pod {
    int32_t cpu_milli, memory_mib;
    uint16_t devices, milli;
    uint64_t chips; /* UINT64_MAX = any */
};
struct openb_node {
    int32_t cpu_milli, memory_mib;
    uint16_t chip, devices;
    uint16_t free_milli[OPENB_DEVICES_MAX];
};
struct openb {
    struct openb_node nodes[OPENB_NODES_MAX]; /* by name; empty */
    uint32_t nodes_count;
    int64_t total_milli;
    char chips[OPENB_CHIPS_MAX][16];
    uint32_t chips_count;
    struct openb_pod pods[OPENB_PODS_MAX]; /* of the list, by name */
    uint32_t pods_count;
    struct openb_pod arrivals[OPENB_PODS_MAX];
    uint32_t arrivals_count;
};

int openb_read_nodes(struct openb *openb, const char *folder, struct err *err);
int openb_read_pods(struct openb *openb, const char *folder, const char *list, struct err *err);
/* The arrivals: sim_draw, as `mains sim --asked` does. */
void openb_draw(struct openb *openb, uint64_t seed, uint32_t percent);

enum openb_peer { OPENB_BESTFIT, OPENB_FGD };
/* Place the arrivals; the share of all devices in use at the end, in percent. */
double openb_peer_run(const struct openb *openb, enum openb_peer peer);

/* No placement of the arrivals, whatever it drops, uses more than this percent: a Lagrangian bound
 * of cutting stock over kinds of node. `reached_percent` by some placement guides the search. */
double openb_bound(const struct openb *openb, double reached_percent);
