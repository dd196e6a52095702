#include "agent/freeze.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define V1_TOP "/sys/fs/cgroup/freezer"
#define PROCESSES_MAX 65536u
#define ROUNDS_MAX 200u   /* over processes that go on forking meanwhile */
#define STAND_MS_MAX 5000 /* until the last of them stands */
#define LOOK_MS 2
#define REMOVE_TRIES 50

struct pids { /* ascending */
    pid_t *list;
    uint32_t count, cap;
};

/* Room for one more. */
static bool grow(struct pids *pids)
{
    uint32_t cap = MAX(pids->cap * 2, 64u);
    pid_t *grown;

    if (pids->count < pids->cap)
        return true;
    grown = realloc(pids->list, cap * sizeof(*grown));
    if (!grown)
        return false;
    pids->list = grown;
    pids->cap = cap;
    return true;
}

/* True: it is new. */
static bool add_pid(struct pids *pids, pid_t pid)
{
    uint32_t at = pids->count;

    while (at > 0 && pids->list[at - 1] > pid)
        at--;
    if ((at > 0 && pids->list[at - 1] == pid) || pids->count == PROCESSES_MAX)
        return false;
    if (!grow(pids))
        return false;
    memmove(pids->list + at + 1, pids->list + at, (pids->count - at) * sizeof(*pids->list));
    pids->list[at] = pid;
    pids->count++;
    return true;
}

/* ---- who is below us: orphans come to us, their reaper ---- */

/* Those that are new are looked at, too, in their turn. */
static void add_children(struct pids *found, pid_t parent, struct pids *unvisited)
{
    char path[300];
    DIR *dir;
    struct dirent *entry;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)) != NULL) {
        FILE *file;
        int pid;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%.200s/children", (int)parent, entry->d_name);
        file = fopen(path, "re");
        /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
        while (file && fscanf(file, "%d", &pid) == 1)
            if (add_pid(found, pid) && grow(unvisited))
                unvisited->list[unvisited->count++] = pid;
        if (file)
            fclose(file);
    }
    if (dir)
        closedir(dir);
}

/* However deep they are: that is the job's to choose, our stack and our descriptors are not. */
static void add_all(struct pids *found)
{
    struct pids unvisited = { 0 };

    add_children(found, getpid(), &unvisited);
    while (unvisited.count)
        add_children(found, unvisited.list[--unvisited.count], &unvisited);
    free(unvisited.list);
}

/* ---- the freezer of v1 ---- */

static bool v1_path(const char *mark, char *out, size_t out_bytes)
{
    char own[PATH_MAX / 2];

    return cgroup_own_path("freezer", own, sizeof(own)) &&
           (size_t)snprintf(out, out_bytes, V1_TOP "%s/%s", own, mark) < out_bytes;
}

static int write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    int fd, rc = 0;

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (write(fd, text, strlen(text)) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

static bool file_says(int folder_fd, const char *path, const char *text)
{
    int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC);
    char got[256];
    ssize_t len = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

    if (fd >= 0)
        close(fd);
    got[MAX(len, 0)] = '\0';
    return strstr(got, text) != NULL;
}

static bool wait_for_text(int folder_fd, const char *path, const char *text)
{
    for (int waited_ms = 0; waited_ms < STAND_MS_MAX; waited_ms += LOOK_MS) {
        if (file_says(folder_fd, path, text))
            return true;
        poll(NULL, 0, LOOK_MS);
    }
    return false;
}

/* ---- all of them ---- */

static int hold_one(const char *folder, pid_t pid)
{
    char text[16];
    int rc;

    snprintf(text, sizeof(text), "%d", (int)pid);
    rc = folder ? write_file(folder, "cgroup.procs", text) : kill(pid, SIGSTOP) < 0 ? -errno : 0;
    return rc == -ESRCH ? 0 : rc; /* it has ended */
}

/* One that has not been held yet may fork: round after round until nobody new is found. `folder`
 * NULL: by signals. Gives how many there are. */
static int hold_all(const char *folder)
{
    struct pids held = { 0 };
    bool is_new = true;
    int rc = 0;

    for (uint32_t round = 0; rc == 0 && is_new && round < ROUNDS_MAX; round++) {
        struct pids found = { 0 };

        is_new = false;
        add_all(&found);
        for (uint32_t i = 0; rc == 0 && i < found.count; i++)
            if (add_pid(&held, found.list[i])) {
                is_new = true;
                rc = hold_one(folder, found.list[i]);
            }
        free(found.list);
    }
    if (rc == 0)
        rc = is_new ? -EAGAIN : held.count ? (int)held.count : -ESRCH;
    free(held.list);
    return rc;
}

static void signal_all(int signal_number)
{
    struct pids found = { 0 };

    add_all(&found);
    for (uint32_t i = 0; i < found.count; i++)
        kill(found.list[i], signal_number);
    free(found.list);
}

static int freeze_v1(const char *mark)
{
    char folder[PATH_MAX], state[PATH_MAX + 16];
    int rc;

    if (!v1_path(mark, folder, sizeof(folder)))
        return -ENOTSUP;
    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return -errno;
    /* Frozen first: who comes in stands at once. */
    rc = write_file(folder, "freezer.state", "FROZEN");
    if (rc == 0)
        rc = hold_all(folder);
    snprintf(state, sizeof(state), "%s/freezer.state", folder);
    if (rc > 0 && !wait_for_text(AT_FDCWD, state, "FROZEN"))
        rc = -EAGAIN;
    return MIN(rc, 0);
}

static int freeze_v2(const struct cgroup *cgroup)
{
    int rc = cgroup_set_frozen(cgroup, true);

    if (rc == 0 && !wait_for_text(cgroup->fds[0], "cgroup.events", "frozen 1"))
        rc = -EAGAIN;
    return rc;
}

int freeze_all(const char *mark, const struct cgroup *cgroup, enum freeze_way *way_out,
               struct err *err)
{
    enum freeze_way way = FREEZE_V2;
    int rc = cgroup && cgroup->root->kind == CGROUP_V2 ? freeze_v2(cgroup) : -ENOTSUP;

    if (rc < 0 && rc != -EAGAIN) {
        way = FREEZE_V1;
        rc = freeze_v1(mark);
        if (rc < 0)
            freeze_thaw(mark, cgroup, way);
    }
    if (rc < 0 && rc != -EAGAIN && rc != -ESRCH) {
        way = FREEZE_SIGNAL;
        rc = MIN(hold_all(NULL), 0);
    }
    if (rc == 0) {
        *way_out = way;
        return 0;
    }
    freeze_thaw(mark, cgroup, way);
    return err_set(err, rc, "%s",
                   rc == -EAGAIN  ? "one of its processes would not stand still"
                   : rc == -ESRCH ? "it has no process that could stand still"
                                  : strerror(-rc));
}

void freeze_thaw(const char *mark, const struct cgroup *cgroup, enum freeze_way way)
{
    char folder[PATH_MAX];

    switch (way) {
    case FREEZE_NOT:
        break;
    case FREEZE_V2:
        cgroup_set_frozen(cgroup, false);
        break;
    case FREEZE_V1:
        if (v1_path(mark, folder, sizeof(folder)))
            write_file(folder, "freezer.state", "THAWED");
        break;
    case FREEZE_SIGNAL:
        signal_all(SIGCONT);
        break;
    }
}

void freeze_remove(const char *mark)
{
    char folder[PATH_MAX];

    if (!v1_path(mark, folder, sizeof(folder)) || write_file(folder, "freezer.state", "THAWED") < 0)
        return;
    /* A process that was just killed is counted a moment longer. */
    for (int tries = 0; tries < REMOVE_TRIES && rmdir(folder) < 0 && errno == EBUSY; tries++)
        poll(NULL, 0, LOOK_MS);
}
