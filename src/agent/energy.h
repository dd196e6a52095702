/* energy.h - how many joules an attempt used: measured where the machine lets us, modelled from
 * the catalogue where not. Integers in millijoule; 1 W x 1 ms = 1 mJ.
 *
 * The model of a node's CPUs: idle power is shared by the CPUs that are held, and what comes on
 * top under load by the CPU time that was spent:
 *     idle_watts x cpu_held_ms / cpus  +  (load_watts - idle_watts) x cpu_ms / cpus
 * and of a device: (idle + (load - idle) x utilisation) x time x share held. Where the utilisation
 * is not known it counts as full. docs/devices.md names the figures assumed and their sources. */
#pragma once

#include "base/err.h"
#include "model/chip.h"
#include "model/inventory.h"

#define ENERGY_DEVICE_WATTS_ASSUMED 250 /* load of a device whose chip has no figure */
#define ENERGY_IDLE_PERCENT 15          /* of the load figure, where idle is not known */
#define ENERGY_CPU_LOAD_MW 3500         /* per logical CPU */
#define ENERGY_CPU_IDLE_MW 740          /* per logical CPU */
#define ENERGY_MEMORY_MW_PER_GIB 392    /* always on */

struct energy_model {
    uint32_t cpus;
    int32_t cpu_load_watts, cpu_idle_watts; /* of the whole node without devices */
    uint32_t devices_count;
    struct {
        int32_t load_watts, idle_watts;
    } devices[NODE_DEVICES_MAX]; /* by place in node_info.devices */
};

struct energy_use {      /* of one attempt on one node */
    int64_t cpu_ms;      /* CPU time really spent */
    int64_t cpu_held_ms; /* CPUs x time held */
    int64_t wall_ms;
    int64_t cpu_measured_mj; /* energy_share_mj of the node's counter; -1 = not measured */
    uint32_t devices_count;
    struct {
        uint32_t device;            /* place in the model */
        uint32_t milli;             /* share held, 1..1000 */
        int32_t busy_milli;         /* utilisation over the time, 0..1000; -1 = not known */
        int64_t energy_measured_mj; /* of the whole device over the time; -1 = not measured */
    } devices[NODE_DEVICES_MAX];
};

/* `catalogue` may be NULL: every device then has the assumed figures. */
void energy_model_init(struct energy_model *model, const struct node_info *node,
                       const struct catalogue *catalogue);
/* The assumed power of a node without its devices. */
void energy_node_watts(uint32_t cpus, int64_t memory_bytes, int32_t *load_watts_out,
                       int32_t *idle_watts_out);

/* What the attempt used. *measured_out (may be NULL) is true only when all of it was measured. */
int64_t energy_attempt_mj(const struct energy_model *model, const struct energy_use *use,
                          bool *measured_out);
/* An attempt's share of what the node's CPUs drew: by CPU time among all that ran. */
int64_t energy_share_mj(int64_t node_mj, int64_t attempt_cpu_ms, int64_t node_busy_ms);

/* Counters that only grow, since the sampler was made. */
struct energy_sampler; /* opaque; one thread */
struct energy_counters {
    int64_t cpu_mj;                      /* RAPL packages and memory; -1 = not readable here */
    int64_t cpu_busy_ms;                 /* CPU time spent by everything on the node */
    int64_t device_mj[NODE_DEVICES_MAX]; /* -1 = its tool tells no power */
    /* How often its power was told: a span without a new reading is a guess, not measured. */
    uint32_t device_readings[NODE_DEVICES_MAX];
};
/* `root` as in discover_config (NULL in real life). NULL: no memory. */
struct energy_sampler *energy_sampler_create(const char *root);
void energy_sampler_destroy(struct energy_sampler *sampler);
/* Read RAPL and /proc/stat; cheap (some files). At least once in ENERGY_SAMPLE_MS_MAX, or a
 * counter may wrap twice unseen. `power_mw` is discover_readings.power_mw as just read by the
 * caller's thread, or NULL: between two readings a device's power counts as constant. */
#define ENERGY_SAMPLE_MS_MAX 60000
void energy_sampler_tick(struct energy_sampler *sampler, int64_t mono_ms, const int64_t *power_mw,
                         uint32_t devices_count);
void energy_sampler_read(const struct energy_sampler *sampler, struct energy_counters *out);
/* Is RAPL readable? For node_info.energy_measured. */
bool energy_rapl_is_readable(const char *root);
