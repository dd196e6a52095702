/* bed.h - a folder of state, an executor on it, and jobs run to their end: for the tests of what
 * runs jobs. Works as root and as anybody else. */
#pragma once

#include "agent/cgroup.h"
#include "agent/executor.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define BED_WAIT_MS 30000
#define BED_JOB_UID 61999u

struct bed {
    char state_dir[128], agent_dir[160];
    struct executor *executor;
    uint64_t last_job;
    struct attempt_record ended; /* the newest that ended */
    uint32_t ended_count, started_count;
};

static inline void bed_told(void *context, enum attempt_note_type type,
                            const struct attempt_record *record)
{
    struct bed *bed = context;

    if (type == NOTE_STARTED)
        bed->started_count++;
    if (type != NOTE_ENDED)
        return;
    bed->ended = *record;
    bed->ended_count++;
}

static inline void bed_open_executor(struct bed *bed)
{
    struct executor_config config = {
        .state_dir = bed->state_dir, .agent_dir = bed->agent_dir, .told = bed_told, .context = bed
    };
    struct err err = { 0 };

    if (executor_local_ops.open(&config, &bed->executor, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void bed_open(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    snprintf(bed->state_dir, sizeof(bed->state_dir), "/tmp/mains-bed-XXXXXX");
    assert_non_null(mkdtemp(bed->state_dir));
    snprintf(bed->agent_dir, sizeof(bed->agent_dir), "%s/agent", bed->state_dir);
    bed_open_executor(bed);
}

static inline void bed_close(struct bed *bed)
{
    bed->executor->ops->close(bed->executor);
    dir_remove(bed->state_dir, NULL);
}

/* An order with nothing special in it; change it before bed_start. */
static inline struct attempt_order bed_order(struct bed *bed, bool sandboxed)
{
    struct attempt_order order;

    memset(&order, 0, sizeof(order));
    order.key.job_id = ++bed->last_job;
    order.key.epoch = 1;
    order.attempt_number = 1;
    order.drop = geteuid() == 0;
    order.uid = order.drop ? BED_JOB_UID : geteuid();
    order.gid = order.drop ? BED_JOB_UID : getegid();
    order.sandbox_off_allowed = order.sandbox_off_forced = !sandboxed;
    snprintf(order.tenant, sizeof(order.tenant), "local");
    snprintf(order.user, sizeof(order.user), "someone");
    snprintf(order.name, sizeof(order.name), "job");
    snprintf(order.node, sizeof(order.node), "here");
    snprintf(order.site, sizeof(order.site), "here");
    order.node_cpus = 2;
    order.tasks = order.cpus = 1;
    order.memory_bytes = 256 << 20;
    return order;
}

static inline void bed_start(struct bed *bed, struct attempt_order *order, const char *spec_json)
{
    struct err err = { 0 };

    order->spec_len = (uint32_t)strlen(spec_json);
    if (bed->executor->ops->start(bed->executor, order, spec_json, &err) < 0)
        fail_msg("start: %s", err.text);
}

/* Pump until `count` attempts have ended, or `started` have begun. */
static inline bool bed_wait(struct bed *bed, uint32_t ended, uint32_t started)
{
    for (int waited = 0; waited < BED_WAIT_MS; waited += 10) {
        struct pollfd fd = { .fd = bed->executor->ops->fd(bed->executor), .events = POLLIN };
        struct err err;

        bed->executor->ops->pump(bed->executor, &err);
        if (bed->ended_count >= ended && bed->started_count >= started)
            return true;
        poll(&fd, 1, 10);
    }
    return false;
}

/* Run a shell text to its end. */
static inline void bed_run_order(struct bed *bed, struct attempt_order *order,
                                 const char *spec_json)
{
    uint32_t before = bed->ended_count;

    bed_start(bed, order, spec_json);
    if (!bed_wait(bed, before + 1, 0))
        fail_msg("no end of: %s", spec_json);
}

static inline void bed_run(struct bed *bed, bool sandboxed, const char *text)
{
    struct attempt_order order = bed_order(bed, sandboxed);
    char spec[4096];

    snprintf(spec, sizeof(spec), "{\"run\":\"%s\"}", text);
    bed_run_order(bed, &order, spec);
}

/* A file of the newest attempt ("stdout", "outputs/x"); "" when it is not there. Static memory. */
static inline const char *bed_read(struct bed *bed, const char *file)
{
    static char text[65536];
    char path[512], name[ATTEMPT_NAME_BYTES];
    FILE *stream;
    size_t got;

    attempt_name(bed->ended.key, name);
    snprintf(path, sizeof(path), "%s/attempts/%s/%s", bed->agent_dir, name, file);
    stream = fopen(path, "r");
    if (!stream)
        return "";
    got = fread(text, 1, sizeof(text) - 1, stream);
    fclose(stream);
    text[got] = '\0';
    return text;
}

static inline bool bed_has_record(struct bed *bed, struct attempt_key key)
{
    char path[512], name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    snprintf(path, sizeof(path), "%s/ended/%s", bed->agent_dir, name);
    return access(path, F_OK) == 0;
}

/* May an agent of ours limit memory and processes here? */
static inline bool bed_has_memory_limit(void)
{
    struct cgroup_root root;
    bool has;

    cgroup_root_open("mains-probe", &root);
    has = root.kind != CGROUP_NONE && root.fds[CG_MEMORY] >= 0 && root.fds[CG_PIDS] >= 0;
    cgroup_root_close(&root);
    return has;
}

/* Processes whose command line has `word` as one argument, each sent a signal (0 = none). */
static inline int bed_kill_processes(const char *word, int signal_number)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int count = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        char path[300], text[4096];
        ssize_t len;
        int fd;

        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        fd = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
        if (fd < 0)
            continue;
        len = read(fd, text, sizeof(text) - 1);
        close(fd);
        text[MAX(len, 0)] = '\0';
        for (char *p = text; p < text + MAX(len, 0); p += strlen(p) + 1)
            if (strcmp(p, word) == 0) {
                count++;
                kill((pid_t)strtol(entry->d_name, NULL, 10), signal_number);
                break;
            }
    }
    if (dir)
        closedir(dir);
    return count;
}

static inline int bed_count_processes(const char *word)
{
    return bed_kill_processes(word, 0);
}
