#include "cli/each_job.h"

static int call_one(const struct each_job *what, struct remote *remote, const char *id,
                    json_t *answers)
{
    CLEANUP(freep) char *path = NULL;
    json_t *answer = NULL;
    struct err err;

    if (remote_job_path(id, what->rest, &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (remote_call(remote, what->method, path, what->body, &answer, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (answers)
        json_array_append(answers, answer);
    else if (what->say)
        printf("%s: %s\n", id, what->say(answer));
    json_decref(answer);
    return CLI_OK;
}

int each_job(const struct cli_args *args, struct remote *remote, const struct each_job *what)
{
    json_t *answers = cli_args_has(args, "json") ? json_array() : NULL;
    int code = CLI_OK;

    for (uint32_t i = 0; i < args->rest_count; i++) {
        int one = call_one(what, remote, args->rest[i], answers);

        code = one ? one : code;
    }
    if (answers)
        reply_show(answers);
    json_decref(answers);
    return code;
}

int each_job_asked(const struct cli_args *args, const struct each_job *what)
{
    struct remote remote;
    struct err err;
    int code;

    if (!what->body)
        return cli_fail_text(CLI_USAGE, "the options are not UTF-8 text");
    if (remote_open(args, &remote, &err) < 0) {
        code = cli_fail(CLI_FAILED, &err);
    } else {
        code = each_job(args, &remote, what);
        remote_fini(&remote);
    }
    json_decref(what->body);
    return code;
}
