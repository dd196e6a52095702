#include "sim/trace.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BYTES 256u /* of a trace: what tells its format */

struct format {
    const char *name, *about;
    const char *hint;   /* in the file's name */
    const char *header; /* how its first line begins */
    const char *csv;    /* the table of trace_csv.c */
    int (*read)(struct sim_trace *trace);
};

/* More telling ones first: the first that matches is taken. */
static const struct format formats[] = {
    { "swf", "Standard Workload Format of the Parallel Workloads Archive", ".swf", ";", NULL,
      sim_trace_swf },
    { "philly", "Microsoft Philly, cluster_job_log (JSON)", "cluster_job_log", "[", NULL,
      sim_trace_philly },
    { "helios", "SenseTime Helios, cluster_log.csv", "cluster_log", "job_id,user,vc,gpu_num,",
      "helios", NULL },
    { "acme", "Shanghai AI Lab Acme, trace_seren.csv and trace_kalos.csv", "trace_seren",
      "job_id,user,node_num,gpu_num,", "acme", NULL },
    { "pai", "Alibaba PAI 2020, pai_task_table.csv", "pai_task_table", "job_name,task_name,", NULL,
      sim_trace_pai },
    { "openb", "Alibaba GPU 2023, openb pod lists", "openb_pod_list", "name,cpu_milli,", "openb",
      NULL },
    { "philly-jobs", "Philly as normalised: job_id,submit_s,duration_s,gpus,placement[,vc]",
      "philly_jobs", "job_id,submit_s,duration_s,gpus,placement", "philly-jobs", NULL },
    { "venus-jobs", "Helios Venus as normalised: job_id,submit_s,duration_s,gpus,clamped",
      "venus_jobs", "job_id,submit_s,duration_s,gpus,clamped", "venus-jobs", NULL },
    { "venus-vc",
      "a slice of Venus with users: job_id,user,vc,submit_s,duration_s,gpus,nodes,status",
      "venus_2vc", "job_id,user,vc,submit_s,", "venus-vc", NULL },
    { "jobs", "a plain table of ours: submit_s,run_s,... (see docs/simulator.md)", ".jobs.csv",
      "submit_s,", "jobs", NULL },
};

const char *sim_trace_format(uint32_t index, const char **about_out)
{
    if (index >= ARRAY_COUNT(formats))
        return NULL;
    if (about_out)
        *about_out = formats[index].about;
    return formats[index].name;
}

/* --- what readers share ----------------------------------------------------------------------- */

int sim_trace_bad(struct sim_trace *trace, const char *fmt, ...)
{
    char what[160], text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    snprintf(text, sizeof(text), "%.90s:%" PRIu64 ": %s", sim_lines_name(trace->lines),
             sim_lines_number(trace->lines), what);
    if (trace->how->strict)
        return err_set(trace->err, -EINVAL, "%s", text);
    if (trace->load->lines_bad++ < SIM_BAD_LINES_SHOWN && trace->how->warn)
        trace->how->warn(trace->how->context, text);
    return 0;
}

int sim_trace_add(struct sim_trace *trace, const struct sim_job *job)
{
    struct err why;
    int rc = sim_load_add(trace->load, job, &why);

    if (rc == -EINVAL)
        return sim_trace_bad(trace, "%s", why.text);
    if (rc < 0)
        return err_set(trace->err, rc, "%s: %s", sim_lines_name(trace->lines), why.text);
    return trace->how->jobs_max && trace->load->jobs_count >= trace->how->jobs_max;
}

int sim_trace_next(struct sim_trace *trace, char **line_out)
{
    for (;;) {
        int rc = sim_lines_next(trace->lines, line_out, trace->err);

        if (rc == 0)
            return *line_out ? 0 : 1;
        if (rc != -E2BIG)
            return rc;
        rc = sim_trace_bad(trace, "a line longer than %u KiB", SIM_LINE_BYTES_MAX >> 10);
        if (rc < 0)
            return rc;
    }
}

bool sim_parse_milli(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    int64_t value = 0, scale = 1000;
    uint32_t digits = 0;

    for (text += negative; isdigit((unsigned char)*text); text++, digits++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return false;
    if (__builtin_mul_overflow(value, 1000, &value))
        return false;
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text); text++, digits++) {
            scale /= 10; /* what is finer than 1/1000 is cut off */
            value += (*text - '0') * scale;
        }
    if (*text || !digits)
        return false;
    *out = negative ? -value : value;
    return true;
}

static bool digits_at(const char *text, int count, int *out)
{
    *out = 0;
    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *out = *out * 10 + (text[i] - '0');
    }
    return true;
}

/* Days from 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant's days_from_civil). */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool sim_parse_clock(const char *text, int64_t *ms_out)
{
    int year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0;
    int64_t zone_s = 0;

    if (sim_parse_milli(text, ms_out)) /* seconds */
        return true;
    if (strnlen(text, 19) < 19 || !digits_at(text, 4, &year) || text[4] != '-' ||
        !digits_at(text + 5, 2, &month) || text[7] != '-' || !digits_at(text + 8, 2, &day) ||
        (text[10] != ' ' && text[10] != 'T') || !digits_at(text + 11, 2, &hour) ||
        text[13] != ':' || !digits_at(text + 14, 2, &minute) || text[16] != ':' ||
        !digits_at(text + 17, 2, &second))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    text += 19;
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text);)
            text++;
    if (*text == '+' || *text == '-') {
        if (strnlen(text, 6) < 6 || !digits_at(text + 1, 2, &zone_hour) || text[3] != ':' ||
            !digits_at(text + 4, 2, &zone_minute) || text[6])
            return false;
        zone_s = (zone_hour * 3600 + zone_minute * 60) * (*text == '-' ? -1 : 1);
    } else if (*text && strcmp(text, "Z") != 0 && strcmp(text, " PST") != 0 &&
               strcmp(text, " PDT") != 0) {
        return false;
    }
    *ms_out =
        ((days_of(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - zone_s) * 1000;
    return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

static int refuse_format(const char *name, struct err *err)
{
    char list[160];
    size_t len = 0;

    for (size_t i = 0; i < ARRAY_COUNT(formats) && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
                                formats[i].name);
    return err_set(err, -EINVAL, "no trace format \"%.40s\": there are %s", name, list);
}

int sim_trace_read(struct sim_lines *lines, const struct sim_trace_how *how,
                   struct sim_load **load_out, struct err *err)
{
    CLEANUP(sim_load_destroyp) struct sim_load *load = sim_load_create();
    const struct format *format = find_format(how->format);
    struct sim_trace trace = { .lines = lines, .how = how, .load = load, .err = err };
    const char *base = strrchr(sim_lines_name(lines), '/');
    int rc;

    if (!format)
        return refuse_format(how->format, err);
    if (!load)
        return err_set(err, -ENOMEM, "out of memory");
    snprintf(load->source, sizeof(load->source), "%s %.100s", format->name,
             base ? base + 1 : sim_lines_name(lines));
    if (how->chip)
        trace.reference = sim_load_name(load, how->chip);
    rc = format->read ? format->read(&trace) : sim_trace_csv(&trace, format->csv);
    if (rc < 0)
        return rc;
    if (!load->jobs_count && load->lines_bad)
        return err_set(err, -EINVAL, "%s: no job in it, %" PRIu64 " lines cannot be read as %s",
                       sim_lines_name(lines), load->lines_bad, format->name);
    rc = sim_load_finish(load, true, err);
    if (rc < 0)
        return rc;
    *load_out = TAKE(load);
    return 0;
}

/* By the name where that is telling, else by the first line. */
static int detect(struct sim_lines *lines, const char **format_out, struct err *err)
{
    const char *path = sim_lines_name(lines), *base = strrchr(path, '/');
    char begins[FIRST_BYTES];
    int rc = sim_lines_peek(lines, begins, sizeof(begins), err);

    if (rc < 0)
        return rc;
    if (!*begins)
        return err_set(err, -EINVAL, "%s: is empty", path);
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        if (strstr(base ? base + 1 : path, formats[i].hint)) {
            *format_out = formats[i].name;
            return 0;
        }
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        if (strncmp(begins, formats[i].header, strlen(formats[i].header)) == 0) {
            *format_out = formats[i].name;
            return 0;
        }
    return err_set(err, -EINVAL,
                   "%s: neither its name nor its first line tells the format: "
                   "say it with --format",
                   path);
}

int sim_trace_open(const char *path, const struct sim_trace_how *how, struct sim_load **load_out,
                   struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = NULL;
    struct sim_trace_how told = *how;
    int rc = sim_lines_open(path, &lines, err);

    if (rc == 0 && (!told.format || strcmp(told.format, "auto") == 0))
        rc = detect(lines, &told.format, err);
    if (rc < 0)
        return rc;
    return sim_trace_read(lines, &told, load_out, err);
}
