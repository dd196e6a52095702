/* kube_api.h - requests to a cluster's API server, many at once, in a small loop of their own that
 * turns inside of the agent's: one descriptor tells when it has something to do.
 *
 * Every answer comes through `done`, also that there was none (status 0). Nothing is asked again
 * by itself: who asked decides, with kube_answer_is_passing and kube_api_pause. Answers are bounded
 * (KUBE_ANSWER_BYTES_MAX, a line of a watch KUBE_LINE_BYTES_MAX). A token on disk is read again
 * once a minute, and at once after a 401. */
#pragma once

#include "agent/kube_config.h"

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#define KUBE_ANSWER_BYTES_MAX (64u << 20)
#define KUBE_LINE_BYTES_MAX (8u << 20)
#define KUBE_TIMEOUT_MS 30000
#define KUBE_PAUSE_MS_MIN 500
#define KUBE_PAUSE_MS_MAX 60000

struct kube_answer {
    int status;         /* 0: none; `said` tells why */
    const json_t *json; /* of a JSON answer; NULL = none */
    const char *text;   /* as it came; NUL-terminated */
    size_t len;
    int64_t retry_after_ms; /* 0 = not told */
    char reason[48];        /* of a Status: "AlreadyExists" */
    char said[200];         /* of anything but 2xx: one line for a person */
};

struct kube_api; /* opaque */
typedef void (*kube_done_fn)(void *context, const struct kube_answer *answer);
typedef void (*kube_data_fn)(void *context, const char *data, size_t len);
struct kube_stream; /* a call that can be given up */

/* Takes what `access` holds over. */
int kube_api_create(struct kube_access *access, struct kube_api **api_out, struct err *err);
/* Calls under way are answered with status 0; none can begin any more. */
void kube_api_destroy(struct kube_api *api);
const char *kube_api_server(const struct kube_api *api);
const char *kube_api_namespace(const struct kube_api *api);
uv_loop_t *kube_api_loop(struct kube_api *api);
/* Readable when kube_api_pump has something to do. */
int kube_api_fd(const struct kube_api *api);
void kube_api_pump(struct kube_api *api);
/* Turn until `*done` or for so long. */
void kube_api_run(struct kube_api *api, const bool *done, int64_t timeout_ms);

/* `path` with its query, from the server's root. `body` NULL = none; borrowed. A call that cannot
 * even begin answers (status 0) at the next turn. */
void kube_api_call(struct kube_api *api, const char *method, const char *path, const json_t *body,
                   kube_done_fn done, void *context);
/* An answer without an end: `data` gets it as it comes. Ends, with status 0, after `silence_ms`
 * without a byte. NULL: it could not begin. */
struct kube_stream *kube_api_stream(struct kube_api *api, const char *path, int64_t silence_ms,
                                    kube_data_fn data, kube_done_fn done, void *context);
void kube_stream_cancel(struct kube_stream *stream);

/* The same may go well later: no answer, 401 (a token that is renewed), 408, 429, 5xx. */
bool kube_answer_is_passing(const struct kube_answer *answer);
/* How long to leave the server alone after so many failures in a row (from 1): doubles, with a
 * part that differs from caller to caller; never shorter than it asked for. */
int64_t kube_api_pause(uint32_t failures, const struct kube_answer *answer);
/* What a Status object says, or the text itself, as one line. */
void kube_answer_say(int status, const json_t *json, const char *text, char *out, size_t out_bytes);
