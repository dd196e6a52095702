/* api_store.h - requests whose answer comes from the network's store, and what its content is held
 * for.
 *
 * Who knows the name of a manifest or chunk (256 bits that cannot be guessed) may read it: names
 * are shown only to those who may see the job, and to the site that runs it. */
#pragma once

#include "controller/api.h"
#include "controller/vault.h"

#define STORE_MISSING_LISTED_MAX 16384u

/* A call that waits for the vault's thread. */
struct store_call {
    struct vault_work work; /* first */
    struct api_call *call;  /* NULL: the client went away */
    struct controller *controller;
    char *body; /* the request's */
    size_t body_len;
    struct store_id id;
    uint64_t job_id;
    uint32_t epoch;
    char site[MODEL_NAME_BYTES];
    char kind[16];
    int64_t saved_ms, bytes;
    struct buf out; /* the answer, unless `json` is set */
    json_t *json;
    const char *content_type;
};
typedef int (*store_call_run_fn)(struct vault_work *work, struct vault *vault, struct store *store,
                                 struct err *err);

/* A fresh one, with the body of the request; NULL: answered. */
struct store_call *store_call_create(struct api_call *call, store_call_run_fn run,
                                     void (*done)(struct vault_work *work));
void store_call_free(struct store_call *self);
/* Hand it to the vault; answered when that cannot be. `call` may be in use until `done`. */
void store_call_submit(struct store_call *self);
/* The call, to be answered now; NULL when it is gone, or was answered for its failure. */
struct api_call *store_call_take(struct store_call *self);
void store_fail(struct api_call *call, int rc, const struct err *err);

/* The job has ended: what it held in the store need not stay long. */
void store_job_ended(struct controller *controller, const struct job_view *view);
