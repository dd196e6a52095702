#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/site_join.h"
#include "cli/site_owner.h"
#include "cli/site_power.h"

#include <string.h>

static const struct cli_option options[] = {
    { "reason", 'r', "TEXT", NULL, "Why; kept in the journal." },
    { "price", 0, "MONEY", NULL, "tariff: of a kWh, when no slot says otherwise." },
    { "carbon", 0, "G", NULL, "tariff: g of CO2 a kWh that is not green, likewise." },
    { "green", 0, "SHARE", NULL, "tariff: what is green of it, 0 to 1, likewise." },
    { "cap", 0, "WATTS", NULL, "tariff: what the site's jobs may draw, likewise." },
    { "forecast", 0, NULL, NULL, "tariff: FILE is somebody's guess, not what is settled." },
    { "clear", 0, NULL, NULL, "tariff: forget all that was told." },
    { "percent", 'p', "N", NULL, "shed: so much less than is drawn now." },
    { "for", 0, "DURATION", NULL, "shed: how long." },
    { "within", 0, "DURATION", NULL, "shed: by when (30s)." },
    { "end", 0, NULL, NULL, "shed: the cut is over." },
    { 0 },
};

static int run_action(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *reason = cli_args_get(args, "reason");
    bool forget = strcmp(args->rest[0], "forget") == 0;
    struct remote remote;
    json_t *answer = NULL;
    struct err err;
    int code = CLI_OK;

    buf_add_text(&path, "/sites/");
    remote_add_encoded(&path, args->rest[1]);
    buf_printf(&path, "/%s%s", args->rest[0], reason ? "?reason=" : "");
    remote_add_encoded(&path, reason ? reason : "");
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (remote_call(&remote, "POST", path.data, NULL, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        printf("%s: %s\n", args->rest[1],
               forget ? "forgotten; what it ran is lost" : "readmitted; its agent may join again");
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

static int run(const struct cli_args *args)
{
    if (strcmp(args->rest[0], "tariff") == 0)
        return site_tariff_run(args);
    if (site_owner_has(args->rest[0]))
        return site_owner_run(args);
    if (args->rest_count > 2)
        return cli_fail_text(CLI_USAGE, "site %s: too many arguments", args->rest[0]);
    if (site_join_has(args->rest[0]))
        return site_join_run(args);
    return strcmp(args->rest[0], "shed") == 0 ? site_shed_run(args) : run_action(args);
}

const struct cli_command cmd_site = {
    .name = "site",
    .summary = "let sites join, drain and remove them; what their power costs",
    .usage = "token|show|drain|resume|limits|cordon-node|uncordon-node|remove|tariff|shed|forget|"
             "readmit "
             "[OPTION...] SITE [FILE.csv|NODE]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options, site_join_options, site_owner_options },
    .arguments = { { "ACTION",
                     "token|show|drain|resume|limits|cordon-node|uncordon-node|remove|tariff|shed|"
                     "forget|readmit",
                     false, false },
                   { "SITE", NULL, false, false },
                   { "FILE|NODE", NULL, true, false } },
    .text =
        "`token` prints the line with which another machine joins as SITE: it is good once. "
        "`drain` "
        "lets no new work go there, and what runs go on (with --move, at other sites, what saves "
        "checkpoints), until `resume`. `remove` ends its "
        "certificate at once, and jobs that the network counted there are lost (it is refused "
        "while "
        "jobs run, but for --force). `limits` keeps the network below what the site offers: what "
        "is not "
        "named stays as it is. `cordon-node` lets nothing new start on one node of it.\n\n"
        "`tariff` shows, or with FILE.csv (columns time, price, carbon, green, cap: the start of a "
        "slot, money and g of CO2 a kWh, share, W) or options tells, what power costs. Usage is "
        "billed by the hours in which it was drawn, and jobs with a deadline and a duration whose "
        "objective is cheapest or greenest wait for better ones. `shed` makes the site's jobs draw "
        "less for a while: the least work is stopped, and goes on afterwards.\n\n"
        "A site that is not heard keeps its attempts: it may be cut off, and they may run. When it "
        "was renamed or is gone for good they would be stopping, or running, for ever. `forget` "
        "ends "
        "them as lost (jobs start again elsewhere as they allow) and refuses the site's name until "
        "`readmit`. It is refused while the site's agent is heard. Be sure that nothing of it "
        "still runs: mains cannot see. When it is readmitted, its agent stops what it still has.",
    .examples = { { "mains site token lab2 --owner physics", "Paste what it prints there." },
                  { "mains site tariff home prices.csv", "Tomorrow's prices, by the hour." },
                  { "mains site tariff home --price 0.21 --carbon 380", "The same at all hours." },
                  { "mains site shed home --percent 25 --for 3h --within 30s", "A grid event." },
                  { "mains site limits lab2 --cpus 64 --devices none",
                    "The rest stays its owner's." },
                  { "mains site forget old-name --reason 'renamed'", "End what it held." },
                  { "mains site readmit old-name", "It was there after all." } },
    .run = run,
};
