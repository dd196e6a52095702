#include "agent/checkpoint.h"

#include "agent/laid.h"
#include "agent/stage.h"
#include "agent/supervisor_internal.h"
#include "agent/tree.h"

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

/* The tree has one entry at its top: the file or folder that was saved. What stands in its place
 * goes aside, and away with the rest. */
static int put_in_place(struct supervisor *sup, int staged)
{
    const char *path = sup->spec->checkpoint_path;
    CLEANUP(closep) int folder = tree_open(staged, "checkpoint", O_RDONLY | O_DIRECTORY, 0);
    CLEANUP(closep) int parent = open_parent(sup->work_fd, path);
    char **names = NULL;
    size_t count = 0;
    int rc = folder < 0 ? folder : tree_names(folder, &names, &count);

    if (rc == 0 && count != 1)
        rc = -EBADMSG;
    if (rc == 0 && parent >= 0 && renameat(parent, base_of(path), staged, "replaced") < 0 &&
        errno != ENOENT && errno != EXDEV)
        rc = -errno;
    if (rc == 0)
        rc = laid_put(sup, folder, names[0], path);
    tree_names_free(names, count);
    return rc;
}

int checkpoint_restore(struct supervisor *sup, struct err *err)
{
    const char *path = sup->spec->checkpoint_path;
    CLEANUP(closep) int staged = laid_open(sup);
    int64_t here_ms;
    int rc;

    unlinkat(sup->attempt_fd, "place", 0);
    if (symlinkat(sup->work_path, sup->attempt_fd, "place") < 0)
        return err_set(err, -errno, "place: %s", strerror(errno));
    here_ms = stage_newest_ms(sup->work_fd, path);
    sup->restored = here_ms > 0 && !sup->work_private;
    if (sup->order->staged && staged < 0) /* an order to Slurm that is given again */
        sup->restored = here_ms > 0;
    if (staged < 0 || faccessat(staged, "checkpoint", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    rc =
        sup->restored && here_ms >= sup->order->checkpoint_saved_ms ? 0 : put_in_place(sup, staged);
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
