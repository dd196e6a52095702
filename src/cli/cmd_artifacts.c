#include "base/file.h"
#include "cli/artifacts.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/job_show.h"
#include "cli/rclone.h"
#include "model/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define STORE_PREFIX "store:"

/* What a word names: store:ID, or the artifacts of a job. `answer_out` is set for a job only. */
static int find_tree(struct remote *remote, const char *word, struct store_id *id_out,
                     json_t **answer_out, struct err *err)
{
    const char *name;
    int rc;

    if (strncmp(word, STORE_PREFIX, strlen(STORE_PREFIX)) == 0) {
        name = word + strlen(STORE_PREFIX);
        return strlen(name) == STORE_ID_CHARS && store_id_parse(name, STORE_ID_CHARS, id_out)
                   ? 0
                   : err_set(err, -EINVAL, "%.100s: expected store: and %u hex digits", word,
                             STORE_ID_CHARS);
    }
    rc = artifacts_read(remote, word, answer_out, err);
    if (rc < 0)
        return rc;
    name = reply_text(*answer_out, "manifest");
    if (store_id_parse(name, strlen(name), id_out))
        return 0;
    rc = err_set(err, -ENOENT, "job %s left nothing", word);
    json_decref(*answer_out);
    *answer_out = NULL;
    return rc;
}

static int show_list(const json_t *answer)
{
    static const struct table_column columns[] = {
        { "PATH", false, 0 }, { "SIZE", true, 0 }, { "DIGEST", false, 12 }, { 0 }
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc = 0;

    json_array_foreach (json_object_get(answer, "artifacts"), index, row) {
        char size[32];

        units_print_bytes(reply_number(row, "bytes"), size, sizeof(size));
        table_add(&table, reply_text(row, "path"));
        table_add(&table, size);
        table_add(&table, reply_text(row, "digest"));
    }
    if (table.rows_count)
        rc = table_show(&table);
    else
        printf("It left nothing.\n");
    if (table.rows_count)
        printf("store:%s\n", reply_text(answer, "manifest"));
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int list(const struct cli_args *args, struct remote *remote)
{
    json_t *answer = NULL;
    struct err err;
    int code;

    if (args->rest_count != 2)
        return cli_fail_text(CLI_USAGE, "artifacts ls: a job is expected");
    if (artifacts_read(remote, args->rest[1], &answer, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code = cli_args_has(args, "json") ? reply_show(answer) : show_list(answer);
    json_decref(answer);
    return code;
}

/* Beside the folder, so that what is in it is what the job left and nothing else. */
static int save_provenance(const json_t *answer, const char *folder, struct err *err)
{
    CLEANUP(freep)
    char *text = json_dumps(json_object_get(answer, "provenance"), JSON_INDENT(2) | JSON_SORT_KEYS);
    CLEANUP(freep) char *path = path_format("%s.provenance.json", folder);

    if (!text || !path)
        return err_set(err, -ENOMEM, "out of memory");
    return file_write(path, text, strlen(text), 0666, false, err);
}

/* Beside the remote's path, as beside a folder. */
static int send_provenance(const json_t *answer, const char *folder, const char *to,
                           struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s.provenance.json", folder);
    CLEANUP(freep) char *beside = NULL;
    size_t len = strlen(to);
    int rc = save_provenance(answer, folder, err);

    while (len && to[len - 1] == '/')
        len--;
    beside = path_format("%.*s.provenance.json", (int)len, to);
    if (rc == 0 && (!path || !beside))
        rc = err_set(err, -ENOMEM, "out of memory");
    return rc < 0 ? rc : rclone_send_file(path, beside, err);
}

static char *make_temporary(struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    CLEANUP(freep)
    char *folder = path_format("%s/mains-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/var/tmp");

    if (folder && mkdtemp(folder))
        return TAKE(folder);
    err_set(err, -errno, "a temporary folder: %s", strerror(errno));
    return NULL;
}

/* To a remote of rclone's: through a folder here, as it is checked on its way. */
static int get_remote(struct files *files, const struct store_id *id, const json_t *answer,
                      const char *to, struct err *err)
{
    CLEANUP(freep) char *temporary = make_temporary(err);
    CLEANUP(freep) char *folder = temporary ? path_format("%s/got", temporary) : NULL;
    int rc = temporary ? -ENOMEM : -EIO;

    if (folder)
        rc = files_get(files, id, folder, err);
    if (rc == 0)
        rc = rclone_send(folder, to, err);
    if (rc == 0 && answer)
        rc = send_provenance(answer, folder, to, err);
    if (temporary)
        dir_remove(temporary, NULL);
    return rc;
}

static int get(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(files_closep) struct files *files = NULL;
    CLEANUP(freep) char *folder = args->rest_count == 3 ? strdup(args->rest[2]) : NULL;
    json_t *answer = NULL;
    struct store_id id;
    struct err err;
    bool is_remote;
    int rc;

    if (!folder)
        return cli_fail_text(CLI_USAGE, "artifacts get: a job (or store:ID) and a folder to make "
                                        "(or a remote of rclone) are expected");
    is_remote = rclone_is_remote(folder);
    for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/' && !is_remote;)
        folder[--len] = '\0';
    rc = find_tree(remote, args->rest[1], &id, &answer, &err);
    if (rc == 0)
        rc = files_open(remote, &files, &err);
    if (rc == 0 && is_remote)
        rc = get_remote(files, &id, answer, folder, &err);
    else if (rc == 0)
        rc = files_get(files, &id, folder, &err);
    if (rc == 0 && answer && !is_remote)
        rc = save_provenance(answer, folder, &err);
    if (rc < 0)
        rc = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        reply_show(answer);
    else
        printf("%s\n", folder);
    json_decref(answer);
    return rc < 0 ? CLI_FAILED : rc;
}

/* From a remote of rclone's: through a folder here. */
static int put_remote(struct files *files, const char *from, struct store_id *id_out,
                      int64_t *bytes_out, struct err *err)
{
    CLEANUP(freep) char *temporary = make_temporary(err);
    CLEANUP(freep) char *path = temporary ? path_format("%s/fetched", temporary) : NULL;
    int rc = temporary ? -ENOMEM : -EIO;

    if (path)
        rc = rclone_fetch(from, path, err);
    if (rc == 0)
        rc = files_put(files, path, false, id_out, bytes_out, err);
    if (temporary)
        dir_remove(temporary, NULL);
    return rc;
}

static int put(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(files_closep) struct files *files = NULL;
    char name[STORE_ID_TEXT_BYTES];
    struct store_id id;
    int64_t bytes = 0;
    struct err err;
    int rc;

    if (args->rest_count != 2)
        return cli_fail_text(CLI_USAGE, "artifacts put: a file or folder is expected");
    rc = files_open(remote, &files, &err);
    if (rc == 0 && rclone_is_remote(args->rest[1]))
        rc = put_remote(files, args->rest[1], &id, &bytes, &err);
    else if (rc == 0)
        rc = files_put(files, args->rest[1], false, &id, &bytes, &err);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    store_id_format(&id, name);
    if (cli_args_has(args, "json")) {
        json_t *answer = json_pack("{s:s, s:I, s:I}", "manifest", name, "bytes", (json_int_t)bytes,
                                   "carried", (json_int_t)files_carried(files));

        reply_show(answer);
        json_decref(answer);
    } else {
        printf("store:%s\n", name);
    }
    return CLI_OK;
}

static json_t *rows_of(struct store *store, const struct store_id *id, struct err *err)
{
    struct manifest manifest;
    json_t *rows;

    if (store_manifest_read(store, id, &manifest, err) < 0)
        return NULL;
    rows = json_array();
    for (uint32_t i = 0; i < manifest.entries_count; i++) {
        struct store_id digest;
        char name[STORE_ID_TEXT_BYTES];

        if (manifest.entries[i].kind != MANIFEST_FILE)
            continue;
        digest = manifest_digest(&manifest, &manifest.entries[i]);
        store_id_format(&digest, name);
        json_array_append_new(
            rows, json_pack("{s:s, s:s}", "path", manifest.entries[i].path, "digest", name));
    }
    manifest_fini(&manifest);
    return rows;
}

/* All of it comes here, every chunk checked against its name; then, with a folder, file by file. */
static int verify(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(files_closep) struct files *files = NULL;
    json_t *answer = NULL, *there = NULL, *here = NULL;
    struct chunk_list bad = { 0 };
    struct store *store = NULL;
    struct store_id id, own;
    struct err err = { 0 };
    size_t differing = 0;
    int rc;

    if (args->rest_count < 2)
        return cli_fail_text(CLI_USAGE, "artifacts verify: a job (or store:ID) is expected");
    rc = find_tree(remote, args->rest[1], &id, &answer, &err);
    json_decref(answer);
    if (rc == 0)
        rc = files_open(remote, &files, &err);
    if (rc == 0)
        rc = files_fetch(files, &id, &err);
    if (rc == 0)
        rc = files_store(files, &store, &err);
    if (rc == 0)
        rc = store_verify(store, &id, &bad, &err);
    if (rc == 0 && bad.count)
        rc = err_set(&err, -EBADMSG, "%u chunks were damaged on their way", (unsigned)bad.count);
    chunk_list_fini(&bad);
    if (rc == 0 && args->rest_count == 3) {
        rc = store_put(store, AT_FDCWD, args->rest[2], &own, NULL, &err);
        there = rc == 0 ? rows_of(store, &id, &err) : NULL;
        here = there ? rows_of(store, &own, &err) : NULL;
        rc = here ? 0 : -EIO;
        differing = here ? artifacts_compare(there, here, "there", "here") : 0;
        json_decref(there);
        json_decref(here);
    }
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    if (!differing && !cli_args_has(args, "json"))
        printf("whole\n");
    if (cli_args_has(args, "json")) {
        answer =
            json_pack("{s:b, s:I}", "same", differing == 0, "differing", (json_int_t)differing);
        reply_show(answer);
        json_decref(answer);
    }
    return differing ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_args *args)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli_args *args, struct remote *remote);
    } actions[] = { { "ls", list }, { "get", get }, { "put", put }, { "verify", verify } };
    struct remote remote;
    struct err err;
    int code = CLI_USAGE;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (strcmp(args->rest[0], actions[i].name) == 0)
            code = actions[i].run(args, &remote);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_artifacts = {
    .name = "artifacts",
    .summary = "what jobs left in the network's store: list, get, put, verify",
    .usage = "ls JOB | get JOB|store:ID DIR|REMOTE | put PATH|REMOTE | verify JOB|store:ID [DIR]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .arguments = { { "ACTION", "ls|get|put|verify", false, false },
                   { "JOB", NULL, false, false },
                   { "DIR", NULL, true, false } },
    .text =
        "`ls` lists the outputs of a job's newest attempt, each with a digest that is equal for "
        "equal content. `get` lays them out as a folder, which must not be there yet, and puts "
        "beside it DIR.provenance.json: the job file, inputs, command, image, site, chip, "
        "versions and names of variables that they come from. `put` brings a file or folder to "
        "the network and prints its name, store:ID, for `inputs` of jobs; it is held for a day, "
        "and as long as there is room. `verify` brings all of it here, checks every chunk, and "
        "compares it with a folder when one is named: exit status 1 when they differ.\n\n"
        "What is moved is what the other side does not have: a second version costs what "
        "changed.\n\n"
        "A REMOTE is `rclone:NAME:PATH` or `s3://BUCKET/PATH`: `get` sends there, and `put` "
        "fetches "
        "from there, by your own rclone on this machine, with your settings and credentials, which "
        "go nowhere else. What a remote has already, the same by its hash, is not sent again; what "
        "else is there stays.",
    .examples = { { "mains artifacts ls 12", "What job 12 left." },
                  { "mains artifacts get 12 results", "All of it, into the new folder results." },
                  { "mains artifacts get 12 s3://bucket/run-12", "The same, to a bucket." },
                  { "mains artifacts put data", "A folder for later jobs." },
                  { "mains artifacts verify 12 results", "Is it still what the job left?" } },
    .run = run,
};
