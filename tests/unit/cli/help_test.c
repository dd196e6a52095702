#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "cli/help.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_help_names_all(void **state)
{
    const struct cli_command *const *commands = cli_commands();
    struct buf out = buf_init(1u << 20);
    struct buf overview = buf_init(1u << 20);

    (void)state;
    help_print_overview(&overview);
    for (size_t c = 0; commands[c]; c++) {
        const struct cli_option *option;
        char words[96];

        buf_clear(&out);
        help_print_command(commands[c], 80, &out);
        for (uint32_t i = 0; (option = cli_option_get(commands[c], i)) != NULL; i++) {
            snprintf(words, sizeof(words), "--%s", option->name);
            if (!strstr(out.data, words))
                fail_msg("%s: help without %s", commands[c]->name, words);
        }
        snprintf(words, sizeof(words), "\n  %s ", commands[c]->name);
        assert_int_equal(strstr(overview.data, words) != NULL, !(commands[c]->flags & CLI_HIDDEN));
    }
    buf_fini(&out);
    buf_fini(&overview);
}

/* No line of text may become a request of roff. */
static void test_man(void **state)
{
    const struct cli_command *const *commands = cli_commands();
    struct buf out = buf_init(1u << 20);

    (void)state;
    for (size_t c = 0; commands[c]; c++) {
        const char *at;

        buf_clear(&out);
        help_print_man(commands[c], &out);
        assert_int_equal(strncmp(out.data, ".TH ", 4), 0);
        for (at = out.data; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
            static const char *const known[] = { ".TH ", ".SH ", ".TP\n", ".PP\n", ".B ",
                                                 ".BR ", ".I ",  ".EX\n", ".EE\n" };
            bool found = *at != '.' && *at != '\'';

            for (size_t k = 0; k < ARRAY_COUNT(known); k++)
                found = found || strncmp(at, known[k], strlen(known[k])) == 0;
            if (!found)
                fail_msg("%s: %.40s", commands[c]->name, at);
        }
    }
    buf_fini(&out);
}

static void test_completion(void **state)
{
    struct buf out = buf_init(1u << 20);
    struct err err;

    (void)state;
    assert_int_equal(help_print_completion("csh", &out, &err), -EINVAL);
    assert_int_equal(help_print_completion("bash", &out, &err), 0);
    assert_non_null(strstr(out.data, "complete -F _mains mains"));
    buf_clear(&out);
    assert_int_equal(help_print_completion("zsh", &out, &err), 0);
    assert_int_equal(strncmp(out.data, "#compdef mains", 14), 0);
    buf_clear(&out);
    assert_int_equal(help_print_completion("fish", &out, &err), 0);
    /* A quote left open would swallow the rest. */
    for (char *rest = out.data, *line; (line = strsep(&rest, "\n")) != NULL;) {
        uint32_t quotes = 0;

        for (char *c = line; *c; c++)
            quotes += *c == '\'' && (c == line || c[-1] != '\\');
        if (*line != '#' && quotes % 2)
            fail_msg("%s", line);
    }
    buf_fini(&out);
}

/* docs/cli.md is what the table says today. */
static void test_page(void **state)
{
    CLEANUP(buf_fini) struct buf now = buf_init(4u << 20);
    CLEANUP(buf_fini) struct buf page = buf_init(4u << 20);
    struct err err;

    (void)state;
    help_print_markdown(&now);
    if (file_read(getenv("MAINS_CLI_PAGE"), &page, &err) < 0)
        fail_msg("%s", err.text);
    if (page.len != now.len || memcmp(page.data, now.data, now.len) != 0)
        fail_msg("docs/cli.md is out of date: mains help --markdown > docs/cli.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_names_all),
        cmocka_unit_test(test_man),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_page),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
