/* mains-criu - runs a program that saves nothing itself, and saves it as a whole with CRIU.
 *
 *     mains-criu CRIU FOLDER PROGRAM [ARG...]
 *
 * It stands over the program as its parent. SIGUSR1: `criu dump --leave-running` of the program and
 * all below it into FOLDER.new, which then takes FOLDER's place as a whole, its `complete` written
 * last. Started with MAINS_RESTORED=1 where FOLDER is complete, it restores that instead of
 * starting PROGRAM anew. Other signals that stop are passed on; it ends as the program does.
 *
 * stdout and stderr are pipes to somebody who is not saved: which they were is in FOLDER/pipes, and
 * ours take their place when it is restored. */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 24
#define PATH_BYTES 4096
#define SIGNALLED 128
#define FAILED 125 /* of our own doing */

struct keeper {
    const char *criu, *folder;
    char fresh[PATH_BYTES], pid_file[PATH_BYTES];
    pid_t pid;       /* the program */
    sigset_t before; /* the signals as they were */
};

static void say(const char *text)
{
    fprintf(stderr, "mains-criu: %s\n", text);
}

/* Run CRIU and wait for it: its exit code. */
static int run(const struct keeper *keeper, const char *const *argv)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &keeper->before, NULL);
        execv(keeper->criu, (char *const *)(uintptr_t)argv);
        _exit(FAILED);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid < 0 || !WIFEXITED(status) ? FAILED : WEXITSTATUS(status);
}

/* ---- saving ---- */

/* "1 pipe:[123]": which of its descriptors lead outside. */
static int note_pipes(const struct keeper *keeper)
{
    char path[PATH_BYTES + 16], link[64], target[64], text[256] = "";
    size_t len = 0;

    for (int fd = 1; fd <= 2; fd++) {
        ssize_t got;

        snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)keeper->pid, fd);
        got = readlink(link, target, sizeof(target) - 1);
        if (got <= 0)
            continue;
        target[got] = '\0';
        if (strncmp(target, "pipe:[", 6) == 0)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%d %s\n", fd, target);
    }
    snprintf(path, sizeof(path), "%s/pipes", keeper->fresh);
    return file_write(path, text, len, 0600, true, NULL);
}

/* In one step where there is one before it. */
static int take_place(const struct keeper *keeper)
{
    if (renameat2(AT_FDCWD, keeper->fresh, AT_FDCWD, keeper->folder, RENAME_EXCHANGE) == 0)
        return dir_remove(keeper->fresh, NULL);
    return rename(keeper->fresh, keeper->folder) < 0 ? -errno : 0;
}

/* What `complete` vouches for is on disk before it: criu itself syncs nothing. */
static int sync_images(const struct keeper *keeper)
{
    CLEANUP(closep) int folder = open(keeper->fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return folder < 0 || syncfs(folder) < 0 ? -errno : 0;
}

static void save(const struct keeper *keeper)
{
    char tree[16], path[PATH_BYTES + 16];
    const char *const argv[] = { "criu",
                                 "dump",
                                 "--tree",
                                 tree,
                                 "--images-dir",
                                 keeper->fresh,
                                 "--log-file",
                                 "dump.log",
                                 "--leave-running",
                                 "--file-locks",
                                 "--manage-cgroups=ignore",
                                 NULL };
    int rc;

    snprintf(tree, sizeof(tree), "%d", (int)keeper->pid);
    dir_remove(keeper->fresh, NULL);
    rc = mkdir(keeper->fresh, 0700) < 0 ? -errno : 0;
    if (rc == 0)
        rc = run(keeper, argv) == 0 ? note_pipes(keeper) : -EIO;
    if (rc == 0)
        rc = sync_images(keeper);
    snprintf(path, sizeof(path), "%s/complete", keeper->fresh);
    if (rc == 0)
        rc = file_write(path, "", 0, 0600, true, NULL);
    if (rc == 0)
        rc = take_place(keeper);
    if (rc < 0)
        say(rc == -EIO ? "criu dump failed, as dump.log says: the program goes on, its last "
                         "checkpoint stays"
                       : strerror(-rc));
}

/* ---- restoring ---- */

static bool is_complete(const struct keeper *keeper)
{
    const char *restored = getenv("MAINS_RESTORED");
    char path[PATH_BYTES + 16];

    snprintf(path, sizeof(path), "%s/complete", keeper->folder);
    return restored && strcmp(restored, "1") == 0 && access(path, F_OK) == 0;
}

/* Words that put our pipes in the place of those that were: "fd[1]:pipe[123]". */
static int add_pipes(const struct keeper *keeper, char texts[2][48], const char **argv, int count)
{
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    char path[PATH_BYTES + 16];
    int taken = 0;

    snprintf(path, sizeof(path), "%s/pipes", keeper->folder);
    if (file_read(path, &text, NULL) < 0 || !text.data)
        return count;
    for (const char *line = text.data; line && *line && taken < 2;) {
        unsigned long long inode;
        char *end = NULL;

        inode = strncmp(line + 1, " pipe:[", 7) == 0 ? strtoull(line + 8, &end, 10) : 0;
        if ((*line == '1' || *line == '2') && end && *end == ']') {
            snprintf(texts[taken], sizeof(texts[taken]), "fd[%c]:pipe[%llu]", *line, inode);
            argv[count++] = "--inherit-fd";
            argv[count++] = texts[taken++];
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return count;
}

static int restore(struct keeper *keeper)
{
    const char *argv[WORDS_MAX] = { "criu",
                                    "restore",
                                    "--images-dir",
                                    keeper->folder,
                                    "--restore-detached",
                                    "--restore-sibling",
                                    "--pidfile",
                                    keeper->pid_file,
                                    "--file-locks",
                                    "--manage-cgroups=ignore" };
    CLEANUP(buf_fini) struct buf text = buf_init(64);
    char pipes[2][48];
    long pid;

    unlink(keeper->pid_file);
    add_pipes(keeper, pipes, argv, 10);
    if (run(keeper, argv) != 0 || file_read(keeper->pid_file, &text, NULL) < 0) {
        say("criu restore failed: nothing is begun anew, the checkpoint stays");
        return -EIO;
    }
    pid = text.data ? strtol(text.data, NULL, 10) : 0;
    unlink(keeper->pid_file);
    if (pid <= 1 || pid > INT_MAX) {
        say("criu restore did not say what it restored");
        return -EIO;
    }
    keeper->pid = (pid_t)pid;
    return 0;
}

/* ---- the program ---- */

static int begin(struct keeper *keeper, char *const *argv)
{
    keeper->pid = fork();
    if (keeper->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid(); /* what is saved is a session of its own: it has no terminal */
        sigprocmask(SIG_SETMASK, &keeper->before, NULL);
        execvp(argv[0], argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
    }
    return keeper->pid < 0 ? -errno : 0;
}

static bool has_ended(const struct keeper *keeper, int *status_out)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == keeper->pid) {
            *status_out = status;
            return true;
        }
    return pid < 0 && errno == ECHILD && kill(keeper->pid, 0) < 0;
}

static int stand_over(struct keeper *keeper, const sigset_t *signals)
{
    int status = FAILED << 8;

    while (!has_ended(keeper, &status)) {
        int number = sigwaitinfo(signals, NULL);

        if (number == SIGUSR1)
            save(keeper);
        else if (number > 0 && number != SIGCHLD)
            kill(-keeper->pid, number);
    }
    return WIFSIGNALED(status) ? SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    static const int numbers[] = { SIGCHLD, SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
    struct keeper keeper = { 0 };
    sigset_t signals;
    int rc;

    if (argc < 4 || argv[1][0] != '/') {
        say("only mains starts this: CRIU FOLDER PROGRAM [ARG...]");
        return FAILED;
    }
    keeper.criu = argv[1];
    keeper.folder = argv[2];
    if (snprintf(keeper.fresh, sizeof(keeper.fresh), "%s.new", argv[2]) >=
            (int)sizeof(keeper.fresh) ||
        snprintf(keeper.pid_file, sizeof(keeper.pid_file), "%s.pid", argv[2]) >=
            (int)sizeof(keeper.pid_file)) {
        say("the checkpoint's path is too long");
        return FAILED;
    }
    sigemptyset(&signals);
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        sigaddset(&signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &signals, &keeper.before);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what is restored comes to us, whoever made it */
    rc = is_complete(&keeper) ? restore(&keeper) : begin(&keeper, argv + 3);
    if (rc < 0)
        return FAILED;
    return stand_over(&keeper, &signals);
}
