#include "cli/help.h"

#include "cli/text.h"

#include <stdio.h>
#include <string.h>

#define OPTION_COLUMN 28u

/* "-n, --name NAME" */
static void option_head(const struct cli_option *option, char *out, size_t out_bytes)
{
    char letter[8] = "    ";

    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    if (option->choices)
        snprintf(out, out_bytes, "%s--%s %s", letter, option->name, option->choices);
    else
        snprintf(out, out_bytes, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
                 option->value ? option->value : "");
}

static void print_option(const struct cli_option *option, uint32_t width, struct buf *out)
{
    struct buf help = buf_init(1u << 16);
    char head[128];

    option_head(option, head, sizeof(head));
    text_wrap(&help, option->help, OPTION_COLUMN, width);
    if (2 + strlen(head) + 2 <= OPTION_COLUMN && help.data && help.len > OPTION_COLUMN)
        buf_printf(out, "  %-*s%s", (int)OPTION_COLUMN - 2, head, help.data + OPTION_COLUMN);
    else
        buf_printf(out, "  %s\n%s", head, help.data ? help.data : "");
    buf_fini(&help);
}

/* The next paragraph of a long text: its start and length; false at the end. */
static bool next_paragraph(const char **at, const char **start_out, size_t *len_out)
{
    const char *end;

    while (**at == '\n')
        (*at)++;
    if (!**at)
        return false;
    end = strstr(*at, "\n\n");
    *start_out = *at;
    *len_out = end ? (size_t)(end - *at) : strlen(*at);
    *at += *len_out;
    return true;
}

static void print_long_text(const char *text, uint32_t width, struct buf *out)
{
    const char *start;
    size_t len;

    while (text && next_paragraph(&text, &start, &len)) {
        struct buf one = buf_init(1u << 16);

        buf_add(&one, start, len);
        buf_add_char(out, '\n');
        if (one.data && one.data[0] == ' ')
            buf_printf(out, "%s\n", one.data);
        else if (one.data)
            text_wrap(out, one.data, 0, width);
        buf_fini(&one);
    }
}

void help_print_command(const struct cli_command *command, uint32_t width, struct buf *out)
{
    const struct cli_option *option;

    if (width < 60 || width > 100)
        width = width < 60 ? 80 : 100;
    buf_printf(out, "mains %s - %s\n\nUsage: mains %s %s\n", command->name, command->summary,
               command->name, command->usage);
    print_long_text(command->text, width, out);
    buf_add_text(out, "\nOptions:\n");
    for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++)
        print_option(option, width, out);
    if (command->examples[0].line)
        buf_add_text(out, "\nExamples:\n");
    for (uint32_t i = 0; i < CLI_EXAMPLES_MAX && command->examples[i].line; i++)
        buf_printf(out, "  %s\n      %s\n", command->examples[i].line, command->examples[i].text);
}

void help_print_overview(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    buf_add_text(out, "mains - computing power on tap\n\n"
                      "Usage: mains COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n");
    for (uint32_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            buf_printf(out, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
    buf_add_text(out, "\nTo begin:  mains up --detach && mains run -- echo hello\n"
                      "More:      mains help COMMAND; every table has --json as well.\n");
}

/* --- man pages ------------------------------------------------------------------------------ */

/* Text of a line: backslashes and dashes escaped, no control line by accident. */
static void roff_text(struct buf *out, const char *text, size_t len)
{
    if (len && (text[0] == '.' || text[0] == '\''))
        buf_add_text(out, "\\&");
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            buf_add_text(out, "\\e");
        else if (text[i] == '-')
            buf_add_text(out, "\\-");
        else if (text[i] == '\n' && i + 1 < len && (text[i + 1] == '.' || text[i + 1] == '\''))
            buf_add_text(out, "\n\\&");
        else
            buf_add_char(out, text[i]);
    }
}

static void roff_line(struct buf *out, const char *text)
{
    roff_text(out, text, strlen(text));
    buf_add_char(out, '\n');
}

static void roff_head(struct buf *out, const char *name, const char *summary)
{
    char upper[64];
    size_t len = 0;

    for (; name[len] && len + 1 < sizeof(upper); len++)
        upper[len] =
            name[len] >= 'a' && name[len] <= 'z' ? (char)(name[len] - 'a' + 'A') : name[len];
    upper[len] = '\0';
    buf_printf(out, ".TH \"%s\" 1 \"\" \"mains %s\" \"mains\"\n.SH NAME\n", upper, MAINS_VERSION);
    roff_text(out, name, strlen(name));
    buf_add_text(out, " \\- ");
    roff_line(out, summary);
}

static void roff_overview(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    roff_head(out, "mains", "computing power on tap");
    buf_add_text(out, ".SH SYNOPSIS\n.B mains\n.I COMMAND\n[\\fIOPTION\\fR...] "
                      "[\\fIARGUMENT\\fR...]\n.SH COMMANDS\n");
    for (uint32_t i = 0; commands[i]; i++) {
        if (commands[i]->flags & CLI_HIDDEN)
            continue;
        buf_printf(out, ".TP\n.BR mains\\-%s (1)\n", commands[i]->name);
        roff_line(out, commands[i]->summary);
    }
    buf_add_text(out, ".SH \"EXIT STATUS\"\n"
                      "0: done. 1: it could not be done. 2: the command line is wrong.\n"
                      ".B mains run\nexits as its job did: see\n.BR mains\\-run (1).\n");
}

void help_print_man(const struct cli_command *command, struct buf *out)
{
    const struct cli_option *option;
    const char *at;
    const char *start;
    char name[64];
    size_t len;

    if (!command) {
        roff_overview(out);
        return;
    }
    snprintf(name, sizeof(name), "mains-%s", command->name);
    roff_head(out, name, command->summary);
    buf_printf(out, ".SH SYNOPSIS\n.B mains %s\n", command->name);
    roff_line(out, command->usage);
    at = command->text;
    if (at && *at)
        buf_add_text(out, ".SH DESCRIPTION\n");
    for (bool first = true; at && next_paragraph(&at, &start, &len); first = false) {
        bool literal = start[0] == ' ';

        if (!first || literal)
            buf_add_text(out, literal ? ".PP\n.EX\n" : ".PP\n");
        roff_text(out, start, len);
        buf_add_text(out, literal ? "\n.EE\n" : "\n");
    }
    buf_add_text(out, ".SH OPTIONS\n");
    for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++) {
        char head[128];

        option_head(option, head, sizeof(head));
        buf_add_text(out, ".TP\n\\fB");
        at = head + strspn(head, " ");
        roff_text(out, at, strlen(at));
        buf_add_text(out, "\\fR\n");
        roff_line(out, option->help);
    }
    if (command->examples[0].line)
        buf_add_text(out, ".SH EXAMPLES\n");
    for (uint32_t i = 0; i < CLI_EXAMPLES_MAX && command->examples[i].line; i++) {
        buf_add_text(out, ".TP\n\\fB");
        roff_text(out, command->examples[i].line, strlen(command->examples[i].line));
        buf_add_text(out, "\\fR\n");
        roff_line(out, command->examples[i].text);
    }
    buf_add_text(out, ".SH \"SEE ALSO\"\n.BR mains (1)\n");
}

/* --- docs/cli.md ---------------------------------------------------------------------------- */

void help_print_markdown(struct buf *out)
{
    const struct cli_command *const *commands = cli_commands();

    buf_add_text(out,
                 "# The commands of `mains`\n\n"
                 "This page is printed by `mains help --markdown` from the table that the program "
                 "itself uses; a test\nholds the two together. Each command has a man page too: "
                 "`mains help --man COMMAND | man -l -`.\n\n"
                 "Exit status: 0 done; 1 it could not be done, and one line on stderr says why; 2 "
                 "the command line is\nwrong. `mains run` exits as its job did (below).\n\n"
                 "| command | what it does |\n| --- | --- |\n");
    for (uint32_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            buf_printf(out, "| [`%s`](#mains-%s) | %s |\n", commands[i]->name, commands[i]->name,
                       commands[i]->summary);
    for (uint32_t i = 0; commands[i]; i++) {
        if (commands[i]->flags & CLI_HIDDEN)
            continue;
        buf_printf(out, "\n## mains %s\n\n```\n", commands[i]->name);
        help_print_command(commands[i], 100, out);
        buf_add_text(out, "```\n");
    }
}
