/* GET /jobs, GET and DELETE /jobs/{id}, /jobs/{id}/why. */
#include "controller/api_handlers.h"

#include "controller/history.h"
#include "controller/job_lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_SCAN_MAX 200000u /* live jobs looked at for one page */
#define STATES_FINAL ((1u << JOB_DONE) | (1u << JOB_FAILED) | (1u << JOB_CANCELLED))

/* --- one job ------------------------------------------------------------------------------------
 */

static void reply_job(struct api_call *call, const struct job_found *found)
{
    api_reply_json(call, 200, job_found_to_json(call->controller, found, true));
}

void api_job_get(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_job);
}

static void reply_why(struct api_call *call, const struct job_found *found)
{
    struct why why = { 0 };
    uint64_t id = found->id;
    struct job_view view;

    if (job_found_is_final(found)) {
        snprintf(why.code, sizeof(why.code), "ended");
        snprintf(why.text, sizeof(why.text), "%.39s has ended: %s", call->params[0],
                 found->kind == JOB_IS_ENDED ? job_state_name(found->row.state)
                                             : job_state_name(array_state(&found->counts)));
    } else {
        struct grid *grid = shell_grid(call->controller->shell);
        int rc;

        /* Of an array: its first element that is not over. */
        if (found->kind == JOB_IS_ARRAY && grid_next_job(grid, id, NULL, &view))
            id = view.id;
        rc = grid_why(grid, id, &why);
        if (rc < 0) {
            api_fail(call, rc, NULL);
            return;
        }
    }
    api_reply_json(call, 200,
                   json_pack("{s:s, s:s, s:I, s:o}", "code", why.code, "text", why.text, "ahead",
                             (json_int_t)why.ahead, "start_estimate_at",
                             time_to_json(why.start_estimate_ms)));
}

void api_job_why(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_why);
}

static void cancel(struct api_call *call, const struct job_found *found)
{
    struct shell *shell = call->controller->shell;
    const char *reason = http_request_query(call->request, "reason");
    struct event event = { .type = EVENT_JOB_CANCELLED };
    char short_reason[REASON_BYTES];
    struct job_view view;
    struct err err = { 0 };
    const char *state;
    uint64_t seq = shell_last_seq(shell);
    int rc = 0;

    if (!job_found_is_final(found)) {
        snprintf(short_reason, sizeof(short_reason), "%s", reason ? reason : "");
        for (unsigned char *p = (unsigned char *)short_reason; *p; p++)
            if (*p < 0x20 || *p >= 0x7f)
                *p = '?';
        event.job_cancelled.job_id = found->id;
        event.job_cancelled.by = call->who.user;
        event.job_cancelled.reason = short_reason;
        rc = shell_apply(shell, &event, NULL, &seq, &err);
    }
    if (rc < 0 && rc != -EALREADY) {
        api_fail(call, rc, &err);
        return;
    }
    if (found->kind == JOB_IS_ARRAY)
        state =
            grid_array_live(shell_grid(shell), found->id, NULL, NULL) ? "stopping" : "cancelled";
    else if (found->kind == JOB_IS_ENDED)
        state = job_state_name(found->row.state);
    else if (grid_find_job(shell_grid(shell), found->id, &view))
        state = job_state_name(view.state);
    else
        state = "cancelled";
    if (job_found_is_final(found)) /* nothing was asked of the journal */
        api_reply_json(call, 202, json_pack("{s:s, s:s}", "id", call->params[0], "state", state));
    else
        api_reply_durable(call, seq, 202,
                          json_pack("{s:s, s:s}", "id", call->params[0], "state", state));
}

void api_job_cancel(struct api_call *call)
{
    job_lookup(call, call->params[0], cancel);
}

/* --- the list -----------------------------------------------------------------------------------
 */

struct listing {
    struct history_wait wait;
    struct api_call *call;
    char tenant[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES], user[MODEL_NAME_BYTES]; /* "" = any */
    uint64_t after_id, array_id;
    unsigned states; /* bits; 0 = any */
    uint32_t limit;
    bool live, ended;
    struct listed {
        uint64_t id;
        json_t *json;
    } * rows;
    uint32_t rows_count;
    uint64_t scanned_to; /* live jobs were looked at up to this id; 0 = all of them */
};

static void listing_free(struct listing *listing)
{
    for (uint32_t i = 0; i < listing->rows_count; i++)
        json_decref(listing->rows[i].json);
    free(listing->rows);
    free(listing);
}

/* A comma-separated list of state names; "ended" and "live" stand for theirs. */
static bool parse_states(const char *text, unsigned *states_out)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        bool known = false;

        if (len == 5 && !strncmp(text, "ended", 5)) {
            *states_out |= STATES_FINAL;
            known = true;
        }
        if (len == 4 && !strncmp(text, "live", 4)) {
            *states_out |= ~STATES_FINAL & ((1u << (JOB_CANCELLED + 1)) - 1);
            known = true;
        }
        for (int state = JOB_HELD; state <= JOB_CANCELLED && !known; state++) {
            const char *name = job_state_name((enum job_state)state);

            if (strlen(name) == len && !strncmp(name, text, len)) {
                *states_out |= 1u << state;
                known = true;
            }
        }
        if (!known)
            return false;
        text += len + (text[len] == ',');
    }
    return *states_out != 0;
}

static bool take_name(struct api_call *call, const char *key, char out[MODEL_NAME_BYTES])
{
    const char *text = http_request_query(call->request, key);

    if (!text)
        return true;
    if (*text && strlen(text) < MODEL_NAME_BYTES) {
        snprintf(out, MODEL_NAME_BYTES, "%s", text);
        return true;
    }
    api_error(call, 400, "invalid", key, "%s: 1 to %u characters", key, MODEL_NAME_BYTES - 1);
    return false;
}

/* The cursor is the last id shown, in hex after a letter: clients should not count with it. */
static bool take_cursor(struct api_call *call, uint64_t *after_out)
{
    const char *text = http_request_query(call->request, "after");
    char *end;

    if (!text)
        return true;
    errno = 0;
    *after_out = strtoull(*text ? text + 1 : text, &end, 16);
    if (*text == 'c' && text[1] && text[1] != '-' && !*end && !errno && *after_out <= INT64_MAX)
        return true;
    api_error(call, 400, "invalid", "after", "after: expected the `next` of the page before");
    return false;
}

static int compare_rows(const void *a, const void *b)
{
    const struct listed *left = a, *right = b;

    return left->id < right->id ? -1 : left->id > right->id;
}

static void add_row(struct listing *listing, uint64_t id, json_t *json)
{
    if (json)
        listing->rows[listing->rows_count++] = (struct listed){ id, json };
}

static void list_live(struct listing *listing)
{
    struct grid *grid = shell_grid(listing->call->controller->shell);
    const char *tenant = listing->tenant[0] ? listing->tenant : NULL;
    uint64_t after = listing->after_id;
    uint32_t found = 0, scanned = 0;
    struct job_view view;

    while (found < listing->limit && grid_next_job(grid, after, tenant, &view)) {
        after = view.id;
        if (listing->array_id && view.array_id != listing->array_id) {
            if (view.id > listing->array_id && view.array_id > listing->array_id)
                return; /* an array's elements are next to each other */
        } else if (!job_state_is_final(view.state) &&
                   (!listing->states || listing->states & (1u << view.state)) &&
                   (!listing->name[0] || !strcmp(listing->name, view.name)) &&
                   (!listing->user[0] || !strcmp(listing->user, view.user))) {
            add_row(listing, view.id, job_view_to_json(grid, &view, false));
            found++;
        }
        if (++scanned >= LIST_SCAN_MAX) {
            listing->scanned_to = after;
            return;
        }
    }
}

static int add_ended(void *context, const struct history_job *job)
{
    struct listing *listing = context;

    add_row(listing, job->id, job_row_to_json(job, false));
    return 0;
}

static int list_ended(struct listing *listing, struct err *err)
{
    struct history_filter filter = { .tenant = listing->tenant[0] ? listing->tenant : NULL,
                                     .name = listing->name[0] ? listing->name : NULL,
                                     .user = listing->user[0] ? listing->user : NULL,
                                     .after_id = listing->after_id,
                                     .array_id = listing->array_id,
                                     .states = listing->states,
                                     .limit = listing->limit };

    return history_db_list_jobs(history_reader(listing->call->controller->history), &filter,
                                add_ended, listing, err);
}

static void reply_list(struct listing *listing)
{
    struct api_call *call = listing->call;
    json_t *list = json_array();
    uint32_t shown = 0;
    uint64_t last = 0;
    bool more = false;
    char cursor[32];

    qsort(listing->rows, listing->rows_count, sizeof(*listing->rows), compare_rows);
    for (uint32_t i = 0; i < listing->rows_count; i++) {
        const struct listed *row = &listing->rows[i];

        /* One page short of what a full scan would give ends where the scan did. */
        if (shown == listing->limit || (listing->scanned_to && row->id > listing->scanned_to)) {
            more = true;
            break;
        }
        if (row->id == last)
            continue;
        last = row->id;
        json_array_append(list, row->json);
        shown++;
    }
    if (shown == listing->limit)
        more = true;
    if (!more && listing->scanned_to) {
        more = true;
        last = listing->scanned_to;
    }
    snprintf(cursor, sizeof(cursor), "c%" PRIx64, last);
    listing_free(listing);
    api_reply_json(call, 200, json_pack("{s:o, s:s?}", "jobs", list, "next", more ? cursor : NULL));
}

static void on_history(struct history_wait *wait, int rc)
{
    struct listing *listing = CONTAINER_OF(wait, struct listing, wait);
    struct api_call *call = listing->call;
    struct err err = { 0 };

    call->gone = NULL;
    if (rc == 0)
        rc = list_ended(listing, &err);
    if (rc < 0) {
        listing_free(listing);
        api_error(call, 503, "history_unavailable", NULL, "%s",
                  err.text[0] ? err.text : "the history cannot be written now");
        return;
    }
    if (listing->live)
        list_live(listing);
    reply_list(listing);
}

static void on_gone(struct api_call *call)
{
    struct listing *listing = call->kept;

    history_wait_cancel(call->controller->history, &listing->wait);
    listing_free(listing);
}

static bool listing_read(struct api_call *call, struct listing *listing)
{
    const char *states = http_request_query(call->request, "state");
    const char *array = http_request_query(call->request, "array");
    int64_t limit = API_LIST_DEFAULT;
    bool all = false, is_element;
    uint32_t index;

    if (!api_query_int(call, "limit", 1, API_LIST_MAX, &limit) ||
        !api_query_bool(call, "all", &all) || !take_name(call, "tenant", listing->tenant) ||
        !take_name(call, "name", listing->name) || !take_name(call, "user", listing->user) ||
        !take_cursor(call, &listing->after_id))
        return false;
    if (states && !parse_states(states, &listing->states)) {
        api_error(call, 400, "invalid", "state",
                  "state: expected held, queued, starting, running, stopping, done, failed, "
                  "cancelled, live or ended, with commas between");
        return false;
    }
    if (array && (!job_id_parse(array, &listing->array_id, &is_element, &index) || is_element)) {
        api_error(call, 400, "invalid", "array", "array: expected the id of an array");
        return false;
    }
    if (api_tenant_only(call)) {
        if (listing->tenant[0] && strcmp(listing->tenant, call->who.tenant)) {
            api_error(call, 403, "forbidden", "tenant", "tenant: you may list your own jobs only");
            return false;
        }
        snprintf(listing->tenant, sizeof(listing->tenant), "%s", call->who.tenant);
    }
    listing->limit = (uint32_t)limit;
    listing->ended = all || listing->states & STATES_FINAL;
    listing->live = !listing->states || listing->states & ~STATES_FINAL;
    return true;
}

void api_jobs_list(struct api_call *call)
{
    struct listing *listing = calloc(1, sizeof(*listing));

    if (!listing) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    listing->call = call;
    if (!listing_read(call, listing)) {
        listing_free(listing);
        return;
    }
    listing->rows = calloc((size_t)listing->limit * 2, sizeof(*listing->rows));
    if (!listing->rows) {
        listing_free(listing);
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    if (!listing->ended) {
        list_live(listing);
        reply_list(listing);
        return;
    }
    listing->wait.run = on_history;
    call->gone = on_gone;
    call->kept = listing;
    history_wait(call->controller->history, &listing->wait);
}
