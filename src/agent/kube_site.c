#include "agent/kube_internal.h"

#include "agent/kube_resource.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes ---- */

static void nodes_begin(void *context)
{
    struct kube *kube = context;
    struct kube_node_row *row, *next;

    HASH_ITER (hh, kube->node_rows, row, next)
        row->listed = false;
}

static void drop_node(struct kube *kube, struct kube_node_row *row)
{
    HASH_DEL(kube->node_rows, row);
    free(row);
}

static void nodes_item(void *context, const char *type, const json_t *object)
{
    struct kube *kube = context;
    struct kube_node_row *row;
    struct kube_node node;
    bool changed;

    if (!kube_node_parse(object, kube->settings, &node))
        return;
    HASH_FIND_STR(kube->node_rows, node.name, row);
    if (strcmp(type, "DELETED") == 0 || !node.selected) {
        if (row)
            drop_node(kube, row);
        kube->nodes_dirty = true;
        return;
    }
    /* Heartbeats change nothing that we read.
     * NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*): padding costs one more look */
    changed = !row || memcmp(&row->node, &node, sizeof(node)) != 0;
    if (!row) {
        if (HASH_COUNT(kube->node_rows) >= SITE_NODES_MAX)
            return;
        row = calloc(1, sizeof(*row));
        if (!row)
            return;
        row->node = node;
        HASH_ADD_STR(kube->node_rows, node.name, row);
        kube->nodes_dirty = true;
    } else if (changed) {
        row->node = node;
        kube->nodes_dirty = true;
    }
    row->listed = true;
}

static void nodes_end(void *context)
{
    struct kube *kube = context;
    struct kube_node_row *row, *next;

    HASH_ITER (hh, kube->node_rows, row, next)
        if (!row->listed) {
            drop_node(kube, row);
            kube->nodes_dirty = true;
        }
    kube->nodes_synced = kube->nodes_told = true;
}

static void nodes_failed(void *context, const struct kube_answer *answer)
{
    struct kube *kube = context;

    snprintf(kube->nodes_failed, sizeof(kube->nodes_failed), "%s", answer->said);
    if (!kube_answer_is_passing(answer) || answer->status == 401)
        kube->nodes_told = true;
}

/* ---- pods of others ---- */

static void drop_use(struct kube *kube, struct kube_use_row *row)
{
    HASH_DEL(kube->uses, row);
    free(row);
    kube->others_dirty = true;
}

static void others_begin(void *context)
{
    struct kube *kube = context;
    struct kube_use_row *row, *next;

    HASH_ITER (hh, kube->uses, row, next)
        row->listed = false;
}

static void others_item(void *context, const char *type, const json_t *object)
{
    struct kube *kube = context;
    struct kube_use_row *row;
    struct kube_use use;
    bool changed;

    if (!kube_use_parse(object, kube->settings->resource_names, kube->place.tag, &use))
        return;
    HASH_FIND_STR(kube->uses, use.uid, row);
    if (strcmp(type, "DELETED") == 0 || use.ended || use.ours || !use.node[0]) {
        if (row)
            drop_use(kube, row);
        return;
    }
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*): padding costs one more look */
    changed = !row || memcmp(&row->use, &use, sizeof(use)) != 0;
    if (!row) {
        row = calloc(1, sizeof(*row));
        if (!row)
            return;
        row->use = use;
        HASH_ADD_STR(kube->uses, use.uid, row);
        kube->others_dirty = true;
    } else if (changed) {
        row->use = use;
        kube->others_dirty = true;
    }
    row->listed = true;
}

static void others_end(void *context)
{
    struct kube *kube = context;
    struct kube_use_row *row, *next;

    HASH_ITER (hh, kube->uses, row, next)
        if (!row->listed)
            drop_use(kube, row);
    kube->others_denied = false;
}

static void others_failed(void *context, const struct kube_answer *answer)
{
    struct kube *kube = context;

    if (answer->status == 403 && !kube->others_denied) {
        kube->others_denied = true;
        log_warn("pods of other namespaces may not be read: what others use is not known, and is "
                 "offered as if it were free");
    }
}

static void count_others(struct kube *kube)
{
    struct kube_node_row *node, *next_node;
    struct kube_use_row *row, *next;

    HASH_ITER (hh, kube->node_rows, node, next_node)
        node->cpu_milli = node->memory_bytes = node->devices = 0;
    HASH_ITER (hh, kube->uses, row, next) {
        HASH_FIND_STR(kube->node_rows, row->use.node, node);
        if (!node)
            continue;
        /* Each is bounded; so many of them on one node are not. */
        node->cpu_milli = MIN(node->cpu_milli + row->use.cpu_milli, INT64_C(1) << 50);
        node->memory_bytes = MIN(node->memory_bytes + row->use.memory_bytes, INT64_C(1) << 58);
        node->devices = MIN(node->devices + row->use.devices, NODE_DEVICES_MAX);
    }
}

/* ---- opening and looking ---- */

int kube_site_open(struct kube *kube, struct err *err)
{
    struct kube_watch_config nodes = { .api = kube->api,
                                       .what = "nodes",
                                       .path = "/api/v1/nodes",
                                       .query = "",
                                       .begin = nodes_begin,
                                       .item = nodes_item,
                                       .end = nodes_end,
                                       .failed = nodes_failed,
                                       .context = kube };
    struct kube_watch_config others = { .api = kube->api,
                                        .what = "pods of others",
                                        .path = "/api/v1/pods",
                                        .query = "fieldSelector=status.phase%21%3DSucceeded%2C"
                                                 "status.phase%21%3DFailed",
                                        .begin = others_begin,
                                        .item = others_item,
                                        .end = others_end,
                                        .failed = others_failed,
                                        .context = kube };

    kube->nodes = kube_watch_create(&nodes);
    kube->others = kube_watch_create(&others);
    if (!kube->nodes || !kube->others)
        return err_set(err, -ENOMEM, "kubernetes: out of memory");
    kube_api_run(kube->api, &kube->nodes_told, KUBE_STARTUP_MS);
    if (!kube->nodes_synced)
        return err_set(err, -EIO, "%s: %s", kube_api_server(kube->api),
                       kube->nodes_failed[0] ? kube->nodes_failed : "no answer");
    if (HASH_COUNT(kube->node_rows) == 0)
        return err_set(err, -ENOENT, "%s: no node that may be used", kube_api_server(kube->api));
    count_others(kube);
    return 0;
}

void kube_site_tick(struct kube *kube)
{
    int64_t now = kube_now();

    if (!kube->nodes_dirty && !(kube->others_dirty && now - kube->others_told_ms >= KUBE_OTHERS_MS))
        return;
    count_others(kube);
    kube->others_told_ms = now;
    kube->nodes_dirty = kube->others_dirty = false;
    if (HASH_COUNT(kube->node_rows) > 0)
        kube->config.changed(kube->config.context);
}

void kube_site_close(struct kube *kube)
{
    struct kube_node_row *node, *next_node;
    struct kube_use_row *row, *next;

    HASH_ITER (hh, kube->node_rows, node, next_node)
        drop_node(kube, node);
    HASH_ITER (hh, kube->uses, row, next)
        drop_use(kube, row);
}

/* ---- what the controller is told ---- */

const struct kube_node *kube_site_find(const struct kube *kube, const char *name)
{
    struct kube_node_row *row;

    HASH_FIND_STR(kube->node_rows, name, row);
    return row ? &row->node : NULL;
}

const struct kube_node_resource *kube_site_resource(const struct kube_node *node, uint32_t device)
{
    for (uint32_t i = 0; i < node->resources_count; i++) {
        if (device < node->resources[i].capacity)
            return &node->resources[i];
        device -= node->resources[i].capacity;
    }
    return NULL;
}

static void mark_device(struct device_info *device, const char *why)
{
    device->health = DEVICE_SICK;
    snprintf(device->health_text, sizeof(device->health_text), "%.95s", why);
}

static void fill_device(const struct kube *kube, const struct kube_node_resource *resource,
                        const struct catalogue *catalogue, uint32_t index,
                        struct device_info *device)
{
    const struct kube_resource *row = kube_resource_find(resource->name);
    const struct chip *chip =
        kube_resource_chip(resource->name, kube->settings->resource_names, resource->product,
                           resource->memory_bytes, catalogue);

    /* No visibility variable: the plugin shows a container its own devices and no others. */
    device->index = index;
    device->numa = UINT32_MAX;
    device->memory_bytes = resource->memory_bytes;
    snprintf(device->visibility_value, sizeof(device->visibility_value), "%" PRIu32, index);
    snprintf(device->driver, sizeof(device->driver), "%.63s", resource->name);
    if (index >= resource->count)
        mark_device(device, "its device plugin calls it unhealthy");
    if (!chip) {
        snprintf(device->chip, sizeof(device->chip), "unknown-%s", row ? row->vendor : "device");
        snprintf(device->vendor, sizeof(device->vendor), "%s", row ? row->vendor : "unknown");
        snprintf(device->family, sizeof(device->family), "%s", row ? row->family : "");
        return;
    }
    snprintf(device->chip, sizeof(device->chip), "%s", chip->kind);
    snprintf(device->vendor, sizeof(device->vendor), "%s", chip->vendor);
    snprintf(device->family, sizeof(device->family), "%s", chip->family);
    if (!device->memory_bytes && chip->metric_milli[METRIC_MEMORY_GB] > 0)
        device->memory_bytes = chip->metric_milli[METRIC_MEMORY_GB] * 1000000;
}

static uint64_t held_devices(const struct kube *kube, const char *node)
{
    uint64_t held = 0;

    for (const struct kube_attempt *a = kube->attempts; a; a = a->hh.next)
        for (uint32_t i = 0; a->state != ATTEMPT_ENDED && i < a->note.parts_count; i++)
            if (strcmp(a->note.parts[i].node, node) == 0)
                held |= a->note.parts[i].device_mask;
    return held;
}

/* Devices are told apart by nobody but us: what others hold comes off those that we do not. */
static void mark_others(const struct kube *kube, const struct kube_node_row *row,
                        struct node_info *out)
{
    uint64_t held = held_devices(kube, row->node.name);
    uint32_t left = row->devices;

    for (uint32_t i = out->devices_count; i-- > 0 && left > 0;)
        if (!(held & (UINT64_C(1) << i)) && out->devices[i].health == DEVICE_OK) {
            mark_device(&out->devices[i], "used by pods of others");
            left--;
        }
    if (kube->others_denied)
        snprintf(out->notes, sizeof(out->notes),
                 "what others use is not known: pods of other namespaces may not be read");
    else if (row->cpu_milli || row->devices)
        snprintf(out->notes, sizeof(out->notes),
                 "%.1f CPUs, %" PRIu32 " devices used by pods of others",
                 (double)row->cpu_milli / 1000, row->devices);
}

static void fill_node(const struct kube *kube, const struct kube_node_row *row,
                      const struct catalogue *catalogue, struct node_info *out)
{
    const struct kube_node *node = &row->node;
    int64_t cpu_milli = MAX(node->cpu_milli - row->cpu_milli, 0);

    snprintf(out->name, sizeof(out->name), "%s", node->name);
    snprintf(out->arch, sizeof(out->arch), "%s", node->arch);
    snprintf(out->os, sizeof(out->os), "%s", node->os);
    snprintf(out->rack, sizeof(out->rack), "%s", node->rack);
    snprintf(out->supernode, sizeof(out->supernode), "%s", node->supernode);
    out->numa_count = 1;
    out->disk_bytes = node->disk_bytes;
    for (uint32_t r = 0; r < node->resources_count; r++)
        for (uint32_t i = 0;
             i < node->resources[r].capacity && out->devices_count < NODE_DEVICES_MAX; i++)
            fill_device(kube, &node->resources[r], catalogue, i,
                        &out->devices[out->devices_count++]);
    if (node->why[0]) {
        snprintf(out->notes, sizeof(out->notes), "Kubernetes: %s", node->why);
        for (uint32_t i = 0; i < out->devices_count; i++)
            mark_device(&out->devices[i], "its node takes no pods");
        return;
    }
    out->cpus = (uint32_t)MIN(cpu_milli / 1000, INT64_C(1) << 20);
    out->memory_bytes = MAX(node->memory_bytes - row->memory_bytes, 0);
    mark_others(kube, row, out);
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp((*(struct kube_node_row *const *)a)->node.name,
                  (*(struct kube_node_row *const *)b)->node.name);
}

int kube_site_discover(struct executor *executor, const struct catalogue *catalogue,
                       struct node_info **nodes_out, uint32_t *count_out, struct err *err)
{
    const struct kube *kube = CONTAINER_OF(executor, struct kube, base);
    uint32_t count = HASH_COUNT(kube->node_rows), i = 0;
    struct node_info *nodes = calloc(count + 1u, sizeof(*nodes));
    struct kube_node_row **sorted = calloc(count + 1u, sizeof(struct kube_node_row *));

    if (!nodes || !sorted) {
        free(nodes);
        free(sorted);
        return err_set(err, -ENOMEM, "nodes: out of memory");
    }
    for (struct kube_node_row *row = kube->node_rows; row; row = row->hh.next)
        sorted[i++] = row;
    qsort(sorted, count, sizeof(sorted[0]), compare_rows);
    for (i = 0; i < count; i++)
        fill_node(kube, sorted[i], catalogue, &nodes[i]);
    free(sorted);
    *nodes_out = nodes;
    *count_out = count;
    return 0;
}
