/* The durable form of events: what is refused, what comes back, what stays readable for ever. */
#include "grid/event.h"
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "grid/event_fields.h"

static struct event full_submit(void)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED, .time_ms = 1700000000123 };
    struct job_request *request = &event.job_submitted.request;

    request->job_class = CLASS_HIGH;
    request->duration_ms_max = 3600000;
    request->retries_max = 2;
    request->retry_codes_count = 2;
    request->retry_codes[0] = 1;
    request->retry_codes[1] = 255;
    request->deps_count = 1;
    request->deps[0] = (struct request_dep){ .job_id = UINT64_MAX - 1, .kind = DEP_FAILED };
    request->shape.tasks = 8;
    request->shape.cpus = 4;
    request->shape.devices_milli = 250;
    request->shape.memory_bytes = 1LL << 40;
    request->shape.chips_count = 2;
    strcpy(request->shape.chips[0], "h100-sxm5-80g");
    strcpy(request->shape.chips[1], "910b3");
    request->shape.needs_count = 1;
    request->shape.needs[0].metric = METRIC_BF16_TFLOPS;
    request->shape.needs[0].least_milli = 300000;
    request->shape.places_count = 1;
    request->shape.places[0].deny = 1;
    strcpy(request->shape.places[0].name, "north");
    event.job_submitted.tenant = "alice";
    event.job_submitted.user = "al";
    event.job_submitted.name = "melt";
    event.job_submitted.idempotency_key = "k";
    event.job_submitted.elements_count = 100;
    event.job_submitted.parallel_max = 4;
    event.job_submitted.spec_json = "{\"run\":\"\xff\"}"; /* not UTF-8: must survive an export */
    event.job_submitted.body_hash = 1ULL << 62;
    event.job_submitted.spec_len = (uint32_t)strlen(event.job_submitted.spec_json);
    return event;
}

static struct buf encode(const struct event *event)
{
    struct buf bytes = buf_init(2u * EVENT_BYTES_MAX);

    assert_int_equal(event_encode(event, &bytes), 0);
    return bytes;
}

static void assert_same(struct buf *a, struct buf *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
    buf_fini(a);
    buf_fini(b);
}

static void round_trip(const struct event *event)
{
    struct arena arena = arena_init(64 << 20);
    struct buf first = encode(event), second;
    struct event decoded, imported;
    struct err err = { 0 };
    json_t *json;

    if (event_decode(first.data, first.len, &arena, &decoded, &err) < 0)
        fail_msg("%s", err.text);
    json = event_to_json(&decoded);
    assert_non_null(json);
    if (event_from_json(json, &arena, &imported, &err) < 0)
        fail_msg("%s", err.text);
    second = encode(&imported);
    assert_same(&first, &second);
    json_decref(json);
    arena_fini(&arena);
}

static void test_round_trip(void **state)
{
    struct node_info node = { .name = "n1", .cpus = 8, .devices_count = 1 };
    struct chip_figures chip = { .kind = "a100", .power_watts = 400, .power_idle_watts = -1 };
    struct event event = full_submit();

    (void)state;
    round_trip(&event);
    event = (struct event){ .type = EVENT_SITE_JOINED, .time_ms = INT64_MAX };
    strcpy(node.devices[0].chip, "a100");
    for (int i = 0; i < METRIC_COUNT; i++)
        chip.metric_milli[i] = i - 1;
    strcpy(event.site_joined.site.name, "here");
    event.site_joined.site.nodes = &node;
    event.site_joined.site.nodes_count = 1;
    event.site_joined.chips = &chip;
    event.site_joined.chips_count = 1;
    round_trip(&event);
    event = (struct event){ .type = EVENT_SITE_SEEN };
    event.site_seen.site = "here";
    event.site_seen.session = UINT64_MAX;
    round_trip(&event);
    for (unsigned type = EVENT_JOB_SUBMITTED; type <= EVENT_TYPE_LAST; type++) {
        event = (struct event){ .type = type, .time_ms = -5 };
        if (event_fields(type)) /* a number that is not given yet has none */
            round_trip(&event);
    }
}

/* Bytes of a record of version 1, as they stand in journals: they must read the same for ever. */
static void test_old_records(void **state)
{
    static const uint8_t ended[] = { 10, 0, 1, 0,  0x39, 0x30, 0,   0, 0, 0, 0, 0, /* 12345 ms */
                                     7,  2, 1, 18, 0,    0,    10,  0, 0, 0, 0, 0, 0x80,
                                     8,  0, 0, 1,  2,    'o',  'k', 0 };
    struct arena arena = arena_init(1 << 20);
    struct event event;
    struct err err = { 0 };

    (void)state;
    if (event_decode(ended, sizeof(ended), &arena, &event, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(event.type, EVENT_ATTEMPT_ENDED);
    assert_int_equal(event.time_ms, 12345);
    assert_int_equal(event.attempt_ended.job_id, 7);
    assert_int_equal(event.attempt_ended.epoch, 2);
    assert_int_equal(event.attempt_ended.outcome, OUTCOME_SIGNALLED);
    assert_int_equal(event.attempt_ended.exit_code, 9);
    assert_int_equal(event.attempt_ended.usage.energy_mj, 512);
    assert_string_equal(event.attempt_ended.reason, "ok");
    arena_fini(&arena);
}

/* A record that ends early was written before the later fields were: they have their defaults. */
static void test_missing_fields(void **state)
{
    static const uint8_t node_state[] = { 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 's', 0 };
    static const uint8_t chips[] = { 1, 'a', 0, 2, 4, 6 }; /* kind, two metrics of many */
    struct arena arena = arena_init(1 << 20);
    struct chip_figures chip = { 0 };
    struct event event;

    (void)state;
    assert_int_equal(event_decode(node_state, sizeof(node_state), &arena, &event, NULL), 0);
    assert_string_equal(event.node_state.site, "s");
    assert_string_equal(event.node_state.node, "");
    assert_string_equal(event.node_state.reason, "");
    assert_false(event.node_state.cordoned);
    assert_int_equal(fields_decode(&fields_of_chips, chips, sizeof(chips), &arena, &chip, NULL), 0);
    assert_int_equal(chip.metric_milli[0], 2);
    assert_int_equal(chip.metric_milli[1], 3);
    assert_int_equal(chip.metric_milli[2], -1);
    arena_fini(&arena);
}

static void test_damaged_records(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        { "", 0 },
        { "\x06\0\1\0\0\0\0\0\0\0\0", 11 },           /* half a head */
        { "\0\0\1\0\0\0\0\0\0\0\0\0", 12 },           /* type 0 */
        { "\xff\xff\1\0\0\0\0\0\0\0\0\0", 12 },       /* type 65535 */
        { "\x06\0\0\0\0\0\0\0\0\0\0\0", 12 },         /* version 0 */
        { "\x06\0\2\0\0\0\0\0\0\0\0\0", 12 },         /* of a newer program */
        { "\x06\0\1\0\0\0\0\0\0\0\0\0x", 13 },        /* a byte too many */
        { "\x0e\0\1\0\0\0\0\0\0\0\0\0\5abc\0", 17 },  /* text longer than the record */
        { "\x0e\0\1\0\0\0\0\0\0\0\0\0\3abcd", 17 },   /* no NUL behind the text */
        { "\x0e\0\1\0\0\0\0\0\0\0\0\0\3a\0c\0", 17 }, /* a NUL inside it */
        { "\x08\0\1\0\0\0\0\0\0\0\0\0\x80", 13 },     /* half a number */
        { "\x08\0\1\0\0\0\0\0\0\0\0\0\1\xff\xff\xff\xff\x7f", 18 }, /* epoch past 32 bits */
        { "\x08\0\1\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 22 },
        { "\x03\0\1\0\0\0\0\0\0\0\0\0\xff\xff\3", 15 }, /* a struct longer than the record */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = arena_init(1 << 20);
        struct err err = { 0 };
        struct event event;
        int rc = event_decode(cases[i].bytes, cases[i].len, &arena, &event, &err);

        if (rc != -EBADMSG || !err.text[0])
            fail_msg("case %zu: rc %d, \"%s\"", i, rc, err.text);
        arena_fini(&arena);
    }
}

/* Whatever is cut off, a cut record never reads as another one of its length. */
static void test_cut_records(void **state)
{
    struct event event = full_submit(), decoded;
    struct buf bytes = encode(&event);

    (void)state;
    for (size_t len = 0; len < bytes.len; len++) {
        struct arena arena = arena_init(1 << 20);
        char *cut = malloc(len ? len : 1);

        assert_non_null(cut);
        memcpy(cut, bytes.data, len);
        event_decode(cut, len, &arena, &decoded, NULL); /* a sanitizer sees a read past its end */
        free(cut);
        arena_fini(&arena);
    }
    buf_fini(&bytes);
}

static void test_refused_encodes(void **state)
{
    struct event event = { .type = EVENT_NOTE };
    struct buf bytes = buf_init(1 << 20);
    char text[EVENT_TEXT_BYTES_MAX + 2];

    (void)state;
    buf_add_text(&bytes, "kept");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    event.note.text = text;
    assert_int_equal(event_encode(&event, &bytes), -EINVAL);
    event.type = 99;
    assert_int_equal(event_encode(&event, &bytes), -EINVAL);
    event = full_submit();
    event.job_submitted.request.deps_count = REQUEST_DEPS_MAX + 1;
    assert_int_equal(event_encode(&event, &bytes), -EINVAL);
    assert_string_equal(bytes.data, "kept");
    assert_int_equal(bytes.len, 4);
    buf_fini(&bytes);
}

static void test_refused_json(void **state)
{
    static const char *const cases[] = {
        "{}",
        "{\"type\":\"pass\"}",
        "{\"type\":\"pass\",\"version\":1}",
        "{\"type\":\"pass\",\"version\":2,\"time_ms\":1}",
        "{\"type\":\"pass\",\"version\":1,\"time_ms\":\"1\"}",
        "{\"type\":\"pass\",\"version\":1,\"time_ms\":1,\"more\":1}",
        "{\"type\":\"dance\",\"version\":1,\"time_ms\":1}",
        "{\"type\":\"note\",\"version\":1,\"time_ms\":1}",
        "{\"type\":\"note\",\"version\":1,\"time_ms\":1,\"text\":1}",
        "{\"type\":\"note\",\"version\":1,\"time_ms\":1,\"text\":{\"hex\":\"6\"}}",
        "{\"type\":\"note\",\"version\":1,\"time_ms\":1,\"text\":{\"hex\":\"00\"}}",
        "{\"type\":\"attempt_unknown\",\"version\":1,\"time_ms\":1,\"job_id\":-1,\"epoch\":1}",
        "{\"type\":\"attempt_unknown\",\"version\":1,\"time_ms\":1,\"job_id\":\"\",\"epoch\":1}",
        ("{\"type\":\"attempt_unknown\",\"version\":1,\"time_ms\":1,\"job_id\":1,"
         "\"epoch\":4294967296}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = arena_init(1 << 20);
        json_t *json = json_loads(cases[i], 0, NULL);
        struct err err = { 0 };
        struct event event;

        assert_non_null(json);
        if (event_from_json(json, &arena, &event, &err) != -EINVAL || !err.text[0])
            fail_msg("taken: %s", cases[i]);
        json_decref(json);
        arena_fini(&arena);
    }
}

/* docs/journal.md lists every field of every event, in the record's order. */
static void find_fields(const char *text, const struct fields *fields, const char *event)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        char name[80];
        const char *found;

        snprintf(name, sizeof(name), "`%s`", fields->list[i].name);
        found = strstr(text, name);
        if (!found)
            fail_msg("docs/journal.md does not list %s of %s in its place", name, event);
        text = found + 1;
    }
}

static void test_documented(void **state)
{
    static char text[1 << 17];
    FILE *file = fopen(DOCS_DIR "/journal.md", "r");
    const char *records;
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    records = strstr(text, "\n## Records");
    assert_non_null(records);
    for (unsigned type = 1; type <= EVENT_TYPE_LAST; type++) {
        char head[80];
        const char *row;

        if (!event_fields(type)) /* a number that is not given yet */
            continue;
        snprintf(head, sizeof(head), "\n| %u | `%s` |", type, event_type_name(type));
        row = strstr(records, head);
        if (!row)
            fail_msg("docs/journal.md has no row for %s", event_type_name(type));
        find_fields(row, event_fields(type), event_type_name(type));
    }
    find_fields(strstr(records, "\n| request |"), &fields_of_request, "request");
    find_fields(strstr(records, "\n| site policy |"), &fields_of_site_policy, "site policy");
    find_fields(strstr(records, "\n| shape |"), &fields_of_shape, "shape");
    find_fields(strstr(records, "\n| usage |"), &fields_of_usage, "usage");
    find_fields(strstr(records, "\n| site |"), &fields_of_site, "site");
    find_fields(strstr(records, "\n| chip |"), &fields_of_chips, "chip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_records), cmocka_unit_test(test_cut_records),
        cmocka_unit_test(test_refused_encodes), cmocka_unit_test(test_refused_json),
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_old_records),
        cmocka_unit_test(test_missing_fields),  cmocka_unit_test(test_documented),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
