#include "agent/leftover.h"

#include "agent/disk.h"
#include "agent/freeze.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRON_BYTES_MAX (256 << 10)
#define ROUNDS_MAX 20

void leftover_mark(const struct supervisor_place *place, struct attempt_key key, char *out,
                   size_t out_bytes)
{
    char name[ATTEMPT_NAME_BYTES];

    attempt_name(key, name);
    snprintf(out, out_bytes, "%s-%s", place->tag, name);
}

static bool has_mark(const char *pid, const char *mark, char *text)
{
    char path[64];
    size_t mark_len = strlen(mark);
    ssize_t len;
    int fd;

    snprintf(path, sizeof(path), "/proc/%.16s/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    len = read(fd, text, ENVIRON_BYTES_MAX - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    for (const char *p = text; p < text + len; p += strlen(p) + 1)
        if (strncmp(p, mark, mark_len) == 0 && p[mark_len] == '\0')
            return true;
    return false;
}

static int kill_marked(const char *mark, char *text)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int count = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_mark(entry->d_name, mark, text))
            continue;
        kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

/* The supervisor wrote down which group was the attempt's. */
static void sweep_cgroup(const struct supervisor_place *place, const char *name)
{
    char path[ATTEMPT_NAME_BYTES + 32], text[128], group[48];
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "attempts/%s/run", name);
    fd = openat(place->agent_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(got, 0)] = '\0';
    if (sscanf(text, "%*d %*d %47s", group) == 1 && !strchr(group, '/') && group[0] == 's')
        cgroup_sweep(&place->cgroups, group);
}

void leftover_remove(const struct supervisor_place *place, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES], path[PATH_MAX], mark[ATTEMPT_NAME_BYTES + 64];
    char *text = malloc(ENVIRON_BYTES_MAX);

    attempt_name(key, name);
    leftover_mark(place, key, mark, sizeof(mark));
    freeze_remove(mark); /* what stands in there cannot be killed */
    sweep_cgroup(place, name);
    snprintf(mark, sizeof(mark), LEFTOVER_MARK "=");
    leftover_mark(place, key, mark + strlen(mark), sizeof(mark) - strlen(mark));
    for (int i = 0; text && i < ROUNDS_MAX && kill_marked(mark, text) > 0; i++)
        ;
    free(text);
    snprintf(path, sizeof(path), "%s/attempts/%s/work", place->agent_dir, name);
    disk_clear_work(path, false);
    if (place->work_base[0]) {
        snprintf(path, sizeof(path), "%s/%s", place->work_base, name);
        disk_clear_work(path, false);
    }
}
