/* http_bench.c - the bare HTTP server as a ceiling: requests a second of 64 keep-alive clients that
 * post 300 bytes, on one core of server; answered at once, and answered late in batches as a group
 * commit does it (a second thread releases what came in through uv_async).
 *
 *   http_bench [--clients N] [--seconds S] [--mode now|late]
 *
 * Without --mode both are run. One JSON line a figure. */
#include "base/buf.h"
#include "base/clock.h"
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define BODY_BYTES 300
#define BATCH_MAX 4096

struct bench {
    uv_loop_t loop;
    struct http_server *server;
    bool late;
    int clients;
    double seconds;
    /* The late mode's group commit. */
    uv_async_t committed, finished;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct http_request *waiting[BATCH_MAX]; /* came in; loop and committer, under lock */
    struct http_request *durable[BATCH_MAX]; /* may be answered; loop and committer, under lock */
    int waiting_count, durable_count;
    bool stopping;
    /* Results. */
    _Atomic long answers;
    double wall_s, server_cpu_s, client_cpu_s;
    long batches;
};

static double cpu_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void answer(struct http_request *request)
{
    static const char body[] = "{\"id\":\"123456\",\"jobs\":1,\"state\":\"queued\"}\n";

    http_reply(request, 201, "application/json", body, sizeof(body) - 1, NULL, 0);
}

static void on_request(void *context, struct http_request *request)
{
    struct bench *bench = context;

    if (!bench->late) {
        answer(request);
        return;
    }
    pthread_mutex_lock(&bench->lock);
    bench->waiting[bench->waiting_count++] = request;
    pthread_cond_signal(&bench->work);
    pthread_mutex_unlock(&bench->lock);
}

static void on_committed(uv_async_t *async)
{
    struct bench *bench = async->data;
    struct http_request *batch[BATCH_MAX];
    int count;

    pthread_mutex_lock(&bench->lock);
    count = bench->durable_count;
    memcpy(batch, bench->durable, (size_t)count * sizeof(batch[0]));
    bench->durable_count = 0;
    pthread_mutex_unlock(&bench->lock);
    for (int i = 0; i < count; i++)
        answer(batch[i]);
    bench->batches += count > 0;
}

static void *committer(void *context)
{
    struct bench *bench = context;

    pthread_mutex_lock(&bench->lock);
    while (!bench->stopping) {
        if (!bench->waiting_count) {
            pthread_cond_wait(&bench->work, &bench->lock);
            continue;
        }
        memcpy(bench->durable + bench->durable_count, bench->waiting,
               (size_t)bench->waiting_count * sizeof(bench->waiting[0]));
        bench->durable_count += bench->waiting_count;
        bench->waiting_count = 0;
        uv_async_send(&bench->committed);
        pthread_mutex_unlock(&bench->lock);
        /* About what an fdatasync of a good disk takes. */
        nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
        pthread_mutex_lock(&bench->lock);
    }
    pthread_mutex_unlock(&bench->lock);
    return NULL;
}

static int client_open(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fprintf(stderr, "http_bench: connect: %s\n", strerror(errno));
        exit(1);
    }
    return fd;
}

static void *clients_run(void *context)
{
    struct bench *bench = context;
    char request[1024], answer_text[4096];
    char filler[BODY_BYTES + 1];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int fds[CLIENTS_MAX];
    int request_len;
    int64_t start, end;
    double cpu = cpu_now();
    long answers = 0;

    memset(filler, 'x', BODY_BYTES);
    filler[BODY_BYTES] = '\0';
    request_len = snprintf(request, sizeof(request),
                           "POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                           "Authorization: Bearer mains_abcdefghijklmnopqrstuvwxyz\r\n"
                           "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                           BODY_BYTES, filler);
    for (int i = 0; i < bench->clients; i++) {
        struct epoll_event event = { .events = EPOLLIN };

        fds[i] = client_open(http_server_port(bench->server));
        event.data.fd = fds[i];
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event);
    }
    start = clock_mono_us();
    end = start + (int64_t)(bench->seconds * 1e6);
    for (int i = 0; i < bench->clients; i++)
        if (write(fds[i], request, (size_t)request_len) != request_len)
            abort();
    while (clock_mono_us() < end) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll_fd, events, 256, 100);

        for (int i = 0; i < count; i++) {
            ssize_t len = read(events[i].data.fd, answer_text, sizeof(answer_text));

            if (len < 40 || memcmp(answer_text, "HTTP/1.1 201", 12) != 0 ||
                answer_text[len - 1] != '\n') {
                fprintf(stderr, "http_bench: unexpected answer of %zd bytes\n", len);
                exit(1);
            }
            answers++;
            if (write(events[i].data.fd, request, (size_t)request_len) != request_len)
                abort();
        }
    }
    bench->wall_s = (double)(clock_mono_us() - start) / 1e6;
    bench->answers = answers;
    bench->client_cpu_s = cpu_now() - cpu;
    for (int i = 0; i < bench->clients; i++)
        close(fds[i]);
    close(epoll_fd);
    uv_async_send(&bench->finished);
    return NULL;
}

static void on_finished(uv_async_t *async)
{
    struct bench *bench = async->data;

    http_server_stop(bench->server);
    uv_close((uv_handle_t *)&bench->committed, NULL);
    uv_close((uv_handle_t *)&bench->finished, NULL);
}

static void run(bool late, int clients, double seconds)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct http_server_config config = { .address = "127.0.0.1",
                                         .handle = on_request,
                                         .context = bench };
    struct err err = { 0 };
    pthread_t client_thread, commit_thread;
    double cpu;

    bench->late = late;
    bench->clients = clients;
    bench->seconds = seconds;
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->work, NULL);
    uv_loop_init(&bench->loop);
    uv_async_init(&bench->loop, &bench->committed, on_committed);
    uv_async_init(&bench->loop, &bench->finished, on_finished);
    bench->committed.data = bench->finished.data = bench;
    if (http_server_start(&bench->loop, &config, &bench->server, &err) < 0) {
        fprintf(stderr, "http_bench: %s\n", err.text);
        exit(1);
    }
    pthread_create(&commit_thread, NULL, committer, bench);
    pthread_create(&client_thread, NULL, clients_run, bench);
    cpu = cpu_now();
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    bench->server_cpu_s = cpu_now() - cpu;
    pthread_join(client_thread, NULL);
    pthread_mutex_lock(&bench->lock);
    bench->stopping = true;
    pthread_cond_signal(&bench->work);
    pthread_mutex_unlock(&bench->lock);
    pthread_join(commit_thread, NULL);
    uv_loop_close(&bench->loop);
    printf("{\"name\":\"http_%s\",\"value\":%.0f,\"unit\":\"requests/s\",\"goal\":\">=15000\","
           "\"holds\":%s,\"peer\":null,\"peer_value\":null,\"ratio\":null,\"note\":\"%d keep-alive "
           "clients, POST of %d bytes; server %.1f us of CPU a request, client %.1f us, batches of "
           "%.1f\"}\n",
           late ? "late" : "now", (double)bench->answers / bench->wall_s,
           (double)bench->answers / bench->wall_s >= 15000 ? "true" : "false", clients, BODY_BYTES,
           bench->server_cpu_s / (double)bench->answers * 1e6,
           bench->client_cpu_s / (double)bench->answers * 1e6,
           bench->batches ? (double)bench->answers / (double)bench->batches : 1.0);
    free(bench);
}

int main(int argc, char **argv)
{
    int clients = 64;
    double seconds = 3;
    const char *mode = NULL;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--clients") == 0)
            clients = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
        else if (strcmp(argv[i], "--mode") == 0)
            mode = argv[i + 1];
    }
    if (clients < 1 || clients > CLIENTS_MAX || seconds <= 0) {
        fprintf(stderr, "http_bench: 1..%d clients, some seconds\n", CLIENTS_MAX);
        return 2;
    }
    if (!mode || strcmp(mode, "now") == 0)
        run(false, clients, seconds);
    if (!mode || strcmp(mode, "late") == 0)
        run(true, clients, seconds);
    return 0;
}
