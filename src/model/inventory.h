/* inventory.h - what a site has: its nodes and their devices, as discovered by its agent and told
 * to the controller. Plain data, JSON on the wire.
 *
 * A device is named by its place in node_info.devices everywhere but inside its vendor's tools:
 * there `index` and `visibility_value` count. Texts are UTF-8, one line, and always end in NUL. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "model/request.h"

#include <jansson.h>

#define NODE_DEVICES_MAX 64u
#define SITE_NODES_MAX 20000u

enum device_health { DEVICE_OK, DEVICE_SICK };

struct device_info {
    char chip[MODEL_NAME_BYTES]; /* catalogue kind, or "unknown-<vendor>" */
    char vendor[32];
    char uuid[96];
    uint32_t index; /* as the vendor counts: goes into the visibility variable */
    uint32_t numa;  /* UINT32_MAX = not known */
    int64_t memory_bytes;
    enum device_health health;
    char health_text[96];
    char visibility_env[48];   /* "CUDA_VISIBLE_DEVICES"; "" = the chip has none */
    char visibility_value[96]; /* this device's entry in that list: "3", or "MIG-<uuid>" */
    char family[32];           /* "cuda" */
    char device_nodes[192];    /* "/dev/nvidia0;/dev/nvidiactl;/dev/nvidia-uvm" */
    char driver[64];
};

struct node_info {
    char name[MODEL_NAME_BYTES];
    char cpu_model[96];
    char arch[16]; /* "x86_64" */
    char os[96];
    uint32_t cpus; /* usable by jobs */
    uint32_t numa_count;
    int64_t memory_bytes;                   /* usable by jobs */
    int64_t disk_bytes;                     /* usable for scratch */
    int32_t cpu_load_watts, cpu_idle_watts; /* energy model of the node without devices */
    bool energy_measured;                   /* RAPL or the like is readable */
    char rack[MODEL_NAME_BYTES], supernode[MODEL_NAME_BYTES]; /* which it is part of; "" = none */
    char notes[256]; /* what discovery could not read, for a person; "" = all was well */
    uint32_t devices_count;
    struct device_info devices[NODE_DEVICES_MAX];
};

struct site_tariff { /* constant over time */
    int64_t carbon_g_per_kwh_milli;
    int64_t power_price_micro_per_kwh;
    int64_t cpu_price_micro_per_hour;    /* one CPU for one hour */
    int64_t device_price_micro_per_hour; /* one whole device for one hour */
    char currency[8];
    bool carbon_assumed, price_assumed; /* a default, not told by the owner */
};

struct site_info {
    char name[MODEL_NAME_BYTES];
    char owner[MODEL_NAME_BYTES];
    char region[MODEL_NAME_BYTES];
    struct site_tariff tariff;
    uint32_t nodes_count;
    struct node_info *nodes; /* owned */
    bool sandbox_optional;   /* jobs may ask to run without the sandbox */
    bool one_kind;           /* an attempt there is on one kind of chip: no mixed gangs */
    bool images;             /* jobs may bring a container image */
    char address[24];        /* "192.0.2.7:7800": where other sites reach its agent; "" = nowhere */
    bool tunnels;            /* its agent carries connections to tasks at other sites */
    bool suspends;           /* what runs can be held still there, in memory, and go on later */
};

void site_info_fini(struct site_info *info); /* frees the nodes; zeroes are fine */

/* Missing keys get their default (0, "", not known), but name, index, chip, cpus and memory_bytes
 * must be there; keys this side does not know are ignored (a newer peer wrote them). Node names are
 * unique in a site. -EINVAL with one line and err->field ("nodes[3].devices[0].index"): wrong type,
 * out of range, text too long or with control characters; -E2BIG past a ceiling; -ENOMEM.
 * Fini what comes out; nothing does on failure. */
int site_info_parse_json(const json_t *root, struct site_info *info_out, struct err *err);
json_t *site_info_to_json(const struct site_info *info); /* new reference; NULL: no memory */

/* Parts of it, for the API. A new reference; NULL: no memory. */
json_t *node_info_to_json(const struct node_info *node);
json_t *device_info_to_json(const struct device_info *device);

/* True when both hold the same values (bytes after the NUL of a text do not count). */
bool node_info_is_equal(const struct node_info *a, const struct node_info *b);
