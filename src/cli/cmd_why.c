#include "base/clock.h"
#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/text.h"
#include "cli/why_show.h"

static int show(const json_t *why)
{
    CLEANUP(freep) char *safe = text_safe(reply_text(why, "text"));
    int64_t start = reply_time_ms(why, "start_estimate_at");
    char when[32];

    printf("%s", safe ? safe : "");
    if (start) {
        text_print_relative(start, clock_wall_ms(), when, sizeof(when));
        printf("; starts %s, by what is known now", when);
    }
    putchar('\n');
    if (*reply_text(why, "rate"))
        printf("Its work: %s.\n", reply_text(why, "rate"));
    if (*reply_text(why, "freight"))
        printf("Its files: %s.\n", reply_text(why, "freight"));
    if (*reply_text(why, "order"))
        printf("Its place: %s.\n", reply_text(why, "order"));
    if (*reply_text(why, "assign"))
        printf("Its chips: %s.\n", reply_text(why, "assign"));
    if (*reply_text(json_object_get(why, "choice"), "text"))
        printf("Its place was chosen so: %s.\n",
               reply_text(json_object_get(why, "choice"), "text"));
    return why_show_changes(json_object_get(why, "changes")) < 0 ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *path = NULL;
    struct err err;

    if (remote_job_path(args->rest[0], "/why", &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    return remote_show(args, path, NULL, show);
}

const struct cli_command cmd_why = {
    .name = "why",
    .summary = "why a job is where it is, in one line to act on",
    .usage = "[OPTION...] JOB",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .arguments = { { "JOB", NULL, false, false } },
    .text =
        "Of a job that waits it also lists what would start it sooner, each change by itself: when "
        "and "
        "where that would be, and what it would cost (modelled, over its duration, or an hour). "
        "`mains plan` lists the same before a job is submitted.",
    .examples = { { "mains why 12", "What job 12 waits for." } },
    .run = run,
};
