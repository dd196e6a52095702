/* `mains node`: other machines of this machine's site. It speaks with the site's agent here,
 * through the door that nodes dial too (agent/nodes.h). */
#include "base/file.h"
#include "cli/commands.h"
#include "cli/join.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/text.h"
#include "model/units.h"
#include "net/http_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DOOR_BYTES_MAX 4096u

static const struct cli_option options[] = {
    { "name", 'n', "NAME", NULL, "token: what the node is called (node1, node2, ...)." },
    { "expires", 0, "DURATION", NULL, "token: how long it may be used (24h)." },
    { "address", 'a', "HOST[:PORT]", NULL,
      "token: where this site's agent is reached from there, tried first; may be repeated." },
    { 0 },
};

/* The agent of the site in the state folder. */
static int open_door(const struct cli_args *args, struct remote *remote, struct err *err)
{
    CLEANUP(freep) char *state = NULL;
    CLEANUP(freep) char *path = NULL;
    CLEANUP(buf_fini) struct buf text = buf_init(DOOR_BYTES_MAX);
    const char *url = NULL, *pin = NULL, *token = NULL;
    struct place_holder holder;
    json_t *root = NULL;
    int rc = place_find_state(args, &state, err);

    memset(remote, 0, sizeof(*remote));
    if (rc == 0 && !(path = path_format("%s/agent/nodes/door.json", state)))
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc == 0)
        rc = file_read(path, &text, err);
    if (rc == -ENOENT || (rc == 0 && place_find_holder(state, &holder) == -ENOENT))
        return err_set(err, -ENOENT,
                       "%s: no site that takes nodes runs here: start it with `mains up` or `mains "
                       "join`, and --nodes-listen ADDRESS",
                       state);
    if (rc < 0)
        return rc;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    rc = json_unpack(root, "{s:s, s:s, s:s}", "url", &url, "pin", &pin, "token", &token) < 0
             ? err_set(err, -EBADMSG, "%s: it cannot be read", path)
             : 0;
    if (rc == 0) {
        remote->state = TAKE(state);
        remote->url = strdup(url);
        remote->pin = strdup(pin);
        remote->token = strdup(token);
        remote->easy = http_easy_create();
        if (!remote->url || !remote->pin || !remote->token || !remote->easy)
            rc = err_set(err, -ENOMEM, "out of memory");
    }
    json_decref(root);
    if (rc < 0)
        remote_fini(remote);
    return rc;
}

static json_t *token_body(const struct cli_args *args, struct err *err)
{
    const char *name = cli_args_get(args, "name"), *expires = cli_args_get(args, "expires");
    json_t *body = json_object(), *addresses = json_array();
    const char *address;
    int64_t expires_ms;

    for (uint32_t i = 0; (address = cli_args_nth(args, "address", i)) != NULL; i++)
        json_array_append_new(addresses, json_string(address));
    json_object_set_new(body, "addresses", addresses);
    if (name)
        json_object_set_new(body, "name", json_string(name));
    if (expires && units_parse_duration(expires, &expires_ms, err) < 0) {
        err_prefix(err, -1, "--expires");
        json_decref(body);
        return NULL;
    }
    if (expires)
        json_object_set_new(body, "expires_s", json_integer(expires_ms / 1000));
    return body;
}

static int show_list(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "NODE", false, 8 }, { "STATE", false, 0 }, { "ADDRESS", false, 0 }, { 0 }
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc;

    json_array_foreach (rows, index, row) {
        table_add(&table, reply_text(row, "node"));
        table_add(&table, reply_text(row, "state"));
        table_add(&table, reply_text(row, "address"));
    }
    rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int tell(const struct cli_args *args, const json_t *answer)
{
    const char *action = args->rest[0];

    if (cli_args_has(args, "json"))
        return reply_show(answer);
    if (strcmp(action, "list") == 0)
        return show_list(json_object_get(answer, "nodes"));
    if (strcmp(action, "token") == 0)
        printf("mains node join %s\n", reply_text(answer, "token"));
    else
        printf("%s: removed; what ran there is lost once its lease has ended\n", args->rest[1]);
    return CLI_OK;
}

static int call(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    const char *action = args->rest[0];
    bool removes = strcmp(action, "remove") == 0, invites = strcmp(action, "token") == 0;
    json_t *body = NULL, *answer = NULL;
    struct remote remote;
    struct err err;
    int code;

    if (removes != (args->rest_count == 2))
        return cli_fail_text(CLI_USAGE, "node %s: %s", action,
                             removes ? "which? `mains node list` shows them"
                                     : "too many arguments");
    if (invites && !(body = token_body(args, &err)))
        return cli_fail(CLI_USAGE, &err);
    buf_add_text(&path, "/nodes");
    if (removes) {
        buf_add_char(&path, '/');
        remote_add_encoded(&path, args->rest[1]);
    }
    if (open_door(args, &remote, &err) < 0) {
        json_decref(body);
        return cli_fail(CLI_FAILED, &err);
    }
    if (remote_call(&remote,
                    removes   ? "DELETE"
                    : invites ? "POST"
                              : "GET",
                    path.data, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else
        code = tell(args, answer);
    json_decref(body);
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

static int run(const struct cli_args *args)
{
    if (strcmp(args->rest[0], "join") == 0)
        return join_run(args, args->rest_count > 1 ? args->rest[1] : NULL, true);
    return call(args);
}

const struct cli_command cmd_node = {
    .name = "node",
    .summary = "other machines of this machine's site: let them join, list, remove them",
    .usage = "token|join|list|remove [OPTION...] [TOKEN|NODE]",
    .flags = CLI_TAKES_STATE | CLI_TAKES_JSON,
    .options = { options, join_options },
    .arguments = { { "ACTION", "token|join|list|remove", false, false },
                   { "TOKEN|NODE", NULL, true, false } },
    .text =
        "A site is one machine, or several: those that `mains up` or `mains join` was told to "
        "listen for (--nodes-listen) join it as its nodes. `token` prints the line for the other "
        "machine; `join` there trades it, once, for a certificate of the site's own, and starts an "
        "agent which dials this one: nothing listens there, and root is not needed. Without TOKEN "
        "a machine that has joined before is started again; `mains down` stops it, what runs goes "
        "on for as long as the node's lease. `mains nodes` shows the nodes of all sites, with "
        "their "
        "devices; jobs of several tasks run over them (docs/nodes.md). `remove` ends the "
        "certificate of a node at once.",
    .examples = { { "mains up --detach --nodes-listen 0.0.0.0", "A site that takes nodes." },
                  { "mains node token --name n2", "Paste what it prints on the other machine." },
                  { "mains node join mainsjoin1.eyJzaXRl... --detach", "There." } },
    .run = run,
};
