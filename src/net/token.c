#include "net/token.h"

#include "base/rng.h"

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <string.h>

#define TOKEN_PREFIX "mains_"
#define TOKEN_PREFIX_LEN (sizeof(TOKEN_PREFIX) - 1)
#define TOKEN_SECRET_BYTES 32u
#define TOKEN_SECRET_CHARS 43u

int token_create(char text_out[TOKEN_TEXT_BYTES], char hash_out[TOKEN_HASH_BYTES], struct err *err)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    char encoded[BASE64_ENCODE_RAW_LENGTH(TOKEN_SECRET_BYTES)];
    int rc = random_bytes(secret, sizeof(secret));

    if (rc < 0)
        return err_set(err, rc, "token: no random bytes from the kernel: %s", strerror(-rc));
    base64_encode_raw(encoded, sizeof(secret), secret);
    for (size_t i = 0; i < TOKEN_SECRET_CHARS; i++)
        encoded[i] = encoded[i] == '+' ? '-' : encoded[i] == '/' ? '_' : encoded[i];
    memcpy(text_out, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
    memcpy(text_out + TOKEN_PREFIX_LEN, encoded, TOKEN_SECRET_CHARS); /* the '=' is left out */
    text_out[TOKEN_PREFIX_LEN + TOKEN_SECRET_CHARS] = '\0';
    token_hash(text_out, hash_out);
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(encoded, sizeof(encoded));
    return 0;
}

bool token_is_well_formed(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    return strncmp(text, TOKEN_PREFIX, TOKEN_PREFIX_LEN) == 0 &&
           strspn(text + TOKEN_PREFIX_LEN, letters) == TOKEN_SECRET_CHARS &&
           !text[TOKEN_PREFIX_LEN + TOKEN_SECRET_CHARS];
}

void token_hash(const char *text, char hash_out[TOKEN_HASH_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx context;

    sha256_init(&context);
    sha256_update(&context, strlen(text), (const uint8_t *)text);
    sha256_digest(&context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        hash_out[2 * i] = digits[digest[i] >> 4];
        hash_out[2 * i + 1] = digits[digest[i] & 15];
    }
    hash_out[2 * sizeof(digest)] = '\0';
}

bool token_hash_is_equal(const char *a, const char *b)
{
    unsigned char difference = 0;

    if (strlen(a) != TOKEN_HASH_BYTES - 1 || strlen(b) != TOKEN_HASH_BYTES - 1)
        return false;
    for (size_t i = 0; i < TOKEN_HASH_BYTES - 1; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}
