#include "cli/rclone.h"

#include "base/buf.h"
#include "base/file.h"
#include "model/spec_source.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX (1u << 20) /* what more it says is not kept */
#define NOT_FOUND 127
#define PREFIX "rclone:"
#define PREFIX_S3 "s3://"

bool rclone_is_remote(const char *text)
{
    return spec_source_of(text) == SOURCE_RCLONE;
}

/* "rclone:REMOTE:path" -> "REMOTE:path"; "s3://bucket/path" -> ":s3,env_auth:bucket/path". */
static char *remote_of(const char *text)
{
    if (strncmp(text, PREFIX, strlen(PREFIX)) == 0)
        return strdup(text + strlen(PREFIX));
    return path_format(":s3,env_auth:%s", text + strlen(PREFIX_S3));
}

/* Of the child: nothing that allocates. */
static void become(char *const argv[], int out_fd, int err_fd, pid_t parent)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || null_fd < 0 || dup2(null_fd, 0) < 0 ||
        dup2(out_fd < 0 ? null_fd : out_fd, 1) < 0 || dup2(err_fd < 0 ? null_fd : err_fd, 2) < 0)
        _exit(1);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? NOT_FOUND : 1);
}

/* All that it says, of one of its two voices, up to OUTPUT_BYTES_MAX. 0 and its status, or -errno.
 */
static int run(char *const argv[], bool is_error_heard, struct buf *said, int *status_out)
{
    CLEANUP(closep) int from = -1;
    pid_t parent = getpid(), pid;
    char piece[4096];
    ssize_t got;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    from = ends[0];
    pid = fork();
    if (pid == 0)
        become(argv, is_error_heard ? -1 : ends[1], is_error_heard ? ends[1] : -1, parent);
    close(ends[1]);
    if (pid < 0)
        return -errno;
    while ((got = read(from, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            buf_add(said, piece, MIN((size_t)got, said->max - said->len));
    while (waitpid(pid, status_out, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* Its last line, without the date that it begins with. */
static const char *last_words(struct buf *said)
{
    char *text = said->data ? said->data : (char *)(uintptr_t) "";
    char *line;

    for (size_t len = strlen(text); len && (unsigned char)text[len - 1] <= ' ';)
        text[--len] = '\0';
    line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (strlen(line) > 20 && line[4] == '/' && line[7] == '/' && line[10] == ' ')
        line += 20;
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    return line;
}

static int run_told(char *const argv[], const char *what, const char *remote, struct err *err)
{
    CLEANUP(buf_fini) struct buf said = buf_init(OUTPUT_BYTES_MAX);
    int status = 0;
    int rc = run(argv, true, &said, &status);

    if (rc < 0)
        return err_set(err, rc, "rclone: %s", strerror(-rc));
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
        return err_set(err, -ENOENT, "%s: rclone is not installed here", remote);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return err_set(err, -EIO, "%s: rclone could not %s it: %.120s", remote, what,
                   WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : last_words(&said));
}

int rclone_fetch(const char *from, const char *path, struct err *err)
{
    CLEANUP(freep) char *remote = remote_of(from);
    char *const argv[] = { "rclone", "copyto", "--stats=0", "--", remote, (char *)(uintptr_t)path,
                           NULL };

    return remote ? run_told(argv, "fetch", from, err) : err_set(err, -ENOMEM, "out of memory");
}

/* Does it tell the hash of what it has? Then equal files need not be sent; by size and time alone
 * other content could pass for the same. */
static bool knows_hashes(char *remote)
{
    CLEANUP(buf_fini) struct buf said = buf_init(OUTPUT_BYTES_MAX);
    char *const argv[] = { "rclone", "backend", "features", "--", remote, NULL };
    json_t *features;
    bool knows;
    int status = 1;

    if (run(argv, false, &said, &status) < 0 || status != 0)
        return false;
    features = json_loadb(said.data ? said.data : "", said.len, 0, NULL);
    knows = json_array_size(json_object_get(features, "Hashes")) > 0;
    json_decref(features);
    return knows;
}

int rclone_send(const char *folder, const char *to, struct err *err)
{
    CLEANUP(freep) char *remote = remote_of(to);
    char *argv[] = { "rclone", "copy", "--stats=0", NULL, "--", (char *)(uintptr_t)folder,
                     remote,   NULL };

    if (!remote)
        return err_set(err, -ENOMEM, "out of memory");
    argv[3] = knows_hashes(remote) ? "--checksum" : "--ignore-times";
    return run_told(argv, "send", to, err);
}

int rclone_send_file(const char *path, const char *to, struct err *err)
{
    CLEANUP(freep) char *remote = remote_of(to);
    char *const argv[] = { "rclone",         "copyto", "--stats=0",
                           "--ignore-times", "--",     (char *)(uintptr_t)path,
                           remote,           NULL };

    return remote ? run_told(argv, "send", to, err) : err_set(err, -ENOMEM, "out of memory");
}
