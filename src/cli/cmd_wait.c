#include "cli/commands.h"
#include "cli/wait.h"
#include "model/units.h"

#include <errno.h>

static const struct cli_option options[] = {
    { "timeout", 't', "DURATION", NULL, "Give up after so long, with exit status 124." },
    { "quiet", 'q', NULL, NULL, "Show no bar." },
    { 0 },
};

static int run(const struct cli_args *args)
{
    const char *timeout = cli_args_get(args, "timeout");
    json_t *jobs = json_array();
    int64_t timeout_ms = 0;
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (timeout && units_parse_duration(timeout, &timeout_ms, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--timeout: %s", err.text);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    for (uint32_t i = 0; i < args->rest_count && code != CLI_DETACHED; i++) {
        struct wait_config config = { .remote = &remote,
                                      .id = args->rest[i],
                                      .timeout_ms = timeout_ms,
                                      .progress = !cli_args_has(args, "quiet") };
        json_t *job = NULL;
        int rc = wait_job(&config, &job, &err);
        int one = rc == -ETIMEDOUT ? 124 : rc == -EINTR ? CLI_DETACHED : CLI_FAILED;

        if (rc < 0)
            cli_fail(one, &err);
        else
            one = wait_exit_status(&remote, job);
        code = code ? code : one;
        if (job)
            json_array_append_new(jobs, job);
    }
    if (cli_args_has(args, "json"))
        reply_show(jobs);
    json_decref(jobs);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_wait = {
    .name = "wait",
    .summary = "wait until jobs have ended",
    .usage = "[OPTION...] JOB...",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, true } },
    .text =
        "Exits as the first job that did not end well: see `mains help run`. An array has ended "
        "when all its elements have; a bar shows how far it is.",
    .examples = { { "mains wait 12 && echo fine", "Wait for job 12." },
                  { "mains wait --timeout 1h 12", "At most one hour." } },
    .run = run,
};
