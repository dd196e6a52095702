/* job_file.h - a job from a file or a command and the options beside it: what `run`, `submit` and
 * `plan` send. Options win over the file. */
#pragma once

#include "cli/remote.h"
#include "model/spec.h"

struct job_source {
    const struct cli_args *args;
    struct remote *remote; /* where inputs are brought that must be; NULL = they stay as they are */
    bool here; /* without a workdir of its own, work in the current folder (the network is on this
                  machine) */
};

struct job_text {
    char *json; /* the canonical spec with its secrets: the body of POST /jobs */
    char *name;
    uint32_t elements_count; /* 0 = not an array */
};
void job_text_fini(struct job_text *text);

/* Warnings go to stderr, one line each. -EINVAL and the like with one line. */
int job_file_read(const struct job_source *source, struct job_text *text_out, struct err *err);
/* Put the options of `args` into a spec's JSON object. */
int job_options_apply(const struct cli_args *args, json_t *root, struct err *err);
