/* Alibaba PAI 2020, pai_task_table:
 * job_name,task_name,inst_num,status,start_time,end_time,plan_cpu, plan_mem,plan_gpu,gpu_type. The
 * published files have no line of names; one that has it is taken, too. plan_cpu and plan_gpu count
 * 1/100 of a core and of a GPU, plan_mem GB; times are seconds. The table tells starts, not
 * submits: a job is taken to have come when it started. */
#include "sim/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum pai_field {
    PAI_JOB,
    PAI_TASK,
    PAI_INSTANCES,
    PAI_STATUS,
    PAI_START,
    PAI_END,
    PAI_CPU,
    PAI_MEMORY,
    PAI_GPU,
    PAI_CHIP,
    PAI_COUNT
};

static int take(struct sim_trace *trace, char **fields)
{
    static const enum pai_field numbers[] = { PAI_INSTANCES, PAI_START,  PAI_END,
                                              PAI_CPU,       PAI_MEMORY, PAI_GPU };
    int64_t value[PAI_COUNT] = { 0 }, gpu_milli;
    struct sim_job job = sim_job_init();

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        if (*fields[numbers[i]] && !sim_parse_milli(fields[numbers[i]], &value[numbers[i]]))
            return sim_trace_bad(trace, "field %d: expected a number, not \"%.40s\"",
                                 (int)numbers[i] + 1, fields[numbers[i]]);
    if (!value[PAI_START] || value[PAI_END] <= value[PAI_START] || value[PAI_INSTANCES] <= 0) {
        trace->load->lines_skipped++; /* it never started or still ran */
        return 0;
    }
    if (value[PAI_INSTANCES] / 1000 > REQUEST_TASKS_MAX || value[PAI_CPU] < 0 ||
        value[PAI_MEMORY] < 0 || value[PAI_GPU] < 0 || value[PAI_GPU] > 6400000)
        return sim_trace_bad(trace, "a size out of range");
    job.submit_ms = value[PAI_START];
    job.run_ms = value[PAI_END] - value[PAI_START];
    job.tasks = (uint32_t)(value[PAI_INSTANCES] / 1000);
    job.cpus = (uint32_t)MIN(MAX((value[PAI_CPU] + 99999) / 100000, 1), 65536);
    job.memory_bytes = MIN(value[PAI_MEMORY], 1LL << 26) * (1LL << 30) / 1000;
    gpu_milli = value[PAI_GPU] / 100; /* shares above one device are rounded up to whole ones */
    job.devices_milli = (uint32_t)(gpu_milli > 1000 ? (gpu_milli + 999) / 1000 * 1000 : gpu_milli);
    job.outcome = strcmp(fields[PAI_STATUS], "Failed") == 0 ? SIM_FAILED : SIM_DONE;
    if (job.devices_milli) {
        /* MISC is "of several older kinds": any will do. */
        bool any = strcmp(fields[PAI_CHIP], "MISC") == 0 || strcmp(fields[PAI_CHIP], "CPU") == 0;

        job.chips = sim_load_chips(trace->load, any ? "" : fields[PAI_CHIP], '|');
        job.reference = trace->reference;
    }
    if (job.chips == UINT32_MAX)
        return sim_trace_bad(trace, "too many names");
    return sim_trace_add(trace, &job);
}

int sim_trace_pai(struct sim_trace *trace)
{
    char *fields[SIM_FIELDS_MAX], *line;
    uint32_t count;
    int rc = 0;

    while (rc == 0 && (rc = sim_trace_next(trace, &line)) == 0) {
        if (!*line || strncmp(line, "job_name,", 9) == 0)
            continue;
        if (sim_csv_split(line, fields, &count) < 0)
            rc = sim_trace_bad(trace, "a quote that does not end");
        else if (count != PAI_COUNT)
            rc = sim_trace_bad(trace, "%u fields, where pai_task_table has %d", count, PAI_COUNT);
        else
            rc = take(trace, fields);
    }
    return rc < 0 ? rc : 0;
}
