/* A script with #SBATCH lines as a job: the script runs once, on the first node, and starts its
 * tasks itself (mpirun), as sbatch does it. */
#include "base/clock.h"
#include "model/sbatch.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define DIRECTIVE "#SBATCH"
#define KILL_WAIT_MS 30000 /* Slurm's KillWait */

/* The words of one directive, quotes taken off; a '#' begins a comment. */
struct words {
    const char *word[SBATCH_WORDS_MAX];
    uint32_t column[SBATCH_WORDS_MAX];
    uint32_t count;
};

static int split_line(struct sbatch_reader *reader, const char *line, size_t len, uint32_t at,
                      uint32_t number, struct words *words)
{
    words->count = 0;
    for (;;) {
        char *out;
        size_t out_len = 0;
        uint32_t column;
        char quote = '\0';

        while (at < len && (line[at] == ' ' || line[at] == '\t' || line[at] == '\r'))
            at++;
        if (at >= len || line[at] == '#')
            return 0;
        column = at + 1;
        if (words->count == SBATCH_WORDS_MAX)
            return err_set(reader->err, -E2BIG, "%s:%" PRIu32 ":%" PRIu32 ": more than %u words",
                           reader->file, number, column, SBATCH_WORDS_MAX);
        out = arena_alloc(&reader->spec->arena, len - at + 1, 1);
        if (!out)
            return err_set(reader->err, -E2BIG, "%s: the job is too big", reader->file);
        for (; at < len; at++) {
            char c = line[at];

            if (!quote && (c == ' ' || c == '\t' || c == '\r'))
                break;
            if (c == '\\' && quote != '\'' && at + 1 < len)
                out[out_len++] = line[++at];
            else if (c == quote)
                quote = '\0';
            else if (!quote && (c == '"' || c == '\''))
                quote = c;
            else
                out[out_len++] = c;
        }
        if (quote)
            return err_set(reader->err, -EINVAL,
                           "%s:%" PRIu32 ":%" PRIu32 ": the quote %c has no "
                           "end",
                           reader->file, number, column, quote);
        for (size_t i = 0; i < out_len; i++)
            if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
                return err_set(reader->err, -EINVAL,
                               "%s:%" PRIu32 ":%" PRIu32 ": a control character in an option",
                               reader->file, number, column);
        words->word[words->count] = out;
        words->column[words->count++] = column;
    }
}

static int take_words(struct sbatch_reader *reader, const struct words *words, uint32_t line)
{
    for (uint32_t i = 0; i < words->count; i++) {
        const char *word = words->word[i];
        struct sbatch_option option = { .line = line, .column = words->column[i] };
        bool is_long = word[0] == '-' && word[1] == '-';
        const char *name = word + 1 + is_long;
        size_t len = is_long ? strcspn(name, "=") : 1;
        char *copy;
        int rc;

        if (strcmp(word, "hetjob") == 0 || strcmp(word, "packjob") == 0)
            return err_set(reader->err, -ENOTSUP,
                           "%s:%" PRIu32 ":%" PRIu32 ": %s: jobs of unlike parts are not offered",
                           reader->file, line, option.column, word);
        if (word[0] != '-' || !name[0] || len == 0)
            return err_set(reader->err, -EINVAL,
                           "%s:%" PRIu32 ":%" PRIu32 ": expected an option such as --ntasks=2, not "
                           "\"%.40s\"",
                           reader->file, line, option.column, word);
        copy = arena_strndup(&reader->spec->arena, name, len);
        if (!copy)
            return err_set(reader->err, -E2BIG, "%s: the job is too big", reader->file);
        option.name = copy;
        if (is_long ? name[len] == '=' : name[len] != '\0')
            option.value = name + len + is_long;
        else if (i + 1 < words->count && sbatch_takes_value(name, len))
            option.value = words->word[++i];
        rc = sbatch_take_option(reader, &option);
        reader->option = NULL;
        if (rc < 0)
            return rc;
        /* The value of an unknown option, as in "--foo bar". */
        if (!sbatch_knows_option(name, len) && i + 1 < words->count && words->word[i + 1][0] != '-')
            i++;
    }
    return 0;
}

static bool is_directive(const char *line, size_t len)
{
    size_t mark = sizeof(DIRECTIVE) - 1;

    return len > mark && memcmp(line, DIRECTIVE, mark) == 0 &&
           (line[mark] == ' ' || line[mark] == '\t');
}

static int read_lines(struct sbatch_reader *reader, const char *text, size_t len)
{
    uint32_t number = 1;
    bool in_commands = false;
    struct words words;
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < len; number++) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', len - at);
        size_t line_len = end ? (size_t)(end - line) : len - at;
        size_t blank = 0;

        while (blank < line_len &&
               (line[blank] == ' ' || line[blank] == '\t' || line[blank] == '\r'))
            blank++;
        if (is_directive(line, line_len) && in_commands) {
            spec_warn(reader->warnings,
                      "%s:%" PRIu32 ": #SBATCH after the first command has no effect", reader->file,
                      number);
        } else if (is_directive(line, line_len)) {
            rc = split_line(reader, line, line_len, sizeof(DIRECTIVE) - 1, number, &words);
            if (rc == 0)
                rc = take_words(reader, &words, number);
        } else if (blank < line_len && line[blank] != '#') {
            in_commands = true;
        }
        at += line_len + 1;
    }
    return rc;
}

/* Tasks, nodes and tasks a node, as Slurm fills in what was not said. Returns the tasks of one
 * node, which what is told a node (memory, GPUs) is shared by. */
static uint32_t settle_tasks(struct sbatch_reader *reader)
{
    struct sbatch_ask *ask = &reader->ask;
    struct request_shape *shape = &reader->spec->request.shape;
    uint32_t on_node;

    if (!ask->tasks && ask->nodes)
        ask->tasks = ask->nodes * MAX(ask->tasks_per_node, 1u);
    if (!ask->tasks)
        ask->tasks = MAX(ask->tasks_per_node, 1u);
    if (ask->nodes > ask->tasks) {
        sbatch_warn(reader,
                    "%" PRIu32 " tasks need no more than as many nodes: %" PRIu32
                    " nodes are not taken",
                    ask->tasks, ask->nodes - ask->tasks);
        ask->nodes = ask->tasks;
    }
    on_node = ask->tasks_per_node;
    if (ask->nodes)
        on_node = (ask->tasks + ask->nodes - 1) / ask->nodes;
    shape->tasks = ask->tasks;
    shape->tasks_per_node = ask->nodes > 1 || ask->tasks_per_node ? on_node : 0;
    return on_node ? MIN(on_node, ask->tasks) : ask->tasks;
}

/* All of a node in one task with slots: where its GPUs cannot be told apart by task. */
static void fold_tasks(struct sbatch_reader *reader, uint32_t on_node)
{
    struct request_shape *shape = &reader->spec->request.shape;

    shape->tasks = (shape->tasks + on_node - 1) / on_node;
    shape->tasks_per_node = shape->tasks > 1 ? 1 : 0;
    reader->spec->slots = on_node;
}

static int settle_resources(struct sbatch_reader *reader)
{
    struct sbatch_ask *ask = &reader->ask;
    struct request_shape *shape = &reader->spec->request.shape;
    uint32_t on_node = settle_tasks(reader);
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): settle_tasks gives 1 or more */
    uint32_t nodes = (shape->tasks + on_node - 1) / on_node;
    uint64_t node_gpus = ask->gpus_per_node;
    uint64_t cpus = ask->cpus_per_task ? ask->cpus_per_task : 1;
    uint64_t gpus;
    int64_t memory = 0;

    if (ask->gpus && !node_gpus)
        node_gpus = (ask->gpus + nodes - 1) / nodes;
    if (ask->gpus_per_task)
        node_gpus = (uint64_t)ask->gpus_per_task * on_node;
    if (node_gpus % on_node)
        fold_tasks(reader, on_node);
    on_node = node_gpus % on_node ? 1 : on_node;
    gpus = node_gpus / on_node;
    if (ask->cpus_per_gpu && gpus && !ask->cpus_per_task)
        cpus = ask->cpus_per_gpu * gpus;
    cpus *= reader->spec->slots;
    if (cpus > 65536 || gpus > 1024)
        return sbatch_refuse(reader, -EINVAL, "more than 65536 CPUs or 1024 GPUs a task");
    shape->cpus = (uint32_t)cpus;
    shape->devices_milli = (uint32_t)gpus * 1000;
    if (ask->memory_bytes)
        memory = (ask->memory_bytes + on_node - 1) / on_node;
    else if (__builtin_mul_overflow(ask->memory_per_cpu_bytes, (int64_t)cpus, &memory) ||
             (gpus && !memory &&
              __builtin_mul_overflow(ask->memory_per_gpu_bytes, (int64_t)gpus, &memory)))
        return sbatch_refuse(reader, -EINVAL, "the memory of a task does not fit");
    if (memory > INT64_C(1) << 60)
        return sbatch_refuse(reader, -EINVAL, "the memory of a task does not fit");
    shape->memory_bytes = memory;
    shape->disk_bytes = (ask->scratch_bytes + on_node - 1) / on_node;
    if (ask->gpu_kind && gpus) {
        memcpy(shape->chips[0], ask->gpu_kind, strlen(ask->gpu_kind) + 1);
        shape->chips_count = 1;
    }
    return 0;
}

static int add_export(struct sbatch_reader *reader, const char *entry, struct spec_pair *env,
                      const char **names)
{
    struct job_spec *spec = reader->spec;
    const char *sign = strchr(entry, '=');
    char *name = arena_strndup(&spec->arena, entry, sign ? (size_t)(sign - entry) : strlen(entry));

    if (!name)
        return sbatch_refuse(reader, -E2BIG, "the job is too big");
    if (strcasecmp(entry, "ALL") == 0) {
        spec->export_all = true;
        return 0;
    }
    if (strcasecmp(entry, "NONE") == 0 || strcasecmp(entry, "NIL") == 0)
        return 0;
    if (!spec_env_name_is_valid(name) || strncmp(name, "MAINS_", 6) == 0)
        return sbatch_refuse(reader, -EINVAL,
                             "--export: expected the name of a variable, not "
                             "\"%.40s\"",
                             name);
    if (spec->env_count == SPEC_LIST_MAX || spec->export_names_count == SPEC_LIST_MAX)
        return sbatch_refuse(reader, -E2BIG, "--export: more than %u variables", SPEC_LIST_MAX);
    if (sign)
        env[spec->env_count++] = (struct spec_pair){ .name = name, .value = sign + 1 };
    else
        names[spec->export_names_count++] = name;
    return 0;
}

/* ALL (as when absent), NONE, or names and NAME=VALUEs. */
static int settle_export(struct sbatch_reader *reader)
{
    struct job_spec *spec = reader->spec;
    const char *value = reader->ask.export ? reader->ask.export : "ALL";
    struct spec_pair *env = arena_alloc(&spec->arena, SPEC_LIST_MAX, sizeof(*env));
    const char **names = arena_alloc(&spec->arena, SPEC_LIST_MAX, sizeof(*names));
    int rc = 0;

    if (!env || !names)
        return sbatch_refuse(reader, -E2BIG, "the job is too big");
    while (rc == 0 && *value) {
        size_t len = strcspn(value, ",");
        char *entry = arena_strndup(&spec->arena, value, len);

        if (!entry)
            return sbatch_refuse(reader, -E2BIG, "the job is too big");
        if (len)
            rc = add_export(reader, entry, env, names);
        value += len + (value[len] == ',');
    }
    spec->env = env;
    spec->export_names = names;
    return rc;
}

static void settle_rest(struct sbatch_reader *reader)
{
    struct job_spec *spec = reader->spec;
    const struct sbatch_ask *ask = &reader->ask;
    const char *base = strrchr(reader->file, '/');

    base = base ? base + 1 : reader->file;
    spec->name = ask->name ? ask->name : spec_make_name(&spec->arena, base, strlen(base));
    spec->stdout_pattern = ask->output;
    if (!spec->stdout_pattern)
        spec->stdout_pattern = spec->elements_count ? "slurm-%A_%a.out" : "slurm-%j.out";
    spec->stderr_pattern = ask->error ? ask->error : spec->stdout_pattern;
}

/* The words after "#!", if there are any. */
static int take_interpreter(struct sbatch_reader *reader, const char *text, size_t len)
{
    size_t from = 2, end;
    char *words;

    if (len < 2 || text[0] != '#' || text[1] != '!')
        return 0;
    while (from < len && (text[from] == ' ' || text[from] == '\t'))
        from++;
    end = from;
    while (end < len && text[end] != '\n')
        end++;
    while (end > from && (text[end - 1] == ' ' || text[end - 1] == '\t'))
        end--;
    if (end == from)
        return 0;
    words = end - from < 256 ? arena_strndup(&reader->spec->arena, text + from, end - from) : NULL;
    if (!words)
        return err_set(reader->err, -E2BIG, "%s:1:1: the #! line is too long", reader->file);
    for (char *p = words; *p; p++) {
        if (*p == '\t')
            *p = ' ';
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(reader->err, -EINVAL, "%s:1:%zu: a control character in the #! line",
                           reader->file, from + (size_t)(p - words) + 1);
    }
    reader->spec->script_interpreter = words;
    return 0;
}

/* A shell would take the carriage returns for part of its words. */
static int check_line_ends(struct sbatch_reader *reader, const char *text, size_t len)
{
    uint32_t line = 1;

    for (size_t at = 0; at < len; at++) {
        if (text[at] != '\n')
            continue;
        if (at > 0 && text[at - 1] == '\r')
            return err_set(reader->err, -EINVAL,
                           "%s:%" PRIu32 ": DOS line ends (CR LF): expected a script with LF alone",
                           reader->file, line);
        line++;
    }
    return 0;
}

int spec_parse_sbatch(const char *file, const char *text, size_t len, struct job_spec **spec_out,
                      struct spec_warnings *warnings, struct err *err)
{
    CLEANUP(spec_destroyp) struct job_spec *spec = spec_create();
    struct sbatch_reader reader = {
        .spec = spec, .warnings = warnings, .err = err, .file = file, .now_ms = clock_wall_ms()
    };
    struct spec_reader finisher = { .err = err };
    int rc;

    if (!spec)
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    if (len > SPEC_TEXT_BYTES_MAX)
        return err_set(err, -E2BIG, "%s: a script is at most %u KiB of text", file,
                       SPEC_TEXT_BYTES_MAX >> 10);
    if (!spec_text_is_utf8(text, len))
        return err_set(err, -EINVAL, "%s: bytes that are no UTF-8 text: a program, not a script?",
                       file);
    finisher.arena = &spec->arena;
    spec->origin = ORIGIN_SBATCH;
    spec->launch = LAUNCH_ONCE;
    spec->grace_ms = KILL_WAIT_MS;
    spec->run = len ? arena_strndup(&spec->arena, text, len) : NULL;
    rc = check_line_ends(&reader, text, len);
    if (rc == 0)
        rc = take_interpreter(&reader, text, len);
    if (rc == 0)
        rc = read_lines(&reader, text, len);
    if (rc == 0)
        rc = settle_resources(&reader);
    if (rc == 0)
        rc = settle_export(&reader);
    if (rc < 0)
        return rc;
    settle_rest(&reader);
    rc = spec_finish(spec, &finisher);
    if (rc < 0)
        return err_prefix(err, rc, "%s", file);
    *spec_out = TAKE(spec);
    return 0;
}
