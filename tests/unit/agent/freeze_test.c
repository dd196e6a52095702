/* Processes that stand still and go on: by each way that this machine has. */
#include "agent/freeze.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define UNIFIED "/sys/fs/cgroup/unified"

static volatile unsigned *counts; /* of a child and its child */

static void count_up(volatile unsigned *count)
{
    for (;;) {
        ++*count;
        poll(NULL, 0, 1);
    }
}

/* So many processes below this one, each the child of the one before; the last of them counts. */
static void go_down(int depth)
{
    for (int i = 0; i < depth; i++) {
        if (fork() != 0) {
            if (i == 0)
                return;
            for (;;)
                pause();
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    count_up(&counts[1]);
}

static pid_t start(int depth)
{
    pid_t child;

    counts[0] = counts[1] = 0;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        go_down(depth);
        count_up(&counts[0]);
    }
    while (!counts[0] || !counts[1])
        poll(NULL, 0, 1);
    return child;
}

static bool both_stand(void)
{
    unsigned first = counts[0], second = counts[1];

    poll(NULL, 0, 100);
    return counts[0] == first && counts[1] == second;
}

static bool both_go_on(void)
{
    unsigned first = counts[0], second = counts[1];

    for (int i = 0; i < 5000 && (counts[0] == first || counts[1] == second); i++)
        poll(NULL, 0, 1);
    return counts[0] != first && counts[1] != second;
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (waitpid(-1, NULL, 0) > 0) /* its child has come to us, and dies */
        ;
}

static void stand_and_go_on(const struct cgroup *cgroup, const char *mark, enum freeze_way *way)
{
    struct err err = { 0 };
    pid_t child = start(1);

    if (cgroup) {
        char pids[64];
        int fd = openat(cgroup->fds[0], "cgroup.procs", O_WRONLY);

        for (int i = 0; i < 2; i++) { /* the child's own child is the next process, or found */
            snprintf(pids, sizeof(pids), "/proc/%d/task/%d/children", child, child);
            if (i == 0) {
                snprintf(pids, sizeof(pids), "%d", child);
            } else {
                FILE *file = fopen(pids, "r");
                int grandchild = 0;

                assert_int_equal(fscanf(file, "%d", &grandchild), 1);
                fclose(file);
                snprintf(pids, sizeof(pids), "%d", grandchild);
            }
            assert_int_equal(write(fd, pids, strlen(pids)), (ssize_t)strlen(pids));
        }
        close(fd);
    }
    if (freeze_all(mark, cgroup, way, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(both_stand());
    freeze_thaw(mark, cgroup, *way);
    assert_true(both_go_on());
    assert_int_equal(freeze_all(mark, cgroup, way, &err), 0); /* and once more */
    assert_true(both_stand());
    if (*way == FREEZE_V1)
        kill(child, SIGKILL); /* it is held back until it is let go */
    freeze_remove(mark);
    freeze_thaw(mark, cgroup, *way);
    end(child);
    freeze_remove(mark);
}

static void test_as_it_is_here(void **state)
{
    char mark[64];
    enum freeze_way way = FREEZE_NOT;

    (void)state;
    snprintf(mark, sizeof(mark), "mains-test-%d", (int)getpid());
    stand_and_go_on(NULL, mark, &way);
    assert_true(way == FREEZE_V1 || way == FREEZE_SIGNAL);
}

/* No group can have such a name: signals are left. */
static void test_by_signals(void **state)
{
    enum freeze_way way = FREEZE_NOT;

    (void)state;
    stand_and_go_on(NULL, "mains-test/no/such", &way);
    assert_int_equal(way, FREEZE_SIGNAL);
}

static void test_v2(void **state)
{
    struct cgroup_root root = { .kind = CGROUP_V2 };
    struct cgroup cgroup = { .root = &root };
    enum freeze_way way = FREEZE_NOT;
    char path[128];
    bool is_there;

    (void)state;
    snprintf(path, sizeof(path), UNIFIED "/mains-test-%d", (int)getpid());
    if (mkdir(path, 0755) < 0)
        skip(); /* no unified hierarchy of ours here */
    cgroup.fds[0] = open(path, O_RDONLY | O_DIRECTORY);
    is_there = faccessat(cgroup.fds[0], "cgroup.freeze", W_OK, 0) == 0;
    if (is_there)
        stand_and_go_on(&cgroup, "mains-test-v2", &way);
    close(cgroup.fds[0]);
    for (int i = 0; i < 1000 && rmdir(path) < 0 && errno == EBUSY; i++)
        poll(NULL, 0, 1);
    if (!is_there)
        skip();
    assert_int_equal(way, FREEZE_V2);
}

/* A job chooses how deep its processes are: none is passed over for want of descriptors. */
static void test_deep(void **state)
{
    struct rlimit before, few;
    enum freeze_way way = FREEZE_NOT;
    struct err err = { 0 };
    pid_t child = start(60);
    int rc;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){ .rlim_cur = 32, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    rc = freeze_all("mains-test/no/such", NULL, &way, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, 0);
    assert_true(both_stand());
    freeze_thaw("mains-test/no/such", NULL, way);
    assert_true(both_go_on());
    end(child);
}

static void test_nobody(void **state)
{
    enum freeze_way way = FREEZE_NOT;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(freeze_all("mains-test-nobody", NULL, &way, &err), -ESRCH);
    assert_int_equal(way, FREEZE_NOT);
    freeze_remove("mains-test-nobody");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_it_is_here),
        cmocka_unit_test(test_by_signals),
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_nobody),
    };

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED)
        return 1;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
