/* The bytes of one connection, piece by piece: see tunnel.h. */
#include "agent/tunnel_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- from the task to the network ------------------------------------------------------------- */

static void on_posted(void *context, const struct http_answer *answer)
{
    struct stream *stream = context;

    stream->up = NULL;
    if (tunnel_is_final(answer)) {
        tunnel_close(stream);
    } else if (answer->status == 404) {
        tunnel_lost(stream);
    } else if (answer->status == 200) {
        stream->lost_ms = 0;
        stream->sent_from += (int64_t)stream->sent.len;
        buf_clear(&stream->sent);
        stream->end_taken = stream->end_sent;
        tunnel_pump(stream);
    } else {
        tunnel_again(stream);
    }
}

static void post_piece(struct stream *stream)
{
    char rest[200];

    if (!stream->sent.len && !stream->end_sent) {
        struct buf gathered = stream->gathered;

        stream->gathered = stream->sent;
        stream->sent = gathered;
        stream->end_sent = stream->has_ended;
    }
    snprintf(rest, sizeof(rest), "/%" PRIu64 "?site=%s&offset=%" PRId64 "%s", stream->id,
             stream->tunnels->site, stream->sent_from, stream->end_sent ? "&end=true" : "");
    if (tunnel_call(stream->tunnels, "POST", rest, stream->sent.data ? stream->sent.data : "",
                    stream->sent.len, on_posted, stream, &stream->up) < 0) {
        stream->up = NULL;
        tunnel_again(stream);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct stream *stream = handle->data;

    (void)size;
    *out = uv_buf_init(stream->read_bytes, sizeof(stream->read_bytes));
}

static void on_read(uv_stream_t *tcp, ssize_t got, const uv_buf_t *data)
{
    struct stream *stream = tcp->data;

    if (got == UV_EOF) {
        stream->has_ended = true;
        stream->is_reading = false;
        uv_read_stop(tcp);
    } else if (got < 0 || buf_add(&stream->gathered, data->base, (size_t)got) < 0) {
        tunnel_break(stream, false);
        return;
    }
    tunnel_pump(stream);
}

/* --- from the network to the task ------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
    struct stream *stream = write->data;

    stream->is_writing = false;
    if (stream->closing)
        return;
    if (status < 0) {
        tunnel_break(stream, false);
        return;
    }
    stream->fetched_from += (int64_t)stream->fetched.len;
    buf_clear(&stream->fetched);
    tunnel_pump(stream);
}

static void on_shut(uv_shutdown_t *shut, int status)
{
    (void)status;
    free(shut);
}

static void take_end(struct stream *stream)
{
    uv_shutdown_t *shut = calloc(1, sizeof(*shut));

    stream->peer_ended = true;
    if (!shut || uv_shutdown(shut, (uv_stream_t *)&stream->tcp, on_shut) < 0) {
        free(shut);
        tunnel_break(stream, false);
    }
}

static void write_piece(struct stream *stream, const struct buf *piece)
{
    uv_buf_t data;

    if (buf_add(&stream->fetched, piece->data, piece->len) < 0) {
        tunnel_break(stream, false);
        return;
    }
    data = uv_buf_init(stream->fetched.data, (unsigned)stream->fetched.len);
    stream->write.data = stream;
    stream->is_writing = true;
    if (uv_write(&stream->write, (uv_stream_t *)&stream->tcp, &data, 1, on_written) < 0) {
        stream->is_writing = false;
        tunnel_break(stream, false);
    }
}

static void on_fetched(void *context, const struct http_answer *answer)
{
    struct stream *stream = context;
    bool is_piece = strncmp(answer->content_type, "application/octet-stream", 24) == 0;

    stream->down = NULL;
    if (answer->status == 200 || answer->status == 204)
        stream->lost_ms = 0;
    if (tunnel_is_final(answer)) {
        tunnel_close(stream);
    } else if (answer->status == 404) {
        tunnel_lost(stream);
    } else if (answer->status == 200 && is_piece && answer->body.len) {
        write_piece(stream, &answer->body);
    } else if (answer->status == 200 && !is_piece) {
        take_end(stream);
        tunnel_pump(stream);
    } else if (answer->status == 204) {
        tunnel_pump(stream);
    } else {
        tunnel_again(stream);
    }
}

static void fetch_piece(struct stream *stream)
{
    char rest[160];

    snprintf(rest, sizeof(rest), "/%" PRIu64 "?site=%s&offset=%" PRId64, stream->id,
             stream->tunnels->site, stream->fetched_from);
    if (tunnel_call(stream->tunnels, "GET", rest, NULL, 0, on_fetched, stream, &stream->down) < 0) {
        stream->down = NULL;
        tunnel_again(stream);
    }
}

void tunnel_carry(struct stream *stream)
{
    uv_stream_t *tcp = (uv_stream_t *)&stream->tcp;
    bool has_room = stream->gathered.len < TUNNEL_PIECE_BYTES && !stream->has_ended;

    if (has_room != stream->is_reading) {
        stream->is_reading = has_room;
        if (!has_room)
            uv_read_stop(tcp);
        else if (uv_read_start(tcp, on_alloc, on_read) < 0) {
            tunnel_break(stream, false);
            return;
        }
    }
    if (!stream->up &&
        (stream->sent.len || stream->gathered.len || (stream->has_ended && !stream->end_taken)))
        post_piece(stream);
    if (!stream->down && !stream->is_writing && !stream->peer_ended)
        fetch_piece(stream);
    if (stream->end_taken && stream->peer_ended)
        tunnel_break(stream, true);
}
