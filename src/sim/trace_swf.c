/* SWF: 18 numbers a line, -1 = not known; ';' begins a comment. */
#include "sim/trace.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum swf_field {
    SWF_NUMBER,
    SWF_SUBMIT,
    SWF_WAIT,
    SWF_RUN,
    SWF_PROCESSORS,
    SWF_CPU_TIME,
    SWF_MEMORY,
    SWF_PROCESSORS_ASKED,
    SWF_TIME_ASKED,
    SWF_MEMORY_ASKED,
    SWF_STATUS,
    SWF_USER,
    SWF_GROUP,
    SWF_EXECUTABLE,
    SWF_QUEUE,
    SWF_PARTITION,
    SWF_AFTER,
    SWF_THINK,
    SWF_COUNT
};

/* How many numbers there are; -1: a word that is none. */
static int split(char *line, int64_t *milli)
{
    int count = 0;
    char *at = line;

    for (;;) {
        char *word;

        while (isspace((unsigned char)*at))
            at++;
        if (!*at)
            return count;
        word = at;
        while (*at && !isspace((unsigned char)*at))
            at++;
        if (*at)
            *at++ = '\0';
        if (count == SWF_COUNT || !sim_parse_milli(word, &milli[count++]))
            return -1;
    }
}

static int take(struct sim_trace *trace, const int64_t *milli)
{
    int64_t processors =
        milli[SWF_PROCESSORS_ASKED] > 0 ? milli[SWF_PROCESSORS_ASKED] : milli[SWF_PROCESSORS];
    int64_t memory_kb = milli[SWF_MEMORY_ASKED] > 0 ? milli[SWF_MEMORY_ASKED] / 1000 : 0;
    int64_t status = milli[SWF_STATUS] / 1000;
    struct sim_job job = sim_job_init();
    char name[32];

    if (milli[SWF_RUN] <= 0 || processors <= 0) {
        trace->load->lines_skipped++; /* cancelled before it ran, or nothing is known of it */
        return 0;
    }
    if (processors / 1000 > REQUEST_TASKS_MAX)
        return sim_trace_bad(trace, "%" PRId64 " processors; at most %u", processors / 1000,
                             REQUEST_TASKS_MAX);
    job.id = (uint64_t)MAX(milli[SWF_NUMBER] / 1000, 0);
    job.submit_ms = milli[SWF_SUBMIT];
    job.run_ms = milli[SWF_RUN];
    job.limit_ms = milli[SWF_TIME_ASKED] > 0 ? milli[SWF_TIME_ASKED] : 0;
    job.tasks = (uint32_t)(processors / 1000);
    job.memory_bytes = memory_kb < 1LL << 36 ? memory_kb * 1024 : 0;
    job.outcome = status == 0 ? SIM_FAILED : status == 5 ? SIM_CANCELLED : SIM_DONE;
    snprintf(name, sizeof(name), "u%" PRId64, milli[SWF_USER] / 1000);
    job.user = sim_load_name(trace->load, milli[SWF_USER] >= 0 ? name : "");
    snprintf(name, sizeof(name), "g%" PRId64, milli[SWF_GROUP] / 1000);
    job.tenant = sim_load_name(trace->load, milli[SWF_GROUP] >= 0 ? name : "");
    return sim_trace_add(trace, &job);
}

int sim_trace_swf(struct sim_trace *trace)
{
    int64_t milli[SWF_COUNT];
    char *line;
    int rc = 0;

    while (rc == 0 && (rc = sim_trace_next(trace, &line)) == 0) {
        int count;

        while (isspace((unsigned char)*line))
            line++;
        if (!*line || *line == ';')
            continue;
        count = split(line, milli);
        if (count == SWF_COUNT)
            rc = take(trace, milli);
        else if (count < 0)
            rc = sim_trace_bad(trace, "expected 18 numbers");
        else
            rc = sim_trace_bad(trace, "%d numbers, where SWF has 18", count);
    }
    return rc < 0 ? rc : 0;
}
