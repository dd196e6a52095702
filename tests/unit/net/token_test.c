#include "net/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_well_formed(void **state)
{
    static const char *const bad[] = {
        "",
        "mains_",
        "mains_0123456789012345678901234567890123456789ab",   /* 42 */
        "mains_0123456789012345678901234567890123456789abcd", /* 44 */
        "Mains_0123456789012345678901234567890123456789abc",
        "mains-0123456789012345678901234567890123456789abc",
        "mains_0123456789012345678901234567890123456789ab=",
        "mains_0123456789012345678901234567890123456789ab\n",
        "mains_0123456789012345678901234567890123456789ab/",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (token_is_well_formed(bad[i]))
            fail_msg("\"%s\"", bad[i]);
    assert_true(token_is_well_formed("mains_0123456789012345678901234567890123456789abc"));
    assert_true(token_is_well_formed("mains_-_23456789012345678901234567890123456789ABC"));
}

static void test_create(void **state)
{
    char text[2][TOKEN_TEXT_BYTES], hash[2][TOKEN_HASH_BYTES], again[TOKEN_HASH_BYTES];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(token_create(text[i], hash[i], NULL), 0);
        assert_true(token_is_well_formed(text[i]));
        token_hash(text[i], again);
        assert_string_equal(hash[i], again);
        assert_int_equal(strlen(hash[i]), 64);
    }
    assert_string_not_equal(text[0], text[1]);
    assert_false(token_hash_is_equal(hash[0], hash[1]));
}

static void test_hash(void **state)
{
    /* SHA-256 of "abc": FIPS 180-2, appendix B.1. */
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char hash[TOKEN_HASH_BYTES];

    (void)state;
    token_hash("abc", hash);
    assert_string_equal(hash, abc);
    assert_true(token_hash_is_equal(hash, abc));
    hash[63] = 'e';
    assert_false(token_hash_is_equal(hash, abc));
    hash[63] = '\0';
    assert_false(token_hash_is_equal(hash, abc));
    assert_false(token_hash_is_equal("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well_formed),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_hash),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
