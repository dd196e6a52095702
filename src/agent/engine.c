#include "agent/engine.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- folders and the tag ---- */

static int open_folder(const struct engine_place *place, const char *name, int *fd_out,
                       struct err *err)
{
    if (mkdirat(place->agent_fd, name, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "%s/%s: %s", place->agent_dir, name, strerror(errno));
    *fd_out = openat(place->agent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd_out < 0)
        return err_set(err, -errno, "%s/%s: %s", place->agent_dir, name, strerror(errno));
    return 0;
}

static int read_tag(struct engine_place *place, const char *tag_file, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/%s", place->agent_dir, tag_file);
    CLEANUP(buf_fini) struct buf text = buf_init(64);
    uint32_t number;

    if (!path)
        return err_set(err, -ENOMEM, "tag: out of memory");
    if (file_read(path, &text, NULL) == 0 && text.len == 9 &&
        strspn(text.data, "0123456789abcdef") == 8) {
        snprintf(place->tag, sizeof(place->tag), "%.8s", text.data);
        return 0;
    }
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return err_set(err, -EIO, "tag: no randomness");
    snprintf(place->tag, sizeof(place->tag), "%08" PRIx32, number);
    buf_clear(&text);
    buf_printf(&text, "%s\n", place->tag);
    return file_write(path, text.data, text.len, 0600, true, err);
}

int engine_open(struct engine_place *place, const char *agent_dir, const char *tag_file,
                struct err *err)
{
    int rc;

    *place = (struct engine_place){ .agent_fd = -1, .attempts_fd = -1, .ended_fd = -1 };
    place->agent_dir = strdup(agent_dir);
    if (!place->agent_dir)
        return err_set(err, -ENOMEM, "executor: out of memory");
    rc = dir_make(agent_dir, 0700, err);
    if (rc < 0)
        return rc;
    place->agent_fd = open(agent_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->agent_fd < 0)
        return err_set(err, -errno, "%s: %s", agent_dir, strerror(errno));
    rc = open_folder(place, "attempts", &place->attempts_fd, err);
    if (rc == 0)
        rc = open_folder(place, "ended", &place->ended_fd, err);
    return rc < 0 ? rc : read_tag(place, tag_file, err);
}

void engine_close(struct engine_place *place)
{
    if (!place->agent_dir)
        return;
    closep(&place->agent_fd);
    closep(&place->attempts_fd);
    closep(&place->ended_fd);
    free(TAKE(place->agent_dir));
}

/* ---- records ---- */

static int read_record(int folder_fd, const char *file, struct attempt_key key,
                       struct attempt_record *record_out)
{
    CLEANUP(closep) int fd = openat(folder_fd, file, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : attempt_record_read(fd, key, record_out);
}

int engine_write_record(const struct engine_place *place, const struct attempt_record *record)
{
    char name[ATTEMPT_NAME_BYTES], fresh[ATTEMPT_NAME_BYTES + 8];
    CLEANUP(closep) int fd = -1;

    attempt_name(record->key, name);
    snprintf(fresh, sizeof(fresh), ".%s", name);
    fd = openat(place->ended_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || attempt_run_write(fd, "0 0 -\n") < 0 || attempt_record_write(fd, record) < 0 ||
        renameat(place->ended_fd, fresh, place->ended_fd, name) < 0)
        return errno ? -errno : -EIO;
    return 0;
}

void engine_acknowledge(const struct engine_place *place, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES], to[ATTEMPT_NAME_BYTES + 16];

    attempt_name(key, name);
    snprintf(to, sizeof(to), "%s/ended", name);
    if (renameat(place->ended_fd, name, place->attempts_fd, to) < 0)
        unlinkat(place->ended_fd, name, 0);
}

bool engine_recall(const struct engine_place *place, struct attempt_key key,
                   struct attempt_record *record_out)
{
    char name[ATTEMPT_NAME_BYTES], path[ATTEMPT_NAME_BYTES + 16];

    attempt_name(key, name);
    snprintf(path, sizeof(path), "%s/ended", name);
    return read_record(place->attempts_fd, path, key, record_out) == 0;
}

/* ---- attempts ---- */

int engine_open_attempt(const struct engine_place *place, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];
    int fd;

    attempt_name(key, name);
    fd = openat(place->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int engine_begin(const struct engine_place *place, struct attempt_key key, int *fd_out,
                 struct err *err)
{
    char name[ATTEMPT_NAME_BYTES];
    int fd;

    attempt_name(key, name);
    if (mkdirat(place->attempts_fd, name, 0700) < 0)
        return err_set(err, -errno, "attempt %s: %s", name, strerror(errno));
    fd = engine_open_attempt(place, key);
    if (fd < 0)
        return err_set(err, fd, "attempt %s: %s", name, strerror(-fd));
    *fd_out = fd;
    return 0;
}

void engine_remove(const struct engine_place *place, struct attempt_key key)
{
    char name[ATTEMPT_NAME_BYTES];
    CLEANUP(freep) char *path = NULL;

    attempt_name(key, name);
    path = path_format("%s/attempts/%s", place->agent_dir, name);
    if (path)
        dir_remove(path, NULL);
}

static bool is_acknowledged(const struct engine_place *place, const char *name)
{
    char path[ATTEMPT_NAME_BYTES + 16];

    snprintf(path, sizeof(path), "%s/ended", name);
    return faccessat(place->attempts_fd, path, F_OK, 0) == 0;
}

int engine_scan(const struct engine_place *place,
                void (*visit)(void *context, struct attempt_key key,
                              const struct attempt_record *record),
                void *context, struct err *err)
{
    const int folders[] = { place->ended_fd, place->attempts_fd };

    for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
        int fd = openat(folders[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!dir) {
            closep(&fd);
            return err_set(err, -errno, "%s: %s", place->agent_dir, strerror(errno));
        }
        while ((entry = readdir(dir)) != NULL) {
            struct attempt_record record;
            struct attempt_key key;
            char name[ATTEMPT_NAME_BYTES];
            bool ended;

            if (!attempt_parse_name(entry->d_name, &key))
                continue;
            attempt_name(key, name);
            ended = read_record(place->ended_fd, name, key, &record) == 0;
            if (i == 0 ? ended : !ended && !is_acknowledged(place, name))
                visit(context, key, ended ? &record : NULL);
        }
        closedir(dir);
    }
    return 0;
}
