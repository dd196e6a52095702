#include "agent/pricing.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "model/units.h"
#include "net/http_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FETCH_MS_MAX 30000

struct pricing {
    struct pricing_config config;
    struct session *session;
    struct http_client *client; /* NULL unless there is a URL */
    struct http_pending *fetch;
    int64_t due_ms;          /* when the URL is asked again; monotonic */
    struct timespec mtime;   /* of the file, as it was read */
    struct tariff_file now;  /* as it was read or fetched last */
    struct tariff_file told; /* as the network has it */
    bool is_on_its_way;      /* `now` was told, and may be lost yet */
    bool is_bad;             /* and that was said */
};

static int take_text(const json_t *tariff, const char *key, char *out, size_t bytes,
                     struct err *err)
{
    const json_t *value = json_object_get(tariff, key);
    const char *text = json_string_value(value);

    if (!value)
        return 0;
    if (!text || !*text || strlen(text) >= bytes)
        return err_set(err, -EINVAL, "tariff.%s: expected a text of at most %zu bytes", key,
                       bytes - 1);
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

int pricing_config_parse(const json_t *tariff, struct pricing_config *out, struct err *err)
{
    struct pricing_config config = { .every_ms = PRICING_EVERY_MS };
    char every[32] = "";
    int rc = take_text(tariff, "series", config.file, sizeof(config.file), err);

    if (rc == 0)
        rc = take_text(tariff, "url", config.url, sizeof(config.url), err);
    if (rc == 0)
        rc = take_text(tariff, "every", every, sizeof(every), err);
    if (rc == 0 && every[0] && units_parse_duration(every, &config.every_ms, err) < 0)
        return err_prefix(err, -EINVAL, "tariff.every");
    if (rc == 0 && config.file[0] && config.url[0])
        rc = err_set(err, -EINVAL, "tariff: either series or url");
    if (rc == 0 && config.file[0] && config.file[0] != '/')
        rc = err_set(err, -EINVAL, "tariff.series: %.80s: expected an absolute path", config.file);
    if (rc == 0 && config.url[0] && strncmp(config.url, "http://", 7) != 0 &&
        strncmp(config.url, "https://", 8) != 0)
        rc = err_set(err, -EINVAL, "tariff.url: %.80s: expected http:// or https://", config.url);
    if (rc == 0 && config.every_ms < PRICING_EVERY_MS_MIN)
        rc = err_set(err, -EINVAL, "tariff.every: at least 10s");
    if (rc == 0)
        *out = config;
    return rc;
}

/* --- what is new ---------------------------------------------------------------------------- */

static bool has_row(const struct tariff_file *told, const struct tariff_file *next, uint32_t i)
{
    int64_t at_ms = next->from_ms + (int64_t)i * next->slot_ms - told->from_ms, slot;

    if (!told->count || told->slot_ms != next->slot_ms || at_ms < 0 || at_ms % told->slot_ms)
        return false;
    slot = at_ms / told->slot_ms;
    return slot < (int64_t)told->count &&
           memcmp(&told->rows[slot], &next->rows[i], sizeof(next->rows[i])) == 0;
}

struct tariff_file pricing_changes(const struct tariff_file *told, const struct tariff_file *next)
{
    struct tariff_file changes = *next;
    uint32_t first = 0, end = next->count;

    while (first < end && has_row(told, next, first))
        first++;
    while (end > first && has_row(told, next, end - 1))
        end--;
    changes.from_ms += (int64_t)first * next->slot_ms;
    changes.rows = next->rows + first;
    changes.count = end - first;
    return changes;
}

static int copy_file(struct tariff_file *to, const struct tariff_file *from)
{
    struct tariff_file copy = *from;

    copy.rows = calloc(from->count + 1u, sizeof(*copy.rows));
    if (!copy.rows)
        return -ENOMEM;
    memcpy(copy.rows, from->rows, from->count * sizeof(*copy.rows));
    tariff_file_fini(to);
    *to = copy;
    return 0;
}

/* Told again only when it was surely received: what a broken session lost must not be missed. */
static void tell(struct pricing *pricing)
{
    struct wire_report report = { .type = REPORT_TARIFF };

    if (!session_is_open(pricing->session))
        return;
    if (pricing->is_on_its_way) {
        if (session_backlog(pricing->session) || copy_file(&pricing->told, &pricing->now) < 0)
            return;
        pricing->is_on_its_way = false;
    }
    report.tariff = pricing_changes(&pricing->told, &pricing->now);
    if (!report.tariff.count)
        return;
    session_report(pricing->session, &report);
    session_flush(pricing->session);
    pricing->is_on_its_way = true;
}

void pricing_lost(struct pricing *pricing)
{
    if (pricing)
        pricing->is_on_its_way = false;
}

/* --- where it is from ----------------------------------------------------------------------- */

static void take(struct pricing *pricing, int rc, struct tariff_file *file, const struct err *err)
{
    if (rc < 0) {
        if (!pricing->is_bad)
            log_warn("tariff: %s", err->text);
        pricing->is_bad = true;
        return;
    }
    pricing->is_bad = false;
    if (pricing->is_on_its_way) /* what was told of the one before may not be all of it */
        tariff_file_fini(&pricing->told);
    pricing->is_on_its_way = false;
    tariff_file_fini(&pricing->now);
    pricing->now = *file;
}

static void look_at_file(struct pricing *pricing)
{
    struct tariff_file file = { 0 };
    struct err err = { 0 };
    struct stat info;

    if (stat(pricing->config.file, &info) == 0) {
        if (info.st_mtim.tv_sec == pricing->mtime.tv_sec &&
            info.st_mtim.tv_nsec == pricing->mtime.tv_nsec)
            return;
        pricing->mtime = info.st_mtim;
    }
    take(pricing, tariff_file_read(pricing->config.file, WIRE_TARIFF_ROWS_MAX, &file, &err), &file,
         &err);
}

static void on_fetched(void *context, const struct http_answer *answer)
{
    struct pricing *pricing = context;
    struct tariff_file file = { 0 };
    struct err err = { 0 };
    char *text = NULL;
    int rc = 0;

    pricing->fetch = NULL;
    if (answer->status != 200)
        rc = err_set(&err, -EIO, "%.120s: answered %d %.80s", pricing->config.url, answer->status,
                     answer->error);
    else if (!answer->body.len || memchr(answer->body.data, '\0', answer->body.len))
        rc = err_set(&err, -EINVAL, "%.120s: no text", pricing->config.url);
    if (rc == 0 && !(text = strndup(answer->body.data, answer->body.len)))
        rc = err_set(&err, -ENOMEM, "out of memory");
    if (rc == 0)
        rc = tariff_file_parse(pricing->config.url, text, WIRE_TARIFF_ROWS_MAX, &file, &err);
    free(text);
    take(pricing, rc, &file, &err);
    tell(pricing);
}

static void fetch(struct pricing *pricing)
{
    struct http_call call = { .method = "GET",
                              .url = pricing->config.url,
                              .timeout_ms = FETCH_MS_MAX,
                              .answer_bytes_max = TARIFF_FILE_BYTES_MAX };
    struct err err = { 0 };

    if (pricing->fetch || clock_mono_ms() < pricing->due_ms)
        return;
    pricing->due_ms = clock_mono_ms() + pricing->config.every_ms;
    if (http_client_call(pricing->client, &call, NULL, on_fetched, pricing, &pricing->fetch, &err) <
        0)
        take(pricing, -EIO, NULL, &err);
}

void pricing_look(struct pricing *pricing)
{
    if (!pricing)
        return;
    if (pricing->config.url[0])
        fetch(pricing);
    else
        look_at_file(pricing);
    tell(pricing);
}

int pricing_create(uv_loop_t *loop, const struct pricing_config *config, struct session *session,
                   struct pricing **pricing_out, struct err *err)
{
    struct pricing *pricing;
    int rc = 0;

    *pricing_out = NULL;
    if (!config->file[0] && !config->url[0])
        return 0;
    pricing = calloc(1, sizeof(*pricing));
    if (!pricing)
        return err_set(err, -ENOMEM, "tariff: out of memory");
    pricing->config = *config;
    pricing->session = session;
    if (config->url[0])
        rc = http_client_create(loop, &pricing->client, err);
    if (rc < 0) {
        pricing_destroy(pricing);
        return rc;
    }
    *pricing_out = pricing;
    return 0;
}

void pricing_destroy(struct pricing *pricing)
{
    if (!pricing)
        return;
    http_client_destroy(pricing->client);
    tariff_file_fini(&pricing->now);
    tariff_file_fini(&pricing->told);
    free(pricing);
}
