#include "agent/checkpoint.h"

#include "agent/stage.h"
#include "agent/supervisor_internal.h"
#include "agent/tree.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int open_parent(int folder, const char *path)
{
    const char *base = base_of(path);
    char parent[PATH_MAX];

    snprintf(parent, sizeof(parent), "%.*s", base > path ? (int)(base - path - 1) : 1,
             base > path ? path : ".");
    return tree_open(folder, parent, O_RDONLY | O_DIRECTORY, 0);
}

/* Of trees that we laid out ourselves: folders, files and links. As the job's user. */
static int copy_tree(int from, int to, const char *name)
{
    CLEANUP(closep) int source = -1;
    CLEANUP(closep) int target = -1;
    char link[PATH_MAX];
    char **names = NULL;
    size_t count = 0;
    struct stat st;
    ssize_t len;
    int rc;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode)) {
        len = readlinkat(from, name, link, sizeof(link) - 1);
        link[MAX(len, 0)] = '\0';
        return len < 0 || symlinkat(link, to, name) < 0 ? -errno : 0;
    }
    source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (source < 0)
        return -errno;
    if (S_ISREG(st.st_mode)) {
        target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        st.st_mode & 0777);
        return target < 0 ? -errno : tree_copy_bytes(source, target);
    }
    if (mkdirat(to, name, 0700) < 0)
        return -errno;
    target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = target < 0 ? -errno : tree_names(source, &names, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = copy_tree(source, target, names[i]);
    tree_names_free(names, count);
    if (rc == 0 && fchmod(target, st.st_mode & 0777) < 0)
        rc = -errno;
    return rc;
}

/* Renamed where that is possible, else copied as the user; what stands there goes aside first. */
static int move_in(struct supervisor *sup, int staged, const char *name, int parent,
                   const char *base)
{
    CLEANUP(closep) int folder = -1;
    int rc;

    if (renameat(parent, base, staged, "replaced") < 0 && errno != ENOENT && errno != EXDEV)
        return -errno;
    folder = tree_open(staged, "checkpoint", O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0)
        return folder;
    if (strcmp(name, base) != 0 && renameat(folder, name, folder, base) < 0)
        return -errno;
    if (renameat2(folder, base, parent, base, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EXDEV)
        return -errno;
    rc = identity_borrow(&sup->identity);
    if (rc < 0)
        return rc;
    rc = copy_tree(folder, parent, base);
    identity_return(&sup->identity);
    return rc;
}

/* The tree has one entry at its top: the file or folder that was saved. */
static int put_in_place(struct supervisor *sup, int staged)
{
    const char *path = sup->spec->checkpoint_path;
    CLEANUP(closep) int folder = tree_open(staged, "checkpoint", O_RDONLY | O_DIRECTORY, 0);
    CLEANUP(closep) int parent = -1;
    char **names = NULL;
    size_t count = 0;
    int rc = folder < 0 ? folder : tree_names(folder, &names, &count);

    if (rc == 0 && count != 1)
        rc = -EBADMSG;
    if (rc == 0)
        rc = identity_borrow(&sup->identity);
    if (rc == 0) {
        rc = tree_make(sup->work_fd, path, true);
        parent = rc < 0 ? rc : open_parent(sup->work_fd, path);
        identity_return(&sup->identity);
        rc = parent < 0 ? parent : move_in(sup, staged, names[0], parent, base_of(path));
    }
    tree_names_free(names, count);
    return rc;
}

int checkpoint_restore(struct supervisor *sup, struct err *err)
{
    const char *path = sup->spec->checkpoint_path;
    CLEANUP(freep) char *staged = path_format("%s/staged/%s", sup->place->agent_dir, sup->name);
    CLEANUP(closep) int fd = -1;
    int64_t here_ms;
    int rc;

    unlinkat(sup->attempt_fd, "place", 0);
    if (symlinkat(sup->work_path, sup->attempt_fd, "place") < 0)
        return err_set(err, -errno, "place: %s", strerror(errno));
    here_ms = stage_newest_ms(sup->work_fd, path);
    sup->restored = here_ms > 0 && !sup->work_private;
    if (!sup->order->staged)
        return 0;
    fd = staged ? open(staged, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0)
        return err_set(err, -EIO, "checkpoint %s: what was fetched is gone", path);
    rc = sup->restored && here_ms >= sup->order->checkpoint_saved_ms ? 0 : put_in_place(sup, fd);
    dir_remove(staged, NULL);
    if (rc < 0)
        return err_set(err, rc, "checkpoint %s: %s", path, strerror(-rc));
    sup->restored = true;
    return 0;
}

void checkpoint_keep(struct supervisor *sup)
{
    const char *path = sup->spec->checkpoint_path;
    CLEANUP(closep) int saved = -1;
    CLEANUP(closep) int parent = -1;

    if (!sup->work_private || !sup->told_started ||
        (sup->record.end == END_EXITED && sup->record.exit_code == 0))
        return;
    parent = open_parent(sup->work_fd, path);
    if (parent < 0 || faccessat(parent, base_of(path), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (mkdirat(sup->attempt_fd, "saved", 0700) < 0 && errno != EEXIST)
        return;
    saved = openat(sup->attempt_fd, "saved", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (saved >= 0 && renameat(parent, base_of(path), saved, base_of(path)) < 0)
        unlinkat(sup->attempt_fd, "saved", AT_REMOVEDIR);
}
