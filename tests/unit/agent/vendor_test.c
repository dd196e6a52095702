#include "agent/vendor.h"

#include "agent/vendor_text.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB INT64_C(1048576)

/* A recorded answer without the '#' lines that say where it comes from. */
static struct buf recorded(const char *name)
{
    struct buf text = buf_init(1u << 20);
    char path[512];
    size_t skip = 0;

    snprintf(path, sizeof(path), "%s/%s", RECORDED_DIR, name);
    if (file_read(path, &text, NULL) < 0)
        fail_msg("%s cannot be read", path);
    while (skip < text.len && text.data[skip] == '#')
        skip += strcspn(text.data + skip, "\n") + 1;
    buf_consume(&text, skip);
    return text;
}

static const struct expected {
    const char *file;
    vendor_parser *parse;
    uint32_t count;
    struct {
        uint32_t index;
        const char *model, *uuid, *bus_id, *driver, *visibility;
        int64_t memory_mib; /* -1 = not told */
        int32_t temperature_c;
        int64_t power_mw;
        const char *sick; /* part of the text; NULL = healthy */
    } devices[4];
} expected[] = {
    { "nvidia/query.txt",
      vendor_parse_nvidia,
      3,
      { { 0, "NVIDIA H100 80GB HBM3", "GPU-11111111-2222-3333-4444-000000000000",
          "00000000:18:00.0", "535.104.05", "GPU-11111111-2222-3333-4444-000000000000", 81559, 31,
          71310, NULL },
        { 1, "NVIDIA H100 80GB HBM3", "GPU-11111111-2222-3333-4444-000000000001",
          "00000000:2A:00.0", "535.104.05", "GPU-11111111-2222-3333-4444-000000000001", 81559, 34,
          69920, "3 uncorrected ECC" },
        { 2, "NVIDIA GeForce RTX 4090", "GPU-11111111-2222-3333-4444-000000000002",
          "00000000:3A:00.0", "535.104.05", "GPU-11111111-2222-3333-4444-000000000002", 24564, 30,
          21500, NULL } } },
    { "nvidia/query_errors.txt",
      vendor_parse_nvidia,
      3,
      { { 0, "NVIDIA RTX A6000", "GPU-11111111-2222-3333-4444-000000000000", "00000000:01:00.0",
          "535.183.01", "GPU-11111111-2222-3333-4444-000000000000", 49140, -1, -1,
          "Unknown Error" },
        { 2, "NVIDIA RTX A6000", "GPU-11111111-2222-3333-4444-000000000002", "00000000:03:00.0",
          "535.183.01", "GPU-11111111-2222-3333-4444-000000000002", 49140, 30, 15470, NULL },
        { 3, "NVIDIA RTX A6000", "GPU-11111111-2222-3333-4444-000000000003", "00000000:04:00.0",
          "535.183.01", "GPU-11111111-2222-3333-4444-000000000003", -1, -1, -1, "GPU is lost" } } },
    { "amd/rocm_smi.txt",
      vendor_parse_rocm,
      2,
      { { 0, "AMD Instinct MI300X OAM", "0x6f1f0a2b3c4d5e6f", "0000:05:00.0", "6.7.0",
          "GPU-6f1f0a2b3c4d5e6f", 196592, 45, 132000, NULL },
        { 1, "Radeon RX 7900 XTX", "", "0000:26:00.0", "6.7.0", "", 24560, 52, 21000, NULL } } },
    { "amd/rocm_smi_warning.txt",
      vendor_parse_rocm,
      1,
      { { 0, "Instinct MI210", "0x0", "0000:83:00.0", "6.1.5", "", 16368, -1, -1, NULL } } },
    { "amd/amd_smi.txt",
      vendor_parse_amd,
      1,
      { { 0, "AMD Instinct MI300X", "0x6F1F0A2B3C4D5E6F", "0000:83:00.0", "6.12.12", "", 196592, -1,
          -1, NULL } } },
    { "intel/hl_smi.txt",
      vendor_parse_gaudi_table,
      2,
      { { 0, "HL-225", "", "0000:b3:00.0", "1.16.0-94aac46", "", 98304, 26, 82000, NULL },
        { 1, "HL-225", "", "0000:b4:00.0", "1.16.0-94aac46", "", 98304, 26, 96000,
          "2 uncorrected ECC" } } },
    { "intel/hl_smi_query.txt",
      vendor_parse_gaudi,
      2,
      { { 0, "HL-225", "00P1-HL2080A0-15-TNBS00-00-00-00", "0000:b3:00.0", "1.16.0-94aac46", "2",
          98304, 26, 82000, NULL },
        { 1, "HL-225", "00P1-HL2080A0-15-TNBS00-00-00-01", "0000:b4:00.0", "1.16.0-94aac46", "6",
          98304, 27, 96000, NULL } } },
    { "huawei/npu_smi_910b.txt",
      vendor_parse_ascend,
      2,
      { { 4, "910B3", "", "0000:01:00.0", "24.1.0", "", 65536, 40, 93600, NULL },
        { 5, "910B3", "", "0000:41:00.0", "24.1.0", "", 65536, 39, 89900, NULL } } },
    { "huawei/npu_smi_910c.txt",
      vendor_parse_ascend,
      3,
      { { 0, "Ascend910", "", "0000:9D:00.0", "25.2.0", "", 65536, 36, 178500, NULL },
        { 1, "Ascend910", "", "0000:9F:00.0", "25.2.0", "", 65536, 36, -1, NULL },
        { 2, "Ascend910", "", "0000:99:00.0", "25.2.0", "", 65536, 36, 186300, "Critical" } } },
    { "huawei/npu_smi_310.txt",
      vendor_parse_ascend,
      2,
      { { 0, "310P3", "", "0000:04:00.0", "25.2.3", "", 44280, 71, -1, NULL },
        { 1, "310B4", "", "", "25.2.3", "", 15609, 65, 0, "Alarm" } } },
    { "cambricon/cnmon.txt",
      vendor_parse_cambricon,
      2,
      { { 0, "MLU370-X8", "", "0000:39:00.0", "v5.10.13", "", 23374, 32, 106000, NULL },
        { 1, "MLU370-X8", "", "0000:3D:00.0", "v5.10.13", "", 23374, 39, 106000,
          "4 uncorrected ECC" } } },
    { "cambricon/cnmon_v4.txt",
      vendor_parse_cambricon,
      1,
      { { 0, "MLU370-X4", "", "", "", "", 23308, 32, 30000, NULL } } },
    { "hygon/hy_smi.txt",
      vendor_parse_hygon_table,
      2,
      { { 0, "", "", "", "", "", -1, 43, 131000, NULL },
        { 1, "", "", "", "", "", -1, 42, 134000, NULL } } },
    { "hygon/hy_smi_json.txt",
      vendor_parse_hygon,
      2,
      { { 0, "K100_AI", "TCA00000000001", "0000:09:00.0", "6.3.31-V1.5.0a", "", 65520, 57, 91000,
          NULL },
        { 1, "BW", "", "0000:36:00.0", "", "", 65520, 52, 84000, NULL } } },
    { "mthreads/gmi.txt",
      vendor_parse_mthreads,
      2,
      { { 0, "MTT S4000", "", "00000000:18:00.0", "5.1.0-server", "", 49152, 48, -1, NULL },
        { 1, "MTT S80", "", "00000000:3a:00.0", "5.1.0-server", "", 16384, 41, -1, NULL } } },
    { "metax/mx_smi_224.txt",
      vendor_parse_metax,
      2,
      { { 0, "MetaX C550", "", "0000:0f:00.0", "2.15.9", "", 65536, 29, 53000, NULL },
        { 1, "MetaX C550", "", "0000:34:00.0", "2.15.9", "", 65536, 29, 53000,
          "Not Available" } } },
    { "metax/mx_smi_228.txt",
      vendor_parse_metax,
      1,
      { { 0, "MetaX N260", "", "0000:01:00.0", "3.0.11", "", 65536, 37, 29000, NULL } } },
    { "metax/mx_smi_231.txt",
      vendor_parse_metax,
      2,
      { { 0, "MetaX C500", "", "0000:12:00.0", "3.8.30", "", 65536, 32, 37000, NULL },
        { 3, "MetaX C500", "", "0000:13:00.0", "3.8.30", "", 65536, 37, 58000, NULL } } },
    { "iluvatar/ixsmi.txt",
      vendor_parse_iluvatar_table,
      2,
      { { 0, "Iluvatar BI-V150S", "", "00000000:8A:00.0", "4.1.0", "", 32768, 33, -1, NULL },
        { 1, "Iluvatar BI-V100", "", "00000000:15:00.0", "4.1.0", "", 32768, 31, 56000, NULL } } },
    { "iluvatar/ixsmi_query.txt",
      vendor_parse_iluvatar,
      1,
      { { 0, "Iluvatar BI-V150", "GPU-75000000-0000-0000-0000-000000000000", "00000000:15:00.0", "",
          "", 65536, 38, -1, NULL } } },
    { "kunlunxin/xpu_smi_m.txt",
      vendor_parse_kunlun,
      2,
      { { 0, "P800 OAM", "02K00000000000304", "00000000:03:00.0", "", "", 98304, 36, 86000, NULL },
        { 1, "P800 OAM", "02K0000000000030V", "00000000:05:00.0", "", "", 98304, 39, 86000,
          NULL } } },
    { "kunlunxin/xpu_smi.txt",
      vendor_parse_kunlun_table,
      2,
      { { 0, "P800 OAM", "", "00000000:03:00.0", "5.0.21.26", "", 98304, 37, 85000, NULL },
        { 1, "P800 OAM", "", "00000000:05:00.0", "5.0.21.26", "", 98304, 41, 86000, NULL } } },
    { "enflame/efsmi.txt",
      vendor_parse_enflame_table,
      2,
      { { 0, "Enflame S60G", "", "00:2e:00.0", "1.6.3.12", "", 23552, 34, -1, NULL },
        { 1, "Enflame L300", "", "00:2d:00.0", "1.6.3.12", "", 147456, 35, 68000, NULL } } },
    { "enflame/efsmi_12.txt",
      vendor_parse_enflame_table,
      1,
      { { 0, "S60", "", "00:01:00.0", "1.2.0.301", "", 49120, 39, 105000, NULL } } },
    { "enflame/efsmi_q.txt",
      vendor_parse_enflame,
      2,
      { { 0, "S60", "TR0000000302", "0000:17:00.0", "1.4.3.4", "", 42976, 34, -1, NULL },
        { 1, "S60", "", "", "", "", 42976, -1, -1, "Health" } } },
    { "biren/brsmi_query.txt",
      vendor_parse_biren,
      1,
      { { 0, "Biren106M", "", "", "", "", 32512, -1, -1, NULL } } },
};

static void check_text(const char *file, uint32_t i, const char *what, const char *got,
                       const char *want)
{
    if (strcmp(got, want) != 0)
        fail_msg("%s: device %" PRIu32 ": %s is \"%s\", expected \"%s\"", file, i, what, got, want);
}

static void check_number(const char *file, uint32_t i, const char *what, int64_t got, int64_t want)
{
    if (got != want)
        fail_msg("%s: device %" PRIu32 ": %s is %" PRId64 ", expected %" PRId64, file, i, what, got,
                 want);
}

static void check_recorded(const struct expected *row)
{
    CLEANUP(buf_fini) struct buf text = recorded(row->file);
    struct vendor_list *list = calloc(1, sizeof(*list));
    struct err err = { 0 };
    int rc = row->parse(text.data, text.len, list, &err);

    if (rc < 0)
        fail_msg("%s: %s", row->file, err.text);
    check_number(row->file, 0, "the count", list->count, row->count);
    for (uint32_t i = 0; i < row->count; i++) {
        const struct vendor_device *device = &list->devices[i];

        check_number(row->file, i, "index", device->index, row->devices[i].index);
        check_text(row->file, i, "model", device->model, row->devices[i].model);
        check_text(row->file, i, "uuid", device->uuid, row->devices[i].uuid);
        check_text(row->file, i, "bus_id", device->bus_id, row->devices[i].bus_id);
        check_text(row->file, i, "driver", device->driver, row->devices[i].driver);
        check_text(row->file, i, "visibility", device->visibility_value,
                   row->devices[i].visibility);
        check_number(row->file, i, "memory",
                     device->memory_bytes < 0 ? -1 : device->memory_bytes / MIB,
                     row->devices[i].memory_mib);
        check_number(row->file, i, "temperature", device->temperature_c,
                     row->devices[i].temperature_c);
        check_number(row->file, i, "power", device->power_mw, row->devices[i].power_mw);
        check_number(row->file, i, "sickness", device->health == DEVICE_SICK,
                     row->devices[i].sick != NULL);
        if (row->devices[i].sick && !strstr(device->health_text, row->devices[i].sick))
            fail_msg("%s: device %" PRIu32 ": sick by \"%s\", expected \"%s\"", row->file, i,
                     device->health_text, row->devices[i].sick);
    }
    free(list);
}

static void test_parsers_read_recorded_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        check_recorded(&expected[i]);
}

/* A tool that says something else altogether is told as such, and invents no device. */
static void test_parsers_refuse_other_text(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "bash: nvidia-smi: command not found\n",
        "Segmentation fault (core dumped)\n",
        "{}",
        "[]",
        "{\"gpu_data\": 7}",
        "| | | |\n| | | |\n",
        "No devices were found\n",
        "\x1b[31merror\x1b[0m\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        for (size_t k = 0; k < ARRAY_COUNT(texts); k++) {
            struct vendor_list *list = calloc(1, sizeof(*list));
            struct err err = { 0 };
            int rc = expected[i].parse(texts[k], strlen(texts[k]), list, &err);

            if (rc != -EBADMSG || list->count != 0 || !err.text[0])
                fail_msg("parser of %s on \"%s\": rc %d, %" PRIu32 " devices", expected[i].file,
                         texts[k], rc, list->count);
            free(list);
        }
    }
}

/* A tool killed in the middle, at every byte: no crash (the sanitizers watch), never more devices
 * than in the whole, and what comes out is printable. */
static void test_parsers_bear_cut_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        CLEANUP(buf_fini) struct buf text = recorded(expected[i].file);
        struct vendor_list *list = calloc(1, sizeof(*list));

        for (size_t len = 0; len < text.len; len++) {
            char *part = malloc(len + 1); /* its own, so that reading past it is seen */

            memcpy(part, text.data, len);
            list->count = 0;
            expected[i].parse(part, len, list, NULL);
            if (list->count > expected[i].count)
                fail_msg("%s cut at %zu: %" PRIu32 " devices", expected[i].file, len, list->count);
            free(part);
        }
        free(list);
    }
}

static void test_nvidia_driver_failure_is_told(void **state)
{
    CLEANUP(buf_fini) struct buf text = recorded("nvidia/failed.txt");
    struct vendor_list *list = calloc(1, sizeof(*list));
    struct err err = { 0 };

    (void)state;
    assert_int_equal(vendor_parse_nvidia(text.data, text.len, list, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "NVIDIA-SMI has failed"));
    free(list);
}

static void test_nvidia_instances_replace_split_device(void **state)
{
    CLEANUP(buf_fini) struct buf query = recorded("nvidia/query_mig.txt");
    CLEANUP(buf_fini) struct buf names = recorded("nvidia/list_mig.txt");
    struct vendor_list *list = calloc(1, sizeof(*list));
    const struct vendor_device *device;

    (void)state;
    assert_int_equal(vendor_parse_nvidia(query.data, query.len, list, NULL), 0);
    assert_true(list->wants_more);
    assert_int_equal(vendor_parse_nvidia_list(names.data, names.len, list, NULL), 0);
    assert_int_equal(list->count, 4);

    device = &list->devices[0];
    assert_string_equal(device->partition, "2g.20gb");
    assert_string_equal(device->visibility_value, "MIG-ec000000-0000-0000-0000-000000000000");
    assert_int_equal(device->index, 1);
    assert_int_equal(device->memory_bytes, 20 * 1024 * MIB);
    assert_int_equal(device->power_mw, -1);
    assert_string_equal(list->devices[2].partition, "3g.40gb");
    device = &list->devices[3]; /* the whole one stays */
    assert_string_equal(device->partition, "");
    assert_string_equal(device->uuid, "GPU-b6000000-0000-0000-0000-000000000000");
    free(list);
}

static void test_list_is_bounded(void **state)
{
    CLEANUP(buf_fini) struct buf text = buf_init(1u << 20);
    struct vendor_list *list = calloc(1, sizeof(*list));

    (void)state;
    for (int i = 0; i < 200; i++)
        buf_printf(&text, "%d, Biren106M, 0, 1\n", i);
    assert_int_equal(vendor_parse_biren(text.data, text.len, list, NULL), 0);
    assert_int_equal(list->count, NODE_DEVICES_MAX);
    assert_int_equal(list->dropped, 200 - NODE_DEVICES_MAX);
    free(list);
}

static void test_quantities(void **state)
{
    static const struct {
        const char *text, *unit;
        bool last, found;
        int64_t milli;
    } cases[] = {
        { "", "W", false, false, 0 },
        { "W", "W", false, false, 0 },
        { "12", "W", false, false, 0 },
        { "A018K30520031W", "W", false, false, 0 },
        { "1500MHz", "M", false, false, 0 },
        { "12 Watts", "W", false, false, 0 },
        { "N/A / 300W", "W", false, true, 300000 },
        { "106 W/ 250 W", "W", false, true, 106000 },
        { "106 W/ 250 W", "W", true, true, 250000 },
        { "93.65W", "W", false, true, 93650 },
        { "34\xe2\x84\x83", "C", false, true, 34000 },
        { "512Mib / 32768Mib", "MiB", true, true, 32768000 },
        { "0MiB(16384MiB)", "MiB", true, true, 16384000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t milli = 0;
        bool found =
            slice_find_quantity(slice_of(cases[i].text), cases[i].unit, cases[i].last, &milli);

        if (found != cases[i].found || milli != cases[i].milli)
            fail_msg("\"%s\" in %s: %d, %" PRId64, cases[i].text, cases[i].unit, found, milli);
    }
}

static void test_table_is_whole(void **state)
{
    uint32_t count = 0;

    (void)state;
    for (const struct vendor_adapter *adapter = vendor_adapters(); adapter->name; adapter++) {
        char folder[512];
        struct stat info;

        count++;
        assert_ptr_equal(vendor_find(adapter->name), adapter);
        assert_true(adapter->family && adapter->runtime && adapter->visibility_env);
        assert_true(adapter->pci_vendor && adapter->temperature_c_max > 0);
        assert_true(adapter->node_formats || adapter->render_nodes);
        assert_true(adapter->tools[0].argv[0] && adapter->tools[0].parse);
        for (uint32_t i = 0; i < VENDOR_TOOLS_MAX; i++)
            assert_null(adapter->tools[i].argv[VENDOR_ARGS_MAX - 1]);
        snprintf(folder, sizeof(folder), "%s/%s", RECORDED_DIR, adapter->name);
        if (stat(folder, &info) < 0)
            fail_msg("nothing recorded of %s", adapter->name);
    }
    assert_int_equal(count, 12);
    assert_null(vendor_find("acme"));
}

static int run_shell(const char *script, int64_t timeout_ms, struct buf *out, struct err *err)
{
    const char *const argv[] = { "sh", "-c", script, NULL };

    return vendor_tool_run("/bin/sh", argv, NULL, timeout_ms, out, err);
}

static void test_tool_run_is_bounded(void **state)
{
    CLEANUP(buf_fini) struct buf out = buf_init(100);
    struct err err = { 0 };
    int64_t start_ms;

    (void)state;
    assert_int_equal(vendor_tool_run("/nonexistent/tool", (const char *const[]){ "tool", NULL },
                                     NULL, 1000, &out, &err),
                     -ENOENT);
    assert_int_equal(run_shell("echo out; echo err >&2; cat", 5000, &out, &err), 0);
    assert_string_equal(out.data, "out\n");

    buf_clear(&out);
    assert_int_equal(run_shell("echo half; exit 9", 5000, &out, &err), -EIO);
    assert_string_equal(out.data, "half\n");
    assert_non_null(strstr(err.text, "exit status 9"));
    assert_int_equal(run_shell("kill -SEGV $$", 5000, &out, &err), -EIO);
    assert_non_null(strstr(err.text, "signal 11"));

    buf_clear(&out);
    assert_int_equal(run_shell("while :; do echo 0123456789; done", 5000, &out, &err), -EFBIG);
    assert_int_equal(out.len, 100);

    /* The whole group dies, also what ignores SIGTERM and what outlives the tool itself. */
    buf_clear(&out);
    start_ms = clock_mono_ms();
    assert_int_equal(run_shell("trap '' TERM; echo begun; sleep 30 & sleep 30", 2000, &out, &err),
                     -ETIMEDOUT);
    assert_true(clock_mono_ms() - start_ms < 20000);
    assert_string_equal(out.data, "begun\n");
}

static void test_tool_environment_is_its_own(void **state)
{
    CLEANUP(buf_fini) struct buf out = buf_init(4096);
    const char *const argv[] = { "sh", "-c", "echo $SECRET-$LD_LIBRARY_PATH", NULL };

    (void)state;
    setenv("SECRET", "token", 1);
    assert_int_equal(vendor_tool_run("/bin/sh", argv, "/opt/x/lib", 5000, &out, NULL), 0);
    assert_string_equal(out.data, "-/opt/x/lib\n");
}

static void test_tool_find(void **state)
{
    char folder[] = "/tmp/mains-tools-XXXXXX";
    char path[128], found[256];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/cnmon", folder);
    assert_int_equal(file_write(path, "#!/bin/sh\n", 10, 0600, false, NULL), 0);
    assert_false(vendor_tool_find("cnmon", folder, found, sizeof(found))); /* not executable */
    assert_int_equal(chmod(path, 0700), 0);
    assert_true(vendor_tool_find("cnmon", folder, found, sizeof(found)));
    assert_string_equal(found, path);
    assert_false(vendor_tool_find("cnmon", "", found, sizeof(found)));
    assert_false(vendor_tool_find("cnmon", "tmp:.", found, sizeof(found)));
    assert_false(vendor_tool_find("cnmon", folder, found, 10));
    assert_int_equal(dir_remove(folder, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parsers_refuse_other_text),
        cmocka_unit_test(test_parsers_read_recorded_output),
        cmocka_unit_test(test_parsers_bear_cut_output),
        cmocka_unit_test(test_nvidia_driver_failure_is_told),
        cmocka_unit_test(test_nvidia_instances_replace_split_device),
        cmocka_unit_test(test_list_is_bounded),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_tool_run_is_bounded),
        cmocka_unit_test(test_tool_environment_is_its_own),
        cmocka_unit_test(test_tool_find),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
