#include "sim_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_reset(struct model *model)
{
    struct model_holding *holdings = model->holdings;
    uint32_t cap = model->holdings_cap;

    memset(model, 0, sizeof(*model));
    model->holdings = holdings;
    model->holdings_cap = cap;
}

void model_fini(struct model *model)
{
    free(model->holdings);
}

void model_advance(struct model *model, int64_t time_ms)
{
    if (time_ms <= model->now_ms)
        return;
    model->cpu_ms += model->cpus * (uint64_t)(time_ms - model->now_ms);
    model->device_milli_ms += model->devices_milli * (uint64_t)(time_ms - model->now_ms);
    model->now_ms = time_ms;
}

/* Epoch 0: any. */
static struct model_holding *find(struct model *model, uint64_t job_id, uint32_t epoch)
{
    for (uint32_t i = 0; i < model->holdings_count; i++)
        if (model->holdings[i].job_id == job_id && (!epoch || model->holdings[i].epoch == epoch))
            return &model->holdings[i];
    return NULL;
}

/* By names and uuids, so that this does not lean on the grid's own indexes. */
static void copy_parts(struct model_holding *holding, struct sim_truth *truth,
                       const struct grid *grid, const struct job_view *view)
{
    uint32_t count = view->allocation.parts_count + view->allocation.spares_count;

    if (count > MODEL_PARTS_MAX) {
        sim_fail(truth, "job %" PRIu64 " is spread over %u nodes", view->id, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) { /* spare nodes are held and billed like the others */
        const struct alloc_part *part = &view->allocation.parts[i];
        struct model_part *to = &holding->parts[i];
        struct node_view node;

        if (!grid_node_get(grid, holding->site, part->node, &node)) {
            sim_fail(truth, "job %" PRIu64 " holds a node that is not there", view->id);
            return;
        }
        snprintf(to->node, sizeof(to->node), "%.15s", node.info->name);
        to->cpus = part->cpus;
        holding->cpus += part->cpus;
        for (uint32_t d = 0; d < part->devices_count && d < SIM_DEVICES_MAX; d++) {
            snprintf(to->devices[d].uuid, sizeof(to->devices[d].uuid), "%.23s",
                     node.info->devices[part->devices[d].index].uuid);
            to->devices[d].milli = part->devices[d].milli;
            holding->devices_milli += part->devices[d].milli;
        }
        to->devices_count = part->devices_count;
    }
    holding->parts_count = count;
    holding->spares_count = view->allocation.spares_count;
}

static uint64_t sum_cpus(const struct model *model, uint32_t site, const char *node)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < model->holdings_count; i++)
        for (uint32_t k = 0; k < model->holdings[i].parts_count; k++)
            if (model->holdings[i].site == site &&
                strcmp(model->holdings[i].parts[k].node, node) == 0)
                sum += model->holdings[i].parts[k].cpus;
    return sum;
}

static uint64_t sum_device(const struct model *model, uint32_t site, const char *uuid)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < model->holdings_count; i++)
        for (uint32_t k = 0; k < model->holdings[i].parts_count; k++)
            for (uint32_t d = 0; d < model->holdings[i].parts[k].devices_count; d++)
                if (model->holdings[i].site == site &&
                    strcmp(model->holdings[i].parts[k].devices[d].uuid, uuid) == 0)
                    sum += model->holdings[i].parts[k].devices[d].milli;
    return sum;
}

static void check_room(const struct model *model, struct sim_truth *truth, const struct grid *grid,
                       const struct model_holding *holding, const struct job_view *view)
{
    uint64_t tasks = 0, all = 0;

    for (uint32_t i = 0; i < holding->parts_count; i++) {
        const struct model_part *part = &holding->parts[i];
        struct node_view node;

        grid_node_get(grid, holding->site, view->allocation.parts[i].node, &node);
        if (i < holding->parts_count - holding->spares_count)
            tasks += view->allocation.parts[i].tasks;
        if (!node.present || node.cordoned)
            sim_fail(truth, "job %" PRIu64 " was started on closed node %s", holding->job_id,
                     part->node);
        if (sum_cpus(model, holding->site, part->node) > node.info->cpus)
            sim_fail(truth, "CPUs of %s are promised twice (job %" PRIu64 ")", part->node,
                     holding->job_id);
        for (uint32_t d = 0; d < part->devices_count; d++)
            if (sum_device(model, holding->site, part->devices[d].uuid) > 1000)
                sim_fail(truth, "device %s is promised twice (job %" PRIu64 ")",
                         part->devices[d].uuid, holding->job_id);
    }
    if (view->width_max && (tasks < view->width_min || tasks > view->width_max ||
                            (view->width_wish && tasks > view->width_wish)))
        sim_fail(truth, "job %" PRIu64 " started %" PRIu64 " tasks, of %u to %u and at most %u",
                 holding->job_id, tasks, view->width_min, view->width_max, view->width_wish);
    for (uint32_t i = 0; i < view->across.sites_count; i++)
        all += view->across.sites[i].tasks;
    if (all ? all != view->request->shape.tasks ||
                  tasks != view->across.sites[view->across.self].tasks
            : tasks != view->request->shape.tasks)
        sim_fail(truth, "job %" PRIu64 " started %" PRIu64 " of %u tasks", holding->job_id, tasks,
                 view->request->shape.tasks);
}

/* A gang that asks for one rack is in one, and so with supernodes and nodes. */
static void check_topology(struct sim_truth *truth, const struct grid *grid,
                           const struct model_holding *holding, const struct job_view *view)
{
    const struct request_shape *shape = &view->request->shape;
    char first[MODEL_NAME_BYTES] = "";

    for (uint32_t i = 0; shape->within_hard && i < holding->parts_count; i++) { /* spares too */
        struct node_view node;
        const char *name;

        grid_node_get(grid, holding->site, view->allocation.parts[i].node, &node);
        name = shape->within == TOPOLOGY_RACK        ? node.info->rack
               : shape->within == TOPOLOGY_SUPERNODE ? node.info->supernode
               : shape->within == TOPOLOGY_NODE      ? node.info->name
                                                     : "";
        if (i && strcmp(name, first) != 0)
            sim_fail(truth, "job %" PRIu64 " is in %s and in %s, and asked for one",
                     holding->job_id, first, name);
        snprintf(first, sizeof(first), "%s", name);
    }
}

static void hear_run(struct model *model, struct sim_truth *truth, const struct grid *grid,
                     const struct effect *effect)
{
    struct model_holding holding = { .job_id = effect->job_id,
                                     .epoch = effect->epoch,
                                     .granted_ms = model->now_ms };
    const struct across_view *across = &effect->view.across;
    uint32_t parts = across->sites_count ? across->sites_count : 1;

    if (!across->self && find(model, effect->job_id, 0))
        sim_fail(truth, "job %" PRIu64 " is given attempt %u while one holds", effect->job_id,
                 effect->epoch);
    if (effect->epoch + across->self != model->epochs[effect->job_id] + (across->self ? 0 : parts))
        sim_fail(truth, "job %" PRIu64 ": epoch %u follows %u", effect->job_id, effect->epoch,
                 model->epochs[effect->job_id]);
    if (across->sites_count &&
        strcmp(across->sites[across->self].site, effect->view.allocation.site) != 0)
        sim_fail(truth, "job %" PRIu64 ": part %u is at another site", effect->job_id,
                 across->self);
    if (model->ended[effect->job_id])
        sim_fail(truth, "job %" PRIu64 " runs after its end", effect->job_id);
    if (!across->self)
        model->epochs[effect->job_id] = effect->epoch;
    model->runs++;
    holding.site = (uint32_t)grid_site_find(grid, effect->view.allocation.site);
    copy_parts(&holding, truth, grid, &effect->view);
    if (model->holdings_count == model->holdings_cap) {
        model->holdings_cap = model->holdings_cap ? model->holdings_cap * 2 : 16;
        model->holdings = realloc(model->holdings, model->holdings_cap * sizeof(holding));
        if (!model->holdings)
            abort();
    }
    model->holdings[model->holdings_count++] = holding;
    model->cpus += holding.cpus;
    model->devices_milli += holding.devices_milli;
    if (!truth->failure[0])
        check_room(model, truth, grid, &holding, &effect->view);
    if (!truth->failure[0])
        check_topology(truth, grid, &holding, &effect->view);
}

/* A node that it keeps is held as it was granted: a device that has gone from it is shown no more,
 * and billed all the same. */
static void keep_parts(struct model_holding *holding, const struct model_holding *before)
{
    holding->cpus = holding->devices_milli = 0;
    for (uint32_t i = 0; i < holding->parts_count; i++) {
        struct model_part *part = &holding->parts[i];

        for (uint32_t k = 0; k < before->parts_count; k++)
            if (strcmp(before->parts[k].node, part->node) == 0)
                *part = before->parts[k];
        holding->cpus += part->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++)
            holding->devices_milli += part->devices[d].milli;
    }
}

/* Spare nodes come and go while it runs. */
static void hear_spares(struct model *model, struct sim_truth *truth, const struct grid *grid,
                        const struct job_view *view)
{
    struct model_holding *holding = find(model, view->id, view->epoch), before;
    uint64_t held_ms, cpus, devices_milli;

    if (!holding)
        return;
    held_ms = (uint64_t)(model->now_ms - holding->granted_ms);
    cpus = holding->cpus;
    devices_milli = holding->devices_milli;
    before = *holding;
    copy_parts(holding, truth, grid, view);
    keep_parts(holding, &before);
    holding->cpu_ms_more += (cpus - holding->cpus) * held_ms;
    holding->device_milli_ms_more += (devices_milli - holding->devices_milli) * held_ms;
    model->cpus += holding->cpus - cpus;
    model->devices_milli += holding->devices_milli - devices_milli;
}

static void hear_usage(struct model *model, struct sim_truth *truth, const struct effect *effect)
{
    struct model_holding *holding = find(model, effect->job_id, effect->epoch);
    uint64_t wall_ms;

    if (!holding || holding->epoch != effect->epoch) {
        sim_fail(truth, "job %" PRIu64 " attempt %u: a ledger row for nothing", effect->job_id,
                 effect->epoch);
        return;
    }
    wall_ms = (uint64_t)(model->now_ms - holding->granted_ms);
    if (effect->granted_ms != holding->granted_ms || effect->released_ms != model->now_ms ||
        (uint64_t)effect->usage.wall_ms != wall_ms ||
        (uint64_t)effect->usage.cpu_held_ms != holding->cpus * wall_ms + holding->cpu_ms_more ||
        (uint64_t)effect->usage.device_milli_ms !=
            holding->devices_milli * wall_ms + holding->device_milli_ms_more)
        sim_fail(truth, "job %" PRIu64 " attempt %u: the ledger row is not what it held",
                 effect->job_id, effect->epoch);
    model->rows++;
    truth->preempted += effect->outcome == OUTCOME_PREEMPTED || effect->outcome == OUTCOME_DEFRAG;
    truth->resized += effect->outcome == OUTCOME_RESIZED;
    model->rows_cpu_ms += (uint64_t)effect->usage.cpu_held_ms;
    model->rows_device_milli_ms += (uint64_t)effect->usage.device_milli_ms;
    model->price_micro += (uint64_t)effect->usage.price_micro;
    model->cpus -= holding->cpus;
    model->devices_milli -= holding->devices_milli;
    *holding = model->holdings[--model->holdings_count];
}

/* Whoever starts somewhere is let in there, by the owner's word as it is now. */
static void check_owner(const struct model *model, struct sim_truth *truth, const struct grid *grid,
                        const struct effect *effect)
{
    const struct job_view *view = &effect->view;
    const struct site_policy *policy =
        grid_site_policy(grid, (uint32_t)grid_site_find(grid, view->allocation.site));
    struct request_access access = view->request->shape.access;
    bool saves = view->request->checkpoint != CHECKPOINT_NONE && view->request->requeue_on_loss;
    int64_t now_ms = model->now_ms;

    if (!policy)
        return;
    snprintf(access.tenant, sizeof(access.tenant), "%s", view->tenant);
    access.job_class = view->request->job_class;
    access.span_ms = saves                            ? 1
                     : view->request->duration_ms_max ? view->request->duration_ms_max
                                                      : -1;
    if (site_policy_bar(policy, &access, NULL) != POLICY_LETS)
        sim_fail(truth, "job %" PRIu64 " starts at %s, whose owner does not let it in",
                 effect->job_id, view->allocation.site);
    else if (site_policy_next_contact(policy, now_ms) != now_ms)
        sim_fail(truth, "job %" PRIu64 " starts at %s while that is not to be heard",
                 effect->job_id, view->allocation.site);
    else if (site_policy_next_start(policy, now_ms, access.span_ms) != now_ms)
        sim_fail(truth, "job %" PRIu64 " starts at %s outside its hours", effect->job_id,
                 view->allocation.site);
}

void model_hear(struct model *model, struct sim_truth *truth, const struct grid *grid,
                const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_RUN:
        hear_run(model, truth, grid, effect);
        check_owner(model, truth, grid, effect);
        break;
    case EFFECT_STOP:
    case EFFECT_SUSPEND:
    case EFFECT_RESUME:
        if (!find(model, effect->job_id, effect->epoch))
            sim_fail(truth, "job %" PRIu64 ": a stop or the like for nothing", effect->job_id);
        break;
    case EFFECT_USAGE:
        hear_usage(model, truth, effect);
        break;
    case EFFECT_RECEIPT:
        break;
    case EFFECT_SETTLED:
        model->settled++;
        model->price_micro += (uint64_t)effect->more.price_micro;
        if (effect->more.wall_ms || effect->more.cpu_held_ms || effect->more.device_milli_ms)
            sim_fail(truth, "job %" PRIu64 " attempt %u: what it held is billed twice",
                     effect->job_id, effect->epoch);
        break;
    case EFFECT_JOB_CHANGED:
        if (effect->view.allocation.parts_count && effect->view.request->spares)
            hear_spares(model, truth, grid, &effect->view);
        if (model->ended[effect->job_id])
            sim_fail(truth, "job %" PRIu64 " changes after its end", effect->job_id);
        break;
    case EFFECT_JOB_ENDED:
        if (find(model, effect->job_id, 0))
            sim_fail(truth, "job %" PRIu64 " ends while it holds", effect->job_id);
        if (model->ended[effect->job_id]++)
            sim_fail(truth, "job %" PRIu64 " ends twice", effect->job_id);
        if (!job_state_is_final(effect->view.state))
            sim_fail(truth, "job %" PRIu64 " ends as %s", effect->job_id,
                     job_state_name(effect->view.state));
        break;
    }
}
