#include "agent/watch.h"

#include "agent/discover_internal.h"
#include "agent/vendor.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM)
#define TIMES_PER_LOOK 500 /* of what a look takes, it waits for the next */
#define KERNEL_LINES_MAX 256

static const char *const folders[] = { "/dev", "/dev/dri", "/dev/accel", "/dev/biren" };

struct watch {
    struct watch_config config;
    struct health health;
    struct node_info *seen; /* the worker's */
    struct discover_readings readings;
    bool node_is_well;
    char node_reason[120];
    int64_t look_ms; /* how long it took */
    uv_work_t work;
    bool is_looking, looks_again, is_closing;
    uv_timer_t timer;
    uv_poll_t files, kernel;
    int files_fd, kernel_fd; /* -1 = not to be had */
    int watches[ARRAY_COUNT(folders)];
    uint32_t handles_open;
};

static void on_timer(uv_timer_t *timer);
static void open_kernel(struct watch *watch);

static void free_when_done(struct watch *watch)
{
    if (watch->handles_open || watch->is_looking)
        return;
    if (watch->files_fd >= 0)
        close(watch->files_fd);
    if (watch->kernel_fd >= 0)
        close(watch->kernel_fd);
    free(watch->seen);
    free(watch);
}

/* --- a look --------------------------------------------------------------------------------- */

static void look(uv_work_t *work)
{
    struct watch *watch = work->data;
    int64_t begun_ms = clock_mono_ms();
    struct err err;

    discover_devices(watch->config.discover, watch->seen, &watch->readings, &err);
    watch->node_is_well = health_look_at_node(&watch->health, watch->config.discover->root,
                                              watch->config.state_dir, watch->node_reason);
    watch->look_ms = clock_mono_ms() - begun_ms;
}

static void plan_next(struct watch *watch)
{
    int64_t wait_ms = WATCH_MS_MAX;

    if (watch->config.node->devices_count)
        wait_ms = MIN(MAX(watch->look_ms * TIMES_PER_LOOK, WATCH_MS_MIN), WATCH_MS_MAX);
    if (watch->looks_again)
        wait_ms = WATCH_SETTLE_MS;
    watch->looks_again = false;
    uv_timer_start(&watch->timer, on_timer, (uint64_t)wait_ms, 0);
}

static void looked(uv_work_t *work, int status)
{
    struct watch *watch = work->data;
    const struct watch_config *config = &watch->config;

    watch->is_looking = false;
    if (watch->is_closing) {
        free_when_done(watch);
        return;
    }
    if (status == 0) {
        health_judge(&watch->health, config->node, watch->seen, clock_mono_ms());
        config->looked(config->context, &watch->readings);
        if (!node_info_is_equal(config->node, watch->seen)) {
            *config->node = *watch->seen;
            config->changed(config->context);
        }
        if (health_judge_node(&watch->health, watch->node_is_well, watch->node_reason))
            config->node_changed(config->context, &watch->health);
    }
    if (config->node->devices_count && watch->kernel_fd < 0)
        open_kernel(watch); /* they have come since; where it may be read */
    plan_next(watch);
}

static void begin_look(struct watch *watch)
{
    if (watch->is_looking) {
        watch->looks_again = true;
        return;
    }
    *watch->seen = *watch->config.node;
    watch->work.data = watch;
    watch->is_looking = uv_queue_work(watch->config.loop, &watch->work, look, looked) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    begin_look(timer->data);
}

static void look_soon(struct watch *watch)
{
    if (watch->is_looking)
        watch->looks_again = true;
    else
        uv_timer_start(&watch->timer, on_timer, WATCH_SETTLE_MS, 0);
}

/* --- what comes and goes --------------------------------------------------------------------- */

static void watch_folders(struct watch *watch)
{
    for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
        char path[DISCOVER_PATH_BYTES];

        discover_path(watch->config.discover, folders[i], path);
        watch->watches[i] = inotify_add_watch(watch->files_fd, path, EVENTS | IN_ONLYDIR);
    }
}

/* Ptys and loop devices come and go all the time. */
static bool is_device(const char *name)
{
    char path[300];

    snprintf(path, sizeof(path), "/dev/%.255s", name);
    for (size_t i = 1; i < ARRAY_COUNT(folders); i++)
        if (strcmp(path, folders[i]) == 0)
            return true;
    for (const struct vendor_adapter *adapter = vendor_adapters(); adapter->name; adapter++)
        if ((adapter->node_glob && fnmatch(adapter->node_glob, path, 0) == 0) ||
            (adapter->driver_node && strcmp(adapter->driver_node, path) == 0))
            return true;
    return false;
}

static void on_files(uv_poll_t *poll, int status, int events)
{
    _Alignas(struct inotify_event) char bytes[8192];
    struct watch *watch = poll->data;
    bool is_news = false;
    ssize_t len;

    (void)events;
    if (status < 0) {
        uv_poll_stop(poll);
        return;
    }
    while ((len = read(watch->files_fd, bytes, sizeof(bytes))) > 0)
        for (const char *at = bytes; at < bytes + len;) {
            const struct inotify_event *event = (const struct inotify_event *)at;

            at += sizeof(*event) + event->len;
            is_news |= event->wd != watch->watches[0] || (event->len && is_device(event->name));
        }
    if (!is_news)
        return;
    watch_folders(watch); /* one of them may be new; else they are the same */
    look_soon(watch);
}

/* --- what the kernel says ----------------------------------------------------------------------
 */

static void take_line(struct watch *watch, const char *line, size_t len)
{
    struct health_fault fault;

    if (!health_parse_fault(line, len, &fault))
        return;
    log_warn("device at %s: XID %u: %s", fault.address, fault.code, fault.text);
    for (uint32_t i = 0; i < watch->config.node->devices_count; i++)
        if (strcmp(watch->readings.address[i], fault.address) == 0) {
            health_take_fault(&watch->health, i, &fault, clock_mono_ms());
            look_soon(watch);
        }
}

/* One record a read, of a log; what stands in for one may give several. */
static void take_lines(struct watch *watch, const char *text, size_t len)
{
    while (len) {
        const char *end = memchr(text, '\n', len);
        size_t one = end ? (size_t)(end - text) + 1 : len;

        take_line(watch, text, one);
        text += one;
        len -= one;
    }
}

static void on_kernel(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    char line[4096];

    (void)events;
    for (int i = 0; status == 0 && i < KERNEL_LINES_MAX; i++) {
        ssize_t len = read(watch->kernel_fd, line, sizeof(line));

        if (len > 0)
            take_lines(watch, line, (size_t)len);
        else if (len == 0 || (errno != EAGAIN && errno != EPIPE && errno != EINTR))
            status = -EIO; /* no log any more */
        else if (errno == EAGAIN)
            return;
    }
    if (status < 0)
        uv_poll_stop(poll);
}

/* --- begin and end --------------------------------------------------------------------------- */

static void open_files(struct watch *watch)
{
    watch->files_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->files_fd < 0)
        return;
    watch_folders(watch);
    if (uv_poll_init(watch->config.loop, &watch->files, watch->files_fd) < 0)
        return;
    watch->handles_open++;
    watch->files.data = watch;
    uv_poll_start(&watch->files, UV_READABLE, on_files);
}

/* Where it may be read: by root, mostly. */
static void open_kernel(struct watch *watch)
{
    char path[DISCOVER_PATH_BYTES];

    discover_path(watch->config.discover, "/dev/kmsg", path);
    watch->kernel_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (watch->kernel_fd < 0)
        return;
    /* From now on: what is old was told to somebody else. */
    lseek(watch->kernel_fd, 0, SEEK_END);
    if (uv_poll_init(watch->config.loop, &watch->kernel, watch->kernel_fd) < 0)
        return;
    watch->handles_open++;
    watch->kernel.data = watch;
    uv_poll_start(&watch->kernel, UV_READABLE, on_kernel);
}

int watch_create(const struct watch_config *config, struct watch **watch_out, struct err *err)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (watch)
        watch->seen = calloc(1, sizeof(*watch->seen));
    if (!watch || !watch->seen) {
        free(watch);
        return err_set(err, -ENOMEM, "watch: out of memory");
    }
    watch->config = *config;
    watch->files_fd = watch->kernel_fd = -1;
    uv_timer_init(config->loop, &watch->timer);
    watch->timer.data = watch;
    watch->handles_open = 1;
    open_files(watch);
    uv_timer_start(&watch->timer, on_timer, WATCH_SETTLE_MS, 0);
    *watch_out = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;

    watch->handles_open--;
    free_when_done(watch);
}

void watch_destroy(struct watch *watch)
{
    if (!watch)
        return;
    watch->is_closing = true;
    uv_close((uv_handle_t *)&watch->timer, on_closed);
    if (watch->files.data)
        uv_close((uv_handle_t *)&watch->files, on_closed);
    if (watch->kernel.data)
        uv_close((uv_handle_t *)&watch->kernel, on_closed);
}

const struct health *watch_health(const struct watch *watch)
{
    return &watch->health;
}
