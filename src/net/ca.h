/* ca.h - the network's own certificate authority, and what its members need of certificates.
 *
 * Keys are ECDSA on P-256. In the state folder, made at first use: ca.key (0600) and ca.crt, which
 * sign; server.key (0600), whose public key stays the same for good, so that others can pin it.
 * A pin is the base64 of the SHA-256 of a public key (its DER SubjectPublicKeyInfo), as
 * http_call.pin_sha256 takes it. Everything handed out is malloc'd PEM text. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CA_PIN_BYTES 45u  /* NUL included */
#define CA_NAME_BYTES 65u /* of a subject, NUL included */
#define CA_PEM_BYTES_MAX (16u << 10)

struct ca;
/* -EBADMSG: a file is there but is no key or certificate; nothing is made anew over it. */
int ca_open(const char *state_dir, struct ca **ca_out, struct err *err);
void ca_close(struct ca *ca);
const char *ca_cert_pem(const struct ca *ca);
/* The certificate that the API serves with, for `address` and this host's name; signed anew by each
 * call, always of the same key. */
int ca_make_server(struct ca *ca, const char *address, char **cert_pem_out, char **key_pem_out,
                   struct err *err);
/* Sign what a site asks for. The name is ours to choose: what the request says of itself does not
 * count, but its signature must prove that the sender has the key. -EINVAL: it is no request. */
int ca_sign_client(struct ca *ca, const char *request_pem, const char *name, int64_t now_ms,
                   int64_t until_ms, char **cert_pem_out, char pin_out[CA_PIN_BYTES],
                   struct err *err);

/* --- the other side ----------------------------------------------------------------------------
 */

/* A key, and a request that it be signed for. */
int ca_key_create(char **key_pem_out, struct err *err);
int ca_request_create(const char *key_pem, const char *name, char **request_pem_out,
                      struct err *err);
/* The pin, the end and the subject's common name of a certificate; what is NULL is left out. */
int ca_cert_read(const char *cert_pem, char pin_out[CA_PIN_BYTES], int64_t *until_ms_out,
                 char name_out[CA_NAME_BYTES], struct err *err);
