#include "net/http_uri.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* Decode `text` up to `end` in place and end it with NUL. In a path no control character may come
 * out; in a query only NUL is refused, since a value may well hold a newline. */
static int decode(char *text, const char *end, bool is_query)
{
    char *out = text;

    for (const char *in = text; in < end; in++) {
        unsigned char c = (unsigned char)*in;

        if (c == '%') {
            int high = end - in > 2 ? hex_value(in[1]) : -1;
            int low = high >= 0 ? hex_value(in[2]) : -1;

            if (low < 0)
                return -EINVAL;
            c = (unsigned char)(high * 16 + low);
            in += 2;
            if (!c || (!is_query && is_control(c)))
                return -EINVAL;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        *out++ = (char)c;
    }
    *out = '\0';
    return 0;
}

/* One "key=value" of `end - text` bytes. */
static int parse_param(char *text, char *end, struct http_uri *uri)
{
    char *equals = memchr(text, '=', (size_t)(end - text));
    struct http_param *param;
    int rc;

    if (uri->params_count == HTTP_PARAMS_MAX)
        return -E2BIG;
    param = &uri->params[uri->params_count++];
    param->key = text;
    param->value = equals ? equals + 1 : "";
    rc = equals ? decode(equals + 1, end, true) : 0;
    return rc < 0 ? rc : decode(text, equals ? equals : end, true);
}

static int parse_query(char *text, struct http_uri *uri)
{
    while (text) {
        char *end = strchrnul(text, '&');
        char *next = *end ? end + 1 : NULL;
        int rc = end > text ? parse_param(text, end, uri) : 0;

        if (rc < 0)
            return rc;
        text = next;
    }
    return 0;
}

int http_uri_parse(char *text, struct http_uri *uri_out)
{
    char *query;
    char *end;
    int rc;

    uri_out->params_count = 0;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '#')
            return -EINVAL;

    if (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) {
        text = strchr(strchr(text, '/') + 2, '/');
        if (!text)
            return -EINVAL;
    }
    if (text[0] != '/')
        return -EINVAL;

    end = strchrnul(text, '?');
    query = *end ? end + 1 : NULL;
    rc = decode(text, end, false);
    if (rc < 0)
        return rc;
    uri_out->path = text;
    return parse_query(query, uri_out);
}

const char *http_uri_param(const struct http_uri *uri, const char *key)
{
    for (uint32_t i = 0; i < uri->params_count; i++)
        if (strcmp(uri->params[i].key, key) == 0)
            return uri->params[i].value;
    return NULL;
}

const char *http_bearer_find(const char *header)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "-._~+/=";

    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    header += 7;
    header += strspn(header, " ");
    if (!*header || header[strspn(header, letters)])
        return NULL;
    return header;
}
