#include "base/clock.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/job_file.h"
#include "cli/text.h"
#include "cli/why_show.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

/* "0.42 s learned +-15%": of a unit of its work. */
static void print_rate(const json_t *rate, char *out, size_t bytes)
{
    if (!json_is_object(rate))
        snprintf(out, bytes, "-");
    else
        snprintf(out, bytes, "%.4g s %s +-%.0f%%",
                 json_number_value(json_object_get(rate, "seconds_per_unit")),
                 reply_text(rate, "source"),
                 json_number_value(json_object_get(rate, "spread")) * 100);
}

/* "1.2 GiB 40s 0.09": of its files, there and back. */
static void print_moved(const json_t *candidate, char *out, size_t bytes)
{
    char size[24], time[24], money[24];

    units_print_bytes(reply_number(candidate, "move_bytes"), size, sizeof(size));
    units_print_duration(reply_number(candidate, "move_ms") / 1000 * 1000, time, sizeof(time));
    units_print_micro(reply_number(candidate, "move_price_micro"), money, sizeof(money));
    snprintf(out, bytes, "%s %s %s", size, time, money);
}

/* What there is of it at any place: columns that would all be empty are left out. */
struct shown {
    bool moved, waits;
};

static void add_freight(struct table *table, const json_t *candidate, const struct shown *shown)
{
    char text[80];

    if (shown->moved) {
        print_moved(candidate, text, sizeof(text));
        table_add(table, reply_number(candidate, "move_bytes") ? text : "-");
    }
    if (shown->waits) {
        units_print_duration(reply_number(candidate, "wait_ms") / 1000 * 1000, text, sizeof(text));
        table_add(table, reply_number(candidate, "wait_ms") ? text : "-");
    }
}

static void add_candidate(struct table *table, const json_t *candidate, bool chosen,
                          const struct shown *shown)
{
    int64_t start = reply_time_ms(candidate, "start_estimate_at");
    bool now = reply_flag(candidate, "fits_now");
    bool ever = reply_flag(candidate, "fits_ever");
    int64_t duration = reply_number(candidate, "duration_ms");
    char text[64];

    table_add_color(table, chosen ? "*" : "", TERM_GREEN);
    table_add(table, reply_text(candidate, "site"));
    table_add(table, reply_text(candidate, "node"));
    table_add(table, *reply_text(candidate, "chip") ? reply_text(candidate, "chip") : "cpu");
    if (!ever)
        table_add_color(table, "never", TERM_RED);
    else if (now)
        table_add_color(table, "now", TERM_GREEN);
    else if (start) {
        text_print_relative(start, clock_wall_ms(), text, sizeof(text));
        table_add(table, text);
    } else
        table_add(table, "later");
    units_print_duration(duration, text, sizeof(text));
    table_add(table, duration ? text : "no limit");
    usage_print_energy(candidate, text, sizeof(text));
    table_add(table, duration ? text : "-");
    usage_print_carbon(candidate, text, sizeof(text));
    table_add(table, duration ? text : "-");
    usage_print_price(candidate, text, sizeof(text));
    table_add(table, duration ? text : "-");
    print_rate(json_object_get(candidate, "rate"), text, sizeof(text));
    table_add(table, text);
    add_freight(table, candidate, shown);
    table_add(table, reply_text(candidate, "reason"));
}

static int show(const json_t *plan)
{
    static const struct table_column common[] = {
        { "", false, 0 },      { "SITE", false, 8 },   { "NODE", false, 8 },  { "CHIP", false, 6 },
        { "START", false, 0 }, { "AT MOST", true, 0 }, { "ENERGY", true, 0 }, { "CO2", true, 0 },
        { "PRICE", true, 0 },  { "A UNIT", false, 0 },
    };
    struct table_column columns[ARRAY_COUNT(common) + 4] = { 0 };
    uint32_t count = ARRAY_COUNT(common);
    struct shown shown = { 0 };
    const json_t *candidates = json_object_get(plan, "candidates");
    const json_t *chosen = json_object_get(plan, "chosen");
    struct table table;
    bool timed = false;
    size_t index;
    json_t *candidate;
    int rc;

    if (json_array_size(candidates) == 0) {
        printf("No site could run it now or later.\n");
        return CLI_OK;
    }
    json_array_foreach (candidates, index, candidate) {
        shown.moved = shown.moved || reply_number(candidate, "move_bytes");
        shown.waits = shown.waits || reply_number(candidate, "wait_ms");
    }
    memcpy(columns, common, sizeof(common));
    if (shown.moved)
        columns[count++] = (struct table_column){ "MOVED", false, 0 };
    if (shown.waits)
        columns[count++] = (struct table_column){ "QUEUE", true, 0 };
    columns[count] = (struct table_column){ "REASON", false, 16 };
    table = table_init(columns);
    json_array_foreach (candidates, index, candidate) {
        timed = timed || reply_number(candidate, "duration_ms");
        add_candidate(&table, candidate,
                      json_is_integer(chosen) && (size_t)json_integer_value(chosen) == index,
                      &shown);
    }
    rc = table_show(&table);
    table_fini(&table);
    printf("\nNothing was started. %s\n",
           timed ? "Energy, CO2 and price are modelled, over the whole time limit."
                 : "Give a time limit (--time) to see energy, CO2 and price.");
    if (rc == 0)
        rc = why_show_changes(json_object_get(plan, "changes"));
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_args *args)
{
    struct job_source source = { .args = args };
    struct job_text text = { 0 };
    struct remote_request request = { .method = "POST",
                                      .path = "/plan",
                                      .content_type = "application/json" };
    json_t *answer = NULL;
    struct remote remote;
    struct err err;
    int code;
    int rc;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    source.here = remote.state != NULL;
    rc = job_file_read(&source, &text, &err);
    if (rc == 0) {
        request.body = text.json;
        request.body_len = strlen(text.json);
        rc = remote_send(&remote, &request, &answer, NULL, &err);
    }
    if (rc < 0)
        code = cli_fail(CLI_FAILED, &err);
    else
        code = cli_args_has(args, "json") ? reply_show(answer) : show(answer);
    json_decref(answer);
    job_text_fini(&text);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_plan = {
    .name = "plan",
    .summary = "what would happen to a job: where, when, at what cost; starts nothing",
    .usage = "[OPTION...] FILE [ARGUMENT...] | [OPTION...] -- COMMAND [ARGUMENT...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON | CLI_STOP_EARLY,
    .options = { job_options },
    .arguments = { { "FILE", NULL, false, true } },
    .text = "Takes what `mains submit` takes and lists the candidates, best first; * marks the one "
            "that would be chosen.",
    .examples = { { "mains plan -d 1 --time 2h job.yaml", "Where a two-hour job would run." } },
    .run = run,
};
