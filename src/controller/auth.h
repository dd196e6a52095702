/* auth.h - who may do what: bearer tokens, kept as hashes in DIR/tokens.json.
 *
 * A revoked token stays in the file without its hash, so that jobs submitted with it keep their
 * user's identity. Loop thread only. */
#pragma once

#include "base/err.h"
#include "model/request.h"
#include "net/token.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define AUTH_TOKENS_MAX 10000u
#define AUTH_NOTE_BYTES 256u

enum role { ROLE_SITE = 1, ROLE_TENANT = 2, ROLE_OPERATOR = 4, ROLE_ADMIN = 8 };
#define ROLES_USERS (ROLE_TENANT | ROLE_OPERATOR | ROLE_ADMIN)
#define ROLES_OPERATORS (ROLE_OPERATOR | ROLE_ADMIN)
#define ROLES_ANY (ROLES_USERS | ROLE_SITE)
const char *role_name(enum role role);
int role_find(const char *name, enum role *role_out);

struct principal {
    char id[32];
    enum role role;
    char tenant[MODEL_NAME_BYTES]; /* role site: the only site it may be; "" = any */
    char user[MODEL_NAME_BYTES];
    int64_t unix_uid, unix_gid; /* -1 = none */
};
struct token_entry {
    struct principal principal;
    char note[AUTH_NOTE_BYTES];
    int64_t created_ms, revoked_ms; /* revoked_ms 0 = in force */
};

struct auth;
/* Read DIR/tokens.json; on the first start make it, with DIR/admin.token and DIR/site.token (0600).
 */
int auth_open(const char *state_dir, struct auth **auth_out, struct err *err);
void auth_close(struct auth *auth);
/* NULL when the token is not known or revoked. */
const struct principal *auth_find(const struct auth *auth, const char *token);
/* The Unix identity that jobs of this user run as; false: none is set. */
bool auth_find_unix(const struct auth *auth, const char *tenant, const char *user, int64_t *uid_out,
                    int64_t *gid_out);
/* `wanted->id` is ignored. The text is given once and not kept. */
int auth_add(struct auth *auth, const struct principal *wanted, const char *note,
             char text_out[TOKEN_TEXT_BYTES], struct token_entry *entry_out, struct err *err);
/* -ENOENT; -EPERM: the last admin token. Revoking a revoked one is fine. */
int auth_revoke(struct auth *auth, const char *id, struct err *err);
uint32_t auth_count(const struct auth *auth);
const struct token_entry *auth_get(const struct auth *auth, uint32_t index);
