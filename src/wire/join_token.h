/* join_token.h - the one line an owner pastes to join a site: where the network is, how to know it
 * is the right one, and a secret that is good once.
 *
 *     mainsjoin1.<base64url of JSON>.<first 8 hex digits of its SHA-256>
 *
 * The digits tell a line that was cut off or mistyped from one that is refused. Pure. */
#pragma once

#include "base/err.h"
#include "model/request.h"
#include "net/ca.h"
#include "net/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOIN_URLS_MAX 8u
#define JOIN_URL_BYTES 128u
#define JOIN_TEXT_BYTES_MAX 4096u /* of a token, NUL included */

struct join_token {
    char site[MODEL_NAME_BYTES];
    char owner[MODEL_NAME_BYTES]; /* "" = not told */
    bool node; /* `site` is a node of a site, which its agent invites: the rest is alike */
    uint32_t urls_count;                      /* at least 1 */
    char urls[JOIN_URLS_MAX][JOIN_URL_BYTES]; /* "https://192.0.2.7:7743", to be tried in order */
    char pin[CA_PIN_BYTES];                   /* of the controller's key */
    char secret[TOKEN_TEXT_BYTES];
    int64_t expires_ms;
};

/* -E2BIG: it does not fit JOIN_TEXT_BYTES_MAX. */
int join_token_print(const struct join_token *token, char text_out[JOIN_TEXT_BYTES_MAX],
                     struct err *err);
/* Blanks around it are fine. -EINVAL with one line that shows nothing of the secret. Whether it has
 * expired is the caller's question: this machine's clock may be the wrong one. */
int join_token_parse(const char *text, size_t len, struct join_token *token_out, struct err *err);
