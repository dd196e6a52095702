#include "base/arena.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "grid/grid.h"
#include "journal/journal.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORT_GROUP 1000u

static const struct cli_option options[] = {
    { "from", 0, "N", NULL, "export: begin with this record (1)." },
    { "file", 'f', "FILE", NULL, "export: write to it; import: read from it (stdout, stdin)." },
    { 0 },
};

static void hex(const uint8_t hash[JOURNAL_HASH_BYTES], char out[2 * JOURNAL_HASH_BYTES + 1])
{
    for (size_t i = 0; i < JOURNAL_HASH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static int open_journal(const char *state, bool read_only, struct journal **journal_out,
                        struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/journal.db", state);
    struct journal_open how = { .path = path, .read_only = read_only, .create = !read_only };

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    return journal_open_sqlite(&how, journal_out, err);
}

/* --- verify ----------------------------------------------------------------------------------- */

struct verify {
    struct grid *grid;
    struct arena arena;
    struct buf snapshot; /* as stored */
    uint64_t snapshot_seq;
    bool has_snapshot, compared;
    struct err err;
};

static int compare_snapshot(struct verify *verify)
{
    CLEANUP(buf_fini) struct buf now = buf_init(1u << 31);
    int rc = grid_snapshot(verify->grid, &now);

    if (rc < 0)
        return err_set(&verify->err, rc, "the state after record %" PRIu64 " does not print",
                       verify->snapshot_seq);
    if (now.len != verify->snapshot.len || memcmp(now.data, verify->snapshot.data, now.len) != 0)
        return err_set(&verify->err, -EBADMSG,
                       "the snapshot after record %" PRIu64 " is not what the records lead to",
                       verify->snapshot_seq);
    verify->compared = true;
    return 0;
}

static int replay(void *context, const struct journal_record *record)
{
    struct verify *verify = context;
    struct event event;
    struct err why;
    int rc;

    arena_fini(&verify->arena);
    verify->arena = arena_init(EVENT_ARENA_BYTES_MAX);
    rc = event_decode(record->data, record->len, &verify->arena, &event, &why);
    if (rc == 0)
        rc = grid_step(verify->grid, &event, NULL, NULL, NULL, &why);
    if (rc < 0)
        return err_set(&verify->err, -EBADMSG, "record %" PRIu64 ": %s", record->seq, why.text);
    if (verify->has_snapshot && record->seq == verify->snapshot_seq)
        return compare_snapshot(verify);
    return 0;
}

static int check_state(struct verify *verify, struct journal *journal)
{
    int rc = journal->ops->snapshot_load(journal, &verify->snapshot_seq, &verify->snapshot, NULL);

    verify->has_snapshot = rc == 0;
    rc = journal_read(journal, 1, replay, verify, &verify->err);
    if (rc < 0)
        return rc;
    if (verify->has_snapshot && !verify->compared)
        return err_set(&verify->err, -EBADMSG,
                       "the snapshot is of record %" PRIu64 ", past the last one",
                       verify->snapshot_seq);
    return grid_check_invariants(verify->grid, &verify->err);
}

static int tell_verified(const struct cli_args *args, const struct verify *verify,
                         const struct journal *journal, uint64_t records)
{
    struct grid_counts counts = grid_count(verify->grid);
    char hash[2 * JOURNAL_HASH_BYTES + 1];
    uint64_t live =
        counts.held + counts.queued + counts.starting + counts.running + counts.stopping;

    hex(journal->last_hash, hash);
    if (cli_args_has(args, "json")) {
        json_t *answer = json_pack(
            "{s:b, s:I, s:s, s:I, s:o, s:I}", "ok", 1, "records", (json_int_t)records, "hash", hash,
            "live_jobs", (json_int_t)live, "snapshot_seq",
            verify->compared ? json_integer((json_int_t)verify->snapshot_seq) : json_null(),
            "submitted", (json_int_t)counts.submitted_total);
        int code = reply_show(answer);

        json_decref(answer);
        return code;
    }
    printf("%" PRIu64 " records, the chain is whole: %s\n", records, hash);
    printf("Replayed: %" PRIu64 " jobs submitted, %" PRIu64 " live; all invariants hold\n",
           counts.submitted_total, live);
    if (verify->compared)
        printf("The snapshot after record %" PRIu64 " is what the records lead to\n",
               verify->snapshot_seq);
    return CLI_OK;
}

static int verify_journal(const struct cli_args *args, const char *state)
{
    struct verify verify = { .grid = grid_create(),
                             .arena = arena_init(EVENT_ARENA_BYTES_MAX),
                             .snapshot = buf_init(1u << 31) };
    struct journal *journal = NULL;
    uint64_t records = 0;
    struct err err;
    int code;
    int rc = open_journal(state, true, &journal, &err);

    if (rc == 0)
        rc = journal_verify(journal, &records, &err);
    if (rc == 0 && (!verify.grid || !journal))
        rc = err_set(&err, -ENOMEM, "out of memory");
    if (rc == 0 && journal) {
        rc = check_state(&verify, journal);
        if (rc < 0)
            err = verify.err;
    }
    code = rc < 0 ? cli_fail(CLI_FAILED, &err) : tell_verified(args, &verify, journal, records);
    if (journal)
        journal_close(journal);
    grid_destroy(verify.grid);
    arena_fini(&verify.arena);
    buf_fini(&verify.snapshot);
    return code;
}

/* --- export ----------------------------------------------------------------------------------- */

struct exporter {
    FILE *file;
    struct err err;
};

static int export_record(void *context, const struct journal_record *record)
{
    struct exporter *exporter = context;
    struct arena arena = arena_init(EVENT_ARENA_BYTES_MAX);
    char hash[2 * JOURNAL_HASH_BYTES + 1];
    struct event event;
    json_t *line = NULL;
    struct err why;
    int rc = event_decode(record->data, record->len, &arena, &event, &why);

    hex(record->hash, hash);
    if (rc < 0)
        rc = err_set(&exporter->err, rc, "record %" PRIu64 ": %s", record->seq, why.text);
    else
        line = json_pack("{s:I, s:s, s:o}", "seq", (json_int_t)record->seq, "hash", hash, "event",
                         event_to_json(&event));
    if (rc == 0 && !line)
        rc = err_set(&exporter->err, -ENOMEM, "record %" PRIu64 ": out of memory", record->seq);
    if (rc == 0 && (json_dumpf(line, exporter->file, JSON_COMPACT | JSON_ENSURE_ASCII) < 0 ||
                    fputc('\n', exporter->file) == EOF))
        rc = err_set(&exporter->err, -EIO, "writing: %s", strerror(errno));
    json_decref(line);
    arena_fini(&arena);
    return rc;
}

static int export_journal(const struct cli_args *args, const char *state)
{
    const char *path = cli_args_get(args, "file");
    const char *from_text = cli_args_get(args, "from");
    struct exporter exporter = { .file = stdout };
    struct journal *journal = NULL;
    int64_t from = 1;
    int rc;

    if (from_text && units_parse_int(from_text, 1, INT64_MAX, &from, &exporter.err) < 0)
        return cli_fail_text(CLI_USAGE, "--from: %s", exporter.err.text);
    rc = open_journal(state, true, &journal, &exporter.err);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &exporter.err);
    if (path && !(exporter.file = fopen(path, "we")))
        rc = err_set(&exporter.err, -errno, "%s: %s", path, strerror(errno));
    if (rc == 0)
        rc = journal_read(journal, (uint64_t)from, export_record, &exporter, &exporter.err);
    if (rc == 0 && fflush(exporter.file) != 0)
        rc = err_set(&exporter.err, -EIO, "%s: %s", path ? path : "stdout", strerror(errno));
    if (path && exporter.file)
        fclose(exporter.file);
    journal_close(journal);
    return rc < 0 ? cli_fail(CLI_FAILED, &exporter.err) : CLI_OK;
}

/* --- import ----------------------------------------------------------------------------------- */

struct importer {
    struct journal *journal;
    struct journal_blob blobs[IMPORT_GROUP];
    char *texts[IMPORT_GROUP];
    uint32_t count;
    uint64_t line, seq;
    char hash[2 * JOURNAL_HASH_BYTES + 1]; /* as exported, of the last line */
};

static int flush_group(struct importer *importer, struct err *err)
{
    int rc = importer->count
                 ? journal_append(importer->journal, importer->blobs, importer->count, err)
                 : 0;

    for (uint32_t i = 0; i < importer->count; i++)
        free(importer->texts[i]);
    importer->count = 0;
    return rc;
}

static int import_line(struct importer *importer, const char *text, size_t len, struct err *err)
{
    struct arena arena = arena_init(EVENT_ARENA_BYTES_MAX);
    struct buf record = buf_init(EVENT_BYTES_MAX);
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    struct event event;
    int rc = root ? 0 : err_set(err, -EBADMSG, "not JSON: %s", why.text);

    if (rc == 0 && reply_number(root, "seq") != (int64_t)importer->seq + 1)
        rc = err_set(err, -EBADMSG, "seq %" PRId64 " where %" PRIu64 " was expected",
                     reply_number(root, "seq"), importer->seq + 1);
    if (rc == 0)
        rc = event_from_json(json_object_get(root, "event"), &arena, &event, err);
    if (rc == 0)
        rc = event_encode(&event, &record);
    if (rc == 0) {
        uint32_t at = importer->count++;

        importer->blobs[at].len = (uint32_t)record.len;
        importer->texts[at] = buf_take(&record);
        importer->blobs[at].data = importer->texts[at];
        importer->seq++;
        snprintf(importer->hash, sizeof(importer->hash), "%.64s", reply_text(root, "hash"));
        if (importer->count == IMPORT_GROUP)
            rc = flush_group(importer, err);
    }
    if (rc < 0)
        err_prefix(err, rc, "line %" PRIu64, importer->line);
    json_decref(root);
    buf_fini(&record);
    arena_fini(&arena);
    return rc;
}

static int import_lines(struct importer *importer, FILE *file, struct err *err)
{
    CLEANUP(freep) char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int rc = 0;

    while (rc == 0 && (len = getline(&line, &room, file)) > 0) {
        importer->line++;
        if (len > 2 * (ssize_t)EVENT_BYTES_MAX)
            rc = err_set(err, -E2BIG, "line %" PRIu64 " is too long", importer->line);
        else if (line[strspn(line, " \t\r\n")] != '\0')
            rc = import_line(importer, line, (size_t)len, err);
    }
    if (rc == 0 && ferror(file))
        rc = err_set(err, -EIO, "reading: %s", strerror(errno));
    return rc < 0 ? rc : flush_group(importer, err);
}

static int import_into(struct importer *importer, const char *state, const char *database,
                       FILE *file, struct err *err)
{
    char hash[2 * JOURNAL_HASH_BYTES + 1];
    int rc = open_journal(state, false, &importer->journal, err);

    if (rc < 0)
        return rc;
    rc = import_lines(importer, file, err);
    if (rc == 0) {
        hex(importer->journal->last_hash, hash);
        printf("%" PRIu64 " records imported; the chain ends in %s%s\n", importer->seq, hash,
               strcmp(hash, importer->hash) == 0 ? ", as it was exported"
                                                 : ", NOT as it was exported");
    }
    for (uint32_t i = 0; i < importer->count; i++)
        free(importer->texts[i]);
    journal_close(importer->journal);
    if (rc < 0)
        unlink(database); /* half of a journal is none */
    return rc;
}

static int import_journal(const struct cli_args *args, const char *state)
{
    const char *path = cli_args_get(args, "file");
    CLEANUP(freep) char *database = path_format("%s/journal.db", state);
    struct importer *importer = calloc(1, sizeof(*importer));
    FILE *file = NULL;
    struct err err;
    int rc;

    if (!importer || !database)
        rc = err_set(&err, -ENOMEM, "out of memory");
    else if (access(database, F_OK) == 0)
        rc = err_set(&err, -EEXIST, "%s is there already: import goes into a fresh state folder",
                     database);
    else if (path && !(file = fopen(path, "re")))
        rc = err_set(&err, -errno, "%s: %s", path, strerror(errno));
    else if ((rc = dir_make(state, 0700, &err)) == 0)
        rc = import_into(importer, state, database, path ? file : stdin, &err);
    if (file)
        fclose(file);
    free(importer);
    return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    struct err err;

    if (place_find_state(args, &state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (strcmp(args->rest[0], "verify") == 0)
        return verify_journal(args, state);
    if (strcmp(args->rest[0], "export") == 0)
        return export_journal(args, state);
    return import_journal(args, state);
}

const struct cli_command cmd_journal = {
    .name = "journal",
    .summary = "verify, export or import the journal of a state folder",
    .usage = "verify|export|import [OPTION...]",
    .flags = CLI_TAKES_STATE | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "verify|export|import", false, false } },
    .text =
        "Works on the files; no network needs to run (verify and export may beside one).\n\n"
        "verify recomputes the hash chain from the first record, replays every event, compares the "
        "newest snapshot with what the records lead to, and checks all invariants. export prints "
        "one JSON object a line: seq, hash, event. import writes such lines into a fresh state "
        "folder and says whether the chain came out the same.",
    .examples = { { "mains journal verify", "Is everything still there, and unchanged?" },
                  { "mains journal export > journal.ndjson", "To read, or to take elsewhere." },
                  { "mains journal import --state /srv/new < journal.ndjson", "And back." } },
    .run = run,
};
