#include "net/http_server.h"

#include "net/http_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

/* Room that is asked for at once from a stream; the library's own buffer bounds it further. */
#define STREAM_BLOCK_BYTES (16u << 10)

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->uri.path;
}

const char *http_request_query(const struct http_request *request, const char *key)
{
    return http_uri_param(&request->uri, key);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void *http_request_take_body(struct http_request *request, size_t *len_out)
{
    void *body = request->body.data;

    *len_out = request->body.len;
    request->server->bodies_bytes -= request->body.len;
    request->body.data = NULL;
    request->body.len = request->body.cap = 0;
    return body;
}

const char *http_request_body(const struct http_request *request, size_t *len_out)
{
    *len_out = request->body.len;
    return request->body.data ? request->body.data : "";
}

const char *http_request_bearer(const struct http_request *request)
{
    return http_bearer_find(http_request_header(request, MHD_HTTP_HEADER_AUTHORIZATION));
}

const char *http_request_peer(const struct http_request *request)
{
    return request->address;
}

int http_request_client(const struct http_request *request, const char **name_out,
                        const char **pin_out)
{
    *name_out = request->peer->client_name;
    *pin_out = request->peer->client_pin;
    return request->peer->client_rc;
}

void http_request_set_user(struct http_request *request, void *user)
{
    request->user = user;
}

void *http_request_user(const struct http_request *request)
{
    return request->user;
}

/* Hand a made response over to where it will be queued: after `handle` returns, or when the
 * suspended connection is resumed. Without one (memory is short) the connection is closed. */
static void response_give(struct http_request *request, struct MHD_Response *response, int status,
                          const char *content_type, const struct http_header *headers,
                          uint32_t headers_count)
{
    request->response = response;
    request->status = status;
    if (!response) {
        request->lost = true;
    } else {
        if (content_type)
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
        for (uint32_t i = 0; i < headers_count; i++)
            MHD_add_response_header(response, headers[i].name, headers[i].value);
    }
    http_wait_resume(request);
}

void http_reply(struct http_request *request, int status, const char *content_type,
                const void *body, size_t len, const struct http_header *headers,
                uint32_t headers_count)
{
    struct MHD_Response *response;

    assert(request->state == HTTP_HANDLING || request->state == HTTP_KEPT);
    request->state = HTTP_DONE;
    response =
        MHD_create_response_from_buffer(len, http_unconst(len ? body : ""), MHD_RESPMEM_MUST_COPY);
    response_give(request, response, status, content_type, headers, headers_count);
}

int http_stream_begin(struct http_request *request, int status, const char *content_type,
                      const struct http_header *headers, uint32_t headers_count)
{
    struct MHD_Response *response;

    assert(request->state == HTTP_HANDLING || request->state == HTTP_KEPT);
    request->state = HTTP_STREAMING;
    request->is_stream = true;
    request->out = buf_init(HTTP_STREAM_BACKLOG_BYTES_MAX);
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                 http_stream_read, request, NULL);
    response_give(request, response, status, content_type, headers, headers_count);
    return response ? 0 : -ENOMEM;
}

int http_stream_push(struct http_request *request, const void *data, size_t len)
{
    int rc;

    assert(request->state == HTTP_STREAMING);
    if (len > HTTP_STREAM_BACKLOG_BYTES_MAX - http_stream_backlog(request))
        return -ENOBUFS;
    /* Move what waits to the front only when at least as much was taken: each byte moves once. */
    if (request->out_offset && request->out_offset >= request->out.len - request->out_offset) {
        buf_consume(&request->out, request->out_offset);
        request->out_offset = 0;
    }
    rc = buf_add(&request->out, data, len);
    if (rc == -ENOSPC && request->out_offset) {
        buf_consume(&request->out, request->out_offset);
        request->out_offset = 0;
        rc = buf_add(&request->out, data, len);
    }
    if (rc < 0)
        return -ENOBUFS;
    http_wait_resume(request);
    return 0;
}

size_t http_stream_backlog(const struct http_request *request)
{
    return request->out.len - request->out_offset;
}

void http_stream_end(struct http_request *request)
{
    assert(request->state == HTTP_STREAMING);
    request->state = HTTP_DONE;
    request->stream_ended = true;
    http_wait_resume(request);
}

ssize_t http_stream_read(void *context, uint64_t offset, char *out, size_t out_bytes)
{
    struct http_request *request = context;
    size_t len = http_stream_backlog(request);

    (void)offset;
    if (request->lost)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!len && request->stream_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!len) {
        http_wait_suspend(request);
        return 0;
    }
    len = MIN(len, out_bytes);
    memcpy(out, request->out.data + request->out_offset, len);
    request->out_offset += len;
    if (request->out_offset == request->out.len) {
        /* A burst must not hold its memory for the rest of a long stream. */
        if (request->out.cap > (256u << 10))
            buf_fini(&request->out);
        else
            buf_clear(&request->out);
        request->out_offset = 0;
    }
    return (ssize_t)len;
}
