/* What the shell reads. */
#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <string.h>

const char *job_state_name(enum job_state state)
{
    static const char *const names[] = { "held",     "queued", "starting", "running",
                                         "stopping", "done",   "failed",   "cancelled" };

    return (unsigned)state < ARRAY_COUNT(names) ? names[state] : "unknown";
}

bool job_state_is_final(enum job_state state)
{
    return state >= JOB_DONE;
}

static void fill_request(const struct grid *grid, const struct job *job, struct job_request *out)
{
    const struct terms *terms = job_terms(grid, job);
    const char *tenant, *class;

    memset(out, 0, sizeof(*out));
    out->job_class = terms->job_class;
    out->objective = terms->objective.kind;
    out->weight_time_milli = terms->objective.weight_time_milli;
    out->weight_money_milli = terms->objective.weight_money_milli;
    out->weight_carbon_milli = terms->objective.weight_carbon_milli;
    out->on_unreachable = terms->on_unreachable;
    out->duration_ms_max = terms->duration_ms_max;
    out->deadline_ms = terms->deadline_ms;
    out->begin_ms = terms->begin_ms;
    out->work.units_milli = terms->work_units_milli;
    out->retries_max = terms->retries_max;
    out->retry_codes_count = terms->retry_codes_count;
    memcpy(out->retry_codes, terms->retry_codes, sizeof(out->retry_codes));
    out->requeue_on_loss = terms->requeue_on_loss;
    out->checkpoint = terms->checkpoint;
    out->waits_never = terms->waits_never;
    out->rpo_ms = terms->rpo_ms;
    out->goods = terms->goods;
    out->price_micro_max = terms->price_micro_max;
    out->tasks_max = terms->tasks_max;
    out->tasks_step = terms->tasks_step;
    out->resize_hold_ms = terms->resize_hold_ms;
    out->spares = terms->spares;
    for (uint32_t i = 0; job->deps && i < job->deps->count; i++)
        out->deps[i] = (struct request_dep){ .job_id = job->deps->list[i].id,
                                             .kind = job->deps->list[i].kind };
    out->deps_count = job->deps ? job->deps->count : 0;
    shape_to_request(job_asked(grid, job), &out->shape);
    if (out->shape.work) {
        work_names(&grid->work, out->shape.work, &tenant, &class);
        memcpy(out->work.class, class, strnlen(class, MODEL_NAME_BYTES - 1));
    }
}

static void fill_allocation(struct grid *grid, const struct shape *shape, const struct grant *grant,
                            struct allocation *out)
{
    uint32_t count = grant->parts_count - grant->spares_count;

    MEM_GROW(grid->parts_out, grid->parts_out_cap, grant->parts_count);
    for (uint32_t i = 0; i < grant->parts_count; i++) { /* spare nodes come last */
        const struct grant_part *part = &grant->parts[i];
        struct alloc_part *to = &grid->parts_out[i];

        to->node = part->node;
        to->tasks = part->tasks;
        to->cpus = part->cpus;
        to->memory_bytes = part->memory_bytes;
        to->disk_bytes = part->disk_bytes;
        to->devices_count = to->shares_count = 0;
        for (uint32_t d = 0; d < part->devices_count; d++)
            if (part->devices[d].index != FLEET_DEVICE_GONE) {
                to->devices[to->devices_count].index = part->devices[d].index;
                to->devices[to->devices_count++].milli = part->devices[d].milli;
            }
    }
    if (shape->mixed)
        mixed_shares(grid, shape, grant, grid->parts_out);
    memcpy(out->site, grid->fleet.sites[grant->site].info.name, sizeof(out->site));
    out->parts_count = count;
    out->spares_count = grant->spares_count;
    out->parts = grid->parts_out;
}

void job_fill_view(struct grid *grid, const struct job *job, struct job_view *view)
{
    memset(view, 0, sizeof(*view));
    view->id = job->item.id;
    if (job->array) {
        view->array_id = job->array->id;
        view->array_index = job->array_index;
        view->array_count = job->array->count;
    }
    view->state = (enum job_state)job->state;
    view->epoch = job->epoch;
    if (job->is_promised && promise_of(grid, job)->plan)
        view->promised_start_ms = promise_of(grid, job)->start_ms;
    view->attempts_failed = job->attempts_failed;
    view->attempts_lost = job->attempts_lost;
    view->tenant = intern_data(&grid->tenant_names, job->tenant);
    view->user = intern_data(&grid->strings, job->user);
    view->name = intern_data(&grid->strings, job->name);
    if (grid->request_of != job->item.id) /* it never changes, and a start tells it twice */
        fill_request(grid, job, &grid->request_out);
    grid->request_of = job->item.id;
    view->request = &grid->request_out;
    view->spec_json = intern_data(&grid->specs, job->spec);
    view->spec_len = intern_len(&grid->specs, job->spec);
    view->submitted_ms = job->submitted_ms;
    view->eligible_ms = job->item.eligible_ms;
    view->started_ms = job->started_ms;
    view->ended_ms = job_state_is_final(view->state) ? grid->now_ms : 0;
    if (job->grant)
        fill_allocation(grid, job_shape(grid, job), job->grant, &view->allocation);
    if (job->across)
        across_fill_view(grid, job, job->grant, &view->across);
    view->exit_code = job->exit_code;
    view->outcome = (enum attempt_outcome)job->outcome;
    view->reason = intern_data(&grid->strings, job->reason);
    view->cancel_requested = job->cancel_requested;
    view->suspended = suspend_holds(job);
    view->stands = suspend_holds(job) && job->wait->frozen_ms;
    view->suspended_ms = suspend_stood_ms(grid, job);
    view->width_min = job_terms(grid, job)->tasks_min;
    view->width_max = job_terms(grid, job)->tasks_max;
    view->width_wish = job->width_wish;
    view->checkpoint = "";
    view->checkpoint_every_ms = job->past ? job->past->checkpoint_every_ms : 0;
    if (job->past && job->past->saved) {
        view->checkpoint = job->past->saved->manifest;
        view->checkpoint_epoch = job->past->saved->epoch;
        view->checkpoint_bytes = job->past->saved->bytes;
        view->checkpoint_saved_ms = job->past->saved->saved_ms;
    }
    if (job->past) {
        view->usage = job->past->ended;
        if (job->grant && job->past->running.wall_ms)
            usage_add(&view->usage, &job->past->running, attempt_is_first(job));
    }
}

bool grid_find_job(struct grid *grid, uint64_t id, struct job_view *view_out)
{
    const struct job *job = grid_job(grid, id);

    if (job)
        job_fill_view(grid, job, view_out);
    return job != NULL;
}

bool grid_next_job(struct grid *grid, uint64_t after_id, const char *tenant,
                   struct job_view *view_out)
{
    uint32_t number =
        tenant ? intern_find(&grid->tenant_names, tenant, (uint32_t)strlen(tenant)) : 0;
    const struct job *job = tenant && !number ? NULL : grid_job_after(grid, after_id);

    while (job && tenant && job->tenant != number)
        job = grid_job_after(grid, job->item.id);
    if (job)
        job_fill_view(grid, job, view_out);
    return job != NULL;
}

bool grid_prev_job(struct grid *grid, uint64_t before_id, const char *tenant,
                   struct job_view *view_out)
{
    uint32_t number =
        tenant ? intern_find(&grid->tenant_names, tenant, (uint32_t)strlen(tenant)) : 0;
    const struct job *job = tenant && !number ? NULL : grid_job_before(grid, before_id);

    while (job && tenant && job->tenant != number)
        job = grid_job_before(grid, job->item.id);
    if (job)
        job_fill_view(grid, job, view_out);
    return job != NULL;
}

uint32_t grid_array_live(const struct grid *grid, uint64_t array_id, uint32_t *queued_out,
                         uint32_t *running_out)
{
    const struct array *array = grid_array(grid, array_id);

    if (queued_out)
        *queued_out = array ? array->queued : 0;
    if (running_out)
        *running_out = array ? array->active : 0;
    return array ? array->live : 0;
}

int grid_find_outcome(const struct grid *grid, uint64_t id)
{
    static const int states[] = { -1, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

    return states[grid_outcome(grid, id)];
}

struct grid_counts grid_count(const struct grid *grid)
{
    return grid->counts;
}

int64_t grid_next_timer_ms(const struct grid *grid)
{
    /* The first may no longer matter: then a tick comes for nothing and sweeps it. */
    int64_t next_ms = grid->powers_count ? grid->power_next_ms : INT64_MAX;

    next_ms = MIN(next_ms, grid->owners_next_ms);
    if (grid->defrag_next_ms)
        next_ms = MIN(next_ms, grid->defrag_next_ms);
    if (grid->preempt_next_ms)
        next_ms = MIN(next_ms, grid->preempt_next_ms);
    if (grid->elastic_next_ms)
        next_ms = MIN(next_ms, grid->elastic_next_ms);
    next_ms = MIN(next_ms, ranks_next_ms(grid));
    next_ms = MIN(next_ms, assigns_next_ms(grid));
    next_ms = MIN(next_ms, freight_next_ms(grid));
    return grid->timers_count ? MIN(grid->timers[0].time_ms, next_ms) : next_ms;
}

/* --- sites ------------------------------------------------------------------------------------ */

uint32_t grid_site_count(const struct grid *grid)
{
    return grid->fleet.sites_count;
}

const struct site_info *grid_site_get(const struct grid *grid, uint32_t index, bool *reachable_out)
{
    if (index >= grid->fleet.sites_count)
        return NULL;
    if (reachable_out)
        *reachable_out = grid->fleet.sites[index].reachable;
    return &grid->fleet.sites[index].info;
}

uint64_t grid_site_session(const struct grid *grid, uint32_t index)
{
    return index < grid->fleet.sites_count ? grid->fleet.sites[index].session : 0;
}

int grid_site_find(const struct grid *grid, const char *name)
{
    return fleet_find_site(&grid->fleet, name);
}

static int64_t not_below_0(int64_t value)
{
    return value > 0 ? value : 0;
}

struct site_totals grid_site_totals(const struct grid *grid, uint32_t index)
{
    const struct fleet_site *site;
    struct site_totals sum = { 0 };

    if (index >= grid->fleet.sites_count)
        return sum;
    site = &grid->fleet.sites[index];
    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const struct fleet_node *node = &site->nodes[i];

        sum.attempts += node->grants_count;
        sum.cordoned += node->cordoned;
        if (!node->present)
            continue;
        sum.nodes++;
        sum.cpus += node->cpus;
        sum.cpus_free += (uint64_t)not_below_0(node_cpus_free(node));
        sum.devices += node->devices_count;
        for (uint32_t d = 0; d < node->devices_count; d++)
            sum.devices_free_milli += 1000u - node->devices[d].used_milli;
    }
    return sum;
}

static bool is_same_site(const struct site_info *a, const struct site_info *b)
{
    const struct site_tariff *x = &a->tariff, *y = &b->tariff;

    return strcmp(a->owner, b->owner) == 0 && strcmp(a->region, b->region) == 0 &&
           a->sandbox_optional == b->sandbox_optional && a->one_kind == b->one_kind &&
           a->images == b->images && a->tunnels == b->tunnels && a->suspends == b->suspends &&
           strcmp(a->address, b->address) == 0 &&
           x->carbon_g_per_kwh_milli == y->carbon_g_per_kwh_milli &&
           x->power_price_micro_per_kwh == y->power_price_micro_per_kwh &&
           x->cpu_price_micro_per_hour == y->cpu_price_micro_per_hour &&
           x->device_price_micro_per_hour == y->device_price_micro_per_hour &&
           strcmp(x->currency, y->currency) == 0 && x->carbon_assumed == y->carbon_assumed &&
           x->price_assumed == y->price_assumed;
}

static bool has_figures(const struct fleet_site *site, const struct chip_figures *chip)
{
    for (uint32_t i = 0; i < site->chips_count; i++)
        if (strcmp(site->chips[i].kind, chip->kind) == 0)
            return memcmp(site->chips[i].metric_milli, chip->metric_milli,
                          sizeof(chip->metric_milli)) == 0 &&
                   site->chips[i].power_watts == chip->power_watts &&
                   site->chips[i].power_idle_watts == chip->power_idle_watts;
    return false;
}

bool grid_site_is_known(const struct grid *grid, const struct event *joined)
{
    const struct site_info *told = &joined->site_joined.site;
    int index = fleet_find_site(&grid->fleet, told->name);
    const struct fleet_site *site = index < 0 ? NULL : &grid->fleet.sites[index];
    uint32_t at = 0;

    if (!site || !is_same_site(&site->info, told))
        return false;
    for (uint32_t i = 0; i < joined->site_joined.chips_count; i++)
        if (!has_figures(site, &joined->site_joined.chips[i]))
            return false;
    /* The same nodes in the same order; those that are gone may stand between them. */
    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        if (!site->nodes[i].present)
            continue;
        if (at == told->nodes_count || !node_info_is_equal(&site->info.nodes[i], &told->nodes[at]))
            return false;
        at++;
    }
    return at == told->nodes_count;
}

bool grid_node_get(const struct grid *grid, uint32_t site, uint32_t index,
                   struct node_view *view_out)
{
    const struct fleet_node *node;

    if (site >= grid->fleet.sites_count || index >= grid->fleet.sites[site].info.nodes_count)
        return false;
    node = &grid->fleet.sites[site].nodes[index];
    *view_out = (struct node_view){
        .info = &grid->fleet.sites[site].info.nodes[index],
        .cordoned = node->cordoned,
        .present = node->present,
        .cordon_reason = node->cordon_reason ? node->cordon_reason : "",
        .cpus_free = (uint32_t)not_below_0(node_cpus_free(node)),
        .memory_free_bytes = not_below_0(node->memory_bytes - node->memory_used),
        .disk_free_bytes = not_below_0(node->disk_bytes - node->disk_used),
        .jobs_count = node->grants_count,
    };
    for (uint32_t i = 0; i < node->devices_count; i++) {
        view_out->devices_free_milli[i] = 1000u - node->devices[i].used_milli;
        view_out->devices_cordoned[i] = node->devices[i].cordoned;
    }
    return true;
}
