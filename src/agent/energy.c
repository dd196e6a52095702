#include "agent/energy.h"

#include "agent/vendor_text.h"
#include "base/buf.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RAPL_DOMAINS_MAX 64u
#define SMALL_FILE_BYTES_MAX 4096u
#define STAT_BYTES_MAX (4u << 20)       /* a line a CPU and one of all interrupts */
#define MS_MAX INT64_C(100000000000000) /* 3000 years: keeps every product below in 128 bits */

static int64_t clamp(__int128 value)
{
    if (value < 0)
        return 0;
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static int64_t bound(int64_t value, int64_t max)
{
    return value < 0 ? 0 : MIN(value, max);
}

void energy_node_watts(uint32_t cpus, int64_t memory_bytes, int32_t *load_watts_out,
                       int32_t *idle_watts_out)
{
    int64_t gib = bound(memory_bytes, INT64_C(1) << 50) / (INT64_C(1) << 30);
    int64_t memory_mw = gib * ENERGY_MEMORY_MW_PER_GIB;
    int64_t load_mw = (int64_t)cpus * ENERGY_CPU_LOAD_MW + memory_mw;
    int64_t idle_mw = (int64_t)cpus * ENERGY_CPU_IDLE_MW + memory_mw;

    *load_watts_out = (int32_t)MIN((load_mw + 500) / 1000, 1000000);
    *idle_watts_out = (int32_t)MIN((idle_mw + 500) / 1000, 1000000);
}

void energy_model_init(struct energy_model *model, const struct node_info *node,
                       const struct catalogue *catalogue)
{
    *model = (struct energy_model){
        .cpus = node->cpus,
        .cpu_load_watts = node->cpu_load_watts,
        .cpu_idle_watts = node->cpu_idle_watts,
        .devices_count = MIN(node->devices_count, NODE_DEVICES_MAX),
    };
    if (model->cpu_load_watts <= 0)
        energy_node_watts(node->cpus, node->memory_bytes, &model->cpu_load_watts,
                          &model->cpu_idle_watts);
    for (uint32_t i = 0; i < model->devices_count; i++) {
        const struct chip *chip =
            catalogue ? catalogue_find(catalogue, node->devices[i].chip) : NULL;
        int32_t load =
            chip && chip->power_watts >= 0 ? chip->power_watts : ENERGY_DEVICE_WATTS_ASSUMED;

        model->devices[i].load_watts = load;
        model->devices[i].idle_watts = chip && chip->power_idle_watts >= 0
                                           ? chip->power_idle_watts
                                           : load * ENERGY_IDLE_PERCENT / 100;
    }
}

static int64_t cpu_mj(const struct energy_model *model, const struct energy_use *use)
{
    int64_t cpus = model->cpus ? model->cpus : 1;
    int64_t idle = bound(model->cpu_idle_watts, INT32_MAX);
    int64_t load = MAX(bound(model->cpu_load_watts, INT32_MAX), idle);
    __int128 held = (__int128)idle * bound(use->cpu_held_ms, MS_MAX);
    __int128 spent = (__int128)(load - idle) * bound(use->cpu_ms, MS_MAX);

    return clamp((held + spent) / cpus);
}

static int64_t device_mj(const struct energy_model *model, const struct energy_use *use, uint32_t i)
{
    uint32_t place = use->devices[i].device;
    int64_t milli = MIN(use->devices[i].milli, 1000u);
    int64_t busy = use->devices[i].busy_milli < 0 ? 1000 : MIN(use->devices[i].busy_milli, 1000);
    int64_t wall_ms = bound(use->wall_ms, MS_MAX);
    int64_t load = ENERGY_DEVICE_WATTS_ASSUMED;
    int64_t idle = load * ENERGY_IDLE_PERCENT / 100;

    if (use->devices[i].energy_measured_mj >= 0)
        return clamp((__int128)use->devices[i].energy_measured_mj * milli / 1000);
    if (place < model->devices_count) {
        idle = bound(model->devices[place].idle_watts, INT32_MAX);
        load = MAX(bound(model->devices[place].load_watts, INT32_MAX), idle);
    }
    return clamp((__int128)(idle * 1000 + (load - idle) * busy) * wall_ms * milli / 1000000);
}

int64_t energy_attempt_mj(const struct energy_model *model, const struct energy_use *use,
                          bool *measured_out)
{
    bool measured = use->cpu_measured_mj >= 0;
    __int128 sum = measured ? use->cpu_measured_mj : cpu_mj(model, use);

    for (uint32_t i = 0; i < use->devices_count && i < NODE_DEVICES_MAX; i++) {
        measured = measured && use->devices[i].energy_measured_mj >= 0;
        sum += device_mj(model, use, i);
    }
    if (measured_out)
        *measured_out = measured;
    return clamp(sum);
}

int64_t energy_share_mj(int64_t node_mj, int64_t attempt_cpu_ms, int64_t node_busy_ms)
{
    /* The two clocks tick apart: an attempt never gets more than the whole. */
    int64_t busy_ms = MAX(node_busy_ms, attempt_cpu_ms);

    if (node_mj < 0)
        return -1;
    if (attempt_cpu_ms <= 0 || busy_ms <= 0)
        return 0;
    return clamp((__int128)node_mj * attempt_cpu_ms / busy_ms);
}

struct rapl_domain {
    char path[128];
    int64_t last_uj;
    int64_t range_uj; /* the counter wraps here */
};

struct energy_sampler {
    char root[256];
    uint32_t domains_count;
    struct rapl_domain domains[RAPL_DOMAINS_MAX];
    int64_t cpu_uj;
    int64_t busy_first_ms, busy_ms;
    int64_t last_ms; /* of the last tick; -1 = none yet */
    uint32_t device_readings[NODE_DEVICES_MAX];
    int64_t device_uj[NODE_DEVICES_MAX];
    int64_t device_mw[NODE_DEVICES_MAX]; /* as last told; -1 = not */
};

/* A number in a small file; -1 when it cannot be read. */
static int64_t read_number(const char *path)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SMALL_FILE_BYTES_MAX);
    char *end;
    long long value;

    if (file_read(path, &text, NULL) < 0 || text.len == 0)
        return -1;
    errno = 0;
    value = strtoll(text.data, &end, 10);
    return end == text.data || errno || value < 0 ? -1 : value;
}

/* Packages, and the memory beside them; their parts (cores, uncore) are in the packages, and psys
 * is more than the CPUs. */
static bool domain_counts(const char *root, const char *name)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SMALL_FILE_BYTES_MAX);
    char path[512];

    snprintf(path, sizeof(path), "%.256s/sys/class/powercap/%.40s/name", root, name);
    if (strncmp(name, "intel-rapl:", 11) != 0 || file_read(path, &text, NULL) < 0 || text.len == 0)
        return false;
    return strncmp(text.data, "package-", 8) == 0 || strncmp(text.data, "dram", 4) == 0;
}

static uint32_t find_domains(const char *root, struct rapl_domain *domains)
{
    CLEANUP(freep) char *folder = path_format("%s/sys/class/powercap", root);
    DIR *dir = folder ? opendir(folder) : NULL;
    struct dirent *entry;
    uint32_t count = 0;

    while (dir && count < RAPL_DOMAINS_MAX && (entry = readdir(dir)) != NULL) {
        struct rapl_domain *domain = &domains[count];
        char path[512];

        if (strlen(entry->d_name) > 40 || !domain_counts(root, entry->d_name))
            continue;
        snprintf(domain->path, sizeof(domain->path), "/sys/class/powercap/%.40s/energy_uj",
                 entry->d_name);
        snprintf(path, sizeof(path), "%s%s", root, domain->path);
        domain->last_uj = read_number(path);
        snprintf(path, sizeof(path), "%s/sys/class/powercap/%.40s/max_energy_range_uj", root,
                 entry->d_name);
        domain->range_uj = read_number(path);
        count += domain->last_uj >= 0 ? 1 : 0;
    }
    if (dir)
        closedir(dir);
    return count;
}

bool energy_rapl_is_readable(const char *root)
{
    struct rapl_domain domains[RAPL_DOMAINS_MAX];

    return find_domains(root ? root : "", domains) > 0;
}

/* CPU time spent by all since boot, in ms; -1 when it cannot be read. */
static int64_t read_busy_ms(const char *root)
{
    CLEANUP(freep) char *path = path_format("%s/proc/stat", root);
    CLEANUP(buf_fini) struct buf text = buf_init(STAT_BYTES_MAX);
    long ticks = sysconf(_SC_CLK_TCK);
    struct slice rest, line;
    __int128 busy = 0;

    if (!path || file_read(path, &text, NULL) < 0 || !text.data || ticks <= 0)
        return -1;
    rest = (struct slice){ text.data, text.len };
    if (!slice_next_line(&rest, &line) || !slice_is(slice_word(line, 0), "cpu"))
        return -1;
    for (uint32_t i = 1; i <= 7; i++) { /* user nice system idle iowait irq softirq */
        int64_t milli;

        if (!slice_parse_milli(slice_word(line, i), &milli))
            return -1;
        if (i != 4 && i != 5)
            busy += milli;
    }
    return clamp(busy / ticks);
}

struct energy_sampler *energy_sampler_create(const char *root)
{
    struct energy_sampler *sampler = calloc(1, sizeof(*sampler));

    if (!sampler)
        return NULL;
    snprintf(sampler->root, sizeof(sampler->root), "%s", root ? root : "");
    sampler->domains_count = find_domains(sampler->root, sampler->domains);
    sampler->busy_first_ms = read_busy_ms(sampler->root);
    sampler->last_ms = -1;
    for (uint32_t i = 0; i < NODE_DEVICES_MAX; i++)
        sampler->device_mw[i] = -1;
    return sampler;
}

void energy_sampler_destroy(struct energy_sampler *sampler)
{
    free(sampler);
}

static void tick_domain(struct energy_sampler *sampler, struct rapl_domain *domain)
{
    char path[512];
    int64_t now_uj;

    snprintf(path, sizeof(path), "%s%s", sampler->root, domain->path);
    now_uj = read_number(path);
    if (now_uj < 0)
        return;
    if (now_uj >= domain->last_uj)
        sampler->cpu_uj += now_uj - domain->last_uj;
    else if (domain->range_uj >= domain->last_uj)
        sampler->cpu_uj += domain->range_uj - domain->last_uj + now_uj;
    domain->last_uj = now_uj;
}

void energy_sampler_tick(struct energy_sampler *sampler, int64_t mono_ms, const int64_t *power_mw,
                         uint32_t devices_count)
{
    int64_t passed_ms = sampler->last_ms < 0 ? 0 : MAX(mono_ms - sampler->last_ms, 0);
    int64_t busy_ms = read_busy_ms(sampler->root);

    for (uint32_t i = 0; i < sampler->domains_count; i++)
        tick_domain(sampler, &sampler->domains[i]);
    if (busy_ms >= 0 && sampler->busy_first_ms >= 0)
        sampler->busy_ms = MAX(busy_ms - sampler->busy_first_ms, sampler->busy_ms);

    for (uint32_t i = 0; i < NODE_DEVICES_MAX; i++) {
        int64_t now_mw = power_mw && i < devices_count ? power_mw[i] : sampler->device_mw[i];
        int64_t then_mw = sampler->device_mw[i] >= 0 ? sampler->device_mw[i] : now_mw;

        if (now_mw < 0)
            continue; /* it no longer tells: what was measured stays */
        /* mW x ms = uJ; between two readings the power is taken to go straight. */
        sampler->device_uj[i] += (then_mw + now_mw) / 2 * passed_ms;
        sampler->device_mw[i] = now_mw;
        sampler->device_readings[i] += power_mw && i < devices_count ? 1 : 0;
    }
    sampler->last_ms = mono_ms;
}

void energy_sampler_read(const struct energy_sampler *sampler, struct energy_counters *out)
{
    out->cpu_mj = sampler->domains_count ? sampler->cpu_uj / 1000 : -1;
    out->cpu_busy_ms = sampler->busy_ms;
    for (uint32_t i = 0; i < NODE_DEVICES_MAX; i++) {
        out->device_mj[i] = sampler->device_readings[i] ? sampler->device_uj[i] / 1000 : -1;
        out->device_readings[i] = sampler->device_readings[i];
    }
}
