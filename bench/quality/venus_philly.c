/* venus, philly: every job of the list on one pool of nodes of 8, from empty; nothing is known of a
 * job but when it came and how many devices it asks for; each may be stopped, and starting it again
 * costs a minute. Beside FIFO, SJF with an oracle and EASY with perfect limits.
 * Usage: venus_philly venus|philly [--small]: only the first tenth, without goals. */
#include "quality/replay.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define EASY_DEPTH 500u

static const struct row {
    const char *name, *path;
    uint32_t nodes[2];
    double goals_s[2];
} rows[] = {
    { "venus", "../shared/data/helios/venus_jobs.csv.gz", { 69, 90 }, { 18500, 9500 } },
    { "philly", "../shared/data/philly/philly_jobs.csv.gz", { 154, 200 }, { 88000, 50000 } },
};

static void print(const struct row *row, uint32_t nodes, const char *what, double value,
                  double goal, const char *peer, double peer_value, const char *note)
{
    char name[96];

    snprintf(name, sizeof(name), "%s_%u_%s", row->name, nodes, what);
    replay_print(name, value, "s", goal, peer, peer_value, note);
}

static void print_peer(const struct row *row, uint32_t nodes, const char *what,
                       const struct replay_figures *figures)
{
    char note[160];

    snprintf(note, sizeof(note), "mean completion; wait p99 %.0f s, longest %.0f s",
             figures->wait_p99_s, figures->wait_longest_s);
    print(row, nodes, what, figures->jct_mean_s, NAN, NULL, NAN, note);
}

static void run(const struct row *row, struct replay_list *list, uint32_t nodes, double goal_s)
{
    const struct replay_how how = { .order = order_params_for(8 * nodes),
                                    .predict = predict_params_default(),
                                    .is_preemptible = true,
                                    .restart_s = 60,
                                    .pass_s = 300 };
    struct replay_figures easy, sjf, ours;
    char note[200];

    fprintf(stderr, "%s: %u jobs on %u nodes\n", row->name, list->count, nodes);
    replay_run_fifo(list, 0, nodes);
    ours = replay_measure(list);
    print_peer(row, nodes, "fifo", &ours);
    replay_run_easy(list, 0, nodes, EASY_DEPTH);
    easy = replay_measure(list);
    print_peer(row, nodes, "easy", &easy);
    replay_run_sjf(list, 0, nodes);
    sjf = replay_measure(list);
    print_peer(row, nodes, "sjf_oracle", &sjf);
    replay_run_order(list, 0, nodes, &how);
    ours = replay_measure(list);
    snprintf(note, sizeof(note),
             "lengths not known; %.2f restarts a job, most %u; parameters chosen on these lists",
             (double)ours.restarts / list->count, ours.restarts_most);
    print(row, nodes, "jct", ours.jct_mean_s, goal_s, "SJF oracle", sjf.jct_mean_s, note);
    print(row, nodes, "wait_p99", ours.wait_p99_s, NAN, "EASY", easy.wait_p99_s, NULL);
    print(row, nodes, "wait_longest", ours.wait_longest_s,
          isnan(goal_s) ? NAN : 2 * easy.wait_longest_s, "EASY", easy.wait_longest_s,
          "all the time it was in and did no work");
    print(row, nodes, "first_wait_longest", ours.first_wait_longest_s, NAN, "EASY",
          easy.first_wait_longest_s, "to its first start");
}

int main(int argc, char **argv)
{
    const struct row *row = NULL;
    struct replay_list list = { 0 };
    struct err err;
    bool is_small = argc > 2 && strcmp(argv[2], "--small") == 0;
    int rc;

    for (size_t i = 0; argc > 1 && i < ARRAY_COUNT(rows); i++)
        if (strcmp(argv[1], rows[i].name) == 0)
            row = &rows[i];
    if (!row) {
        fprintf(stderr, "usage: venus_philly venus|philly [--small]\n");
        return 2;
    }
    rc = replay_read(row->path, NULL, &list, &err);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", row->name, err.text);
        return rc == -ENOENT ? 0 : 1;
    }
    if (is_small)
        list.count /= 10;
    for (uint32_t i = 0; i < 2; i++)
        run(row, &list, row->nodes[i], is_small ? NAN : row->goals_s[i]);
    replay_list_fini(&list);
    return 0;
}
