#include "agent/disk.h"

#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROCESSES_MAX 8192u
#define FILES_MAX 4096u /* more unnamed files than that are over a limit */

struct hunt {
    dev_t device;
    int64_t bytes;
    uint32_t processes, files;
    ino_t seen[FILES_MAX];
};

static void count(struct hunt *hunt, const struct stat *st)
{
    if (!S_ISREG(st->st_mode) || st->st_dev != hunt->device || st->st_nlink > 0)
        return;
    for (uint32_t i = 0; i < hunt->files; i++)
        if (hunt->seen[i] == st->st_ino)
            return;
    if (hunt->files == FILES_MAX) {
        hunt->bytes = INT64_MAX;
        return;
    }
    hunt->seen[hunt->files++] = st->st_ino;
    hunt->bytes += (int64_t)st->st_blocks * 512;
}

/* /proc/N/fd and /proc/N/map_files: links that lead to the file itself, named or not. */
static void look_at_links(struct hunt *hunt, int process_fd, const char *folder)
{
    int fd = openat(process_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;

    while (dir && hunt->bytes != INT64_MAX && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && fstatat(fd, entry->d_name, &st, 0) == 0)
            count(hunt, &st);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

static void look_at(struct hunt *hunt, pid_t pid);

/* The kernel lists the children of each thread. */
static void look_below(struct hunt *hunt, int process_fd)
{
    int tasks = openat(process_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = tasks < 0 ? NULL : fdopendir(tasks);
    struct dirent *entry;

    while (dir && hunt->bytes != INT64_MAX && (entry = readdir(dir)) != NULL) {
        char path[300];
        FILE *file;
        int fd, pid;

        snprintf(path, sizeof(path), "%s/children", entry->d_name);
        fd = entry->d_name[0] == '.' ? -1 : openat(tasks, path, O_RDONLY | O_CLOEXEC);
        file = fd < 0 ? NULL : fdopen(fd, "r");
        /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
        while (file && fscanf(file, "%d", &pid) == 1)
            look_at(hunt, pid);
        if (file)
            fclose(file);
        else if (fd >= 0)
            close(fd);
    }
    if (dir)
        closedir(dir);
    else if (tasks >= 0)
        close(tasks);
}

static void look_at(struct hunt *hunt, pid_t pid)
{
    char path[32];
    int fd;

    if (hunt->bytes == INT64_MAX || hunt->processes++ >= PROCESSES_MAX)
        return;
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return; /* it has ended */
    look_at_links(hunt, fd, "fd");
    look_at_links(hunt, fd, "map_files");
    look_below(hunt, fd);
    close(fd);
}

int64_t disk_hidden_bytes(int folder_fd, pid_t ancestor)
{
    struct hunt *hunt = calloc(1, sizeof(*hunt));
    char path[32];
    struct stat st;
    int64_t bytes;
    int fd;

    if (!hunt || fstat(folder_fd, &st) < 0) {
        free(hunt);
        return 0;
    }
    hunt->device = st.st_dev;
    snprintf(path, sizeof(path), "/proc/%d", (int)ancestor);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        look_below(hunt, fd);
        close(fd);
    }
    bytes = hunt->bytes;
    free(hunt);
    return bytes;
}
