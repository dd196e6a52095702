#include "cli/commands.h"
#include "cli/help.h"

static int run(const struct cli_args *args)
{
    CLEANUP(buf_fini) struct buf out = buf_init(4u << 20);
    struct err err;

    if (help_print_completion(args->rest[0], &out, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    fputs(out.data, stdout);
    return CLI_OK;
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "a completion script for the shell",
    .usage = "bash|zsh|fish",
    .arguments = { { "SHELL", "bash|zsh|fish", false, false } },
    .text = "Job ids are completed too, from the network here.",
    .examples = { { "source <(mains completion bash)", "In ~/.bashrc." },
                  { "mains completion zsh > \"${fpath[1]}/_mains\"", "For zsh." },
                  { "mains completion fish > ~/.config/fish/completions/mains.fish",
                    "For fish." } },
    .run = run,
};
