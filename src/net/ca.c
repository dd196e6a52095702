#include "net/ca.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERIAL_BYTES 16u
#define KEY_ID_BYTES 32u
#define DAY_S 86400
#define CA_DAYS 7300
#define SERVER_DAYS 825
#define BACKDATED_S (25 * 3600) /* clocks differ, and are set: by hours, or a day, not by more */

struct ca {
    char *state_dir, *cert_text;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
};

static void crtp(gnutls_x509_crt_t *cert)
{
    if (*cert)
        gnutls_x509_crt_deinit(*cert);
}

static void privkeyp(gnutls_x509_privkey_t *key)
{
    if (*key)
        gnutls_x509_privkey_deinit(*key);
}

static void crqp(gnutls_x509_crq_t *request)
{
    if (*request)
        gnutls_x509_crq_deinit(*request);
}

static int fail(struct err *err, const char *what, int rc)
{
    return err_set(err, rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s: %s", what,
                   gnutls_strerror(rc));
}

static gnutls_datum_t datum_of(const char *text)
{
    gnutls_datum_t datum = { .size = (unsigned)strlen(text) };

    memcpy(&datum.data, &text, sizeof(text)); /* it is only read */
    return datum;
}

/* Takes `datum` over. */
static int take_text(gnutls_datum_t *datum, char **text_out, struct err *err)
{
    *text_out = strndup((const char *)datum->data, datum->size);
    gnutls_free(datum->data);
    return *text_out ? 0 : err_set(err, -ENOMEM, "certificate: out of memory");
}

/* ---- keys ---- */

static int key_generate(gnutls_x509_privkey_t *key_out, struct err *err)
{
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    int rc = gnutls_x509_privkey_init(&key);

    if (rc >= 0)
        rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                          GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (rc < 0)
        return fail(err, "key", rc);
    *key_out = TAKE(key);
    return 0;
}

static int key_parse(const char *pem, gnutls_x509_privkey_t *key_out, struct err *err)
{
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t datum = datum_of(pem);
    int rc = gnutls_x509_privkey_init(&key);

    if (rc >= 0)
        rc = gnutls_x509_privkey_import(key, &datum, GNUTLS_X509_FMT_PEM);
    if (rc < 0)
        return fail(err, "key", rc);
    *key_out = TAKE(key);
    return 0;
}

static int key_print(gnutls_x509_privkey_t key, char **pem_out, struct err *err)
{
    gnutls_datum_t datum = { 0 };
    int rc = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &datum);

    return rc < 0 ? fail(err, "key", rc) : take_text(&datum, pem_out, err);
}

int ca_key_create(char **key_pem_out, struct err *err)
{
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    int rc = key_generate(&key, err);

    return rc < 0 ? rc : key_print(key, key_pem_out, err);
}

/* The key in the file, or a new one that is put there. */
static int key_open(const char *path, gnutls_x509_privkey_t *key_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(CA_PEM_BYTES_MAX);
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    CLEANUP(freep) char *pem = NULL;
    int rc = file_read(path, &text, err);

    if (rc == 0) {
        rc = key_parse(text.data ? text.data : "", &key, err);
        if (text.data)
            explicit_bzero(text.data, text.len);
        if (rc < 0)
            return err_prefix(err, -EBADMSG, "%s", path);
    } else if (rc == -ENOENT) {
        rc = key_generate(&key, err);
        if (rc == 0)
            rc = key_print(key, &pem, err);
        if (rc == 0 && pem)
            rc = file_write(path, pem, strlen(pem), 0600, true, err);
        if (pem)
            explicit_bzero(pem, strlen(pem));
    }
    if (rc == 0)
        *key_out = TAKE(key);
    return rc;
}

/* ---- certificates ---- */

static int cert_parse(const char *pem, gnutls_x509_crt_t *cert_out, struct err *err)
{
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    gnutls_datum_t datum = datum_of(pem);
    int rc = gnutls_x509_crt_init(&cert);

    if (rc >= 0)
        rc = gnutls_x509_crt_import(cert, &datum, GNUTLS_X509_FMT_PEM);
    if (rc < 0)
        return fail(err, "certificate", rc);
    *cert_out = TAKE(cert);
    return 0;
}

/* What all certificates have in common; whom it is for, and what, is the caller's. */
static int cert_begin(const char *name, int64_t from_s, int64_t until_s,
                      gnutls_x509_crt_t *cert_out, struct err *err)
{
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    uint8_t serial[SERIAL_BYTES];
    int rc = random_bytes(serial, sizeof(serial));

    if (rc < 0)
        return err_set(err, rc, "certificate: no random bytes from the kernel");
    serial[0] &= 0x7f; /* positive */
    rc = gnutls_x509_crt_init(&cert);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_version(cert, 3);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
    if (rc >= 0)
        rc = gnutls_x509_crt_set_activation_time(cert, (time_t)from_s);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_expiration_time(cert, (time_t)until_s);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                           (unsigned)strlen(name));
    if (rc < 0)
        return fail(err, "certificate", rc);
    *cert_out = TAKE(cert);
    return 0;
}

static int cert_sign(struct ca *ca, gnutls_x509_crt_t cert, char **pem_out, struct err *err)
{
    gnutls_datum_t datum = { 0 };
    int rc = gnutls_x509_crt_sign2(cert, ca->cert ? ca->cert : cert, ca->key, GNUTLS_DIG_SHA256, 0);

    if (rc >= 0)
        rc = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &datum);
    return rc < 0 ? fail(err, "certificate", rc) : take_text(&datum, pem_out, err);
}

static int cert_pin(gnutls_x509_crt_t cert, char pin_out[CA_PIN_BYTES], struct err *err)
{
    uint8_t id[KEY_ID_BYTES];
    size_t len = sizeof(id);
    int rc = gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, id, &len);

    if (rc < 0 || len != sizeof(id))
        return fail(err, "certificate", rc < 0 ? rc : GNUTLS_E_INTERNAL_ERROR);
    base64_encode_raw(pin_out, sizeof(id), id);
    pin_out[CA_PIN_BYTES - 1] = '\0';
    return 0;
}

static int make_own_cert(struct ca *ca, struct err *err)
{
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    int64_t now_s = clock_wall_ms() / 1000;
    uint8_t number[4] = { 0 };
    char name[32];
    int rc = random_bytes(number, sizeof(number));

    if (rc < 0)
        return err_set(err, rc, "certificate: no random bytes from the kernel");
    /* A name of its own, so that those of two networks are not taken for each other. */
    snprintf(name, sizeof(name), "mains CA %02x%02x%02x%02x", number[0], number[1], number[2],
             number[3]);
    rc = cert_begin(name, now_s - BACKDATED_S, now_s + (int64_t)CA_DAYS * DAY_S, &cert, err);
    if (rc < 0)
        return rc;
    rc = gnutls_x509_crt_set_key(cert, ca->key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_basic_constraints(cert, 1, 0);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    if (rc < 0)
        return fail(err, "certificate", rc);
    rc = cert_sign(ca, cert, &ca->cert_text, err);
    if (rc == 0)
        ca->cert = TAKE(cert);
    return rc;
}

int ca_open(const char *state_dir, struct ca **ca_out, struct err *err)
{
    struct ca *ca = calloc(1, sizeof(*ca));
    CLEANUP(freep) char *key_path = path_format("%s/ca.key", state_dir);
    CLEANUP(freep) char *cert_path = path_format("%s/ca.crt", state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(CA_PEM_BYTES_MAX);
    int rc = 0;

    if (ca)
        ca->state_dir = strdup(state_dir);
    if (!ca || !ca->state_dir || !key_path || !cert_path)
        rc = err_set(err, -ENOMEM, "certificates: out of memory");
    if (rc == 0)
        rc = key_open(key_path, &ca->key, err);
    if (rc == 0) {
        rc = file_read(cert_path, &text, err);
        if (rc == -ENOENT) {
            rc = make_own_cert(ca, err);
            if (rc == 0 && ca->cert_text)
                rc = file_write(cert_path, ca->cert_text, strlen(ca->cert_text), 0600, true, err);
        } else if (rc == 0) {
            rc = cert_parse(text.data ? text.data : "", &ca->cert, err);
            if (rc < 0)
                err_prefix(err, rc = -EBADMSG, "%s", cert_path);
            else if (!(ca->cert_text = buf_take(&text)))
                rc = err_set(err, -ENOMEM, "certificates: out of memory");
        }
    }
    if (rc < 0) {
        ca_close(ca);
        return rc;
    }
    *ca_out = ca;
    return 0;
}

void ca_close(struct ca *ca)
{
    if (!ca)
        return;
    privkeyp(&ca->key);
    crtp(&ca->cert);
    free(ca->cert_text);
    free(ca->state_dir);
    free(ca);
}

const char *ca_cert_pem(const struct ca *ca)
{
    return ca->cert_text;
}

/* The names a client that checks names may have dialled. */
static int add_server_names(gnutls_x509_crt_t cert, const char *address)
{
    struct in6_addr six;
    struct in_addr four;
    char host[256] = "";
    int rc = 0;

    if (inet_pton(AF_INET, address, &four) == 1)
        rc = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, &four, sizeof(four),
                                                  GNUTLS_FSAN_APPEND);
    else if (inet_pton(AF_INET6, address, &six) == 1)
        rc = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, &six, sizeof(six),
                                                  GNUTLS_FSAN_APPEND);
    if (rc >= 0 && gethostname(host, sizeof(host) - 1) == 0 && host[0])
        rc = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, host,
                                                  (unsigned)strlen(host), GNUTLS_FSAN_APPEND);
    return rc;
}

int ca_make_server(struct ca *ca, const char *address, char **cert_pem_out, char **key_pem_out,
                   struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/server.key", ca->state_dir);
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    CLEANUP(freep) char *cert_pem = NULL;
    int64_t now_s = clock_wall_ms() / 1000;
    int rc = path ? key_open(path, &key, err) : err_set(err, -ENOMEM, "key: out of memory");

    if (rc == 0)
        rc = cert_begin("mains controller", now_s - BACKDATED_S,
                        now_s + (int64_t)SERVER_DAYS * DAY_S, &cert, err);
    if (rc < 0)
        return rc;
    rc = gnutls_x509_crt_set_key(cert, key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_basic_constraints(cert, 0, -1);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
    if (rc >= 0)
        rc = add_server_names(cert, address);
    if (rc < 0)
        return fail(err, "certificate", rc);
    rc = cert_sign(ca, cert, &cert_pem, err);
    if (rc == 0)
        rc = key_print(key, key_pem_out, err);
    if (rc == 0)
        *cert_pem_out = TAKE(cert_pem);
    return rc;
}

int ca_sign_client(struct ca *ca, const char *request_pem, const char *name, int64_t now_ms,
                   int64_t until_ms, char **cert_pem_out, char pin_out[CA_PIN_BYTES],
                   struct err *err)
{
    CLEANUP(crqp) gnutls_x509_crq_t request = NULL;
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    gnutls_datum_t datum = datum_of(request_pem);
    gnutls_pubkey_t key = NULL;
    int rc = gnutls_x509_crq_init(&request);

    if (rc >= 0)
        rc = gnutls_x509_crq_import(request, &datum, GNUTLS_X509_FMT_PEM);
    if (rc >= 0)
        rc = gnutls_x509_crq_verify(request, 0);
    if (rc < 0)
        return fail(err, "certificate request", rc);
    rc = cert_begin(name, now_ms / 1000 - BACKDATED_S, until_ms / 1000, &cert, err);
    if (rc < 0)
        return rc;
    /* Its key, and nothing else that it says. */
    rc = gnutls_pubkey_init(&key);
    if (rc >= 0)
        rc = gnutls_pubkey_import_x509_crq(key, request, 0);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_pubkey(cert, key);
    if (key)
        gnutls_pubkey_deinit(key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_basic_constraints(cert, 0, -1);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    if (rc < 0)
        return fail(err, "certificate request", rc);
    rc = cert_pin(cert, pin_out, err);
    return rc < 0 ? rc : cert_sign(ca, cert, cert_pem_out, err);
}

/* ---- the other side ---- */

int ca_request_create(const char *key_pem, const char *name, char **request_pem_out,
                      struct err *err)
{
    CLEANUP(privkeyp) gnutls_x509_privkey_t key = NULL;
    CLEANUP(crqp) gnutls_x509_crq_t request = NULL;
    gnutls_datum_t datum = { 0 };
    int rc = key_parse(key_pem, &key, err);

    if (rc < 0)
        return rc;
    rc = gnutls_x509_crq_init(&request);
    if (rc >= 0)
        rc = gnutls_x509_crq_set_version(request, 1);
    if (rc >= 0)
        rc = gnutls_x509_crq_set_dn_by_oid(request, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                           (unsigned)strlen(name));
    if (rc >= 0)
        rc = gnutls_x509_crq_set_key(request, key);
    if (rc >= 0)
        rc = gnutls_x509_crq_sign2(request, key, GNUTLS_DIG_SHA256, 0);
    if (rc >= 0)
        rc = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_PEM, &datum);
    return rc < 0 ? fail(err, "certificate request", rc) : take_text(&datum, request_pem_out, err);
}

int ca_cert_read(const char *cert_pem, char pin_out[CA_PIN_BYTES], int64_t *until_ms_out,
                 char name_out[CA_NAME_BYTES], struct err *err)
{
    CLEANUP(crtp) gnutls_x509_crt_t cert = NULL;
    size_t name_bytes = CA_NAME_BYTES;
    int rc = cert_parse(cert_pem, &cert, err);

    if (rc == 0 && pin_out)
        rc = cert_pin(cert, pin_out, err);
    if (rc < 0)
        return rc;
    if (until_ms_out)
        *until_ms_out = (int64_t)gnutls_x509_crt_get_expiration_time(cert) * 1000;
    if (name_out) {
        rc = gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name_out,
                                           &name_bytes);
        if (rc < 0)
            return fail(err, "certificate", rc);
    }
    return 0;
}
