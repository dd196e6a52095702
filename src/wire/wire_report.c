#include "wire/wire.h"

#include "wire/wire_field.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/base64.h>
#include <string.h>

#define IN(type) (1u << REPORT_##type)
#define TIMES (IN(STARTED) | IN(PROGRESS) | IN(ENDED))
#define ATTEMPT (TIMES | IN(UNKNOWN) | IN(SUSPENDED))
#define AT(m) offsetof(struct wire_report, m), sizeof(((struct wire_report *)0)->m)

static const char *const type_names[] = {
    [REPORT_HELLO] = "hello",   [REPORT_STARTED] = "started",     [REPORT_PROGRESS] = "progress",
    [REPORT_ENDED] = "ended",   [REPORT_UNKNOWN] = "unknown",     [REPORT_LOG] = "log",
    [REPORT_NODE] = "node",     [REPORT_INVENTORY] = "inventory", [REPORT_ALIVE] = "alive",
    [REPORT_TARIFF] = "tariff", [REPORT_SUSPENDED] = "suspended", [REPORT_QUEUE] = "queue",
    [REPORT_LINK] = "link",
};

static const struct wire_field fields[] = {
    { "job", WIRE_U64, AT(attempt.job_id), 0, INT64_MAX, 0, ATTEMPT, ATTEMPT },
    { "epoch", WIRE_U32, AT(attempt.epoch), 0, UINT32_MAX, 0, ATTEMPT, ATTEMPT },
    { "version", WIRE_TEXT, AT(version), 0, 0, 0, IN(HELLO), 0 },
    { "incarnation", WIRE_U64, AT(incarnation), 0, INT64_MAX, 0, IN(HELLO), IN(HELLO) },
    { "boot_ms", WIRE_I64, AT(boot_ms), 0, INT64_MAX, 0, IN(HELLO) | IN(ALIVE), IN(ALIVE) },
    { "started_ms", WIRE_I64, AT(started_ms), 0, INT64_MAX, 0, TIMES, IN(STARTED) },
    { "ended_ms", WIRE_I64, AT(ended_ms), 0, INT64_MAX, 0, IN(ENDED), 0 },
    { "stall_ms", WIRE_I64, AT(stall_ms), 0, INT64_MAX, 0, IN(PROGRESS), 0 },
    { "checkpoint_ms", WIRE_I64, AT(checkpoint_ms), 0, INT64_MAX, 0, IN(PROGRESS) | IN(ENDED), 0 },
    { "outcome", WIRE_U32, AT(outcome), 0, 255, 0, IN(ENDED), IN(ENDED) },
    { "exit_code", WIRE_I32, AT(exit_code), INT32_MIN, INT32_MAX, 0, IN(ENDED), IN(ENDED) },
    { "reason", WIRE_LINE, AT(reason), 0, 0, 0,
      IN(PROGRESS) | IN(ENDED) | IN(NODE) | IN(LOG) | IN(SUSPENDED), 0 },
    { "suspended", WIRE_BOOL, AT(suspended), 0, 1, 0, IN(SUSPENDED), IN(SUSPENDED) },
    { "receipt", WIRE_TEXT, AT(receipt.text), 0, 0, 0, IN(ENDED), 0 },
    { "signature", WIRE_TEXT, AT(receipt.signature), 0, 0, 0, IN(ENDED), 0 },
    { "key", WIRE_TEXT, AT(receipt.key), 0, 0, 0, IN(ENDED), 0 },
    { "request", WIRE_U64, AT(request), 0, INT64_MAX, 0, IN(LOG), IN(LOG) },
    { "offset", WIRE_I64, AT(offset), 0, INT64_MAX, 0, IN(LOG), 0 },
    { "eof", WIRE_BOOL, AT(eof), 0, 1, 0, IN(LOG), 0 },
    { "from_ms", WIRE_I64, AT(tariff.from_ms), 0, INT64_MAX, 0, IN(TARIFF), IN(TARIFF) },
    { "slot_ms", WIRE_I64, AT(tariff.slot_ms), 1, INT64_MAX, 0, IN(TARIFF), IN(TARIFF) },
    { "down_bytes_s", WIRE_I64, AT(down_bytes_s), 0, INT64_MAX, 0, IN(LINK), 0 },
    { "up_bytes_s", WIRE_I64, AT(up_bytes_s), 0, INT64_MAX, 0, IN(LINK), 0 },
    { "node", WIRE_NAME, AT(node), 0, 0, 0, IN(NODE), IN(NODE) },
    { "device", WIRE_I32, AT(device), -1, INT32_MAX, -1, IN(NODE), 0 },
    { "cordoned", WIRE_BOOL, AT(cordoned), 0, 1, 0, IN(NODE), IN(NODE) },
};

#undef AT
#define AT(m) offsetof(struct usage, m), sizeof(((struct usage *)0)->m)
#define COUNTED(m)                                                                                 \
    {                                                                                              \
#m, WIRE_I64, AT(m), 0, INT64_MAX, 0, 1, 0                                                 \
    }

/* Carbon and price are the controller's to fill, from the tariff. */
static const struct wire_field usage_fields[] = {
    COUNTED(wall_ms),           COUNTED(cpu_ms),    COUNTED(cpu_held_ms), COUNTED(device_milli_ms),
    COUNTED(memory_peak_bytes), COUNTED(energy_mj),
};

static bool has_usage(uint32_t type)
{
    return type == REPORT_PROGRESS || type == REPORT_ENDED;
}

static bool has_site(uint32_t type)
{
    return type == REPORT_HELLO || type == REPORT_INVENTORY;
}

static int print_usage(const struct usage *usage, struct buf *out)
{
    buf_printf(out, ",\"usage\":{\"energy_measured\":%s",
               usage->energy_measured ? "true" : "false");
    if (wire_print_fields(out, usage_fields, ARRAY_COUNT(usage_fields), 0, usage) < 0)
        return -EINVAL;
    return buf_add_char(out, '}');
}

static int print_site(const struct site_info *site, struct buf *out)
{
    CLEANUP(wire_json_freep) json_t *json = site_info_to_json(site);
    CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (!text)
        return -ENOMEM;
    buf_add_text(out, ",\"site\":");
    return buf_add_text(out, text);
}

static int print_policy(const struct site_policy *policy, struct buf *out)
{
    CLEANUP(wire_json_freep) json_t *json = site_policy_to_json(policy);
    CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (!text)
        return -ENOMEM;
    buf_add_text(out, ",\"policy\":");
    return buf_add_text(out, text);
}

static int print_rows(const struct tariff_file *tariff, struct buf *out)
{
    if (!tariff->count || tariff->count > WIRE_TARIFF_ROWS_MAX)
        return -EINVAL;
    buf_add_text(out, ",\"rows\":[");
    for (uint32_t i = 0; i < tariff->count; i++) {
        const struct tariff_file_row *row = &tariff->rows[i];
        const int64_t values[] = { row->price_micro, row->carbon_mg, row->green_ppm, row->cap_w };

        buf_add_text(out, i ? ",[" : "[");
        for (size_t v = 0; v < ARRAY_COUNT(values); v++)
            if (values[v] == TARIFF_FILE_UNKNOWN)
                buf_add_text(out, v ? ",null" : "null");
            else
                buf_printf(out, "%s%" PRId64, v ? "," : "", values[v]);
        buf_add_char(out, ']');
    }
    return buf_add_char(out, ']');
}

static int print_waits(const struct wire_report *report, struct buf *out)
{
    if (report->waits_count > WIRE_WAITS_MAX)
        return -EINVAL;
    buf_add_text(out, ",\"waits\":[");
    for (uint32_t i = 0; i < report->waits_count; i++)
        buf_printf(out, "%s[%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRId64 "]", i ? "," : "",
                   report->waits[i].has_devices, report->waits[i].nodes_max,
                   report->waits[i].pending, report->waits[i].wait_ms);
    return buf_add_char(out, ']');
}

static int print_data(const struct wire_report *report, struct buf *out)
{
    size_t len = BASE64_ENCODE_RAW_LENGTH((size_t)report->data_len);
    int rc;

    if (report->data_len > WIRE_LOG_BYTES_MAX)
        return -EINVAL;
    buf_add_text(out, ",\"data\":\"");
    rc = buf_reserve(out, len);
    if (rc < 0)
        return rc;
    if (report->data_len)
        base64_encode_raw(out->data + out->len, report->data_len, (const uint8_t *)report->data);
    out->len += len;
    return buf_add_char(out, '"');
}

int wire_report_print(const struct wire_report *report, struct buf *out)
{
    size_t start = out->len;
    int rc;

    if ((uint32_t)report->type >= ARRAY_COUNT(type_names))
        return -EINVAL;
    wire_begin_line(out, type_names[report->type]);
    rc = wire_print_fields(out, fields, ARRAY_COUNT(fields), report->type, report);
    if (rc == 0 && has_usage(report->type))
        rc = print_usage(&report->usage, out);
    if (rc == 0 && has_site(report->type))
        rc = print_site(&report->site, out);
    if (rc == 0 && has_site(report->type) && report->policy)
        rc = print_policy(report->policy, out);
    if (rc == 0 && report->type == REPORT_HELLO)
        rc = wire_print_attempts(out, "attempts", report->attempts, report->attempts_count);
    if (rc == 0 && report->type == REPORT_TARIFF)
        rc = print_rows(&report->tariff, out);
    if (rc == 0 && report->type == REPORT_QUEUE)
        rc = print_waits(report, out);
    if (rc == 0 && report->type == REPORT_LOG)
        rc = print_data(report, out);
    return wire_end_line(out, start, rc);
}

static int parse_usage(const json_t *json, struct usage *usage, struct err *err)
{
    const json_t *measured = json_object_get(json, "energy_measured");
    int rc;

    if (!json)
        return 0;
    if (!json_is_object(json) || (measured && !json_is_boolean(measured)))
        return err_field(err, -EBADMSG, "usage", "usage: expected an object of counts");
    rc = wire_parse_fields(json, usage_fields, ARRAY_COUNT(usage_fields), 0, usage, err);
    if (rc < 0)
        return err_prefix(err, rc, "usage");
    usage->energy_measured = json_is_true(measured);
    return 0;
}

static int parse_rows(const json_t *list, struct arena *arena, struct tariff_file *tariff,
                      struct err *err)
{
    size_t count = json_array_size(list);

    if (!count || count > WIRE_TARIFF_ROWS_MAX)
        return err_field(err, -EBADMSG, "rows", "rows: expected a list of 1 to %u",
                         WIRE_TARIFF_ROWS_MAX);
    tariff->rows = arena_alloc(arena, count, sizeof(*tariff->rows));
    if (!tariff->rows)
        return err_set(err, -ENOMEM, "rows: out of memory");
    for (size_t i = 0; i < count; i++) {
        struct tariff_file_row *row = &tariff->rows[i];
        int64_t *const values[] = { &row->price_micro, &row->carbon_mg, &row->green_ppm,
                                    &row->cap_w };
        const json_t *cells = json_array_get(list, i);

        for (size_t v = 0; v < ARRAY_COUNT(values); v++) {
            const json_t *cell = json_array_get(cells, v);

            if (json_array_size(cells) != ARRAY_COUNT(values) ||
                !(json_is_integer(cell) || json_is_null(cell)))
                return err_field(err, -EBADMSG, "rows",
                                 "rows[%zu]: expected four whole numbers, or null", i);
            *values[v] = json_is_null(cell) ? TARIFF_FILE_UNKNOWN : json_integer_value(cell);
        }
    }
    tariff->count = (uint32_t)count;
    return 0;
}

static int parse_waits(const json_t *list, struct wire_report *report, struct err *err)
{
    if (!json_is_array(list) || json_array_size(list) > WIRE_WAITS_MAX)
        return err_field(err, -EBADMSG, "waits", "waits: expected a list of at most %u",
                         WIRE_WAITS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *cells = json_array_get(list, i);
        int64_t values[4];

        for (size_t v = 0; v < ARRAY_COUNT(values); v++) {
            const json_t *cell = json_array_get(cells, v);

            values[v] = json_is_integer(cell) ? json_integer_value(cell) : -1;
            if (json_array_size(cells) != ARRAY_COUNT(values) || values[v] < 0 ||
                (v < 3 && values[v] > UINT32_MAX))
                return err_field(err, -EBADMSG, "waits", "waits[%zu]: expected four counts", i);
        }
        report->waits[i] = (struct wire_wait){ (uint32_t)values[0], (uint32_t)values[1],
                                               (uint32_t)values[2], values[3] };
    }
    report->waits_count = (uint32_t)json_array_size(list);
    return 0;
}

static int parse_data(const json_t *json, struct arena *arena, struct wire_report *report,
                      struct err *err)
{
    const char *text = json ? json_string_value(json) : "";
    size_t text_len = json ? json_string_length(json) : 0;
    struct base64_decode_ctx context;
    size_t len;
    uint8_t *data;

    if (!text || text_len > BASE64_ENCODE_RAW_LENGTH((size_t)WIRE_LOG_BYTES_MAX))
        return err_field(err, -EBADMSG, "data", "data: expected base64 of at most %u bytes",
                         WIRE_LOG_BYTES_MAX);
    len = BASE64_DECODE_LENGTH(text_len);
    data = arena_alloc(arena, len + 1, 1);
    if (!data)
        return err_set(err, -ENOMEM, "data: out of memory");
    base64_decode_init(&context);
    if (!base64_decode_update(&context, &len, data, text_len, text) ||
        !base64_decode_final(&context) || len > WIRE_LOG_BYTES_MAX)
        return err_field(err, -EBADMSG, "data", "data: not base64");
    data[len] = '\0';
    report->data = (const char *)data;
    report->data_len = (uint32_t)len;
    return 0;
}

static int parse_policy(const json_t *json, struct arena *arena, struct wire_report *report,
                        struct err *err)
{
    struct site_policy *policy = json ? arena_alloc(arena, 1, sizeof(*policy)) : NULL;
    int rc;

    if (!json)
        return 0;
    if (!policy)
        return err_set(err, -ENOMEM, "policy: out of memory");
    rc = site_policy_parse_json(json, policy, err);
    report->policy = policy;
    return rc < 0 ? err_prefix(err, -EBADMSG, "owner") : 0;
}

static int parse_site(const json_t *json, struct site_info *site, struct err *err)
{
    int rc;

    if (!json)
        return err_field(err, -EBADMSG, "site", "site: missing");
    rc = site_info_parse_json(json, site, err);
    /* One code for "the peer sent nonsense", whichever parser saw it. */
    if (rc < 0)
        return err_prefix(err, rc == -ENOMEM ? rc : -EBADMSG, "site");
    return 0;
}

int wire_report_parse(const char *line, size_t len, struct arena *arena,
                      struct wire_report *report_out, struct err *err)
{
    CLEANUP(wire_json_freep) json_t *root = NULL;
    struct wire_report report = { 0 };
    uint32_t type = 0;
    int rc = wire_parse_line(line, len, type_names, ARRAY_COUNT(type_names), &root, &type, err);

    if (rc < 0)
        return rc;
    report.type = (enum wire_report_type)type;
    rc = wire_parse_fields(root, fields, ARRAY_COUNT(fields), type, &report, err);
    if (rc == 0 && has_usage(type))
        rc = parse_usage(json_object_get(root, "usage"), &report.usage, err);
    if (rc == 0 && type == REPORT_HELLO)
        rc = wire_parse_attempts(json_object_get(root, "attempts"), arena, &report.attempts,
                                 &report.attempts_count, err);
    if (rc == 0 && type == REPORT_TARIFF)
        rc = parse_rows(json_object_get(root, "rows"), arena, &report.tariff, err);
    if (rc == 0 && type == REPORT_QUEUE)
        rc = parse_waits(json_object_get(root, "waits"), &report, err);
    if (rc == 0 && type == REPORT_LOG)
        rc = parse_data(json_object_get(root, "data"), arena, &report, err);
    /* Last, since only it allocates outside the arena. */
    if (rc == 0 && has_site(type))
        rc = parse_policy(json_object_get(root, "policy"), arena, &report, err);
    if (rc == 0 && has_site(type))
        rc = parse_site(json_object_get(root, "site"), &report.site, err);
    if (rc < 0)
        return err_prefix(err, rc, "%s", type_names[type]);
    *report_out = report;
    return 0;
}

void wire_report_receipt(const struct wire_report *report, const char *network, const char *site,
                         struct receipt *receipt_out)
{
    *receipt_out = (struct receipt){ .side = RECEIPT_SITE,
                                     .job_id = report->attempt.job_id,
                                     .epoch = report->attempt.epoch,
                                     .outcome = report->outcome,
                                     .exit_code = report->exit_code,
                                     .began_ms = report->started_ms,
                                     .ended_ms = report->ended_ms,
                                     .usage = report->usage };
    receipt_out->usage.carbon_ug = receipt_out->usage.price_micro = 0;
    snprintf(receipt_out->network, sizeof(receipt_out->network), "%s", network);
    snprintf(receipt_out->site, sizeof(receipt_out->site), "%s", site);
}
