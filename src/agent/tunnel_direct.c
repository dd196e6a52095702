/* The way from one site's agent to another's without the controller, where an owner tells an
 * address at which the site's agent is reached.
 *
 * The one whose task begins the connection says the tunnel's number, which only the controller and
 * the two know; the other has been told to expect it, and answers "ok". From then on bytes go
 * between the two sockets, one piece at a time each way. Whatever goes amiss before that, the
 * connection goes by the controller. */
#include "agent/tunnel_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_BYTES 30u /* "mains tunnel " and 16 hex digits and a newline */
#define TRY_MS 3000     /* longer than the other side waits */
#define AGAIN_MS 60000  /* until a site that was not reached is tried again */
#define CALLERS_MAX 64u
#define BACKLOG 64

struct splice {
    struct way { /* 0: from the task; 1: from the other agent */
        uv_write_t write;
        bool ended;
        char bytes[TUNNEL_READ_BYTES];
    } ways[2];
    uint32_t shut_count;
};

static const uv_buf_t ok_text = { .base = (char *)(uintptr_t) "ok\n", .len = 3 };

static bool parse_address(const char *text, struct sockaddr_in *out)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strchr(text, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;

    if (!colon || (size_t)(colon - text) >= sizeof(host) || *end || port < 1 || port > 65535)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    return uv_ip4_addr(host, (int)port, out) == 0;
}

bool tunnel_address_is_valid(const char *text)
{
    struct sockaddr_in at;

    return parse_address(text, &at);
}

static void on_direct_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    free(handle);
    tunnel_release(stream);
}

void tunnel_direct_drop(struct stream *stream)
{
    uv_tcp_t *direct = stream->direct;

    stream->direct_until_ms = 0;
    stream->direct = NULL;
    if (direct)
        uv_close((uv_handle_t *)direct, on_direct_closed);
}

/* --- between the two sockets ------------------------------------------------------------------ */

static void on_bytes(uv_stream_t *from, ssize_t got, const uv_buf_t *data);

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct stream *stream = handle->data;
    struct way *way = &stream->splice->ways[handle != (uv_handle_t *)&stream->tcp];

    (void)size;
    *out = uv_buf_init(way->bytes, sizeof(way->bytes));
}

static void on_passed(uv_write_t *write, int status)
{
    uv_stream_t *from = write->data;
    struct stream *stream = from->data;

    if (stream->closing)
        return;
    if (status < 0 || uv_read_start(from, on_room, on_bytes) < 0)
        tunnel_break(stream, false);
}

static void on_shut(uv_shutdown_t *shut, int status)
{
    struct stream *stream = shut->handle->data;

    free(shut);
    if (!stream->closing && (status < 0 || ++stream->splice->shut_count == 2))
        tunnel_break(stream, true);
}

static void on_bytes(uv_stream_t *from, ssize_t got, const uv_buf_t *data)
{
    struct stream *stream = from->data;
    bool is_task = from == (uv_stream_t *)&stream->tcp;
    uv_stream_t *to = is_task ? (uv_stream_t *)stream->direct : (uv_stream_t *)&stream->tcp;
    struct way *way = &stream->splice->ways[!is_task];
    uv_buf_t piece = uv_buf_init(data->base, got > 0 ? (unsigned)got : 0);
    uv_shutdown_t *shut;

    if (got == 0)
        return;
    uv_read_stop(from);
    way->write.data = from;
    if (got > 0 && uv_write(&way->write, to, &piece, 1, on_passed) == 0)
        return;
    shut = got == UV_EOF ? calloc(1, sizeof(*shut)) : NULL;
    if (shut && uv_shutdown(shut, to, on_shut) == 0)
        return;
    free(shut);
    tunnel_break(stream, false);
}

void tunnel_direct_run(struct stream *stream)
{
    stream->is_direct = true;
    stream->splice = calloc(1, sizeof(*stream->splice));
    if (!stream->splice || uv_read_start((uv_stream_t *)&stream->tcp, on_room, on_bytes) < 0 ||
        uv_read_start((uv_stream_t *)stream->direct, on_room, on_bytes) < 0)
        tunnel_break(stream, false);
}

/* --- who begins ------------------------------------------------------------------------------- */

struct hello {
    uv_connect_t connect;
    uv_write_t write;
    char text[HELLO_BYTES + 1];
};

static void give_up(struct stream *stream)
{
    tunnel_direct_drop(stream);
    stream->gang->no_direct_until_ms[stream->part] = clock_mono_ms() + AGAIN_MS;
    tunnel_pump(stream);
}

static void on_answer_room(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct stream *stream = handle->data;

    (void)size;
    *out = uv_buf_init(stream->read_bytes, ok_text.len);
}

static void on_answer(uv_stream_t *tcp, ssize_t got, const uv_buf_t *data)
{
    struct stream *stream = tcp->data;

    if (got == 0)
        return;
    uv_read_stop(tcp);
    if (got != (ssize_t)ok_text.len || memcmp(data->base, ok_text.base, ok_text.len) != 0) {
        give_up(stream);
        return;
    }
    log_info("job %" PRIu64 ": a connection goes straight to site %s", stream->gang->key.job_id,
             stream->gang->across.sites[stream->part].site);
    tunnel_forget(stream); /* the controller need not keep it */
    tunnel_direct_run(stream);
}

static void on_said(uv_write_t *write, int status)
{
    struct hello *hello = write->data;
    uv_stream_t *tcp = write->handle;
    struct stream *stream = tcp->data;

    free(hello);
    if (stream->closing || stream->direct != (uv_tcp_t *)tcp)
        return;
    if (status < 0 || uv_read_start(tcp, on_answer_room, on_answer) < 0)
        give_up(stream);
}

static void on_reached(uv_connect_t *connect, int status)
{
    struct hello *hello = connect->data;
    uv_stream_t *tcp = connect->handle;
    struct stream *stream = tcp->data;
    uv_buf_t text = uv_buf_init(hello->text, HELLO_BYTES);

    if (status == 0 && !stream->closing && stream->direct == (uv_tcp_t *)tcp) {
        hello->write.data = hello;
        if (uv_write(&hello->write, tcp, &text, 1, on_said) == 0)
            return;
    }
    free(hello);
    if (!stream->closing && stream->direct == (uv_tcp_t *)tcp)
        give_up(stream);
}

static void attach(struct stream *stream, uv_tcp_t *tcp)
{
    stream->direct = tcp;
    tcp->data = stream;
    stream->handles_open++;
    uv_tcp_nodelay(tcp, 1);
}

void tunnel_direct_try(struct stream *stream, const char *address)
{
    struct hello *hello = calloc(1, sizeof(*hello));
    uv_tcp_t *tcp = calloc(1, sizeof(*tcp));
    struct sockaddr_in at;

    if (!hello || !tcp || !parse_address(address, &at) ||
        uv_tcp_init(stream->tunnels->config.loop, tcp) < 0) {
        free(hello);
        free(tcp);
        return;
    }
    stream->tunnels->handles_open++;
    attach(stream, tcp);
    stream->direct_until_ms = clock_mono_ms() + TRY_MS;
    snprintf(hello->text, sizeof(hello->text), "mains tunnel %016" PRIx64 "\n", stream->id);
    hello->connect.data = hello;
    if (uv_tcp_connect(&hello->connect, tcp, (const struct sockaddr *)&at, on_reached) < 0) {
        free(hello);
        tunnel_direct_drop(stream);
    }
}

void tunnel_direct_late(struct stream *stream)
{
    if (stream->direct)
        stream->gang->no_direct_until_ms[stream->part] = clock_mono_ms() + AGAIN_MS;
    tunnel_direct_drop(stream);
}

/* --- who is called ---------------------------------------------------------------------------- */

struct caller { /* until it has said what it is for */
    struct tunnels *tunnels;
    uv_tcp_t *tcp;
    uv_timer_t timer;
    uint32_t got;
    char text[HELLO_BYTES];
};

static void on_caller_timer_closed(uv_handle_t *handle)
{
    struct caller *caller = handle->data;
    struct tunnels *tunnels = caller->tunnels;

    free(caller);
    tunnels->callers_count--;
    tunnel_handle_closed(tunnels);
}

static void on_caller_tcp_closed(uv_handle_t *handle)
{
    struct tunnels *tunnels = handle->data;

    free(handle);
    tunnel_handle_closed(tunnels);
}

static void caller_end(struct caller *caller, bool keeps_tcp)
{
    uv_read_stop((uv_stream_t *)caller->tcp);
    if (!keeps_tcp) {
        caller->tcp->data = caller->tunnels;
        uv_close((uv_handle_t *)caller->tcp, on_caller_tcp_closed);
    }
    uv_close((uv_handle_t *)&caller->timer, on_caller_timer_closed);
}

static void on_caller_late(uv_timer_t *timer)
{
    caller_end(timer->data, false);
}

static void on_caller_room(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct caller *caller = handle->data;

    (void)size;
    *out = uv_buf_init(caller->text + caller->got, HELLO_BYTES - caller->got);
}

/* The stream that waits for this caller; NULL = none does. */
static struct stream *find_waiting(const struct caller *caller)
{
    char expected[HELLO_BYTES + 1];

    for (struct stream *stream = caller->tunnels->streams; stream; stream = stream->next) {
        snprintf(expected, sizeof(expected), "mains tunnel %016" PRIx64 "\n", stream->id);
        if (stream->is_guest && !stream->direct && stream->direct_until_ms > clock_mono_ms() &&
            memcmp(expected, caller->text, HELLO_BYTES) == 0)
            return stream;
    }
    return NULL;
}

static void on_caller_read(uv_stream_t *tcp, ssize_t got, const uv_buf_t *data)
{
    struct caller *caller = tcp->data;
    struct stream *stream = NULL;

    (void)data;
    if (got == 0)
        return;
    caller->got += got > 0 ? (uint32_t)got : 0;
    if (got > 0 && caller->got < HELLO_BYTES)
        return;
    if (got > 0)
        stream = find_waiting(caller);
    if (!stream || uv_try_write(tcp, &ok_text, 1) != (int)ok_text.len) {
        caller_end(caller, false);
        return;
    }
    caller_end(caller, true);
    attach(stream, (uv_tcp_t *)tcp);
    tunnel_pump(stream);
}

static void on_caller(uv_stream_t *server, int status)
{
    struct tunnels *tunnels = server->data;
    struct caller *caller = status == 0 ? calloc(1, sizeof(*caller)) : NULL;
    uv_tcp_t *tcp = caller ? calloc(1, sizeof(*tcp)) : NULL;

    if (!tcp || uv_tcp_init(tunnels->config.loop, tcp) < 0) {
        free(caller);
        free(tcp);
        return;
    }
    caller->tunnels = tunnels;
    caller->tcp = tcp;
    tcp->data = caller;
    uv_timer_init(tunnels->config.loop, &caller->timer);
    caller->timer.data = caller;
    tunnels->handles_open += 2;
    tunnels->callers_count++;
    if (uv_accept(server, (uv_stream_t *)tcp) < 0 || tunnels->callers_count > CALLERS_MAX ||
        uv_read_start((uv_stream_t *)tcp, on_caller_room, on_caller_read) < 0)
        caller_end(caller, false);
    else
        uv_timer_start(&caller->timer, on_caller_late, TRY_MS, 0);
}

int tunnel_direct_listen(struct tunnels *tunnels, const char *address, struct err *err)
{
    struct sockaddr_in at;
    int rc;

    if (!parse_address(address, &at))
        return err_set(err, -EINVAL, "address: expected an IPv4 address and a port");
    rc = uv_tcp_bind(&tunnels->direct_listener, (const struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&tunnels->direct_listener, BACKLOG, on_caller);
    return rc < 0 ? err_set(err, rc, "address %s: %s", address, uv_strerror(rc)) : 0;
}
