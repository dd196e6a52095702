#include "cli/commands.h"
#include "cli/remote.h"

#include <string.h>

static int run(const struct cli_args *args)
{
    struct remote remote;
    json_t *answer = NULL;
    const char *server = NULL;
    struct err err;

    /* No network is no error here: this command must work everywhere. */
    if (remote_open(args, &remote, &err) == 0) {
        if (remote_get(&remote, "/version", &answer, &err) == 0)
            server = json_string_value(json_object_get(answer, "version"));
        remote_fini(&remote);
    }
    if (cli_args_has(args, "json")) {
        json_t *versions = json_pack("{s:s, s:s?}", "version", MAINS_VERSION, "controller", server);
        int rc = reply_show(versions);

        json_decref(versions);
        json_decref(answer);
        return rc;
    }
    printf("mains %s\n", MAINS_VERSION);
    if (server && strcmp(server, MAINS_VERSION) != 0)
        printf("The network here runs %s: restart it with `mains down` and `mains up`.\n", server);
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_version = {
    .name = "version",
    .summary = "the version of this program, and of the network here",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_JSON | CLI_TAKES_NETWORK,
    .text = "",
    .examples = { { "mains version --json", "For programs." } },
    .run = run,
};
