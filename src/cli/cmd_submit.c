#include "base/file.h"
#include "cli/commands.h"
#include "cli/submit.h"
#include "cli/text.h"
#include "cli/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    { "wait", 'W', NULL, NULL, "Wait until it has ended, with a bar; exit as it did." },
    { "key", 'k', "KEY", NULL,
      "Idempotency key: submitted again with the same key, it is the same job." },
    { "dry-run", 0, NULL, NULL, "Only check it; submit nothing." },
    { "quiet", 'q', NULL, NULL, "Print only the id." },
    { 0 },
};

static int wait_for(const struct cli_args *args, struct remote *remote, const struct job_text *text,
                    const char *id)
{
    CLEANUP(freep) char *again = path_format("mains wait %s", id);
    struct wait_config config = { .remote = remote,
                                  .id = id,
                                  .name = text->name,
                                  .progress = !cli_args_has(args, "quiet"),
                                  .stops_with_job = true,
                                  .again = again };
    json_t *job = NULL;
    struct err err;
    int rc = wait_job(&config, &job, &err);
    int code;

    if (rc < 0 && rc != -EINTR)
        return cli_fail(CLI_MAINS, &err);
    code = rc < 0 ? CLI_DETACHED : wait_exit_status(remote, job);
    json_decref(job);
    return code;
}

static void tell(const struct cli_args *args, const json_t *answer, const struct job_text *text)
{
    const char *id = reply_text(answer, "id");
    int64_t jobs = reply_number(answer, "jobs");

    if (cli_args_has(args, "json")) {
        reply_show(answer);
    } else if (cli_args_has(args, "dry-run")) {
        printf("%s: right; nothing was submitted\n", text->name);
    } else if (cli_args_has(args, "quiet")) {
        puts(id);
    } else if (text->elements_count) {
        printf("%s: submitted %s, an array of %" PRId64 " jobs (follow: mains wait %s)\n", id,
               text->name, jobs, id);
    } else {
        printf("%s: submitted %s (follow: mains logs -f %s)\n", id, text->name, id);
    }
    fflush(stdout);
}

static int run(const struct cli_args *args)
{
    struct job_source source = { .args = args };
    struct job_text text = { 0 };
    json_t *answer = NULL;
    struct remote remote;
    struct err err;
    int code = CLI_OK;
    int rc;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    source.here = submit_is_here(&remote);
    rc = job_file_read(&source, &text, &err);
    if (rc == 0)
        rc = submit_job(&remote, &text, cli_args_get(args, "key"), cli_args_has(args, "dry-run"),
                        &answer, &err);
    if (rc < 0)
        code = cli_fail(CLI_FAILED, &err);
    else
        tell(args, answer, &text);
    if (rc == 0 && cli_args_has(args, "wait") && !cli_args_has(args, "dry-run"))
        code = wait_for(args, &remote, &text, reply_text(answer, "id"));
    json_decref(answer);
    job_text_fini(&text);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_submit = {
    .name = "submit",
    .summary = "submit a job and print its id",
    .usage = "[OPTION...] FILE [ARGUMENT...] | [OPTION...] -- COMMAND [ARGUMENT...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON | CLI_STOP_EARLY,
    .options = { options, job_options },
    .arguments = { { "FILE", NULL, false, true } },
    .text =
        "FILE is a job file (docs/job-file.md), a script with #SBATCH lines as it is, a SkyPilot "
        "task, or - for standard input; what is not a text file is a command. Options here win "
        "over the file. When the answer came, the job is on disk and will not be lost.",
    .examples = { { "mains submit job.yaml", "A job file." },
                  { "mains submit script.sh", "A script written for sbatch." },
                  { "mains submit --array 0-99 --wait job.yaml", "A hundred of it, with a bar." },
                  { "id=$(mains submit -q -- make) && mains submit --after $id -- make check",
                    "One after the other." } },
    .run = run,
};
