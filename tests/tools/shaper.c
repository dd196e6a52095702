/* shaper - a bad line, for tests: passes TCP on, later, slower, in one direction only, or not.
 *
 *   shaper LISTEN:PORT TARGET:PORT CONTROL     runs until it is ended; CONTROL is a unix socket
 *   shaper tell CONTROL latency MS             each way takes so much longer
 *   shaper tell CONTROL rate BYTES_A_SECOND    each way of each connection; 0 = as it comes
 *   shaper tell CONTROL stall up|down|both     nothing passes that way, nothing is lost
 *   shaper tell CONTROL go                     both ways pass again
 *   shaper tell CONTROL reset                  every connection is torn down
 *
 * "up" is from who connects to the target. The kernel's netem does this better, but not every
 * kernel has it, and it needs no root. One thread, one poll loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINES_MAX 256
#define CHUNK_BYTES 16384
#define WAITING_BYTES_MAX (4u << 20) /* of one way; then nothing more is read */

struct chunk {
    struct chunk *next;
    int64_t due_us;
    size_t len, sent;
    char data[CHUNK_BYTES];
};
struct way { /* one direction of a connection */
    struct chunk *head, **tail;
    size_t waiting;
    int64_t free_us; /* when what was sent before has passed, at the rate */
    bool ended;      /* the reader saw the end */
    bool closed;     /* and the writer was told */
};
struct line {
    int fds[2]; /* 0: who connected, 1: the target; -1 = no such line */
    bool connecting;
    struct way ways[2]; /* 0: up, 1: down */
};
struct shaper {
    struct line lines[LINES_MAX];
    struct sockaddr_in target;
    int listener, control;
    int64_t latency_us, rate;
    bool stalled[2];
};

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void way_empty(struct way *way)
{
    while (way->head) {
        struct chunk *chunk = way->head;

        way->head = chunk->next;
        free(chunk);
    }
    memset(way, 0, sizeof(*way));
    way->tail = &way->head;
}

static void line_end(struct line *line, bool reset)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    for (int side = 0; side < 2; side++) {
        if (line->fds[side] < 0)
            continue;
        if (reset)
            setsockopt(line->fds[side], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(line->fds[side]);
        line->fds[side] = -1;
        way_empty(&line->ways[side]);
    }
}

static void take_connection(struct shaper *shaper)
{
    struct line *line = NULL;
    int one = 1;
    int fd = accept4(shaper->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    for (int i = 0; i < LINES_MAX && !line; i++)
        if (shaper->lines[i].fds[0] < 0)
            line = &shaper->lines[i];
    if (!line) {
        close(fd);
        return;
    }
    for (int side = 0; side < 2; side++)
        way_empty(&line->ways[side]);
    line->fds[0] = fd;
    line->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    line->connecting = true;
    if (line->fds[1] < 0 ||
        (connect(line->fds[1], (struct sockaddr *)&shaper->target, sizeof(shaper->target)) < 0 &&
         errno != EINPROGRESS)) {
        line_end(line, true);
        return;
    }
    for (int side = 0; side < 2; side++)
        setsockopt(line->fds[side], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* false: the line is broken. */
static bool way_read(const struct shaper *shaper, struct way *way, int fd)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    int64_t now = now_us();
    ssize_t got;

    if (!chunk)
        return false;
    got = read(fd, chunk->data, sizeof(chunk->data));
    if (got <= 0) {
        int why = errno;

        free(chunk);
        way->ended = way->ended || got == 0;
        return got == 0 || why == EAGAIN || why == EINTR;
    }
    chunk->len = (size_t)got;
    if (way->free_us < now)
        way->free_us = now;
    if (shaper->rate > 0)
        way->free_us += got * 1000000 / shaper->rate;
    chunk->due_us = way->free_us + shaper->latency_us;
    *way->tail = chunk;
    way->tail = &chunk->next;
    way->waiting += chunk->len;
    return true;
}

static bool way_write(struct way *way, int fd)
{
    int64_t now = now_us();

    while (way->head && way->head->due_us <= now) {
        struct chunk *chunk = way->head;
        ssize_t sent = send(fd, chunk->data + chunk->sent, chunk->len - chunk->sent, MSG_NOSIGNAL);

        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        chunk->sent += (size_t)sent;
        if (chunk->sent < chunk->len)
            return true;
        way->waiting -= chunk->len;
        way->head = chunk->next;
        if (!way->head)
            way->tail = &way->head;
        free(chunk);
    }
    if (!way->head && way->ended && !way->closed) {
        shutdown(fd, SHUT_WR);
        way->closed = true;
    }
    return true;
}

static void obey(struct shaper *shaper, const char *words)
{
    char what[16] = "";
    long long number = 0;

    if (sscanf(words, "latency %lld", &number) == 1)
        shaper->latency_us = number * 1000;
    else if (sscanf(words, "rate %lld", &number) == 1)
        shaper->rate = number;
    else if (sscanf(words, "stall %15s", what) == 1) {
        shaper->stalled[0] = strcmp(what, "down") != 0;
        shaper->stalled[1] = strcmp(what, "up") != 0;
    } else if (strcmp(words, "go") == 0)
        shaper->stalled[0] = shaper->stalled[1] = false;
    else if (strcmp(words, "reset") == 0)
        for (int i = 0; i < LINES_MAX; i++)
            line_end(&shaper->lines[i], true);
    else
        fprintf(stderr, "shaper: \"%s\" is not understood\n", words);
}

static void take_order(struct shaper *shaper)
{
    struct sockaddr_un from;
    socklen_t from_len = sizeof(from);
    char words[128];
    ssize_t got =
        recvfrom(shaper->control, words, sizeof(words) - 1, 0, (struct sockaddr *)&from, &from_len);

    if (got <= 0)
        return;
    words[got] = '\0';
    obey(shaper, words);
    sendto(shaper->control, "ok", 2, 0, (struct sockaddr *)&from, from_len);
}

/* What to wait for on each side of a line; and how long until something is due. */
static void ask(const struct shaper *shaper, const struct line *line, struct pollfd polls[2],
                int64_t now, int64_t *wait_us)
{
    for (int side = 0; side < 2; side++) {
        const struct way *in = &line->ways[side], *out = &line->ways[1 - side];

        polls[side] = (struct pollfd){ .fd = line->fds[side] };
        if (line->fds[side] < 0)
            continue;
        if (!in->ended && in->waiting < WAITING_BYTES_MAX && !(side == 1 && line->connecting))
            polls[side].events |= POLLIN;
        if (side == 1 && line->connecting)
            polls[side].events |= POLLOUT;
        if (shaper->stalled[1 - side] || !(out->head || (out->ended && !out->closed)))
            continue;
        if (!out->head || out->head->due_us <= now)
            polls[side].events |= POLLOUT;
        else if (out->head->due_us - now < *wait_us)
            *wait_us = out->head->due_us - now;
    }
}

static void serve(struct shaper *shaper, struct line *line, const struct pollfd polls[2])
{
    bool fine = true;

    for (int side = 0; side < 2 && fine; side++) {
        struct way *in = &line->ways[side], *out = &line->ways[1 - side];

        if (polls[side].revents & POLLERR)
            fine = false;
        if (side == 1 && line->connecting && (polls[side].revents & POLLOUT))
            line->connecting = false;
        if (fine && (polls[side].revents & (POLLIN | POLLHUP)) && !in->ended)
            fine = way_read(shaper, in, line->fds[side]);
        if (fine && (polls[side].revents & POLLOUT) && !shaper->stalled[1 - side])
            fine = way_write(out, line->fds[side]);
    }
    if (!fine || (line->ways[0].closed && line->ways[1].closed))
        line_end(line, !fine);
}

static void turn(struct shaper *shaper)
{
    static struct pollfd polls[2 * LINES_MAX + 2];
    int64_t wait_us = 1000000, now = now_us();

    for (int i = 0; i < LINES_MAX; i++)
        ask(shaper, &shaper->lines[i], &polls[2 * i], now, &wait_us);
    polls[2 * LINES_MAX] = (struct pollfd){ .fd = shaper->listener, .events = POLLIN };
    polls[2 * LINES_MAX + 1] = (struct pollfd){ .fd = shaper->control, .events = POLLIN };
    if (poll(polls, 2 * LINES_MAX + 2, (int)((wait_us + 999) / 1000)) < 0)
        return;
    for (int i = 0; i < LINES_MAX; i++)
        if (shaper->lines[i].fds[0] >= 0)
            serve(shaper, &shaper->lines[i], &polls[2 * i]);
    if (polls[2 * LINES_MAX + 1].revents)
        take_order(shaper);
    if (polls[2 * LINES_MAX].revents)
        take_connection(shaper);
}

static bool parse_place(const char *text, struct sockaddr_in *out)
{
    const char *colon = strrchr(text, ':');
    char host[64], *end;
    unsigned long port;

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    port = strtoul(colon + 1, &end, 10);
    *out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    return !*end && port <= 65535 && inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

static int control_open(const char *path, bool bind_there, struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(address->sun_path) || fd < 0)
        return -1;
    memcpy(address->sun_path, path, strlen(path) + 1);
    if (!bind_there)
        return fd;
    unlink(path);
    return bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0 ? -1 : fd;
}

/* The answer comes to a path of our own: names of the kernel's end at a network namespace. */
static int tell(int argc, char **argv)
{
    struct sockaddr_un to, own;
    struct timeval patience = { .tv_sec = 10 };
    char words[128] = "", answer[8], path[sizeof(own.sun_path)];
    int to_fd = control_open(argv[2], false, &to), fd, rc = 1;

    snprintf(path, sizeof(path), "%.90s.%ld", argv[2], (long)getpid());
    fd = control_open(path, true, &own);
    for (int i = 3; i < argc; i++)
        snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s", i > 3 ? " " : "",
                 argv[i]);
    if (to_fd < 0 || fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        sendto(fd, words, strlen(words), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        recv(fd, answer, sizeof(answer), 0) <= 0)
        perror(argv[2]);
    else
        rc = 0;
    unlink(path);
    return rc;
}

int main(int argc, char **argv)
{
    static struct shaper shaper;
    struct sockaddr_in here;
    struct sockaddr_un control;
    int one = 1;

    if (argc > 3 && strcmp(argv[1], "tell") == 0)
        return tell(argc, argv);
    if (argc != 4 || !parse_place(argv[1], &here) || !parse_place(argv[2], &shaper.target)) {
        fprintf(stderr, "usage: shaper LISTEN:PORT TARGET:PORT CONTROL | tell CONTROL WORDS...\n");
        return 2;
    }
    close_range(STDERR_FILENO + 1, ~0u, 0); /* who started us may wait for their ends */
    for (int i = 0; i < LINES_MAX; i++)
        shaper.lines[i].fds[0] = shaper.lines[i].fds[1] = -1;
    shaper.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(shaper.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(shaper.listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
        listen(shaper.listener, 64) < 0) {
        perror(argv[1]);
        return 1;
    }
    shaper.control = control_open(argv[3], true, &control);
    if (shaper.control < 0) {
        perror(argv[3]);
        return 1;
    }
    for (;;)
        turn(&shaper);
}
