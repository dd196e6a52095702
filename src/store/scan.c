#include "store/scan.h"

#include "base/file.h"
#include "store/blake2b_many.h"
#include "store/chunker.h"
#include "store/tree_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMED_AT_ONCE_MAX 32u /* of one worker */
#define LEVEL 1               /* zstd's, as stores have it */

struct seen { /* a file, as it was when it was read */
    uint32_t entry;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

struct place { /* where a chunk lies */
    struct store_id id;
    uint32_t bytes;
    uint32_t file;
    int64_t offset;
};

struct scan {
    int at_fd;
    char *path;
    bool named, is_folder;
    struct manifest manifest;
    struct store_id id;
    struct buf text;
    struct seen *files; /* the entries that are files */
    uint32_t files_count, files_room;
    struct place *places; /* by id */
    struct frame_codec *codec;
    uint8_t *content;
    /* While it is made. */
    struct pool *pool;
    /* The file that was read last. */
    uint32_t open_file;
    int open_fd;
};

/* --- to name it ------------------------------------------------------------------------------- */

struct naming {
    struct store_piece *pieces;
    uint32_t count, each;
};

static void name_some(void *context, uint32_t worker, uint32_t index)
{
    const struct naming *naming = context;
    struct blake2b_piece names[NAMED_AT_ONCE_MAX];
    uint32_t first = index * naming->each;
    uint32_t count = MIN(naming->each, naming->count - first);

    (void)worker;
    for (uint32_t i = 0; i < count; i++)
        names[i] = (struct blake2b_piece){ .data = naming->pieces[first + i].content,
                                           .len = naming->pieces[first + i].len };
    blake2b_many(names, count);
    for (uint32_t i = 0; i < count; i++) {
        struct store_piece *piece = &naming->pieces[first + i];

        memcpy(piece->chunk.id.bytes, names[i].digest, STORE_ID_BYTES);
        piece->chunk.bytes = (uint32_t)piece->len;
    }
}

static int take(void *context, struct store_piece *pieces, uint32_t count, struct err *err)
{
    const struct scan *scan = context;
    uint32_t workers = pool_workers(scan->pool);
    struct naming naming = { pieces, count,
                             MIN(MAX((count + workers - 1) / workers, 1), NAMED_AT_ONCE_MAX) };

    (void)err;
    pool_run(scan->pool, (count + naming.each - 1) / naming.each, name_some, &naming);
    return 0;
}

static int note_file(void *context, const struct stat *st, struct err *err)
{
    struct scan *scan = context;

    if (scan->files_count == scan->files_room) {
        uint32_t room = scan->files_room ? scan->files_room * 2 : 16;
        struct seen *more = reallocarray(scan->files, room, sizeof(*more));

        if (!more)
            return err_set(err, -ENOMEM, "out of memory");
        scan->files = more;
        scan->files_room = room;
    }
    scan->files[scan->files_count++] = (struct seen){ .entry = scan->manifest.entries_count - 1,
                                                      .dev = st->st_dev,
                                                      .ino = st->st_ino,
                                                      .size = st->st_size,
                                                      .mtime = st->st_mtim };
    return 0;
}

static int note_places(struct scan *scan, struct err *err)
{
    const struct manifest *manifest = &scan->manifest;
    uint32_t count = 0;

    scan->places = calloc(manifest->chunks_count + 1u, sizeof(*scan->places));
    if (!scan->places)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < scan->files_count; i++) {
        const struct manifest_entry *entry = &manifest->entries[scan->files[i].entry];
        int64_t offset = 0;

        for (uint32_t k = 0; k < entry->chunks_count; k++) {
            const struct chunk_ref *chunk = &manifest->chunks[entry->chunk_first + k];

            scan->places[count++] = (struct place){
                .id = chunk->id, .bytes = chunk->bytes, .file = i, .offset = offset
            };
            offset += chunk->bytes;
        }
    }
    qsort(scan->places, count, sizeof(*scan->places), store_id_compare);
    return 0;
}

static int name_it(struct scan *scan, const struct store_put_how *how, struct err *err)
{
    const struct tree_walk walk = { .put = how, .take = take, .file = note_file, .context = scan };
    struct stat st;
    int rc = tree_walk_run(&walk, scan->at_fd, scan->path, &scan->manifest, err);

    if (rc < 0)
        return rc;
    if (fstatat(scan->at_fd, scan->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, -errno, "%s: %s", scan->path, strerror(errno));
    scan->is_folder = S_ISDIR(st.st_mode);
    rc = manifest_print(&scan->manifest, &scan->text);
    if (rc < 0)
        return err_set(err, rc, "%s: %s", scan->path, strerror(-rc));
    scan->id = store_id_of(scan->text.data, scan->text.len);
    return note_places(scan, err);
}

int scan_create(int at_fd, const char *path, const struct store_put_how *how,
                struct scan **scan_out, struct err *err)
{
    CLEANUP(scan_destroyp) struct scan *scan = calloc(1, sizeof(*scan));
    int rc;

    if (!scan)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    scan->at_fd = at_fd;
    scan->named = how->named;
    scan->open_fd = -1;
    scan->manifest = manifest_init(NULL);
    scan->text = buf_init(MANIFEST_BYTES_MAX);
    scan->path = strdup(path);
    scan->codec = frame_codec_create(LEVEL);
    scan->content = malloc(CHUNK_BYTES_MAX);
    scan->pool = pool_create();
    if (!scan->path || !scan->codec || !scan->content || !scan->pool)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    rc = name_it(scan, how, err);
    pool_destroy(TAKE(scan->pool));
    if (rc == 0)
        *scan_out = TAKE(scan);
    return rc;
}

void scan_destroy(struct scan *scan)
{
    if (!scan)
        return;
    closep(&scan->open_fd);
    pool_destroy(scan->pool);
    frame_codec_destroy(scan->codec);
    manifest_fini(&scan->manifest);
    buf_fini(&scan->text);
    free(scan->content);
    free(scan->places);
    free(scan->files);
    free(scan->path);
    free(scan);
}

void scan_destroyp(struct scan **scan)
{
    scan_destroy(*scan);
}

struct store_id scan_id(const struct scan *scan)
{
    return scan->id;
}

int64_t scan_content_bytes(const struct scan *scan)
{
    return scan->manifest.content_bytes;
}

const struct buf *scan_manifest(const struct scan *scan)
{
    return &scan->text;
}

/* --- to send it ------------------------------------------------------------------------------- */

static char *path_of(const struct scan *scan, const char *entry)
{
    if (!scan->is_folder)
        return strdup(scan->path);
    if (scan->named)
        entry = strchr(entry, '/') + 1;
    return path_format("%s/%s", scan->path, entry);
}

static bool is_as_seen(const struct seen *seen, int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == seen->dev && st.st_ino == seen->ino &&
           st.st_size == seen->size && st.st_mtim.tv_sec == seen->mtime.tv_sec &&
           st.st_mtim.tv_nsec == seen->mtime.tv_nsec;
}

static int changed(const struct scan *scan, uint32_t file, struct err *err)
{
    return err_set(err, -ESTALE, "%s: changed while it was sent",
                   scan->manifest.entries[scan->files[file].entry].path);
}

static int open_file(struct scan *scan, uint32_t file, struct err *err)
{
    const struct seen *seen = &scan->files[file];
    CLEANUP(freep) char *path = NULL;

    if (scan->open_fd >= 0 && scan->open_file == file)
        return 0;
    closep(&scan->open_fd);
    path = path_of(scan, scan->manifest.entries[seen->entry].path);
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    scan->open_fd = openat(scan->at_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    scan->open_file = file;
    return scan->open_fd < 0 ? changed(scan, file, err) : 0;
}

static int read_place(const struct scan *scan, const struct place *place, void *out)
{
    size_t done = 0;

    while (done < place->bytes) {
        ssize_t got = pread(scan->open_fd, (char *)out + done, place->bytes - done,
                            place->offset + (int64_t)done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ESTALE;
        done += (size_t)got;
    }
    return is_as_seen(&scan->files[place->file], scan->open_fd) ? 0 : -ESTALE;
}

int scan_add(struct scan *scan, const struct store_id *id, struct buf *out, struct err *err)
{
    const struct place *place = bsearch(id, scan->places, scan->manifest.chunks_count,
                                        sizeof(*scan->places), store_id_compare);
    size_t before = out->len;
    void *body;
    int rc;

    if (!place)
        return err_set(err, -ENOENT, "a chunk is asked for that is not of this tree");
    rc = open_file(scan, place->file, err);
    if (rc < 0)
        return rc;
    rc = buf_add(out, id->bytes, STORE_ID_BYTES);
    if (rc == 0 && frame_is_worth_packing(scan->codec)) {
        rc = read_place(scan, place, scan->content);
        if (rc == 0)
            rc = frame_encode(scan->codec, scan->content, place->bytes, out);
    } else if (rc == 0) {
        rc = frame_begin_plain(place->bytes, out, &body);
        if (rc == 0)
            rc = read_place(scan, place, body);
    }
    if (rc == 0)
        return 0;
    out->len = before;
    return rc == -ESTALE ? changed(scan, place->file, err)
                         : err_set(err, rc, "%s: %s", scan->path, strerror(-rc));
}
