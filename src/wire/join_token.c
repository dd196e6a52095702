#include "wire/join_token.h"

#include <errno.h>
#include <jansson.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "mainsjoin1."
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define CHECK_CHARS 8u
#define JSON_BYTES_MAX 2048u

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void check_digits(const char *data, size_t len, char out[CHECK_CHARS + 1])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx context;

    sha256_init(&context);
    sha256_update(&context, len, (const uint8_t *)data);
    sha256_digest(&context, sizeof(digest), digest);
    for (size_t i = 0; i < CHECK_CHARS / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

int join_token_print(const struct join_token *token, char text_out[JOIN_TEXT_BYTES_MAX],
                     struct err *err)
{
    json_t *urls = json_array();
    json_t *root;
    char json[JSON_BYTES_MAX];
    char check[CHECK_CHARS + 1];
    char *end = text_out + PREFIX_LEN;
    size_t len;

    for (uint32_t i = 0; i < token->urls_count; i++)
        json_array_append_new(urls, json_string(token->urls[i]));
    root = json_pack("{s:s, s:s, s:o, s:s, s:s, s:I}", "site", token->site, "owner", token->owner,
                     "urls", urls, "pin", token->pin, "secret", token->secret, "expires",
                     (json_int_t)token->expires_ms);
    if (root && token->node)
        json_object_set_new(root, "node", json_true());
    len = root ? json_dumpb(root, json, sizeof(json), JSON_COMPACT) : 0;
    json_decref(root);
    if (!len)
        return err_set(err, -ENOMEM, "join token: out of memory");
    if (len > sizeof(json) ||
        PREFIX_LEN + BASE64_ENCODE_RAW_LENGTH(len) + CHECK_CHARS + 2 > JOIN_TEXT_BYTES_MAX)
        return err_set(err, -E2BIG, "join token: too many or too long addresses");
    memcpy(text_out, PREFIX, PREFIX_LEN);
    base64_encode_raw(end, len, (const uint8_t *)json);
    end += BASE64_ENCODE_RAW_LENGTH(len);
    while (end[-1] == '=')
        end--;
    for (char *p = text_out + PREFIX_LEN; p < end; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    check_digits(json, len, check);
    explicit_bzero(json, sizeof(json));
    *end = '.';
    memcpy(end + 1, check, sizeof(check));
    return 0;
}

/* The JSON inside; its length or -EINVAL. */
static int unwrap(const char *text, size_t len, char json_out[JSON_BYTES_MAX], struct err *err)
{
    struct base64_decode_ctx context;
    char check[CHECK_CHARS + 1];
    const char *body, *dot;
    char coded[BASE64_ENCODE_RAW_LENGTH(JSON_BYTES_MAX)];
    size_t body_len, out_len = JSON_BYTES_MAX;
    uint8_t decoded[BASE64_DECODE_LENGTH(sizeof(coded))];

    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    while (len && strchr(" \t\r\n", *text))
        text++, len--;
    if (len < PREFIX_LEN || memcmp(text, PREFIX, PREFIX_LEN) != 0)
        return err_set(err, -EINVAL,
                       "this is no join token: it begins with \"" PREFIX
                       "\", as `mains site token` printed it");
    body = text + PREFIX_LEN;
    dot = memchr(body, '.', len - PREFIX_LEN);
    body_len = dot ? (size_t)(dot - body) : 0;
    if (!dot || (size_t)(text + len - dot - 1) != CHECK_CHARS || !body_len ||
        (body_len + 3) / 4 * 4 > sizeof(coded))
        return err_set(err, -EINVAL, "the join token is not whole: paste the line again");
    memset(coded, '=', sizeof(coded));
    for (size_t i = 0; i < body_len; i++) {
        if (!body[i] || !strchr(letters, body[i]))
            return err_set(err, -EINVAL, "the join token is not whole: paste the line again");
        coded[i] = body[i] == '-' ? '+' : body[i] == '_' ? '/' : body[i];
    }
    base64_decode_init(&context);
    if (!base64_decode_update(&context, &out_len, decoded, (body_len + 3) / 4 * 4, coded) ||
        !base64_decode_final(&context) || out_len > JSON_BYTES_MAX)
        return err_set(err, -EINVAL, "the join token is not whole: paste the line again");
    memcpy(json_out, decoded, out_len);
    explicit_bzero(decoded, sizeof(decoded));
    explicit_bzero(coded, sizeof(coded));
    check_digits(json_out, out_len, check);
    if (memcmp(check, dot + 1, CHECK_CHARS) != 0)
        return err_set(err, -EINVAL, "the join token is not whole: paste the line again");
    return (int)out_len;
}

static bool copy_text(char *out, size_t bytes, const char *text, const char *allowed)
{
    size_t len = strlen(text);

    if (len >= bytes || strspn(text, allowed) != len)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

/* What goes into a request line, a header and a path: nothing but what belongs there. */
static bool read_members(json_t *root, struct join_token *token)
{
    static const char names[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    static const char digits64[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    static const char url_letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]/%";
    const char *site, *owner, *pin, *secret;
    json_int_t expires;
    json_t *urls, *url;
    size_t i;

    if (json_unpack(root, "{s:s, s:s, s:o, s:s, s:s, s:I}", "site", &site, "owner", &owner, "urls",
                    &urls, "pin", &pin, "secret", &secret, "expires", &expires) < 0)
        return false;
    if (!json_is_array(urls) || !json_array_size(urls) || json_array_size(urls) > JOIN_URLS_MAX)
        return false;
    json_array_foreach (urls, i, url) {
        const char *text = json_string_value(url);

        if (!text || strncmp(text, "https://", 8) != 0 || !text[8] || strchr(text + 8, '/') ||
            !copy_text(token->urls[i], sizeof(token->urls[i]), text, url_letters))
            return false;
    }
    token->urls_count = (uint32_t)json_array_size(urls);
    token->expires_ms = expires;
    token->node = json_is_true(json_object_get(root, "node"));
    return *site && strchr("._-", *site) == NULL && strlen(pin) == CA_PIN_BYTES - 1 &&
           token_is_well_formed(secret) &&
           copy_text(token->site, sizeof(token->site), site, names) &&
           copy_text(token->owner, sizeof(token->owner), owner, names) &&
           copy_text(token->pin, sizeof(token->pin), pin, digits64) &&
           copy_text(token->secret, sizeof(token->secret), secret, names) && expires > 0;
}

int join_token_parse(const char *text, size_t len, struct join_token *token_out, struct err *err)
{
    struct join_token token = { 0 };
    char json[JSON_BYTES_MAX];
    json_t *root;
    int rc = unwrap(text, len, json, err);
    bool good;

    if (rc < 0)
        return rc;
    root = json_loadb(json, (size_t)rc, JSON_REJECT_DUPLICATES, NULL);
    explicit_bzero(json, sizeof(json));
    good = read_members(root, &token);
    json_decref(root);
    if (!good)
        return err_set(
            err, -EINVAL,
            "the join token is not of the form this version knows: is `mains` here older "
            "than there?");
    *token_out = token;
    return 0;
}
