#include "agent/guard.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEASE_FILE "lease"
#define ASKS_FOLDER "asks"
#define WORD_BYTES 192u
#define PART 20 /* of the lease: renewed in the file no more often */

int guard_open(int agent_fd, struct guard *guard, struct err *err)
{
    char path[64];

    *guard = (struct guard){ .agent_fd = agent_fd, .asks_fd = -1, .inotify_fd = -1 };
    guard->boot = lease_boot();
    if ((mkdirat(agent_fd, GUARD_FOLDER, 0700) < 0 && errno != EEXIST) ||
        (mkdirat(agent_fd, GUARD_FOLDER "/" ASKS_FOLDER, 0700) < 0 && errno != EEXIST))
        return err_set(err, -errno, GUARD_FOLDER ": %s", strerror(errno));
    guard->folder_fd =
        openat(agent_fd, GUARD_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (guard->folder_fd < 0)
        return err_set(err, -errno, GUARD_FOLDER ": %s", strerror(errno));
    guard->asks_fd =
        openat(guard->folder_fd, ASKS_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    guard->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", guard->asks_fd);
    if (guard->asks_fd < 0 || guard->inotify_fd < 0 ||
        inotify_add_watch(guard->inotify_fd, path, IN_MOVED_TO) < 0)
        return err_set(err, -EIO, GUARD_FOLDER ": cannot be watched: %s", strerror(errno));
    return 0;
}

void guard_close(struct guard *guard)
{
    if (guard->agent_fd <= 0)
        return;
    closep(&guard->folder_fd);
    closep(&guard->asks_fd);
    closep(&guard->inotify_fd);
}

/* Not to the disk: after a crash of the file server an older one is as good as none. */
static int put(int folder_fd, const char *name, const char *text)
{
    CLEANUP(closep) int fd = -1;
    char fresh[NAME_MAX + 2];
    int rc;

    snprintf(fresh, sizeof(fresh), ".%.*s", NAME_MAX - 1, name);
    fd = openat(folder_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    rc = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
    if (rc == 0 && renameat(folder_fd, fresh, folder_fd, name) < 0)
        rc = -errno;
    return rc;
}

/* ---- the lease ---- */

void guard_take_lease(struct guard *guard, const struct lease *lease, bool wanted)
{
    char line[128];
    int64_t later_ms = lease->state.ends_ms - guard->told.ends_ms;
    int rc;

    guard->lease = lease->state;
    if (!wanted ||
        (guard->told.number == lease->state.number && guard->told.stop_ms == lease->state.stop_ms &&
         later_ms < lease->lease_ms / PART))
        return;
    snprintf(line, sizeof(line), "%" PRIx64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n", guard->boot,
             lease->state.number, lease->state.ends_ms, lease->state.stop_ms);
    rc = put(guard->folder_fd, LEASE_FILE, line);
    if (rc < 0)
        log_warn(GUARD_FOLDER "/" LEASE_FILE ": %s: what runs stops when its lease ends",
                 strerror(-rc));
    else
        guard->told = lease->state;
}

bool guard_is_over(const struct guard *guard, uint64_t number, int64_t *left_ms_out)
{
    int64_t left_ms = guard->lease.ends_ms - clock_boot_ms();

    if (guard->lease.number == number && left_ms > guard->lease.stop_ms)
        return false;
    *left_ms_out = guard->lease.number == number ? MAX(left_ms, 0) : 0;
    return true;
}

/* ---- questions ---- */

/* "<job>.<epoch>.<place>", of plain letters. */
static bool parse_stem(const char *stem, struct attempt_key *key_out)
{
    char name[ATTEMPT_NAME_BYTES];
    const char *dot = strchr(stem, '.');

    dot = dot ? strchr(dot + 1, '.') : NULL;
    if (!dot || !dot[1] || (size_t)(dot - stem) >= sizeof(name) ||
        strspn(stem, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            strlen(stem))
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)(dot - stem), stem);
    return attempt_parse_name(name, key_out);
}

/* The word that it is to be answered with: printable, without a blank. */
static bool read_word(int folder_fd, const char *name, char word[WORD_BYTES])
{
    CLEANUP(closep)
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t len = fd < 0 ? -1 : read(fd, word, WORD_BYTES - 1);

    if (len <= 1 || word[len - 1] != '\n')
        return false;
    word[len - 1] = '\0';
    for (const char *p = word; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            return false;
    return strlen(word) == (size_t)len - 1;
}

static void answer(struct guard *guard, const char *stem, guard_lease_fn lease_of, void *context)
{
    char word[WORD_BYTES], line[WORD_BYTES + 160];
    struct attempt_key key;
    int64_t left_ms;
    uint64_t number;
    bool is_good = parse_stem(stem, &key) && read_word(guard->asks_fd, stem, word);

    unlinkat(guard->asks_fd, stem, 0);
    if (!is_good)
        return;
    number = lease_of(context, key);
    if (!number || guard_is_over(guard, number, &left_ms))
        snprintf(line, sizeof(line), "%s no\n", word);
    else /* the clock is read after the word was */
        snprintf(line, sizeof(line),
                 "%s %" PRIx64 " %" PRId64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n", word,
                 guard->boot, clock_boot_ms(), number, guard->lease.ends_ms, guard->lease.stop_ms);
    if (put(guard->folder_fd, stem, line) < 0)
        log_warn(GUARD_FOLDER "/%s: cannot be written", stem);
}

void guard_answer(struct guard *guard, guard_lease_fn lease_of, void *context)
{
    char skipped[4096] __attribute__((aligned(8)));
    struct dirent *entry;
    uint32_t count = 0;
    DIR *dir;
    int fd;

    while (read(guard->inotify_fd, skipped, sizeof(skipped)) > 0)
        ;
    fd = openat(guard->asks_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        closep(&fd);
        return;
    }
    while (count < GUARD_ASKS_MAX && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            answer(guard, entry->d_name, lease_of, context);
            count++;
        }
    closedir(dir);
}

void guard_forget(const struct guard *guard, struct attempt_key key)
{
    int fd = openat(guard->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct attempt_key of;

    if (!dir) {
        closep(&fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if (parse_stem(entry->d_name, &of) && of.job_id == key.job_id && of.epoch == key.epoch)
            unlinkat(guard->folder_fd, entry->d_name, 0);
    closedir(dir);
}

/* ---- an attempt's folder ---- */

int guard_ask_to_save(int attempt_fd, uint32_t count)
{
    char line[16];

    snprintf(line, sizeof(line), "%" PRIu32 "\n", count);
    return put(attempt_fd, GUARD_SAVE, line);
}

bool guard_has_ended(int attempt_fd)
{
    return faccessat(attempt_fd, GUARD_OVER, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void guard_each_variable(const struct guard_job *job,
                         void (*add)(void *context, const char *name, const char *value),
                         void *context)
{
    char text[PATH_MAX], name[ATTEMPT_NAME_BYTES], number[24] = "", signal_text[16] = "";

    attempt_name(job->key, name);
    snprintf(text, sizeof(text), "%.4000s/" GUARD_FOLDER, job->agent_dir);
    if (job->lease)
        snprintf(number, sizeof(number), "%" PRIu64, job->lease);
    if (job->signal_number)
        snprintf(signal_text, sizeof(signal_text), "%d", job->signal_number);
    add(context, "MAINS_GUARD_DIR", text);
    add(context, "MAINS_GUARD_PLACE", job->folder);
    add(context, "MAINS_GUARD_NAME", name);
    add(context, "MAINS_GUARD_LEASE", number);
    add(context, "MAINS_GUARD_SIGNAL", signal_text);
}
