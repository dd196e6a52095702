/* GET /jobs/{id}/outputs and /jobs/{id}/outputs/{path}: files that an attempt left behind.
 *
 * The local site shares this machine, so they are read where its agent collected them:
 * DIR/agent/attempts/<job>.<epoch>/outputs/. Those of sites elsewhere are in the store
 * (artifacts.h). Names are walked with openat and O_NOFOLLOW: whatever the job left there, nothing
 * outside is ever opened. */
#include "controller/api_handlers.h"

#include "base/file.h"
#include "controller/artifacts.h"
#include "controller/job_lookup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUTS_LISTED_MAX 10000u
#define OUTPUTS_DEPTH_MAX 16u
#define OUTPUT_CHUNK_BYTES (256u << 10)
#define OUTPUT_BACKLOG_BYTES (1u << 20)
#define OUTPUT_PACE_MS 5

static uint32_t epoch_of(const struct job_found *found)
{
    return found->kind == JOB_IS_LIVE ? found->view.epoch : found->row.epoch;
}

static int open_folder(struct controller *controller, uint64_t job_id, uint32_t epoch)
{
    CLEANUP(freep)
    char *path = path_format("%s/agent/attempts/%" PRIu64 ".%" PRIu32 "/outputs",
                             controller->config.state_dir, job_id, epoch);
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

    return fd < 0 ? -errno : fd;
}

/* Takes `folder`. */
static void list_folder(int folder, const char *prefix, uint32_t depth, json_t *list)
{
    DIR *dir = fdopendir(folder);
    struct dirent *entry;

    if (!dir) {
        close(folder);
        return;
    }
    while ((entry = readdir(dir)) && json_array_size(list) < OUTPUTS_LISTED_MAX) {
        CLEANUP(freep) char *path = NULL;
        struct stat info;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        path = path_format("%s%s%s", prefix, *prefix ? "/" : "", entry->d_name);
        if (!path)
            break;
        if (S_ISDIR(info.st_mode) && depth < OUTPUTS_DEPTH_MAX) {
            int below =
                openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            if (below >= 0)
                list_folder(below, path, depth + 1, list);
        } else if (S_ISREG(info.st_mode)) {
            json_t *json =
                json_pack("{s:s, s:I, s:o}", "path", path, "bytes", (json_int_t)info.st_size,
                          "modified_at", time_to_json((int64_t)info.st_mtime * 1000));

            if (json)
                json_array_append_new(list, json);
        }
    }
    closedir(dir);
}

static void reply_outputs(struct api_call *call, const struct job_found *found)
{
    json_t *list;
    int folder;

    if (found->kind == JOB_IS_ARRAY) {
        api_error(call, 400, "invalid", "id", "%s is an array: name one element, as %s.0",
                  call->params[0], call->params[0]);
        return;
    }
    folder = open_folder(call->controller, found->id, epoch_of(found));
    if (folder < 0) {
        artifacts_reply_outputs(call, found->id, epoch_of(found));
        return;
    }
    list = json_array();
    list_folder(folder, "", 0, list);
    api_reply_json(call, 200, json_pack("{s:o}", "outputs", list));
}

void api_job_outputs(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_outputs);
}

/* --- one file ------------------------------------------------------------------------------------
 */

struct sending {
    struct api_call *call;
    int fd;
    uv_timer_t timer;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void sending_end(struct sending *sending)
{
    close(sending->fd);
    uv_timer_stop(&sending->timer);
    uv_close((uv_handle_t *)&sending->timer, on_closed);
}

static void on_gone(struct api_call *call)
{
    sending_end(call->kept);
}

static void on_pace(uv_timer_t *timer)
{
    struct sending *sending = timer->data;
    struct api_call *call = sending->call;
    CLEANUP(freep) char *chunk = malloc(OUTPUT_CHUNK_BYTES);

    while (http_stream_backlog(call->request) < OUTPUT_BACKLOG_BYTES) {
        ssize_t got = chunk ? read(sending->fd, chunk, OUTPUT_CHUNK_BYTES) : -1;

        if (got <= 0 || http_stream_push(call->request, chunk, (size_t)got) < 0) {
            call->gone = NULL;
            sending_end(sending);
            api_stream_end(call);
            return;
        }
    }
}

/* Opens `path` under `folder` step by step. -EINVAL for "..", empty parts or an absolute path. */
static int open_below(int folder, const char *path)
{
    int at = dup(folder);

    while (at >= 0) {
        size_t len = strcspn(path, "/");
        bool last = !path[len];
        char name[256];
        int next;

        if (!len || len >= sizeof(name) || (len <= 2 && !strncmp(path, "..", len))) {
            close(at);
            return -EINVAL;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        next = openat(at, name,
                      O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        if (next < 0)
            next = -errno;
        close(at);
        if (last || next < 0)
            return next;
        at = next;
        path += len + 1;
    }
    return -errno;
}

static void send_file(struct api_call *call, int fd, int64_t bytes)
{
    struct sending *sending = calloc(1, sizeof(*sending));
    char length[32];
    struct http_header headers[] = { { "Mains-Output-Bytes", length },
                                     { "X-Content-Type-Options", "nosniff" } };

    snprintf(length, sizeof(length), "%" PRId64, bytes);
    if (!sending) {
        close(fd);
        api_error(call, 500, "internal", NULL, "out of memory");
        return;
    }
    if (api_stream_begin(call, "application/octet-stream", headers, 2) < 0) {
        close(fd);
        free(sending);
        return;
    }
    sending->call = call;
    sending->fd = fd;
    uv_timer_init(&call->controller->loop, &sending->timer);
    sending->timer.data = sending;
    call->gone = on_gone;
    call->kept = sending;
    uv_timer_start(&sending->timer, on_pace, 0, OUTPUT_PACE_MS);
}

static void reply_output(struct api_call *call, const struct job_found *found)
{
    int folder = open_folder(call->controller, found->id, epoch_of(found));
    struct stat info;
    int fd;

    if (folder < 0) {
        artifacts_reply_output(call, found->id, epoch_of(found), call->params[1]);
        return;
    }
    fd = open_below(folder, call->params[1]);
    close(folder);
    if (fd >= 0 && (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))) {
        close(fd);
        fd = -ENOENT;
    }
    if (fd < 0)
        api_error(call, 404, "not_found", "path", "job %s has no output %s", call->params[0],
                  call->params[1]);
    else
        send_file(call, fd, info.st_size);
}

void api_job_output(struct api_call *call)
{
    job_lookup(call, call->params[0], reply_output);
}
