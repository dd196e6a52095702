#include "cli/commands.h"
#include "cli/place.h"
#include "controller/controller.h"

#include <inttypes.h>

static int run(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    struct place_holder holder;
    uint64_t records = 0;
    struct err err;

    if (place_find_state(args, &state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (place_find_holder(state, &holder) == 0)
        return cli_fail_text(CLI_FAILED,
                             "the network runs (process %jd): stop it first with "
                             "`mains down`",
                             (intmax_t)holder.pid);
    if (history_rebuild(state, &records, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    printf("history.db was rebuilt from %" PRIu64 " records\n", records);
    return CLI_OK;
}

const struct cli_command cmd_history = {
    .name = "history",
    .summary = "rebuild the history of ended jobs from the journal",
    .usage = "rebuild [OPTION...]",
    .flags = CLI_TAKES_STATE,
    .arguments = { { "ACTION", "rebuild", false, false } },
    .text =
        "DIR/history.db holds finished jobs and what they used, as tables for SQL; all of it is "
        "derived from the journal.",
    .examples = { { "mains history rebuild", "When history.db was damaged or deleted." } },
    .run = run,
};
