#include "net/sign.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ID_BYTES 32u

struct sign_key {
    gnutls_privkey_t key;
    gnutls_sign_algorithm_t algorithm;
    char public_key[SIGN_KEY_BYTES], pin[CA_PIN_BYTES];
};

static void pubkeyp(gnutls_pubkey_t *key)
{
    if (*key)
        gnutls_pubkey_deinit(*key);
}

static gnutls_datum_t datum_of(const char *text)
{
    gnutls_datum_t datum = { .size = (unsigned)strlen(text) };

    memcpy(&datum.data, &text, sizeof(text)); /* it is only read */
    return datum;
}

/* Takes the datum over. */
static bool take_base64(gnutls_datum_t *datum, char *out, size_t bytes)
{
    bool fits = BASE64_ENCODE_RAW_LENGTH((size_t)datum->size) < bytes;

    if (fits) {
        base64_encode_raw(out, datum->size, datum->data);
        out[BASE64_ENCODE_RAW_LENGTH((size_t)datum->size)] = '\0';
    }
    gnutls_free(datum->data);
    return fits;
}

static int find_pin(gnutls_pubkey_t key, char pin_out[CA_PIN_BYTES])
{
    uint8_t id[KEY_ID_BYTES];
    size_t len = sizeof(id);

    if (gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, &len) < 0 || len != sizeof(id))
        return -EBADMSG;
    base64_encode_raw(pin_out, sizeof(id), id);
    pin_out[CA_PIN_BYTES - 1] = '\0';
    return 0;
}

static int describe(struct sign_key *key)
{
    gnutls_datum_t der = { 0 };
    gnutls_pubkey_t public_key = NULL;
    int rc = gnutls_pubkey_init(&public_key);

    if (rc >= 0)
        rc = gnutls_pubkey_import_privkey(public_key, key->key, 0, 0);
    if (rc >= 0)
        rc = gnutls_pubkey_export2(public_key, GNUTLS_X509_FMT_DER, &der);
    if (rc >= 0 && !take_base64(&der, key->public_key, sizeof(key->public_key)))
        rc = GNUTLS_E_SHORT_MEMORY_BUFFER;
    if (rc >= 0 && find_pin(public_key, key->pin) < 0)
        rc = GNUTLS_E_INTERNAL_ERROR;
    pubkeyp(&public_key);
    return rc;
}

int sign_key_open(const char *key_pem, struct sign_key **key_out, struct err *err)
{
    struct sign_key *key = calloc(1, sizeof(*key));
    gnutls_datum_t datum = datum_of(key_pem);
    int rc;

    if (!key)
        return err_set(err, -ENOMEM, "key: out of memory");
    rc = gnutls_privkey_init(&key->key);
    if (rc >= 0)
        rc = gnutls_privkey_import_x509_raw(key->key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc >= 0)
        key->algorithm = gnutls_pk_to_sign(
            (gnutls_pk_algorithm_t)gnutls_privkey_get_pk_algorithm(key->key, NULL),
            GNUTLS_DIG_SHA256);
    if (rc >= 0)
        rc = describe(key);
    if (rc < 0 || key->algorithm == GNUTLS_SIGN_UNKNOWN) {
        sign_key_close(key);
        return err_set(err, -EINVAL, "key: %s",
                       rc < 0 ? gnutls_strerror(rc) : "of a kind that does not sign");
    }
    *key_out = key;
    return 0;
}

void sign_key_close(struct sign_key *key)
{
    if (!key)
        return;
    if (key->key)
        gnutls_privkey_deinit(key->key);
    free(key);
}

const char *sign_key_public(const struct sign_key *key)
{
    return key->public_key;
}

const char *sign_key_pin(const struct sign_key *key)
{
    return key->pin;
}

int sign_text(struct sign_key *key, const char *text, char signature_out[SIGN_TEXT_BYTES],
              struct err *err)
{
    gnutls_datum_t datum = datum_of(text), signature = { 0 };
    int rc = gnutls_privkey_sign_data2(key->key, key->algorithm, GNUTLS_PRIVKEY_FLAG_REPRODUCIBLE,
                                       &datum, &signature);

    if (rc < 0)
        return err_set(err, -EINVAL, "signature: %s", gnutls_strerror(rc));
    if (!take_base64(&signature, signature_out, SIGN_TEXT_BYTES))
        return err_set(err, -EINVAL, "signature: the key is too long");
    return 0;
}

/* malloc'd; NULL: not base64. */
static uint8_t *decode(const char *text, size_t *len_out)
{
    struct base64_decode_ctx context;
    uint8_t *data = malloc(BASE64_DECODE_LENGTH(strlen(text)) + 1);

    *len_out = BASE64_DECODE_LENGTH(strlen(text));
    base64_decode_init(&context);
    if (data && base64_decode_update(&context, len_out, data, strlen(text), text) &&
        base64_decode_final(&context))
        return data;
    free(data);
    return NULL;
}

int sign_check(const char *public_key, const char *text, const char *signature,
               char pin_out[CA_PIN_BYTES], struct err *err)
{
    size_t key_len = 0, signature_len = 0;
    CLEANUP(freep) uint8_t *key_bytes = decode(public_key, &key_len);
    CLEANUP(freep) uint8_t *signature_bytes = decode(signature, &signature_len);
    CLEANUP(pubkeyp) gnutls_pubkey_t key = NULL;
    gnutls_datum_t der = { key_bytes, (unsigned)key_len };
    gnutls_datum_t signed_ = { signature_bytes, (unsigned)signature_len };
    gnutls_datum_t datum = datum_of(text);
    gnutls_sign_algorithm_t algorithm;

    pin_out[0] = '\0';
    if (!key_bytes || gnutls_pubkey_init(&key) < 0 ||
        gnutls_pubkey_import(key, &der, GNUTLS_X509_FMT_DER) < 0 || find_pin(key, pin_out) < 0)
        return err_set(err, -EBADMSG, "what should be a public key is none");
    algorithm = gnutls_pk_to_sign((gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(key, NULL),
                                  GNUTLS_DIG_SHA256);
    if (!signature_bytes)
        return err_set(err, -EBADMSG, "what should be a signature is none");
    if (algorithm == GNUTLS_SIGN_UNKNOWN ||
        gnutls_pubkey_verify_data2(key, algorithm, 0, &datum, &signed_) < 0)
        return err_set(err, -EKEYREJECTED, "the signature does not fit the text and the key");
    return 0;
}
