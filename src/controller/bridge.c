#include "controller/bridge.h"

#include "base/clock.h"
#include "base/log.h"
#include "controller/session.h"
#include "wire/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
#define KEEP_MS 20000 /* a kept call is answered by then: ask again */
#define CLOSED_KEPT 1024u
#define OFFSET_MAX (INT64_MAX / 2) /* a site may say any: what is added to it is far less */
#define TELL_MS 5000 /* the other site is told again that somebody wants to talk to it */

struct pipe { /* one way */
    char *data;
    uint32_t len;
    int64_t from;  /* the byte at `data`; what was before it has arrived */
    bool ended;    /* no more will come */
    bool is_fresh; /* of one that goes on after a restart here: the first to speak says where */
    struct api_call *reader, *writer;
    int64_t reader_ms, writer_ms;
    int64_t writer_until; /* it is answered when all up to there has arrived */
};
struct tunnel {
    struct tunnel *next;
    struct bridges *bridges;
    uint64_t id, job_id;
    uint32_t port;
    bool direct;  /* the first try is between the agents */
    bool resumed; /* both ends have it from before a restart here */
    struct end {
        char site[MODEL_NAME_BYTES];
        uint32_t epoch;
        bool seen, done;
    } ends[2]; /* who asked; who is asked for */
    int64_t opened_ms, told_ms;
    struct pipe pipes[2]; /* from ends[i] to the other */
};
struct agent_start {
    struct agent_start *next;
    char site[MODEL_NAME_BYTES];
    uint64_t incarnation;
};
struct bridges {
    struct controller *controller;
    struct tunnel *list;
    struct agent_start *starts;
    uint32_t count;
    uint64_t closed[CLOSED_KEPT]; /* the last ones */
    uint32_t closed_count;
    uv_timer_t tick;
};

/* --- kept calls ------------------------------------------------------------------------------- */

static void on_gone(struct api_call *call)
{
    struct pipe *pipe = call->kept;

    if (pipe->reader == call)
        pipe->reader = NULL;
    else
        pipe->writer = NULL;
}

static void keep(struct api_call *call, struct pipe *pipe, struct api_call **place, int64_t *since)
{
    call->gone = on_gone;
    call->kept = pipe;
    *place = call;
    *since = clock_mono_ms();
}

static struct api_call *let_go(struct api_call **place)
{
    struct api_call *call = *place;

    if (call) {
        call->gone = NULL;
        call->kept = NULL;
    }
    *place = NULL;
    return call;
}

static void answer_closed(struct api_call *call)
{
    if (call)
        api_error(call, 410, "gone", "tunnel", "the tunnel is closed");
}

static void close_tunnel(struct tunnel *tunnel)
{
    struct bridges *bridges = tunnel->bridges;

    for (struct tunnel **link = &bridges->list; *link; link = &(*link)->next)
        if (*link == tunnel) {
            *link = tunnel->next;
            bridges->count--;
            break;
        }
    bridges->closed[bridges->closed_count++ % CLOSED_KEPT] = tunnel->id;
    for (uint32_t i = 0; i < 2; i++) {
        answer_closed(let_go(&tunnel->pipes[i].reader));
        answer_closed(let_go(&tunnel->pipes[i].writer));
        free(tunnel->pipes[i].data);
    }
    free(tunnel);
    if (!bridges->list)
        uv_timer_stop(&bridges->tick);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* What waits goes to who waits for it. */
static void serve_reader(struct pipe *pipe)
{
    struct api_call *call = pipe->reader;

    if (!call || (!pipe->len && !pipe->ended))
        return;
    let_go(&pipe->reader);
    if (pipe->len)
        api_reply_text(call, 200, "application/octet-stream", pipe->data,
                       MIN(pipe->len, BRIDGE_WINDOW_BYTES), NULL, 0);
    else
        api_reply_json(call, 200, json_pack("{s:b}", "end", 1));
}

/* 0; -EAGAIN: there is no room yet; -EPROTO: a byte between is missing, or it had ended. */
static int append(struct pipe *pipe, struct api_call *call)
{
    size_t len = 0;
    const char *body = http_request_body(call->request, &len);
    const char *end = http_request_query(call->request, "end");
    int64_t offset = 0, have = pipe->from + pipe->len;
    size_t known;
    char *more;

    if (http_request_query(call->request, "offset"))
        offset = strtoll(http_request_query(call->request, "offset"), NULL, 10);
    if (offset < 0 || offset > OFFSET_MAX || (offset > have && !pipe->is_fresh))
        return -EPROTO;
    if (pipe->is_fresh)
        pipe->from = have = offset;
    pipe->is_fresh = false;
    known = (size_t)MIN(have - offset, (int64_t)len); /* told before: its answer was lost */
    if (known < len) {
        if (pipe->ended)
            return -EPROTO;
        if (pipe->len && pipe->len + (len - known) > BRIDGE_WINDOW_BYTES)
            return -EAGAIN;
        more = realloc(pipe->data, pipe->len + (len - known));
        if (!more)
            return -ENOMEM;
        pipe->data = more;
        memcpy(pipe->data + pipe->len, body + known, len - known);
        pipe->len += (uint32_t)(len - known);
    }
    pipe->ended = pipe->ended || (end && !strcmp(end, "true"));
    pipe->writer_until = offset + (int64_t)len;
    return 0;
}

static void answer_append(struct api_call *call, int rc)
{
    if (rc == 0)
        api_reply_json(call, 200, json_object());
    else if (rc == -EPROTO)
        api_error(call, 409, "conflict", "offset", "offset: the bytes before it have not come");
    else
        api_error(call, 503, "overloaded", NULL, "the other side has not taken what came before");
}

/* Only what has arrived is answered for: so whoever sent it has it still, should this end here. */
static void serve_writer(struct pipe *pipe)
{
    if (pipe->writer && pipe->from >= pipe->writer_until)
        answer_append(let_go(&pipe->writer), 0);
}

/* All up to `offset` has arrived. */
static bool forget(struct pipe *pipe, int64_t offset)
{
    uint32_t gone;

    if (pipe->is_fresh)
        pipe->from = offset;
    pipe->is_fresh = false;
    if (offset < pipe->from || offset > pipe->from + pipe->len)
        return false;
    gone = (uint32_t)(offset - pipe->from);
    memmove(pipe->data ? pipe->data : "", pipe->data ? pipe->data + gone : "", pipe->len - gone);
    pipe->len -= gone;
    pipe->from = offset;
    return true;
}

/* --- who may ---------------------------------------------------------------------------------- */

static bool holds(const struct tunnel *tunnel, const struct end *end)
{
    struct attempt_place place;

    return grid_find_attempt(shell_grid(tunnel->bridges->controller->shell), tunnel->job_id,
                             end->epoch, &place);
}

/* Of the path and the query; NULL: answered. `end_out`: which of its ends speaks. */
static struct tunnel *find(struct api_call *call, uint32_t *end_out)
{
    const char *site = session_site_of(call);
    uint64_t id = strtoull(call->params[0], NULL, 10);
    struct tunnel *tunnel = call->controller->bridges->list;

    if (!site)
        return NULL;
    while (tunnel && tunnel->id != id)
        tunnel = tunnel->next;
    for (uint32_t i = 0; tunnel && i < 2; i++)
        if (!strcmp(tunnel->ends[i].site, site)) {
            tunnel->ends[i].seen = true;
            *end_out = i;
            return tunnel;
        }
    if (tunnel)
        sessions_refuse(call->controller->sessions, site, "a call on a tunnel",
                        "it is between two other sites");
    for (uint32_t i = 0; !tunnel && i < CLOSED_KEPT; i++)
        if (id && call->controller->bridges->closed[i] == id) {
            answer_closed(call);
            return NULL;
        }
    api_error(call, 404, "not_found", "tunnel", "there is no such tunnel");
    return NULL;
}

void bridges_handle_put(struct api_call *call)
{
    uint32_t end = 0;
    struct tunnel *tunnel = find(call, &end);
    struct api_call *older;
    struct pipe *pipe;
    int rc;

    if (!tunnel)
        return;
    pipe = &tunnel->pipes[end];
    older = let_go(&pipe->writer); /* its connection broke unnoticed */
    if (older)
        api_error(older, 409, "conflict", NULL, "it was told again");
    rc = append(pipe, call);
    if (rc < 0) {
        answer_append(call, rc);
        return;
    }
    keep(call, pipe, &pipe->writer, &pipe->writer_ms);
    serve_writer(pipe);
    serve_reader(pipe);
}

void bridges_handle_get(struct api_call *call)
{
    uint32_t end = 0;
    struct tunnel *tunnel = find(call, &end);
    struct api_call *older;
    int64_t offset = 0;
    struct pipe *pipe;

    if (!tunnel)
        return;
    pipe = &tunnel->pipes[1 - end];
    if (!api_query_int(call, "offset", 0, OFFSET_MAX, &offset))
        return;
    if (!forget(pipe, offset)) {
        api_error(call, 409, "conflict", "offset", "offset: those bytes are not here");
        return;
    }
    older = let_go(&pipe->reader); /* its connection broke unnoticed */
    if (older)
        api_error(older, 409, "conflict", NULL, "it was asked again");
    serve_writer(pipe);
    keep(call, pipe, &pipe->reader, &pipe->reader_ms);
    serve_reader(pipe);
}

void bridges_handle_close(struct api_call *call)
{
    const char *done = http_request_query(call->request, "done");
    uint32_t end = 0;
    struct tunnel *tunnel = find(call, &end);

    if (!tunnel)
        return;
    tunnel->ends[end].done = true;
    api_reply_json(call, 200, json_object());
    if (!done || (tunnel->ends[0].done && tunnel->ends[1].done))
        close_tunnel(tunnel);
}

/* --- opening ---------------------------------------------------------------------------------- */

struct wish {
    uint64_t job_id;
    uint64_t tunnel; /* it goes on with this one; 0 = a new one */
    uint32_t epoch, port;
    bool direct; /* its agent would try the other's address */
    const char *to;
};

static bool read_wish(struct api_call *call, const json_t *root, struct wish *out)
{
    json_int_t job = json_integer_value(json_object_get(root, "job"));
    json_int_t epoch = json_integer_value(json_object_get(root, "epoch"));
    json_int_t port = json_integer_value(json_object_get(root, "port"));
    json_int_t tunnel = json_integer_value(json_object_get(root, "tunnel"));

    out->to = json_string_value(json_object_get(root, "to"));
    if (tunnel < 0 || job < 1 || epoch < 1 || epoch > UINT32_MAX || port < 1 || port > 65535 ||
        !out->to) {
        api_error(call, 400, "invalid", NULL, "expected job, epoch, to and port");
        return false;
    }
    out->job_id = (uint64_t)job;
    out->epoch = (uint32_t)epoch;
    out->port = (uint32_t)port;
    out->tunnel = (uint64_t)tunnel;
    out->direct = json_is_true(json_object_get(root, "direct"));
    return true;
}

/* The site's own part of the attempt, and the other site's: both still hold. */
static bool find_parts(struct controller *controller, const char *site, const struct wish *wish,
                       uint32_t *to_epoch_out)
{
    struct job_view view;
    bool is_own = false, is_there = false;

    if (!grid_find_job(shell_grid(controller->shell), wish->job_id, &view))
        return false;
    for (uint32_t i = 0; i < view.across.sites_count; i++) {
        const struct across_site *part = &view.across.sites[i];

        if (part->is_over)
            continue;
        is_own |= !strcmp(part->site, site) && part->epoch == wish->epoch;
        if (strcmp(part->site, wish->to) != 0 || !strcmp(part->site, site))
            continue;
        is_there = true;
        *to_epoch_out = part->epoch;
    }
    return is_own && is_there;
}

static void tell_other(struct tunnel *tunnel)
{
    struct wire_command command = { .type = WIRE_TUNNEL,
                                    .attempt = { tunnel->job_id, tunnel->ends[1].epoch },
                                    .request = tunnel->id,
                                    .port = tunnel->port,
                                    .direct = tunnel->direct,
                                    .resume = tunnel->resumed };

    tunnel->told_ms = clock_mono_ms();
    sessions_send(tunnel->bridges->controller->sessions, tunnel->ends[1].site, &command);
}

static uint32_t count_of(const struct bridges *bridges, const char *site)
{
    uint32_t count = 0;

    for (const struct tunnel *tunnel = bridges->list; tunnel; tunnel = tunnel->next)
        count += !strcmp(tunnel->ends[0].site, site);
    return count;
}

static void on_tick(uv_timer_t *timer);

static struct tunnel *add(struct bridges *bridges, const char *site, const struct wish *wish,
                          uint32_t to_epoch)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));

    if (!tunnel || uv_random(NULL, NULL, &tunnel->id, sizeof(tunnel->id), 0, NULL) < 0) {
        free(tunnel);
        return NULL;
    }
    tunnel->id = tunnel->id >> 11 | 1; /* never 0, and a number that any reader of JSON holds */
    tunnel->resumed = wish->tunnel > 0;
    tunnel->pipes[0].is_fresh = tunnel->pipes[1].is_fresh = tunnel->resumed;
    if (wish->tunnel)
        tunnel->id = wish->tunnel;
    tunnel->bridges = bridges;
    tunnel->job_id = wish->job_id;
    tunnel->port = wish->port;
    tunnel->opened_ms = clock_mono_ms();
    snprintf(tunnel->ends[0].site, sizeof(tunnel->ends[0].site), "%s", site);
    snprintf(tunnel->ends[1].site, sizeof(tunnel->ends[1].site), "%s", wish->to);
    tunnel->ends[0].epoch = wish->epoch;
    tunnel->ends[1].epoch = to_epoch;
    tunnel->next = bridges->list;
    bridges->list = tunnel;
    bridges->count++;
    if (!uv_is_active((uv_handle_t *)&bridges->tick))
        uv_timer_start(&bridges->tick, on_tick, TICK_MS, TICK_MS);
    return tunnel;
}

/* After a restart here the numbers are the agents' to say: one that is known, or was closed, is not
 * made again. False: answered. */
static bool may_resume(struct api_call *call, const char *site, const struct wish *wish)
{
    const struct bridges *bridges = call->controller->bridges;
    const struct tunnel *tunnel = bridges->list;

    while (tunnel && tunnel->id != wish->tunnel)
        tunnel = tunnel->next;
    if (tunnel && !strcmp(tunnel->ends[0].site, site) && tunnel->job_id == wish->job_id) {
        api_reply_json(call, 200, json_pack("{s:I}", "tunnel", (json_int_t)tunnel->id));
        return false;
    }
    for (uint32_t i = 0; i < CLOSED_KEPT; i++)
        if (tunnel || bridges->closed[i] == wish->tunnel) {
            answer_closed(call);
            return false;
        }
    return true;
}

/* Where its owner says that its agent is reached; "" = nowhere. */
static const char *address_of(const struct grid *grid, const char *site)
{
    int index = grid_site_find(grid, site);
    bool reachable;

    return index < 0 ? "" : grid_site_get(grid, (uint32_t)index, &reachable)->address;
}

static void open_tunnel(struct api_call *call, const char *site, const struct wish *wish)
{
    struct bridges *bridges = call->controller->bridges;
    uint32_t to_epoch = 0;
    struct tunnel *tunnel;
    const char *address;
    char what[64];

    if (!find_parts(call->controller, site, wish, &to_epoch)) {
        snprintf(what, sizeof(what), "a tunnel for job %" PRIu64, wish->job_id);
        sessions_refuse(call->controller->sessions, site, what, "it holds no part of that attempt");
        api_error(call, 403, "forbidden", "job",
                  "job %" PRIu64 ": attempt %" PRIu32 " is not at %s and %s together", wish->job_id,
                  wish->epoch, site, wish->to);
        return;
    }
    if (bridges->count >= BRIDGE_MAX || count_of(bridges, site) >= BRIDGE_OF_SITE_MAX) {
        api_error(call, 503, "overloaded", NULL, "%" PRIu32 " connections are carried already",
                  bridges->count);
        return;
    }
    if (!sessions_is_open(call->controller->sessions, wish->to)) {
        api_error(call, 503, "site_unreachable", "to", "site %s is not connected", wish->to);
        return;
    }
    if (wish->tunnel && !may_resume(call, site, wish))
        return;
    address = address_of(shell_grid(call->controller->shell), wish->to);
    tunnel = add(bridges, site, wish, to_epoch);
    if (!tunnel) {
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    tunnel->direct = wish->direct && address[0];
    tell_other(tunnel);
    tunnel->direct = false; /* told again, it is late for that */
    api_reply_json(call, 200,
                   json_pack("{s:I, s:s*}", "tunnel", (json_int_t)tunnel->id, "address",
                             wish->direct && address[0] ? address : NULL));
}

void bridges_handle_open(struct api_call *call)
{
    const char *site = session_site_of(call);
    CLEANUP(jsonp) json_t *root = site ? api_body_json(call) : NULL;
    struct wish wish;

    if (site && root && read_wish(call, root, &wish))
        open_tunnel(call, site, &wish);
}

/* --- life ------------------------------------------------------------------------------------- */

static void look_after(struct tunnel *tunnel, int64_t now)
{
    bool is_lost = !tunnel->ends[0].seen && now - tunnel->opened_ms >= KEEP_MS;

    /* Over; or the answer that it was opened never came, and it was opened again. */
    if (is_lost || (!holds(tunnel, &tunnel->ends[0]) && !holds(tunnel, &tunnel->ends[1]))) {
        close_tunnel(tunnel);
        return;
    }
    if (!tunnel->ends[1].seen && now - tunnel->told_ms >= TELL_MS)
        tell_other(tunnel);
    for (uint32_t i = 0; i < 2; i++) {
        struct pipe *pipe = &tunnel->pipes[i];

        if (pipe->reader && now - pipe->reader_ms >= KEEP_MS)
            api_reply_text(let_go(&pipe->reader), 204, "text/plain", "", 0, NULL, 0);
        if (pipe->writer && now - pipe->writer_ms >= KEEP_MS)
            answer_append(let_go(&pipe->writer), -EAGAIN);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct bridges *bridges = timer->data;
    int64_t now = clock_mono_ms();
    struct tunnel *next;

    for (struct tunnel *tunnel = bridges->list; tunnel; tunnel = next) {
        next = tunnel->next;
        look_after(tunnel, now);
    }
}

void bridges_hello(struct bridges *bridges, const char *site, uint64_t incarnation)
{
    struct agent_start *start = bridges->starts;
    struct tunnel *next;

    while (start && strcmp(start->site, site) != 0)
        start = start->next;
    if (!start) {
        start = calloc(1, sizeof(*start));
        if (!start)
            return;
        snprintf(start->site, sizeof(start->site), "%s", site);
        start->incarnation = incarnation; /* as far as is known here it has always been that */
        start->next = bridges->starts;
        bridges->starts = start;
    }
    if (start->incarnation == incarnation)
        return;
    start->incarnation = incarnation;
    for (struct tunnel *tunnel = bridges->list; tunnel; tunnel = next) {
        next = tunnel->next;
        if (!strcmp(tunnel->ends[0].site, site) || !strcmp(tunnel->ends[1].site, site))
            close_tunnel(tunnel);
    }
}

struct bridges *bridges_create(struct controller *controller)
{
    struct bridges *bridges = calloc(1, sizeof(*bridges));

    if (!bridges)
        return NULL;
    bridges->controller = controller;
    uv_timer_init(&controller->loop, &bridges->tick);
    bridges->tick.data = bridges;
    return bridges;
}

static void on_closed(uv_handle_t *handle)
{
    struct bridges *bridges = handle->data;
    struct agent_start *next;

    for (struct agent_start *start = bridges->starts; start; start = next) {
        next = start->next;
        free(start);
    }
    free(bridges);
}

void bridges_destroy(struct bridges *bridges)
{
    if (!bridges)
        return;
    while (bridges->list)
        close_tunnel(bridges->list);
    uv_close((uv_handle_t *)&bridges->tick, on_closed);
}
