#include "agent/disk.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 128

struct walk {
    int64_t bytes;
    int64_t entries;
    dev_t device;
};

static void walk_folder(struct walk *walk, int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        close(fd);
        return;
    }
    while (walk->bytes != INT64_MAX && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        struct stat st;
        int below;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        /* A file that vanishes meanwhile counts nothing. */
        if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != walk->device)
            continue;
        if (++walk->entries > DISK_ENTRIES_MAX || depth >= DEPTH_MAX) {
            walk->bytes = INT64_MAX;
            break;
        }
        walk->bytes += (int64_t)st.st_blocks * 512 / MAX((int64_t)st.st_nlink, 1);
        if (!S_ISDIR(st.st_mode))
            continue;
        below = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            walk_folder(walk, below, depth + 1);
    }
    closedir(dir);
}

int64_t disk_used_bytes(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct walk walk = { 0 };
    struct stat st;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) < 0) {
        close(fd);
        return 0;
    }
    walk.device = st.st_dev;
    walk_folder(&walk, fd, 0);
    return walk.bytes;
}

bool disk_is_empty(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool empty = dir != NULL;

    while (empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return empty;
}

void disk_clear_work(const char *path, bool keep_empty)
{
    int fd = keep_empty ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool kept = fd >= 0 && disk_is_empty(fd);

    if (fd >= 0)
        close(fd);
    if (!kept && rmdir(path) < 0 && errno != ENOENT)
        dir_remove(path, NULL);
}
