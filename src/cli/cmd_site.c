#include "cli/commands.h"
#include "cli/remote.h"

#include <string.h>

static const struct cli_option options[] = {
    { "reason", 'r', "TEXT", NULL, "Why; kept in the journal." },
    { 0 },
};

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *reason = cli_args_get(args, "reason");
    bool forget = strcmp(args->rest[0], "forget") == 0;
    struct remote remote;
    json_t *answer = NULL;
    struct err err;
    int code = CLI_OK;

    buf_add_text(&path, "/sites/");
    remote_add_encoded(&path, args->rest[1]);
    buf_printf(&path, "/%s%s", args->rest[0], reason ? "?reason=" : "");
    remote_add_encoded(&path, reason ? reason : "");
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (remote_call(&remote, "POST", path.data, NULL, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        printf("%s: %s\n", args->rest[1],
               forget ? "forgotten; what it ran is lost" : "readmitted; its agent may join again");
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_site = {
    .name = "site",
    .summary = "forget a site that is gone for good, or take it back",
    .usage = "forget|readmit [OPTION...] SITE",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "forget|readmit", false, false }, { "SITE", NULL, false, false } },
    .text =
        "A site that is not heard keeps its attempts: it may be cut off, and they may run. When it "
        "was renamed or is gone for good they would be stopping, or running, for ever. `forget` "
        "ends "
        "them as lost (jobs start again elsewhere as they allow) and refuses the site's name until "
        "`readmit`. It is refused while the site's agent is heard. Be sure that nothing of it "
        "still runs: mains cannot see. When it is readmitted, its agent stops what it still has.",
    .examples = { { "mains site forget old-name --reason 'renamed'", "End what it held." },
                  { "mains site readmit old-name", "It was there after all." } },
    .run = run,
};
