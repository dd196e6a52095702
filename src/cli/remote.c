#include "cli/remote.h"

#include "base/file.h"
#include "cli/place.h"
#include "model/units.h"
#include "net/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (256u << 20)
#define LIST_PAGE 1000u

static int find_url(const struct cli_args *args, struct remote *remote, struct err *err)
{
    CLEANUP(freep) char *state = NULL;
    const char *url = cli_args_get(args, "url");
    struct place_endpoint endpoint;
    struct err why;
    int rc;

    if (!url && !cli_args_has(args, "state"))
        url = getenv("MAINS_URL");
    if (url && *url) {
        remote->url = strdup(url);
        return remote->url ? 0 : err_set(err, -ENOMEM, "out of memory");
    }
    rc = place_find_state(args, &state, err);
    if (rc < 0)
        return rc;
    rc = place_read_endpoint(state, &endpoint, &why);
    if (rc == -ENOENT)
        return err_set(err, rc,
                       "no network runs here (%s): start one with `mains up --detach`, or name one "
                       "with --url",
                       state);
    if (rc < 0)
        return err_set(err, rc, "%s", why.text);
    remote->url = strdup(endpoint.url);
    remote->pin = endpoint.pin[0] ? strdup(endpoint.pin) : NULL;
    remote->state = TAKE(state);
    return remote->url ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int find_token(const struct cli_args *args, struct remote *remote, struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    const char *file = cli_args_get(args, "token-file");
    const char *token = getenv("MAINS_TOKEN");
    struct err why;
    int rc;

    if (!file && !cli_args_has(args, "state")) {
        if (token && *token) {
            remote->token = strdup(token);
            return remote->token ? 0 : err_set(err, -ENOMEM, "out of memory");
        }
        file = getenv("MAINS_TOKEN_FILE");
    }
    if (file && *file)
        return place_read_token(file, &remote->token, err);
    if (!remote->state)
        return err_set(err, -EACCES,
                       "no token for %s: give --token-file, $MAINS_TOKEN or $MAINS_TOKEN_FILE",
                       remote->url);
    path = path_format("%s/admin.token", remote->state);
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    rc = place_read_token(path, &remote->token, &why);
    return rc < 0 ? err_set(err, rc, "%s", why.text) : 0;
}

int remote_open(const struct cli_args *args, struct remote *remote_out, struct err *err)
{
    struct remote remote = { 0 };
    size_t len;
    int rc = find_url(args, &remote, err);

    if (rc == 0)
        rc = find_token(args, &remote, err);
    if (rc == 0 && !(remote.easy = http_easy_create()))
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc < 0 || !remote.url) {
        remote_fini(&remote);
        return rc < 0 ? rc : -EINVAL;
    }
    for (len = strlen(remote.url); len && remote.url[len - 1] == '/'; len--)
        remote.url[len - 1] = '\0';
    *remote_out = remote;
    return 0;
}

void remote_fini(struct remote *remote)
{
    http_easy_destroy(remote->easy);
    free(remote->url);
    free(remote->token);
    free(remote->pin);
    free(remote->state);
    memset(remote, 0, sizeof(*remote));
}

static int code_of_status(int status)
{
    switch (status) {
    case 400:
    case 422:
        return -EINVAL;
    case 401:
    case 403:
        return -EACCES;
    case 404:
        return -ENOENT;
    case 409:
        return -EEXIST;
    case 429:
        return -EDQUOT;
    default:
        return -EIO;
    }
}

/* The server's line for a person, or what its silence means. */
static int explain(const struct remote *remote, int rc, const struct http_answer *answer,
                   struct err *err)
{
    const char *message;
    const char *field;
    json_t *root;

    if (answer->status == 0)
        return err_set(err, rc < 0 ? rc : -EIO, "%s does not answer: %s%s", remote->url,
                       answer->error[0] ? answer->error : strerror(rc < 0 ? -rc : EIO),
                       remote->state ? " (is `mains up` running? `mains doctor` tells)" : "");
    root = json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    message = json_string_value(reply_member(root, "error.message"));
    field = json_string_value(reply_member(root, "error.field"));
    if (message && field && *field)
        rc = err_field(err, code_of_status(answer->status), field, "%s", message);
    else if (message)
        rc = err_set(err, code_of_status(answer->status), "%s", message);
    else
        rc = err_set(err, code_of_status(answer->status), "%s answered HTTP %d", remote->url,
                     answer->status);
    json_decref(root);
    return rc;
}

int remote_send(struct remote *remote, const struct remote_request *request, json_t **answer_out,
                int *status_out, struct err *err)
{
    CLEANUP(freep)
    char *url =
        path_format("%s%s%s", remote->url, request->at_root ? "" : "/api/v1", request->path);
    struct http_header header = { "Idempotency-Key", request->key };
    struct http_answer answer = { 0 };
    struct http_call call = {
        .method = request->method,
        .url = url,
        .bearer = remote->token,
        .pin_sha256 = remote->pin,
        .content_type = request->content_type,
        .body = request->body,
        .body_len = request->body_len,
        .headers = request->key ? &header : NULL,
        .headers_count = request->key ? 1 : 0,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : 60000,
        .answer_bytes_max = ANSWER_BYTES_MAX,
    };
    json_t *root = NULL;
    int rc;

    if (!url)
        return err_set(err, -ENOMEM, "out of memory");
    rc = http_easy_call(remote->easy, &call, NULL, NULL, &answer);
    if (status_out)
        *status_out = answer.status;
    if (rc < 0 || answer.status < 200 || answer.status > 299) {
        rc = explain(remote, rc, &answer, err);
        http_answer_fini(&answer);
        return rc;
    }
    if (answer_out) {
        json_error_t why;

        root = answer.body.len
                   ? json_loadb(answer.body.data, answer.body.len, JSON_DECODE_ANY, &why)
                   : json_null();
        if (!root)
            rc = err_set(err, -EBADMSG, "%s answered something that is not JSON (%s)", remote->url,
                         why.text);
        else
            *answer_out = root;
    }
    http_answer_fini(&answer);
    return rc < 0 ? rc : 0;
}

int remote_call(struct remote *remote, const char *method, const char *path, const json_t *body,
                json_t **answer_out, struct err *err)
{
    CLEANUP(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct remote_request request = { .method = method, .path = path };

    if (body && !text)
        return err_set(err, -ENOMEM, "out of memory");
    if (text) {
        request.content_type = "application/json";
        request.body = text;
        request.body_len = strlen(text);
    }
    return remote_send(remote, &request, answer_out, NULL, err);
}

int remote_get(struct remote *remote, const char *path, json_t **answer_out, struct err *err)
{
    return remote_call(remote, "GET", path, NULL, answer_out, err);
}

int remote_stream(struct remote *remote, const char *path, int (*fn)(void *, const char *, size_t),
                  void *context, struct err *err)
{
    CLEANUP(freep) char *url = path_format("%s/api/v1%s", remote->url, path);
    struct http_answer answer = { 0 };
    struct http_call call = {
        .method = "GET", .url = url, .bearer = remote->token, .pin_sha256 = remote->pin
    };
    int rc;

    if (!url)
        return err_set(err, -ENOMEM, "out of memory");
    rc = http_easy_call(remote->easy, &call, fn, context, &answer);
    if (rc < 0 || answer.status < 200 || answer.status > 299)
        rc = explain(remote, rc, &answer, err);
    http_answer_fini(&answer);
    return rc < 0 ? rc : 0;
}

int remote_list(struct remote *remote, const char *path, const char *key, uint32_t limit,
                json_t **rows_out, struct err *err)
{
    json_t *rows = json_array();
    CLEANUP(freep) char *next = NULL;
    int rc = 0;

    if (!rows)
        return err_set(err, -ENOMEM, "out of memory");
    do {
        CLEANUP(buf_fini) struct buf page = buf_init(1u << 16);
        json_t *answer = NULL;
        uint32_t want = limit && limit - json_array_size(rows) < LIST_PAGE
                            ? limit - (uint32_t)json_array_size(rows)
                            : LIST_PAGE;

        buf_printf(&page, "%s%climit=%u", path, strchr(path, '?') ? '&' : '?', want);
        if (next) {
            buf_add_text(&page, "&after=");
            remote_add_encoded(&page, next);
        }
        rc = page.failed ? -ENOMEM : remote_get(remote, page.data, &answer, err);
        if (rc < 0)
            break;
        free(TAKE(next));
        json_array_extend(rows, json_object_get(answer, key));
        if (json_is_string(json_object_get(answer, "next")))
            next = strdup(reply_text(answer, "next"));
        if (json_array_size(json_object_get(answer, key)) == 0)
            free(TAKE(next));
        json_decref(answer);
    } while (next && (!limit || json_array_size(rows) < limit));
    if (rc < 0) {
        json_decref(rows);
        return rc;
    }
    *rows_out = rows;
    return 0;
}

void remote_add_encoded(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || strchr("-._~", c))
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

int remote_job_path(const char *id, const char *rest, char **path_out, struct err *err)
{
    size_t whole = strspn(id, "0123456789");
    size_t part = id[whole] == '.' ? strspn(id + whole + 1, "0123456789") : 0;

    if (whole == 0 || whole > 20 || part > 10 ||
        id[whole + (id[whole] == '.' ? 1 + part : 0)] != '\0' || (id[whole] == '.' && part == 0))
        return err_set(err, -EINVAL,
                       "\"%s\" is no job id: it is a number, as 12, or 12.3 for an element of an "
                       "array (`mains ps -a` lists them)",
                       id);
    *path_out = path_format("/jobs/%s%s", id, rest);
    return *path_out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

const char *reply_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int64_t reply_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_real(value) ? (int64_t)json_real_value(value) : json_integer_value(value);
}

double reply_figure(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

bool reply_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

int64_t reply_time_ms(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    int64_t ms = 0;

    return text && units_parse_time(text, &ms, NULL) == 0 ? ms : 0;
}

const json_t *reply_member(const json_t *object, const char *path)
{
    while (object && *path) {
        size_t len = strcspn(path, ".");

        object = json_object_getn(object, path, len);
        path += len + (path[len] == '.');
    }
    return object;
}

int reply_show(const json_t *value)
{
    size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY;

    /* C1 controls and direction marks reach no terminal. */
    if (isatty(STDOUT_FILENO))
        flags |= JSON_ENSURE_ASCII;
    if (json_dumpf(value, stdout, flags) < 0 || putchar('\n') == EOF)
        return cli_fail_text(CLI_FAILED, "stdout: %s", strerror(errno));
    return CLI_OK;
}

int remote_show(const struct cli_args *args, const char *path, const char *key,
                int (*show)(const json_t *answer))
{
    struct remote remote;
    json_t *answer = NULL;
    const json_t *shown;
    struct err err;
    int code;
    int rc = remote_open(args, &remote, &err);

    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    rc = remote_get(&remote, path, &answer, &err);
    remote_fini(&remote);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    shown = key ? json_object_get(answer, key) : answer;
    code = cli_args_has(args, "json") ? reply_show(shown) : show(shown);
    json_decref(answer);
    return code;
}
