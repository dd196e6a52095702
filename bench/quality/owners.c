/* owners - owners with guaranteed shares in one network beside each alone: wait in the network over
 * wait alone, for every owner and every job; total wait; what of the devices is used.
 *
 * How `mains` shares is src/sched/lend.h's. The peers are here: each owner alone on its own nodes,
 * and one common queue on all of them with no guarantee; both in order of arrival past what does
 * not fit, with the same patience. Wait = end - submission - duration, restarts and lost work
 * included. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "sched/lend.h"
#include "shown.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define OWNERS_MAX 16u
#define JOBS_MAX 200000u
#define NODE_DEVICES 8u
#define LINE_BYTES 512u

enum peer { PEER_ALONE, PEER_ALONE_PASSED, PEER_POOLED }; /* passed: patience without end */

struct item {
    int64_t submit_s, duration_s;
    uint32_t devices, owner;
    int64_t ends_s[3]; /* by enum peer */
    int64_t end_s;
    int64_t began_ms, done_ms; /* of the run under way */
    int64_t lost_ms;           /* restarts and work done twice */
    uint32_t job;
};
struct list {
    struct item *items;
    uint32_t count, owners_count;
    uint32_t nodes[OWNERS_MAX];
    char names[OWNERS_MAX][16];
};
struct end {
    int64_t at_ms;
    uint32_t item, version;
};
struct ends {
    struct end *heap;
    uint32_t count, cap;
};

static void *grow(void *data, size_t bytes)
{
    void *more = realloc(data, bytes);

    if (!more)
        abort();
    return more;
}

static bool end_before(const struct end *a, const struct end *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->item < b->item;
}

static void ends_add(struct ends *ends, struct end end)
{
    uint32_t at = ends->count++;

    if (ends->count > ends->cap) {
        ends->cap = ends->cap ? 2 * ends->cap : 1024;
        ends->heap = grow(ends->heap, ends->cap * sizeof(*ends->heap));
    }
    for (; at > 0 && end_before(&end, &ends->heap[(at - 1) / 2]); at = (at - 1) / 2)
        ends->heap[at] = ends->heap[(at - 1) / 2];
    ends->heap[at] = end;
}

static struct end ends_pop(struct ends *ends)
{
    struct end top = ends->heap[0], last = ends->heap[--ends->count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < ends->count; child = 2 * at + 1) {
        if (child + 1 < ends->count && end_before(&ends->heap[child + 1], &ends->heap[child]))
            child++;
        if (!end_before(&ends->heap[child], &last))
            break;
        ends->heap[at] = ends->heap[child];
        at = child;
    }
    ends->heap[at] = last;
    return top;
}

/* Devices of one job as tasks: what fits a node is one task; else whole nodes, or the largest
 * equal parts of a node. */
static struct cells_ask ask_of(uint32_t devices, uint32_t levels)
{
    struct cells_ask ask = { 1, devices, levels - 1, false };

    for (uint32_t part = NODE_DEVICES; devices > NODE_DEVICES; part--)
        if (devices % part == 0) {
            ask.tasks = devices / part;
            ask.task_devices = part;
            break;
        }
    return ask;
}

/* --- the peers: one queue in order of arrival --- */

static void run_queue(struct list *list, uint32_t owner, uint32_t nodes, enum peer peer)
{
    const struct cells_shape shape = { 2, { NODE_DEVICES, nodes } };
    int64_t patience_s =
        peer == PEER_ALONE_PASSED ? INT64_MAX : lend_params_default().patience_ms / 1000;
    bool is_pooled = peer == PEER_POOLED;
    uint32_t *queue = grow(NULL, list->count * sizeof(*queue)), queued = 0, next = 0;
    struct cells_part(*held)[32] = grow(NULL, list->count * sizeof(*held));
    uint32_t *held_count = grow(NULL, list->count * sizeof(*held_count));
    struct ends ends = { 0 };
    struct celltree tree;

    celltree_init(&tree, &shape);
    for (;;) {
        uint32_t failed[NODE_DEVICES + 1] = { 0 }, kept = 0;
        int64_t now_s;
        bool is_shut = false;

        while (next < list->count && !is_pooled && list->items[next].owner != owner)
            next++;
        if (next >= list->count && !ends.count)
            break;
        now_s = next < list->count ? list->items[next].submit_s : INT64_MAX;
        if (ends.count)
            now_s = MIN(now_s, ends.heap[0].at_ms);
        while (ends.count && ends.heap[0].at_ms <= now_s) {
            uint32_t i = ends_pop(&ends).item;

            celltree_give(&tree, held[i], held_count[i]);
        }
        for (; next < list->count && list->items[next].submit_s <= now_s; next++)
            if (is_pooled || list->items[next].owner == owner)
                queue[queued++] = next;
        for (uint32_t k = 0; k < queued; k++) {
            struct item *item = &list->items[queue[k]];
            struct cells_ask ask = ask_of(item->devices, 2);
            uint32_t count = 0;

            if (!is_shut && !(failed[ask.task_devices] && ask.tasks >= failed[ask.task_devices])) {
                count = celltree_find(&tree, &ask, held[queue[k]], NULL);
                if (!count)
                    failed[ask.task_devices] = ask.tasks;
            }
            if (!count) {
                is_shut = is_shut || (kept == 0 && now_s - item->submit_s > patience_s);
                queue[kept++] = queue[k];
                continue;
            }
            celltree_take(&tree, held[queue[k]], count);
            held_count[queue[k]] = count;
            item->ends_s[peer] = now_s + item->duration_s;
            ends_add(&ends, (struct end){ now_s + item->duration_s, queue[k], 0 });
        }
        queued = kept;
    }
    celltree_fini(&tree);
    free(queue);
    free(held);
    free(held_count);
    free(ends.heap);
}

/* --- the network --- */

struct network {
    struct lend *lend;
    struct ends ends;
    uint32_t *versions, *item_of; /* by item; by job handle */
    uint32_t items_cap, starts, put_off;
    int64_t lost_ms, restart_ms;
};

static void obey(struct network *network, struct list *list, const struct lend_action *action,
                 int64_t now_ms)
{
    uint32_t i = network->item_of[action->job];
    struct item *item = &list->items[i];

    network->versions[i]++;
    if (action->what == LEND_STOP) {
        item->lost_ms += item->done_ms + now_ms - item->began_ms - action->done_ms;
        item->done_ms = action->done_ms;
        network->put_off++;
        return;
    }
    assert(action->done_ms == item->done_ms);
    network->starts++;
    item->began_ms = now_ms;
    ends_add(&network->ends, (struct end){ now_ms + (item->done_ms ? network->restart_ms : 0) +
                                               item->duration_s * 1000 - item->done_ms,
                                           i, network->versions[i] });
}

/* False: time is over. Everything that happens at one moment, then one pass. */
static bool step(struct network *network, struct list *list, uint32_t *next)
{
    const struct lend_action *actions;
    int64_t now_ms = lend_next_ms(network->lend);
    uint32_t count;

    while (network->ends.count &&
           network->ends.heap[0].version != network->versions[network->ends.heap[0].item])
        ends_pop(&network->ends);
    if (*next < list->count)
        now_ms = MIN(now_ms, list->items[*next].submit_s * 1000);
    if (network->ends.count)
        now_ms = MIN(now_ms, network->ends.heap[0].at_ms);
    if (now_ms == INT64_MAX)
        return false;
    while (network->ends.count && network->ends.heap[0].at_ms <= now_ms) {
        struct end end = ends_pop(&network->ends);
        struct item *item = &list->items[end.item];

        if (end.version != network->versions[end.item])
            continue;
        item->lost_ms += now_ms - item->began_ms + item->done_ms - item->duration_s * 1000;
        item->end_s = now_ms; /* in ms until the end of the run */
        lend_finish(network->lend, item->job, item->duration_s * 1000, now_ms);
    }
    for (; *next < list->count && list->items[*next].submit_s * 1000 <= now_ms; ++*next) {
        struct item *item = &list->items[*next];
        struct cells_ask ask = ask_of(item->devices, 2);

        item->job = lend_submit(network->lend, item->owner, &ask, now_ms);
        assert(item->job < list->count);
        network->item_of[item->job] = *next;
    }
    actions = lend_pass(network->lend, now_ms, &count);
    for (uint32_t k = 0; k < count; k++)
        obey(network, list, &actions[k], now_ms);
    return true;
}

static int run_network(struct list *list, struct network *network, struct err *err)
{
    struct lend_params params = lend_params_default();
    struct cells_shape shape = { 2, { NODE_DEVICES, 0 } };
    uint32_t next = 0;
    int rc;

    for (uint32_t o = 0; o < list->owners_count; o++)
        shape.counts[1] += list->nodes[o];
    network->restart_ms = params.restart_ms;
    network->versions = calloc(list->count, sizeof(*network->versions));
    network->item_of = calloc(list->count, sizeof(*network->item_of));
    if (!network->versions || !network->item_of)
        abort();
    rc = lend_create(&params, &shape, list->owners_count, &network->lend, err);
    for (uint32_t o = 0; o < list->owners_count && rc == 0; o++)
        rc = lend_set_guarantee(network->lend, o, 0, list->nodes[o], err);
    for (uint32_t i = 0; i < list->count; i++)
        list->items[i].done_ms = list->items[i].lost_ms = 0;
    while (rc == 0 && step(network, list, &next))
        ;
    if (rc == 0 && !cells_check(lend_cells(network->lend), err))
        rc = -EPROTO;
    for (uint32_t i = 0; i < list->count; i++)
        network->lost_ms += list->items[i].lost_ms * list->items[i].devices;
    lend_destroy(network->lend);
    free(network->versions);
    free(network->item_of);
    free(network->ends.heap);
    return rc;
}

/* --- what comes out --- */

struct sums {
    double alone_s, passed_s, pooled_s, network_s;
    double alone_max_s, network_max_s;
    uint32_t jobs, later;
};

/* Device-seconds of work done by `until_s`, were each run without a break up to its end. */
static double work_until(const struct item *item, double end_s, double until_s)
{
    double from_s = end_s - (double)item->duration_s;

    return MAX(MIN(end_s, until_s) - from_s, 0.0) * item->devices;
}

static void show(const char *name, struct list *list, const struct network *network,
                 const char *note)
{
    struct sums sums[OWNERS_MAX] = { { 0 } }, all = { 0 };
    double worst = 0, worst_pooled = 0, until_s, span_s, devices = 0;
    double used_alone = 0, used = 0, work = 0;
    char text[128], text_note[400];

    until_s = (double)list->items[list->count - 1].submit_s;
    span_s = until_s - (double)list->items[0].submit_s;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct item *item = &list->items[i];
        struct sums *own = &sums[item->owner];
        double least = (double)(item->submit_s + item->duration_s);
        double end_s = (double)item->end_s / 1000;

        own->jobs++;
        own->alone_s += (double)item->ends_s[PEER_ALONE] - least;
        own->pooled_s += (double)item->ends_s[PEER_POOLED] - least;
        own->passed_s += (double)item->ends_s[PEER_ALONE_PASSED] - least;
        own->network_s += end_s - least;
        own->alone_max_s = MAX(own->alone_max_s, (double)item->ends_s[PEER_ALONE] - least);
        own->network_max_s = MAX(own->network_max_s, end_s - least);
        own->later += end_s > (double)item->ends_s[PEER_ALONE];
        work += (double)item->duration_s * item->devices;
        used_alone += work_until(item, (double)item->ends_s[PEER_ALONE], until_s);
        used += work_until(item, end_s, until_s);
    }
    for (uint32_t o = 0; o < list->owners_count; o++) {
        double ratio = sums[o].alone_s > 0     ? sums[o].network_s / sums[o].alone_s
                       : sums[o].network_s > 0 ? INFINITY
                                               : 0;
        double pooled = sums[o].alone_s > 0    ? sums[o].pooled_s / sums[o].alone_s
                        : sums[o].pooled_s > 0 ? INFINITY
                                               : 0;

        fprintf(stderr,
                "%-10s %-8s %3u nodes %6u jobs: mean wait %8.0f s alone, %8.0f pooled, %8.0f "
                "network (%.3f), max %.0f, %.0f h\n",
                name, list->names[o], list->nodes[o], sums[o].jobs, sums[o].alone_s / sums[o].jobs,
                sums[o].pooled_s / sums[o].jobs, sums[o].network_s / sums[o].jobs, ratio,
                sums[o].alone_max_s / 3600, sums[o].network_max_s / 3600);
        worst = MAX(worst, ratio);
        worst_pooled = MAX(worst_pooled, pooled);
        devices += list->nodes[o] * NODE_DEVICES;
        all.alone_s += sums[o].alone_s;
        all.passed_s += sums[o].passed_s;
        all.pooled_s += sums[o].pooled_s;
        all.network_s += sums[o].network_s;
        all.later += sums[o].later;
        all.jobs += sums[o].jobs;
    }
    snprintf(text, sizeof(text), "owners_%s_worst", name);
    shown_print(&(struct shown){ text, worst, "wait/alone", "<=1.0", "one queue, no guarantees",
                                 worst_pooled, note });
    snprintf(text, sizeof(text), "owners_%s_jobs_later", name);
    snprintf(text_note, sizeof(text_note), "jobs that end later than alone, of %u", all.jobs);
    shown_print(&(struct shown){ text, all.later, "jobs", "<=0", NULL, 0, text_note });
    snprintf(text, sizeof(text), "owners_%s_wait", name);
    snprintf(text_note, sizeof(text_note),
             "mean wait; the peer is every owner alone; alone with its first passed by for ever: "
             "%.0f s; one common queue without guarantees: "
             "%.0f s; %u starts, %u put off, %.2f %% of the work lost or spent on restarts",
             all.passed_s / all.jobs, all.pooled_s / all.jobs, network->starts, network->put_off,
             (double)network->lost_ms / 1000 / work * 100);
    shown_print(&(struct shown){ text, all.network_s / all.jobs, "s", "<=0.5x", "isolated owners",
                                 all.alone_s / all.jobs, text_note });
    snprintf(text, sizeof(text), "owners_%s_used", name);
    snprintf(text_note, sizeof(text_note),
             "work of the list done until its last submission, of what %.0f devices could do; all "
             "that was asked until then: %.1f %%",
             devices, work / devices / span_s * 100);
    shown_print(&(struct shown){ text, used / devices / span_s * 100, "%", NULL, "isolated owners",
                                 used_alone / devices / span_s * 100, text_note });
}

static int run(const char *name, struct list *list, const char *note)
{
    struct network network = { 0 };
    struct err err = { { 0 }, { 0 } };
    uint32_t nodes = 0;
    int rc;

    for (uint32_t o = 0; o < list->owners_count; o++) {
        run_queue(list, o, list->nodes[o], PEER_ALONE);
        run_queue(list, o, list->nodes[o], PEER_ALONE_PASSED);
        nodes += list->nodes[o];
    }
    run_queue(list, 0, nodes, PEER_POOLED);
    rc = run_network(list, &network, &err);
    if (rc < 0) {
        fprintf(stderr, "owners: %s: %s\n", name, err.text);
        return rc;
    }
    show(name, list, &network, note);
    return 0;
}

/* --- the lists --- */

static uint32_t owner_find(struct list *list, const char *name)
{
    for (uint32_t o = 0; o < list->owners_count; o++)
        if (strcmp(list->names[o], name) == 0)
            return o;
    if (list->owners_count == OWNERS_MAX) {
        fprintf(stderr, "owners: more than %u owners\n", OWNERS_MAX);
        exit(1);
    }
    snprintf(list->names[list->owners_count], sizeof(list->names[0]), "%s", name);
    return list->owners_count++;
}

/* Columns by number; owner column 0 = none. False: the file is not there. */
static bool read_list(const char *path, struct list *list, const uint32_t column[4])
{
    FILE *file = fopen(path, "r");
    char line[LINE_BYTES];

    *list = (struct list){ 0 };
    if (!file)
        return false;
    list->items = calloc(JOBS_MAX, sizeof(*list->items));
    if (!list->items)
        abort();
    if (!fgets(line, sizeof(line), file)) /* the names of the columns */
        line[0] = '\0';
    while (fgets(line, sizeof(line), file) && list->count < JOBS_MAX) {
        struct item *item = &list->items[list->count];
        char *fields[12] = { 0 }, *rest = line;
        uint32_t count = 0;

        line[strcspn(line, "\r\n")] = '\0';
        while (rest && count < ARRAY_COUNT(fields))
            fields[count++] = strsep(&rest, ",");
        if (count <= MAX(MAX(column[0], column[1]), MAX(column[2], column[3])))
            continue;
        item->submit_s = strtoll(fields[column[0]], NULL, 10);
        item->duration_s = strtoll(fields[column[1]], NULL, 10);
        item->devices = (uint32_t)strtoul(fields[column[2]], NULL, 10);
        item->owner = column[3] ? owner_find(list, fields[column[3]]) : 0;
        if (item->devices && item->duration_s > 0)
            list->count++;
    }
    fclose(file);
    return list->count > 0;
}

static int item_compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->submit_s != y->submit_s)
        return x->submit_s < y->submit_s ? -1 : 1;
    if (x->duration_s != y->duration_s)
        return x->duration_s < y->duration_s ? -1 : 1;
    return x->devices < y->devices ? -1 : x->devices > y->devices;
}

/* Venus names no owners: sittings of one size within ten minutes go to one of six owners, unequal;
 * what asks more than eight nodes to the first. */
static void split(struct list *list, uint64_t seed)
{
    static const uint32_t chances[] = { 35, 22, 16, 12, 9, 6 };
    struct rng rng = { seed };
    uint32_t size_owner[256] = { 0 };
    int64_t size_last_s[256];

    list->owners_count = ARRAY_COUNT(chances);
    for (uint32_t o = 0; o < list->owners_count; o++)
        snprintf(list->names[o], sizeof(list->names[o]), "part%u", o + 1);
    for (uint32_t s = 0; s < ARRAY_COUNT(size_last_s); s++)
        size_last_s[s] = INT64_MIN / 2;
    for (uint32_t i = 0; i < list->count; i++) {
        struct item *item = &list->items[i];
        uint32_t size = MIN(item->devices, 255u), draw;

        if (item->submit_s - size_last_s[size] > 600) {
            draw = (uint32_t)rng_below(&rng, 100);
            for (size_owner[size] = 0; draw >= chances[size_owner[size]];)
                draw -= chances[size_owner[size]++];
        }
        size_last_s[size] = item->submit_s;
        item->owner = item->devices > 8 * NODE_DEVICES ? 0 : size_owner[size];
    }
}

/* Nodes for which the list asks `load` of the devices over its span, and its largest job fits. */
static void size_owners(struct list *list, double load)
{
    double asked[OWNERS_MAX] = { 0 };
    uint32_t most[OWNERS_MAX] = { 0 };
    double span_s = (double)(list->items[list->count - 1].submit_s - list->items[0].submit_s);

    for (uint32_t i = 0; i < list->count; i++) {
        asked[list->items[i].owner] += (double)list->items[i].duration_s * list->items[i].devices;
        most[list->items[i].owner] = MAX(most[list->items[i].owner], list->items[i].devices);
    }
    for (uint32_t o = 0; o < list->owners_count; o++)
        list->nodes[o] = MAX((uint32_t)ceil(asked[o] / span_s / load / NODE_DEVICES),
                             (most[o] + NODE_DEVICES - 1) / NODE_DEVICES);
}

int main(int argc, char **argv)
{
    static const uint32_t philly[4] = { 1, 2, 3, 5 }, venus[4] = { 1, 2, 3, 0 },
                          two[4] = { 3, 4, 5, 2 };
    static const double loads[] = { 0.5, 0.7, 0.9 };
    struct list list;
    uint64_t seeds = argc > 4 ? strtoull(argv[4], NULL, 10) : 3;
    char name[64], note[256];
    int rc = 0;

    if (argc < 4) {
        fprintf(stderr, "usage: owners PHILLY_VC.csv VENUS.csv VENUS_2VC.csv [SEEDS]\n");
        return 2;
    }
    for (size_t k = 0; k < ARRAY_COUNT(loads) && rc == 0; k++) {
        if (!read_list(argv[1], &list, philly)) {
            fprintf(stderr, "owners: %s: not there; skipped\n", argv[1]);
            break;
        }
        qsort(list.items, list.count, sizeof(*list.items), item_compare);
        size_owners(&list, loads[k]);
        snprintf(name, sizeof(name), "philly_%.0f", loads[k] * 100);
        snprintf(note, sizeof(note),
                 "11 VCs, each with the nodes of which its list asks %.0f %%, at least its largest "
                 "job; worst owner; HiveD (OSDI'20): none above 1",
                 loads[k] * 100);
        rc = run(name, &list, note);
        free(list.items);
    }
    if (rc == 0 && read_list(argv[3], &list, two)) {
        qsort(list.items, list.count, sizeof(*list.items), item_compare);
        for (uint32_t o = 0; o < list.owners_count; o++)
            list.nodes[o] = strcmp(list.names[o], "vcvGl") == 0 ? 20 : 2;
        rc = run("venus_2vc", &list, "the two VCs with their real nodes, 20 and 2");
        free(list.items);
    }
    for (uint64_t seed = 1; seed <= seeds && rc == 0; seed++) {
        if (!read_list(argv[2], &list, venus)) {
            fprintf(stderr, "owners: %s: not there; skipped\n", argv[2]);
            break;
        }
        qsort(list.items, list.count, sizeof(*list.items), item_compare);
        split(&list, seed);
        size_owners(&list, 0.7);
        snprintf(name, sizeof(name), "venus_s%" PRIu64, seed);
        snprintf(note, sizeof(note),
                 "split over 6 owners, seed %" PRIu64 ", 70 %% asked of each owner's nodes or its "
                 "largest job; worst owner",
                 seed);
        rc = run(name, &list, note);
        free(list.items);
    }
    return rc < 0;
}
