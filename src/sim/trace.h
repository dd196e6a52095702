/* trace.h - readers of published traces, each a table of columns (docs/simulator.md lists them).
 *
 * A line that cannot be read is named ("file:line: what"), counted and passed over; with `strict`
 * it ends the reading. Lines that are no job that ran (no length, nothing asked for) are counted
 * apart and are no fault. */
#pragma once

#include "sim/lines.h"
#include "sim/load.h"

#define SIM_BAD_LINES_SHOWN 5u

struct sim_trace_how {
    const char *format; /* NULL or "auto": told by name and first line */
    const char *chip; /* the catalogue kind that run times were measured on; NULL = the format's */
    bool strict;
    uint32_t cpus_per_device; /* where the trace does not say; 0 = 1 a task */
    uint32_t jobs_max;        /* 0 = all */
    bool timeless; /* columns of times are not looked at: jobs as they stand in the file */
    /* Told of the first SIM_BAD_LINES_SHOWN bad lines; may be NULL. */
    void (*warn)(void *context, const char *text);
    void *context;
};

/* Open files are read to their end, sorted by time of submit and moved to start at 0.
 * -EINVAL and a line that names the place; -errno of the open. */
int sim_trace_open(const char *path, const struct sim_trace_how *how, struct sim_load **load_out,
                   struct err *err);
/* The same from lines in hand: `how->format` must be given. */
int sim_trace_read(struct sim_lines *lines, const struct sim_trace_how *how,
                   struct sim_load **load_out, struct err *err);
/* "swf", "philly", ...; NULL past the last. `about_out` (may be NULL): one line. */
const char *sim_trace_format(uint32_t index, const char **about_out);

/* --- between the readers -----------------------------------------------------------------------
 */
struct sim_trace {
    struct sim_lines *lines;
    const struct sim_trace_how *how;
    struct sim_load *load;
    struct err *err;
    uint32_t reference; /* number of how->chip */
};
/* Name the bad line and count it; -EINVAL when that ends the reading. */
int sim_trace_bad(struct sim_trace *trace, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Add it, or call it bad. 1: enough jobs, stop. */
int sim_trace_add(struct sim_trace *trace, const struct sim_job *job);
/* The next line: 0, -errno, or 1 at the end. A line that is too long is a bad line. */
int sim_trace_next(struct sim_trace *trace, char **line_out);

/* Plain numbers and times as traces write them; false: not one. `*out` in 1/1000 or ms. */
bool sim_parse_milli(const char *text, int64_t *out);    /* "12", "0.5", "-1", "1e3" is none */
bool sim_parse_clock(const char *text, int64_t *ms_out); /* "2020-04-01 00:10:05[+08:00]" or secs */

int sim_trace_swf(struct sim_trace *trace);
int sim_trace_csv(struct sim_trace *trace, const char *format); /* trace_csv.c: one header line */
int sim_trace_philly(struct sim_trace *trace);                  /* cluster_job_log */
int sim_trace_pai(struct sim_trace *trace);                     /* pai_task_table */
