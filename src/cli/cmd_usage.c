#include "cli/commands.h"
#include "cli/job_show.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {
    { "by", 'b', "WHAT", "tenant|user|job|day|chip|site", "One row for each (job)." },
    { "tenant", 0, "TENANT", NULL, "Only of this tenant." },
    { "since", 0, "TIME", NULL, "From this time on, as 2026-11-22 or 2026-11-22T10:00:00Z." },
    { "until", 0, "TIME", NULL, "Up to this time." },
    { 0 },
};

#define FIGURES                                                                                    \
    { "JOBS", true, 0 }, { "ATTEMPTS", true, 0 }, { "DEVICE-S", true, 0 }, { "CPU-S", true, 0 },   \
        { "CPU-S HELD", true, 0 }, { "ENERGY", true, 0 }, { "CO2", true, 0 },                      \
        { "PRICE", true, 0 }, { "ENERGY IS", false, 0 },                                           \
    {                                                                                              \
        0                                                                                          \
    }
static const struct table_column columns[] = { { "", false, 10 }, FIGURES };
static const struct table_column job_columns[] = { { "JOB", false, 0 },
                                                   { "NAME", false, 8 },
                                                   FIGURES };

/* A row says how many of its attempts were measured; a whole row is one or the other, or both. */
static const char *energy_kind(const json_t *row, const json_t *usage)
{
    int64_t attempts = reply_number(row, "attempts");
    int64_t measured = reply_number(row, "attempts_measured");

    if (json_object_get(row, "attempts_measured"))
        return measured == 0 ? "modelled" : measured >= attempts ? "measured" : "partly measured";
    return reply_flag(usage, "energy_measured") ? "measured" : "modelled";
}

static void add_row(struct table *table, const json_t *row, const char *title, const char *currency)
{
    bool names = table->columns == job_columns;
    const json_t *usage = json_object_get(row, "usage") ? json_object_get(row, "usage") : row;
    char text[64];

    table_add_color(table, title, TERM_CYAN);
    if (names)
        table_add(table, reply_text(row, "name"));
    table_addf(table, "%" PRId64, reply_number(row, "jobs"));
    table_addf(table, "%" PRId64, reply_number(row, "attempts"));
    table_addf(table, "%.3f", reply_figure(usage, "device_milli_ms") / 1e6);
    table_addf(table, "%.3f", reply_figure(usage, "cpu_ms") / 1e3);
    table_addf(table, "%.3f", reply_figure(usage, "cpu_held_ms") / 1e3);
    usage_print_energy(usage, text, sizeof(text));
    table_add(table, text);
    usage_print_carbon(usage, text, sizeof(text));
    table_add(table, text);
    usage_print_price(usage, text, sizeof(text));
    table_addf(table, "%s %s", text, currency);
    table_add(table, energy_kind(row, usage));
}

static int show(const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *total = json_object_get(answer, "total");
    bool names = strcmp(reply_text(answer, "group_by"), "job") == 0;
    struct table table = table_init(names ? job_columns : columns);
    size_t index;
    json_t *row;
    int rc = 0;

    json_array_foreach (rows, index, row) {
        const char *key = reply_text(row, "key");

        add_row(&table, row, *key ? key : "-", reply_text(answer, "currency"));
    }
    if (json_is_object(total))
        add_row(&table, total, "total", reply_text(answer, "currency"));
    if (json_array_size(rows) == 0)
        printf("Nothing was used.\n");
    else
        rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int add_time(struct buf *path, const struct cli_args *args, const char *option)
{
    const char *text = cli_args_get(args, option);
    struct err err;
    int64_t ms;

    if (!text)
        return CLI_OK;
    if (units_parse_time(text, &ms, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--%s: %s", option, err.text);
    buf_printf(path, "&%s=", option);
    remote_add_encoded(path, text);
    return CLI_OK;
}

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *by = cli_args_get(args, "by");
    const char *tenant = cli_args_get(args, "tenant");

    buf_printf(&path, "/usage?group_by=%s", by ? by : "job");
    if (tenant) {
        buf_add_text(&path, "&tenant=");
        remote_add_encoded(&path, tenant);
    }
    if (add_time(&path, args, "since") || add_time(&path, args, "until"))
        return CLI_USAGE;
    return remote_show(args, path.data, NULL, show);
}

const struct cli_command cmd_usage = {
    .name = "usage",
    .summary = "the meter: time, energy, CO2 and money of what ended",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .text =
        "DEVICE-S counts accelerators times seconds held, CPU-S HELD the same of CPUs, CPU-S the "
        "CPU time really spent. Energy is measured where the machine can, else modelled from "
        "the chip catalogue; the last column says which.",
    .examples = { { "mains usage", "One row a job." },
                  { "mains usage --by day --since 2026-11-01", "What each day took." } },
    .run = run,
};
