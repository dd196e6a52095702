/* remote.h - the commands' end of the HTTP API.
 *
 * Blocking, one connection, one thread. What the server says is data: print it through text.h or
 * table.h. Errors: -EACCES 401 and 403, -ENOENT 404, -EINVAL 400, -EEXIST 409, -EDQUOT 429, -EIO
 * other answers, -ECONNREFUSED and -ETIMEDOUT none; `err` is the server's own line where it gave
 * one. */
#pragma once

#include "cli/cli.h"

#include <jansson.h>

struct remote {
    char *url;   /* without a slash at its end */
    char *token; /* NULL = none */
    char *pin;   /* of the TLS key it must have; NULL = as the system trusts */
    char
        *state; /* the state folder the network was found in; NULL = named by --url or $MAINS_URL */
    struct http_easy *easy;
};

/* Where the network is, by the options of `args`. Nothing is asked of it yet. */
int remote_open(const struct cli_args *args, struct remote *remote_out, struct err *err);
void remote_fini(struct remote *remote);

/* `path` begins after /api/v1 ("/jobs/12"), or is "/readyz" and the like with `raw`. `body` may be
 * NULL. `answer_out` may be NULL; else a new reference (JSON null for an empty answer). */
int remote_call(struct remote *remote, const char *method, const char *path, const json_t *body,
                json_t **answer_out, struct err *err);
int remote_get(struct remote *remote, const char *path, json_t **answer_out, struct err *err);
struct remote_request {
    const char *method, *path, *content_type, *key;
    const void *body;
    size_t body_len;
    int64_t timeout_ms; /* 0 = 60 s */
    bool at_root;       /* the path does not begin after /api/v1 */
};
/* As remote_call, with everything said; `status_out` (may be NULL) is the HTTP status. */
int remote_send(struct remote *remote, const struct remote_request *request, json_t **answer_out,
                int *status_out, struct err *err);
/* The body as it stands, handed on as it comes; `fn` non-zero ends it. */
int remote_stream(struct remote *remote, const char *path, int (*fn)(void *, const char *, size_t),
                  void *context, struct err *err);

/* All pages of a list: GET path (with its query) until `next` is null, at most `limit` rows in
 * `key` (0 = all). A new array. */
int remote_list(struct remote *remote, const char *path, const char *key, uint32_t limit,
                json_t **rows_out, struct err *err);

/* Percent-encode one segment or query value. */
void remote_add_encoded(struct buf *out, const char *text);
/* "/jobs/12.3" and `rest`; malloc'd. -EINVAL when `id` is not a job id. */
int remote_job_path(const char *id, const char *rest, char **path_out, struct err *err);

/* Members of an object, with a default where they are not there. */
const char *reply_text(const json_t *object, const char *key);      /* "" */
int64_t reply_number(const json_t *object, const char *key);        /* 0 */
double reply_figure(const json_t *object, const char *key);         /* 0 */
bool reply_flag(const json_t *object, const char *key);             /* false */
int64_t reply_time_ms(const json_t *object, const char *key);       /* RFC 3339 -> Unix ms; 0 */
const json_t *reply_member(const json_t *object, const char *path); /* "usage.cpu_ms"; NULL */

/* Print for programs: to stdout, one value, ended by a newline. Gives the exit status. */
int reply_show(const json_t *value);

/* A whole command that only reads: GET `path`, take the member `key` of the answer (NULL = all of
 * it), then JSON for programs or `show` for people. So every list prints as one. Gives the exit
 * status. */
int remote_show(const struct cli_args *args, const char *path, const char *key,
                int (*show)(const json_t *answer));
