#include "agent/laid.h"

#include "agent/supervisor_internal.h"
#include "agent/tree.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of(const struct supervisor *sup)
{
    return path_format("%s/staged/%s", sup->place->agent_dir, sup->name);
}

int laid_open(const struct supervisor *sup)
{
    CLEANUP(freep) char *path = sup->order->staged ? path_of(sup) : NULL;
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

    return fd < 0 ? -ENOENT : fd;
}

void laid_clear(const struct supervisor *sup)
{
    CLEANUP(freep) char *path = sup->order->staged ? path_of(sup) : NULL;

    if (path)
        dir_remove(path, NULL);
}

static int copy_file(int from, int to, const char *name, mode_t mode)
{
    CLEANUP(closep) int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(closep) int target = -1;

    if (source < 0 || (unlinkat(to, name, 0) < 0 && errno != ENOENT))
        return -errno;
    target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0777);
    return target < 0 ? -errno : tree_copy_bytes(source, target);
}

static int copy_link(int from, int to, const char *name)
{
    char link[PATH_MAX];
    ssize_t len = readlinkat(from, name, link, sizeof(link) - 1);

    if (len < 0 || (unlinkat(to, name, 0) < 0 && errno != ENOENT))
        return -errno;
    link[len] = '\0';
    return symlinkat(link, to, name) < 0 ? -errno : 0;
}

/* As the job's user, who owns what was fetched: folders, files and links. */
static int copy_tree(int from, int to, const char *name)
{
    CLEANUP(closep) int source = -1;
    CLEANUP(closep) int target = -1;
    char **names = NULL;
    size_t count = 0;
    struct stat st;
    int rc;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name);
    if (!S_ISDIR(st.st_mode))
        return copy_file(from, to, name, st.st_mode);
    if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = source < 0 || target < 0 ? -errno : tree_names(source, &names, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = copy_tree(source, target, names[i]);
    tree_names_free(names, count);
    if (rc == 0 && fchmod(target, (st.st_mode & 0777) | 0700) < 0)
        rc = -errno;
    return rc;
}

static int merge(struct supervisor *sup, int from, const char *name, int to, const char *base);

static int merge_content(struct supervisor *sup, int source, int target)
{
    char **names = NULL;
    size_t count = 0;
    int rc = tree_names(source, &names, &count);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = merge(sup, source, names[i], target, names[i]);
    tree_names_free(names, count);
    return rc;
}

static int merge(struct supervisor *sup, int from, const char *name, int to, const char *base)
{
    CLEANUP(closep) int source = -1;
    CLEANUP(closep) int target = -1;
    int rc;

    if (renameat2(from, name, to, base, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST) {
        source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        target = openat(to, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (source >= 0 && target >= 0)
            return merge_content(sup, source, target);
        return renameat(from, name, to, base) < 0 ? -errno : 0;
    }
    if (errno != EXDEV && errno != EACCES)
        return -errno;
    if (strcmp(name, base) != 0 && renameat(from, name, from, base) < 0)
        return -errno;
    rc = identity_borrow(&sup->identity);
    if (rc < 0)
        return rc;
    rc = copy_tree(from, to, base);
    identity_return(&sup->identity);
    return rc;
}

int laid_put(struct supervisor *sup, int from, const char *name, const char *to)
{
    const char *slash = strrchr(to, '/');
    CLEANUP(closep) int parent = -1;
    CLEANUP(closep) int source = -1;
    char above[PATH_MAX];
    int rc;

    if (strcmp(to, ".") == 0) {
        source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return source < 0 ? -errno : merge_content(sup, source, sup->work_fd);
    }
    if ((size_t)snprintf(above, sizeof(above), "%.*s", slash ? (int)(slash - to) : 1,
                         slash ? to : ".") >= sizeof(above))
        return -ENAMETOOLONG;
    rc = identity_borrow(&sup->identity);
    if (rc < 0)
        return rc;
    rc = tree_make(sup->work_fd, to, true);
    parent = rc < 0 ? rc : tree_open(sup->work_fd, above, O_RDONLY | O_DIRECTORY, 0);
    identity_return(&sup->identity);
    return parent < 0 ? parent : merge(sup, from, name, parent, slash ? slash + 1 : to);
}

int laid_put_path(struct supervisor *sup, int from, const char *path, const char *to)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(closep) int parent = -1;
    char above[PATH_MAX];

    if (!slash)
        return laid_put(sup, from, path, to);
    if ((size_t)snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path) >= sizeof(above))
        return -ENAMETOOLONG;
    parent = tree_open(from, above, O_RDONLY | O_DIRECTORY, 0);
    return parent < 0 ? parent : laid_put(sup, parent, slash + 1, to);
}
