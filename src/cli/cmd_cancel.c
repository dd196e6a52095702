#include "cli/cancel_many.h"
#include "cli/commands.h"
#include "cli/each_job.h"

#include <inttypes.h>

static const struct cli_option options[] = {
    { "all", 'a', NULL, NULL, "All live jobs; with the options below, those that they name." },
    { "in", 's', "STATE", "held|queued|starting|running", "Of --all: only jobs in this state." },
    { "name", 'n', "NAME", NULL, "Of --all: only jobs of this name." },
    { "user", 'u', "USER", NULL, "Of --all: only jobs of this user." },
    { "tenant", 0, "TENANT", NULL, "Of --all: only jobs of this tenant." },
    { "reason", 'r', "TEXT", NULL, "Why; kept with the job." },
    { "quiet", 'q', NULL, NULL, "Say nothing when it went well." },
    { 0 },
};

static const char *say(const json_t *answer)
{
    (void)answer;
    return "cancelled";
}

static int cancel_named(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(buf_fini) struct buf rest = buf_init(65536);
    const char *reason = cli_args_get(args, "reason");
    struct each_job what = { .method = "DELETE",
                             .rest = "",
                             .say = cli_args_has(args, "quiet") ? NULL : say };

    if (reason) {
        buf_add_text(&rest, "?reason=");
        remote_add_encoded(&rest, reason);
        what.rest = rest.data;
    }
    return each_job(args, remote, &what);
}

static int cancel_all(const struct cli_args *args, struct remote *remote)
{
    static const char *const filters[] = { "name", "user", "tenant" };
    CLEANUP(buf_fini) struct buf query = buf_init(65536);
    const char *state = cli_args_get(args, "in");
    bool quiet = cli_args_has(args, "quiet") || cli_args_has(args, "json");
    struct cancel_counts counts;
    struct err err;
    int rc;

    buf_printf(&query, "state=%s", state ? state : "live");
    for (size_t i = 0; i < ARRAY_COUNT(filters); i++)
        if (cli_args_get(args, filters[i])) {
            buf_printf(&query, "&%s=", filters[i]);
            remote_add_encoded(&query, cli_args_get(args, filters[i]));
        }
    rc = cancel_many(remote, query.data ? query.data : "", cli_args_get(args, "reason"), quiet,
                     &counts, &err);
    if (cli_args_has(args, "json"))
        printf("{\"cancelled\": %" PRIu64 ", \"stopping\": %" PRIu64 "}\n", counts.cancelled,
               counts.stopping);
    else if (!quiet)
        printf("%" PRIu64 " jobs cancelled%s", counts.cancelled, counts.stopping ? "" : "\n");
    if (counts.stopping && !quiet)
        printf(", %" PRIu64 " more told to stop\n", counts.stopping);
    return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

/* What is wrong with the words, as a whole; NULL = nothing. */
static const char *find_fault(const struct cli_args *args)
{
    bool all = cli_args_has(args, "all");

    if (all && args->rest_count)
        return "cancel: either --all or the ids of jobs";
    if (!all && !args->rest_count)
        return "cancel: the id of a job is expected, or --all";
    if (!all && (cli_args_has(args, "in") || cli_args_has(args, "name") ||
                 cli_args_has(args, "user") || cli_args_has(args, "tenant")))
        return "cancel: --in, --name, --user and --tenant go with --all";
    return NULL;
}

static int run(const struct cli_args *args)
{
    const char *fault = find_fault(args);
    struct remote remote;
    struct err err;
    int code;

    if (fault)
        return cli_fail_text(CLI_USAGE, "%s", fault);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code = cli_args_has(args, "all") ? cancel_all(args, &remote) : cancel_named(args, &remote);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_cancel = {
    .name = "cancel",
    .summary = "cancel jobs; what runs is stopped",
    .usage = "[OPTION...] JOB... | --all [OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, true, true } },
    .text = "A running job gets SIGTERM and, when its grace is over, SIGKILL. The id of an array "
            "cancels all its elements, 12.3 one of them. Cancelling again changes nothing.",
    .examples = { { "mains cancel 12 13.4", "A job, and one element of an array." },
                  { "mains cancel --all --in queued --name sweep", "All of that name that wait." },
                  { "mains cancel --all", "Everything that is live." } },
    .run = run,
};
