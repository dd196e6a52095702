#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "model/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct cli_option options[] = {
    { "tenant", 0, "TENANT", NULL, "Only of this tenant's jobs." },
    { "site", 0, "SITE", NULL, "Only of this site." },
    { "since", 0, "TIME", NULL, "From this time on, as 2026-11-22 or 2026-11-22T10:00:00Z." },
    { "until", 0, "TIME", NULL, "Up to this time." },
    { 0 },
};

static const struct table_column columns[] = {
    { "JOB", false, 0 },    { "ATTEMPT", true, 0 },   { "SITE", false, 8 },
    { "OWNER", false, 8 },  { "WHAT", false, 0 },     { "CLAIMED", true, 0 },
    { "COUNTED", true, 0 }, { "RELEASED", false, 0 }, { 0 },
};

static void add_figure(struct table *table, const json_t *row, const char *key)
{
    const char *unit = reply_text(row, "unit");
    double value = reply_figure(row, key);

    if (strcmp(unit, "mj") == 0)
        table_addf(table, "%.3f J", value / 1e3);
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

static int run(const struct cli_args *args)
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

const struct cli_command cmd_ledger = {
    .name = "ledger",
    .summary = "what sites claimed that was not possible",
    .usage = "disputes [OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "disputes", false, false } },
    .text =
        "What an attempt used is told by its site. The network itself knows how long it held what: "
        "from the grant to the release. A claim above what was possible in that time is not "
        "counted; the bound is (COUNTED), and both figures are kept. WHAT is `time` (it ran longer "
        "than it was granted), `cpu` (more CPU time than the nodes have), `devices` (more than "
        "were "
        "granted), `energy` (more than nodes and devices can draw), or `order` (it ended before it "
        "began, by so much).",
    .examples = { { "mains ledger disputes", "All of them, the newest first." },
                  { "mains ledger disputes --site lab2 --json", "Of one site, for programs." } },
    .run = run,
};
