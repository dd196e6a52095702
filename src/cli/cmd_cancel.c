#include "cli/commands.h"
#include "cli/remote.h"

#include <string.h>

static const struct cli_option options[] = {
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { "quiet", 'q', NULL, NULL, "Say nothing when it went well." },
    { 0 },
};

static int cancel_one(const struct cli_args *args, struct remote *remote, const char *id,
                      json_t *answers)
{
    CLEANUP(freep) char *path = NULL;
    CLEANUP(buf_fini) struct buf whole = buf_init(65536);
    const char *reason = cli_args_get(args, "reason");
    json_t *answer = NULL;
    struct err err;

    if (remote_job_path(id, "", &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    buf_add_text(&whole, path);
    if (reason) {
        buf_add_text(&whole, "?reason=");
        remote_add_encoded(&whole, reason);
    }
    if (remote_call(remote, "DELETE", whole.data, NULL, &answer, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (answers)
        json_array_append(answers, answer);
    else if (!cli_args_has(args, "quiet"))
        printf("%s: cancelled\n", id);
    json_decref(answer);
    return CLI_OK;
}

static int run(const struct cli_args *args)
{
    json_t *answers = cli_args_has(args, "json") ? json_array() : NULL;
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    for (uint32_t i = 0; i < args->rest_count; i++) {
        int one = cancel_one(args, &remote, args->rest[i], answers);

        code = one ? one : code;
    }
    if (answers)
        reply_show(answers);
    json_decref(answers);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_cancel = {
    .name = "cancel",
    .summary = "cancel jobs; what runs is stopped",
    .usage = "[OPTION...] JOB...",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, true } },
    .text = "A running job gets SIGTERM and, when its grace is over, SIGKILL. The id of an array "
            "cancels all its elements, 12.3 one of them. Cancelling again changes nothing.",
    .examples = { { "mains cancel 12 13.4", "A job, and one element of an array." } },
    .run = run,
};
