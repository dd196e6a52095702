/* Sites from elsewhere: their tokens, their joining, their certificates, their leaving. */
#include "controller/api_handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "controller/changes.h"
#include "wire/door.h"
#include "controller/job_json.h"
#include "wire/members.h"
#include "controller/session.h"
#include "wire/join_token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRES_S_DEFAULT ((int64_t)86400)
#define EXPIRES_S_MAX ((int64_t)30 * 86400)

/* A name that is in use by a site which did not join with a token is not to be had. */
static bool is_taken(struct api_call *call, const char *site)
{
    const struct grid *grid = shell_grid(call->controller->shell);
    int index = grid_site_find(grid, site);

    return index >= 0 && !grid_site_is_forgotten(grid, (uint32_t)index) &&
           !members_find(call->controller->members, site);
}

/* false: answered. */
static bool read_invitation(struct api_call *call, json_t *body, struct join_token *token,
                            int64_t *expires_s_out)
{
    const char *owner = "";
    json_int_t expires_s = EXPIRES_S_DEFAULT;
    json_t *addresses = NULL, *item;
    json_error_t where;
    size_t i;

    if (json_unpack_ex(body, &where, JSON_STRICT, "{s?s, s?I, s?o}", "owner", &owner, "expires_s",
                       &expires_s, "addresses", &addresses) < 0) {
        api_error(call, 400, "invalid", NULL, "%s", where.text);
        return false;
    }
    if (*owner && !api_is_name(owner)) {
        api_error(call, 400, "invalid", "owner",
                  "owner: expected a name of letters, digits, '.', '_' and '-'");
        return false;
    }
    if (expires_s < 1 || expires_s > EXPIRES_S_MAX) {
        api_error(call, 400, "invalid", "expires_s", "expires_s: from 1 to %" PRId64,
                  EXPIRES_S_MAX);
        return false;
    }
    json_array_foreach (addresses, i, item) {
        const char *address = json_string_value(item);

        if (!address || i >= JOIN_URLS_MAX ||
            !door_add_address(call->controller->door, address, token)) {
            api_error(call, 400, "invalid", "addresses",
                      "addresses: expected at most %u of the form HOST or HOST:PORT",
                      JOIN_URLS_MAX);
            return false;
        }
    }
    snprintf(token->owner, sizeof(token->owner), "%s", owner);
    *expires_s_out = expires_s;
    return true;
}

void api_site_token(struct api_call *call)
{
    struct controller *controller = call->controller;
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    struct join_token token = { 0 };
    char text[JOIN_TEXT_BYTES_MAX];
    int64_t now_ms = clock_wall_ms(), expires_s;
    struct err err = { 0 };
    json_t *json;
    int rc;

    if (!body)
        return;
    if (!api_is_name(call->params[0])) {
        api_error(call, 400, "invalid", "site",
                  "site: expected a name of letters, digits, '.', '_' and '-'");
        return;
    }
    if (!door_is_tls(controller->door)) {
        api_error(call, 409, "conflict", NULL,
                  "other places cannot reach this network: start it with `mains up --listen "
                  "0.0.0.0:7743` (TLS)");
        return;
    }
    if (is_taken(call, call->params[0])) {
        api_error(call, 409, "conflict", "site", "there is a site %s already: choose another name",
                  call->params[0]);
        return;
    }
    if (!read_invitation(call, body, &token, &expires_s))
        return;
    door_add_own_addresses(controller->door, &token);
    snprintf(token.site, sizeof(token.site), "%s", call->params[0]);
    snprintf(token.pin, sizeof(token.pin), "%s", door_pin(controller->door));
    token.expires_ms = now_ms + expires_s * 1000;
    rc = members_invite(controller->members, token.site, token.owner, now_ms, token.expires_ms,
                        token.secret, &err);
    if (rc == 0)
        rc = join_token_print(&token, text, &err);
    if (rc < 0) {
        api_error(call, 503, "state_unwritable", NULL, "%s", err.text);
        return;
    }
    json = json_pack("{s:s, s:s, s:s, s:o}", "site", token.site, "owner", token.owner, "token",
                     text, "expires_at", time_to_json(token.expires_ms));
    explicit_bzero(text, sizeof(text));
    explicit_bzero(&token, sizeof(token));
    api_reply_json(call, 201, json);
}

/* A removed site may come back by a new token only: the network forgets that it forgot it. */
static int readmit(struct controller *controller, const char *site, struct err *err)
{
    const struct grid *grid = shell_grid(controller->shell);
    int index = grid_site_find(grid, site);
    struct event event = { .type = EVENT_SITE_FORGOTTEN };
    struct change change = { 0 };
    uint64_t seq = 0;
    int rc;

    if (index < 0 || !grid_site_is_forgotten(grid, (uint32_t)index))
        return 0;
    event.site_forgotten.site = site;
    event.site_forgotten.forgotten = false;
    event.site_forgotten.by = "join";
    event.site_forgotten.reason = "it joined again";
    rc = shell_apply(controller->shell, &event, NULL, &seq, err);
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
    return rc == -EALREADY ? 0 : rc;
}

void api_join(struct api_call *call)
{
    struct controller *controller = call->controller;
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    CLEANUP(freep) char *cert = NULL;
    const char *site, *secret, *request;
    int64_t now_ms = clock_wall_ms();
    int64_t until_ms = now_ms + door_cert_life_ms(controller->door);
    char pin[CA_PIN_BYTES];
    struct err err = { 0 };
    int rc;

    if (!body)
        return;
    if (json_unpack(body, "{s:s, s:s, s:s}", "site", &site, "secret", &secret, "request",
                    &request) < 0 ||
        !api_is_name(site)) {
        api_error(call, 400, "invalid", NULL, "site, secret and request are needed");
        return;
    }
    rc = members_check_secret(controller->members, site, secret, now_ms, &err);
    if (rc < 0) {
        log_warn("%s wants to join as %s: %s", http_request_peer(call->request), site, err.text);
        api_error(call, 403, "forbidden", NULL, "%s", err.text);
        return;
    }
    rc = door_sign(controller->door, request, site, now_ms, until_ms, &cert, pin, &err);
    if (rc == 0)
        rc = readmit(controller, site, &err);
    if (rc == 0)
        rc = members_admit(controller->members, site, pin, now_ms, until_ms, &err);
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    sessions_fence(controller->sessions, site); /* what spoke for it before does so no more */
    log_info("site %s joined from %s", site, http_request_peer(call->request));
    api_reply_durable(call, shell_last_seq(controller->shell), 200,
                      json_pack("{s:s, s:s, s:s, s:o}", "site", site, "owner",
                                members_find(controller->members, site)->owner, "certificate", cert,
                                "expires_at", time_to_json(until_ms)));
}

void api_site_certificate(struct api_call *call)
{
    struct controller *controller = call->controller;
    CLEANUP(jsonp) json_t *body = api_body_json(call);
    CLEANUP(freep) char *cert = NULL;
    const char *request, *site = call->who.tenant;
    int64_t now_ms = clock_wall_ms();
    int64_t until_ms = now_ms + door_cert_life_ms(controller->door);
    char pin[CA_PIN_BYTES];
    struct err err = { 0 };
    int rc;

    if (!body)
        return;
    if (!call->by_certificate) {
        api_error(call, 403, "forbidden", NULL, "only a site that joined has a certificate");
        return;
    }
    if (json_unpack(body, "{s:s}", "request", &request) < 0) {
        api_error(call, 400, "invalid", "request", "request: expected a certificate request");
        return;
    }
    rc = door_sign(controller->door, request, site, now_ms, until_ms, &cert, pin, &err);
    if (rc == 0 && !members_is_key_of(controller->members, site, pin))
        rc = err_set(&err, -EINVAL, "a certificate is renewed for the same key: join to change it");
    if (rc == 0)
        rc = members_renew(controller->members, site, until_ms, &err);
    if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_json(call, 200,
                       json_pack("{s:s, s:s, s:o}", "site", site, "certificate", cert, "expires_at",
                                 time_to_json(until_ms)));
}
