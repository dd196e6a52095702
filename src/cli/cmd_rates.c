#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/text.h"

#include <inttypes.h>

static int show(const json_t *answer)
{
    static const struct table_column columns[] = {
        { "CLASS", false, 10 }, { "TENANT", false, 8 }, { "CHIP", false, 8 },
        { "GANG", true, 0 },    { "A UNIT", true, 0 },  { "SPREAD", true, 0 },
        { "SOURCE", false, 0 }, { "RUNS", true, 0 },    { 0 },
    };
    const json_t *rates = json_object_get(answer, "rates");
    struct table table = table_init(columns);
    size_t index;
    json_t *rate;
    int rc;

    json_array_foreach (rates, index, rate) {
        table_add_color(&table, reply_text(rate, "class"), TERM_CYAN);
        table_add(&table, reply_text(rate, "tenant"));
        table_add(&table, reply_text(rate, "chip"));
        table_addf(&table, "%" PRId64, reply_number(rate, "gang"));
        table_addf(&table, "%.4g s", json_number_value(json_object_get(rate, "seconds_per_unit")));
        table_addf(&table, "%.0f%%", json_number_value(json_object_get(rate, "spread")) * 100);
        table_add(&table, reply_text(rate, "source"));
        table_addf(&table, "%" PRId64, reply_number(rate, "runs"));
    }
    if (table.rows_count == 0)
        printf("No rates: jobs tell of their work with `work` in the job file.\n");
    rc = table.rows_count ? table_show(&table) : 0;
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int run(const struct cli_args *args)
{
    return remote_show(args, "/rates", NULL, show);
}

const struct cli_command cmd_rates = {
    .name = "rates",
    .summary = "how fast each class of work runs on each kind of chip",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .text = "What jobs declared (`work` in the job file) and what finished runs taught: seconds a "
            "unit of the whole gang, and how sure that is. SPREAD is that of the logarithm.",
    .examples = { { "mains rates", "All classes, as they came." } },
    .run = run,
};
