#include "agent/spawner.h"

#include "agent/crew.h"
#include "agent/identity.h"
#include "agent/libexec.h"
#include "model/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define INLINE_SPEC_BYTES_MAX (32u << 10) /* a longer spec travels in a memory file */
#define SOCKET_BYTES (4 << 20)
#define FAREWELL_MS 2000
#define RETIRE_AFTER_MS 5000
#define SERVED_MAX 1000 /* attempts one supervisor stands over, one after the other */

/* ---- one order as one message ---- */

struct message {
    struct attempt_order order;
    char spec[INLINE_SPEC_BYTES_MAX];
};

/* An order without the devices it does not have. */
static size_t order_bytes(const struct attempt_order *order)
{
    return offsetof(struct attempt_order, devices) +
           order->devices_count * sizeof(order->devices[0]);
}

/* Of the spec, and of what stands behind it. */
static size_t text_bytes(const struct attempt_order *order)
{
    return (size_t)order->spec_len + order->gang_len;
}

static int read_file(int fd, char *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t got = pread(fd, out + at, len - at, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EIO;
        at += (size_t)got;
    }
    return 0;
}

/* Wait for an order. -EPIPE: the agent is gone, or we are not wanted any more. `*spec_out` is
 * malloc'd. */
static int receive_order(int fd, struct attempt_order *order, char **spec_out, int *attempt_fd_out)
{
    static char bytes[sizeof(struct message)]; /* one thread, one order at a time */
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = { .iov_base = bytes, .iov_len = sizeof(bytes) };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes) };
    int fds[2] = { -1, -1 };
    struct cmsghdr *head;
    ssize_t got;
    size_t len, text_len;

    got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC); /* interrupted: retired, see retire_some */
    head = CMSG_FIRSTHDR(&message);
    if (got < (ssize_t)offsetof(struct attempt_order, devices) || !head ||
        head->cmsg_type != SCM_RIGHTS)
        return -EPIPE;
    memcpy(fds, CMSG_DATA(head), MIN(head->cmsg_len - CMSG_LEN(0), sizeof(fds)));
    memset(order, 0, sizeof(*order));
    memcpy(order, bytes, MIN((size_t)got, sizeof(*order)));
    len = order_bytes(order);
    *attempt_fd_out = fds[0];
    text_len = text_bytes(order);
    *spec_out = calloc(1, text_len + 1);
    if (!*spec_out)
        return -ENOMEM;
    if (fds[1] < 0) {
        if ((size_t)got != len + text_len)
            return -EBADMSG;
        memcpy(*spec_out, bytes + len, text_len);
        return 0;
    }
    if (read_file(fds[1], *spec_out, text_len) < 0)
        return -EIO;
    close(fds[1]);
    return 0;
}

static int spec_file(const char *spec_json, size_t len)
{
    int fd = memfd_create("mains-spec", MFD_CLOEXEC);

    for (size_t at = 0; fd >= 0 && at < len;) {
        ssize_t put = write(fd, spec_json + at, len - at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            close(fd);
            return -1;
        }
        at += (size_t)put;
    }
    return fd;
}

int spawner_send(struct spawner *spawner, const struct attempt_order *order, const char *spec_json,
                 int attempt_fd, struct err *err)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    size_t text_len = text_bytes(order);
    bool in_file = text_len > INLINE_SPEC_BYTES_MAX;
    struct iovec parts[2] = { { .iov_base = (void *)(uintptr_t)order,
                                .iov_len = order_bytes(order) },
                              { .iov_base = (void *)(uintptr_t)spec_json, .iov_len = text_len } };
    struct msghdr message = { .msg_iov = parts,
                              .msg_iovlen = in_file ? 1 : 2,
                              .msg_control = control.bytes,
                              .msg_controllen = CMSG_SPACE((in_file ? 2 : 1) * sizeof(int)) };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    CLEANUP(closep) int file = in_file ? spec_file(spec_json, text_len) : -1;
    const int fds[2] = { attempt_fd, file };
    ssize_t put;

    if (in_file && file < 0)
        return err_set(err, -EIO, "spec of %zu bytes: no memory file", text_len);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN((in_file ? 2 : 1) * sizeof(int));
    memcpy(CMSG_DATA(head), fds, (in_file ? 2 : 1) * sizeof(int));
    do
        put = sendmsg(spawner->fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return err_set(err, -EPIPE, "spawner: %s", strerror(errno));
    return 0;
}

/* ---- the spawner's side ---- */

struct child {
    pid_t pid;
    bool parked;
    uint64_t number; /* of its cgroup */
};

struct yard {
    const struct supervisor_place *place;
    int order_fd; /* where orders come from; the parked read it, the spawner only sees it close */
    int taken_fds[2];
    struct child *children;
    size_t count, room;
    int parked, parked_wanted;
    uint64_t number;
};

/* Only there to interrupt a wait. */
static void wake_up(int signal_number)
{
    (void)signal_number;
}

static void group_name(uint64_t number, pid_t spawner, char out[48])
{
    snprintf(out, 48, "s%d-%llu", (int)spawner, (unsigned long long)number);
}

/* All that was opened since goes, but what is in `keep`: a job must never inherit it. */
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

static void close_for_rest(const struct yard *yard, const struct cgroup *cgroup)
{
    const struct supervisor_place *place = yard->place;
    int keep[6 + 2 * CG_COUNT] = { yard->order_fd,  yard->taken_fds[0], yard->taken_fds[1],
                                   place->agent_fd, place->ended_fd,    place->notify_fd };

    for (int i = 0; i < CG_COUNT; i++) {
        keep[6 + i] = place->cgroups.fds[i];
        keep[6 + CG_COUNT + i] = cgroup->root ? cgroup->fds[i] : -1;
    }
    close_others(keep, ARRAY_COUNT(keep));
}

/* What waiting for an order needs: as at birth, whatever the last attempt has set. */
static void lie_down(pid_t spawner)
{
    struct sigaction interrupt = { .sa_handler = wake_up };
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != spawner)
        _exit(1);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* a word to stop that came too late for the last attempt */
    sigaction(SIGUSR2, &interrupt, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Keys of whoever started the agent (Kerberos, encrypted folders), or of the last attempt, are
     * not the next job's. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

static void tell_spawner(const struct yard *yard, pid_t value)
{
    while (write(yard->taken_fds[1], &value, sizeof(value)) < 0 && errno == EINTR)
        ;
}

static void enter_group(const struct yard *yard, const char *name, struct cgroup *cgroup,
                        struct err *err)
{
    int rc;

    if (yard->place->cgroups.kind == CGROUP_NONE ||
        cgroup_create(&yard->place->cgroups, name, cgroup, err) < 0 ||
        yard->place->cgroups.kind != CGROUP_V1)
        return;
    rc = cgroup_enter(cgroup);
    if (rc < 0)
        err_set(err, rc, "cgroup: %s", strerror(-rc));
}

static _Noreturn void be_parked(struct yard *yard, uint64_t number, pid_t spawner)
{
    struct attempt_order *order = calloc(1, sizeof(*order));
    struct cgroup cgroup = { 0 };
    struct err err = { 0 };
    char name[48];

    if (!order)
        _exit(1);
    setsid();
    group_name(number, spawner, name);
    enter_group(yard, name, &cgroup, &err);
    for (int served = 0;; served++) {
        char *spec = NULL;
        int attempt_fd = -1;
        bool clean;

        lie_down(spawner);
        if (served > 0)
            tell_spawner(yard, -getpid());
        if (receive_order(yard->order_fd, order, &spec, &attempt_fd) < 0)
            _exit(0);
        prctl(PR_SET_PDEATHSIG, 0); /* from here on we are nobody's */
        tell_spawner(yard, getpid());
        clean = supervisor_run(yard->place, order, spec, attempt_fd,
                               cgroup.root && !err.text[0] ? &cgroup : NULL,
                               err.text[0] ? err.text : NULL);
        free(spec);
        if (!clean || served == SERVED_MAX || getppid() != spawner || !cgroup.root ||
            !cgroup_renew(&cgroup))
            _exit(0);
        close_for_rest(yard, &cgroup);
    }
}

/* False: no process could be made; try again later. */
static bool park_one(struct yard *yard)
{
    pid_t spawner = getpid();
    pid_t pid;

    if (yard->count == yard->room) {
        size_t room = yard->room ? yard->room * 2 : 128;
        struct child *more = reallocarray(yard->children, room, sizeof(*more));

        if (!more)
            return false;
        yard->children = more;
        yard->room = room;
    }
    yard->number++;
    /* Not fork(): a library's fork handlers would run, and libuv's closes two descriptors by
     * numbers that are long ours. */
    pid = crew_clone(0, -1);
    if (pid == 0)
        be_parked(yard, yard->number, spawner);
    if (pid < 0)
        return false;
    yard->children[yard->count++] =
        (struct child){ .pid = pid, .parked = true, .number = yard->number };
    yard->parked++;
    return true;
}

static struct child *find_child(struct yard *yard, pid_t pid)
{
    for (size_t i = 0; i < yard->count; i++)
        if (yard->children[i].pid == pid)
            return &yard->children[i];
    return NULL;
}

static void note_taken(struct yard *yard)
{
    pid_t pids[64];
    ssize_t got;

    while ((got = read(yard->taken_fds[0], pids, sizeof(pids))) > 0)
        for (size_t i = 0; i < (size_t)got / sizeof(pids[0]); i++) {
            bool parked = pids[i] < 0; /* else it has an order */
            struct child *child = find_child(yard, parked ? -pids[i] : pids[i]);

            if (child && child->parked != parked) {
                child->parked = parked;
                yard->parked += parked ? 1 : -1;
            }
        }
}

/* Those over what is wanted, once nothing has come for a while. A signal that comes too late for
 * the wait interrupts nothing: it is sent again. */
static void retire_some(struct yard *yard)
{
    int over = yard->parked - yard->parked_wanted;

    for (size_t i = 0; i < yard->count && over > 0; i++)
        if (yard->children[i].parked && kill(yard->children[i].pid, SIGUSR2) == 0)
            over--;
}

static void reap(struct yard *yard)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        struct child *child = find_child(yard, pid);
        char name[48];

        if (!child)
            continue;
        yard->parked -= child->parked;
        if (yard->place->cgroups.kind != CGROUP_NONE) {
            group_name(child->number, getpid(), name);
            cgroup_discard(&yard->place->cgroups, name);
        }
        *child = yard->children[--yard->count];
    }
}

static int yard_patience_ms(const struct yard *yard)
{
    if (yard->parked == 0)
        return 100; /* no process could be made: try again */
    return yard->parked > yard->parked_wanted ? RETIRE_AFTER_MS : -1;
}

static void keep_yard(struct yard *yard)
{
    struct signalfd_siginfo info;
    sigset_t set;
    int signal_fd;
    int farewell_ms = -1;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        return;
    for (;;) {
        struct pollfd polls[3] = { { .fd = signal_fd, .events = POLLIN },
                                   { .fd = yard->taken_fds[0], .events = POLLIN },
                                   { .fd = yard->order_fd } };
        bool closing;
        int ready;

        while (farewell_ms < 0 && yard->parked < yard->parked_wanted && park_one(yard))
            ;
        if (farewell_ms >= 0)
            polls[2].fd = -1;
        ready = poll(polls, 3, farewell_ms >= 0 ? farewell_ms : yard_patience_ms(yard));
        closing = ready > 0 && polls[2].revents != 0;
        while (read(signal_fd, &info, sizeof(info)) == sizeof(info))
            ;
        note_taken(yard);
        reap(yard);
        if (ready == 0 && farewell_ms < 0)
            retire_some(yard);
        if (closing)
            farewell_ms = FAREWELL_MS;
        else if (farewell_ms >= 0 && (yard->parked == 0 || ready == 0))
            return;
    }
}

/* What every supervisor does, once, here: libraries are loaded and their symbols found before the
 * fork instead of after each. */
static void warm_up(void)
{
    static const char text[] = "{\"name\":\"warm\",\"run\":\"true\",\"env\":{\"A\":\"b\"}}";
    struct attempt_note note = { .type = NOTE_ENDED };
    struct buf line = buf_init(ATTEMPT_NOTE_BYTES_MAX);
    struct job_spec *spec = NULL;
    struct identity identity;

    if (spec_parse_json_text(text, sizeof(text) - 1, &spec, NULL) == 0)
        spec_destroy(spec);
    attempt_note_print(&note, &line);
    buf_fini(&line);
    identity_find(0, 0, true, &identity);
}

void spawner_serve(int fd, const struct supervisor_place *place_given)
{
    struct supervisor_place place = *place_given;
    struct yard yard = { .place = &place, .order_fd = fd };
    int keep[3 + CG_COUNT] = { fd, place.agent_fd, place.ended_fd };
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_NAME, "mains-spawner");
    setsid();
    for (int i = 1; i < 32; i++) /* whatever was ignored where we come from */
        signal(i, SIG_DFL);
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
    if (place.notify_fd < 0 || pipe2(yard.taken_fds, O_CLOEXEC) < 0)
        _exit(1);
    fcntl(yard.taken_fds[0], F_SETFL, O_NONBLOCK);
    yard.parked_wanted = (int)MIN(MAX(cpus + 2, SPAWNER_PARKED_MIN), SPAWNER_PARKED_MAX);
    cgroup_sweep_empty(&place.cgroups);
    warm_up();
    keep_yard(&yard);
    _exit(0);
}

/* ---- as a program of its own ---- */

/* What both sides must agree on. */
static void fingerprint(char out[64])
{
    snprintf(out, 64, "%s/%zu/%zu", MAINS_VERSION, sizeof(struct attempt_order),
             sizeof(struct supervisor_place));
}

enum {
    ARG_MATCH = 1,
    ARG_STATE,
    ARG_AGENT,
    ARG_TAG,
    ARG_WORK,
    ARG_NUMBERS,
    NUMBERS = 4 + CG_COUNT
};

int spawner_read_args(int argc, char **argv, int *fd_out, struct supervisor_place *place_out,
                      struct err *err)
{
    int numbers[NUMBERS];
    char match[64];

    fingerprint(match);
    if (argc != ARG_NUMBERS + NUMBERS || strcmp(argv[ARG_MATCH], match) != 0)
        return err_set(err, -EINVAL,
                       "not started by a mains of this version (%s); only the agent "
                       "starts it",
                       MAINS_VERSION);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (int)strtol(argv[ARG_NUMBERS + i], NULL, 10);
    *place_out = (struct supervisor_place){ .state_dir = argv[ARG_STATE],
                                            .agent_dir = argv[ARG_AGENT],
                                            .agent_fd = numbers[1],
                                            .ended_fd = numbers[2],
                                            .notify_fd = -1,
                                            .cgroups.kind = (enum cgroup_kind)numbers[3] };
    snprintf(place_out->tag, sizeof(place_out->tag), "%s", argv[ARG_TAG]);
    snprintf(place_out->work_base, sizeof(place_out->work_base), "%s", argv[ARG_WORK]);
    *fd_out = numbers[0];
    for (int i = 0; i < NUMBERS; i++) {
        if (i >= 4)
            place_out->cgroups.fds[i - 4] = numbers[i];
        if (i != 3 && numbers[i] >= 0 && fcntl(numbers[i], F_SETFD, FD_CLOEXEC) < 0)
            return err_set(err, -EBADF, "descriptor %d is not open", numbers[i]);
    }
    return 0;
}

/* Returns when it cannot be: then the fork itself serves. */
static void run_program(int fd, const struct supervisor_place *place)
{
    const int numbers[NUMBERS] = { fd, place->agent_fd, place->ended_fd, (int)place->cgroups.kind };
    char texts[NUMBERS][16], match[64], path[PATH_MAX];
    const char *argv[ARG_NUMBERS + NUMBERS + 1] = {
        "mains-spawner", match, place->state_dir, place->agent_dir, place->tag, place->work_base
    };

    if (!libexec_find("mains-spawner", path))
        return;
    fingerprint(match);
    for (int i = 0; i < NUMBERS; i++) {
        int number = i < 4 ? numbers[i] : place->cgroups.fds[i - 4];

        snprintf(texts[i], sizeof(texts[i]), "%d", number);
        argv[ARG_NUMBERS + i] = texts[i];
        if (i != 3 && number >= 0)
            fcntl(number, F_SETFD, 0);
    }
    execv(path, (char *const *)(uintptr_t)argv);
}

/* ---- the agent's side ---- */

int spawner_start(const struct supervisor_place *place, struct spawner *spawner_out,
                  struct err *err)
{
    int size = SOCKET_BYTES;
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "spawner: socket: %s", strerror(errno));
    if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    pid = fork();
    if (pid < 0) {
        int rc = -errno;

        close(pair[0]);
        close(pair[1]);
        return err_set(err, rc, "spawner: fork: %s", strerror(-rc));
    }
    if (pid == 0) {
        close(pair[0]);
        run_program(pair[1], place);
        spawner_serve(pair[1], place);
    }
    close(pair[1]);
    spawner_out->fd = pair[0];
    spawner_out->pid = pid;
    spawner_out->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return 0;
}

void spawner_close(struct spawner *spawner)
{
    if (spawner->fd >= 0)
        close(spawner->fd);
    if (spawner->pid_fd >= 0)
        close(spawner->pid_fd);
    spawner->fd = spawner->pid_fd = -1;
    if (spawner->pid > 0)
        waitpid(spawner->pid, NULL, 0);
    spawner->pid = 0;
}
