#include "controller/seal.h"

#include "base/file.h"
#include "base/rng.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEAL_KEY_BYTES 32u
#define SEAL_NONCE_BYTES 12u
#define SEAL_TAG_BYTES 16u
#define SEAL_HASH_BYTES 32u
#define SEAL_DIGEST_LABEL "mains idempotency"
#define SEAL_PREFIX "{\"sealed\":\""

struct seal {
    gnutls_aead_cipher_hd_t cipher;
    uint8_t digest_key[SEAL_HASH_BYTES]; /* derived: not the key that seals */
};

static int load_key(const char *path, uint8_t key[SEAL_KEY_BYTES], struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = buf_init(4096);
    int rc;

    if (access(path, F_OK) < 0) {
        rc = random_bytes(key, SEAL_KEY_BYTES);
        if (rc < 0)
            return err_set(err, rc, "no random bytes for %s", path);
        return file_write(path, key, SEAL_KEY_BYTES, 0600, true, err);
    }
    rc = file_read(path, &bytes, err);
    if (rc < 0)
        return rc;
    if (bytes.len != SEAL_KEY_BYTES)
        return err_set(err, -EINVAL, "%s: %zu bytes where a key has %u", path, bytes.len,
                       SEAL_KEY_BYTES);
    memcpy(key, bytes.data, SEAL_KEY_BYTES);
    gnutls_memset(bytes.data, 0, bytes.len);
    return 0;
}

int seal_open(const char *state_dir, struct seal **seal_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/secret.key", state_dir);
    uint8_t key[SEAL_KEY_BYTES];
    gnutls_datum_t datum = { key, sizeof(key) };
    struct seal *seal;
    int rc;

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    rc = load_key(path, key, err);
    if (rc < 0)
        return rc;
    seal = calloc(1, sizeof(*seal));
    if (!seal)
        return err_set(err, -ENOMEM, "out of memory");
    rc = gnutls_aead_cipher_init(&seal->cipher, GNUTLS_CIPHER_AES_256_GCM, &datum);
    if (rc == 0)
        rc = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, sizeof(key), SEAL_DIGEST_LABEL,
                              sizeof(SEAL_DIGEST_LABEL), seal->digest_key);
    gnutls_memset(key, 0, sizeof(key));
    if (rc < 0) {
        free(seal);
        return err_set(err, -EIO, "AES-256-GCM: %s", gnutls_strerror(rc));
    }
    *seal_out = seal;
    return 0;
}

void seal_close(struct seal *seal)
{
    if (!seal)
        return;
    gnutls_aead_cipher_deinit(seal->cipher);
    gnutls_memset(seal->digest_key, 0, sizeof(seal->digest_key));
    free(seal);
}

uint64_t seal_digest(const struct seal *seal, const char *text, size_t len)
{
    uint8_t hash[SEAL_HASH_BYTES];
    uint64_t digest;

    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, seal->digest_key, sizeof(seal->digest_key), text, len,
                         hash) < 0)
        return 0;
    memcpy(&digest, hash, sizeof(digest));
    digest &= INT64_MAX;
    return digest ? digest : 1;
}

bool seal_is_sealed(const char *stored)
{
    return !strncmp(stored, SEAL_PREFIX, sizeof(SEAL_PREFIX) - 1);
}

int seal_spec(const struct seal *seal, const char *tenant, const char *spec_full,
              const char *spec_bare, struct buf *out, struct err *err)
{
    size_t len = strlen(spec_full);
    size_t sealed_len = len + SEAL_TAG_BYTES;
    CLEANUP(freep) uint8_t *sealed = malloc(SEAL_NONCE_BYTES + len + SEAL_TAG_BYTES);
    gnutls_datum_t datum, text = { 0 };
    int rc;

    if (!sealed || random_bytes(sealed, SEAL_NONCE_BYTES) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    rc = gnutls_aead_cipher_encrypt(seal->cipher, sealed, SEAL_NONCE_BYTES, tenant, strlen(tenant),
                                    SEAL_TAG_BYTES, spec_full, len, sealed + SEAL_NONCE_BYTES,
                                    &sealed_len);
    if (rc < 0)
        return err_set(err, -EIO, "sealing secrets: %s", gnutls_strerror(rc));
    datum.data = sealed;
    datum.size = (unsigned)(SEAL_NONCE_BYTES + sealed_len);
    if (gnutls_base64_encode2(&datum, &text) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    buf_add_text(out, SEAL_PREFIX);
    buf_add(out, text.data, text.size);
    buf_add_text(out, spec_bare[1] == '}' ? "\"" : "\",");
    buf_add_text(out, spec_bare + 1);
    gnutls_free(text.data);
    return out->failed ? err_set(err, -E2BIG, "the spec with its secrets is too large") : 0;
}

int seal_open_spec(const struct seal *seal, const char *tenant, const char *stored, size_t len,
                   struct buf *out, struct err *err)
{
    const size_t head = sizeof(SEAL_PREFIX) - 1;
    gnutls_datum_t datum, bytes = { 0 };
    const char *end;
    size_t plain_len;
    int rc;

    if (!seal_is_sealed(stored))
        return buf_add(out, stored, len);
    end = memchr(stored + head, '"', len - head);
    if (!end)
        return err_set(err, -EBADMSG, "sealed secrets are cut short");
    datum.data = (unsigned char *)(uintptr_t)(stored + head);
    datum.size = (unsigned)(end - stored - (ptrdiff_t)head);
    if (gnutls_base64_decode2(&datum, &bytes) < 0)
        return err_set(err, -EBADMSG, "sealed secrets are not base64");
    rc = -EBADMSG;
    if (bytes.size > SEAL_NONCE_BYTES + SEAL_TAG_BYTES && buf_reserve(out, bytes.size) == 0) {
        plain_len = bytes.size - SEAL_NONCE_BYTES - SEAL_TAG_BYTES;
        if (gnutls_aead_cipher_decrypt(seal->cipher, bytes.data, SEAL_NONCE_BYTES, tenant,
                                       strlen(tenant), SEAL_TAG_BYTES,
                                       bytes.data + SEAL_NONCE_BYTES, bytes.size - SEAL_NONCE_BYTES,
                                       out->data + out->len, &plain_len) == 0) {
            out->len += plain_len;
            out->data[out->len] = '\0';
            rc = 0;
        }
    }
    gnutls_free(bytes.data);
    return rc < 0 ? err_set(err, rc, "secrets were sealed with another key or are damaged") : 0;
}

const char *seal_open_part(const char *stored)
{
    const char *end;

    if (!seal_is_sealed(stored))
        return stored + 1;
    end = strchr(stored + sizeof(SEAL_PREFIX) - 1, '"');
    if (!end)
        return "}";
    return end[1] == ',' ? end + 2 : end + 1;
}
