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

static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    const atomic_bool *stop = context;

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return atomic_load(stop);
}

static int stopped(struct http_answer *answer)
{
    answer->status = 0;
    snprintf(answer->error, sizeof(answer->error), "the call was stopped");
    return -ECANCELED;
}

int http_easy_call(struct http_easy *easy, const struct http_call *call,
                   int (*on_data)(void *context, const char *data, size_t len), void *context,
                   struct http_answer *answer_out)
{
    struct http_transfer transfer;
    struct err err = { 0 };
    int rc;

    *answer_out = (struct http_answer){ 0 };
    if (call->stop && atomic_load(call->stop))
        return stopped(answer_out);
    curl_easy_reset(easy->curl); /* options only: connections are kept */
    rc = http_transfer_init(&transfer, easy->curl, call, &err);
    if (rc < 0) {
        snprintf(answer_out->error, sizeof(answer_out->error), "%.199s", err.text);
        return rc;
    }
    transfer.on_data = on_data;
    transfer.context = context;
    if (call->stop) {
        curl_easy_setopt(easy->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(easy->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(easy->curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)call->stop);
    }
    rc = http_transfer_finish(&transfer, curl_easy_perform(easy->curl));
    curl_easy_reset(easy->curl);
    *answer_out = transfer.answer;
    http_transfer_fini(&transfer);
    if (rc < 0 && call->stop && atomic_load(call->stop))
        return stopped(answer_out);
    return rc;
}
