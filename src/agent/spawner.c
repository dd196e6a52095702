#include "agent/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int receive_all(int fd, void *data, size_t len)
{
    char *p = data;

    while (len) {
        ssize_t got = read(fd, p, len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EPIPE;
        p += got;
        len -= (size_t)got;
    }
    return 0;
}

/* The order, and the descriptor that came along with its first bytes. */
static int receive_order(int fd, struct attempt_order *order, int *attempt_fd_out)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = { .iov_base = order, .iov_len = sizeof(*order) };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *head;
    ssize_t got;

    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return -EPIPE;
    head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_RIGHTS)
        return -EPIPE;
    memcpy(attempt_fd_out, CMSG_DATA(head), sizeof(int));
    return receive_all(fd, (char *)order + got, sizeof(*order) - (size_t)got);
}

static void spawner_loop(int fd, const struct supervisor_place *place)
{
    struct attempt_order order;
    int attempt_fd = -1;

    while (receive_order(fd, &order, &attempt_fd) == 0) {
        char *spec_json = calloc(1, (size_t)order.spec_len + 1);
        pid_t pid;

        if (!spec_json || receive_all(fd, spec_json, order.spec_len) < 0)
            _exit(1);
        pid = fork();
        if (pid == 0) {
            close(fd);
            supervisor_run(place, &order, spec_json, attempt_fd);
        }
        if (pid < 0) /* the folder's lock falls: the agent sees a lost attempt */
            supervisor_report_unborn(place, &order, errno);
        close(attempt_fd);
        free(spec_json);
    }
}

/* All that was open in the agent goes, but what is in `keep`: a job must never inherit it. */
static void close_others(const int *keep, size_t count)
{
    unsigned int from = 3;

    for (;;) {
        unsigned int next = ~0U;

        for (size_t i = 0; i < count; i++)
            if (keep[i] >= 0 && (unsigned int)keep[i] >= from && (unsigned int)keep[i] < next)
                next = (unsigned int)keep[i];
        if (next > from)
            close_range(from, next == ~0U ? next : next - 1, 0);
        if (next == ~0U)
            return;
        from = next + 1;
    }
}

static _Noreturn void spawner_main(int fd, const struct supervisor_place *place_given)
{
    struct supervisor_place place = *place_given;
    int keep[3 + CG_COUNT] = { fd, place.agent_fd, place.ended_fd };
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_NAME, "mains-spawner");
    setsid();
    signal(SIGCHLD, SIG_IGN); /* supervisors are reaped by the kernel */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (null_fd < 0)
        _exit(1);
    for (int i = 0; i < 3; i++)
        dup2(null_fd, i);
    for (int i = 0; i < CG_COUNT; i++)
        keep[3 + i] = place.cgroups.fds[i];
    close_others(keep, ARRAY_COUNT(keep));
    place.notify_fd = openat(place.agent_fd, "notify", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (place.notify_fd < 0)
        _exit(1);
    spawner_loop(fd, &place);
    _exit(0);
}

int spawner_start(const struct supervisor_place *place, struct spawner *spawner_out,
                  struct err *err)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "spawner: socket: %s", strerror(errno));
    pid = fork();
    if (pid < 0) {
        int rc = -errno;

        close(pair[0]);
        close(pair[1]);
        return err_set(err, rc, "spawner: fork: %s", strerror(-rc));
    }
    if (pid == 0) {
        close(pair[0]);
        spawner_main(pair[1], place);
    }
    close(pair[1]);
    spawner_out->fd = pair[0];
    spawner_out->pid = pid;
    return 0;
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t put = send(fd, data, len, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

int spawner_send(struct spawner *spawner, const struct attempt_order *order, const char *spec_json,
                 int attempt_fd, struct err *err)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec part = { .iov_base = (void *)(uintptr_t)order, .iov_len = sizeof(*order) };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    ssize_t put;
    int rc;

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &attempt_fd, sizeof(int));
    do
        put = sendmsg(spawner->fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    rc = put < 0 ? -errno
                 : send_all(spawner->fd, (const char *)order + put, sizeof(*order) - (size_t)put);
    if (rc == 0)
        rc = send_all(spawner->fd, spec_json, order->spec_len);
    return rc < 0 ? err_set(err, rc, "spawner: %s", strerror(-rc)) : 0;
}

void spawner_close(struct spawner *spawner)
{
    if (spawner->fd >= 0)
        close(spawner->fd);
    spawner->fd = -1;
    if (spawner->pid > 0)
        waitpid(spawner->pid, NULL, 0);
    spawner->pid = 0;
}
