/* federated_bench.c - jobs a second through a network of many sites: from the first submit until
 * the last of them runs.
 *
 * N clients on kept connections, one job a request, the next as soon as the answer is whole. The
 * bodies are the lines of a file, taken in turn. When all are submitted the controller is asked
 * how many run until all do.
 *
 *   federated_bench --url URL [--pin PIN] --token-file F --clients 16 --jobs 5000 --bodies F
 * Prints {"submit_rate":..,"running_rate":..,"jobs":..,"p50_ms":..,"p99_ms":..} (of a submit). */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "net/http_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 1024u
#define JOBS_MAX 1000000u
#define BODIES_MAX 4096u
#define POLL_MS 20
#define GIVE_UP_MS 300000

struct bench;
struct client {
    struct bench *bench;
    int64_t sent_us;
};
struct bench {
    uv_loop_t loop;
    uv_timer_t poll;
    struct http_client *http;
    const char *url, *pin;
    char *jobs_url, *metrics_url;
    struct buf token, bodies;
    char *body[BODIES_MAX];
    uint32_t bodies_count, clients_count, jobs, sent, done, before;
    int64_t *took_us;
    int64_t began_us, submitted_us, running_us;
    struct client clients[CLIENTS_MAX];
    int status;
};

static void fail(struct bench *bench, const char *what, const struct http_answer *answer)
{
    fprintf(stderr, "federated_bench: %s: %d %s %.200s\n", what, answer ? answer->status : 0,
            answer ? answer->error : "", answer && answer->body.data ? answer->body.data : "");
    bench->status = 1;
    uv_stop(&bench->loop);
}

static void call(struct bench *bench, const char *url, const char *body, http_done_fn done,
                 void *context)
{
    struct http_call request = { .method = body ? "POST" : "GET",
                                 .url = url,
                                 .bearer = bench->token.data,
                                 .content_type = body ? "application/json" : NULL,
                                 .body = body,
                                 .body_len = body ? strlen(body) : 0,
                                 .pin_sha256 = bench->pin,
                                 .connect_timeout_ms = 60000,
                                 .timeout_ms = 60000 };
    struct http_pending *pending;
    struct err err;

    if (http_client_call(bench->http, &request, NULL, done, context, &pending, &err) < 0)
        fail(bench, err.text, NULL);
}

/* ---- how many run ---- */

static uint64_t metric(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static uint64_t count_begun(const struct http_answer *answer)
{
    const char *text = answer->body.data ? answer->body.data : "";

    return metric(text, "\nmains_jobs{state=\"running\"} ") +
           metric(text, "\nmains_jobs{state=\"stopping\"} ") +
           metric(text, "\nmains_jobs_ended_total{state=\"done\"} ") +
           metric(text, "\nmains_jobs_ended_total{state=\"failed\"} ");
}

static void on_metrics(void *context, const struct http_answer *answer)
{
    struct bench *bench = context;

    if (answer->status != 200) {
        fail(bench, "/metrics", answer);
        return;
    }
    bench->running_us = clock_mono_us();
    if (count_begun(answer) >= (uint64_t)bench->before + bench->jobs)
        uv_stop(&bench->loop);
    else if (bench->running_us - bench->began_us > GIVE_UP_MS * INT64_C(1000))
        fail(bench, "they do not all run", answer);
}

static void on_poll(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    call(bench, bench->metrics_url, NULL, on_metrics, bench);
}

/* ---- submits ---- */

static void submit(struct client *client);

static void on_submitted(void *context, const struct http_answer *answer)
{
    struct client *client = context;
    struct bench *bench = client->bench;

    if (answer->status != 201) {
        fail(bench, "submit", answer);
        return;
    }
    bench->took_us[bench->done++] = clock_mono_us() - client->sent_us;
    if (bench->sent < bench->jobs) {
        submit(client);
    } else if (bench->done == bench->jobs) {
        bench->submitted_us = clock_mono_us();
        uv_timer_start(&bench->poll, on_poll, 0, POLL_MS);
    }
}

static void submit(struct client *client)
{
    struct bench *bench = client->bench;

    client->sent_us = clock_mono_us();
    call(bench, bench->jobs_url, bench->body[bench->sent++ % bench->bodies_count], on_submitted,
         client);
}

static void on_before(void *context, const struct http_answer *answer)
{
    struct bench *bench = context;

    if (answer->status != 200) {
        fail(bench, "/metrics", answer);
        return;
    }
    bench->before = (uint32_t)count_begun(answer);
    bench->began_us = clock_mono_us();
    for (uint32_t i = 0; i < bench->clients_count && bench->sent < bench->jobs; i++)
        submit(&bench->clients[i]);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int run(struct bench *bench)
{
    struct err err;

    uv_loop_init(&bench->loop);
    uv_timer_init(&bench->loop, &bench->poll);
    bench->poll.data = bench;
    if (http_client_create(&bench->loop, &bench->http, &err) < 0) {
        fprintf(stderr, "federated_bench: %s\n", err.text);
        return 1;
    }
    for (uint32_t i = 0; i < bench->clients_count; i++)
        bench->clients[i].bench = bench;
    call(bench, bench->metrics_url, NULL, on_before, bench);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    if (bench->status)
        return bench->status;
    qsort(bench->took_us, bench->jobs, sizeof(*bench->took_us), compare);
    printf("{\"submit_rate\":%.1f,\"running_rate\":%.1f,\"jobs\":%" PRIu32
           ",\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
           bench->jobs / ((double)(bench->submitted_us - bench->began_us) / 1e6),
           bench->jobs / ((double)(bench->running_us - bench->began_us) / 1e6), bench->jobs,
           (double)bench->took_us[bench->jobs / 2] / 1000,
           (double)bench->took_us[bench->jobs * 99ull / 100] / 1000);
    return 0; /* the process ends: nothing is taken apart */
}

static int load(struct bench *bench, const char *token_file, const char *bodies_file)
{
    struct err err;

    bench->token = buf_init(4096);
    bench->bodies = buf_init(64u << 20);
    if (file_read(token_file, &bench->token, &err) < 0 ||
        file_read(bodies_file, &bench->bodies, &err) < 0 || !bench->token.data ||
        !bench->bodies.data) {
        fprintf(stderr, "federated_bench: %s\n", err.text);
        return -1;
    }
    bench->token.data[strcspn(bench->token.data, "\r\n")] = '\0';
    for (char *at = bench->bodies.data, *line; bench->bodies_count < BODIES_MAX;) {
        line = strsep(&at, "\n");
        if (!line)
            break;
        if (*line)
            bench->body[bench->bodies_count++] = line;
    }
    bench->jobs_url = path_format("%s/api/v1/jobs", bench->url);
    bench->metrics_url = path_format("%s/metrics", bench->url);
    bench->took_us = calloc(bench->jobs, sizeof(*bench->took_us));
    return bench->bodies_count && bench->jobs_url && bench->metrics_url && bench->took_us ? 0 : -1;
}

int main(int argc, char **argv)
{
    static struct bench bench = { .clients_count = 16, .jobs = 1000 };
    const char *token_file = NULL, *bodies_file = NULL;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--url") == 0)
            bench.url = argv[i + 1];
        else if (strcmp(argv[i], "--pin") == 0)
            bench.pin = argv[i + 1][0] ? argv[i + 1] : NULL;
        else if (strcmp(argv[i], "--token-file") == 0)
            token_file = argv[i + 1];
        else if (strcmp(argv[i], "--bodies") == 0)
            bodies_file = argv[i + 1];
        else if (strcmp(argv[i], "--clients") == 0)
            bench.clients_count = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--jobs") == 0)
            bench.jobs = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    }
    if (!bench.url || !token_file || !bodies_file || bench.clients_count < 1 ||
        bench.clients_count > CLIENTS_MAX || bench.jobs < 1 || bench.jobs > JOBS_MAX) {
        fprintf(stderr,
                "usage: %s --url URL [--pin PIN] --token-file F --bodies F [--clients N] "
                "[--jobs N]\n",
                argv[0]);
        return 2;
    }
    return load(&bench, token_file, bodies_file) < 0 ? 1 : run(&bench);
}
