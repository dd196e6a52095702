#include "cli/progress.h"

#include "base/clock.h"
#include "cli/term.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CELLS 24u
#define REDRAW_MS 100
#define LINE_MS 3000   /* where there is no terminal, and it is further than before */
#define QUIET_MS 30000 /* and where it is not */

struct progress progress_init(const char *what, uint64_t total)
{
    struct progress progress = { .started_ms = clock_mono_ms(),
                                 .shown_ms = clock_mono_ms() - QUIET_MS,
                                 .total = total,
                                 .width = term_width(stderr),
                                 .utf8 = term_has_utf8() };

    progress_rename(&progress, what);
    return progress;
}

void progress_rename(struct progress *progress, const char *what)
{
    CLEANUP(freep) char *safe = text_safe(what);

    snprintf(progress->what, sizeof(progress->what), "%.*s", (int)(safe ? text_fit(safe, 40) : 0),
             safe ? safe : "");
}

void progress_bar(uint64_t done, uint64_t total, uint32_t cells, bool utf8, char *out,
                  uint32_t out_bytes)
{
    uint64_t full = total ? MIN(done, total) * cells / total : 0;
    uint32_t at = 0;

    if (out_bytes < 4 * cells + 3)
        cells = out_bytes < 7 ? 0 : (out_bytes - 3) / 4;
    out[at++] = '[';
    for (uint32_t i = 0; i < cells; i++) {
        const char *cell = i < full ? (utf8 ? "\u2588" : "#") : (utf8 ? "\u00b7" : ".");
        size_t len = strlen(cell);

        memcpy(out + at, cell, len);
        at += (uint32_t)len;
    }
    out[at++] = ']';
    out[at] = '\0';
}

static void print_rest(const struct progress *progress, uint64_t done, int64_t now_ms, char *out,
                       size_t out_bytes)
{
    int64_t spent_ms = now_ms - progress->started_ms;
    char age[32];

    out[0] = '\0';
    if (done == 0 || done >= progress->total || spent_ms < 1000)
        return;
    text_print_age((int64_t)((double)spent_ms * (double)(progress->total - done) / (double)done),
                   age, sizeof(age));
    snprintf(out, out_bytes, ", about %s left", age);
}

void progress_show(struct progress *progress, uint64_t done, const char *note)
{
    int64_t now_ms = clock_mono_ms();
    bool over = done >= progress->total;
    char bar[4 * CELLS + 3];
    char rest[64];
    char line[512];
    size_t fits;
    int64_t pause_ms = progress->width                ? REDRAW_MS
                       : done != progress->shown_done ? LINE_MS
                                                      : QUIET_MS;

    if (!over && now_ms - progress->shown_ms < pause_ms)
        return;
    if (over && progress->shown && progress->shown_done == done)
        return;
    progress->shown_ms = now_ms;
    progress->shown_done = done;
    progress->shown = true;
    progress_bar(done, progress->total, CELLS, progress->utf8, bar, sizeof(bar));
    print_rest(progress, done, now_ms, rest, sizeof(rest));
    snprintf(line, sizeof(line), "%s %s %" PRIu64 "/%" PRIu64 "%s%s%s", progress->what, bar, done,
             progress->total, *note ? "  " : "", note, rest);
    if (!progress->width) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    fits = text_fit(line, progress->width - 1);
    fprintf(stderr, "\r\033[K%.*s", (int)fits, line);
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->width)
        fputc('\n', stderr);
    progress->shown = false;
}
