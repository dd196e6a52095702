#include "agent/renew.h"

#include "agent/membership.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/http_client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 60000
#define CHECK_MS_MAX ((int64_t)3600000) /* clocks are set: look again now and then */
#define TIMEOUT_MS 30000

struct renewal {
    const char *state_dir;
    struct http_client *client;
    struct membership *membership; /* while one is asked for */
    uint32_t tries;
    uv_timer_t timer;
};

static void on_timer(uv_timer_t *timer);

static void plan(struct renewal *renewal, bool failed)
{
    struct membership *membership = NULL;
    int64_t wait_ms = AGAIN_MS;

    if (membership_load(renewal->state_dir, &membership, NULL) == 0) {
        int64_t now_ms = clock_wall_ms();

        wait_ms = MIN(membership_renew_at_ms(membership) - now_ms, CHECK_MS_MAX);
        /* Several tries before it ends, however short its life. */
        if (failed)
            wait_ms = MIN(AGAIN_MS, MAX(1000, (membership->until_ms - now_ms) / 10));
    }
    membership_free(membership);
    uv_timer_start(&renewal->timer, on_timer, (uint64_t)MAX(wait_ms, 100), 0);
}

static void on_done(void *context, const struct http_answer *answer)
{
    struct renewal *renewal = context;
    json_t *root =
        json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    const char *cert = json_string_value(json_object_get(root, "certificate"));
    struct err err = { .text = "no certificate in the answer" };
    int rc = answer->status == 200 && cert
                 ? membership_replace_cert(renewal->state_dir, renewal->membership, cert, &err)
                 : -EPROTO;

    if (rc == 0)
        log_info("the certificate was renewed");
    else
        log_warn("the certificate was not renewed (%d): %s", answer->status,
                 answer->error[0] ? answer->error : err.text);
    json_decref(root);
    membership_free(TAKE(renewal->membership));
    plan(renewal, rc < 0);
}

static int ask(struct renewal *renewal, struct err *err)
{
    struct membership *membership = renewal->membership;
    CLEANUP(freep) char *request = NULL;
    CLEANUP(freep) char *body = NULL;
    char url[JOIN_URL_BYTES + 64];
    struct http_call call = { .method = "POST",
                              .url = url,
                              .content_type = "application/json",
                              .timeout_ms = TIMEOUT_MS,
                              .pin_sha256 = membership->pin,
                              .client_cert_pem = membership->cert_pem,
                              .client_key_pem = membership->key_pem,
                              .answer_bytes_max = CA_PEM_BYTES_MAX };
    json_t *root;
    int rc = ca_request_create(membership->key_pem, membership->site, &request, err);

    if (rc < 0)
        return rc;
    root = json_pack("{s:s}", "request", request);
    body = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!body)
        return err_set(err, -ENOMEM, "out of memory");
    snprintf(url, sizeof(url), "%s/api/v1/site-session/certificate",
             membership->urls[renewal->tries++ % membership->urls_count]);
    call.body = body;
    call.body_len = strlen(body);
    return http_client_call(renewal->client, &call, NULL, on_done, renewal, NULL, err);
}

static void on_timer(uv_timer_t *timer)
{
    struct renewal *renewal = timer->data;
    struct err err = { 0 };
    int rc;

    if (renewal->membership)
        return; /* on its way */
    rc = membership_load(renewal->state_dir, &renewal->membership, &err);
    if (rc == 0 && clock_wall_ms() < membership_renew_at_ms(renewal->membership)) {
        membership_free(TAKE(renewal->membership));
        plan(renewal, false);
        return;
    }
    if (rc == 0)
        rc = ask(renewal, &err);
    if (rc < 0) {
        log_warn("the certificate was not renewed: %s", err.text);
        membership_free(TAKE(renewal->membership));
        plan(renewal, true);
    }
}

struct renewal *renewal_create(uv_loop_t *loop, const char *state_dir)
{
    struct membership *membership = NULL;
    struct renewal *renewal;
    struct err err = { 0 };

    if (membership_load(state_dir, &membership, NULL) < 0)
        return NULL;
    membership_free(membership);
    renewal = calloc(1, sizeof(*renewal));
    if (!renewal || http_client_create(loop, &renewal->client, &err) < 0) {
        log_warn("the certificate will not be renewed: %s", renewal ? err.text : "out of memory");
        free(renewal);
        return NULL;
    }
    renewal->state_dir = state_dir;
    uv_timer_init(loop, &renewal->timer);
    renewal->timer.data = renewal;
    plan(renewal, false);
    return renewal;
}

static void free_renewal(uv_handle_t *handle)
{
    struct renewal *renewal = handle->data;

    membership_free(renewal->membership);
    free(renewal);
}

void renewal_destroy(struct renewal *renewal)
{
    if (!renewal)
        return;
    http_client_destroy(renewal->client);
    uv_close((uv_handle_t *)&renewal->timer, free_renewal);
}
