#include "sim/replay.h"

#include "base/file.h"
#include "grid/grid.h"
#include "journal/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_RUN_MS (30LL * 24 * 3600 * 1000) /* of a job that its user cancelled */
#define IDS_MAX (1ull << 28)

struct past {     /* of one id */
    uint32_t job; /* in the load's list */
    int64_t started_ms;
    bool known, ran, ended;
};
struct replay {
    struct grid *grid;
    struct sim_load *load;
    struct past *pasts; /* by id */
    uint64_t pasts_cap;
    int64_t now_ms;
    struct err err;
};

/* --- what the journal tells of a job -----------------------------------------------------------
 */

static struct past *past_of(struct replay *replay, uint64_t id)
{
    return id < replay->pasts_cap && replay->pasts[id].known ? &replay->pasts[id] : NULL;
}

static int add_job(struct replay *replay, const struct event_job_submitted *submit, uint64_t id,
                   int64_t time_ms)
{
    struct sim_job job = sim_job_init();
    int rc;

    if (id >= IDS_MAX)
        return -E2BIG;
    if (id >= replay->pasts_cap) {
        uint64_t cap = MAX(replay->pasts_cap * 2, MAX(id + 1, 1024));
        struct past *more = realloc(replay->pasts, cap * sizeof(*more));

        if (!more)
            return -ENOMEM;
        memset(more + replay->pasts_cap, 0, (cap - replay->pasts_cap) * sizeof(*more));
        replay->pasts = more;
        replay->pasts_cap = cap;
    }
    job.id = id;
    job.submit_ms = time_ms;
    job.limit_ms = submit->request.duration_ms_max;
    job.deadline_ms = submit->request.deadline_ms;
    job.job_class = (uint8_t)submit->request.job_class;
    job.objective = (uint8_t)submit->request.objective;
    job.objective_given = true;
    job.tenant = sim_load_name(replay->load, submit->tenant);
    job.user = sim_load_name(replay->load, submit->user ? submit->user : "");
    job.request = sim_load_request(replay->load, &submit->request);
    if (job.tenant == UINT32_MAX || job.user == UINT32_MAX || !job.request)
        return -ENOMEM;
    replay->pasts[id] = (struct past){ .job = replay->load->jobs_count, .known = true };
    rc = sim_load_add(replay->load, &job, &replay->err);
    return rc;
}

static void take_usage(struct replay *replay, const struct effect *effect)
{
    struct past *past = past_of(replay, effect->job_id);
    const struct allocation *held = &effect->view.allocation;
    const struct site_info *site;
    struct sim_job *job;
    int index = grid_site_find(replay->grid, held->site);

    if (!past)
        return;
    job = &replay->load->jobs[past->job];
    past->ran = true;
    if (effect->view.eligible_ms > job->submit_ms)
        job->submit_ms = effect->view.eligible_ms; /* it waited for others, or for its time */
    job->run_ms = MAX(effect->released_ms -
                          (effect->view.started_ms ? effect->view.started_ms : effect->granted_ms),
                      1);
    job->outcome =
        effect->outcome == OUTCOME_EXITED && effect->exit_code == 0 ? SIM_DONE : SIM_FAILED;
    if (effect->outcome == OUTCOME_TIME_LIMIT)
        job->run_ms += 60000; /* it would have gone on */
    if (index < 0 || !held->parts_count || !held->parts[0].devices_count)
        return;
    site = grid_site_get(replay->grid, (uint32_t)index, NULL);
    job->reference = sim_load_name(
        replay->load,
        site->nodes[held->parts[0].node].devices[held->parts[0].devices[0].index].chip);
    if (job->reference == UINT32_MAX)
        job->reference = 0;
}

static void take_end(struct replay *replay, const struct effect *effect)
{
    struct past *past = past_of(replay, effect->job_id);
    struct sim_job *job;

    if (!past)
        return;
    past->ended = true;
    job = &replay->load->jobs[past->job];
    if (effect->view.state != JOB_CANCELLED)
        return;
    job->cancel_ms = replay->now_ms;
    job->run_ms = job->limit_ms ? job->limit_ms : UNKNOWN_RUN_MS;
    job->outcome = SIM_DONE;
}

static void on_effect(void *context, const struct effect *effect)
{
    if (effect->type == EFFECT_USAGE)
        take_usage(context, effect);
    else if (effect->type == EFFECT_JOB_ENDED)
        take_end(context, effect);
}

/* The jobs of a submit are known before its step: they may end inside it. */
static int take_submit(struct replay *replay, const struct event *event,
                       const struct step_result *answer)
{
    uint64_t first = answer->job_id;
    uint32_t count = event->job_submitted.elements_count;
    int rc = 0;

    if (answer->repeated)
        return 0;
    if (!count)
        return add_job(replay, &event->job_submitted, first, event->time_ms);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = add_job(replay, &event->job_submitted, first + 1 + i, event->time_ms);
    return rc;
}

static int on_record(void *context, const struct journal_record *record)
{
    struct arena arena = arena_init(EVENT_ARENA_BYTES_MAX);
    struct replay *replay = context;
    struct step_result answer = { 0 };
    struct event event;
    int rc = event_decode(record->data, record->len, &arena, &event, &replay->err);

    if (rc == 0) {
        replay->now_ms = MAX(replay->now_ms, event.time_ms);
        rc = grid_step(replay->grid, &event, on_effect, replay, &answer, &replay->err);
    }
    if (rc == 0 && event.type == EVENT_JOB_SUBMITTED)
        rc = take_submit(replay, &event, &answer);
    if (rc < 0)
        err_prefix(&replay->err, rc, "journal record %" PRIu64, record->seq);
    arena_fini(&arena);
    return rc;
}

/* Jobs that still run count as far as they got; those that never did are dropped. */
static void drop_unknown(struct replay *replay)
{
    struct sim_load *load = replay->load;
    uint32_t kept = 0;
    struct job_view view;

    for (uint64_t id = 0; id < replay->pasts_cap; id++) {
        struct past *past = past_of(replay, id);

        if (past && !past->ended && grid_find_job(replay->grid, id, &view) && view.started_ms)
            load->jobs[past->job].run_ms = MAX(replay->now_ms - view.started_ms, 1);
    }
    for (uint32_t i = 0; i < load->jobs_count; i++)
        if (load->jobs[i].run_ms > 0)
            load->jobs[kept++] = load->jobs[i];
        else
            load->lines_skipped++;
    load->jobs_count = kept;
}

/* --- its sites ---------------------------------------------------------------------------------
 */

static struct sim_pool pool_of_node(const struct node_info *node)
{
    struct sim_pool pool = { .nodes = 1,
                             .cpus = MAX(node->cpus, 1),
                             .devices = node->devices_count,
                             .memory_bytes = node->memory_bytes,
                             .disk_bytes = node->disk_bytes,
                             .chip_tflops_milli = -1,
                             .chip_watts = UINT32_MAX,
                             .cpu_watts = (uint32_t)MAX(node->cpu_load_watts, 0),
                             .failures_milli = -1 };

    memcpy(pool.name, node->name, sizeof(pool.name));
    if (node->devices_count) {
        memcpy(pool.chip, node->devices[0].chip, sizeof(pool.chip));
        pool.device_memory_bytes = node->devices[0].memory_bytes;
    }
    return pool;
}

static bool is_alike(const struct sim_pool *a, const struct sim_pool *b)
{
    return a->cpus == b->cpus && a->devices == b->devices && a->memory_bytes == b->memory_bytes &&
           a->disk_bytes == b->disk_bytes && a->cpu_watts == b->cpu_watts &&
           a->device_memory_bytes == b->device_memory_bytes && strcmp(a->chip, b->chip) == 0;
}

static int copy_site(struct sim_fleet *fleet, struct sim_site *to, const struct site_info *from)
{
    to->pools = arena_alloc(&fleet->arena, from->nodes_count + 1, sizeof(*to->pools));
    if (!to->pools)
        return -ENOMEM;
    memcpy(to->name, from->name, sizeof(to->name));
    memcpy(to->owner, from->owner, sizeof(to->owner));
    memcpy(to->region, from->region, sizeof(to->region));
    to->tariff = from->tariff;
    for (uint32_t i = 0; i < from->nodes_count; i++) {
        struct sim_pool pool = pool_of_node(&from->nodes[i]);

        if (to->pools_count && is_alike(&to->pools[to->pools_count - 1], &pool))
            to->pools[to->pools_count - 1].nodes++;
        else
            to->pools[to->pools_count++] = pool;
    }
    return 0;
}

static int copy_sites(const struct replay *replay, int64_t first_ms,
                      const struct catalogue *catalogue, struct sim_fleet **fleet_out,
                      struct err *err)
{
    CLEANUP(sim_fleet_destroyp) struct sim_fleet *fleet = sim_fleet_create();
    uint32_t count = grid_site_count(replay->grid);
    int rc;

    if (!fleet || !(fleet->sites = arena_alloc(&fleet->arena, count + 1, sizeof(*fleet->sites))))
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        const struct site_info *site = grid_site_get(replay->grid, i, NULL);

        if (!site->nodes_count)
            continue;
        if (copy_site(fleet, &fleet->sites[fleet->sites_count++], site) < 0)
            return err_set(err, -ENOMEM, "out of memory");
    }
    if (!fleet->sites_count)
        return err_set(err, -EINVAL, "the journal knows no site with a node: give --fleet");
    snprintf(fleet->name, sizeof(fleet->name), "as-journaled");
    fleet->start_ms = first_ms > 0 ? first_ms : fleet->start_ms; /* the hours of the day stay */
    rc = sim_fleet_finish(fleet, catalogue, err);
    if (rc == 0)
        *fleet_out = TAKE(fleet);
    return rc;
}

/* --- its policy --------------------------------------------------------------------------------
 */

static struct sim_quota quota_of(const struct tenant_view *view)
{
    struct sim_quota quota = { .cpus_max = view->cpus_max,
                               .devices_milli_max = view->devices_milli_max,
                               .jobs_max = view->jobs_max,
                               .weight_milli = view->weight_milli,
                               .guarantee_cpus = view->guarantee_cpus,
                               .guarantee_devices_milli = view->guarantee_devices_milli,
                               .budget_micro = view->budget_micro };

    snprintf(quota.tenant, sizeof(quota.tenant), "%s", view->name);
    snprintf(quota.parent, sizeof(quota.parent), "%s", view->parent ? view->parent : "");
    return quota;
}

static uint32_t *count_of(struct sim_cells *cells, uint32_t level)
{
    switch (level) {
    case TOPOLOGY_NODE:
        return &cells->nodes;
    case TOPOLOGY_RACK:
        return &cells->racks;
    case TOPOLOGY_SUPERNODE:
        return &cells->supernodes;
    }
    return &cells->pools;
}

/* Cells, of each tenant, site and chip together. */
static int copy_cells(const struct replay *replay, struct arena *arena, struct sim_policy *out,
                      struct err *err)
{
    uint32_t count = 0, added = 0;
    struct sim_cells *list;
    struct cell_view view;

    while (grid_cell(replay->grid, count, &view))
        count++;
    list = arena_alloc(arena, count + 1, sizeof(*list));
    if (!list)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count && grid_cell(replay->grid, i, &view); i++) {
        uint32_t at = 0;

        while (at < added &&
               (strcmp(list[at].tenant, view.tenant) != 0 ||
                strcmp(list[at].site, view.site) != 0 || strcmp(list[at].chip, view.chip) != 0))
            at++;
        if (at == added) {
            list[added] = (struct sim_cells){ 0 };
            snprintf(list[added].tenant, sizeof(list[added].tenant), "%s", view.tenant);
            snprintf(list[added].site, sizeof(list[added].site), "%s", view.site);
            snprintf(list[added].chip, sizeof(list[added].chip), "%s", view.chip);
            added++;
        }
        ++*count_of(&list[at], view.level);
    }
    out->cells = list;
    out->cells_count = added;
    return 0;
}

/* Tenants, those above before those under them: level by level. */
static int copy_policy(const struct replay *replay, struct arena *arena, struct sim_policy *out,
                       struct err *err)
{
    struct grid_policy policy = grid_policy(replay->grid);
    uint32_t count = 0, added = 0, before;
    struct tenant_view view;
    struct sim_quota *quotas;
    const char *name = "";

    *out = sim_policy_init();
    snprintf(out->name, sizeof(out->name), "as-journaled");
    out->order = policy.order;
    out->preempts_not = !policy.preempts;
    out->fill = policy.fills != 0;
    out->defrag = policy.defrags;
    out->by_value = policy.by_value;
    out->assign = policy.assigns;
    out->reservations = policy.reservations;
    for (; grid_tenant_next(replay->grid, name, &view); name = view.name)
        count++;
    quotas = arena_alloc(arena, count + 1, sizeof(*quotas));
    if (!quotas)
        return err_set(err, -ENOMEM, "out of memory");
    do {
        uint32_t above = added;

        before = added;
        for (name = ""; grid_tenant_next(replay->grid, name, &view); name = view.name) {
            struct sim_quota quota = quota_of(&view);

            if (!sim_quotas_have(quotas, added, quota.tenant) &&
                (!quota.parent[0] || sim_quotas_have(quotas, above, quota.parent)))
                quotas[added++] = quota;
        }
    } while (added < count && added > before);
    out->quotas = quotas;
    out->quotas_count = added;
    return copy_cells(replay, arena, out, err);
}

int sim_replay_read(struct journal *journal, const struct catalogue *catalogue, struct arena *arena,
                    struct sim_load **load_out, struct sim_fleet **fleet_out,
                    struct sim_policy *policy_out, struct err *err)
{
    struct replay replay = { .grid = grid_create(), .load = sim_load_create() };
    struct err why = { 0 };
    int64_t first_ms = 0;
    int rc = -ENOMEM;

    if (replay.grid && replay.load)
        rc = journal_read(journal, 1, on_record, &replay, &why);
    if (rc < 0) {
        err_set(err, rc, "%s",
                replay.err.text[0] ? replay.err.text
                : why.text[0]      ? why.text
                                   : strerror(-rc));
    } else {
        drop_unknown(&replay);
        snprintf(replay.load->source, sizeof(replay.load->source), "journal, %" PRIu64 " records",
                 journal->last_seq);
        for (uint32_t i = 0; i < replay.load->jobs_count; i++)
            if (!i || replay.load->jobs[i].submit_ms < first_ms)
                first_ms = replay.load->jobs[i].submit_ms;
        rc = sim_load_finish(replay.load, true, err);
    }
    if (rc >= 0 && fleet_out)
        rc = copy_sites(&replay, first_ms, catalogue, fleet_out, err);
    if (rc >= 0)
        rc = copy_policy(&replay, arena, policy_out, err);
    if (rc >= 0)
        *load_out = TAKE(replay.load);
    grid_destroy(replay.grid);
    sim_load_destroy(replay.load);
    free(replay.pasts);
    return rc < 0 ? rc : 0;
}

int sim_replay_open(const char *state, const struct catalogue *catalogue, struct arena *arena,
                    struct sim_load **load_out, struct sim_fleet **fleet_out,
                    struct sim_policy *policy_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/journal.db", state);
    struct journal_open how = { .path = path, .read_only = true };
    struct journal *journal;
    int rc;

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    rc = journal_open_sqlite(&how, &journal, err);
    if (rc < 0)
        return rc;
    rc = sim_replay_read(journal, catalogue, arena, load_out, fleet_out, policy_out, err);
    journal_close(journal);
    return rc;
}
