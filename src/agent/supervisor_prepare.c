#include "agent/supervisor_internal.h"

#include "agent/checkpoint.h"
#include "agent/criu.h"
#include "agent/laid.h"
#include "agent/leftover.h"
#include "agent/peers.h"
#include "agent/libexec.h"
#include "agent/stage.h"
#include "base/file.h"
#include "model/rank_env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SCRIPT_ARGUMENT_BYTES_MAX (96u << 10) /* one argument may hold 128 KiB */
#define INTERPRETER_WORDS_MAX 16
#define PIDS_MAX 1024u

bool supervisor_read_stop(struct supervisor *sup, int64_t *grace_ms_out,
                          char reason_out[ATTEMPT_REASON_BYTES])
{
    char text[ATTEMPT_REASON_BYTES + 32];
    int fd = openat(sup->attempt_fd, "stop", O_RDONLY | O_CLOEXEC);
    char *end;
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(got, 0)] = '\0';
    *grace_ms_out = got > 0 ? strtoll(text, &end, 10) : -1;
    snprintf(reason_out, ATTEMPT_REASON_BYTES, "%s", got > 0 && *end == ' ' ? end + 1 : "stopped");
    reason_out[strcspn(reason_out, "\n")] = '\0';
    return true;
}

const struct spec_variant *supervisor_find_variant(const struct supervisor *sup)
{
    const struct attempt_order *order = sup->order;
    const char *family = order->devices_count ? order->devices[0].family : "cpu";
    const char *chip = order->devices_count ? order->devices[0].chip : "cpu";

    return spec_find_variant(sup->spec, chip, family);
}

/* ---- folders ---- */

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static int open_host_workdir(struct supervisor *sup, struct err *err)
{
    const char *path = sup->spec->workdir;
    char real[PATH_MAX];
    ssize_t len;
    int rc;

    if (!sup->order->host_paths)
        return err_field(err, -EACCES, "workdir",
                         "workdir %s: this tenant may not use folders of the machine", path);
    rc = identity_borrow(&sup->identity);
    if (rc < 0)
        return err_set(err, rc, "identity: %s", strerror(-rc));
    sup->work_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = -errno;
    identity_return(&sup->identity);
    if (sup->work_fd < 0)
        return err_field(err, rc, "workdir", "workdir %s: %s", path, strerror(-rc));
    snprintf(sup->work_path, sizeof(sup->work_path), "/proc/self/fd/%d", sup->work_fd);
    len = readlink(sup->work_path, real, sizeof(real) - 1);
    if (len <= 0)
        return err_field(err, -ENOENT, "workdir", "workdir %s: it is gone", path);
    real[len] = '\0';
    /* `state`/agent is ours alone; its parent, too. */
    if (is_below(real, sup->place->state_dir) || strcmp(real, "/") == 0)
        return err_field(err, -EACCES, "workdir", "workdir %s: not a folder to work in", path);
    snprintf(sup->work_path, sizeof(sup->work_path), "%s", real);
    sup->work_seen = sup->work_path;
    return 0;
}

/* Make it, or take the empty one that an attempt of the same user left in a recycled folder. */
static int open_private(struct supervisor *sup)
{
    const struct identity *identity = &sup->identity;
    struct stat st;
    bool made = mkdir(sup->work_path, 0700) == 0;

    if (!made && errno != EEXIST)
        return -errno;
    if (!made) {
        if (!sup->work_kept || lstat(sup->work_path, &st) < 0 || !S_ISDIR(st.st_mode))
            return -EEXIST;
        if (st.st_uid != (identity->drop ? identity->uid : geteuid())) {
            if (rmdir(sup->work_path) < 0 || mkdir(sup->work_path, 0700) < 0)
                return -errno;
            made = true;
        }
    }
    sup->work_fd = open(sup->work_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sup->work_fd < 0)
        return -errno;
    if (!made && (st.st_mode & 07777) != 0700 && fchmod(sup->work_fd, 0700) < 0)
        return -errno;
    if (made && identity->drop && fchown(sup->work_fd, identity->uid, identity->gid) < 0)
        return -errno;
    return 0;
}

/* The path of a private work folder must be open to the job's user all the way down, which the
 * state folder is not: only a sandbox, or an agent of the same user, can reach into it. */
static int make_private_workdir(struct supervisor *sup, struct err *err)
{
    const struct identity *identity = &sup->identity;
    bool outside = identity->drop && identity->uid != 0 && !sup->sandboxed;
    int len, rc;

    if (outside)
        len = snprintf(sup->work_path, sizeof(sup->work_path), "%s/%s", sup->place->work_base,
                       sup->name);
    else
        len = snprintf(sup->work_path, sizeof(sup->work_path), "%s/attempts/%s/" WORK_DEFAULT,
                       sup->place->agent_dir, sup->name);
    if (len < 0 || (size_t)len >= sizeof(sup->work_path))
        return err_set(err, -ENAMETOOLONG, "work folder: the path is too long");
    sup->work_kept = !outside;
    rc = open_private(sup);
    if (rc < 0)
        return err_set(err, rc, "work folder %s: %s", sup->work_path, strerror(-rc));
    sup->work_private = true;
    sup->work_seen = sup->sandboxed ? SANDBOX_WORK : sup->work_path;
    return 0;
}

/* ---- the command ---- */

static bool is_shell(const char *interpreter)
{
    static const char *const shells[] = { "sh", "bash", "dash", "zsh", "ksh" };
    const char *base = strrchr(interpreter, '/');

    base = base ? base + 1 : interpreter;
    for (size_t i = 0; i < ARRAY_COUNT(shells); i++)
        if (strcmp(base, shells[i]) == 0)
            return true;
    return false;
}

/* A script no argument can hold, or whose interpreter knows no -c: a file without a place, which
 * the job reads through its descriptor. */
static const char *script_file(struct supervisor *sup, const char *text)
{
    size_t len = strlen(text);
    int fd = memfd_create("mains-script", 0); /* inherited on purpose */
    char *path = arena_alloc(&sup->arena, 32, 1);

    if (fd < 0 || !path)
        return NULL;
    for (size_t at = 0; at < len;) {
        ssize_t put = write(fd, text + at, len - at);

        if (put <= 0)
            return NULL;
        at += (size_t)put;
    }
    fchmod(fd, 0555);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return path;
}

/* "/bin/bash -l" + text -> /bin/bash -l -c text name args... */
static char **shell_argv(struct supervisor *sup, const char *text, bool with_args)
{
    const struct job_spec *spec = sup->spec;
    const char *interpreter = spec->script_interpreter ? spec->script_interpreter : "/bin/sh";
    char *words = arena_strdup(&sup->arena, interpreter);
    size_t room = INTERPRETER_WORDS_MAX + 4u + spec->args_count;
    const char **argv = arena_alloc(&sup->arena, room, sizeof(*argv));
    size_t count = 0;

    if (!words || !argv)
        return NULL;
    for (char *p = words; *p && count < INTERPRETER_WORDS_MAX;) {
        p += strspn(p, " \t");
        if (*p)
            argv[count++] = p;
        p += strcspn(p, " \t");
        if (*p)
            *p++ = '\0';
    }
    if (count == 0)
        return NULL;
    if (is_shell(argv[0]) && strlen(text) <= SCRIPT_ARGUMENT_BYTES_MAX) {
        argv[count++] = "-c";
        argv[count++] = text;
        argv[count++] = spec->name;
    } else {
        argv[count] = script_file(sup, text);
        if (!argv[count++])
            return NULL;
    }
    for (uint32_t i = 0; with_args && i < spec->args_count; i++)
        argv[count++] = spec->args[i];
    return (char **)(uintptr_t)argv;
}

static int make_argv(struct supervisor *sup, const struct spec_variant *variant, struct err *err)
{
    const struct job_spec *spec = sup->spec;
    const char *run = variant && variant->run ? variant->run : spec->run;
    const char *setup = variant && variant->setup ? variant->setup : spec->setup;
    const char **argv;

    if (setup) {
        sup->plan.setup_argv = shell_argv(sup, setup, false);
        if (!sup->plan.setup_argv)
            return err_set(err, -ENOMEM, "setup: out of memory");
    }
    if (run) {
        sup->plan.argv = shell_argv(sup, run, true);
        return sup->plan.argv ? 0 : err_set(err, -ENOMEM, "run: out of memory");
    }
    if (spec->argv_count == 0)
        return err_set(err, -EINVAL, "the job has no command");
    argv = arena_alloc(&sup->arena, spec->argv_count + 1u, sizeof(*argv));
    if (!argv)
        return err_set(err, -ENOMEM, "argv: out of memory");
    memcpy(argv, spec->argv, spec->argv_count * sizeof(*argv));
    sup->plan.argv = (char **)(uintptr_t)argv;
    return 0;
}

/* CRIU saves what its keeper stands over, and needs all rights for it. */
static int add_keeper(struct supervisor *sup, struct err *err)
{
    char criu[PATH_MAX], keeper[PATH_MAX];
    uint32_t count = 0;
    const char **argv;
    int rc;

    if (sup->sandboxed || sup->order->uid != 0)
        return err_field(err, -EACCES, "checkpoint",
                         "checkpoint.by: criu: only the local admin's own jobs can be saved so, "
                         "with sandbox: false");
    rc = criu_find(criu, keeper, err);
    if (rc < 0)
        return err_prefix(err, rc, "checkpoint.by: criu");
    while (sup->plan.argv[count])
        count++;
    argv = arena_alloc(&sup->arena, count + 4u, sizeof(*argv));
    if (!argv)
        return err_set(err, -ENOMEM, "argv: out of memory");
    argv[0] = arena_strdup(&sup->arena, keeper);
    argv[1] = arena_strdup(&sup->arena, criu);
    argv[2] = sup->spec->checkpoint_path;
    memcpy(argv + 3, sup->plan.argv, count * sizeof(*argv));
    sup->plan.argv = (char **)(uintptr_t)argv;
    return argv[0] && argv[1] ? 0 : err_set(err, -ENOMEM, "argv: out of memory");
}

/* ---- the environment ---- */

/* Which devices task `task` may see: whole ones in order; shares where there is room. */
static uint32_t task_devices(const struct supervisor *sup, uint32_t task, uint32_t *out)
{
    const struct attempt_order *order = sup->order;
    uint32_t each = sup->spec->request.shape.devices_milli;
    uint32_t left[NODE_DEVICES_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < order->devices_count; i++)
        left[i] = order->devices[i].milli;
    for (uint32_t t = 0; t <= task && each > 0; t++) {
        uint32_t need = each;

        count = 0;
        for (uint32_t i = 0; i < order->devices_count && need > 0; i++) {
            if (left[i] < MIN(need, 1000u))
                continue;
            left[i] -= MIN(need, 1000u);
            need -= MIN(need, 1000u);
            out[count++] = i;
        }
    }
    return count;
}

static void set_visibility(struct supervisor *sup, struct rank_env *env, const uint32_t *devices,
                           uint32_t count)
{
    const struct attempt_device *all = sup->order->devices;
    struct buf value = buf_init(NODE_DEVICES_MAX * 100u);

    if (count == 0 || !all[devices[0]].visibility_env[0])
        return;
    for (uint32_t i = 0; i < count; i++)
        buf_printf(&value, "%s%s", i ? "," : "", all[devices[i]].visibility_value);
    if (!value.failed && value.len)
        rank_env_set(env, all[devices[0]].visibility_env, value.data);
    buf_fini(&value);
}

static void add_base(struct supervisor *sup, struct rank_env *env)
{
    const struct identity *identity = &sup->identity;
    char mark[ATTEMPT_NAME_BYTES + 32];
    bool own_home = !sup->sandboxed && identity->home[0];

    rank_env_set(env, "PATH", PATH_DEFAULT);
    rank_env_set(env, "HOME", own_home ? identity->home : sup->work_seen);
    rank_env_set(env, "USER", identity->name);
    rank_env_set(env, "LOGNAME", identity->name);
    rank_env_set(env, "SHELL", "/bin/sh");
    rank_env_set(env, "LANG", "C.UTF-8");
    rank_env_set(env, "TMPDIR", "/tmp");
    rank_env_set(env, "PWD", sup->work_seen);
    if (sup->sandboxed && identity->uid == 0) { /* mpirun fears for a system that is read-only */
        rank_env_set(env, "OMPI_ALLOW_RUN_AS_ROOT", "1");
        rank_env_set(env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    if (sup->restored)
        rank_env_set(env, "MAINS_RESTORED", "1");
    leftover_mark(sup->place, sup->order->key, mark, sizeof(mark));
    rank_env_set(env, LEFTOVER_MARK, mark);
}

/* As nodes, the parts of a gang over several sites are what there is to tell. */
static int fill_peers(struct supervisor *sup, struct rank_facts *facts, struct rank_node *nodes)
{
    const struct attempt_across *across = &sup->order->across;
    uint64_t job_id = sup->order->key.job_id;
    CLEANUP(buf_fini) struct buf text = buf_init(PEERS_TEXT_BYTES_MAX);

    for (uint32_t i = 0; i < across->count; i++) {
        char *address = arena_alloc(&sup->arena, PEERS_ADDRESS_BYTES, 1);

        if (!address)
            return -ENOMEM;
        peers_address(job_id, i, address);
        nodes[i] = (struct rank_node){ across->sites[i].site, address, across->sites[i].tasks };
    }
    peers_print(job_id, across, &text);
    facts->peers = text.failed ? NULL : arena_strdup(&sup->arena, text.data);
    facts->nodes_count = across->count;
    facts->node_rank = across->self;
    return facts->peers ? 0 : -ENOMEM;
}

/* `nodes` has room for REQUEST_SITES_MAX. */
static int fill_facts(struct supervisor *sup, struct rank_facts *facts, struct rank_node *nodes)
{
    const struct attempt_order *order = sup->order;

    *nodes =
        (struct rank_node){ .name = order->node, .address = "127.0.0.1", .tasks = order->tasks };
    *facts = (struct rank_facts){
        .job_id = order->key.job_id,
        .array_id = order->array_id,
        .array_index = order->array_index,
        .array_count = order->array_count,
        .attempt = order->attempt_number,
        .epoch = order->key.epoch,
        .tenant = order->tenant,
        .user = order->user,
        .site = order->site,
        .nodes = sup->nodes ? sup->nodes : nodes,
        .nodes_count = sup->nodes ? order->nodes_count : 1,
        .node_rank = sup->nodes ? order->node_rank : 0,
        .visibility_env = order->devices_count && order->devices[0].visibility_env[0]
                              ? order->devices[0].visibility_env
                              : NULL,
        .bin_dir = sup->bin_dir ? sup->sandboxed ? SANDBOX_BIN : sup->bin_dir : NULL,
        .checkpoint_every_ms = supervisor_save_every_ms(sup),
        .workdir = sup->work_seen,
        .master_port = peers_master_port(order->key.job_id),
    };
    return order->across.count ? fill_peers(sup, facts, nodes) : 0;
}

/* Of all ranks of the job, the first one here. */
static uint32_t first_rank(const struct supervisor *sup)
{
    const struct attempt_across *across = &sup->order->across;
    uint32_t rank = peers_first_rank(across, across->count ? across->self : 0);

    for (uint32_t i = 0; sup->nodes && i < sup->order->node_rank; i++)
        rank += sup->nodes[i].tasks;
    return rank;
}

static int write_hostfile(struct supervisor *sup, struct rank_facts *facts, struct err *err)
{
    static const char name[] = ".mains-hosts";
    CLEANUP(buf_fini) struct buf text = buf_init(1u << 20);
    char *seen = arena_alloc(&sup->arena, PATH_MAX, 1);
    int fd;

    if (!seen || rank_hostfile_print(sup->spec, facts, &text) < 0)
        return err_set(err, -ENOMEM, "host file: out of memory");
    if (!sup->work_private)
        return 0; /* not into a folder that is the user's own */
    fd = openat(sup->work_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text.data ? text.data : "", text.len) != (ssize_t)text.len) {
        if (fd >= 0)
            close(fd);
        return err_set(err, -EIO, "host file: cannot be written");
    }
    close(fd);
    snprintf(seen, PATH_MAX, "%s/%s", sup->work_seen, name);
    facts->hostfile = seen;
    return 0;
}

static int make_environment(struct supervisor *sup, const struct spec_variant *variant,
                            struct err *err)
{
    bool once = sup->spec->launch == LAUNCH_ONCE;
    uint32_t ranks = once ? 1 : sup->order->tasks;
    char ***envs = arena_alloc(&sup->arena, ranks, sizeof(*envs));
    uint32_t all[NODE_DEVICES_MAX], all_places[NODE_DEVICES_MAX];
    const struct attempt_across *across = &sup->order->across;
    struct rank_node nodes[REQUEST_SITES_MAX];
    struct rank_facts facts;
    int rc;

    if (!envs)
        return err_set(err, -ENOMEM, "%" PRIu32 " ranks: out of memory", ranks);
    sup->rank_first = first_rank(sup);
    rc = fill_facts(sup, &facts, nodes);
    if (rc < 0)
        return err_set(err, rc, "environment: out of memory");
    for (uint32_t i = 0; i < sup->order->devices_count; i++) {
        all[i] = sup->order->devices[i].vendor_index;
        all_places[i] = i;
    }
    facts.node_devices = all;
    facts.node_devices_count = sup->order->devices_count;
    if (sup->nodes || (once && (sup->order->tasks > 1 || sup->spec->slots > 1)))
        rc = write_hostfile(sup, &facts, err);
    for (uint32_t i = 0; rc == 0 && i < ranks; i++) {
        uint32_t places[NODE_DEVICES_MAX], indexes[NODE_DEVICES_MAX];
        uint32_t count = once ? facts.node_devices_count : task_devices(sup, i, places);
        const uint32_t *seen = once ? all_places : places;
        struct rank_env env = rank_env_init(&sup->arena);

        for (uint32_t d = 0; d < count; d++)
            indexes[d] = sup->order->devices[seen[d]].vendor_index;
        facts.local_rank = i;
        facts.rank = sup->rank_first + i;
        facts.port = across->count ? peers_port(sup->order->key.job_id, facts.rank) : 0;
        facts.devices = indexes;
        facts.devices_count = count;
        facts.share_ppm = !once && i < sup->order->shares_count ? sup->order->shares_ppm[i] : 0;
        add_base(sup, &env);
        if (rank_env_add_job(&env, sup->spec, variant) < 0 ||
            rank_env_add_rank(&env, sup->spec, &facts) < 0)
            return err_set(err, -ENOMEM, "environment: out of memory");
        set_visibility(sup, &env, seen, count);
        if (env.failed)
            return err_set(err, -E2BIG, "environment: too large");
        envs[i] = env.list;
    }
    sup->plan.ranks_count = ranks;
    sup->plan.envs = (char *const *const *)envs;
    return rc;
}

/* ---- logs of the user's own ---- */

static int open_user_log(struct supervisor *sup, const char *pattern, int *fd_out, struct err *err)
{
    struct rank_node nodes[REQUEST_SITES_MAX];
    struct rank_facts facts;
    char path[PATH_MAX];
    int rc = fill_facts(sup, &facts, nodes);

    if (rc < 0)
        return err_set(err, rc, "output file %s: out of memory", pattern);
    rc = rank_expand_pattern(sup->spec, &facts, pattern, path, sizeof(path));
    if (rc < 0)
        return err_set(err, rc, "output file %s: %s", pattern, strerror(-rc));
    return stage_open_output(sup, path, fd_out, err);
}

static int open_user_logs(struct supervisor *sup, struct err *err)
{
    const struct job_spec *spec = sup->spec;
    int rc = 0;

    if (sup->order->node_rank)
        return 0; /* the first machine's is the one: they may share the folder */
    if (spec->stdout_pattern)
        rc = open_user_log(sup, spec->stdout_pattern, &sup->logs.streams[0].user_fd, err);
    if (rc == 0 && spec->stderr_pattern)
        rc = open_user_log(sup, spec->stderr_pattern, &sup->logs.streams[1].user_fd, err);
    else if (rc == 0)
        sup->logs.streams[1].user_fd = sup->logs.streams[0].user_fd; /* together, as in Slurm */
    return rc;
}

/* ---- limits and view ---- */

static int set_limits(struct supervisor *sup, struct err *err)
{
    const struct attempt_order *order = sup->order;
    const struct cgroup_root *root = &sup->place->cgroups;
    uint32_t processes_max = order->processes_max ? order->processes_max : PIDS_MAX;
    bool ours = root->kind == CGROUP_V1; /* then the supervisor itself is counted in */
    struct cgroup_limits limits = { .cpus = order->cpus,
                                    .cpus_unlimited = order->cpus >= order->node_cpus,
                                    .memory_bytes = order->memory_bytes,
                                    .pids_max = processes_max + ours };
    int rc;

    sup->plan.file_bytes_max = order->disk_bytes;
    if (root->kind == CGROUP_NONE || root->fds[CG_MEMORY] < 0)
        sup->plan.data_bytes_max = order->memory_bytes;
    /* RLIMIT_NPROC counts all of a user's processes: only for a user that is the job's alone. */
    if ((root->kind == CGROUP_NONE || root->fds[CG_PIDS] < 0) && sup->identity.drop &&
        sup->identity.uid >= IDENTITY_PRIVATE_FIRST)
        sup->plan.processes_max = processes_max;
    if (!sup->cgroup)
        return 0;
    rc = cgroup_limit(sup->cgroup, &limits, err);
    if (rc < 0)
        return rc;
    sup->plan.cgroup = sup->cgroup;
    if (order->memory_bytes > 0)
        sup->oom_fd = cgroup_watch_oom(sup->cgroup);
    return 0;
}

static int make_sandbox(struct supervisor *sup, struct err *err)
{
    struct sandbox *sandbox = &sup->sandbox;
    char *root = arena_alloc(&sup->arena, PATH_MAX, 1);

    if (!root)
        return err_set(err, -ENOMEM, "sandbox: out of memory");
    snprintf(root, PATH_MAX, "%s/root", sup->place->agent_dir);
    sandbox->root_dir = root;
    sandbox->work_path = sup->work_path;
    sandbox->work_fd = sup->work_fd;
    sandbox->work_seen = sup->work_seen;
    sandbox->bin_dir = sup->bin_dir;
    sandbox->state_dir = sup->place->state_dir;
    sandbox->root_inside = sup->identity.uid == 0;
    sandbox->tmp_bytes = sup->order->memory_bytes;
    for (uint32_t i = 0; i < sup->order->devices_count; i++) {
        char *nodes = arena_strdup(&sup->arena, sup->order->devices[i].device_nodes);

        while (nodes && *nodes && sandbox->device_nodes_count < SANDBOX_DEVICE_NODES_MAX) {
            char *end = nodes + strcspn(nodes, ";");
            bool last = *end == '\0';

            *end = '\0';
            if (strncmp(nodes, "/dev/", 5) == 0)
                sandbox->device_nodes[sandbox->device_nodes_count++] = nodes;
            nodes = last ? end : end + 1;
        }
    }
    sup->plan.sandbox = sandbox;
    return 0;
}

static int choose_isolation(struct supervisor *sup, struct err *err)
{
    const struct attempt_order *order = sup->order;

    sup->sandboxed = !order->sandbox_off_forced && sup->spec->sandbox;
    if (!sup->spec->sandbox && !order->sandbox_off_allowed && !order->sandbox_off_forced)
        return err_field(err, -EACCES, "sandbox",
                         "sandbox: this site runs no job without its sandbox");
    identity_find(order->uid, order->gid, order->drop, &sup->identity);
    if (!sup->sandboxed && order->uid == 0)
        sup->identity.drop = sup->identity.strip = false; /* root's own job, as root runs it */
    return 0;
}

/* A script for Slurm starts its tasks with srun, which this machine may not have, and whose Slurm
 * knows nothing of the job. */
static int find_commands(struct supervisor *sup, struct err *err)
{
    char path[PATH_MAX];

    if (sup->spec->origin != ORIGIN_SBATCH || !libexec_find("bin/srun", path))
        return 0;
    *strrchr(path, '/') = '\0';
    sup->bin_dir = arena_strdup(&sup->arena, path);
    return sup->bin_dir ? 0 : err_set(err, -ENOMEM, "commands: out of memory");
}

int supervisor_prepare(struct supervisor *sup, struct err *err)
{
    const struct spec_variant *variant = supervisor_find_variant(sup);
    int rc = choose_isolation(sup, err);

    if (rc == 0 && (sup->spec->image || (variant && variant->image)))
        rc = err_field(err, -ENOTSUP, "image", "image: this site runs no container images");
    if (rc == 0)
        rc = sup->spec->workdir ? open_host_workdir(sup, err) : make_private_workdir(sup, err);
    if (rc == 0 && sup->spec->inputs_count)
        rc = stage_inputs(sup, err);
    if (rc == 0 && sup->spec->checkpoint_path)
        rc = checkpoint_restore(sup, err);
    laid_clear(sup);
    if (rc == 0)
        rc = make_argv(sup, variant, err);
    if (rc == 0 && sup->spec->checkpoint_by == CHECKPOINT_BY_CRIU)
        rc = add_keeper(sup, err);
    if (rc == 0)
        rc = find_commands(sup, err);
    if (rc == 0)
        rc = make_environment(sup, variant, err);
    if (rc == 0)
        rc = logs_open(&sup->logs, sup->attempt_fd,
                       sup->spec->log_bytes_max > 0 ? sup->spec->log_bytes_max
                                                    : ATTEMPT_LOG_BYTES_DEFAULT,
                       sup->log_writes, err);
    if (rc == 0)
        rc = open_user_logs(sup, err);
    if (rc == 0)
        rc = set_limits(sup, err);
    if (rc == 0 && sup->sandboxed)
        rc = make_sandbox(sup, err);
    if (rc < 0)
        return rc;
    sup->plan.workdir = sup->work_seen;
    sup->plan.workdir_fd = sup->work_fd;
    sup->plan.stdout_fd = sup->log_writes[0];
    sup->plan.stderr_fd = sup->log_writes[1];
    sup->plan.identity = &sup->identity;
    return 0;
}
