#include "sim/engine.h"

#include "sched/packer.h"
#include "sim/engine_internal.h"
#include "sim/rates.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_STEPS 8192u
#define IDLE_MS_MAX                                                                                \
    (45LL * 24 * 3600 * 1000) /* nothing runs, nothing starts: the rest never will */
#define RETRIES_MAX 1000u
#define SPARES_RUN_MS_MIN (24 * 3600 * 1000LL) /* shorter gangs get no spare nodes */
#define KILLED_CODE 137u                       /* what a shell makes of signal 9 */

void sim_engine_fail(struct sim_engine *engine, int rc, const char *text)
{
    if (engine->rc == 0)
        engine->rc = err_set(engine->err, rc, "%s", text);
}

bool sim_engine_expect(struct sim_engine *engine, int64_t time_ms, enum sim_entry_kind kind,
                       uint32_t a, uint32_t b, uint32_t c)
{
    struct sim_entry entry = { .time_ms = time_ms, .kind = kind, .a = a, .b = b, .c = c };

    if (sim_agenda_add(&engine->agenda, entry))
        return true;
    sim_engine_fail(engine, -ENOMEM, "out of memory");
    return false;
}

/* --- effects ---------------------------------------------------------------------------------- */

static void on_usage(struct sim_engine *engine, const struct effect *effect)
{
    bool is_late = effect->type == EFFECT_SETTLED;
    const struct usage *usage = is_late ? &effect->more : &effect->usage;
    uint32_t index = is_late ? engine->settling_site
                             : (uint32_t)grid_site_find(engine->grid, effect->view.allocation.site);
    struct sim_site_sums *site = &engine->result->sites[index];

    site->energy_mj += usage->energy_mj;
    site->carbon_ug += usage->carbon_ug;
    site->price_micro += usage->price_micro;
}

static void on_ended(struct sim_engine *engine, const struct effect *effect)
{
    struct sim_run_job *run = &engine->jobs[engine->by_id[effect->job_id]];

    run->state = SIM_JOB_ENDED;
    run->end_state = (uint8_t)effect->view.state;
    if (run->end_ms < 0)
        run->end_ms = engine->now_ms;
    engine->ended_count++;
    sim_why_tell(engine, engine->by_id[effect->job_id], job_state_name(effect->view.state), "%s",
                 effect->view.reason ? effect->view.reason : "");
    if (!run->deadline_ms || (run->end_state != JOB_DONE && run->end_state != JOB_FAILED))
        return;
    engine->result->deadlines++;
    engine->result->deadlines_missed += run->end_ms > run->deadline_ms;
}

static void on_effect(void *context, const struct effect *effect)
{
    struct sim_engine *engine = context;
    struct sim_attempt *attempt;

    switch (effect->type) {
    case EFFECT_RUN:
        sim_attempt_run(engine, effect);
        break;
    case EFFECT_STOP:
        attempt = engine->jobs[engine->by_id[effect->job_id]].attempt;
        if (attempt && attempt->epoch == effect->epoch)
            sim_attempt_kill(engine, attempt,
                             effect->view.cancel_requested ? SIM_END_CANCEL : SIM_END_YIELD);
        break;
    case EFFECT_SUSPEND:
    case EFFECT_RESUME:
        attempt = engine->jobs[engine->by_id[effect->job_id]].attempt;
        if (attempt && attempt->epoch == effect->epoch)
            sim_attempt_suspend(engine, attempt, effect->type == EFFECT_SUSPEND);
        break;
    case EFFECT_USAGE:
    case EFFECT_SETTLED:
        on_usage(engine, effect);
        break;
    case EFFECT_JOB_ENDED:
        on_ended(engine, effect);
        break;
    case EFFECT_JOB_CHANGED:
        attempt = engine->jobs[engine->by_id[effect->job_id]].attempt;
        if (attempt && attempt->epoch == effect->epoch && effect->view.request->spares)
            sim_attempt_spares(engine, attempt, &effect->view.allocation);
        break;
    case EFFECT_RECEIPT:
        break;
    }
}

int sim_engine_step(struct sim_engine *engine, struct event *event, struct step_result *result)
{
    uint64_t every = engine->setup->check_every;
    struct err why = { 0 };
    int rc;

    event->time_ms = engine->setup->fleet->start_ms + engine->now_ms;
    rc = grid_step(engine->grid, event, on_effect, engine, result, &why);
    if (rc < 0)
        return err_set(engine->err, rc, "%s: %s", event_type_name(event->type), why.text);
    engine->result->steps++;
    if (every && engine->result->steps % every == 0 &&
        grid_check_invariants(engine->grid, &why) < 0)
        return err_set(engine->err, -EINVAL, "invariant broken after step %" PRIu64 ": %s",
                       engine->result->steps, why.text);
    return engine->rc;
}

/* --- sites ------------------------------------------------------------------------------------ */

static void fill_node(const struct sim_site *site, uint32_t index, struct node_info *node)
{
    const struct sim_pool *pool = sim_site_pool(site, index);

    sim_node_name(site, index, node->name);
    node->cpus = pool->cpus;
    node->memory_bytes = pool->memory_bytes;
    node->disk_bytes = pool->disk_bytes;
    node->cpu_load_watts = (int32_t)pool->cpu_watts;
    if (pool->rack_nodes)
        snprintf(node->rack, sizeof(node->rack), "%.40s-r%u", pool->name,
                 (index - pool->first_node) / pool->rack_nodes);
    if (pool->supernode_nodes)
        snprintf(node->supernode, sizeof(node->supernode), "%.40s-s%u", pool->name,
                 (index - pool->first_node) / pool->supernode_nodes);
    node->devices_count = pool->devices;
    for (uint32_t i = 0; i < pool->devices; i++) {
        struct device_info *device = &node->devices[i];

        memcpy(device->chip, pool->chip, sizeof(device->chip));
        device->index = i;
        device->numa = UINT32_MAX;
        device->memory_bytes = pool->device_memory_bytes;
    }
}

static int join_site(struct sim_engine *engine, const struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_JOINED };
    struct site_info *info = &event.site_joined.site;
    struct chip_figures *figures = calloc(site->pools_count, sizeof(*figures));
    struct node_info *nodes = calloc(site->nodes_count, sizeof(*nodes));
    uint32_t chips_count = 0;
    int rc = -ENOMEM;

    memcpy(info->name, site->name, sizeof(info->name));
    memcpy(info->owner, site->owner, sizeof(info->owner));
    info->suspends = site->suspends;
    memcpy(info->region, site->region, sizeof(info->region));
    info->tariff = site->tariff;
    info->nodes = nodes;
    info->nodes_count = site->nodes_count;
    for (uint32_t i = 0; figures && i < site->pools_count; i++)
        if (site->pools[i].devices)
            figures[chips_count++] = site->pools[i].figures;
    if (figures && nodes) {
        for (uint32_t i = 0; i < site->nodes_count; i++)
            fill_node(site, i, &nodes[i]);
        event.site_joined.chips = figures;
        event.site_joined.chips_count = chips_count;
        rc = sim_engine_step(engine, &event, NULL);
    } else {
        err_set(engine->err, rc, "out of memory");
    }
    free(nodes);
    free(figures);
    return rc;
}

static int set_policy(struct sim_engine *engine)
{
    const struct sim_policy *policy = engine->setup->policy;
    struct event event = { .type = EVENT_POLICY_SET };

    grid_set_reservations(engine->grid, policy->reservations);
    if (!policy->fill && !policy->order && !policy->preempts_not && !policy->defrag &&
        !policy->by_value && !policy->assign)
        return 0;
    event.policy_set.order = policy->order;
    event.policy_set.preempts = !policy->preempts_not;
    event.policy_set.by = "sim";
    event.policy_set.fills = policy->fill ? PACKER_PLACES : PACKER_OFF;
    event.policy_set.defrags = policy->defrag;
    event.policy_set.by_value = policy->by_value;
    event.policy_set.assigns = policy->assign;
    return sim_engine_step(engine, &event, NULL);
}

static int set_quotas(struct sim_engine *engine)
{
    const struct sim_policy *policy = engine->setup->policy;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < policy->quotas_count; i++) {
        struct event event = { .type = EVENT_TENANT_SET };

        event.tenant_set.tenant = policy->quotas[i].tenant;
        event.tenant_set.cpus_max = policy->quotas[i].cpus_max;
        event.tenant_set.devices_milli_max = policy->quotas[i].devices_milli_max;
        event.tenant_set.jobs_max = policy->quotas[i].jobs_max;
        event.tenant_set.parent = policy->quotas[i].parent;
        event.tenant_set.weight_milli = (uint32_t)policy->quotas[i].weight_milli;
        event.tenant_set.guarantee_cpus = policy->quotas[i].guarantee_cpus;
        event.tenant_set.guarantee_devices_milli = policy->quotas[i].guarantee_devices_milli;
        event.tenant_set.budget_micro = policy->quotas[i].budget_micro;
        rc = sim_engine_step(engine, &event, NULL);
    }
    return rc;
}

static int set_cells(struct sim_engine *engine)
{
    const struct sim_policy *policy = engine->setup->policy;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < policy->cells_count; i++) {
        const struct sim_cells *cells = &policy->cells[i];
        struct event event = { .type = EVENT_TENANT_SET };

        event.tenant_set = (struct event_tenant_set){ .tenant = cells->tenant,
                                                      .cpus_max = -1,
                                                      .devices_milli_max = -1,
                                                      .jobs_max = -1,
                                                      .weight_milli = 1000,
                                                      .budget_micro = -1 };
        /* Is it not there yet? */
        if (!sim_quotas_have(policy->quotas, policy->quotas_count, cells->tenant))
            rc = sim_engine_step(engine, &event, NULL);
        event = (struct event){ .type = EVENT_TENANT_CELLS };
        event.tenant_cells =
            (struct event_tenant_cells){ cells->tenant, cells->site,  cells->chip,
                                         cells->nodes,  cells->racks, cells->supernodes,
                                         cells->pools,  "sim" };
        if (rc == 0)
            rc = sim_engine_step(engine, &event, NULL);
    }
    return rc;
}

/* --- submits ---------------------------------------------------------------------------------- */

static int64_t limit_of(const struct sim_engine *engine, const struct sim_job *job)
{
    const struct sim_policy *policy = engine->setup->policy;

    switch ((enum sim_limits)policy->limits) {
    case SIM_LIMITS_TRACE:
        return job->limit_ms;
    case SIM_LIMITS_EXACT:
        return MAX((int64_t)((__int128)job->run_ms * policy->limits_milli / 1000), 1);
    case SIM_LIMITS_NONE:
        break;
    }
    return 0;
}

static bool sim_saves(const struct sim_engine *engine, const struct sim_job *job)
{
    const struct sim_checkpoint *plan = &engine->setup->faults->checkpoint;

    return plan->on && job->run_ms >= plan->least_ms;
}

bool sim_is_patient(const struct sim_engine *engine, uint32_t job)
{
    const struct sim_policy *policy = engine->setup->policy;
    uint64_t mixed = (job + 1ULL) * 0x9e3779b97f4a7c15ULL;

    return policy->patient_share_milli && !engine->setup->load->jobs[job].deadline_ms &&
           (mixed >> 32) % 1000 < (uint64_t)policy->patient_share_milli;
}

bool sim_saves_when_told(const struct sim_engine *engine, uint32_t job)
{
    const struct sim_policy *policy = engine->setup->policy;

    return policy->saves || (policy->patient_saves && sim_is_patient(engine, job));
}

static void be_patient(const struct sim_engine *engine, const struct sim_job *job,
                       struct job_request *request)
{
    const struct sim_policy *policy = engine->setup->policy;

    request->waits_never = policy->shifts_not;
    if (!sim_is_patient(engine, (uint32_t)(job - engine->setup->load->jobs)))
        return;
    request->deadline_ms = engine->setup->fleet->start_ms + engine->now_ms +
                           policy->patient_within_ms +
                           (request->duration_ms_max ? request->duration_ms_max : job->run_ms);
}

static void tell_rates(const struct sim_load *load, const struct sim_job *job,
                       struct request_work *work)
{
    uint32_t count;
    const struct sim_pace *rates = sim_rates_of(load, job->work, &count);

    for (uint32_t i = 0; rates && i < count; i++) {
        struct request_pace *pace = &work->paces[work->paces_count++];

        memcpy(pace->chip, load->names[rates[i].chip], MODEL_NAME_BYTES);
        pace->seconds_milli = rates[i].seconds_milli;
    }
}

static void fill_request(const struct sim_engine *engine, const struct sim_job *job,
                         struct job_request *request)
{
    const struct sim_load *load = engine->setup->load;
    const struct sim_chip_set *chips = &load->chip_sets[job->chips];
    const struct sim_policy *policy = engine->setup->policy;
    uint32_t index = (uint32_t)(job - load->jobs);

    if (job->request) {
        *request = load->requests[job->request];
        request->deps_count = 0; /* the moment it became ready is its submit */
        request->begin_ms = 0;
        request->retries_max = 0;                     /* its last attempt is what is known */
        request->tasks_max = request->tasks_step = 0; /* and how long it ran, at whatever width */
        request->resize_hold_ms = 0;
        request->shape.sites_max = 0; /* over several sites: not simulated */
        if (!sim_saves(engine, job))
            request->spares = 0; /* it would begin anew */
        memset(request->deps, 0, sizeof(request->deps));
    } else {
        sim_job_shape(job, engine->setup->fleet->node_devices_most, &request->shape);
        request->shape.chips_count = chips->count;
        for (uint32_t i = 0; i < chips->count; i++)
            memcpy(request->shape.chips[i], load->names[chips->names[i]], MODEL_NAME_BYTES);
        request->shape.within = job->within;
        request->shape.within_hard = job->within_hard;
        request->shape.mixed =
            job->mixed && request->shape.tasks > 1 && request->shape.devices_milli >= 1000;
        if (job->tasks_most > request->shape.tasks && sim_saves_when_told(engine, index)) {
            request->tasks_max = job->tasks_most;
            request->tasks_step = 1;
        }
        memcpy(request->work.class, load->names[job->work], MODEL_NAME_BYTES);
        request->work.units_milli = job->units_milli;
        tell_rates(load, job, &request->work);
    }
    request->job_class = job->job_class;
    request->objective = job->objective_given || policy->objective == SIM_OBJECTIVE_JOB
                             ? job->objective
                             : policy->objective - SIM_OBJECTIVE_FASTEST;
    request->duration_ms_max = limit_of(engine, job);
    request->deadline_ms = job->deadline_ms ? engine->setup->fleet->start_ms + job->deadline_ms : 0;
    request->requeue_on_loss = 1;
    request->on_unreachable = policy->moves ? UNREACHABLE_MOVE : UNREACHABLE_WAIT;
    if (sim_saves(engine, job))
        request->checkpoint = CHECKPOINT_OWN;
    be_patient(engine, job, request);
    if (sim_saves_when_told(engine, index))
        request->checkpoint = CHECKPOINT_ASKED;
    if (request->checkpoint != CHECKPOINT_NONE && request->shape.tasks > 1 &&
        request->shape.sites_max < 2 && job->run_ms >= SPARES_RUN_MS_MIN && !job->request)
        request->spares = policy->spares_planned ? REQUEST_SPARES_AUTO : policy->spares;
    if (engine->faulty) { /* what a fault kills comes again; what fails by itself does not */
        request->retries_max = RETRIES_MAX;
        request->retry_codes_count = 1;
        request->retry_codes[0] = KILLED_CODE;
    }
}

static int submit_next(struct sim_engine *engine)
{
    const struct sim_load *load = engine->setup->load;
    uint32_t index = engine->next_submit++;
    const struct sim_job *job = &load->jobs[index];
    struct sim_run_job *run = &engine->jobs[index];
    struct event event = { .type = EVENT_JOB_SUBMITTED };
    struct step_result answer = { 0 };
    int rc;

    fill_request(engine, job, &event.job_submitted.request);
    event.job_submitted.tenant = job->tenant ? load->names[job->tenant] : "sim";
    event.job_submitted.user = load->names[job->user];
    /* Its number is known before the step: effects may come inside it. */
    engine->by_id[engine->result->submitted + 1] = index;
    run->id = engine->result->submitted + 1;
    run->state = SIM_JOB_LIVE;
    run->left_ms = job->run_ms;
    if (event.job_submitted.request.deadline_ms)
        run->deadline_ms = event.job_submitted.request.deadline_ms - engine->setup->fleet->start_ms;
    rc = sim_engine_step(engine, &event, &answer);
    if (rc == -EINVAL || rc == -EDQUOT || rc == -ENOSPC) {
        if (engine->rc < 0)
            return engine->rc;
        run->state = SIM_JOB_REFUSED;
        engine->result->refused++;
        engine->ended_count++;
        sim_result_refused(engine, index);
        return 0;
    }
    if (rc < 0)
        return rc;
    engine->result->submitted++;
    sim_why_waits(engine, index);
    if (job->cancel_ms >= 0)
        sim_engine_expect(engine, MAX(job->cancel_ms, engine->now_ms), SIM_ENTRY_CANCEL, index, 0,
                          0);
    return engine->rc;
}

static int cancel(struct sim_engine *engine, uint32_t job)
{
    struct event event = { .type = EVENT_JOB_CANCELLED };
    struct sim_run_job *run = &engine->jobs[job];

    if (run->state != SIM_JOB_LIVE || (run->attempt && run->attempt->slot == UINT32_MAX))
        return 0; /* it was quicker */
    event.job_cancelled.job_id = run->id;
    event.job_cancelled.by = "user";
    event.job_cancelled.reason = "";
    return sim_engine_step(engine, &event, NULL);
}

/* --- the loop --------------------------------------------------------------------------------- */

static int take_entry(struct sim_engine *engine)
{
    struct sim_entry entry = sim_agenda_take(&engine->agenda);

    switch ((enum sim_entry_kind)entry.kind) {
    case SIM_ENTRY_STANDS:
        return sim_attempt_report_stands(engine, &entry);
    case SIM_ENTRY_STARTED:
        return sim_attempt_report_start(engine, &entry);
    case SIM_ENTRY_ENDED:
        return sim_attempt_report_end(engine, &entry);
    case SIM_ENTRY_CANCEL:
        return cancel(engine, entry.a);
    case SIM_ENTRY_NODE_FAILS:
    case SIM_ENTRY_NODE_MENDED:
    case SIM_ENTRY_CHIP_FAILS:
    case SIM_ENTRY_CHIP_MENDED:
    case SIM_ENTRY_LINK_FAILS:
    case SIM_ENTRY_LINK_MENDED:
    case SIM_ENTRY_SITE_FAILS:
    case SIM_ENTRY_SITE_MENDED:
    case SIM_ENTRY_WINDOW_DRAINS:
    case SIM_ENTRY_WINDOW_OPENS:
    case SIM_ENTRY_WINDOW_CLOSES:
        return sim_faults_take(engine, &entry);
    case SIM_ENTRY_LEASE_STOPS:
    case SIM_ENTRY_LEASE_ENDS:
        return sim_lease_take(engine, &entry);
    case SIM_ENTRY_TARIFF:
    case SIM_ENTRY_SLOT:
    case SIM_ENTRY_SHED:
        return sim_power_take(engine, &entry);
    }
    return -EINVAL;
}

/* Without a queue a pass is only worth its time where a timer has asked for it. */
static bool wants_pass(const struct sim_engine *engine)
{
    int64_t unix_ms = engine->setup->fleet->start_ms + engine->now_ms;

    return grid_wants_pass(engine->grid) &&
           (grid_count(engine->grid).queued || engine->setup->load->has_elastic ||
            engine->setup->policy->assign || grid_next_timer_ms(engine->grid) <= unix_ms);
}

/* Ends before submits, then a pass, as a controller would that hears all of a moment at once. */
static int do_moment(struct sim_engine *engine)
{
    const struct sim_load *load = engine->setup->load;
    int64_t start_ms = engine->setup->fleet->start_ms;
    int rc = 0;

    while (rc == 0 && sim_agenda_next_ms(&engine->agenda) <= engine->now_ms)
        rc = take_entry(engine);
    while (rc == 0 && engine->next_submit < load->jobs_count &&
           load->jobs[engine->next_submit].submit_ms <= engine->now_ms)
        rc = submit_next(engine);
    if (rc == 0 && grid_next_timer_ms(engine->grid) <= start_ms + engine->now_ms) {
        struct event event = { .type = EVENT_TICK };

        rc = sim_engine_step(engine, &event, NULL);
        engine->ticked_ms = grid_next_timer_ms(engine->grid);
        if (engine->ticked_ms > start_ms + engine->now_ms)
            engine->ticked_ms = 0;
    }
    while (rc == 0 && engine->now_ms >= engine->pass_due_ms && wants_pass(engine)) {
        struct event event = { .type = EVENT_PASS };

        rc = sim_engine_step(engine, &event, NULL);
        engine->pass_due_ms = engine->now_ms + engine->setup->policy->pass_every_ms;
    }
    sim_series_set(&engine->result->series, SIM_SERIES_QUEUED, engine->now_ms,
                   (int64_t)grid_count(engine->grid).queued);
    sim_series_set(&engine->result->series, SIM_SERIES_RUNNING, engine->now_ms,
                   engine->active_count);
    if (rc == 0)
        sim_why_moment(engine);
    return rc < 0 ? rc : engine->rc;
}

/* INT64_MAX: nothing more will happen that matters. */
static int64_t next_moment(const struct sim_engine *engine)
{
    const struct sim_load *load = engine->setup->load;
    struct grid_counts counts = grid_count(engine->grid);
    bool more = engine->next_submit < load->jobs_count;
    int64_t next_ms = sim_agenda_next_ms(&engine->agenda), timer_ms;

    if (!more && engine->ended_count == load->jobs_count)
        return INT64_MAX;
    if (!more && !engine->active_count && !counts.starting && !counts.running &&
        engine->now_ms - MAX(engine->last_start_ms, load->jobs[load->jobs_count - 1].submit_ms) >
            IDLE_MS_MAX)
        return INT64_MAX;
    if (more)
        next_ms = MIN(next_ms, load->jobs[engine->next_submit].submit_ms);
    timer_ms = grid_next_timer_ms(engine->grid);
    /* One that a tick has left behind waits for the pass that it asked for. */
    if (timer_ms != INT64_MAX && timer_ms != engine->ticked_ms)
        next_ms = MIN(next_ms, timer_ms - engine->setup->fleet->start_ms);
    if (wants_pass(engine))
        next_ms = MIN(next_ms, engine->pass_due_ms);
    return next_ms;
}

static int run_all(struct sim_engine *engine)
{
    const struct sim_setup *setup = engine->setup;
    uint64_t told = 0;
    int rc = 0;

    for (;;) {
        int64_t next_ms = next_moment(engine);

        if (next_ms == INT64_MAX)
            break;
        if (setup->until_ms && next_ms > setup->until_ms) {
            engine->now_ms = setup->until_ms;
            break;
        }
        engine->now_ms = MAX(engine->now_ms, next_ms);
        rc = do_moment(engine);
        if (rc < 0)
            return rc;
        if (setup->progress && engine->result->steps - told >= PROGRESS_STEPS) {
            told = engine->result->steps;
            if (!setup->progress(setup->context, engine->ended_count, setup->load->jobs_count,
                                 engine->now_ms))
                return err_set(engine->err, -ECANCELED, "stopped");
        }
    }
    return 0;
}

static void engine_fini(struct sim_engine *engine)
{
    grid_destroy(engine->grid);
    sim_why_fini(engine);
    sim_agenda_fini(&engine->agenda);
    for (uint32_t i = 0; engine->jobs && i < engine->setup->load->jobs_count; i++)
        free(engine->jobs[i].attempt);
    for (uint32_t i = 0; engine->sites && i < engine->setup->fleet->sites_count; i++) {
        free(engine->sites[i].nodes);
        free(engine->sites[i].node_groups);
        free(engine->sites[i].late);
        for (uint32_t k = 0; k < engine->sites[i].darks_count; k++)
            free(engine->sites[i].darks[k]);
        free(engine->sites[i].darks);
    }
    free(engine->sites);
    free(engine->jobs);
    free(engine->by_id);
    free(engine->active);
    free(engine->windows);
    free(engine->speeds);
}

static int begin(struct sim_engine *engine)
{
    uint32_t jobs_count = engine->setup->load->jobs_count;
    const struct sim_fleet *fleet = engine->setup->fleet;
    int rc;

    engine->grid = grid_create();
    engine->jobs = calloc((size_t)jobs_count + 1, sizeof(*engine->jobs));
    engine->by_id = calloc((size_t)jobs_count + 2, sizeof(*engine->by_id));
    engine->active = calloc((size_t)jobs_count + 1, sizeof(struct sim_attempt *));
    if (!engine->grid || !engine->jobs || !engine->by_id || !engine->active)
        return err_set(engine->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < jobs_count; i++)
        engine->jobs[i].first_ms = engine->jobs[i].end_ms = -1;
    rc = sim_result_begin(engine);
    if (rc == 0)
        rc = sim_why_begin(engine);
    for (uint32_t i = 0; rc == 0 && i < fleet->sites_count; i++)
        rc = join_site(engine, &fleet->sites[i]);
    if (rc == 0)
        rc = set_policy(engine);
    if (rc == 0)
        rc = set_quotas(engine);
    if (rc == 0)
        rc = set_cells(engine);
    if (rc == 0)
        rc = sim_lease_begin(engine);
    if (rc == 0)
        rc = sim_faults_begin(engine);
    if (rc == 0)
        rc = sim_power_begin(engine);
    return rc;
}

int sim_run(const struct sim_setup *setup, struct sim_result *result_out, struct err *err)
{
    struct sim_result result = { 0 };
    struct err why = { 0 };
    struct sim_engine engine = { .setup = setup, .result = &result, .err = &why };
    int rc = begin(&engine);

    if (rc == 0)
        rc = run_all(&engine);
    if (rc == 0)
        rc = sim_result_end(&engine);
    engine_fini(&engine);
    if (rc < 0) {
        sim_result_fini(&result);
        return err_set(err, rc, "%s", why.text[0] ? why.text : strerror(-rc));
    }
    *result_out = result;
    return 0;
}
