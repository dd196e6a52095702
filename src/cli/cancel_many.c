#include "cli/cancel_many.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUSY_TRIES 20u /* 503: the journal has to catch up first */

static void show(const struct cancel_counts *counts, bool over)
{
    fprintf(stderr, "\r\033[Kcancelling: %" PRIu64 " jobs%s", counts->cancelled + counts->stopping,
            over ? "\n" : "");
    fflush(stderr);
}

static int ask(struct remote *remote, const char *path, json_t **answer_out, struct err *err)
{
    struct remote_request request = { .method = "DELETE", .path = path };
    int status = 0;
    int rc;

    for (uint32_t i = 0;; i++) {
        rc = remote_send(remote, &request, answer_out, &status, err);
        if (rc == 0 || status != 503 || i == BUSY_TRIES)
            return rc;
        nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL);
    }
}

int cancel_many(struct remote *remote, const char *query, const char *reason, bool quiet,
                struct cancel_counts *counts, struct err *err)
{
    bool visible = !quiet && isatty(STDERR_FILENO);
    CLEANUP(freep) char *next = NULL;
    bool more = true;
    int rc = 0;

    *counts = (struct cancel_counts){ 0 };
    while (more && rc == 0) {
        CLEANUP(buf_fini) struct buf path = buf_init(65536);
        json_t *answer = NULL;

        buf_printf(&path, "/jobs?%s%s", query, reason ? "&reason=" : "");
        remote_add_encoded(&path, reason ? reason : "");
        buf_printf(&path, "%s%s", next ? "&after=" : "", next ? next : "");
        rc = path.failed ? err_set(err, -ENOMEM, "out of memory")
                         : ask(remote, path.data, &answer, err);
        if (rc < 0)
            break;
        counts->cancelled += (uint64_t)reply_number(answer, "cancelled");
        counts->stopping += (uint64_t)reply_number(answer, "stopping");
        free(next);
        next = *reply_text(answer, "next") ? strdup(reply_text(answer, "next")) : NULL;
        more = next != NULL;
        json_decref(answer);
        if (visible && more)
            show(counts, false);
    }
    if (visible && counts->cancelled + counts->stopping > 5000)
        show(counts, true);
    return rc;
}
