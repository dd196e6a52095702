#include "cli/commands.h"
#include "cli/submit.h"
#include "cli/text.h"

#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {
    { "wait", 'W', NULL, NULL, "Wait until it has ended, with a bar; exit as it did." },
    { "key", 'k', "KEY", NULL,
      "Idempotency key: submitted again with the same key, it is the same job." },
    { "dry-run", 0, NULL, NULL, "Only check it; submit nothing." },
    { "quiet", 'q', NULL, NULL, "Print only the id." },
    { 0 },
};

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

/* What it waits for, and the start that it is promised; nothing when it starts at once, or when
 * nobody can say: it is submitted all the same. */
static void tell_wait(const struct cli_args *args, struct submission *submission)
{
    static const char *const soon[] = { "", "pass", "starting", "running", "ended" };
    CLEANUP(freep) char *path = NULL, *safe = NULL;
    CLEANUP(json_decrefp) json_t *why = NULL;
    struct err err;

    if (cli_args_has(args, "json") || cli_args_has(args, "quiet") ||
        remote_job_path(reply_text(submission->answer, "id"), "/why", &path, &err) < 0 ||
        remote_call(&submission->remote, "GET", path, NULL, &why, &err) < 0)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(soon); i++)
        if (strcmp(reply_text(why, "code"), soon[i]) == 0)
            return;
    safe = text_safe(reply_text(why, "text"));
    printf("It waits: %s\n", safe ? safe : "");
    fflush(stdout);
}

static int run(const struct cli_args *args)
{
    bool dry_run = cli_args_has(args, "dry-run");
    struct submission submission;
    struct err err;
    int code = CLI_OK;

    if (submission_send(args, cli_args_get(args, "key"), dry_run, &submission, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    tell(args, submission.answer, &submission.text);
    if (!dry_run)
        tell_wait(args, &submission);
    if (cli_args_has(args, "wait") && !dry_run)
        code = submission_wait(args, &submission, false);
    submission_fini(&submission);
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
        "over the file. When the answer came, the job is on disk and will not be lost. When it "
        "cannot "
        "start at once, it says why, and the start that is promised.",
    .examples = { { "mains submit job.yaml", "A job file." },
                  { "mains submit script.sh", "A script written for sbatch." },
                  { "mains submit --array 0-99 --wait job.yaml", "A hundred of it, with a bar." },
                  { "id=$(mains submit -q -- make) && mains submit --after $id -- make check",
                    "One after the other." } },
    .run = run,
};
