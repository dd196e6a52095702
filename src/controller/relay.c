#include "controller/relay.h"

#include "base/log.h"
#include "controller/api.h"
#include "controller/history.h"
#include "controller/job_lookup.h"
#include "controller/session.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RELAYS_MAX 1024u
#define RELAY_BACKLOG_HIGH (4u << 20)
#define RELAY_BACKLOG_LOW (256u << 10)
#define RELAY_DRAIN_MS 20
/* A site that is away this long ends the request of a reader that does not follow. */
#define RELAY_SITE_WAIT_MS 5000

struct relay {
    struct relay *next;
    struct relays *relays;
    struct api_call *call;
    uint64_t job_id, request;   /* request 0 = nothing is asked now */
    uint32_t epoch, epoch_last; /* being read; the newest known */
    bool final, only_one, follow, is_stderr, begun;
    bool seams; /* a line says where one attempt's log ends and the next one's begins */
    bool got;   /* bytes came since it was asked */
    bool dry;   /* asked before the site had heard of the attempt: ask again when there is news */
    char site[MODEL_NAME_BYTES];
    int64_t offset; /* of the next byte of this attempt's log; negative until the site told */
    bool waits_site, paused;
    uv_timer_t timer;
};
struct relays {
    struct controller *controller;
    struct relay *list;
    uint64_t request_last;
    uint32_t count;
};

static void advance(struct relay *relay);

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void cancel_request(struct relay *relay)
{
    struct wire_command command = { .type = WIRE_LOG_READ, .cancel = true };

    if (!relay->request)
        return;
    command.request = relay->request;
    command.attempt.job_id = relay->job_id;
    command.attempt.epoch = relay->epoch;
    relay->request = 0;
    sessions_send(relay->relays->controller->sessions, relay->site, &command);
}

static void relay_remove(struct relay *relay)
{
    struct relays *relays = relay->relays;

    for (struct relay **link = &relays->list; *link; link = &(*link)->next)
        if (*link == relay) {
            *link = relay->next;
            relays->count--;
            break;
        }
    cancel_request(relay);
    relay->call->gone = NULL;
    relay->call->kept = NULL;
    uv_timer_stop(&relay->timer);
    uv_close((uv_handle_t *)&relay->timer, on_timer_closed);
}

static void on_gone(struct api_call *call)
{
    relay_remove(call->kept);
}

static bool begin(struct relay *relay)
{
    char offset[32];
    struct http_header headers[] = { { "Mains-Log-Offset", offset },
                                     { "Cache-Control", "no-store" } };
    struct api_call *call = relay->call;

    if (relay->begun)
        return true;
    snprintf(offset, sizeof(offset), "%" PRId64, MAX(relay->offset, 0));
    if (http_stream_begin(call->request, 200, "text/plain; charset=utf-8", headers, 2) < 0) {
        relay_remove(relay);
        api_error(call, 503, "overloaded", NULL, "the stream cannot be opened");
        return false;
    }
    relay->begun = true;
    return true;
}

static void finish(struct relay *relay)
{
    struct api_call *call = relay->call;

    if (!begin(relay))
        return;
    relay_remove(relay);
    api_stream_end(call);
}

static void fail(struct relay *relay, const char *text)
{
    struct api_call *call = relay->call;

    if (relay->begun) {
        finish(relay);
        return;
    }
    relay_remove(relay);
    api_error(call, 503, "site_unreachable", NULL, "%s", text);
}

static int find_site(void *context, const struct history_attempt *attempt)
{
    struct relay *relay = context;

    if (attempt->epoch == relay->epoch)
        snprintf(relay->site, sizeof(relay->site), "%s", attempt->site);
    return 0;
}

/* Which site has the attempt's files: where it runs, or where it ran. */
static void set_site(struct relay *relay)
{
    struct controller *controller = relay->relays->controller;
    struct attempt_place place;

    /* An attempt that ended just now is in neither for a moment: it is where it was. */
    if (grid_find_attempt(shell_grid(controller->shell), relay->job_id, relay->epoch, &place))
        snprintf(relay->site, sizeof(relay->site), "%s", place.site);
    else
        history_db_list_attempts(history_reader(controller->history), relay->job_id, find_site,
                                 relay, NULL);
}

/* The job has gone on elsewhere: what this attempt wrote last is not waited for. */
static void leave_site(struct relay *relay)
{
    char text[MODEL_NAME_BYTES + 128];
    int len = snprintf(text, sizeof(text),
                       "-- the rest of attempt %" PRIu32 " is at %s, which is not connected --\n",
                       relay->epoch, relay->site);

    relay->waits_site = false;
    if (relay->seams && !begin(relay))
        return;
    if (relay->seams && http_stream_push(relay->call->request, text, (size_t)len) < 0) {
        finish(relay);
        return;
    }
    advance(relay);
}

static void on_site_wait(uv_timer_t *timer)
{
    struct relay *relay = timer->data;

    if (!relay->waits_site)
        return;
    if (relay->epoch < relay->epoch_last && !relay->only_one)
        leave_site(relay);
    else if (!relay->follow)
        fail(relay, "the site that holds this log is not connected");
}

/* There is a newer attempt: this one's site has a moment to come back. */
static void hurry(struct relay *relay)
{
    if (relay->epoch >= relay->epoch_last || relay->only_one || relay->paused ||
        sessions_is_open(relay->relays->controller->sessions, relay->site) ||
        (relay->waits_site && uv_is_active((uv_handle_t *)&relay->timer)))
        return;
    relay->request = 0;
    relay->waits_site = true;
    uv_timer_start(&relay->timer, on_site_wait, RELAY_SITE_WAIT_MS, 0);
}

static void ask(struct relay *relay)
{
    struct wire_command command = { .type = WIRE_LOG_READ };

    set_site(relay);
    command.request = ++relay->relays->request_last;
    command.attempt.job_id = relay->job_id;
    command.attempt.epoch = relay->epoch;
    command.stream_stderr = relay->is_stderr;
    command.follow = relay->follow;
    command.offset = relay->offset;
    relay->request = command.request;
    relay->waits_site = relay->got = relay->dry = false;
    if (sessions_send(relay->relays->controller->sessions, relay->site, &command) == 0)
        return;
    relay->request = 0;
    relay->waits_site = true;
    uv_timer_start(&relay->timer, on_site_wait, RELAY_SITE_WAIT_MS, 0);
}

/* false: the reader is gone. */
static bool mark_seam(struct relay *relay)
{
    char text[MODEL_NAME_BYTES + 128], when[40] = "", saved[80] = "";
    struct job_view view;
    int len;

    if (!begin(relay))
        return false;
    set_site(relay);
    if (grid_find_job(shell_grid(relay->relays->controller->shell), relay->job_id, &view) &&
        view.checkpoint[0] && view.epoch == relay->epoch && view.checkpoint_epoch < relay->epoch) {
        units_print_time(view.checkpoint_saved_ms, when, sizeof(when));
        snprintf(saved, sizeof(saved), ", from its checkpoint of %s", when);
    }
    len = snprintf(text, sizeof(text), "-- attempt %" PRIu32 "%s%s%s --\n", relay->epoch,
                   relay->site[0] ? " at " : "", relay->site, saved);
    if (http_stream_push(relay->call->request, text, (size_t)len) == 0)
        return true;
    finish(relay);
    return false;
}

/* This attempt's log is out: the next attempt, the end, or wait for one of them. */
static void advance(struct relay *relay)
{
    if (relay->only_one) {
        finish(relay);
        return;
    }
    if (relay->epoch < relay->epoch_last) {
        relay->epoch++;
        relay->offset = 0;
        relay->site[0] = '\0';
        if (!relay->seams || relay->epoch == 1 || mark_seam(relay))
            ask(relay);
        return;
    }
    if (relay->final || !relay->follow)
        finish(relay);
}

static void on_drain(uv_timer_t *timer)
{
    struct relay *relay = timer->data;

    if (http_stream_backlog(relay->call->request) > RELAY_BACKLOG_LOW)
        return;
    uv_timer_stop(timer);
    relay->paused = false;
    ask(relay);
}

void relays_take(struct relays *relays, const char *site, const struct wire_report *report)
{
    struct relay *relay = relays->list;

    while (relay && relay->request != report->request)
        relay = relay->next;
    if (!relay || !report->request || strcmp(relay->site, site) != 0)
        return;
    if (relay->offset < 0)
        relay->offset = report->offset;
    if (report->data_len && report->offset == relay->offset) {
        if (!begin(relay))
            return;
        if (http_stream_push(relay->call->request, report->data, report->data_len) < 0) {
            finish(relay);
            return;
        }
        relay->offset += report->data_len;
        relay->got = true;
    }
    if (report->eof) {
        relay->request = 0;
        relay->dry =
            relay->follow && !relay->got && !relay->final && relay->epoch == relay->epoch_last;
        if (relay->dry)
            return;
        advance(relay);
        return;
    }
    if (http_stream_backlog(relay->call->request) > RELAY_BACKLOG_HIGH) {
        cancel_request(relay);
        relay->paused = true;
        uv_timer_start(&relay->timer, on_drain, RELAY_DRAIN_MS, RELAY_DRAIN_MS);
    }
}

void relays_tell(struct relays *relays, const struct change *change)
{
    struct relay *next;

    for (struct relay *relay = relays->list; relay; relay = next) {
        bool idle = !relay->request && !relay->waits_site && !relay->paused;

        next = relay->next;
        if (relay->job_id != change->job_id)
            continue;
        relay->final = relay->final || change->ended;
        relay->epoch_last = MAX(relay->epoch_last, change->epoch);
        if (idle && relay->dry)
            ask(relay);
        else if (idle)
            advance(relay);
        else
            hurry(relay);
    }
}

void relays_site_open(struct relays *relays, const char *site)
{
    for (struct relay *relay = relays->list; relay; relay = relay->next) {
        if (strcmp(relay->site, site) != 0 || relay->paused)
            continue;
        if (!relay->waits_site && !relay->request)
            continue;
        uv_timer_stop(&relay->timer);
        ask(relay); /* from the next byte: what the old session had asked for is forgotten */
    }
}

static void start(struct api_call *call, const struct job_found *found)
{
    struct relays *relays = call->controller->relays;
    const char *stream = http_request_query(call->request, "stream");
    int64_t offset = 0, attempt = 0;
    bool follow = false, seams = false;
    uint32_t epoch = 0;
    struct relay *relay;

    if (!api_query_int(call, "offset", -(1LL << 40), 1LL << 40, &offset) ||
        !api_query_int(call, "attempt", 1, UINT32_MAX, &attempt) ||
        !api_query_bool(call, "follow", &follow) || !api_query_bool(call, "seams", &seams))
        return;
    if (stream && strcmp(stream, "stdout") != 0 && strcmp(stream, "stderr") != 0) {
        api_error(call, 400, "invalid", "stream", "stream: expected stdout or stderr");
        return;
    }
    if (found->kind == JOB_IS_ARRAY) {
        api_error(call, 400, "invalid", "id", "%s is an array: name one element, as %s.0",
                  call->params[0], call->params[0]);
        return;
    }
    epoch = found->kind == JOB_IS_LIVE ? found->view.epoch : found->row.epoch;
    if (attempt > epoch) {
        api_error(call, 404, "not_found", "attempt", "job %s has had %" PRIu32 " attempts",
                  call->params[0], epoch);
        return;
    }
    relay = relays->count < RELAYS_MAX ? calloc(1, sizeof(*relay)) : NULL;
    if (!relay) {
        api_error(call, 503, "overloaded", NULL, "%" PRIu32 " logs are read already",
                  relays->count);
        return;
    }
    relay->relays = relays;
    relay->call = call;
    relay->job_id = found->id;
    relay->epoch_last = epoch;
    relay->only_one = attempt > 0;
    relay->epoch = attempt ? (uint32_t)attempt : MIN(epoch, 1u);
    /* From the end back: that is the newest attempt's end. */
    if (!attempt && offset < 0)
        relay->epoch = epoch;
    relay->final = found->kind == JOB_IS_ENDED;
    relay->follow = follow;
    relay->seams = seams;
    relay->offset = offset;
    relay->is_stderr = stream && !strcmp(stream, "stderr");
    relay->next = relays->list;
    relays->list = relay;
    relays->count++;
    uv_timer_init(&call->controller->loop, &relay->timer);
    relay->timer.data = relay;
    call->gone = on_gone;
    call->kept = relay;
    if (offset >= 0 && follow && !begin(relay))
        return;
    if (!relay->epoch) /* nothing has run yet */
        advance(relay);
    else
        ask(relay);
}

void relays_handle(struct api_call *call)
{
    job_lookup(call, call->params[0], start);
}

struct relays *relays_create(struct controller *controller)
{
    struct relays *relays = calloc(1, sizeof(*relays));

    if (relays)
        relays->controller = controller;
    return relays;
}

void relays_destroy(struct relays *relays)
{
    struct relay *next;

    if (!relays)
        return;
    for (struct relay *relay = relays->list; relay; relay = next) {
        next = relay->next;
        relay->request = 0;
        fail(relay, "the controller is stopping");
    }
    free(relays);
}
