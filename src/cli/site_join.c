#include "cli/site_join.h"

#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/site_owner.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

const struct cli_option site_join_options[] = {
    { "owner", 0, "NAME", NULL, "token: whose the site is." },
    { "expires", 0, "DURATION", NULL, "token: how long it may be used (24h)." },
    { "address", 'a', "HOST[:PORT]", NULL,
      "token: where the network is reached from there, tried first; may be repeated." },
    { "move", 0, NULL, NULL, "drain: jobs that save checkpoints go on elsewhere." },
    { "force", 0, NULL, NULL, "remove: although jobs run there; they are lost." },
    { 0 },
};

bool site_join_has(const char *action)
{
    static const char *const actions[] = { "token", "show", "drain", "resume", "remove" };

    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (strcmp(actions[i], action) == 0)
            return true;
    return false;
}

static json_t *token_body(const struct cli_args *args, struct err *err)
{
    const char *owner = cli_args_get(args, "owner"), *expires = cli_args_get(args, "expires");
    const char *address;
    json_t *body = json_object(), *addresses = json_array();
    int64_t expires_ms;

    for (uint32_t i = 0; (address = cli_args_nth(args, "address", i)) != NULL; i++)
        json_array_append_new(addresses, json_string(address));
    json_object_set_new(body, "addresses", addresses);
    if (owner)
        json_object_set_new(body, "owner", json_string(owner));
    if (expires) {
        if (units_parse_duration(expires, &expires_ms, err) < 0) {
            err_prefix(err, -1, "--expires");
            json_decref(body);
            return NULL;
        }
        json_object_set_new(body, "expires_s", json_integer(expires_ms / 1000));
    }
    return body;
}

void site_print_lease(const json_t *site, char *out, size_t bytes)
{
    const json_t *lease = json_object_get(site, "lease");
    const char *state = reply_text(lease, "state");
    char left[32], all[32];

    out[0] = '\0';
    if (!json_is_object(lease))
        return;
    units_print_duration(reply_number(lease, "left_ms"), left, sizeof(left));
    units_print_duration(reply_number(lease, "lease_ms"), all, sizeof(all));
    if (strcmp(state, "over") == 0)
        snprintf(out, bytes, "over");
    else if (strcmp(state, "uncounted") == 0)
        snprintf(out, bytes, "not counted: its clock goes wrong");
    else if (strcmp(state, "running_out") == 0)
        snprintf(out, bytes, "ends in %s", left);
    else
        snprintf(out, bytes, "of %s", all);
}

static void show_site(const json_t *site)
{
    const char *joined = reply_text(site, "joined_at"),
               *until = reply_text(site, "certificate_until");
    char lease[96];

    printf("%s: %s%s%s\n", reply_text(site, "name"),
           reply_flag(site, "forgotten")   ? "removed or forgotten"
           : reply_flag(site, "connected") ? "connected"
                                           : "not connected",
           reply_flag(site, "drained") ? ", drained" : "",
           *joined ? "" : ", of this network's own token");
    printf("  owner    %s\n  nodes    %" PRId64 "\n  jobs     %" PRId64 "\n",
           reply_text(site, "owner"), reply_number(site, "nodes"), reply_number(site, "jobs"));
    site_print_lease(site, lease, sizeof(lease));
    if (*lease)
        printf("  lease    %s\n", lease);
    if (*joined)
        printf("  joined   %s\n", joined);
    if (*until)
        printf("  certificate until %s\n", until);
    site_owner_show(site);
}

static void tell_drained(const char *site, int64_t jobs, int64_t moving)
{
    int64_t stay = jobs - moving;

    printf("%s: takes no new work; %" PRId64 " job%s there go%s on", site, stay,
           stay == 1 ? "" : "s", stay == 1 ? "es" : "");
    if (moving)
        printf(", %" PRId64 " move%s", moving, moving == 1 ? "s" : "");
    putchar('\n');
}

static void tell(const char *action, const char *site, const json_t *answer)
{
    int64_t jobs = reply_number(answer, "jobs");

    if (strcmp(action, "token") == 0)
        printf("mains join %s\n", reply_text(answer, "token"));
    else if (strcmp(action, "show") == 0)
        show_site(answer);
    else if (strcmp(action, "remove") == 0)
        printf("%s: removed; it may come back with a new token only\n", site);
    else if (strcmp(action, "resume") == 0)
        printf("%s: takes work again\n", site);
    else
        tell_drained(site, jobs, reply_number(answer, "moving"));
}

int site_join_run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *action = args->rest[0], *site = args->rest[1];
    bool removes = strcmp(action, "remove") == 0, shows = strcmp(action, "show") == 0;
    json_t *body = NULL, *answer = NULL;
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (strcmp(action, "token") == 0 && !(body = token_body(args, &err)))
        return cli_fail(CLI_USAGE, &err);
    buf_add_text(&path, "/sites/");
    remote_add_encoded(&path, site);
    if (removes)
        buf_add_text(&path, cli_args_has(args, "force") ? "?force=1" : "");
    else if (!shows)
        buf_printf(&path, "/%s%s", action,
                   cli_args_has(args, "move") && strcmp(action, "drain") == 0 ? "?move=true" : "");
    if (remote_open(args, &remote, &err) < 0) {
        json_decref(body);
        return cli_fail(CLI_FAILED, &err);
    }
    if (remote_call(&remote,
                    removes ? "DELETE"
                    : shows ? "GET"
                            : "POST",
                    path.data, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        tell(action, site, answer);
    json_decref(body);
    json_decref(answer);
    remote_fini(&remote);
    return code;
}
