#include "agent/supervisor.h"

#include "agent/checkpoint.h"
#include "agent/disk.h"
#include "agent/gang.h"
#include "agent/leftover.h"
#include "agent/stage.h"
#include "agent/supervisor_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_PAUSE_MS_MIN 250
#define DISK_PAUSE_MS_MAX 2000
#define SPACE_PAUSE_MS 5000
#define SPACE_FLOOR_PART 50 /* one part in so many of a file system stays free, at most: */
#define SPACE_FLOOR_BYTES_MAX (2LL << 30)
#define SPACE_BLAME_BYTES (256LL << 20) /* who wrote less is not to blame */
#define PROGRESS_MS 30000
#define LEAVE_CPU_MS 100 /* a job that is over by then was no danger to its supervisor */
#define SAVE_LOOK_MS 500
#define SEEN_PAUSE_MS_MIN 1000 /* between two looks for a new checkpoint */
#define SEEN_PAUSE_MS_MAX 30000
#define SEEN_RESTLESS_MS 3000
#define SEEN_COST_PARTS 50 /* a look may take one part in so many of the time */
#define LEASE_EPOCHS 8u    /* of the same job that are looked for */
#define LEASE_OTHERS_MS_MAX 60000
#define LEASE_LOOK_MS 20
#define LEASE_KILL_PART 3 /* of the time for stopping, after SIGKILL */
#define NOTIFY_TRIES_MAX 50
#define RECORD_RETRY_MS 1000
#define WORK_TOP "/var/lib/mains"

/* ---- telling ---- */

static bool notify(const struct supervisor_place *place, const struct buf *line)
{
    struct pollfd poll_fd = { .fd = place->notify_fd, .events = POLLOUT };

    for (int i = 0; i < NOTIFY_TRIES_MAX; i++) {
        ssize_t put = write(place->notify_fd, line->data, line->len);

        if (put >= 0 || (errno != EAGAIN && errno != EINTR))
            return put >= 0; /* or no agent runs: the next one reads the folders */
        poll(&poll_fd, 1, 100);
    }
    return false;
}

static bool notify_note(const struct supervisor_place *place, enum attempt_note_type type,
                        const struct attempt_record *record)
{
    struct attempt_note note = { .type = type, .record = *record };
    CLEANUP(buf_fini) struct buf line = buf_init(ATTEMPT_NOTE_BYTES_MAX);

    note.pid = type == NOTE_STARTED ? getpid() : 0;
    return attempt_note_print(&note, &line) == 0 && notify(place, &line);
}

int supervisor_write_record(const struct supervisor_place *place, int folder_fd,
                            const struct attempt_record *record)
{
    int fd = openat(folder_fd, "run", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    char name[ATTEMPT_NAME_BYTES];
    int rc;

    if (fd < 0)
        return -errno;
    rc = attempt_record_write(fd, record);
    close(fd);
    attempt_name(record->key, name);
    if (rc == 0 && renameat(folder_fd, "run", place->ended_fd, name) < 0)
        rc = -errno;
    return rc;
}

static int write_run(const struct supervisor *sup)
{
    int fd = openat(sup->attempt_fd, "run", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    char text[ATTEMPT_RUN_BYTES];
    int rc;

    if (fd < 0)
        return -errno;
    snprintf(text, sizeof(text), "%d %" PRId64 " %s\n", (int)getpid(), sup->record.started_ms,
             sup->cgroup ? sup->cgroup->name : "");
    rc = attempt_run_write(fd, text);
    close(fd);
    return rc;
}

/* ---- deciding how it ends ---- */

static void decide(struct supervisor *sup, uint32_t end, int32_t exit_code, const char *reason)
{
    if (sup->decided)
        return;
    sup->decided = true;
    sup->record.end = end;
    sup->record.exit_code = exit_code;
    snprintf(sup->record.reason, sizeof(sup->record.reason), "%.159s", reason);
}

/* ---- standing still ---- */

/* Whatever was to come at a time of its own comes so much later. */
static void thaw(struct supervisor *sup)
{
    int64_t *const times[] = { &sup->limit_at, &sup->warn_at, &sup->checkpoint_at };
    char mark[FREEZE_MARK_BYTES];
    int64_t stood_ms;

    if (!sup->frozen_at)
        return;
    leftover_mark(sup->place, sup->order->key, mark, sizeof(mark));
    freeze_thaw(mark, sup->cgroup, sup->frozen);
    stood_ms = clock_mono_ms() - sup->frozen_at;
    for (size_t i = 0; i < ARRAY_COUNT(times); i++)
        if (*times[i])
            *times[i] += stood_ms;
    sup->stood_ms += stood_ms;
    sup->frozen_at = 0;
    sup->asked_ms = 0; /* how long that save took is not known any more */
}

/* Said each time it is asked for: the word of it may be lost. */
static void look_for_suspend(struct supervisor *sup)
{
    struct attempt_record record = sup->record;
    char mark[FREEZE_MARK_BYTES];
    struct err err = { 0 };

    if (faccessat(sup->attempt_fd, "suspend", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        thaw(sup);
        return;
    }
    if (sup->decided || !sup->crew_on)
        return; /* it ends */
    leftover_mark(sup->place, sup->order->key, mark, sizeof(mark));
    sup->was_frozen = true; /* or was tried to be */
    if (!sup->frozen_at && freeze_all(mark, sup->cgroup, &sup->frozen, &err) == 0)
        sup->frozen_at = clock_mono_ms();
    snprintf(record.reason, sizeof(record.reason), "%.150s", err.text);
    notify_note(sup->place, NOTE_SUSPENDED, &record);
}

static void terminate(struct supervisor *sup, int64_t grace_ms)
{
    int64_t at = clock_mono_ms() + MAX(grace_ms, 0);

    thaw(sup);
    if (sup->kill_by)
        at = MIN(at, sup->kill_by);
    if (sup->kill_at == 0 && sup->crew.plan) /* else nothing was started yet */
        crew_signal(&sup->crew, SIGTERM, true);
    if (sup->kill_at == 0 || at < sup->kill_at)
        sup->kill_at = at;
}

static bool memory_ran_out(const struct supervisor *sup)
{
    struct cgroup_usage usage;

    if (!sup->cgroup)
        return false;
    cgroup_measure(sup->cgroup, &usage);
    return usage.oom_kills > 0;
}

static void decide_memory(struct supervisor *sup)
{
    char text[ATTEMPT_REASON_BYTES];

    snprintf(text, sizeof(text), "killed by its memory limit of %" PRId64 " MiB",
             sup->order->memory_bytes >> 20);
    decide(sup, END_MEMORY, SIGKILL, text);
}

static void rank_ended(struct supervisor *sup, int32_t rank, int status)
{
    char text[ATTEMPT_REASON_BYTES] = "";

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (sup->decided)
        return;
    if (memory_ran_out(sup)) {
        decide_memory(sup);
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) {
        decide(sup, END_DISK, SIGXFSZ, "a file grew past the disk limit");
    } else {
        if (rank == CREW_SETUP_RANK && sup->spec->setup)
            snprintf(text, sizeof(text), "setup failed");
        else if (sup->plan.ranks_count > 1 || sup->nodes)
            snprintf(text, sizeof(text), "rank %d ended first", (int)sup->rank_first + rank);
        if (WIFEXITED(status))
            decide(sup, END_EXITED, WEXITSTATUS(status), text);
        else
            decide(sup, END_SIGNALLED, WTERMSIG(status), text);
    }
    terminate(sup, sup->spec->grace_ms);
}

static void tell_started(struct supervisor *sup)
{
    if (!sup->told_started)
        notify_note(sup->place, NOTE_STARTED, &sup->record);
    sup->told_started = true;
}

static void crew_told(void *context, const struct crew_event *event)
{
    struct supervisor *sup = context;

    switch (event->type) {
    case CREW_STARTED:
        tell_started(sup);
        if (sup->spec->checkpoint_signal && supervisor_save_every_ms(sup) > 0)
            sup->checkpoint_at = clock_mono_ms() + supervisor_save_every_ms(sup);
        break;
    case CREW_ENDED:
        rank_ended(sup, event->rank, event->status);
        break;
    case CREW_FAILED:
        decide(sup, END_START_FAILED, 0, event->text);
        terminate(sup, 0);
        break;
    }
}

/* A checkpoint first, for as long as its grace is. false: there is nobody to ask. */
static bool ask_to_save(struct supervisor *sup)
{
    const struct job_spec *spec = sup->spec;
    int64_t now = clock_mono_ms();

    if (sup->kill_at || !sup->crew.plan || !spec->checkpoint_signal || !spec->checkpoint_path ||
        sup->work_fd < 0)
        return false;
    if (sup->save_at)
        return true; /* asked already */
    thaw(sup);
    save_wait_begin(&sup->save, stage_newest_ms(sup->work_fd, spec->checkpoint_path),
                    now + spec->grace_ms);
    sup->save_at = now + SAVE_LOOK_MS;
    crew_signal(&sup->crew, spec->checkpoint_signal, false);
    return true;
}

static void look_for_save(struct supervisor *sup, int64_t now)
{
    if (save_wait_look(&sup->save, stage_newest_ms(sup->work_fd, sup->spec->checkpoint_path),
                       now)) {
        sup->save_at = 0;
        terminate(sup, sup->spec->grace_ms);
        return;
    }
    sup->save_at = now + SAVE_LOOK_MS;
}

static void look_for_stop(struct supervisor *sup)
{
    char reason[ATTEMPT_REASON_BYTES];
    int64_t grace_ms;

    if (!supervisor_read_stop(sup, &grace_ms, reason))
        return;
    decide(sup, END_STOPPED, 0, reason);
    if (grace_ms == WIRE_GRACE_SAVES && ask_to_save(sup))
        return;
    sup->save_at = 0;
    terminate(sup, grace_ms < 0 ? sup->spec->grace_ms : grace_ms);
}

/* ---- the lease ---- */

/* True: it is not to run (any more); it is being stopped, or was never begun. */
static bool look_at_lease(struct supervisor *sup)
{
    struct itimerspec when = { 0 };
    struct lease_state state = { 0 };
    int64_t now = clock_boot_ms(), at, left_ms;
    uint64_t fired;

    if (!sup->order->lease)
        return false;
    if (sup->lease_fd >= 0)
        (void)!read(sup->lease_fd, &fired, sizeof(fired));
    at = lease_stop_at(sup->place->agent_fd, sup->order->lease, &state);
    if (now < at) {
        if (sup->lease_fd < 0)
            sup->lease_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        when.it_value.tv_sec = at / 1000;
        when.it_value.tv_nsec = at % 1000 * 1000000;
        if (sup->lease_fd >= 0 &&
            timerfd_settime(sup->lease_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
            return false;
    }
    decide(sup, END_LEASE, 0, "the site was not answered by the network for longer than its lease");
    /* Most of the time that is left is for its grace, the rest for what is killed to go. */
    left_ms = at ? MAX(state.ends_ms - state.stop_ms / LEASE_KILL_PART - now, 0) : 0;
    sup->kill_by = clock_mono_ms() + left_ms;
    if (left_ms && ask_to_save(sup)) {
        sup->save.until_ms = MIN(sup->save.until_ms, clock_mono_ms() + left_ms / 2);
    } else {
        sup->save_at = 0;
        terminate(sup, sup->spec->grace_ms);
    }
    return true;
}

/* Does an earlier attempt of the job, whose lease ended, still have to go? */
static bool is_another_here(const struct supervisor *sup)
{
    struct attempt_key key = sup->order->key;
    bool held = false;

    for (uint32_t i = 0; i < LEASE_EPOCHS && key.epoch > 1 && !held; i++) {
        char path[ATTEMPT_NAME_BYTES + 16], name[ATTEMPT_NAME_BYTES];
        int fd;

        key.epoch--;
        attempt_name(key, name);
        snprintf(path, sizeof(path), "attempts/%s", name);
        fd = openat(sup->place->agent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
        if (fd >= 0)
            close(fd);
    }
    return held;
}

/* It dies by itself, soon: its supervisor saw the same lease end. */
static void wait_for_others(const struct supervisor *sup)
{
    int64_t until_ms = clock_mono_ms() + LEASE_OTHERS_MS_MAX;

    while (sup->order->lease && is_another_here(sup) && clock_mono_ms() < until_ms)
        poll(NULL, 0, LEASE_LOOK_MS);
}

/* ---- the loop ---- */

static void reap(struct supervisor *sup)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        crew_reaped(&sup->crew, pid, status, crew_told, sup);
}

static bool crew_is_over(const struct supervisor *sup)
{
    const struct crew *crew = &sup->crew;

    return crew->live == 0 && crew->setup_pid == 0 && crew->init_pid <= 0;
}

static void read_signals(struct supervisor *sup)
{
    struct signalfd_siginfo info;

    while (read(sup->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            reap(sup);
        } else if (info.ssi_signo == SIGUSR1) {
            look_for_stop(sup);
            look_for_suspend(sup);
        } else {
            /* The machine goes down: not the job's fault, it may run again elsewhere. */
            decide(sup, END_LOST, 0, "the machine is shutting down");
            terminate(sup, sup->spec->grace_ms);
        }
    }
}

static int64_t measure_disk(const struct supervisor *sup)
{
    int64_t named = disk_used_bytes(sup->work_fd);
    int64_t hidden = disk_hidden_bytes(sup->work_fd, getpid());

    return named > INT64_MAX - hidden ? INT64_MAX : named + hidden;
}

/* No limit was asked for, but nobody may fill the file system that the network lives on. */
static void guard_space(struct supervisor *sup, int64_t now)
{
    char text[ATTEMPT_REASON_BYTES];
    struct statvfs fs;
    int64_t free_bytes, floor, bytes;

    sup->space_at = now + SPACE_PAUSE_MS;
    if (fstatvfs(sup->work_fd, &fs) < 0)
        return;
    free_bytes = (int64_t)(fs.f_bavail * fs.f_frsize);
    floor = MIN((int64_t)(fs.f_blocks * fs.f_frsize) / SPACE_FLOOR_PART, SPACE_FLOOR_BYTES_MAX);
    if (free_bytes >= floor)
        return;
    bytes = measure_disk(sup);
    if (bytes < SPACE_BLAME_BYTES)
        return;
    snprintf(text, sizeof(text),
             "wrote %" PRId64 " MiB, and the file system has only %" PRId64
             " MiB left: ask for `disk`",
             bytes >> 20, free_bytes >> 20);
    decide(sup, END_DISK, 0, text);
    terminate(sup, 0);
}

static void sample_disk(struct supervisor *sup, int64_t now)
{
    int64_t bytes = measure_disk(sup);
    char text[ATTEMPT_REASON_BYTES];

    if (bytes > sup->order->disk_bytes) {
        snprintf(text, sizeof(text),
                 "wrote %" PRId64 " MiB, past its disk limit of %" PRId64 " MiB", bytes >> 20,
                 sup->order->disk_bytes >> 20);
        decide(sup, END_DISK, 0, text);
        terminate(sup, 0);
        sup->disk_at = 0;
        return;
    }
    sup->disk_pause_ms = bytes != sup->disk_seen_bytes
                             ? DISK_PAUSE_MS_MIN
                             : MIN(sup->disk_pause_ms * 2, DISK_PAUSE_MS_MAX);
    sup->disk_seen_bytes = bytes;
    sup->disk_at = now + sup->disk_pause_ms;
}

static int64_t rusage_us(const struct rusage *usage)
{
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000LL + usage->ru_utime.tv_usec +
           usage->ru_stime.tv_usec;
}

static void measure(struct supervisor *sup)
{
    struct attempt_record *record = &sup->record;
    int64_t wall_ms = MAX(clock_mono_ms() - sup->began_mono_ms, 0);
    struct cgroup_usage usage = { .cpu_us = -1, .memory_peak_bytes = -1 };
    struct rusage children, self;

    if (sup->cgroup)
        cgroup_measure(sup->cgroup, &usage);
    getrusage(RUSAGE_CHILDREN, &children);
    if (usage.cpu_us >= 0 && sup->cgroup->root->kind == CGROUP_V1) {
        getrusage(RUSAGE_SELF, &self); /* we are in there, too: not the job's expense */
        usage.cpu_us = MAX(usage.cpu_us - (rusage_us(&self) - sup->self_us_before), 0);
    }
    if (usage.cpu_us < 0)
        usage.cpu_us = rusage_us(&children);
    if (usage.memory_peak_bytes < 0)
        usage.memory_peak_bytes = children.ru_maxrss * 1024LL;
    record->usage.wall_ms = wall_ms;
    record->suspended_ms = sup->stood_ms + (sup->frozen_at ? clock_mono_ms() - sup->frozen_at : 0);
    record->usage.cpu_ms = (usage.cpu_us + 999) / 1000;
    record->usage.cpu_held_ms = wall_ms * sup->order->cpus;
    record->usage.device_milli_ms = 0;
    for (uint32_t i = 0; i < sup->order->devices_count; i++)
        record->usage.device_milli_ms += wall_ms * sup->order->devices[i].milli;
    record->usage.memory_peak_bytes = usage.memory_peak_bytes;
    if (sup->spec && sup->spec->checkpoint_path && sup->work_fd >= 0)
        record->checkpoint_ms = stage_newest_ms(sup->work_fd, sup->spec->checkpoint_path);
}

/* The ranks were born in our group. With thousands of them the share of its quota that is ours
 * would not be enough to kill them: so we leave it. */
static void leave_cpu(struct supervisor *sup, int64_t now)
{
    if (!sup->crew.ranks_started) {
        sup->leave_at = now + LEAVE_CPU_MS;
        return;
    }
    sup->leave_at = 0;
    sup->has_left = true;
    cgroup_leave_cpu(sup->cgroup);
}

int64_t supervisor_save_every_ms(const struct supervisor *sup)
{
    return sup->order->checkpoint_every_ms ? sup->order->checkpoint_every_ms
                                           : sup->spec->checkpoint_every_ms;
}

/* A checkpoint is told of as soon as it has not changed for one look. Of one that is another at
 * each look for a while, too: the agent finds a moment to take it (rhythm.h). */
static bool is_to_be_told(struct supervisor *sup, int64_t newest_ms, int64_t now)
{
    if (newest_ms <= sup->seen_told_ms) {
        sup->seen_restless_at = 0;
        return false;
    }
    if (!sup->seen_restless_at)
        sup->seen_restless_at = now;
    if (newest_ms != sup->seen_ms && now - sup->seen_restless_at < SEEN_RESTLESS_MS)
        return false;
    sup->seen_restless_at = 0;
    return true;
}

static void look_for_checkpoint(struct supervisor *sup, int64_t now)
{
    int64_t newest_ms = stage_newest_ms(sup->work_fd, sup->spec->checkpoint_path);
    int64_t took_ms = clock_mono_ms() - now;

    sup->seen_at = now + MIN(MAX(took_ms * SEEN_COST_PARTS, SEEN_PAUSE_MS_MIN), SEEN_PAUSE_MS_MAX);
    if (is_to_be_told(sup, newest_ms, now)) {
        sup->seen_told_ms = newest_ms;
        measure(sup);
        if (sup->asked_ms && newest_ms >= sup->asked_ms) {
            sup->record.stall_ms = MAX(newest_ms - sup->asked_ms, 1);
            sup->asked_ms = 0;
        }
        notify_note(sup->place, NOTE_PROGRESS, &sup->record);
        sup->record.stall_ms = 0;
    }
    sup->seen_ms = newest_ms;
}

/* Those that count the time it runs: they rest while it stands still. */
static void fire_own_timers(struct supervisor *sup, int64_t now)
{
    if (sup->limit_at && now >= sup->limit_at) {
        sup->limit_at = 0;
        decide(sup, END_TIME_LIMIT, 0, "reached its duration limit");
        terminate(sup, sup->spec->grace_ms);
    }
    if (sup->warn_at && now >= sup->warn_at) {
        sup->warn_at = 0;
        crew_signal(&sup->crew, sup->spec->warn_signal, false);
    }
    if (sup->checkpoint_at && now >= sup->checkpoint_at) {
        sup->checkpoint_at = now + supervisor_save_every_ms(sup);
        sup->asked_ms = clock_wall_ms();
        crew_signal(&sup->crew, sup->spec->checkpoint_signal, false);
    }
}

static void fire_timers(struct supervisor *sup, int64_t now)
{
    if (sup->leave_at && now >= sup->leave_at)
        leave_cpu(sup, now);
    if (!sup->frozen_at)
        fire_own_timers(sup, now);
    if (sup->save_at && now >= sup->save_at)
        look_for_save(sup, now);
    if (sup->seen_at && now >= sup->seen_at)
        look_for_checkpoint(sup, now);
    if (sup->disk_at && now >= sup->disk_at)
        sample_disk(sup, now);
    if (sup->space_at && now >= sup->space_at)
        guard_space(sup, now);
    if (sup->progress_at && now >= sup->progress_at) {
        sup->progress_at = now + PROGRESS_MS;
        measure(sup);
        notify_note(sup->place, NOTE_PROGRESS, &sup->record);
    }
    if (sup->kill_at && now >= sup->kill_at)
        sup->done = true;
}

static int poll_timeout(const struct supervisor *sup, int64_t now)
{
    /* The last three rest while it stands still. */
    const int64_t times[] = { sup->kill_at,     sup->disk_at, sup->space_at,
                              sup->progress_at, sup->save_at, sup->seen_at,
                              sup->limit_at,    sup->warn_at, sup->checkpoint_at };
    size_t count = ARRAY_COUNT(times) - (sup->frozen_at ? 3 : 0);
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < count; i++)
        if (times[i])
            least = MIN(least, times[i]);
    return (int)MIN(MAX(least - now, 0), 3600000);
}

static void supervise(struct supervisor *sup)
{
    while (!sup->done && !crew_is_over(sup)) {
        struct pollfd polls[6] = { { .fd = sup->signal_fd, .events = POLLIN },
                                   { .fd = sup->logs.streams[0].pipe_fd, .events = POLLIN },
                                   { .fd = sup->logs.streams[1].pipe_fd, .events = POLLIN },
                                   { .fd = sup->crew.init_fd, .events = POLLIN },
                                   { .fd = sup->oom_fd, .events = POLLIN },
                                   { .fd = sup->lease_fd, .events = POLLIN } };

        if (poll(polls, ARRAY_COUNT(polls), poll_timeout(sup, clock_mono_ms())) > 0) {
            for (int i = 0; i < 2; i++)
                if (polls[1 + i].revents)
                    logs_pump(&sup->logs, i);
            if (polls[3].revents)
                crew_read(&sup->crew, crew_told, sup);
            if (polls[4].revents && memory_ran_out(sup)) {
                decide_memory(sup);
                sup->done = true;
            }
            if (polls[0].revents)
                read_signals(sup);
            if (polls[5].revents)
                look_at_lease(sup);
        }
        fire_timers(sup, clock_mono_ms());
    }
}

/* ---- begin and end ---- */

static void open_signals(struct supervisor *sup)
{
    sigset_t set;

    signal(SIGINT, SIG_DFL); /* ignored until now; from here on they are read */
    signal(SIGHUP, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2); /* meant for one that waits: see spawner.c */
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigdelset(&set, SIGUSR2);
    sup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void arm_timers(struct supervisor *sup)
{
    const struct job_spec *spec = sup->spec;
    int64_t now = sup->began_mono_ms;
    int64_t limit_ms = sup->order->duration_ms_max;

    if (limit_ms > 0)
        sup->limit_at = now + limit_ms;
    if (limit_ms > 0 && spec->warn_signal)
        sup->warn_at = now + MAX(limit_ms - spec->warn_before_ms, 1);
    if (sup->order->disk_bytes > 0 && sup->work_private) {
        sup->disk_pause_ms = DISK_PAUSE_MS_MIN;
        sup->disk_at = now + DISK_PAUSE_MS_MIN;
    } else if (sup->work_private) {
        sup->space_at = now + SPACE_PAUSE_MS;
    }
    sup->progress_at = now + PROGRESS_MS;
    if (spec->checkpoint_path) {
        sup->seen_at = now + SEEN_PAUSE_MS_MIN;
        sup->seen_ms = sup->seen_told_ms = stage_newest_ms(sup->work_fd, spec->checkpoint_path);
    }
    if (sup->cgroup && sup->cgroup->root->kind == CGROUP_V1)
        sup->leave_at = now + LEAVE_CPU_MS;
}

static int begin(struct supervisor *sup, struct err *err)
{
    int rc;

    wait_for_others(sup);
    rc = supervisor_prepare(sup, err);
    if (rc < 0)
        return rc;
    sup->record.started_ms = clock_wall_ms();
    sup->began_mono_ms = clock_mono_ms();
    rc = write_run(sup);
    if (rc < 0)
        return err_set(err, rc, "the attempt's folder cannot be written: %s", strerror(-rc));
    look_for_stop(sup); /* said before we could be signalled */
    if (sup->decided || look_at_lease(sup))
        return 0;
    arm_timers(sup);
    rc = crew_start(&sup->plan, &sup->crew, crew_told, sup, err);
    sup->crew_on = rc == 0;
    if (rc == 0 && sup->spec->setup)
        tell_started(sup);
    if (rc == 0)
        look_for_suspend(sup); /* as above */
    return rc;
}

static void collect(struct supervisor *sup)
{
    struct err err = { 0 };

    if (!sup->spec || sup->spec->outputs_count == 0 || !sup->told_started)
        return;
    if (sup->order->node_rank)
        return; /* those of an attempt over several machines are its first one's */
    if (sup->record.end == END_LEASE)
        return; /* by now it may run elsewhere: what is written is the later attempt's to write */
    if (stage_collect(sup, &err) < 0 && sup->record.end == END_EXITED &&
        sup->record.exit_code == 0 && sup->record.reason[0] == '\0')
        snprintf(sup->record.reason, sizeof(sup->record.reason), "%.150s", err.text);
}

/* True: the agent knows, and no process is left. */
static bool finish(struct supervisor *sup)
{
    bool clean, cleared, told;
    char mark[FREEZE_MARK_BYTES];

    thaw(sup); /* else it could not be killed */
    clean = !sup->crew_on || crew_kill(&sup->crew);
    if (sup->was_frozen) {
        leftover_mark(sup->place, sup->order->key, mark, sizeof(mark));
        freeze_remove(mark);
    }
    for (int i = 0; i < 2; i++)
        logs_pump(&sup->logs, i);
    if (!sup->decided)
        decide(sup, END_EXITED, 0, "");
    sup->record.ended_ms = MAX(clock_wall_ms(), sup->record.started_ms);
    if (sup->record.started_ms)
        measure(sup);
    collect(sup);
    if (sup->spec && sup->spec->checkpoint_path)
        checkpoint_keep(sup);
    if (sup->record.end == END_START_FAILED)
        sup->record.started_ms = 0;
    /* A full disk must not lose the exit: while it cannot be written, it is kept here. */
    while (supervisor_write_record(sup->place, sup->attempt_fd, &sup->record) < 0)
        poll(NULL, 0, RECORD_RETRY_MS);
    /* With nothing to clear the folder is let go before the agent hears of the end, so that it can
     * serve the next attempt at once. */
    cleared = !sup->work_private || (sup->work_kept && disk_is_empty(sup->work_fd));
    if (cleared)
        close(sup->attempt_fd);
    told = notify_note(sup->place, NOTE_ENDED, &sup->record);
    if (!cleared)
        disk_clear_work(sup->work_path, sup->work_kept);
    return clean && told;
}

static int run(struct supervisor *sup, const char *spec_json, const char *trouble, struct err *err)
{
    int rc;

    if (sup->signal_fd < 0)
        return err_set(err, -errno, "signalfd: %s", strerror(errno));
    rc = spec_parse_json_text(spec_json, sup->order->spec_len, &sup->spec, err);
    if (rc == 0 && sup->order->nodes_count > 1)
        rc = gang_parse(spec_json + sup->order->spec_len, sup->order->gang_len,
                        sup->order->nodes_count, &sup->arena, &sup->nodes, err);
    if (rc == 0 && trouble)
        rc = err_set(err, -EIO, "%s", trouble);
    return rc == 0 ? begin(sup, err) : rc;
}

bool supervisor_run(const struct supervisor_place *place, const struct attempt_order *order,
                    const char *spec_json, int attempt_fd, struct cgroup *cgroup,
                    const char *trouble)
{
    struct supervisor sup = { .place = place,
                              .order = order,
                              .attempt_fd = attempt_fd,
                              .work_fd = -1,
                              .oom_fd = -1,
                              .lease_fd = -1,
                              .cgroup = cgroup,
                              .record = { .key = order->key } };
    struct rusage self;
    struct err err = { 0 };
    bool clean;

    umask(022);
    prctl(PR_SET_NAME, "mains-attempt");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    crew_set_oom(CREW_OOM_SUPERVISOR);
    getrusage(RUSAGE_SELF, &self);
    sup.self_us_before = rusage_us(&self);
    attempt_name(order->key, sup.name);
    sup.arena = arena_init(SUPERVISOR_ARENA_BYTES_MAX);
    open_signals(&sup);
    sup.record.devices_count = order->devices_count;
    for (uint32_t i = 0; i < order->devices_count; i++) {
        sup.record.devices[i].index = order->devices[i].index;
        sup.record.devices[i].milli = order->devices[i].milli;
    }
    sup.logs.streams[0].pipe_fd = sup.logs.streams[1].pipe_fd = -1;
    if (run(&sup, spec_json, trouble, &err) < 0)
        decide(&sup, END_START_FAILED, 0, err.text);
    else if (sup.crew_on)
        supervise(&sup);
    clean = finish(&sup);
    if (sup.crew.plan) /* else it was never begun */
        crew_fini(&sup.crew);
    spec_destroy(sup.spec);
    arena_fini(&sup.arena);
    return clean && !sup.has_left;
}

int supervisor_place_prepare(struct supervisor_place *place, struct err *err)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    int rc;

    for (const char *p = place->agent_dir; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    snprintf(place->tag, sizeof(place->tag), "mains-%016" PRIx64, hash);
    cgroup_root_open(place->tag, &place->cgroups);
    if (geteuid() != 0)
        return 0;
    /* Below a folder of root's, so that no one can take a name first. */
    snprintf(place->work_base, sizeof(place->work_base), WORK_TOP "/%s", place->tag);
    rc = dir_make(place->work_base, 0711, err);
    if (rc < 0)
        return rc;
    /* Whatever our umask: jobs of other users go through both to reach their own. */
    if (chmod(WORK_TOP, 0711) < 0 || chmod(place->work_base, 0711) < 0)
        return err_set(err, -errno, "%s: %s", place->work_base, strerror(errno));
    return 0;
}
