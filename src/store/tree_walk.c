#include "store/tree_walk.h"

#include "base/file.h"
#include "store/chunker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (16u * CHUNK_BYTES_MAX)

struct walk {
    const struct tree_walk *how;
    struct manifest *manifest;
    uint8_t *window;            /* READ_BYTES */
    struct store_piece *pieces; /* STORE_PIECES_MAX */
    struct err *err;
};

/* Links to files of others, and files of others in a shared folder, are not for this reader. */
static int check_reader(const struct walk *walk, const struct stat *st, const char *path)
{
    mode_t needed = S_ISDIR(st->st_mode) ? S_IROTH | S_IXOTH : S_IROTH;

    if (!walk->how->put->guarded || st->st_uid == walk->how->put->reader ||
        (st->st_mode & needed) == needed)
        return 0;
    return err_set(walk->err, -EACCES, "%s: belongs to another user, who does not let it be read",
                   path);
}

/* Cut what of the window can be cut, and take the pieces in; `*start_inout` moves on. */
static int walk_window(struct walk *walk, size_t *start_inout, size_t end, bool ended)
{
    size_t start = *start_inout;
    uint32_t count = 0;
    int rc;

    while (count < STORE_PIECES_MAX && (end - start >= CHUNK_BYTES_MAX || (ended && end > start))) {
        size_t cut = chunker_cut(walk->window + start, end - start);

        walk->pieces[count++] = (struct store_piece){ .content = walk->window + start, .len = cut };
        start += cut;
    }
    rc = walk->how->take(walk->how->context, walk->pieces, count, walk->err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = manifest_add_chunk(walk->manifest, &walk->pieces[i].chunk, walk->err);
    *start_inout = start;
    return rc;
}

static int walk_content(struct walk *walk, int fd, const char *path)
{
    size_t start = 0;
    size_t len = 0;
    bool ended = false;
    int rc = 0;

    while (rc == 0 && !(ended && len == 0)) {
        size_t end;

        memmove(walk->window, walk->window + start, len);
        start = 0;
        while (!ended && len < READ_BYTES) {
            ssize_t got = read(fd, walk->window + len, READ_BYTES - len);

            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
            ended = got == 0;
            len += (size_t)got;
        }
        end = len;
        rc = walk_window(walk, &start, end, ended);
        len = end - start;
    }
    return rc;
}

static int walk_file(struct walk *walk, int fd, const struct stat *before, const char *path)
{
    struct stat after;
    int64_t bytes;
    int rc = manifest_add_file(walk->manifest, path, before->st_mode & 0777, walk->err);

    if (rc == 0)
        rc = walk_content(walk, fd, path);
    if (rc < 0)
        return rc;
    if (fstat(fd, &after) < 0)
        return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
    bytes = walk->manifest->entries[walk->manifest->entries_count - 1].bytes;
    if (after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != before->st_mtim.tv_nsec || after.st_size != bytes)
        return err_set(walk->err, -EAGAIN, "%s: changed while it was read", path);
    return walk->how->file ? walk->how->file(walk->how->context, &after, walk->err) : 0;
}

static int walk_link(struct walk *walk, int dir_fd, const char *name, const char *path)
{
    char target[MANIFEST_PATH_BYTES_MAX + 2];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof(target) - 1);

    if (len < 0)
        return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
    target[len] = '\0';
    return manifest_add_link(walk->manifest, path, target, walk->err);
}

static int walk_folder(struct walk *walk, int fd, char *path, size_t path_len);

/* `path` has room for MANIFEST_PATH_BYTES_MAX bytes and NUL; its first `path_len` are the folder.
 */
static int walk_entry(struct walk *walk, int dir_fd, const char *name, char *path, size_t path_len)
{
    CLEANUP(closep) int fd = -1;
    size_t name_len = strlen(name);
    struct stat st;
    int rc;

    if (path_len + 1 + name_len > MANIFEST_PATH_BYTES_MAX)
        return err_set(walk->err, -EINVAL, "%.100s...: path too long", path);
    if (path_len)
        path[path_len++] = '/';
    memcpy(path + path_len, name, name_len + 1);
    path_len += name_len;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return walk_link(walk, dir_fd, name, path);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(walk->err, -EINVAL, "%s: neither a file, a folder nor a link", path);
    /* Opening can wait for ever only on what is neither: O_NONBLOCK, should it be exchanged now. */
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
    rc = check_reader(walk, &st, path);
    if (rc < 0)
        return rc;
    if (S_ISREG(st.st_mode))
        return walk_file(walk, fd, &st, path);
    rc = manifest_add_dir(walk->manifest, path, st.st_mode & 0777, walk->err);
    return rc < 0 ? rc : walk_folder(walk, fd, path, path_len);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static int list_names(struct walk *walk, int fd, const char *path, char ***names_out,
                      size_t *count_out)
{
    DIR *dir = store_list(fd);
    struct dirent *entry;
    char **names = NULL;
    size_t count = 0;
    size_t room = 0;
    int rc = 0;

    if (!dir)
        return err_set(walk->err, -errno, "%s: %s", path, strerror(errno));
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count == room) {
            char **more = reallocarray(names, room ? room * 2 : 32, sizeof(*names));

            if (!more) {
                rc = -ENOMEM;
                break;
            }
            room = room ? room * 2 : 32;
            names = more;
        }
        if (count >= walk->manifest->limits.entries_max)
            rc = -EFBIG;
        else if ((names[count] = strdup(entry->d_name)) == NULL)
            rc = -ENOMEM;
        else
            count++;
    }
    closedir(dir);
    if (rc < 0) {
        free_names(names, count);
        return err_set(walk->err, rc, "%s: %s", path, strerror(-rc));
    }
    if (count)
        qsort(names, count, sizeof(*names), compare_names);
    *names_out = names;
    *count_out = count;
    return 0;
}

static int walk_folder(struct walk *walk, int fd, char *path, size_t path_len)
{
    char **names = NULL;
    size_t count = 0;
    int rc = list_names(walk, fd, path, &names, &count);

    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = walk_entry(walk, fd, names[i], path, path_len);
        path[path_len] = '\0';
    }
    free_names(names, count);
    return rc;
}

static int walk_top(struct walk *walk, int at_fd, const char *where)
{
    CLEANUP(closep)
    int fd = openat(at_fd, where, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    CLEANUP(freep) char *path = calloc(1, MANIFEST_PATH_BYTES_MAX + 1);
    const char *name = strrchr(where, '/');
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(walk->err, -errno, "%s: %s", where, strerror(errno));
    if (!path)
        return err_set(walk->err, -ENOMEM, "%s: out of memory", where);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(walk->err, -EINVAL, "%s: neither a file nor a folder", where);
    name = name ? name + 1 : where;
    rc = check_reader(walk, &st, where);
    if (rc < 0 || S_ISREG(st.st_mode))
        return rc < 0 ? rc : walk_file(walk, fd, &st, name);
    if (!walk->how->put->named)
        return walk_folder(walk, fd, path, 0);
    rc = manifest_add_dir(walk->manifest, name, st.st_mode & 0777, walk->err);
    if (rc < 0)
        return rc;
    memcpy(path, name, strlen(name) + 1);
    return walk_folder(walk, fd, path, strlen(name));
}

int tree_walk_run(const struct tree_walk *how, int at_fd, const char *path,
                  struct manifest *manifest, struct err *err)
{
    struct walk walk = { .how = how, .manifest = manifest, .err = err };
    int rc = -ENOMEM;

    walk.window = malloc(READ_BYTES);
    walk.pieces = calloc(STORE_PIECES_MAX, sizeof(*walk.pieces));
    if (walk.window && walk.pieces)
        rc = walk_top(&walk, at_fd, path);
    else
        err_set(err, rc, "%s: out of memory", path);
    free(walk.window);
    free(walk.pieces);
    return rc;
}
