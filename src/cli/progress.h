/* progress.h - one line that tells how far long work is: redrawn in place on a terminal, written
 * now and then elsewhere. To stderr, so that it mixes with no output. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    char what[64]; /* "sweep": safe text */
    int64_t started_ms, shown_ms;
    uint64_t total, shown_done;
    uint32_t width; /* 0 = no terminal */
    bool utf8, shown;
};

/* `what` is made safe and copied. */
struct progress progress_init(const char *what, uint64_t total);
void progress_rename(struct progress *progress, const char *what);
/* `note` stands behind the bar: "3 running, 1 failed". */
void progress_show(struct progress *progress, uint64_t done, const char *note);
/* Leave the line as it stands and go to the next. */
void progress_end(struct progress *progress);
/* "[#####.....]" of `cells` cells into `out` (4 bytes a cell and 3 more). */
void progress_bar(uint64_t done, uint64_t total, uint32_t cells, bool utf8, char *out,
                  uint32_t out_bytes);
