#include "base/rng.h"
#include "cli/artifacts.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    { "quiet", 'q', NULL, NULL, "No bar." },
    { 0 },
};

/* What would keep it from being the same again. */
static int check_spec(const char *job, const json_t *answer, struct err *err)
{
    const json_t *spec = json_object_get(answer, "spec");
    size_t i;
    json_t *input;

    if (!json_is_object(spec))
        return err_set(err, -ENOENT, "job %s: its job file is not kept any more", job);
    if (json_object_get(spec, "array") || json_is_object(json_object_get(answer, "array")))
        return err_set(err, -ENOTSUP, "job %s is of an array: only single jobs are run again", job);
    if (json_object_get(spec, "secrets"))
        return err_set(err, -ENOTSUP,
                       "job %s has secrets, which are kept nowhere: submit its file again", job);
    json_array_foreach (json_object_get(spec, "inputs"), i, input) {
        const char *from = json_string_value(json_object_get(input, "from"));

        if (from && from[0] == '/')
            cli_fail_text(0, "warning: input %s is a path: nobody knows whether it has changed",
                          from);
    }
    return 0;
}

static int submit(struct remote *remote, const json_t *spec, json_t **answer_out, struct err *err)
{
    static const char *const once[] = { "after", "begin", "deadline" };
    json_t *again = json_deep_copy(spec);
    uint64_t random[2];
    char key[64];
    struct remote_request request = {
        .method = "POST", .path = "/jobs", .content_type = "application/json", .key = key
    };
    char *body;
    int rc = random_bytes(random, sizeof(random));

    for (size_t i = 0; again && i < ARRAY_COUNT(once); i++)
        json_object_del(again, once[i]);
    body = again ? json_dumps(again, JSON_COMPACT) : NULL;
    json_decref(again);
    if (rc < 0 || !body) {
        free(body);
        return err_set(err, rc < 0 ? rc : -ENOMEM, "the job cannot be made again");
    }
    snprintf(key, sizeof(key), "rerun-%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    request.body = body;
    request.body_len = strlen(body);
    rc = remote_send(remote, &request, answer_out, NULL, err);
    free(body);
    return rc;
}

static int wait_for(const struct cli_args *args, struct remote *remote, const char *id,
                    struct err *err)
{
    struct wait_config config = { .remote = remote,
                                  .id = id,
                                  .name = "rerun",
                                  .progress = !cli_args_has(args, "quiet"),
                                  .stops_with_job = true };
    json_t *job = NULL;
    int rc = wait_job(&config, &job, err);

    if (rc == 0 && strcmp(reply_text(job, "state"), "done") != 0)
        rc = err_set(err, -ECANCELED, "job %s %s: %.200s", id, reply_text(job, "state"),
                     reply_text(job, "reason"));
    json_decref(job);
    return rc == -EINTR ? err_set(err, rc, "left; the job goes on: %s", id) : rc;
}

static int compare(const struct cli_args *args, struct remote *remote, const char *first,
                   const char *second)
{
    json_t *left = NULL, *right = NULL, *answer;
    struct err err;
    size_t differing;
    int rc = artifacts_read(remote, first, &left, &err);

    if (rc == 0)
        rc = artifacts_read(remote, second, &right, &err);
    if (rc < 0) {
        json_decref(left);
        return cli_fail(CLI_USAGE, &err);
    }
    differing =
        artifacts_compare(json_object_get(left, "artifacts"), json_object_get(right, "artifacts"),
                          "the first time", "the second time");
    if (cli_args_has(args, "json")) {
        answer = json_pack("{s:s, s:s, s:b, s:I}", "job", first, "again", second, "same",
                           differing == 0, "differing", (json_int_t)differing);
        reply_show(answer);
        json_decref(answer);
    } else if (!differing) {
        printf("job %s left the same as job %s\n", second, first);
    }
    json_decref(left);
    json_decref(right);
    return differing ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *path = NULL;
    const char *job = args->rest[0];
    json_t *answer = NULL, *submitted = NULL;
    struct remote remote;
    struct err err;
    int code;
    int rc = remote_job_path(job, "", &path, &err);

    if (rc < 0)
        return cli_fail(CLI_USAGE, &err);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    rc = remote_get(&remote, path, &answer, &err);
    if (rc == 0)
        rc = check_spec(job, answer, &err);
    if (rc == 0)
        rc = submit(&remote, json_object_get(answer, "spec"), &submitted, &err);
    if (rc == 0)
        rc = wait_for(args, &remote, reply_text(submitted, "id"), &err);
    code = rc < 0 ? cli_fail(CLI_USAGE, &err)
                  : compare(args, &remote, job, reply_text(submitted, "id"));
    json_decref(answer);
    json_decref(submitted);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_rerun = {
    .name = "rerun",
    .summary = "run a job again and say whether it left the same",
    .usage = "[OPTION...] JOB",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, false } },
    .text =
        "Submits the job file of JOB once more, waits, and compares what both left, file by file "
        "by content. Inputs that are content, store:ID or artifacts of jobs are the same by "
        "their hash; of those that are paths it warns. A job with secrets, or of an array, is "
        "refused.\n\n"
        "Exit status: 0 the same, 1 they differ, 2 it could not be run or did not end well.",
    .examples = { { "mains rerun 12", "Is job 12 reproducible?" } },
    .run = run,
};
