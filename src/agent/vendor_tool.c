/* Finding and running vendors' tools: no shell, bounded time, bounded output. */
#include "agent/vendor.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_MS_MAX 500 /* a tool stuck in its driver cannot be reaped: it is left behind */
#define ENVIRONMENT_MAX 8u

static const char known_folders[] =
    "/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin:/bin:/sbin:/opt/rocm/bin:/opt/hyhal/bin:"
    "/opt/dtk/bin:/usr/local/Ascend/driver/tools:/usr/local/neuware/bin:/opt/mxdriver/bin:"
    "/opt/maca/bin:/usr/local/corex/bin:/usr/local/xpu/bin:/usr/local/musa/bin:"
    "/opt/tops/bin:/usr/local/birensupa/driver/bin";

static bool is_program(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

static bool find_in(const char *tool, const char *folders, char *out, size_t out_bytes)
{
    while (*folders) {
        size_t len = strcspn(folders, ":");
        int written = snprintf(out, out_bytes, "%.*s/%s", (int)len, folders, tool);

        /* Relative folders of a PATH depend on where the agent was started: not taken. */
        if (len > 0 && folders[0] == '/' && written > 0 && (size_t)written < out_bytes &&
            is_program(out))
            return true;
        folders += len;
        if (*folders == ':')
            folders++;
    }
    return false;
}

bool vendor_tool_find(const char *tool, const char *path, char *out, size_t out_bytes)
{
    const char *env = path ? path : getenv("PATH");

    if (env && find_in(tool, env, out, out_bytes))
        return true;
    return !path && find_in(tool, known_folders, out, out_bytes);
}

struct child {
    pid_t pid;
    int out; /* its output */
};

static int start(const char *file, const char *const *argv, const char *library_paths,
                 struct child *child, struct err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char path[512], libraries[512];
    char *environment[ENVIRONMENT_MAX] = { "LC_ALL=C", "HOME=/", "TERM=dumb", NULL };
    sigset_t none, all;
    int pipes[2];
    int rc;

    snprintf(path, sizeof(path), "PATH=%s", known_folders);
    environment[3] = path;
    if (library_paths) {
        snprintf(libraries, sizeof(libraries), "LD_LIBRARY_PATH=%s", library_paths);
        environment[4] = libraries;
    }
    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, -errno, "%s: no pipe: %s", file, strerror(errno));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    rc = posix_spawn(&child->pid, file, &actions, &attributes, (char *const *)argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(pipes[1]);
    if (rc != 0) {
        close(pipes[0]);
        return err_set(err, -rc, "%s: cannot be started: %s", file, strerror(rc));
    }
    child->out = pipes[0];
    return 0;
}

/* Until the end of its output: 0, -ETIMEDOUT, -EFBIG, -ENOMEM. */
static int read_output(int fd, int64_t deadline_ms, struct buf *out)
{
    char chunk[8192];

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        int64_t left_ms = deadline_ms - clock_mono_ms();
        ssize_t len;

        if (left_ms <= 0)
            return -ETIMEDOUT;
        if (poll(&ready, 1, (int)MIN(left_ms, 1000)) <= 0)
            continue;
        len = read(fd, chunk, sizeof(chunk));
        if (len == 0)
            return 0;
        if (len < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            return -errno;
        }
        if (out->len + (size_t)len > out->max) {
            buf_add(out, chunk, out->max - out->len);
            return -EFBIG;
        }
        if (buf_add(out, chunk, (size_t)len) < 0)
            return -ENOMEM;
    }
}

/* The exit status as of waitpid, or -ETIMEDOUT. */
static int reap(pid_t pid, int64_t deadline_ms, int *status_out)
{
    for (;;) {
        pid_t got = waitpid(pid, status_out, WNOHANG);

        if (got == pid)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno; /* somebody else reaped it */
        if (clock_mono_ms() >= deadline_ms)
            return -ETIMEDOUT;
        poll(NULL, 0, 2);
    }
}

int vendor_child_collect(pid_t pid, int fd, const char *name, int64_t deadline_ms, struct buf *out,
                         struct err *err)
{
    int status = 0;
    int rc = read_output(fd, deadline_ms, out);

    close(fd);
    if (rc == 0 && reap(pid, deadline_ms, &status) == -ETIMEDOUT)
        rc = -ETIMEDOUT;
    if (rc < 0) {
        kill(-pid, SIGKILL);
        reap(pid, clock_mono_ms() + REAP_MS_MAX, &status);
        if (rc == -ETIMEDOUT)
            return err_set(err, rc, "%s: no answer in time", name);
        if (rc == -EFBIG)
            return err_set(err, rc, "%s: printed more than %zu bytes", name, out->max);
        return err_set(err, rc, "%s: %s", name, strerror(-rc));
    }
    if (WIFSIGNALED(status))
        return err_set(err, -EIO, "%s: killed by signal %d", name, WTERMSIG(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return err_set(err, -EIO, "%s: exit status %d", name, WEXITSTATUS(status));
    return 0;
}

int vendor_tool_run(const char *file, const char *const *argv, const char *library_paths,
                    int64_t timeout_ms, struct buf *out, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    struct child child = { 0 };
    int rc = start(file, argv, library_paths, &child, err);

    return rc < 0 ? rc : vendor_child_collect(child.pid, child.out, argv[0], deadline_ms, out, err);
}
