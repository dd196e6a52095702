#include "net/ca.h"

#include "base/file.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct bed {
    char dir[64];
    struct ca *ca;
    struct err err;
};

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    snprintf(bed->dir, sizeof(bed->dir), "/tmp/mains-ca.XXXXXX");
    if (!mkdtemp(bed->dir) || ca_open(bed->dir, &bed->ca, &bed->err) < 0)
        return -1;
    *state = bed;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;

    ca_close(bed->ca);
    dir_remove(bed->dir, NULL);
    free(bed);
    return 0;
}

static int64_t begins_s(const char *cert_pem)
{
    gnutls_datum_t datum = { (unsigned char *)(uintptr_t)cert_pem, (unsigned)strlen(cert_pem) };
    gnutls_x509_crt_t cert;
    int64_t begins;

    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_import(cert, &datum, GNUTLS_X509_FMT_PEM), 0);
    begins = gnutls_x509_crt_get_activation_time(cert);
    gnutls_x509_crt_deinit(cert);
    return begins;
}

static void test_client(void **state)
{
    struct bed *bed = *state;
    CLEANUP(freep) char *key = NULL;
    CLEANUP(freep) char *request = NULL;
    CLEANUP(freep) char *cert = NULL;
    CLEANUP(freep) char *again = NULL;
    char pin[CA_PIN_BYTES], read_pin[CA_PIN_BYTES], name[CA_NAME_BYTES];
    int64_t until_ms = 0;

    assert_int_equal(ca_sign_client(bed->ca, "nonsense", "lab", 0, 1000, &cert, pin, &bed->err),
                     -EINVAL);
    assert_null(cert);
    assert_int_equal(ca_key_create(&key, &bed->err), 0);
    /* What the request says of itself does not count. */
    assert_int_equal(ca_request_create(key, "home", &request, &bed->err), 0);
    assert_int_equal(ca_sign_client(bed->ca, request, "lab", 1800000000000, 1800000100000, &cert,
                                    pin, &bed->err),
                     0);
    assert_int_equal(ca_cert_read(cert, read_pin, &until_ms, name, &bed->err), 0);
    /* Good also for who has a clock that is behind, or is set back later: by a day. */
    assert_true(begins_s(cert) <= 1800000000 - 24 * 3600);
    assert_string_equal(name, "lab");
    assert_string_equal(pin, read_pin);
    assert_int_equal(until_ms, 1800000100000);
    assert_int_equal(ca_sign_client(bed->ca, request, "lab", 1800000000000, 1800000200000, &again,
                                    read_pin, &bed->err),
                     0);
    assert_string_equal(pin, read_pin); /* the same key */
    assert_string_not_equal(cert, again);
}

static void test_request_of_another_key(void **state)
{
    struct bed *bed = *state;
    CLEANUP(freep) char *key = NULL;
    CLEANUP(freep) char *request = NULL;
    CLEANUP(freep) char *cert = NULL;
    char pin[CA_PIN_BYTES];
    char *middle;

    assert_int_equal(ca_key_create(&key, &bed->err), 0);
    assert_int_equal(ca_request_create(key, "lab", &request, &bed->err), 0);
    middle = request + strlen(request) / 2;
    *middle = *middle == 'A' ? 'B' : 'A';
    assert_int_equal(ca_sign_client(bed->ca, request, "lab", 0, 1000, &cert, pin, &bed->err),
                     -EINVAL);
}

static void test_kept(void **state)
{
    struct bed *bed = *state;
    CLEANUP(freep) char *key_path = path_format("%s/ca.key", bed->dir);
    CLEANUP(freep) char *before = strdup(ca_cert_pem(bed->ca));
    CLEANUP(freep) char *cert = NULL;
    CLEANUP(freep) char *key = NULL;
    CLEANUP(freep) char *cert_2 = NULL;
    CLEANUP(freep) char *key_2 = NULL;
    char pin[CA_PIN_BYTES], pin_2[CA_PIN_BYTES];
    struct stat st;

    assert_int_equal(ca_make_server(bed->ca, "192.0.2.7", &cert, &key, &bed->err), 0);
    ca_close(bed->ca);
    bed->ca = NULL;
    assert_int_equal(ca_open(bed->dir, &bed->ca, &bed->err), 0);
    assert_string_equal(before, ca_cert_pem(bed->ca));
    assert_int_equal(ca_make_server(bed->ca, "::1", &cert_2, &key_2, &bed->err), 0);
    assert_int_equal(ca_cert_read(cert, pin, NULL, NULL, &bed->err), 0);
    assert_int_equal(ca_cert_read(cert_2, pin_2, NULL, NULL, &bed->err), 0);
    assert_string_equal(pin, pin_2); /* what others pin stays */
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* One that is damaged is not made anew: all sites would have to join again. */
    ca_close(bed->ca);
    bed->ca = NULL;
    assert_int_equal(file_write(key_path, "x", 1, 0600, false, NULL), 0);
    assert_int_equal(ca_open(bed->dir, &bed->ca, &bed->err), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_request_of_another_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kept, set_up, tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
