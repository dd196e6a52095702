#include "base/file.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void chunk_list_fini(struct chunk_list *list)
{
    free(list->chunks);
    *list = (struct chunk_list){ .chunks = NULL };
}

int chunk_list_add(struct chunk_list *list, const struct chunk_ref *chunk)
{
    if (list->count == list->room) {
        uint32_t room;
        struct chunk_ref *more;

        if (list->room > UINT32_MAX / 2)
            return -EFBIG;
        room = list->room ? list->room * 2 : 64;
        more = reallocarray(list->chunks, room, sizeof(*more));
        if (!more)
            return -ENOMEM;
        list->chunks = more;
        list->room = room;
    }
    list->chunks[list->count++] = *chunk;
    list->bytes += chunk->bytes;
    return 0;
}

struct use {
    struct store_id id;
    uint32_t index;
};

static int compare_use(const void *a, const void *b)
{
    const struct use *x = a;
    const struct use *y = b;
    int order = store_id_compare(&x->id, &y->id);

    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int compare_index(const void *a, const void *b)
{
    uint32_t x = ((const struct use *)a)->index;
    uint32_t y = ((const struct use *)b)->index;

    return (x > y) - (x < y);
}

/* Each chunk once, where it is first used: sorting bounds the work, whatever ids a stranger's
 * manifest names. */
static int unique_uses(const struct manifest *manifest, struct use **uses_out, uint32_t *count_out)
{
    struct use *uses = calloc(manifest->chunks_count + 1u, sizeof(*uses));
    uint32_t count = 0;

    if (!uses)
        return -ENOMEM;
    for (uint32_t i = 0; i < manifest->chunks_count; i++)
        uses[i] = (struct use){ .id = manifest->chunks[i].id, .index = i };
    qsort(uses, manifest->chunks_count, sizeof(*uses), compare_use);
    for (uint32_t i = 0; i < manifest->chunks_count; i++)
        if (count == 0 || !store_id_is_equal(&uses[count - 1].id, &uses[i].id))
            uses[count++] = uses[i];
    qsort(uses, count, sizeof(*uses), compare_index);
    *uses_out = uses;
    *count_out = count;
    return 0;
}

int store_missing(struct store *store, const struct manifest *manifest, struct chunk_list *list_out,
                  struct err *err)
{
    CLEANUP(freep) struct use *uses = NULL;
    struct chunk_list list = { .count = 0 };
    uint32_t count = 0;
    int rc = unique_uses(manifest, &uses, &count);

    for (uint32_t i = 0; rc == 0 && i < count; i++)
        if (!store_has_chunk(store, &uses[i].id))
            rc = chunk_list_add(&list, &manifest->chunks[uses[i].index]);
    if (rc < 0) {
        chunk_list_fini(&list);
        return err_set(err, rc, "store: list of missing chunks: %s", strerror(-rc));
    }
    *list_out = list;
    return 0;
}

/* Missing and damaged are found and listed; any other error ends the check. */
static int check_chunk(struct store *store, const struct chunk_ref *chunk, struct chunk_list *bad,
                       struct err *err)
{
    uint32_t bytes;
    int rc = store_chunk_load(store, chunk, &bytes, err);

    if (rc != -ENOENT && rc != -EBADMSG)
        return rc;
    rc = chunk_list_add(bad, chunk);
    return rc < 0 ? err_set(err, rc, "store: list of bad chunks: %s", strerror(-rc)) : 0;
}

static int verify_manifest(struct store *store, const struct store_id *id, struct chunk_list *bad,
                           struct err *err)
{
    CLEANUP(freep) struct use *uses = NULL;
    struct manifest manifest;
    uint32_t count = 0;
    int rc = store_manifest_read(store, id, &manifest, err);

    if (rc < 0)
        return rc;
    rc = unique_uses(&manifest, &uses, &count);
    if (rc < 0)
        err_set(err, rc, "store: out of memory");
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = check_chunk(store, &manifest.chunks[uses[i].index], bad, err);
    manifest_fini(&manifest);
    return rc;
}

static int verify_folder(struct store *store, unsigned number, struct chunk_list *bad,
                         struct err *err)
{
    CLEANUP(closep) int fd = -1;
    char name[3] = { "0123456789abcdef"[number >> 4], "0123456789abcdef"[number & 15], '\0' };
    struct dirent *entry;
    int rc = 0;
    DIR *dir;

    fd = openat(store->chunks_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 0;
    dir = fd < 0 ? NULL : store_list(fd);
    if (!dir)
        return err_set(err, -errno, "store: chunks/%s: %s", name, strerror(errno));
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct chunk_ref chunk = { .bytes = 0 };

        if (strlen(entry->d_name) == STORE_ID_CHARS &&
            store_id_parse(entry->d_name, STORE_ID_CHARS, &chunk.id))
            rc = check_chunk(store, &chunk, bad, err);
    }
    closedir(dir);
    return rc;
}

static int verify_all(struct store *store, struct chunk_list *bad, struct err *err)
{
    DIR *dir = store_list(store->manifests_fd);
    struct dirent *entry;
    struct store_id id;
    int rc = 0;

    if (!dir)
        return err_set(err, -errno, "store: manifests: %s", strerror(errno));
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        CLEANUP(buf_fini) struct buf text = buf_init(MANIFEST_BYTES_MAX);

        if (strlen(entry->d_name) != STORE_ID_CHARS ||
            !store_id_parse(entry->d_name, STORE_ID_CHARS, &id))
            continue;
        rc = store_manifest_export(store, &id, &text, err);
    }
    closedir(dir);
    for (unsigned i = 0; rc == 0 && i < 256; i++)
        rc = verify_folder(store, i, bad, err);
    return rc;
}

int store_verify(struct store *store, const struct store_id *id, struct chunk_list *bad_out,
                 struct err *err)
{
    struct chunk_list bad = { .count = 0 };
    int rc = id ? verify_manifest(store, id, &bad, err) : verify_all(store, &bad, err);

    if (rc < 0) {
        chunk_list_fini(&bad);
        return rc;
    }
    *bad_out = bad;
    return 0;
}
