/* spec.h - a job as its user wrote it: the one meaning behind a YAML file, an #SBATCH script, a
 * SkyPilot task, flags and JSON.
 *
 * A job_spec owns all it points to (one arena). Readers build a fresh one and hand it over only
 * when the whole of it is right. The canonical form is JSON (spec_print_json): keys as in
 * docs/job-file.md, defaults left out; what is printed parses back to the same spec.
 *
 * Strings are UTF-8 without NUL; names match [A-Za-z0-9][A-Za-z0-9._-]{0,62}. Paths inside the
 * job (inputs' `to`, outputs, checkpoint) are relative and hold no "..". */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "model/request.h"

#include <jansson.h>

#define SPEC_TEXT_BYTES_MAX (1u << 20) /* a job file, a script or a request body */
#define SPEC_ARENA_BYTES_MAX (8u << 20)
#define SPEC_DEPTH_MAX 16u
#define SPEC_LIST_MAX 1024u /* env, inputs, outputs, argv, ... */
#define SPEC_ELEMENTS_MAX 100000u
#define SPEC_PARAMS_MAX 16u

struct spec_pair { /* env: name and value */
    const char *name;
    const char *value;
};

struct spec_file {
    const char *from; /* inputs: where it is; outputs: path or glob in the work folder */
    const char *to;   /* inputs: path in the work folder; outputs: where to put it, NULL = kept */
    bool executable;
    const char *content; /* inputs only: the bytes themselves (text), instead of `from` */
};

struct spec_variant {   /* what changes on one chip family; NULL/0 = as in the job */
    const char *family; /* "cuda", "rocm", "cann", ..., "cpu", or a catalogue kind */
    const char *image;
    const char *setup;
    const char *run;
    const struct spec_pair *env;
    uint32_t env_count;
};

struct spec_param { /* one column of an array: `values_count` equals the array's elements_count */
    const char *name;
    const char *const *values;
};

struct spec_dep { /* before it is resolved: a job id or the name of a job of the same tenant */
    const char *job;
    enum dep_kind kind;
};

struct spec_secret {
    const char *name;      /* variable inside the job */
    const char *from_env;  /* or NULL: of the submitting process, read by the CLI */
    const char *from_file; /* or NULL: of the submitting machine, read by the CLI */
    const char *value;     /* what travels; never printed, never in GET answers */
};

enum spec_origin { ORIGIN_MAINS, ORIGIN_SBATCH, ORIGIN_SKYPILOT, ORIGIN_COMMAND };

struct job_spec {
    struct arena arena;

    const char *name;        /* default: "job" */
    const char *notes;       /* NULL when none */
    enum spec_origin origin; /* which rank environment to add beside MAINS_* */
    struct job_request
        request; /* tasks, sizes, class, times, where; deps left empty: see `after` */

    const char *image; /* container image; NULL = the site's own system */
    const char *setup; /* shell text run once before `run` on each node; NULL = none */
    const char *run;   /* shell text; NULL when argv is given */
    const char *const *argv;
    uint32_t argv_count;
    const char *script_interpreter; /* of "#!" of a script; NULL = /bin/sh */

    const char *workdir; /* absolute on the site, or NULL: a fresh private folder */
    const char *stdout_pattern,
        *stderr_pattern; /* Slurm's %j %A %a %x %u %N; NULL = kept logs only */
    const struct spec_pair *env;
    uint32_t env_count;
    const struct spec_secret *secrets;
    uint32_t secrets_count;
    const struct spec_file *inputs;
    uint32_t inputs_count;
    const struct spec_file *outputs;
    uint32_t outputs_count;

    const char *checkpoint_path; /* NULL = none */
    int32_t checkpoint_signal;   /* 0 = none */
    int64_t checkpoint_every_ms; /* 0 = the job's own rhythm */
    bool checkpoint_portable;    /* another chip family can resume it */

    int32_t warn_signal; /* #SBATCH --signal: sent warn_before_ms before the limit; 0 = none */
    int64_t warn_before_ms;
    int64_t grace_ms;      /* SIGTERM to SIGKILL; default 10 s */
    int64_t log_bytes_max; /* per stream; default 64 MiB */
    bool sandbox;          /* default true */

    const struct spec_variant *variants;
    uint32_t variants_count;

    uint32_t elements_count;         /* 0 = not an array */
    uint32_t parallel_max;           /* array elements that run at once; 0 = no limit */
    const struct spec_param *params; /* #SBATCH arrays have one, "SLURM_ARRAY_TASK_ID" */
    uint32_t params_count;

    const struct spec_dep *after;
    uint32_t after_count;
};

/* Where a value of a document stands. `column` and `line` from 1; 0 = not known. */
struct spec_place {
    const char *file;
    uint32_t line, column;
};
/* Tells the place of a json value; NULL members when the document came as JSON over the API. */
struct spec_locator {
    struct spec_place (*find)(const void *context, const json_t *value);
    /* The place of a key of an object. */
    struct spec_place (*find_key)(const void *context, const json_t *object, const char *key);
    const void *context;
};

/* Warnings that do not stop a submit (an unknown #SBATCH option): one line each. */
struct spec_warnings {
    struct buf text; /* lines joined by '\n' */
    uint32_t count;
};

void spec_destroy(struct job_spec *spec);
void spec_destroyp(struct job_spec **spec); /* for CLEANUP */

/* -EINVAL with one line (and err->field, as "resources.cpus"); with a locator the line begins
 * "file:line:column: ". Unknown keys are refused with "did you mean". -E2BIG past a ceiling. */
int spec_parse_json(const json_t *root, const struct spec_locator *locator,
                    struct job_spec **spec_out, struct err *err);
/* JSON text (the API): duplicate keys, depth and size are checked too. */
int spec_parse_json_text(const char *text, size_t len, struct job_spec **spec_out, struct err *err);
/* A mains job file, or a SkyPilot task (told by its keys: resources.accelerators, num_nodes,
 * file_mounts, envs). `file` names it in messages. */
int spec_parse_yaml(const char *file, const char *text, size_t len, struct job_spec **spec_out,
                    struct spec_warnings *warnings, struct err *err);
/* A script with #SBATCH (or no) directives; its whole text becomes `run`. */
int spec_parse_sbatch(const char *file, const char *text, size_t len, struct job_spec **spec_out,
                      struct spec_warnings *warnings, struct err *err);
/* Any of the three, told by content: "#!" or #SBATCH lines -> script; else YAML (JSON is YAML). */
int spec_parse_file(const char *path, struct job_spec **spec_out, struct spec_warnings *warnings,
                    struct err *err);
/* Read secrets' from_env/from_file into `value`, and inputs whose `from` is a relative path of the
 * submitting machine into absolute ones (relative to `base_dir`). Done by the CLI. */
int spec_resolve_local(struct job_spec *spec, const char *base_dir, struct err *err);

/* Canonical JSON, one line. `with_secrets` only on the way from CLI to controller to agent. */
int spec_print_json(const struct job_spec *spec, bool with_secrets, struct buf *out);
/* What cannot be honoured by this network yet, said in one line: -ENOTSUP. */
int spec_check_supported(const struct job_spec *spec, struct err *err);
