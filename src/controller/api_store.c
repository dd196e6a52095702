/* /store: manifests and chunks, for users and sites; /site-session/stored: what a site has put. */
#include "controller/api_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "controller/api_handlers.h"
#include "controller/prestage.h"
#include "controller/session.h"
#include "controller/sizes.h"
#include "store/bundle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_NAME_BYTES (STORE_ROOT_NAME_BYTES_MAX + 1)
#define MANIFEST_TYPE "application/x-mains-manifest"
#define CHUNKS_TYPE "application/x-mains-chunks"
#define GET_CHUNKS_MAX 8192u

/* --- calls that wait -------------------------------------------------------------------------- */

void store_call_free(struct store_call *self)
{
    free(self->body);
    buf_fini(&self->out);
    json_decref(self->json);
    free(self);
}

static void on_gone(struct api_call *call)
{
    struct store_call *self = call->kept;

    self->call = NULL;
}

struct store_call *store_call_create(struct api_call *call, store_call_run_fn run,
                                     void (*done)(struct vault_work *work))
{
    struct store_call *self = calloc(1, sizeof(*self));

    if (!self) {
        api_error(call, 503, "overloaded", NULL, "out of memory");
        return NULL;
    }
    self->body = http_request_take_body(call->request, &self->body_len);
    self->work.bytes = self->body_len;
    self->call = call;
    self->controller = call->controller;
    self->work.run = run;
    self->work.done = done;
    self->out = buf_init(MANIFEST_BYTES_MAX);
    return self;
}

void store_call_submit(struct store_call *self)
{
    struct api_call *call = self->call;

    call->gone = on_gone;
    call->kept = self;
    if (vault_submit(call->controller->vault, &self->work) == 0)
        return;
    call->gone = NULL;
    api_error(call, 503, "overloaded", NULL, "the store has too much to do: ask again");
    store_call_free(self);
}

void store_fail(struct api_call *call, int rc, const struct err *err)
{
    switch (rc) {
    case -ENOSPC:
    case -EDQUOT:
        api_error(call, 507, "store_full", NULL, "%s", err->text);
        break;
    case -EFBIG:
        api_error(call, 413, "too_large", NULL, "%s", err->text);
        break;
    case -ECANCELED:
        api_error(call, 503, "overloaded", NULL, "the controller is stopping: ask again");
        break;
    default:
        api_fail(call, rc, err);
        break;
    }
}

struct api_call *store_call_take(struct store_call *self)
{
    struct api_call *call = TAKE(self->call);

    if (!call)
        return NULL;
    call->gone = NULL;
    if (self->work.rc == 0)
        return call;
    store_fail(call, self->work.rc, &self->work.err);
    return NULL;
}

static void answer(struct vault_work *work)
{
    struct store_call *self = (struct store_call *)work;
    struct api_call *call = store_call_take(self);
    const json_t *bytes = json_object_get(self->json, "content_bytes");

    if (bytes && self->controller->sizes)
        sizes_note(self->controller->sizes, &self->id, json_integer_value(bytes));
    if (call && self->json)
        api_reply_json(call, 200, TAKE(self->json));
    else if (call)
        api_reply_text(call, 200, self->content_type, self->out.data ? self->out.data : "",
                       self->out.len, NULL, 0);
    store_call_free(self);
}

/* The {manifest} of the path; false: answered. */
static bool read_name(struct api_call *call, const char *text, struct store_id *id_out)
{
    if (strlen(text) == STORE_ID_CHARS && store_id_parse(text, STORE_ID_CHARS, id_out))
        return true;
    api_error(call, 400, "invalid", "manifest", "manifest: expected %u lower-case hex digits",
              STORE_ID_CHARS);
    return false;
}

/* --- manifests and chunks --------------------------------------------------------------------- */

static int list_missing(struct store_call *self, struct store *store, struct err *err)
{
    struct chunk_list list = { 0 };
    struct manifest manifest = { 0 };
    char name[STORE_ID_TEXT_BYTES];
    json_t *names;
    int rc = store_flush(store, err);

    if (rc == 0)
        rc = store_manifest_read(store, &self->id, &manifest, err);
    if (rc < 0)
        return rc;
    rc = store_missing(store, &manifest, &list, err);
    if (rc < 0) {
        manifest_fini(&manifest);
        return rc;
    }
    names = json_array();
    for (uint32_t i = 0; i < list.count && i < STORE_MISSING_LISTED_MAX; i++) {
        store_id_format(&list.chunks[i].id, name);
        json_array_append_new(names, json_string(name));
    }
    store_id_format(&self->id, name);
    self->json = json_pack("{s:s, s:I, s:I, s:I, s:o}", "manifest", name, "content_bytes",
                           (json_int_t)manifest.content_bytes, "missing", (json_int_t)list.count,
                           "missing_bytes", (json_int_t)list.bytes, "chunks", names);
    chunk_list_fini(&list);
    manifest_fini(&manifest);
    return self->json ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* Held while its chunks come: a day from each time it is told. */
static int run_put_manifest(struct vault_work *work, struct vault *vault, struct store *store,
                            struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    char root[ROOT_NAME_BYTES] = "up-";
    int rc = vault_make_room(vault, store, (int64_t)self->body_len, err);

    if (rc == 0)
        rc = store_manifest_import(store, self->body, self->body_len, &self->id, err);
    if (rc < 0)
        return rc;
    store_id_format(&self->id, root + strlen(root));
    rc = store_root_set(store, root, &self->id, clock_wall_ms() + VAULT_UPLOAD_LEASE_MS, err);
    return rc < 0 ? rc : list_missing(self, store, err);
}

void api_store_manifest_put(struct api_call *call)
{
    struct store_call *self = store_call_create(call, run_put_manifest, answer);

    if (self)
        store_call_submit(self);
}

static int run_missing(struct vault_work *work, struct vault *vault, struct store *store,
                       struct err *err)
{
    (void)vault;
    return list_missing((struct store_call *)work, store, err);
}

static int run_get_manifest(struct vault_work *work, struct vault *vault, struct store *store,
                            struct err *err)
{
    struct store_call *self = (struct store_call *)work;

    (void)vault;
    self->content_type = MANIFEST_TYPE;
    return store_manifest_export(store, &self->id, &self->out, err);
}

static void begin_named(struct api_call *call, store_call_run_fn run)
{
    struct store_id id;
    struct store_call *self;

    if (!read_name(call, call->params[0], &id))
        return;
    self = store_call_create(call, run, answer);
    if (!self)
        return;
    self->id = id;
    store_call_submit(self);
}

void api_store_manifest_get(struct api_call *call)
{
    begin_named(call, run_get_manifest);
}

void api_store_manifest_missing(struct api_call *call)
{
    begin_named(call, run_missing);
}

static int run_put_chunks(struct vault_work *work, struct vault *vault, struct store *store,
                          struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    uint32_t count = 0;
    int rc = vault_make_room(vault, store, (int64_t)self->body_len, err);

    if (rc == 0)
        rc = bundle_import(store, self->body, self->body_len, &count, err);
    if (rc < 0)
        return rc;
    self->json = json_pack("{s:I}", "taken", (json_int_t)count);
    return 0;
}

void api_store_chunks_put(struct api_call *call)
{
    struct store_call *self = store_call_create(call, run_put_chunks, answer);

    if (self)
        store_call_submit(self);
}

/* As many as fit into one answer, the first at least, in the order asked for. */
static int run_get_chunks(struct vault_work *work, struct vault *vault, struct store *store,
                          struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    size_t count = self->body_len / STORE_ID_BYTES;

    (void)vault;
    self->content_type = CHUNKS_TYPE;
    if (!count || self->body_len % STORE_ID_BYTES || count > GET_CHUNKS_MAX)
        return err_set(err, -EINVAL, "the body is 1 to %u names of %u bytes each", GET_CHUNKS_MAX,
                       STORE_ID_BYTES);
    for (size_t i = 0; i < count && self->out.len < BUNDLE_BYTES_WANTED; i++) {
        struct store_id id;
        int rc;

        memcpy(id.bytes, self->body + i * STORE_ID_BYTES, STORE_ID_BYTES);
        rc = bundle_add(store, &id, &self->out, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void api_store_chunks_get(struct api_call *call)
{
    struct store_call *self = store_call_create(call, run_get_chunks, answer);

    if (self)
        store_call_submit(self);
}

/* --- what a site has put: held, then recorded ------------------------------------------------- */

static void root_of(const char *kind, uint64_t job_id, uint32_t epoch, const char *manifest,
                    char out[ROOT_NAME_BYTES])
{
    if (!strcmp(kind, "checkpoint"))
        snprintf(out, ROOT_NAME_BYTES, "ckpt-%" PRIu64 "-%s", job_id, manifest);
    else
        snprintf(out, ROOT_NAME_BYTES, "out-%" PRIu64 ".%" PRIu32, job_id, epoch);
}

static int run_hold(struct vault_work *work, struct vault *vault, struct store *store,
                    struct err *err)
{
    struct store_call *self = (struct store_call *)work;
    char root[ROOT_NAME_BYTES], name[STORE_ID_TEXT_BYTES];
    int rc = list_missing(self, store, err);

    (void)vault;
    if (rc < 0)
        return rc;
    if (json_integer_value(json_object_get(self->json, "missing")))
        return err_set(err, -EBADMSG, "%" PRId64 " of its chunks have not come",
                       (int64_t)json_integer_value(json_object_get(self->json, "missing")));
    self->bytes = json_integer_value(json_object_get(self->json, "content_bytes"));
    json_decref(TAKE(self->json));
    store_id_format(&self->id, name);
    root_of(self->kind, self->job_id, self->epoch, name, root);
    return store_root_set(store, root, &self->id, clock_wall_ms() + VAULT_KEEP_MS, err);
}

/* A root's lease is cut short; nobody waits for it. */
struct release {
    struct vault_work work; /* first */
    char root[ROOT_NAME_BYTES];
    int64_t lease_ms; /* from now; 0 = it goes */
};

static int run_release(struct vault_work *work, struct vault *vault, struct store *store,
                       struct err *err)
{
    struct release *release = (struct release *)work;
    struct store_id id;
    int64_t until_ms;
    int rc = store_root_find(store, release->root, &id, &until_ms, err);

    (void)vault;
    if (rc < 0)
        return rc;
    return release->lease_ms
               ? store_root_set(store, release->root, &id, clock_wall_ms() + release->lease_ms, err)
               : store_root_remove(store, release->root, err);
}

static void release_done(struct vault_work *work)
{
    free(work);
}

static void release_root(struct controller *controller, uint64_t job_id, const char *manifest,
                         int64_t lease_ms)
{
    struct release *release = calloc(1, sizeof(*release));

    if (!release)
        return; /* its lease ends by itself */
    release->work.run = run_release;
    release->work.done = release_done;
    release->lease_ms = lease_ms;
    root_of("checkpoint", job_id, 0, manifest, release->root);
    if (vault_submit(controller->vault, &release->work) < 0)
        free(release);
}

void store_job_ended(struct controller *controller, const struct job_view *view)
{
    if (view->checkpoint[0] && controller->vault)
        release_root(controller, view->id, view->checkpoint, VAULT_ENDED_CHECKPOINT_LEASE_MS);
}

static void checkpoint_event(const struct store_call *self, const char *name, struct event *event)
{
    *event = (struct event){ .type = EVENT_CHECKPOINT_STORED };
    event->checkpoint_stored = (struct event_checkpoint_stored){ .job_id = self->job_id,
                                                                 .epoch = self->epoch,
                                                                 .site = self->site,
                                                                 .manifest = name,
                                                                 .bytes = self->bytes,
                                                                 .saved_ms = self->saved_ms };
}

/* Outputs are taken while the attempt still holds what it ran on: its end comes after them. */
static int check_outputs(struct controller *controller, const struct store_call *self,
                         struct err *err)
{
    struct job_view view;

    if (grid_find_job(shell_grid(controller->shell), self->job_id, &view) &&
        view.epoch == self->epoch && !strcmp(view.allocation.site, self->site))
        return 0;
    return err_set(err, -EPROTO, "job %" PRIu64 ": attempt %u is not this site's, or no longer",
                   self->job_id, self->epoch);
}

static void record(struct vault_work *work)
{
    struct store_call *self = (struct store_call *)work;
    struct controller *controller = self->controller;
    struct api_call *call = store_call_take(self);
    char name[STORE_ID_TEXT_BYTES], before[CHECKPOINT_NAME_CHARS + 1] = "";
    struct job_view view;
    struct event event;
    struct err err = { 0 };
    uint64_t seq = 0;
    int rc;

    if (!call) { /* it will be told again */
        store_call_free(self);
        return;
    }
    store_id_format(&self->id, name);
    if (!strcmp(self->kind, "outputs")) {
        rc = check_outputs(controller, self, &err);
        if (rc == 0 && controller->sizes &&
            grid_find_job(shell_grid(controller->shell), self->job_id, &view))
            sizes_note_outputs(controller->sizes, &view, self->epoch, &self->id, self->bytes);
        seq = shell_last_seq(controller->shell);
    } else {
        if (grid_find_job(shell_grid(controller->shell), self->job_id, &view))
            memcpy(before, view.checkpoint, strlen(view.checkpoint) + 1);
        checkpoint_event(self, name, &event);
        rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
        if (rc == 0 && before[0] && strcmp(before, name) != 0)
            release_root(controller, self->job_id, before, 0);
        else if (rc < 0 && rc != -EALREADY && strcmp(before, name) != 0)
            release_root(controller, self->job_id, name, 0);
        if (rc == 0)
            prestage_offer(controller, self->job_id, name);
        if (rc == -EALREADY) { /* what is there is as new: all is well */
            rc = 0;
            seq = shell_last_seq(controller->shell);
        }
    }
    if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_durable(
            call, seq, 200,
            json_pack("{s:s, s:I}", "manifest", name, "bytes", (json_int_t)self->bytes));
    store_call_free(self);
}

static bool read_stored(struct api_call *call, struct store_call *self)
{
    CLEANUP(jsonp) json_t *json = json_loadb(self->body ? self->body : "", self->body_len, 0, NULL);
    const char *kind, *manifest;
    json_int_t job = 0, epoch = 0, saved = 0;

    if (json_unpack(json, "{s:s, s:I, s:I, s:s, s?I}", "kind", &kind, "job", &job, "epoch", &epoch,
                    "manifest", &manifest, "saved_ms", &saved) < 0 ||
        (strcmp(kind, "checkpoint") != 0 && strcmp(kind, "outputs") != 0) || job < 1 || epoch < 1 ||
        epoch > UINT32_MAX || saved < 0) {
        api_error(call, 400, "invalid", NULL,
                  "expected kind (checkpoint or outputs), job, epoch, manifest and saved_ms");
        return false;
    }
    if (!read_name(call, manifest, &self->id))
        return false;
    snprintf(self->kind, sizeof(self->kind), "%s", kind);
    self->job_id = (uint64_t)job;
    self->epoch = (uint32_t)epoch;
    self->saved_ms = saved;
    return true;
}

void api_site_stored(struct api_call *call)
{
    const char *site = session_site_of(call);
    struct store_call *self = site ? store_call_create(call, run_hold, record) : NULL;
    char name[STORE_ID_TEXT_BYTES];
    struct event event;
    struct err err = { 0 };
    int rc;

    if (!self)
        return;
    snprintf(self->site, sizeof(self->site), "%s", site);
    if (!read_stored(call, self)) {
        store_call_free(self);
        return;
    }
    /* Before the store is asked: a stranger's word holds nothing there. */
    store_id_format(&self->id, name);
    checkpoint_event(self, name, &event);
    rc = !strcmp(self->kind, "outputs")
             ? check_outputs(call->controller, self, &err)
             : grid_check(shell_grid(call->controller->shell), &event, &err);
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        store_call_free(self);
        return;
    }
    store_call_submit(self);
}
