/* sign.h - signatures over short texts, by the keys that the members of a network have.
 *
 * A signature is the base64 of what the key's own scheme makes with SHA-256 (ECDSA in DER; RSA
 * PKCS #1). It is made without dice (RFC 6979), so that the same text signed again gives the same
 * signature. A public key is the base64 of its DER SubjectPublicKeyInfo; its pin is as ca.h has
 * it. */
#pragma once

#include "net/ca.h"

#define SIGN_TEXT_BYTES 704u /* of a signature, NUL included */
#define SIGN_KEY_BYTES 768u  /* of a public key */

struct sign_key; /* a private key. One thread at a time */
/* -EINVAL: no key. */
int sign_key_open(const char *key_pem, struct sign_key **key_out, struct err *err);
void sign_key_close(struct sign_key *key);
const char *sign_key_public(const struct sign_key *key);
const char *sign_key_pin(const struct sign_key *key);
int sign_text(struct sign_key *key, const char *text, char signature_out[SIGN_TEXT_BYTES],
              struct err *err);

/* Has the owner of this public key signed this text? The key's pin goes to `pin_out` whenever it is
 * a key: whose it is, is the caller's to know. -EBADMSG: no key, or no signature; -EKEYREJECTED:
 * the signature is of another text or key. */
int sign_check(const char *public_key, const char *text, const char *signature,
               char pin_out[CA_PIN_BYTES], struct err *err);
