/* http_fetch.h - a file from an address of somebody else's: http or https, redirects followed, into
 * an opened file. Blocking; the system's authorities decide who is trusted. */
#pragma once

#include "base/err.h"

#include <stdint.h>

#define HTTP_FETCH_REDIRECTS_MAX 5
#define HTTP_FETCH_SILENCE_S 60

/* -EFBIG: longer than `bytes_max`; -ENOENT: 404 and 410; -EACCES: 401 and 403; -EINVAL: no address,
 * or of another kind; -EAGAIN: not now (no connection, 5xx, broken off). */
int http_fetch(const char *url, int fd, int64_t bytes_max, struct err *err);
