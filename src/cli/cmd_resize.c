#include "cli/commands.h"
#include "cli/each_job.h"
#include "model/request.h"

#include <string.h>

static const struct cli_option options[] = {
    { "tasks", 'n', "N", NULL, "No more tasks than these; auto: as many as there is room for." },
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { 0 },
};

static const char *say(const json_t *answer)
{
    return strcmp(reply_text(answer, "state"), "stopping") == 0
               ? "is stopped and goes on at its new width"
               : "goes on as it is until there is room or a start";
}

/* NULL: neither a number nor auto. */
static json_t *read_tasks(const char *text)
{
    char *end;
    unsigned long tasks;

    if (text && strcmp(text, "auto") == 0)
        return json_string(text);
    if (!text || *text < '0' || *text > '9')
        return NULL;
    tasks = strtoul(text, &end, 10);
    return *end || tasks < 1 || tasks > REQUEST_TASKS_MAX ? NULL : json_integer((json_int_t)tasks);
}

static int run(const struct cli_args *args)
{
    json_t *tasks = read_tasks(cli_args_get(args, "tasks"));
    struct each_job what = { .method = "POST", .rest = "/resize", .say = say };

    if (!tasks)
        return cli_fail_text(CLI_USAGE, "expected --tasks N, or --tasks auto");
    what.body = json_pack("{s:o, s:s*}", "tasks", tasks, "reason", cli_args_get(args, "reason"));
    return each_job_asked(args, &what);
}

const struct cli_command cmd_resize = {
    .name = "resize",
    .summary = "let elastic jobs go on with more or fewer tasks",
    .usage = "[OPTION...] --tasks N JOB...",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, true } },
    .text =
        "An elastic job (`elastic` in its job file) is from now on no wider than that. One that "
        "is wider is asked for a checkpoint, stopped when it is complete and goes on at once; "
        "one that is narrower grows when all of it has room that nobody waits for. It uses up "
        "no try.",
    .examples = { { "mains resize 12 --tasks 4", "On 4 tasks, or on fewer." },
                  { "mains resize 12 --tasks auto", "As wide as there is room for." } },
    .run = run,
};
