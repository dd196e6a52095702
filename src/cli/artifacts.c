#include "cli/artifacts.h"

#include "cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int artifacts_read(struct remote *remote, const char *job, json_t **answer_out, struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    int rc = remote_job_path(job, "/artifacts", &path, err);

    return rc < 0 ? rc : remote_get(remote, path, answer_out, err);
}

static const json_t *find(const json_t *list, const char *path)
{
    size_t i;
    json_t *row;

    json_array_foreach (list, i, row)
        if (strcmp(reply_text(row, "path"), path) == 0)
            return row;
    return NULL;
}

static void tell(const char *path, const char *what)
{
    CLEANUP(buf_fini) struct buf line = buf_init(1u << 16);

    text_add_safe(&line, path, strlen(path));
    printf("%s: %s\n", line.data ? line.data : "", what);
}

size_t artifacts_compare(const json_t *left, const json_t *right, const char *before,
                         const char *after)
{
    size_t i, count = 0;
    char what[64];
    json_t *row;

    json_array_foreach (left, i, row) {
        const json_t *other = find(right, reply_text(row, "path"));

        if (other && strcmp(reply_text(row, "digest"), reply_text(other, "digest")) == 0)
            continue;
        snprintf(what, sizeof(what), "only %.40s", before);
        tell(reply_text(row, "path"), other ? "differs" : what);
        count++;
    }
    json_array_foreach (right, i, row) {
        if (find(left, reply_text(row, "path")))
            continue;
        snprintf(what, sizeof(what), "only %.40s", after);
        tell(reply_text(row, "path"), what);
        count++;
    }
    return count;
}
