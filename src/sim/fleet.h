/* fleet.h - the sites that are simulated: pools of identical nodes, tariffs, and when a site is in
 * reach. Read from a fleet file (docs/simulator.md), from Alibaba's openb node list, from a
 * journal, or built in ("demo"). A fleet owns all it points to (one arena) and is immutable once
 * read. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "model/chip.h"
#include "model/inventory.h"
#include "sched/figures.h"
#include "sched/tariff.h"

#define SIM_SITES_MAX 1000u
#define SIM_NODES_MAX 1000000u /* of the fleet */

enum sim_window_kind {
    SIM_WINDOW_MAINTENANCE, /* nodes closed, what runs there ends */
    SIM_WINDOW_CONTACT,     /* the site can be heard only inside such windows */
    SIM_WINDOW_LINK,        /* not heard; its work goes on */
    SIM_WINDOW_POWER        /* not heard; its work dies */
};
/* [at, at + length), again every `every`. Times in ms from the start of the simulation. */
struct sim_window {
    uint32_t kind; /* enum sim_window_kind */
    int64_t at_ms, length_ms, every_ms;
    int64_t drain_ms; /* maintenance: no new work from that long before */
};

struct sim_pool {
    char name[MODEL_NAME_BYTES];
    char chip[MODEL_NAME_BYTES]; /* "" when devices is 0 */
    uint32_t nodes, cpus, devices;
    int64_t memory_bytes, disk_bytes, device_memory_bytes;
    int64_t chip_tflops_milli; /* -1 = as the catalogue says */
    uint32_t chip_watts;       /* UINT32_MAX = as the catalogue says */
    uint32_t cpu_watts;        /* of all CPUs of a node under load */
    uint32_t rack_nodes,
        supernode_nodes;    /* so many of its nodes after another make one; 0 = none */
    int64_t failures_milli; /* of a node, per 1,000 node-days, in 1/1000; -1 = the plan's */
    uint32_t first_node;    /* index in the site of its first one */
    struct chip_figures figures;
};
/* What a kWh costs and emits, slot by slot, over and over; TARIFF_UNKNOWN = as the tariff says. */
struct sim_series_row {
    int64_t price_micro, carbon_mg, green_ppm, cap_milliwatts;
};
struct sim_tariff_series {
    char file[MODEL_NAME_BYTES]; /* beside the fleet file: see model/tariff_file.h; "" = rows */
    int64_t from_ms;             /* Unix ms of the first row's slot */
    int64_t slot_ms;
    int64_t ahead_ms; /* known so long before */
    struct sim_series_row *rows;
    uint32_t rows_count;
};
struct sim_site {
    char name[MODEL_NAME_BYTES], owner[MODEL_NAME_BYTES], region[MODEL_NAME_BYTES];
    struct site_tariff tariff;
    struct sim_tariff_series series;
    struct sim_pool *pools;
    uint32_t pools_count;
    struct sim_window *windows;
    uint32_t windows_count;
    uint32_t nodes_count;
    uint32_t suspends; /* 1: what runs there can be held still in place */
};
struct sim_fleet {
    struct arena arena;
    char name[MODEL_NAME_BYTES];
    int64_t start_ms; /* Unix ms of the simulation's first moment */
    struct sim_site *sites;
    uint32_t sites_count;
    uint64_t nodes_count, devices_count, cpus_count;
    uint32_t node_devices_most; /* devices of the largest node */
};

/* "demo", "demo-100k" (60 sites, 20 kinds of chip, 100,000 devices), a fleet file, or an openb node
 * list (told by its ending: .csv or .csv.gz). */
int sim_fleet_open(const char *name, const struct catalogue *catalogue,
                   struct sim_fleet **fleet_out, struct err *err);
void sim_fleet_destroy(struct sim_fleet *fleet);
void sim_fleet_destroyp(struct sim_fleet **fleet);

/* A fleet file's text in memory. -EINVAL with "file:line:column: ". */
int sim_fleet_read(const char *file, const char *text, size_t len,
                   const struct catalogue *catalogue, struct sim_fleet **fleet_out,
                   struct err *err);
/* "power_price: 0.3": what is not named stays. */
int sim_tariff_change(const char *text, struct arena *arena, struct site_tariff *tariff,
                      struct err *err);
/* The fleet as a file to change and read again. -ENOMEM. */
int sim_fleet_write(const struct sim_fleet *fleet, struct buf *out);
/* For those that build one: an empty fleet, then what is counted and looked up. -EINVAL: names
 * repeat, or a ceiling is passed. */
struct sim_fleet *sim_fleet_create(void);
int sim_fleet_finish(struct sim_fleet *fleet, const struct catalogue *catalogue, struct err *err);

/* Its index; -1 = there is none of that name. */
int sim_fleet_find_site(const struct sim_fleet *fleet, const char *name);
const struct sim_pool *sim_site_pool(const struct sim_site *site, uint32_t node);
/* "h100-00017" */
void sim_node_name(const struct sim_site *site, uint32_t node, char out[MODEL_NAME_BYTES]);
/* How fast the kind is, as the scheduler counts it: TFLOPS in 1/1000; 0 = not known. */
int64_t sim_chip_speed(const struct chip_figures *figures);

/* fleet_demo.c, fleet_csv.c */
int sim_fleet_demo(struct sim_fleet *fleet, bool large, struct err *err);
int sim_fleet_openb(const char *path, struct sim_fleet *fleet, struct err *err);
