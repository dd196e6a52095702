#include "base/file.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of one chunk, as most small files are: not worth waking the pool. */
static int get_chunk(struct store *store, const struct chunk_ref *chunk, int fd, struct err *err)
{
    uint32_t bytes;
    int rc = store_chunk_load(store, chunk, &bytes, err);

    if (rc < 0)
        return rc;
    rc = file_write_all(fd, (const char *)store->content, bytes);
    return rc < 0 ? err_set(err, rc, "%s", strerror(-rc)) : 0;
}

static int get_file(struct store *store, const struct manifest *manifest,
                    const struct manifest_entry *entry, int root_fd, struct err *err)
{
    CLEANUP(closep)
    int fd =
        openat(root_fd, entry->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    const struct chunk_ref *chunks =
        entry->chunks_count ? &manifest->chunks[entry->chunk_first] : NULL;
    int rc = 0;

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", entry->path, strerror(errno));
    if (entry->chunks_count == 1)
        rc = get_chunk(store, chunks, fd, err);
    else if (chunks)
        rc = store_chunk_lay_many(store, chunks, entry->chunks_count, fd, 0, err);
    if (rc < 0)
        return err_prefix(err, rc, "%s", entry->path);
    if (fchmod(fd, entry->mode) < 0)
        return err_set(err, -errno, "%s: %s", entry->path, strerror(errno));
    return 0;
}

/* Folders and files first, then links, then the folders' modes from the deepest up: at no time is
 * anything made through a link, or in a folder that may not be written. */
static int get_entries(struct store *store, const struct manifest *manifest, int root_fd,
                       struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < manifest->entries_count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];

        if (entry->kind == MANIFEST_FILE)
            rc = get_file(store, manifest, entry, root_fd, err);
        else if (entry->kind == MANIFEST_DIR && mkdirat(root_fd, entry->path, 0700) < 0)
            rc = err_set(err, -errno, "%s: %s", entry->path, strerror(errno));
    }
    for (uint32_t i = 0; rc == 0 && i < manifest->entries_count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];

        if (entry->kind == MANIFEST_LINK && symlinkat(entry->target, root_fd, entry->path) < 0)
            rc = err_set(err, -errno, "%s: %s", entry->path, strerror(errno));
    }
    for (uint32_t i = manifest->entries_count; rc == 0 && i-- > 0;) {
        const struct manifest_entry *entry = &manifest->entries[i];

        if (entry->kind == MANIFEST_DIR && fchmodat(root_fd, entry->path, entry->mode, 0) < 0)
            rc = err_set(err, -errno, "%s: %s", entry->path, strerror(errno));
    }
    return rc;
}

static int get_tree(struct store *store, const struct manifest *manifest, int at_fd,
                    const char *part, const char *path, struct err *err)
{
    CLEANUP(closep) int root_fd = -1;
    int rc;

    if (mkdirat(at_fd, part, 0700) < 0)
        return err_set(err, -errno, "%s: %s", part, strerror(errno));
    root_fd = openat(at_fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (root_fd < 0)
        return err_set(err, -errno, "%s: %s", part, strerror(errno));
    rc = get_entries(store, manifest, root_fd, err);
    if (rc < 0)
        return rc;
    if (store->params.sync && syncfs(root_fd) < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (renameat2(at_fd, part, at_fd, path, RENAME_NOREPLACE) < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

/* dir_remove takes a path: what hangs below a descriptor is reached through /proc. */
static void remove_part(int at_fd, const char *part)
{
    CLEANUP(freep)
    char *path = at_fd == AT_FDCWD || part[0] == '/'
                     ? path_format("%s", part)
                     : path_format("/proc/self/fd/%d/%s", at_fd, part);

    if (path)
        dir_remove(path, NULL);
}

int store_get(struct store *store, const struct store_id *id, int at_fd, const char *path,
              struct err *err)
{
    CLEANUP(freep) char *part = path_format("%s" STORE_FILE_SUFFIX_PART, path);
    struct manifest manifest;
    struct stat st;
    int rc;

    if (!part)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    if (fstatat(at_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return err_set(err, -EEXIST, "%s: already there", path);
    rc = store_flush(store, err);
    if (rc == 0)
        rc = store_manifest_read(store, id, &manifest, err);
    if (rc < 0)
        return rc;
    remove_part(at_fd, part); /* of a get that was cut short */
    rc = get_tree(store, &manifest, at_fd, part, path, err);
    if (rc < 0)
        remove_part(at_fd, part);
    manifest_fini(&manifest);
    return rc;
}
