/* lines.h - lines of a text file, plain or packed by gzip or zstd, and the fields of a CSV line. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_LINE_BYTES_MAX (1u << 20)
#define SIM_LINE_BYTES_PASSED (256u << 20) /* a longer one ends the reading */
#define SIM_FIELDS_MAX 64u

struct sim_lines;

/* -errno of the open; a pipe will do. What it is packed by is told by its first bytes. */
int sim_lines_open(const char *path, struct sim_lines **lines_out, struct err *err);
/* `data` is borrowed until closed. */
int sim_lines_of_memory(const char *name, const void *data, size_t len,
                        struct sim_lines **lines_out, struct err *err);
void sim_lines_close(struct sim_lines *lines);
void sim_lines_closep(struct sim_lines **lines);
/* The next line without its end, in a buffer of `lines` that may be changed; NULL in `*line_out`
 * at the end. A NUL inside ends the line early. -EIO broken gzip or zstd; -E2BIG a line past the
 * ceiling, which is passed over: the next call goes on behind it; -EFBIG one with no end in sight.
 */
int sim_lines_next(struct sim_lines *lines, char **line_out, struct err *err);
/* Before anything is read: how the text begins, without its byte order mark, cut to `bytes` - 1. */
int sim_lines_peek(struct sim_lines *lines, char *out, size_t bytes, struct err *err);
/* Raw bytes, for formats that are not lines: up to `max`; 0 at the end. */
int sim_lines_read(struct sim_lines *lines, void *out, size_t max, size_t *len_out,
                   struct err *err);
const char *sim_lines_name(const struct sim_lines *lines);
uint64_t sim_lines_number(const struct sim_lines *lines); /* of the line given last, from 1 */
void sim_lines_set_number(struct sim_lines *lines, uint64_t number); /* of raw reading */
/* For the progress bar: compressed bytes read, of how many (0 = not known). */
void sim_lines_progress(const struct sim_lines *lines, uint64_t *read_out, uint64_t *total_out);

/* Part a CSV line in place; quotes around fields go, "" inside them is one quote. Fields past
 * SIM_FIELDS_MAX are dropped. -EINVAL: a quote that does not end. */
int sim_csv_split(char *line, char **fields_out, uint32_t *count_out);
