#include "agent/crew.h"

#include "agent/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_ROUNDS_MAX 10000

/* What the supervisor asks of process 1. */
struct crew_request {
    int32_t signal_number;
    bool all;
};

static void limit(int what, int64_t value)
{
    struct rlimit limit_now;

    if (value <= 0 || getrlimit((__rlimit_resource_t)what, &limit_now) < 0)
        return;
    /* Only ever down: raising needs a right that we may not have. */
    if (limit_now.rlim_max == RLIM_INFINITY || (rlim_t)value < limit_now.rlim_max)
        limit_now.rlim_max = (rlim_t)value;
    limit_now.rlim_cur = limit_now.rlim_max;
    setrlimit((__rlimit_resource_t)what, &limit_now);
}

static void say(int fd, const char *name, const char *what, int error)
{
    char line[512];
    int len = snprintf(line, sizeof(line), "mains: %s: %s%s\n", name, what, strerror(error));

    if (len > 0 && write(fd, line, MIN((size_t)len, sizeof(line) - 1)) < 0)
        return;
}

/* The spawner set all to their defaults but these. */
static void settle_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void crew_set_oom(const char *adjust)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    /* Lowering it needs a right that we may not have: then it stays as it is. */
    if (write(fd, adjust, strlen(adjust)) < 0)
        errno = 0;
    close(fd);
}

/* Between vfork and exec: only system calls, the memory is the parent's. */
static _Noreturn void become_rank(const struct crew_plan *plan, char *const *argv, bool inside,
                                  pid_t parent)
{
    int rc = 0;

    setsid();
    if (!inside) {
        crew_set_oom(CREW_OOM_JOB);
        if (plan->workdir_fd >= 0 && fchdir(plan->workdir_fd) < 0)
            rc = -errno;
        if (rc == 0)
            rc = identity_become(plan->identity);
        if (rc < 0) {
            say(plan->stderr_fd, argv[0], "cannot be started: ", -rc);
            _exit(126);
        }
    }
    limit(RLIMIT_FSIZE, plan->file_bytes_max);
    limit(RLIMIT_DATA, plan->data_bytes_max);
    limit(RLIMIT_NPROC, plan->processes_max);
    limit(RLIMIT_CORE, 1);
    /* Only now: a change of identity takes it back. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    if (dup2(plan->stdout_fd, 1) < 0 || dup2(plan->stderr_fd, 2) < 0)
        _exit(126);
    execvp(argv[0], argv);
    rc = errno;
    say(2, argv[0], "", rc);
    _exit(rc == ENOENT ? 127 : 126);
}

pid_t crew_clone(uint64_t namespaces, int cgroup_fd)
{
    struct clone_args args = { .flags = namespaces, .exit_signal = SIGCHLD };
    long pid;

    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
        pid = syscall(SYS_clone3, &args, sizeof(args));
    } else {
        pid = syscall(SYS_clone, (unsigned long)namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
    }
    return pid < 0 ? -errno : (pid_t)pid;
}

static pid_t start_process(const struct crew_plan *plan, char *const *argv, char *const *env,
                           bool inside)
{
    pid_t parent = (pid_t)syscall(SYS_getpid);
    int birth_fd = plan->cgroup ? cgroup_birth_fd(plan->cgroup) : -1;
    char **environ_kept = environ;
    pid_t pid;

    environ = (char **)(uintptr_t)env; /* execvp looks for PATH there, and it is the job's */
    /* vfork is quicker, as it copies no page tables; but only clone can choose the cgroup. */
    /* NOLINTNEXTLINE(clang-analyzer-*): Linux has the parent wait while its stack is lent */
    pid = !inside && birth_fd >= 0 ? crew_clone(0, birth_fd) : vfork();
    if (pid == 0) {
        settle_signals();
        become_rank(plan, argv, inside, parent);
    }
    if (pid == -1)
        pid = -errno;
    environ = environ_kept;
    return pid;
}

static void fail(crew_event_fn told, void *context, int code, const char *text)
{
    struct crew_event event = { .type = CREW_FAILED, .status = code };

    snprintf(event.text, sizeof(event.text), "%.159s", text);
    told(context, &event);
}

static void start_ranks(struct crew *crew, bool inside, crew_event_fn told, void *context)
{
    const struct crew_plan *plan = crew->plan;
    struct crew_event event = { .type = CREW_STARTED };

    crew->ranks_started = true;
    for (uint32_t i = 0; i < plan->ranks_count; i++) {
        pid_t pid = start_process(plan, plan->argv, plan->envs[i], inside);

        if (pid < 0) {
            char text[160];

            snprintf(text, sizeof(text), "rank %u: fork: %s", i, strerror(-pid));
            fail(told, context, pid, text);
            return;
        }
        crew->pids[i] = pid;
        crew->live++;
    }
    told(context, &event);
}

static void begin(struct crew *crew, bool inside, crew_event_fn told, void *context)
{
    const struct crew_plan *plan = crew->plan;

    if (!plan->setup_argv) {
        start_ranks(crew, inside, told, context);
        return;
    }
    crew->setup_pid = start_process(plan, plan->setup_argv, plan->envs[0], inside);
    if (crew->setup_pid < 0) {
        crew->setup_pid = 0;
        fail(told, context, -EAGAIN, "setup: no process could be made");
    }
}

static void reaped(struct crew *crew, pid_t pid, int status, bool inside, crew_event_fn told,
                   void *context)
{
    struct crew_event event = { .type = CREW_ENDED, .status = status };

    if (pid == crew->setup_pid && pid > 0) {
        crew->setup_pid = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            start_ranks(crew, inside, told, context);
            return;
        }
        event.rank = CREW_SETUP_RANK;
        told(context, &event);
        return;
    }
    for (uint32_t i = 0; i < crew->plan->ranks_count; i++) {
        if (crew->pids[i] != pid)
            continue;
        crew->pids[i] = 0;
        crew->live--;
        event.rank = (int32_t)i;
        told(context, &event);
        return;
    }
    /* A grandchild that came to us when its parent died. */
}

static void signal_ranks(struct crew *crew, int signal_number, bool group)
{
    if (crew->setup_pid > 0)
        kill(group ? -crew->setup_pid : crew->setup_pid, signal_number);
    for (uint32_t i = 0; i < crew->plan->ranks_count; i++)
        if (crew->pids[i] > 0)
            kill(group ? -crew->pids[i] : crew->pids[i], signal_number);
}

/* ---- process 1 of a sandbox ---- */

struct init {
    struct crew crew;
    int fd;
};

static void init_tell(void *context, const struct crew_event *event)
{
    struct init *init = context;

    while (send(init->fd, event, sizeof(*event), MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void init_reap(struct init *init)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        reaped(&init->crew, pid, status, true, init_tell, init);
}

static void init_serve(struct init *init, int signal_fd)
{
    struct pollfd polls[2] = { { .fd = signal_fd, .events = POLLIN },
                               { .fd = init->fd, .events = POLLIN } };

    while (init->crew.live > 0 || init->crew.setup_pid > 0) {
        struct signalfd_siginfo info;
        struct crew_request request;

        if (poll(polls, 2, -1) < 0)
            continue;
        if (polls[0].revents && read(signal_fd, &info, sizeof(info)) > 0)
            init_reap(init);
        if (polls[1].revents) {
            if (recv(init->fd, &request, sizeof(request), 0) != sizeof(request))
                return; /* the supervisor is gone, and so shall we be */
            if (request.all)
                kill(-1, request.signal_number);
            else
                signal_ranks(&init->crew, request.signal_number, false);
        }
    }
}

static _Noreturn void init_main(struct init *init)
{
    const struct crew_plan *plan = init->crew.plan;
    struct err err = { 0 };
    sigset_t all;
    int signal_fd;
    int rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "mains-init");
    setsid();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    crew_set_oom(CREW_OOM_JOB);
    rc = sandbox_enter(plan->sandbox, &err);
    if (rc == 0 && chdir(plan->workdir) < 0)
        rc = err_set(&err, -errno, "work folder %s: %s", plan->workdir, strerror(errno));
    if (rc == 0) {
        rc = identity_become(plan->identity);
        if (rc < 0)
            err_set(&err, rc, "identity: %s", strerror(-rc));
    }
    /* The ranks have our uid: without this they could read our memory and descriptors. It also
     * clears the death signal's other enemy, a change of identity: so once more. */
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (rc < 0 || signal_fd < 0) {
        fail(init_tell, init, rc, err.text);
        _exit(126);
    }
    begin(&init->crew, true, init_tell, init);
    init_serve(init, signal_fd);
    _exit(0);
}

static int start_init(struct crew *crew, struct err *err)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "sandbox: socket: %s", strerror(errno));
    pid = sandbox_fork(crew->plan->cgroup ? cgroup_birth_fd(crew->plan->cgroup) : -1);
    if (pid == 0) {
        struct init init = { .crew = *crew, .fd = pair[1] };

        close(pair[0]);
        init_main(&init);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return err_set(err, pid, "sandbox: namespaces: %s", strerror(-pid));
    }
    crew->init_pid = pid;
    crew->init_fd = pair[0];
    return 0;
}

/* ---- the supervisor's side ---- */

int crew_start(const struct crew_plan *plan, struct crew *crew_out, crew_event_fn told,
               void *context, struct err *err)
{
    *crew_out = (struct crew){ .plan = plan, .init_fd = -1 };
    crew_out->pids = calloc(plan->ranks_count, sizeof(*crew_out->pids));
    if (!crew_out->pids)
        return err_set(err, -ENOMEM, "%u ranks: out of memory", plan->ranks_count);
    if (plan->sandbox)
        return start_init(crew_out, err);
    begin(crew_out, false, told, context);
    return 0;
}

void crew_read(struct crew *crew, crew_event_fn told, void *context)
{
    struct crew_event event;
    ssize_t got;

    while (crew->init_fd >= 0 &&
           (got = recv(crew->init_fd, &event, sizeof(event), MSG_DONTWAIT)) != -1) {
        if (got != sizeof(event)) {
            close(crew->init_fd);
            crew->init_fd = -1;
            return;
        }
        event.text[sizeof(event.text) - 1] = '\0';
        if (event.type == CREW_STARTED) {
            crew->live = crew->plan->ranks_count;
            crew->ranks_started = true;
        } else if (event.type == CREW_ENDED && event.rank >= 0 && crew->live > 0) {
            crew->live--;
        }
        told(context, &event);
    }
}

void crew_reaped(struct crew *crew, pid_t pid, int status, crew_event_fn told, void *context)
{
    struct crew_event event = { .type = CREW_ENDED, .rank = CREW_SETUP_RANK, .status = status };

    if (crew->init_pid == 0) {
        reaped(crew, pid, status, false, told, context);
        return;
    }
    if (pid != crew->init_pid)
        return;
    crew_read(crew, told, context); /* what it said before it ended */
    crew->init_pid = -1;
    if (crew->live > 0 || !crew->ranks_started) {
        crew->live = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        told(context, &event); /* killed from outside, and all ranks with it */
    }
}

void crew_signal(struct crew *crew, int signal_number, bool all)
{
    struct crew_request request = { .signal_number = signal_number, .all = all };

    if (crew->init_pid == 0)
        signal_ranks(crew, signal_number, all);
    else if (crew->init_fd >= 0)
        send(crew->init_fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* SIGKILL every child of ours, as the kernel lists them. */
static void kill_children(void)
{
    char path[64];
    FILE *file;
    int pid;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)syscall(SYS_gettid));
    file = fopen(path, "re");
    if (!file)
        return;
    /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
    while (fscanf(file, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    fclose(file);
}

bool crew_kill(struct crew *crew)
{
    if (crew->init_pid > 0)
        kill(crew->init_pid, SIGKILL); /* its namespace goes with it */
    /* No child left means no descendant left: orphans come to us, their reaper. */
    if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
        return true;
    if (crew->init_pid == 0 && crew->plan->cgroup)
        cgroup_kill(crew->plan->cgroup);
    for (int i = 0; i < KILL_ROUNDS_MAX; i++) {
        pid_t pid;

        kill_children();
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 && errno == ECHILD)
            break;
        poll(NULL, 0, 1);
    }
    return false;
}

void crew_fini(struct crew *crew)
{
    free(crew->pids);
    crew->pids = NULL;
    if (crew->init_fd >= 0)
        close(crew->init_fd);
    crew->init_fd = -1;
}
