/* artifacts.h - what a job's attempts left in the network's store: found by job and epoch, listed,
 * and sent file by file. The site on this machine leaves its outputs in its folder; they are taken
 * into the store when somebody asks. */
#pragma once

#include "controller/api_store.h"

/* For what is run on the vault's thread: the tree that attempt (job, epoch) left. -ENOENT. */
int artifacts_find(struct controller *controller, struct store *store, uint64_t job_id,
                   uint32_t epoch, struct store_id *id_out, struct err *err);

/* Answer with {"outputs": [...]} of what is in the store; an empty list when nothing is. */
void artifacts_reply_outputs(struct api_call *call, uint64_t job_id, uint32_t epoch);
/* Answer with one file of it; 404 when there is none of that path. */
void artifacts_reply_output(struct api_call *call, uint64_t job_id, uint32_t epoch,
                            const char *path);

/* What an earlier job left carries the labels of the data that it worked on: those of the job that
 * `from` ("artifact:12/path") names are added to `access`. A job that is not known, or another
 * tenant's, adds none: that is told when its files are asked for. -E2BIG: more than a job may have.
 */
int artifacts_add_labels(struct controller *controller, const char *tenant, const char *from,
                         struct request_access *access, struct err *err);
