#include "net/http_fetch.h"

#include "base/file.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct fetch {
    int fd;
    int64_t bytes, bytes_max;
    int rc;
};

static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    struct fetch *fetch = context;
    size_t len = size * count;

    if ((int64_t)len > fetch->bytes_max - fetch->bytes)
        fetch->rc = -EFBIG;
    else
        fetch->rc = file_write_all(fetch->fd, data, len);
    fetch->bytes += (int64_t)len;
    return fetch->rc < 0 ? 0 : len;
}

static void set_up(CURL *curl, const char *url, struct fetch *fetch)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)HTTP_FETCH_REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)HTTP_FETCH_SILENCE_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetch);
}

static int explain(CURLcode code, long status, const struct fetch *fetch)
{
    if (fetch->rc < 0)
        return fetch->rc;
    if (status == 404 || status == 410)
        return -ENOENT;
    if (status == 401 || status == 403)
        return -EACCES;
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
        code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_PEER_FAILED_VERIFICATION ||
        (status >= 400 && status < 500 && status != 408 && status != 429))
        return -EINVAL;
    return -EAGAIN;
}

int http_fetch(const char *url, int fd, int64_t bytes_max, struct err *err)
{
    struct fetch fetch = { .fd = fd, .bytes_max = bytes_max };
    CURL *curl;
    CURLcode code;
    long status = 0;
    int rc = 0;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, -ENOMEM, "out of memory");
    curl = curl_easy_init();
    if (!curl) {
        curl_global_cleanup();
        return err_set(err, -ENOMEM, "out of memory");
    }
    set_up(curl, url, &fetch);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        rc = explain(code, status, &fetch);
        if (rc == -EFBIG)
            err_set(err, rc, "%.150s: longer than %lld bytes", url, (long long)bytes_max);
        else if (status >= 400)
            err_set(err, rc, "%.150s: answered %ld", url, status);
        else
            err_set(err, rc, "%.150s: %s", url,
                    fetch.rc < 0 ? strerror(-fetch.rc) : curl_easy_strerror(code));
    }
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return rc;
}
