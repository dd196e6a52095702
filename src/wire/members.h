/* members.h - those who joined from elsewhere (the sites of a network, the nodes of a site):
 * invited by a secret that is good once, known from then on by the key of their certificate. Kept
 * in DIR/members.json (0600); secrets as hashes.
 *
 * A site's certificate counts only while the site is a member and its key is the one that joined
 * last: removing a member, or letting it join again, ends what was signed before. Loop thread only.
 */
#pragma once

#include "base/err.h"
#include "model/request.h"
#include "net/ca.h"
#include "net/token.h"

#include <stdbool.h>
#include <stdint.h>

#define MEMBERS_MAX 10000u

struct member {
    char site[MODEL_NAME_BYTES], owner[MODEL_NAME_BYTES];
    char secret_hash[TOKEN_HASH_BYTES]; /* of the newest invitation; "" = never */
    int64_t invited_ms, expires_ms;
    int64_t used_ms;        /* when the newest invitation was used; 0 = not yet */
    char pin[CA_PIN_BYTES]; /* of its key; "" = has not joined, or was removed */
    int64_t joined_ms, cert_until_ms, removed_ms; /* 0 = never */
};

struct members;
/* `again` is the command that makes a token, for those whose own is no good: "mains site token".
 * Borrowed. */
int members_open(const char *state_dir, const char *again, struct members **members_out,
                 struct err *err);
void members_close(struct members *members);
/* A secret for `site`, in place of an earlier one that was not used. What it has goes on. */
int members_invite(struct members *members, const char *site, const char *owner, int64_t now_ms,
                   int64_t expires_ms, char secret_out[TOKEN_TEXT_BYTES], struct err *err);
/* -EACCES and why: not known, used, expired, of another site. Takes the same time wherever a secret
 * differs from the right one. */
int members_check_secret(const struct members *members, const char *site, const char *secret,
                         int64_t now_ms, struct err *err);
/* The secret is used up; the site is who has the key `pin`. */
int members_admit(struct members *members, const char *site, const char *pin, int64_t now_ms,
                  int64_t cert_until_ms, struct err *err);
int members_renew(struct members *members, const char *site, int64_t cert_until_ms,
                  struct err *err);
/* -ENOENT. Its invitation ends as well. */
int members_remove(struct members *members, const char *site, int64_t now_ms, struct err *err);
const struct member *members_find(const struct members *members, const char *site); /* NULL */
/* All of them, those invited and those removed too; NULL past the last. */
const struct member *members_nth(const struct members *members, uint32_t nth);
/* Is it the member whose certificate this is? */
bool members_is_key_of(const struct members *members, const char *site, const char *pin);
