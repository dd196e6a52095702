/* vault.h - the network's store of files (DIR/store, docs/store.md) and the one thread that works
 * in it, so that the loop never waits for a disk.
 *
 * The store is made, or opened, when the first work comes: a network that keeps nothing there has
 * none. Work is done in order. What is held by no root and no lease goes when room is short. */
#pragma once

#include "base/err.h"
#include "store/store.h"

#include <uv.h>

#define VAULT_QUEUE_MAX 256u
#define VAULT_QUEUE_BYTES_MAX ((size_t)256 << 20)
#define VAULT_UPLOAD_LEASE_MS (24 * 3600 * 1000LL)           /* of what is on its way */
#define VAULT_KEEP_MS (90 * 24 * 3600 * 1000LL)              /* of checkpoints and outputs */
#define VAULT_ENDED_CHECKPOINT_LEASE_MS (24 * 3600 * 1000LL) /* of a job that has ended */

struct vault;
/* One piece of work; the owner embeds it. */
struct vault_work {
    struct vault_work *next;
    /* On the vault's thread. What it answers is in `rc` and `err` when `done` is called. */
    int (*run)(struct vault_work *self, struct vault *vault, struct store *store, struct err *err);
    void (*done)(struct vault_work *self); /* on the loop; it may free the work */
    int rc;
    struct err err;
    size_t bytes; /* of memory that it holds while it waits */
};

struct vault_config {
    const char *state_dir;
    uv_loop_t *loop;
    int64_t bytes_max; /* what chunks may take on disk; 0 = half of the file system's size */
};
int vault_create(const struct vault_config *config, struct vault **vault_out, struct err *err);
/* Work that waits is not done any more: told with -ECANCELED. The loop must turn once more. */
void vault_destroy(struct vault *vault);

/* -ENOBUFS: too much waits already. */
int vault_submit(struct vault *vault, struct vault_work *work);

/* For what is run on the vault's thread. -ENOSPC with `err`: the store is full of what is held.
 * `bytes` is about to come. */
int vault_make_room(struct vault *vault, struct store *store, int64_t bytes, struct err *err);
