#include "journal/journal_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* "4242      \n": of one length, so that writing it over the one before needs no new disk block
 * (the disk may be full) and never leaves a mix of two. */
#define PID_TEXT_BYTES 11

static int lock_busy(int fd, const char *path, struct err *err)
{
    char text[PID_TEXT_BYTES + 1] = "";
    long pid = 0;

    if (pread(fd, text, PID_TEXT_BYTES, 0) > 0)
        pid = strtol(text, NULL, 10);
    if (pid > 0)
        return err_set(err, -EBUSY,
                       "%s: held by process %ld: stop it first, or use another state folder", path,
                       pid);
    return err_set(err, -EBUSY, "%s: held by another process", path);
}

static int lock_fd(int fd, const char *path, struct err *err)
{
    char text[PID_TEXT_BYTES + 1];

    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? lock_busy(fd, path, err)
                                    : err_set(err, -errno, "%s: %s", path, strerror(errno));
    snprintf(text, sizeof(text), "%-10d\n", (int)getpid());
    /* On a full disk the lock still holds; only its holder's name is missing. */
    if (pwrite(fd, text, PID_TEXT_BYTES, 0) < 0 && errno != ENOSPC)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

int journal_lock_take(const char *path, int *fd_out, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc;

    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))
        return err_set(err, -errno,
                       "%s: cannot be written (%s): the journal needs a folder that this user may "
                       "write",
                       path, strerror(errno));
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = lock_fd(fd, path, err);
    if (rc < 0)
        close(fd);
    else
        *fd_out = fd;
    return rc;
}

bool journal_lock_is_held(const char *path)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
