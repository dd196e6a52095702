#include "net/http_curl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct http_easy {
    CURL *curl;
};

struct http_easy *http_easy_create(void)
{
    struct http_easy *easy = calloc(1, sizeof(*easy));

    if (!easy || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(easy);
        return NULL;
    }
    easy->curl = curl_easy_init();
    if (!easy->curl) {
        curl_global_cleanup();
        free(easy);
        return NULL;
    }
    return easy;
}

void http_easy_destroy(struct http_easy *easy)
{
    if (!easy)
        return;
    curl_easy_cleanup(easy->curl);
    curl_global_cleanup();
    free(easy);
}

int http_easy_call(struct http_easy *easy, const struct http_call *call,
                   int (*on_data)(void *context, const char *data, size_t len), void *context,
                   struct http_answer *answer_out)
{
    struct http_transfer transfer;
    struct err err = { 0 };
    int rc;

    *answer_out = (struct http_answer){ 0 };
    curl_easy_reset(easy->curl); /* options only: connections are kept */
    rc = http_transfer_init(&transfer, easy->curl, call, &err);
    if (rc < 0) {
        snprintf(answer_out->error, sizeof(answer_out->error), "%.199s", err.text);
        return rc;
    }
    transfer.on_data = on_data;
    transfer.context = context;
    rc = http_transfer_finish(&transfer, curl_easy_perform(easy->curl));
    curl_easy_reset(easy->curl);
    *answer_out = transfer.answer;
    http_transfer_fini(&transfer);
    return rc;
}
