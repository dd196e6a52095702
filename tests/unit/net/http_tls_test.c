#include "http_fixture.h"

#include "net/http_client.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <nettle/base64.h>
#include <time.h>

/* A self-signed certificate of 127.0.0.1, made here: nothing secret lies in the project. */
struct identity {
    char cert_pem[4096], key_pem[4096];
    char pin[64]; /* base64 of the SHA-256 of its public key */
};

static void must(int rc)
{
    if (rc < 0)
        fail_msg("gnutls: %s", gnutls_strerror(rc));
}

static void identity_create(struct identity *identity)
{
    static const unsigned char loopback[] = { 127, 0, 0, 1 };
    unsigned char serial[8] = { 1 }, public_key[1024], digest[32];
    size_t cert_bytes = sizeof(identity->cert_pem), key_bytes = sizeof(identity->key_pem);
    size_t public_bytes = sizeof(public_key);
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    gnutls_pubkey_t public;
    time_t now = time(NULL);

    memset(identity, 0, sizeof(*identity));
    must(gnutls_rnd(GNUTLS_RND_NONCE, serial + 1, sizeof(serial) - 1));
    must(gnutls_x509_privkey_init(&key));
    must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    must(gnutls_x509_crt_init(&cert));
    must(gnutls_x509_crt_set_version(cert, 3));
    must(gnutls_x509_crt_set_serial(cert, serial, sizeof(serial)));
    must(gnutls_x509_crt_set_activation_time(cert, now - 3600));
    must(gnutls_x509_crt_set_expiration_time(cert, now + 3600));
    must(gnutls_x509_crt_set_dn(cert, "CN=mains test", NULL));
    must(gnutls_x509_crt_set_basic_constraints(cert, 1, 0));
    must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, loopback,
                                              sizeof(loopback), GNUTLS_FSAN_SET));
    must(gnutls_x509_crt_set_key(cert, key));
    must(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0));
    must(gnutls_x509_crt_export(cert, GNUTLS_X509_FMT_PEM, identity->cert_pem, &cert_bytes));
    must(gnutls_x509_privkey_export(key, GNUTLS_X509_FMT_PEM, identity->key_pem, &key_bytes));
    must(gnutls_pubkey_init(&public));
    must(gnutls_pubkey_import_x509(public, cert, 0));
    must(gnutls_pubkey_export(public, GNUTLS_X509_FMT_DER, public_key, &public_bytes));
    must(gnutls_hash_fast(GNUTLS_DIG_SHA256, public_key, public_bytes, digest));
    base64_encode_raw(identity->pin, sizeof(digest), digest);
    gnutls_pubkey_deinit(public);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

static struct identity server_identity, other_identity;

static int setup(void **state)
{
    (void)state;
    identity_create(&server_identity);
    identity_create(&other_identity);
    return 0;
}

static int call(const struct fixture *fixture, const char *path, const char *ca, const char *pin,
                const struct identity *client, struct http_answer *answer)
{
    struct http_easy *easy = http_easy_create();
    struct http_call call = { .method = "POST",
                              .body = "abc",
                              .body_len = 3,
                              .ca_pem = ca,
                              .pin_sha256 = pin,
                              .client_cert_pem = client ? client->cert_pem : NULL,
                              .client_key_pem = client ? client->key_pem : NULL };
    char url[100];
    int rc;

    snprintf(url, sizeof(url), "https://127.0.0.1:%u%s", fixture->port, path);
    call.url = url;
    rc = http_easy_call(easy, &call, NULL, NULL, answer);
    http_easy_destroy(easy);
    return rc;
}

/* A client speaks only to the server it was told to trust. */
static void test_trust(void **state)
{
    const struct {
        const char *ca, *pin;
        int status;
    } cases[] = {
        { NULL, NULL, 0 },
        { other_identity.cert_pem, NULL, 0 },
        { NULL, other_identity.pin, 0 },
        { NULL, "", 0 },
        { "garbage", NULL, 0 },
        { server_identity.cert_pem, other_identity.pin, 0 },
        { other_identity.cert_pem, server_identity.pin, 0 },
        { server_identity.cert_pem, NULL, 200 },
        { NULL, server_identity.pin, 200 },
        { server_identity.cert_pem, server_identity.pin, 200 },
    };
    struct http_server_config config = { .cert_pem = server_identity.cert_pem,
                                         .key_pem = server_identity.key_pem };
    struct fixture fixture;
    int welcome = 0;

    (void)state;
    fixture_start(&fixture, &config);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_answer answer;
        int rc = call(&fixture, "/echo", cases[i].ca, cases[i].pin, NULL, &answer);

        if (answer.status != cases[i].status || (rc == 0) != (cases[i].status == 200) ||
            (rc < 0 && !answer.error[0]))
            fail_msg("case %zu: rc %d, status %d, %s", i, rc, answer.status, answer.error);
        if (rc == 0)
            assert_string_equal(answer.body.data, "POST /echo q=- bearer=- 3:abc");
        welcome += cases[i].status == 200;
        http_answer_fini(&answer);
    }
    assert_int_equal(fixture.handled, welcome);
    fixture_stop(&fixture);
}

static void test_late_and_streamed(void **state)
{
    struct http_server_config config = { .cert_pem = server_identity.cert_pem,
                                         .key_pem = server_identity.key_pem };
    struct fixture fixture;
    struct http_answer answer;

    (void)state;
    fixture_start(&fixture, &config);
    assert_int_equal(call(&fixture, "/later", NULL, server_identity.pin, NULL, &answer), 0);
    assert_string_equal(answer.body.data, "late");
    http_answer_fini(&answer);
    assert_int_equal(call(&fixture, "/stream?n=2", NULL, server_identity.pin, NULL, &answer), 0);
    assert_string_equal(answer.body.data, "chunk 0\nchunk 1\n");
    http_answer_fini(&answer);
    assert_int_equal(call(&fixture, "/flood", NULL, server_identity.pin, NULL, &answer), 0);
    assert_int_equal(answer.body.len, fixture.flooded);
    http_answer_fini(&answer);
    fixture_stop(&fixture);
}

static void test_client_certificate(void **state)
{
    struct http_server_config config = { .cert_pem = server_identity.cert_pem,
                                         .key_pem = server_identity.key_pem,
                                         .client_ca_pem = other_identity.cert_pem };
    struct fixture fixture;
    struct http_answer answer;

    (void)state;
    fixture_start(&fixture, &config);
    /* None, and one that its CA did not sign: refused, whether in the handshake or by a 403. */
    call(&fixture, "/echo", NULL, server_identity.pin, NULL, &answer);
    assert_int_not_equal(answer.status, 200);
    http_answer_fini(&answer);
    call(&fixture, "/echo", NULL, server_identity.pin, &server_identity, &answer);
    assert_int_not_equal(answer.status, 200);
    http_answer_fini(&answer);
    assert_int_equal(fixture.handled, 0);
    assert_int_equal(call(&fixture, "/echo", NULL, server_identity.pin, &other_identity, &answer),
                     0);
    assert_int_equal(answer.status, 200);
    http_answer_fini(&answer);
    fixture_stop(&fixture);
}

/* Plain HTTP to a TLS port, and a handshake that never comes, harm nobody. */
static void test_plain_to_tls(void **state)
{
    static const char plain[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_server_config config = { .cert_pem = server_identity.cert_pem,
                                         .key_pem = server_identity.key_pem,
                                         .idle_timeout_s = 3 };
    struct fixture fixture;
    struct http_answer answer;
    char text[100];
    int plain_fd, silent_fd;

    (void)state;
    fixture_start(&fixture, &config);
    silent_fd = fixture_connect(&fixture);
    plain_fd = fixture_connect(&fixture);
    fixture_talk(plain_fd, plain, sizeof(plain) - 1, text, sizeof(text), NULL);
    assert_null(strstr(text, "HTTP/1"));
    assert_int_equal(call(&fixture, "/echo", NULL, server_identity.pin, NULL, &answer), 0);
    http_answer_fini(&answer);
    assert_int_equal(recv(silent_fd, text, sizeof(text), 0), 0);
    assert_int_equal(fixture.handled, 1);
    fixture_stop(&fixture);
    close(plain_fd);
    close(silent_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_late_and_streamed),
        cmocka_unit_test(test_plain_to_tls),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, NULL);
}
