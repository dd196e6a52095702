/* latency_bench.c - submit to the first instruction of the job, one job at a time.
 *
 * The job is `date +%s%N`, as of the peer: it says the time as nearly the first thing it does. The
 * bench notes the clock before it asks, waits for the job, reads its log and prints
 * {"p50_ms":..,"p99_ms":..,"max_ms":..}. */
#include "base/buf.h"
#include "base/file.h"
#include "net/http_client.h"

#include <jansson.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 100000

struct bench {
    const char *url;
    char token[128];
    bool sandbox;
    struct http_easy *easy;
};

static int call(struct bench *bench, const char *method, const char *path, const char *body,
                struct http_answer *answer)
{
    CLEANUP(freep) char *url = path_format("%s%s", bench->url, path);
    struct http_call request = {
        .method = method,
        .url = url,
        .bearer = bench->token,
        .content_type = "application/json",
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .timeout_ms = 60000,
    };
    int rc = http_easy_call(bench->easy, &request, NULL, NULL, answer);

    if (rc < 0 || answer->status >= 300) {
        fprintf(stderr, "%s %s: %d %s %s\n", method, path, answer->status, answer->error,
                answer->body.data ? answer->body.data : "");
        return -EIO;
    }
    return 0;
}

static int64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* One job: microseconds from asking to its first instruction, or negative. */
static int64_t measure(struct bench *bench, const char *body)
{
    CLEANUP(http_answer_fini) struct http_answer submit = { 0 };
    CLEANUP(http_answer_fini) struct http_answer wait = { 0 };
    CLEANUP(http_answer_fini) struct http_answer logs = { 0 };
    CLEANUP(freep) char *path = NULL;
    CLEANUP(freep) char *log_path = NULL;
    int64_t asked_us = wall_us();
    json_t *root;
    const char *id;

    if (call(bench, "POST", "/api/v1/jobs", body, &submit) < 0)
        return -1;
    root = json_loads(submit.body.data, 0, NULL);
    id = json_string_value(json_object_get(root, "id"));
    path = path_format("/api/v1/jobs/%s/wait?timeout_s=30", id ? id : "");
    log_path = path_format("/api/v1/jobs/%s/logs", id ? id : "");
    json_decref(root);
    if (call(bench, "GET", path, NULL, &wait) < 0 || call(bench, "GET", log_path, NULL, &logs) < 0)
        return -1;
    if (!logs.body.data || !logs.body.len) {
        fprintf(stderr, "no stamp in the log: %s\n", wait.body.data);
        return -1;
    }
    return strtoll(logs.body.data, NULL, 10) / 1000 - asked_us;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int run(struct bench *bench, int jobs)
{
    CLEANUP(freep)
    char *body = path_format("{\"name\":\"stamp\",\"command\":[\"date\",\"+%%s%%N\"],"
                             "\"sandbox\":%s,\"resources\":{\"cpus\":1,\"memory\":\"32M\"}}",
                             bench->sandbox ? "true" : "false");
    CLEANUP(freep) int64_t *took_us = calloc((size_t)jobs, sizeof(*took_us));

    for (int i = -5; i < jobs; i++) { /* five to warm up */
        int64_t us = measure(bench, body);

        if (us < 0)
            return 1;
        if (i >= 0)
            took_us[i] = us;
        usleep(20000); /* an idle network: nothing of the last job is still going on */
    }
    qsort(took_us, (size_t)jobs, sizeof(*took_us), compare);
    printf("{\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n", (double)took_us[jobs / 2] / 1000,
           (double)took_us[jobs * 99 / 100] / 1000, (double)took_us[jobs - 1] / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    struct bench bench = { .sandbox = true };
    CLEANUP(buf_fini) struct buf token = buf_init(sizeof(bench.token) - 1);
    const char *token_file = NULL;
    int jobs = 100;
    int rc;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-sandbox") == 0)
            bench.sandbox = false;
        else if (i + 1 < argc && strcmp(argv[i], "--url") == 0)
            bench.url = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--token-file") == 0)
            token_file = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--jobs") == 0)
            jobs = (int)strtol(argv[++i], NULL, 10);
    }
    if (!bench.url || !token_file || jobs < 1 || jobs > JOBS_MAX) {
        fprintf(stderr, "usage: %s --url URL --token-file F [--jobs N] [--no-sandbox]\n", argv[0]);
        return 2;
    }
    if (file_read(token_file, &token, NULL) < 0)
        return 1;
    snprintf(bench.token, sizeof(bench.token), "%.*s", (int)strcspn(token.data, "\r\n"),
             token.data);
    bench.easy = http_easy_create();
    if (!bench.easy)
        return 1;
    rc = run(&bench, jobs);
    http_easy_destroy(bench.easy);
    return rc;
}
