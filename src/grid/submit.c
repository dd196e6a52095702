#include "grid/freight.h"
#include "grid/owners.h"
#include "grid/packing.h"
#include "grid/power.h"
#include "grid/rates.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FIGURE_MAX (1LL << 50) /* of a need, in 1/1000: no overflow in sums over a gang */
#define TASK_BYTES_MAX (1LL << 46)

/* --- what a request may say ------------------------------------------------------------------ */

/* A gang over several sites. */
static int check_across(const struct request_shape *shape, struct err *err)
{
    static const char field[] = "resources.sites";
    uint32_t named = 0;

    for (uint32_t i = 0; i < shape->places_count; i++)
        named += shape->places[i].kind == PLACE_SITE && !shape->places[i].deny;
    if (shape->sites_max > REQUEST_SITES_MAX)
        return err_field(err, -EINVAL, field, "sites: expected 1 to %u", REQUEST_SITES_MAX);
    if (shape->tasks < 2 || shape->tasks > REQUEST_ACROSS_TASKS_MAX)
        return err_field(err, -EINVAL, field, "sites: expected 2 to %u tasks, not %u",
                         REQUEST_ACROSS_TASKS_MAX, shape->tasks);
    if (shape->within || shape->spread || shape->mixed)
        return err_field(err, -EINVAL, field,
                         "sites: goes neither with topology nor with mixed: its parts are far from "
                         "each other, and on one kind of chip");
    if (named == 1)
        return err_field(err, -EINVAL, field,
                         "sites: %u are allowed, and where.sites names one: name another, or none",
                         shape->sites_max);
    return 0;
}

static bool is_name(const char name[MODEL_NAME_BYTES])
{
    return name[0] && memchr(name, '\0', MODEL_NAME_BYTES);
}

static int check_apart(const struct request_apart *apart, struct err *err)
{
    bool good = apart->labels_count <= REQUEST_APART_MAX &&
                apart->avoids_count <= REQUEST_APART_MAX && apart->level < APART_COUNT &&
                !apart->reserved && memchr(apart->tenant, '\0', MODEL_NAME_BYTES);

    for (uint32_t i = 0; good && i < apart->labels_count; i++)
        good = is_name(apart->labels[i]);
    for (uint32_t i = 0; good && i < apart->avoids_count; i++)
        good = is_name(apart->avoids[i]);
    if (!good)
        return err_field(err, -EINVAL, "topology.not_with",
                         "labels, not_with: expected at most %u names each", REQUEST_APART_MAX);
    return 0;
}

static int check_shape(const struct request_shape *shape, struct err *err)
{
    if (shape->tasks < 1 || shape->tasks > REQUEST_TASKS_MAX)
        return err_field(err, -EINVAL, "tasks", "tasks: expected 1 to %u", REQUEST_TASKS_MAX);
    if (shape->cpus < 1 || shape->cpus > 65536)
        return err_field(err, -EINVAL, "resources.cpus", "cpus per task: expected 1 to 65536");
    if (shape->devices_milli > NODE_DEVICES_MAX * 1000 ||
        (shape->devices_milli > 1000 && shape->devices_milli % 1000))
        return err_field(err, -EINVAL, "resources.devices",
                         "devices per task: expected a share below 1, or 1 to %u whole ones",
                         NODE_DEVICES_MAX);
    if (shape->within >= TOPOLOGY_COUNT || shape->within_hard > 1 || shape->spread > 1)
        return err_field(err, -EINVAL, "topology", "topology: unknown");
    if (shape->mixed > 1 || (shape->mixed && (shape->tasks < 2 || shape->devices_milli < 1000)))
        return err_field(err, -EINVAL, "resources.mixed",
                         "mixed: expected several tasks, each with whole devices");
    if (shape->sites_max > 1 && check_across(shape, err) < 0)
        return -EINVAL;
    if (shape->memory_bytes < 0 || shape->memory_bytes > TASK_BYTES_MAX)
        return err_field(err, -EINVAL, "resources.memory", "memory per task is out of range");
    if (shape->disk_bytes < 0 || shape->disk_bytes > TASK_BYTES_MAX)
        return err_field(err, -EINVAL, "resources.disk", "disk per task is out of range");
    if (shape->device_memory_bytes < 0)
        return err_field(err, -EINVAL, "resources.device_memory", "device memory below zero");
    if (shape->chips_count > REQUEST_CHIPS_MAX || shape->needs_count > REQUEST_NEEDS_MAX ||
        shape->places_count > REQUEST_PLACES_MAX)
        return err_set(err, -EINVAL, "too many chips, needs or places");
    if (check_apart(&shape->apart, err) < 0)
        return -EINVAL;
    for (uint32_t i = 0; i < shape->chips_count; i++)
        if (!memchr(shape->chips[i], '\0', MODEL_NAME_BYTES) || !shape->chips[i][0])
            return err_field(err, -EINVAL, "resources.chips", "chip %u has no good name", i);
    for (uint32_t i = 0; i < shape->needs_count; i++)
        if (shape->needs[i].metric >= METRIC_COUNT || shape->needs[i].least_milli < 0 ||
            shape->needs[i].least_milli > FIGURE_MAX)
            return err_field(err, -EINVAL, "resources.needs", "need %u is out of range", i);
    if (!memchr(shape->access.image, '\0', sizeof(shape->access.image)))
        return err_field(err, -EINVAL, "image", "image is not well described");
    if (shape->access.labels_count > REQUEST_LABELS_MAX)
        return err_field(err, -EINVAL, "data", "data: more than %u labels", REQUEST_LABELS_MAX);
    for (uint32_t i = 0; i < shape->access.labels_count; i++)
        if (!memchr(shape->access.labels[i], '\0', MODEL_NAME_BYTES) || !shape->access.labels[i][0])
            return err_field(err, -EINVAL, "data", "data: label %u has no good name", i);
    for (uint32_t i = 0; i < shape->places_count; i++)
        if (shape->places[i].kind > PLACE_REGION || shape->places[i].deny > 1 ||
            !memchr(shape->places[i].name, '\0', MODEL_NAME_BYTES))
            return err_field(err, -EINVAL, "where", "place %u is not well described", i);
    return 0;
}

static int check_elastic(const struct job_request *request, struct err *err)
{
    bool goes_on = request->checkpoint != CHECKPOINT_NONE && request->requeue_on_loss;

    if (request->spares != REQUEST_SPARES_AUTO && request->spares > REQUEST_SPARES_MAX)
        return err_field(err, -EINVAL, "spares", "spares: expected at most %u", REQUEST_SPARES_MAX);
    if ((request->tasks_max || request->spares) && !goes_on)
        return err_field(err, -EINVAL, request->tasks_max ? "elastic" : "spares",
                         "%s: expected a job with a checkpoint that may be started again",
                         request->tasks_max ? "elastic" : "spares");
    if ((request->tasks_max || request->spares) && request->shape.sites_max > 1)
        return err_field(err, -EINVAL, request->tasks_max ? "elastic" : "spares",
                         "%s: not for a gang that may be over several sites",
                         request->tasks_max ? "elastic" : "spares");
    if (!request->tasks_max)
        return request->tasks_step || request->resize_hold_ms
                   ? err_field(err, -EINVAL, "elastic", "elastic: expected max")
                   : 0;
    if (request->tasks_max > REQUEST_TASKS_MAX || request->tasks_max <= request->shape.tasks)
        return err_field(err, -EINVAL, "elastic.max", "elastic.max: expected %u to %u tasks",
                         request->shape.tasks + 1, REQUEST_TASKS_MAX);
    if (!request->tasks_step ||
        (request->tasks_step != REQUEST_STEP_DOUBLE && request->tasks_step > REQUEST_TASKS_MAX))
        return err_field(err, -EINVAL, "elastic.step", "elastic.step: expected 1 to %u, or double",
                         REQUEST_TASKS_MAX);
    if (request->resize_hold_ms < 0 || request->resize_hold_ms > DURATION_MS_MAX)
        return err_field(err, -EINVAL, "elastic.hold", "elastic.hold is out of range");
    return 0;
}

int request_check(const struct job_request *request, struct err *err)
{
    if (request->job_class >= CLASS_COUNT || request->objective > OBJECTIVE_WEIGHTS ||
        request->on_unreachable > UNREACHABLE_MOVE || request->requeue_on_loss > 1)
        return err_set(err, -EINVAL, "priority, objective, on_unreachable or requeue: unknown");
    if (request->weight_time_milli > 1000000 || request->weight_money_milli > 1000000 ||
        request->weight_carbon_milli > 1000000)
        return err_field(err, -EINVAL, "objective", "weights: expected at most 1000");
    if (request->duration_ms_max < 0 || request->duration_ms_max > DURATION_MS_MAX)
        return err_field(err, -EINVAL, "duration", "duration: expected up to ten years");
    if (request->deadline_ms < 0 || request->deadline_ms > EVENT_TIME_MS_MAX)
        return err_field(err, -EINVAL, "deadline", "deadline is out of range");
    if (request->begin_ms < 0 || request->begin_ms > EVENT_TIME_MS_MAX)
        return err_field(err, -EINVAL, "begin", "begin is out of range");
    if (request->retries_max > 1000 || request->retry_codes_count > REQUEST_RETRY_CODES_MAX)
        return err_field(err, -EINVAL, "retries", "retries: expected at most 1000 on 16 codes");
    if (request->checkpoint > CHECKPOINT_ASKED || request->waits_never > 1)
        return err_field(err, -EINVAL, "checkpoint", "checkpoint: unknown kind");
    if (request->rpo_ms < 0 || request->rpo_ms > DURATION_MS_MAX ||
        (request->rpo_ms && request->checkpoint == CHECKPOINT_NONE))
        return err_field(err, -EINVAL, "rpo", "rpo: expected a time, of a job with a checkpoint");
    if (check_elastic(request, err) < 0)
        return -EINVAL;
    if (request->deps_count > REQUEST_DEPS_MAX)
        return err_field(err, -EINVAL, "after", "after: more than %u jobs", REQUEST_DEPS_MAX);
    if (rates_check(&request->work, err) < 0 || freight_check_request(request, err) < 0)
        return -EINVAL;
    return check_shape(&request->shape, err);
}

static int check_text(const char *text, size_t max, bool needed, const char *field, struct err *err)
{
    size_t len = text ? strnlen(text, max + 1) : 0;

    if (needed && !len)
        return err_field(err, -EINVAL, field, "%s is missing", field);
    if (len > max)
        return err_field(err, -EINVAL, field, "%s is longer than %zu bytes", field, max);
    return 0;
}

static int check_dep(const struct grid *grid, const struct event_job_submitted *submit,
                     const struct request_dep *dep, struct err *err)
{
    const struct job *job = grid_job(grid, dep->job_id);
    const struct array *array = grid_array(grid, dep->job_id);

    if (dep->kind > DEP_FAILED)
        return err_field(err, -EINVAL, "after", "after: unknown kind %u", dep->kind);
    for (uint64_t id = dep->job_id; array && !job; id++) /* some element is live: it has a tenant */
        job = grid_job(grid, id);
    if (job && strcmp(intern_data(&grid->tenant_names, job->tenant), submit->tenant) == 0)
        return 0;
    if (job || !dep->job_id || dep->job_id >= grid->next_id)
        return err_field(err, -ENOENT, "after", "after: there is no job %" PRIu64, dep->job_id);
    if (!grid_outcome(grid, dep->job_id))
        return err_field(err, -ENOENT, "after",
                         "after: job %" PRIu64 " ended too long ago to say how", dep->job_id);
    return 0;
}

/* --- submit ---------------------------------------------------------------------------------- */

uint32_t keys_text(const char *tenant, const char *key, char *out)
{
    size_t tenant_len = strlen(tenant), key_len = strlen(key);

    memcpy(out, tenant, tenant_len + 1);
    memcpy(out + tenant_len + 1, key, key_len + 1);
    return (uint32_t)(tenant_len + 1 + key_len);
}

/* NULL = not remembered. */
static const struct key *find_key(const struct grid *grid, const char *tenant, const char *key)
{
    char text[KEY_BYTES];
    uint32_t number;

    if (!key || !*key || strnlen(tenant, MODEL_NAME_BYTES) == MODEL_NAME_BYTES ||
        strnlen(key, EVENT_TEXT_BYTES_MAX + 1) > EVENT_TEXT_BYTES_MAX)
        return NULL;
    number = intern_find(&grid->key_texts, text, keys_text(tenant, key, text));
    return number ? &grid->keys[number] : NULL;
}

bool grid_find_key(const struct grid *grid, const char *tenant, const char *key,
                   struct step_result *result_out)
{
    const struct key *found = find_key(grid, tenant, key);

    if (found)
        *result_out = (struct step_result){ .job_id = found->job_id,
                                            .jobs_count = found->jobs_count,
                                            .repeated = true };
    return found != NULL;
}

void keys_add(struct grid *grid, const char *text, uint32_t len, struct key key)
{
    uint32_t number = intern_get(&grid->key_texts, text, len, NULL);

    MEM_GROW(grid->keys, grid->keys_cap, number + 1);
    grid->keys[number] = key;
    MEM_GROW(grid->key_order, grid->key_order_cap, grid->key_end + 1);
    grid->key_order[grid->key_end++] = number;
}

void keys_expire(struct grid *grid)
{
    while (grid->key_first < grid->key_end) {
        uint32_t number = grid->key_order[grid->key_first];

        if (grid->keys[number].time_ms > grid->now_ms - GRID_KEY_KEEP_MS)
            break;
        intern_unref(&grid->key_texts, number);
        grid->key_first++;
    }
    if (grid->key_first < 1024 || grid->key_first < grid->key_end / 2)
        return;
    grid->key_end -= grid->key_first;
    memmove(grid->key_order, grid->key_order + grid->key_first,
            grid->key_end * sizeof(*grid->key_order));
    grid->key_first = 0;
}

static int check_room(const struct grid *grid, const struct event_job_submitted *submit,
                      struct err *err)
{
    uint64_t wanted = submit->elements_count ? submit->elements_count : 1;
    uint64_t live = grid->counts.held + grid->counts.queued + grid->counts.starting +
                    grid->counts.running + grid->counts.stopping;
    uint32_t number =
        intern_find(&grid->tenant_names, submit->tenant, (uint32_t)strlen(submit->tenant));

    if (live + wanted > GRID_JOBS_MAX)
        return err_set(err, -ENOSPC, "%" PRIu64 " jobs wait or run; the network takes %u", live,
                       GRID_JOBS_MAX);
    if (!number && grid->tenant_names.live_count >= TENANTS_MAX)
        return err_set(err, -ENOSPC, "the network has %u tenants already", TENANTS_MAX);
    for (uint32_t at = number; at; at = grid->tenants[at].parent) {
        const struct tenant *tenant = &grid->tenants[at];

        if (tenant->jobs_max >= 0 &&
            (int64_t)(tenant->jobs_live + tenant->jobs_below + wanted) > tenant->jobs_max)
            return err_set(err, -EDQUOT, "tenant %s has %u jobs; its limit is %" PRId64,
                           intern_data(&grid->tenant_names, at),
                           tenant->jobs_live + tenant->jobs_below, tenant->jobs_max);
    }
    if (!submit->request.duration_ms_max && budget_exists(grid, number))
        return err_field(err, -EINVAL, "duration",
                         "tenant %s has a budget: say a duration, so that the price is known",
                         submit->tenant);
    return 0;
}

int submit_check(const struct grid *grid, const struct event_job_submitted *submit, struct err *err)
{
    const struct key *known;
    int rc = check_text(submit->tenant, MODEL_NAME_BYTES - 1, true, "tenant", err);

    if (rc == 0)
        rc = check_text(submit->idempotency_key, EVENT_TEXT_BYTES_MAX, false, "idempotency_key",
                        err);
    if (rc < 0)
        return rc;
    known = find_key(grid, submit->tenant, submit->idempotency_key);
    if (known && known->body_hash && submit->body_hash && known->body_hash != submit->body_hash)
        return err_field(err, -EKEYREJECTED, "Idempotency-Key",
                         "this key came with another job before, %" PRIu64
                         ": a new job needs a new key",
                         known->job_id);
    if (known)
        return 0;
    rc = check_text(submit->user, MODEL_NAME_BYTES - 1, false, "user", err);
    if (rc == 0)
        rc = check_text(submit->name, MODEL_NAME_BYTES - 1, false, "name", err);
    if (rc == 0)
        rc = request_check(&submit->request, err);
    if (rc < 0)
        return rc;
    if (submit->elements_count > GRID_ELEMENTS_MAX)
        return err_field(err, -EINVAL, "array", "array: at most %u elements", GRID_ELEMENTS_MAX);
    if (submit->spec_len > EVENT_BYTES_MAX || (submit->spec_len && !submit->spec_json))
        return err_set(err, -EINVAL, "spec of %u bytes", submit->spec_len);
    if (submit->spec_len && memchr(submit->spec_json, '\0', submit->spec_len))
        return err_set(err, -EINVAL, "spec with a NUL byte");
    for (uint32_t i = 0; rc == 0 && i < submit->request.deps_count; i++)
        rc = check_dep(grid, submit, &submit->request.deps[i], err);
    return rc < 0 ? rc : check_room(grid, submit, err);
}

void terms_of_request(const struct job_request *request, struct terms *out)
{
    memset(out, 0, sizeof(*out));
    out->job_class = request->job_class;
    out->on_unreachable = request->on_unreachable;
    out->objective.kind = request->objective;
    if (request->objective == OBJECTIVE_WEIGHTS) {
        out->objective.weight_time_milli = request->weight_time_milli;
        out->objective.weight_money_milli = request->weight_money_milli;
        out->objective.weight_carbon_milli = request->weight_carbon_milli;
    }
    out->duration_ms_max = request->duration_ms_max;
    out->deadline_ms = request->deadline_ms;
    out->begin_ms = request->begin_ms;
    out->work_units_milli = request->work.units_milli;
    out->retries_max = request->retries_max;
    out->requeue_on_loss = request->requeue_on_loss;
    out->retry_codes_count = request->retry_codes_count;
    memcpy(out->retry_codes, request->retry_codes, request->retry_codes_count);
    out->checkpoint = (uint16_t)request->checkpoint;
    out->waits_never = (uint16_t)request->waits_never;
    out->rpo_ms = request->rpo_ms;
    out->goods.count = request->goods.count;
    for (uint32_t i = 0; i < request->goods.count; i++)
        out->goods.list[i] = request->goods.list[i];
    out->goods.more_bytes = request->goods.more_bytes;
    out->price_micro_max = request->price_micro_max;
    out->spares = request->spares;
    if (!request->tasks_max)
        return;
    out->tasks_min = request->shape.tasks;
    out->tasks_max = request->tasks_max;
    out->tasks_step = request->tasks_step;
    out->resize_hold_ms = request->resize_hold_ms;
}

static struct job_deps *copy_deps(const struct grid *grid, const struct job_request *request)
{
    struct job_deps *deps;

    if (!request->deps_count)
        return NULL;
    deps = mem_alloc(1, sizeof(*deps) + request->deps_count * sizeof(deps->list[0]));
    deps->count = request->deps_count;
    for (uint32_t i = 0; i < deps->count; i++) {
        const struct request_dep *dep = &request->deps[i];

        deps->list[i] = (struct job_dep){ .id = dep->job_id, .kind = dep->kind };
        deps->list[i].met = dep_status(grid, dep->job_id, dep->kind) == DEP_MET;
    }
    return deps;
}

/* A dependency that can never be met was so before the job came. */
static uint64_t first_unmeetable(const struct grid *grid, const struct job *job)
{
    for (uint32_t i = 0; job->deps && i < job->deps->count; i++)
        if (!job->deps->list[i].met &&
            dep_status(grid, job->deps->list[i].id, job->deps->list[i].kind) == DEP_UNMEETABLE)
            return job->deps->list[i].id;
    return 0;
}

static void add_job(struct grid *grid, const struct event_job_submitted *submit, uint64_t id,
                    struct array *array, uint32_t array_index, const struct request_shape *shape,
                    const struct terms *terms)
{
    struct job *job = grid_add_job(grid, id);
    uint64_t unmeetable;

    job->submitted_ms = grid->now_ms;
    job->array = array;
    job->array_index = array_index;
    job->shape = shapes_get(&grid->shapes, shape);
    job->terms = intern_get(&grid->terms, terms, sizeof(*terms), NULL);
    job->tenant = grid_tenant(grid, submit->tenant);
    job->user = intern_text(&grid->strings, submit->user);
    job->name = intern_text(&grid->strings, submit->name);
    job->spec =
        submit->spec_len ? intern_get(&grid->specs, submit->spec_json, submit->spec_len, NULL) : 0;
    job->state = JOB_HELD;
    grid->counts.held++;
    grid->counts.submitted_total++;
    shares_jobs_live(grid, job->tenant, 1);
    if (array)
        array->live++;
    job->deps = copy_deps(grid, &submit->request);
    unmeetable = first_unmeetable(grid, job);
    if (job->deps)
        deps_wait(grid, job);
    if (unmeetable) {
        job_set_reason(grid, job, "job %" PRIu64 ", which it waits for, ended otherwise",
                       unmeetable);
        job_end(grid, job, JOB_CANCELLED);
    } else if (job->deps && job->deps->waiting) {
        grid_emit(grid, EFFECT_JOB_CHANGED, job);
    } else {
        job_become_ready(grid, job);
        if (job->state == JOB_HELD)
            grid_emit(grid, EFFECT_JOB_CHANGED, job);
    }
}

void submit_apply(struct grid *grid, const struct event_job_submitted *submit,
                  struct step_result *result)
{
    const char *key = submit->idempotency_key;
    const struct request_shape *shape;
    struct request_shape with_work;
    struct array *array = NULL;
    char text[KEY_BYTES];
    struct terms terms;

    if (grid_find_key(grid, submit->tenant, key, result))
        return;
    terms_of_request(&submit->request, &terms);
    freight_expect(grid, submit->tenant, submit->user, submit->name, &terms);
    *result =
        (struct step_result){ .job_id = grid->next_id,
                              .jobs_count = submit->elements_count ? submit->elements_count : 1 };
    grid->next_id += submit->elements_count ? submit->elements_count + 1 : 1;
    if (key && *key)
        keys_add(grid, text, keys_text(submit->tenant, key, text),
                 (struct key){ .job_id = result->job_id,
                               .jobs_count = result->jobs_count,
                               .time_ms = grid->now_ms,
                               .body_hash = submit->body_hash });
    if (grid->fleet.packer) {
        uint32_t number = shapes_get(&grid->shapes, &submit->request.shape);

        packing_submitted(grid, number, result->jobs_count);
        shapes_unref(&grid->shapes, number);
    }
    shape = rates_told(grid, submit->tenant, &submit->request, &with_work);
    if (owners_ask(grid) || apart_is_told(&submit->request.shape.apart)) {
        if (shape != &with_work)
            with_work = *shape;
        owners_fill(grid, submit->tenant, &terms, &with_work);
        shape = &with_work;
    }
    if (freight_is_told(grid) || terms.price_micro_max) {
        if (shape != &with_work)
            with_work = *shape;
        freight_fill(grid, &terms, NULL, &with_work);
        shape = &with_work;
    }
    if (!submit->elements_count) {
        add_job(grid, submit, result->job_id, NULL, 0, shape, &terms);
        return;
    }
    array = grid_add_array(grid, result->job_id);
    array->count = submit->elements_count;
    array->parallel_max = submit->parallel_max;
    array->live = 1; /* kept while elements that can never run end at once */
    for (uint32_t i = 0; i < submit->elements_count; i++)
        add_job(grid, submit, result->job_id + 1 + i, array, i, shape, &terms);
    if (--array->live == 0)
        array_end(grid, array);
}

/* --- cancel ---------------------------------------------------------------------------------- */

int cancel_check(const struct grid *grid, uint64_t id, struct err *err)
{
    const struct array *array = grid_array(grid, id);
    const struct job *job = grid_job(grid, id);

    if (job && !job->cancel_requested)
        return 0;
    for (uint32_t i = 0; array && i < array->count; i++) {
        const struct job *element = grid_job(grid, id + 1 + i);

        if (element && !element->cancel_requested)
            return 0;
    }
    if (job || array)
        return err_set(err, -EALREADY, "job %" PRIu64 " is being cancelled already", id);
    if (id && id < grid->next_id)
        return err_set(err, -EALREADY, "job %" PRIu64 " has ended", id);
    return err_set(err, -ENOENT, "there is no job %" PRIu64, id);
}

static void cancel_job(struct grid *grid, struct job *job, const char *by, const char *reason)
{
    if (job->cancel_requested)
        return;
    job->cancel_requested = true;
    job_set_reason(grid, job, "cancelled%s%s%s%s", by && *by ? " by " : "", by && *by ? by : "",
                   reason && *reason ? ": " : "", reason && *reason ? reason : "");
    switch ((enum job_state)job->state) {
    case JOB_QUEUED:
        job_dequeue(grid, job);
        job_end(grid, job, JOB_CANCELLED);
        break;
    case JOB_HELD:
        job_end(grid, job, JOB_CANCELLED);
        break;
    case JOB_STARTING:
    case JOB_RUNNING:
        suspend_over(grid, job);
        job_set_state(grid, job, JOB_STOPPING);
        grid_emit(grid, EFFECT_STOP, job);
        grid_emit(grid, EFFECT_JOB_CHANGED, job);
        break;
    case JOB_STOPPING:
    case JOB_DONE:
    case JOB_FAILED:
    case JOB_CANCELLED:
        break;
    }
}

void cancel_apply(struct grid *grid, uint64_t id, const char *by, const char *reason)
{
    const struct array *array = grid_array(grid, id);
    uint32_t count = array ? array->count : 0;
    struct job *job = grid_job(grid, id);

    if (job)
        cancel_job(grid, job, by, reason);
    for (uint32_t i = 0; i < count; i++) {
        job = grid_job(grid, id + 1 + i);
        if (job)
            cancel_job(grid, job, by, reason);
    }
}
