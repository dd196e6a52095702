/* door.h - how who is dialled (a controller by its sites, a site's agent by its nodes) is reached
 * and known from elsewhere: its TLS certificate, the addresses that join tokens carry, and the
 * signing of the certificates of those who join. */
#pragma once

#include "base/err.h"
#include "net/ca.h"
#include "net/http_server.h"
#include "wire/join_token.h"

#define DOOR_CERT_LIFE_MS ((int64_t)90 * 86400000)

struct door_config {
    const char *state_dir;          /* of the authority's own files (ca.h) */
    const char *address;            /* where it listens; NULL = "127.0.0.1" */
    const char *cert_pem, *key_pem; /* paths of PEM files; NULL = own or plain */
    bool tls;             /* with a certificate of its own, on loopback too; elsewhere always */
    int64_t cert_life_ms; /* of those who join; 0 = DOOR_CERT_LIFE_MS */
};
struct door;
/* Opens the authority where TLS is served: with the operator's certificate, or one of its own. */
int door_open(const struct door_config *config, struct door **door_out, struct err *err);
void door_close(struct door *door);
/* Fill in certificate, key and authority; they stay the door's. */
void door_fill(const struct door *door, struct http_server_config *config);
void door_forget_key(struct door *door); /* the server has it now */
void door_set_port(struct door *door, uint16_t port);
bool door_is_tls(const struct door *door);
const char *door_pin(const struct door *door); /* "" without TLS */
int64_t door_cert_life_ms(const struct door *door);
/* The key it serves with, to sign with; before door_forget_key. NULL: it serves none. */
struct sign_key *door_signer(const struct door *door);
int door_sign(struct door *door, const char *request_pem, const char *site, int64_t now_ms,
              int64_t until_ms, char **cert_out, char pin_out[CA_PIN_BYTES], struct err *err);
/* "HOST" or "HOST:PORT" as one more URL; false when it is neither or there are too many. */
bool door_add_address(const struct door *door, const char *address, struct join_token *token);
/* Where others than this machine reach it, as "192.0.2.7": of any address the first of this
 * machine's; "127.0.0.1" when it has none. The door's. */
const char *door_own_address(struct door *door);
/* Where it listens; of any address (0.0.0.0, ::) those of this machine, as far as there is room. */
void door_add_own_addresses(const struct door *door, struct join_token *token);
