/* http_fuzz.c - raw bytes from a client to the real server over loopback, whose handler answers at
 * once, late, in a stream, or never, as the path says. No crash, no leak, `gone` at most once. */
#include "net/http_server.h"
#include "net/http_uri.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 400
#define KEPT_MAX 64

struct target {
    uv_loop_t loop;
    struct http_server *server;
    struct http_request *kept[KEPT_MAX];
    int kept_count;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void echo(struct http_request *request)
{
    const char *query = http_request_query(request, "q");
    const char *bearer = http_request_bearer(request);
    struct http_header headers[] = { { "X-Query", query ? query : "" },
                                     { "X-Bearer", bearer ? bearer : "" } };
    size_t len;
    const char *body = http_request_body(request, &len);

    if (http_request_path(request)[0] != '/' || !http_request_method(request)[0])
        abort();
    http_reply(request, 200, http_request_header(request, "Content-Type"), body, len, headers, 2);
}

static void on_request(void *context, struct http_request *request)
{
    struct target *target = context;
    const char *path = http_request_path(request);
    size_t len;

    if (path[1] == 'k' && target->kept_count < KEPT_MAX) {
        target->kept[target->kept_count++] = request;
    } else if (path[1] == 's') {
        http_stream_begin(request, 200, "text/plain", NULL, 0);
        const char *body = http_request_body(request, &len);

        http_stream_push(request, body, len);
        http_stream_end(request);
    } else {
        echo(request);
    }
}

static void on_gone(void *context, struct http_request *request)
{
    struct target *target = context;

    for (int i = 0; i < target->kept_count; i++) {
        if (target->kept[i] == request) {
            target->kept[i] = target->kept[--target->kept_count];
            return;
        }
    }
    abort(); /* not kept, or gone already */
}

static size_t body_max(void *context, const struct http_request *request)
{
    (void)context;
    return http_request_path(request)[1] == 'b' ? 16 : 4096;
}

static struct target *target_create(void)
{
    struct target *target = calloc(1, sizeof(*target));
    struct http_server_config config = { .address = "127.0.0.1",
                                         .handle = on_request,
                                         .gone = on_gone,
                                         .body_max = body_max,
                                         .context = target };

    uv_loop_init(&target->loop);
    if (http_server_start(&target->loop, &config, &target->server, NULL) < 0)
        abort();
    return target;
}

static void pure(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct http_uri uri;

    memcpy(text, data, size);
    text[size] = '\0';
    http_bearer_find(text);
    if (http_uri_parse(text, &uri) == 0) {
        for (const char *p = uri.path; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                abort();
        http_uri_param(&uri, "q");
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct target *target;
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct linger no_wait = { .l_onoff = 1 }; /* else the ports run out in TIME_WAIT */
    char answer[4096];
    int fd;

    if (size > (32u << 10))
        return 0;
    pure(data, size);
    if (!target)
        target = target_create();
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons(http_server_port(target->server));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (send(fd, data, size, MSG_NOSIGNAL) < 0 && size)
        abort();
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t len;

        uv_run(&target->loop, UV_RUN_NOWAIT);
        while (target->kept_count)
            echo(target->kept[--target->kept_count]);
        len = recv(fd, answer, sizeof(answer), 0);
        if (len == 0 || (len < 0 && errno != EAGAIN))
            break;
    }
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_wait, sizeof(no_wait));
    close(fd);
    uv_run(&target->loop, UV_RUN_NOWAIT);
    return 0;
}
