#include "cli/commands.h"
#include "cli/each_job.h"

#include <string.h>

static const struct cli_option options[] = {
    { "to", 't', "SITE", NULL, "There; without it, anywhere but where it is." },
    { "force", 'f', NULL, NULL, "Also a job that saves no checkpoint: it begins anew." },
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { 0 },
};

static const char *say(const json_t *answer)
{
    const char *state = reply_text(answer, "state");

    return strcmp(state, "stopping") == 0 ? "is stopped there and goes on" : state;
}

static int run(const struct cli_args *args)
{
    struct each_job what = { .method = "POST", .rest = "/move", .say = say };

    what.body = json_pack("{s:s*, s:s*, s:o*}", "to", cli_args_get(args, "to"), "reason",
                          cli_args_get(args, "reason"), "force",
                          cli_args_has(args, "force") ? json_true() : NULL);
    return each_job_asked(args, &what);
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
