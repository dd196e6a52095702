#include "model/inventory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODE "{\"name\":\"n1\",\"cpus\":4,\"memory_bytes\":1024"
#define SITE(nodes) "{\"name\":\"home\",\"nodes\":" nodes "}"
#define DEVICE(rest) SITE("[" NODE ",\"devices\":[{\"chip\":\"t4\",\"index\":0" rest "}]}]")

/* Refusals: the JSON, the error, the field that is named. */
static const struct {
    const char *json;
    int rc;
    const char *field;
} refused[] = {
    { "[]", -EINVAL, "site" },
    { "{}", -EINVAL, "name" },
    { "{\"name\":7}", -EINVAL, "name" },
    { "{\"name\":\"\"}", -EINVAL, "name" },
    { "{\"name\":\"a b\"}", -EINVAL, "name" },
    { "{\"name\":\"../x\"}", -EINVAL, "name" },
    { "{\"name\":\"-x\"}", -EINVAL, "name" },
    { "{\"name\":\"x\",\"owner\":\"a\\nb\"}", -EINVAL, "owner" },
    { "{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", -EINVAL,
      "name" },
    { "{\"name\":\"x\",\"tariff\":[]}", -EINVAL, "tariff" },
    { "{\"name\":\"x\",\"tariff\":{\"carbon_g_per_kwh_milli\":-1}}", -EINVAL,
      "tariff.carbon_g_per_kwh_milli" },
    { "{\"name\":\"x\",\"tariff\":{\"carbon_g_per_kwh_milli\":1.5}}", -EINVAL,
      "tariff.carbon_g_per_kwh_milli" },
    { "{\"name\":\"x\",\"tariff\":{\"currency\":\"DOLLARS!\"}}", -EINVAL, "tariff.currency" },
    { "{\"name\":\"x\",\"tariff\":{\"price_assumed\":1}}", -EINVAL, "tariff.price_assumed" },
    { SITE("{}"), -EINVAL, "nodes" },
    { SITE("[7]"), -EINVAL, "nodes[0]." },
    { SITE("[{\"name\":\"n\"}]"), -EINVAL, "nodes[0].cpus" },
    { SITE("[{\"name\":\"n\",\"cpus\":-1,\"memory_bytes\":1}]"), -EINVAL, "nodes[0].cpus" },
    { SITE("[{\"name\":\"n\",\"cpus\":4294967297,\"memory_bytes\":1}]"), -EINVAL, "nodes[0].cpus" },
    { SITE("[{\"name\":\"n\",\"cpus\":1}]"), -EINVAL, "nodes[0].memory_bytes" },
    { SITE("[" NODE "}," NODE "}]"), -EINVAL, "nodes" }, /* one name twice */
    { SITE("[" NODE ",\"os\":\"a\\u001b[2J\"}]"), -EINVAL, "nodes[0].os" },
    { SITE("[" NODE ",\"devices\":7}]"), -EINVAL, "nodes[0].devices" },
    { SITE("[" NODE ",\"devices\":[null]}]"), -EINVAL, "nodes[0].devices[0]." },
    { SITE("[" NODE ",\"devices\":[{\"chip\":\"t4\"}]}]"), -EINVAL, "nodes[0].devices[0].index" },
    { DEVICE(",\"health\":\"fine\""), -EINVAL, "nodes[0].devices[0].health" },
    { DEVICE(",\"health\":1"), -EINVAL, "nodes[0].devices[0].health" },
    { DEVICE(",\"numa\":-1"), -EINVAL, "nodes[0].devices[0].numa" },
    { DEVICE(",\"numa\":\"0\""), -EINVAL, "nodes[0].devices[0].numa" },
    { DEVICE(",\"memory_bytes\":9223372036854775807"), -EINVAL,
      "nodes[0].devices[0].memory_bytes" },
};

static void test_parse_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct site_info info = { .nodes_count = 77 };
        struct err err = { 0 };
        json_t *root = json_loads(refused[i].json, 0, NULL);
        int rc;

        assert_non_null(root);
        rc = site_info_parse_json(root, &info, &err);
        json_decref(root);
        if (rc != refused[i].rc || strcmp(err.field, refused[i].field) != 0 || !err.text[0])
            fail_msg("%s: rc %d, field \"%s\", \"%s\"", refused[i].json, rc, err.field, err.text);
        if (info.nodes_count != 77)
            fail_msg("%s: the result was touched", refused[i].json);
    }
}

static void test_parse_bounds_lists(void **state)
{
    struct site_info info;
    struct err err = { 0 };
    json_t *root = json_loads(SITE("[" NODE "}]"), 0, NULL);
    json_t *devices = json_array();

    (void)state;
    for (uint32_t i = 0; i <= NODE_DEVICES_MAX; i++)
        json_array_append_new(devices, json_pack("{s:s,s:i}", "chip", "t4", "index", (int)i));
    json_object_set_new(json_array_get(json_object_get(root, "nodes"), 0), "devices", devices);
    assert_int_equal(site_info_parse_json(root, &info, &err), -E2BIG);
    json_array_remove(devices, 0);
    assert_int_equal(site_info_parse_json(root, &info, &err), 0);
    assert_int_equal(info.nodes[0].devices_count, NODE_DEVICES_MAX);
    site_info_fini(&info);
    json_decref(root);
}

static void test_parse_fills_defaults(void **state)
{
    struct site_info info;
    json_t *root = json_loads(DEVICE(",\"later\":[1,{}]"), 0, NULL);

    (void)state;
    assert_int_equal(site_info_parse_json(root, &info, NULL), 0);
    json_decref(root);
    assert_string_equal(info.owner, "");
    assert_int_equal(info.nodes_count, 1);
    assert_int_equal(info.nodes[0].devices[0].numa, UINT32_MAX);
    assert_int_equal(info.nodes[0].devices[0].health, DEVICE_OK);
    assert_int_equal(info.nodes[0].disk_bytes, 0);
    site_info_fini(&info);
    site_info_fini(&info); /* zeroes are fine */
}

static void fill_node(struct node_info *node)
{
    *node = (struct node_info){
        .name = "n1",
        .cpu_model = "A CPU @ 2 GHz",
        .arch = "x86_64",
        .os = "Debian 12 \xc3\xa4",
        .cpus = 128,
        .numa_count = 2,
        .memory_bytes = INT64_C(1) << 40,
        .disk_bytes = 12345678901,
        .cpu_load_watts = 300,
        .cpu_idle_watts = 90,
        .energy_measured = true,
        .notes = "hl-smi: not found",
        .devices_count = 2,
    };
    node->devices[0] = (struct device_info){
        .chip = "h100-sxm-80g",
        .vendor = "nvidia",
        .uuid = "GPU-1",
        .index = 3,
        .numa = 1,
        .memory_bytes = INT64_C(85899345920),
        .health = DEVICE_SICK,
        .health_text = "XID 79",
        .visibility_env = "CUDA_VISIBLE_DEVICES",
        .visibility_value = "3",
        .family = "cuda",
        .device_nodes = "/dev/nvidia3;/dev/nvidiactl",
        .driver = "535.1",
    };
    node->devices[1] =
        (struct device_info){ .chip = "unknown-amd", .index = 0, .numa = UINT32_MAX };
}

static void test_print_parses_back(void **state)
{
    struct node_info *node = calloc(1, sizeof(*node));
    struct site_info site = {
        .name = "home",
        .owner = "me",
        .region = "eu",
        .tariff = { 1, 2, 3, 4, "EUR", true, false },
        .nodes_count = 1,
        .nodes = node,
    };
    struct site_info back;
    json_t *root, *again;

    (void)state;
    fill_node(node);
    root = site_info_to_json(&site);
    assert_non_null(root);
    assert_int_equal(site_info_parse_json(root, &back, NULL), 0);
    assert_true(node_info_is_equal(node, &back.nodes[0]));
    assert_int_equal(back.tariff.device_price_micro_per_hour, 4);
    assert_true(back.tariff.carbon_assumed && !back.tariff.price_assumed);
    again = site_info_to_json(&back);
    assert_true(json_equal(root, again));
    json_decref(root);
    json_decref(again);
    site_info_fini(&back);
    site_info_fini(&site);
}

static void test_print_survives_bad_text(void **state)
{
    struct node_info *node = calloc(1, sizeof(*node));
    json_t *root;

    (void)state;
    fill_node(node);
    memcpy(node->os, "\xff\xfe", 3); /* not UTF-8 */
    root = node_info_to_json(node);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "os")), "?");
    json_decref(root);
    free(node);
}

static void test_equal_sees_each_change(void **state)
{
    struct node_info *nodes = calloc(2, sizeof(*nodes));

    (void)state;
    fill_node(&nodes[0]);
    fill_node(&nodes[1]);
    nodes[1].os[80] = 'x'; /* after the NUL: not a value */
    assert_true(node_info_is_equal(&nodes[0], &nodes[1]));
    nodes[1].devices[1].numa = 0;
    assert_false(node_info_is_equal(&nodes[0], &nodes[1]));
    fill_node(&nodes[1]);
    nodes[1].devices[0].health = DEVICE_OK;
    assert_false(node_info_is_equal(&nodes[0], &nodes[1]));
    fill_node(&nodes[1]);
    nodes[1].memory_bytes--;
    assert_false(node_info_is_equal(&nodes[0], &nodes[1]));
    fill_node(&nodes[1]);
    nodes[1].devices_count = 1;
    assert_false(node_info_is_equal(&nodes[0], &nodes[1]));
    free(nodes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_parse_bounds_lists),
        cmocka_unit_test(test_parse_fills_defaults),
        cmocka_unit_test(test_print_parses_back),
        cmocka_unit_test(test_print_survives_bad_text),
        cmocka_unit_test(test_equal_sees_each_change),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
