#include "agent/kube_watch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_GONE 410
#define CONTINUE_BYTES_MAX 3000u

struct kube_watch {
    struct kube_watch_config config;
    uv_timer_t pause;
    struct kube_stream *stream;
    bool calling; /* a page is under way */
    bool destroyed;
    bool listing, told_begin;
    bool synced;
    bool list_wanted;
    char version[64];
    char *more; /* the place of the next page, as it goes into the query */
    uint32_t items;
    struct buf line;
    bool too_long; /* the line under way: skipped to its end */
    int64_t listed_ms, watch_ms;
    int64_t page_ms, begun_ms; /* when the list under way was asked for, and the last whole one */
    uint32_t failures;
};

static void go_on(struct kube_watch *watch, int64_t pause_ms);

static void free_watch(struct kube_watch *watch)
{
    buf_fini(&watch->line);
    free(watch->more);
    free(watch);
}

static void on_closed(uv_handle_t *handle)
{
    free_watch(handle->data);
}

/* ---- one line ---- */

static void take_version(const json_t *object, char out[64])
{
    const char *version =
        json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));

    out[0] = '\0';
    /* Opaque, but it goes into an address. */
    if (version && strlen(version) < 64 &&
        version[strspn(version, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
                                ":")] == '\0')
        snprintf(out, 64, "%s", version);
}

bool kube_watch_parse(const char *line, size_t len, json_t **root_out, const char **type_out,
                      const json_t **object_out, char version_out[64], int *code_out)
{
    json_t *root = json_loadb(line, len, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *object = json_object_get(root, "object");

    if (!type || !json_is_object(object)) {
        json_decref(root);
        return false;
    }
    *root_out = root;
    *type_out = type;
    *object_out = object;
    *code_out = 0;
    if (strcmp(type, "ERROR") == 0)
        *code_out = (int)json_integer_value(json_object_get(object, "code"));
    take_version(object, version_out);
    return true;
}

/* ---- failures ---- */

static void fail(struct kube_watch *watch, const struct kube_answer *answer)
{
    int64_t pause;

    watch->failures++;
    pause = kube_api_pause(watch->failures, answer);
    /* What is refused for good is asked for again seldom: somebody may mend the rights. */
    if (!kube_answer_is_passing(answer) && answer->status != STATUS_GONE)
        pause = KUBE_PAUSE_MS_MAX;
    if (watch->failures == 1 || watch->failures % 10 == 0)
        log_warn("%s: %s: asked again in %.1f s", watch->config.what, answer->said,
                 (double)pause / 1000);
    if (watch->config.failed)
        watch->config.failed(watch->config.context, answer);
    go_on(watch, pause);
}

/* ---- the list ---- */

/* Percent-encoded: a continue token may hold anything. */
static char *encode(const char *text)
{
    size_t len = strlen(text);
    char *out = len <= CONTINUE_BYTES_MAX / 3 ? malloc(len * 3 + 1) : NULL, *p = out;

    for (; out && *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || c == '-' || c == '_' || c == '.') {
            *p++ = (char)c;
        } else {
            snprintf(p, 4, "%%%02X", c);
            p += 3;
        }
    }
    if (out)
        *p = '\0';
    return out;
}

static void take_page(struct kube_watch *watch, const json_t *json)
{
    const struct kube_watch_config *config = &watch->config;
    const json_t *items = json_object_get(json, "items");
    const char *more =
        json_string_value(json_object_get(json_object_get(json, "metadata"), "continue"));
    size_t count = json_array_size(items);

    if (!watch->told_begin) {
        watch->told_begin = true;
        /* All pages are of one moment; where they are not, the watch begins with the first. */
        take_version(json, watch->version);
        config->begin(config->context);
    }
    for (size_t i = 0; i < count && watch->items < KUBE_ITEMS_MAX; i++, watch->items++)
        config->item(config->context, "ADDED", json_array_get(items, i));
    free(watch->more);
    watch->more = more && *more ? encode(more) : NULL;
    if (watch->more && count > 0 && watch->items < KUBE_ITEMS_MAX)
        return;
    free(TAKE(watch->more));
    watch->listing = watch->told_begin = watch->list_wanted = false;
    watch->synced = true;
    watch->listed_ms = clock_mono_ms();
    watch->begun_ms = watch->page_ms;
    config->end(config->context);
}

static void on_page(void *context, const struct kube_answer *answer)
{
    struct kube_watch *watch = context;

    watch->calling = false;
    if (watch->destroyed) {
        uv_close((uv_handle_t *)&watch->pause, on_closed);
        return;
    }
    if (answer->status != 200 || !json_is_array(json_object_get(answer->json, "items"))) {
        struct kube_answer strange = *answer;

        /* The pages do not go on (410 where the place in them is too old): from the first again.
         * Nothing was swept meanwhile. */
        watch->told_begin = false;
        free(TAKE(watch->more));
        if (answer->status == 200)
            snprintf(strange.said, sizeof(strange.said), "the answer is no list");
        fail(watch, &strange);
        return;
    }
    watch->failures = 0;
    take_page(watch, answer->json);
    go_on(watch, 0);
}

static void ask_page(struct kube_watch *watch)
{
    const struct kube_watch_config *config = &watch->config;
    char path[CONTINUE_BYTES_MAX + 512];

    if (!watch->more) {
        watch->items = 0;
        watch->page_ms = clock_mono_ms();
    }
    snprintf(path, sizeof(path), "%s?limit=%d%s%s%s%s", config->path, KUBE_PAGE,
             config->query[0] ? "&" : "", config->query, watch->more ? "&continue=" : "",
             watch->more ? watch->more : "");
    watch->calling = true;
    kube_api_call(config->api, "GET", path, NULL, on_page, watch);
}

/* ---- the watch ---- */

static void take_line(struct kube_watch *watch, const char *line, size_t len)
{
    const struct kube_watch_config *config = &watch->config;
    json_t *root = NULL;
    const char *type;
    const json_t *object;
    char version[64];
    int code;

    if (!kube_watch_parse(line, len, &root, &type, &object, version, &code)) {
        watch->list_wanted = true; /* what it said is lost */
        return;
    }
    if (strcmp(type, "ERROR") == 0) {
        log_debug("%s: the watch ends with %d", config->what, code);
        watch->list_wanted = true;
    } else {
        watch->failures = 0;
        if (strcmp(type, "BOOKMARK") != 0)
            config->item(config->context, type, object);
        if (version[0])
            snprintf(watch->version, sizeof(watch->version), "%s", version);
    }
    json_decref(root);
}

static void on_data(void *context, const char *data, size_t len)
{
    struct kube_watch *watch = context;

    while (len > 0 && !watch->destroyed) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;

        if (!watch->too_long && buf_add(&watch->line, data, part) < 0)
            watch->too_long = watch->list_wanted = true;
        if (end) {
            if (!watch->too_long && watch->line.len)
                take_line(watch, watch->line.data, watch->line.len);
            buf_clear(&watch->line);
            watch->too_long = false;
        }
        part += end != NULL;
        data += part;
        len -= part;
    }
}

static void on_end(void *context, const struct kube_answer *answer)
{
    struct kube_watch *watch = context;
    bool short_lived = clock_mono_ms() - watch->watch_ms < 1000;

    watch->stream = NULL;
    buf_clear(&watch->line);
    watch->too_long = false;
    if (answer->status == STATUS_GONE)
        watch->list_wanted = true;
    if (answer->status == 200 && !short_lived)
        go_on(watch, 0);
    else if (answer->status == 200) /* it ends at once, again and again: not so fast */
        go_on(watch, KUBE_PAUSE_MS_MIN);
    else
        fail(watch, answer);
}

static void ask_watch(struct kube_watch *watch)
{
    const struct kube_watch_config *config = &watch->config;
    char path[1024];

    snprintf(path, sizeof(path),
             "%s?watch=true&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s%s%s",
             config->path, KUBE_WATCH_S, watch->version, config->query[0] ? "&" : "",
             config->query);
    watch->watch_ms = clock_mono_ms();
    watch->stream = kube_api_stream(config->api, path, KUBE_SILENCE_MS, on_data, on_end, watch);
    if (!watch->stream)
        go_on(watch, KUBE_PAUSE_MS_MIN);
}

/* ---- what comes next ---- */

static void next(struct kube_watch *watch)
{
    if (watch->calling || watch->stream || watch->destroyed)
        return;
    if (!watch->synced || watch->list_wanted ||
        clock_mono_ms() - watch->listed_ms >= KUBE_LIST_AGE_MS)
        watch->listing = true;
    if (watch->listing)
        ask_page(watch);
    else
        ask_watch(watch);
}

static void on_pause(uv_timer_t *timer)
{
    next(timer->data);
}

static void go_on(struct kube_watch *watch, int64_t pause_ms)
{
    uv_timer_start(&watch->pause, on_pause, (uint64_t)pause_ms, 0);
}

struct kube_watch *kube_watch_create(const struct kube_watch_config *config)
{
    struct kube_watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return NULL;
    watch->config = *config;
    watch->line = buf_init(KUBE_LINE_BYTES_MAX);
    uv_timer_init(kube_api_loop(config->api), &watch->pause);
    watch->pause.data = watch;
    go_on(watch, 0);
    return watch;
}

void kube_watch_destroy(struct kube_watch *watch)
{
    if (!watch)
        return;
    watch->destroyed = true;
    if (watch->stream)
        kube_stream_cancel(watch->stream);
    watch->stream = NULL;
    if (!watch->calling)
        uv_close((uv_handle_t *)&watch->pause, on_closed);
    else
        uv_timer_stop(&watch->pause);
}

bool kube_watch_is_synced(const struct kube_watch *watch)
{
    return watch && watch->synced;
}

int64_t kube_watch_list_ms(const struct kube_watch *watch)
{
    return watch->begun_ms;
}

void kube_watch_list(struct kube_watch *watch)
{
    watch->list_wanted = true;
    if (watch->stream) {
        kube_stream_cancel(watch->stream);
        watch->stream = NULL;
    }
    if (!watch->calling)
        go_on(watch, 0);
}
