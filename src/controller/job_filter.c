#include "controller/job_filter.h"

#include "controller/job_json.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A comma-separated list of state names; "ended" and "live" stand for theirs. */
static bool parse_states(const char *text, unsigned *states_out)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        unsigned found = 0;

        if (len == 5 && !strncmp(text, "ended", 5))
            found = STATES_FINAL;
        if (len == 4 && !strncmp(text, "live", 4))
            found = STATES_LIVE;
        for (int state = JOB_HELD; state <= JOB_CANCELLED && !found; state++) {
            const char *name = job_state_name((enum job_state)state);

            if (strlen(name) == len && !strncmp(name, text, len))
                found = 1u << state;
        }
        if (!found)
            return false;
        *states_out |= found;
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

static bool take_tenant(struct api_call *call, struct job_filter *filter)
{
    const char *only = api_tenant_only(call);

    if (!take_name(call, "tenant", filter->tenant))
        return false;
    if (!only)
        return true;
    if (filter->tenant[0] && strcmp(filter->tenant, only) != 0) {
        api_error(call, 403, "forbidden", "tenant", "tenant: you may name your own jobs only");
        return false;
    }
    snprintf(filter->tenant, sizeof(filter->tenant), "%s", only);
    return true;
}

bool job_filter_read(struct api_call *call, struct job_filter *filter)
{
    const char *states = http_request_query(call->request, "state");
    const char *array = http_request_query(call->request, "array");
    const char *since = http_request_query(call->request, "since");
    struct err err = { 0 };
    bool is_element;
    uint32_t index;

    *filter = (struct job_filter){ 0 };
    if (!take_tenant(call, filter) || !take_name(call, "name", filter->name) ||
        !take_name(call, "user", filter->user))
        return false;
    if (states && !parse_states(states, &filter->states)) {
        api_error(call, 400, "invalid", "state",
                  "state: expected held, queued, starting, running, stopping, done, failed, "
                  "cancelled, live or ended, with commas between");
        return false;
    }
    if (array && (!job_id_parse(array, &filter->array_id, &is_element, &index) || is_element)) {
        api_error(call, 400, "invalid", "array", "array: expected the id of an array");
        return false;
    }
    if (since && units_parse_time(since, &filter->since_ms, &err) < 0) {
        api_error(call, 400, "invalid", "since", "since: %s", err.text);
        return false;
    }
    return true;
}

bool job_filter_is_given(const struct api_call *call)
{
    static const char *const keys[] = { "state", "tenant", "name", "user", "array", "since" };

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        if (http_request_query(call->request, keys[i]))
            return true;
    return false;
}

bool job_filter_takes(const struct job_filter *filter, const struct job_view *view)
{
    return !job_state_is_final(view->state) &&
           (!filter->array_id || view->array_id == filter->array_id) &&
           (!filter->states || filter->states & (1u << view->state)) &&
           view->submitted_ms >= filter->since_ms &&
           (!filter->name[0] || !strcmp(filter->name, view->name)) &&
           (!filter->user[0] || !strcmp(filter->user, view->user));
}

/* The last id shown, in hex after a letter: clients should not count with it. */
bool job_cursor_read(struct api_call *call, uint64_t *id_out)
{
    const char *text = http_request_query(call->request, "after");
    uint64_t id;
    char *end;

    if (!text)
        return true;
    errno = 0;
    id = strtoull(*text ? text + 1 : text, &end, 16);
    if (*text == 'c' && text[1] && text[1] != '-' && !*end && !errno && id <= INT64_MAX) {
        *id_out = id;
        return true;
    }
    api_error(call, 400, "invalid", "after", "after: expected the `next` of the page before");
    return false;
}

void job_cursor_print(uint64_t id, char out[JOB_CURSOR_BYTES])
{
    snprintf(out, JOB_CURSOR_BYTES, "c%" PRIx64, id);
}
