#include "base/clock.h"
#include "base/file.h"
#include "cli/cancel_many.h"
#include "cli/commands.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCHED_MAX 100000u
#define UNHEARD_LOOK_MS 3000 /* nothing ended for so long: is it because nobody hears? */
#define SITES_BYTES 256u

static const struct cli_option options[] = {
    { "cancel", 0, NULL, NULL, "Cancel all live jobs first, and wait until they have ended." },
    { "timeout", 0, "DURATION", NULL,
      "How long to wait at most for the jobs, while none of them ends, and for the processes "
      "(30s)." },
    { "quiet", 'q', NULL, NULL, "Say nothing when it went well." },
    { 0 },
};

static void sleep_ms(int64_t ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

/* How many jobs are in `states`, as far as WATCHED_MAX. */
static int count_jobs(struct remote *remote, const char *states, uint32_t *count_out)
{
    CLEANUP(freep) char *path = path_format("/jobs?state=%s", states);
    json_t *rows = NULL;
    int rc = path ? remote_list(remote, path, "jobs", WATCHED_MAX, &rows, NULL) : -ENOMEM;

    *count_out = rc < 0 ? 0 : (uint32_t)json_array_size(rows);
    json_decref(rows);
    return rc;
}

static bool is_heard(const json_t *sites, const char *name)
{
    const json_t *site;
    size_t i;

    json_array_foreach (sites, i, site)
        if (strcmp(reply_text(site, "name"), name) == 0)
            return json_is_true(json_object_get(site, "reachable"));
    return true;
}

static void add_name(char names[SITES_BYTES], const char *name)
{
    size_t len = strlen(names);
    const char *found = strstr(names, name);

    if (found && (found == names || found[-1] == ' ') &&
        (found[strlen(name)] == '\0' || found[strlen(name)] == ','))
        return;
    snprintf(names + len, SITES_BYTES - len, "%s%s", len ? ", " : "", name);
}

/* How many live jobs are at sites that are not heard, and at which; all others are in
 * `others_out`. */
static int count_unheard(struct remote *remote, uint32_t *others_out, char names[SITES_BYTES])
{
    json_t *rows = NULL, *answer = NULL;
    const json_t *row;
    int unheard = 0;
    size_t i;

    names[0] = '\0';
    *others_out = 0;
    if (remote_get(remote, "/sites", &answer, NULL) < 0 ||
        remote_list(remote, "/jobs?state=live", "jobs", WATCHED_MAX, &rows, NULL) < 0) {
        json_decref(answer);
        return -EIO;
    }
    json_array_foreach (rows, i, row) {
        const char *site = reply_text(json_object_get(row, "allocation"), "site");

        if (*site && !is_heard(json_object_get(answer, "sites"), site)) {
            add_name(names, site);
            unheard++;
        } else {
            ++*others_out;
        }
    }
    json_decref(answer);
    json_decref(rows);
    return unheard;
}

/* Only jobs are left whose sites are not heard: those are told when they come back. Others: what
 * they wait for is said. */
static bool is_left_to_sites(struct remote *remote, bool over)
{
    char names[SITES_BYTES];
    uint32_t others = 0;
    int unheard = count_unheard(remote, &others, names);

    if (unheard <= 0)
        return false;
    if (others == 0)
        fprintf(
            stderr,
            "mains: %d job%s at sites that are not heard (%s): cancelled, and stopped there when "
            "they are heard again\n",
            unheard, unheard == 1 ? "" : "s", names);
    else if (over)
        fprintf(stderr, "mains: %d of them are at sites that are not heard: %s\n", unheard, names);
    return others == 0;
}

/* Cancel what is live until nothing is, however many there are: the time runs only while none of
 * them ends. */
static int cancel_all(struct remote *remote, int64_t timeout_ms, bool quiet)
{
    struct progress progress = { 0 };
    int64_t moved_ms = clock_mono_ms(), looked_ms = moved_ms;
    uint32_t least = UINT32_MAX, most = 0;
    uint32_t left = 0;
    int code = CLI_OK;

    for (;;) {
        struct cancel_counts counts;
        struct err err;

        if (cancel_many(remote, "state=live", "mains down", quiet, &counts, &err) < 0) {
            code = cli_fail_text(CLI_FAILED, "%s: nothing was stopped", err.text);
            break;
        }
        if (count_jobs(remote, "live", &left) < 0) {
            code = cli_fail_text(CLI_FAILED, "the network does not answer: nothing was stopped");
            break;
        }
        if (left == 0)
            break;
        if (left < least || counts.cancelled)
            looked_ms = moved_ms = clock_mono_ms();
        if (clock_mono_ms() - looked_ms > UNHEARD_LOOK_MS) {
            looked_ms = clock_mono_ms();
            if (is_left_to_sites(remote, false))
                break;
        }
        least = MIN(least, left);
        if (left > most)
            progress = progress_init("stopping", most = left);
        if (!quiet)
            progress_show(&progress, most - left, "");
        if (clock_mono_ms() - moved_ms > timeout_ms) {
            is_left_to_sites(remote, true);
            code =
                cli_fail_text(CLI_FAILED, "%" PRIu32 "%s jobs have not ended: nothing was stopped",
                              left, left >= WATCHED_MAX ? " or more" : "");
            break;
        }
        sleep_ms(100);
    }
    progress_end(&progress);
    return code;
}

static int prepare(const struct cli_args *args, int64_t timeout_ms, uint32_t *running_out)
{
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    *running_out = 0;
    if (remote_open(args, &remote, &err) < 0) {
        if (cli_args_has(args, "cancel"))
            return cli_fail(CLI_FAILED, &err);
        return CLI_OK;
    }
    if (cli_args_has(args, "cancel"))
        code = cancel_all(&remote, timeout_ms, cli_args_has(args, "quiet"));
    else
        count_jobs(&remote, "starting,running,stopping", running_out);
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
    .text =
        "Stops the controller and the site that `mains up` started. Nothing is lost: queued "
        "jobs stay queued, and jobs that run go on under their supervisors until they end; the "
        "next `mains up` takes their results. --cancel cancels all of them first; those at a site "
        "that is not heard are stopped when it is heard again, and not waited for.",
    .examples = { { "mains down", "Stop; running jobs go on." },
                  { "mains down --cancel", "Stop, and leave nothing running." } },
    .run = run,
};
