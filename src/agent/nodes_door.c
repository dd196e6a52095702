/* Where the nodes of a site dial: HTTPS with a certificate of the site's own authority, on the
 * address that its owner said. A node is known by its certificate, `mains node` on this machine by
 * the token in door.json; who joins, by the secret of its token. Everybody else is told nothing. */
#include "agent/nodes_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define V1 "/api/v1"
#define BODY_SMALL ((size_t)16 << 10)
#define BODY_REPORTS ((size_t)32 << 20)
#define DOOR_BYTES_MAX 4096u
#define EXPIRES_S_DEFAULT ((int64_t)86400)
#define EXPIRES_S_MAX ((int64_t)30 * 86400)

/* ---- answers ---- */

void nodes_reply_json(struct http_request *request, int status, json_t *json)
{
    CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    http_reply(request, text ? status : 500, "application/json", text ? text : "{}",
               text ? strlen(text) : 2, NULL, 0);
}

void nodes_reply_error(struct http_request *request, int status, const char *code, const char *fmt,
                       ...)
{
    char message[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    for (unsigned char *p = (unsigned char *)message; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
    nodes_reply_json(request, status,
                     json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", message));
}

static json_t *body_of(struct http_request *request)
{
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    json_t *json = json_loadb(body ? body : "", body ? len : 0, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(json))
        return json;
    json_decref(json);
    nodes_reply_error(request, 400, "invalid", "the body is no JSON object");
    return NULL;
}

/* ---- who asks ---- */

static bool is_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(text);

    return len && len < MODEL_NAME_BYTES && !strchr("._-", *text) && strspn(text, letters) == len;
}

static bool is_ours(const struct nodes *nodes, const struct http_request *request)
{
    const char *bearer = http_request_bearer(request);
    char hash[TOKEN_HASH_BYTES];

    if (!bearer)
        return false;
    token_hash(bearer, hash);
    return token_hash_is_equal(hash, nodes->token_hash);
}

/* The node that speaks, by its certificate. */
static struct machine *find_caller(const struct nodes *nodes, const struct http_request *request)
{
    const char *name, *pin;

    if (http_request_client(request, &name, &pin) != 1 ||
        !members_is_key_of(nodes->members, name, pin))
        return NULL;
    return machine_find(nodes, name);
}

/* ---- joining ---- */

static void take_join(struct nodes *nodes, struct http_request *request)
{
    json_t *body = body_of(request);
    CLEANUP(freep) char *cert = NULL;
    const char *name, *secret, *csr;
    int64_t now_ms = clock_wall_ms(), until_ms = now_ms + door_cert_life_ms(nodes->door);
    struct machine *machine = NULL;
    char pin[CA_PIN_BYTES];
    struct err err = { 0 };
    int rc;

    if (!body)
        return;
    if (json_unpack(body, "{s:s, s:s, s:s}", "site", &name, "secret", &secret, "request", &csr) <
            0 ||
        !is_name(name)) {
        json_decref(body);
        nodes_reply_error(request, 400, "invalid", "site, secret and request are needed");
        return;
    }
    rc = members_check_secret(nodes->members, name, secret, now_ms, &err);
    if (rc < 0)
        log_warn("%s wants to join as node %s: %s", http_request_peer(request), name, err.text);
    if (rc == 0)
        rc = door_sign(nodes->door, csr, name, now_ms, until_ms, &cert, pin, &err);
    if (rc == 0 && !(machine = machine_find(nodes, name)) && !(machine = machine_add(nodes, name)))
        rc = err_set(&err, -ENOSPC, "this site has %u nodes already", nodes->machines_count);
    if (rc == 0)
        rc = members_admit(nodes->members, name, pin, now_ms, until_ms, &err);
    if (rc == 0) {
        machine_end_stream(nodes, machine, "it joined again");
        machine->session = 0;
        log_info("node %s joined from %s", name, http_request_peer(request));
        nodes_reply_json(request, 200, json_pack("{s:s, s:s}", "site", name, "certificate", cert));
    } else {
        nodes_reply_error(request,
                          rc == -EACCES   ? 403
                          : rc == -EINVAL ? 400
                                          : 503,
                          rc == -EACCES ? "forbidden" : "invalid", "%s", err.text);
    }
    json_decref(body);
}

static void take_certificate(struct nodes *nodes, struct machine *machine,
                             struct http_request *request)
{
    json_t *body = body_of(request);
    CLEANUP(freep) char *cert = NULL;
    const char *csr = json_string_value(json_object_get(body, "request"));
    int64_t now_ms = clock_wall_ms(), until_ms = now_ms + door_cert_life_ms(nodes->door);
    char pin[CA_PIN_BYTES];
    struct err err = { .text = "request: expected a certificate request" };
    int rc = csr ? 0 : -EINVAL;

    if (!body)
        return;
    if (rc == 0)
        rc = door_sign(nodes->door, csr, machine->name, now_ms, until_ms, &cert, pin, &err);
    if (rc == 0 && !members_is_key_of(nodes->members, machine->name, pin))
        rc = err_set(&err, -EINVAL, "a certificate is renewed for the same key: join to change it");
    if (rc == 0)
        rc = members_renew(nodes->members, machine->name, until_ms, &err);
    if (rc == 0)
        nodes_reply_json(request, 200, json_pack("{s:s}", "certificate", cert));
    else
        nodes_reply_error(request, 400, "invalid", "%s", err.text);
    json_decref(body);
}

/* ---- `mains node` on this machine ---- */

/* "node1", or the next that is free. */
static void choose_name(const struct nodes *nodes, char out[MODEL_NAME_BYTES])
{
    for (uint32_t i = 1; i <= MEMBERS_MAX + 1; i++) {
        snprintf(out, MODEL_NAME_BYTES, "node%" PRIu32, i);
        if (!members_find(nodes->members, out) && strcmp(out, nodes->config.node) != 0)
            return;
    }
}

static bool read_invitation(const struct nodes *nodes, struct http_request *request,
                            struct join_token *token, int64_t *expires_s_out)
{
    json_t *body = body_of(request), *addresses = NULL, *item;
    json_int_t expires_s = EXPIRES_S_DEFAULT;
    const char *name = "";
    bool good;
    size_t i;

    if (!body)
        return false;
    good = json_unpack(body, "{s?s, s?I, s?o}", "name", &name, "expires_s", &expires_s, "addresses",
                       &addresses) == 0;
    if (!good || (*name && !is_name(name)) || expires_s < 1 || expires_s > EXPIRES_S_MAX) {
        nodes_reply_error(request, 400, "invalid",
                          "expected a name of letters, digits, '.', '_' and '-', and an expiry of "
                          "1 s to %" PRId64 " s",
                          EXPIRES_S_MAX);
        good = false;
    } else if (strcmp(name, nodes->config.node) == 0) {
        nodes_reply_error(request, 409, "conflict", "this machine is node %s: choose another name",
                          name);
        good = false;
    }
    json_array_foreach (addresses, i, item) {
        const char *address = json_string_value(item);

        if (good && (!address || !door_add_address(nodes->door, address, token))) {
            nodes_reply_error(request, 400, "invalid",
                              "addresses: expected at most %u of the form HOST or HOST:PORT",
                              JOIN_URLS_MAX);
            good = false;
        }
    }
    snprintf(token->site, sizeof(token->site), "%s", name);
    *expires_s_out = expires_s;
    json_decref(body);
    return good;
}

static void take_invite(struct nodes *nodes, struct http_request *request)
{
    struct join_token token = { .node = true };
    char text[JOIN_TEXT_BYTES_MAX];
    int64_t now_ms = clock_wall_ms(), expires_s = 0;
    struct err err = { 0 };
    int rc;

    if (!read_invitation(nodes, request, &token, &expires_s))
        return;
    if (!token.site[0])
        choose_name(nodes, token.site);
    door_add_own_addresses(nodes->door, &token);
    snprintf(token.owner, sizeof(token.owner), "%s", nodes->config.site);
    snprintf(token.pin, sizeof(token.pin), "%s", door_pin(nodes->door));
    token.expires_ms = now_ms + expires_s * 1000;
    rc = members_invite(nodes->members, token.site, "", now_ms, token.expires_ms, token.secret,
                        &err);
    if (rc == 0)
        rc = join_token_print(&token, text, &err);
    if (rc < 0)
        nodes_reply_error(request, 503, "state_unwritable", "%s", err.text);
    else
        nodes_reply_json(request, 201,
                         json_pack("{s:s, s:s, s:I}", "node", token.site, "token", text,
                                   "expires_ms", (json_int_t)token.expires_ms));
    explicit_bzero(text, sizeof(text));
    explicit_bzero(&token, sizeof(token));
}

static void reply_list(const struct nodes *nodes, struct http_request *request)
{
    json_t *list = json_array();
    const struct member *member;

    for (uint32_t i = 0; (member = members_nth(nodes->members, i)) != NULL; i++) {
        const struct machine *machine = machine_find(nodes, member->site);
        const char *state = !member->pin[0] ? member->removed_ms ? "removed" : "invited"
                            : !machine || !machine->info ? "joined"
                            : !machine->stream           ? "not heard"
                            : machine->is_sick           ? "sick"
                                                         : "heard";

        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I}", "node", member->site, "state",
                                        state, "address", machine ? machine->address : "",
                                        "certificate_until_ms", (json_int_t)member->cert_until_ms));
    }
    nodes_reply_json(request, 200, json_pack("{s:o}", "nodes", list));
}

static void take_remove(struct nodes *nodes, struct http_request *request, const char *name)
{
    struct machine *machine = machine_find(nodes, name);
    struct err err = { 0 };
    int rc = members_remove(nodes->members, name, clock_wall_ms(), &err);

    if (rc < 0) {
        nodes_reply_error(request, rc == -ENOENT ? 404 : 503, "not_found", "node %.64s: %s", name,
                          rc == -ENOENT ? "there is none of this name" : err.text);
        return;
    }
    if (machine)
        machine_forget(nodes, machine);
    nodes_reply_json(request, 200, json_pack("{s:s}", "node", name));
}

/* ---- routing ---- */

static bool take_ours(struct nodes *nodes, struct http_request *request, const char *method,
                      const char *path)
{
    static const char below[] = V1 "/nodes/";

    if (!strcmp(path, V1 "/nodes") && !strcmp(method, "GET"))
        reply_list(nodes, request);
    else if (!strcmp(path, V1 "/nodes") && !strcmp(method, "POST"))
        take_invite(nodes, request);
    else if (!strncmp(path, below, sizeof(below) - 1) && !strcmp(method, "DELETE"))
        take_remove(nodes, request, path + sizeof(below) - 1);
    else
        return false;
    return true;
}

static bool take_nodes(struct nodes *nodes, struct machine *machine, struct http_request *request,
                       const char *method, const char *path)
{
    bool posts = !strcmp(method, "POST");

    if (!strcmp(path, V1 "/site-session") && !strcmp(method, "GET"))
        nodes_take_stream(nodes, machine, request);
    else if (!strcmp(path, V1 "/site-session/reports") && posts)
        nodes_take_reports(nodes, machine, request);
    else if (!strcmp(path, V1 "/site-session/certificate") && posts)
        take_certificate(nodes, machine, request);
    else if (nodes_relay_is_for(path))
        nodes_relay_take(nodes, machine, request);
    else
        return false;
    return true;
}

static void handle(void *context, struct http_request *request)
{
    struct nodes *nodes = context;
    const char *method = http_request_method(request), *path = http_request_path(request);
    struct machine *machine = find_caller(nodes, request);
    bool ours = is_ours(nodes, request);

    if (!strcmp(path, V1 "/join") && !strcmp(method, "POST"))
        take_join(nodes, request);
    else if (!machine && !ours)
        nodes_reply_error(request, 401, "unauthorized",
                          "this is for nodes of this site: it has no certificate that counts here");
    else if (!(ours && take_ours(nodes, request, method, path)) &&
             !(machine && take_nodes(nodes, machine, request, method, path)))
        nodes_reply_error(request, 404, "not_found", "there is no such thing here");
}

static size_t body_max(void *context, const struct http_request *request)
{
    const struct nodes *nodes = context;
    const char *path = http_request_path(request);

    if (!find_caller(nodes, request))
        return BODY_SMALL; /* a big body is read only from someone who is known */
    if (!strcmp(path, V1 "/site-session/reports"))
        return BODY_REPORTS;
    return nodes_relay_is_for(path) ? nodes_relay_body_max(path) : BODY_SMALL;
}

static void on_gone(void *context, struct http_request *request)
{
    machine_stream_gone(context, request);
    nodes_relay_gone(context, request);
}

/* ---- begin and end ---- */

/* The port of the last time: nodes know no other. */
static uint16_t last_port(const struct nodes *nodes)
{
    CLEANUP(freep) char *path = path_format("%s/door.json", nodes->dir);
    CLEANUP(buf_fini) struct buf text = buf_init(DOOR_BYTES_MAX);
    json_int_t port = 0;
    json_t *root;

    if (!path || file_read(path, &text, NULL) < 0)
        return 0;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    port = json_integer_value(json_object_get(root, "port"));
    json_decref(root);
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

static int write_door(struct nodes *nodes, const char *token, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/door.json", nodes->dir);
    CLEANUP(freep) char *text = NULL;
    struct join_token own = { 0 };
    json_t *root;
    int rc;

    door_add_own_addresses(nodes->door, &own);
    root = json_pack("{s:s, s:s, s:s, s:i}", "url", own.urls[0], "pin", door_pin(nodes->door),
                     "token", token, "port", (int)http_server_port(nodes->server));
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!path || !text)
        return err_set(err, -ENOMEM, "nodes: out of memory");
    rc = file_write(path, text, strlen(text), 0600, false, err);
    if (rc == 0)
        log_info("nodes of this site dial %s", own.urls[0]);
    return rc;
}

static int listen_at(struct nodes *nodes, struct err *err)
{
    struct http_server_config config = { .address = nodes->config.address,
                                         .port = nodes->config.port,
                                         .body_max = body_max,
                                         .handle = handle,
                                         .gone = on_gone,
                                         .context = nodes };
    int rc;

    door_fill(nodes->door, &config);
    if (!config.port)
        config.port = last_port(nodes);
    rc = http_server_start(nodes->config.loop, &config, &nodes->server, err);
    if (rc < 0 && config.port != nodes->config.port) {
        config.port = 0;
        rc = http_server_start(nodes->config.loop, &config, &nodes->server, err);
    }
    door_forget_key(nodes->door);
    return rc;
}

int nodes_door_open(struct nodes *nodes, struct err *err)
{
    struct door_config door = { .state_dir = nodes->dir,
                                .address = nodes->config.address,
                                .tls = true };
    char token[TOKEN_TEXT_BYTES];
    int rc = door_open(&door, &nodes->door, err);

    if (rc == 0)
        rc = http_client_create(nodes->config.loop, &nodes->client, err);
    if (rc == 0)
        rc = token_create(token, nodes->token_hash, err);
    if (rc == 0)
        rc = listen_at(nodes, err);
    if (rc == 0) {
        door_set_port(nodes->door, http_server_port(nodes->server));
        rc = write_door(nodes, token, err);
    }
    explicit_bzero(token, sizeof(token));
    return rc < 0 ? err_prefix(err, rc, "nodes") : 0;
}

int nodes_door_remove(struct nodes *nodes, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/door.json", nodes->dir);

    if (!path || (unlink(path) < 0 && errno != ENOENT))
        return err_set(err, path ? -errno : -ENOMEM, "%s: %s", nodes->dir,
                       strerror(path ? errno : ENOMEM));
    return 0;
}

void nodes_door_close(struct nodes *nodes)
{
    for (struct machine *machine = nodes->machines; machine; machine = machine->next)
        machine_end_stream(nodes, machine, "this agent stops");
    nodes_relay_close(nodes);
    if (nodes->server)
        http_server_stop(nodes->server);
    if (nodes->client)
        http_client_destroy(nodes->client);
    door_close(nodes->door);
    nodes->server = NULL;
    nodes->client = NULL;
    nodes->door = NULL;
}
