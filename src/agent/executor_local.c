#include "agent/executor.h"

#include "agent/leftover.h"
#include "agent/spawner.h"
#include "agent/supervisor.h"
#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>

#define NOTIFY_BYTES (1 << 20)
#define EVENTS_MAX 64
#define BEGUN_PATIENCE_MS 2000
#define SPARE_MAX 64u

struct local_attempt {
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    enum attempt_state state;
    pid_t pid;
    int pid_fd; /* -1 until the supervisor is known */
    int64_t begun_mono_ms;
    struct attempt_record record;
    UT_hash_handle hh;
};

struct local {
    struct executor base;
    struct executor_config config;
    int agent_fd, attempts_fd, ended_fd;
    int notify_fd, epoll_fd;
    struct spawner spawner;
    struct supervisor_place place;
    struct local_attempt *attempts;
    uint32_t begun_count;
    bool spawner_gone;
    int spare_fd; /* holds `spare_count` empty attempt folders, named 0, 1, ... */
    uint32_t spare_count;
    char *tail; /* an unfinished line of the FIFO */
    size_t tail_len;
};

static struct local *local_of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct local, base);
}

static struct local_attempt *find_attempt(const struct local *local, struct attempt_key key)
{
    struct attempt_key clean;
    struct local_attempt *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, local->attempts, &clean, sizeof(clean), found);
    return found;
}

static struct local_attempt *add_attempt(struct local *local, struct attempt_key key)
{
    struct local_attempt *attempt = calloc(1, sizeof(*attempt));

    if (!attempt)
        return NULL;
    attempt->key.job_id = key.job_id;
    attempt->key.epoch = key.epoch;
    attempt->record.key = attempt->key;
    attempt->pid_fd = -1;
    attempt->begun_mono_ms = clock_mono_ms();
    local->begun_count++;
    HASH_ADD(hh, local->attempts, key, sizeof(attempt->key), attempt);
    return attempt;
}

static void set_state(struct local *local, struct local_attempt *attempt, enum attempt_state state)
{
    if (attempt->state == ATTEMPT_BEGUN && state != ATTEMPT_BEGUN)
        local->begun_count--;
    attempt->state = state;
    if (state == ATTEMPT_ENDED && attempt->pid_fd >= 0) {
        close(attempt->pid_fd); /* leaves the epoll set with it */
        attempt->pid_fd = -1;
    }
}

static void drop_attempt(struct local *local, struct local_attempt *attempt)
{
    set_state(local, attempt, ATTEMPT_ENDED);
    HASH_DEL(local->attempts, attempt);
    free(attempt);
}

static int read_record(int folder_fd, const char *file, struct attempt_key key,
                       struct attempt_record *record_out)
{
    int fd = openat(folder_fd, file, O_RDONLY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return -errno;
    rc = attempt_record_read(fd, key, record_out);
    close(fd);
    return rc;
}

/* ---- what supervisors say, and when they fall silent ---- */

static void watch_supervisor(struct local *local, struct local_attempt *attempt, pid_t pid)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = attempt };

    if (attempt->pid_fd >= 0)
        return;
    attempt->pid = pid;
    attempt->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* It may have ended already: then its record is there, or the tick finds it lost. */
    if (attempt->pid_fd >= 0 &&
        epoll_ctl(local->epoll_fd, EPOLL_CTL_ADD, attempt->pid_fd, &event) < 0) {
        close(attempt->pid_fd);
        attempt->pid_fd = -1;
    }
}

static void take_ended(struct local *local, struct local_attempt *attempt,
                       const struct attempt_record *record)
{
    if (attempt->state == ATTEMPT_ENDED)
        return;
    attempt->record = *record;
    set_state(local, attempt, ATTEMPT_ENDED);
    local->config.told(local->config.context, NOTE_ENDED, &attempt->record);
}

static void take_note(struct local *local, const struct attempt_note *note)
{
    struct local_attempt *attempt = find_attempt(local, note->record.key);

    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return;
    switch (note->type) {
    case NOTE_STARTED:
        attempt->record.started_ms = note->record.started_ms;
        watch_supervisor(local, attempt, note->pid);
        set_state(local, attempt, ATTEMPT_RUNNING);
        local->config.told(local->config.context, NOTE_STARTED, &attempt->record);
        break;
    case NOTE_PROGRESS:
        local->config.told(local->config.context, NOTE_PROGRESS, &note->record);
        break;
    case NOTE_SUSPENDED:
        local->config.told(local->config.context, NOTE_SUSPENDED, &note->record);
        break;
    case NOTE_ENDED:
        take_ended(local, attempt, &note->record);
        break;
    }
}

static void take_lines(struct local *local, char *text, size_t len)
{
    char *end;

    while ((end = memchr(text, '\n', len)) != NULL) {
        struct attempt_note note;

        if (attempt_note_parse(text, (size_t)(end - text), &note, NULL) == 0)
            take_note(local, &note);
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    if (len > ATTEMPT_NOTE_BYTES_MAX)
        len = 0; /* no supervisor writes such a line */
    memmove(local->tail, text, len);
    local->tail_len = len;
}

static void read_notify(struct local *local)
{
    for (;;) {
        ssize_t got =
            read(local->notify_fd, local->tail + local->tail_len, NOTIFY_BYTES - local->tail_len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        take_lines(local, local->tail, local->tail_len + (size_t)got);
    }
}

/* Nobody holds the attempt's lock any more. Its record, if it left one; else it is lost. */
static void take_death(struct local *local, struct local_attempt *attempt)
{
    char name[ATTEMPT_NAME_BYTES], run[ATTEMPT_NAME_BYTES + 8];
    struct attempt_record record;
    int folder, rc;

    attempt_name(attempt->key, name);
    snprintf(run, sizeof(run), "%s/run", name);
    /* It may have died between writing its record and putting it where records are. */
    if (read_record(local->ended_fd, name, attempt->key, &record) == 0 ||
        (read_record(local->attempts_fd, run, attempt->key, &record) == 0 &&
         renameat(local->attempts_fd, run, local->ended_fd, name) == 0)) {
        take_ended(local, attempt, &record);
        return;
    }
    leftover_remove(&local->place, attempt->key);
    record = attempt->record;
    record.end = END_LOST;
    record.ended_ms = clock_wall_ms();
    if (record.started_ms)
        record.usage.wall_ms = MAX(record.ended_ms - record.started_ms, 0);
    snprintf(record.reason, sizeof(record.reason), "its supervisor died: nobody knows its exit");
    folder = openat(local->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = supervisor_write_record(&local->place, folder, &record);
    if (folder >= 0)
        close(folder);
    if (rc == 0)
        take_ended(local, attempt, &record);
    /* else: as long as the disk is full it counts as running; the tick tries again */
}

/* Does a supervisor (or an order on its way) still hold the folder? */
static bool is_held(const struct local *local, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];
    bool held;
    int fd;

    attempt_name(key, name);
    fd = openat(local->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

/* What the supervisor wrote of itself when it started the ranks. */
static bool look_at_run(struct local *local, struct local_attempt *attempt)
{
    char path[ATTEMPT_NAME_BYTES + 8], name[ATTEMPT_NAME_BYTES], text[64];
    char *end = text;
    ssize_t got;
    long pid;
    int fd;

    attempt_name(attempt->key, name);
    snprintf(path, sizeof(path), "%s/run", name);
    fd = openat(local->attempts_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(got, 0)] = '\0';
    pid = strtol(text, &end, 10);
    if (pid <= 1)
        return false;
    attempt->record.started_ms = strtoll(end, NULL, 10);
    watch_supervisor(local, attempt, (pid_t)pid);
    set_state(local, attempt, ATTEMPT_RUNNING);
    return true;
}

static bool local_tick(struct executor *executor)
{
    struct local *local = local_of(executor);
    int64_t now = clock_mono_ms();
    struct local_attempt *attempt, *next;
    bool again = false;

    HASH_ITER (hh, local->attempts, attempt, next) {
        if (attempt->state == ATTEMPT_ENDED || attempt->pid_fd >= 0)
            continue;
        if (now - attempt->begun_mono_ms < BEGUN_PATIENCE_MS)
            again = true;
        else if (!is_held(local, attempt->key))
            take_death(local, attempt);
        else if (attempt->state == ATTEMPT_BEGUN && look_at_run(local, attempt))
            /* What it said of its start was lost, or it started only while we looked. */
            local->config.told(local->config.context, NOTE_STARTED, &attempt->record);
        again = again || attempt->state != ATTEMPT_ENDED;
    }
    return again;
}

static int local_pump(struct executor *executor, struct err *err)
{
    struct local *local = local_of(executor);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(local->epoll_fd, events, EVENTS_MAX, 0);

    read_notify(local); /* a record said is better than a death seen */
    for (int i = 0; i < count; i++) {
        struct local_attempt *attempt = events[i].data.ptr;

        if (events[i].data.ptr == &local->notify_fd)
            continue;
        if (events[i].data.ptr == &local->spawner) {
            local->spawner_gone = true;
            continue;
        }
        if (attempt->state != ATTEMPT_ENDED)
            take_death(local, attempt);
        if (attempt->pid_fd >= 0) {
            close(attempt->pid_fd);
            attempt->pid_fd = -1;
        }
    }
    return local->spawner_gone ? err_set(err, -EPIPE, "the spawner is gone") : 0;
}

/* ---- orders ---- */

/* Files that come and go cost a journalling file system more than a short job costs the CPU: a
 * folder that held nothing worth keeping serves again. */
static int make_folder(struct local *local, const char *name)
{
    char spare[16];

    if (local->spare_count > 0) {
        snprintf(spare, sizeof(spare), "%" PRIu32, local->spare_count - 1);
        if (renameat2(local->spare_fd, spare, local->attempts_fd, name, RENAME_NOREPLACE) == 0) {
            local->spare_count--;
            return 0;
        }
        if (errno == EEXIST)
            return -EEXIST;
    }
    return mkdirat(local->attempts_fd, name, 0700) < 0 ? -errno : 0;
}

static int local_start(struct executor *executor, const struct attempt_order *order,
                       const char *spec_json, struct err *err)
{
    struct local *local = local_of(executor);
    struct local_attempt *attempt;
    char name[ATTEMPT_NAME_BYTES];
    int fd, rc;

    if (find_attempt(local, order->key))
        return -EEXIST;
    attempt_name(order->key, name);
    rc = make_folder(local, name);
    if (rc < 0)
        return err_set(err, rc, "attempt %s: %s", name, strerror(-rc));
    fd = openat(local->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        unlinkat(local->attempts_fd, name, AT_REMOVEDIR);
        return err_set(err, rc, "attempt %s: %s", name, strerror(-rc));
    }
    attempt = add_attempt(local, order->key);
    if (!attempt) {
        close(fd);
        unlinkat(local->attempts_fd, name, AT_REMOVEDIR);
        return err_set(err, -ENOMEM, "attempt %s: out of memory", name);
    }
    attempt->record.devices_count = order->devices_count;
    for (uint32_t i = 0; i < order->devices_count; i++) {
        attempt->record.devices[i].index = order->devices[i].index;
        attempt->record.devices[i].milli = order->devices[i].milli;
    }
    rc = spawner_send(&local->spawner, order, spec_json, fd, err);
    close(fd);
    if (rc < 0)
        local->spawner_gone = true; /* the lock falls with our copy: the next agent sees it lost */
    return rc;
}

/* Have the supervisor look into the attempt's folder. Before it has written `run` it has yet to do
 * so by itself. */
static void wake(struct local *local, struct local_attempt *attempt)
{
    char path[ATTEMPT_NAME_BYTES + 8], name[ATTEMPT_NAME_BYTES], text[64];
    ssize_t got;
    int fd, pid;

    attempt_name(attempt->key, name);
    snprintf(path, sizeof(path), "%s/run", name);
    fd = openat(local->attempts_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(got, 0)] = '\0';
    pid = (int)strtol(text, NULL, 10);
    if (pid <= 1)
        return;
    watch_supervisor(local, attempt, pid);
    if (attempt->pid_fd >= 0 && is_held(local, attempt->key))
        syscall(SYS_pidfd_send_signal, attempt->pid_fd, SIGUSR1, NULL, 0);
}

static int local_suspend(struct executor *executor, struct attempt_key key, bool is_suspended,
                         struct err *err)
{
    struct local *local = local_of(executor);
    struct local_attempt *attempt = find_attempt(local, key);
    char path[ATTEMPT_NAME_BYTES + 8], name[ATTEMPT_NAME_BYTES];
    int rc, fd;

    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return -ENOENT;
    attempt_name(key, name);
    snprintf(path, sizeof(path), "%s/suspend", name);
    if (is_suspended) {
        fd = openat(local->attempts_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            rc = -errno;
            return err_set(err, rc, "suspend of %s: %s", name, strerror(-rc));
        }
        close(fd);
    } else if (unlinkat(local->attempts_fd, path, 0) < 0) {
        rc = -errno;
        return rc == -ENOENT ? 0 : err_set(err, rc, "resume of %s: %s", name, strerror(-rc));
    }
    wake(local, attempt);
    return 0;
}

static int local_stop(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                      const char *reason, struct err *err)
{
    struct local *local = local_of(executor);
    struct local_attempt *attempt = find_attempt(local, key);
    char text[ATTEMPT_REASON_BYTES + 32], path[ATTEMPT_NAME_BYTES + 8], name[ATTEMPT_NAME_BYTES];
    int len, fd;

    if (!attempt || attempt->state == ATTEMPT_ENDED)
        return -ENOENT;
    attempt_name(key, name);
    snprintf(path, sizeof(path), "%s/stop", name);
    len = snprintf(text, sizeof(text), "%" PRId64 " %.150s", grace_ms, reason);
    fd = openat(local->attempts_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)len) != len) {
        int rc = -errno;

        if (fd >= 0)
            close(fd);
        return err_set(err, rc, "stop of %s: %s", name, strerror(-rc));
    }
    close(fd);
    wake(local, attempt);
    return 0;
}

static void view_of(const struct local_attempt *attempt, struct attempt_view *view_out)
{
    view_out->key = attempt->key;
    view_out->state = attempt->state;
    view_out->record = &attempt->record;
}

static bool local_find(struct executor *executor, struct attempt_key key,
                       struct attempt_view *view_out)
{
    struct local_attempt *attempt = find_attempt(local_of(executor), key);

    if (attempt)
        view_of(attempt, view_out);
    return attempt != NULL;
}

static void local_each(struct executor *executor,
                       void (*visit)(void *, const struct attempt_view *), void *context)
{
    struct local_attempt *attempt, *next;
    struct attempt_view view;

    HASH_ITER (hh, local_of(executor)->attempts, attempt, next) {
        view_of(attempt, &view);
        visit(context, &view);
    }
}

static uint32_t local_count(const struct executor *executor)
{
    return HASH_COUNT(CONTAINER_OF(executor, struct local, base)->attempts);
}

static void local_acknowledge(struct executor *executor, struct attempt_key key)
{
    struct local *local = local_of(executor);
    struct local_attempt *attempt = find_attempt(local, key);
    char name[ATTEMPT_NAME_BYTES], to[ATTEMPT_NAME_BYTES + 16];

    if (!attempt || attempt->state != ATTEMPT_ENDED)
        return;
    attempt_name(key, name);
    snprintf(to, sizeof(to), "%s/ended", name);
    if (renameat(local->ended_fd, name, local->attempts_fd, to) < 0)
        unlinkat(local->ended_fd, name, 0);
    drop_attempt(local, attempt);
}

static bool local_recall(struct executor *executor, struct attempt_key key,
                         struct attempt_record *record_out)
{
    char name[ATTEMPT_NAME_BYTES], path[ATTEMPT_NAME_BYTES + 16];

    attempt_name(key, name);
    snprintf(path, sizeof(path), "%s/ended", name);
    return read_record(local_of(executor)->attempts_fd, path, key, record_out) == 0;
}

/* The record's file becomes the folder's next `run`, which tells of nobody. */
static void recycle_record(struct local *local, const char *name, bool held, int folder_fd)
{
    int fd;

    if (renameat(held ? local->ended_fd : folder_fd, held ? name : "ended", folder_fd, "run") < 0)
        return;
    fd = openat(folder_fd, "run", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || attempt_run_write(fd, "0 0 -\n") < 0)
        unlinkat(folder_fd, "run", 0);
    if (fd >= 0)
        close(fd);
}

static void local_forget(struct executor *executor, struct attempt_key key)
{
    static const char *const kept[] = { "stdout", "stderr", "outputs", "saved", "place" };
    struct local *local = local_of(executor);
    struct local_attempt *attempt = find_attempt(local, key);
    char name[ATTEMPT_NAME_BYTES], spare[16];
    bool bare = true;
    int fd;

    if (attempt && attempt->state != ATTEMPT_ENDED)
        return; /* it still runs: a forget that was meant for nobody */
    attempt_name(key, name);
    fd = openat(local->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < ARRAY_COUNT(kept) && bare; i++)
        bare = faccessat(fd, kept[i], F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    /* Its supervisor may not be gone yet: then retention takes the folder later. */
    if (fd < 0 || !bare || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        local_acknowledge(executor, key);
    } else {
        recycle_record(local, name, attempt != NULL, fd);
        if (attempt)
            drop_attempt(local, attempt);
        unlinkat(fd, "stop", 0);
        unlinkat(fd, "suspend", 0);
        snprintf(spare, sizeof(spare), "%" PRIu32, local->spare_count);
        if (local->spare_count < SPARE_MAX &&
            renameat2(local->attempts_fd, name, local->spare_fd, spare, RENAME_NOREPLACE) == 0) {
            local->spare_count++;
        } else {
            unlinkat(fd, "run", 0);
            unlinkat(fd, "work", AT_REMOVEDIR);
            unlinkat(local->attempts_fd, name, AT_REMOVEDIR);
        }
    }
    if (fd >= 0)
        close(fd);
}

/* ---- opening: what is there from before ---- */

static void adopt(struct local *local, struct attempt_key key, const char *name)
{
    char path[ATTEMPT_NAME_BYTES + 16];
    struct local_attempt *attempt;
    struct attempt_record record;

    snprintf(path, sizeof(path), "%s/ended", name);
    if (find_attempt(local, key) || faccessat(local->attempts_fd, path, F_OK, 0) == 0)
        return;
    attempt = add_attempt(local, key);
    if (!attempt)
        return;
    if (read_record(local->ended_fd, name, key, &record) == 0) {
        attempt->record = record;
        set_state(local, attempt, ATTEMPT_ENDED);
        return;
    }
    attempt->begun_mono_ms -= BEGUN_PATIENCE_MS; /* no order is on its way any more */
    look_at_run(local, attempt);
    /* The lock decides; a pid alone could be another's by now. */
    if (!is_held(local, key)) {
        if (attempt->pid_fd >= 0) {
            close(attempt->pid_fd);
            attempt->pid_fd = -1;
        }
        take_death(local, attempt);
    }
}

static int scan(struct local *local, struct err *err)
{
    const int folders[] = { local->ended_fd, local->attempts_fd };

    for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
        int fd = openat(folders[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!dir)
            return err_set(err, -errno, "%s: %s", local->config.agent_dir, strerror(errno));
        while ((entry = readdir(dir)) != NULL) {
            char name[ATTEMPT_NAME_BYTES];
            struct attempt_key key;

            if (!attempt_parse_name(entry->d_name, &key))
                continue;
            attempt_name(key, name);
            adopt(local, key, name);
        }
        closedir(dir);
    }
    return 0;
}

static int make_folders(struct local *local, struct err *err)
{
    static const char *const names[] = { "attempts", "ended", "root", "spare" };
    const char *dir = local->config.agent_dir;
    CLEANUP(freep) char *spare = path_format("%s/spare", dir);
    int rc = dir_make(dir, 0700, err);

    if (rc < 0)
        return rc;
    if (!spare)
        return err_set(err, -ENOMEM, "executor: out of memory");
    dir_remove(spare, NULL);
    local->agent_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (local->agent_fd < 0)
        return err_set(err, -errno, "%s: %s", dir, strerror(errno));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (mkdirat(local->agent_fd, names[i], 0700) < 0 && errno != EEXIST)
            return err_set(err, -errno, "%s/%s: %s", dir, names[i], strerror(errno));
    if (mkfifoat(local->agent_fd, "notify", 0600) < 0 && errno != EEXIST)
        return err_set(err, -errno, "%s/notify: %s", dir, strerror(errno));
    local->attempts_fd = openat(local->agent_fd, "attempts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    local->ended_fd = openat(local->agent_fd, "ended", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    local->spare_fd = openat(local->agent_fd, "spare", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Held for writing too, so that it never says end-of-file. */
    local->notify_fd = openat(local->agent_fd, "notify", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (local->attempts_fd < 0 || local->ended_fd < 0 || local->spare_fd < 0 ||
        local->notify_fd < 0)
        return err_set(err, -errno, "%s: %s", dir, strerror(errno));
    fcntl(local->notify_fd, F_SETPIPE_SZ, NOTIFY_BYTES); /* smaller where that is not allowed */
    return 0;
}

static int start_spawner(struct local *local, struct err *err)
{
    struct epoll_event notify = { .events = EPOLLIN, .data.ptr = &local->notify_fd };
    struct epoll_event spawner = { .events = EPOLLIN, .data.ptr = &local->spawner };
    struct supervisor_place *place = &local->place;
    int rc;

    place->state_dir = local->config.state_dir;
    place->agent_dir = local->config.agent_dir;
    place->agent_fd = local->agent_fd;
    place->ended_fd = local->ended_fd;
    place->notify_fd = -1;
    rc = supervisor_place_prepare(place, err);
    if (rc == 0)
        rc = spawner_start(place, &local->spawner, err);
    if (rc < 0)
        return rc;
    local->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (local->epoll_fd < 0 ||
        epoll_ctl(local->epoll_fd, EPOLL_CTL_ADD, local->notify_fd, &notify) < 0 ||
        epoll_ctl(local->epoll_fd, EPOLL_CTL_ADD, local->spawner.pid_fd, &spawner) < 0)
        return err_set(err, -errno, "epoll: %s", strerror(errno));
    return 0;
}

static void local_close(struct executor *executor)
{
    struct local *local = local_of(executor);
    const int fds[] = { local->agent_fd, local->attempts_fd, local->ended_fd,
                        local->spare_fd, local->notify_fd,   local->epoll_fd };

    spawner_close(&local->spawner);
    while (local->attempts)
        drop_attempt(local, local->attempts);
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    cgroup_sweep_empty(&local->place.cgroups); /* of attempts that an earlier spawner began */
    cgroup_root_close(&local->place.cgroups);
    if (local->place.work_base[0])
        rmdir(local->place.work_base); /* stays while a job's folder is in it */
    free(local->tail);
    free(local);
}

static int local_open(const struct executor_config *config, struct executor **executor_out,
                      struct err *err)
{
    struct local *local = calloc(1, sizeof(*local));
    int rc;

    if (!local)
        return err_set(err, -ENOMEM, "executor: out of memory");
    local->base.ops = &executor_local_ops;
    local->config = *config;
    local->agent_fd = local->attempts_fd = local->ended_fd = local->spare_fd = -1;
    local->notify_fd = local->epoll_fd = local->spawner.fd = local->spawner.pid_fd = -1;
    for (int i = 0; i < CG_COUNT; i++)
        local->place.cgroups.fds[i] = -1;
    local->tail = malloc(NOTIFY_BYTES);
    rc = local->tail ? make_folders(local, err) : err_set(err, -ENOMEM, "executor: out of memory");
    if (rc == 0)
        rc = start_spawner(local, err);
    if (rc == 0)
        rc = scan(local, err);
    if (rc < 0) {
        local_close(&local->base);
        return rc;
    }
    *executor_out = &local->base;
    return 0;
}

static int local_fd(const struct executor *executor)
{
    return CONTAINER_OF(executor, struct local, base)->epoll_fd;
}

static bool local_keeps_lease(const struct executor *executor)
{
    (void)executor;
    return true;
}

const struct executor_ops executor_local_ops = {
    .name = "local",
    .keeps_lease = local_keeps_lease,
    .tunnels = true,
    .open = local_open,
    .close = local_close,
    .fd = local_fd,
    .pump = local_pump,
    .tick = local_tick,
    .start = local_start,
    .stop = local_stop,
    .suspend = local_suspend,
    .find = local_find,
    .each = local_each,
    .count = local_count,
    .recall = local_recall,
    .acknowledge = local_acknowledge,
    .forget = local_forget,
};
