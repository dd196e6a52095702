#include "model/rank_env.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_BYTES_MAX (1u << 20)

struct rank_env rank_env_init(struct arena *arena)
{
    return (struct rank_env){ .arena = arena };
}

static char **find_entry(const struct rank_env *env, const char *name)
{
    size_t len = strlen(name);

    for (uint32_t i = 0; i < env->count; i++)
        if (strncmp(env->list[i], name, len) == 0 && env->list[i][len] == '=')
            return &env->list[i];
    return NULL;
}

const char *rank_env_find(const struct rank_env *env, const char *name)
{
    char **entry = find_entry(env, name);

    return entry ? *entry + strlen(name) + 1 : NULL;
}

void rank_env_set(struct rank_env *env, const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 2;
    char **entry = find_entry(env, name);
    char *text = arena_alloc(env->arena, bytes, 1);

    if (!text || (!entry && env->count == RANK_ENV_VARIABLES_MAX)) {
        env->failed = true;
        return;
    }
    snprintf(text, bytes, "%s=%s", name, value);
    if (entry) {
        *entry = text;
        return;
    }
    if (env->count + 1 >= env->room) {
        uint32_t room = env->room ? env->room * 2 : 128;
        char **list = arena_alloc(env->arena, room, sizeof(*list));

        if (!list) {
            env->failed = true;
            return;
        }
        if (env->count)
            memcpy(list, env->list, env->count * sizeof(*list));
        env->list = list;
        env->room = room;
    }
    env->list[env->count++] = text;
}

static void format_value(struct rank_env *env, const char *name, const char *fmt, va_list args)
{
    CLEANUP(buf_fini) struct buf value = buf_init(VALUE_BYTES_MAX);

    if (buf_vprintf(&value, fmt, args) < 0)
        env->failed = true;
    else
        rank_env_set(env, name, value.data);
}

void rank_env_format(struct rank_env *env, const char *name, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    format_value(env, name, fmt, args);
    va_end(args);
}

/* Only where the job has not set it itself. */
static void offer(struct rank_env *env, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void offer(struct rank_env *env, const char *name, const char *fmt, ...)
{
    va_list args;

    if (find_entry(env, name))
        return;
    va_start(args, fmt);
    format_value(env, name, fmt, args);
    va_end(args);
}

static void offer_text(struct rank_env *env, const char *name, const char *value)
{
    if (value)
        offer(env, name, "%s", value);
}

int rank_env_add_job(struct rank_env *env, const struct job_spec *spec,
                     const struct spec_variant *variant)
{
    for (uint32_t i = 0; i < spec->env_count; i++)
        rank_env_set(env, spec->env[i].name, spec->env[i].value);
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        if (spec->secrets[i].value)
            rank_env_set(env, spec->secrets[i].name, spec->secrets[i].value);
    for (uint32_t i = 0; variant && i < variant->env_count; i++)
        rank_env_set(env, variant->env[i].name, variant->env[i].value);
    return env->failed ? -ENOMEM : 0;
}

static const char *node_address(const struct rank_node *node)
{
    return node->address ? node->address : node->name;
}

static uint32_t count_tasks(const struct rank_facts *facts)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < facts->nodes_count; i++)
        count += facts->nodes[i].tasks;
    return count;
}

static void print_indices(const uint32_t *indices, uint32_t count, struct buf *out)
{
    for (uint32_t i = 0; i < count; i++)
        buf_printf(out, "%s%" PRIu32, i ? "," : "", indices[i]);
    if (!count)
        buf_add(out, "", 0);
}

static void print_nodes(const struct rank_facts *facts, bool addresses, char separator,
                        struct buf *out)
{
    buf_add(out, "", 0);
    for (uint32_t i = 0; i < facts->nodes_count; i++) {
        if (i)
            buf_add_char(out, separator);
        buf_add_text(out, addresses ? node_address(&facts->nodes[i]) : facts->nodes[i].name);
    }
}

/* Slurm's "4(x2),3": how many `each` a node, neighbours alike drawn together. */
static void print_per_node(const struct rank_facts *facts, uint32_t each, struct buf *out)
{
    buf_add(out, "", 0);
    for (uint32_t i = 0; i < facts->nodes_count;) {
        uint32_t same = 1;

        while (i + same < facts->nodes_count &&
               facts->nodes[i + same].tasks == facts->nodes[i].tasks)
            same++;
        buf_printf(out, "%s%" PRIu64, i ? "," : "", (uint64_t)facts->nodes[i].tasks * each);
        if (same > 1)
            buf_printf(out, "(x%" PRIu32 ")", same);
        i += same;
    }
}

static void take_buf(struct rank_env *env, const char *name, bool ours, struct buf *value)
{
    if (value->failed)
        env->failed = true;
    else if (ours || !find_entry(env, name))
        rank_env_set(env, name, value->data ? value->data : "");
    buf_clear(value);
}

static void add_array(struct rank_env *env, const struct job_spec *spec,
                      const struct rank_facts *facts)
{
    char name[sizeof("MAINS_PARAM_") + MODEL_NAME_BYTES];

    if (!facts->array_id)
        return;
    rank_env_format(env, "MAINS_ARRAY_ID", "%" PRIu64, facts->array_id);
    rank_env_format(env, "MAINS_ARRAY_INDEX", "%" PRIu32, facts->array_index);
    rank_env_format(env, "MAINS_ARRAY_COUNT", "%" PRIu32, facts->array_count);
    if (facts->array_index >= spec->elements_count)
        return;
    rank_env_format(env, "MAINS_ARRAY_VALUE", "%" PRIu32,
                    spec_range_value(spec, facts->array_index));
    for (uint32_t i = 0; i < spec->params_count; i++) {
        int len = snprintf(name, sizeof(name), "MAINS_PARAM_%s", spec->params[i].name);

        for (int j = 0; j < len && j < (int)sizeof(name); j++)
            name[j] = (char)toupper((unsigned char)name[j]);
        rank_env_set(env, name, spec_param_value(spec, i, facts->array_index));
    }
}

static void add_mains(struct rank_env *env, const struct job_spec *spec,
                      const struct rank_facts *facts, struct buf *text)
{
    const struct request_shape *shape = &spec->request.shape;

    rank_env_format(env, "MAINS_JOB_ID", "%" PRIu64, facts->job_id);
    rank_env_set(env, "MAINS_JOB_NAME", spec->name);
    rank_env_format(env, "MAINS_ATTEMPT", "%" PRIu32, facts->attempt);
    rank_env_format(env, "MAINS_EPOCH", "%" PRIu32, facts->epoch);
    rank_env_format(env, "MAINS_RANK", "%" PRIu32, facts->rank);
    rank_env_format(env, "MAINS_LOCAL_RANK", "%" PRIu32, facts->local_rank);
    rank_env_format(env, "MAINS_TASKS", "%" PRIu32, count_tasks(facts));
    rank_env_format(env, "MAINS_NODE_RANK", "%" PRIu32, facts->node_rank);
    rank_env_format(env, "MAINS_NODES_COUNT", "%" PRIu32, facts->nodes_count);
    if (facts->nodes_count) {
        rank_env_set(env, "MAINS_NODE", facts->nodes[facts->node_rank].name);
        rank_env_format(env, "MAINS_LOCAL_TASKS", "%" PRIu32, facts->nodes[facts->node_rank].tasks);
    }
    print_nodes(facts, false, ',', text);
    take_buf(env, "MAINS_NODES", true, text);
    rank_env_format(env, "MAINS_CPUS", "%" PRIu32, shape->cpus);
    rank_env_format(env, "MAINS_SLOTS", "%" PRIu32, spec->slots);
    if (shape->memory_bytes)
        rank_env_format(env, "MAINS_MEMORY_BYTES", "%" PRId64, shape->memory_bytes);
    print_indices(facts->devices, facts->devices_count, text);
    take_buf(env, "MAINS_DEVICES", true, text);
    rank_env_format(env, "MAINS_DEVICES_COUNT", "%" PRIu32, facts->devices_count);
    if (facts->share_ppm)
        rank_env_format(env, "MAINS_SHARE", "%" PRIu32, facts->share_ppm);
    if (facts->workdir)
        rank_env_set(env, "MAINS_WORKDIR", facts->workdir);
    if (facts->hostfile)
        rank_env_set(env, "MAINS_HOSTFILE", facts->hostfile);
    if (facts->tenant)
        rank_env_set(env, "MAINS_TENANT", facts->tenant);
    if (facts->user)
        rank_env_set(env, "MAINS_USER", facts->user);
    if (facts->site)
        rank_env_set(env, "MAINS_SITE", facts->site);
    if (spec->checkpoint_path)
        rank_env_set(env, "MAINS_CHECKPOINT", spec->checkpoint_path);
    if (facts->checkpoint_every_ms)
        rank_env_format(env, "MAINS_CHECKPOINT_EVERY", "%" PRId64,
                        MAX(facts->checkpoint_every_ms / 1000, 1));
    if (facts->peers && facts->nodes_count) {
        rank_env_set(env, "MAINS_PEERS", facts->peers);
        rank_env_set(env, "MAINS_ADDRESS", node_address(&facts->nodes[facts->node_rank]));
        rank_env_format(env, "MAINS_PORT", "%u", facts->port);
    }
    add_array(env, spec, facts);
}

/* torchrun's and MPI's names, and the devices. */
static void add_launchers(struct rank_env *env, const struct job_spec *spec,
                          const struct rank_facts *facts, struct buf *text)
{
    const char *master = facts->master_addr;

    if (!master && facts->nodes_count)
        master = node_address(&facts->nodes[0]);
    offer_text(env, "MASTER_ADDR", master);
    if (facts->master_port)
        offer(env, "MASTER_PORT", "%u", facts->master_port);
    /* A single process that starts the others gives them their ranks itself. */
    if (spec->launch == LAUNCH_EACH) {
        offer(env, "RANK", "%" PRIu32, facts->rank);
        offer(env, "LOCAL_RANK", "%" PRIu32, facts->local_rank);
        offer(env, "WORLD_SIZE", "%" PRIu32, count_tasks(facts));
        offer(env, "NODE_RANK", "%" PRIu32, facts->node_rank);
        offer(env, "GROUP_RANK", "%" PRIu32, facts->node_rank);
        if (facts->nodes_count)
            offer(env, "LOCAL_WORLD_SIZE", "%" PRIu32, facts->nodes[facts->node_rank].tasks);
    } else if (facts->hostfile) {
        offer_text(env, "OMPI_MCA_orte_default_hostfile", facts->hostfile);
        offer_text(env, "PRTE_MCA_prte_default_hostfile", facts->hostfile);
    }
    offer(env, "OMP_NUM_THREADS", "%" PRIu32,
          MAX(spec->request.shape.cpus / MAX(spec->slots, 1u), 1u));
    if (facts->visibility_env) {
        print_indices(facts->devices, facts->devices_count, text);
        take_buf(env, facts->visibility_env, true, text);
    }
}

static void add_slurm_devices(struct rank_env *env, const struct rank_facts *facts,
                              const struct job_spec *spec, struct buf *text)
{
    const uint32_t *devices = facts->node_devices ? facts->node_devices : facts->devices;
    uint32_t count = facts->node_devices ? facts->node_devices_count : facts->devices_count;
    uint64_t total = (uint64_t)count_tasks(facts) * spec->request.shape.devices_milli;

    if (!count)
        return;
    print_indices(devices, count, text);
    take_buf(env, "SLURM_JOB_GPUS", false, text);
    print_indices(facts->devices, facts->devices_count, text);
    take_buf(env, "SLURM_STEP_GPUS", false, text);
    offer(env, "SLURM_GPUS", "%" PRIu64, (total + 999) / 1000);
    offer(env, "SLURM_GPUS_ON_NODE", "%" PRIu32, count);
    offer(env, "SLURM_GPUS_PER_NODE", "%" PRIu32, count);
}

static void add_slurm_array(struct rank_env *env, const struct job_spec *spec,
                            const struct rank_facts *facts)
{
    uint32_t least = spec_range_value(spec, 0);
    uint32_t step = 1;

    if (!facts->array_id || facts->array_index >= spec->elements_count)
        return;
    if (spec->elements_count > 1)
        step = spec_range_value(spec, 1) - least;
    offer(env, "SLURM_ARRAY_JOB_ID", "%" PRIu64, facts->array_id);
    offer(env, "SLURM_ARRAY_TASK_ID", "%" PRIu32, spec_range_value(spec, facts->array_index));
    offer(env, "SLURM_ARRAY_TASK_COUNT", "%" PRIu32, spec->elements_count);
    offer(env, "SLURM_ARRAY_TASK_MIN", "%" PRIu32, least);
    offer(env, "SLURM_ARRAY_TASK_MAX", "%" PRIu32,
          spec_range_value(spec, spec->elements_count - 1));
    offer(env, "SLURM_ARRAY_TASK_STEP", "%" PRIu32, step);
}

static void add_slurm_layout(struct rank_env *env, const struct job_spec *spec,
                             const struct rank_facts *facts, struct buf *text)
{
    const struct request_shape *shape = &spec->request.shape;
    uint32_t slots = MAX(spec->slots, 1u);
    uint64_t tasks = (uint64_t)count_tasks(facts) * slots;
    uint32_t cpus = MAX(shape->cpus / slots, 1u);

    offer(env, "SLURM_NTASKS", "%" PRIu64, tasks);
    offer(env, "SLURM_NPROCS", "%" PRIu64, tasks);
    offer(env, "SLURM_CPUS_PER_TASK", "%" PRIu32, cpus);
    offer(env, "SLURM_JOB_NUM_NODES", "%" PRIu32, facts->nodes_count);
    offer(env, "SLURM_NNODES", "%" PRIu32, facts->nodes_count);
    print_nodes(facts, false, ',', text);
    offer_text(env, "SLURM_JOB_NODELIST", text->data);
    take_buf(env, "SLURM_NODELIST", false, text);
    print_per_node(facts, slots, text);
    take_buf(env, "SLURM_TASKS_PER_NODE", false, text);
    print_per_node(facts, shape->cpus, text);
    take_buf(env, "SLURM_JOB_CPUS_PER_NODE", false, text);
    if (!facts->nodes_count)
        return;
    offer(env, "SLURM_NTASKS_PER_NODE", "%" PRIu64, (uint64_t)facts->nodes[0].tasks * slots);
    offer(env, "SLURM_CPUS_ON_NODE", "%" PRIu64,
          (uint64_t)facts->nodes[facts->node_rank].tasks * shape->cpus);
    offer_text(env, "SLURMD_NODENAME", facts->nodes[facts->node_rank].name);
    if (shape->memory_bytes) {
        int64_t mib = shape->memory_bytes >> 20;

        offer(env, "SLURM_MEM_PER_NODE", "%" PRId64, mib * facts->nodes[0].tasks);
        offer(env, "SLURM_MEM_PER_CPU", "%" PRId64, mib / MAX(shape->cpus, 1u));
    }
}

/* Launchers that see SLURM_* would ask a Slurm that is not there. */
static void add_slurm_launchers(struct rank_env *env, const struct rank_facts *facts)
{
    const char *path = rank_env_find(env, "PATH");

    if (!facts->bin_dir)
        return;
    if (path && *path)
        rank_env_format(env, "PATH", "%s:%s", facts->bin_dir, path);
    else
        rank_env_set(env, "PATH", facts->bin_dir);
    offer_text(env, "OMPI_MCA_plm", "^slurm");
    offer_text(env, "OMPI_MCA_ras", "^slurm");
    offer_text(env, "PRTE_MCA_plm", "^slurm");
    offer_text(env, "PRTE_MCA_ras", "^slurm");
    offer_text(env, "HYDRA_RMK", "user");
    offer_text(env, "HYDRA_LAUNCHER", "fork");
}

static void add_slurm(struct rank_env *env, const struct job_spec *spec,
                      const struct rank_facts *facts, struct buf *text)
{
    offer(env, "SLURM_JOB_ID", "%" PRIu64, facts->job_id);
    offer(env, "SLURM_JOBID", "%" PRIu64, facts->job_id);
    offer_text(env, "SLURM_JOB_NAME", spec->name);
    offer_text(env, "SLURM_JOB_USER", facts->user);
    offer_text(env, "SLURM_JOB_ACCOUNT", facts->tenant);
    offer(env, "SLURM_JOB_PARTITION", "mains");
    offer_text(env, "SLURM_CLUSTER_NAME", facts->site ? facts->site : "mains");
    offer_text(env, "SLURM_SUBMIT_DIR", spec->submit_dir ? spec->submit_dir : facts->workdir);
    offer_text(env, "SLURM_SUBMIT_HOST", spec->submit_host);
    offer(env, "SLURM_PROCID", "%" PRIu32, facts->rank);
    offer(env, "SLURM_LOCALID", "%" PRIu32, facts->local_rank);
    offer(env, "SLURM_NODEID", "%" PRIu32, facts->node_rank);
    if (facts->attempt > 1)
        offer(env, "SLURM_RESTART_COUNT", "%" PRIu32, facts->attempt - 1);
    add_slurm_layout(env, spec, facts, text);
    add_slurm_devices(env, facts, spec, text);
    add_slurm_array(env, spec, facts);
    add_slurm_launchers(env, facts);
}

static void add_skypilot(struct rank_env *env, const struct job_spec *spec,
                         const struct rank_facts *facts, struct buf *text)
{
    print_nodes(facts, true, '\n', text);
    offer_text(env, "SKYPILOT_SETUP_NODE_IPS", text->data);
    take_buf(env, "SKYPILOT_NODE_IPS", false, text);
    offer(env, "SKYPILOT_NODE_RANK", "%" PRIu32, facts->node_rank);
    offer(env, "SKYPILOT_SETUP_NODE_RANK", "%" PRIu32, facts->node_rank);
    offer(env, "SKYPILOT_NUM_NODES", "%" PRIu32, facts->nodes_count);
    offer(env, "SKYPILOT_NUM_GPUS_PER_NODE", "%" PRIu32,
          (spec->request.shape.devices_milli + 999) / 1000);
    offer(env, "SKYPILOT_TASK_ID", "mains-%" PRIu64 "_%s", facts->job_id, spec->name);
    offer_text(env, "SKYPILOT_USER", facts->user);
    /* Its file mounts are below ~. */
    if (facts->workdir && !spec_env_find(spec, "HOME"))
        rank_env_set(env, "HOME", facts->workdir);
}

int rank_env_add_rank(struct rank_env *env, const struct job_spec *spec,
                      const struct rank_facts *facts)
{
    CLEANUP(buf_fini) struct buf text = buf_init(VALUE_BYTES_MAX);

    add_mains(env, spec, facts, &text);
    add_launchers(env, spec, facts, &text);
    if (spec->origin == ORIGIN_SBATCH)
        add_slurm(env, spec, facts, &text);
    if (spec->origin == ORIGIN_SKYPILOT)
        add_skypilot(env, spec, facts, &text);
    return env->failed ? -ENOMEM : 0;
}

int rank_hostfile_print(const struct job_spec *spec, const struct rank_facts *facts,
                        struct buf *out)
{
    int rc = buf_add(out, "", 0);

    for (uint32_t i = 0; rc == 0 && i < facts->nodes_count; i++)
        rc = buf_printf(out, "%s slots=%" PRIu64 "\n", node_address(&facts->nodes[i]),
                        (uint64_t)facts->nodes[i].tasks * MAX(spec->slots, 1u));
    return rc;
}

/* The text behind one letter; false for a letter that is none. */
static bool expand_letter(const struct job_spec *spec, const struct rank_facts *facts, char letter,
                          char *out, size_t out_bytes, bool *is_number)
{
    const char *text = NULL;
    uint64_t number = 0;

    *is_number = true;
    switch (letter) {
    case 'j':
    case 'J':
        number = facts->job_id;
        break;
    case 'A':
        number = facts->array_id ? facts->array_id : facts->job_id;
        break;
    case 'a':
        if (facts->array_id && facts->array_index < spec->elements_count)
            number = spec_range_value(spec, facts->array_index);
        break;
    case 'n':
        number = facts->node_rank;
        break;
    case 't':
        number = facts->rank;
        break;
    case 'x':
        text = spec->name;
        break;
    case 'u':
        text = facts->user ? facts->user : "";
        break;
    case 'N':
        text = facts->nodes_count ? facts->nodes[facts->node_rank].name : "";
        break;
    default:
        return false;
    }
    *is_number = text == NULL;
    if (text)
        snprintf(out, out_bytes, "%s", text);
    else
        snprintf(out, out_bytes, "%" PRIu64, number);
    return true;
}

int rank_expand_pattern(const struct job_spec *spec, const struct rank_facts *facts,
                        const char *pattern, char *out, size_t out_bytes)
{
    size_t len = 0;

    for (const char *p = pattern; *p; p++) {
        char text[256] = { *p, '\0' };
        size_t width = 0, text_len, pad;
        bool is_number = false;

        if (*p == '%' && p[1] == '%') {
            p++;
        } else if (*p == '%') {
            const char *letter = p + 1;

            if (isdigit((unsigned char)*letter))
                width = (size_t)(*letter++ - '0');
            if (*letter && expand_letter(spec, facts, *letter, text, sizeof(text), &is_number))
                p = letter;
        }
        text_len = strlen(text);
        pad = is_number && width > text_len ? width - text_len : 0;
        if (len + pad + text_len >= out_bytes)
            return -ENAMETOOLONG;
        memset(out + len, '0', pad);
        memcpy(out + len + pad, text, text_len);
        len += pad + text_len;
    }
    if (!out_bytes)
        return -ENAMETOOLONG;
    out[len] = '\0';
    return 0;
}
