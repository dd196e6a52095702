#include "cli/commands.h"
#include "cli/job_show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    { "order", 'o', "ORDER", "fair|fifo|predicted|deadline",
      "Within a class: by fair shares, by age alone, or by shares and then what work needs." },
    { "preempt", 0, "on|off", "on|off", "Whether those who go first may take back room." },
    { "fill", 0, "on|off", "on|off",
      "Whether nodes are chosen by what will be asked, not by what is left." },
    { "reservations", 0, "N", NULL,
      "How many blocked jobs of a class are promised a start (1 to 16)." },
    { "defrag", 0, "on|off", "on|off",
      "Whether running work is moved so that gangs find room together." },
    { "by-value", 0, "on|off", "on|off",
      "Whether devices count by what they are worth for what a tenant has borrowed." },
    { "assign", 0, "on|off", "on|off",
      "Whether jobs go to the kinds of chip that all of them together gain most by." },
    { 0 },
};

static const struct { /* on or off */
    const char *option, *key;
} switches[] = {
    { "preempt", "preempt" },   { "fill", "fill" },     { "defrag", "defrag" },
    { "by-value", "by_value" }, { "assign", "assign" },
};

static int show(const struct cli_args *args, const json_t *policy)
{
    if (cli_args_has(args, "json"))
        return reply_show(policy);
    printf("order         %s\nreservations  %" PRId64 "\n", reply_text(policy, "order"),
           reply_number(policy, "reservations"));
    for (size_t i = 0; i < ARRAY_COUNT(switches); i++)
        printf("%-14s%s\n", switches[i].option, reply_flag(policy, switches[i].key) ? "on" : "off");
    return CLI_OK;
}

static bool add_number(json_t *body, const char *key, const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (end == text || *end || number < 1 || number > 16)
        return false;
    json_object_set_new(body, key, json_integer(number));
    return true;
}

static int run(const struct cli_args *args)
{
    const char *order = cli_args_get(args, "order"), *text;
    const char *reservations = cli_args_get(args, "reservations");
    json_t *body = json_object(), *answer = NULL;
    struct remote remote;
    struct err err = { 0 };
    int code;

    if (order)
        json_object_set_new(body, "order", json_string(order));
    for (size_t i = 0; i < ARRAY_COUNT(switches); i++)
        if ((text = cli_args_get(args, switches[i].option)) != NULL)
            json_object_set_new(body, switches[i].key, json_boolean(strcmp(text, "on") == 0));
    if (reservations && !add_number(body, "reservations", reservations)) {
        json_decref(body);
        return cli_fail_text(CLI_USAGE, "--reservations: expected a number from 1 to 16, not %s",
                             reservations);
    }
    if (remote_open(args, &remote, &err) < 0) {
        json_decref(body);
        return cli_fail(CLI_FAILED, &err);
    }
    if (remote_call(&remote, json_object_size(body) ? "PUT" : "GET", "/policy",
                    json_object_size(body) ? body : NULL, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else
        code = show(args, answer);
    remote_fini(&remote);
    json_decref(answer);
    json_decref(body);
    return code;
}

const struct cli_command cmd_policy = {
    .name = "policy",
    .summary = "how the network orders work; set it",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .text =
        "Classes go first, always. Within a class, `fair` serves the tenant first that holds "
        "and has borrowed least for its weight and guarantee (`mains tenant`), and then age; "
        "with one tenant that is age alone, as `fifo` is. `predicted` goes by fair shares, and of "
        "one "
        "tenant the job goes first that has had and is expected to need least device time, by "
        "what jobs of its user and name took; who waits too long goes first all the same. "
        "`deadline` goes by who must start first to keep "
        "its deadline, whose ever it is; who has none counts as one that must start within a week. "
        "With "
        "preemption on, a job that is "
        "blocked may stop others: of a lower class, of tenants that borrow what is its "
        "tenant's own, or, with `predicted`, of its own tenant and class if they save checkpoints "
        "and have had much more. What was stopped goes back to where it stood. With `--fill on`, "
        "work that "
        "fits one node goes where it leaves most to be filled by what is asked from then on, "
        "whatever the kind of chip and the site, unless it lists chips, has another objective than "
        "fastest, or its class of work is known; off, to the node with the least left over. "
        "`--reservations` is how many of the first blocked jobs of each class are promised a "
        "start: "
        "1 backfills as EASY does, more keep more of those that wait from being overtaken. With "
        "`--defrag on`, running work that saves checkpoints is moved within its site when a gang "
        "that waits for room together gains more than that costs. With `--by-value on`, what a "
        "tenant "
        "borrows counts by the catalogue's speed of its devices, so that ten slow ones are not ten "
        "fast ones; what is its own (`--guarantee-devices`) stays a number. "
        "With `--assign on`, jobs whose work's rates are known go to the kinds of chip that all of "
        "them together gain most by, and those that save checkpoints are moved there. "
        "Admins and operators "
        "set it.",
    .examples = { { "mains policy", "What holds now." },
                  { "mains policy --preempt off", "Nobody is stopped for others." } },
    .run = run,
};
