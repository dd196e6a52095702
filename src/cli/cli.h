/* cli.h - the table of commands: the one source of `--help`, `mains help`, the man pages, the shell
 * completions and docs/cli.md; and what a command is handed when it runs.
 *
 * A command is one file, cmd_NAME.c, that defines one `const struct cli_command`; commands.c lists
 * them. Everything in a table is static text. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_OPTION_TABLES_MAX 5u
#define CLI_OPTIONS_MAX 64u /* of one command, all tables together */
#define CLI_GIVEN_MAX 1024u /* options on one command line */
#define CLI_EXAMPLES_MAX 6u
#define CLI_ARGUMENTS_MAX 3u

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,     /* it could not be done; one line on stderr says why */
    CLI_USAGE = 2,      /* the command line is wrong */
    CLI_MAINS = 125,    /* `run`: mains itself failed, as opposed to the job */
    CLI_DETACHED = 130, /* `run`: left by Ctrl-C (the job goes on), or cancelled */
};

struct cli_option {
    const char *name;    /* "cpus"; NULL ends a table */
    char letter;         /* 'c'; 0 = none */
    const char *value;   /* what it takes: "N", "FILE", "DIR", "JOB", ...; NULL = a flag */
    const char *choices; /* "low|normal|high": anything else is refused; NULL = any */
    const char *help;
};

struct cli_argument {
    const char *name;    /* "JOB", "FILE", ...: also what completion offers; NULL ends */
    const char *choices; /* as of an option */
    bool optional, many;
};

struct cli_example {
    const char *line;
    const char *text; /* what it does */
};

enum cli_flag {
    CLI_TAKES_NETWORK = 1 << 0, /* --url, --token-file, --state */
    CLI_TAKES_STATE = 1 << 1,   /* --state only */
    CLI_TAKES_JSON = 1 << 2,    /* --json */
    CLI_HIDDEN = 1 << 3,        /* not in lists: children of `mains up` */
    CLI_STOP_EARLY = 1 << 4,    /* the first argument ends the options: the rest is a command */
    CLI_RAW = 1 << 5,           /* options are parsed by the command itself */
};

struct cli_args;
struct cli_command {
    const char *name;
    const char *summary; /* one line, lower case, no full stop */
    const char *usage;   /* what follows the name: "[OPTION...] JOB..." */
    unsigned flags;      /* enum cli_flag */
    const struct cli_option *options[CLI_OPTION_TABLES_MAX];
    struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1];
    const char *text; /* the long text: paragraphs parted by an empty line; lines that start with
                         a blank are shown as they stand */
    struct cli_example examples[CLI_EXAMPLES_MAX + 1];
    int (*run)(const struct cli_args *args); /* gives the exit status */
};

/* All commands in the order of `mains help`; NULL ends. */
const struct cli_command *const *cli_commands(void);
const struct cli_command *cli_find_command(const char *name); /* NULL = none */

/* --- a parsed command line ------------------------------------------------------------------ */
struct cli_given {
    const struct cli_option *option;
    const char *value; /* NULL for a flag */
};
struct cli_args {
    const struct cli_command *command;
    struct cli_given given[CLI_GIVEN_MAX];
    uint32_t given_count;
    char **rest; /* arguments, borrowed from argv */
    uint32_t rest_count;
    bool has_dashes; /* "--" parted options and arguments */
};

/* The option of the command whose index is `index` over all its tables and the common ones; NULL
 * past the end. */
const struct cli_option *cli_option_get(const struct cli_command *command, uint32_t index);

/* argv[0] is the command's name. -EINVAL and one line that names the word and, where one is near,
 * what was probably meant. The order of argv may change. */
int cli_args_parse(const struct cli_command *command, int argc, char **argv,
                   struct cli_args *args_out, struct err *err);
bool cli_args_has(const struct cli_args *args, const char *name);
/* The last value given, or NULL. */
const char *cli_args_get(const struct cli_args *args, const char *name);
/* The value of the `nth` (from 0) time an option was given; NULL past the last. */
const char *cli_args_nth(const struct cli_args *args, const char *name, uint32_t nth);

/* The error line of a command: "mains: " and the text, to stderr. Returns `code`. */
int cli_fail(int code, const struct err *err);
int cli_fail_text(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The whole program. */
int cli_main(int argc, char **argv);
