#include "base/clock.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/place.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct cli_option options[] = {
    { "cancel", 0, NULL, NULL, "Cancel all live jobs first, and wait until they have ended." },
    { "timeout", 0, "DURATION", NULL, "How long to wait at most, for each of the two (30s)." },
    { "quiet", 'q', NULL, NULL, "Say nothing when it went well." },
    { 0 },
};

static void sleep_ms(int64_t ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

/* Live jobs; `running_out`: those that hold something. */
static int list_live(struct remote *remote, json_t **rows_out, uint32_t *running_out)
{
    size_t index;
    json_t *job;
    int rc = remote_list(remote, "/jobs", "jobs", 0, rows_out, NULL);

    *running_out = 0;
    if (rc < 0)
        return rc;
    json_array_foreach (*rows_out, index, job) {
        const char *state = reply_text(job, "state");

        *running_out += strcmp(state, "running") == 0 || strcmp(state, "starting") == 0 ||
                        strcmp(state, "stopping") == 0;
    }
    return 0;
}

static int cancel_all(struct remote *remote, int64_t timeout_ms)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;

    for (;;) {
        json_t *rows = NULL;
        uint32_t running;
        size_t left;
        size_t index;
        json_t *job;

        if (list_live(remote, &rows, &running) < 0)
            return cli_fail_text(CLI_FAILED, "the network does not answer: nothing was cancelled");
        left = json_array_size(rows);
        json_array_foreach (rows, index, job) {
            CLEANUP(freep) char *path = NULL;

            if (strcmp(reply_text(job, "state"), "stopping") != 0 &&
                remote_job_path(reply_text(job, "id"), "?reason=mains%20down", &path, NULL) == 0)
                remote_call(remote, "DELETE", path, NULL, NULL, NULL);
        }
        json_decref(rows);
        if (left == 0)
            return CLI_OK;
        if (clock_mono_ms() > until_ms)
            return cli_fail_text(CLI_FAILED, "%zu jobs have not ended: nothing was stopped", left);
        sleep_ms(100);
    }
}

static int prepare(const struct cli_args *args, int64_t timeout_ms, uint32_t *running_out)
{
    struct remote remote;
    json_t *rows = NULL;
    struct err err;
    int code = CLI_OK;

    *running_out = 0;
    if (remote_open(args, &remote, &err) < 0) {
        if (cli_args_has(args, "cancel"))
            return cli_fail(CLI_FAILED, &err);
        return CLI_OK;
    }
    if (cli_args_has(args, "cancel"))
        code = cancel_all(&remote, timeout_ms);
    else
        list_live(&remote, &rows, running_out);
    json_decref(rows);
    remote_fini(&remote);
    return code;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    const char *timeout = cli_args_get(args, "timeout");
    bool quiet = cli_args_has(args, "quiet");
    int64_t timeout_ms = 30000;
    struct place_holder holder;
    uint32_t running = 0;
    int64_t until_ms;
    struct err err;
    int code;

    if (timeout && units_parse_duration(timeout, &timeout_ms, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--timeout: %s", err.text);
    if (place_find_state(args, &state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (place_find_holder(state, &holder) < 0 || holder.pid <= 1) {
        if (!quiet)
            printf("Nothing runs on %s.\n", state);
        return CLI_OK;
    }
    code = prepare(args, timeout_ms, &running);
    if (code != CLI_OK)
        return code;
    if (kill(holder.pid, SIGTERM) < 0 && errno != ESRCH)
        return cli_fail_text(CLI_FAILED, "process %jd: %s", (intmax_t)holder.pid, strerror(errno));
    until_ms = clock_mono_ms() + timeout_ms;
    while (place_find_holder(state, &holder) == 0) {
        if (clock_mono_ms() > until_ms)
            return cli_fail_text(CLI_FAILED, "process %jd has not stopped yet",
                                 (intmax_t)holder.pid);
        sleep_ms(20);
    }
    if (!quiet)
        printf("mains is down (state %s)\n", state);
    if (running)
        printf("%" PRIu32 " job%s on under %s supervisor%s; the next `mains up` finds %s again.\n",
               running, running == 1 ? " goes" : "s go", running == 1 ? "its" : "their",
               running == 1 ? "" : "s", running == 1 ? "it" : "them");
    return CLI_OK;
}

const struct cli_command cmd_down = {
    .name = "down",
    .summary = "stop the network on this machine",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_STATE,
    .options = { options },
    .text = "Stops the controller and the site that `mains up` started. Nothing is lost: queued "
            "jobs stay queued, and jobs that run go on under their supervisors until they end; the "
            "next `mains up` takes their results. --cancel cancels all of them first.",
    .examples = { { "mains down", "Stop; running jobs go on." },
                  { "mains down --cancel", "Stop, and leave nothing running." } },
    .run = run,
};
