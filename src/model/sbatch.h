/* sbatch.h - inside src/model: the #SBATCH lines of a script as words, and what they ask for. */
#pragma once

#include "model/spec_key.h"

#define SBATCH_WORDS_MAX 64u /* of one line */

/* One option of one line; `value` NULL when none was given. */
struct sbatch_option {
    const char *name; /* "ntasks", or a letter: "n" */
    const char *value;
    uint32_t line, column;
};

/* What the options say, before it is made a job: numbers 0 = not said. */
struct sbatch_ask {
    const char *name;
    uint32_t tasks, nodes, tasks_per_node, cpus_per_task;
    uint32_t gpus, gpus_per_node, gpus_per_task, cpus_per_gpu;
    const char *gpu_kind;
    int64_t memory_bytes, memory_per_cpu_bytes, memory_per_gpu_bytes, scratch_bytes;
    const char *output, *error, *array;
    const char *export;
};

struct sbatch_reader {
    struct job_spec *spec;
    struct sbatch_ask ask;
    struct spec_warnings *warnings;
    struct err *err;
    const char *file;
    int64_t now_ms;
    const struct sbatch_option *option; /* the one being read */
};

/* Refuse the option being read. */
int sbatch_refuse(struct sbatch_reader *reader, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void sbatch_warn(struct sbatch_reader *reader, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* spec_sbatch_options.c: take one option into the ask or the spec; unknown ones are warned of. */
int sbatch_take_option(struct sbatch_reader *reader, const struct sbatch_option *option);
bool sbatch_knows_option(const char *name, size_t len);
/* Does the option of this name (or letter) take a value? Unknown ones: no. */
bool sbatch_takes_value(const char *name, size_t len);
/* spec_sbatch_time.c: Slurm's times. Bare numbers of a limit count minutes; 0 and UNLIMITED are
 * *ms_out 0. A moment is "now+1hour", "16:00", "tomorrow", "2026-11-22T10:00", in local time. */
int sbatch_parse_limit(const char *text, int64_t *ms_out, struct err *err);
int sbatch_parse_moment(const char *text, int64_t now_ms, int64_t *at_ms_out, int64_t *after_ms_out,
                        struct err *err);
