/* http_client.h - HTTP requests: one at a time and blocking (the CLI), or many inside a libuv loop
 * (the agent). libcurl; keep-alive; redirects are not followed; no proxy for loopback.
 *
 * An answer of any status is an answer. `on_data` gets the bytes of a 2xx answer only: what comes
 * with another status is collected in answer->body, so that a stream's refusal can be read. A
 * transfer that breaks off half-way has status 0 and says so in `error`. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "net/http_server.h" /* struct http_header */

#include <stdatomic.h>
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
    /* TLS; NULL = default. With `ca_pem` only certificates it signed are good. `pin_sha256` is the
     * SHA-256 of the server's public key (its DER SubjectPublicKeyInfo) in base64; a pin without a
     * CA replaces the check of chain and name. */
    const char *ca_pem, *pin_sha256, *client_cert_pem, *client_key_pem;
    /* Blocking calls only: once it is true, whoever sets it, the call ends within a second or so
     * (-ECANCELED). NULL = nothing stops it. */
    const atomic_bool *stop;
};

struct http_answer {
    int status; /* 0: no answer; `error` says why */
    struct buf body;
    int64_t retry_after_ms; /* as the server asks; 0 = not told */
    char error[200];
    char content_type[80];
};
void http_answer_fini(struct http_answer *answer);

/* Blocking. `on_data` (may be NULL) takes the body as it comes, instead of answer->body; non-zero
 * from it ends the call quietly. 0, or -ECONNREFUSED (no connection), -ETIMEDOUT, -EINVAL (a
 * header or URL that cannot be sent), -ENOMEM, -EIO with answer->error. `answer_out` is filled
 * always and is the caller's to free. */
struct http_easy; /* a kept connection; one thread */
struct http_easy *http_easy_create(void);
void http_easy_destroy(struct http_easy *easy);
int http_easy_call(struct http_easy *easy, const struct http_call *call,
                   int (*on_data)(void *context, const char *data, size_t len), void *context,
                   struct http_answer *answer_out);

/* In a loop. `done` is called once, never from inside http_client_call, also on failure (status 0);
 * `answer` is good during the call. Callbacks may call, cancel (others or themselves) and, in
 * `done`, destroy the client. A call that failed to start (-EINVAL, -ENOMEM) has no `done`. */
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
/* Without `done`. `pending` is gone after this, as it is after `done`. */
void http_pending_cancel(struct http_pending *pending);
