/* Alibaba GPU 2023: openb node lists, "sn,cpu_milli,memory_mib,gpu,model"; one site, one pool for
 * each kind of node. */
#include "sim/fleet.h"
#include "sim/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOLS_MAX 1024u

static bool parse_count(const char *text, int64_t max, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && errno == 0 && *out >= 0 && *out <= max;
}

static int add_node(struct sim_site *site, char **fields, uint32_t count)
{
    int64_t cpu_milli, memory_mib, gpus;
    struct sim_pool pool = {
        .nodes = 1, .chip_tflops_milli = -1, .chip_watts = UINT32_MAX, .failures_milli = -1
    };

    if (count < 4 || !parse_count(fields[1], 65536000, &cpu_milli) ||
        !parse_count(fields[2], 1 << 30, &memory_mib) ||
        !parse_count(fields[3], NODE_DEVICES_MAX, &gpus))
        return -EINVAL;
    pool.cpus = (uint32_t)MAX(cpu_milli / 1000, 1);
    pool.memory_bytes = memory_mib << 20;
    pool.devices = (uint32_t)gpus;
    if (gpus && (count < 5 || !*fields[4] || strlen(fields[4]) > 40))
        return -EINVAL;
    if (gpus)
        memcpy(pool.chip, fields[4], strlen(fields[4]) + 1);
    for (uint32_t i = 0; i < site->pools_count; i++) {
        struct sim_pool *other = &site->pools[i];

        if (other->cpus == pool.cpus && other->memory_bytes == pool.memory_bytes &&
            other->devices == pool.devices && strcmp(other->chip, pool.chip) == 0) {
            other->nodes++;
            return 0;
        }
    }
    if (site->pools_count == POOLS_MAX)
        return -E2BIG;
    snprintf(pool.name, sizeof(pool.name), "%.20s-%uc-%ug-%" PRIu32,
             pool.devices ? pool.chip : "cpu", pool.cpus, pool.devices, site->pools_count);
    site->pools[site->pools_count++] = pool;
    return 0;
}

int sim_fleet_openb(const char *path, struct sim_fleet *fleet, struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = NULL;
    struct sim_site *site = arena_alloc(&fleet->arena, 1, sizeof(*site));
    char *fields[SIM_FIELDS_MAX], *line = NULL;
    uint32_t count;
    int rc;

    if (!site || !(site->pools = arena_alloc(&fleet->arena, POOLS_MAX, sizeof(*site->pools))))
        return err_set(err, -ENOMEM, "out of memory");
    rc = sim_lines_open(path, &lines, err);
    if (rc == 0)
        rc = sim_lines_next(lines, &line, err);
    if (rc < 0)
        return rc;
    if (!line || strncmp(line, "sn,cpu_milli,memory_mib,gpu", 27) != 0)
        return err_set(err, -EINVAL,
                       "%s:1: a fleet as CSV is an openb node list: sn,cpu_milli,memory_mib,gpu,"
                       "model",
                       path);
    while ((rc = sim_lines_next(lines, &line, err)) == 0 && line) {
        if (!*line)
            continue;
        rc = sim_csv_split(line, fields, &count);
        if (rc == 0)
            rc = add_node(site, fields, count);
        if (rc < 0)
            return err_set(err, -EINVAL,
                           "%s:%" PRIu64 ": expected name, CPUs in 1/1000, MiB, devices and model",
                           path, sim_lines_number(lines));
    }
    if (rc < 0)
        return rc;
    memcpy(site->name, "openb", sizeof("openb"));
    memcpy(site->owner, "alibaba", sizeof("alibaba"));
    fleet->sites = site;
    fleet->sites_count = 1;
    memcpy(fleet->name, "openb", sizeof("openb"));
    return 0;
}
