#include "agent/web.h"

#include "base/clock.h"
#include "base/file.h"
#include "net/http_fetch.h"
#include "store/blake2b.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MS (7 * 24 * 3600 * 1000LL)
#define READ_BYTES (1u << 20)
#define NAME "file"

/* Both are computed by reading once; only the one that is asked for. */
static int digest_file(int fd, bool is_sha, char hex_out[STORE_ID_TEXT_BYTES])
{
    CLEANUP(freep) uint8_t *piece = malloc(READ_BYTES);
    struct sha256_ctx sha;
    struct blake2b blake;
    struct store_id id;
    ssize_t got = 1;

    if (!piece || lseek(fd, 0, SEEK_SET) < 0)
        return -ENOMEM;
    sha256_init(&sha);
    blake2b_init(&blake);
    while (got > 0) {
        got = read(fd, piece, READ_BYTES);
        if (got > 0 && is_sha)
            sha256_update(&sha, (size_t)got, piece);
        else if (got > 0)
            blake2b_update(&blake, piece, (size_t)got);
    }
    if (got < 0)
        return -errno;
    if (is_sha)
        sha256_digest(&sha, sizeof(id.bytes), id.bytes);
    else
        blake2b_final(&blake, id.bytes);
    store_id_format(&id, hex_out);
    return 0;
}

static int check_digest(int fd, const char *url, const char *digest, struct err *err)
{
    char hex[STORE_ID_TEXT_BYTES];
    int rc = digest_file(fd, digest[0] == 's', hex);

    if (rc < 0)
        return err_set(err, rc, "%.150s: %s", url, strerror(-rc));
    if (strcmp(hex, strchr(digest, ':') + 1) != 0)
        return err_set(err, -EPROTO, "%.100s: not what its digest says: %.10s...", url, hex);
    return 0;
}

static bool is_whole(struct store *store, const struct store_id *id)
{
    struct chunk_list missing = { 0 };
    struct manifest manifest;
    bool whole;

    if (store_manifest_read(store, id, &manifest, NULL) < 0)
        return false;
    whole = store_missing(store, &manifest, &missing, NULL) == 0 && missing.count == 0;
    chunk_list_fini(&missing);
    manifest_fini(&manifest);
    return whole;
}

int web_fetch(struct store *store, const char *url, const char *digest, const char *folder,
              int64_t bytes_max, struct store_id *id_out, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/" NAME, folder);
    CLEANUP(closep) int fd = -1;
    char root[STORE_ROOT_NAME_BYTES_MAX + 1] = "";
    int64_t until_ms;
    int rc;

    if (digest) {
        snprintf(root, sizeof(root), "web-%.80s", digest);
        for (char *p = root; *p; p++)
            if (*p == ':')
                *p = '-';
        if (store_root_find(store, root, id_out, &until_ms, NULL) == 0 && is_whole(store, id_out))
            return 0;
    }
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    rc = http_fetch(url, fd, bytes_max, err);
    if (rc == 0 && digest)
        rc = check_digest(fd, url, digest, err);
    if (rc == 0)
        rc = fchmod(fd, 0644) < 0 ? err_set(err, -errno, "%s: %s", path, strerror(errno))
                                  : store_put(store, AT_FDCWD, path, id_out, NULL, err);
    unlink(path);
    if (rc == 0 && root[0])
        rc = store_root_set(store, root, id_out, clock_wall_ms() + KEPT_MS, err);
    return rc;
}
