#include "agent/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

int tree_open(int folder_fd, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC | O_NOCTTY,
                            .mode = flags & O_CREAT ? mode : 0,
                            .resolve =
                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    int fd = (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof(how));

    return fd < 0 ? -errno : fd;
}

int tree_make(int folder_fd, const char *path, bool parents_only)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    int at = folder_fd;
    int rc = 0;

    if (len >= sizeof(part))
        return -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (char *p = part, *end; rc == 0 && *p; p = end) {
        int next;
        bool last;

        end = p + strcspn(p, "/");
        last = *end == '\0';
        if (!last)
            *end++ = '\0';
        if (*p == '\0' || strcmp(p, ".") == 0 || (last && parents_only))
            continue;
        if (mkdirat(at, p, 0755) < 0 && errno != EEXIST) {
            rc = -errno;
            break;
        }
        next = tree_open(at, p, O_RDONLY | O_DIRECTORY, 0);
        if (next < 0)
            rc = next;
        if (at != folder_fd)
            close(at);
        at = next < 0 ? folder_fd : next;
    }
    if (at != folder_fd)
        close(at);
    return rc;
}

struct match {
    int root_fd;
    tree_match_fn matched;
    void *context;
    uint32_t *visits_left;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void tree_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

int tree_names(int folder_fd, char ***names_out, size_t *count_out)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    char **names = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    int rc = 0;

    if (!dir) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count == room) {
            char **more = reallocarray(names, room ? room * 2 : 64, sizeof(*names));

            if (!more) {
                rc = -ENOMEM;
                break;
            }
            names = more;
            room = room ? room * 2 : 64;
        }
        names[count] = strdup(entry->d_name);
        rc = names[count] ? 0 : -ENOMEM;
        count += rc == 0;
    }
    closedir(dir);
    if (rc < 0) {
        tree_names_free(names, count);
        return rc;
    }
    if (count)
        qsort(names, count, sizeof(*names), compare_names);
    *names_out = names;
    *count_out = count;
    return rc;
}

static int match_below(struct match *match, const char *prefix, const char *pattern, int depth);

/* `part` is the first of `pattern`, `rest` what follows it. */
static int match_name(struct match *match, const char *prefix, const char *name,
                      const char *pattern, const char *part, int depth)
{
    const char *rest = pattern + strcspn(pattern, "/");
    bool any = strcmp(part, "**") == 0;
    char path[PATH_MAX];
    struct stat st;

    rest += strspn(rest, "/");
    if (*match->visits_left == 0)
        return -E2BIG;
    --*match->visits_left;
    if (any ? name[0] == '.' : fnmatch(part, name, FNM_PERIOD | FNM_NOESCAPE) != 0)
        return 0;
    if ((size_t)snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "/" : "", name) >=
        sizeof(path))
        return 0;
    if (fstatat(match->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return 0;
    if (any && S_ISDIR(st.st_mode))
        return match_below(match, path, pattern, depth + 1);
    if (*rest == '\0')
        return match->matched(match->context, path, S_ISDIR(st.st_mode));
    return !any && S_ISDIR(st.st_mode) ? match_below(match, path, rest, depth + 1) : 0;
}

static int match_below(struct match *match, const char *prefix, const char *pattern, int depth)
{
    char part[NAME_MAX + 1];
    const char *rest = pattern + strcspn(pattern, "/");
    size_t len = (size_t)(rest - pattern);
    char **names = NULL;
    size_t count = 0;
    int fd, rc;

    rest += strspn(rest, "/");
    if (depth > TREE_DEPTH_MAX || len == 0 || len > NAME_MAX)
        return 0;
    if (*match->visits_left == 0)
        return -E2BIG;
    --*match->visits_left;
    memcpy(part, pattern, len);
    part[len] = '\0';
    if (strcmp(part, ".") == 0)
        return match_below(match, prefix, rest, depth + 1);
    if (strcmp(part, "**") == 0 && *rest) {
        rc = match_below(match, prefix, rest, depth + 1); /* no part at all */
        if (rc)
            return rc;
    }
    fd = tree_open(match->root_fd, prefix[0] ? prefix : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 0;
    rc = tree_names(fd, &names, &count);
    close(fd);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = match_name(match, prefix, names[i], pattern, part, depth);
    tree_names_free(names, count);
    return rc;
}

int tree_match(int folder_fd, const char *pattern, uint32_t *visits_left, tree_match_fn matched,
               void *context)
{
    struct match match = {
        .root_fd = folder_fd, .matched = matched, .context = context, .visits_left = visits_left
    };

    return match_below(&match, "", pattern, 0);
}

int tree_copy_bytes(int from_fd, int to_fd)
{
    for (;;) {
        ssize_t got = copy_file_range(from_fd, NULL, to_fd, NULL, COPY_BYTES, 0);

        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            break;
    }
    /* Two file systems that cannot do it between them: by hand, from where it stopped. */
    for (;;) {
        char bytes[65536];
        ssize_t got = read(from_fd, bytes, sizeof(bytes));

        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        for (ssize_t at = 0; at < got;) {
            ssize_t put = write(to_fd, bytes + at, (size_t)(got - at));

            if (put < 0 && errno != EINTR)
                return -errno;
            at += MAX(put, 0);
        }
    }
}
