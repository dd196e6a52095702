#include "agent/slurm_job.h"

#include "agent/engine_job.h"
#include "agent/guard.h"
#include "agent/slurm_script.h"
#include "base/file.h"
#include "model/rank_env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INTERPRETER_WORDS_MAX 16
#define MASTER_PORT_BASE 20000u
#define MASTER_PORTS 20000u
#define ENV_BYTES_MAX (2u << 20)
#define MINUTE_MS 60000
#define MIB INT64_C(1048576)
#define MARGIN_MINUTES 2 /* the agent itself ends it on time; Slurm should the agent be away */

struct job {
    const struct slurm_order *order;
    struct engine_job files;
    struct arena *arena;
    const struct spec_variant *variant;
};

static int write_at(int folder_fd, const char *name, const void *data, size_t len)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? -errno : file_write_all(fd, data, len);

    if (fd >= 0)
        close(fd);
    return rc;
}

static int open_job(const struct slurm_order *order, int attempt_fd, struct job *job,
                    struct err *err)
{
    job->order = order;
    job->arena = NULL;
    job->variant = NULL;
    return engine_job_open(&job->files, &order->base, order->spec_json, attempt_fd,
                           order->state_dir, order->agent_dir, err);
}

/* ---- texts, words and variables ---- */

struct list { /* "NAME=VALUE" with a NUL after each: --export-file */
    struct buf text;
    struct buf ours; /* names, blanks between */
};

static void add_ours(struct list *list, const char *name, const char *value)
{
    buf_printf(&list->ours, "%s ", name);
    buf_printf(&list->text, "%s=%s", name, value);
    buf_add_char(&list->text, '\0');
}

static void add_number(struct list *list, const char *name, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%" PRIu32, value);
    add_ours(list, name, text);
}

static void add_word(struct list *list, const char *prefix, uint32_t index, const char *word)
{
    char name[48];

    snprintf(name, sizeof(name), "MAINS_SLURM_%s_%" PRIu32, prefix, index);
    add_ours(list, name, word);
}

/* "/bin/bash -l" and the file of the text, and the script's own words after it. */
static uint32_t add_script(struct job *job, struct list *list, const char *prefix, const char *file)
{
    const struct job_spec *spec = job->files.sup.spec;
    char words[1024], path[PATH_MAX + 32];
    uint32_t count = 0;

    snprintf(words, sizeof(words), "%s",
             spec->script_interpreter ? spec->script_interpreter : "/bin/sh");
    for (char *p = words; *p && count < INTERPRETER_WORDS_MAX;) {
        char *word = p += strspn(p, " \t");

        p += strcspn(p, " \t");
        if (*p)
            *p++ = '\0';
        if (*word)
            add_word(list, prefix, count++, word);
    }
    snprintf(path, sizeof(path), "%s/script/%s", job->files.folder, file);
    add_word(list, prefix, count++, path);
    return count;
}

static bool is_guarded(const struct slurm_note *note)
{
    return note->lease || note->save_signal;
}

static int add_command(struct job *job, struct list *list, int script_fd, struct err *err)
{
    const struct job_spec *spec = job->files.sup.spec;
    const struct spec_variant *variant = job->variant;
    const char *run = variant && variant->run ? variant->run : spec->run;
    const char *setup = variant && variant->setup ? variant->setup : spec->setup;
    uint32_t count = 0;
    int rc = 0;

    if (setup) {
        rc = write_at(script_fd, "setup", setup, strlen(setup));
        add_number(list, "MAINS_SLURM_SET_COUNT", add_script(job, list, "SET", "setup"));
    }
    if (rc == 0 && run) {
        rc = write_at(script_fd, "run", run, strlen(run));
        count = add_script(job, list, "ARG", "run");
        for (uint32_t i = 0; i < spec->args_count; i++)
            add_word(list, "ARG", count++, spec->args[i]);
    }
    for (uint32_t i = 0; !run && i < spec->argv_count; i++)
        add_word(list, "ARG", count++, spec->argv[i]);
    if (rc == 0)
        rc = write_at(script_fd, "rank", slurm_rank_script, strlen(slurm_rank_script));
    if (rc == 0 && is_guarded(&job->order->note))
        rc = write_at(script_fd, "guard", guard_script, strlen(guard_script));
    if (rc < 0)
        return err_set(err, rc, "script: %s", strerror(-rc));
    if (count == 0)
        return err_set(err, -EINVAL, "the job has no command");
    add_number(list, "MAINS_SLURM_ARG_COUNT", count);
    return 0;
}

static void add_base(struct job *job, struct rank_env *env)
{
    const struct identity *identity = &job->files.sup.identity;
    const char *path = getenv("PATH");

    rank_env_set(env, "PATH", path ? path : "/usr/local/bin:/usr/bin:/bin");
    rank_env_set(env, "HOME", identity->home[0] ? identity->home : job->files.sup.work_seen);
    rank_env_set(env, "USER", identity->name);
    rank_env_set(env, "LOGNAME", identity->name);
    rank_env_set(env, "SHELL", "/bin/sh");
    rank_env_set(env, "LANG", "C.UTF-8");
    rank_env_set(env, "TMPDIR", "/tmp");
    rank_env_set(env, "PWD", job->files.sup.work_seen);
    if (job->files.sup.restored)
        rank_env_set(env, "MAINS_RESTORED", "1");
}

/* Variables that differ from task to task: the rank script sets them, but for those the job set
 * itself. */
static bool is_of_rank(const char *entry, const struct job_spec *spec)
{
    static const char *const names[] = {
        "MAINS_RANK", "MAINS_LOCAL_RANK",   "MAINS_LOCAL_TASKS",
        "MAINS_NODE", "MAINS_NODE_RANK",    "RANK",
        "LOCAL_RANK", "LOCAL_WORLD_SIZE",   "NODE_RANK",
        "GROUP_RANK", "SKYPILOT_NODE_RANK", "SKYPILOT_SETUP_NODE_RANK",
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        size_t len = strlen(names[i]);

        if (strncmp(entry, names[i], len) == 0 && entry[len] == '=')
            return !spec_env_find(spec, names[i]);
    }
    return false;
}

/* Slurm's own are true here; what stays is what it does not know of, an array's. */
static bool is_slurms(const char *entry)
{
    return strncmp(entry, "SLURM_", 6) == 0 && strncmp(entry, "SLURM_ARRAY_", 12) != 0;
}

static bool is_uniform(const struct slurm_note *note)
{
    for (uint32_t i = 1; i < note->parts_count; i++)
        if (note->parts[i].tasks != note->parts[0].tasks)
            return false;
    return true;
}

/* One line a task, its node: SLURM_HOSTFILE of srun. */
static int write_order(const struct slurm_note *note, int script_fd)
{
    CLEANUP(buf_fini) struct buf text = buf_init(16u << 20);

    for (uint32_t i = 0; i < note->parts_count; i++)
        for (uint32_t t = 0; t < note->parts[i].tasks; t++)
            buf_printf(&text, "%s\n", note->parts[i].node);
    return text.failed ? -ENOMEM : write_at(script_fd, "order", text.data, text.len);
}

static int add_environment(struct job *job, struct list *list, int script_fd, struct err *err)
{
    const struct slurm_order *order = job->order;
    const struct job_spec *spec = job->files.sup.spec;
    struct rank_node *nodes = arena_alloc(job->arena, order->note.parts_count, sizeof(*nodes));
    struct rank_env env = rank_env_init(job->arena);
    CLEANUP(buf_fini) struct buf text = buf_init(1u << 20);
    char hosts[PATH_MAX + 32];
    struct rank_facts facts = {
        .job_id = order->note.key.job_id,
        .array_id = order->base.array_id,
        .array_index = order->base.array_index,
        .array_count = order->base.array_count,
        .attempt = order->base.attempt_number,
        .epoch = order->note.key.epoch,
        .tenant = order->base.tenant,
        .user = order->base.user,
        .site = order->base.site,
        .nodes = nodes,
        .nodes_count = order->note.parts_count,
        .workdir = job->files.sup.work_seen,
        .master_port = (uint16_t)(MASTER_PORT_BASE + order->note.key.job_id % MASTER_PORTS),
    };

    if (!nodes)
        return err_set(err, -ENOMEM, "environment: out of memory");
    for (uint32_t i = 0; i < order->note.parts_count; i++)
        nodes[i] = (struct rank_node){ .name = order->note.parts[i].node,
                                       .tasks = order->note.parts[i].tasks };
    if (!is_uniform(&order->note) && write_order(&order->note, script_fd) < 0)
        return err_set(err, -EIO, "script: cannot be written");
    if (spec->launch == LAUNCH_ONCE && rank_hostfile_print(spec, &facts, &text) == 0 && text.len &&
        write_at(script_fd, "hosts", text.data, text.len) == 0) {
        snprintf(hosts, sizeof(hosts), "%s/script/hosts", job->files.folder);
        facts.hostfile = hosts;
    }
    add_base(job, &env);
    if (rank_env_add_job(&env, spec, job->variant) < 0 ||
        rank_env_add_rank(&env, spec, &facts) < 0 || env.failed)
        return err_set(err, -E2BIG, "environment: too large");
    buf_clear(&text);
    for (uint32_t i = 0; i < env.count; i++) {
        if (is_of_rank(env.list[i], spec)) {
            buf_printf(&text, "%.*s ", (int)strcspn(env.list[i], "="), env.list[i]);
        } else if (!is_slurms(env.list[i])) {
            buf_add_text(&list->text, env.list[i]);
            buf_add_char(&list->text, '\0');
        }
    }
    add_ours(list, "MAINS_SLURM_VARS", text.data ? text.data : "");
    return text.failed ? err_set(err, -ENOMEM, "environment: out of memory") : 0;
}

static void add_guard(void *context, const char *name, const char *value)
{
    add_ours(context, name, value);
}

static int add_place(struct job *job, struct list *list, struct err *err)
{
    const struct slurm_order *order = job->order;
    const struct slurm_note *note = &order->note;
    const struct job_spec *spec = job->files.sup.spec;
    const char *bin = order->settings->bin_dir;
    CLEANUP(buf_fini) struct buf text = buf_init(1u << 20);
    const struct guard_job guard = { .agent_dir = order->agent_dir,
                                     .folder = job->files.folder,
                                     .key = note->key,
                                     .lease = note->lease,
                                     .signal_number = note->save_signal };
    char path[PATH_MAX], name[ATTEMPT_NAME_BYTES];
    uint32_t tasks = 0;

    for (uint32_t i = 0; i < note->parts_count; i++) {
        tasks += note->parts[i].tasks;
        buf_printf(&text, "%" PRIu32 " ", note->parts[i].tasks);
    }
    attempt_name(note->key, name);
    add_ours(list, "MAINS_SLURM_TASKS", text.data ? text.data : "1");
    add_ours(list, "MAINS_SLURM_DIR", job->files.folder);
    add_ours(list, "MAINS_SLURM_NAME", name);
    snprintf(path, sizeof(path), "%.4000s/" SLURM_EVENTS, order->agent_dir);
    add_ours(list, "MAINS_SLURM_EVENTS", path);
    snprintf(path, sizeof(path), "%s%ssrun", bin, bin[0] ? "/" : "");
    add_ours(list, "MAINS_SLURM_SRUN", path);
    add_number(list, "MAINS_SLURM_NODES", note->parts_count);
    add_number(list, "MAINS_SLURM_EACH", spec->launch == LAUNCH_ONCE ? 1 : tasks);
    add_number(list, "MAINS_SLURM_CPUS", spec->request.shape.cpus);
    add_number(list, "MAINS_SLURM_DEVICES", spec->request.shape.devices_milli / 1000);
    add_ours(list, "MAINS_SLURM_VISIBLE",
             order->base.devices_count ? order->base.devices[0].visibility_env : "");
    add_ours(list, "MAINS_SLURM_DISTRIBUTION", is_uniform(note) ? "" : "--distribution=arbitrary");
    if (!is_uniform(note)) {
        snprintf(path, sizeof(path), "%.4000s/script/order", job->files.folder);
        add_ours(list, "MAINS_SLURM_ORDER", path);
    }
    if (is_guarded(note))
        guard_each_variable(&guard, add_guard, list);
    buf_add_text(&list->text, "MAINS_SLURM_OURS=");
    buf_add(&list->text, list->ours.data, list->ours.len);
    buf_add_text(&list->text, "MAINS_SLURM_OURS");
    buf_add_char(&list->text, '\0');
    return list->text.failed || list->ours.failed || text.failed
               ? err_set(err, -E2BIG, "environment: too large")
               : 0;
}

/* ---- the options of sbatch ---- */

struct words {
    struct arena *arena;
    const char **list;
    uint32_t count, max;
    bool failed;
};

static void add_option(struct words *words, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_option(struct words *words, const char *fmt, ...)
{
    struct buf text = buf_init(4u << 20);
    va_list args;
    char *word = NULL;

    va_start(args, fmt);
    if (buf_vprintf(&text, fmt, args) == 0)
        word = arena_strdup(words->arena, text.data ? text.data : "");
    va_end(args);
    buf_fini(&text);
    if (!word || words->count + 1 >= words->max)
        words->failed = true;
    else
        words->list[words->count++] = word;
}

static void add_size(struct words *words, const struct slurm_order *order,
                     const struct job_spec *spec)
{
    const struct slurm_note *note = &order->note;
    uint32_t devices = 0, most = 0;
    int64_t memory = 0;
    struct buf nodes = buf_init(1u << 20);

    for (uint32_t i = 0; i < note->parts_count; i++) {
        most = MAX(most, note->parts[i].tasks);
        buf_printf(&nodes, "%s%s", i ? "," : "", note->parts[i].node);
        devices = MAX(devices, note->parts[i].devices);
        memory = MAX(memory, note->parts[i].memory_bytes);
    }
    add_option(words, "--nodelist=%s", nodes.data ? nodes.data : "");
    buf_fini(&nodes);
    add_option(words, "--nodes=%" PRIu32, note->parts_count);
    /* Slurm knows one number for all nodes: where they differ each holds room for the most. */
    add_option(words, "--ntasks=%" PRIu32, most * note->parts_count);
    add_option(words, "--ntasks-per-node=%" PRIu32, most);
    add_option(words, "--cpus-per-task=%" PRIu32, spec->request.shape.cpus);
    if (memory > 0)
        add_option(words, "--mem=%" PRId64 "M", (memory + MIB - 1) / MIB);
    if (devices)
        add_option(words, "--gres=%s:%" PRIu32, order->gres, devices);
    if (note->duration_ms_max > 0)
        add_option(words, "--time=%" PRId64,
                   (note->duration_ms_max + MINUTE_MS - 1) / MINUTE_MS + MARGIN_MINUTES);
}

static int make_words(struct job *job, const char **argv_out, uint32_t argv_max, struct err *err)
{
    const struct slurm_order *order = job->order;
    const struct slurm_settings *settings = order->settings;
    struct words words = { .arena = job->arena, .list = argv_out, .max = argv_max };
    char name[80];

    slurm_job_name(order->tag, order->note.key, name);
    add_option(&words, "sbatch");
    add_option(&words, "--parsable");
    add_option(&words, "--no-requeue");
    add_option(&words, "--job-name=%s", name);
    add_option(&words, "--comment=mains job %" PRIu64 " (%s)", order->note.key.job_id,
               order->base.name);
    add_option(&words, "--partition=%s", order->note.partition);
    add_size(&words, order, job->files.sup.spec);
    if (settings->account[0])
        add_option(&words, "--account=%s", settings->account);
    if (settings->qos[0])
        add_option(&words, "--qos=%s", settings->qos);
    if (settings->reservation[0])
        add_option(&words, "--reservation=%s", settings->reservation);
    add_option(&words, "--open-mode=append");
    add_option(&words, "--output=%s/stdout", job->files.folder);
    add_option(&words, "--error=%s/stderr", job->files.folder);
    add_option(&words, "--chdir=%s", job->files.sup.work_path);
    add_option(&words, "--export-file=%s/script/env", job->files.folder);
    argv_out[words.count] = NULL;
    return words.failed ? err_set(err, -E2BIG, "sbatch: too many or too long options") : 0;
}

/* '%' in a path would be a pattern to Slurm. */
static int check_paths(const struct job *job, struct err *err)
{
    if (strpbrk(job->files.folder, "%\\") || strpbrk(job->files.sup.work_path, "%\\"))
        return err_set(err, -EINVAL, "%s: '%%' and '\\' in paths mean something to Slurm",
                       job->files.folder);
    return 0;
}

static int prepare_files(struct job *job, struct err *err)
{
    struct list list = { .text = buf_init(ENV_BYTES_MAX), .ours = buf_init(ENV_BYTES_MAX) };
    int attempt_fd = job->files.sup.attempt_fd, script_fd, rc = 0;

    if (mkdirat(attempt_fd, "script", 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "script: %s", strerror(errno));
    script_fd = openat(attempt_fd, "script", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (script_fd < 0)
        return err_set(err, -errno, "script: %s", strerror(errno));
    rc = add_environment(job, &list, script_fd, err);
    if (rc == 0)
        rc = add_command(job, &list, script_fd, err);
    if (rc == 0)
        rc = add_place(job, &list, err);
    if (rc == 0) {
        rc = write_at(script_fd, "env", list.text.data, list.text.len);
        if (rc == 0)
            rc = write_at(script_fd, "spec", job->order->spec_json, strlen(job->order->spec_json));
        if (rc < 0)
            err_set(err, rc, "script: %s", strerror(-rc));
    }
    close(script_fd);
    buf_fini(&list.text);
    buf_fini(&list.ours);
    return rc;
}

int slurm_job_prepare(const struct slurm_order *order, int attempt_fd, struct arena *arena,
                      const char **argv_out, uint32_t argv_max, struct err *err)
{
    struct job *job = malloc(sizeof(*job));
    int rc;

    if (!job)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    rc = open_job(order, attempt_fd, job, err);
    job->arena = arena;
    if (rc == 0) {
        job->variant = supervisor_find_variant(&job->files.sup);
        if (job->files.sup.spec->image || (job->variant && job->variant->image))
            rc = err_field(err, -ENOTSUP, "image", "image: this site runs no container images");
    }
    if (rc == 0)
        rc = check_paths(job, err);
    if (rc == 0)
        rc = engine_job_prepare(&job->files, err);
    if (rc == 0)
        rc = prepare_files(job, err);
    if (rc == 0)
        rc = make_words(job, argv_out, argv_max, err);
    engine_job_close(&job->files);
    free(job);
    return rc;
}

/* ---- after the end ---- */

int slurm_job_collect(const struct slurm_order *order, int attempt_fd, struct err *err)
{
    struct job *job = malloc(sizeof(*job));
    int rc;

    if (!job)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    rc = open_job(order, attempt_fd, job, err);
    if (rc == 0)
        rc = engine_job_collect(&job->files, order->note.parts[0].node, order->note.parts[0].tasks,
                                err);
    engine_job_close(&job->files);
    free(job);
    return rc;
}

void slurm_job_clean(int attempt_fd)
{
    static const char *const names[] = { "script/env",   "script/run",  "script/setup",
                                         "script/spec",  "script/rank", "script/hosts",
                                         "script/order", "script/guard" };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        unlinkat(attempt_fd, names[i], 0);
}
