/* POST /jobs, /jobs/batch, /plan: from a spec to an event. */
#include "controller/api_handlers.h"

#include "base/log.h"
#include "controller/artifacts.h"
#include "controller/history_call.h"
#include "controller/job_lookup.h"
#include "controller/seal.h"
#include "controller/sizes.h"
#include "controller/why_json.h"
#include "model/spec.h"
#include "model/spec_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBMIT_STORED_BYTES_MAX ((size_t)3 << 20)
#define SUBMIT_KEY_BYTES_MAX 128u

/* A submit on its way into the grid; `event` points into `spec` and `stored`. */
struct submit {
    struct job_spec *spec;
    struct buf stored;
    struct event event;
};

static void submit_fini(struct submit *submit)
{
    spec_destroyp(&submit->spec);
    buf_fini(&submit->stored);
}

static int store_spec(struct api_call *call, struct submit *submit, struct err *err)
{
    CLEANUP(buf_fini) struct buf bare = buf_init(SUBMIT_STORED_BYTES_MAX);
    CLEANUP(buf_fini) struct buf full = buf_init(SUBMIT_STORED_BYTES_MAX);
    bool has_key = http_request_header(call->request, "Idempotency-Key") != NULL;
    uint64_t *hash = &submit->event.job_submitted.body_hash;
    int rc;

    submit->stored = buf_init(SUBMIT_STORED_BYTES_MAX);
    if (!submit->spec->secrets_count) {
        rc = spec_print_json(submit->spec, false, &submit->stored);
        if (rc == 0 && has_key)
            *hash = seal_digest(call->controller->seal, submit->stored.data, submit->stored.len);
        return rc < 0 ? err_set(err, -E2BIG, "the spec is too large") : 0;
    }
    if (spec_print_json(submit->spec, false, &bare) < 0 ||
        spec_print_json(submit->spec, true, &full) < 0)
        return err_set(err, -E2BIG, "the spec is too large");
    if (has_key)
        *hash = seal_digest(call->controller->seal, full.data, full.len);
    rc = seal_spec(call->controller->seal, call->who.tenant, full.data, bare.data, &submit->stored,
                   err);
    explicit_bzero(full.data, full.len);
    return rc;
}

/* A job runs as the token's unix user and may use that user's folders; without one there are none.
 * The agent refuses them, too; here it is said before anything is queued. */
static int check_host_paths(const struct api_call *call, const struct job_spec *spec,
                            struct err *err)
{
    const char *field = NULL, *path = NULL;

    if (call->who.unix_uid >= 0)
        return 0;
    for (uint32_t i = 0; i < spec->outputs_count; i++)
        if (spec->outputs[i].to &&
            (spec->outputs[i].to[0] == '/' || spec_source_of(spec->outputs[i].to) == SOURCE_SITE))
            field = "outputs", path = spec->outputs[i].to;
    for (uint32_t i = 0; i < spec->inputs_count; i++)
        if (spec->inputs[i].from && (spec_source_of(spec->inputs[i].from) == SOURCE_PATH ||
                                     spec_source_of(spec->inputs[i].from) == SOURCE_SITE))
            field = "inputs", path = spec->inputs[i].from;
    if (spec->stderr_pattern && spec->stderr_pattern[0] == '/')
        field = "stderr", path = spec->stderr_pattern;
    if (spec->stdout_pattern && spec->stdout_pattern[0] == '/')
        field = "stdout", path = spec->stdout_pattern;
    if (spec->workdir)
        field = "workdir", path = spec->workdir;
    if (!path)
        return 0;
    return err_field(err, -EACCES, field,
                     "%s %s: this token stands for no user of the machine, so its jobs may use no "
                     "folder there%s",
                     field, path, spec->workdir ? "; leave it out (mains run --scratch)" : "");
}

/* What earlier jobs left is labelled as their data was. */
static int inherit_labels(const struct api_call *call, struct job_spec *spec, struct err *err)
{
    struct request_access *access = &spec->request.shape.access;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < spec->inputs_count; i++)
        if (spec->inputs[i].from && spec_source_of(spec->inputs[i].from) == SOURCE_ARTIFACT)
            rc = artifacts_add_labels(call->controller, call->who.tenant, spec->inputs[i].from,
                                      access, err);
    return rc;
}

/* The site would refuse it when it starts; here it is said before anything is queued. A network
 * that knows no site yet takes it. */
static int check_sandbox(const struct api_call *call, const struct job_spec *spec, struct err *err)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    uint32_t count = grid_site_count(grid);
    bool reachable;

    for (uint32_t i = 0; i < count; i++)
        if (spec->sandbox || grid_site_get(grid, i, &reachable)->sandbox_optional)
            return 0;
    if (spec->sandbox || !count)
        return 0;
    return err_field(
        err, -ENOTSUP, "sandbox",
        "sandbox: no site here runs a job without its sandbox: leave the key (or "
        "--no-sandbox) out, or have a site started with `mains up --allow-no-sandbox`");
}

/* The same for what only some sites run. */
static int check_image(const struct api_call *call, const struct job_spec *spec, struct err *err)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    uint32_t count = grid_site_count(grid);
    bool reachable;

    if (!count || !spec_has_image(spec))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        if (grid_site_get(grid, i, &reachable)->images)
            return 0;
    return err_field(err, -ENOTSUP, "image",
                     "image: no container images are run by any site here: leave the key out, or "
                     "have a Kubernetes cluster join");
}

static int resolve_after(struct api_call *call, struct submit *submit, struct err *err)
{
    struct job_request *request = &submit->event.job_submitted.request;
    const struct job_spec *spec = submit->spec;

    if (spec->after_count > REQUEST_DEPS_MAX)
        return err_field(err, -EINVAL, "after", "after: at most %u jobs", REQUEST_DEPS_MAX);
    request->deps_count = 0;
    for (uint32_t i = 0; i < spec->after_count; i++) {
        struct request_dep *dep = &request->deps[request->deps_count];
        uint64_t id = 0;
        int rc = job_resolve_dep(call->controller, call->who.tenant, spec->after[i].job,
                                 spec->after[i].kind, &id, err);

        if (rc < 0)
            return rc;
        if (!id)
            continue; /* it ended as asked */
        dep->job_id = id;
        dep->kind = spec->after[i].kind;
        request->deps_count++;
    }
    return 0;
}

static void allow_only_site(struct request_shape *shape, const char *name)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < shape->places_count; i++)
        if (shape->places[i].kind != PLACE_SITE || shape->places[i].deny)
            shape->places[kept++] = shape->places[i];
    shape->places_count = kept;
    shape->places[kept] = (struct request_place){ .kind = PLACE_SITE };
    snprintf(shape->places[kept].name, sizeof(shape->places[kept].name), "%s", name);
    shape->places_count++;
}

/* `text` names a path on the machine of a site, as all that do must. */
static int add_place(const char *text, const char *field, uint32_t index,
                     char site[MODEL_NAME_BYTES], struct err *err)
{
    const char *name;
    size_t len;

    if (!text || spec_source_of(text) != SOURCE_SITE)
        return 0;
    name = spec_source_name(text, &len);
    if (site[0] && (strlen(site) != len || strncmp(site, name, len) != 0))
        return err_field(err, -EINVAL, field,
                         "%s[%" PRIu32 "]: a job cannot be at %s and at another site", field, index,
                         site);
    snprintf(site, MODEL_NAME_BYTES, "%.*s", (int)len, name);
    return 0;
}

/* What lies, or is to lie, on the machine of a site is there only: the job goes where it is. */
static int add_places(const struct job_spec *spec, struct request_shape *shape, struct err *err)
{
    char site[MODEL_NAME_BYTES] = "";
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < spec->inputs_count; i++)
        rc = add_place(spec->inputs[i].from, "inputs", i, site, err);
    for (uint32_t i = 0; rc == 0 && i < spec->outputs_count; i++)
        rc = add_place(spec->outputs[i].to, "outputs", i, site, err);
    if (rc < 0 || !site[0])
        return rc;
    if (shape->places_count == REQUEST_PLACES_MAX)
        return err_field(err, -E2BIG, "where", "where: too many owners, sites and regions");
    allow_only_site(shape, site);
    return 0;
}

static int submit_init(struct api_call *call, const char *text, size_t len, struct submit *submit,
                       struct err *err)
{
    struct event_job_submitted *event = &submit->event.job_submitted;
    int64_t now_ms;
    int rc = spec_parse_json_text(text, len, &submit->spec, err);

    if (rc == 0)
        rc = spec_check_supported(submit->spec, err);
    if (rc == 0)
        rc = check_host_paths(call, submit->spec, err);
    if (rc == 0)
        rc = check_sandbox(call, submit->spec, err);
    if (rc == 0)
        rc = check_image(call, submit->spec, err);
    if (rc == 0)
        rc = inherit_labels(call, submit->spec, err);
    if (rc == 0)
        rc = store_spec(call, submit, err);
    if (rc < 0)
        return rc;
    submit->event.type = EVENT_JOB_SUBMITTED;
    event->request = submit->spec->request;
    sizes_fill(call->controller, call->who.tenant, submit->spec, &event->request.goods);
    rc = add_places(submit->spec, &event->request.shape, err);
    if (rc < 0)
        return rc;
    now_ms = shell_now_ms(call->controller->shell);
    if (submit->spec->begin_after_ms)
        event->request.begin_ms = now_ms + submit->spec->begin_after_ms;
    if (submit->spec->deadline_after_ms)
        event->request.deadline_ms = now_ms + submit->spec->deadline_after_ms;
    event->tenant = call->who.tenant;
    event->user = call->who.user;
    event->name = submit->spec->name;
    event->idempotency_key = "";
    event->elements_count = submit->spec->elements_count;
    event->parallel_max = submit->spec->parallel_max;
    event->spec_json = submit->stored.data;
    event->spec_len = (uint32_t)submit->stored.len;
    return resolve_after(call, submit, err);
}

/* NULL: answered. "" = none given. */
static const char *idempotency_key(struct api_call *call)
{
    const char *key = http_request_header(call->request, "Idempotency-Key");
    size_t len = key ? strlen(key) : 0;
    bool plain = true;

    if (!key)
        return "";
    for (size_t i = 0; i < len; i++)
        plain = plain && key[i] > 0x20 && key[i] < 0x7f;
    if (len && len <= SUBMIT_KEY_BYTES_MAX && plain)
        return key;
    api_error(call, 400, "invalid", "Idempotency-Key",
              "Idempotency-Key: 1 to %u visible ASCII characters", SUBMIT_KEY_BYTES_MAX);
    return NULL;
}

/* The name was checked: it needs no escape. */
static char *accepted_text(struct api_call *call, const struct step_result *result,
                           const char *name, bool is_array, size_t *len_out)
{
    struct buf text = buf_init(512);
    struct job_view view;
    const char *state = "queued";

    if (is_array) {
        if (grid_next_job(shell_grid(call->controller->shell), result->job_id, NULL, &view) &&
            view.array_id == result->job_id)
            state = job_state_name(view.state);
    } else if (grid_find_job(shell_grid(call->controller->shell), result->job_id, &view)) {
        state = job_state_name(view.state);
    }
    buf_printf(&text,
               "{\"id\":\"%" PRIu64 "\",\"jobs\":%" PRIu32 ",\"state\":\"%s\",\"name\":\"%s\"}",
               result->job_id, result->jobs_count, state, name);
    *len_out = text.len;
    return buf_take(&text);
}

static void dry_run(struct api_call *call, struct submit *submit)
{
    struct shell *shell = call->controller->shell;
    struct err err = { 0 };
    int rc;

    submit->event.time_ms = shell_now_ms(shell);
    rc = grid_check(shell_grid(shell), &submit->event, &err);
    if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_json(call, 200,
                       json_pack("{s:n, s:I, s:n, s:s}", "id", "jobs",
                                 (json_int_t)MAX(submit->spec->elements_count, 1u), "state", "name",
                                 submit->spec->name));
}

void api_jobs_submit(struct api_call *call)
{
    CLEANUP(submit_fini) struct submit submit = { 0 };
    struct step_result result = { 0 };
    struct err err = { 0 };
    bool dry = false;
    size_t len = 0;
    const char *body = http_request_body(call->request, &len);
    const char *key = idempotency_key(call); /* NULL: answered, the call is over */
    uint64_t seq = 0;
    char *text;
    int rc;

    if (!key || !api_query_bool(call, "dry_run", &dry))
        return;
    rc = submit_init(call, body ? body : "", len, &submit, &err);
    if (rc == -ENOENT && history_call_again(call, api_jobs_submit))
        return;
    if (rc < 0) {
        api_fail(call, rc == -ENOENT ? -EINVAL : rc, &err);
        return;
    }
    submit.event.job_submitted.idempotency_key = key;
    if (dry) {
        dry_run(call, &submit);
        return;
    }
    rc = shell_apply(call->controller->shell, &submit.event, &result, &seq, &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    text = accepted_text(call, &result, submit.spec->name, submit.spec->elements_count > 0, &len);
    api_reply_durable_text(call, seq, result.repeated ? 200 : 201, text, len);
}

/* --- batch ------------------------------------------------------------------------------------ */

struct batch {
    struct submit *submits;
    uint32_t count;
};

static void batch_fini(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        submit_fini(&batch->submits[i]);
    free(batch->submits);
}

static int batch_parse(struct api_call *call, struct batch *batch, struct err *err)
{
    size_t len = 0;
    const char *at = http_request_body(call->request, &len);
    const char *end = at ? at + len : NULL;

    batch->submits = calloc(API_LIST_MAX, sizeof(*batch->submits));
    if (!batch->submits)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t line = 1; at && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t line_len = (size_t)((stop ? stop : end) - at);
        struct submit *submit = &batch->submits[batch->count];
        int rc;

        if (line_len && !(line_len == 1 && *at == '\r')) {
            if (batch->count == API_LIST_MAX)
                return err_set(err, -E2BIG, "more than %u jobs in one batch", API_LIST_MAX);
            batch->count++;
            rc = submit_init(call, at, line_len, submit, err);
            if (rc == 0) {
                submit->event.time_ms = shell_now_ms(call->controller->shell);
                rc = grid_check(shell_grid(call->controller->shell), &submit->event, err);
            }
            if (rc < 0)
                return err_prefix(err, rc, "line %" PRIu32, line);
        }
        at = stop ? stop + 1 : end;
    }
    if (!batch->count)
        return err_set(err, -EINVAL, "the batch is empty: one JSON spec a line is expected");
    return 0;
}

/* A line's key is the batch's and its number; its hash tells of a batch of another length, too. */
static void batch_set_key(struct batch *batch, uint32_t line, const char *key,
                          char text_out[SUBMIT_KEY_BYTES_MAX + 16])
{
    struct event_job_submitted *submit = &batch->submits[line].event.job_submitted;

    snprintf(text_out, SUBMIT_KEY_BYTES_MAX + 16, "%s#%" PRIu32, key, line);
    submit->idempotency_key = *key ? text_out : "";
}

static int batch_check_keys(struct api_call *call, struct batch *batch, const char *key,
                            struct err *err)
{
    char text[SUBMIT_KEY_BYTES_MAX + 16];
    int rc = 0;

    for (uint32_t i = 0; i < batch->count && *key && rc == 0; i++) {
        struct event *event = &batch->submits[i].event;

        event->job_submitted.body_hash =
            (event->job_submitted.body_hash + batch->count) & INT64_MAX;
        batch_set_key(batch, i, key, text);
        rc = grid_check(shell_grid(call->controller->shell), event, err);
        rc = rc == -EKEYREJECTED ? rc : 0; /* the rest is seen as they are applied */
    }
    return rc;
}

/* What one line's acceptance made impossible for a later one (a quota) undoes the batch. An id of 0
 * was there before. */
static void batch_undo(struct api_call *call, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct event event = { .type = EVENT_JOB_CANCELLED };
        struct err err = { 0 };

        if (!ids[i])
            continue;
        event.job_cancelled.job_id = ids[i];
        event.job_cancelled.by = call->who.user;
        event.job_cancelled.reason = "another job of its batch was refused";
        if (shell_apply(call->controller->shell, &event, NULL, NULL, &err) < 0)
            log_warn("batch: job %" PRIu64 " stays: %s", ids[i], err.text);
    }
}

static void batch_apply(struct api_call *call, struct batch *batch, const char *key)
{
    uint64_t ids[API_LIST_MAX], seq = 0;
    CLEANUP(jsonp) json_t *list = json_array();
    struct err err = { 0 };
    bool repeated = true;

    for (uint32_t i = 0; i < batch->count; i++) {
        struct event *event = &batch->submits[i].event;
        struct step_result result = { 0 };
        char line_key[SUBMIT_KEY_BYTES_MAX + 16], id[JOB_ID_TEXT_BYTES];
        int rc;

        batch_set_key(batch, i, key, line_key);
        rc = shell_apply(call->controller->shell, event, &result, &seq, &err);
        if (rc < 0) {
            batch_undo(call, ids, i);
            api_fail(call, rc, &err);
            return;
        }
        ids[i] = result.repeated ? 0 : result.job_id;
        repeated = repeated && result.repeated;
        job_id_print(result.job_id, 0, 0, id);
        json_array_append_new(list, json_string(id));
    }
    api_reply_durable(call, seq, repeated ? 200 : 201, json_pack("{s:O}", "ids", list));
}

void api_jobs_batch(struct api_call *call)
{
    CLEANUP(batch_fini) struct batch batch = { 0 };
    const char *key = idempotency_key(call);
    struct err err = { 0 };
    int rc;

    if (!key)
        return;
    rc = batch_parse(call, &batch, &err);
    if (rc == 0)
        rc = batch_check_keys(call, &batch, key, &err);
    if (rc == -ENOENT && history_call_again(call, api_jobs_batch))
        return;
    if (rc < 0)
        api_fail(call, rc == -ENOENT ? -EINVAL : rc, &err);
    else
        batch_apply(call, &batch, key);
}

/* --- plan ------------------------------------------------------------------------------------- */

void api_plan(struct api_call *call)
{
    CLEANUP(submit_fini) struct submit submit = { 0 };
    struct plan_candidate candidates[PLAN_CANDIDATES_MAX];
    struct why_more more = { 0 };
    struct shell *shell = call->controller->shell;
    uint32_t count = 0;
    struct err err = { 0 };
    size_t len = 0;
    const char *body = http_request_body(call->request, &len);
    int rc = submit_init(call, body ? body : "", len, &submit, &err);

    if (rc == -ENOENT && history_call_again(call, api_plan))
        return;
    if (rc == 0)
        rc = grid_plan_named(shell_grid(shell), &submit.event.job_submitted.request,
                             call->who.tenant, call->who.user, submit.spec->name,
                             shell_now_ms(shell), candidates, &count, &more, &err);
    if (rc < 0) {
        api_fail(call, rc == -ENOENT ? -EINVAL : rc, &err);
        return;
    }
    api_reply_json(call, 200,
                   json_pack("{s:o, s:o, s:o}", "candidates", why_places_to_json(candidates, count),
                             "chosen",
                             count && candidates[0].fits_ever ? json_integer(0) : json_null(),
                             "changes", why_changes_to_json(&more)));
}
