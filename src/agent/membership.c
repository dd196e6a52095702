#include "agent/membership.h"

#include "base/clock.h"
#include "base/file.h"
#include "net/http_client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JOIN_TIMEOUT_MS 20000

void membership_free(struct membership *membership)
{
    if (!membership)
        return;
    if (membership->key_pem)
        explicit_bzero(membership->key_pem, strlen(membership->key_pem));
    free(membership->key_pem);
    free(membership->cert_pem);
    free(membership);
}

static int read_text(const char *state_dir, const char *name, char **text_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/%s", state_dir, name);
    CLEANUP(buf_fini) struct buf text = buf_init(CA_PEM_BYTES_MAX);
    int rc = path ? file_read(path, &text, err) : err_set(err, -ENOMEM, "out of memory");

    if (rc == 0 && !(*text_out = buf_take(&text)))
        rc = err_set(err, -ENOMEM, "%s: out of memory", path);
    return rc;
}

static int write_text(const char *state_dir, const char *name, const char *text, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/%s", state_dir, name);

    return path ? file_write(path, text, strlen(text), 0600, true, err)
                : err_set(err, -ENOMEM, "out of memory");
}

static bool copy_text(char *out, size_t bytes, const char *text)
{
    size_t len = text ? strlen(text) : bytes;

    if (len >= bytes)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static bool read_members(const json_t *root, struct membership *membership)
{
    const json_t *urls = json_object_get(root, "urls");
    size_t count = json_array_size(urls);

    if (!count || count > JOIN_URLS_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!copy_text(membership->urls[i], JOIN_URL_BYTES,
                       json_string_value(json_array_get(urls, i))))
            return false;
    membership->urls_count = (uint32_t)count;
    membership->node = json_is_true(json_object_get(root, "node"));
    return copy_text(membership->site, sizeof(membership->site),
                     json_string_value(json_object_get(root, "site"))) &&
           copy_text(membership->owner, sizeof(membership->owner),
                     json_string_value(json_object_get(root, "owner"))) &&
           copy_text(membership->pin, sizeof(membership->pin),
                     json_string_value(json_object_get(root, "pin"))) &&
           membership->pin[0];
}

/* The certificate is as old as its file: when it was handed out. */
static int64_t file_time_ms(const char *state_dir, const char *name)
{
    CLEANUP(freep) char *path = path_format("%s/%s", state_dir, name);
    struct stat st;

    return path && stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 : 0;
}

int membership_load(const char *state_dir, struct membership **membership_out, struct err *err)
{
    struct membership *membership = calloc(1, sizeof(*membership));
    CLEANUP(freep) char *text = NULL;
    json_t *root;
    int rc;

    if (!membership)
        return err_set(err, -ENOMEM, "out of memory");
    rc = read_text(state_dir, "joined.json", &text, err);
    if (rc == 0) {
        root = json_loads(text, 0, NULL);
        if (!read_members(root, membership))
            rc = err_set(err, -EBADMSG, "%s/joined.json: not as `mains join` wrote it", state_dir);
        json_decref(root);
    }
    if (rc == 0 && ((rc = read_text(state_dir, "site.key", &membership->key_pem, err)) == -ENOENT ||
                    rc == -ENOMEM))
        rc = -EBADMSG;
    if (rc == 0 && (rc = read_text(state_dir, "site.crt", &membership->cert_pem, err)) == -ENOENT)
        rc = -EBADMSG;
    if (rc == 0)
        rc = ca_cert_read(membership->cert_pem, NULL, &membership->until_ms, NULL, err);
    if (rc < 0) {
        membership_free(membership);
        return rc;
    }
    membership->from_ms = file_time_ms(state_dir, "site.crt");
    *membership_out = membership;
    return 0;
}

int membership_save(const char *state_dir, const struct membership *membership, struct err *err)
{
    json_t *urls = json_array();
    json_t *root;
    CLEANUP(freep) char *text = NULL;
    int rc = dir_make(state_dir, 0700, err);

    for (uint32_t i = 0; i < membership->urls_count; i++)
        json_array_append_new(urls, json_string(membership->urls[i]));
    root = json_pack("{s:s, s:s, s:o, s:s}", "site", membership->site, "owner", membership->owner,
                     "urls", urls, "pin", membership->pin);
    if (root && membership->node)
        json_object_set_new(root, "node", json_true());
    text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (rc == 0 && !text)
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc == 0)
        rc = write_text(state_dir, "site.key", membership->key_pem, err);
    if (rc == 0)
        rc = write_text(state_dir, "site.crt", membership->cert_pem, err);
    return rc < 0 ? rc : write_text(state_dir, "joined.json", text, err);
}

/* Is this certificate for that key? A key's own request, signed, has its pin: compare by name. */
static int check_pair(const char *cert_pem, const char *old_cert_pem, struct err *err)
{
    char pin[CA_PIN_BYTES], old_pin[CA_PIN_BYTES];
    int rc = ca_cert_read(cert_pem, pin, NULL, NULL, err);

    if (rc == 0)
        rc = ca_cert_read(old_cert_pem, old_pin, NULL, NULL, err);
    if (rc == 0 && strcmp(pin, old_pin) != 0)
        rc = err_set(err, -EBADMSG, "the new certificate is for another key");
    return rc;
}

int membership_replace_cert(const char *state_dir, const struct membership *membership,
                            const char *cert_pem, struct err *err)
{
    int rc = check_pair(cert_pem, membership->cert_pem, err);

    return rc < 0 ? rc : write_text(state_dir, "site.crt", cert_pem, err);
}

int64_t membership_renew_at_ms(const struct membership *membership)
{
    return membership->from_ms + (membership->until_ms - membership->from_ms) / 3 * 2;
}

/* ---- joining ---- */

static int take_answer(const struct http_answer *answer, struct membership *membership,
                       struct err *err)
{
    json_t *root =
        json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    const char *cert = json_string_value(json_object_get(root, "certificate"));
    const char *message =
        json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    int rc = 0;

    if (answer->status != 200)
        rc = err_set(err, answer->status == 403 ? -EACCES : -EPROTO, "%s",
                     message ? message : "the controller refused, and did not say why");
    else if (!cert)
        rc = err_set(err, -EPROTO, "the controller answered without a certificate");
    else
        rc = ca_cert_read(cert, NULL, &membership->until_ms, NULL, err);
    if (rc == 0 && !(membership->cert_pem = strdup(cert)))
        rc = err_set(err, -ENOMEM, "out of memory");
    json_decref(root);
    return rc;
}

/* -ECONNREFUSED: try the next address. */
static int ask(struct http_easy *easy, const char *url, const char *body,
               struct membership *membership, struct err *err)
{
    CLEANUP(freep) char *full = path_format("%s/api/v1/join", url);
    struct http_call call = { .method = "POST",
                              .url = full,
                              .content_type = "application/json",
                              .body = body,
                              .body_len = strlen(body),
                              .timeout_ms = JOIN_TIMEOUT_MS,
                              .pin_sha256 = membership->pin,
                              .answer_bytes_max = CA_PEM_BYTES_MAX };
    struct http_answer answer = { 0 };
    int rc = -ENOMEM;

    if (full)
        rc = http_easy_call(easy, &call, NULL, NULL, &answer);
    if (rc == 0)
        rc = take_answer(&answer, membership, err);
    else
        rc = err_set(err, -ECONNREFUSED, "%s: %s", url,
                     strstr(answer.error, "public key")
                         ? "another controller answers there: its key is not the one of the token"
                     : answer.error[0] ? answer.error
                                       : strerror(-rc));
    http_answer_fini(&answer);
    return rc;
}

int membership_join(const char *state_dir, const struct join_token *token, struct err *err)
{
    struct membership *membership = calloc(1, sizeof(*membership));
    struct http_easy *easy = http_easy_create();
    CLEANUP(freep) char *request = NULL;
    CLEANUP(freep) char *body = NULL;
    json_t *root;
    int rc = -ENOMEM;

    if (!membership || !easy) {
        err_set(err, rc, "out of memory");
    } else {
        snprintf(membership->site, sizeof(membership->site), "%s", token->site);
        snprintf(membership->owner, sizeof(membership->owner), "%s", token->owner);
        snprintf(membership->pin, sizeof(membership->pin), "%s", token->pin);
        memcpy(membership->urls, token->urls, sizeof(membership->urls));
        membership->urls_count = token->urls_count;
        membership->node = token->node;
        rc = ca_key_create(&membership->key_pem, err);
    }
    if (rc == 0)
        rc = ca_request_create(membership->key_pem, token->site, &request, err);
    if (rc == 0) {
        root = json_pack("{s:s, s:s, s:s}", "site", token->site, "secret", token->secret, "request",
                         request);
        body = json_dumps(root, JSON_COMPACT);
        json_decref(root);
        rc = -ECONNREFUSED;
        if (!body)
            rc = err_set(err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; body && rc == -ECONNREFUSED && i < token->urls_count; i++)
        rc = ask(easy, token->urls[i], body, membership, err);
    if (body)
        explicit_bzero(body, strlen(body));
    if (rc == 0)
        rc = membership_save(state_dir, membership, err);
    http_easy_destroy(easy);
    membership_free(membership);
    return rc;
}
