#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/commands.h"
#include "cli/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARGV_MAX 16

/* Parses the words of one line parted by blanks. */
static int parse(const char *line, struct cli_args *args, struct err *err, char *copy,
                 size_t copy_bytes, char **argv)
{
    int argc = 0;
    char *rest = copy;
    char *word;

    snprintf(copy, copy_bytes, "%s", line);
    while ((word = strsep(&rest, " ")) != NULL && argc < ARGV_MAX - 1)
        if (*word)
            argv[argc++] = word;
    argv[argc] = NULL;
    return cli_args_parse(cli_find_command(argv[0]), argc, argv, args, err);
}

static const struct {
    const char *line;
    const char *text; /* a part of the message */
} refused[] = {
    { "ps --jsno", "did you mean --json?" },
    { "ps --frobnicate", "mains help ps" },
    { "ps -Z", "no option -Z" },
    { "ps --limit", "--limit needs a value: N" },
    { "ps --all=yes", "--all takes no value" },
    { "ps --in nowhere", "not one of held|queued" },
    { "ps surplus", "\"surplus\" is one argument too many" },
    { "show", "JOB is missing" },
    { "logs 1 2", "\"2\" is one argument too many" },
    { "token revoke", "\"revoke\" is not one of create|list|remove" },
    { "submit --clas low x", NULL }, /* a unique beginning will do */
    { "submit --class mid x", "not one of low|normal|high|urgent" },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct cli_args *args = calloc(1, sizeof(*args));
        struct err err = { .text = "" };
        char *argv[ARGV_MAX];
        char copy[256];
        int rc = parse(refused[i].line, args, &err, copy, sizeof(copy), argv);

        if (refused[i].text ? rc != -EINVAL || !strstr(err.text, refused[i].text) : rc != 0)
            fail_msg("\"%s\": rc %d, \"%s\"", refused[i].line, rc, err.text);
        free(args);
    }
}

static void test_taken(void **state)
{
    struct cli_args *args = calloc(1, sizeof(*args));
    struct err err;
    char *argv[ARGV_MAX];
    char copy[256];

    (void)state;
    assert_int_equal(parse("submit -c 2 --env A=1 -e B=2 --cpus=4 -q job.yaml --not-mine", args,
                           &err, copy, sizeof(copy), argv),
                     0);
    assert_string_equal(cli_args_get(args, "cpus"), "4");
    assert_string_equal(cli_args_nth(args, "env", 0), "A=1");
    assert_string_equal(cli_args_nth(args, "env", 1), "B=2");
    assert_null(cli_args_nth(args, "env", 2));
    assert_true(cli_args_has(args, "quiet"));
    assert_false(cli_args_has(args, "json"));
    assert_false(args->has_dashes);
    assert_int_equal(args->rest_count, 2);
    assert_string_equal(args->rest[1], "--not-mine");

    assert_int_equal(parse("run -- ls -l", args, &err, copy, sizeof(copy), argv), 0);
    assert_true(args->has_dashes);
    assert_int_equal(args->rest_count, 2);

    /* Arguments before options, where no command follows. */
    assert_int_equal(parse("show 12 --json", args, &err, copy, sizeof(copy), argv), 0);
    assert_true(cli_args_has(args, "json"));
    assert_string_equal(args->rest[0], "12");

    /* --help wins over what is missing. */
    assert_int_equal(parse("show --help", args, &err, copy, sizeof(copy), argv), 0);
    assert_true(cli_args_has(args, "help"));
    free(args);
}

static const struct {
    const char *text;
    int rc;
    const char *address;
    uint16_t port;
} places[] = {
    { "", -EINVAL, "", 0 },
    { ":80", -EINVAL, "", 0 },
    { "localhost:99999", -EINVAL, "", 0 },
    { "localhost:http", -EINVAL, "", 0 },
    { "::1", -EINVAL, "", 0 },
    { "[::1]x", -EINVAL, "", 0 },
    { "[]:1", -EINVAL, "", 0 },
    { "8080", 0, "127.0.0.1", 8080 },
    { "0", 0, "127.0.0.1", 0 },
    { "10.0.0.1", 0, "10.0.0.1", 7743 },
    { "10.0.0.1:80", 0, "10.0.0.1", 80 },
    { "[::1]:443", 0, "::1", 443 },
    { "[fe80::1]", 0, "fe80::1", 7743 },
};

static void test_listen(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        struct listen_place place = { "", 0 };
        int rc = listen_parse(places[i].text, 7743, &place, NULL);

        if (rc != places[i].rc || strcmp(place.address, places[i].address) != 0 ||
            place.port != places[i].port)
            fail_msg("\"%s\": rc %d, %s, %u", places[i].text, rc, place.address, place.port);
    }
}

/* What holds for every command, so that help, man pages and completions are whole. */
static void test_table(void **state)
{
    const struct cli_command *const *commands = cli_commands();

    (void)state;
    for (size_t c = 0; commands[c]; c++) {
        const struct cli_command *command = commands[c];
        const struct cli_option *option;
        bool letters[256] = { false };

        assert_non_null(command->run);
        assert_non_null(command->usage);
        if (!command->summary || command->summary[0] == '\0' ||
            command->summary[strlen(command->summary) - 1] == '.')
            fail_msg("%s: summary", command->name);
        if (!(command->flags & CLI_HIDDEN) && !command->examples[0].line)
            fail_msg("%s: no example", command->name);
        for (uint32_t i = 0; (option = cli_option_get(command, i)) != NULL; i++) {
            assert_true(i < CLI_OPTIONS_MAX);
            if (!option->help || option->help[strlen(option->help) - 1] != '.')
                if (!option->help || !strchr(option->help, '|'))
                    fail_msg("%s --%s: help", command->name, option->name);
            if (option->letter && letters[(unsigned char)option->letter])
                fail_msg("%s: -%c twice", command->name, option->letter);
            letters[(unsigned char)option->letter] = option->letter != 0;
            for (uint32_t j = 0; j < i; j++)
                if (strcmp(cli_option_get(command, j)->name, option->name) == 0)
                    fail_msg("%s: --%s twice", command->name, option->name);
        }
    }
    assert_null(cli_find_command("nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_table),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
