#include "cli/commands.h"

#include "base/log.h"
#include "cli/help.h"
#include "model/suggest.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &cmd_up,      &cmd_down,    &cmd_run,        &cmd_submit,    &cmd_plan,   &cmd_ps,
    &cmd_show,    &cmd_logs,    &cmd_outputs,    &cmd_artifacts, &cmd_rerun,  &cmd_wait,
    &cmd_cancel,  &cmd_move,    &cmd_resize,     &cmd_why,       &cmd_nodes,  &cmd_devices,
    &cmd_sites,   &cmd_site,    &cmd_join,       &cmd_leave,     &cmd_node,   &cmd_rates,
    &cmd_usage,   &cmd_ledger,  &cmd_events,     &cmd_tenant,    &cmd_policy, &cmd_token,
    &cmd_journal, &cmd_history, &cmd_sim,        &cmd_doctor,    &cmd_plot,   &cmd_completion,
    &cmd_help,    &cmd_version, &cmd_controller, &cmd_agent,     NULL,
};

const struct cli_command *const *cli_commands(void)
{
    return commands;
}

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

int cli_fail(int code, const struct err *err)
{
    return cli_fail_text(code, "%s", err->text);
}

int cli_fail_text(int code, const char *fmt, ...)
{
    struct err err;
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    err_set(&err, code, "%s", text);
    fflush(stdout);
    fprintf(stderr, "mains: %s\n", err.text);
    return code;
}

static int refuse_command(const char *name)
{
    const char *words[ARRAY_COUNT(commands)];
    const char *nearest;
    size_t count = 0;

    for (size_t i = 0; commands[i]; i++)
        if (!(commands[i]->flags & CLI_HIDDEN))
            words[count++] = commands[i]->name;
    nearest = suggest_word(name, words, count);
    if (nearest)
        return cli_fail_text(CLI_USAGE, "no command \"%s\": did you mean \"%s\"?", name, nearest);
    return cli_fail_text(CLI_USAGE, "no command \"%s\": `mains help` lists them", name);
}

static int print_overview(int code)
{
    CLEANUP(buf_fini) struct buf out = buf_init(1u << 20);

    help_print_overview(&out);
    fputs(out.data ? out.data : "", code == CLI_OK ? stdout : stderr);
    return code;
}

static int print_command(const struct cli_command *command)
{
    CLEANUP(buf_fini) struct buf out = buf_init(1u << 20);

    help_print_command(command, term_width(stdout), &out);
    fputs(out.data ? out.data : "", stdout);
    return CLI_OK;
}

/* A full disk or a closed pipe must not look like success. */
static int finish_output(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE && code == CLI_OK)
        return cli_fail_text(CLI_FAILED, "stdout: %s", strerror(errno));
    return code == CLI_OK ? CLI_FAILED : code;
}

int cli_main(int argc, char **argv)
{
    const struct cli_command *command;
    CLEANUP(freep) struct cli_args *args = calloc(1, sizeof(*args));
    struct err err;
    const char *name = argc > 1 ? argv[1] : NULL;
    int rc;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (!args)
        return cli_fail_text(CLI_FAILED, "out of memory");
    if (!name)
        return print_overview(CLI_USAGE);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return print_overview(CLI_OK);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    command = cli_find_command(name);
    if (!command)
        return refuse_command(name);
    rc = cli_args_parse(command, argc - 1, argv + 1, args, &err);
    if (rc < 0)
        return cli_fail(command->flags & CLI_STOP_EARLY ? CLI_MAINS : CLI_USAGE, &err);
    if (cli_args_has(args, "help"))
        return finish_output(print_command(command));
    return finish_output(command->run(args));
}
