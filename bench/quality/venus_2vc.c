/* venus_2vc: two virtual clusters of Helios Venus, September 2020, replayed: users and clusters are
 * known, durations are not, nothing may be stopped. Beside strict FIFO and SJF with an oracle. */
#include "quality/replay.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DATA "../shared/data/helios/venus_2vc_sept.csv"

static const char *const pools[] = { "vcvGl", "vcvlY", NULL };
static const uint32_t nodes[] = { 20, 2 };

int main(void)
{
    struct replay_list list = { 0 };
    struct replay_how how = { .order = order_params_for(8 * nodes[0]),
                              .predict = predict_params_default(),
                              .pass_s = 300 };
    struct replay_figures fifo, sjf, easy, ours;
    struct err err;
    int rc = replay_read(DATA, pools, &list, &err);

    if (rc < 0) {
        fprintf(stderr, "venus_2vc: %s\n", err.text);
        return rc == -ENOENT ? 0 : 1;
    }
    for (uint32_t p = 0; p < 2; p++)
        replay_run_fifo(&list, p, nodes[p]);
    fifo = replay_measure(&list);
    for (uint32_t p = 0; p < 2; p++)
        replay_run_sjf(&list, p, nodes[p]);
    sjf = replay_measure(&list);
    for (uint32_t p = 0; p < 2; p++)
        replay_run_easy(&list, p, nodes[p], 1000);
    easy = replay_measure(&list);
    for (uint32_t p = 0; p < 2; p++)
        replay_run_order(&list, p, nodes[p], &how);
    ours = replay_measure(&list);
    replay_list_fini(&list);
    replay_print("venus_2vc_fifo", fifo.jct_mean_s, "s", NAN, NULL, NAN,
                 "strict, mean completion; published recipe: 16534");
    replay_print("venus_2vc_sjf_oracle", sjf.jct_mean_s, "s", NAN, NULL, NAN,
                 "strict, knows every duration; published recipe: 6273");
    replay_print("venus_2vc_easy", easy.jct_mean_s, "s", NAN, NULL, NAN,
                 "FIFO with backfill, knows every end");
    replay_print("venus_2vc_jct", ours.jct_mean_s, "s", 5920, "FIFO", fifo.jct_mean_s,
                 "1867 jobs, none may be stopped, durations not known; default parameters");
    replay_print("venus_2vc_wait_p99", ours.wait_p99_s, "s", NAN, "EASY", easy.wait_p99_s, NULL);
    replay_print("venus_2vc_wait_longest", ours.wait_longest_s / 3600, "h", 30, "EASY",
                 easy.wait_longest_s / 3600, NULL);
    return 0;
}
