#include "agent/retain.h"

#include "agent/attempt.h"
#include "agent/disk.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct old {
    char name[ATTEMPT_NAME_BYTES];
    int64_t ended_ms, bytes;
};

static int compare_age(const void *a, const void *b)
{
    const struct old *left = a, *right = b;

    if (left->ended_ms != right->ended_ms)
        return left->ended_ms < right->ended_ms ? -1 : 1;
    return strcmp(left->name, right->name);
}

static bool look(int attempts_fd, const char *name, struct old *old_out)
{
    char path[ATTEMPT_NAME_BYTES + 16];
    struct attempt_key key;
    struct stat st;
    int fd;

    if (!attempt_parse_name(name, &key))
        return false;
    attempt_name(key, old_out->name);
    snprintf(path, sizeof(path), "%s/ended", old_out->name);
    if (fstatat(attempts_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    old_out->ended_ms = (int64_t)st.st_mtim.tv_sec * 1000;
    old_out->bytes = 0;
    fd = openat(attempts_fd, old_out->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        old_out->bytes = disk_used_bytes(fd);
        close(fd);
    }
    return true;
}

static struct old *list(int attempts_fd, size_t *count_out)
{
    int fd = openat(attempts_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct old *all = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (count == room) {
            struct old *more = reallocarray(all, room ? room * 2 : 256, sizeof(*all));

            if (!more)
                break;
            all = more;
            room = room ? room * 2 : 256;
        }
        count += look(attempts_fd, entry->d_name, &all[count]);
    }
    if (dir)
        closedir(dir);
    *count_out = count;
    return all;
}

uint32_t retain_run(const char *agent_dir, int64_t now_ms, const struct retain_limits *limits)
{
    CLEANUP(freep) char *attempts = path_format("%s/attempts", agent_dir);
    CLEANUP(closep) int fd = attempts ? open(attempts, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    size_t count = 0, left;
    uint32_t removed = 0;
    struct old *all;
    int64_t bytes = 0;

    if (fd < 0)
        return 0;
    all = list(fd, &count);
    if (count)
        qsort(all, count, sizeof(*all), compare_age);
    for (size_t i = 0; i < count; i++)
        bytes += MIN(all[i].bytes, INT64_MAX - bytes);
    left = count;
    for (size_t i = 0; i < count && removed < RETAIN_BATCH_MAX; i++) {
        char path[PATH_MAX];

        if (left <= limits->attempts_max && bytes <= limits->bytes_max &&
            now_ms - all[i].ended_ms <= limits->age_ms_max)
            break;
        snprintf(path, sizeof(path), "%s/%s", attempts, all[i].name);
        if (dir_remove(path, NULL) == 0)
            removed++;
        left--;
        bytes -= all[i].bytes;
    }
    free(all);
    return removed;
}
