#include "grid/snapshot.h"

#include "grid/assigns.h"
#include "grid/fields.h"
#include "grid/freight.h"
#include "grid/guards.h"
#include "grid/owners.h"
#include "grid/packing.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/rates.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One kind of interned thing: its place in the order of first mention, 0 = not yet mentioned. */
struct mentions {
    uint32_t *places;
    uint32_t count;
};

struct writer {
    const struct grid *grid;
    struct buf *out;
    struct mentions strings, specs, terms, shapes, tenants;
};

/* Nothing ("", no spec) is always place 1. */
static void mention_nothing(struct mentions *mentions)
{
    if (!mentions->places[0])
        mentions->places[0] = ++mentions->count;
}

/* True when it is new: its content must follow. */
static bool mention(struct writer *writer, struct mentions *mentions, uint32_t number)
{
    if (mentions->places[number]) {
        put_u64(writer->out, mentions->places[number]);
        return false;
    }
    put_u64(writer->out, 0);
    mentions->places[number] = ++mentions->count;
    return true;
}

static void put_string(struct writer *writer, uint32_t number)
{
    mention_nothing(&writer->strings);
    if (mention(writer, &writer->strings, number))
        put_text(writer->out, intern_data(&writer->grid->strings, number));
}

/* A table's struct with its length in front. */
static void put_struct(struct buf *out, const struct fields *fields, const void *base)
{
    struct buf bytes = buf_init(SNAPSHOT_BYTES_MAX);

    if (fields_encode(fields, base, &bytes, NULL) < 0)
        out->failed = true;
    put_bytes(out, bytes.data, bytes.len);
    buf_fini(&bytes);
}

static void put_site(struct buf *out, const struct fleet_site *site)
{
    put_struct(out, &fields_of_site, &site->info);
    put_u64(out, site->chips_count);
    for (uint32_t i = 0; i < site->chips_count; i++)
        put_struct(out, &fields_of_chips, &site->chips[i]);
    put_u64(out, site->reachable);
    put_u64(out, site->session);
    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const struct fleet_node *node = &site->nodes[i];

        put_u64(out, node->present | (unsigned)node->cordoned << 1);
        put_text(out, node->cordon_reason);
        for (uint32_t d = 0; d < node->devices_count; d++)
            put_u64(out, node->devices[d].cordoned);
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_tenants(const struct grid *grid, struct buf *out)
{
    const struct intern *names = &grid->tenant_names;
    const char **list = mem_alloc(names->entries_count + 1, sizeof(*list));
    uint32_t count = 0;

    for (uint32_t i = 1; i < names->entries_count; i++)
        if (names->entries[i].data && grid->tenants[i].has_limits)
            list[count++] = names->entries[i].data;
    qsort(list, count, sizeof(*list), compare_texts);
    put_u64(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct tenant *tenant =
            &grid->tenants[intern_find(names, list[i], (uint32_t)strlen(list[i]))];

        put_text(out, list[i]);
        put_i64(out, tenant->cpus_max);
        put_i64(out, tenant->devices_milli_max);
        put_i64(out, tenant->jobs_max);
    }
    free(list);
}

/* Runs of equal bytes: most jobs end as most others do. */
static void put_outcomes(const struct grid *grid, struct buf *out)
{
    uint64_t from = grid_outcomes_from(grid) / OUTCOME_PAGE_IDS, pages = 0;
    uint32_t first = from > grid->outcome_base ? (uint32_t)(from - grid->outcome_base) : 0;

    for (uint32_t i = first; i < grid->outcome_count; i++)
        pages += grid->outcome_pages[i] != NULL;
    put_u64(out, pages);
    for (uint32_t i = first; i < grid->outcome_count; i++) {
        const uint8_t *page = grid->outcome_pages[i];

        if (!page)
            continue;
        put_u64(out, grid->outcome_base + i);
        for (uint32_t at = 0, run; at < OUTCOME_PAGE_IDS / 4; at += run) {
            for (run = 1; at + run < OUTCOME_PAGE_IDS / 4 && page[at + run] == page[at];)
                run++;
            put_u64(out, run);
            put_u64(out, page[at]);
        }
    }
}

static void put_arrays(const struct grid *grid, struct buf *out)
{
    const struct array *array;
    uint64_t count = 0;

    for (array = grid_array_after(grid, 0); array; array = grid_array_after(grid, array->id))
        count++;
    put_u64(out, count);
    for (array = grid_array_after(grid, 0); array; array = grid_array_after(grid, array->id)) {
        put_u64(out, array->id);
        put_u64(out, array->count);
        put_u64(out, array->parallel_max);
        put_u64(out, array->done);
        put_u64(out, array->failed);
        put_u64(out, array->cancelled);
        put_u64(out, array->failure_told);
    }
}

static void put_terms(struct buf *out, const struct terms *terms)
{
    put_u64(out, terms->job_class);
    put_u64(out, terms->on_unreachable);
    put_u64(out, terms->objective.kind);
    put_u64(out, terms->objective.weight_time_milli);
    put_u64(out, terms->objective.weight_money_milli);
    put_u64(out, terms->objective.weight_carbon_milli);
    put_i64(out, terms->duration_ms_max);
    put_i64(out, terms->deadline_ms);
    put_i64(out, terms->begin_ms);
    put_u64(out, terms->retries_max);
    put_u64(out, terms->requeue_on_loss);
    put_u64(out, terms->retry_codes_count);
    for (uint32_t i = 0; i < terms->retry_codes_count; i++)
        put_u64(out, terms->retry_codes[i]);
    put_u64(out, terms->checkpoint);
    put_u64(out, terms->waits_never);
    put_i64(out, terms->rpo_ms);
    put_i64(out, terms->work_units_milli);
    freight_put_terms(terms, out);
    put_u64(out, terms->tasks_min);
    put_u64(out, terms->tasks_max);
    put_u64(out, terms->tasks_step);
    put_i64(out, terms->resize_hold_ms);
    put_u64(out, terms->spares);
}

static void put_grant(struct buf *out, const struct grant *grant)
{
    uint32_t devices = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++)
        devices += grant->parts[i].devices_count;
    put_u64(out, grant->site);
    put_i64(out, grant->granted_ms);
    put_i64(out, grant->end_ms);
    put_u64(out, grant->parts_count);
    put_u64(out, grant->spares_count);
    put_u64(out, grant->spares_wanted);
    if (grant->spares_wanted) {
        put_i64(out, grant->cpu_ms_more);
        put_i64(out, grant->device_milli_ms_more);
    }
    put_u64(out, grant->choice.how);
    if (grant->choice.how) {
        put_u64(out, grant->choice.places);
        put_u64(out, grant->choice.rank);
        put_u64(out, grant->choice.other_site);
        put_u64(out, grant->choice.other_chip);
    }
    put_u64(out, devices);
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];

        put_u64(out, part->node);
        put_u64(out, part->tasks);
        put_u64(out, part->cpus);
        put_i64(out, part->memory_bytes);
        put_i64(out, part->disk_bytes);
        put_u64(out, part->devices_count);
        for (uint32_t d = 0; d < part->devices_count; d++) {
            put_u64(out, part->devices[d].index);
            put_u64(out, part->devices[d].milli);
            put_u64(out, part->devices[d].gone_key);
        }
    }
}

static void put_promises(const struct grid *grid, struct buf *out)
{
    put_u64(out, grid->reservations);
    put_u64(out, grid->promises_count);
    for (uint32_t i = 0; i < grid->promises_count; i++) {
        const struct promise *promise = grid->promises[i];

        put_u64(out, promise->job_id);
        put_i64(out, promise->broken_ms);
        put_u64(out, promise->broken_by);
        put_u64(out, promise->is_own + 2U * promise->is_claim);
        put_u64(out, promise->plan != NULL);
        if (!promise->plan)
            continue;
        put_i64(out, promise->start_ms);
        put_i64(out, promise->end_ms);
        put_u64(out, promise->chip);
        put_grant(out, promise->plan);
    }
}

static void put_access(struct buf *out, const struct request_access *access)
{
    put_text(out, access->tenant);
    put_u64(out, access->job_class);
    put_i64(out, access->span_ms);
    put_u64(out, access->refused_count);
    for (uint32_t i = 0; i < access->refused_count; i++)
        put_u64(out, access->refused[i]);
    put_u64(out, access->guard);
}

static void put_shape(struct writer *writer, uint32_t number)
{
    struct request_shape *shape;

    if (!mention(writer, &writer->shapes, number))
        return;
    shape = mem_alloc(1, sizeof(*shape));
    shape_to_request(&writer->grid->shapes.list[number], shape);
    put_struct(writer->out, &fields_of_shape, shape);
    put_u64(writer->out, shape->work);
    put_access(writer->out, &shape->access);
    freight_put_shape(&shape->freight, writer->out);
    free(shape);
}

static void put_refs(struct writer *writer, const struct job *job)
{
    const struct grid *grid = writer->grid;

    put_shape(writer, job->shape);
    if (mention(writer, &writer->terms, job->terms))
        put_terms(writer->out, job_terms(grid, job));
    if (mention(writer, &writer->tenants, job->tenant))
        put_text(writer->out, intern_data(&grid->tenant_names, job->tenant));
    put_string(writer, job->user);
    put_string(writer, job->name);
    put_string(writer, job->reason);
    mention_nothing(&writer->specs);
    if (mention(writer, &writer->specs, job->spec))
        put_bytes(writer->out, intern_data(&grid->specs, job->spec),
                  intern_len(&grid->specs, job->spec));
}

static bool has_waited(const struct job *job)
{
    const struct job_wait *wait = job->wait;

    return wait &&
           (wait->until_ms || wait->saved_ms || wait->stopped_ms || wait->cut_site ||
            wait->cuts_count || wait->suspended_ms || wait->stood_ms || wait->stood_before_ms);
}

static void put_saved(struct buf *out, const struct job_past *past)
{
    const struct saved *saved = past->saved;

    put_u64(out, past->ended_epoch);
    put_u64(out, past->ended_site);
    put_u64(out, saved != NULL);
    if (!saved)
        return;
    put_u64(out, saved->epoch);
    put_i64(out, saved->bytes);
    put_i64(out, saved->saved_ms);
    put_text(out, saved->manifest);
}

static void put_across(struct buf *out, const struct across *across)
{
    put_u64(out, across->parts_count);
    put_u64(out, across->ended_count);
    for (uint32_t i = 0; i < across->parts_count; i++) {
        const struct across_part *part = &across->parts[i];

        put_u64(out, part->site);
        put_u64(out, part->tasks);
        put_u64(out, part->started | (part->grant ? 2u : 0u));
        put_struct(out, &fields_of_usage, &part->running);
        if (part->grant)
            put_grant(out, part->grant);
    }
    if (!across->ended_count)
        return;
    put_u64(out, across->end.told);
    put_u64(out, across->end.outcome);
    put_i64(out, across->end.exit_code);
    put_u64(out, across->end.site);
    put_text(out, across->end.reason);
}

static void put_past(struct buf *out, const struct job_past *past)
{
    put_struct(out, &fields_of_usage, &past->ended);
    put_struct(out, &fields_of_usage, &past->running);
    put_i64(out, past->checkpoint_ms);
    put_saved(out, past);
    rhythm_put_job(out, past);
    put_i64(out, past->queue_told_ms);
    put_u64(out, past->withdrawn_count);
}

static void put_job(struct writer *writer, const struct job *job, uint64_t last_id)
{
    struct buf *out = writer->out;

    put_u64(out, job->item.id - last_id);
    put_u64(out, (job->array ? JOB_HAS_ARRAY : 0) | (job->deps ? JOB_HAS_DEPS : 0) |
                     (job->past ? JOB_HAS_PAST : 0) | (job->grant ? JOB_HAS_GRANT : 0) |
                     (job->cancel_requested ? JOB_CANCEL_REQUESTED : 0) |
                     (job->yield_cause || job->yields_count ? JOB_HAS_YIELD : 0) |
                     (has_waited(job) ? JOB_HAS_WAIT : 0) |
                     (job->reserved_micro ? JOB_HAS_RESERVED : 0) |
                     (job->bound_site ? JOB_IS_BOUND : 0) | (job->across ? JOB_IS_ACROSS : 0) |
                     (job->width_wish || job->width_next ? JOB_HAS_WIDTH : 0));
    put_u64(out, job->state);
    put_i64(out, job->submitted_ms);
    put_i64(out, job->item.eligible_ms);
    put_i64(out, job->started_ms);
    put_u64(out, job->epoch);
    put_u64(out, job->attempts_failed);
    put_u64(out, job->attempts_lost);
    put_u64(out, job->outcome);
    put_i64(out, job->exit_code);
    put_refs(writer, job);
    if (job->bound_site) {
        put_shape(writer, job->shape_asked);
        put_u64(out, job->bound_site);
        put_u64(out, job->bound_away | (unsigned)job->moves << 1);
    }
    if (job->width_wish || job->width_next) {
        put_u64(out, job->width_wish);
        put_u64(out, job->width_next);
    }
    if (job->array)
        put_u64(out, job->array_index);
    if (job->deps) {
        put_u64(out, job->deps->count);
        for (uint32_t i = 0; i < job->deps->count; i++) {
            put_u64(out, job->deps->list[i].id);
            put_u64(out, job->deps->list[i].kind);
            put_u64(out, job->deps->list[i].met);
        }
    }
    if (job->past)
        put_past(out, job->past);
    if (job->across)
        put_across(out, job->across);
    else if (job->grant)
        put_grant(out, job->grant);
    if (job->yield_cause || job->yields_count) {
        put_u64(out, job->yield_cause);
        put_u64(out, job->yield_for);
        put_u64(out, job->yields_count);
    }
    if (has_waited(job)) {
        put_i64(out, job->wait->until_ms);
        put_i64(out, job->wait->saved_ms);
        put_i64(out, job->wait->stopped_ms);
        put_u64(out, job->wait->cut_site);
        put_u64(out, job->wait->cuts_count);
        put_i64(out, job->wait->suspended_ms);
        put_i64(out, job->wait->frozen_ms);
        put_i64(out, job->wait->lasts_ms);
        put_i64(out, job->wait->stood_ms);
        put_i64(out, job->wait->stood_before_ms);
    }
    if (job->reserved_micro)
        put_i64(out, job->reserved_micro);
}

static void put_keys(const struct grid *grid, struct buf *out)
{
    put_u64(out, grid->key_end - grid->key_first);
    for (uint32_t i = grid->key_first; i < grid->key_end; i++) {
        const struct key *key = &grid->keys[grid->key_order[i]];
        const char *text = intern_data(&grid->key_texts, grid->key_order[i]);

        put_text(out, text);
        put_text(out, text + strlen(text) + 1);
        put_u64(out, key->job_id);
        put_u64(out, key->jobs_count);
        put_i64(out, key->time_ms);
    }
}

/* In the order of the sites, which never leave. */
static void put_forgotten(const struct grid *grid, struct buf *out)
{
    put_u64(out, grid->forgotten.live_count);
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        if (grid_site_is_forgotten(grid, i))
            put_u64(out, i);
}

/* In the order of the keys. */
static void put_key_hashes(const struct grid *grid, struct buf *out)
{
    for (uint32_t i = grid->key_first; i < grid->key_end; i++)
        put_u64(out, grid->keys[grid->key_order[i]].body_hash);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Of each tenant what it is told to be, and what is remembered of it; by name. */
static void put_shares(const struct grid *grid, struct buf *out)
{
    const struct intern *names = &grid->tenant_names;
    const char **list = mem_alloc(names->entries_count + 1, sizeof(*list));
    uint32_t count = 0;

    put_u64(out, grid->order);
    put_u64(out, grid->preempts_not);
    put_u64(out, grid->preempt_for);
    put_i64(out, grid->preempt_next_ms);
    for (uint32_t i = 1; i < names->entries_count; i++)
        if (names->entries[i].data)
            list[count++] = names->entries[i].data;
    qsort(list, count, sizeof(*list), compare_texts);
    put_u64(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct tenant *tenant =
            &grid->tenants[intern_find(names, list[i], (uint32_t)strlen(list[i]))];
        struct share_memory memory = share_memory(grid->share, tenant->account);

        put_text(out, list[i]);
        put_u64(out, bits_of(memory.borrowed_mean));
        put_i64(out, memory.since_ms);
        if (!tenant->has_limits)
            continue;
        put_text(out, tenant->parent ? names->entries[tenant->parent].data : "");
        put_u64(out, tenant->weight_milli);
        put_i64(out, tenant->guarantee_cpus);
        put_i64(out, tenant->guarantee_devices_milli);
        put_i64(out, tenant->budget_micro);
        put_i64(out, tenant->spent_micro);
    }
    free(list);
}

/* Of each site its lease; then what was closed with one and not reported on yet. */
static void put_leases(const struct grid *grid, struct buf *out)
{
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++) {
        const struct fleet_lease *lease = &grid->fleet.sites[i].lease;

        put_i64(out, lease->ms);
        put_i64(out, lease->lost_ms);
        put_u64(out, lease->is_over);
    }
    put_u64(out, grid->darks_count);
    for (uint32_t i = 0; i < grid->darks_count; i++) {
        const struct dark *dark = &grid->darks[i];

        put_u64(out, dark->job_id);
        put_u64(out, dark->epoch);
        put_text(out, intern_data(&grid->tenant_names, dark->tenant));
        put_u64(out, dark->site);
        put_i64(out, dark->granted_ms);
        put_i64(out, dark->released_ms);
        put_i64(out, dark->cpu_ms_max);
        put_i64(out, dark->energy_mj_max);
        put_struct(out, &fields_of_usage, &dark->billed);
    }
}

static void put_head(const struct grid *grid, struct buf *out)
{
    const struct job *job = grid_job_after(grid, 0);
    const struct array *array = grid_array_after(grid, 0);
    uint64_t first_job = job ? job->item.id : UINT64_MAX;
    uint64_t first_array = array ? array->id : UINT64_MAX;
    const uint64_t numbers[] = {
        grid->next_id,
        job || array ? MIN(first_job, first_array) : grid->next_id, /* the first that is live */
        grid->wants_pass,
        grid->counts.submitted_total,
        grid->counts.done_total,
        grid->counts.failed_total,
        grid->counts.cancelled_total,
        grid->counts.attempts_total,
        grid->counts.passes_total,
        grid->cpu_ms_held,
        grid->device_milli_ms_held,
        grid->cpu_ms_billed,
        grid->device_milli_ms_billed,
    };

    put_text(out, SNAPSHOT_MAGIC);
    put_u64(out, SNAPSHOT_VERSION);
    put_i64(out, grid->now_ms);
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        put_u64(out, numbers[i]);
}

static struct mentions mentions_of(const struct intern *intern)
{
    return (struct mentions){ .places = mem_alloc(intern->entries_count + 1, sizeof(uint32_t)) };
}

int grid_snapshot(const struct grid *grid, struct buf *out)
{
    struct writer writer = { .grid = grid,
                             .out = out,
                             .strings = mentions_of(&grid->strings),
                             .specs = mentions_of(&grid->specs),
                             .terms = mentions_of(&grid->terms),
                             .shapes = mentions_of(&grid->shapes.bytes),
                             .tenants = mentions_of(&grid->tenant_names) };
    uint64_t last_id = 0;

    put_head(grid, out);
    put_u64(out, grid->fleet.sites_count);
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        put_site(out, &grid->fleet.sites[i]);
    put_tenants(grid, out);
    put_outcomes(grid, out);
    put_arrays(grid, out);
    rates_put(grid, out);
    put_u64(out, grid->counts.held + grid->counts.queued + grid->counts.starting +
                     grid->counts.running + grid->counts.stopping);
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id)) {
        put_job(&writer, job, last_id);
        last_id = job->item.id;
    }
    put_leases(grid, out);
    put_keys(grid, out);
    put_key_hashes(grid, out);
    put_shares(grid, out);
    put_forgotten(grid, out);
    power_put(grid, out);
    packing_put(grid, out);
    owners_put(grid, out);
    guards_put(grid, out);
    put_promises(grid, out);
    rhythm_put(grid, out);
    ranks_put(grid, out);
    freight_put(grid, out);
    put_i64(out, grid->elastic_next_ms);
    put_u64(out, grid->defrags);
    put_i64(out, grid->defrag_next_ms);
    put_u64(out, grid->by_value);
    assigns_put(grid, out);
    free(writer.strings.places);
    free(writer.specs.places);
    free(writer.terms.places);
    free(writer.shapes.places);
    free(writer.tenants.places);
    return out->failed ? -ENOSPC : 0;
}
