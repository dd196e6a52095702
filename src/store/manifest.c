#include "store/manifest.h"

#include "store/blake2b.h"
#include "store/chunker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_BYTES_MAX (4LL << 40)

struct manifest_limits manifest_limits_default(void)
{
    return (struct manifest_limits){
        .entries_max = MANIFEST_ENTRIES_MAX,
        .chunks_max = MANIFEST_CHUNKS_MAX,
        .content_bytes_max = CONTENT_BYTES_MAX,
    };
}

struct manifest manifest_init(const struct manifest_limits *limits)
{
    struct manifest manifest = { .limits = manifest_limits_default() };

    if (limits) {
        struct manifest_limits *own = &manifest.limits;

        own->entries_max = MIN(limits->entries_max, own->entries_max);
        own->chunks_max = MIN(limits->chunks_max, own->chunks_max);
        own->content_bytes_max = MIN(limits->content_bytes_max, own->content_bytes_max);
    }
    manifest.text = arena_init(MANIFEST_BYTES_MAX);
    return manifest;
}

void manifest_fini(struct manifest *manifest)
{
    free(manifest->entries);
    free(manifest->chunks);
    arena_fini(&manifest->text);
    *manifest = (struct manifest){ .entries = NULL };
}

int manifest_path_compare(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    /* No byte of a path is below 0x20. */
    return (*a == '/' ? 1 : (unsigned char)*a) - (*b == '/' ? 1 : (unsigned char)*b);
}

/* Why a path's text is refused; NULL when it is fine. `depth_out`: its parts less one. With
 * `up_max` >= 0, that many ".." may stand in front. */
static const char *path_fault(const char *path, int up_max, int *depth_out)
{
    const char *part = path;
    size_t len = strlen(path);
    int parts = 0;
    int ups = 0;

    if (len == 0 || len > MANIFEST_PATH_BYTES_MAX)
        return len ? "too long" : "empty";
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "control bytes in it";
    while (part) {
        size_t part_len = strcspn(part, "/");

        if (part_len == 0)
            return part == path ? "not relative" : "an empty part";
        if (part_len > MANIFEST_NAME_BYTES_MAX)
            return "a name too long";
        if (part_len == 1 && part[0] == '.')
            return "\".\" in it";
        if (part_len == 2 && part[0] == '.' && part[1] == '.') {
            if (parts != ups || ++ups > up_max)
                return "\"..\" leads out of its tree";
        }
        if (++parts > (int)MANIFEST_DEPTH_MAX)
            return "too deep";
        part = part[part_len] ? part + part_len + 1 : NULL;
    }
    *depth_out = parts - 1;
    return NULL;
}

static int compare_entry(const void *key, const void *entry)
{
    return manifest_path_compare(key, ((const struct manifest_entry *)entry)->path);
}

static bool has_parent(const struct manifest *manifest, const char *path)
{
    const char *slash = strrchr(path, '/');
    char parent[MANIFEST_PATH_BYTES_MAX + 1];
    const struct manifest_entry *entry;

    if (!slash)
        return true;
    if (manifest->entries_count == 0)
        return false;
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    entry =
        bsearch(parent, manifest->entries, manifest->entries_count, sizeof(*entry), compare_entry);
    return entry && entry->kind == MANIFEST_DIR;
}

static int grow(void **array, uint32_t *room, size_t size)
{
    uint32_t more = *room ? *room * 2 : 16; /* room stays below twice the ceilings */
    void *grown = reallocarray(*array, more, size);

    if (!grown)
        return -ENOMEM;
    *array = grown;
    *room = more;
    return 0;
}

static int add_entry(struct manifest *manifest, const struct manifest_entry *like, struct err *err)
{
    struct manifest_entry entry = *like;
    const char *fault;
    int depth;

    if (manifest->entries_count >= manifest->limits.entries_max)
        return err_set(err, -EFBIG, "more than %" PRIu32 " entries", manifest->limits.entries_max);
    fault = path_fault(entry.path, -1, &depth);
    if (fault)
        return err_set(err, -EINVAL, "path \"%s\": %s", entry.path, fault);
    if (entry.mode > 0777)
        return err_set(err, -EINVAL, "%s: mode %o has more than permissions", entry.path,
                       (unsigned)entry.mode);
    if (manifest->entries_count &&
        manifest_path_compare(manifest->entries[manifest->entries_count - 1].path, entry.path) >= 0)
        return err_set(err, -EINVAL, "%s: out of order, or there twice", entry.path);
    if (!has_parent(manifest, entry.path))
        return err_set(err, -EINVAL, "%s: its folder is not an entry", entry.path);
    if (entry.target) {
        int unused;

        fault = path_fault(entry.target, depth, &unused);
        if (fault)
            return err_set(err, -EINVAL, "link %s to \"%s\": %s", entry.path, entry.target, fault);
    }
    if (manifest->entries_count == manifest->entries_room &&
        grow((void **)&manifest->entries, &manifest->entries_room, sizeof(entry)) < 0)
        return err_set(err, -ENOMEM, "%s: out of memory", entry.path);
    entry.path = arena_strdup(&manifest->text, entry.path);
    if (entry.target)
        entry.target = arena_strdup(&manifest->text, entry.target);
    if (!entry.path || (like->target && !entry.target))
        return err_set(err, -ENOMEM, "%s: out of memory", like->path);
    manifest->entries[manifest->entries_count++] = entry;
    return 0;
}

int manifest_add_dir(struct manifest *manifest, const char *path, uint32_t mode, struct err *err)
{
    const struct manifest_entry entry = { .kind = MANIFEST_DIR, .mode = mode, .path = path };

    return add_entry(manifest, &entry, err);
}

int manifest_add_link(struct manifest *manifest, const char *path, const char *target,
                      struct err *err)
{
    const struct manifest_entry entry = { .kind = MANIFEST_LINK, .path = path, .target = target };

    return add_entry(manifest, &entry, err);
}

int manifest_add_file(struct manifest *manifest, const char *path, uint32_t mode, struct err *err)
{
    const struct manifest_entry entry = {
        .kind = MANIFEST_FILE,
        .mode = mode,
        .chunk_first = manifest->chunks_count,
        .path = path,
    };

    return add_entry(manifest, &entry, err);
}

int manifest_add_chunk(struct manifest *manifest, const struct chunk_ref *chunk, struct err *err)
{
    struct manifest_entry *entry =
        manifest->entries_count ? &manifest->entries[manifest->entries_count - 1] : NULL;

    if (!entry || entry->kind != MANIFEST_FILE)
        return err_set(err, -EINVAL, "a chunk that belongs to no file");
    if (chunk->bytes == 0 || chunk->bytes > CHUNK_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: a chunk of %" PRIu32 " bytes", entry->path, chunk->bytes);
    if (entry->chunks_count && manifest->chunks[manifest->chunks_count - 1].bytes < CHUNK_BYTES_MIN)
        return err_set(err, -EINVAL, "%s: a short chunk that is not the last", entry->path);
    if (manifest->chunks_count >= manifest->limits.chunks_max)
        return err_set(err, -EFBIG, "more than %" PRIu32 " chunks", manifest->limits.chunks_max);
    if (manifest->content_bytes + chunk->bytes > manifest->limits.content_bytes_max)
        return err_set(err, -EFBIG, "more than %" PRId64 " bytes of content",
                       manifest->limits.content_bytes_max);
    if (manifest->chunks_count == manifest->chunks_room &&
        grow((void **)&manifest->chunks, &manifest->chunks_room, sizeof(*chunk)) < 0)
        return err_set(err, -ENOMEM, "%s: out of memory", entry->path);
    manifest->chunks[manifest->chunks_count++] = *chunk;
    manifest->content_bytes += chunk->bytes;
    entry->bytes += chunk->bytes;
    entry->chunks_count++;
    return 0;
}

const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path)
{
    uint32_t low = 0, high = manifest->entries_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = manifest_path_compare(manifest->entries[middle].path, path);

        if (order == 0)
            return &manifest->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct store_id manifest_digest(const struct manifest *manifest, const struct manifest_entry *entry)
{
    const struct chunk_ref *chunks = manifest->chunks + entry->chunk_first;
    struct blake2b hash;
    struct store_id id;

    if (entry->chunks_count == 0)
        return store_id_of("", 0);
    if (entry->chunks_count == 1)
        return chunks[0].id;
    blake2b_init(&hash);
    for (uint32_t i = 0; i < entry->chunks_count; i++)
        blake2b_update(&hash, chunks[i].id.bytes, STORE_ID_BYTES);
    blake2b_final(&hash, id.bytes);
    return id;
}
