#include "agent/slurm_command.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMPLAINT_BYTES_MAX (64u << 10)
#define ENVIRONMENT_MAX 1024u
#define REAP_POLL_MS 5

extern char **environ;

/* Variables that would act as options of the commands stay behind. */
static bool is_passed(const char *entry)
{
    static const char *const dropped[] = { "SBATCH_", "SQUEUE_",   "SINFO_", "SCANCEL_", "SACCT_",
                                           "SALLOC_", "SCONTROL_", "SLURM_", "LC_",      "LANG=" };

    if (strncmp(entry, "SLURM_CONF=", 11) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_COUNT(dropped); i++)
        if (strncmp(entry, dropped[i], strlen(dropped[i])) == 0)
            return false;
    return true;
}

static void make_environment(char *list[ENVIRONMENT_MAX])
{
    static char time_format[] = "SLURM_TIME_FORMAT=%s", lang[] = "LANG=C";
    size_t count = 0;

    list[count++] = time_format;
    list[count++] = lang;
    for (char **p = environ; *p && count + 1 < ENVIRONMENT_MAX; p++)
        if (is_passed(*p))
            list[count++] = *p;
    list[count] = NULL;
}

/* A file without a name: what is written is there at once, however slowly it is read. */
static int make_input(const char *input, struct err *err)
{
    int fd = memfd_create("mains-slurm", MFD_CLOEXEC);
    int rc;

    if (fd < 0)
        return err_set(err, -errno, "input: %s", strerror(errno));
    rc = file_write_all(fd, input, strlen(input));
    if (rc < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        close(fd);
        return err_set(err, rc < 0 ? rc : -EIO, "input cannot be written");
    }
    return fd;
}

static int spawn(const char *const *argv, const char *bin_dir, const int fds[3], pid_t *pid_out)
{
    CLEANUP(freep) char *path = bin_dir ? path_format("%s/%s", bin_dir, argv[0]) : strdup(argv[0]);
    CLEANUP(freep) char **env = calloc(ENVIRONMENT_MAX, sizeof(*env));
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, usual;
    int rc;

    if (!path || !env)
        return -ENOMEM;
    make_environment(env);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (fds[0] >= 0)
        posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
    else
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[2], 2);
    rc = posix_spawnp(pid_out, path, &actions, &attr, (char *const *)(uintptr_t)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return -rc;
}

/* False: it is at its end. What does not fit any more is read and dropped. */
static bool drain(int fd, struct buf *into)
{
    char piece[16384];
    ssize_t got = read(fd, piece, sizeof(piece));

    if (got > 0)
        buf_add(into, piece, (size_t)got);
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* False: its time is over. */
static bool read_both(int out, int complaint, struct slurm_result *result, int64_t until_ms)
{
    struct pollfd polls[2] = { { .fd = out, .events = POLLIN },
                               { .fd = complaint, .events = POLLIN } };

    while (polls[0].fd >= 0 || polls[1].fd >= 0) {
        int64_t left = until_ms - clock_mono_ms();

        if (left <= 0)
            return false;
        if (poll(polls, 2, (int)left) < 0)
            continue;
        if (polls[0].revents && !drain(out, &result->out))
            polls[0].fd = -1;
        if (polls[1].revents && !drain(complaint, &result->complaint))
            polls[1].fd = -1;
    }
    return true;
}

static int reap(pid_t pid, bool over, int64_t until_ms, int *status_out)
{
    if (over)
        kill(pid, SIGKILL);
    while (waitpid(pid, status_out, over ? 0 : WNOHANG) == 0) {
        if (clock_mono_ms() > until_ms) {
            over = true;
            kill(pid, SIGKILL);
        } else {
            poll(NULL, 0, REAP_POLL_MS);
        }
    }
    return over ? -ETIMEDOUT : 0;
}

int slurm_command_run(const char *const *argv, const char *bin_dir, const char *input,
                      struct slurm_result *result, struct err *err)
{
    int64_t began = clock_mono_ms(), until = began + SLURM_COMMAND_MS_MAX;
    CLEANUP(closep) int in = -1;
    int out[2] = { -1, -1 }, complaint[2] = { -1, -1 };
    int status = 0, rc = 0;
    pid_t pid = 0;
    bool whole;

    *result = (struct slurm_result){ .out = buf_init(SLURM_OUTPUT_BYTES_MAX),
                                     .complaint = buf_init(COMPLAINT_BYTES_MAX) };
    if (input) {
        in = make_input(input, err);
        if (in < 0)
            return in;
    }
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(complaint, O_CLOEXEC) < 0)
        rc = -errno;
    if (rc == 0)
        rc = spawn(argv, bin_dir, (const int[]){ in, out[1], complaint[1] }, &pid);
    closep(&out[1]);
    closep(&complaint[1]);
    if (rc == 0) {
        whole = read_both(out[0], complaint[0], result, until);
        rc = reap(pid, !whole, until, &status);
    }
    closep(&out[0]);
    closep(&complaint[0]);
    result->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    result->took_ms = clock_mono_ms() - began;
    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "%s did not answer in %d s", argv[0], SLURM_COMMAND_MS_MAX / 1000);
    if (rc < 0)
        return err_set(err, rc, "%s: %s", argv[0], strerror(-rc));
    if (result->out.failed)
        return err_set(err, -EFBIG, "%s printed more than %u MiB", argv[0],
                       SLURM_OUTPUT_BYTES_MAX >> 20);
    return 0;
}

void slurm_result_fini(struct slurm_result *result)
{
    buf_fini(&result->out);
    buf_fini(&result->complaint);
}

void slurm_result_say(const struct slurm_result *result, char *out, size_t out_bytes)
{
    const char *text = result->complaint.data ? result->complaint.data : "";
    const char *last = strstr(text, "submission failed: ");
    size_t len;

    text = last ? last + strlen("submission failed: ") : text;
    len = strcspn(text, "\n");
    if (len == 0) {
        snprintf(out, out_bytes, "exit status %d", result->exit_code);
        return;
    }
    snprintf(out, out_bytes, "%.*s", (int)MIN(len, out_bytes - 1), text);
}

bool slurm_result_is_passing(const struct slurm_result *result)
{
    static const char *const words[] = {
        "Unable to contact slurm controller",
        "Socket timed out",
        "Connection refused",
        "Resource temporarily unavailable",
        "standby mode",
        "Connection timed out",
        "Communication connection failure",
        "temporarily",
        "Zero Bytes were transmitted",
        "Transport endpoint is not connected",
        "Unexpected message",
        "Message receive failure",
        "Munge",
        "munge",
    };
    const char *text = result->complaint.data ? result->complaint.data : "";

    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strstr(text, words[i]))
            return true;
    return result->exit_code >= 128;
}
