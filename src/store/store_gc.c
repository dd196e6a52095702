/* What may go is found by sorting, not by a table of ids: ids come from strangers' manifests, and
 * no choice of them makes sorting slow. */
#include "store/pack.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_FILE_BYTES_MAX 256u
#define REWRITE_BYTES (64LL << 20)       /* synced at once */
#define GARBAGE_BYTES_LEAST (64LL << 10) /* of a pack: less is not worth the writing */
#define RANK_HELD 0u                     /* rank n: the n-th newest manifest that no root holds */

struct tree {
    struct store_id id;
    int64_t used_ns;
    int64_t bytes; /* of chunks that no tree of a lower rank has */
    uint32_t rank;
};

struct mark { /* "the tree of this rank uses this chunk" */
    struct store_id id;
    uint32_t rank;
};

struct kept { /* a chunk on disk */
    struct store_id id;
    ino_t file; /* the pack that it shares with others; or its own */
    int64_t made_ms;
    uint32_t bytes; /* what it takes of its file */
    uint32_t file_bytes;
    bool is_shared, is_gone;
};

struct gc {
    struct store *store;
    const struct store_gc_params *params;
    struct store_gc_result result;
    struct store_id *held; /* by roots */
    struct tree *trees;
    struct mark *marks;
    struct kept *chunks;
    size_t held_count, held_room;
    size_t trees_count, trees_room;
    size_t marks_count, marks_room;
    size_t chunks_count, chunks_room;
    uint32_t cut; /* ranks above it go */
    int64_t before_bytes;
    struct err *err;
};

static int out_of_memory(struct gc *gc)
{
    return err_set(gc->err, -ENOMEM, "store: gc: out of memory");
}

/* The array with room for one more at its end; NULL when memory is short, and it is as it was. */
static void *make_room(void *array, size_t count, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 64;
    void *grown;

    if (array && count < *room)
        return array;
    grown = reallocarray(array, more, size);
    if (grown)
        *room = more;
    return grown;
}

/* Call `each` for every name in a folder that does not begin with a dot. */
static int for_each_name(struct gc *gc, int dir_fd,
                         int (*each)(struct gc *gc, int dir_fd, const char *name))
{
    DIR *dir = store_list(dir_fd);
    struct dirent *entry;
    int rc = 0;

    if (!dir)
        return err_set(gc->err, -errno, "store: gc: %s", strerror(errno));
    while (rc == 0 && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            rc = each(gc, dir_fd, entry->d_name);
    closedir(dir);
    return rc;
}

static int find_root(struct gc *gc, int dir_fd, const char *name)
{
    CLEANUP(buf_fini) struct buf text = buf_init(ROOT_FILE_BYTES_MAX);
    struct store_id id, *held;
    int64_t until_ms = 0;
    int rc = store_read(dir_fd, name, &text, gc->err);

    /* What a root that cannot be read holds is not known: nothing is thrown away then. */
    if (rc == 0)
        rc = store_root_parse(text.data, text.len, &id, &until_ms);
    if (rc < 0)
        return err_set(gc->err, rc, "store: gc: root %s cannot be read: nothing was removed", name);
    if (until_ms && until_ms < gc->params->now_ms) {
        rc = store_step(gc->store, "gc root", gc->err);
        if (rc < 0)
            return rc;
        unlinkat(dir_fd, name, 0);
        gc->result.ended_roots_count++;
        return 0;
    }
    held = make_room(gc->held, gc->held_count, &gc->held_room, sizeof(id));
    if (!held)
        return out_of_memory(gc);
    gc->held = held;
    gc->held[gc->held_count++] = id;
    return 0;
}

static int find_tree(struct gc *gc, int dir_fd, const char *name)
{
    struct tree tree = { .rank = 1 }, *trees;
    struct stat st;

    if (strlen(name) != STORE_ID_CHARS || !store_id_parse(name, STORE_ID_CHARS, &tree.id) ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (gc->held_count &&
        bsearch(&tree.id, gc->held, gc->held_count, sizeof(tree.id), store_id_compare))
        tree.rank = RANK_HELD;
    tree.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    trees = make_room(gc->trees, gc->trees_count, &gc->trees_room, sizeof(tree));
    if (!trees)
        return out_of_memory(gc);
    gc->trees = trees;
    gc->trees[gc->trees_count++] = tree;
    return 0;
}

static int find_chunk(struct gc *gc, int dir_fd, const char *name)
{
    struct kept kept = { .bytes = 0 }, *chunks;
    struct stat st;

    if (strlen(name) != STORE_ID_CHARS || !store_id_parse(name, STORE_ID_CHARS, &kept.id) ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    kept.bytes = kept.file_bytes = (uint32_t)MIN(st.st_size, UINT32_MAX);
    kept.file = st.st_ino;
    /* A pack that one chunk is left of, and that is as small as a chunk, may pass for one. */
    kept.is_shared = st.st_nlink > 1 || st.st_size > FRAME_BYTES_MAX;
    kept.made_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    chunks = make_room(gc->chunks, gc->chunks_count, &gc->chunks_room, sizeof(kept));
    if (!chunks)
        return out_of_memory(gc);
    gc->chunks = chunks;
    gc->chunks[gc->chunks_count++] = kept;
    return 0;
}

static int find_chunks(struct gc *gc, int dir_fd, const char *name)
{
    CLEANUP(closep)
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? 0 : for_each_name(gc, fd, find_chunk);
}

/* --- packs ------------------------------------------------------------------------------------ */

static int compare_file(const void *a, const void *b)
{
    const struct kept *x = a;
    const struct kept *y = b;

    return x->file != y->file ? (x->file < y->file ? -1 : 1) : store_id_compare(&x->id, &y->id);
}

/* How many from `first` on are of one file. */
static size_t count_of_file(const struct gc *gc, size_t first)
{
    size_t count = 1;

    while (first + count < gc->chunks_count &&
           gc->chunks[first + count].file == gc->chunks[first].file)
        count++;
    return count;
}

static int open_chunk(const struct gc *gc, const struct store_id *id)
{
    char path[STORE_PATH_BYTES];

    store_chunk_path(id, path);
    return openat(gc->store->chunks_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* What each chunk takes of its pack. Of one that cannot be read: they share it alike. */
static void size_pack(struct gc *gc, size_t first, size_t count)
{
    CLEANUP(closep) int fd = open_chunk(gc, &gc->chunks[first].id);
    struct pack_index index;

    if (fd < 0 || pack_read_index(fd, &index) <= 0)
        index.count = 0;
    for (size_t i = first; i < first + count; i++) {
        struct kept *chunk = &gc->chunks[i];

        chunk->bytes = chunk->file_bytes / (uint32_t)count;
        for (uint32_t k = 0; k < index.count; k++)
            if (store_id_is_equal(&index.chunks[k].id, &chunk->id))
                chunk->bytes = PACK_ENTRY_BYTES + index.chunks[k].bytes;
    }
}

static void size_packs(struct gc *gc)
{
    size_t count;

    if (gc->chunks_count)
        qsort(gc->chunks, gc->chunks_count, sizeof(*gc->chunks), compare_file);
    for (size_t i = 0; i < gc->chunks_count; i += count) {
        count = count_of_file(gc, i);
        if (gc->chunks[i].is_shared)
            size_pack(gc, i, count);
        gc->before_bytes += gc->chunks[i].file_bytes;
    }
}

/* What is left of a pack, written anew: `ids` in the place of what has their names. */
static int rewrite(struct gc *gc, const struct store_id *ids, uint32_t count, int64_t made_ms)
{
    CLEANUP(buf_fini) struct buf frames = buf_init(STORE_PACK_PIECES_MAX * (size_t)FRAME_BYTES_MAX);
    struct pack_part parts[STORE_PACK_PIECES_MAX];
    CLEANUP(closep) int fd = open_chunk(gc, &ids[0]);
    size_t at[STORE_PACK_PIECES_MAX + 1] = { 0 };
    uint32_t number = ++gc->store->packs_made;
    int rc = fd < 0 ? -errno : store_step(gc->store, "gc pack", gc->err);

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = pack_read_frame(fd, &ids[i], &frames);
        at[i + 1] = frames.len;
    }
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        parts[i] = (struct pack_part){ .id = ids[i],
                                       .body = frames.data + at[i],
                                       .body_len = (uint32_t)(at[i + 1] - at[i]) };
    rc = store_pack_write(gc->store, parts, count, number, made_ms);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        store_pending_add(gc->store,
                          &(struct pending){ .id = ids[i], .pack = number, .renames = true },
                          (int64_t)(at[i + 1] - at[i]));
    return rc;
}

static int rewrite_pack(struct gc *gc, size_t first, size_t count)
{
    struct store_id ids[STORE_PACK_PIECES_MAX];
    uint32_t ready = 0;
    int rc = 0;

    for (size_t i = first; rc == 0 && i < first + count; i++) {
        if (!gc->chunks[i].is_gone)
            ids[ready++] = gc->chunks[i].id;
        if (ready && (ready == STORE_PACK_PIECES_MAX || i + 1 == first + count)) {
            if (gc->store->pending_count + ready > STORE_BATCH_CHUNKS)
                rc = store_flush(gc->store, gc->err);
            if (rc == 0)
                rc = rewrite(gc, ids, ready, gc->chunks[i].made_ms);
            ready = 0;
        }
    }
    return rc < 0 || gc->store->pending_bytes < REWRITE_BYTES ? rc
                                                              : store_flush(gc->store, gc->err);
}

/* Of a file: what of it stays, and what it then takes for nothing. */
static int64_t weigh_file(const struct gc *gc, size_t first, size_t count, int64_t *garbage_out)
{
    int64_t kept = 0;

    for (size_t i = first; i < first + count; i++)
        kept += gc->chunks[i].is_gone ? 0 : gc->chunks[i].bytes;
    *garbage_out = gc->chunks[first].is_shared
                       ? MAX(gc->chunks[first].file_bytes - kept - PACK_HEADER_BYTES, 0)
                       : 0;
    return kept;
}

static void weigh_files(struct gc *gc)
{
    size_t count;

    qsort(gc->chunks, gc->chunks_count, sizeof(*gc->chunks), compare_file);
    for (size_t i = 0; i < gc->chunks_count; i += count) {
        int64_t garbage;

        count = count_of_file(gc, i);
        if (weigh_file(gc, i, count, &garbage))
            gc->result.kept_bytes += gc->chunks[i].file_bytes;
    }
}

/* Packs that are garbage for the greater part are written anew, and where there is no room all that
 * have some. No room to do it in is no failure: what could go has gone. */
static int rewrite_packs(struct gc *gc)
{
    size_t count;
    int rc = 0;

    if (gc->chunks_count)
        weigh_files(gc);
    for (size_t i = 0; !gc->store->no_packs && i < gc->chunks_count; i += count) {
        int64_t kept, garbage;

        count = count_of_file(gc, i);
        kept = weigh_file(gc, i, count, &garbage);
        if (kept == 0 || garbage < GARBAGE_BYTES_LEAST ||
            (garbage < kept && gc->result.kept_bytes <= gc->params->bytes_max))
            continue;
        rc = rewrite_pack(gc, i, count);
        if (rc == 0)
            gc->result.kept_bytes -= garbage;
        else if (rc != -EBADMSG && rc != -ENOENT) /* damaged: whoever reads it finds it out */
            break;
    }
    if (rc == 0 || rc == -EBADMSG || rc == -ENOENT)
        rc = store_flush(gc->store, gc->err);
    gc->result.freed_bytes = gc->before_bytes - gc->result.kept_bytes;
    return rc == -ENOSPC || rc == -EDQUOT ? 0 : rc;
}

/* --- what stays ------------------------------------------------------------------------------- */

/* Held ones first, then the newest. */
static int compare_tree(const void *a, const void *b)
{
    const struct tree *x = a;
    const struct tree *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->used_ns != y->used_ns)
        return x->used_ns > y->used_ns ? -1 : 1;
    return store_id_compare(&x->id, &y->id);
}

static int compare_mark(const void *a, const void *b)
{
    const struct mark *x = a;
    const struct mark *y = b;
    int order = store_id_compare(&x->id, &y->id);

    return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static int mark_tree(struct gc *gc, const struct tree *tree)
{
    CLEANUP(buf_fini) struct buf text = buf_init(MANIFEST_BYTES_MAX);
    char name[STORE_ID_TEXT_BYTES];
    struct manifest manifest = { 0 };
    int rc;

    /* Read by itself: to be looked at here is no use that keeps it. */
    store_id_format(&tree->id, name);
    rc = store_read(gc->store->manifests_fd, name, &text, gc->err);
    if (rc == 0)
        rc = manifest_parse(text.data, text.len, NULL, &manifest, gc->err);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0 && tree->rank == RANK_HELD)
        return err_set(gc->err, rc, "store: gc: manifest %s is held and cannot be read", name);
    if (rc < 0)
        return 0;
    for (uint32_t i = 0; i < manifest.chunks_count; i++) {
        struct mark *marks = make_room(gc->marks, gc->marks_count, &gc->marks_room, sizeof(*marks));

        if (!marks) {
            rc = out_of_memory(gc);
            break;
        }
        gc->marks = marks;
        gc->marks[gc->marks_count++] =
            (struct mark){ .id = manifest.chunks[i].id, .rank = tree->rank };
    }
    manifest_fini(&manifest);
    return rc;
}

/* The lowest rank that uses a chunk; UINT32_MAX for none. Both arrays are walked once, in order. */
static uint32_t next_rank(const struct gc *gc, size_t *mark, const struct store_id *id)
{
    while (*mark < gc->marks_count && store_id_compare(&gc->marks[*mark].id, id) < 0)
        (*mark)++;
    if (*mark < gc->marks_count && store_id_is_equal(&gc->marks[*mark].id, id))
        return gc->marks[*mark].rank;
    return UINT32_MAX;
}

static struct tree *tree_of_rank(struct gc *gc, uint32_t rank, size_t held)
{
    return rank == RANK_HELD || rank == UINT32_MAX ? NULL : &gc->trees[held + rank - 1];
}

static int plan(struct gc *gc)
{
    uint32_t newest = 0;
    size_t held = 0;
    size_t mark = 0;
    int64_t bytes = 0;

    if (gc->trees_count)
        qsort(gc->trees, gc->trees_count, sizeof(*gc->trees), compare_tree);
    for (size_t i = 0; i < gc->trees_count; i++) {
        int rc;

        if (gc->trees[i].rank == RANK_HELD)
            held++;
        else
            gc->trees[i].rank = ++newest;
        rc = mark_tree(gc, &gc->trees[i]);
        if (rc < 0)
            return rc;
    }
    if (gc->marks_count)
        qsort(gc->marks, gc->marks_count, sizeof(*gc->marks), compare_mark);
    if (gc->chunks_count)
        qsort(gc->chunks, gc->chunks_count, sizeof(*gc->chunks), store_id_compare);
    for (size_t i = 0; i < gc->chunks_count; i++) {
        uint32_t rank = next_rank(gc, &mark, &gc->chunks[i].id);
        struct tree *tree = tree_of_rank(gc, rank, held);

        if (rank == RANK_HELD)
            gc->result.held_bytes += gc->chunks[i].bytes;
        else if (tree)
            tree->bytes += gc->chunks[i].bytes;
    }
    bytes = gc->result.held_bytes;
    for (uint32_t rank = 1; rank <= newest; rank++) {
        bytes += tree_of_rank(gc, rank, held)->bytes;
        if (bytes > gc->params->bytes_max)
            break;
        gc->cut = rank;
    }
    return 0;
}

/* Manifests first, and surely: a tree without its chunks would look whole until it is read. */
static int sweep(struct gc *gc)
{
    char path[STORE_PATH_BYTES];
    size_t mark = 0;
    int rc;

    for (size_t i = 0; i < gc->trees_count; i++) {
        if (gc->trees[i].rank <= gc->cut)
            continue;
        rc = store_step(gc->store, "gc manifest", gc->err);
        if (rc < 0)
            return rc;
        store_id_format(&gc->trees[i].id, path);
        unlinkat(gc->store->manifests_fd, path, 0);
        gc->result.freed_manifests_count++;
    }
    rc = store_sync_folder(gc->store, gc->store->manifests_fd, gc->err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < gc->chunks_count; i++) {
        struct kept *chunk = &gc->chunks[i];
        uint32_t rank = next_rank(gc, &mark, &chunk->id);
        bool young = chunk->made_ms > gc->params->now_ms - gc->params->orphan_ms;

        if (rank <= gc->cut || (rank == UINT32_MAX && young)) {
            gc->result.kept_chunks_count++;
            continue;
        }
        rc = store_step(gc->store, "gc chunk", gc->err);
        if (rc < 0)
            return rc;
        store_chunk_path(&chunk->id, path);
        unlinkat(gc->store->chunks_fd, path, 0);
        chunk->is_gone = true;
        gc->result.freed_chunks_count++;
    }
    return 0;
}

int store_gc(struct store *store, const struct store_gc_params *params,
             struct store_gc_result *result_out, struct err *err)
{
    struct gc gc = { .store = store, .params = params, .err = err };
    int rc = store_flush(store, err);

    if (rc == 0)
        rc = for_each_name(&gc, store->roots_fd, find_root);
    if (rc == 0 && gc.held_count)
        qsort(gc.held, gc.held_count, sizeof(*gc.held), store_id_compare);
    if (rc == 0)
        rc = for_each_name(&gc, store->manifests_fd, find_tree);
    if (rc == 0)
        rc = for_each_name(&gc, store->chunks_fd, find_chunks);
    if (rc == 0) {
        size_packs(&gc);
        rc = plan(&gc);
    }
    if (rc == 0)
        rc = sweep(&gc);
    if (rc == 0)
        rc = rewrite_packs(&gc);
    if (rc == 0 && result_out)
        *result_out = gc.result;
    free(gc.held);
    free(gc.trees);
    free(gc.marks);
    free(gc.chunks);
    return rc;
}
