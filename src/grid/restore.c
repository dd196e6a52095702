/* A snapshot read back. It may be damaged or made up: every number is checked before it is used,
 * and what was read must hold the grid's invariants. */
#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/guards.h"
#include "grid/owners.h"
#include "grid/packing.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/rates.h"
#include "grid/reader.h"
#include "grid/snapshot.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- parts ------------------------------------------------------------------------------------ */

static void read_head(struct reader *reader)
{
    struct grid *grid = reader->grid;

    if (strcmp(take_text(reader, 32), SNAPSHOT_MAGIC) != 0)
        reader->failed = true;
    reader->version = take(reader, SNAPSHOT_VERSION);
    if (reader->version == 0)
        reader->failed = true;
    grid->now_ms = grid->fleet.now_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    grid->next_id = take(reader, UINT64_MAX / 2);
    reader->first_id = take(reader, grid->next_id);
    grid->wants_pass = take(reader, 1);
    grid->counts.submitted_total = take(reader, UINT64_MAX);
    grid->counts.done_total = take(reader, UINT64_MAX);
    grid->counts.failed_total = take(reader, UINT64_MAX);
    grid->counts.cancelled_total = take(reader, UINT64_MAX);
    grid->counts.attempts_total = take(reader, UINT64_MAX);
    grid->counts.passes_total = take(reader, UINT64_MAX);
    grid->cpu_ms_held = take(reader, UINT64_MAX);
    grid->device_milli_ms_held = take(reader, UINT64_MAX);
    grid->cpu_ms_billed = take(reader, UINT64_MAX);
    grid->device_milli_ms_billed = take(reader, UINT64_MAX);
    if (!grid->next_id || !reader->first_id)
        reader->failed = true;
    if (!reader->failed)
        grid_begin_ids(grid, reader->first_id);
}

static void read_nodes(struct reader *reader, struct fleet_site *site)
{
    for (uint32_t i = 0; i < site->info.nodes_count && !reader->failed; i++) {
        struct fleet_node *node = &site->nodes[i];
        uint64_t flags = take(reader, 3);
        const char *reason = take_text(reader, EVENT_TEXT_BYTES_MAX);

        node->present = flags & 1;
        node->cordoned = flags >> 1;
        if (*reason)
            node->cordon_reason = mem_copy(reason, strlen(reason));
        for (uint32_t d = 0; d < node->devices_count; d++)
            node->devices[d].cordoned = take(reader, 1);
    }
}

static void read_site(struct reader *reader)
{
    struct fleet *fleet = &reader->grid->fleet;
    struct site_info info = { 0 };
    struct chip_figures *chips;
    uint64_t chips_count;
    uint32_t index;

    reader->arena = arena_init((size_t)1 << 30);
    take_struct(reader, &fields_of_site, &info);
    chips_count = take(reader, FLEET_MIXED - 1);
    if (chips_count > (uint64_t)(reader->in.end - reader->in.at))
        reader->failed = true;
    chips = mem_alloc(reader->failed ? 0 : chips_count, sizeof(*chips));
    for (uint64_t i = 0; i < chips_count && !reader->failed; i++)
        take_struct(reader, &fields_of_chips, &chips[i]);
    if (!reader->failed && (fleet_check_site(fleet, &info, GRID_SITES_MAX, NULL) < 0 ||
                            fleet_find_site(fleet, info.name) >= 0))
        reader->failed = true;
    if (!reader->failed) {
        index = fleet_set_site(fleet, &info, chips, (uint32_t)chips_count);
        if (fleet->sites[index].chips_count != chips_count)
            reader->failed = true; /* a kind that nobody told, or told twice */
        fleet->sites[index].reachable = take(reader, 1);
        fleet->sites[index].session = take(reader, UINT64_MAX);
        read_nodes(reader, &fleet->sites[index]);
        fleet_index_site(fleet, index);
    }
    free(chips);
    arena_fini(&reader->arena);
}

static void read_tenants(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count = take(reader, TENANTS_MAX);

    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        const char *name = take_text(reader, MODEL_NAME_BYTES - 1);
        struct tenant *tenant;
        uint32_t number;

        if (!*name || intern_find(&grid->tenant_names, name, (uint32_t)strlen(name))) {
            reader->failed = true;
            return;
        }
        number = grid_tenant(grid, name);
        tenant = &grid->tenants[number];
        tenant->has_limits = true;
        tenant->cpus_max = take_signed(reader, -1, INT64_MAX);
        tenant->devices_milli_max = take_signed(reader, -1, INT64_MAX);
        tenant->jobs_max = take_signed(reader, -1, INT64_MAX);
    }
}

static void read_outcomes(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t pages = take(reader, GRID_OUTCOMES_KEPT / OUTCOME_PAGE_IDS + 1), next = 0;

    for (uint64_t i = 0; i < pages && !reader->failed; i++) {
        uint64_t page = take(reader, grid->next_id / OUTCOME_PAGE_IDS);
        uint32_t at = 0;

        if (page < next || page * OUTCOME_PAGE_IDS < grid_outcomes_from(grid))
            reader->failed = true;
        next = page + 1;
        if (!reader->failed)
            grid_set_outcome(grid, page * OUTCOME_PAGE_IDS, 0); /* makes the page */
        while (at < OUTCOME_PAGE_IDS / 4 && !reader->failed) {
            uint64_t run = take(reader, OUTCOME_PAGE_IDS / 4 - at), value = take(reader, 255);

            if (!run)
                reader->failed = true;
            if (!reader->failed)
                memset(grid->outcome_pages[page - grid->outcome_base] + at, (int)value, run);
            at += (uint32_t)run;
        }
    }
}

/* New, not ended, and not so far from the rest that the table in between would be huge. */
static bool id_is_sound(const struct reader *reader, uint64_t id)
{
    const struct grid *grid = reader->grid;

    return id >= reader->first_id && id - reader->first_id <= UINT32_MAX && id < grid->next_id &&
           !grid_array(grid, id) && !grid_job(grid, id) && !grid_outcome(grid, id);
}

static void read_arrays(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count = take(reader, GRID_JOBS_MAX), last = 0;

    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        uint64_t id = take(reader, grid->next_id - 1);
        struct array *array;

        if (id <= last || !id_is_sound(reader, id)) {
            reader->failed = true;
            return;
        }
        last = id;
        array = grid_add_array(grid, id);
        array->count = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        array->parallel_max = (uint32_t)take(reader, UINT32_MAX);
        array->done = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        array->failed = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        array->cancelled = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        array->failure_told = take(reader, 1);
        if (id + array->count >= grid->next_id)
            reader->failed = true;
    }
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void read_access(struct reader *reader, struct request_access *access)
{
    const char *tenant = take_text(reader, MODEL_NAME_BYTES - 1);

    memcpy(access->tenant, tenant, strlen(tenant));
    access->job_class = (uint32_t)take(reader, CLASS_COUNT - 1);
    access->span_ms = take_signed(reader, -1, DURATION_MS_MAX);
    access->refused_count = (uint32_t)take(reader, REQUEST_REFUSED_MAX);
    for (uint32_t i = 0; i < access->refused_count; i++)
        access->refused[i] = (uint32_t)take(reader, GRID_SITES_MAX - 1);
    if (reader->version >= 25)
        access->guard = (uint32_t)take(reader, 2 * GUARDS_MAX - 1);
}

static uint32_t read_shape(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint32_t number = take_place(reader, &reader->shapes);
    struct job_request *request;

    if (number || reader->failed) {
        shapes_ref(&grid->shapes, number);
        return number;
    }
    request = &grid->request_out;
    memset(request, 0, sizeof(*request));
    take_struct(reader, &fields_of_shape, &request->shape);
    if (reader->version >= 4)
        request->shape.work = (uint32_t)take(reader, grid->work.names.live_count);
    if (reader->version >= 13)
        read_access(reader, &request->shape.access);
    if (reader->version >= 17 && !reader->failed &&
        freight_take_shape(&reader->in, &request->shape.freight) < 0)
        reader->failed = true;
    if (!reader->failed && request_check(request, NULL) < 0)
        reader->failed = true;
    return reader->failed ? 0
                          : keep_place(&reader->shapes, shapes_get(&grid->shapes, &request->shape));
}

static void read_elastic(struct reader *reader, struct job_request *request)
{
    uint32_t tasks_min = (uint32_t)take(reader, REQUEST_TASKS_MAX);

    if (tasks_min)
        request->shape.tasks = tasks_min;
    request->tasks_max = (uint32_t)take(reader, REQUEST_TASKS_MAX);
    request->tasks_step = (uint32_t)take(reader, UINT32_MAX);
    request->resize_hold_ms = take_signed(reader, 0, DURATION_MS_MAX);
    request->spares = (uint32_t)take(reader, UINT32_MAX);
    if ((tasks_min != 0) != (request->tasks_max != 0))
        reader->failed = true;
}

static uint32_t read_terms(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint32_t number = take_place(reader, &reader->terms);
    struct job_request *request = &grid->request_out;
    int64_t out_bytes = 0;
    struct terms terms;

    if (number || reader->failed) {
        intern_ref(&grid->terms, number);
        return number;
    }
    memset(request, 0, sizeof(*request));
    request->shape.tasks = request->shape.cpus = 1;
    request->job_class = (uint32_t)take(reader, UINT32_MAX);
    request->on_unreachable = (uint32_t)take(reader, UINT32_MAX);
    request->objective = (uint32_t)take(reader, UINT32_MAX);
    request->weight_time_milli = (uint32_t)take(reader, UINT32_MAX);
    request->weight_money_milli = (uint32_t)take(reader, UINT32_MAX);
    request->weight_carbon_milli = (uint32_t)take(reader, UINT32_MAX);
    request->duration_ms_max = take_signed(reader, 0, INT64_MAX);
    request->deadline_ms = take_signed(reader, 0, INT64_MAX);
    request->begin_ms = take_signed(reader, 0, INT64_MAX);
    request->retries_max = (uint32_t)take(reader, UINT32_MAX);
    request->requeue_on_loss = (uint32_t)take(reader, UINT32_MAX);
    request->retry_codes_count = (uint32_t)take(reader, REQUEST_RETRY_CODES_MAX);
    for (uint32_t i = 0; i < request->retry_codes_count; i++)
        request->retry_codes[i] = (uint8_t)take(reader, UINT8_MAX);
    if (reader->version >= 5) {
        request->checkpoint = (uint32_t)take(reader, UINT16_MAX);
        request->waits_never = (uint32_t)take(reader, UINT16_MAX);
    }
    if (reader->version >= 12)
        request->rpo_ms = take_signed(reader, 0, DURATION_MS_MAX);
    if (reader->version >= 4) {
        request->work.units_milli = take_signed(reader, 0, INT64_MAX);
        request->work.class[0] = 'x'; /* its name is the shape's */
    }
    if (reader->version >= 17 && !reader->failed &&
        freight_take_terms(&reader->in, request, &out_bytes) < 0)
        reader->failed = true;
    if (reader->version >= 19)
        read_elastic(reader, request);
    if (reader->failed || request_check(request, NULL) < 0) {
        reader->failed = true;
        return 0;
    }
    terms_of_request(request, &terms);
    terms.out_bytes = out_bytes;
    return keep_place(&reader->terms, intern_get(&grid->terms, &terms, sizeof(terms), NULL));
}

static uint32_t read_string(struct reader *reader, size_t max)
{
    struct grid *grid = reader->grid;
    uint64_t place;
    uint32_t number;

    if (!reader->strings.count)
        keep_place(&reader->strings, 0); /* "" is always place 1 */
    place = take(reader, reader->strings.count);
    if (place) {
        number = reader->strings.numbers[place - 1];
        if (intern_len(&grid->strings, number) > max)
            reader->failed = true;
        intern_ref(&grid->strings, number);
        return number;
    }
    number = intern_text(&grid->strings, take_text(reader, max));
    if (!number)
        reader->failed = true;
    return reader->failed ? number : keep_place(&reader->strings, number);
}

static uint32_t read_spec(struct reader *reader)
{
    struct grid *grid = reader->grid;
    const char *spec;
    uint64_t place;

    if (!reader->specs.count)
        keep_place(&reader->specs, 0); /* none is always place 1 */
    place = take(reader, reader->specs.count);
    if (place || reader->failed) {
        uint32_t number = place ? reader->specs.numbers[place - 1] : 0;

        intern_ref(&grid->specs, number);
        return number;
    }
    spec = take_text(reader, EVENT_BYTES_MAX);
    if (!*spec)
        reader->failed = true;
    return reader->failed ? 0
                          : keep_place(&reader->specs, intern_get(&grid->specs, spec,
                                                                  (uint32_t)strlen(spec), NULL));
}

static void read_refs(struct reader *reader, struct job *job)
{
    struct grid *grid = reader->grid;

    job->shape = read_shape(reader);
    job->terms = read_terms(reader);
    job->tenant = take_place(reader, &reader->tenants);
    if (job->tenant) {
        intern_ref(&grid->tenant_names, job->tenant);
    } else if (!reader->failed) {
        const char *name = take_text(reader, MODEL_NAME_BYTES - 1);

        if (!*name)
            reader->failed = true;
        else
            job->tenant = keep_place(&reader->tenants, grid_tenant(grid, name));
    }
    job->user = read_string(reader, MODEL_NAME_BYTES - 1);
    job->name = read_string(reader, MODEL_NAME_BYTES - 1);
    job->reason = read_string(reader, REASON_BYTES - 1);
    job->spec = read_spec(reader);
}

static void read_deps(struct reader *reader, struct job *job)
{
    uint64_t count = take(reader, REQUEST_DEPS_MAX);

    if (!count || reader->failed) {
        reader->failed = true;
        return;
    }
    job->deps = mem_alloc(1, sizeof(*job->deps) + count * sizeof(job->deps->list[0]));
    job->deps->count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        struct job_dep *dep = &job->deps->list[i];

        dep->id = take(reader, job->item.id - 1);
        dep->kind = (uint32_t)take(reader, DEP_FAILED);
        dep->met = (uint32_t)take(reader, 1);
        if (reader->failed || !dep->id ||
            (!dep->met && (job->state != JOB_HELD ||
                           dep_status(reader->grid, dep->id, dep->kind) != DEP_WAITING))) {
            reader->failed = true;
            dep->met = 1; /* it waits for nothing, so that it can be freed */
        }
    }
    deps_wait(reader->grid, job);
}

/* The counters that follow from a job. */
static void count_job(struct grid *grid, struct job *job)
{
    struct tenant *tenant = job_tenant(grid, job);

    tenant->jobs_live++;
    if (job->array)
        job->array->live++;
    for (struct grant *grant = job_next_grant(job, NULL); grant;
         grant = job_next_grant(job, grant)) {
        fleet_hold(&grid->fleet, grant);
        tenant->cpus_held += grant->cpus;
        tenant->devices_milli_held += grant->devices_milli;
        grid->cpus_held += grant->cpus;
        grid->devices_milli_held += grant->devices_milli;
    }
    if (job->grant && job->array)
        job->array->active++;
}

static void place_job(struct reader *reader, struct job *job)
{
    struct grid *grid = reader->grid;
    uint64_t *counts[] = { &grid->counts.held, &grid->counts.queued, &grid->counts.starting,
                           &grid->counts.running, &grid->counts.stopping };

    if ((job->grant != NULL) != (job->state >= JOB_STARTING)) {
        reader->failed = true;
        return;
    }
    (*counts[job->state])++;
    waits_restored(grid, job);
    if (job->state == JOB_HELD && !(job->deps && job->deps->waiting) && !waits_is_held(job))
        timers_add(grid, job_terms(grid, job)->begin_ms, job->item.id);
    if (job->state != JOB_QUEUED)
        return;
    job_line_up(grid, job);
}

/* What its invariants ask (across.c) is asked of all of the state after the restore. */
static void read_across(struct reader *reader, struct job *job)
{
    struct across *across = job->across = mem_alloc(1, sizeof(*across));
    uint32_t tasks = 0, ended = 0, count = (uint32_t)take(reader, ACROSS_SITES_MAX);
    const char *reason;

    across->ended_count = (uint32_t)take(reader, ACROSS_SITES_MAX);
    if (count < 2 || count > job->epoch)
        reader->failed = true;
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        struct across_part *part = &across->parts[i];
        uint64_t how;

        part->site = (uint32_t)take(reader, reader->grid->fleet.sites_count);
        part->tasks = (uint32_t)take(reader, REQUEST_TASKS_MAX);
        part->first_rank = tasks;
        tasks += part->tasks;
        how = take(reader, 3);
        part->started = how & 1;
        take_struct(reader, &fields_of_usage, &part->running);
        ended += !(how & 2);
        if (!(how & 2) || reader->failed)
            continue;
        part->grant = reader_take_grant(reader, job, false);
        across->parts_count = i + 1; /* what there is to free */
        if (part->grant)
            part->grant->epoch = job->epoch - i;
    }
    across->parts_count = reader->failed ? across->parts_count : count;
    if (ended != across->ended_count || ended == count)
        reader->failed = true;
    job->grant = job_next_grant(job, NULL);
    if (!across->ended_count || reader->failed)
        return;
    across->end.told = (uint32_t)take(reader, OUTCOME_LAST);
    across->end.outcome = (uint32_t)take(reader, OUTCOME_LAST);
    across->end.exit_code = (int32_t)take_signed(reader, INT32_MIN, INT32_MAX);
    across->end.site = (uint32_t)take(reader, reader->grid->fleet.sites_count);
    reason = take_text(reader, REASON_BYTES - 1);
    snprintf(across->end.reason, sizeof(across->end.reason), "%s", reason);
}

static void read_yield(struct reader *reader, struct job *job)
{
    job->yield_cause = (uint8_t)take(reader, YIELD_LAST);
    job->yield_for = take(reader, reader->grid->next_id);
    job->yields_count = (uint16_t)take(reader, UINT16_MAX);
    if ((job->yield_cause != YIELD_NONE && job->state != JOB_STOPPING) ||
        (job->yield_cause == YIELD_NONE && (job->yield_for || !job->yields_count)))
        reader->failed = true;
    if (!reader->failed)
        yield_restore(reader->grid, job);
}

static void read_saved(struct reader *reader, const struct job *job)
{
    struct job_past *past = job->past;
    struct saved *saved;
    const char *manifest;

    past->ended_epoch = (uint32_t)take(reader, job->epoch);
    past->ended_site = (uint32_t)take(reader, reader->grid->fleet.sites_count);
    if (!take(reader, 1))
        return;
    saved = past->saved = mem_alloc(1, sizeof(*saved));
    saved->epoch = (uint32_t)take(reader, job->epoch);
    saved->bytes = take_signed(reader, 0, INT64_MAX);
    saved->saved_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX);
    manifest = take_text(reader, CHECKPOINT_NAME_CHARS);
    if (!saved_name_is_valid(manifest))
        reader->failed = true;
    else
        memcpy(saved->manifest, manifest, CHECKPOINT_NAME_CHARS + 1);
}

static void read_past(struct reader *reader, struct job *job)
{
    job->past = mem_alloc(1, sizeof(*job->past));
    take_struct(reader, &fields_of_usage, &job->past->ended);
    take_struct(reader, &fields_of_usage, &job->past->running);
    job->past->checkpoint_ms = take_signed(reader, 0, INT64_MAX);
    if (reader->version >= 11)
        read_saved(reader, job);
    if (reader->version >= 12) {
        job->past->checkpoint_every_ms = take_signed(reader, 0, DURATION_MS_MAX);
        job->past->saves.stall.sum_ms = take_signed(reader, 0, INT64_MAX);
        job->past->saves.stall.count = (uint32_t)take(reader, SPARES_SAMPLES_MAX);
    }
    if (reader->version >= 17) {
        job->past->queue_told_ms = take_signed(reader, 0, FREIGHT_WAIT_MS_MAX);
        job->past->withdrawn_count = (uint32_t)take(reader, UINT32_MAX);
    }
}

static void read_job(struct reader *reader, uint64_t *last_id)
{
    struct grid *grid = reader->grid;
    uint64_t id = *last_id + take(reader, grid->next_id);
    uint64_t flags = take(reader, reader->version >= 19   ? 2047
                                  : reader->version >= 16 ? 1023
                                  : reader->version >= 15 ? 511
                                  : reader->version >= 6  ? 255
                                  : reader->version >= 5  ? 127
                                  : reader->version >= 3  ? 63
                                                          : 31);
    struct job *job;

    if (reader->failed || id <= *last_id || !id_is_sound(reader, id)) {
        reader->failed = true;
        return;
    }
    *last_id = id;
    job = grid_add_job(grid, id);
    job->state = (uint8_t)take(reader, JOB_STOPPING);
    job->cancel_requested = flags & JOB_CANCEL_REQUESTED;
    job->submitted_ms = take_past_time(reader);
    job->item.eligible_ms = take_past_time(reader);
    job->started_ms = take_past_time(reader);
    job->epoch = (uint32_t)take(reader, UINT32_MAX);
    job->attempts_failed = (uint16_t)take(reader, UINT16_MAX);
    job->attempts_lost = (uint16_t)take(reader, UINT16_MAX);
    job->outcome = (uint8_t)take(reader, OUTCOME_LAST);
    job->exit_code = (int32_t)take_signed(reader, INT32_MIN, INT32_MAX);
    read_refs(reader, job);
    if (!reader->failed && (flags & JOB_IS_BOUND)) {
        uint64_t how;

        job->shape_asked = read_shape(reader);
        job->bound_site = (uint32_t)take(reader, grid->fleet.sites_count);
        how = take(reader, 3);
        job->bound_away = how & 1;
        job->moves = how >> 1;
        if (!job->bound_site || (job->moves && job->state != JOB_STOPPING))
            reader->failed = true;
    }
    if (flags & JOB_HAS_WIDTH) {
        job->width_wish = (uint32_t)take(reader, REQUEST_TASKS_MAX);
        job->width_next = (uint32_t)take(reader, REQUEST_TASKS_MAX);
        if (!job->width_wish && !job->width_next)
            reader->failed = true;
    }
    if (flags & JOB_HAS_ARRAY) {
        job->array_index = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        job->array =
            id > job->array_index + 1ull ? grid_array(grid, id - 1 - job->array_index) : NULL;
        if (!job->array || job->array_index >= job->array->count)
            reader->failed = true;
    }
    if (!reader->failed && (flags & JOB_HAS_DEPS))
        read_deps(reader, job);
    if (!reader->failed && (flags & JOB_HAS_PAST))
        read_past(reader, job);
    if (!reader->failed && (flags & JOB_IS_ACROSS))
        read_across(reader, job);
    else if (!reader->failed && (flags & JOB_HAS_GRANT))
        job->grant = reader_take_grant(reader, job, false);
    if (!reader->failed && (flags & JOB_HAS_YIELD))
        read_yield(reader, job);
    if (!reader->failed && (flags & JOB_HAS_WAIT))
        power_take_wait(reader, job);
    if (!reader->failed && (flags & JOB_HAS_RESERVED))
        job->reserved_micro = take_signed(reader, 1, INT64_MAX / 4);
    if (reader->failed)
        return;
    count_job(grid, job);
    place_job(reader, job);
}

/* Before the tenants' shares: a tenant may be known for what it used in the dark alone. */
static void read_leases(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++) {
        struct fleet_lease *lease = &grid->fleet.sites[i].lease;

        lease->ms = take_signed(reader, 0, GRID_LEASE_MS_MAX);
        lease->lost_ms = take_past_time(reader);
        lease->is_over = take(reader, 1);
    }
    count = take(reader, DARKS_MAX);
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        struct dark dark = { .job_id = take(reader, grid->next_id - 1),
                             .epoch = (uint32_t)take(reader, UINT32_MAX) };
        const char *tenant = take_text(reader, MODEL_NAME_BYTES - 1);

        dark.site = (uint32_t)take(reader, GRID_SITES_MAX);
        dark.granted_ms = take_past_time(reader);
        dark.released_ms = take_past_time(reader);
        dark.cpu_ms_max = take_signed(reader, 0, INT64_MAX);
        dark.energy_mj_max = take_signed(reader, 0, INT64_MAX);
        take_struct(reader, &fields_of_usage, &dark.billed);
        if (!*tenant)
            reader->failed = true;
        if (reader->failed)
            return;
        dark.tenant = grid_tenant(grid, tenant);
        MEM_GROW(grid->darks, grid->darks_cap, grid->darks_count + 1);
        grid->darks[grid->darks_count++] = dark;
    }
}

static void read_keys(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count = take(reader, UINT32_MAX);
    char text[KEY_BYTES];
    int64_t last_ms = 0;

    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        const char *tenant = take_text(reader, MODEL_NAME_BYTES - 1);
        const char *name = take_text(reader, EVENT_TEXT_BYTES_MAX);
        uint32_t len = keys_text(tenant, name, text);
        struct key key = { 0 };

        key.job_id = take(reader, grid->next_id - 1);
        key.jobs_count = (uint32_t)take(reader, GRID_ELEMENTS_MAX);
        key.time_ms = take_signed(reader, last_ms, grid->now_ms);
        last_ms = key.time_ms;
        if (reader->failed || intern_find(&grid->key_texts, text, len)) {
            reader->failed = true;
            return;
        }
        keys_add(grid, text, len, key);
    }
}

static void read_key_hashes(struct reader *reader)
{
    struct grid *grid = reader->grid;

    for (uint32_t i = grid->key_first; i < grid->key_end && !reader->failed; i++)
        grid->keys[grid->key_order[i]].body_hash = take(reader, UINT64_MAX);
}

static void read_forgotten(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count = take(reader, grid->fleet.sites_count), next = 0;

    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        uint64_t index = take(reader, grid->fleet.sites_count - 1u);

        if (reader->failed || index < next) {
            reader->failed = true;
            return;
        }
        next = index + 1;
        intern_text(&grid->forgotten, grid->fleet.sites[index].info.name);
    }
}

static void read_rhythm(struct reader *reader)
{
    for (uint32_t i = 0; i < reader->grid->fleet.sites_count && !reader->failed; i++) {
        uint64_t failures = take(reader, UINT32_MAX);
        int64_t node_ms = take_signed(reader, 0, INT64_MAX);

        rhythm_restore(reader->grid, i, failures, node_ms);
    }
}

static void read_promises(struct reader *reader)
{
    struct grid *grid = reader->grid;
    uint64_t count;

    grid_set_reservations(grid, (uint32_t)take(reader, GRID_RESERVATIONS_MAX));
    count = take(reader, PROMISES_MAX + PROMISES_OWN_MAX);
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        struct job *job = grid_job(grid, take(reader, grid->next_id));
        struct promise promise = { .start_ms = INT64_MAX, .end_ms = INT64_MAX };
        uint64_t own;

        if (reader->failed || !job || job->state != JOB_QUEUED || job->is_promised) {
            reader->failed = true;
            return;
        }
        promise.broken_ms = take_signed(reader, 0, INT64_MAX);
        promise.broken_by = (uint32_t)take(reader, PROMISE_OVERDUE);
        own = reader->version >= 25 ? take(reader, 3) : 0;
        promise.is_own = own & 1;
        promise.is_claim = own & 2;
        if (take(reader, 1)) {
            promise.start_ms = take_signed(reader, 0, INT64_MAX - 1);
            promise.end_ms = take_signed(reader, promise.start_ms, INT64_MAX);
            promise.chip = (uint16_t)take(reader, FLEET_NO_CHIP);
            promise.plan = reader_take_grant(reader, job, true);
        }
        if (!reader->failed)
            promises_restore(grid, job, &promise);
    }
}

static bool read_tenant_share(struct reader *reader, struct tenant *tenant)
{
    struct grid *grid = reader->grid;
    const char *parent = take_text(reader, MODEL_NAME_BYTES - 1);

    tenant->parent =
        *parent ? intern_find(&grid->tenant_names, parent, (uint32_t)strlen(parent)) : 0;
    tenant->weight_milli = (uint32_t)take(reader, GRID_WEIGHT_MILLI_MAX);
    tenant->guarantee_cpus = take_signed(reader, 0, GRID_GUARANTEE_MAX);
    tenant->guarantee_devices_milli = take_signed(reader, 0, GRID_GUARANTEE_MAX);
    tenant->budget_micro = take_signed(reader, -1, INT64_MAX);
    tenant->spent_micro = take_signed(reader, 0, INT64_MAX);
    return tenant->weight_milli && (!*parent || tenant->parent) &&
           (!tenant->parent || grid->tenants[tenant->parent].has_limits);
}

static bool tree_is_sound(const struct grid *grid)
{
    for (uint32_t i = 1; i < grid->tenant_names.entries_count; i++) {
        uint32_t depth = 0;

        for (uint32_t at = grid->tenant_names.entries[i].data ? i : 0; at;
             at = grid->tenants[at].parent)
            if (++depth > SHARE_DEPTH_MAX)
                return false;
    }
    return true;
}

static void read_shares(struct reader *reader)
{
    struct grid *grid = reader->grid;
    const char *last = "";
    uint64_t count;

    grid->order = (uint32_t)take(reader, ORDER_LAST);
    grid->preempts_not = take(reader, 1);
    if (reader->version >= 8)
        grid->preempt_for = take(reader, grid->next_id);
    grid->preempt_next_ms = take_signed(reader, 0, INT64_MAX);
    count = take(reader, TENANTS_MAX + 1);
    if (count != grid->tenant_names.live_count)
        reader->failed = true;
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        const char *name = take_text(reader, MODEL_NAME_BYTES - 1);
        uint32_t number = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name));
        struct share_memory memory;
        uint64_t bits = take(reader, UINT64_MAX);

        memory.since_ms = take_past_time(reader);
        memcpy(&memory.borrowed_mean, &bits, sizeof(bits));
        if (reader->failed || !number || strcmp(name, last) <= 0 ||
            !(memory.borrowed_mean >= 0 && memory.borrowed_mean < 1e18)) {
            reader->failed = true;
            return;
        }
        last = name;
        share_set_memory(grid->share, grid->tenants[number].account, memory);
        if (grid->tenants[number].has_limits && !read_tenant_share(reader, &grid->tenants[number]))
            reader->failed = true;
    }
    if (!tree_is_sound(grid))
        reader->failed = true;
}

static void read_all(struct reader *reader)
{
    uint64_t count, last_id = 0;

    read_head(reader);
    count = take(reader, GRID_SITES_MAX);
    for (uint64_t i = 0; i < count && !reader->failed; i++)
        read_site(reader);
    read_tenants(reader);
    read_outcomes(reader);
    read_arrays(reader);
    if (!reader->failed && reader->version >= 4 && rates_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    reader->arena = arena_init(1 << 20);
    count = take(reader, GRID_JOBS_MAX);
    for (uint64_t i = 0; i < count && !reader->failed; i++)
        read_job(reader, &last_id);
    if (!reader->failed && reader->version >= 15)
        read_leases(reader);
    if (!reader->failed)
        read_keys(reader);
    if (!reader->failed && reader->version >= 2) {
        read_key_hashes(reader);
        if (!reader->failed && reader->version >= 6)
            read_shares(reader);
        read_forgotten(reader);
    }
    if (!reader->failed && reader->version >= 5 &&
        power_take(reader->grid, reader->version, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version >= 7 && packing_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version >= 13 && owners_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version >= 25 && guards_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version == 9)
        take(reader, reader->grid->next_id); /* the one that had a promise: it has another */
    if (!reader->failed && reader->version >= 10)
        read_promises(reader);
    if (!reader->failed && reader->version >= 12)
        read_rhythm(reader);
    if (!reader->failed && reader->version >= 14 &&
        ranks_take(reader->grid, &reader->in, reader->version) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version >= 17 && freight_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed && reader->version >= 19)
        reader->grid->elastic_next_ms = take_signed(reader, 0, INT64_MAX);
    if (!reader->failed && reader->version >= 20) {
        reader->grid->defrags = take(reader, 1);
        reader->grid->defrag_next_ms = take_signed(reader, 0, EVENT_TIME_MS_MAX * 2);
    }
    if (!reader->failed && reader->version >= 22)
        reader->grid->by_value = take(reader, 1);
    if (!reader->failed && reader->grid->order == ORDER_DEADLINE)
        jobs_line_up_anew(reader->grid); /* they came before the policy did */
    if (!reader->failed && reader->version >= 27 && assigns_take(reader->grid, &reader->in) < 0)
        reader->failed = true;
    if (!reader->failed)
        shares_rebuild(reader->grid, true);
    if (reader->in.at != reader->in.end)
        reader->failed = true;
    arena_fini(&reader->arena);
}

int grid_restore(const void *data, size_t len, struct grid **grid_out, struct err *err)
{
    struct reader reader = { .grid = grid_create(), .in = { data, (const uint8_t *)data + len } };
    int rc = 0;

    if (!reader.grid)
        return err_set(err, -ENOMEM, "snapshot: out of memory");
    read_all(&reader);
    if (reader.failed)
        rc = err_set(err, -EBADMSG, "snapshot of %zu bytes is damaged near byte %zu", len,
                     (size_t)(reader.in.at - (const uint8_t *)data));
    else
        rc = grid_check_invariants(reader.grid, err);
    free(reader.strings.numbers);
    free(reader.specs.numbers);
    free(reader.terms.numbers);
    free(reader.shapes.numbers);
    free(reader.tenants.numbers);
    if (rc < 0) {
        grid_destroy(reader.grid);
        return rc == -EBADMSG ? rc : err_prefix(err, -EBADMSG, "snapshot");
    }
    *grid_out = reader.grid;
    return 0;
}
