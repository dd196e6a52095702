/* Traces with a line of column names: each format is a table of which column means what. Columns
 * that are not in the table are passed over; their order does not matter. */
#include "sched/topology.h"
#include "sim/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum role {
    ROLE_SUBMIT, /* seconds, or a date and time */
    ROLE_START,
    ROLE_END,
    ROLE_DEADLINE,
    ROLE_RUN,   /* seconds */
    ROLE_LIMIT, /* seconds */
    ROLE_GPUS,  /* of the whole job */
    ROLE_CPUS,  /* of the whole job */
    ROLE_NODES,
    ROLE_TASKS,
    ROLE_TASKS_MOST,      /* it may be as wide as that */
    ROLE_TASK_CPUS,       /* per task */
    ROLE_TASK_CPU_MILLI,  /* per task, 1/1000 */
    ROLE_TASK_MEMORY_MIB, /* per task */
    ROLE_TASK_MEMORY_GB,
    ROLE_TASK_DEVICES, /* per task; parts of one are meant as shares */
    ROLE_POD_GPUS,     /* openb: whole devices, or one that is shared by ROLE_POD_MILLI */
    ROLE_POD_MILLI,
    ROLE_UNITS,
    ROLE_HARD,  /* 1: the domain it asks for or nowhere */
    ROLE_MIXED, /* 1: its tasks may be on several kinds of chip */
    ROLE_CHIPS, /* "A|B"; this and what follows is text */
    ROLE_ID,    /* where it is a number */
    ROLE_USER,
    ROLE_TENANT,
    ROLE_STATE,
    ROLE_QOS,
    ROLE_CLASS,
    ROLE_WORK,   /* its class of work */
    ROLE_WITHIN, /* "rack" */
    ROLE_COUNT
};

struct column {
    const char *name;
    enum role role;
    bool needed;
};
struct table {
    const char *format;
    struct column columns[24]; /* a NULL name ends */
};

/* Helios (HeliosData, README): duration and queue are seconds; the node count is what it ran on.
 * Acme (AcmeTrace, README): the same names, with "type" and memory per pod.
 * openb (cluster-trace-gpu-v2023, README): creation, scheduled and deletion in seconds. */
#define CLUSTER_COLUMNS(tenant_)                                                                   \
    { "job_id", ROLE_ID, false }, { "submit_time", ROLE_SUBMIT, true },                            \
        { "duration", ROLE_RUN, true }, { "gpu_num", ROLE_GPUS, true },                            \
        { "cpu_num", ROLE_CPUS, true }, { "node_num", ROLE_NODES, false },                         \
        { "user", ROLE_USER, false }, { tenant_, ROLE_TENANT, false },                             \
    {                                                                                              \
        "state", ROLE_STATE, false                                                                 \
    }
/* Lists made of the traces above for studies. */
#define LIST_COLUMNS                                                                               \
    { "job_id", ROLE_ID, false }, { "submit_s", ROLE_SUBMIT, true },                               \
        { "duration_s", ROLE_RUN, true },                                                          \
    {                                                                                              \
        "gpus", ROLE_GPUS, true                                                                    \
    }

static const struct table tables[] = {
    { "helios", { CLUSTER_COLUMNS("vc") } },
    { "acme", { CLUSTER_COLUMNS("type") } },
    { "openb",
      { { "creation_time", ROLE_SUBMIT, true },
        { "scheduled_time", ROLE_START, true },
        { "deletion_time", ROLE_END, true },
        { "cpu_milli", ROLE_TASK_CPU_MILLI, true },
        { "memory_mib", ROLE_TASK_MEMORY_MIB, true },
        { "num_gpu", ROLE_POD_GPUS, true },
        { "gpu_milli", ROLE_POD_MILLI, true },
        { "gpu_spec", ROLE_CHIPS, false },
        { "qos", ROLE_QOS, false } } },
    { "philly-jobs", { LIST_COLUMNS, { "vc", ROLE_TENANT, false } } },
    { "venus-jobs", { LIST_COLUMNS } },
    { "venus-vc",
      { LIST_COLUMNS,
        { "user", ROLE_USER, false },
        { "vc", ROLE_TENANT, false },
        { "status", ROLE_STATE, false } } },
    { "jobs",
      { { "submit_s", ROLE_SUBMIT, true },
        { "run_s", ROLE_RUN, true },
        { "id", ROLE_ID, false },
        { "limit_s", ROLE_LIMIT, false },
        { "deadline_s", ROLE_DEADLINE, false },
        { "tasks_most", ROLE_TASKS_MOST, false },
        { "gpus", ROLE_GPUS, false },
        { "tasks", ROLE_TASKS, false },
        { "cpus", ROLE_TASK_CPUS, false },
        { "devices", ROLE_TASK_DEVICES, false },
        { "memory_mib", ROLE_TASK_MEMORY_MIB, false },
        { "chips", ROLE_CHIPS, false },
        { "user", ROLE_USER, false },
        { "tenant", ROLE_TENANT, false },
        { "class", ROLE_CLASS, false },
        { "work", ROLE_WORK, false },
        { "units", ROLE_UNITS, false },
        { "within", ROLE_WITHIN, false },
        { "hard", ROLE_HARD, false },
        { "mixed", ROLE_MIXED, false },
        { "state", ROLE_STATE, false } } },
};

struct reader {
    struct sim_trace *trace;
    const struct table *table;
    int32_t at[ROLE_COUNT]; /* column of each role; -1 = not there */
    const char *name[ROLE_COUNT];
    char *fields[SIM_FIELDS_MAX];
    uint32_t fields_count, header_count;
};

/* A moment: it may be below zero. */
static bool is_clock(enum role role)
{
    return role <= ROLE_DEADLINE;
}

/* A moment, or how long something takes. */
static bool is_time(enum role role)
{
    return role <= ROLE_LIMIT;
}

static int read_header(struct reader *reader, char *line)
{
    uint32_t count;

    if ((unsigned char)line[0] == 0xef) /* a byte order mark */
        line += 3;
    for (int i = 0; i < ROLE_COUNT; i++)
        reader->at[i] = -1;
    if (sim_csv_split(line, reader->fields, &count) < 0)
        count = 0;
    reader->header_count = count;
    for (const struct column *column = reader->table->columns; column->name; column++) {
        for (uint32_t i = 0; i < count; i++)
            if (strcmp(reader->fields[i], column->name) == 0) {
                if (reader->at[column->role] >= 0)
                    return err_set(reader->trace->err, -EINVAL,
                                   "%s:1: the column \"%s\" is there twice",
                                   sim_lines_name(reader->trace->lines), column->name);
                reader->at[column->role] = (int32_t)i;
            }
        reader->name[column->role] = column->name;
        if (is_time(column->role) && reader->trace->how->timeless)
            reader->at[column->role] = -1;
        else if (column->needed && reader->at[column->role] < 0)
            return err_set(reader->trace->err, -EINVAL, "%s:1: no column \"%s\", which %s needs",
                           sim_lines_name(reader->trace->lines), column->name,
                           reader->table->format);
    }
    return 0;
}

static const char *text_of(const struct reader *reader, enum role role)
{
    return reader->at[role] < 0 ? "" : reader->fields[reader->at[role]];
}

/* 1: there is none; 0; -1: it is no number, and the line has been called bad in `*rc`. */
static int number_of(struct reader *reader, enum role role, int64_t *out, int *rc)
{
    const char *text = text_of(reader, role);

    if (!*text || strcmp(text, "None") == 0 || strcmp(text, "nan") == 0)
        return 1;
    if (is_clock(role) ? sim_parse_clock(text, out) : sim_parse_milli(text, out))
        return 0;
    *rc = sim_trace_bad(reader->trace, "%s: expected a %s, not \"%.40s\"", reader->name[role],
                        is_clock(role) ? "time" : "number", text);
    return -1;
}

static uint8_t outcome_of(const char *state)
{
    static const struct {
        const char *word;
        enum sim_outcome outcome;
    } words[] = {
        { "COMPLETED", SIM_DONE },    { "Pass", SIM_DONE },           { "FAILED", SIM_FAILED },
        { "Failed", SIM_FAILED },     { "TIMEOUT", SIM_FAILED },      { "NODE_FAIL", SIM_FAILED },
        { "OUT_OF_MEM", SIM_FAILED }, { "CANCEL", SIM_CANCELLED },    { "Killed", SIM_CANCELLED },
        { "failed", SIM_FAILED },     { "cancelled", SIM_CANCELLED },
    };

    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strncmp(state, words[i].word, strlen(words[i].word)) == 0)
            return (uint8_t)words[i].outcome;
    return SIM_DONE;
}

/* false: a word that is no class. */
static bool set_class(struct sim_job *job, const char *qos, const char *class_name)
{
    static const char *const classes[CLASS_COUNT] = { "low", "normal", "high", "urgent" };

    job->job_class = strcmp(qos, "BE") == 0           ? CLASS_LOW
                     : strcmp(qos, "Guaranteed") == 0 ? CLASS_HIGH
                                                      : CLASS_NORMAL;
    for (uint32_t i = 0; i < CLASS_COUNT; i++)
        if (strcmp(class_name, classes[i]) == 0) {
            job->job_class = (uint8_t)i;
            return true;
        }
    return !*class_name;
}

/* false: a word that is no level. */
static bool set_topology(struct sim_job *job, const char *within, bool is_hard)
{
    if (!*within)
        return !is_hard;
    for (uint32_t level = TOPOLOGY_NODE; level < TOPOLOGY_COUNT; level++)
        if (strcmp(within, topology_name(level)) == 0) {
            job->within = (uint8_t)level;
            job->within_hard = is_hard;
            return true;
        }
    return false;
}

/* Less than a thousandth of a device is none, and would be taken for a job without. */
static bool is_lost_share(const struct reader *reader, const int64_t *value)
{
    return !value[ROLE_TASK_DEVICES] && strpbrk(text_of(reader, ROLE_TASK_DEVICES), "123456789");
}

/* Whole devices or a share; false: neither. */
static bool set_devices(struct sim_job *job, const int64_t *value, const bool *has)
{
    if (has[ROLE_TASK_DEVICES])
        job->devices_milli = (uint32_t)MIN(value[ROLE_TASK_DEVICES], UINT32_MAX);
    if (has[ROLE_POD_GPUS]) {
        int64_t gpus = value[ROLE_POD_GPUS] / 1000, milli = value[ROLE_POD_MILLI] / 1000;

        if (gpus > 64 || milli > 1000 || (gpus > 1 && milli != 1000))
            return false;
        job->devices_milli = (uint32_t)(gpus > 1 ? gpus * 1000 : gpus * milli);
    }
    return true;
}

static void set_size(struct reader *reader, struct sim_job *job, const int64_t *value,
                     const bool *has)
{
    uint32_t per_device = reader->trace->how->cpus_per_device;
    int64_t gpus = value[ROLE_GPUS] / 1000, cpus = value[ROLE_CPUS] / 1000;

    if (has[ROLE_TASKS])
        job->tasks = (uint32_t)MIN(value[ROLE_TASKS] / 1000, UINT32_MAX);
    if (has[ROLE_TASK_CPUS])
        job->cpus = (uint32_t)MIN(value[ROLE_TASK_CPUS] / 1000, UINT32_MAX);
    if (has[ROLE_TASK_CPU_MILLI])
        job->cpus =
            (uint32_t)MAX((MIN(value[ROLE_TASK_CPU_MILLI], 1LL << 40) + 999999) / 1000000, 1);
    if (has[ROLE_TASK_MEMORY_MIB])
        job->memory_bytes = MIN(value[ROLE_TASK_MEMORY_MIB] / 1000, 1LL << 30) << 20;
    if (has[ROLE_GPUS] && gpus > 0) {
        job->tasks = 0;
        job->gpus = (uint32_t)MIN(gpus, UINT32_MAX);
        job->cpus_per_device = per_device       ? per_device
                               : has[ROLE_CPUS] ? (uint32_t)MIN(cpus / gpus, 65536)
                                                : 0;
    } else if (has[ROLE_CPUS] && cpus > 0) { /* as many tasks as it had nodes */
        int64_t nodes = has[ROLE_NODES] ? MAX(value[ROLE_NODES] / 1000, 1) : 1;

        job->tasks = (uint32_t)MIN(nodes, UINT32_MAX);
        job->cpus = (uint32_t)MIN((cpus + nodes - 1) / nodes, UINT32_MAX);
    }
}

static int take(struct reader *reader)
{
    struct sim_trace *trace = reader->trace;
    struct sim_load *load = trace->load;
    struct sim_job job = sim_job_init();
    int64_t value[ROLE_COUNT] = { 0 };
    bool has[ROLE_COUNT] = { false };
    int64_t id;
    int rc = 0;

    for (int role = 0; role < ROLE_CHIPS; role++) {
        int got = number_of(reader, (enum role)role, &value[role], &rc);

        if (got < 0)
            return rc;
        has[role] = got == 0;
        if (has[role] && value[role] < 0 && !is_clock((enum role)role))
            return sim_trace_bad(trace, "%s: below zero", reader->name[role]);
    }
    if (trace->how->timeless)
        value[ROLE_RUN] = has[ROLE_RUN] = has[ROLE_SUBMIT] = true;
    if (!has[ROLE_SUBMIT])
        return sim_trace_bad(trace, "%s: is missing", reader->name[ROLE_SUBMIT]);
    job.submit_ms = value[ROLE_SUBMIT];
    job.id = sim_parse_milli(text_of(reader, ROLE_ID), &id) && id > 0 ? (uint64_t)id / 1000 : 0;
    job.run_ms = has[ROLE_RUN] ? value[ROLE_RUN]
                 : has[ROLE_END]
                     ? value[ROLE_END] - (has[ROLE_START] ? value[ROLE_START] : value[ROLE_SUBMIT])
                     : 0;
    job.limit_ms = value[ROLE_LIMIT];
    if (has[ROLE_DEADLINE] && value[ROLE_DEADLINE] <= job.submit_ms)
        return sim_trace_bad(trace, "deadline_s: is not after submit_s");
    job.deadline_ms = value[ROLE_DEADLINE];
    job.tasks_most = (uint32_t)MIN(value[ROLE_TASKS_MOST] / 1000, REQUEST_TASKS_MAX);
    set_size(reader, &job, value, has);
    if (!set_devices(&job, value, has) || is_lost_share(reader, value))
        return sim_trace_bad(trace, "devices: expected whole ones, or a share of one");
    if (job.run_ms <= 0 ||
        (has[ROLE_GPUS] && !value[ROLE_GPUS] && has[ROLE_CPUS] && !value[ROLE_CPUS]) ||
        (has[ROLE_GPUS] && !value[ROLE_GPUS] && !has[ROLE_CPUS] && !has[ROLE_TASK_CPUS])) {
        load->lines_skipped++; /* it never ran, or asked for nothing */
        return 0;
    }
    job.outcome = outcome_of(text_of(reader, ROLE_STATE));
    if (!set_class(&job, text_of(reader, ROLE_QOS), text_of(reader, ROLE_CLASS)))
        return sim_trace_bad(trace, "class: expected low, normal, high or urgent, not \"%.40s\"",
                             text_of(reader, ROLE_CLASS));
    job.mixed = value[ROLE_MIXED] > 0;
    if (!set_topology(&job, text_of(reader, ROLE_WITHIN), value[ROLE_HARD] > 0))
        return sim_trace_bad(trace, "within: expected node, rack, supernode or pool, not \"%.40s\"",
                             text_of(reader, ROLE_WITHIN));
    job.work = sim_load_name(load, text_of(reader, ROLE_WORK));
    job.units_milli = job.work ? MIN(value[ROLE_UNITS], 1LL << 50) : 0;
    job.user = sim_load_name(load, text_of(reader, ROLE_USER));
    job.tenant = sim_load_name(load, text_of(reader, ROLE_TENANT));
    job.chips = sim_load_chips(load, text_of(reader, ROLE_CHIPS), '|');
    job.reference = job.devices_milli || !job.tasks ? trace->reference : 0;
    if (job.work == UINT32_MAX || job.user == UINT32_MAX || job.tenant == UINT32_MAX ||
        job.chips == UINT32_MAX)
        return sim_trace_bad(trace, "too many names, or too many chips");
    return sim_trace_add(trace, &job);
}

int sim_trace_csv(struct sim_trace *trace, const char *format)
{
    struct reader reader = { .trace = trace };
    char *line;
    int rc;

    for (size_t i = 0; i < ARRAY_COUNT(tables); i++)
        if (strcmp(tables[i].format, format) == 0)
            reader.table = &tables[i];
    rc = sim_trace_next(trace, &line);
    if (rc == 1)
        return err_set(trace->err, -EINVAL, "%s: is empty", sim_lines_name(trace->lines));
    if (rc == 0)
        rc = read_header(&reader, line);
    while (rc == 0 && (rc = sim_trace_next(trace, &line)) == 0) {
        if (!*line)
            continue;
        if (sim_csv_split(line, reader.fields, &reader.fields_count) < 0)
            rc = sim_trace_bad(trace, "a quote that does not end");
        else if (reader.fields_count < reader.header_count)
            rc = sim_trace_bad(trace, "%u fields, where the first line has %u", reader.fields_count,
                               reader.header_count);
        else
            rc = take(&reader);
    }
    return rc < 0 ? rc : 0;
}
