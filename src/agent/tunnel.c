#include "agent/tunnel_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 200  /* between tries */
#define CALL_MS 30000 /* the controller answers within 20 s, come what may */
#define BACKLOG 64
#define DIRECT_MS 2000 /* so long the other agent has to come by itself */

/* --- life ------------------------------------------------------------------------------------ */

static void free_if_over(struct tunnels *tunnels)
{
    if (!tunnels->destroyed || tunnels->handles_open)
        return;
    free(tunnels->site);
    free(tunnels);
}

static void drop_gang(struct gang *gang)
{
    if (!gang->over || gang->streams_count || gang->listeners_open)
        return;
    for (struct gang **link = &gang->tunnels->gangs; *link; link = &(*link)->next)
        if (*link == gang) {
            *link = gang->next;
            break;
        }
    free(gang);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct gang *gang = listener->gang;
    struct tunnels *tunnels = gang->tunnels;

    free(listener);
    gang->listeners_open--;
    tunnels->handles_open--;
    drop_gang(gang);
    free_if_over(tunnels);
}

void tunnel_handle_closed(struct tunnels *tunnels)
{
    tunnels->handles_open--;
    free_if_over(tunnels);
}

void tunnel_release(struct stream *stream)
{
    struct tunnels *tunnels = stream->tunnels;
    struct gang *gang = stream->gang;

    if (--stream->handles_open == 0) {
        free(stream->splice);
        buf_fini(&stream->sent);
        buf_fini(&stream->gathered);
        buf_fini(&stream->fetched);
        free(stream);
        gang->streams_count--;
        drop_gang(gang);
    }
    tunnel_handle_closed(tunnels);
}

static void on_stream_closed(uv_handle_t *handle)
{
    tunnel_release(handle->data);
}

void tunnel_close(struct stream *stream)
{
    struct tunnels *tunnels = stream->tunnels;

    if (stream->closing)
        return;
    stream->closing = true;
    for (struct stream **link = &tunnels->streams; *link; link = &(*link)->next)
        if (*link == stream) {
            *link = stream->next;
            tunnels->streams_count--;
            break;
        }
    if (stream->up)
        http_pending_cancel(stream->up);
    if (stream->down)
        http_pending_cancel(stream->down);
    stream->up = stream->down = NULL;
    tunnel_direct_drop(stream);
    if (!uv_is_closing((uv_handle_t *)&stream->tcp)) /* else on_tcp_reset sees to it */
        uv_close((uv_handle_t *)&stream->tcp, on_stream_closed);
    uv_close((uv_handle_t *)&stream->timer, on_stream_closed);
}

/* --- talking to the controller ---------------------------------------------------------------- */

int tunnel_call(struct tunnels *tunnels, const char *method, const char *rest, const void *body,
                size_t len, http_done_fn done, void *context, struct http_pending **pending_out)
{
    struct http_call call = { .method = method,
                              .body = body,
                              .body_len = len,
                              .content_type = body ? "application/octet-stream" : NULL,
                              .timeout_ms = CALL_MS };
    CLEANUP(freep) char *url = NULL;
    struct transfer_link link;
    struct err err = { 0 };
    int rc;

    tunnels->config.link(tunnels->config.context, &link);
    if (!link.url)
        return -ENOTCONN;
    if (asprintf(&url, "%s" TUNNEL_PATH "%s", link.url, rest) < 0) {
        url = NULL;
        transfer_link_fini(&link);
        return -ENOMEM;
    }
    call.url = url;
    call.bearer = link.bearer;
    call.pin_sha256 = link.pin;
    call.client_cert_pem = link.cert_pem;
    call.client_key_pem = link.key_pem;
    rc = http_client_call(tunnels->client, &call, NULL, done, context, pending_out, &err);
    transfer_link_fini(&link);
    return rc;
}

static void on_told(void *context, const struct http_answer *answer)
{
    (void)context;
    (void)answer;
}

/* The other end shall know: it is broken off, or (done) all went both ways. */
void tunnel_forget(struct stream *stream)
{
    struct http_pending *pending;
    char rest[160];

    snprintf(rest, sizeof(rest), "/%" PRIu64 "?site=%s", stream->id, stream->tunnels->site);
    tunnel_call(stream->tunnels, "DELETE", rest, NULL, 0, on_told, NULL, &pending);
}

void tunnel_break(struct stream *stream, bool done)
{
    struct http_pending *pending;
    char rest[160];

    if (stream->closing)
        return;
    snprintf(rest, sizeof(rest), "/%" PRIu64 "?site=%s%s", stream->id, stream->tunnels->site,
             done ? "&done=true" : "");
    if (stream->id)
        tunnel_call(stream->tunnels, "DELETE", rest, NULL, 0, on_told, NULL, &pending);
    tunnel_close(stream);
}

static void on_timer(uv_timer_t *timer)
{
    tunnel_pump(timer->data);
}

void tunnel_again(struct stream *stream)
{
    if (!stream->closing && !uv_is_active((uv_handle_t *)&stream->timer))
        uv_timer_start(&stream->timer, on_timer, AGAIN_MS, 0);
}

bool tunnel_is_final(const struct http_answer *answer)
{
    return answer->status == 400 || answer->status == 401 || answer->status == 403 ||
           answer->status == 410;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Nothing of it is lost but time: the controller answers for no byte before the other end has it.
 * Whose task began it has it made known again. */
void tunnel_lost(struct stream *stream)
{
    int64_t now = clock_mono_ms();

    if (stream->has_ended) /* that may have been on its way */
        stream->end_sent = stream->end_taken = false;
    if (!stream->lost_ms)
        stream->lost_ms = now;
    if (now - stream->lost_ms > TUNNEL_PATIENCE_MS) {
        tunnel_close(stream);
        return;
    }
    stream->is_lost = !stream->is_guest;
    stream->until_ms = stream->lost_ms + TUNNEL_PATIENCE_MS;
    tunnel_again(stream);
}

static void on_opened(void *context, const struct http_answer *answer)
{
    struct stream *stream = context;
    json_t *root =
        json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(root, "tunnel"));
    const char *address = json_string_value(json_object_get(root, "address"));

    stream->up = NULL;
    if (answer->status == 200 && id > 0) {
        stream->id = (uint64_t)id;
        stream->is_lost = false;
        if (address)
            tunnel_direct_try(stream, address);
        tunnel_pump(stream);
    } else if (tunnel_is_final(answer) || clock_mono_ms() > stream->until_ms) {
        log_warn("job %" PRIu64 ": no way to %s: %.*s", stream->gang->key.job_id,
                 stream->gang->across.sites[stream->part].site, (int)MIN(answer->body.len, 160u),
                 answer->body.data ? answer->body.data : "");
        tunnel_close(stream);
    } else {
        tunnel_again(stream);
    }
    json_decref(root);
}

static void open_at_controller(struct stream *stream)
{
    const struct gang *gang = stream->gang;
    bool wants_direct =
        !stream->is_lost && clock_mono_ms() >= gang->no_direct_until_ms[stream->part];
    char rest[96], body[256];
    int len = snprintf(body, sizeof(body),
                       "{\"job\":%" PRIu64 ",\"epoch\":%" PRIu32
                       ",\"to\":\"%s\",\"port\":%u,\"direct\":%s,\"tunnel\":%" PRIu64 "}",
                       gang->key.job_id, gang->key.epoch, gang->across.sites[stream->part].site,
                       stream->port, wants_direct ? "true" : "false", stream->id);

    snprintf(rest, sizeof(rest), "?site=%s", stream->tunnels->site);
    if (tunnel_call(stream->tunnels, "POST", rest, body, (size_t)len, on_opened, stream,
                    &stream->up) < 0) {
        stream->up = NULL;
        tunnel_again(stream);
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct stream *stream = connect->data;

    if (stream->closing)
        return;
    stream->is_connecting = false;
    if (status == 0) {
        stream->is_connected = true;
        uv_tcp_nodelay(&stream->tcp, 1);
        tunnel_pump(stream);
        return;
    }
    if (clock_mono_ms() > stream->until_ms || stream->gang->over) {
        tunnel_break(stream, false); /* nobody listens there */
        return;
    }
    stream->tries_any = !stream->tries_any;
    tunnel_again(stream);
}

static void on_tcp_reset(uv_handle_t *handle);

/* A socket that was refused is no good for another try. */
static void connect_to_task(struct stream *stream)
{
    char address[PEERS_ADDRESS_BYTES] = "127.0.0.1";
    struct sockaddr_in at;

    stream->is_connecting = true;
    if (stream->connect.data) {
        stream->connect.data = NULL;
        uv_close((uv_handle_t *)&stream->tcp, on_tcp_reset);
        return;
    }
    if (!stream->tries_any)
        peers_address(stream->gang->key.job_id, stream->part, address);
    uv_ip4_addr(address, stream->port, &at);
    stream->connect.data = stream;
    if (uv_tcp_connect(&stream->connect, &stream->tcp, (const struct sockaddr *)&at, on_connected) <
        0)
        tunnel_break(stream, false);
}

static void on_tcp_reset(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    if (stream->closing) {
        on_stream_closed(handle);
        return;
    }
    uv_tcp_init(stream->tunnels->config.loop, &stream->tcp);
    connect_to_task(stream);
}

/* --- all that can be done now ----------------------------------------------------------------- */

void tunnel_pump(struct stream *stream)
{
    int64_t now = clock_mono_ms();

    if (stream->closing || stream->is_direct)
        return;
    if (!stream->id || stream->is_lost) {
        if (!stream->up)
            open_at_controller(stream);
        return;
    }
    if (!stream->is_connected) {
        if (stream->is_guest && !stream->is_connecting)
            connect_to_task(stream);
        return;
    }
    if (stream->direct && stream->is_guest) {
        tunnel_direct_run(stream);
    } else if (stream->direct_until_ms > now) {
        tunnel_again(stream); /* it may yet come, or be answered */
    } else {
        tunnel_direct_late(stream);
        tunnel_carry(stream);
    }
}

static struct stream *add_stream(struct gang *gang, uint32_t part, uint16_t port)
{
    struct tunnels *tunnels = gang->tunnels;
    struct stream *stream = tunnels->streams_count < TUNNEL_STREAMS_MAX && !tunnels->destroyed
                                ? calloc(1, sizeof(*stream))
                                : NULL;

    if (!stream)
        return NULL;
    stream->tunnels = tunnels;
    stream->gang = gang;
    stream->part = part;
    stream->port = port;
    stream->until_ms = clock_mono_ms() + TUNNEL_PATIENCE_MS;
    stream->sent = stream->gathered = buf_init(TUNNEL_PIECE_BYTES + TUNNEL_READ_BYTES);
    stream->fetched = buf_init(TUNNEL_PIECE_BYTES);
    uv_tcp_init(tunnels->config.loop, &stream->tcp);
    uv_timer_init(tunnels->config.loop, &stream->timer);
    stream->tcp.data = stream->timer.data = stream;
    stream->handles_open = 2;
    tunnels->handles_open += 2;
    gang->streams_count++;
    stream->next = tunnels->streams;
    tunnels->streams = stream;
    tunnels->streams_count++;
    return stream;
}

static void on_refused_closed(uv_handle_t *handle)
{
    struct tunnels *tunnels = handle->data;

    free(handle);
    tunnels->handles_open--;
    free_if_over(tunnels);
}

/* One too many. It must be taken, or no other will be. */
static void refuse_connection(struct listener *listener, uv_stream_t *server)
{
    struct tunnels *tunnels = listener->gang->tunnels;
    uv_tcp_t *tcp = calloc(1, sizeof(*tcp));

    log_warn("job %" PRIu64 ": a connection is not carried: there are %u already",
             listener->gang->key.job_id, TUNNEL_STREAMS_MAX);
    if (!tcp)
        return;
    uv_tcp_init(tunnels->config.loop, tcp);
    tcp->data = tunnels;
    tunnels->handles_open++;
    uv_accept(server, (uv_stream_t *)tcp);
    uv_close((uv_handle_t *)tcp, on_refused_closed);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    struct stream *stream;

    if (status < 0)
        return;
    stream = add_stream(listener->gang, listener->part, listener->port);
    if (!stream) {
        refuse_connection(listener, server);
        return;
    }
    if (uv_accept(server, (uv_stream_t *)&stream->tcp) < 0) {
        tunnel_close(stream);
        return;
    }
    stream->is_connected = true;
    uv_tcp_nodelay(&stream->tcp, 1);
    tunnel_pump(stream);
}

/* --- gangs ------------------------------------------------------------------------------------ */

static struct gang *find_gang(const struct tunnels *tunnels, struct attempt_key key)
{
    for (struct gang *gang = tunnels->gangs; gang; gang = gang->next)
        if (gang->key.job_id == key.job_id && gang->key.epoch == key.epoch && !gang->over)
            return gang;
    return NULL;
}

static void end_gang(struct gang *gang)
{
    struct listener *next;

    gang->over = true;
    for (struct listener *listener = gang->listeners; listener; listener = next) {
        next = listener->next;
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
    }
    gang->listeners = NULL;
    drop_gang(gang);
}

static int listen_for(struct gang *gang, uint32_t part, uint16_t port, struct err *err)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    char address[PEERS_ADDRESS_BYTES];
    struct sockaddr_in at;
    int rc;

    if (!listener)
        return err_set(err, -ENOMEM, "out of memory");
    listener->gang = gang;
    listener->part = part;
    listener->port = port;
    uv_tcp_init(gang->tunnels->config.loop, &listener->tcp);
    listener->tcp.data = listener;
    listener->next = gang->listeners;
    gang->listeners = listener;
    gang->listeners_open++;
    gang->tunnels->handles_open++;
    peers_address(gang->key.job_id, part, address);
    uv_ip4_addr(address, port, &at);
    rc = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (rc < 0)
        return err_set(err, rc, "address %s:%u of a task at site %s: %s", address, port,
                       gang->across.sites[part].site, uv_strerror(rc));
    return 0;
}

int tunnels_begin(struct tunnels *tunnels, struct attempt_key key,
                  const struct attempt_across *across, struct err *err)
{
    struct gang *gang = find_gang(tunnels, key);
    uint32_t rank = 0;
    int rc = 0;

    if (gang)
        return 0;
    gang = calloc(1, sizeof(*gang));
    if (!gang)
        return err_set(err, -ENOMEM, "out of memory");
    gang->tunnels = tunnels;
    gang->key = key;
    gang->across = *across;
    gang->next = tunnels->gangs;
    tunnels->gangs = gang;
    for (uint32_t i = 0; i < across->count; i++)
        for (uint32_t t = 0; t < across->sites[i].tasks; t++, rank++)
            if (rc == 0 && i != across->self)
                rc = listen_for(gang, i, peers_port(key.job_id, rank), err);
    if (rc == 0 && across->self)
        rc = listen_for(gang, 0, peers_master_port(key.job_id), err);
    if (rc < 0)
        end_gang(gang);
    return rc;
}

void tunnels_end(struct tunnels *tunnels, struct attempt_key key)
{
    struct gang *gang = find_gang(tunnels, key);

    if (gang)
        end_gang(gang);
}

void tunnels_connect(struct tunnels *tunnels, struct attempt_key key, uint64_t id, uint32_t port,
                     bool is_direct, bool is_resumed)
{
    struct gang *gang = find_gang(tunnels, key);
    struct http_pending *pending;
    struct stream *stream;
    char rest[160];

    for (stream = tunnels->streams; stream; stream = stream->next)
        if (stream->id == id)
            return; /* told twice */
    stream = gang && !is_resumed &&
                     peers_part_of_port(key.job_id, &gang->across, port) == (int)gang->across.self
                 ? add_stream(gang, gang->across.self, (uint16_t)port)
                 : NULL;
    if (stream) {
        stream->id = id;
        stream->is_guest = true;
        if (is_direct && tunnels->is_listening)
            stream->direct_until_ms = clock_mono_ms() + DIRECT_MS;
        tunnel_pump(stream);
        return;
    }
    log_warn("job %" PRIu64 ": a connection to port %" PRIu32 " is refused", key.job_id, port);
    snprintf(rest, sizeof(rest), "/%" PRIu64 "?site=%s", id, tunnels->site);
    tunnel_call(tunnels, "DELETE", rest, NULL, 0, on_told, NULL, &pending);
}

int tunnels_create(const struct tunnels_config *config, struct tunnels **tunnels_out,
                   struct err *err)
{
    struct tunnels *tunnels = calloc(1, sizeof(*tunnels));
    int rc;

    if (!tunnels)
        return err_set(err, -ENOMEM, "out of memory");
    tunnels->config = *config;
    tunnels->site = strdup(config->site);
    rc = tunnels->site ? http_client_create(config->loop, &tunnels->client, err)
                       : err_set(err, -ENOMEM, "out of memory");
    if (rc < 0) {
        free(tunnels->site);
        free(tunnels);
        return rc;
    }
    if (config->address && config->address[0]) {
        struct err why = { 0 };

        uv_tcp_init(config->loop, &tunnels->direct_listener);
        tunnels->direct_listener.data = tunnels;
        tunnels->is_listening = tunnel_direct_listen(tunnels, config->address, &why) == 0;
        if (!tunnels->is_listening) { /* everything goes by the controller, then */
            log_warn("%s", why.text);
            uv_close((uv_handle_t *)&tunnels->direct_listener, NULL);
        } else {
            tunnels->handles_open++;
        }
    }
    *tunnels_out = tunnels;
    return 0;
}

static void on_direct_listener_closed(uv_handle_t *handle)
{
    tunnel_handle_closed(handle->data);
}

void tunnels_destroy(struct tunnels *tunnels)
{
    struct gang *next;

    if (!tunnels)
        return;
    tunnels->destroyed = true;
    tunnels->handles_open++; /* until all that is below is under way */
    while (tunnels->streams)
        tunnel_close(tunnels->streams);
    for (struct gang *gang = tunnels->gangs; gang; gang = next) {
        next = gang->next;
        if (!gang->over)
            end_gang(gang);
    }
    if (tunnels->is_listening)
        uv_close((uv_handle_t *)&tunnels->direct_listener, on_direct_listener_closed);
    http_client_destroy(tunnels->client);
    tunnels->handles_open--;
    free_if_over(tunnels);
}
