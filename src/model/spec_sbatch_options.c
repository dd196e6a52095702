#include "model/sbatch.h"
#include "model/suggest.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MIB (INT64_C(1) << 20)
#define OPTIONS_MAX 160u
#define SUGGESTIONS_MAX 100u

typedef int take_fn(struct sbatch_reader *reader, const char *value);

int sbatch_refuse(struct sbatch_reader *reader, int code, const char *fmt, ...)
{
    const struct sbatch_option *option = reader->option;
    char message[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (!option)
        return err_set(reader->err, code, "%s: %s", reader->file, message);
    return err_field(reader->err, code, option->name, "%s:%" PRIu32 ":%" PRIu32 ": %s%s: %s",
                     reader->file, option->line, option->column, option->name[1] ? "--" : "-",
                     option->name, message);
}

void sbatch_warn(struct sbatch_reader *reader, const char *fmt, ...)
{
    const struct sbatch_option *option = reader->option;
    char message[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (option)
        spec_warn(reader->warnings, "%s:%" PRIu32 ": %s%.60s: %s", reader->file, option->line,
                  option->name[1] ? "--" : "-", option->name, message);
    else
        spec_warn(reader->warnings, "%s: %s", reader->file, message);
}

static int take_count(struct sbatch_reader *reader, const char *value, uint32_t *out)
{
    struct err err = { 0 };
    int64_t number;

    if (units_parse_int(value, 1, REQUEST_TASKS_MAX, &number, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    *out = (uint32_t)number;
    return 0;
}

static int take_size(struct sbatch_reader *reader, const char *value, int64_t *out)
{
    struct err err = { 0 };
    int rc = units_parse_bytes_in(value, MIB, out, &err);

    if (rc < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    if (*out > INT64_C(1) << 60)
        return sbatch_refuse(reader, -EINVAL, "expected a size that fits, not \"%.40s\"", value);
    return 0;
}

static int take_name(struct sbatch_reader *reader, const char *value)
{
    const char *name = spec_make_name(&reader->spec->arena, value, strlen(value));

    if (strcmp(name, value) != 0)
        sbatch_warn(reader,
                    "the job is called \"%s\": a name is 1 to 63 letters, digits, '.', "
                    "'_', '-'",
                    name);
    reader->ask.name = name;
    return 0;
}

static int take_ntasks(struct sbatch_reader *reader, const char *value)
{
    return take_count(reader, value, &reader->ask.tasks);
}

/* "2" or "2-4": the least is taken. */
static int take_nodes(struct sbatch_reader *reader, const char *value)
{
    char least[16];
    size_t len = strcspn(value, "-");

    if (value[len] && len < sizeof(least)) {
        memcpy(least, value, len);
        least[len] = '\0';
        sbatch_warn(reader, "%s nodes are taken of \"%.40s\"", least, value);
        return take_count(reader, least, &reader->ask.nodes);
    }
    return take_count(reader, value, &reader->ask.nodes);
}

static int take_ntasks_per_node(struct sbatch_reader *reader, const char *value)
{
    return take_count(reader, value, &reader->ask.tasks_per_node);
}

static int take_cpus_per_task(struct sbatch_reader *reader, const char *value)
{
    return take_count(reader, value, &reader->ask.cpus_per_task);
}

static int take_mem(struct sbatch_reader *reader, const char *value)
{
    if (strcmp(value, "0") == 0) {
        sbatch_warn(reader, "the whole node's memory is not claimed: no claim, no limit");
        return 0;
    }
    return take_size(reader, value, &reader->ask.memory_bytes);
}

static int take_mem_per_cpu(struct sbatch_reader *reader, const char *value)
{
    return take_size(reader, value, &reader->ask.memory_per_cpu_bytes);
}

static int take_mem_per_gpu(struct sbatch_reader *reader, const char *value)
{
    return take_size(reader, value, &reader->ask.memory_per_gpu_bytes);
}

static int take_tmp(struct sbatch_reader *reader, const char *value)
{
    return take_size(reader, value, &reader->ask.scratch_bytes);
}

/* "2", "a100:2", "a100" (one of it). */
static int take_gpu_count(struct sbatch_reader *reader, const char *value, uint32_t *out)
{
    const char *colon = strrchr(value, ':');
    size_t len = colon ? (size_t)(colon - value) : strlen(value);
    char *kind;

    if (!colon && isdigit((unsigned char)value[0]))
        return take_count(reader, value, out);
    kind = arena_strndup(&reader->spec->arena, value, len);
    if (!kind)
        return sbatch_refuse(reader, -E2BIG, "the job is too big");
    for (char *p = kind; *p; p++)
        *p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
    if (!spec_name_is_valid(kind))
        return sbatch_refuse(reader, -EINVAL, "expected GPUs such as 2 or a100:2, not \"%.40s\"",
                             value);
    if (reader->ask.gpu_kind && strcmp(reader->ask.gpu_kind, kind) != 0)
        return sbatch_refuse(reader, -ENOTSUP, "one job takes GPUs of one kind here");
    reader->ask.gpu_kind = kind;
    if (colon)
        return take_count(reader, colon + 1, out);
    *out = 1;
    return 0;
}

static int take_gpus(struct sbatch_reader *reader, const char *value)
{
    return take_gpu_count(reader, value, &reader->ask.gpus);
}

static int take_gpus_per_node(struct sbatch_reader *reader, const char *value)
{
    return take_gpu_count(reader, value, &reader->ask.gpus_per_node);
}

static int take_gpus_per_task(struct sbatch_reader *reader, const char *value)
{
    return take_gpu_count(reader, value, &reader->ask.gpus_per_task);
}

static int take_cpus_per_gpu(struct sbatch_reader *reader, const char *value)
{
    return take_count(reader, value, &reader->ask.cpus_per_gpu);
}

/* "gpu:2", "gpu:a100:2", "gpu", several by commas. */
static int take_gres(struct sbatch_reader *reader, const char *value)
{
    while (*value) {
        size_t len = strcspn(value, ",");
        char *entry = arena_strndup(&reader->spec->arena, value, len);
        char *word = entry;
        uint32_t count = 1;
        int rc = 0;

        if (!entry)
            return sbatch_refuse(reader, -E2BIG, "the job is too big");
        word[strcspn(word, "(")] = '\0'; /* "(S:0-1)": sockets */
        if (strncmp(word, "gres:", 5) == 0)
            word += 5;
        if (strncmp(word, "gpu", 3) == 0 && (word[3] == '\0' || word[3] == ':')) {
            if (word[3])
                rc = take_gpu_count(reader, word + 4, &count);
            reader->ask.gpus_per_node += rc == 0 ? count : 0;
        } else if (strcmp(word, "none") != 0) {
            sbatch_warn(reader, "\"%.40s\" is not known here: left out", word);
        }
        if (rc < 0)
            return rc;
        value += len + (value[len] == ',');
    }
    if (reader->ask.gpus_per_node > REQUEST_TASKS_MAX)
        return sbatch_refuse(reader, -EINVAL, "too many GPUs");
    return 0;
}

static int take_time(struct sbatch_reader *reader, const char *value)
{
    struct err err = { 0 };

    if (sbatch_parse_limit(value, &reader->spec->request.duration_ms_max, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    return 0;
}

static int take_begin(struct sbatch_reader *reader, const char *value)
{
    struct err err = { 0 };

    if (sbatch_parse_moment(value, reader->now_ms, &reader->spec->request.begin_ms,
                            &reader->spec->begin_after_ms, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    return 0;
}

static int take_deadline(struct sbatch_reader *reader, const char *value)
{
    struct err err = { 0 };

    if (sbatch_parse_moment(value, reader->now_ms, &reader->spec->request.deadline_ms,
                            &reader->spec->deadline_after_ms, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    return 0;
}

static int take_array(struct sbatch_reader *reader, const char *value)
{
    struct job_spec *spec = reader->spec;
    size_t len = strcspn(value, "%");
    char *range = arena_strndup(&spec->arena, value, len);
    struct err err = { 0 };
    int64_t parallel;
    int rc;

    if (!range)
        return sbatch_refuse(reader, -E2BIG, "the job is too big");
    rc = len > SPEC_RANGE_BYTES_MAX
             ? err_set(&err, -E2BIG, "longer than %u bytes", SPEC_RANGE_BYTES_MAX)
             : spec_parse_range(range, &spec->arena, &spec->range_values, &spec->elements_count,
                                &err);
    if (rc < 0)
        return sbatch_refuse(reader, rc, "%s", err.text);
    spec->range = range;
    if (!value[len])
        return 0;
    if (units_parse_int(value + len + 1, 1, SPEC_ELEMENTS_MAX, &parallel, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    spec->parallel_max = (uint32_t)parallel;
    return 0;
}

/* "123:124_5" of one "afterok:...". */
static int take_dep_ids(struct sbatch_reader *reader, const char *ids, enum dep_kind kind,
                        struct spec_dep *deps)
{
    struct job_spec *spec = reader->spec;

    while (*ids) {
        size_t len = strcspn(ids, ":");
        char *id = arena_strndup(&spec->arena, ids, len);

        if (!id)
            return sbatch_refuse(reader, -E2BIG, "the job is too big");
        for (char *p = id; *p; p++)
            if (*p == '_')
                *p = '.';
        if (!spec_name_is_valid(id) || id[strspn(id, "0123456789.")])
            return sbatch_refuse(reader, -EINVAL, "expected the id of a job, not \"%.40s\"", id);
        if (spec->after_count == REQUEST_DEPS_MAX)
            return sbatch_refuse(reader, -E2BIG, "more than %u jobs to wait for", REQUEST_DEPS_MAX);
        deps[spec->after_count++] = (struct spec_dep){ .job = id, .kind = kind };
        ids += len + (ids[len] == ':');
    }
    return 0;
}

static int take_dependency(struct sbatch_reader *reader, const char *value)
{
    static const struct {
        const char *name;
        enum dep_kind kind;
    } kinds[] = { { "afterok:", DEP_OK }, { "afterany:", DEP_ANY }, { "afternotok:", DEP_FAILED } };
    struct job_spec *spec = reader->spec;
    struct spec_dep *deps = arena_alloc(&spec->arena, REQUEST_DEPS_MAX, sizeof(*deps));

    if (!deps)
        return sbatch_refuse(reader, -E2BIG, "the job is too big");
    if (strchr(value, '?'))
        return sbatch_refuse(reader, -ENOTSUP, "a choice of dependencies (?) is not offered");
    spec->after = deps;
    spec->after_count = 0;
    while (*value) {
        size_t len = strcspn(value, ",");
        char *entry = arena_strndup(&spec->arena, value, len);
        size_t i = 0;
        int rc;

        if (!entry)
            return sbatch_refuse(reader, -E2BIG, "the job is too big");
        while (i < ARRAY_COUNT(kinds) && strncmp(entry, kinds[i].name, strlen(kinds[i].name)) != 0)
            i++;
        if (strcmp(entry, "singleton") == 0) {
            sbatch_warn(reader, "singleton is not offered: jobs of one name may run at once");
        } else if (i == ARRAY_COUNT(kinds)) {
            return sbatch_refuse(reader, -ENOTSUP,
                                 "expected afterok:ID, afterany:ID or afternotok:ID, not \"%.40s\"",
                                 entry);
        } else {
            rc = take_dep_ids(reader, entry + strlen(kinds[i].name), kinds[i].kind, deps);
            if (rc < 0)
                return rc;
        }
        value += len + (value[len] == ',');
    }
    return 0;
}

static int take_output(struct sbatch_reader *reader, const char *value)
{
    reader->ask.output = value;
    return 0;
}

static int take_error(struct sbatch_reader *reader, const char *value)
{
    reader->ask.error = value;
    return 0;
}

static int take_export(struct sbatch_reader *reader, const char *value)
{
    reader->ask.export = value;
    return 0;
}

static int take_chdir(struct sbatch_reader *reader, const char *value)
{
    reader->spec->workdir = value;
    return 0;
}

/* "[{R|B}:]SIG[@seconds]" */
static int take_signal(struct sbatch_reader *reader, const char *value)
{
    struct job_spec *spec = reader->spec;
    char name[16];
    size_t len;
    int64_t seconds = 60;
    struct err err = { 0 };

    if ((value[0] == 'B' || value[0] == 'R') && value[1] == ':')
        value += 2;
    len = strcspn(value, "@");
    if (len >= sizeof(name))
        return sbatch_refuse(reader, -EINVAL, "expected a signal such as USR1@60");
    memcpy(name, value, len);
    name[len] = '\0';
    spec->warn_signal = spec_signal_find(name);
    if (!spec->warn_signal)
        return sbatch_refuse(reader, -EINVAL, "expected a signal such as USR1@60, not \"%.40s\"",
                             value);
    if (value[len] && units_parse_int(value + len + 1, 1, 65535, &seconds, &err) < 0)
        return sbatch_refuse(reader, -EINVAL, "%s", err.text);
    spec->warn_before_ms = seconds * 1000;
    return 0;
}

static int take_requeue(struct sbatch_reader *reader, const char *value)
{
    (void)value;
    reader->spec->request.requeue_on_loss = 1;
    return 0;
}

static int take_no_requeue(struct sbatch_reader *reader, const char *value)
{
    (void)value;
    reader->spec->request.requeue_on_loss = 0;
    return 0;
}

static int take_comment(struct sbatch_reader *reader, const char *value)
{
    if (strlen(value) > 4096)
        return sbatch_refuse(reader, -E2BIG, "longer than 4096 bytes");
    reader->spec->notes = value;
    return 0;
}

static int take_container(struct sbatch_reader *reader, const char *value)
{
    reader->spec->image = value;
    return 0;
}

static int refuse_hold(struct sbatch_reader *reader, const char *value)
{
    (void)value;
    return sbatch_refuse(reader, -ENOTSUP, "held jobs are not offered: use --begin");
}

/* Slurm's, without effect here; told by name. */
static int ignore(struct sbatch_reader *reader, const char *value)
{
    (void)value;
    sbatch_warn(reader, "has no effect here");
    return 0;
}

static const struct {
    const char *name;
    char letter;
    char takes; /* '=' a value, '?' may have one (only with =), '-' none */
    take_fn *take;
} options[] = {
    { "job-name", 'J', '=', take_name },
    { "ntasks", 'n', '=', take_ntasks },
    { "nodes", 'N', '=', take_nodes },
    { "ntasks-per-node", 0, '=', take_ntasks_per_node },
    { "tasks-per-node", 0, '=', take_ntasks_per_node },
    { "cpus-per-task", 'c', '=', take_cpus_per_task },
    { "mem", 0, '=', take_mem },
    { "mem-per-cpu", 0, '=', take_mem_per_cpu },
    { "mem-per-gpu", 0, '=', take_mem_per_gpu },
    { "tmp", 0, '=', take_tmp },
    { "gres", 0, '=', take_gres },
    { "gpus", 'G', '=', take_gpus },
    { "gpus-per-node", 0, '=', take_gpus_per_node },
    { "gpus-per-task", 0, '=', take_gpus_per_task },
    { "cpus-per-gpu", 0, '=', take_cpus_per_gpu },
    { "time", 't', '=', take_time },
    { "array", 'a', '=', take_array },
    { "dependency", 'd', '=', take_dependency },
    { "output", 'o', '=', take_output },
    { "error", 'e', '=', take_error },
    { "export", 0, '=', take_export },
    { "chdir", 'D', '=', take_chdir },
    { "workdir", 0, '=', take_chdir },
    { "signal", 0, '=', take_signal },
    { "requeue", 0, '-', take_requeue },
    { "no-requeue", 0, '-', take_no_requeue },
    { "comment", 0, '=', take_comment },
    { "begin", 'b', '=', take_begin },
    { "deadline", 0, '=', take_deadline },
    { "container", 0, '=', take_container },
    { "hold", 'H', '-', refuse_hold },
    { "account", 'A', '=', ignore },
    { "acctg-freq", 0, '=', ignore },
    { "batch", 0, '=', ignore },
    { "bb", 0, '=', ignore },
    { "clusters", 'M', '=', ignore },
    { "cluster-constraint", 0, '=', ignore },
    { "constraint", 'C', '=', ignore },
    { "contiguous", 0, '-', ignore },
    { "core-spec", 'S', '=', ignore },
    { "cores-per-socket", 0, '=', ignore },
    { "cpu-freq", 0, '=', ignore },
    { "delay-boot", 0, '=', ignore },
    { "distribution", 'm', '=', ignore },
    { "exclude", 'x', '=', ignore },
    { "exclusive", 0, '?', ignore },
    { "export-file", 0, '=', ignore },
    { "extra-node-info", 'B', '=', ignore },
    { "get-user-env", 0, '?', ignore },
    { "gid", 0, '=', ignore },
    { "gpu-bind", 0, '=', ignore },
    { "gpu-freq", 0, '=', ignore },
    { "gpus-per-socket", 0, '=', ignore },
    { "gres-flags", 0, '=', ignore },
    { "hint", 0, '=', ignore },
    { "ignore-pbs", 0, '-', ignore },
    { "input", 'i', '=', ignore },
    { "kill-on-invalid-dep", 0, '=', ignore },
    { "licenses", 'L', '=', ignore },
    { "mail-type", 0, '=', ignore },
    { "mail-user", 0, '=', ignore },
    { "mcs-label", 0, '=', ignore },
    { "mem-bind", 0, '=', ignore },
    { "mincpus", 0, '=', ignore },
    { "network", 0, '=', ignore },
    { "nice", 0, '?', ignore },
    { "no-kill", 'k', '?', ignore },
    { "nodefile", 'F', '=', ignore },
    { "nodelist", 'w', '=', ignore },
    { "ntasks-per-core", 0, '=', ignore },
    { "ntasks-per-gpu", 0, '=', ignore },
    { "ntasks-per-socket", 0, '=', ignore },
    { "open-mode", 0, '=', ignore },
    { "overcommit", 'O', '-', ignore },
    { "oversubscribe", 's', '-', ignore },
    { "parsable", 0, '-', ignore },
    { "partition", 'p', '=', ignore },
    { "power", 0, '=', ignore },
    { "prefer", 0, '=', ignore },
    { "priority", 0, '=', ignore },
    { "profile", 0, '=', ignore },
    { "propagate", 0, '?', ignore },
    { "qos", 'q', '=', ignore },
    { "quiet", 'Q', '-', ignore },
    { "reboot", 0, '-', ignore },
    { "reservation", 0, '=', ignore },
    { "sockets-per-node", 0, '=', ignore },
    { "spread-job", 0, '-', ignore },
    { "switches", 0, '=', ignore },
    { "test-only", 0, '-', ignore },
    { "thread-spec", 0, '=', ignore },
    { "threads-per-core", 0, '=', ignore },
    { "time-min", 0, '=', ignore },
    { "uid", 0, '=', ignore },
    { "use-min-nodes", 0, '-', ignore },
    { "verbose", 'v', '-', ignore },
    { "wait", 'W', '-', ignore },
    { "wait-all-nodes", 0, '=', ignore },
    { "wckey", 0, '=', ignore },
};
_Static_assert(ARRAY_COUNT(options) <= OPTIONS_MAX, "room for suggestions");

static int find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++)
        if (len == 1 ? options[i].letter == name[0]
                     : strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

bool sbatch_knows_option(const char *name, size_t len)
{
    return find_option(name, len) >= 0;
}

bool sbatch_takes_value(const char *name, size_t len)
{
    int found = find_option(name, len);

    return found >= 0 && options[found].takes == '=';
}

int sbatch_take_option(struct sbatch_reader *reader, const struct sbatch_option *option)
{
    int found = find_option(option->name, strlen(option->name));
    const char *names[OPTIONS_MAX];
    const char *near;

    reader->option = option;
    if (found < 0) {
        for (size_t i = 0; i < ARRAY_COUNT(options); i++)
            names[i] = options[i].name;
        /* A thousand wrong options need no thousand searches. */
        near = option->name[1] && reader->warnings && reader->warnings->count < SUGGESTIONS_MAX
                   ? suggest_word(option->name, names, ARRAY_COUNT(options))
                   : NULL;
        if (near)
            sbatch_warn(reader, "unknown option, left out; did you mean --%s?", near);
        else
            sbatch_warn(reader, "unknown option, left out");
        return 0;
    }
    if (options[found].takes == '=' && (!option->value || !option->value[0]))
        return sbatch_refuse(reader, -EINVAL, "expected a value");
    if (options[found].takes == '-' && option->value)
        return sbatch_refuse(reader, -EINVAL, "takes no value");
    return options[found].take(reader, option->value);
}
