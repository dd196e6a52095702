#include "agent/slurm_internal.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct site_task {
    struct engine_task task;
    struct slurm *slurm;
    int rc;
    struct err err;
    uint32_t nodes_count, partitions_count;
    struct slurm_node *nodes;
    struct slurm_partition *partitions;
};

static const char *bin_dir(const struct slurm *slurm)
{
    return slurm->settings.bin_dir[0] ? slurm->settings.bin_dir : NULL;
}

/* ---- asking: on the worker, or before there is one ---- */

static void keep_node(void *context, const struct slurm_node *node)
{
    struct site_task *site = context;
    struct slurm_node *grown;

    if ((site->nodes_count & (site->nodes_count - 1)) == 0) { /* a power of two: full */
        grown = realloc(site->nodes, MAX(site->nodes_count * 2, 1u) * sizeof(*grown));
        if (!grown)
            return;
        site->nodes = grown;
    }
    site->nodes[site->nodes_count++] = *node;
}

static void keep_partition(void *context, const struct slurm_partition *partition)
{
    struct site_task *site = context;

    site->partitions[site->partitions_count++] = *partition;
}

static int ask(const struct slurm *slurm, const char *what, struct slurm_result *result,
               struct err *err)
{
    const char *const argv[] = { "scontrol", "-a", "-d", "-o", "show", what, NULL };
    char text[200];
    int rc = slurm_command_run(argv, bin_dir(slurm), NULL, result, err);

    if (rc < 0 || result->exit_code == 0)
        return rc;
    slurm_result_say(result, text, sizeof(text));
    return err_set(err, -EIO, "scontrol show %s: %s", what, text);
}

static void read_site(struct site_task *site)
{
    struct slurm_result result;

    site->partitions = calloc(SLURM_PARTITIONS_MAX, sizeof(*site->partitions));
    if (!site->partitions) {
        site->rc = err_set(&site->err, -ENOMEM, "partitions: out of memory");
        return;
    }
    site->rc = ask(site->slurm, "partition", &result, &site->err);
    if (site->rc == 0)
        slurm_parse_partitions(result.out.data ? result.out.data : "", result.out.len,
                               keep_partition, site);
    slurm_result_fini(&result);
    if (site->rc < 0)
        return;
    site->rc = ask(site->slurm, "node", &result, &site->err);
    if (site->rc == 0)
        slurm_parse_nodes(result.out.data ? result.out.data : "", result.out.len, keep_node, site);
    slurm_result_fini(&result);
}

/* ---- taking in ---- */

static bool is_in_list(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list) {
        size_t word = strcspn(list, ",");

        if (word == len && strncmp(list, name, len) == 0)
            return true;
        list += word + (list[word] == ',');
    }
    return false;
}

static void choose_partitions(const struct slurm *slurm, struct site_task *site)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < site->partitions_count; i++) {
        const struct slurm_partition *partition = &site->partitions[i];
        bool wanted = slurm->settings.partition[0]
                          ? is_in_list(slurm->settings.partition, partition->name)
                          : partition->is_default || site->partitions_count == 1;

        if (wanted && partition->up && !partition->root_only)
            site->partitions[kept++] = *partition;
    }
    site->partitions_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < site->nodes_count; i++) {
        bool wanted = false;

        for (uint32_t p = 0; p < site->partitions_count; p++)
            wanted = wanted || is_in_list(site->nodes[i].partitions, site->partitions[p].name);
        if (wanted)
            site->nodes[kept++] = site->nodes[i];
    }
    site->nodes_count = kept;
}

/* What our own attempts hold of a node, as far as Slurm has given it to them. */
static void subtract_ours(const struct slurm *slurm, const char *node, struct slurm_foreign *used)
{
    for (const struct slurm_attempt *a = slurm->attempts; a; a = a->hh.next) {
        bool holds =
            a->state == ATTEMPT_RUNNING || a->seen == SLURM_RUNNING || a->seen == SLURM_ENDING;

        for (uint32_t i = 0; holds && i < a->note.parts_count; i++) {
            const struct engine_part *part = &a->note.parts[i];

            if (strcmp(part->node, node) != 0)
                continue;
            used->cpus -= MIN(used->cpus, part->cpus);
            used->devices -= MIN(used->devices, part->devices);
            used->memory_bytes -= MIN(used->memory_bytes, part->memory_bytes);
        }
    }
}

static void count_foreign(const struct slurm *slurm, const struct slurm_node *node,
                          struct slurm_foreign *out)
{
    *out =
        (struct slurm_foreign){ .cpus = node->cpus_used, .memory_bytes = node->memory_used_bytes };
    for (uint32_t i = 0; i < node->gres_count; i++)
        out->devices += node->gres[i].used;
    subtract_ours(slurm, node->name, out);
}

/* The list of jobs and that of nodes are not of one moment: what other users hold must be seen
 * twice before it counts. */
static int take_site(struct slurm *slurm, struct site_task *site)
{
    struct slurm_foreign *now = calloc(site->nodes_count + 1u, sizeof(*now));
    struct slurm_foreign *lasting = calloc(site->nodes_count + 1u, sizeof(*lasting));

    if (!now || !lasting) {
        free(now);
        free(lasting);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < site->nodes_count; i++) {
        int before = slurm_site_rank(slurm, site->nodes[i].name);

        count_foreign(slurm, &site->nodes[i], &now[i]);
        lasting[i] = now[i];
        if (before >= 0) {
            const struct slurm_foreign *old = &slurm->foreign_before[before];

            lasting[i].cpus = MIN(now[i].cpus, old->cpus);
            lasting[i].devices = MIN(now[i].devices, old->devices);
            lasting[i].memory_bytes = MIN(now[i].memory_bytes, old->memory_bytes);
        }
    }
    free(slurm->nodes);
    free(slurm->partitions);
    free(slurm->foreign);
    free(slurm->foreign_before);
    slurm->nodes = TAKE(site->nodes);
    slurm->nodes_count = site->nodes_count;
    slurm->partitions = TAKE(site->partitions);
    slurm->partitions_count = site->partitions_count;
    slurm->foreign = lasting;
    slurm->foreign_before = now;
    return 0;
}

static void site_work(struct engine_task *task)
{
    read_site(CONTAINER_OF(task, struct site_task, task));
}

static void site_done(struct engine_task *task)
{
    struct site_task *site = CONTAINER_OF(task, struct site_task, task);
    struct slurm *slurm = site->slurm;

    slurm->looking_nodes = false;
    slurm->nodes_at_ms = slurm_now_mono() + SLURM_NODES_MS;
    if (site->rc < 0) {
        log_warn("%s", site->err.text);
        return;
    }
    choose_partitions(slurm, site);
    if (site->nodes_count && take_site(slurm, site) == 0)
        slurm->config.changed(slurm->config.context);
}

static void site_drop(struct engine_task *task)
{
    struct site_task *site = CONTAINER_OF(task, struct site_task, task);

    free(site->nodes);
    free(site->partitions);
    free(site);
}

void slurm_site_look(struct slurm *slurm)
{
    struct site_task *site;

    if (slurm->looking_nodes || slurm_now_mono() < slurm->nodes_at_ms)
        return;
    site = calloc(1, sizeof(*site));
    if (!site)
        return;
    site->slurm = slurm;
    site->task = (struct engine_task){ .work = site_work, .done = site_done, .drop = site_drop };
    slurm->looking_nodes = true;
    engine_worker_push(slurm->worker, &site->task);
}

int slurm_site_read(struct slurm *slurm, struct err *err)
{
    struct site_task site = { .slurm = slurm };
    int rc;

    read_site(&site);
    rc = site.rc;
    if (rc < 0) {
        *err = site.err;
    } else {
        choose_partitions(slurm, &site);
        if (site.nodes_count == 0)
            rc = err_set(err, -ENOENT, "slurm: no node in %s that this user may use",
                         slurm->settings.partition[0] ? slurm->settings.partition
                                                      : "the default partition");
        else if (take_site(slurm, &site) < 0)
            rc = err_set(err, -ENOMEM, "nodes: out of memory");
    }
    free(site.nodes);
    free(site.partitions);
    slurm->nodes_at_ms = slurm_now_mono() + SLURM_NODES_MS;
    return rc;
}

/* ---- what the controller is told ---- */

int slurm_site_rank(const struct slurm *slurm, const char *node)
{
    for (uint32_t i = 0; i < slurm->nodes_count; i++)
        if (strcmp(slurm->nodes[i].name, node) == 0)
            return (int)i;
    return -1;
}

const struct slurm_gres *slurm_site_gres(const struct slurm *slurm, const char *node,
                                         uint32_t device)
{
    int rank = slurm_site_rank(slurm, node);

    for (uint32_t i = 0; rank >= 0 && i < slurm->nodes[rank].gres_count; i++) {
        const struct slurm_gres *gres = &slurm->nodes[rank].gres[i];

        if (device < gres->count)
            return gres;
        device -= gres->count;
    }
    return NULL;
}

static const struct chip *find_chip(const struct catalogue *catalogue,
                                    const struct slurm_gres *gres)
{
    const struct chip *exact = catalogue_find(catalogue, gres->type);

    if (exact || !gres->type[0])
        return exact;
    for (uint32_t i = 0; i < catalogue_count(catalogue); i++)
        if (request_chip_is_match(gres->type, catalogue_get(catalogue, i)->kind))
            return catalogue_get(catalogue, i);
    return NULL;
}

static const char *visibility_of(const struct chip *chip)
{
    static const struct {
        const char *family, *variable;
    } table[] = {
        { "cuda", "CUDA_VISIBLE_DEVICES" },      { "rocm", "ROCR_VISIBLE_DEVICES" },
        { "cann", "ASCEND_RT_VISIBLE_DEVICES" }, { "neuware", "MLU_VISIBLE_DEVICES" },
        { "dtk", "HIP_VISIBLE_DEVICES" },        { "musa", "MUSA_VISIBLE_DEVICES" },
        { "habana", "HABANA_VISIBLE_MODULES" },  { "tops", "TOPS_VISIBLE_DEVICES" },
        { "xpu", "XPU_VISIBLE_DEVICES" },        { "supa", "SUPA_VISIBLE_DEVICES" },
    };

    for (size_t i = 0; chip && i < ARRAY_COUNT(table); i++)
        if (strcmp(chip->family, table[i].family) == 0)
            return table[i].variable;
    return "CUDA_VISIBLE_DEVICES"; /* what Slurm itself sets for a gpu */
}

static void fill_device(const struct slurm_gres *gres, const struct catalogue *catalogue,
                        uint32_t index, struct device_info *device)
{
    const struct chip *chip = find_chip(catalogue, gres);

    device->index = index;
    device->numa = UINT32_MAX;
    snprintf(device->visibility_value, sizeof(device->visibility_value), "%" PRIu32, index);
    snprintf(device->visibility_env, sizeof(device->visibility_env), "%s", visibility_of(chip));
    if (!chip) {
        snprintf(device->chip, sizeof(device->chip), "unknown-%.15s", gres->name);
        snprintf(device->vendor, sizeof(device->vendor), "unknown");
        return;
    }
    snprintf(device->chip, sizeof(device->chip), "%s", chip->kind);
    snprintf(device->vendor, sizeof(device->vendor), "%s", chip->vendor);
    snprintf(device->family, sizeof(device->family), "%s", chip->family);
    if (chip->metric_milli[METRIC_MEMORY_GB] > 0)
        device->memory_bytes = chip->metric_milli[METRIC_MEMORY_GB] * 1000000;
}

static uint64_t held_devices(const struct slurm *slurm, const char *node)
{
    uint64_t held = 0;

    for (const struct slurm_attempt *a = slurm->attempts; a; a = a->hh.next)
        for (uint32_t i = 0; a->state != ATTEMPT_ENDED && i < a->note.parts_count; i++)
            if (strcmp(a->note.parts[i].node, node) == 0)
                held |= a->note.parts[i].device_mask;
    return held;
}

static void mark_device(struct device_info *device, const char *why)
{
    device->health = DEVICE_SICK;
    snprintf(device->health_text, sizeof(device->health_text), "%s", why);
}

static void fill_node(const struct slurm *slurm, uint32_t index, const struct catalogue *catalogue,
                      struct node_info *out)
{
    const struct slurm_node *node = &slurm->nodes[index];
    const struct slurm_foreign *foreign = &slurm->foreign[index];
    uint64_t held = held_devices(slurm, node->name);
    uint32_t left = foreign->devices;
    bool usable = slurm_node_is_usable(node);

    snprintf(out->name, sizeof(out->name), "%s", node->name);
    snprintf(out->arch, sizeof(out->arch), "%s", node->arch);
    snprintf(out->os, sizeof(out->os), "%s", node->os);
    out->numa_count = 1;
    out->disk_bytes = node->disk_bytes;
    for (uint32_t g = 0; g < node->gres_count; g++)
        for (uint32_t i = 0; i < node->gres[g].count && out->devices_count < NODE_DEVICES_MAX; i++)
            fill_device(&node->gres[g], catalogue, i, &out->devices[out->devices_count++]);
    if (!usable) {
        snprintf(out->notes, sizeof(out->notes), "Slurm: %s%s%s", node->state,
                 node->reason[0] ? ": " : "", node->reason);
        for (uint32_t i = 0; i < out->devices_count; i++)
            mark_device(&out->devices[i], "its node takes no jobs");
        return;
    }
    out->cpus = node->cpus - MIN(foreign->cpus, node->cpus);
    out->memory_bytes = node->memory_bytes - MIN(foreign->memory_bytes, node->memory_bytes);
    for (uint32_t i = out->devices_count; i-- > 0 && left > 0;)
        if (!(held & (UINT64_C(1) << i))) {
            mark_device(&out->devices[i], "used by jobs of others");
            left--;
        }
    if (foreign->cpus || foreign->devices)
        snprintf(out->notes, sizeof(out->notes),
                 "%" PRIu32 " CPUs, %" PRIu32 " devices used by jobs of others", foreign->cpus,
                 foreign->devices);
}

int slurm_site_discover(struct executor *executor, const struct catalogue *catalogue,
                        struct node_info **nodes_out, uint32_t *count_out, struct err *err)
{
    const struct slurm *slurm = CONTAINER_OF(executor, struct slurm, base);
    struct node_info *nodes = calloc(slurm->nodes_count, sizeof(*nodes));

    if (!nodes)
        return err_set(err, -ENOMEM, "nodes: out of memory");
    for (uint32_t i = 0; i < slurm->nodes_count; i++)
        fill_node(slurm, i, catalogue, &nodes[i]);
    *nodes_out = nodes;
    *count_out = slurm->nodes_count;
    return 0;
}

const struct slurm_partition *slurm_site_partition(const struct slurm *slurm,
                                                   const struct slurm_order *order, struct err *err)
{
    const struct slurm_partition *too_short = NULL;

    for (uint32_t p = 0; p < slurm->partitions_count; p++) {
        const struct slurm_partition *partition = &slurm->partitions[p];
        bool has_all = true;

        for (uint32_t i = 0; has_all && i < order->note.parts_count; i++) {
            int rank = slurm_site_rank(slurm, order->note.parts[i].node);

            has_all = rank >= 0 && is_in_list(slurm->nodes[rank].partitions, partition->name);
        }
        if (!has_all)
            continue;
        if (!partition->time_ms_max || order->note.duration_ms_max <= partition->time_ms_max)
            return partition;
        too_short = partition;
    }
    if (too_short)
        err_set(err, -ERANGE, "partition %s ends jobs after %" PRId64 " minutes", too_short->name,
                too_short->time_ms_max / 60000);
    else
        err_set(err, -ENOENT, "no partition has all nodes of this attempt");
    return NULL;
}
