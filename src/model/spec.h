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
    const char *digest;  /* inputs only: of what `from` gives (spec_source.h); NULL = not told */
    bool upload;         /* inputs only: the client brings it to the network's store */
};

struct spec_variant {   /* what changes on one chip family; NULL/0 = as in the job */
    const char *family; /* "cuda", "rocm", "cann", ..., "cpu", or a catalogue kind */
    const char *image;
    const char *setup;
    const char *run;
    const struct spec_pair *env;
    uint32_t env_count;
};

/* One column of an array. Several columns are crossed (the last one turns fastest) or, with
 * params_zip, read side by side: see spec_param_value. */
struct spec_param {
    const char *name; /* the job sees MAINS_PARAM_<NAME>, in capitals */
    const char *const *choices;
    uint32_t choices_count;
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
/* How the tasks of a job come to life: one process a task, or one process on the first node that
 * starts the others itself (mpirun, a batch script). */
enum spec_launch { LAUNCH_EACH, LAUNCH_ONCE };

/* Who makes a job's checkpoints: the job itself, or the site, of its processes as they are. */
enum checkpoint_by { CHECKPOINT_BY_JOB, CHECKPOINT_BY_CRIU };
#define SPEC_CRIU_PATH ".criu" /* of its images, unless the job says otherwise */

struct job_spec {
    struct arena arena;

    const char *name;  /* default: "job" */
    const char *notes; /* NULL when none */
    uint32_t origin;   /* enum spec_origin: which rank environment to add beside MAINS_* */
    uint32_t launch;   /* enum spec_launch */
    uint32_t slots;    /* processes a launcher may start in each task; default 1 */
    struct job_request
        request; /* tasks, sizes, class, times, where; deps left empty: see `after` */
    /* Times told from the submit on; spec_resolve_times makes them absolute in `request`. 0 = none
     * (or absolute already). */
    int64_t deadline_after_ms, begin_after_ms;
    const char *work_class; /* NULL = not told; request.work has it, too */
    uint32_t elastic_min;   /* while it is read: then it is request.shape.tasks */
    int64_t rto_ms;         /* most time until it runs again after a fault; 0 = not asked */

    const char *image; /* container image; NULL = the site's own system */
    const char *setup; /* shell text run once before `run` on each node; NULL = none */
    const char *run;   /* shell text; NULL when argv is given */
    const char *const *argv;
    uint32_t argv_count;
    const char *script_interpreter; /* "/bin/bash -l": runs `run` and `setup`; NULL = /bin/sh */
    const char *const *args;        /* of a script: its $1, $2, ... */
    uint32_t args_count;

    const char *workdir; /* absolute on the site, or NULL: a fresh private folder */
    const char *stdout_pattern,
        *stderr_pattern; /* Slurm's %j %A %a %x %u %N; NULL = kept logs only */
    const struct spec_pair *env;
    uint32_t env_count;
    bool export_all; /* the submitter's environment goes into `env`: spec_resolve_local */
    const char *const *export_names; /* or only these of it */
    uint32_t export_names_count;
    const char *submit_dir, *submit_host; /* of a script; NULL = not told */
    const struct spec_secret *secrets;
    uint32_t secrets_count;
    const struct spec_file *inputs;
    uint32_t inputs_count;
    const struct spec_file *outputs;
    uint32_t outputs_count;

    const char *checkpoint_path;   /* NULL = none */
    uint32_t checkpoint_by;        /* enum checkpoint_by */
    int32_t checkpoint_signal;     /* 0 = none */
    int64_t checkpoint_every_ms;   /* 0 = the job's own rhythm */
    const char *checkpoint_marker; /* written last, when a checkpoint is complete; NULL = none */
    bool checkpoint_portable;      /* another chip family can resume it */

    int32_t warn_signal; /* #SBATCH --signal: sent warn_before_ms before the limit; 0 = none */
    int64_t warn_before_ms;
    int64_t grace_ms;      /* SIGTERM to SIGKILL; default 10 s */
    int64_t log_bytes_max; /* per stream; default 64 MiB */
    bool sandbox;          /* default true */

    const struct spec_variant *variants;
    uint32_t variants_count;

    uint32_t elements_count;         /* 0 = not an array */
    uint32_t parallel_max;           /* array elements that run at once; 0 = no limit */
    const char *range;               /* "0-9:2,20": the elements' values; or NULL: params */
    const uint32_t *range_values;    /* elements_count of them, growing */
    const struct spec_param *params; /* columns of values */
    uint32_t params_count;
    bool params_zip; /* side by side instead of crossed */

    const struct spec_dep *after;
    uint32_t after_count;
};

/* Where a value of a document stands. `column` and `line` from 1; 0 = not known. */
struct spec_place {
    const char *file;
    uint32_t line, column;
};
/* One step on the way from the root of a document to a value. */
struct spec_step {
    const struct spec_step *up; /* NULL: this is the root */
    const char *key;            /* of an object; NULL: element `index` of a list */
    size_t index;
};
/* Tells the place of a value; not needed when the document came as JSON over the API. */
struct spec_locator {
    /* Of the value at `step`, or with `at_key` of the key that names it. */
    struct spec_place (*find)(const void *context, const struct spec_step *step, bool at_key);
    /* A number or boolean as it was written ("1.10"), so that text keeps its form; may be NULL.
     * Good as long as the document. */
    const char *(*text)(const void *context, const struct spec_step *step, size_t *len_out);
    const void *context;
};

/* Warnings that do not stop a submit (an unknown #SBATCH option): one line each. */
struct spec_warnings {
    struct buf text; /* lines joined by '\n' */
    uint32_t count;
};

void spec_warnings_fini(struct spec_warnings *warnings);

/* An empty spec with every default in place; NULL when memory is short. */
struct job_spec *spec_create(void);
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
/* What only the submitting process knows, put into the spec; done by the CLI before it sends:
 * secrets' from_env/from_file -> `value`; export_all/export_names -> `env` (names that look secret
 * -> `secrets`; MAINS_*, SLURM_* and the like stay behind); relative `from` of inputs, `to` of
 * outputs, `workdir` and a script's stdout/stderr -> absolute below `base_dir` (absolute itself).
 * A script without a workdir works in `base_dir`, as with sbatch. `environment` is environ. */
int spec_resolve_local(struct job_spec *spec, const char *base_dir, char *const *environment,
                       struct err *err);
/* Relative begin and deadline, from `now_ms` on. Done at submit; -ERANGE past the year 9999. */
int spec_resolve_times(struct job_spec *spec, int64_t now_ms, struct err *err);

/* The value of column `param` for array element `element`; both must be in range. */
const char *spec_param_value(const struct job_spec *spec, uint32_t param, uint32_t element);
/* The number an element goes by: of `range`, else the element's own index. */
uint32_t spec_range_value(const struct job_spec *spec, uint32_t element);
/* What the job says for an exact kind of chip, else for its family; NULL = nothing. */
const struct spec_variant *spec_find_variant(const struct job_spec *spec, const char *chip,
                                             const char *family);
/* The job brings a container image, or some variant of it does. */
bool spec_has_image(const struct job_spec *spec);
const char *spec_env_find(const struct job_spec *spec, const char *name); /* NULL = not set */

/* Canonical JSON, one line. `with_secrets` only on the way from CLI to controller to agent. */
int spec_print_json(const struct job_spec *spec, bool with_secrets, struct buf *out);
/* What this network cannot honour, and what the client has not resolved, said in one line:
 * -ENOTSUP, or -EINVAL (a relative path of the submitting machine, a secret without its value). */
int spec_check_supported(const struct job_spec *spec, struct err *err);
