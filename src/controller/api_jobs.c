/* GET /jobs, /jobs/{id}, /jobs/{id}/why. */
#include "controller/api_handlers.h"

#include "controller/history.h"
#include "controller/job_filter.h"
#include "controller/job_lookup.h"
#include "controller/why_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_SCAN_MAX 200000u /* live jobs looked at for one page */

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
    struct why_more more = { 0 };
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
        if (rc == 0)
            rc = grid_why_more(grid, id, &more);
        if (rc < 0) {
            api_fail(call, rc, NULL);
            return;
        }
    }
    api_reply_json(
        call, 200,
        json_pack("{s:s, s:s, s:I, s:o, s:s?, s:s?, s:s?, s:s?, s:o, s:o, s:o}", "code", why.code,
                  "text", why.text, "ahead", (json_int_t)why.ahead, "start_estimate_at",
                  time_to_json(why.start_estimate_ms), "rate", why.rate[0] ? why.rate : NULL,
                  "order", why.order[0] ? why.order : NULL, "freight",
                  why.freight[0] ? why.freight : NULL, "assign", why.assign[0] ? why.assign : NULL,
                  "candidates", why_places_to_json(more.places, more.places_count), "changes",
                  why_changes_to_json(&more), "choice", why_choice_to_json(&more.choice)));
}

void api_job_why(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_why);
}

/* --- the list -----------------------------------------------------------------------------------
 */

struct listing {
    struct history_wait wait;
    struct api_call *call;
    struct job_filter filter;
    uint64_t after_id;
    uint32_t limit;
    bool live, ended, newest; /* newest: ids go down, `after_id` is the last one above */
    struct listed {
        uint64_t id;
        json_t *json;
    } * rows;
    uint32_t rows_count;
    uint64_t scanned_to; /* live jobs were looked at up to this id; 0 = all of them */
};

static void listing_free(struct listing *listing)
{
    for (uint32_t i = 0; listing->rows && i < listing->rows_count; i++)
        json_decref(listing->rows[i].json);
    free(listing->rows);
    free(listing);
}

static int compare_rows(const void *a, const void *b)
{
    const struct listed *left = a, *right = b;

    return left->id < right->id ? -1 : left->id > right->id;
}

static int compare_newest(const void *a, const void *b)
{
    return compare_rows(b, a);
}

/* Does `id` come after `other` in the order of the list? */
static bool comes_after(const struct listing *listing, uint64_t id, uint64_t other)
{
    return listing->newest ? id < other : id > other;
}

static bool next_live(const struct listing *listing, struct grid *grid, uint64_t after,
                      struct job_view *view)
{
    const char *tenant = listing->filter.tenant[0] ? listing->filter.tenant : NULL;

    return listing->newest ? grid_prev_job(grid, after, tenant, view)
                           : grid_next_job(grid, after, tenant, view);
}

static void add_row(struct listing *listing, uint64_t id, json_t *json)
{
    if (json)
        listing->rows[listing->rows_count++] = (struct listed){ id, json };
}

static void list_live(struct listing *listing)
{
    struct grid *grid = shell_grid(listing->call->controller->shell);
    uint64_t after = listing->after_id, array_id = listing->filter.array_id;
    uint32_t found = 0, scanned = 0;
    struct job_view view;

    while (found < listing->limit && next_live(listing, grid, after, &view)) {
        after = view.id;
        if (array_id &&
            (listing->newest ? view.id < array_id : view.id > array_id && view.array_id > array_id))
            return; /* an array's elements are next to each other */
        if (job_filter_takes(&listing->filter, &view)) {
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
    const struct job_filter *wanted = &listing->filter;
    struct history_filter filter = { .tenant = wanted->tenant[0] ? wanted->tenant : NULL,
                                     .name = wanted->name[0] ? wanted->name : NULL,
                                     .user = wanted->user[0] ? wanted->user : NULL,
                                     .after_id = listing->after_id,
                                     .array_id = wanted->array_id,
                                     .newest = listing->newest,
                                     .since_ms = wanted->since_ms,
                                     .states = wanted->states,
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
    char cursor[JOB_CURSOR_BYTES];

    qsort(listing->rows, listing->rows_count, sizeof(*listing->rows),
          listing->newest ? compare_newest : compare_rows);
    for (uint32_t i = 0; i < listing->rows_count; i++) {
        const struct listed *row = &listing->rows[i];

        /* One page short of what a full scan would give ends where the scan did. */
        if (shown == listing->limit ||
            (listing->scanned_to && comes_after(listing, row->id, listing->scanned_to))) {
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
    job_cursor_print(last, cursor);
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
    const char *order = http_request_query(call->request, "order");
    int64_t limit = API_LIST_DEFAULT;
    bool all = false;

    listing->newest = order && !strcmp(order, "newest");
    if (order && !listing->newest && strcmp(order, "oldest") != 0) {
        api_error(call, 400, "invalid", "order", "order: expected oldest or newest");
        return false;
    }
    listing->after_id = listing->newest ? INT64_MAX : 0;
    if (!api_query_int(call, "limit", 1, API_LIST_MAX, &limit) ||
        !api_query_bool(call, "all", &all) || !job_filter_read(call, &listing->filter) ||
        !job_cursor_read(call, &listing->after_id))
        return false;
    listing->limit = (uint32_t)limit;
    listing->ended = all || listing->filter.states & STATES_FINAL;
    listing->live = !listing->filter.states || listing->filter.states & STATES_LIVE;
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
