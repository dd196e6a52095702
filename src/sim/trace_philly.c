/* Microsoft Philly, cluster_job_log: a JSON list of jobs, each {"status", "vc", "jobid",
 * "submitted_time", "user", "attempts": [{"start_time", "end_time", "detail": [{"ip", "gpus":
 * [...]}]}]}. Read object by object, so that a file of 100 MB needs no tree of itself. */
#include "base/buf.h"
#include "sim/trace.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)1 << 30)

static int64_t time_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    int64_t ms;

    return text && sim_parse_clock(text, &ms) ? ms : -1;
}

static uint32_t count_gpus(const json_t *attempt)
{
    const json_t *detail = json_object_get(attempt, "detail"), *machine;
    size_t index, count = 0;

    json_array_foreach ((json_t *)detail, index, machine)
        count += json_array_size(json_object_get(machine, "gpus"));
    return (uint32_t)MIN(count, UINT32_MAX);
}

/* The line of a record is told by the newlines before it. */
static int take(struct sim_trace *trace, const json_t *record)
{
    const json_t *attempts = json_object_get(record, "attempts"), *attempt;
    const char *status = json_string_value(json_object_get(record, "status"));
    const char *vc = json_string_value(json_object_get(record, "vc"));
    const char *user = json_string_value(json_object_get(record, "user"));
    struct sim_job job = sim_job_init();
    size_t index;

    if (!json_is_object(record) || !json_is_array(attempts))
        return sim_trace_bad(trace, "a record that is no job: no list \"attempts\"");
    job.submit_ms = time_of(record, "submitted_time");
    if (job.submit_ms < 0)
        return sim_trace_bad(trace, "submitted_time: expected a date and time");
    job.tasks = 0;
    json_array_foreach (attempts, index, attempt) {
        int64_t start = time_of(attempt, "start_time"), end = time_of(attempt, "end_time");

        job.gpus = MAX(job.gpus, count_gpus(attempt));
        if (start >= 0 && end > start)
            job.run_ms += end - start;
    }
    if (!job.gpus || !job.run_ms) {
        trace->load->lines_skipped++;
        return 0;
    }
    job.cpus_per_device = trace->how->cpus_per_device;
    job.outcome = status && strcmp(status, "Failed") == 0   ? SIM_FAILED
                  : status && strcmp(status, "Killed") == 0 ? SIM_CANCELLED
                                                            : SIM_DONE;
    job.tenant = sim_load_name(trace->load, vc ? vc : "");
    job.user = sim_load_name(trace->load, user ? user : "");
    job.reference = trace->reference;
    if (job.tenant == UINT32_MAX || job.user == UINT32_MAX)
        return sim_trace_bad(trace, "too many names");
    return sim_trace_add(trace, &job);
}

static int read_all(struct sim_trace *trace, struct buf *text)
{
    char chunk[16384];
    size_t len;
    int rc;

    while ((rc = sim_lines_read(trace->lines, chunk, sizeof(chunk), &len, trace->err)) == 0 && len)
        if (buf_add(text, chunk, len) < 0)
            return err_set(trace->err, -EFBIG, "%s: larger than %zu MiB",
                           sim_lines_name(trace->lines), FILE_BYTES_MAX >> 20);
    return rc;
}

static size_t skip_between(const struct buf *text, size_t at)
{
    while (at < text->len && (isspace((unsigned char)text->data[at]) || text->data[at] == ','))
        at++;
    return at;
}

int sim_trace_philly(struct sim_trace *trace)
{
    CLEANUP(buf_fini) struct buf text = buf_init(FILE_BYTES_MAX);
    size_t at, counted = 0;
    int rc = read_all(trace, &text);

    if (rc < 0)
        return rc;
    at = skip_between(&text, 0);
    if (at == text.len || text.data[at] != '[')
        return err_set(trace->err, -EINVAL, "%s:1: expected a JSON list of jobs",
                       sim_lines_name(trace->lines));
    sim_lines_set_number(trace->lines, 1);
    for (at = skip_between(&text, at + 1); rc == 0 && at < text.len && text.data[at] != ']';
         at = skip_between(&text, at)) {
        json_error_t fault;
        json_t *record;
        uint64_t lines = 0;

        for (; counted < at; counted++)
            lines += text.data[counted] == '\n';
        sim_lines_set_number(trace->lines, sim_lines_number(trace->lines) + lines);
        record = json_loadb(text.data + at, text.len - at,
                            JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &fault);
        if (!record) /* where the next one begins nobody knows */
            return err_set(trace->err, -EINVAL, "%s:%llu: %s", sim_lines_name(trace->lines),
                           (unsigned long long)sim_lines_number(trace->lines) +
                               (unsigned long long)(fault.line > 0 ? fault.line - 1 : 0),
                           fault.text);
        rc = take(trace, record);
        json_decref(record);
        at += (size_t)fault.position;
    }
    return rc < 0 ? rc : 0;
}
