#include "net/sign.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sign_key *make_key(void)
{
    struct sign_key *key = NULL;
    char *pem = NULL;

    assert_int_equal(ca_key_create(&pem, NULL), 0);
    assert_int_equal(sign_key_open(pem, &key, NULL), 0);
    free(pem);
    return key;
}

static void test_refused(void **state)
{
    struct sign_key *key = make_key(), *other = make_key();
    char signature[SIGN_TEXT_BYTES], pin[CA_PIN_BYTES], bad[SIGN_TEXT_BYTES];
    struct sign_key *none = NULL;
    struct err err;

    (void)state;
    assert_int_equal(sign_key_open("no key", &none, &err), -EINVAL);
    assert_int_equal(sign_key_open("", &none, &err), -EINVAL);
    assert_int_equal(sign_text(key, "so much", signature, &err), 0);
    assert_int_equal(sign_check(sign_key_public(key), "so muck", signature, pin, &err),
                     -EKEYREJECTED);
    assert_int_equal(sign_check(sign_key_public(key), "so muc", signature, pin, &err),
                     -EKEYREJECTED);
    assert_int_equal(sign_check(sign_key_public(other), "so much", signature, pin, &err),
                     -EKEYREJECTED);
    assert_int_equal(sign_check("", "so much", signature, pin, &err), -EBADMSG);
    assert_int_equal(sign_check("AAAA", "so much", signature, pin, &err), -EBADMSG);
    assert_int_equal(sign_check("*", "so much", signature, pin, &err), -EBADMSG);
    assert_int_equal(sign_check(sign_key_public(key), "so much", "*", pin, &err), -EBADMSG);
    assert_true(sign_check(sign_key_public(key), "so much", "", pin, &err) < 0);
    /* Each byte of it counts. */
    for (size_t i = 0; signature[i] && signature[i] != '='; i++) {
        memcpy(bad, signature, sizeof(bad));
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        if (sign_check(sign_key_public(key), "so much", bad, pin, &err) == 0)
            fail_msg("character %zu may be any", i);
    }
    sign_key_close(key);
    sign_key_close(other);
    sign_key_close(NULL);
}

static void test_signed(void **state)
{
    struct sign_key *key = make_key();
    char first[SIGN_TEXT_BYTES], again[SIGN_TEXT_BYTES], pin[CA_PIN_BYTES];
    struct err err;

    (void)state;
    assert_int_equal(sign_text(key, "so much", first, &err), 0);
    assert_int_equal(sign_check(sign_key_public(key), "so much", first, pin, &err), 0);
    assert_string_equal(pin, sign_key_pin(key));
    assert_int_equal(sign_text(key, "so much", again, &err), 0);
    assert_string_equal(first, again); /* a history made anew is the same to the byte */
    assert_int_equal(sign_text(key, "", again, &err), 0);
    assert_int_equal(sign_check(sign_key_public(key), "", again, pin, &err), 0);
    sign_key_close(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_signed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
