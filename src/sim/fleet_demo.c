/* Built-in fleets: "demo", six sites of mixed chips, and "demo-100k", 60 sites with 20 kinds of
 * chip and 100,000 devices. Prices of power and carbon are of the order of 2023's means in such
 * places and are there to differ, not to be quoted. */
#include "sim/fleet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct place {
    const char *region;
    int64_t price_micro; /* per kWh */
    int64_t carbon_milli;
};
static const struct place places[] = {
    { "us-tx", 55000, 410000 },    { "de", 98000, 380000 },   { "no", 58000, 30000 },
    { "cn-north", 62000, 580000 }, { "ca-on", 30000, 70000 }, { "jp", 82000, 480000 },
    { "us-east", 48000, 380000 },  { "fr", 97000, 55000 },    { "gb", 118000, 230000 },
    { "kr", 120000, 430000 },      { "sg", 180000, 470000 },  { "in", 60000, 700000 },
    { "au-nsw", 88000, 600000 },   { "br", 40000, 100000 },   { "cn-southwest", 50000, 250000 },
};

struct kind {
    const char *chip;
    uint32_t devices, cpus, watts; /* of a node; watts 0 = as the catalogue says */
    int64_t memory_gib, price_micro;
};
static const struct kind kinds[] = {
    { "h100-sxm-80g", 8, 96, 0, 1024, 2200000 },   { "a100-sxm-80g", 8, 96, 0, 1024, 1200000 },
    { "ascend-910b3", 8, 192, 400, 1024, 900000 }, { "mi300x", 8, 96, 0, 1536, 2400000 },
    { "v100-sxm2-32g", 8, 64, 0, 512, 500000 },    { "l40s", 4, 64, 0, 512, 800000 },
    { "h200-sxm", 8, 96, 0, 1536, 2800000 },       { "h20", 8, 96, 0, 1024, 900000 },
    { "b200", 8, 112, 0, 2048, 4000000 },          { "ascend-910c", 8, 192, 0, 1536, 1600000 },
    { "gaudi2", 8, 96, 0, 1024, 900000 },          { "t4", 4, 48, 0, 256, 250000 },
    { "h800-sxm", 8, 96, 0, 1024, 2000000 },       { "a100-sxm-40g", 8, 96, 0, 1024, 1000000 },
    { "mi250x", 4, 64, 0, 512, 900000 },           { "dcu-k100-ai", 8, 64, 0, 512, 500000 },
    { "kunlun-p800", 8, 96, 400, 1024, 700000 },   { "metax-c500", 8, 64, 0, 512, 600000 },
    { "mtt-s4000", 8, 64, 0, 512, 400000 },        { "tpu-v5p", 4, 96, 0, 448, 1500000 },
};

static void set_pool(struct sim_pool *pool, const struct kind *kind, uint32_t nodes)
{
    *pool = (struct sim_pool){ .nodes = nodes,
                               .cpus = kind->cpus,
                               .devices = kind->devices,
                               .memory_bytes = kind->memory_gib << 30,
                               .disk_bytes = 4LL << 40,
                               .chip_tflops_milli = -1,
                               .chip_watts = kind->watts ? kind->watts : UINT32_MAX,
                               .cpu_watts = 400,
                               .failures_milli = -1 };
    memcpy(pool->chip, kind->chip, strlen(kind->chip) + 1);
    memcpy(pool->name, kind->chip, strlen(kind->chip) + 1);
}

/* Pools of whole nodes that hold `devices` together, the kinds from `first` on in turn. */
static int set_site(struct sim_fleet *fleet, struct sim_site *site, uint32_t index,
                    uint32_t kinds_first, uint32_t pools, uint32_t kinds_count, uint32_t devices)
{
    const struct place *place = &places[index % ARRAY_COUNT(places)];

    site->pools = arena_alloc(&fleet->arena, pools, sizeof(*site->pools));
    if (!site->pools)
        return -ENOMEM;
    snprintf(site->name, sizeof(site->name), "%s-%02u", place->region, index + 1);
    snprintf(site->owner, sizeof(site->owner), "owner-%02u", index % 12 + 1);
    snprintf(site->region, sizeof(site->region), "%s", place->region);
    for (uint32_t i = 0; i < pools; i++) {
        const struct kind *kind = &kinds[(kinds_first + i) % kinds_count];
        uint32_t share = i + 1 < pools ? devices / (pools - i) : devices;

        set_pool(&site->pools[i], kind, MAX(share / kind->devices, 1));
        devices -= MIN(devices, site->pools[i].nodes * kind->devices);
    }
    site->pools_count = pools;
    site->tariff.power_price_micro_per_kwh = place->price_micro;
    site->tariff.carbon_g_per_kwh_milli = place->carbon_milli;
    site->tariff.cpu_price_micro_per_hour = 10000;
    /* One price a device-hour for the site: that of its first kind. */
    site->tariff.device_price_micro_per_hour = kinds[kinds_first % kinds_count].price_micro;
    return 0;
}

int sim_fleet_demo(struct sim_fleet *fleet, bool large, struct err *err)
{
    uint32_t sites = large ? 60 : 6, pools = large ? 3 : 2, kinds_count = large ? 20 : 6;
    uint32_t devices = large ? 1667 : 200;

    fleet->sites = arena_alloc(&fleet->arena, sites, sizeof(*fleet->sites));
    if (!fleet->sites)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < sites; i++)
        if (set_site(fleet, &fleet->sites[i], i, i, pools, kinds_count, devices) < 0)
            return err_set(err, -ENOMEM, "out of memory");
    fleet->sites_count = sites;
    snprintf(fleet->name, sizeof(fleet->name), "%s", large ? "demo-100k" : "demo");
    return 0;
}
