#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_FILE_BYTES_MAX 256u

int store_manifest_export(struct store *store, const struct store_id *id, struct buf *text_out,
                          struct err *err)
{
    char name[STORE_ID_TEXT_BYTES];
    size_t before = text_out->len;
    struct store_id found;
    int rc;

    store_id_format(id, name);
    rc = store_read(store->manifests_fd, name, text_out, err);
    if (rc == -ENOENT)
        return err_set(err, rc, "manifest %s: not here", name);
    if (rc < 0)
        return rc;
    found = store_id_of(text_out->data ? text_out->data + before : "", text_out->len - before);
    if (!store_id_is_equal(&found, id)) {
        text_out->len = before;
        unlinkat(store->manifests_fd, name, 0);
        return err_set(err, -EBADMSG, "manifest %s: damaged, removed", name);
    }
    utimensat(store->manifests_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    return 0;
}

int store_manifest_read(struct store *store, const struct store_id *id,
                        struct manifest *manifest_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(MANIFEST_BYTES_MAX);
    int rc = store_manifest_export(store, id, &text, err);

    if (rc < 0)
        return rc;
    return manifest_parse(text.data, text.len, &store->params.limits, manifest_out, err);
}

static int keep_text(struct store *store, const void *text, size_t len, struct store_id *id_out,
                     struct err *err)
{
    struct store_id id = store_id_of(text, len);
    char name[STORE_ID_TEXT_BYTES];
    int rc = store_flush(store, err);

    if (rc < 0)
        return rc;
    store_id_format(&id, name);
    /* Written again even when it is here: that makes it new, and whole. */
    rc = store_write(store, store->manifests_fd, name, text, len, "manifest", err);
    if (rc == 0)
        *id_out = id;
    return rc;
}

int store_manifest_keep(struct store *store, const struct manifest *manifest,
                        struct store_id *id_out, int64_t *bytes_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(MANIFEST_BYTES_MAX);
    int rc = manifest_print(manifest, &text);

    if (rc < 0)
        return err_set(err, rc, "store: manifest: %s", strerror(-rc));
    rc = keep_text(store, text.data, text.len, id_out, err);
    if (rc == 0)
        *bytes_out = (int64_t)text.len;
    return rc;
}

int store_manifest_import(struct store *store, const void *text, size_t len,
                          struct store_id *id_out, struct err *err)
{
    struct manifest manifest;
    int rc = manifest_parse(text, len, &store->params.limits, &manifest, err);

    if (rc < 0)
        return rc;
    manifest_fini(&manifest);
    return keep_text(store, text, len, id_out, err);
}

static int check_root_name(const char *name, struct err *err)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);

    if (len == 0 || len > STORE_ROOT_NAME_BYTES_MAX || name[0] == '.' ||
        strspn(name, letters) != len)
        return err_set(err, -EINVAL, "\"%s\" is not a name for a root", name);
    return 0;
}

int store_root_set(struct store *store, const char *name, const struct store_id *id,
                   int64_t until_ms, struct err *err)
{
    char text[ROOT_FILE_BYTES_MAX];
    char id_text[STORE_ID_TEXT_BYTES];
    int rc = check_root_name(name, err);

    if (rc < 0)
        return rc;
    if (until_ms < 0)
        return err_set(err, -EINVAL, "root %s: until %" PRId64, name, until_ms);
    store_id_format(id, id_text);
    if (faccessat(store->manifests_fd, id_text, F_OK, 0) < 0)
        return err_set(err, -ENOENT, "root %s: no manifest %s", name, id_text);
    snprintf(text, sizeof(text), "%s %" PRId64 "\n", id_text, until_ms);
    return store_write(store, store->roots_fd, name, text, strlen(text), "root", err);
}

int store_root_parse(const char *text, size_t len, struct store_id *id_out, int64_t *until_ms_out)
{
    struct store_id id;
    int64_t until = 0;
    size_t i = STORE_ID_CHARS + 1;

    if (!store_id_parse(text, len, &id) || len < i + 2 || text[STORE_ID_CHARS] != ' ' ||
        text[len - 1] != '\n')
        return -EBADMSG;
    for (; i < len - 1; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(until, 10, &until) ||
            __builtin_add_overflow(until, text[i] - '0', &until))
            return -EBADMSG;
    }
    *id_out = id;
    *until_ms_out = until;
    return 0;
}

int store_root_find(struct store *store, const char *name, struct store_id *id_out,
                    int64_t *until_ms_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(ROOT_FILE_BYTES_MAX);
    int rc = check_root_name(name, err);

    if (rc < 0)
        return rc;
    rc = store_read(store->roots_fd, name, &text, err);
    if (rc == -ENOENT)
        return err_set(err, rc, "no root named %s", name);
    if (rc < 0)
        return rc;
    rc = store_root_parse(text.data, text.len, id_out, until_ms_out);
    return rc < 0 ? err_set(err, rc, "root %s: damaged", name) : 0;
}

int store_root_remove(struct store *store, const char *name, struct err *err)
{
    int rc = check_root_name(name, err);

    if (rc < 0)
        return rc;
    if (unlinkat(store->roots_fd, name, 0) < 0)
        return err_set(err, -errno, "root %s: %s", name, strerror(errno));
    return store_sync_folder(store, store->roots_fd, err);
}
