#include "cli/cli.h"

#include "model/suggest.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option network_options[] = {
    { "url", 0, "URL", NULL,
      "The network's address, as http://127.0.0.1:7743. Without it: with --state, that folder's "
      "network; else $MAINS_URL, the network of the state folder." },
    { "token-file", 0, "FILE", NULL,
      "The file that holds the token. Without it: with --state, that folder's admin.token; else "
      "$MAINS_TOKEN, $MAINS_TOKEN_FILE, the state folder's admin.token." },
    { 0 },
};
static const struct cli_option state_options[] = {
    { "state", 0, "DIR", NULL,
      "The state folder of the network on this machine. Without it: $MAINS_STATE, else "
      "$XDG_STATE_HOME/mains, else ~/.local/state/mains." },
    { 0 },
};
static const struct cli_option json_options[] = {
    { "json", 0, NULL, NULL,
      "Print JSON for programs: the API's own objects, lists as bare lists." },
    { 0 },
};
static const struct cli_option help_options[] = {
    { "help", 'h', NULL, NULL, "Print this help." },
    { 0 },
};

const struct cli_option *cli_option_get(const struct cli_command *command, uint32_t index)
{
    const struct cli_option *tables[CLI_OPTION_TABLES_MAX + 4];
    uint32_t count = 0;

    for (uint32_t i = 0; i < CLI_OPTION_TABLES_MAX && command->options[i]; i++)
        tables[count++] = command->options[i];
    if (command->flags & CLI_TAKES_JSON)
        tables[count++] = json_options;
    if (command->flags & (CLI_TAKES_NETWORK | CLI_TAKES_STATE))
        tables[count++] = state_options;
    if (command->flags & CLI_TAKES_NETWORK)
        tables[count++] = network_options;
    tables[count++] = help_options;
    for (uint32_t i = 0; i < count; i++)
        for (const struct cli_option *option = tables[i]; option->name; option++)
            if (index-- == 0)
                return option;
    return NULL;
}

/* Is `word` one of "a|b|c"? */
static bool choice_is_one(const char *choices, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = choices; *at;) {
        size_t one = strcspn(at, "|");

        if (one == len && memcmp(at, word, len) == 0)
            return true;
        at += one + (at[one] == '|');
    }
    return false;
}

static int refuse_option(const struct cli_command *command, const char *word, struct err *err)
{
    const char *words[CLI_OPTIONS_MAX];
    const struct cli_option *option;
    const char *nearest;
    uint32_t count = 0;
    char name[80];

    while (*word == '-')
        word++;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
    while (count < CLI_OPTIONS_MAX && (option = cli_option_get(command, count)) != NULL)
        words[count++] = option->name;
    nearest = suggest_word(name, words, count);
    if (nearest)
        return err_set(err, -EINVAL, "%s: no option --%s: did you mean --%s?", command->name, name,
                       nearest);
    return err_set(err, -EINVAL, "%s: no option --%s: `mains help %s` lists them", command->name,
                   name, command->name);
}

struct option_set {
    struct option longs[CLI_OPTIONS_MAX + 1];
    const struct cli_option *by_index[CLI_OPTIONS_MAX];
    char shorts[2 * CLI_OPTIONS_MAX + 3];
    uint32_t count;
};

#define LONG_BASE 1000

static void collect_options(const struct cli_command *command, struct option_set *set)
{
    const struct cli_option *option;
    size_t at = 0;

    memset(set, 0, sizeof(*set));
    if (command->flags & CLI_STOP_EARLY)
        set->shorts[at++] = '+';
    set->shorts[at++] = ':';
    while (set->count < CLI_OPTIONS_MAX && (option = cli_option_get(command, set->count)) != NULL) {
        set->longs[set->count] =
            (struct option){ option->name, option->value ? required_argument : no_argument, NULL,
                             LONG_BASE + (int)set->count };
        if (option->letter) {
            set->shorts[at++] = option->letter;
            if (option->value)
                set->shorts[at++] = ':';
        }
        set->by_index[set->count++] = option;
    }
}

static const struct cli_option *option_of(const struct option_set *set, int code)
{
    if (code >= LONG_BASE && code < LONG_BASE + (int)set->count)
        return set->by_index[code - LONG_BASE];
    for (uint32_t i = 0; i < set->count; i++)
        if (set->by_index[i]->letter && set->by_index[i]->letter == code)
            return set->by_index[i];
    return NULL;
}

static int explain_refusal(const struct cli_command *command, const struct option_set *set,
                           int code, const char *word, struct err *err)
{
    const struct cli_option *option = option_of(set, optopt);

    if (code == ':' && option)
        return err_set(err, -EINVAL, "%s: --%s needs a value: %s", command->name, option->name,
                       option->value);
    if (option)
        return err_set(err, -EINVAL, "%s: --%s takes no value", command->name, option->name);
    if (optopt)
        return err_set(err, -EINVAL, "%s: no option -%c: `mains help %s` lists them", command->name,
                       optopt, command->name);
    return refuse_option(command, word, err);
}

static int check_choice(const char *what, const char *choices, const char *value, struct err *err)
{
    if (!choices || choice_is_one(choices, value))
        return 0;
    return err_set(err, -EINVAL, "%s: \"%s\" is not one of %s", what, value, choices);
}

static int check_arguments(const struct cli_args *args, struct err *err)
{
    const struct cli_command *command = args->command;
    uint32_t least = 0;
    uint32_t most = 0;

    for (uint32_t i = 0; command->arguments[i].name; i++) {
        const struct cli_argument *argument = &command->arguments[i];
        int rc;

        if (!argument->optional)
            least++;
        most = argument->many ? UINT32_MAX : most + 1;
        if (i < args->rest_count && argument->choices) {
            rc = check_choice(command->name, argument->choices, args->rest[i], err);
            if (rc < 0)
                return rc;
        }
    }
    if (args->rest_count < least)
        return err_set(err, -EINVAL, "%s: %s is missing: mains %s %s", command->name,
                       command->arguments[args->rest_count].name, command->name, command->usage);
    if (args->rest_count > most)
        return err_set(err, -EINVAL, "%s: \"%s\" is one argument too many: mains %s %s",
                       command->name, args->rest[most], command->name, command->usage);
    return 0;
}

int cli_args_parse(const struct cli_command *command, int argc, char **argv,
                   struct cli_args *args_out, struct err *err)
{
    struct option_set set;
    int code;

    memset(args_out, 0, sizeof(*args_out));
    args_out->command = command;
    if (command->flags & CLI_RAW) {
        args_out->rest = argv + 1;
        args_out->rest_count = (uint32_t)(argc - 1);
        return 0;
    }
    collect_options(command, &set);
    optind = 0; /* glibc: start afresh, also inside one process */
    opterr = 0;
    optopt = 0;
    while ((code = getopt_long(argc, argv, set.shorts, set.longs, NULL)) != -1) {
        const struct cli_option *option = code == '?' || code == ':' ? NULL : option_of(&set, code);
        char what[96];
        int rc;

        if (!option)
            return explain_refusal(command, &set, code, argv[optind - 1], err);
        if (args_out->given_count == CLI_GIVEN_MAX)
            return err_set(err, -E2BIG, "more than %u options", CLI_GIVEN_MAX);
        snprintf(what, sizeof(what), "%s: --%s", command->name, option->name);
        rc = option->value ? check_choice(what, option->choices, optarg, err) : 0;
        if (rc < 0)
            return rc;
        args_out->given[args_out->given_count++] =
            (struct cli_given){ option, option->value ? optarg : NULL };
        optopt = 0;
    }
    args_out->rest = argv + optind;
    args_out->rest_count = (uint32_t)(argc - optind);
    args_out->has_dashes = strcmp(argv[optind - 1], "--") == 0;
    return cli_args_has(args_out, "help") ? 0 : check_arguments(args_out, err);
}

bool cli_args_has(const struct cli_args *args, const char *name)
{
    for (uint32_t i = 0; i < args->given_count; i++)
        if (strcmp(args->given[i].option->name, name) == 0)
            return true;
    return false;
}

const char *cli_args_get(const struct cli_args *args, const char *name)
{
    const char *value = NULL;

    for (uint32_t i = 0; i < args->given_count; i++)
        if (strcmp(args->given[i].option->name, name) == 0)
            value = args->given[i].value;
    return value;
}

const char *cli_args_nth(const struct cli_args *args, const char *name, uint32_t nth)
{
    for (uint32_t i = 0; i < args->given_count; i++)
        if (strcmp(args->given[i].option->name, name) == 0 && nth-- == 0)
            return args->given[i].value;
    return NULL;
}
