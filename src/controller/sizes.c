#include "controller/sizes.h"

#include "controller/vault.h"
#include "model/spec_source.h"

#include <stdlib.h>
#include <string.h>

#define TREES 16384u
#define OUTPUTS 4096u

struct sizes {
    struct request_good trees[TREES]; /* a name's place is its remainder; the newest has it */
    struct left {
        uint64_t job_id;
        uint32_t epoch;
        char tenant[MODEL_NAME_BYTES];
        struct request_good tree;
    } outputs[OUTPUTS]; /* by job, likewise */
};

struct sizes *sizes_create(void)
{
    return calloc(1, sizeof(struct sizes));
}

void sizes_destroy(struct sizes *sizes)
{
    free(sizes);
}

/* The first 64 bits. */
static uint64_t name_of(const struct store_id *id)
{
    uint64_t name = 0;

    for (int i = 0; i < 8; i++)
        name = name << 8 | id->bytes[i];
    return name;
}

void sizes_note(struct sizes *sizes, const struct store_id *id, int64_t bytes)
{
    uint64_t name = name_of(id);

    sizes->trees[name % TREES] = (struct request_good){ name, MIN(bytes, REQUEST_GOOD_BYTES_MAX) };
}

void sizes_note_outputs(struct sizes *sizes, const struct job_view *view, uint32_t epoch,
                        const struct store_id *id, int64_t bytes)
{
    struct left *left = &sizes->outputs[view->id % OUTPUTS];

    sizes_note(sizes, id, bytes);
    memset(left, 0, sizeof(*left));
    left->job_id = view->id;
    left->epoch = epoch;
    memcpy(left->tenant, view->tenant, strnlen(view->tenant, MODEL_NAME_BYTES - 1));
    left->tree = (struct request_good){ name_of(id), MIN(bytes, REQUEST_GOOD_BYTES_MAX) };
}

bool sizes_find_outputs(const struct sizes *sizes, uint64_t job_id, uint32_t epoch,
                        struct request_good *out)
{
    const struct left *left = &sizes->outputs[job_id % OUTPUTS];

    if (left->job_id != job_id || left->epoch != epoch)
        return false;
    *out = left->tree;
    return true;
}

/* --- what is not known yet -------------------------------------------------------------------- */

struct learning {
    struct vault_work work; /* first */
    struct controller *controller;
    struct store_id id;
    int64_t bytes;
};

static int run_learn(struct vault_work *work, struct vault *vault, struct store *store,
                     struct err *err)
{
    struct learning *learning = (struct learning *)work;
    struct manifest manifest = { 0 };
    int rc = store_manifest_read(store, &learning->id, &manifest, err);

    (void)vault;
    if (rc == 0)
        learning->bytes = manifest.content_bytes;
    manifest_fini(&manifest);
    return rc;
}

static void learned(struct vault_work *work)
{
    struct learning *learning = (struct learning *)work;

    if (work->rc == 0 && learning->controller->sizes)
        sizes_note(learning->controller->sizes, &learning->id, learning->bytes);
    free(learning);
}

static void learn(struct controller *controller, const struct store_id *id)
{
    struct learning *learning = controller->vault ? calloc(1, sizeof(*learning)) : NULL;

    if (!learning)
        return;
    learning->work.run = run_learn;
    learning->work.done = learned;
    learning->controller = controller;
    learning->id = *id;
    if (vault_submit(controller->vault, &learning->work) < 0)
        free(learning);
}

/* --- inputs ----------------------------------------------------------------------------------- */

/* `bytes` 0: not known. */
static struct request_good good_of(struct controller *controller, const char *tenant,
                                   const char *from)
{
    const struct sizes *sizes = controller->sizes;
    struct request_good none = { 0 };
    const struct left *left;
    const char *name;
    struct store_id id;
    uint64_t key;
    size_t len;

    switch (spec_source_of(from)) {
    case SOURCE_STORE:
        name = spec_source_name(from, &len);
        if (len != STORE_ID_CHARS || !store_id_parse(name, len, &id))
            return none;
        key = name_of(&id);
        if (sizes->trees[key % TREES].name == key)
            return sizes->trees[key % TREES];
        learn(controller, &id);
        return none;
    case SOURCE_ARTIFACT: /* only the tenant's own: sizes of others' are not to be asked for */
        name = spec_source_name(from, &len);
        key = strtoull(name, NULL, 10);
        left = &sizes->outputs[key % OUTPUTS];
        return left->job_id == key && key && strcmp(left->tenant, tenant) == 0 ? left->tree : none;
    default:
        return none;
    }
}

static void add(struct request_goods *goods, struct request_good good)
{
    for (uint32_t i = 0; i < goods->count; i++)
        if (goods->list[i].name == good.name)
            return; /* two parts of one tree */
    if (goods->count < REQUEST_GOODS_MAX) {
        goods->list[goods->count++] = good;
        return;
    }
    for (uint32_t i = 0; i < goods->count; i++)
        if (goods->list[i].bytes < good.bytes) {
            struct request_good less = goods->list[i];

            goods->list[i] = good;
            good = less;
        }
    goods->more_bytes = MIN(goods->more_bytes + good.bytes, REQUEST_GOOD_BYTES_MAX);
}

void sizes_fill(struct controller *controller, const char *tenant, const struct job_spec *spec,
                struct request_goods *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < spec->inputs_count && controller->sizes; i++) {
        struct request_good good = { 0 };

        if (spec->inputs[i].from)
            good = good_of(controller, tenant, spec->inputs[i].from);
        if (good.bytes)
            add(out, good);
    }
}
