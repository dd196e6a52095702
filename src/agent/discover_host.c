#include "agent/discover_internal.h"

#include "agent/energy.h"
#include "agent/vendor_text.h"
#include "base/file.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536u
#define MEMORY_KEPT_BYTES_MAX (INT64_C(1) << 30) /* for the system and mains itself */

void discover_path(const struct discover_config *config, const char *path,
                   char out[DISCOVER_PATH_BYTES])
{
    snprintf(out, DISCOVER_PATH_BYTES, "%s%s", config->root ? config->root : "", path);
}

bool discover_exists(const struct discover_config *config, const char *path)
{
    char full[DISCOVER_PATH_BYTES];

    discover_path(config, path, full);
    return access(full, F_OK) == 0;
}

static int read_file(const struct discover_config *config, const char *path, struct buf *text)
{
    char full[DISCOVER_PATH_BYTES];

    discover_path(config, path, full);
    return file_read(full, text, NULL);
}

void discover_read_line(const struct discover_config *config, const char *path, char *out,
                        size_t out_bytes)
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    struct slice rest, line;

    out[0] = '\0';
    if (read_file(config, path, &text) < 0 || !text.data)
        return;
    rest = (struct slice){ text.data, text.len };
    if (slice_next_line(&rest, &line))
        slice_copy(line, out, out_bytes);
}

void discover_note(struct node_info *node, const char *fmt, ...)
{
    size_t len = strlen(node->notes);
    va_list args;

    if (len + 3 >= sizeof(node->notes))
        return;
    if (len > 0)
        len += (size_t)snprintf(node->notes + len, sizeof(node->notes) - len, "; ");
    va_start(args, fmt);
    vsnprintf(node->notes + len, sizeof(node->notes) - len, fmt, args);
    va_end(args);
}

/* The text after "key<blanks or ':' or '='>" at the start of a line; false when none. */
static bool find_value(const struct buf *text, const char *key, struct slice *value_out)
{
    struct slice rest = { text->data, text->len }, line;

    while (text->data && slice_next_line(&rest, &line)) {
        if (!slice_begins(line, key))
            continue;
        line.data += strlen(key);
        line.len -= strlen(key);
        while (line.len && strchr(" \t:=\"", line.data[0]) && line.data[0]) {
            line.data++;
            line.len--;
        }
        while (line.len && line.data[line.len - 1] == '"')
            line.len--;
        *value_out = line;
        return true;
    }
    return false;
}

static void read_system(const struct discover_config *config, struct node_info *node)
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    struct utsname names;
    struct slice value;

    if (uname(&names) == 0) {
        snprintf(node->arch, sizeof(node->arch), "%.*s", (int)sizeof(node->arch) - 1,
                 names.machine);
        snprintf(node->os, sizeof(node->os), "%.40s %.40s", names.sysname, names.release);
    }
    if (read_file(config, "/etc/os-release", &text) == 0 &&
        find_value(&text, "PRETTY_NAME", &value))
        slice_copy(value, node->os, sizeof(node->os));
}

/* The host's name cut at the first dot and to the characters of a name. */
static void read_name(const struct discover_config *config, struct node_info *node)
{
    char host[256] = "";
    size_t len = 0;

    if (config->name)
        snprintf(host, sizeof(host), "%s", config->name);
    else if (gethostname(host, sizeof(host) - 1) == 0)
        host[strcspn(host, ".")] = '\0';
    for (const char *p = host; *p && len + 1 < sizeof(node->name); p++) {
        bool word =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

        if (word || (len > 0 && strchr("._-", *p)))
            node->name[len++] = *p;
    }
    node->name[len] = '\0';
    if (len == 0)
        snprintf(node->name, sizeof(node->name), "node");
}

bool discover_cgroup_path(const struct discover_config *config, const char *controller,
                          char out[DISCOVER_PATH_BYTES])
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    struct slice rest, line;

    if (read_file(config, "/proc/self/cgroup", &text) < 0 || !text.data)
        return false;
    rest = (struct slice){ text.data, text.len };
    while (slice_next_line(&rest, &line)) { /* "4:memory:/a/b", "0::/a/b" */
        struct slice parts[SLICE_CELLS_MAX], names[SLICE_CELLS_MAX];
        const char *path;
        uint32_t names_count;

        if (slice_split(line, ':', parts) < 3)
            continue;
        path = parts[2].data;
        names_count = slice_split(parts[1], ',', names);
        for (uint32_t i = 0; i < names_count; i++) {
            if (!slice_is(names[i], controller))
                continue;
            slice_copy((struct slice){ path, (size_t)(line.data + line.len - path) }, out,
                       DISCOVER_PATH_BYTES);
            return true;
        }
    }
    return false;
}

/* Walk from the process's group up to the hierarchy's root: the least limit counts. `read_limit`
 * gives what one group allows, -1 = all. A path that is not there (the group is another
 * namespace's) is passed over: the root then stands for it. */
static int64_t least_limit(const struct discover_config *config, const char *mount, char *path,
                           int64_t (*read_limit)(const struct discover_config *, const char *))
{
    int64_t least = -1;

    for (;;) {
        char folder[DISCOVER_PATH_BYTES];
        char *slash;
        int64_t limit;

        snprintf(folder, sizeof(folder), "%.100s%.400s", mount, path);
        limit = read_limit(config, folder);
        if (limit >= 0 && (least < 0 || limit < least))
            least = limit;
        slash = strrchr(path, '/');
        if (!slash || path[0] == '\0')
            return least;
        *slash = '\0';
    }
}

static int64_t read_limit_file(const struct discover_config *config, const char *folder,
                               const char *file)
{
    char path[DISCOVER_PATH_BYTES + 64], text[64];
    char *end;
    long long value;

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    discover_read_line(config, path, text, sizeof(text));
    errno = 0;
    value = strtoll(text, &end, 10);
    return end == text || errno || value < 0 ? -1 : value; /* "max" is no number */
}

static int64_t memory_limit_v2(const struct discover_config *config, const char *folder)
{
    return read_limit_file(config, folder, "memory.max");
}

static int64_t memory_limit_v1(const struct discover_config *config, const char *folder)
{
    return read_limit_file(config, folder, "memory.limit_in_bytes");
}

/* In thousandths of a CPU. */
static int64_t cpu_limit_v2(const struct discover_config *config, const char *folder)
{
    char path[DISCOVER_PATH_BYTES + 64], text[64];
    uint32_t quota_us, period_us;

    snprintf(path, sizeof(path), "%s/cpu.max", folder); /* "max 100000", "50000 100000" */
    discover_read_line(config, path, text, sizeof(text));
    if (!slice_parse_u32(slice_word(slice_of(text), 0), &quota_us) ||
        !slice_parse_u32(slice_word(slice_of(text), 1), &period_us) || period_us == 0)
        return -1;
    return (int64_t)quota_us * 1000 / period_us;
}

static int64_t cpu_limit_v1(const struct discover_config *config, const char *folder)
{
    int64_t quota = read_limit_file(config, folder, "cpu.cfs_quota_us");
    int64_t period = read_limit_file(config, folder, "cpu.cfs_period_us");

    return quota < 0 || period <= 0 || quota > INT64_MAX / 1000 ? -1 : quota * 1000 / period;
}

static int64_t cgroup_limit(const struct discover_config *config, const char *controller,
                            int64_t (*v1)(const struct discover_config *, const char *),
                            int64_t (*v2)(const struct discover_config *, const char *))
{
    char path[DISCOVER_PATH_BYTES], mount[64];
    int64_t least = -1, limit;

    if (discover_cgroup_path(config, "", path)) {
        least = least_limit(config, "/sys/fs/cgroup", path, v2);
        if (least >= 0)
            return least;
    }
    snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", controller);
    if (discover_cgroup_path(config, controller, path)) {
        limit = least_limit(config, mount, path, v1);
        if (limit >= 0 && (least < 0 || limit < least))
            least = limit;
    }
    return least;
}

static void read_memory(const struct discover_config *config, struct node_info *node)
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    int64_t kib = 0, bytes, limit;
    struct slice value;

    if (read_file(config, "/proc/meminfo", &text) < 0 || !find_value(&text, "MemTotal", &value) ||
        !slice_parse_milli(value, &kib)) {
        discover_note(node, "memory: /proc/meminfo cannot be read");
        return;
    }
    bytes = kib / 1000 * 1024;
    limit = cgroup_limit(config, "memory", memory_limit_v1, memory_limit_v2);
    if (limit >= 0)
        bytes = MIN(bytes, limit);
    node->memory_bytes = bytes - MIN(bytes / 16, MEMORY_KEPT_BYTES_MAX);
}

static void read_disk(const struct discover_config *config, struct node_info *node)
{
    struct statvfs info;
    const char *path = config->disk_path ? config->disk_path : "/";

    if (statvfs(path, &info) < 0)
        discover_note(node, "disk: %.60s: %s", path, strerror(errno));
    else
        node->disk_bytes = (int64_t)MIN((unsigned __int128)info.f_bavail * info.f_frsize,
                                        (unsigned __int128)1 << 59);
}

/* The CPUs this process may use: those of the machine, its cpuset and its affinity, and no more
 * than its quota pays for. */
static int read_cpus(const struct discover_config *config, struct node_info *node, struct err *err)
{
    hwloc_topology_t topology;
    hwloc_bitmap_t bound;
    hwloc_obj_t package;
    const char *model = NULL;
    int64_t limit;
    int cpus;

    if (hwloc_topology_init(&topology) < 0)
        return err_set(err, -ENOMEM, "hwloc: out of memory");
    if (hwloc_topology_load(topology) < 0) {
        hwloc_topology_destroy(topology);
        return err_set(err, -EIO, "hwloc cannot read this machine: %s", strerror(errno));
    }
    bound = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology));
    if (bound) {
        hwloc_bitmap_t affinity = hwloc_bitmap_alloc();

        if (affinity && hwloc_get_cpubind(topology, affinity, HWLOC_CPUBIND_PROCESS) == 0)
            hwloc_bitmap_and(bound, bound, affinity);
        hwloc_bitmap_free(affinity);
    }
    cpus = bound ? hwloc_bitmap_weight(bound) : 0;
    node->numa_count = (uint32_t)MAX(hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE), 1);
    package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    if (package)
        model = hwloc_obj_get_info_by_name(package, "CPUModel");
    if (model)
        slice_copy(slice_of(model), node->cpu_model, sizeof(node->cpu_model));
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
    if (cpus <= 0)
        return err_set(err, -EIO, "hwloc tells of no CPU this process may use");

    limit = cgroup_limit(config, "cpu", cpu_limit_v1, cpu_limit_v2);
    if (limit >= 0)
        cpus = (int)MIN((int64_t)cpus, MAX(limit / 1000, 1));
    node->cpus = (uint32_t)cpus;
    return 0;
}

int discover_host(const struct discover_config *config, struct node_info *node, struct err *err)
{
    int rc;

    memset(node, 0, sizeof(*node));
    read_name(config, node);
    read_system(config, node);
    rc = read_cpus(config, node, err);
    if (rc < 0)
        return rc;
    read_memory(config, node);
    read_disk(config, node);
    energy_node_watts(node->cpus, node->memory_bytes, &node->cpu_load_watts, &node->cpu_idle_watts);
    node->energy_measured = energy_rapl_is_readable(config->root);
    return 0;
}
