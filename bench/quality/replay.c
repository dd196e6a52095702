#include "quality/replay.h"
#include "sim/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *replay_resize(void *data, size_t count, size_t size)
{
    void *more = reallocarray(data, count, size);

    if (!more) {
        fprintf(stderr, "out of memory for %zu x %zu bytes\n", count, size);
        exit(1);
    }
    return more;
}

void *replay_alloc(size_t count, size_t size)
{
    void *data = replay_resize(NULL, count > 0 ? count : 1, size);

    memset(data, 0, (count > 0 ? count : 1) * size);
    return data;
}

/* --- heap --- */

static bool item_is_less(const struct replay_heap_item *a, const struct replay_heap_item *b)
{
    return a->key < b->key || (a->key <= b->key && a->number < b->number);
}

void replay_heap_add(struct replay_heap *heap, double key, uint32_t number, uint32_t stamp)
{
    struct replay_heap_item item = { key, number, stamp };
    uint32_t at = heap->count++;

    if (heap->count > heap->cap) {
        heap->cap = MAX(64u, 2u * heap->cap);
        heap->items = replay_resize(heap->items, heap->cap, sizeof(*heap->items));
    }
    for (; at > 0 && item_is_less(&item, &heap->items[(at - 1u) / 2u]); at = (at - 1u) / 2u)
        heap->items[at] = heap->items[(at - 1u) / 2u];
    heap->items[at] = item;
}

void replay_heap_pop(struct replay_heap *heap)
{
    struct replay_heap_item last = heap->items[--heap->count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < heap->count; child = 2u * at + 1u) {
        if (child + 1u < heap->count && item_is_less(&heap->items[child + 1u], &heap->items[child]))
            child++;
        if (!item_is_less(&heap->items[child], &last))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    if (heap->count > 0)
        heap->items[at] = last;
}

/* --- reading --- */

enum { COLUMN_SUBMIT, COLUMN_DURATION, COLUMN_GPUS, COLUMN_USER, COLUMN_VC, COLUMNS };
static const char *const column_names[COLUMNS] = { "submit_s", "duration_s", "gpus", "user", "vc" };

static bool read_number(const char *text, int64_t *out)
{
    char *end = NULL;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= 0;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037u;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash | 1u;
}

/* 1: a job of no pool of ours, or one that asked for nothing. */
static int read_job(char **fields, const int *columns, const char *const *pools,
                    struct replay_job *job)
{
    int64_t devices;

    memset(job, 0, sizeof(*job));
    if (!read_number(fields[columns[COLUMN_SUBMIT]], &job->submit_s) ||
        !read_number(fields[columns[COLUMN_DURATION]], &job->duration_s) ||
        !read_number(fields[columns[COLUMN_GPUS]], &devices))
        return -EINVAL;
    if (devices == 0 || devices > (int64_t)POOL_NODES_MAX)
        return 1;
    job->devices = (uint32_t)devices;
    if (columns[COLUMN_USER] >= 0)
        job->user = hash_text(fields[columns[COLUMN_USER]]);
    for (; pools && pools[job->pool]; job->pool++)
        if (strcmp(pools[job->pool], fields[columns[COLUMN_VC]]) == 0)
            return 0;
    return pools != NULL;
}

static int read_lines(struct sim_lines *lines, const char *const *pools, struct replay_list *list,
                      struct err *err)
{
    int columns[COLUMNS] = { -1, -1, -1, -1, -1 };
    char *line, *fields[SIM_FIELDS_MAX];
    uint32_t count = 0, header = 0;
    int rc;

    while ((rc = sim_lines_next(lines, &line, err)) == 0 && line) {
        rc = sim_csv_split(line, fields, &count);
        if (rc == 0 && header == 0) {
            header = count;
            for (uint32_t i = 0; i < count; i++)
                for (int c = 0; c < COLUMNS; c++)
                    if (strcmp(fields[i], column_names[c]) == 0)
                        columns[c] = (int)i;
            if (columns[0] < 0 || columns[1] < 0 || columns[2] < 0 || (pools && columns[4] < 0))
                return err_set(err, -EINVAL, "%s: columns missing", sim_lines_name(lines));
            continue;
        }
        if (list->count == list->cap) {
            list->cap = MAX(1024u, 2u * list->cap);
            list->jobs = replay_resize(list->jobs, list->cap, sizeof(*list->jobs));
        }
        if (rc == 0)
            rc = count < header ? -EINVAL
                                : read_job(fields, columns, pools, &list->jobs[list->count]);
        if (rc < 0)
            return err_set(err, rc, "%s:%" PRIu64 ": not a job", sim_lines_name(lines),
                           sim_lines_number(lines));
        list->count += rc == 0;
    }
    return rc;
}

int replay_read(const char *path, const char *const *pools, struct replay_list *list,
                struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = NULL;
    int rc = sim_lines_open(path, &lines, err);

    if (rc == 0)
        rc = read_lines(lines, pools, list, err);
    for (uint32_t i = 1; rc == 0 && i < list->count; i++)
        if (list->jobs[i].submit_s < list->jobs[i - 1u].submit_s)
            rc = err_set(err, -EINVAL, "%s: not in the order of submission", path);
    return rc;
}

void replay_list_fini(struct replay_list *list)
{
    free(list->jobs);
    *list = (struct replay_list){ 0 };
}

/* --- figures --- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct replay_figures replay_measure(const struct replay_list *list)
{
    struct replay_figures out = { 0 };
    double *waits = replay_alloc(list->count, sizeof(*waits)), jct = 0, wait = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct replay_job *job = &list->jobs[i];

        waits[i] = (double)(job->end_s - job->submit_s - job->duration_s);
        jct += (double)(job->end_s - job->submit_s);
        wait += waits[i];
        out.first_wait_longest_s =
            fmax(out.first_wait_longest_s, (double)(job->first_start_s - job->submit_s));
        out.restarts += job->restarts;
        out.restarts_most = MAX(out.restarts_most, job->restarts);
    }
    if (list->count > 0) {
        qsort(waits, list->count, sizeof(*waits), compare_doubles);
        out.jct_mean_s = jct / list->count;
        out.wait_mean_s = wait / list->count;
        out.wait_p99_s = waits[(uint64_t)(list->count - 1u) * 99u / 100u];
        out.wait_longest_s = waits[list->count - 1u];
    }
    free(waits);
    return out;
}

void replay_print(const char *name, double value, const char *unit, double goal, const char *peer,
                  double peer_value, const char *note)
{
    printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"", name, value, unit);
    if (isnan(goal))
        printf(",\"goal\":null,\"holds\":null");
    else
        printf(",\"goal\":\"<=%g\",\"holds\":%s", goal, value <= goal ? "true" : "false");
    if (peer)
        printf(",\"peer\":\"%s\",\"peer_value\":%.6g,\"ratio\":\"%.3f\"", peer, peer_value,
               value / peer_value);
    else
        printf(",\"peer\":null,\"peer_value\":null,\"ratio\":null");
    if (note)
        printf(",\"note\":\"%s\"}\n", note);
    else
        printf(",\"note\":null}\n");
    fflush(stdout);
}
