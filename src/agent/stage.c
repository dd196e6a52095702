#include "agent/stage.h"

#include "agent/laid.h"
#include "agent/supervisor_internal.h"
#include "agent/tree.h"
#include "base/file.h"
#include "model/spec_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct stage {
    struct supervisor *sup;
    uint32_t files_count;
    uint32_t visits_left; /* collect: of all patterns together */
    int64_t copied_bytes; /* collect: as long as they look, holes and all */
    int outputs_fd;       /* collect: the attempt's outputs/ */
    const char *to;       /* collect: where on the host, or NULL */
    bool to_folder;       /* `to` is a folder that takes names below it */
    bool matched_any;     /* collect: something fitted the pattern */
    int first_rc;
    struct err *err;
};

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* What an opened file really is called, whatever links led to it. */
static bool is_of_state(const struct supervisor *sup, int fd)
{
    char link[64], real[PATH_MAX];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, real, sizeof(real) - 1);
    if (len <= 0)
        return true;
    real[len] = '\0';
    return is_below(real, sup->place->state_dir);
}

static int open_as_user(struct supervisor *sup, int folder_fd, const char *path, int flags)
{
    int fd, rc = identity_borrow(&sup->identity);

    if (rc < 0)
        return rc;
    fd = openat(folder_fd, path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    rc = fd < 0 ? -errno : fd;
    identity_return(&sup->identity);
    if (fd >= 0 && is_of_state(sup, fd)) {
        /* The work folder itself lies below the state folder: it is reached beneath, not here. */
        close(fd);
        return -EACCES;
    }
    return rc;
}

/* Below the work folder, as the user, and nowhere else. */
static int open_beneath(struct supervisor *sup, const char *path, int flags)
{
    int fd, rc = identity_borrow(&sup->identity);

    if (rc < 0)
        return rc;
    if (flags & O_CREAT)
        rc = tree_make(sup->work_fd, path, true);
    fd = rc < 0 ? rc : tree_open(sup->work_fd, path, flags | O_NONBLOCK, 0644);
    identity_return(&sup->identity);
    return fd;
}

/* As the user: in a shared folder the file may be another's. */
static void set_mode(struct supervisor *sup, int fd, mode_t mode)
{
    if (identity_borrow(&sup->identity) < 0)
        return;
    fchmod(fd, mode);
    identity_return(&sup->identity);
}

/* ---- inputs ---- */

static int copy_in(struct stage *stage, int from_fd, const char *to, int depth);

static int copy_in_folder(struct stage *stage, int from_fd, const char *to, int depth)
{
    struct supervisor *sup = stage->sup;
    char **names = NULL;
    size_t count = 0;
    int rc = identity_borrow(&sup->identity);

    if (rc < 0)
        return rc;
    rc = tree_make(sup->work_fd, to, false);
    if (rc == 0)
        rc = tree_names(from_fd, &names, &count);
    identity_return(&sup->identity);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        int fd = -1;

        if (rc == 0 && (size_t)snprintf(path, sizeof(path), "%s/%s", to, names[i]) >= sizeof(path))
            rc = -ENAMETOOLONG;
        if (rc == 0)
            fd = open_as_user(sup, from_fd, names[i], O_RDONLY | O_NOFOLLOW);
        if (fd >= 0)
            rc = copy_in(stage, fd, path, depth + 1);
        else if (rc == 0 && fd != -ELOOP) /* a link inside a folder: passed over */
            rc = fd;
    }
    tree_names_free(names, count);
    return rc;
}

/* Takes from_fd. */
static int copy_in(struct stage *stage, int from_fd, const char *to, int depth)
{
    struct stat st;
    int rc = 0;
    int fd;

    if (fstat(from_fd, &st) < 0)
        rc = -errno;
    else if (depth > TREE_DEPTH_MAX || ++stage->files_count > STAGE_FILES_MAX)
        rc = -E2BIG;
    else if (S_ISDIR(st.st_mode))
        rc = copy_in_folder(stage, from_fd, to, depth);
    else if (S_ISREG(st.st_mode)) {
        fd = open_beneath(stage->sup, to, O_WRONLY | O_CREAT | O_TRUNC);
        rc = fd < 0 ? fd : tree_copy_bytes(from_fd, fd);
        if (fd >= 0) {
            set_mode(stage->sup, fd, (st.st_mode & 0755) | 0600);
            close(fd);
        }
    }
    close(from_fd);
    return rc;
}

/* What the agent has fetched: a tree, all of it or what `path` names in it. */
static int stage_fetched(struct supervisor *sup, const struct spec_file *input, uint32_t index)
{
    bool is_web = spec_source_of(input->from) == SOURCE_WEB;
    const char *path = is_web ? "file" : spec_source_path(input->from);
    CLEANUP(closep) int staged = laid_open(sup);
    CLEANUP(closep) int tree = -1;
    char name[32];
    int rc;

    snprintf(name, sizeof(name), "in.%" PRIu32, index);
    tree = staged < 0 ? staged : tree_open(staged, name, O_RDONLY | O_DIRECTORY, 0);
    if (tree < 0) /* an order to Slurm that is given again: it lies there since the first time */
        rc = faccessat(sup->work_fd, input->to, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? tree : 0;
    else if (!path[0])
        rc = laid_put(sup, staged, name, input->to);
    else
        rc = laid_put_path(sup, tree, path, input->to);
    return rc;
}

static int stage_input(struct stage *stage, const struct spec_file *input, uint32_t index)
{
    struct supervisor *sup = stage->sup;
    int rc, fd;

    if (input->content) {
        fd = open_beneath(sup, input->to, O_WRONLY | O_CREAT | O_TRUNC);
        rc = fd < 0 ? fd : file_write_all(fd, input->content, strlen(input->content));
        if (fd >= 0)
            close(fd);
    } else if (spec_source_of(input->from) != SOURCE_PATH &&
               spec_source_of(input->from) != SOURCE_SITE) {
        rc = stage_fetched(sup, input, index);
    } else {
        if (!sup->order->host_paths)
            return -EACCES;
        fd = open_as_user(sup, AT_FDCWD, spec_source_path(input->from), O_RDONLY);
        rc = fd < 0 ? fd : copy_in(stage, fd, input->to, 0);
    }
    if (rc == 0 && input->executable) {
        fd = open_beneath(sup, input->to, O_RDONLY);
        if (fd >= 0) {
            set_mode(sup, fd, 0755);
            close(fd);
        }
    }
    return rc;
}

int stage_inputs(struct supervisor *sup, struct err *err)
{
    struct stage stage = { .sup = sup, .err = err };

    for (uint32_t i = 0; i < sup->spec->inputs_count; i++) {
        const struct spec_file *input = &sup->spec->inputs[i];
        int64_t grace_ms;
        char reason[ATTEMPT_REASON_BYTES];
        int rc = stage_input(&stage, input, i);

        if (rc < 0)
            return err_field(err, rc, "inputs", "input %s: %s",
                             input->from ? input->from : input->to,
                             rc == -EACCES && !sup->order->host_paths
                                 ? "this tenant may not use folders of the machine"
                                 : strerror(-rc));
        if (supervisor_read_stop(sup, &grace_ms, reason))
            return 0; /* seen again, and obeyed, before the ranks start */
    }
    return 0;
}

int stage_open_output(struct supervisor *sup, const char *path, int *fd_out, struct err *err)
{
    int fd;

    if (path[0] == '/' && !sup->order->host_paths)
        return err_set(err, -EACCES,
                       "output file %s: this tenant may not use folders of the machine", path);
    if (path[0] == '/')
        fd = open_as_user(sup, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND);
    else
        fd = open_beneath(sup, path, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0)
        return err_set(err, fd, "output file %s: %s", path, strerror(-fd));
    *fd_out = fd;
    return 0;
}

/* ---- outputs ---- */

static int collect_match(void *context, const char *path, bool is_folder);

static int open_parent(int folder_fd, const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');

    snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return tree_open(folder_fd, parent, O_RDONLY | O_DIRECTORY, 0);
}

/* Both parents opened first: rename follows links on the way, and unsandboxed jobs of the same
 * tenant may still put some there. For the last part it is looked at what really came. */
static bool move_output(struct stage *stage, const struct stat *st, const char *path)
{
    const char *base = strrchr(path, '/');
    int from = open_parent(stage->sup->work_fd, path);
    int to = open_parent(stage->outputs_fd, path);
    struct stat got;
    bool moved;

    base = base ? base + 1 : path;
    moved = from >= 0 && to >= 0 && renameat(from, base, to, base) == 0;
    if (moved && (fstatat(to, base, &got, AT_SYMLINK_NOFOLLOW) < 0 || got.st_dev != st->st_dev ||
                  got.st_ino != st->st_ino)) {
        unlinkat(to, base, 0);
        moved = false;
    }
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return moved;
}

/* Into the attempt's own outputs/: moved when it is certainly the job's alone, else copied. */
static int keep_output(struct stage *stage, int from_fd, const struct stat *st, const char *path)
{
    struct supervisor *sup = stage->sup;
    int fd, rc = tree_make(stage->outputs_fd, path, true);

    if (rc < 0)
        return rc;
    if (sup->work_private && st->st_nlink == 1 && st->st_uid == sup->identity.uid && !stage->to &&
        move_output(stage, st, path))
        return 0;
    /* A copy fills the holes and splits the links that the limit was not charged for. */
    stage->copied_bytes += st->st_size;
    if (sup->work_private && sup->order->disk_bytes > 0 &&
        stage->copied_bytes > sup->order->disk_bytes)
        return -EDQUOT;
    fd = tree_open(stage->outputs_fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    rc = tree_copy_bytes(from_fd, fd);
    close(fd);
    return rc;
}

static int put_output(struct stage *stage, int from_fd, const char *path)
{
    struct supervisor *sup = stage->sup;
    const char *base = strrchr(path, '/');
    char to[PATH_MAX];
    int fd, rc;

    base = base ? base + 1 : path;
    if ((size_t)snprintf(to, sizeof(to), "%s%s%s", stage->to, stage->to_folder ? "/" : "",
                         stage->to_folder ? base : "") >= sizeof(to))
        return -ENAMETOOLONG;
    rc = identity_borrow(&sup->identity);
    if (rc < 0)
        return rc;
    if (stage->to_folder)
        mkdir(stage->to, 0755);
    identity_return(&sup->identity);
    fd = open_as_user(sup, AT_FDCWD, to, O_WRONLY | O_CREAT); /* emptied once it is known which */
    if (fd < 0)
        return fd;
    rc = ftruncate(fd, 0) < 0 ? -errno : tree_copy_bytes(from_fd, fd);
    close(fd);
    return rc;
}

static int collect_file(struct stage *stage, const char *path)
{
    int fd = open_beneath(stage->sup, path, O_RDONLY);
    struct stat st;
    int rc = 0;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (S_ISREG(st.st_mode)) {
        rc = keep_output(stage, fd, &st, path);
        if (rc == 0 && stage->to && lseek(fd, 0, SEEK_SET) == 0)
            rc = put_output(stage, fd, path);
    }
    close(fd);
    return rc;
}

static int collect_match(void *context, const char *path, bool is_folder)
{
    struct stage *stage = context;
    char below[PATH_MAX];
    int rc;

    stage->matched_any = true;
    if (++stage->files_count > STAGE_FILES_MAX)
        return -E2BIG;
    if (is_folder) {
        if ((size_t)snprintf(below, sizeof(below), "%s/**", path) >= sizeof(below))
            return -ENAMETOOLONG;
        return tree_match(stage->sup->work_fd, below, &stage->visits_left, collect_match, stage);
    }
    rc = collect_file(stage, path);
    if (rc < 0 && stage->first_rc == 0)
        stage->first_rc = err_set(stage->err, rc, "output %s: %s", path, strerror(-rc));
    return 0;
}

static int open_outputs(struct supervisor *sup)
{
    if (mkdirat(sup->attempt_fd, "outputs", 0700) < 0 && errno != EEXIST)
        return -errno;
    return tree_open(sup->attempt_fd, "outputs", O_RDONLY | O_DIRECTORY, 0);
}

/* Where a copy goes: of the machine of a site, which the job was placed at for that. */
static const char *host_path_of(const struct spec_file *output)
{
    return output->to && spec_source_of(output->to) == SOURCE_SITE ? spec_source_path(output->to)
                                                                   : output->to;
}

int stage_collect(struct supervisor *sup, struct err *err)
{
    struct stage stage = { .sup = sup, .err = err, .visits_left = TREE_VISITS_MAX };

    stage.outputs_fd = open_outputs(sup);
    if (stage.outputs_fd < 0)
        return err_set(err, stage.outputs_fd, "outputs: %s", strerror(-stage.outputs_fd));
    for (uint32_t i = 0; i < sup->spec->outputs_count; i++) {
        const struct spec_file *output = &sup->spec->outputs[i];
        const char *to = host_path_of(output);
        size_t to_len = to ? strlen(to) : 0;
        int rc;

        stage.to = sup->order->host_paths && to_len && to[0] == '/' ? to : NULL;
        stage.to_folder = to_len && (to[to_len - 1] == '/' || strpbrk(output->from, "*?["));
        stage.matched_any = false;
        rc = tree_match(sup->work_fd, output->from, &stage.visits_left, collect_match, &stage);
        if (rc < 0 && stage.first_rc == 0)
            stage.first_rc = err_set(err, rc, "output %s: %s", output->from, strerror(-rc));
        if (rc == 0 && !stage.matched_any && stage.first_rc == 0)
            stage.first_rc = err_set(err, -ENOENT, "output %s: there is none", output->from);
    }
    close(stage.outputs_fd);
    return stage.first_rc;
}

/* ---- checkpoints ---- */

struct newest {
    int work_fd;
    int64_t ms;
    uint32_t count, visits_left;
};

static int newest_match(void *context, const char *path, bool is_folder)
{
    struct newest *newest = context;
    char below[PATH_MAX];
    struct stat st;

    if (++newest->count > STAGE_FILES_MAX)
        return 1;
    if (is_folder) {
        if ((size_t)snprintf(below, sizeof(below), "%s/**", path) >= sizeof(below))
            return 0;
        return tree_match(newest->work_fd, below, &newest->visits_left, newest_match, newest);
    }
    if (fstatat(newest->work_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        newest->ms =
            MAX(newest->ms, (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    return 0;
}

int64_t stage_newest_ms(int work_fd, const char *path)
{
    struct newest newest = { .work_fd = work_fd, .visits_left = TREE_VISITS_MAX };

    tree_match(work_fd, path, &newest.visits_left, newest_match, &newest);
    return newest.ms;
}
