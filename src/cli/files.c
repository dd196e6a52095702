#include "cli/files.h"

#include "agent/transfer.h"
#include "base/clock.h"
#include "base/file.h"
#include "net/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CACHE_BYTES_MAX (16LL << 30)
#define TRIES 5
#define AGAIN_MS 500

struct files {
    struct store *store;
    char *temporary; /* a folder to remove; NULL = the cache */
    struct http_easy *easy;
    struct transfer_link link;
    int64_t carried;
};

static char *cache_path(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (cache && cache[0] == '/')
        return path_format("%s/mains/store", cache);
    return home && home[0] == '/' ? path_format("%s/.cache/mains/store", home) : NULL;
}

static int open_store(struct files *files, struct err *err)
{
    CLEANUP(freep) char *path = cache_path();
    CLEANUP(freep) char *below = NULL;
    const char *tmp = getenv("TMPDIR");
    struct store_params params = store_params_default();

    params.sync = false;
    if (path && store_open(path, &params, &files->store, NULL) == 0)
        return 0;
    files->temporary = path_format("%s/mains-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/var/tmp");
    if (!files->temporary || !mkdtemp(files->temporary)) {
        free(TAKE(files->temporary));
        return err_set(err, -errno, "a temporary folder: %s", strerror(errno));
    }
    below = path_format("%s/store", files->temporary);
    return below ? store_open(below, &params, &files->store, err)
                 : err_set(err, -ENOMEM, "out of memory");
}

/* When something is to be kept: what is only sent needs none. */
static int need_store(struct files *files, struct err *err)
{
    return files->store ? 0 : open_store(files, err);
}

int files_open(const struct remote *remote, struct files **files_out, struct err *err)
{
    CLEANUP(files_closep) struct files *files = calloc(1, sizeof(*files));
    const struct transfer_link link = { .url = remote->url,
                                        .bearer = remote->token,
                                        .pin = remote->pin };

    if (!files || !(files->easy = http_easy_create()) ||
        transfer_link_copy(&link, &files->link) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    *files_out = TAKE(files);
    return 0;
}

void files_close(struct files *files)
{
    struct store_gc_params params = { .now_ms = clock_wall_ms(),
                                      .bytes_max = CACHE_BYTES_MAX,
                                      .orphan_ms = 24 * 3600 * 1000LL };
    struct store_gc_result result;

    if (!files)
        return;
    if (files->store && !files->temporary)
        store_gc(files->store, &params, &result, NULL);
    store_close(files->store);
    if (files->temporary)
        dir_remove(files->temporary, NULL);
    free(files->temporary);
    http_easy_destroy(files->easy);
    transfer_link_fini(&files->link);
    free(files);
}

void files_closep(struct files **files)
{
    files_close(*files);
}

int files_store(struct files *files, struct store **store_out, struct err *err)
{
    int rc = need_store(files, err);

    if (rc == 0)
        *store_out = files->store;
    return rc;
}

static bool is_worth_another(int rc)
{
    return rc == -EAGAIN || rc == -ECONNREFUSED || rc == -ETIMEDOUT || rc == -EIO;
}

/* What breaks is taken up again where it broke. */
static int carry(struct files *files, const struct store_id *id, struct scan *scan, struct err *err)
{
    int rc = -EAGAIN;

    for (int i = 0; i < TRIES && is_worth_another(rc); i++) {
        struct transfer transfer =
            scan ? transfer_init_scan(scan, files->easy, &files->link, NULL)
                 : transfer_init(files->store, files->easy, &files->link, NULL, false, id);

        if (i)
            usleep(AGAIN_MS * 1000u << i);
        while ((rc = transfer_step(&transfer, err)) > 0)
            ;
        files->carried += transfer.bytes_carried;
        if (rc < 0 && transfer.bytes_carried > 0)
            i = 0;
        transfer_fini(&transfer);
    }
    return rc;
}

int files_put(struct files *files, const char *path, bool named, struct store_id *id_out,
              int64_t *bytes_out, struct err *err)
{
    CLEANUP(scan_destroyp) struct scan *scan = NULL;
    const struct store_put_how how = { .named = named };
    int rc = scan_create(AT_FDCWD, path, &how, &scan, err);

    if (rc < 0)
        return rc;
    *id_out = scan_id(scan);
    if (bytes_out)
        *bytes_out = scan_content_bytes(scan);
    return carry(files, NULL, scan, err);
}

int files_fetch(struct files *files, const struct store_id *id, struct err *err)
{
    int rc = need_store(files, err);

    return rc < 0 ? rc : carry(files, id, NULL, err);
}

int files_get(struct files *files, const struct store_id *id, const char *path, struct err *err)
{
    int rc = files_fetch(files, id, err);

    return rc < 0 ? rc : store_get(files->store, id, AT_FDCWD, path, err);
}

int64_t files_carried(const struct files *files)
{
    return files->carried;
}
