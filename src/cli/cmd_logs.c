#include "base/file.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/job_show.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {
    { "follow", 'f', NULL, NULL, "Go on until the job has ended." },
    { "stdout", 'o', NULL, NULL, "Only what it wrote to stdout." },
    { "stderr", 'e', NULL, NULL, "Only what it wrote to stderr." },
    { "tail", 'n', "SIZE", NULL, "Only about the last so many bytes, from a line's beginning." },
    { "attempt", 0, "N", NULL, "Of this attempt (the newest)." },
    { 0 },
};

struct writer {
    int fd;
    bool skip_line; /* the rest of a line cut by --tail */
    int failed;
};

static int write_some(void *context, const char *data, size_t len)
{
    struct writer *writer = context;

    if (writer->skip_line) {
        const char *end = memchr(data, '\n', len);

        if (!end)
            return 0;
        len -= (size_t)(end + 1 - data);
        data = end + 1;
        writer->skip_line = false;
    }
    while (len) {
        ssize_t put = write(writer->fd, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            writer->failed = errno;
            return 1;
        }
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

static int print_stream(const struct cli_args *args, struct remote *remote, const char *stream,
                        int fd)
{
    CLEANUP(freep) char *path = NULL;
    const char *attempt = cli_args_get(args, "attempt");
    const char *tail = cli_args_get(args, "tail");
    struct writer writer = { .fd = fd, .skip_line = tail != NULL };
    int64_t tail_bytes = 0;
    char rest[128];
    struct err err;

    if (tail && units_parse_bytes(tail, &tail_bytes, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--tail: %s", err.text);
    /* One byte more, so that a line that begins right there is whole. */
    snprintf(rest, sizeof(rest), "/logs?stream=%s&offset=%" PRId64 "%s%.20s", stream,
             tail ? -tail_bytes - 1 : 0, attempt ? "&attempt=" : "", attempt ? attempt : "");
    if (remote_job_path(args->rest[0], rest, &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (remote_stream(remote, path, write_some, &writer, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    return writer.failed ? CLI_FAILED : CLI_OK;
}

static int print_follow(const struct cli_args *args, const struct remote *remote, bool out,
                        bool err_)
{
    struct follow_config config = { .remote = remote,
                                    .id = args->rest[0],
                                    .no_stdout = !out,
                                    .no_stderr = !err_,
                                    .seams = out && err_ };
    json_t *job = NULL;
    struct err err;
    int number;
    int rc = follow_job(&config, &job, &number, &err);

    json_decref(job);
    if (rc == -EINTR)
        return 128 + number;
    return rc < 0 && rc != -EPIPE ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

static int run(const struct cli_args *args)
{
    bool both = cli_args_has(args, "stdout") == cli_args_has(args, "stderr");
    bool out = both || cli_args_has(args, "stdout");
    bool errors = both || cli_args_has(args, "stderr");
    CLEANUP(freep) char *path = NULL;
    const char *attempt = cli_args_get(args, "attempt");
    struct remote remote;
    int64_t number;
    struct err err;
    int code = CLI_OK;

    if (remote_job_path(args->rest[0], "", &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (attempt && units_parse_int(attempt, 1, INT32_MAX, &number, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--attempt: %s", err.text);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    fflush(stdout);
    if (cli_args_has(args, "follow"))
        code = print_follow(args, &remote, out, errors);
    else if (out)
        code = print_stream(args, &remote, "stdout", STDOUT_FILENO);
    if (!cli_args_has(args, "follow") && errors && code == CLI_OK)
        code = print_stream(args, &remote, "stderr", STDERR_FILENO);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_logs = {
    .name = "logs",
    .summary = "print what a job wrote, or follow it",
    .usage = "[OPTION...] JOB",
    .flags = CLI_TAKES_NETWORK,
    .options = { options },
    .arguments = { { "JOB", NULL, false, false } },
    .text = "The job's stdout goes to stdout and its stderr to stderr, byte for byte. With "
            "--follow, and "
            "neither --stdout nor --stderr, a line `-- attempt 2 at SITE --` in stdout says where "
            "another attempt went on.",
    .examples = { { "mains logs -f 12", "From the beginning, until job 12 has ended." },
                  { "mains logs --stderr --tail 4K 12.3", "The end of an element's stderr." } },
    .run = run,
};
