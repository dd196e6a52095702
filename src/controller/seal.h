/* seal.h - secrets of specs, unreadable on disk: AES-256-GCM with DIR/secret.key (0600).
 *
 * A spec with secrets is stored as {"sealed":"<base64>", ...the spec without secret values...}; the
 * sealed bytes are the whole spec with them, bound to the tenant's name. One without is stored as
 * it is. Answers, exports and history show only the open part. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct seal;
/* Makes the key on first use. -EINVAL: the file does not hold a key. */
int seal_open(const char *state_dir, struct seal **seal_out, struct err *err);
void seal_close(struct seal *seal);
/* Append the stored form. `spec_full` holds secret values, `spec_bare` none. */
int seal_spec(const struct seal *seal, const char *tenant, const char *spec_full,
              const char *spec_bare, struct buf *out, struct err *err);
/* 1 .. 2^63-1 (0 = it cannot be had): a keyed hash, so that what it is of cannot be tried out by
 * who reads the journal. */
uint64_t seal_digest(const struct seal *seal, const char *text, size_t len);
bool seal_is_sealed(const char *stored);
/* Append the spec with its secrets. -EBADMSG: not sealed with this key, or damaged. */
int seal_open_spec(const struct seal *seal, const char *tenant, const char *stored, size_t len,
                   struct buf *out, struct err *err);
/* Where the part that may be shown begins after; the shown JSON is "{" + this. */
const char *seal_open_part(const char *stored);
