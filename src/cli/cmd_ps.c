#include "base/clock.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/text.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

#define ROWS_DEFAULT 200

static const struct cli_option options[] = {
    { "all", 'a', NULL, NULL, "Ended jobs too." },
    { "in", 's', "STATE", "held|queued|starting|running|stopping|done|failed|cancelled",
      "Only jobs in this state." },
    { "name", 'n', "NAME", NULL, "Only jobs of this name." },
    { "user", 'u', "USER", NULL, "Only jobs of this user." },
    { "tenant", 0, "TENANT", NULL, "Only jobs of this tenant." },
    { "since", 0, "WHEN", NULL, "Only jobs submitted since: a time, or so long ago as 2h." },
    { "limit", 'l', "N", NULL, "At most so many, the newest (200; 0 = all)." },
    { "quiet", 'q', NULL, NULL, "Only the ids, one a line." },
    { 0 },
};

static const struct table_column columns[] = {
    { "ID", false, 0 },      { "NAME", false, 8 },
    { "STATE", false, 0 },   { "TIME", true, 0 },
    { "CODE", true, 0 },     { "TENANT", false, 6 },
    { "USER", false, 6 },    { "SINCE", true, 0 },
    { "REASON", false, 12 }, { 0 },
};

static void add_filter(struct buf *path, const struct cli_args *args, const char *option,
                       const char *key)
{
    const char *value = cli_args_get(args, option);

    if (!value)
        return;
    buf_printf(path, "%c%s=", strchr(path->data, '?') ? '&' : '?', key);
    remote_add_encoded(path, value);
}

static void add_row(struct table *table, const json_t *job, int64_t now_ms)
{
    const char *state = reply_text(job, "state");
    const json_t *code = json_object_get(job, "exit_code");
    int64_t ended = reply_time_ms(job, "ended_at");
    int64_t promised = reply_time_ms(job, "promised_start_at");
    char age[32];

    table_add_color(table, reply_text(job, "id"), TERM_CYAN);
    table_add(table, reply_text(job, "name"));
    table_add_color(table, state, job_state_color(state));
    text_print_age(job_elapsed_ms(job, now_ms), age, sizeof(age));
    table_add(table, reply_time_ms(job, "started_at") ? age : "");
    if (json_is_integer(code) && job_state_is_over(state))
        table_addf(table, "%d", (int)json_integer_value(code));
    else
        table_add(table, "");
    table_add(table, reply_text(job, "tenant"));
    table_add(table, reply_text(job, "user"));
    text_print_relative(ended ? ended : reply_time_ms(job, "submitted_at"), now_ms, age,
                        sizeof(age));
    table_add(table, age);
    if (!*reply_text(job, "reason") && promised && strcmp(state, "queued") == 0) {
        text_print_relative(promised, now_ms, age, sizeof(age));
        table_addf(table, "starts %s, as promised", age);
    } else {
        table_add(table, reply_text(job, "reason"));
    }
}

static int show_rows(const struct cli_args *args, const json_t *rows, int64_t limit)
{
    struct table table = table_init(columns);
    int64_t now_ms = clock_wall_ms();
    size_t index;
    json_t *job;
    int rc;

    if (json_array_size(rows) == 0) {
        printf("No %sjobs%s.\n", cli_args_has(args, "all") ? "" : "live ",
               cli_args_has(args, "all") ? "" : " (ended ones: mains ps -a)");
        table_fini(&table);
        return CLI_OK;
    }
    json_array_foreach (rows, index, job)
        add_row(&table, job, now_ms);
    rc = table_show(&table);
    table_fini(&table);
    if (limit && json_array_size(rows) >= (size_t)limit)
        printf("(the newest %" PRId64 "; --limit N shows more, --limit 0 all, --since 1h what came "
               "in the last hour)\n",
               limit);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

/* false: said already. */
static bool add_since(struct buf *path, const struct cli_args *args)
{
    const char *text = cli_args_get(args, "since");
    struct err err;
    char time[64];
    int64_t ms;

    if (!text)
        return true;
    if (units_parse_duration(text, &ms, NULL) == 0) {
        ms = clock_wall_ms() - ms;
    } else if (units_parse_time(text, &ms, &err) < 0) {
        cli_fail_text(CLI_USAGE, "--since: %s (or a duration, as 2h)", err.text);
        return false;
    }
    units_print_time(MAX(ms, 0), time, sizeof(time));
    buf_printf(path, "&since=%s", time);
    return true;
}

/* The newest came first, as far as the limit goes; people and scripts read by id. */
static json_t *turn_round(json_t *rows)
{
    json_t *turned = json_array();

    for (size_t i = json_array_size(rows); i > 0; i--)
        json_array_append(turned, json_array_get(rows, i - 1));
    json_decref(rows);
    return turned;
}

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *limit_text = cli_args_get(args, "limit");
    struct remote remote;
    json_t *rows = NULL;
    int64_t limit = ROWS_DEFAULT;
    struct err err;
    size_t index;
    json_t *job;
    int code = CLI_OK;
    int rc;

    if (limit_text && units_parse_int(limit_text, 0, 10000000, &limit, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--limit: %s", err.text);
    buf_add_text(&path, "/jobs?order=newest");
    if (cli_args_has(args, "all"))
        buf_add_text(&path, "&all=1");
    add_filter(&path, args, "in", "state");
    add_filter(&path, args, "name", "name");
    add_filter(&path, args, "user", "user");
    add_filter(&path, args, "tenant", "tenant");
    if (!add_since(&path, args))
        return CLI_USAGE;
    rc = remote_open(args, &remote, &err);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    rc = remote_list(&remote, path.data, "jobs", (uint32_t)limit, &rows, &err);
    remote_fini(&remote);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    rows = turn_round(rows);
    if (cli_args_has(args, "json")) {
        code = reply_show(rows);
    } else if (cli_args_has(args, "quiet")) {
        json_array_foreach (rows, index, job)
            puts(reply_text(job, "id"));
    } else {
        code = show_rows(args, rows, limit);
    }
    json_decref(rows);
    return code;
}

const struct cli_command cmd_ps = {
    .name = "ps",
    .summary = "list jobs: live ones, or with -a all of them",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .text = "TIME is how long a job runs or ran, SINCE when it ended or, until then, was "
            "submitted. An element of an array has its array's id and its index: 12.3. Rows go by "
            "id; of "
            "more than --limit the newest are shown.",
    .examples = { { "mains ps", "What waits and runs now." },
                  { "mains ps -a --in failed", "What failed." },
                  { "mains ps -q --name sweep", "The ids, for a script." } },
    .run = run,
};
