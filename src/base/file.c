#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REMOVE_DEPTH_MAX 64

int file_read(const char *path, struct buf *buf, struct err *err)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[65536];

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(err, -errno, "%s: %s", path, strerror(errno));
        if (got == 0)
            return 0;
        if (buf_add(buf, chunk, (size_t)got) < 0)
            return err_set(err, -EFBIG, "%s: larger than %zu bytes", path, buf->max);
    }
}

int file_write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t put = write(fd, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    CLEANUP(freep) char *folder = strdup(path);
    CLEANUP(closep) int fd = -1;
    char *slash;

    if (!folder)
        return -ENOMEM;
    slash = strrchr(folder, '/');
    if (slash)
        *(slash == folder ? slash + 1 : slash) = '\0';
    fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode, bool sync,
               struct err *err)
{
    CLEANUP(freep) char *temporary = path_format("%s.%d.tmp", path, (int)getpid());
    int rc;
    int fd;

    if (!temporary)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = file_write_all(fd, data, len);
    if (rc == 0 && sync && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary, path) < 0)
        rc = -errno;
    if (rc == 0 && sync)
        rc = sync_folder_of(path);
    if (rc < 0) {
        unlink(temporary);
        return err_set(err, rc, "%s: %s", path, strerror(-rc));
    }
    return 0;
}

static int write_into(const char *path, const void *data, size_t len, struct err *err)
{
    CLEANUP(closep) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    int rc = fd < 0 ? -errno : file_write_all(fd, data, len);

    return rc < 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int file_put(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
    CLEANUP(freep) char *meant = realpath(path, NULL);
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return write_into(path, data, len, err);
    return file_write(meant ? meant : path, data, len, mode, false, err);
}

int file_check_put(const char *path, struct err *err)
{
    CLEANUP(freep) char *meant = realpath(path, NULL);
    CLEANUP(freep) char *temporary = NULL;
    struct stat st;
    int fd;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        int rc = S_ISDIR(st.st_mode) ? -EISDIR : access(path, W_OK) < 0 ? -errno : 0;

        return rc < 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
    }
    temporary = path_format("%s.%d.tmp", meant ? meant : path, (int)getpid());
    if (!temporary)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    close(fd);
    unlink(temporary);
    return 0;
}

int dir_make(const char *path, mode_t mode, struct err *err)
{
    CLEANUP(freep) char *part = strdup(path);
    struct stat st;

    if (!part)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    for (char *p = part + 1;; p++) {
        char kept = *p;

        if (kept != '/' && kept != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST) {
            int made = errno; /* read-only or foreign parents are fine as long as they are there */

            if (stat(part, &st) < 0)
                return err_set(err, -made, "%s: %s", part, strerror(made));
        }
        *p = kept;
        if (kept == '\0')
            break;
    }
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "%s: not a folder", path);
    return 0;
}

struct removal {
    int top_fd;
    uint64_t moved; /* folders that lay too deep, now below the top */
};

static int remove_at(struct removal *removal, int parent, const char *name, int depth);

/* Each level holds a descriptor: what lies deeper than a process may open is first moved up. */
static int remove_below(struct removal *removal, int parent, const char *name, int depth)
{
    char moved[48];

    if (depth < REMOVE_DEPTH_MAX)
        return remove_at(removal, parent, name, depth + 1);
    fchmodat(parent, name, 0700, 0);
    snprintf(moved, sizeof(moved), ".removed-%d-%" PRIu64, (int)getpid(), removal->moved);
    if (renameat(parent, name, removal->top_fd, moved) < 0)
        return -errno;
    removal->moved++;
    return 0;
}

static int remove_entries(struct removal *removal, DIR *dir, int fd, int depth)
{
    struct dirent *entry;
    int rc = 0;

    while ((entry = readdir(dir)) != NULL) {
        int one;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        if (errno == EACCES && fchmod(fd, 0700) == 0 && unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        one = remove_below(removal, fd, entry->d_name, depth);
        if (one < 0)
            rc = one;
    }
    return rc;
}

static int remove_at(struct removal *removal, int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    uint64_t moved;
    int rc;
    DIR *dir;

    if (fd < 0 && errno == EACCES) {
        /* A job may have taken its own right to read away. */
        fchmodat(parent, name, 0700, 0);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) {
        if (errno == ENOENT)
            return 0;
        return unlinkat(parent, name, 0) < 0 ? -errno : 0;
    }
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -errno;
    }
    if (depth == 0)
        removal->top_fd = fd;
    do {
        moved = removal->moved;
        rewinddir(dir);
        rc = remove_entries(removal, dir, fd, depth);
    } while (depth == 0 && rc == 0 && removal->moved != moved);
    closedir(dir);
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = -errno;
    return rc;
}

int dir_remove(const char *path, struct err *err)
{
    struct removal removal = { .top_fd = -1 };
    int rc = remove_at(&removal, AT_FDCWD, path, 0);

    return rc < 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

char *path_format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    return len < 0 ? NULL : text;
}
