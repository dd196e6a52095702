#include "sim/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 4000000u
#define CHIP_SETS_MAX 100000u
#define REQUESTS_LOOKED_AT 64u

void sim_load_destroy(struct sim_load *load)
{
    if (!load)
        return;
    free(load->jobs);
    free(load->names);
    free(load->chains);
    free(load->name_next);
    free(load->chip_sets);
    free(load->requests);
    free(load->rates);
    free(load);
}

void sim_load_destroyp(struct sim_load **load)
{
    sim_load_destroy(*load);
}

struct sim_load *sim_load_create(void)
{
    CLEANUP(sim_load_destroyp) struct sim_load *load = calloc(1, sizeof(*load));

    if (!load)
        return NULL;
    load->names_cap = 256;
    load->chains_count = 1024;
    load->chip_sets_cap = 16;
    load->names = calloc(load->names_cap, sizeof(*load->names));
    load->name_next = calloc(load->names_cap, sizeof(*load->name_next));
    load->chains = calloc(load->chains_count, sizeof(*load->chains));
    load->chip_sets = calloc(load->chip_sets_cap, sizeof(*load->chip_sets));
    if (!load->names || !load->name_next || !load->chains || !load->chip_sets)
        return NULL;
    load->names_count = 1;
    load->chip_sets_count = 1;
    return TAKE(load);
}

/* --- names ------------------------------------------------------------------------------------ */

static uint32_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static bool grow_names(struct sim_load *load)
{
    uint32_t cap = load->names_cap * 2, chains_count = load->chains_count * 2;
    void *names = realloc(load->names, cap * sizeof(*load->names));
    void *next;
    uint32_t *chains;

    if (!names)
        return false;
    load->names = names;
    next = realloc(load->name_next, cap * sizeof(*load->name_next));
    if (!next)
        return false;
    load->name_next = next;
    load->names_cap = cap;
    chains = calloc(chains_count, sizeof(*chains));
    if (!chains)
        return false;
    for (uint32_t i = 1; i < load->names_count; i++) {
        uint32_t at = hash_name(load->names[i]) & (chains_count - 1);

        load->name_next[i] = chains[at];
        chains[at] = i;
    }
    free(load->chains);
    load->chains = chains;
    load->chains_count = chains_count;
    return true;
}

uint32_t sim_load_name(struct sim_load *load, const char *name)
{
    char clean[MODEL_NAME_BYTES];
    size_t len = 0;
    uint32_t at;

    for (; name[len] && len < sizeof(clean) - 1; len++)
        clean[len] =
            (unsigned char)name[len] > ' ' && (unsigned char)name[len] < 127 ? name[len] : '_';
    clean[len] = '\0';
    if (!len)
        return 0;
    at = hash_name(clean) & (load->chains_count - 1);
    for (uint32_t i = load->chains[at]; i; i = load->name_next[i])
        if (strcmp(load->names[i], clean) == 0)
            return i;
    if (load->names_count >= NAMES_MAX ||
        (load->names_count == load->names_cap && !grow_names(load)))
        return UINT32_MAX;
    at = hash_name(clean) & (load->chains_count - 1);
    memcpy(load->names[load->names_count], clean, sizeof(clean));
    load->name_next[load->names_count] = load->chains[at];
    load->chains[at] = load->names_count;
    return load->names_count++;
}

uint32_t sim_load_chips(struct sim_load *load, const char *names, char separator)
{
    struct sim_chip_set set = { 0 };

    while (*names) {
        char name[MODEL_NAME_BYTES];
        size_t len = 0;

        for (; *names && *names != separator; names++)
            if (len < sizeof(name) - 1)
                name[len++] = *names;
        name[len] = '\0';
        names += *names == separator;
        if (!len)
            continue;
        if (set.count == REQUEST_CHIPS_MAX)
            return UINT32_MAX;
        set.names[set.count] = sim_load_name(load, name);
        if (set.names[set.count++] == UINT32_MAX)
            return UINT32_MAX;
    }
    for (uint32_t i = 0; i < load->chip_sets_count; i++)
        if (memcmp(&load->chip_sets[i], &set, sizeof(set)) == 0)
            return i;
    if (load->chip_sets_count == load->chip_sets_cap) {
        uint32_t cap = MAX(load->chip_sets_cap * 2, 16u);
        void *more = cap <= CHIP_SETS_MAX ? realloc(load->chip_sets, cap * sizeof(set)) : NULL;

        if (!more)
            return UINT32_MAX;
        load->chip_sets = more;
        load->chip_sets_cap = cap;
    }
    load->chip_sets[load->chip_sets_count] = set;
    return load->chip_sets_count++;
}

uint32_t sim_load_request(struct sim_load *load, const struct job_request *request)
{
    uint32_t from =
        load->requests_count > REQUESTS_LOOKED_AT ? load->requests_count - REQUESTS_LOOKED_AT : 1;

    for (uint32_t i = from; i < load->requests_count; i++) /* people repeat themselves */
        if (memcmp(&load->requests[i], request, sizeof(*request)) == 0)
            return i;
    if (load->requests_count + 1 >= load->requests_cap) {
        uint32_t cap = load->requests_cap ? load->requests_cap * 2 : 64;
        void *more = realloc(load->requests, cap * sizeof(*request));

        if (!more)
            return 0;
        load->requests = more;
        load->requests_cap = cap;
    }
    if (!load->requests_count)
        load->requests_count = 1;
    load->requests[load->requests_count] = *request;
    return load->requests_count++;
}

/* --- jobs ------------------------------------------------------------------------------------- */

struct sim_job sim_job_init(void)
{
    return (struct sim_job){ .tasks = 1, .cpus = 1, .cancel_ms = -1, .job_class = CLASS_NORMAL };
}

static const char *job_fault(const struct sim_job *job)
{
    if (job->submit_ms < -SIM_SPAN_MS_MAX || job->submit_ms > SIM_TIME_MS_MAX)
        return "the time of submit";
    if (job->run_ms < 0 || job->run_ms > SIM_RUN_MS_MAX)
        return "the run time (at most 366 days)";
    if (job->limit_ms < 0)
        return "the time limit";
    if (job->tasks > REQUEST_TASKS_MAX || job->gpus > REQUEST_TASKS_MAX)
        return "the number of processors or devices (at most 65536)";
    if (!job->tasks && !job->gpus)
        return "neither processors nor devices: the size";
    if (job->cpus < 1 || job->cpus > 65536)
        return "CPUs per task";
    if (job->devices_milli > 64000 || (job->devices_milli > 1000 && job->devices_milli % 1000))
        return "devices per task";
    if (job->memory_bytes < 0 || job->memory_bytes > 1LL << 46)
        return "memory per task";
    return NULL;
}

int sim_load_add(struct sim_load *load, const struct sim_job *job, struct err *err)
{
    const char *fault = job_fault(job);

    if (fault)
        return err_set(err, -EINVAL, "%s is out of range", fault);
    if (load->jobs_count == load->jobs_cap) {
        uint32_t cap = load->jobs_cap ? load->jobs_cap * 2 : 1024;
        void *more;

        if (load->jobs_count >= SIM_JOBS_MAX)
            return err_set(err, -E2BIG, "more than %u jobs", SIM_JOBS_MAX);
        more = realloc(load->jobs, cap * sizeof(*load->jobs));
        if (!more)
            return err_set(err, -ENOMEM, "out of memory");
        load->jobs = more;
        load->jobs_cap = cap;
    }
    load->jobs[load->jobs_count++] = *job;
    return 0;
}

/* Stable, and quick where the trace is in order already, as most are. */
static int sort_jobs(struct sim_load *load)
{
    uint32_t count = load->jobs_count;
    struct sim_job *from = load->jobs, *to;
    bool sorted = true;

    for (uint32_t i = 1; sorted && i < count; i++)
        sorted = from[i - 1].submit_ms <= from[i].submit_ms;
    if (sorted)
        return 0;
    to = malloc(load->jobs_cap * sizeof(*to));
    if (!to)
        return -ENOMEM;
    for (uint64_t width = 1; width < count; width *= 2) {
        struct sim_job *swap;

        for (uint64_t low = 0; low < count; low += 2 * width) {
            uint64_t middle = MIN(low + width, count), high = MIN(low + 2 * width, count);
            uint64_t a = low, b = middle;

            for (uint64_t i = low; i < high; i++)
                to[i] = a < middle && (b >= high || from[a].submit_ms <= from[b].submit_ms)
                            ? from[a++]
                            : from[b++];
        }
        swap = from;
        from = to;
        to = swap;
    }
    free(to);
    load->jobs = from;
    return 0;
}

int sim_load_finish(struct sim_load *load, bool rebase, struct err *err)
{
    bool has_ids = false;
    int64_t first;

    if (!load->jobs_count)
        return err_set(err, -EINVAL, "%s: there is no job in it", load->source);
    if (sort_jobs(load) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    first = rebase || load->jobs[0].submit_ms < 0 ? load->jobs[0].submit_ms : 0;
    if (load->jobs[load->jobs_count - 1].submit_ms - first > SIM_SPAN_MS_MAX)
        return err_set(err, -EINVAL, "%s: the first and the last job are over 20 years apart",
                       load->source);
    for (uint32_t i = 0; i < load->jobs_count; i++)
        has_ids |= load->jobs[i].id != 0;
    for (uint32_t i = 0; i < load->jobs_count; i++) {
        struct sim_job *job = &load->jobs[i];

        job->id = has_ids ? job->id : i + 1;
        load->has_elastic |= job->tasks_most > 0;
        job->submit_ms -= first;
        if (job->cancel_ms >= 0)
            job->cancel_ms = MAX(job->cancel_ms - first, job->submit_ms);
        if (job->deadline_ms)
            job->deadline_ms = MAX(job->deadline_ms - first, 1);
    }
    return 0;
}

void sim_job_shape(const struct sim_job *job, uint32_t node_devices, struct request_shape *shape)
{
    uint32_t gpus = job->gpus;

    shape->tasks = job->tasks;
    shape->cpus = job->cpus;
    shape->devices_milli = job->devices_milli;
    shape->memory_bytes = job->memory_bytes;
    shape->tasks_per_node = job->tasks_per_node;
    if (job->tasks)
        return;
    if (gpus <= node_devices) {
        shape->tasks = 1;
        shape->devices_milli = gpus * 1000;
    } else if (node_devices && gpus % node_devices == 0) {
        shape->tasks = gpus / node_devices;
        shape->devices_milli = node_devices * 1000;
    } else {
        shape->tasks = gpus;
        shape->devices_milli = 1000;
    }
    shape->cpus = MAX(job->cpus_per_device * (shape->devices_milli / 1000), 1);
}
