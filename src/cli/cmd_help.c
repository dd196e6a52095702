#include "cli/commands.h"
#include "cli/help.h"

#include <string.h>

static const struct cli_option options[] = {
    { "man", 0, NULL, NULL, "Print the man page (roff): mains help --man run | man -l -" },
    { "markdown", 0, NULL, NULL, "Print docs/cli.md." },
    { 0 },
};

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf out = buf_init(4u << 20);
    const char *name = args->rest_count ? args->rest[0] : NULL;
    const struct cli_command *command = NULL;

    if (name && strncmp(name, "mains-", 6) == 0)
        name += 6;
    if (name && strcmp(name, "mains") != 0 && !(command = cli_find_command(name)))
        return cli_fail_text(CLI_USAGE, "no command \"%s\": `mains help` lists them", name);
    if (cli_args_has(args, "markdown"))
        help_print_markdown(&out);
    else if (cli_args_has(args, "man"))
        help_print_man(command, &out);
    else if (command)
        help_print_command(command, term_width(stdout), &out);
    else
        help_print_overview(&out);
    if (out.failed)
        return cli_fail_text(CLI_FAILED, "out of memory");
    fputs(out.data, stdout);
    return CLI_OK;
}

const struct cli_command cmd_help = {
    .name = "help",
    .summary = "what a command does, its options and examples",
    .usage = "[COMMAND]",
    .options = { options },
    .arguments = { { "COMMAND", NULL, true, false } },
    .text = "Without a command, lists all of them.",
    .examples = { { "mains help run", "Everything about `mains run`." },
                  { "mains help --man run | man -l -", "The same as a man page." } },
    .run = run,
};
