#include "net/http_curl.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (64u << 20)
#define CONNECT_TIMEOUT_MS 5000

void http_answer_fini(struct http_answer *answer)
{
    buf_fini(&answer->body);
}

static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    struct http_transfer *transfer = context;
    size_t len = size * count;
    long status = 0;

    transfer->heard_ms = clock_mono_ms();
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->on_data && status >= 200 && status <= 299) {
        if (transfer->on_data(transfer->context, data, len) == 0)
            return len;
        transfer->stopped = true;
        return 0;
    }
    return buf_add(&transfer->answer.body, data, len) == 0 ? len : 0;
}

/* Called about once a second by the blocking client; the loop's client has a timer of its own. */
static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up_now)
{
    struct http_transfer *transfer = context;

    (void)total;
    (void)now;
    (void)up_total;
    (void)up_now;
    if (transfer->silence_ms_max && clock_mono_ms() - transfer->heard_ms > transfer->silence_ms_max)
        transfer->silent = true;
    return transfer->silent;
}

static bool is_header_text(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
            return false;
    return true;
}

static int header_add(struct http_transfer *transfer, const char *name, const char *value,
                      struct err *err)
{
    CLEANUP(freep) char *line = NULL;
    struct curl_slist *list;

    if (!is_header_text(name) || !is_header_text(value) || strchr(name, ':') || !*name)
        return err_set(err, -EINVAL, "header %s: control characters cannot be sent", name);
    /* "name;" is libcurl's way to say a header without a value. */
    if (asprintf(&line, *value ? "%s: %s" : "%s;", name, value) < 0) {
        line = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    list = curl_slist_append(transfer->headers, line);
    if (!list)
        return err_set(err, -ENOMEM, "out of memory");
    transfer->headers = list;
    return 0;
}

static int headers_add(struct http_transfer *transfer, const struct http_call *call,
                       struct err *err)
{
    CLEANUP(freep) char *bearer = NULL;
    struct curl_slist *list;
    int rc = 0;

    if (call->content_type)
        rc = header_add(transfer, "Content-Type", call->content_type, err);
    else if ((list = curl_slist_append(transfer->headers, "Content-Type:")) != NULL)
        transfer->headers = list; /* else libcurl calls every body a form */
    if (rc == 0 && call->bearer) {
        if (asprintf(&bearer, "Bearer %s", call->bearer) < 0) {
            bearer = NULL;
            return err_set(err, -ENOMEM, "out of memory");
        }
        if (!*call->bearer || !is_header_text(call->bearer))
            return err_set(err, -EINVAL, "the token holds characters that no token has");
        rc = header_add(transfer, "Authorization", bearer, err);
    }
    for (uint32_t i = 0; rc == 0 && i < call->headers_count; i++)
        rc = header_add(transfer, call->headers[i].name, call->headers[i].value, err);
    curl_easy_setopt(transfer->curl, CURLOPT_HTTPHEADER, transfer->headers);
    return rc;
}

static int method_set(CURL *curl, const struct http_call *call, struct err *err)
{
    bool has_body =
        call->body_len > 0 || strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0;

    if (!call->method[0] || call->method[strspn(call->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
        return err_set(err, -EINVAL, "\"%s\" is not an HTTP method", call->method);
    if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        return 0;
    }
    if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body_len ? call->body : "");
    }
    if (strcmp(call->method, has_body ? "POST" : "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    return 0;
}

static bool host_is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

static int url_set(CURL *curl, const char *url, struct err *err)
{
    CURLU *parts = curl_url();
    char *host = NULL;
    CURLUcode rc = CURLUE_OUT_OF_MEMORY;

    if (parts)
        rc = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_get(parts, CURLUPART_HOST, &host, 0);
    if (rc == CURLUE_OK && host_is_loopback(host))
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_free(host);
    curl_url_cleanup(parts);
    if (rc != CURLUE_OK)
        return err_set(err, rc == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL, "\"%s\": %s", url,
                       curl_url_strerror(rc));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    return 0;
}

/* Put a PEM text where libcurl can open it; the file has no name and dies with the transfer. */
static int pem_set(struct http_transfer *transfer, CURLoption option, const char *pem, int *fd_out,
                   struct err *err)
{
    char path[64];
    size_t len = pem ? strlen(pem) : 0;

    if (!pem)
        return 0;
    *fd_out = memfd_create("mains-pem", MFD_CLOEXEC);
    if (*fd_out < 0 || write(*fd_out, pem, len) != (ssize_t)len)
        return err_set(err, -ENOMEM, "TLS: %s", strerror(errno));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd_out);
    curl_easy_setopt(transfer->curl, option, path);
    return 0;
}

static int tls_set(struct http_transfer *transfer, const struct http_call *call, struct err *err)
{
    char pin[256];
    int rc = pem_set(transfer, CURLOPT_CAINFO, call->ca_pem, &transfer->tls_fds[0], err);

    if (rc == 0)
        rc = pem_set(transfer, CURLOPT_SSLCERT, call->client_cert_pem, &transfer->tls_fds[1], err);
    if (rc == 0)
        rc = pem_set(transfer, CURLOPT_SSLKEY, call->client_key_pem, &transfer->tls_fds[2], err);
    if (rc < 0)
        return rc;
    if (call->ca_pem)
        curl_easy_setopt(transfer->curl, CURLOPT_CAPATH, NULL);
    if (call->pin_sha256) {
        snprintf(pin, sizeof(pin), "sha256//%s", call->pin_sha256);
        curl_easy_setopt(transfer->curl, CURLOPT_PINNEDPUBLICKEY, pin);
        if (!call->ca_pem) {
            /* The system's list would be read and parsed (20 ms, some MiB), and not be used. */
            curl_easy_setopt(transfer->curl, CURLOPT_CAINFO, NULL);
            curl_easy_setopt(transfer->curl, CURLOPT_CAPATH, NULL);
            curl_easy_setopt(transfer->curl, CURLOPT_SSL_VERIFYPEER, 0L);
            curl_easy_setopt(transfer->curl, CURLOPT_SSL_VERIFYHOST, 0L);
        }
    }
    curl_easy_setopt(transfer->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    return 0;
}

int http_transfer_init(struct http_transfer *transfer, CURL *curl, const struct http_call *call,
                       struct err *err)
{
    int rc;

    *transfer = (struct http_transfer){
        .curl = curl,
        .tls_fds = { -1, -1, -1 },
        .answer.body = buf_init(call->answer_bytes_max ? call->answer_bytes_max : ANSWER_BYTES_MAX),
        .heard_ms = clock_mono_ms(),
        .silence_ms_max = call->silence_timeout_ms,
    };
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "mains/" MAINS_VERSION);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(call->connect_timeout_ms ? call->connect_timeout_ms : CONNECT_TIMEOUT_MS));
    rc = url_set(curl, call->url, err);
    if (rc == 0)
        rc = method_set(curl, call, err);
    if (rc == 0)
        rc = headers_add(transfer, call, err);
    if (rc == 0)
        rc = tls_set(transfer, call, err);
    if (rc < 0) {
        http_transfer_fini(transfer);
        http_answer_fini(&transfer->answer);
    }
    return rc;
}

static int code_errno(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
    default:
        return -EIO;
    }
}

int http_transfer_finish(struct http_transfer *transfer, CURLcode code)
{
    struct http_answer *answer = &transfer->answer;
    const char *content_type = NULL;
    curl_off_t retry_s = 0;
    long status = 0;

    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (curl_easy_getinfo(transfer->curl, CURLINFO_RETRY_AFTER, &retry_s) == CURLE_OK &&
        retry_s > 0)
        answer->retry_after_ms = (int64_t)MIN(retry_s, 86400) * 1000;
    curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_TYPE, &content_type);
    if (content_type)
        snprintf(answer->content_type, sizeof(answer->content_type), "%s", content_type);
    if (code == CURLE_OK || transfer->stopped) {
        answer->status = (int)status;
        return 0;
    }
    answer->status = 0;
    if (transfer->silent) {
        snprintf(answer->error, sizeof(answer->error), "nothing was heard for %lld ms",
                 (long long)transfer->silence_ms_max);
        return -ETIMEDOUT;
    }
    if (answer->body.failed)
        snprintf(answer->error, sizeof(answer->error), "the answer is larger than %zu bytes",
                 answer->body.max);
    else
        snprintf(answer->error, sizeof(answer->error), "%.199s",
                 transfer->error[0] ? transfer->error : curl_easy_strerror(code));
    return code_errno(code);
}

void http_transfer_fini(struct http_transfer *transfer)
{
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(transfer->tls_fds); i++)
        closep(&transfer->tls_fds[i]);
    memset(transfer->tls_fds, 0xff, sizeof(transfer->tls_fds));
}
