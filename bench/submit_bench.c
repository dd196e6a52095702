/* submit_bench.c - how many durable submits a second the controller answers.
 *
 * N keep-alive connections over loopback, one job a request, the next one as soon as the answer is
 * whole: raw HTTP and epoll, so that the load takes as little as it can of the CPUs it shares with
 * the controller. Every answer must be 201 with an id, else the run fails.
 *
 *   submit_bench --url http://127.0.0.1:7743 --token-file F --clients 64 --jobs 40000 --body F
 *                [--vary] [--keys]
 * --vary: each spec differs (its notes); --keys: each request has its own Idempotency-Key.
 * Prints {"rate":..,"jobs":..,"clients":..,"p50_ms":..,"p99_ms":..,"max_ms":..}. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 4096u
#define REQUEST_BYTES_MAX (2u << 20)

struct client {
    int fd;
    int64_t sent_us;
    size_t have;
    struct buf request;
    size_t request_sent;
    char answer[4096];
};
struct bench {
    const char *url, *token_file, *body_file;
    struct sockaddr_in address;
    struct buf token, body;
    uint32_t clients_count;
    uint64_t jobs, sent, done;
    bool vary, keys;
    struct client *clients;
    int64_t *latencies_us;
    int epoll;
};

static int fail(const char *what)
{
    fprintf(stderr, "submit_bench: %s: %s\n", what, strerror(errno));
    return -1;
}

static int parse_url(struct bench *bench)
{
    char host[64];
    unsigned port = 0;

    if (!bench->url || sscanf(bench->url, "http://%63[0-9.]:%u", host, &port) != 2 ||
        port > UINT16_MAX || inet_pton(AF_INET, host, &bench->address.sin_addr) != 1) {
        fprintf(stderr, "submit_bench: --url: expected http://127.0.0.1:PORT\n");
        return -1;
    }
    bench->address.sin_family = AF_INET;
    bench->address.sin_port = htons((uint16_t)port);
    return 0;
}

static int load(struct bench *bench)
{
    struct err err;

    bench->token = buf_init(4096);
    bench->body = buf_init(REQUEST_BYTES_MAX);
    if (!bench->token_file || !bench->body_file ||
        file_read(bench->token_file, &bench->token, &err) < 0 ||
        file_read(bench->body_file, &bench->body, &err) < 0) {
        fprintf(stderr, "submit_bench: --token-file and --body are needed, and readable\n");
        return -1;
    }
    while (bench->token.len && bench->token.data[bench->token.len - 1] <= ' ')
        bench->token.data[--bench->token.len] = '\0';
    while (bench->body.len && bench->body.data[bench->body.len - 1] <= ' ')
        bench->body.data[--bench->body.len] = '\0';
    if (bench->body.len < 2 || bench->body.data[bench->body.len - 1] != '}') {
        fprintf(stderr, "submit_bench: --body: expected a JSON object\n");
        return -1;
    }
    return 0;
}

static void build_request(struct bench *bench, struct client *client)
{
    char extra[64] = "", key[80] = "";

    if (bench->vary)
        snprintf(extra, sizeof(extra), ",\"notes\":\"job %" PRIu64 " of the bench\"}", bench->sent);
    if (bench->keys)
        snprintf(key, sizeof(key), "Idempotency-Key: bench-%d-%" PRIu64 "\r\n", (int)getpid(),
                 bench->sent);
    buf_clear(&client->request);
    buf_printf(&client->request,
               "POST /api/v1/jobs HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n%s"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               bench->token.data, key, bench->body.len - (bench->vary ? 1 : 0) + strlen(extra));
    buf_add(&client->request, bench->body.data, bench->body.len - (bench->vary ? 1 : 0));
    buf_add_text(&client->request, extra);
}

static int send_more(struct client *client)
{
    while (client->request_sent < client->request.len) {
        ssize_t put = send(client->fd, client->request.data + client->request_sent,
                           client->request.len - client->request_sent, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail("send"); /* blocking socket: a request is small */
        client->request_sent += (size_t)put;
    }
    return 0;
}

static int next_request(struct bench *bench, struct client *client)
{
    if (bench->sent == bench->jobs)
        return 0;
    build_request(bench, client);
    bench->sent++;
    client->have = 0;
    client->request_sent = 0;
    client->sent_us = clock_mono_us();
    return send_more(client);
}

/* 1: whole, 0: not yet, -1: not what was wanted. */
static int check_answer(struct client *client)
{
    const char *end, *length;

    client->answer[client->have] = '\0';
    end = strstr(client->answer, "\r\n\r\n");
    if (!end)
        return 0;
    length = strcasestr(client->answer, "\r\ncontent-length:");
    if (!length || length > end)
        return -1;
    if (client->have < (size_t)(end + 4 - client->answer) + strtoul(length + 17, NULL, 10))
        return 0;
    return !strncmp(client->answer, "HTTP/1.1 201", 12) && strstr(end, "\"id\":\"") ? 1 : -1;
}

static int on_readable(struct bench *bench, struct client *client)
{
    ssize_t got = recv(client->fd, client->answer + client->have,
                       sizeof(client->answer) - 1 - client->have, MSG_DONTWAIT);
    int whole;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return fail("the connection was closed");
    client->have += (size_t)got;
    whole = check_answer(client);
    if (whole < 0) {
        fprintf(stderr, "submit_bench: not a 201: %.300s\n", client->answer);
        return -1;
    }
    if (!whole)
        return 0;
    bench->latencies_us[bench->done++] = clock_mono_us() - client->sent_us;
    return next_request(bench, client);
}

static int connect_all(struct bench *bench)
{
    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < bench->clients_count; i++) {
        struct client *client = &bench->clients[i];
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
        int on = 1;

        client->request = buf_init(REQUEST_BYTES_MAX + 4096);
        client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client->fd < 0 ||
            connect(client->fd, (struct sockaddr *)&bench->address, sizeof(bench->address)) < 0)
            return fail("connect");
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (epoll_ctl(bench->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
            return fail("epoll");
    }
    return 0;
}

static int compare_us(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

static void print(struct bench *bench, int64_t took_us)
{
    const int64_t *us = bench->latencies_us;

    qsort(bench->latencies_us, bench->done, sizeof(*us), compare_us);
    printf("{\"rate\":%.1f,\"jobs\":%" PRIu64 ",\"clients\":%" PRIu32
           ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           (double)bench->done * 1e6 / (double)MAX(took_us, 1), bench->done, bench->clients_count,
           (double)us[bench->done / 2] / 1e3, (double)us[bench->done * 99 / 100] / 1e3,
           (double)us[bench->done - 1] / 1e3);
}

static int run(struct bench *bench)
{
    struct epoll_event events[256];
    int64_t started_us = clock_mono_us();

    for (uint32_t i = 0; i < bench->clients_count; i++)
        if (next_request(bench, &bench->clients[i]) < 0)
            return -1;
    while (bench->done < bench->jobs) {
        int count = epoll_wait(bench->epoll, events, (int)ARRAY_COUNT(events), 30000);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            errno = ETIMEDOUT;
            return fail("no answer in 30 s");
        }
        for (int i = 0; i < count; i++)
            if (on_readable(bench, events[i].data.ptr) < 0)
                return -1;
    }
    print(bench, clock_mono_us() - started_us);
    return 0;
}

static int parse_args(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(argv[i], "--vary")) {
            bench->vary = true;
            continue;
        }
        if (!strcmp(argv[i], "--keys")) {
            bench->keys = true;
            continue;
        }
        if (!strcmp(argv[i], "--url"))
            bench->url = value;
        else if (!strcmp(argv[i], "--token-file"))
            bench->token_file = value;
        else if (!strcmp(argv[i], "--body"))
            bench->body_file = value;
        else if (!strcmp(argv[i], "--clients"))
            bench->clients_count = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--jobs"))
            bench->jobs = strtoull(value, NULL, 10);
        else {
            fprintf(stderr, "submit_bench: unknown option %s\n", argv[i]);
            return -1;
        }
        i++;
    }
    if (bench->clients_count < 1 || bench->clients_count > CLIENTS_MAX || !bench->jobs ||
        bench->jobs > 100000000u) {
        fprintf(stderr, "submit_bench: --clients 1..%u and --jobs are needed\n", CLIENTS_MAX);
        return -1;
    }
    return parse_url(bench) < 0 ? -1 : load(bench);
}

int main(int argc, char **argv)
{
    struct bench bench = { 0 };

    if (parse_args(&bench, argc, argv) < 0)
        return 2;
    bench.clients = calloc(bench.clients_count, sizeof(*bench.clients));
    bench.latencies_us = calloc(bench.jobs, sizeof(*bench.latencies_us));
    if (!bench.clients || !bench.latencies_us)
        return 1;
    return connect_all(&bench) < 0 || run(&bench) < 0;
}
