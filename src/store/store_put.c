#include "base/file.h"
#include "store/chunker.h"
#include "store/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (16u * CHUNK_BYTES_MAX)

struct put {
    struct store *store;
    struct manifest manifest;
    struct store_put_result result;
    const struct store_put_how *how;
    uint8_t *window;            /* READ_BYTES */
    struct store_piece *pieces; /* STORE_PIECES_MAX */
    struct err *err;
};

/* Links to files of others, and files of others in a shared folder, are not for this reader. */
static int check_reader(const struct put *put, const struct stat *st, const char *path)
{
    mode_t needed = S_ISDIR(st->st_mode) ? S_IROTH | S_IXOTH : S_IROTH;

    if (!put->how->guarded || st->st_uid == put->how->reader || (st->st_mode & needed) == needed)
        return 0;
    return err_set(put->err, -EACCES, "%s: belongs to another user, who does not let it be read",
                   path);
}

/* Cut what of the window can be cut, and take the pieces in; `*start_inout` moves on. */
static int put_window(struct put *put, size_t *start_inout, size_t end, bool ended)
{
    size_t start = *start_inout;
    uint32_t count = 0;
    int rc;

    while (count < STORE_PIECES_MAX && (end - start >= CHUNK_BYTES_MAX || (ended && end > start))) {
        size_t cut = chunker_cut(put->window + start, end - start);

        put->pieces[count++] = (struct store_piece){ .content = put->window + start, .len = cut };
        start += cut;
    }
    rc = store_chunk_add_many(put->store, put->pieces, count, &put->result, put->err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = manifest_add_chunk(&put->manifest, &put->pieces[i].chunk, put->err);
    *start_inout = start;
    return rc;
}

static int put_content(struct put *put, int fd, const char *path)
{
    size_t start = 0;
    size_t len = 0;
    bool ended = false;
    int rc = 0;

    while (rc == 0 && !(ended && len == 0)) {
        size_t end;

        memmove(put->window, put->window + start, len);
        start = 0;
        while (!ended && len < READ_BYTES) {
            ssize_t got = read(fd, put->window + len, READ_BYTES - len);

            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
            ended = got == 0;
            len += (size_t)got;
        }
        end = len;
        rc = put_window(put, &start, end, ended);
        len = end - start;
    }
    return rc;
}

static int put_file(struct put *put, int fd, const struct stat *before, const char *path)
{
    struct stat after;
    int64_t bytes;
    int rc = manifest_add_file(&put->manifest, path, before->st_mode & 0777, put->err);

    if (rc == 0)
        rc = put_content(put, fd, path);
    if (rc < 0)
        return rc;
    if (fstat(fd, &after) < 0)
        return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
    bytes = put->manifest.entries[put->manifest.entries_count - 1].bytes;
    if (after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != before->st_mtim.tv_nsec || after.st_size != bytes)
        return err_set(put->err, -EAGAIN, "%s: changed while it was read", path);
    return 0;
}

static int put_link(struct put *put, int dir_fd, const char *name, const char *path)
{
    char target[MANIFEST_PATH_BYTES_MAX + 2];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof(target) - 1);

    if (len < 0)
        return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
    target[len] = '\0';
    return manifest_add_link(&put->manifest, path, target, put->err);
}

static int put_folder(struct put *put, int fd, char *path, size_t path_len);

/* `path` has room for MANIFEST_PATH_BYTES_MAX bytes and NUL; its first `path_len` are the folder.
 */
static int put_entry(struct put *put, int dir_fd, const char *name, char *path, size_t path_len)
{
    CLEANUP(closep) int fd = -1;
    size_t name_len = strlen(name);
    struct stat st;
    int rc;

    if (path_len + 1 + name_len > MANIFEST_PATH_BYTES_MAX)
        return err_set(put->err, -EINVAL, "%.100s...: path too long", path);
    if (path_len)
        path[path_len++] = '/';
    memcpy(path + path_len, name, name_len + 1);
    path_len += name_len;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return put_link(put, dir_fd, name, path);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(put->err, -EINVAL, "%s: neither a file, a folder nor a link", path);
    /* Opening can wait for ever only on what is neither: O_NONBLOCK, should it be exchanged now. */
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
    rc = check_reader(put, &st, path);
    if (rc < 0)
        return rc;
    if (S_ISREG(st.st_mode))
        return put_file(put, fd, &st, path);
    rc = manifest_add_dir(&put->manifest, path, st.st_mode & 0777, put->err);
    return rc < 0 ? rc : put_folder(put, fd, path, path_len);
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

static int list_names(struct put *put, int fd, const char *path, char ***names_out,
                      size_t *count_out)
{
    DIR *dir = store_list(fd);
    struct dirent *entry;
    char **names = NULL;
    size_t count = 0;
    size_t room = 0;
    int rc = 0;

    if (!dir)
        return err_set(put->err, -errno, "%s: %s", path, strerror(errno));
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
        if (count >= put->manifest.limits.entries_max)
            rc = -EFBIG;
        else if ((names[count] = strdup(entry->d_name)) == NULL)
            rc = -ENOMEM;
        else
            count++;
    }
    closedir(dir);
    if (rc < 0) {
        free_names(names, count);
        return err_set(put->err, rc, "%s: %s", path, strerror(-rc));
    }
    if (count)
        qsort(names, count, sizeof(*names), compare_names);
    *names_out = names;
    *count_out = count;
    return 0;
}

static int put_folder(struct put *put, int fd, char *path, size_t path_len)
{
    char **names = NULL;
    size_t count = 0;
    int rc = list_names(put, fd, path, &names, &count);

    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = put_entry(put, fd, names[i], path, path_len);
        path[path_len] = '\0';
    }
    free_names(names, count);
    return rc;
}

static int put_top(struct put *put, int at_fd, const char *where)
{
    CLEANUP(closep)
    int fd = openat(at_fd, where, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    CLEANUP(freep) char *path = calloc(1, MANIFEST_PATH_BYTES_MAX + 1);
    const char *name = strrchr(where, '/');
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(put->err, -errno, "%s: %s", where, strerror(errno));
    if (!path)
        return err_set(put->err, -ENOMEM, "%s: out of memory", where);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(put->err, -EINVAL, "%s: neither a file nor a folder", where);
    name = name ? name + 1 : where;
    rc = check_reader(put, &st, where);
    if (rc < 0 || S_ISREG(st.st_mode))
        return rc < 0 ? rc : put_file(put, fd, &st, name);
    if (!put->how->named)
        return put_folder(put, fd, path, 0);
    rc = manifest_add_dir(&put->manifest, name, st.st_mode & 0777, put->err);
    if (rc < 0)
        return rc;
    memcpy(path, name, strlen(name) + 1);
    return put_folder(put, fd, path, strlen(name));
}

int store_put(struct store *store, int at_fd, const char *path, struct store_id *id_out,
              struct store_put_result *result_out, struct err *err)
{
    const struct store_put_how how = { .named = false };

    return store_put_as(store, at_fd, path, &how, id_out, result_out, err);
}

int store_put_as(struct store *store, int at_fd, const char *path, const struct store_put_how *how,
                 struct store_id *id_out, struct store_put_result *result_out, struct err *err)
{
    struct put put = { .store = store, .how = how, .err = err };
    int rc;

    put.window = malloc(READ_BYTES);
    put.pieces = calloc(STORE_PIECES_MAX, sizeof(*put.pieces));
    if (!put.window || !put.pieces) {
        free(put.window);
        free(put.pieces);
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    }
    put.manifest = manifest_init(&store->params.limits);
    rc = put_top(&put, at_fd, path);
    if (rc == 0)
        rc = store_manifest_keep(store, &put.manifest, id_out, &put.result.manifest_bytes, err);
    if (rc == 0 && result_out)
        *result_out = put.result;
    manifest_fini(&put.manifest);
    free(put.window);
    free(put.pieces);
    return rc;
}
