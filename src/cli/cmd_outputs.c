#include "base/file.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "model/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {
    { "get", 'g', "DIR", NULL, "Fetch them into this folder (made when absent)." },
    { "print", 'p', NULL, NULL, "Print the one that is named to stdout." },
    { 0 },
};

struct sink {
    int fd;
    int failed;
};

static int take(void *context, const char *data, size_t len)
{
    struct sink *sink = context;

    while (len) {
        ssize_t put = write(sink->fd, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            sink->failed = -errno;
            return 1;
        }
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

/* What a server names must stay inside the folder. */
static bool path_is_tame(const char *path)
{
    if (path[0] == '\0' || path[0] == '/')
        return false;
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return false;
    }
    return true;
}

static int fetch(struct remote *remote, const char *id, const char *name, int fd, struct err *err)
{
    CLEANUP(buf_fini) struct buf rest = buf_init(65536);
    CLEANUP(freep) char *path = NULL;
    struct sink sink = { .fd = fd };
    int rc;

    buf_add_text(&rest, "/outputs/");
    for (const char *at = name; *at;) {
        size_t len = strcspn(at, "/");
        CLEANUP(freep) char *part = strndup(at, len);

        remote_add_encoded(&rest, part ? part : "");
        if (at[len] == '/')
            buf_add_char(&rest, '/');
        at += len + (at[len] == '/');
    }
    rc = remote_job_path(id, rest.data, &path, err);
    if (rc == 0)
        rc = remote_stream(remote, path, take, &sink, err);
    if (rc == 0 && sink.failed)
        rc = err_set(err, sink.failed, "%s: %s", name, strerror(-sink.failed));
    return rc;
}

static int save(struct remote *remote, const char *id, const char *name, const char *folder,
                struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/%s", folder, name);
    CLEANUP(freep) char *parent = path ? strdup(path) : NULL;
    CLEANUP(closep) int fd = -1;
    int rc;

    if (!path || !parent)
        return err_set(err, -ENOMEM, "out of memory");
    if (!path_is_tame(name))
        return err_set(err, -EBADMSG, "\"%s\" is no path inside a folder: not fetched", name);
    *strrchr(parent, '/') = '\0';
    rc = dir_make(parent, 0777, err);
    if (rc < 0)
        return rc;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    return fetch(remote, id, name, fd, err);
}

static const json_t *rows_of(const json_t *answer)
{
    return json_is_array(answer) ? answer : json_object_get(answer, "outputs");
}

static const char *name_of(const json_t *row)
{
    return json_is_string(row) ? json_string_value(row) : reply_text(row, "path");
}

static int show_list(const json_t *answer)
{
    static const struct table_column columns[] = { { "PATH", false, 0 },
                                                   { "SIZE", true, 0 },
                                                   { 0 } };
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc = 0;

    json_array_foreach (rows_of(answer), index, row) {
        char size[32];

        units_print_bytes(json_object_get(row, "bytes") ? reply_number(row, "bytes")
                                                        : reply_number(row, "size_bytes"),
                          size, sizeof(size));
        table_add(&table, name_of(row));
        table_add(&table, size);
    }
    if (table.rows_count)
        rc = table_show(&table);
    else
        printf("No outputs were kept.\n");
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int get_all(const struct cli_args *args, struct remote *remote, const json_t *answer)
{
    const char *folder = cli_args_get(args, "get");
    uint32_t count = 0;
    struct err err;
    size_t index;
    json_t *row;

    json_array_foreach (rows_of(answer), index, row) {
        if (args->rest_count > 1 && strcmp(name_of(row), args->rest[1]) != 0)
            continue;
        if (save(remote, args->rest[0], name_of(row), folder, &err) < 0)
            return cli_fail(CLI_FAILED, &err);
        count++;
    }
    if (args->rest_count > 1 && count == 0)
        return cli_fail_text(CLI_FAILED, "job %s kept no %s", args->rest[0], args->rest[1]);
    printf("%u file%s in %s\n", count, count == 1 ? "" : "s", folder);
    return CLI_OK;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *path = NULL;
    struct remote remote;
    json_t *answer = NULL;
    struct err err;
    int code;

    if (remote_job_path(args->rest[0], "/outputs", &path, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (cli_args_has(args, "print") && args->rest_count < 2)
        return cli_fail_text(CLI_USAGE, "outputs: --print needs the PATH of one output");
    if (!cli_args_has(args, "print") && !cli_args_has(args, "get"))
        return remote_show(args, path, "outputs", show_list);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    fflush(stdout);
    if (cli_args_has(args, "print"))
        code = fetch(&remote, args->rest[0], args->rest[1], STDOUT_FILENO, &err) < 0
                   ? cli_fail(CLI_FAILED, &err)
                   : CLI_OK;
    else if (remote_get(&remote, path, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else
        code = get_all(args, &remote, answer);
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_outputs = {
    .name = "outputs",
    .summary = "list, print or fetch the files a job kept",
    .usage = "[OPTION...] JOB [PATH]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, false }, { "PATH", NULL, true, false } },
    .text = "",
    .examples = { { "mains outputs 12", "What job 12 kept." },
                  { "mains outputs --get results 12", "All of it, into the folder results." },
                  { "mains outputs --print 12 energy.txt", "One file, to stdout." } },
    .run = run,
};
