/* The scripts ask nothing of the shell's own completion packages. Job ids are asked of the network
 * when they are wanted, and quietly left out when it does not answer. */
#include "cli/help.h"

#include <errno.h>
#include <string.h>

/* What completes a value: its choices, files, or job ids. */
enum completes {
    COMPLETES_NOTHING,
    COMPLETES_CHOICES,
    COMPLETES_FILES,
    COMPLETES_JOBS,
    COMPLETES_COMMANDS
};

static enum completes completes_of(const char *value, const char *choices)
{
    if (choices)
        return COMPLETES_CHOICES;
    if (!value)
        return COMPLETES_NOTHING;
    if (strcmp(value, "FILE") == 0 || strcmp(value, "DIR") == 0 || strcmp(value, "PATH") == 0)
        return COMPLETES_FILES;
    if (strcmp(value, "JOB") == 0)
        return COMPLETES_JOBS;
    if (strcmp(value, "COMMAND") == 0)
        return COMPLETES_COMMANDS;
    return COMPLETES_NOTHING;
}

static void add_words(struct buf *out, const char *choices)
{
    for (const char *at = choices; *at; at++)
        buf_add_char(out, *at == '|' ? ' ' : *at);
}

static void add_commands(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    for (uint32_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            buf_printf(out, "%s%s", i ? " " : "", commands[i]->name);
}

static void bash_reply(struct buf *out, enum completes kind, const char *choices)
{
    switch (kind) {
    case COMPLETES_CHOICES:
        buf_add_text(out, "COMPREPLY=($(compgen -W '");
        add_words(out, choices);
        buf_add_text(out, "' -- \"$word\"))");
        return;
    case COMPLETES_FILES:
        buf_add_text(out,
                     "compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\"))");
        return;
    case COMPLETES_JOBS:
        buf_add_text(out, "COMPREPLY=($(compgen -W \"$(mains ps -q 2>/dev/null)\" -- \"$word\"))");
        return;
    case COMPLETES_COMMANDS:
        buf_add_text(out, "COMPREPLY=($(compgen -W '");
        add_commands(out);
        buf_add_text(out, "' -- \"$word\"))");
        return;
    case COMPLETES_NOTHING:
        buf_add_text(out, ":");
        return;
    }
}

static void bash_command(const struct cli_command *command, struct buf *out)
{
    const struct cli_option *option;
    const struct cli_argument *argument = command->arguments;

    buf_printf(out, "    %s)\n        case \"$before\" in\n", command->name);
    for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++) {
        if (!option->value)
            continue;
        buf_add_text(out, "        ");
        if (option->letter)
            buf_printf(out, "-%c|", option->letter);
        buf_printf(out, "--%s) ", option->name);
        bash_reply(out, completes_of(option->value, option->choices), option->choices);
        buf_add_text(out, "; return ;;\n");
    }
    buf_add_text(out, "        esac\n        case \"$word\" in\n"
                      "        -*) COMPREPLY=($(compgen -W '");
    for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++)
        buf_printf(out, "%s--%s", i ? " " : "", option->name);
    buf_add_text(out, "' -- \"$word\")) ;;\n        *) ");
    bash_reply(out,
               argument->name ? completes_of(argument->name, argument->choices) : COMPLETES_NOTHING,
               argument->choices);
    buf_add_text(out, " ;;\n        esac ;;\n");
}

static void print_bash(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    buf_add_text(out,
                 "# bash completion of mains: source <(mains completion bash)\n"
                 "_mains()\n{\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    COMPREPLY=()\n"
                 "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "        COMPREPLY=($(compgen -W '");
    add_commands(out);
    buf_add_text(out, "' -- \"$word\"))\n        return\n    fi\n"
                      "    case \"${COMP_WORDS[1]}\" in\n");
    for (uint32_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            bash_command(commands[i], out);
    buf_add_text(out, "    esac\n}\ncomplete -F _mains mains\n");
}

/* Inside '...' of zsh and fish, with what _arguments takes as its own escaped. */
static void add_quoted(struct buf *out, const char *text, bool zsh)
{
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_text(out, zsh ? "'\\''" : "\\'");
        else if (zsh && strchr("[]:\\", *text))
            buf_printf(out, "\\%c", *text);
        else if (!zsh && *text == '\\')
            buf_add_text(out, "\\\\");
        else
            buf_add_char(out, *text);
    }
}

static void zsh_action(struct buf *out, const char *value, const char *choices)
{
    switch (completes_of(value, choices)) {
    case COMPLETES_CHOICES:
        buf_printf(out, ":%s:(", value);
        add_words(out, choices);
        buf_add_text(out, ")");
        return;
    case COMPLETES_FILES:
        buf_printf(out, ":%s:_files", value);
        return;
    case COMPLETES_JOBS:
        buf_add_text(out, ":JOB:($(mains ps -q 2>/dev/null))");
        return;
    case COMPLETES_COMMANDS:
        buf_add_text(out, ":COMMAND:(");
        add_commands(out);
        buf_add_text(out, ")");
        return;
    case COMPLETES_NOTHING:
        if (value)
            buf_printf(out, ":%s: ", value);
        return;
    }
}

static void zsh_command(const struct cli_command *command, struct buf *out)
{
    const struct cli_option *option;

    buf_printf(out, "    %s)\n        _arguments \\\n", command->name);
    for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++) {
        buf_printf(out, "            '*--%s[", option->name);
        add_quoted(out, option->help, true);
        buf_add_text(out, "]");
        zsh_action(out, option->value, option->choices);
        buf_add_text(out, "' \\\n");
    }
    buf_add_text(out, "            '*");
    if (command->arguments[0].name)
        zsh_action(out, command->arguments[0].name, command->arguments[0].choices);
    else
        buf_add_text(out, ": : ");
    buf_add_text(out, "' ;;\n");
}

static void print_zsh(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    buf_add_text(out, "#compdef mains\n# zsh completion of mains: mains completion zsh > "
                      "\"${fpath[1]}/_mains\"\n"
                      "_mains() {\n    if (( CURRENT == 2 )); then\n        local -a commands\n"
                      "        commands=(\n");
    for (uint32_t i = 0; commands[i]; i++) {
        if (commands[i]->flags & CLI_HIDDEN)
            continue;
        buf_printf(out, "            '%s:", commands[i]->name);
        add_quoted(out, commands[i]->summary, true);
        buf_add_text(out, "'\n");
    }
    buf_add_text(out, "        )\n        _describe command commands\n        return\n    fi\n"
                      "    local command=${words[2]}\n    shift words\n    (( CURRENT-- ))\n"
                      "    case $command in\n");
    for (uint32_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            zsh_command(commands[i], out);
    buf_add_text(out, "    esac\n}\n"
                      "if [ \"$funcstack[1]\" = _mains ]; then _mains \"$@\"; else compdef _mains "
                      "mains; fi\n");
}

static void fish_values(struct buf *out, const char *value, const char *choices)
{
    switch (completes_of(value, choices)) {
    case COMPLETES_CHOICES:
        buf_add_text(out, " -x -a '");
        add_words(out, choices);
        buf_add_text(out, "'");
        return;
    case COMPLETES_FILES:
        buf_add_text(out, " -r -F");
        return;
    case COMPLETES_JOBS:
        buf_add_text(out, " -x -a '(mains ps -q 2>/dev/null)'");
        return;
    case COMPLETES_COMMANDS:
        buf_add_text(out, " -x -a '");
        add_commands(out);
        buf_add_text(out, "'");
        return;
    case COMPLETES_NOTHING:
        if (value)
            buf_add_text(out, " -x");
        return;
    }
}

static void print_fish(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    buf_add_text(out, "# fish completion of mains: mains completion fish > "
                      "~/.config/fish/completions/mains.fish\n"
                      "complete -c mains -f\n");
    for (uint32_t c = 0; commands[c]; c++) {
        const struct cli_command *command = commands[c];
        const struct cli_option *option;

        if (command->flags & CLI_HIDDEN)
            continue;
        buf_printf(out, "complete -c mains -n __fish_use_subcommand -a %s -d '", command->name);
        add_quoted(out, command->summary, false);
        buf_add_text(out, "'\n");
        for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++) {
            buf_printf(out, "complete -c mains -n '__fish_seen_subcommand_from %s' -l %s",
                       command->name, option->name);
            if (option->letter)
                buf_printf(out, " -s %c", option->letter);
            fish_values(out, option->value, option->choices);
            buf_add_text(out, " -d '");
            add_quoted(out, option->help, false);
            buf_add_text(out, "'\n");
        }
        if (command->arguments[0].name) {
            buf_printf(out, "complete -c mains -n '__fish_seen_subcommand_from %s'", command->name);
            fish_values(out, command->arguments[0].name, command->arguments[0].choices);
            buf_add_text(out, "\n");
        }
    }
}

int help_print_completion(const char *shell, struct buf *out, struct err *err)
{
    static const struct {
        const char *shell;
        void (*print)(struct buf *out);
    } printers[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

    for (size_t i = 0; i < ARRAY_COUNT(printers); i++) {
        if (strcmp(shell, printers[i].shell) == 0) {
            printers[i].print(out);
            return out->failed ? err_set(err, -ENOMEM, "out of memory") : 0;
        }
    }
    return err_set(err, -EINVAL, "no completion for \"%s\": bash, zsh and fish have one", shell);
}
