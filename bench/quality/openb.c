#include "openb.h"

#include "base/cleanup.h"
#include "sim/draw.h"
#include "sim/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_int(const char *text, int32_t max, int32_t *out)
{
    char *end;
    long value;

    errno = 0;
    value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > max)
        return -EINVAL;
    *out = (int32_t)value;
    return 0;
}

static int chip_index(struct openb *openb, const char *name, size_t len, uint16_t *out)
{
    if (!len || len >= sizeof(openb->chips[0]))
        return -EINVAL;
    for (uint16_t i = 0; i < openb->chips_count; i++)
        if (strlen(openb->chips[i]) == len && !memcmp(openb->chips[i], name, len)) {
            *out = i;
            return 0;
        }
    if (openb->chips_count == OPENB_CHIPS_MAX)
        return -ENOSPC;
    memcpy(openb->chips[openb->chips_count], name, len);
    *out = (uint16_t)openb->chips_count++;
    return 0;
}

static int take_node(struct openb *openb, char **fields, uint32_t count)
{
    struct openb_node *node = &openb->nodes[openb->nodes_count];
    int32_t devices;

    if (openb->nodes_count == OPENB_NODES_MAX || count < 5 ||
        read_int(fields[1], INT32_MAX, &node->cpu_milli) < 0 ||
        read_int(fields[2], INT32_MAX, &node->memory_mib) < 0 ||
        read_int(fields[3], OPENB_DEVICES_MAX, &devices) < 0 ||
        chip_index(openb, fields[4], strlen(fields[4]), &node->chip) < 0)
        return -EINVAL;
    node->devices = (uint16_t)devices;
    for (int32_t i = 0; i < devices; i++)
        node->free_milli[i] = 1000;
    openb->total_milli += INT64_C(1000) * devices;
    openb->nodes_count++;
    return 0;
}

static int take_pod(struct openb *openb, char **fields, uint32_t count)
{
    struct openb_pod *pod = &openb->pods[openb->pods_count];
    int32_t devices, milli;

    if (openb->pods_count == OPENB_PODS_MAX || count < 5 ||
        read_int(fields[1], INT32_MAX, &pod->cpu_milli) < 0 ||
        read_int(fields[2], INT32_MAX, &pod->memory_mib) < 0 ||
        read_int(fields[3], OPENB_DEVICES_MAX, &devices) < 0 ||
        read_int(fields[4], 1000, &milli) < 0)
        return -EINVAL;
    pod->devices = (uint16_t)devices;
    pod->milli = (uint16_t)(devices ? milli : 0);
    pod->chips = UINT64_MAX;
    if (count > 5 && *fields[5] && devices) {
        pod->chips = 0;
        for (const char *part = fields[5]; *part;) {
            size_t len = strcspn(part, "|");
            uint16_t chip;

            if (chip_index(openb, part, len, &chip) < 0)
                return -EINVAL;
            pod->chips |= UINT64_C(1) << chip;
            part += len + (part[len] == '|');
        }
    }
    openb->pods_count++;
    return 0;
}

static int read_file(struct openb *openb, const char *path,
                     int (*take)(struct openb *, char **, uint32_t), struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = NULL;
    char *line, *fields[SIM_FIELDS_MAX];
    uint32_t count;
    int rc = sim_lines_open(path, &lines, err);

    if (rc < 0)
        return rc;
    while ((rc = sim_lines_next(lines, &line, err)) == 0 && line) {
        if (sim_lines_number(lines) == 1)
            continue;
        if (sim_csv_split(line, fields, &count) < 0 || take(openb, fields, count) < 0)
            return err_set(err, -EINVAL, "%s:%llu: not a row of this list", path,
                           (unsigned long long)sim_lines_number(lines));
    }
    return rc;
}

int openb_read_nodes(struct openb *openb, const char *folder, struct err *err)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/openb_node_list_gpu_node.csv", folder);
    return read_file(openb, path, take_node, err);
}

int openb_read_pods(struct openb *openb, const char *folder, const char *list, struct err *err)
{
    char path[512];
    int rc;

    openb->pods_count = 0;
    snprintf(path, sizeof(path), "%s/openb_pod_list_%s.csv", folder, list);
    rc = read_file(openb, path, take_pod, err);
    if (rc != -ENOENT)
        return rc;
    openb->pods_count = 0;
    snprintf(path, sizeof(path), "%s/openb_pod_list_%s.csv.gz", folder, list);
    return read_file(openb, path, take_pod, err);
}

void openb_draw(struct openb *openb, uint64_t seed, uint32_t percent)
{
    uint64_t *milli = calloc(openb->pods_count + 1, sizeof(*milli));
    uint32_t *drawn = NULL, count = 0;

    openb->arrivals_count = 0;
    for (uint32_t i = 0; milli && i < openb->pods_count; i++)
        milli[i] = (uint64_t)openb->pods[i].devices * openb->pods[i].milli;
    if (milli && sim_draw(milli, openb->pods_count, (uint64_t)openb->total_milli * percent / 100,
                          seed, &drawn, &count) == 0)
        for (uint32_t i = 0; i < MIN(count, OPENB_PODS_MAX); i++)
            openb->arrivals[openb->arrivals_count++] = openb->pods[drawn[i]];
    free(drawn);
    free(milli);
}
