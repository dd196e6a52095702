#include "model/chip.h"

#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER "kind,vendor,family,match,mem_gb,fp16_tflops,power_w\n"

static int load_text(const char *text, struct catalogue **catalogue_out, struct err *err)
{
    char path[] = "/tmp/mains-chips-XXXXXX";
    int fd = mkstemp(path);
    int rc;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
    rc = catalogue_load(path, catalogue_out, err);
    unlink(path);
    return rc;
}

static const struct {
    const char *csv;
    int rc;
    const char *text; /* part of the message, the line number in it */
} refused[] = {
    { "", -EINVAL, "empty" },
    { "# only a comment\n", -EINVAL, "empty" },
    { "kind\nx\n", -EINVAL, ":1: the columns" },
    { "kind,vendor,colour\n", -EINVAL, ":1: unknown column \"colour\"" },
    { "kind,vendor,kind\n", -EINVAL, ":1: column \"kind\" stands twice" },
    { HEADER "x\n", -EINVAL, ":2: 1 fields; the header has 7" },
    { HEADER "# note\nx,v,f,m,1,2,3,4\n", -EINVAL, ":3: more than the 7 fields" },
    { HEADER ",v,f,m,1,2,3\n", -EINVAL, ":2: kind: expected a name" },
    { HEADER "a b,v,f,m,1,2,3\n", -EINVAL, ":2: kind: expected a name" },
    { HEADER "x,,f,m,1,2,3\n", -EINVAL, ":2: vendor: expected a name" },
    { HEADER "x,v,f,m,-1,2,3\n", -EINVAL, ":2: memory_gb: expected a number" },
    { HEADER "x,v,f,m,nan,2,3\n", -EINVAL, ":2: memory_gb" },
    { HEADER "x,v,f,m,1e9,2,3\n", -EINVAL, ":2: memory_gb" },
    { HEADER "x,v,f,m,1.,2,3\n", -EINVAL, ":2: memory_gb" },
    { HEADER "x,v,f,m,99999999999999999999,2,3\n", -EINVAL, ":2: memory_gb" },
    { HEADER "x,v,f,m,1,2,watts\n", -EINVAL, ":2: power_w: expected watts" },
    { HEADER "x,v,f,m,1,2,200000\n", -EINVAL, ":2: power_w" },
    { HEADER "x,v,f,m,1,2,3\nx,v,f,m,1,2,3\n", -EINVAL, ":3: kind \"x\" stands twice" },
    { HEADER "\"x,v,f,m,1,2,3\n", -EINVAL, ":2: a quote is not closed" },
    { HEADER "\"x\"y,v,f,m,1,2,3\n", -EINVAL, ":2: text after a closing quote" },
    { HEADER "x\"y,v,f,m,1,2,3\n", -EINVAL, ":2: a quote inside" },
    { HEADER "x,v,f,m\t,1,2,3\n", -EINVAL, ":2: match: control characters" },
};

static void test_load_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct catalogue *catalogue = NULL;
        struct err err = { 0 };
        int rc = load_text(refused[i].csv, &catalogue, &err);

        if (rc != refused[i].rc || catalogue || !strstr(err.text, refused[i].text))
            fail_msg("case %zu: rc %d, \"%s\"; expected \"%s\"", i, rc, err.text, refused[i].text);
    }
    assert_int_equal(catalogue_load("/nonexistent/chips.csv", &(struct catalogue *){ NULL }, NULL),
                     -ENOENT);
}

static void test_builtin_holds_facts(void **state)
{
    struct catalogue *catalogue = NULL;
    struct err err = { 0 };
    const struct chip *chip;

    (void)state;
    if (catalogue_load(NULL, &catalogue, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(catalogue_count(catalogue) >= 50);
    chip = catalogue_find(catalogue, "h100-sxm-80g");
    assert_non_null(chip);
    assert_string_equal(chip->vendor, "nvidia");
    assert_string_equal(chip->family, "cuda");
    assert_int_equal(chip->metric_milli[METRIC_BF16_TFLOPS], 989400);
    assert_int_equal(chip->metric_milli[METRIC_MEMORY_GB], 80000);
    assert_int_equal(chip->power_watts, 700);
    assert_int_equal(chip->power_idle_watts, -1);
    chip = catalogue_find(catalogue, "t4");
    assert_int_equal(chip->metric_milli[METRIC_FP64_TFLOPS], 254); /* 0.2544 */
    assert_int_equal(chip->metric_milli[METRIC_BF16_TFLOPS], -1);  /* null: never a guess */
    assert_null(catalogue_find(catalogue, "h100"));
    assert_null(catalogue_get(catalogue, catalogue_count(catalogue)));
    for (uint32_t i = 0; i < catalogue_count(catalogue); i++)
        assert_true(catalogue_get(catalogue, i)->family[0] != '\0');
    catalogue_destroy(catalogue);
}

static void test_operator_rows_win(void **state)
{
    struct catalogue *catalogue = NULL;
    const struct chip *chip;

    (void)state;
    assert_int_equal(load_text(HEADER "h100-sxm-80g,nvidia,cuda,h100,79,1.5,650\r\n"
                                      "\"my-chip\",acme,cuda,\"super \"\"duper\"\"\",null,,\n",
                               &catalogue, NULL),
                     0);
    chip = catalogue_find(catalogue, "h100-sxm-80g");
    assert_int_equal(chip->power_watts, 650);
    assert_int_equal(chip->metric_milli[METRIC_FP16_TFLOPS], 1500);
    assert_int_equal(chip->metric_milli[METRIC_BF16_TFLOPS], -1); /* replaced as a whole */
    chip = catalogue_find(catalogue, "my-chip");
    assert_non_null(chip);
    assert_int_equal(chip->metric_milli[METRIC_MEMORY_GB], -1);
    assert_int_equal(chip->power_watts, -1);
    assert_non_null(catalogue_find(catalogue, "a100-sxm-80g"));
    catalogue_destroy(catalogue);
}

static const struct {
    const char *vendor, *model;
    int64_t memory_mib;
    const char *kind; /* NULL: no match */
} matches[] = {
    { "nvidia", "", 0, NULL },
    { "nvidia", "NVIDIA GeForce GTX 960M", 4096, NULL },
    { "nvidia", "NVIDIA H100 NVL", 95830, NULL },
    { "nvidia", "NVIDIA GeForce RTX 4090 D", 24564, NULL },
    { "nvidia", "NVIDIA H800 PCIe", 81559, NULL },
    { "nvidia", "NVIDIA A10G", 23028, NULL },
    { "amd", "NVIDIA H100 80GB HBM3", 81559, NULL },
    { "nvidia", "NVIDIA H100 80GB HBM3", 81559, "h100-sxm-80g" },
    { "nvidia", "NVIDIA H100 PCIe", 81559, "h100-pcie-80g" },
    { "nvidia", "NVIDIA H200", 143771, "h200-sxm" },
    { "nvidia", "NVIDIA H20", 97871, "h20" },
    { "nvidia", "NVIDIA A100-SXM4-40GB", 40960, "a100-sxm-40g" },
    { "nvidia", "NVIDIA A100-SXM4-80GB", 81920, "a100-sxm-80g" },
    { "nvidia", "Tesla V100-SXM2-32GB", 32768, "v100-sxm2-32g" },
    { "nvidia", "Tesla T4", 15360, "t4" },
    { "nvidia", "NVIDIA A10", 23028, "a10" },
    { "nvidia", "NVIDIA GeForce RTX 4090", 24564, "rtx4090" },
    { "amd", "AMD Instinct MI300X OAM", 196592, "mi300x" },
    { "amd", "AMD Instinct MI210", 65536, NULL },
    { "intel", "HL-225", 98304, "gaudi2" },
    { "intel", "HL-325L", 131072, "gaudi3" },
    { "intel", "HL-205", 32768, NULL },
    { "huawei", "910B3", 65536, "ascend-910b3" },
    { "huawei", "910B2C", 65536, NULL },
    { "huawei", "310P3", 21527, NULL },
    { "cambricon", "MLU370-X8", 23374, "mlu370-x8" },
    { "hygon", "K100_AI", 65520, "dcu-k100-ai" },
    { "hygon", "K100", 65520, "dcu-k100" },
    { "mthreads", "MTT S4000", 49152, "mtt-s4000" },
    { "metax", "MetaX C550", 65536, "metax-c550" },
    { "iluvatar", "Iluvatar BI-V150S", 32768, "bi-v150" },
    { "iluvatar", "Iluvatar BI-V100", 32768, "bi-v100" },
    { "kunlunxin", "P800 OAM", 98304, "kunlun-p800" },
    { "enflame", "Enflame S60", 49120, "enflame-s60" },
    { "biren", "Biren106M", 32512, "br106m" },
};

static void test_match_knows_tool_names(void **state)
{
    struct catalogue *catalogue = NULL;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(matches); i++) {
        const struct chip *chip = catalogue_match(catalogue, matches[i].vendor, matches[i].model,
                                                  matches[i].memory_mib * 1048576);
        const char *kind = chip ? chip->kind : NULL;

        if (!kind != !matches[i].kind || (kind && strcmp(kind, matches[i].kind) != 0))
            fail_msg("%s \"%s\": %s, expected %s", matches[i].vendor, matches[i].model,
                     kind ? kind : "none", matches[i].kind ? matches[i].kind : "none");
    }
    catalogue_destroy(catalogue);
}

static void test_match_takes_nearest_memory(void **state)
{
    struct catalogue *catalogue = NULL;

    (void)state;
    assert_int_equal(
        load_text("kind,vendor,match,memory_gb\nz-8,acme,z,8\nz-16,acme,z,16\n", &catalogue, NULL),
        0);
    assert_string_equal(catalogue_match(catalogue, "acme", "Z", INT64_C(17000000000))->kind,
                        "z-16");
    assert_string_equal(catalogue_match(catalogue, "acme", "Z", INT64_C(7900000000))->kind, "z-8");
    assert_string_equal(catalogue_match(catalogue, "acme", "Z", 0)->kind, "z-8");
    catalogue_destroy(catalogue);
}

static void test_metric_names_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < METRIC_COUNT; i++)
        assert_int_equal(chip_metric_find(chip_metric_name((enum chip_metric)i)), i);
    assert_int_equal(chip_metric_find("bf16"), -1);
    assert_int_equal(chip_metric_find(""), -1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_refuses),
        cmocka_unit_test(test_builtin_holds_facts),
        cmocka_unit_test(test_operator_rows_win),
        cmocka_unit_test(test_match_knows_tool_names),
        cmocka_unit_test(test_match_takes_nearest_memory),
        cmocka_unit_test(test_metric_names_round_trip),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
