/* membership.h - what a site that joined from elsewhere knows of its network: DIR/joined.json
 * (where it is, the pin of its key, the site's name), DIR/site.key and DIR/site.crt, all 0600. */
#pragma once

#include "base/err.h"
#include "net/ca.h"
#include "wire/join_token.h"

struct membership {
    char site[MODEL_NAME_BYTES], owner[MODEL_NAME_BYTES];
    uint32_t urls_count;
    char urls[JOIN_URLS_MAX][JOIN_URL_BYTES];
    char pin[CA_PIN_BYTES];
    bool node; /* `site` is a node, of the site whose agent the URLs are */
    char *key_pem, *cert_pem;
    int64_t from_ms, until_ms; /* of the certificate, as it was handed out */
};

/* -ENOENT: this place has not joined a network. */
int membership_load(const char *state_dir, struct membership **membership_out, struct err *err);
void membership_free(struct membership *membership);
/* Write all of it; joined.json last, so that a join that was cut off is none. */
int membership_save(const char *state_dir, const struct membership *membership, struct err *err);
/* A new certificate for the key it has. -EBADMSG: it is for another. */
int membership_replace_cert(const char *state_dir, const struct membership *membership,
                            const char *cert_pem, struct err *err);
/* Trade the token's secret for a certificate, and keep it. Blocks. */
int membership_join(const char *state_dir, const struct join_token *token, struct err *err);
/* When it is time for another certificate: at two thirds of the life of this one. */
int64_t membership_renew_at_ms(const struct membership *membership);
