#include "controller/artifacts.h"

#include "base/clock.h"
#include "base/file.h"
#include "controller/api_handlers.h"
#include "controller/history.h"
#include "controller/job_lookup.h"
#include "controller/session.h"
#include "model/spec.h"
#include "model/spec_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARTIFACTS_LISTED_MAX 10000u
#define PIECE_BYTES (4u << 20)
#define BACKLOG_BYTES (8u << 20)
#define BACKLOG_PAUSE_MS 5

/* --- on the vault's thread -------------------------------------------------------------------- */

/* From where the site on this machine left them. */
static int take_in(const struct controller *controller, struct store *store, uint64_t job_id,
                   uint32_t epoch, const char *root, struct store_id *id_out, struct err *err)
{
    CLEANUP(freep)
    char *path = path_format("%s/agent/attempts/%" PRIu64 ".%" PRIu32 "/outputs",
                             controller->config.state_dir, job_id, epoch);
    struct stat st;
    int rc;

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, -ENOENT, "job %" PRIu64 " left nothing", job_id);
    rc = store_put(store, AT_FDCWD, path, id_out, NULL, err);
    return rc < 0 ? rc : store_root_set(store, root, id_out, clock_wall_ms() + VAULT_KEEP_MS, err);
}

int artifacts_find(struct controller *controller, struct store *store, uint64_t job_id,
                   uint32_t epoch, struct store_id *id_out, struct err *err)
{
    char root[STORE_ROOT_NAME_BYTES_MAX + 1];
    int64_t until_ms;
    int rc;

    snprintf(root, sizeof(root), "out-%" PRIu64 ".%" PRIu32, job_id, epoch);
    rc = store_root_find(store, root, id_out, &until_ms, err);
    return rc == -ENOENT ? take_in(controller, store, job_id, epoch, root, id_out, err) : rc;
}

static json_t *entry_to_json(const struct manifest *manifest, const struct manifest_entry *entry)
{
    struct store_id digest = manifest_digest(manifest, entry);
    char name[STORE_ID_TEXT_BYTES];

    store_id_format(&digest, name);
    return json_pack("{s:s, s:I, s:s}", "path", entry->path, "bytes", (json_int_t)entry->bytes,
                     "digest", name);
}

static int list(struct store_call *self, struct store *store, struct err *err)
{
    json_t *files = json_array();
    struct manifest manifest = { 0 };
    char name[STORE_ID_TEXT_BYTES];
    int rc = artifacts_find(self->controller, store, self->job_id, self->epoch, &self->id, err);

    if (rc == 0)
        rc = store_manifest_read(store, &self->id, &manifest, err);
    if (rc < 0 && rc != -ENOENT) {
        json_decref(files);
        return rc;
    }
    store_id_format(&self->id, name);
    self->json = json_pack("{s:s?, s:I, s:o}", "manifest", rc == 0 ? name : NULL, "bytes",
                           (json_int_t)(rc == 0 ? manifest.content_bytes : 0), "artifacts", files);
    if (rc == -ENOENT)
        return 0;
    for (uint32_t i = 0;
         i < manifest.entries_count && json_array_size(files) < ARTIFACTS_LISTED_MAX; i++)
        if (manifest.entries[i].kind == MANIFEST_FILE)
            json_array_append_new(files, entry_to_json(&manifest, &manifest.entries[i]));
    manifest_fini(&manifest);
    return 0;
}

static int run_list(struct vault_work *work, struct vault *vault, struct store *store,
                    struct err *err)
{
    (void)vault;
    return list((struct store_call *)work, store, err);
}

/* --- GET /jobs/{id}/outputs, where the site is elsewhere -------------------------------------- */

static void outputs_done(struct vault_work *work)
{
    struct store_call *self = (struct store_call *)work;
    struct api_call *call = store_call_take(self);
    json_t *rows = json_array(), *file;
    size_t i;

    if (call) {
        json_array_foreach (json_object_get(self->json, "artifacts"), i, file)
            json_array_append_new(rows, json_pack("{s:O, s:O, s:n}", "path",
                                                  json_object_get(file, "path"), "bytes",
                                                  json_object_get(file, "bytes"), "modified_at"));
        api_reply_json(call, 200, json_pack("{s:O}", "outputs", rows));
    }
    json_decref(rows);
    store_call_free(self);
}

void artifacts_reply_outputs(struct api_call *call, uint64_t job_id, uint32_t epoch)
{
    struct store_call *self = store_call_create(call, run_list, outputs_done);

    if (!self)
        return;
    self->job_id = job_id;
    self->epoch = epoch;
    store_call_submit(self);
}

/* --- one file --------------------------------------------------------------------------------- */

struct sending {
    struct vault_work work; /* first */
    struct api_call *call;  /* NULL: gone */
    struct controller *controller;
    uint64_t job_id;
    uint32_t epoch;
    char *path;
    bool begun, has_manifest;
    struct manifest manifest;
    const struct manifest_entry *entry;
    uint32_t next;
    struct buf piece;
    uv_timer_t timer;
};

static void on_closed(uv_handle_t *handle)
{
    struct sending *sending = handle->data;

    if (sending->has_manifest)
        manifest_fini(&sending->manifest);
    buf_fini(&sending->piece);
    free(sending->path);
    free(sending);
}

static void sending_end(struct sending *sending)
{
    uv_timer_stop(&sending->timer);
    uv_close((uv_handle_t *)&sending->timer, on_closed);
}

static int run_piece(struct vault_work *work, struct vault *vault, struct store *store,
                     struct err *err)
{
    struct sending *sending = (struct sending *)work;
    struct store_id id;
    int rc = 0;

    (void)vault;
    if (!sending->has_manifest) {
        rc = artifacts_find(sending->controller, store, sending->job_id, sending->epoch, &id, err);
        if (rc == 0)
            rc = store_manifest_read(store, &id, &sending->manifest, err);
        if (rc < 0)
            return rc;
        sending->has_manifest = true;
        sending->entry = manifest_find(&sending->manifest, sending->path);
        if (!sending->entry || sending->entry->kind != MANIFEST_FILE)
            return err_set(err, -ENOENT, "job %" PRIu64 " has no output %.200s", sending->job_id,
                           sending->path);
    }
    buf_clear(&sending->piece);
    while (rc == 0 && sending->next < sending->entry->chunks_count &&
           sending->piece.len < PIECE_BYTES)
        rc = store_chunk_read(
            store, &sending->manifest.chunks[sending->entry->chunk_first + sending->next++],
            &sending->piece, err);
    return rc;
}

static void submit_piece(struct sending *sending);

static void on_sending_gone(struct api_call *call)
{
    struct sending *sending = call->kept;

    sending->call = NULL;
    if (uv_is_active((uv_handle_t *)&sending->timer))
        sending_end(sending); /* else the piece on its way does it */
}

static void finish(struct sending *sending)
{
    struct api_call *call = TAKE(sending->call);

    call->gone = NULL;
    api_stream_end(call);
    sending_end(sending);
}

static void on_pause(uv_timer_t *timer)
{
    struct sending *sending = timer->data;

    if (http_stream_backlog(sending->call->request) > BACKLOG_BYTES)
        return;
    uv_timer_stop(timer);
    if (sending->next < sending->entry->chunks_count)
        submit_piece(sending);
    else
        finish(sending);
}

static bool begin_stream(struct sending *sending)
{
    char length[32];
    struct http_header headers[] = { { "Mains-Output-Bytes", length },
                                     { "X-Content-Type-Options", "nosniff" } };
    struct api_call *call = sending->call;

    snprintf(length, sizeof(length), "%" PRId64, sending->entry->bytes);
    call->gone = NULL;
    if (api_stream_begin(call, "application/octet-stream", headers, 2) < 0)
        return false;
    call->gone = on_sending_gone;
    sending->begun = true;
    return true;
}

static void piece_done(struct vault_work *work)
{
    struct sending *sending = (struct sending *)work;
    struct api_call *call = sending->call;

    if (!call) {
        sending_end(sending);
    } else if (work->rc < 0 && !sending->begun) {
        call->gone = NULL;
        store_fail(call, work->rc, &work->err);
        sending_end(sending);
    } else if (work->rc < 0) {
        finish(sending); /* cut short: it has said how long it should be */
    } else if (!sending->begun && !begin_stream(sending)) {
        sending_end(sending);
    } else if (sending->piece.len &&
               http_stream_push(call->request, sending->piece.data, sending->piece.len) < 0) {
        finish(sending);
    } else {
        uv_timer_start(&sending->timer, on_pause, 0, BACKLOG_PAUSE_MS);
    }
}

static void submit_piece(struct sending *sending)
{
    sending->work.run = run_piece;
    sending->work.done = piece_done;
    if (vault_submit(sending->controller->vault, &sending->work) == 0)
        return;
    if (sending->begun) { /* it waits its turn */
        uv_timer_start(&sending->timer, on_pause, BACKLOG_PAUSE_MS, BACKLOG_PAUSE_MS);
        return;
    }
    sending->call->gone = NULL;
    api_error(sending->call, 503, "overloaded", NULL, "the store has too much to do: ask again");
    sending_end(sending);
}

void artifacts_reply_output(struct api_call *call, uint64_t job_id, uint32_t epoch,
                            const char *path)
{
    struct sending *sending = calloc(1, sizeof(*sending));

    if (sending)
        sending->path = strdup(path);
    if (!sending || !sending->path) {
        free(sending);
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    sending->call = call;
    sending->controller = call->controller;
    sending->job_id = job_id;
    sending->epoch = epoch;
    sending->piece = buf_init(2u * PIECE_BYTES);
    uv_timer_init(&call->controller->loop, &sending->timer);
    sending->timer.data = sending;
    call->gone = on_sending_gone;
    call->kept = sending;
    submit_piece(sending);
}

/* --- GET /jobs/{id}/artifacts: with where they come from -------------------------------------- */

static json_t *names_of(const json_t *object)
{
    json_t *names = json_array();
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)object, name, value)
        json_array_append_new(names, json_string(name));
    return names;
}

/* Each by what it was: content by its hash, a tree of the store by its name, else where it lay. */
static json_t *inputs_of(const json_t *spec)
{
    json_t *inputs = json_array(), *input;
    size_t i;

    json_array_foreach (json_object_get(spec, "inputs"), i, input) {
        const char *content = json_string_value(json_object_get(input, "content"));
        json_t *row = json_object();
        char name[STORE_ID_TEXT_BYTES];

        if (content) {
            struct store_id id = store_id_of(content, strlen(content));

            store_id_format(&id, name);
            json_object_set_new(row, "digest", json_string(name));
        }
        if (json_object_get(input, "from"))
            json_object_set(row, "from", json_object_get(input, "from"));
        if (json_object_get(input, "to"))
            json_object_set(row, "to", json_object_get(input, "to"));
        json_array_append_new(inputs, row);
    }
    return inputs;
}

static json_t *versions_of(const struct controller *controller, const char *site, const char *node)
{
    const struct grid *grid = shell_grid(controller->shell);
    int index = site ? grid_site_find(grid, site) : -1;
    json_t *versions = json_pack("{s:s}", "mains", MAINS_VERSION);
    size_t len = node ? strcspn(node, ",") : 0;
    const struct site_info *info;
    bool reachable;

    if (index < 0)
        return versions;
    info = grid_site_get(grid, (uint32_t)index, &reachable);
    for (uint32_t i = 0; i < info->nodes_count; i++) {
        const struct node_info *at = &info->nodes[i];

        if (!node || strlen(at->name) != len || strncmp(at->name, node, len) != 0)
            continue;
        json_object_set_new(versions, "os", json_string(at->os));
        json_object_set_new(versions, "arch", json_string(at->arch));
        json_object_set_new(versions, "cpu", json_string(at->cpu_model));
        if (at->devices_count && at->devices[0].driver[0])
            json_object_set_new(versions, "driver", json_string(at->devices[0].driver));
        break;
    }
    return versions;
}

static void copy_keys(json_t *to, const json_t *from, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_object_set_new(to, keys[i],
                            json_object_get(from, keys[i])
                                ? json_deep_copy(json_object_get(from, keys[i]))
                                : json_null());
}

/* Names of variables, never their values; the values that are no secret stand in the job file. */
static json_t *provenance_of(struct controller *controller, const struct job_found *found)
{
    static const char *const of_job[] = { "id",         "name",     "tenant",    "user",
                                          "started_at", "ended_at", "exit_code", "epoch" };
    static const char *const of_attempt[] = { "site", "nodes", "chip" };
    CLEANUP(jsonp) json_t *job = job_found_to_json(controller, found, true);
    const json_t *spec = json_object_get(job, "spec");
    const json_t *attempts = json_object_get(job, "attempts");
    const json_t *last = json_array_get(attempts, json_array_size(attempts) - 1);
    json_t *out = json_object();

    copy_keys(out, job, of_job, ARRAY_COUNT(of_job));
    copy_keys(out, last, of_attempt, ARRAY_COUNT(of_attempt));
    json_object_set_new(out, "job", json_deep_copy(spec));
    json_object_set_new(
        out, "command",
        json_object_get(spec, "command") ? json_deep_copy(json_object_get(spec, "command"))
        : json_object_get(spec, "run")   ? json_deep_copy(json_object_get(spec, "run"))
                                         : json_null());
    json_object_set_new(out, "image",
                        json_object_get(spec, "image")
                            ? json_deep_copy(json_object_get(spec, "image"))
                            : json_null());
    json_object_set_new(out, "inputs", inputs_of(spec));
    json_object_set_new(out, "environment", names_of(json_object_get(spec, "env")));
    json_object_set_new(out, "secrets", names_of(json_object_get(spec, "secrets")));
    json_object_set_new(out, "versions",
                        versions_of(controller, json_string_value(json_object_get(last, "site")),
                                    json_string_value(json_object_get(last, "nodes"))));
    return out;
}

static int run_artifacts(struct vault_work *work, struct vault *vault, struct store *store,
                         struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    json_t *provenance = TAKE(self->json);
    int rc = list(self, store, err);

    (void)vault;
    if (rc < 0) {
        json_decref(provenance);
        return rc;
    }
    json_object_set_new(self->json, "provenance", provenance);
    return 0;
}

static void artifacts_done(struct vault_work *work)
{
    struct store_call *self = (struct store_call *)work;
    struct api_call *call = store_call_take(self);

    if (call)
        api_reply_json(call, 200, TAKE(self->json));
    store_call_free(self);
}

static void reply_artifacts(struct api_call *call, const struct job_found *found)
{
    struct store_call *self;

    if (found->kind == JOB_IS_ARRAY) {
        api_error(call, 400, "invalid", "id", "%s is an array: name one element, as %s.0",
                  call->params[0], call->params[0]);
        return;
    }
    self = store_call_create(call, run_artifacts, artifacts_done);
    if (!self)
        return;
    self->job_id = found->id;
    self->epoch = found->kind == JOB_IS_LIVE ? found->view.epoch : found->row.epoch;
    self->json = provenance_of(call->controller, found);
    store_call_submit(self);
}

void api_job_artifacts(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_artifacts);
}

/* --- GET /site-session/inputs: what `artifact:` in a job's inputs names ----------------------- */

#define SOURCES_MAX SPEC_LIST_MAX

struct source { /* one input of that kind */
    uint32_t index;
    uint64_t job_id;
    uint32_t epoch;
};

static int run_sources(struct vault_work *work, struct vault *vault, struct store *store,
                       struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    const struct source *sources = (const struct source *)self->body;
    json_t *rows = json_array();
    size_t count = self->body_len / sizeof(*sources);
    int rc = 0;

    (void)vault;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char name[STORE_ID_TEXT_BYTES];
        struct store_id id;

        rc = artifacts_find(self->controller, store, sources[i].job_id, sources[i].epoch, &id, err);
        if (rc < 0)
            break;
        store_id_format(&id, name);
        json_array_append_new(
            rows, json_pack("{s:I, s:s}", "index", (json_int_t)sources[i].index, "manifest", name));
    }
    self->json = json_pack("{s:o}", "inputs", rows);
    return rc;
}

/* The job that an input names: of the same tenant, and ended. -EAGAIN: not in the history yet. */
static bool has_label(const struct request_access *access, const char *label)
{
    return site_policy_has_label(access->labels, access->labels_count, label);
}

static int add_labels(const char *spec_json, size_t len, const char *from,
                      struct request_access *access, struct err *err)
{
    CLEANUP(jsonp) json_t *spec = json_loadb(spec_json, len, 0, NULL);
    json_t *item;
    size_t i;

    json_array_foreach (json_object_get(spec, "data"), i, item) {
        const char *label = json_string_value(item);

        if (!label || strlen(label) >= MODEL_NAME_BYTES || has_label(access, label))
            continue;
        if (access->labels_count == REQUEST_LABELS_MAX)
            return err_field(err, -E2BIG, "data",
                             "data: with those of %.100s there are more than %u labels", from,
                             REQUEST_LABELS_MAX);
        snprintf(access->labels[access->labels_count++], MODEL_NAME_BYTES, "%s", label);
    }
    return 0;
}

/* The job that a source names. */
struct named {
    char text[MODEL_NAME_BYTES]; /* as it is named */
    uint64_t id;
    uint32_t index; /* of an element */
    bool is_element, is_live;
    struct job_view view;   /* live */
    struct history_job row; /* not live, where found */
};

/* 1, 0: there is none; -EINVAL: it names no job; other errors are the history's. */
static int find_named(struct controller *controller, const char *from, struct named *out,
                      struct err *err)
{
    struct history_db *db = history_reader(controller->history);
    size_t len;
    const char *name = spec_source_name(from, &len);

    snprintf(out->text, sizeof(out->text), "%.*s", (int)len, name);
    if (!job_id_parse(out->text, &out->id, &out->is_element, &out->index))
        return err_set(err, -EINVAL, "%.100s: names no job", from);
    out->is_live = job_find_live(shell_grid(controller->shell), out->id, out->is_element,
                                 out->index, &out->view);
    if (out->is_live)
        return 1;
    return out->is_element ? history_db_find_element(db, out->id, out->index, &out->row, err)
                           : history_db_find_job(db, out->id, &out->row, err);
}

int artifacts_add_labels(struct controller *controller, const char *tenant, const char *from,
                         struct request_access *access, struct err *err)
{
    struct named named;

    if (find_named(controller, from, &named, err) != 1 ||
        strcmp(named.is_live ? named.view.tenant : named.row.tenant, tenant) != 0)
        return 0;
    return named.is_live ? add_labels(named.view.spec_json, named.view.spec_len, from, access, err)
                         : add_labels(named.row.spec, strlen(named.row.spec), from, access, err);
}

/* Its data must not come to where this job may be, and its own could not. */
static int check_labels(const struct history_job *row, const struct request_access *access,
                        const char *from, struct err *err)
{
    struct request_access both = *access;
    int rc = add_labels(row->spec, strlen(row->spec), from, &both, err);

    if (rc == 0 && both.labels_count > access->labels_count)
        rc = err_set(err, -EPROTO, "%.100s is data labelled %s: say so in `data`", from,
                     both.labels[access->labels_count]);
    return rc;
}

static int find_source(struct controller *controller, const char *tenant, const char *from,
                       const struct request_access *access, struct source *out, struct err *err)
{
    struct grid *grid = shell_grid(controller->shell);
    struct named named;
    int rc = find_named(controller, from, &named, err);

    if (rc == -EINVAL)
        return rc;
    if (rc == 1 && named.is_live)
        return err_set(err, -EPROTO, "%.100s: job %s has not ended: name it in `after`, too", from,
                       named.text);
    if (rc < 0)
        return -EAGAIN;
    if (rc == 0 &&
        grid_find_outcome(grid, named.is_element ? named.id + 1 + named.index : named.id) >= 0)
        return err_set(err, -EAGAIN, "%.100s: job %s has only just ended", from, named.text);
    if (rc == 0 || strcmp(named.row.tenant, tenant) != 0)
        return err_set(err, -ENOENT, "%.100s: there is no job %s", from, named.text);
    out->job_id = named.row.id;
    out->epoch = named.row.epoch;
    return check_labels(&named.row, access, from, err);
}

static int find_sources(struct controller *controller, const struct job_view *view,
                        struct buf *sources_out, struct err *err)
{
    CLEANUP(jsonp) json_t *spec = json_loadb(view->spec_json, view->spec_len, 0, NULL);
    CLEANUP(freep) char *tenant = strdup(view->tenant);
    struct request_access access = { .labels_count = 0 };
    json_t *input;
    size_t i;
    int rc =
        tenant ? add_labels(view->spec_json, view->spec_len, "the job", &access, err) : -ENOMEM;

    json_array_foreach (json_object_get(spec, "inputs"), i, input) {
        const char *from = json_string_value(json_object_get(input, "from"));
        struct source source = { .index = (uint32_t)i };

        if (rc < 0 || !from || spec_source_of(from) != SOURCE_ARTIFACT)
            continue;
        rc = find_source(controller, tenant, from, &access, &source, err);
        if (rc == 0)
            rc = buf_add(sources_out, &source, sizeof(source));
    }
    return rc;
}

static void sources_done(struct vault_work *work)
{
    struct store_call *self = (struct store_call *)work;
    struct api_call *call = store_call_take(self);

    if (call)
        api_reply_json(call, 200, TAKE(self->json));
    store_call_free(self);
}

/* Only the site that is to run the job is told. */
void api_site_inputs(struct api_call *call)
{
    const char *site = session_site_of(call);
    CLEANUP(buf_fini) struct buf sources = buf_init(SOURCES_MAX * sizeof(struct source));
    int64_t job = 0, epoch = 0;
    struct attempt_place place;
    struct store_call *self;
    struct job_view view;
    struct err err = { 0 };
    int rc;

    if (!site || !api_query_int(call, "job", 1, INT64_MAX, &job) ||
        !api_query_int(call, "epoch", 1, UINT32_MAX, &epoch))
        return;
    if (!grid_find_job(shell_grid(call->controller->shell), (uint64_t)job, &view) ||
        !grid_find_attempt(shell_grid(call->controller->shell), (uint64_t)job, (uint32_t)epoch,
                           &place) ||
        strcmp(place.site, site) != 0) {
        api_error(call, 409, "conflict", "job",
                  "job %" PRId64 ": attempt %" PRId64 " is not this site's, or no longer", job,
                  epoch);
        return;
    }
    rc = find_sources(call->controller, &view, &sources, &err);
    if (rc < 0) {
        api_fail(call, rc == -EAGAIN ? -ENOBUFS : rc, &err);
        return;
    }
    self = store_call_create(call, run_sources, sources_done);
    if (!self)
        return;
    free(self->body);
    self->body_len = sources.len;
    self->body = buf_take(&sources);
    store_call_submit(self);
}
