#include "cli/commands.h"
#include "cli/place.h"
#include "cli/receipts.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "base/file.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_DEFAULT 100

static const struct cli_option options[] = {
    { "job", 0, "JOB", NULL, "receipts: only of this job, or of all elements of this array." },
    { "tenant", 0, "TENANT", NULL, "disputes: only of this tenant's jobs." },
    { "site", 0, "SITE", NULL, "Only of this site." },
    { "since", 0, "TIME", NULL,
      "disputes: from this time on, as 2026-11-22 or 2026-11-22T10:00:00Z." },
    { "until", 0, "TIME", NULL, "disputes: up to this time." },
    { "limit", 0, "N", NULL, "receipts: so many, the newest, up to 1000; 100 when not said." },
    { "site-key", 0, "PIN", NULL,
      "verify: the pin of the site's key, where the state folder does not know it." },
    { "network-key", 0, "PIN", NULL, "verify: the same of the network's key." },
    { 0 },
};

static const struct table_column columns[] = {
    { "JOB", false, 0 },      { "ATTEMPT", true, 0 },
    { "SITE", false, 8 },     { "OWNER", false, 8 },
    { "WHAT", false, 0 },     { "CLAIMED", true, 0 },
    { "COUNTED", true, 0 },   { "SIGNED", false, 0 },
    { "RELEASED", false, 0 }, { 0 },
};
static const struct table_column receipt_columns[] = {
    { "JOB", false, 0 },
    { "ATTEMPT", true, 0 },
    { "SITE", false, 8 },
    { "BY SITE", false, 0 },
    { "BY NETWORK", false, 0 },
    { "DIFFERS", false, 12 },
    { 0 },
};

static void add_figure(struct table *table, const json_t *row, const char *key)
{
    const char *unit = reply_text(row, "unit");
    double value = reply_figure(row, key);

    if (strcmp(unit, "mj") == 0)
        table_addf(table, "%.3f J", value / 1e3);
    else if (strcmp(unit, "bytes") == 0)
        table_addf(table, "%.0f B", value);
    else if (strcmp(unit, "") == 0)
        table_add(table, "-");
    else
        table_addf(table, "%.3f s", value / (strcmp(unit, "milli_ms") == 0 ? 1e6 : 1e3));
}

static int show(const json_t *rows)
{
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc = 0;

    json_array_foreach (rows, index, row) {
        table_add_color(&table, reply_text(row, "job"), TERM_CYAN);
        table_addf(&table, "%" PRId64, reply_number(row, "epoch"));
        table_add(&table, reply_text(row, "site"));
        table_add(&table, reply_text(row, "owner"));
        table_add(&table, reply_text(row, "what"));
        add_figure(&table, row, "claimed");
        add_figure(&table, row, "counted");
        table_addf(&table, "site: %s, network: %s", reply_text(row, "site_receipt"),
                   reply_text(row, "network_receipt"));
        table_add(&table, reply_text(row, "released_at"));
    }
    if (json_array_size(rows) == 0)
        printf("Nothing is in dispute.\n");
    else
        rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static void add_pair(struct buf *path, const char *key, const char *value)
{
    if (!value)
        return;
    buf_printf(path, "%c%s=", strchr(path->data, '?') ? '&' : '?', key);
    remote_add_encoded(path, value);
}

/* --- receipts --------------------------------------------------------------------------------- */

static void add_differences(struct table *table, const json_t *checked)
{
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    size_t index;
    json_t *row;

    json_array_foreach (json_object_get(checked, "differences"), index, row)
        buf_printf(&text, "%s%s %" PRId64 "/%" PRId64, index ? ", " : "", reply_text(row, "field"),
                   reply_number(row, "site"), reply_number(row, "network"));
    table_add(table, text.len ? text.data : "-");
}

/* What somebody else says of a receipt is not believed: each is looked at here. */
static int show_receipts(const json_t *rows, const struct receipts_keys *keys)
{
    struct table table = table_init(receipt_columns);
    size_t index;
    json_t *row;
    int rc = 0;

    json_array_foreach (rows, index, row) {
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        bool good;
        json_t *checked = receipts_check(row, keys, &good);
        const char *site = reply_text(checked, "site_receipt");

        table_add_color(&table, reply_text(checked, "job"), TERM_CYAN);
        table_addf(&table, "%" PRId64, reply_number(row, "epoch"));
        table_add(&table, reply_text(row, "site"));
        table_add(&table, verdict && strcmp(site, "holds") == 0 ? verdict : site);
        table_add(&table, reply_text(checked, "network_receipt"));
        add_differences(&table, checked);
        json_decref(checked);
    }
    if (json_array_size(rows) == 0)
        printf("There are no receipts.\n");
    else
        rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

/* At a site, what it has kept itself; elsewhere what the network has. */
static int fetch_receipts(const struct cli_args *args, const char *state, bool is_site,
                          json_t **rows_out, struct err *err)
{
    const char *limit_text = cli_args_get(args, "limit");
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    struct remote remote = { 0 };
    int64_t limit = LIMIT_DEFAULT;
    json_t *answer = NULL;
    int rc = limit_text ? units_parse_int(limit_text, 1, 1000, &limit, err) : 0;

    if (rc < 0)
        return err_prefix(err, -EINVAL, "--limit");
    if (is_site)
        return receipts_read_kept(state, cli_args_get(args, "job"), (uint32_t)limit, rows_out, err);
    buf_add_text(&path, "/ledger/receipts");
    add_pair(&path, "job", cli_args_get(args, "job"));
    add_pair(&path, "site", cli_args_get(args, "site"));
    add_pair(&path, "limit", limit_text);
    rc = remote_open(args, &remote, err);
    if (rc == 0)
        rc = remote_get(&remote, path.data, &answer, err);
    if (rc == 0)
        *rows_out = json_incref(json_object_get(answer, "receipts"));
    json_decref(answer);
    remote_fini(&remote);
    return rc;
}

static int list_receipts(const struct cli_args *args, const char *state,
                         const struct receipts_keys *known)
{
    bool is_site = known->is_site && !cli_args_get(args, "url");
    const struct receipts_keys none = { .is_site = false };
    json_t *rows = NULL;
    struct err err;
    int rc = fetch_receipts(args, state, is_site, &rows, &err);
    int status = CLI_OK;

    if (rc < 0)
        return cli_fail(rc == -EINVAL ? CLI_USAGE : CLI_FAILED, &err);
    if (cli_args_has(args, "json"))
        status = reply_show(rows);
    else
        status = show_receipts(rows, is_site ? known : &none);
    json_decref(rows);
    return status;
}

static void print_side(const json_t *checked, const char *side, bool is_known)
{
    char member[32], key[32];

    snprintf(member, sizeof(member), "%s_receipt", side);
    snprintf(key, sizeof(key), "%s_key", side);
    printf("  %-8s %-9s", side, reply_text(checked, member));
    if (*reply_text(checked, key))
        printf(" key %s%s", reply_text(checked, key),
               is_known ? "" : " (compared with nothing: not known here)");
    putchar('\n');
}

static void print_checked(const json_t *checked, const struct receipts_keys *keys)
{
    size_t index;
    json_t *row;

    printf("job %s, attempt %" PRId64 ", site %s\n", reply_text(checked, "job"),
           reply_number(checked, "epoch"), reply_text(checked, "site"));
    print_side(checked, "site", keys->site[0]);
    print_side(checked, "network", keys->network[0]);
    json_array_foreach (json_object_get(checked, "why"), index, row)
        printf("  %s\n", json_string_value(row));
    json_array_foreach (json_object_get(checked, "differences"), index, row)
        printf("  differs  %s: site %" PRId64 ", network %" PRId64 "\n", reply_text(row, "field"),
               reply_number(row, "site"), reply_number(row, "network"));
}

/* What is given on the command line goes before what the state folder knows. */
static int verify(const struct cli_args *args, const char *state, const struct receipts_keys *known)
{
    const char *site_key = cli_args_get(args, "site-key");
    const char *network_key = cli_args_get(args, "network-key");
    bool all_good = true, good;
    json_t *rows = NULL, *row, *list = json_array();
    struct err err;
    size_t index;

    if (args->rest_count < 2)
        return cli_fail_text(CLI_USAGE, "ledger verify: FILE is missing");
    if (receipts_read_file(args->rest[1], &rows, &err) < 0) {
        json_decref(list);
        return cli_fail(CLI_FAILED, &err);
    }
    json_array_foreach (rows, index, row) {
        struct receipts_keys keys = *known;
        json_t *checked;

        if (network_key)
            snprintf(keys.network, sizeof(keys.network), "%s", network_key);
        if (site_key)
            snprintf(keys.site, sizeof(keys.site), "%s", site_key);
        else if (!known->is_site)
            receipts_find_site_key(state, reply_text(row, "site"), keys.site);
        checked = receipts_check(row, &keys, &good);
        all_good = all_good && good;
        if (!cli_args_has(args, "json"))
            print_checked(checked, &keys);
        json_array_append_new(list, checked);
    }
    if (cli_args_has(args, "json"))
        reply_show(list);
    else if (json_array_size(rows) == 0)
        printf("There are no receipts in it.\n");
    json_decref(list);
    json_decref(rows);
    return all_good ? CLI_OK : CLI_FAILED;
}

/* --- the command ------------------------------------------------------------------------------ */

static int list_disputes(const struct cli_args *args)
{
    static const char *const times[] = { "since", "until" };
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    struct err err;
    int64_t ms;

    buf_add_text(&path, "/ledger/disputes");
    add_pair(&path, "tenant", cli_args_get(args, "tenant"));
    add_pair(&path, "site", cli_args_get(args, "site"));
    for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
        const char *text = cli_args_get(args, times[i]);

        if (text && units_parse_time(text, &ms, &err) < 0)
            return cli_fail_text(CLI_USAGE, "--%s: %s", times[i], err.text);
        add_pair(&path, times[i], text);
    }
    return remote_show(args, path.data, "disputes", show);
}

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    struct receipts_keys known = { .is_site = false };
    struct err err;

    if (strcmp(args->rest[0], "verify") != 0 && args->rest_count > 1)
        return cli_fail_text(CLI_USAGE, "ledger %s: \"%s\" is one argument too many", args->rest[0],
                             args->rest[1]);
    if (strcmp(args->rest[0], "disputes") == 0)
        return list_disputes(args);
    if (place_find_state(args, &state, &err) == 0)
        receipts_find_keys(state, &known);
    if (!state) /* nothing is known, and nothing is needed */
        state = path_format("%s", "/nonexistent");
    return strcmp(args->rest[0], "verify") == 0 ? verify(args, state, &known)
                                                : list_receipts(args, state, &known);
}

const struct cli_command cmd_ledger = {
    .name = "ledger",
    .summary = "what sites claimed that was not possible, and what both sides signed",
    .usage = "disputes | receipts | verify FILE [OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "disputes|receipts|verify", false, false },
                   { "FILE", NULL, true, false } },
    .text =
        "What an attempt used is told by its site. The network itself knows how long it held what: "
        "from the grant to the release. A claim above what was possible in that time is not "
        "counted; the bound is (COUNTED), and both figures are kept. WHAT is `time` (it ran longer "
        "than it was granted), `cpu` (more CPU time than the nodes have), `devices` (more than "
        "were granted), `energy` (more than nodes and devices can draw), `memory` (another peak "
        "than was booked), `order` (it ended before it began, by so much), or `receipt`: what the "
        "site signed does not count. SIGNED says whose signature holds.\n"
        "\n"
        "A site that joined with a key of its own signs what each attempt used, and the network "
        "signs what it booked; both keep both. `receipts` lists them: with the state folder of a "
        "site, those that the site has kept, without asking anybody. BY SITE and BY NETWORK are "
        "`holds`, `unsigned`, `forged` (not by the key that is known), `foreign` (of another site "
        "or network), `replayed` (of another attempt) or `altered` (it said other than the report "
        "that it came with). `verify` looks at a file of them, as `receipts --json` prints it, "
        "with the keys that the state folder knows, and fails unless all signatures hold and both "
        "sides say the same.",
    .examples = { { "mains ledger disputes", "All of them, the newest first." },
                  { "mains ledger disputes --site lab2 --json", "Of one site, for programs." },
                  { "mains ledger receipts --job 12", "What both sides signed of job 12." },
                  { "mains ledger verify receipts.json --state /srv/site",
                    "At the site: do they hold, by its own key and its network's?" } },
    .run = run,
};
