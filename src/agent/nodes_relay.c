/* What a node asks of the network's store goes through its site's agent, which speaks for the site:
 * a node knows no other door. Pieces are passed on as they are, both ways; what says whose they are
 * is checked here, and said anew. */
#include "agent/nodes_internal.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define V1 "/api/v1"
#define PATH_STORE V1 "/store/"
#define PATH_INPUTS V1 "/site-session/inputs"
#define PATH_STORED V1 "/site-session/stored"
#define BODY_MANIFEST ((size_t)64 << 20)
#define BODY_CHUNKS ((size_t)16 << 20)
#define BODY_SMALL ((size_t)16 << 10)
#define TIMEOUT_MS 120000
#define RELAYED_MAX 16u
#define URL_BYTES 2048u

struct relayed { /* one request under way */
    struct relayed *prev, *next;
    struct nodes *nodes;
    struct http_request *request; /* NULL: its node went away */
    struct http_pending *pending;
    struct transfer_link link;
};

bool nodes_relay_is_for(const char *path)
{
    return !strncmp(path, PATH_STORE, sizeof(PATH_STORE) - 1) || !strcmp(path, PATH_INPUTS) ||
           !strcmp(path, PATH_STORED);
}

size_t nodes_relay_body_max(const char *path)
{
    return !strcmp(path, PATH_STORE "manifests")     ? BODY_MANIFEST
           : !strncmp(path, PATH_STORE "chunks", 18) ? BODY_CHUNKS
                                                     : BODY_SMALL;
}

static void drop(struct relayed *relayed)
{
    DL_DELETE(relayed->nodes->relayed, relayed);
    transfer_link_fini(&relayed->link);
    free(relayed);
}

static void on_done(void *context, const struct http_answer *answer)
{
    struct relayed *relayed = context;
    struct http_request *request = relayed->request;

    if (request && answer->status)
        http_reply(request, answer->status, answer->content_type,
                   answer->body.data ? answer->body.data : "", answer->body.len, NULL, 0);
    else if (request)
        nodes_reply_error(request, 503, "overloaded", "the network did not answer: %s",
                          answer->error);
    drop(relayed);
}

void nodes_relay_gone(struct nodes *nodes, struct http_request *request)
{
    struct relayed *relayed;

    DL_FOREACH (nodes->relayed, relayed)
        if (relayed->request == request)
            relayed->request = NULL;
}

void nodes_relay_close(struct nodes *nodes)
{
    struct relayed *relayed, *next;

    DL_FOREACH_SAFE (nodes->relayed, relayed, next) {
        if (relayed->pending)
            http_pending_cancel(relayed->pending);
        if (relayed->request)
            nodes_reply_error(relayed->request, 503, "overloaded", "this agent is stopping");
        drop(relayed);
    }
}

/* Does it run this? `first`: is what it leaves behind the attempt's? */
static bool runs(const struct nodes *nodes, const struct machine *machine, uint64_t job_id,
                 uint32_t epoch, bool first)
{
    struct gang *gang = gang_find(nodes, (struct attempt_key){ job_id, epoch });
    const struct gang_part *part = gang ? gang_part_of(gang, machine->name) : NULL;

    return part && part->state != PART_ENDED && (!first || part == gang->parts);
}

static bool body_is_allowed(const struct nodes *nodes, const struct machine *machine,
                            struct http_request *request)
{
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    json_t *json = json_loadb(body ? body : "", body ? len : 0, JSON_REJECT_DUPLICATES, NULL);
    json_int_t job = json_integer_value(json_object_get(json, "job"));
    json_int_t epoch = json_integer_value(json_object_get(json, "epoch"));

    json_decref(json);
    return job > 0 && epoch > 0 && epoch <= UINT32_MAX &&
           runs(nodes, machine, (uint64_t)job, (uint32_t)epoch, true);
}

/* With the site's name in place of the node's. False: it may not. */
static bool make_url(const struct nodes *nodes, const struct machine *machine,
                     struct http_request *request, const char *base, char out[URL_BYTES])
{
    const char *path = http_request_path(request);
    const char *job = http_request_query(request, "job");
    const char *epoch = http_request_query(request, "epoch");
    uint64_t job_id = job ? strtoull(job, NULL, 10) : 0;
    uint64_t number = epoch ? strtoull(epoch, NULL, 10) : 0;
    int len;

    if (!strcmp(path, PATH_INPUTS)) {
        if (!number || number > UINT32_MAX ||
            !runs(nodes, machine, job_id, (uint32_t)number, false))
            return false;
        len = snprintf(out, URL_BYTES, "%s%s?site=%s&job=%" PRIu64 "&epoch=%" PRIu64, base, path,
                       nodes->config.site, job_id, number);
    } else if (!strcmp(path, PATH_STORED)) {
        if (!body_is_allowed(nodes, machine, request))
            return false;
        len = snprintf(out, URL_BYTES, "%s%s?site=%s", base, path, nodes->config.site);
    } else {
        if (strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789/") != strlen(path))
            return false;
        len = snprintf(out, URL_BYTES, "%s%s", base, path);
    }
    return len > 0 && len < (int)URL_BYTES;
}

static int pass_on(struct relayed *relayed, const char *url, struct err *err)
{
    struct http_request *request = relayed->request;
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    struct http_call call = { .method = http_request_method(request),
                              .url = url,
                              .bearer = relayed->link.bearer,
                              .content_type = http_request_header(request, "Content-Type"),
                              .body = body,
                              .body_len = body ? len : 0,
                              .timeout_ms = TIMEOUT_MS,
                              .pin_sha256 = relayed->link.pin,
                              .client_cert_pem = relayed->link.cert_pem,
                              .client_key_pem = relayed->link.key_pem };

    return http_client_call(relayed->nodes->client, &call, NULL, on_done, relayed,
                            &relayed->pending, err);
}

/* Of a node that works on data which may not leave nothing goes up: a piece does not say whose it
 * is. */
static bool may_send(const struct nodes *nodes, const struct machine *machine,
                     const struct http_request *request)
{
    const char *path = http_request_path(request);
    struct gang *gang, *next;

    if (strcmp(path, PATH_STORE "manifests") != 0 && strcmp(path, PATH_STORE "chunks") != 0 &&
        strcmp(path, PATH_STORED) != 0)
        return true;
    HASH_ITER (hh, nodes->gangs, gang, next) {
        const struct gang_part *part = gang_part_of(gang, machine->name);

        if (part && part->state != PART_ENDED &&
            nodes->config.stays(nodes->config.context, gang->key))
            return false;
    }
    return true;
}

void nodes_relay_take(struct nodes *nodes, struct machine *machine, struct http_request *request)
{
    struct relayed *relayed, *each;
    char url[URL_BYTES];
    struct err err = { .text = "there is no session with the network" };
    uint32_t count = 0;
    int rc = -ENOTCONN;

    if (!may_send(nodes, machine, request)) {
        nodes_reply_error(request, 403, "forbidden",
                          "this node works on data that may not leave the site");
        return;
    }
    DL_COUNT(nodes->relayed, each, count);
    relayed = count < RELAYED_MAX ? calloc(1, sizeof(*relayed)) : NULL;
    if (!relayed) {
        nodes_reply_error(request, 503, "overloaded", "too much is under way: ask again");
        return;
    }
    relayed->nodes = nodes;
    relayed->request = request;
    DL_APPEND(nodes->relayed, relayed);
    nodes->config.link(nodes->config.context, &relayed->link);
    if (relayed->link.url) {
        if (!make_url(nodes, machine, request, relayed->link.url, url)) {
            nodes_reply_error(request, 409, "conflict", "it is not this node's, or no longer");
            drop(relayed);
            return;
        }
        rc = pass_on(relayed, url, &err);
    }
    if (rc < 0) {
        nodes_reply_error(request, 503, "overloaded", "%s", err.text);
        drop(relayed);
    }
}
