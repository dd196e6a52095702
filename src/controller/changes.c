#include "controller/changes.h"

#include "base/file.h"
#include "base/log.h"
#include "controller/api.h"
#include "controller/job_json.h"
#include "controller/relay.h"
#include "controller/waits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_KEPT 4096u
#define EVENTS_CLIENTS_MAX 512u
#define EVENTS_REPLAY_MAX 1000000u
#define EVENTS_BEAT_MS 15000
#define EVENTS_BACKLOG_BYTES (4u << 20)

struct sse_client {
    struct sse_client *next;
    struct events *events;
    struct api_call *call; /* NULL: gone while a replay works for it */
    uint64_t after_seq;    /* told up to here */
    bool replaying;
    /* The worker's. */
    uv_work_t work;
    char *journal_path;
    uint64_t replay_until;
    struct change *replayed;
    size_t replayed_count, replayed_cap;
    int rc;
    struct err err;
};

struct events {
    struct controller *controller;
    struct change *ring; /* power of two */
    size_t cap, first, count;
    size_t told;          /* entries of the ring, from `first`, that were published */
    uint64_t dropped_seq; /* entries up to this seq may have left the ring */
    struct sse_client *clients;
    uint32_t clients_count;
    uv_timer_t beat;
};

/* --- entries ---------------------------------------------------------------------------------- */

bool change_from_effect(uint64_t seq, const struct effect *effect, struct change *out)
{
    const struct job_view *view = &effect->view;

    if (effect->type != EFFECT_JOB_CHANGED && effect->type != EFFECT_JOB_ENDED)
        return false;
    out->seq = seq;
    out->kind = CHANGE_JOB;
    out->ended = effect->type == EFFECT_JOB_ENDED;
    out->job_id = view->id;
    out->array_id = view->array_id;
    out->array_index = view->array_index;
    out->epoch = view->epoch;
    out->state = view->state;
    out->exit_code = view->exit_code;
    snprintf(out->tenant, sizeof(out->tenant), "%s", view->tenant);
    snprintf(out->name, sizeof(out->name), "%s", view->name);
    snprintf(out->text, sizeof(out->text), "%s", view->reason ? view->reason : "");
    return true;
}

static void set_place(struct change *out, uint64_t seq, enum change_kind kind, const char *site,
                      const char *node, const char *text)
{
    *out = (struct change){ .seq = seq, .kind = kind };
    snprintf(out->tenant, sizeof(out->tenant), "%s", site);
    snprintf(out->name, sizeof(out->name), "%s", node);
    snprintf(out->text, sizeof(out->text), "%s", text);
}

bool change_from_event(uint64_t seq, const struct event *event, struct change *out)
{
    switch ((int)event->type) {
    case EVENT_SITE_JOINED:
        set_place(out, seq, CHANGE_SITE, event->site_joined.site.name, "", "joined");
        return true;
    case EVENT_SITE_SEEN:
        set_place(out, seq, CHANGE_SITE, event->site_seen.site, "", "seen");
        return true;
    case EVENT_SITE_LOST:
        set_place(out, seq, CHANGE_SITE, event->site_lost.site, "", "lost");
        return true;
    case EVENT_LEASE_ENDED:
        set_place(out, seq, CHANGE_SITE, event->lease_ended.site, "", "lease ended");
        return true;
    case EVENT_SITE_FORGOTTEN:
        set_place(out, seq, CHANGE_SITE, event->site_forgotten.site, "",
                  event->site_forgotten.forgotten ? "forgotten" : "readmitted");
        return true;
    case EVENT_SITE_TARIFF:
        set_place(out, seq, CHANGE_SITE, event->site_tariff.site, "", "tariff");
        return true;
    case EVENT_SITE_SHED:
        set_place(out, seq, CHANGE_SITE, event->site_shed.site, "",
                  event->site_shed.lasts_ms ? "power cut" : "power cut over");
        return true;
    case EVENT_SITE_POLICY:
        set_place(out, seq, CHANGE_SITE, event->site_policy.site, "",
                  event->site_policy.kind == POLICY_LIMITS ? "limits" : "policy");
        return true;
    case EVENT_NODE_STATE:
        set_place(out, seq, CHANGE_NODE, event->node_state.site, event->node_state.node,
                  event->node_state.cordoned ? "cordoned" : "uncordoned");
        return true;
    default:
        return false;
    }
}

static json_t *change_to_json(const struct change *change)
{
    char id[JOB_ID_TEXT_BYTES];

    if (change->kind == CHANGE_SITE)
        return json_pack("{s:s, s:s}", "site", change->tenant, "change", change->text);
    if (change->kind == CHANGE_NODE)
        return json_pack("{s:s, s:s, s:s}", "site", change->tenant, "node", change->name, "change",
                         change->text);
    job_id_print(change->job_id, change->array_id, change->array_index, id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "id", id, "name", change->name,
                     "tenant", change->tenant, "state", job_state_name(change->state), "reason",
                     change->text, "epoch", (json_int_t)change->epoch, "exit_code",
                     change->ended && change->epoch ? json_integer(change->exit_code)
                                                    : json_null());
}

/* Entries of one seq carry its id on the last only: a client cut off in between gets all of them
 * again when it resumes, and misses none. */
static void print_change(const struct change *change, bool last_of_seq, struct buf *out)
{
    static const char *const kinds[] = { "job", "site", "node" };
    CLEANUP(jsonp) json_t *json = change_to_json(change);
    CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (last_of_seq)
        buf_printf(out, "id: %" PRIu64 "\n", change->seq);
    buf_printf(out, "event: %s\ndata: %s\n\n", kinds[change->kind], text ? text : "{}");
}

/* --- clients ---------------------------------------------------------------------------------- */

static bool client_sees(const struct sse_client *client, const struct change *change)
{
    return change->kind != CHANGE_JOB || api_sees_tenant(client->call, change->tenant);
}

static void client_remove(struct sse_client *client)
{
    struct events *events = client->events;

    for (struct sse_client **link = &events->clients; *link; link = &(*link)->next)
        if (*link == client) {
            *link = client->next;
            events->clients_count--;
            break;
        }
    if (!events->clients)
        uv_timer_stop(&events->beat);
    client->call = NULL;
    if (client->replaying)
        return; /* the worker still writes to it; freed when it is back */
    free(client->replayed);
    free(client->journal_path);
    free(client);
}

static void client_end(struct sse_client *client)
{
    struct api_call *call = client->call;

    client_remove(client);
    call->gone = NULL;
    api_stream_end(call);
}

static void on_client_gone(struct api_call *call)
{
    client_remove(call->kept);
}

/* false: the client was too slow and is gone. */
static bool client_push(struct sse_client *client, const struct buf *text)
{
    if (!text->len)
        return true;
    if (http_stream_backlog(client->call->request) > EVENTS_BACKLOG_BYTES ||
        http_stream_push(client->call->request, text->data, text->len) < 0) {
        client_end(client); /* it comes back with Last-Event-ID */
        return false;
    }
    return true;
}

static const struct change *ring_at(const struct events *events, size_t index)
{
    return &events->ring[(events->first + index) & (events->cap - 1)];
}

static bool client_catch_up(struct sse_client *client, size_t from, size_t to)
{
    struct events *events = client->events;
    CLEANUP(buf_fini) struct buf text = buf_init(64u << 20);

    for (size_t i = from; i < to; i++) {
        const struct change *change = ring_at(events, i);
        bool last = i + 1 >= to || ring_at(events, i + 1)->seq != change->seq;

        if (change->seq <= client->after_seq || !client_sees(client, change))
            continue;
        print_change(change, last, &text);
    }
    if (to > from)
        client->after_seq = MAX(client->after_seq, ring_at(events, to - 1)->seq);
    return client_push(client, &text);
}

/* --- the ring --------------------------------------------------------------------------------- */

static bool ring_grow(struct events *events)
{
    size_t cap = events->cap * 2;
    struct change *ring = malloc(cap * sizeof(*ring));

    if (!ring)
        return false;
    for (size_t i = 0; i < events->count; i++)
        ring[i] = *ring_at(events, i);
    free(events->ring);
    events->ring = ring;
    events->cap = cap;
    events->first = 0;
    return true;
}

void events_note(struct events *events, const struct change *change)
{
    /* Only what was told may leave; a burst that is not durable yet makes the ring grow. */
    while (events->count >= EVENTS_KEPT && events->told) {
        events->dropped_seq = ring_at(events, 0)->seq;
        events->first = (events->first + 1) & (events->cap - 1);
        events->count--;
        events->told--;
    }
    if (events->count == events->cap && !ring_grow(events)) {
        log_error("events: out of memory");
        abort();
    }
    events->ring[(events->first + events->count) & (events->cap - 1)] = *change;
    events->count++;
}

void events_publish(struct events *events, uint64_t seq)
{
    struct controller *controller = events->controller;
    size_t from = events->told;
    struct sse_client *next;

    while (events->told < events->count && ring_at(events, events->told)->seq <= seq)
        events->told++;
    if (events->told == from)
        return;
    for (size_t i = from; i < events->told; i++) {
        const struct change change = *ring_at(events, i);

        if (change.kind != CHANGE_JOB)
            continue;
        waits_tell(controller->waits, &change);
        relays_tell(controller->relays, &change);
    }
    for (struct sse_client *client = events->clients; client; client = next) {
        next = client->next;
        if (!client->replaying)
            client_catch_up(client, from, events->told);
    }
    if (events->cap > EVENTS_KEPT * 4 && events->count <= EVENTS_KEPT && ring_at(events, 0)) {
        struct change *ring = malloc(EVENTS_KEPT * 2 * sizeof(*ring));

        if (!ring)
            return;
        for (size_t i = 0; i < events->count; i++)
            ring[i] = *ring_at(events, i);
        free(events->ring);
        events->ring = ring;
        events->cap = EVENTS_KEPT * 2;
        events->first = 0;
    }
}

static void on_beat(uv_timer_t *timer)
{
    struct events *events = timer->data;
    struct sse_client *next;

    for (struct sse_client *client = events->clients; client; client = next) {
        next = client->next;
        if (http_stream_push(client->call->request, ":\n\n", 3) < 0)
            client_end(client);
    }
}

/* --- resuming from the journal ---------------------------------------------------------------- */

static void replay_add(struct sse_client *client, const struct change *change)
{
    if (change->seq <= client->after_seq || client->rc < 0)
        return;
    if (client->replayed_count == client->replayed_cap) {
        size_t cap = client->replayed_cap ? client->replayed_cap * 2 : 256;
        struct change *more =
            cap > EVENTS_REPLAY_MAX ? NULL : realloc(client->replayed, cap * sizeof(*more));

        if (!more) {
            client->rc = err_set(&client->err, -ENOBUFS,
                                 "more than %zu events since then: list the jobs instead",
                                 client->replayed_count);
            return;
        }
        client->replayed = more;
        client->replayed_cap = cap;
    }
    client->replayed[client->replayed_count++] = *change;
}

static void on_replay_effect(void *context, uint64_t seq, const struct effect *effect)
{
    struct change change = { 0 };

    if (change_from_effect(seq, effect, &change))
        replay_add(context, &change);
}

static void on_replay_event(void *context, uint64_t seq, const struct event *event)
{
    struct change change = { 0 };

    if (change_from_event(seq, event, &change))
        replay_add(context, &change);
}

static void replay_work(uv_work_t *work)
{
    struct sse_client *client = work->data;
    struct journal_open how = { .path = client->journal_path, .read_only = true };
    struct replay replay = { .seq_max = client->replay_until,
                             .effect = on_replay_effect,
                             .event = on_replay_event,
                             .context = client };
    int rc = journal_open_sqlite(&how, &replay.journal, &client->err);

    if (rc == 0)
        rc = replay_run(&replay, &client->err);
    if (rc < 0)
        client->rc = rc;
    grid_destroy(replay.grid);
    journal_close(replay.journal);
}

static void replay_done(uv_work_t *work, int status)
{
    struct sse_client *client = work->data;
    struct events *events = client->events;
    CLEANUP(buf_fini) struct buf text = buf_init(EVENTS_REPLAY_MAX * (size_t)512);

    (void)status;
    client->replaying = false;
    if (!client->call) { /* gone meanwhile, and out of the list */
        free(client->replayed);
        free(client->journal_path);
        free(client);
        return;
    }
    if (client->rc < 0) {
        buf_printf(&text, "event: error\ndata: {\"message\":\"cannot resume\"}\n\n");
        log_warn("events: resume after %" PRIu64 ": %s", client->after_seq, client->err.text);
        if (client_push(client, &text))
            client_end(client);
        return;
    }
    for (size_t i = 0; i < client->replayed_count; i++) {
        const struct change *change = &client->replayed[i];
        bool last = i + 1 == client->replayed_count || change[1].seq != change->seq;

        if (client_sees(client, change))
            print_change(change, last, &text);
    }
    client->after_seq = client->replay_until;
    free(TAKE(client->replayed));
    if (text.len && http_stream_push(client->call->request, text.data, text.len) < 0) {
        client_end(client);
        return;
    }
    client_catch_up(client, 0, events->told);
}

static int start_replay(struct sse_client *client)
{
    struct controller *controller = client->events->controller;

    client->replay_until = shell_durable_seq(controller->shell);
    client->journal_path = path_format("%s/journal.db", controller->config.state_dir);
    if (!client->journal_path)
        return -ENOMEM;
    client->work.data = client;
    client->replaying = true;
    return uv_queue_work(&controller->loop, &client->work, replay_work, replay_done);
}

/* --- GET /events ------------------------------------------------------------------------------ */

void events_handle(struct api_call *call)
{
    static const struct http_header headers[] = { { "Cache-Control", "no-store" } };
    struct events *events = call->controller->events;
    const char *last = http_request_header(call->request, "Last-Event-ID");
    int64_t after = -1;
    struct sse_client *client;
    char *end;

    if (!api_query_int(call, "after", 0, INT64_MAX, &after))
        return;
    if (last && after < 0) {
        errno = 0;
        after = strtoll(last, &end, 10);
        if (*last < '0' || *last > '9' || *end || errno) {
            api_error(call, 400, "invalid", "Last-Event-ID",
                      "Last-Event-ID: expected the id of an event");
            return;
        }
    }
    client = events->clients_count < EVENTS_CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
    if (!client) {
        api_error(call, 503, "overloaded", NULL, "%u clients follow events already",
                  events->clients_count);
        return;
    }
    if (api_stream_begin(call, "text/event-stream", headers, 1) < 0) {
        free(client);
        return;
    }
    client->events = events;
    client->call = call;
    client->after_seq = after < 0 ? shell_durable_seq(call->controller->shell) : (uint64_t)after;
    client->next = events->clients;
    events->clients = client;
    if (!events->clients_count++)
        uv_timer_start(&events->beat, on_beat, EVENTS_BEAT_MS, EVENTS_BEAT_MS);
    call->gone = on_client_gone;
    call->kept = client;
    http_stream_push(call->request, ": mains\n\n", 9);
    if (client->after_seq >= events->dropped_seq)
        client_catch_up(client, 0, events->told);
    else if (start_replay(client) < 0) {
        client->replaying = false;
        client_end(client);
    }
}

uint32_t events_clients(const struct events *events)
{
    return events->clients_count;
}

struct events *events_create(struct controller *controller)
{
    struct events *events = calloc(1, sizeof(*events));

    if (!events)
        return NULL;
    events->controller = controller;
    events->cap = EVENTS_KEPT * 2;
    events->ring = malloc(events->cap * sizeof(*events->ring));
    if (!events->ring) {
        free(events);
        return NULL;
    }
    /* What came before this start is only in the journal. */
    events->dropped_seq = shell_last_seq(controller->shell);
    uv_timer_init(&controller->loop, &events->beat);
    events->beat.data = events;
    return events;
}

static void on_closed(uv_handle_t *handle)
{
    struct events *events = handle->data;

    free(events->ring);
    free(events);
}

void events_destroy(struct events *events)
{
    struct sse_client *next;

    if (!events)
        return;
    for (struct sse_client *client = events->clients; client; client = next) {
        next = client->next;
        client_end(client);
    }
    uv_close((uv_handle_t *)&events->beat, on_closed);
}
