#include "cli/family.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DELAY_MS_LEAST 100
#define DELAY_MS_MOST 1000 /* work waits for them: a loop of crashes may cost a little */
#define WELL_MS 10000      /* a child that lived so long starts its count of failures anew */
#define LOG_BYTES_MAX (8 << 20)

void family_child_word(struct family_child *child, const char *word)
{
    uint32_t count = 0;

    while (child->argv[count])
        count++;
    if (count < FAMILY_ARGV_MAX)
        child->argv[count] = word;
}

void family_child_pair(struct family_child *child, const char *option, const char *value)
{
    if (!value || !*value)
        return;
    family_child_word(child, option);
    family_child_word(child, value);
}

int family_open_log(struct family *family, const char *state, struct err *err)
{
    family->log_path = path_format("%s/up.log", state);
    family->log_fd = family->log_path
                         ? open(family->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                         : -1;
    if (family->log_fd < 0)
        return err_set(err, -errno, "%s/up.log: %s", state, strerror(errno));
    return 0;
}

void family_leave_terminal(const struct family *family)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    fflush(stdout);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(family->log_fd, STDOUT_FILENO);
    dup2(family->log_fd, STDERR_FILENO);
}

int64_t family_delay_ms(uint32_t failures)
{
    int64_t delay = DELAY_MS_LEAST;

    while (failures-- > 1 && delay < DELAY_MS_MOST)
        delay *= 2;
    return MIN(delay, DELAY_MS_MOST);
}

static sigset_t waited_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void family_prepare(struct family *family)
{
    sigset_t set = waited_signals();

    sigprocmask(SIG_BLOCK, &set, NULL);
    family->children[FAMILY_CONTROLLER].name = "controller";
    family->children[FAMILY_AGENT].name = "agent";
}

/* In the child: what a program expects to find when it starts, and the tie to its parent. */
static void become(const struct family *family, const struct family_child *child, pid_t parent)
{
    char self[4096];
    sigset_t none;
    ssize_t len;
    int null;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0); /* Ctrl-C is for the parent, which stops its children in order */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    null = open("/dev/null", O_RDONLY);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    if (family->log_fd >= 0) {
        dup2(family->log_fd, STDOUT_FILENO);
        dup2(family->log_fd, STDERR_FILENO);
    }
    /* By its own name, so that `ps` shows it; by the link when the file was replaced meanwhile. */
    len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len > 0) {
        self[len] = '\0';
        execv(self, (char *const *)child->argv);
    }
    execv("/proc/self/exe", (char *const *)child->argv);
    _exit(127);
}

int family_start(struct family *family, enum family_member member, struct err *err)
{
    struct family_child *child = &family->children[member];
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return err_set(err, -errno, "%s: fork: %s", child->name, strerror(errno));
    if (pid == 0)
        become(family, child, parent);
    child->pid = pid;
    child->started_ms = clock_mono_ms();
    child->start_at_ms = 0;
    return 0;
}

static void note_end(struct family *family, struct family_child *child, int status)
{
    int64_t now_ms = clock_mono_ms();

    child->pid = 0;
    child->exit_status = status;
    if (family->stop)
        return;
    if (now_ms - child->started_ms >= WELL_MS)
        child->failures = 0;
    child->failures++;
    child->start_at_ms = now_ms + family_delay_ms(child->failures);
    if (WIFSIGNALED(status))
        log_warn("%s: killed by signal %d; starting it again in %" PRId64 " ms", child->name,
                 WTERMSIG(status), family_delay_ms(child->failures));
    else
        log_warn("%s: ended with %d; starting it again in %" PRId64 " ms", child->name,
                 WEXITSTATUS(status), family_delay_ms(child->failures));
}

static void reap(struct family *family)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < FAMILY_COUNT; i++)
            if (family->children[i].pid == pid)
                note_end(family, &family->children[i], status);
}

/* The log is shared by all three and written by append: what is old is copied aside, then cut. */
static void bound_log(struct family *family)
{
    CLEANUP(buf_fini) struct buf text = buf_init(2 * LOG_BYTES_MAX);
    CLEANUP(freep) char *old = NULL;
    struct stat st;

    if (family->log_fd < 0 || fstat(family->log_fd, &st) < 0 || st.st_size < LOG_BYTES_MAX)
        return;
    old = path_format("%s.1", family->log_path);
    if (old && file_read(family->log_path, &text, NULL) == 0)
        file_write(old, text.data, text.len, 0600, false, NULL);
    if (ftruncate(family->log_fd, 0) < 0)
        log_warn("%s: %s", family->log_path, strerror(errno));
}

void family_wait(struct family *family, int64_t timeout_ms)
{
    sigset_t set = waited_signals();
    struct timespec limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000000 };
    int number = sigtimedwait(&set, NULL, &limit);

    if (number == SIGTERM || number == SIGINT || number == SIGHUP)
        family->stop = true;
    reap(family);
    bound_log(family);
}

static int64_t next_start_ms(const struct family *family, int64_t now_ms)
{
    int64_t wait_ms = 5000; /* the log's size is looked at so often */

    for (int i = 0; i < FAMILY_COUNT; i++)
        if (family->children[i].start_at_ms)
            wait_ms = MIN(wait_ms, MAX(0, family->children[i].start_at_ms - now_ms));
    return wait_ms;
}

int family_run(struct family *family, struct err *err)
{
    while (!family->stop) {
        family_wait(family, next_start_ms(family, clock_mono_ms()));
        for (int i = 0; i < FAMILY_COUNT && !family->stop; i++) {
            struct family_child *child = &family->children[i];
            int code = WIFEXITED(child->exit_status) ? WEXITSTATUS(child->exit_status) : 0;

            if (child->pid || !child->start_at_ms || clock_mono_ms() < child->start_at_ms)
                continue;
            if (i == FAMILY_CONTROLLER && code == FAMILY_EXIT_DAMAGED)
                return err_set(err, -ECHILD, "the controller found its journal damaged (above)");
            if (i == FAMILY_CONTROLLER && code == FAMILY_EXIT_HELD && child->failures > 8)
                return err_set(err, -ECHILD, "another controller holds the state folder");
            if (family_start(family, (enum family_member)i, err) < 0) {
                log_warn("%s", err->text);
                child->start_at_ms = clock_mono_ms() + DELAY_MS_MOST;
            }
        }
    }
    return 0;
}

void family_stop(struct family *family, int64_t grace_ms)
{
    static const enum family_member order[] = { FAMILY_AGENT, FAMILY_CONTROLLER };

    family->stop = true;
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        struct family_child *child = &family->children[order[i]];
        int64_t until_ms = clock_mono_ms() + grace_ms;

        if (child->pid)
            kill(child->pid, SIGTERM);
        while (child->pid && clock_mono_ms() < until_ms)
            family_wait(family, 20);
        if (child->pid) {
            log_warn("%s: does not stop; killing it", child->name);
            kill(child->pid, SIGKILL);
        }
        while (child->pid)
            family_wait(family, 100);
    }
}
