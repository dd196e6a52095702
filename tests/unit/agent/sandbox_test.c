/* What a job can see and reach: nothing of mains, of other jobs, or of the machine beyond its own.
 * Every row runs a real job; what it prints is what it could do. */
#include "bed.h"

#include <sys/wait.h>

#define SECRET "do-not-tell"

/* As the tenant's private user, and (as root) as root itself: the sandbox must hold both. */
static struct attempt_order order_as(struct bed *bed, bool root_job)
{
    struct attempt_order order = bed_order(bed, true);

    if (root_job && order.drop)
        order.uid = order.gid = 0;
    return order;
}

static void plant(struct bed *bed)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/admin.token", bed->state_dir);
    assert_int_equal(file_write(path, SECRET, strlen(SECRET), 0644, false, NULL), 0);
    assert_int_equal(chmod(bed->state_dir, 0755), 0); /* the modes shall not be what saves it */
    assert_int_equal(chmod(bed->agent_dir, 0755), 0);
}

/* %S: the state folder. Each prints "ok" when the job could not do what it should not. */
static const char *const attempts[] = {
    "cat %S/admin.token || echo ok",
    "ls %S || echo ok",
    "cat /proc/*/root%S/admin.token || echo ok",
    "cat /proc/*/cwd/../../../../admin.token || echo ok",
    "cat ../admin.token ../../admin.token ../../../admin.token ../../../../admin.token || echo ok",
    "grep -l MAINS_TEST_SECRET /proc/*/environ || echo ok",
    "cat /proc/1/environ > e; [ -s e ] || echo ok",
    "readlink /proc/1/fd/3 || readlink /proc/1/fd/4 || readlink /proc/1/cwd || echo ok",
    "cat /proc/1/maps > e; [ -s e ] || echo ok",
    "ls /proc | grep -c '^[0-9]' > n; [ $(cat n) -lt 10 ] && echo ok",
    "touch /usr/bin/x || echo ok",
    "touch /etc/x || echo ok",
    "touch /x || echo ok",
    "echo 1 > /sys/fs/cgroup/pids/cgroup.procs || echo 1 > /sys/fs/cgroup/cgroup.procs || echo ok",
    "mount -t tmpfs none /tmp || echo ok",
    "umount /proc || echo ok",
    "chroot / true || echo ok",
    "mknod m b 8 0 || echo ok",
    "hostname changed || echo ok",
    "chown 12345 . || echo ok",
    "dd if=/dev/mem of=m count=1 || echo ok",
    "[ -z \\\"$(ls -A /home; ls -A /root; ls -A /mnt; ls -A /run)\\\" ] && echo ok",
    "[ -e /dev/sda ] || [ -e /dev/vda ] || [ -e /dev/kmsg ] || echo ok",
    "echo x > /dev/shm/a && echo x > /tmp/b && echo x > /var/tmp/c && echo ok",
    "[ -z \\\"$(ls /tmp; ls /dev/shm; ls /var/tmp)\\\" ] && echo ok",
    "kill -9 1; echo ok",
    "grep -q 'NoNewPrivs:.1' /proc/self/status && echo ok",
    "grep -q 'CapEff:.0000000000000000' /proc/self/status && echo ok",
    "grep -q 'CapBnd:.0000000000000000' /proc/self/status && echo ok",
    "grep -q 'CapPrm:.0000000000000000' /proc/self/status && echo ok",
    "env | grep -q MAINS_TEST_SECRET || echo ok",
    "unshare -Ur umount %S; unshare -Urm umount /tmp; cat %S/admin.token || echo ok",
    "true > /dev/null && [ -c /dev/zero ] && head -c 4 /dev/urandom > r && [ -s r ] && echo ok",
    "chmod 600 /dev/full || echo ok",
    /* Root's job must not get at the host's cgroups, which are its own by uid. */
    "[ $(id -u) != 0 ] && echo ok || unshare -U true || echo ok",
    "[ -w . ] && echo x > y && [ $(cat y) = x ] && echo ok",
    "mkfifo p && ln -s /etc/passwd l && echo ok",
    "getent hosts localhost > /dev/null && echo ok",
    "ls -l /proc/self/fd | grep -v -e total -e null -e pipe: -e /proc/ > e; [ -s e ] || echo ok",
};

static void expand(const char *text, const char *state_dir, char *out, size_t out_bytes)
{
    size_t len = (size_t)snprintf(out, out_bytes, "{\"run\":\"");

    for (; *text && len + 200 < out_bytes; text++) {
        if (text[0] == '%' && text[1] == 'S') {
            len += (size_t)snprintf(out + len, out_bytes - len, "%s", state_dir);
            text++;
        } else {
            out[len++] = *text;
        }
    }
    snprintf(out + len, out_bytes - len, "\"}");
}

static void try_all(bool root_job)
{
    struct bed bed;

    bed_open(&bed);
    plant(&bed);
    for (size_t i = 0; i < ARRAY_COUNT(attempts); i++) {
        struct attempt_order order = order_as(&bed, root_job);
        char spec[2048];

        expand(attempts[i], bed.state_dir, spec, sizeof(spec));
        bed_run_order(&bed, &order, spec);
        if (strcmp(bed_read(&bed, "stdout"), "ok\n") != 0) {
            print_message("%s\n", bed_read(&bed, "stdout"));
            fail_msg("%s%s: %s %s", root_job ? "as root: " : "", attempts[i],
                     bed_read(&bed, "stderr"), bed.ended.reason);
        }
    }
    bed_close(&bed);
}

static void test_sandbox_holds(void **state)
{
    (void)state;
    try_all(false);
}

static void test_sandbox_holds_roots_own_jobs(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    try_all(true);
}

/* Without a sandbox, the tenant's own uid is what stands between. */
static void test_unsandboxed_has_no_rights(void **state)
{
    static const char *const rows[] = {
        "cat %S/admin.token || echo ok",
        "ls %S || echo ok",
        "grep -l MAINS_TEST_SECRET /proc/*/environ 2>/dev/null || echo ok",
        "[ $(id -u) = 61999 ] && [ $(id -g) = 61999 ] && [ \\\"$(id -G)\\\" = 61999 ] && echo ok",
        "grep -q 'CapBnd:.0000000000000000' /proc/self/status && echo ok",
        "echo x > f && cat $PWD/f > /dev/null && echo ok",
    };
    struct bed bed;

    (void)state;
    if (geteuid() != 0)
        skip();
    bed_open(&bed);
    plant(&bed);
    assert_int_equal(chmod(bed.state_dir, 0700), 0);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct attempt_order order = bed_order(&bed, false);
        char spec[2048];

        expand(rows[i], bed.state_dir, spec, sizeof(spec));
        bed_run_order(&bed, &order, spec);
        if (strcmp(bed_read(&bed, "stdout"), "ok\n") != 0)
            fail_msg("%s: %s %s", rows[i], bed_read(&bed, "stderr"), bed.ended.reason);
    }
    bed_close(&bed);
}

static void test_sandbox_off_needs_leave(void **state)
{
    struct bed bed;
    struct attempt_order order;

    (void)state;
    bed_open(&bed);
    order = bed_order(&bed, true);
    bed_run_order(&bed, &order, "{\"run\":\"true\",\"sandbox\":false}");
    assert_int_equal(bed.ended.end, END_START_FAILED);
    assert_non_null(strstr(bed.ended.reason, "sandbox"));
    order = bed_order(&bed, true);
    order.sandbox_off_allowed = true;
    bed_run_order(&bed, &order, "{\"run\":\"true\",\"sandbox\":false}");
    assert_int_equal(bed.ended.end, END_EXITED);
    bed_close(&bed);
}

/* What a job names as its outputs, and what of that may come out. */
static void test_outputs_do_not_leak(void **state)
{
    static const struct {
        const char *run, *outputs, *file, *text;
    } rows[] = {
        { "echo a > a", "\"a\"", "outputs/a", "a\n" },
        { "mkdir -p d/e; echo b > d/e/b", "\"d\"", "outputs/d/e/b", "b\n" },
        { "mkdir d; echo c > d/c.txt; echo x > d/x", "\"d/*.txt\"", "outputs/d/c.txt", "c\n" },
        { "mkdir d; echo c > d/c.txt; echo x > d/x", "\"d/*.txt\"", "outputs/d/x", "" },
        { "mkdir -p d/e; echo c > d/e/c.txt", "\"**/*.txt\"", "outputs/d/e/c.txt", "c\n" },
        { "ln -s /etc/passwd l", "\"l\"", "outputs/l", "" },
        { "ln -s /etc d; ", "\"d/passwd\"", "outputs/d/passwd", "" },
        { "ln -s /etc d; ", "\"d\"", "outputs/d/passwd", "" },
        { "mkdir d; ln -s /etc/passwd d/l", "\"d\"", "outputs/d/l", "" },
        { "mkfifo f", "\"f\"", "outputs/f", "" },
        { "ln -s ../../../../.. d", "\"d/*\"", "outputs/d/admin.token", "" },
        { "echo s > a; chmod 000 a", "\"a\"", "outputs/a", NULL },
    };
    struct bed bed;

    (void)state;
    bed_open(&bed);
    plant(&bed);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(rows); i++) {
        struct attempt_order order = bed_order(&bed, i % 2);
        char spec[1024];

        snprintf(spec, sizeof(spec), "{\"run\":\"%s\",\"outputs\":[%s]}", rows[i / 2].run,
                 rows[i / 2].outputs);
        bed_run_order(&bed, &order, spec);
        assert_int_equal(bed.ended.end, END_EXITED);
        assert_int_equal(bed.ended.exit_code, 0);
        if (rows[i / 2].text && strcmp(bed_read(&bed, rows[i / 2].file), rows[i / 2].text) != 0)
            fail_msg("%s: %s is \"%s\": %s", rows[i / 2].run, rows[i / 2].file,
                     bed_read(&bed, rows[i / 2].file), bed.ended.reason);
    }
    bed_close(&bed);
}

/* What only root's supervisor would pay for, after the limits let the job pass. */
static void test_outputs_are_bounded(void **state)
{
    static const struct {
        const char *run, *outputs, *reason;
    } rows[] = {
        { "for i in 1 2 3 4 5; do truncate -s 1M s$i; ln s$i h$i; done", "s*", "quota" },
        { "p=d; for i in $(seq 60); do p=$p/d; done; mkdir -p $p; mkfifo $p/x",
          "**/**/**/**/**/**/x", "too long" },
    };
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct attempt_order order = bed_order(&bed, true);
        char spec[1024];

        order.disk_bytes = 2 << 20;
        snprintf(spec, sizeof(spec), "{\"run\":\"%s\",\"outputs\":[\"%s\"]}", rows[i].run,
                 rows[i].outputs);
        bed_run_order(&bed, &order, spec);
        assert_int_equal(bed.ended.end, END_EXITED);
        if (!strstr(bed.ended.reason, rows[i].reason))
            fail_msg("%s: \"%s\"", rows[i].run, bed.ended.reason);
    }
    bed_close(&bed);
}

/* Folders of the host: only where the tenant may, only as its user, never mains' own. */
static void test_host_folders(void **state)
{
    char folder[] = "/tmp/mains-host-XXXXXX";
    struct bed bed;
    struct attempt_order order;
    char spec[1024], path[256];

    (void)state;
    bed_open(&bed);
    plant(&bed);
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        bool denied = i == 1 && geteuid() == 0;

        assert_int_equal(chmod(folder, denied ? 0700 : 0777), 0);
        order = bed_order(&bed, true);
        order.host_paths = true;
        snprintf(spec, sizeof(spec),
                 "{\"run\":\"pwd; echo w > out%d\",\"workdir\":\"%s\",\"stdout\":\"%s/log-%%A\"}",
                 i, folder, folder);
        bed_run_order(&bed, &order, spec);
        assert_int_equal(bed.ended.end, denied ? END_START_FAILED : END_EXITED);
        snprintf(path, sizeof(path), "%s/out%d", folder, i);
        assert_int_equal(access(path, F_OK) == 0, !denied);
    }
    for (int i = 0; i < 2; i++) { /* as root's own job, and as another's */
        order = order_as(&bed, i == 0);
        order.host_paths = true;
        snprintf(spec, sizeof(spec), "{\"run\":\"cat admin.token\",\"workdir\":\"%s\"}",
                 bed.state_dir);
        bed_run_order(&bed, &order, spec);
        assert_int_equal(bed.ended.end, END_START_FAILED);
        order = order_as(&bed, i == 0);
        order.host_paths = true;
        snprintf(spec, sizeof(spec),
                 "{\"run\":\"cat t\",\"inputs\":[{\"from\":\"%s/admin.token\",\"to\":\"t\"}]}",
                 bed.state_dir);
        bed_run_order(&bed, &order, spec);
        assert_int_equal(bed.ended.end, END_START_FAILED);
        order = order_as(&bed, i == 0);
        order.host_paths = true;
        snprintf(spec, sizeof(spec),
                 "{\"run\":\"cat %s/admin.token || echo ok\",\"workdir\":\"/tmp\"}", bed.state_dir);
        bed_run_order(&bed, &order, spec);
        assert_string_equal(bed_read(&bed, "stdout"), "ok\n");
    }
    bed_close(&bed);
    dir_remove(folder, NULL);
}

static void test_other_attempts_are_out_of_reach(void **state)
{
    struct bed bed;
    struct attempt_order order;
    char spec[1024];

    (void)state;
    bed_open(&bed);
    plant(&bed);
    order = bed_order(&bed, true);
    bed_start(&bed, &order,
              "{\"run\":\"echo " SECRET " > s; chmod 777 . s; cp s /tmp/s; cp s /dev/shm/s; "
              "sleep 1\"}");
    assert_true(bed_wait(&bed, 0, 1));
    order = bed_order(&bed, true);
    snprintf(spec, sizeof(spec),
             "{\"run\":\"cat %s/attempts/*/*/s /tmp/s /dev/shm/s /proc/*/cwd/s || echo ok\"}",
             bed.agent_dir);
    bed_run_order(&bed, &order, spec);
    assert_string_equal(bed_read(&bed, "stdout"), "ok\n");
    assert_true(bed_wait(&bed, 2, 0));
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_holds),
        cmocka_unit_test(test_sandbox_holds_roots_own_jobs),
        cmocka_unit_test(test_unsandboxed_has_no_rights),
        cmocka_unit_test(test_outputs_are_bounded),
        cmocka_unit_test(test_sandbox_off_needs_leave),
        cmocka_unit_test(test_outputs_do_not_leak),
        cmocka_unit_test(test_host_folders),
        cmocka_unit_test(test_other_attempts_are_out_of_reach),
    };

    setenv("MAINS_TEST_SECRET", SECRET, 1);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
