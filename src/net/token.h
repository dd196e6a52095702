/* token.h - bearer tokens: made once, shown once, kept as a hash.
 *
 * Text form: "mains_" + 43 characters of base64url (256 random bits). Kept: SHA-256 of the text as
 * 64 hex digits (a 256-bit random secret needs no salt or stretching). */
#pragma once

#include "base/err.h"

#include <stdbool.h>

#define TOKEN_TEXT_BYTES 64u /* NUL included */
#define TOKEN_HASH_BYTES 65u /* hex, NUL included */

int token_create(char text_out[TOKEN_TEXT_BYTES], char hash_out[TOKEN_HASH_BYTES], struct err *err);
bool token_is_well_formed(const char *text);
void token_hash(const char *text, char hash_out[TOKEN_HASH_BYTES]);
/* Time does not depend on where they differ. */
bool token_hash_is_equal(const char *a, const char *b);
