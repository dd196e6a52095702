#include "cli/commands.h"
#include "cli/remote.h"

#include <string.h>

static const struct cli_option options[] = {
    { "to", 't', "SITE", NULL, "There; without it, anywhere but where it is." },
    { "force", 'f', NULL, NULL, "Also a job that saves no checkpoint: it begins anew." },
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { 0 },
};

static int move_one(const struct cli_args *args, struct remote *remote, const char *id,
                    json_t *answers)
{
    CLEANUP(freep) char *path = NULL;
    const char *to = cli_args_get(args, "to"), *reason = cli_args_get(args, "reason");
    json_t *body = json_object(), *answer = NULL;
    struct err err;
    int code = CLI_OK;

    if (to)
        json_object_set_new(body, "to", json_string(to));
    if (reason)
        json_object_set_new(body, "reason", json_string(reason));
    if (cli_args_has(args, "force"))
        json_object_set_new(body, "force", json_true());
    if (remote_job_path(id, "/move", &path, &err) < 0)
        code = cli_fail(CLI_USAGE, &err);
    else if (remote_call(remote, "POST", path, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (answers)
        json_array_append(answers, answer);
    else
        printf("%s: %s\n", id,
               strcmp(reply_text(answer, "state"), "stopping") == 0 ? "is stopped there and goes on"
                                                                    : reply_text(answer, "state"));
    json_decref(body);
    json_decref(answer);
    return code;
}

static int run(const struct cli_args *args)
{
    json_t *answers = cli_args_has(args, "json") ? json_array() : NULL;
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (remote_open(args, &remote, &err) < 0) {
        json_decref(answers);
        return cli_fail(CLI_FAILED, &err);
    }
    for (uint32_t i = 0; i < args->rest_count; i++) {
        int one = move_one(args, &remote, args->rest[i], answers);

        code = one ? one : code;
    }
    if (answers)
        reply_show(answers);
    json_decref(answers);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_move = {
    .name = "move",
    .summary = "let jobs go on at another site",
    .usage = "[OPTION...] JOB...",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, true } },
    .text = "A running job is asked for a checkpoint, if it has a signal for that, and stopped "
            "when it is "
            "complete; then it is queued again, for that site or away from the one it leaves. It "
            "uses up "
            "no try. A job that waits is only bound to the site. One that could not go on, may not "
            "be started again, or never fits there is refused.",
    .examples = { { "mains move 12 --to campus", "Go on there." },
                  { "mains move 12", "Anywhere but where it is." } },
    .run = run,
};
