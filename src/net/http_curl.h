/* http_curl.h - one transfer of libcurl, as the blocking and the loop client share it. */
#pragma once

#include "net/http_client.h"

#include <curl/curl.h>

struct http_transfer {
    CURL *curl; /* borrowed */
    struct curl_slist *headers;
    int tls_fds[3]; /* the PEM texts as files: the GnuTLS flavour of libcurl takes no memory */
    struct http_answer answer;
    char error[CURL_ERROR_SIZE];
    /* Takes a part of a 2xx body; non-zero ends the call. NULL = collect into the answer. */
    int (*on_data)(void *context, const char *data, size_t len);
    void *context;
    bool stopped;           /* on_data said so */
    int64_t heard_ms;       /* clock_mono_ms of the last byte of body */
    int64_t silence_ms_max; /* 0 = none */
    bool silent;            /* ended for its silence */
};

/* Set `curl` (fresh or reset) up for `call`. The call's body is not copied. On failure everything
 * but `curl` was freed. -EINVAL, -ENOMEM. */
int http_transfer_init(struct http_transfer *transfer, CURL *curl, const struct http_call *call,
                       struct err *err);
/* Fill transfer->answer from how it ended. 0 or -errno as http_easy_call. */
int http_transfer_finish(struct http_transfer *transfer, CURLcode code);
/* Frees all but the answer when it was taken. */
void http_transfer_fini(struct http_transfer *transfer);
