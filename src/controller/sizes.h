/* sizes.h - how large trees in the store are, as far as that passed by: so that a submit can say it
 * of its inputs without a look at the disk. Not kept over a restart: what is asked for and not
 * known is read by the vault's thread, for who asks next. One thread. */
#pragma once

#include "controller/context.h"
#include "model/spec.h"
#include "store/store.h"

struct sizes;
struct sizes *sizes_create(void); /* NULL: no memory */
void sizes_destroy(struct sizes *sizes);
void sizes_note(struct sizes *sizes, const struct store_id *id, int64_t bytes);
/* An attempt has left a tree. */
void sizes_note_outputs(struct sizes *sizes, const struct job_view *view, uint32_t epoch,
                        const struct store_id *id, int64_t bytes);
/* What that attempt left; false: nothing that is known. */
bool sizes_find_outputs(const struct sizes *sizes, uint64_t job_id, uint32_t epoch,
                        struct request_good *out);
/* The spec's inputs, as far as they are known: the largest by name, the others in sum. */
void sizes_fill(struct controller *controller, const char *tenant, const struct job_spec *spec,
                struct request_goods *out);
