#include "controller/job_lookup.h"

#include "controller/history.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lookup {
    struct history_wait wait;
    struct api_call *call;
    job_found_fn then;
    uint64_t id;
    bool is_element;
    uint32_t index;
};

bool job_find_live(struct grid *grid, uint64_t id, bool is_element, uint32_t index,
                   struct job_view *view_out)
{
    if (!is_element)
        return grid_find_job(grid, id, view_out) && !job_state_is_final(view_out->state);
    /* An array's elements have the ids that follow its own. */
    return grid_find_job(grid, id + 1 + index, view_out) && view_out->array_id == id &&
           view_out->array_index == index && !job_state_is_final(view_out->state);
}

static void copy_name(char out[MODEL_NAME_BYTES], const char *text)
{
    snprintf(out, MODEL_NAME_BYTES, "%s", text ? text : "");
}

static void set_live(struct job_found *found)
{
    found->kind = JOB_IS_LIVE;
    found->id = found->view.id;
    copy_name(found->tenant, found->view.tenant);
    copy_name(found->user, found->view.user);
    copy_name(found->name, found->view.name);
}

static void set_ended(struct job_found *found)
{
    found->kind = JOB_IS_ENDED;
    found->id = found->row.id;
    copy_name(found->tenant, found->row.tenant);
    copy_name(found->user, found->row.user);
    copy_name(found->name, found->row.name);
}

/* 1 found, 0 not, -EIO. */
static int find_array(struct controller *controller, uint64_t id, struct job_found *found,
                      struct err *err)
{
    struct grid *grid = shell_grid(controller->shell);
    uint32_t queued = 0, running = 0;
    uint32_t live = grid_array_live(grid, id, &queued, &running);
    uint64_t ended[3];
    struct job_view any = { 0 };
    int rc =
        history_db_count_array(history_reader(controller->history), id, ended, &found->row, err);

    if (rc < 0)
        return rc;
    if (!live && !rc)
        return 0;
    found->kind = JOB_IS_ARRAY;
    found->id = id;
    found->counts = (struct array_counts){ .queued = queued,
                                           .running = running,
                                           .held = live - queued - running,
                                           .done = ended[0],
                                           .failed = ended[1],
                                           .cancelled = ended[2] };
    if (rc) {
        set_ended(found);
        found->kind = JOB_IS_ARRAY;
        found->id = id;
        found->array_count = found->row.array_count;
        return 1;
    }
    found->row.id = 0;
    if (!grid_next_job(grid, id, NULL, &any) || any.array_id != id)
        return 0;
    found->array_count = any.array_count;
    copy_name(found->tenant, any.tenant);
    copy_name(found->user, any.user);
    copy_name(found->name, any.name);
    return 1;
}

static int find_anywhere(struct lookup *lookup, struct job_found *found, struct err *err)
{
    struct controller *controller = lookup->call->controller;
    struct history_db *db = history_reader(controller->history);
    int rc;

    if (job_find_live(shell_grid(controller->shell), lookup->id, lookup->is_element, lookup->index,
                      &found->view)) {
        set_live(found);
        return 1;
    }
    if (lookup->is_element)
        rc = history_db_find_element(db, lookup->id, lookup->index, &found->row, err);
    else
        rc = history_db_find_job(db, lookup->id, &found->row, err);
    if (rc > 0)
        set_ended(found);
    if (rc != 0)
        return rc;
    return lookup->is_element ? 0 : find_array(controller, lookup->id, found, err);
}

static void finish(struct lookup *lookup, const struct job_found *found, int rc,
                   const struct err *err)
{
    struct api_call *call = lookup->call;
    job_found_fn then = lookup->then;

    free(lookup);
    call->gone = NULL;
    call->kept = NULL;
    if (rc < 0)
        api_error(call, 503, "history_unavailable", NULL, "%s",
                  err && err->text[0] ? err->text : "the history cannot be written now");
    else if (!rc || !api_sees_tenant(call, found->tenant))
        api_error(call, 404, "not_found", NULL, "there is no job %s", call->params[0]);
    else
        then(call, found);
}

static void on_history(struct history_wait *wait, int rc)
{
    struct lookup *lookup = CONTAINER_OF(wait, struct lookup, wait);
    struct job_found found = { 0 };
    struct err err = { 0 };

    if (rc == 0)
        rc = find_anywhere(lookup, &found, &err);
    finish(lookup, &found, rc, &err);
}

static void on_gone(struct api_call *call)
{
    struct lookup *lookup = call->kept;

    history_wait_cancel(call->controller->history, &lookup->wait);
    free(lookup);
}

void job_lookup(struct api_call *call, const char *text, job_found_fn then)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct job_found found = { 0 };

    if (!lookup) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    lookup->call = call;
    lookup->then = then;
    lookup->wait.run = on_history;
    if (!job_id_parse(text, &lookup->id, &lookup->is_element, &lookup->index)) {
        free(lookup);
        api_error(call, 400, "invalid", "id", "\"%s\" is not a job's id: expected 12, or 12.3",
                  text);
        return;
    }
    if (job_find_live(shell_grid(call->controller->shell), lookup->id, lookup->is_element,
                      lookup->index, &found.view)) {
        set_live(&found);
        finish(lookup, &found, 1, NULL);
        return;
    }
    call->gone = on_gone;
    call->kept = lookup;
    history_wait(call->controller->history, &lookup->wait);
}

void job_reply_state(struct api_call *call, const struct job_found *found, uint64_t seq)
{
    struct grid *grid = shell_grid(call->controller->shell);
    struct job_view view;

    api_reply_durable(
        call, seq, 202,
        json_pack("{s:s, s:s}", "id", call->params[0], "state",
                  grid_find_job(grid, found->id, &view) ? job_state_name(view.state) : "done"));
}

bool job_found_is_final(const struct job_found *found)
{
    switch (found->kind) {
    case JOB_IS_LIVE:
        return false;
    case JOB_IS_ENDED:
        return true;
    case JOB_IS_ARRAY:
        return job_state_is_final(array_state(&found->counts));
    }
    return false;
}

static int add_attempt(void *context, const struct history_attempt *attempt)
{
    return json_array_append_new(context, attempt_row_to_json(attempt));
}

json_t *job_found_to_json(struct controller *controller, const struct job_found *found, bool full)
{
    struct history_db *db = history_reader(controller->history);
    json_t *json, *attempts;

    if (found->kind == JOB_IS_ARRAY) {
        json = array_to_json(found->id, found->array_count, found->name, found->tenant, found->user,
                             &found->counts);
        if (json && job_found_is_final(found))
            json_object_set_new(
                json, "exit_code",
                json_integer(found->counts.failed + found->counts.cancelled ? 1 : 0));
        return json;
    }
    json = found->kind == JOB_IS_LIVE
               ? job_view_to_json(shell_grid(controller->shell), &found->view, full)
               : job_row_to_json(&found->row, full);
    if (!json || !full)
        return json;
    attempts = json_array();
    json_object_set_new(json, "attempts", attempts);
    history_db_list_attempts(db, found->id, add_attempt, attempts, NULL);
    return json;
}

/* --- dependencies ----------------------------------------------------------------------------- */

static uint64_t find_live_name(struct grid *grid, const char *tenant, const char *name)
{
    struct job_view view;
    uint64_t after = 0, found = 0;

    while (grid_next_job(grid, after, tenant, &view)) {
        after = view.id;
        if (!job_state_is_final(view.state) && !strcmp(view.name, name))
            found = view.array_id ? view.array_id : view.id;
    }
    return found;
}

static int settle_ended(const char *text, enum job_state state, enum dep_kind kind, struct err *err)
{
    if (kind == DEP_ANY || (kind == DEP_OK) == (state == JOB_DONE))
        return 0;
    return err_field(err, -EPROTO, "after", "after: job %s has %s already: this could never start",
                     text, state == JOB_DONE ? "succeeded" : "failed or was cancelled");
}

int job_resolve_dep(struct controller *controller, const char *tenant, const char *text,
                    enum dep_kind kind, uint64_t *id_out, struct err *err)
{
    struct grid *grid = shell_grid(controller->shell);
    struct history_db *db = history_reader(controller->history);
    struct history_job row;
    struct job_view view;
    bool is_element;
    uint32_t index;
    uint64_t id, ended[3];
    int rc;

    *id_out = 0;
    if (!job_id_parse(text, &id, &is_element, &index)) {
        *id_out = find_live_name(grid, tenant, text);
        rc = *id_out ? 0 : history_db_find_name(db, tenant, text, &row, err);
        if (rc > 0)
            return settle_ended(text, row.state, kind, err);
        if (rc == 0 && !*id_out)
            return err_field(err, -ENOENT, "after", "after: you have no job named \"%s\"", text);
        return rc;
    }
    if (is_element ? grid_find_job(grid, id + 1 + index, &view) : grid_find_job(grid, id, &view)) {
        if (strcmp(view.tenant, tenant) != 0 || (is_element && view.array_id != id))
            return err_field(err, -ENOENT, "after", "after: there is no job %s", text);
        if (job_state_is_final(view.state))
            return settle_ended(text, view.state, kind, err);
        *id_out = view.id;
        return 0;
    }
    if (!is_element && grid_array_live(grid, id, NULL, NULL)) {
        if (!grid_next_job(grid, id, NULL, &view) || strcmp(view.tenant, tenant) != 0)
            return err_field(err, -ENOENT, "after", "after: there is no job %s", text);
        *id_out = id;
        return 0;
    }
    rc = is_element ? history_db_find_element(db, id, index, &row, err)
                    : history_db_find_job(db, id, &row, err);
    if (rc == 0 && !is_element) {
        rc = history_db_count_array(db, id, ended, &row, err);
        if (rc > 0)
            row.state = ended[1] + ended[2] ? JOB_FAILED : JOB_DONE;
    }
    if (rc < 0)
        return rc;
    if (!rc || strcmp(row.tenant, tenant) != 0)
        return err_field(err, -ENOENT, "after", "after: there is no job %s", text);
    return settle_ended(text, row.state, kind, err);
}
