#include "cli/commands.h"
#include "cli/job_show.h"
#include "model/units.h"

#include <pwd.h>
#include <string.h>

static const struct cli_option options[] = {
    { "role", 'r', "ROLE", "admin|operator|tenant|site", "What it may do (tenant)." },
    { "tenant", 't', "TENANT", NULL, "Whose jobs it submits." },
    { "user", 'u', "USER", NULL,
      "The user of this machine that its jobs run as, where mains was started by root." },
    { "note", 'n', "TEXT", NULL, "What it is for." },
    { 0 },
};

static int show_list(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "ID", false, 0 },      { "ROLE", false, 0 },
        { "TENANT", false, 6 },  { "UID", true, 0 },
        { "CREATED", false, 0 }, { "REVOKED", false, 0 },
        { "NOTE", false, 12 },   { 0 },
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc;

    json_array_foreach (rows, index, row) {
        const json_t *uid = json_object_get(row, "unix_uid");

        table_add_color(&table, reply_text(row, "id"), TERM_CYAN);
        table_add(&table, reply_text(row, "role"));
        table_add(&table, reply_text(row, "tenant"));
        if (json_is_integer(uid) && json_integer_value(uid) >= 0)
            table_addf(&table, "%d", (int)json_integer_value(uid));
        else
            table_add(&table, "");
        table_add(&table, reply_text(row, "created_at"));
        table_add(&table, reply_text(row, "revoked_at"));
        table_add(&table, reply_text(row, "note"));
    }
    rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static json_t *body_of(const struct cli_args *args, struct err *err)
{
    const char *role = cli_args_get(args, "role");
    const char *tenant = cli_args_get(args, "tenant");
    const char *user = cli_args_get(args, "user");
    const char *note = cli_args_get(args, "note");
    json_t *body = json_pack("{s:s, s:s*, s:s*}", "role", role ? role : "tenant", "tenant", tenant,
                             "note", note);
    const struct passwd *entry;

    if (!body) {
        err_set(err, -1, "the options are not UTF-8 text");
        return NULL;
    }
    if (!user)
        return body;
    entry = getpwnam(user);
    if (!entry) {
        json_decref(body);
        err_set(err, -1, "--user %s: this machine has no such user", user);
        return NULL;
    }
    json_object_set_new(body, "unix_uid", json_integer(entry->pw_uid));
    json_object_set_new(body, "unix_gid", json_integer(entry->pw_gid));
    return body;
}

static int create(const struct cli_args *args, struct remote *remote)
{
    json_t *answer = NULL;
    struct err err;
    json_t *body = body_of(args, &err);
    int code = CLI_OK;

    if (!body || remote_call(remote, "POST", "/tokens", body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else {
        /* The token alone on stdout: it can be redirected into a file. */
        fprintf(stderr, "mains: token %s; it is shown only this once:\n", reply_text(answer, "id"));
        puts(reply_text(answer, "token"));
    }
    json_decref(body);
    json_decref(answer);
    return code;
}

static int remove_token(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    struct err err;

    if (args->rest_count < 2)
        return cli_fail_text(CLI_USAGE, "token remove: which? `mains token list` shows the ids");
    buf_add_text(&path, "/tokens/");
    remote_add_encoded(&path, args->rest[1]);
    if (remote_call(remote, "DELETE", path.data, NULL, NULL, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (cli_args_has(args, "json"))
        printf("{}\n");
    else
        printf("%s: removed\n", args->rest[1]);
    return CLI_OK;
}

static int run(const struct cli_args *args)
{
    struct remote remote;
    struct err err;
    int code;

    if (strcmp(args->rest[0], "list") == 0)
        return remote_show(args, "/tokens", "tokens", show_list);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code =
        strcmp(args->rest[0], "create") == 0 ? create(args, &remote) : remove_token(args, &remote);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_token = {
    .name = "token",
    .summary = "create, list and remove the tokens of the API",
    .usage = "create|list|remove [OPTION...] [ID]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "create|list|remove", false, false }, { "ID", NULL, true, false } },
    .text = "A token is shown once, when it is made; only its hash is kept. Roles: admin may do "
            "all, operator all but tokens, tenant sees and changes its own jobs only, site lets an "
            "agent join.",
    .examples = { { "mains token create --tenant physics > token", "For a tenant." },
                  { "mains token remove 3", "It is refused from now on." } },
    .run = run,
};
