#include "cli/commands.h"
#include "cli/remote.h"
#include "model/request.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    { "tasks", 'n', "N", NULL, "No more tasks than these; auto: as many as there is room for." },
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { 0 },
};

static int resize_one(const struct cli_args *args, struct remote *remote, const char *id,
                      const json_t *tasks, json_t *answers)
{
    CLEANUP(freep) char *path = NULL;
    const char *reason = cli_args_get(args, "reason");
    json_t *body = json_object(), *answer = NULL;
    struct err err;
    int code = CLI_OK;

    json_object_set(body, "tasks", (json_t *)(uintptr_t)tasks);
    if (reason)
        json_object_set_new(body, "reason", json_string(reason));
    if (remote_job_path(id, "/resize", &path, &err) < 0)
        code = cli_fail(CLI_USAGE, &err);
    else if (remote_call(remote, "POST", path, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (answers)
        json_array_append(answers, answer);
    else
        printf("%s: %s\n", id,
               strcmp(reply_text(answer, "state"), "stopping") == 0
                   ? "is stopped and goes on at its new width"
                   : "goes on as it is until there is room or a start");
    json_decref(body);
    json_decref(answer);
    return code;
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
    json_t *answers = cli_args_has(args, "json") ? json_array() : NULL;
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (!tasks)
        code = cli_fail_text(CLI_USAGE, "expected --tasks N, or --tasks auto");
    else if (remote_open(args, &remote, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    if (code) {
        json_decref(tasks);
        json_decref(answers);
        return code;
    }
    for (uint32_t i = 0; i < args->rest_count; i++) {
        int one = resize_one(args, &remote, args->rest[i], tasks, answers);

        code = one ? one : code;
    }
    if (answers)
        reply_show(answers);
    json_decref(tasks);
    json_decref(answers);
    remote_fini(&remote);
    return code;
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
