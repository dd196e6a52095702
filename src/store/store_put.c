#include "store/store_internal.h"
#include "store/tree_walk.h"

struct put {
    struct store *store;
    struct store_put_result result;
};

static int take(void *context, struct store_piece *pieces, uint32_t count, struct err *err)
{
    struct put *put = context;

    return store_chunk_add_many(put->store, pieces, count, &put->result, err);
}

static int note_file(void *context, const struct stat *st, struct err *err)
{
    struct put *put = context;
    int64_t time_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

    (void)err;
    put->result.files_count++;
    put->result.newest_ms = MAX(put->result.newest_ms, time_ms);
    return 0;
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
    struct put put = { .store = store };
    const struct tree_walk walk = { .put = how, .take = take, .file = note_file, .context = &put };
    struct manifest manifest = manifest_init(&store->params.limits);
    int rc = tree_walk_run(&walk, at_fd, path, &manifest, err);

    if (rc == 0)
        rc = store_manifest_keep(store, &manifest, id_out, &put.result.manifest_bytes, err);
    put.result.entries_count = manifest.entries_count;
    if (rc == 0 && result_out)
        *result_out = put.result;
    manifest_fini(&manifest);
    return rc;
}
