#include "agent/sandbox.h"

#include "agent/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define INNER_ROOT "inner"
#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)

/* System folders, as far as the host has them; links (/bin -> usr/bin) are made again as links. */
static const char *const system_folders[] = { "/usr",   "/bin", "/sbin", "/lib", "/lib32",
                                              "/lib64", "/etc", "/opt",  "/nix", "/sys" };
static const char *const plain_nodes[] = { "null", "zero", "full", "random", "urandom", "tty" };

pid_t sandbox_fork(int cgroup_fd)
{
    bool root = geteuid() == 0;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    pid_t pid = crew_clone(NAMESPACES | (root ? 0 : CLONE_NEWUSER), cgroup_fd);
    char text[64];
    int fd;

    if (pid != 0 || root)
        return pid;
    snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(126);
    close(fd);
    fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "deny", 4) < 0)
        _exit(126);
    close(fd);
    snprintf(text, sizeof(text), "%u %u 1", gid, gid);
    fd = open("/proc/self/gid_map", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(126);
    close(fd);
    return 0;
}

static int failed(struct err *err, const char *what, const char *path)
{
    return err_set(err, -errno, "sandbox: %s %s: %s", what, path, strerror(errno));
}

/* A clone of the host's tree at `from` (below at_fd; "" = at_fd itself), made read-only if asked,
 * mounted at `to` (below cwd). */
static int bind_tree_at(int at_fd, const char *from, const char *to, bool writable, bool devices)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | (writable ? 0 : MOUNT_ATTR_RDONLY) |
                                           (devices ? 0 : MOUNT_ATTR_NODEV) };
    int tree = (int)syscall(SYS_open_tree, at_fd, from,
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
    int rc = 0;

    if (tree < 0)
        return -errno;
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        rc = -errno;
    if (rc == 0 && syscall(SYS_move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        rc = -errno;
    close(tree);
    errno = -rc;
    return rc;
}

static int bind_tree(const char *from, const char *to, bool writable, bool devices)
{
    return bind_tree_at(AT_FDCWD, from, to, writable, devices);
}

static int bind_system(struct err *err)
{
    for (size_t i = 0; i < sizeof(system_folders) / sizeof(system_folders[0]); i++) {
        const char *from = system_folders[i];
        char target[PATH_MAX];
        struct stat st;
        ssize_t len;

        if (lstat(from, &st) < 0)
            continue;
        if (S_ISLNK(st.st_mode)) {
            len = readlink(from, target, sizeof(target) - 1);
            if (len < 0)
                return failed(err, "link", from);
            target[len] = '\0';
            if (symlink(target, from + 1) < 0)
                return failed(err, "link", from);
            continue;
        }
        if (mkdir(from + 1, 0755) < 0 || bind_tree(from, from + 1, false, false) < 0)
            return failed(err, "folder", from);
    }
    return 0;
}

/* mkdir -p of an absolute path, below cwd. */
static int make_path(const char *path, bool last_is_file)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    int fd;

    if (len >= sizeof(part))
        return -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part + 1, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    if (!last_is_file)
        return mkdir(part + 1, 0755) < 0 && errno != EEXIST ? -errno : 0;
    fd = open(part + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int make_device(const char *path)
{
    struct stat st;
    int rc;

    if (stat(path, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISDIR(st.st_mode)))
        return 0; /* the device's owner named more nodes than there are */
    rc = make_path(path, !S_ISDIR(st.st_mode));
    /* Devices are written to all the same; but root's job could change the host's node itself. */
    return rc < 0 ? rc : bind_tree(path, path + 1, false, true);
}

static int make_dev(const struct sandbox *sandbox, struct err *err)
{
    static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" },
                                            { "/proc/self/fd/0", "dev/stdin" },
                                            { "/proc/self/fd/1", "dev/stdout" },
                                            { "/proc/self/fd/2", "dev/stderr" },
                                            { "pts/ptmx", "dev/ptmx" } };
    char path[64];

    if (mkdir("dev", 0755) < 0 || mkdir("dev/pts", 0755) < 0 || mkdir("dev/shm", 01777) < 0)
        return failed(err, "folder", "/dev");
    for (size_t i = 0; i < sizeof(plain_nodes) / sizeof(plain_nodes[0]); i++) {
        snprintf(path, sizeof(path), "/dev/%s", plain_nodes[i]);
        if (make_device(path) < 0)
            return failed(err, "device", path);
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (symlink(links[i][0], links[i][1]) < 0)
            return failed(err, "link", links[i][1]);
    for (uint32_t i = 0; i < sandbox->device_nodes_count; i++)
        if (make_device(sandbox->device_nodes[i]) < 0)
            return failed(err, "device", sandbox->device_nodes[i]);
    if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
              "newinstance,ptmxmode=0666,mode=620") < 0)
        return failed(err, "mount", "/dev/pts");
    return 0;
}

static int mount_tmp(const struct sandbox *sandbox, const char *path, struct err *err)
{
    char options[64] = "mode=1777";

    if (sandbox->tmp_bytes > 0)
        snprintf(options, sizeof(options), "mode=1777,size=%" PRId64, sandbox->tmp_bytes);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return failed(err, "mount", path);
    return 0;
}

/* Root needs no capability to write these: the files are its own. With something mounted over it,
 * no fresh /proc can be had from a user namespace either. */
static int guard_proc(struct err *err)
{
    static const char *const places[] = { "proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus",
                                          "proc/fs",  "proc/acpi",          "proc/scsi" };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (access(places[i], F_OK) == 0 && bind_tree(places[i], places[i], false, false) < 0)
            return failed(err, "read-only", places[i]);
    return 0;
}

static int make_private(const struct sandbox *sandbox, struct err *err)
{
    static const char *const folders[] = { "proc", "tmp",  "var",  "var/tmp",
                                           "run",  "root", "home", "mnt" };

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        if (mkdir(folders[i], 0755) < 0 && errno != EEXIST)
            return failed(err, "folder", folders[i]);
    if (symlink("/run", "var/run") < 0)
        return failed(err, "link", "/var/run");
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return failed(err, "mount", "/proc");
    if (sandbox->root_inside && guard_proc(err) < 0)
        return -errno;
    if (mount_tmp(sandbox, "tmp", err) < 0 || mount_tmp(sandbox, "dev/shm", err) < 0)
        return -errno;
    /* One bounded space for both. */
    if (mkdir("tmp/.var", 01777) < 0 || chmod("tmp/.var", 01777) < 0 ||
        mount("tmp/.var", "var/tmp", NULL, MS_BIND, NULL) < 0)
        return failed(err, "mount", "/var/tmp");
    return 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* A work folder of the host, or one of the system's, may hold the state folder: cover it. */
static int hide_state(const struct sandbox *sandbox, struct err *err)
{
    bool covered = is_below(sandbox->state_dir, sandbox->work_seen);

    for (size_t i = 0; i < sizeof(system_folders) / sizeof(system_folders[0]); i++)
        covered = covered || is_below(sandbox->state_dir, system_folders[i]);
    covered = covered && access(sandbox->state_dir + 1, F_OK) == 0;
    if (covered &&
        mount("tmpfs", sandbox->state_dir + 1, "tmpfs", MS_RDONLY, "mode=000,size=4k") < 0)
        return failed(err, "cover", sandbox->state_dir);
    return 0;
}

/* The folder that was opened as the user, and no other: we are root, and whoever owns a folder
 * above it may have put a link in its place. (The descriptor is of the host's mounts, and cannot
 * be cloned here itself.) */
static int bind_work(const struct sandbox *sandbox)
{
    int fd = open(sandbox->work_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat meant, found;
    int rc;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &found) < 0 || fstat(sandbox->work_fd, &meant) < 0)
        rc = -errno;
    else if (found.st_dev != meant.st_dev || found.st_ino != meant.st_ino)
        rc = -ESTALE;
    else
        rc = bind_tree_at(fd, "", sandbox->work_seen + 1, true, false);
    close(fd);
    return rc;
}

static int mount_root(const char *path, struct err *err)
{
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") < 0)
        return failed(err, "mount", path);
    if (chdir(path) < 0)
        return failed(err, "folder", path);
    return 0;
}

/* Root needs no capability for what is its own, such as the host's cgroups: in a user namespace it
 * could mount them. The kernel makes none for those whose root is not their mounts' root. */
static int forbid_user_namespaces(struct err *err)
{
    if (chroot(INNER_ROOT) < 0 || chdir("/") < 0)
        return failed(err, "root", INNER_ROOT);
    return 0;
}

int sandbox_enter(const struct sandbox *sandbox, struct err *err)
{
    int rc;

    /* The host must not see our mounts; we go on seeing none of its new ones. */
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return failed(err, "private", "/");
    rc = mount_root(sandbox->root_dir, err);
    if (rc == 0 && sandbox->root_inside)
        rc = mkdir(INNER_ROOT, 0755) < 0 ? failed(err, "folder", INNER_ROOT)
                                         : mount_root(INNER_ROOT, err);
    if (rc == 0)
        rc = bind_system(err);
    if (rc == 0)
        rc = make_dev(sandbox, err);
    if (rc == 0)
        rc = make_private(sandbox, err);
    if (rc < 0)
        return rc;
    if (sandbox->bin_dir) {
        rc = make_path(SANDBOX_BIN, false);
        if (rc == 0)
            rc = bind_tree(sandbox->bin_dir, &SANDBOX_BIN[1], false, false);
        if (rc < 0) {
            errno = -rc;
            return failed(err, "commands", sandbox->bin_dir);
        }
    }
    rc = make_path(sandbox->work_seen, false);
    if (rc == 0)
        rc = bind_work(sandbox);
    if (rc < 0) {
        errno = -rc;
        return failed(err, "work folder", sandbox->work_path);
    }
    rc = hide_state(sandbox, err);
    if (rc < 0)
        return rc;
    if (sandbox->root_inside && chdir("..") < 0)
        return failed(err, "folder", sandbox->root_dir);
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return failed(err, "root", sandbox->root_dir);
    if (sandbox->root_inside && forbid_user_namespaces(err) < 0)
        return -errno;
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return failed(err, "read-only", "/");
    return 0;
}
