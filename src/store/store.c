#include "store/store.h"

#include "base/file.h"
#include "store/chunker.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT "mains-store 2\n"
#define FORMAT_OLDER "mains-store 1\n" /* had no packs: all that it has is read */
#define SMALL_FILE_BYTES_MAX 256u

struct store_params store_params_default(void)
{
    return (struct store_params){
        .sync = true,
        .level = 1,
        .limits = manifest_limits_default(),
    };
}

int store_step(const struct store *store, const char *name, struct err *err)
{
    int rc = store->params.step ? store->params.step(store->params.step_context, name) : 0;

    return rc < 0 ? err_set(err, rc, "store: stopped before: %s", name) : 0;
}

int store_read(int dir_fd, const char *name, struct buf *data_out, struct err *err)
{
    CLEANUP(closep)
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    size_t left;

    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? -ENOENT
                               : err_set(err, -errno, "store: %s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "store: %s: not a file", name);
    if (st.st_size < 0 || (uintmax_t)st.st_size > data_out->max - data_out->len)
        return err_set(err, -EFBIG, "store: %s: %jd bytes", name, (intmax_t)st.st_size);
    left = (size_t)st.st_size;
    if (buf_reserve(data_out, left) < 0)
        return err_set(err, -ENOMEM, "store: %s: out of memory", name);
    while (left) {
        ssize_t got = read(fd, data_out->data + data_out->len, left);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(err, -errno, "store: %s: %s", name, strerror(errno));
        if (got == 0)
            break;
        data_out->len += (size_t)got;
        left -= (size_t)got;
    }
    if (data_out->data)
        data_out->data[data_out->len] = '\0';
    return 0;
}

int store_sync_folder(const struct store *store, int dir_fd, struct err *err)
{
    if (store->params.sync && fsync(dir_fd) < 0)
        return err_set(err, -errno, "store: sync: %s", strerror(errno));
    return 0;
}

int store_write(struct store *store, int to_fd, const char *name, const void *data, size_t len,
                const char *step, struct err *err)
{
    static const char part[] = "new" STORE_FILE_SUFFIX_PART; /* one thread: one at a time */
    int rc = store_step(store, step, err);
    int fd;

    if (rc < 0)
        return rc;
    fd = openat(store->tmp_fd, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "store: %s: %s", name, strerror(errno));
    rc = file_write_all(fd, data, len);
    if (rc == 0 && store->params.sync && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0)
        rc = store_step(store, step, err);
    if (rc == 0 && renameat(store->tmp_fd, part, to_fd, name) < 0)
        rc = -errno;
    if (rc < 0)
        return err_set(err, rc, "store: %s: %s", name, strerror(-rc));
    return store_sync_folder(store, to_fd, err);
}

DIR *store_list(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

static int open_folder(int at_fd, const char *name, int *fd_out, struct err *err)
{
    if (mkdirat(at_fd, name, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "store: %s: %s", name, strerror(errno));
    *fd_out = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd_out < 0)
        return err_set(err, -errno, "store: %s: %s", name, strerror(errno));
    return 0;
}

static int open_folders(struct store *store, struct err *err)
{
    int rc = open_folder(store->fd, "chunks", &store->chunks_fd, err);

    if (rc == 0)
        rc = open_folder(store->fd, "manifests", &store->manifests_fd, err);
    if (rc == 0)
        rc = open_folder(store->fd, "roots", &store->roots_fd, err);
    if (rc == 0)
        rc = open_folder(store->fd, "tmp", &store->tmp_fd, err);
    return rc;
}

/* What was on its way when the last owner ended. */
static int empty_tmp(struct store *store, struct err *err)
{
    DIR *dir = store_list(store->tmp_fd);
    struct dirent *entry;

    if (!dir)
        return err_set(err, -errno, "store: tmp: %s", strerror(errno));
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(store->tmp_fd, entry->d_name, 0);
    closedir(dir);
    return 0;
}

static int check_format(struct store *store, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SMALL_FILE_BYTES_MAX);
    int rc = store_read(store->fd, "format", &text, err);

    if (rc == -ENOENT)
        return store_write(store, store->fd, "format", FORMAT, strlen(FORMAT), "format", err);
    if (rc < 0)
        return rc;
    if (strcmp(text.data ? text.data : "", FORMAT) == 0)
        return 0;
    if (strcmp(text.data ? text.data : "", FORMAT_OLDER) != 0)
        return err_set(err, -EPROTONOSUPPORT, "store: not of format 1 or 2");
    /* Said before there is a pack: older programs would not find what is in it. */
    return store_write(store, store->fd, "format", FORMAT, strlen(FORMAT), "format", err);
}

/* Some file systems (FAT, a few of the network) have none: chunks are files of their own there. */
static int try_links(struct store *store, struct err *err)
{
    int fd = store_open_new(store, "one");

    if (fd < 0)
        return err_set(err, fd, "store: tmp: %s", strerror(-fd));
    close(fd);
    store->no_packs = linkat(store->tmp_fd, "one", store->tmp_fd, "two", 0) < 0;
    unlinkat(store->tmp_fd, "one", 0);
    unlinkat(store->tmp_fd, "two", 0);
    return 0;
}

static int open_all(struct store *store, const char *path, struct err *err)
{
    int rc = dir_make(path, 0700, err);

    if (rc < 0)
        return rc;
    store->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    store->lock_fd = openat(store->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0)
        return err_set(err, -errno, "%s/lock: %s", path, strerror(errno));
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: %s", path,
                       errno == EWOULDBLOCK ? "another process has it open" : strerror(errno));
    rc = open_folders(store, err);
    if (rc == 0)
        rc = empty_tmp(store, err);
    if (rc == 0)
        rc = check_format(store, err);
    if (rc == 0)
        rc = try_links(store, err);
    return rc;
}

int store_open(const char *path, const struct store_params *params, struct store **store_out,
               struct err *err)
{
    CLEANUP(store_closep) struct store *store = calloc(1, sizeof(*store));
    int rc;

    if (!store)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    store->fd = store->chunks_fd = store->manifests_fd = -1;
    store->roots_fd = store->tmp_fd = store->lock_fd = -1;
    store->params = params ? *params : store_params_default();
    store->params.level = MIN(MAX(store->params.level, -7), 19);
    store->frame = buf_init(FRAME_BYTES_MAX);
    store->codec = frame_codec_create(store->params.level);
    store->pending = calloc(STORE_BATCH_CHUNKS, sizeof(*store->pending));
    store->content = malloc(CHUNK_BYTES_MAX);
    store->pending_slots = calloc(2 * STORE_BATCH_CHUNKS, sizeof(*store->pending_slots));
    if (!store->codec || !store->pending || !store->pending_slots || !store->content)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    rc = open_all(store, path, err);
    if (rc < 0)
        return rc;
    *store_out = TAKE(store);
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    closep(&store->chunks_fd);
    closep(&store->manifests_fd);
    closep(&store->roots_fd);
    closep(&store->tmp_fd);
    closep(&store->fd);
    closep(&store->lock_fd);
    frame_codec_destroy(store->codec);
    pool_destroy(store->pool);
    for (uint32_t i = 0; i < POOL_WORKERS_MAX; i++) {
        frame_codec_destroy(store->codecs[i]);
        buf_fini(&store->frames[i]);
        free(store->contents[i]);
    }
    buf_fini(&store->frame);
    free(store->pending);
    free(store->pending_slots);
    free(store->content);
    free(store);
}

void store_closep(struct store **store)
{
    store_close(*store);
}
