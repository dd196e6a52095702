/* The guard beside what a cluster runs: the agent's side here, the shell text in processes. */
#include "agent/guard.h"

#include "base/clock.h"
#include "base/file.h"

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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Any process here may stand still for four seconds, and nothing fails: what must be over in time
 * has STALL_MS more, and no lease is short before what it is for runs. */
#define STALL_MS 4500
#define WAIT_MS 30000
#define GUARD_KEEPS_MS 500 /* off each lease */

struct bed {
    char dir[64], place[96], script[128];
    int fd, place_fd;
    struct lease lease;
    struct guard guard;
    uint64_t number; /* of the attempt's lease; 0 = it may not run */
    pid_t pid;
};

static void put(const char *path, const char *text)
{
    struct err err;

    if (file_write(path, text, strlen(text), 0700, false, &err) < 0)
        fail_msg("%s", err.text);
}

static int begin(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));
    char text[32768];
    struct err err;

    assert_non_null(bed);
    strcpy(bed->dir, "/tmp/mains-guard-XXXXXX");
    assert_non_null(mkdtemp(bed->dir));
    bed->fd = open(bed->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(lease_open(bed->fd, &bed->lease, &err), 0);
    assert_int_equal(guard_open(bed->fd, &bed->guard, &err), 0);
    snprintf(bed->place, sizeof(bed->place), "%s/7.1", bed->dir);
    assert_int_equal(mkdir(bed->place, 0700), 0);
    bed->place_fd = open(bed->place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(bed->script, sizeof(bed->script), "%s/run.sh", bed->dir);
    assert_true(snprintf(text, sizeof(text), "%s%s", guard_script, guard_alone) <
                (int)sizeof(text));
    put(bed->script, text);
    bed->number = 1;
    *state = bed;
    return 0;
}

static int end(void **state)
{
    struct bed *bed = *state;

    if (bed->pid > 0) {
        kill(-bed->pid, SIGKILL);
        waitpid(bed->pid, NULL, 0);
    }
    guard_close(&bed->guard);
    lease_close(&bed->lease);
    close(bed->place_fd);
    close(bed->fd);
    dir_remove(bed->dir, NULL);
    free(bed);
    return 0;
}

static void renew(struct bed *bed, int64_t lease_ms, int64_t stop_ms)
{
    struct err err;

    lease_set_terms(&bed->lease, lease_ms, stop_ms, 100);
    assert_int_equal(lease_renew(&bed->lease, clock_boot_ms(), &err), 0);
    guard_take_lease(&bed->guard, &bed->lease, true);
}

/* Of the lease so much is left now: nearly all of a long one has passed. */
static void leave(struct bed *bed, int64_t left_ms, int64_t stop_ms)
{
    bed->lease.state.ends_ms = clock_boot_ms() + left_ms;
    bed->lease.state.stop_ms = stop_ms;
    bed->guard.told = (struct lease_state){ 0 };
    guard_take_lease(&bed->guard, &bed->lease, true);
}

static void set(void *context, const char *name, const char *value)
{
    (void)context;
    setenv(name, value, 1);
}

/* A job of its own session, as engines start them. */
static void start(struct bed *bed, uint64_t lease, int signal_number, const char *text)
{
    const struct guard_job job = { .agent_dir = bed->dir,
                                   .folder = bed->place,
                                   .key = { 7, 1 },
                                   .lease = lease,
                                   .signal_number = signal_number };

    bed->pid = fork();
    if (bed->pid)
        return;
    setsid();
    if (chdir(bed->place) < 0)
        _exit(99);
    guard_each_variable(&job, set, NULL);
    setenv("SLURMD_NODENAME", "n1", 1);
    execl("/bin/sh", "sh", bed->script, "sh", "-c", text, (char *)NULL);
    _exit(99);
}

static uint64_t lease_of(void *context, struct attempt_key key)
{
    const struct bed *bed = context;

    assert_int_equal(key.job_id, 7);
    assert_int_equal(key.epoch, 1);
    return bed->number;
}

/* Serve it until it has ended, or until `until_ms`: its status, -1 = it runs. With `lease_ms` its
 * lease is renewed all the while. */
static int serve(struct bed *bed, int64_t until_ms, int64_t lease_ms)
{
    int status;

    while (clock_boot_ms() < until_ms) {
        guard_answer(&bed->guard, lease_of, bed);
        if (lease_ms)
            renew(bed, lease_ms, bed->lease.state.stop_ms);
        if (waitpid(bed->pid, &status, WNOHANG) == bed->pid) {
            bed->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        poll(NULL, 0, 10);
    }
    return -1;
}

static bool has(const struct bed *bed, const char *name)
{
    return faccessat(bed->place_fd, name, F_OK, 0) == 0;
}

static int64_t soon(void)
{
    return clock_boot_ms() + WAIT_MS;
}

static void serve_until(struct bed *bed, const char *name)
{
    while (!has(bed, name))
        assert_int_equal(serve(bed, clock_boot_ms() + 50, 0), -1);
}

static void a_code_comes_through(void **state)
{
    struct bed *bed = *state;

    start(bed, 0, SIGUSR1, "env >env; exit 3");
    assert_int_equal(serve(bed, soon(), 0), 3);
    assert_false(guard_has_ended(bed->place_fd));
    start(bed, 0, SIGUSR1, "grep -q MAINS_GUARD env && exit 1; exit 0");
    assert_int_equal(serve(bed, soon(), 0), 0);
    renew(bed, 60000, 5000);
    start(bed, 1, 0, "echo $GREETING$$ >ran; exit 4");
    assert_int_equal(serve(bed, soon(), 0), 4);
    assert_true(has(bed, "ran"));
    assert_false(guard_has_ended(bed->place_fd));
}

static void without_a_lease_it_never_begins(void **state)
{
    struct bed *bed = *state;

    start(bed, 1, 0, "echo ran >ran"); /* there is none */
    assert_int_equal(serve(bed, soon(), 0), GUARD_CODE);
    assert_false(has(bed, "ran"));
    assert_true(guard_has_ended(bed->place_fd));
    renew(bed, 60000, 5000);
    bed->number = 0; /* it is being stopped, or nobody knows it */
    start(bed, 1, 0, "echo ran >ran");
    assert_int_equal(serve(bed, soon(), 0), GUARD_CODE);
    assert_false(has(bed, "ran"));
    bed->number = 2; /* a lease that was not held yet, or not any more */
    start(bed, 2, 0, "echo ran >ran");
    assert_int_equal(serve(bed, soon(), 0), GUARD_CODE);
    assert_false(has(bed, "ran"));
}

static void it_ends_what_is_deaf_by_its_own_clock(void **state)
{
    const int64_t stop_ms = 3 * (STALL_MS - GUARD_KEEPS_MS); /* a third is left when it kills */
    struct bed *bed = *state;
    int64_t began_ms = clock_boot_ms(), start_ms_most, ends_ms;
    int status;

    renew(bed, 60000, 5000);
    start(
        bed, 1, 0,
        "trap '' TERM; echo ran >ran; sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & wait");
    serve_until(bed, "ran");
    start_ms_most = clock_boot_ms() - began_ms;
    leave(bed, stop_ms + 1000, stop_ms); /* and from here on the agent is as dead */
    ends_ms = bed->lease.state.ends_ms;
    status = serve(bed, soon(), 0);
    assert_int_equal(status, 128 + SIGKILL);
    assert_true(clock_boot_ms() <= ends_ms);
    assert_true(clock_boot_ms() >= ends_ms - STALL_MS - start_ms_most - 100);
    assert_true(guard_has_ended(bed->place_fd));
}

static void renewed_it_goes_on_and_not_without(void **state)
{
    const int64_t stop_ms = STALL_MS - GUARD_KEEPS_MS, lease_ms = 2 * STALL_MS + 500;
    struct bed *bed = *state;
    int64_t ends_ms;

    renew(bed, 60000, 5000);
    start(bed, 1, 0, "echo ran >ran; while :; do sleep 0.1; done");
    serve_until(bed, "ran");
    leave(bed, lease_ms, stop_ms);
    assert_int_equal(serve(bed, clock_boot_ms() + lease_ms - STALL_MS + 1000, lease_ms), -1);
    ends_ms = bed->lease.state.ends_ms;
    assert_int_not_equal(serve(bed, soon(), 0), -1);
    assert_true(clock_boot_ms() <= ends_ms);
    assert_true(guard_has_ended(bed->place_fd));
}

/* It counts from before it asked: so much less is left than the agent's clock says. */
static void a_late_answer_gives_no_more(void **state)
{
    const int64_t late_ms = STALL_MS + 1000, stop_ms = 1000; /* it looks once a second */
    struct bed *bed = *state;

    renew(bed, 60000, 5000);
    start(bed, 1, 0, "echo ran >ran; while :; do sleep 0.1; done");
    while (faccessat(bed->guard.asks_fd, "7.1.n1", F_OK, 0) < 0)
        poll(NULL, 0, 10);
    poll(NULL, 0, (int)late_ms);
    serve_until(bed, "ran");
    leave(bed, late_ms + stop_ms + GUARD_KEEPS_MS, stop_ms);
    assert_int_not_equal(serve(bed, soon(), 0), -1);
    assert_true(clock_boot_ms() < bed->lease.state.ends_ms - stop_ms - GUARD_KEEPS_MS);
}

static void another_lease_ends_it_at_once(void **state)
{
    struct bed *bed = *state;
    int64_t began_ms;

    renew(bed, 60000, 5000);
    start(bed, 1, 0, "trap '' TERM; echo ran >ran; while :; do sleep 0.1; done");
    serve_until(bed, "ran");
    bed->lease.state.ends_ms = 0; /* it ended, and the next was given */
    renew(bed, 60000, 5000);
    assert_int_equal(bed->lease.state.number, 2);
    began_ms = clock_boot_ms();
    assert_int_not_equal(serve(bed, soon(), 0), -1);
    assert_true(clock_boot_ms() - began_ms < 20000); /* its word may be cut off */
}

static void it_is_asked_to_save(void **state)
{
    struct bed *bed = *state;

    renew(bed, 60000, 5000);
    start(bed, 1, SIGUSR1,
          "trap 'echo saved >>saved' USR1; echo ran >ran; while [ ! -e go ]; do sleep 0.05; done");
    serve_until(bed, "ran");
    for (uint32_t i = 1; i <= 2; i++) {
        struct stat st = { 0 };

        assert_int_equal(guard_ask_to_save(bed->place_fd, i), 0);
        while (fstatat(bed->place_fd, "saved", &st, 0) < 0 || st.st_size < (off_t)(6 * i))
            assert_int_equal(serve(bed, clock_boot_ms() + 50, 0), -1);
    }
    assert_int_equal(mknodat(bed->place_fd, "go", S_IFREG | 0600, 0), 0);
    assert_int_equal(serve(bed, soon(), 0), 0);
}

static void sigterm_is_passed_on(void **state)
{
    struct bed *bed = *state;

    start(bed, 0, SIGUSR1, "trap 'exit 6' TERM; echo ran >ran; while :; do sleep 0.05; done");
    serve_until(bed, "ran");
    kill(bed->pid, SIGTERM);
    assert_int_equal(serve(bed, soon(), 0), 6);
}

static void strange_questions_are_dropped(void **state)
{
    static const char *const names[] = { "7",     "7.1",     "x.1.n",        "7.1.",
                                         "7.1.n", "7.1.a b", "7.1.\xc3\xa4", "-1.1.n" };
    struct bed *bed = *state;
    char path[256];
    struct stat st;

    renew(bed, 60000, 5000);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/guard/asks/%s", bed->dir, names[i]);
        put(path, i == 4 ? "two words\n" : "word\n");
    }
    snprintf(path, sizeof(path), "%s/guard/asks/7.1.link", bed->dir);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof(path), "%s/guard/asks/7.1.pipe", bed->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    guard_answer(&bed->guard, lease_of, bed);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_int_equal(fstatat(bed->guard.asks_fd, names[i], &st, 0), -1);
        assert_int_equal(fstatat(bed->guard.folder_fd, names[i], &st, 0), -1);
    }
    assert_int_equal(fstatat(bed->guard.folder_fd, "7.1.link", &st, AT_SYMLINK_NOFOLLOW), -1);
    snprintf(path, sizeof(path), "%s/guard/asks/7.1.n", bed->dir);
    put(path, "word\n");
    guard_answer(&bed->guard, lease_of, bed);
    assert_int_equal(fstatat(bed->guard.folder_fd, "7.1.n", &st, 0), 0);
    guard_forget(&bed->guard, (struct attempt_key){ 7, 2 });
    assert_int_equal(fstatat(bed->guard.folder_fd, "7.1.n", &st, 0), 0);
    guard_forget(&bed->guard, (struct attempt_key){ 7, 1 });
    assert_int_equal(fstatat(bed->guard.folder_fd, "7.1.n", &st, 0), -1);
}

#define IN_BED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BED(a_code_comes_through),
        IN_BED(without_a_lease_it_never_begins),
        IN_BED(it_ends_what_is_deaf_by_its_own_clock),
        IN_BED(renewed_it_goes_on_and_not_without),
        IN_BED(a_late_answer_gives_no_more),
        IN_BED(another_lease_ends_it_at_once),
        IN_BED(it_is_asked_to_save),
        IN_BED(sigterm_is_passed_on),
        IN_BED(strange_questions_are_dropped),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
