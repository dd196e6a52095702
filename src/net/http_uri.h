/* http_uri.h - the request target and the Authorization header, taken apart. Pure: no I/O, no
 * library, so that it can be fuzzed alone.
 *
 * The target is decoded once, in place. Refused (-EINVAL): a path that does not begin with '/',
 * half or wrong percent escapes, control characters (NUL too, escaped or not) in the path, NUL in
 * the query, bytes a target may not hold ('#', blanks, controls). -E2BIG: more than
 * HTTP_PARAMS_MAX parameters. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HTTP_PARAMS_MAX 64u

struct http_param {
    const char *key;
    const char *value; /* "" for a key without '=' */
};

struct http_uri {
    const char *path;
    uint32_t params_count;
    struct http_param params[HTTP_PARAMS_MAX];
};

/* `text` is changed; the results point into it. The absolute form ("http://host/path") is accepted
 * and its host ignored. In the query '+' is a blank. */
int http_uri_parse(char *text, struct http_uri *uri_out);
/* Value of the first parameter named so; NULL when there is none. */
const char *http_uri_param(const struct http_uri *uri, const char *key);
/* "Bearer X" (any case, X of the letters of RFC 6750) -> X, inside `header`; else NULL. */
const char *http_bearer_find(const char *header);
