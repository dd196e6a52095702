#include "agent/cgroup.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define CPU_PERIOD_US 100000
#define KILL_TRIES_MAX 2000
#define RENEW_BYTES_MAX (2 << 20)

static const char *const v1_names[CG_COUNT] = { "cpu", "cpuacct", "memory", "pids" };

static int write_text(int folder, const char *file, const char *text)
{
    int fd = openat(folder, file, O_WRONLY | O_CLOEXEC);
    ssize_t put;
    int rc = 0;

    if (fd < 0)
        return -errno;
    put = write(fd, text, strlen(text));
    if (put < 0)
        rc = -errno;
    close(fd);
    return rc;
}

static int write_number(int folder, const char *file, int64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, number);
    return write_text(folder, file, text);
}

/* Bytes of text, or -EIO. */
static ssize_t read_text(int folder, const char *file, char *out, size_t out_bytes)
{
    int fd = openat(folder, file, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -EIO;
    got = read(fd, out, out_bytes - 1);
    close(fd);
    if (got < 0)
        return -EIO;
    out[got] = '\0';
    return got;
}

/* "key value" lines; -1 when the key is not there. */
static int64_t read_key(int folder, const char *file, const char *key)
{
    char text[4096];
    size_t key_len = strlen(key);
    const char *p;

    if (read_text(folder, file, text, sizeof(text)) < 0)
        return -1;
    for (p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, key, key_len) == 0 && p[key_len] == ' ')
            return strtoll(p + key_len + 1, NULL, 10);
    }
    return -1;
}

static int64_t read_number(int folder, const char *file)
{
    char text[64];

    return read_text(folder, file, text, sizeof(text)) > 0 ? strtoll(text, NULL, 10) : -1;
}

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Does the list "cpu,cpuacct" hold `name`? */
static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
    }
    return false;
}

bool cgroup_own_path(const char *controller, char *out, size_t out_bytes)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        found = list_has(names + 1, controller);
        if (found)
            snprintf(out, out_bytes, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
    if (file)
        fclose(file);
    return found;
}

static int make_folder_at(const char *parent, const char *name)
{
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", parent, name) >= sizeof(path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    return open_folder(path);
}

/* cgroup v2 lets a group hold either processes or groups with controllers: the agent steps aside
 * into a leaf of its own when it stands where the attempts' groups are to be. */
static int open_v2(const char *tag)
{
    static const char controllers[] = "+cpu +memory +pids";
    char own[PATH_MAX / 2], base[PATH_MAX], text[256];
    int parent, leaf, folder = -1;

    if (!cgroup_own_path("", own, sizeof(own)))
        return -1;
    snprintf(base, sizeof(base), "/sys/fs/cgroup%s", own);
    parent = open_folder(base);
    if (parent < 0)
        return -1;
    if (read_text(parent, "cgroup.controllers", text, sizeof(text)) < 0 ||
        !strstr(text, "memory") || !strstr(text, "pids"))
        goto out;
    if (write_text(parent, "cgroup.subtree_control", controllers) < 0) {
        leaf = make_folder_at(base, "mains-agent");
        if (leaf < 0)
            goto out;
        write_text(leaf, "cgroup.procs", "0");
        close(leaf);
        if (write_text(parent, "cgroup.subtree_control", controllers) < 0)
            goto out;
    }
    folder = make_folder_at(base, tag);
    if (folder >= 0 && write_text(folder, "cgroup.subtree_control", controllers) < 0) {
        close(folder);
        folder = -1;
    }
out:
    close(parent);
    return folder;
}

static int open_v1(const char *controller, const char *tag)
{
    char own[PATH_MAX / 2], base[PATH_MAX];
    int folder;

    if (!cgroup_own_path(controller, own, sizeof(own)))
        return -1;
    snprintf(base, sizeof(base), "/sys/fs/cgroup/%s%s", controller, own);
    folder = make_folder_at(base, tag);
    if (folder >= 0 && faccessat(folder, "cgroup.procs", W_OK, 0) < 0) {
        close(folder);
        folder = -1;
    }
    return folder < 0 ? -1 : folder;
}

void cgroup_root_open(const char *tag, struct cgroup_root *root_out)
{
    int v2 = open_v2(tag);
    bool any = false;

    root_out->kind = CGROUP_NONE;
    for (int i = 0; i < CG_COUNT; i++)
        root_out->fds[i] = -1;
    if (v2 >= 0) {
        root_out->kind = CGROUP_V2;
        for (int i = 0; i < CG_COUNT; i++)
            root_out->fds[i] = v2;
        return;
    }
    for (int i = 0; i < CG_COUNT; i++) {
        root_out->fds[i] = open_v1(v1_names[i], tag);
        any = any || root_out->fds[i] >= 0;
    }
    if (any)
        root_out->kind = CGROUP_V1;
}

static void close_all(enum cgroup_kind kind, int *fds)
{
    for (int i = 0; i < CG_COUNT; i++) {
        if (fds[i] >= 0 && (i == 0 || kind != CGROUP_V2))
            close(fds[i]);
        fds[i] = -1;
    }
}

void cgroup_root_close(struct cgroup_root *root)
{
    for (int i = 0; i < CG_COUNT; i++) {
        char link[64], path[PATH_MAX];
        ssize_t len;

        if (root->fds[i] < 0 || (i > 0 && root->kind == CGROUP_V2))
            continue;
        snprintf(link, sizeof(link), "/proc/self/fd/%d", root->fds[i]);
        len = readlink(link, path, sizeof(path) - 1);
        if (len <= 0)
            continue;
        path[len] = '\0';
        rmdir(path); /* -EBUSY while attempts are in it: the next agent finds it again */
    }
    close_all(root->kind, root->fds);
    root->kind = CGROUP_NONE;
}

static int limit_v2(int folder, const struct cgroup_limits *limits)
{
    char text[64];
    int rc = 0;

    /* 100 is one CPU's worth among siblings, as 1024 shares are in v1. */
    write_number(folder, "cpu.weight", MIN((int64_t)limits->cpus * 100, 10000));
    if (!limits->cpus_unlimited) {
        snprintf(text, sizeof(text), "%" PRId64 " %d", (int64_t)limits->cpus * CPU_PERIOD_US,
                 CPU_PERIOD_US);
        rc = write_text(folder, "cpu.max", text);
    }
    if (rc == 0 && limits->memory_bytes > 0) {
        rc = write_number(folder, "memory.max", limits->memory_bytes);
        write_text(folder, "memory.swap.max", "0");
        write_text(folder, "memory.oom.group", "1");
    }
    if (rc == 0 && limits->pids_max > 0)
        rc = write_number(folder, "pids.max", limits->pids_max);
    return rc;
}

static int limit_memory_v1(int folder, int64_t bytes, int64_t before)
{
    int64_t value = bytes > 0 ? bytes : -1;
    int rc;

    /* The limit with swap may never be the lower one of the two. It is absent where swap is not
     * accounted. */
    if (before > 0 && (bytes == 0 || bytes > before))
        write_number(folder, "memory.memsw.limit_in_bytes", value);
    rc = write_number(folder, "memory.limit_in_bytes", value);
    if (before == 0 || (bytes > 0 && bytes < before))
        write_number(folder, "memory.memsw.limit_in_bytes", value);
    return rc;
}

/* What differs from `before`: a new group has a share of one CPU and no limit. */
static int limit_v1(const int *fds, const struct cgroup_limits *limits,
                    const struct cgroup_limits *before)
{
    int64_t quota = limits->cpus_unlimited ? -1 : (int64_t)limits->cpus * CPU_PERIOD_US;
    int rc = 0;

    if (fds[CG_CPU] >= 0) {
        if (limits->cpus != before->cpus)
            write_number(fds[CG_CPU], "cpu.shares", MAX((int64_t)limits->cpus, 1) * 1024);
        if (limits->cpus_unlimited != before->cpus_unlimited ||
            (quota > 0 && limits->cpus != before->cpus))
            rc = write_number(fds[CG_CPU], "cpu.cfs_quota_us", quota);
    }
    if (rc == 0 && fds[CG_MEMORY] >= 0 && limits->memory_bytes != before->memory_bytes)
        rc = limit_memory_v1(fds[CG_MEMORY], limits->memory_bytes, before->memory_bytes);
    if (rc == 0 && fds[CG_PIDS] >= 0 && limits->pids_max != before->pids_max)
        rc = limits->pids_max ? write_number(fds[CG_PIDS], "pids.max", limits->pids_max)
                              : write_text(fds[CG_PIDS], "pids.max", "max");
    return rc;
}

static int open_group(const struct cgroup_root *root, const char *name, bool make,
                      struct cgroup *group)
{
    group->root = root;
    snprintf(group->name, sizeof(group->name), "%s", name);
    for (int i = 0; i < CG_COUNT; i++)
        group->fds[i] = -1;
    for (int i = 0; i < CG_COUNT; i++) {
        if (root->fds[i] < 0)
            continue;
        if (i > 0 && root->kind == CGROUP_V2) {
            group->fds[i] = group->fds[0];
            continue;
        }
        if (make && mkdirat(root->fds[i], name, 0755) < 0 && errno != EEXIST)
            return -errno;
        group->fds[i] = openat(root->fds[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group->fds[i] < 0 && make)
            return -errno;
    }
    return 0;
}

int cgroup_create(const struct cgroup_root *root, const char *name, struct cgroup *cgroup_out,
                  struct err *err)
{
    struct cgroup group = { 0 };
    int rc = open_group(root, name, true, &group);

    if (rc < 0) {
        cgroup_remove(&group);
        return err_set(err, rc, "cgroup %s: %s", name, strerror(-rc));
    }
    *cgroup_out = group;
    return 0;
}

int cgroup_limit(struct cgroup *cgroup, const struct cgroup_limits *limits, struct err *err)
{
    static const struct cgroup_limits fresh = { .cpus = 1, .cpus_unlimited = true };
    int rc = 0;

    if (cgroup->root->kind == CGROUP_V2)
        rc = limit_v2(cgroup->fds[0], limits);
    else if (cgroup->root->kind == CGROUP_V1)
        rc = limit_v1(cgroup->fds, limits, cgroup->is_limited ? &cgroup->limits : &fresh);
    cgroup->limits = *limits;
    cgroup->is_limited = true;
    return rc < 0 ? err_set(err, rc, "cgroup %s: %s", cgroup->name, strerror(-rc)) : 0;
}

int cgroup_birth_fd(const struct cgroup *cgroup)
{
    return cgroup->root->kind == CGROUP_V2 ? cgroup->fds[0] : -1;
}

int cgroup_enter(const struct cgroup *cgroup)
{
    for (int i = 0; i < CG_COUNT; i++) {
        int fd;

        if (cgroup->fds[i] < 0 || (i > 0 && cgroup->root->kind == CGROUP_V2))
            continue;
        fd = openat(cgroup->fds[i], "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        if (write(fd, "0", 1) < 0) {
            int rc = -errno;

            close(fd);
            return rc;
        }
        close(fd);
    }
    return 0;
}

void cgroup_leave_cpu(const struct cgroup *cgroup)
{
    if (cgroup->root->kind == CGROUP_V1 && cgroup->root->fds[CG_CPU] >= 0)
        write_text(cgroup->root->fds[CG_CPU], "cgroup.procs", "0");
}

void cgroup_measure(const struct cgroup *cgroup, struct cgroup_usage *usage_out)
{
    int memory = cgroup->fds[CG_MEMORY];
    int cpu = cgroup->fds[CG_CPUACCT];
    int64_t number;

    *usage_out = (struct cgroup_usage){ .cpu_us = -1, .memory_peak_bytes = -1 };
    if (cgroup->root->kind == CGROUP_V2) {
        usage_out->cpu_us = read_key(cpu, "cpu.stat", "usage_usec");
        usage_out->memory_peak_bytes = read_number(memory, "memory.peak");
        usage_out->oom_kills = MAX(read_key(memory, "memory.events", "oom_kill"), 0);
    } else if (cgroup->root->kind == CGROUP_V1) {
        number = cpu < 0 ? -1 : read_number(cpu, "cpuacct.usage");
        usage_out->cpu_us = number < 0 ? -1 : number / 1000;
        if (memory >= 0) {
            usage_out->memory_peak_bytes = read_number(memory, "memory.max_usage_in_bytes");
            usage_out->oom_kills = MAX(read_key(memory, "memory.oom_control", "oom_kill"), 0) -
                                   cgroup->oom_kills_before;
        }
    }
}

int cgroup_set_frozen(const struct cgroup *cgroup, bool is_frozen)
{
    return cgroup->root->kind == CGROUP_V2
               ? write_text(cgroup->fds[0], "cgroup.freeze", is_frozen ? "1" : "0")
               : -ENOTSUP;
}

int cgroup_watch_oom(const struct cgroup *cgroup)
{
    int memory = cgroup->fds[CG_MEMORY];
    char text[64];
    int control, event;

    if (memory < 0 || cgroup->root->kind != CGROUP_V1)
        return -1; /* v2 kills the whole group by itself: memory.oom.group */
    control = openat(memory, "memory.oom_control", O_RDONLY | O_CLOEXEC);
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(text, sizeof(text), "%d %d", event, control);
    if (control < 0 || event < 0 || write_text(memory, "cgroup.event_control", text) < 0) {
        if (event >= 0)
            close(event);
        event = -1;
    }
    if (control >= 0)
        close(control);
    return event;
}

/* One round of SIGKILL over a group's processes: how many there were. */
static int kill_round(int folder)
{
    int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    int count = 0;
    int pid;

    if (!file) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
    while (fscanf(file, "%d", &pid) == 1) {
        if (pid == getpid())
            continue;
        if (pid > 0) /* 0: of another pid namespace, cannot be named from here */
            kill(pid, SIGKILL);
        count++;
    }
    fclose(file);
    return count;
}

int cgroup_kill(const struct cgroup *cgroup)
{
    int folder = -1;

    for (int i = CG_COUNT - 1; i >= 0 && folder < 0; i--)
        folder = cgroup->fds[i];
    if (folder < 0)
        return 0;
    /* No new process may come while the old ones are counted out. */
    if (cgroup->fds[CG_PIDS] >= 0)
        write_text(cgroup->fds[CG_PIDS], "pids.max", "0");
    if (cgroup->root->kind == CGROUP_V2)
        write_text(folder, "cgroup.kill", "1");
    for (int tries = 0; tries < KILL_TRIES_MAX; tries++) {
        if (kill_round(folder) == 0)
            return 0;
        poll(NULL, 0, 1);
    }
    return -EBUSY;
}

static bool renew_v1(struct cgroup *cgroup)
{
    int memory = cgroup->fds[CG_MEMORY];
    int cpu = cgroup->fds[CG_CPUACCT];

    /* Without these accounts a process sums up its children's, which nothing sets back. */
    if (memory < 0 || cpu < 0)
        return false;
    /* Pages of files and of shared memory stay counted where they were first touched. */
    if (read_number(memory, "memory.usage_in_bytes") > RENEW_BYTES_MAX ||
        write_number(memory, "memory.max_usage_in_bytes", 0) < 0 ||
        write_number(cpu, "cpuacct.usage", 0) < 0)
        return false;
    cgroup->oom_kills_before = MAX(read_key(memory, "memory.oom_control", "oom_kill"), 0);
    return true;
}

bool cgroup_renew(struct cgroup *cgroup)
{
    struct cgroup old = *cgroup;

    if (cgroup->root->kind == CGROUP_V1)
        return renew_v1(cgroup);
    if (cgroup->root->kind != CGROUP_V2)
        return false;
    cgroup_remove(&old); /* nobody is in it: a new one costs little and counts from nothing */
    return cgroup_create(old.root, old.name, cgroup, NULL) == 0;
}

void cgroup_remove(struct cgroup *cgroup)
{
    enum cgroup_kind kind = cgroup->root->kind;

    for (int i = 0; i < CG_COUNT; i++) {
        if (cgroup->fds[i] < 0 || (i > 0 && kind == CGROUP_V2))
            continue;
        /* A process that was just reaped may be counted a moment longer. */
        for (int tries = 0; tries < 50; tries++) {
            if (unlinkat(cgroup->root->fds[i], cgroup->name, AT_REMOVEDIR) == 0 || errno != EBUSY)
                break;
            poll(NULL, 0, 1);
        }
    }
    close_all(kind, cgroup->fds);
}

void cgroup_sweep(const struct cgroup_root *root, const char *name)
{
    struct cgroup group = { 0 };

    if (root->kind == CGROUP_NONE)
        return;
    open_group(root, name, false, &group);
    cgroup_kill(&group);
    cgroup_remove(&group);
}

void cgroup_discard(const struct cgroup_root *root, const char *name)
{
    bool busy = false;

    for (int i = 0; i < CG_COUNT; i++)
        if (root->fds[i] >= 0 && (i == 0 || root->kind != CGROUP_V2) &&
            unlinkat(root->fds[i], name, AT_REMOVEDIR) < 0 && errno == EBUSY)
            busy = true;
    if (busy)
        cgroup_sweep(root, name);
}

void cgroup_sweep_empty(const struct cgroup_root *root)
{
    for (int i = 0; i < CG_COUNT; i++) {
        int fd = root->fds[i] < 0 || (i > 0 && root->kind == CGROUP_V2)
                     ? -1
                     : openat(root->fds[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        while (dir && (entry = readdir(dir)) != NULL)
            if (entry->d_type == DT_DIR && entry->d_name[0] == 's')
                unlinkat(root->fds[i], entry->d_name, AT_REMOVEDIR); /* -EBUSY: in use */
        if (dir)
            closedir(dir);
    }
}
