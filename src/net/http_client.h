/* http_client.h - HTTP requests: one at a time and blocking (the CLI), or many inside a libuv loop
 * (the agent). libcurl; keep-alive; no redirects to other hosts; no proxy for loopback. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "net/http_server.h" /* struct http_header */

#include <uv.h>

struct http_call {
    const char *method; /* "GET", "POST", "DELETE" */
    const char *url;
    const char *bearer; /* NULL = none */
    const char *content_type;
    const void *body;
    size_t body_len;
    const struct http_header *headers;
    uint32_t headers_count;
    int64_t timeout_ms;         /* whole call; 0 = none (streams) */
    int64_t connect_timeout_ms; /* 0 = 5 s */
    int64_t silence_timeout_ms; /* a stream that says nothing this long is broken; 0 = none */
    size_t answer_bytes_max;    /* 0 = 64 MiB */
    const char *ca_pem, *pin_sha256, *client_cert_pem, *client_key_pem; /* TLS; NULL = default */
};

struct http_answer {
    int status; /* 0: no answer; `error` says why */
    struct buf body;
    char error[200];
    char content_type[80];
};
void http_answer_fini(struct http_answer *answer);

/* Blocking. `on_data` (may be NULL) takes the body as it comes, instead of answer->body; non-zero
 * from it ends the call quietly. 0, or -ECONNREFUSED, -ETIMEDOUT, -EIO with answer->error. */
struct http_easy; /* a kept connection; one thread */
struct http_easy *http_easy_create(void);
void http_easy_destroy(struct http_easy *easy);
int http_easy_call(struct http_easy *easy, const struct http_call *call,
                   int (*on_data)(void *context, const char *data, size_t len), void *context,
                   struct http_answer *answer_out);

/* In a loop. `done` is called once, also on failure (status 0); `answer` is good during the call.
 */
struct http_client;
struct http_pending;
typedef void (*http_data_fn)(void *context, const char *data, size_t len);
typedef void (*http_done_fn)(void *context, const struct http_answer *answer);
int http_client_create(uv_loop_t *loop, struct http_client **client_out, struct err *err);
void http_client_destroy(struct http_client *client); /* pending calls end without `done` */
/* Body and strings are copied. `on_data` NULL = collect the body into the answer. */
int http_client_call(struct http_client *client, const struct http_call *call, http_data_fn on_data,
                     http_done_fn done, void *context, struct http_pending **pending_out,
                     struct err *err);
void http_pending_cancel(struct http_pending *pending); /* without `done` */
