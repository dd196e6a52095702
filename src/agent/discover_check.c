/* `mains doctor`: what of this machine is fit, and what to do about the rest. */
#include "agent/discover_internal.h"

#include "agent/energy.h"
#include "agent/sandbox.h"
#include "agent/vendor_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES_LEAST (INT64_C(1) << 30)
#define FILES_LEAST 4096u

struct checks {
    struct discover_check *list;
    uint32_t count;
    struct discover_check spare; /* takes what the list has no room for */
};

static struct discover_check *add(struct checks *checks, const char *name, bool needed, bool ok,
                                  const char *fmt, ...) PRINTF_LIKE(5, 6);
static struct discover_check *add(struct checks *checks, const char *name, bool needed, bool ok,
                                  const char *fmt, ...)
{
    struct discover_check *check = &checks->spare;
    va_list args;

    if (checks->count < DISCOVER_CHECKS_MAX)
        check = &checks->list[checks->count++];
    memset(check, 0, sizeof(*check));
    snprintf(check->name, sizeof(check->name), "%s", name);
    check->ok = ok;
    check->needed = needed;
    va_start(args, fmt);
    vsnprintf(check->text, sizeof(check->text), fmt, args);
    va_end(args);
    return check;
}

static void advise(struct discover_check *check, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void advise(struct discover_check *check, const char *fmt, ...)
{
    va_list args;

    if (check->ok)
        return;
    va_start(args, fmt);
    vsnprintf(check->advice, sizeof(check->advice), fmt, args);
    va_end(args);
}

/* Make the namespaces of a sandbox and leave them again. */
static void check_sandbox(struct checks *checks)
{
    bool root = geteuid() == 0;
    pid_t pid = sandbox_fork(-1);
    int status = 0;

    if (pid == 0)
        _exit(0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        add(checks, "sandbox", true, true, "namespaces can be made (%s)",
            root ? "as root" : "as an ordinary user");
        return;
    }
    advise(add(checks, "sandbox", true, false, "namespaces cannot be made: %s",
               pid < 0 ? strerror((int)-pid) : "the process in them died"),
           "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
           "user.max_user_namespaces>0, or an AppArmor profile), or run `mains up` as root");
}

/* May groups be made where this process stands? Only looked at: nothing is made or moved. */
static bool cgroup_is_writable(const struct discover_config *config, const char *mount,
                               const char *controller)
{
    char own[DISCOVER_PATH_BYTES], path[2 * DISCOVER_PATH_BYTES];

    if (!discover_cgroup_path(config, controller, own))
        return false;
    snprintf(path, sizeof(path), "%s%s%s", config->root ? config->root : "", mount, own);
    return access(path, W_OK) == 0;
}

static void check_cgroups(const struct discover_config *config, struct checks *checks)
{
    static const char *const names[] = { "cpu", "memory", "pids" };
    struct discover_check *check;
    char have[64] = "", own[DISCOVER_PATH_BYTES], path[2 * DISCOVER_PATH_BYTES], text[128] = "";
    uint32_t count = 0;

    if (discover_cgroup_path(config, "", own)) {
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.controllers", own);
        discover_read_line(config, path, text, sizeof(text));
    }
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char mount[64];
        bool v2 = slice_has(slice_of(text), names[i]);

        snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", names[i]);
        if (v2 ? !cgroup_is_writable(config, "/sys/fs/cgroup", "")
               : !cgroup_is_writable(config, mount, names[i]))
            continue;
        snprintf(have + strlen(have), sizeof(have) - strlen(have), " %s", names[i]);
        count++;
    }
    if (count == 0)
        check = add(checks, "cgroups", false, false,
                    "none may be written: jobs are limited by rlimits only");
    else
        check = add(checks, "cgroups", false, count == ARRAY_COUNT(names),
                    "version %d, writable:%s", text[0] ? 2 : 1, have);
    advise(check, "run `mains up` as root, or under systemd with Delegate=yes "
                  "(systemd-run --user -p Delegate=yes --scope mains up)");
}

static void check_host(const struct node_info *node, struct checks *checks)
{
    long machine = sysconf(_SC_NPROCESSORS_ONLN);

    add(checks, "cpus", true, node->cpus > 0,
        "%" PRIu32 " of %ld usable by jobs, %" PRIu32 " NUMA node%s, %.60s", node->cpus, machine,
        node->numa_count, node->numa_count == 1 ? "" : "s",
        node->cpu_model[0] ? node->cpu_model : node->arch);
    advise(add(checks, "memory", true, node->memory_bytes > 0, "%.1f GiB usable by jobs",
               (double)node->memory_bytes / (double)(INT64_C(1) << 30)),
           "mount /proc, so that the memory can be read");
    advise(add(checks, "disk", true, node->disk_bytes >= DISK_BYTES_LEAST,
               "%.1f GiB free for scratch", (double)node->disk_bytes / (double)(INT64_C(1) << 30)),
           "free some space, or put the state on another disk (--state DIR)");
}

static void check_limits(struct checks *checks)
{
    struct rlimit files = { 0, 0 };

    getrlimit(RLIMIT_NOFILE, &files);
    advise(add(checks, "open files", false, files.rlim_max >= FILES_LEAST,
               "at most %" PRIu64 " for one process", (uint64_t)files.rlim_max),
           "raise the limit (ulimit -Hn %u, or LimitNOFILE= of the unit)", FILES_LEAST);
}

static void check_clock(struct checks *checks)
{
    struct timex state = { .modes = 0 };
    int rc = adjtimex(&state);
    bool good = rc >= 0 && rc != TIME_ERROR && !(state.status & STA_UNSYNC);

    advise(add(checks, "clock", false, good,
               good ? "kept in time by the kernel's estimate"
                    : "not kept in time: deadlines and usage may be off"),
           "run a time service (timedatectl set-ntp true, or chrony)");
}

static void check_energy(const struct discover_config *config, struct checks *checks)
{
    bool rapl = energy_rapl_is_readable(config->root);

    advise(add(checks, "energy", false, rapl,
               rapl ? "RAPL is readable: the CPUs' energy is measured"
                    : "RAPL is not readable: the CPUs' energy is modelled"),
           "where the CPU has RAPL: run as root, or let the agent's user read "
           "/sys/class/powercap/intel-rapl*/energy_uj");
}

/* One check a vendor that is there, and one for what was said in the notes. */
static void check_devices(const struct node_info *node, struct checks *checks)
{
    for (const struct vendor_adapter *adapter = vendor_adapters(); adapter->name; adapter++) {
        uint32_t count = 0, sick = 0;
        const struct device_info *worst = NULL, *any = NULL;

        for (uint32_t i = 0; i < node->devices_count; i++) {
            const struct device_info *device = &node->devices[i];

            if (strcmp(device->vendor, adapter->name) != 0)
                continue;
            count++;
            any = device;
            if (device->health == DEVICE_SICK) {
                sick++;
                worst = worst ? worst : device;
            }
        }
        if (count == 0)
            continue;
        if (worst)
            advise(add(checks, adapter->name, false, false,
                       "%" PRIu32 " of %" PRIu32 " cannot be used: %.90s", sick, count,
                       worst->health_text),
                   "%s (%s)",
                   strstr(worst->health_text, "missing")
                       ? "install the vendor's driver tools, or put them into PATH"
                       : "see what the driver says: dmesg, and the vendor's tool",
                   adapter->tools[0].argv[0]);
        else
            add(checks, adapter->name, false, true, "%" PRIu32 " x %.60s, driver %.40s", count,
                any->chip, any->driver[0] ? any->driver : "of unknown version");
    }
    if (node->devices_count == 0)
        add(checks, "accelerators", false, true, "none found");
    if (node->notes[0])
        advise(add(checks, "notes", false, false, "%.190s", node->notes),
               "docs/devices.md says what each vendor needs");
}

uint32_t discover_checks(const struct discover_config *config, struct discover_check *checks_out)
{
    CLEANUP(freep) struct node_info *node = calloc(1, sizeof(*node));
    struct checks checks = { .list = checks_out };
    struct err err = { 0 };

    check_sandbox(&checks);
    check_cgroups(config, &checks);
    if (!node || discover_node(config, node, NULL, &err) < 0) {
        advise(add(&checks, "cpus", true, false, "%.190s", node ? err.text : "out of memory"),
               "check that /sys and /proc are mounted");
        return checks.count;
    }
    check_host(node, &checks);
    check_limits(&checks);
    check_clock(&checks);
    check_energy(config, &checks);
    check_devices(node, &checks);
    return checks.count;
}
