#include "base/file.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/job_show.h"
#include "cli/submit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cli_option options[] = {
    { "quiet", 'q', NULL, NULL, "Say nothing but what the job says." },
    { 0 },
};

/* `run` has the job's own status to give: what went wrong before is 125, as with env and docker. */
static int fail(const struct err *err)
{
    return cli_fail(CLI_MAINS, err);
}

static void tell_end(const struct cli_args *args, const json_t *job, int status)
{
    const char *reason = reply_text(job, "reason");

    if (status == 0 || cli_args_has(args, "quiet") || cli_args_has(args, "json"))
        return;
    if (*reason)
        cli_fail_text(status, "job %s %s: %s", reply_text(job, "id"), reply_text(job, "state"),
                      reason);
    else
        cli_fail_text(status, "job %s %s (exit status %d)", reply_text(job, "id"),
                      reply_text(job, "state"), status);
}

static int follow_single(const struct cli_args *args, struct remote *remote, const char *id,
                         const char *again)
{
    struct follow_config config = {
        .remote = remote, .id = id, .again = again, .stops_with_job = true
    };
    json_t *job = NULL;
    struct err err;
    int number = 0;
    int status;
    int rc = follow_job(&config, &job, &number, &err);

    if (rc == -EINTR)
        return CLI_DETACHED;
    if (rc < 0)
        return fail(&err);
    status = job_exit_status(job);
    tell_end(args, job, status);
    if (cli_args_has(args, "json"))
        reply_show(job);
    json_decref(job);
    return status;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *again = NULL;
    struct submission submission;
    const char *id;
    struct err err;
    int code;

    if (submission_send(args, NULL, false, &submission, &err) < 0)
        return fail(&err);
    id = reply_text(submission.answer, "id");
    again = path_format("mains logs -f %s", id);
    if (!cli_args_has(args, "quiet") && isatty(STDERR_FILENO))
        fprintf(stderr, "mains: job %s (%s)\n", id, submission.text.name);
    code = submission.text.elements_count
               ? submission_wait(args, &submission, cli_args_has(args, "json"))
               : follow_single(args, &submission.remote, id, again);
    submission_fini(&submission);
    return code;
}

const struct cli_command cmd_run = {
    .name = "run",
    .summary = "run a job, show its output, exit as it does",
    .usage = "[OPTION...] -- COMMAND [ARGUMENT...] | [OPTION...] FILE [ARGUMENT...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON | CLI_STOP_EARLY,
    .options = { options, job_options },
    .arguments = { { "FILE", NULL, false, true } },
    .text =
        "Submits the job, follows its output (stdout to stdout, stderr to stderr), and exits with "
        "its exit code. FILE is what `mains submit` takes. On a network of this machine a COMMAND "
        "works in the current folder, unless --workdir or --scratch says otherwise. Of an array, a "
        "bar is shown instead of the output.\n\n"
        "The first Ctrl-C says how the job is and how to come back, and a second later leaves it "
        "running; a second Ctrl-C within that second cancels it. Leaving never kills the job, nor "
        "does losing the terminal or the network.\n\n"
        "Exit status: the job's own; 128 + N when signal N ended it (137 past its memory); 124 at "
        "its time limit; 130 when it was cancelled or left by Ctrl-C; 125 when mains itself "
        "failed. "
        "Of an array: 0, or that of the first element that did not end well.",
    .examples = { { "mains run -- make -j4", "In this folder." },
                  { "mains run -c 4 -m 8G -T 30m -- ./solve input.dat", "With limits." },
                  { "mains run job.yaml", "A job file." },
                  { "mains run --array N=1,2,4,8 -- sh -c './bench $MAINS_PARAM_N'",
                    "Four jobs, each with its own N." } },
    .run = run,
};
