#include "agent/discover.h"

#include "agent/vendor.h"
#include "base/file.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB (INT64_C(1) << 30)

/* A machine made of files: its root, a folder of tools, and what is asked of it. */
struct machine {
    char root[64];
    char tools[80];
    struct catalogue *catalogue;
    struct discover_config config;
    struct node_info *node;
    struct discover_readings readings;
};

static void put(const struct machine *machine, const char *path, const char *text)
{
    char full[256], folder[256];

    snprintf(full, sizeof(full), "%s%s", machine->root, path);
    snprintf(folder, sizeof(folder), "%s", full);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(dir_make(folder, 0700, NULL), 0);
    assert_int_equal(file_write(full, text, strlen(text), 0600, false, NULL), 0);
}

static void put_pci(const struct machine *machine, const char *address, unsigned vendor,
                    unsigned class, int numa)
{
    char path[128], text[32];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", address);
    snprintf(text, sizeof(text), "0x%04x\n", vendor);
    put(machine, path, text);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", address);
    snprintf(text, sizeof(text), "0x%06x\n", class);
    put(machine, path, text);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/numa_node", address);
    snprintf(text, sizeof(text), "%d\n", numa);
    put(machine, path, text);
}

/* A tool that prints a recorded answer, whatever it is asked. */
static void put_tool(const struct machine *machine, const char *name, const char *body)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", machine->tools, name);
    assert_int_equal(file_write(path, body, strlen(body), 0700, false, NULL), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

static void put_recorded_tool(const struct machine *machine, const char *name, const char *file)
{
    char body[512];

    snprintf(body, sizeof(body), "#!/bin/sh\ngrep -v '^#' '%s/%s'\n", RECORDED_DIR, file);
    put_tool(machine, name, body);
}

static int machine_start(void **state)
{
    struct machine *machine = calloc(1, sizeof(*machine));

    machine->node = calloc(1, sizeof(*machine->node));
    snprintf(machine->root, sizeof(machine->root), "/tmp/mains-machine-XXXXXX");
    assert_non_null(mkdtemp(machine->root));
    snprintf(machine->tools, sizeof(machine->tools), "%s/tools", machine->root);
    assert_int_equal(dir_make(machine->tools, 0700, NULL), 0);
    put(machine, "/proc/meminfo", "MemTotal:       67108864 kB\nMemFree: 1 kB\n");
    assert_int_equal(catalogue_load(NULL, &machine->catalogue, NULL), 0);
    machine->config = (struct discover_config){ .name = "n1",
                                                .root = machine->root,
                                                .tool_path = machine->tools,
                                                .catalogue = machine->catalogue };
    *state = machine;
    return 0;
}

static int machine_stop(void **state)
{
    struct machine *machine = *state;

    dir_remove(machine->root, NULL);
    catalogue_destroy(machine->catalogue);
    free(machine->node);
    free(machine);
    return 0;
}

static void look(struct machine *machine)
{
    struct err err = { 0 };

    if (discover_node(&machine->config, machine->node, &machine->readings, &err) < 0)
        fail_msg("%s", err.text);
}

/* What discovery says must be what the controller accepts. */
static void assert_node_is_accepted(const struct node_info *node)
{
    json_t *root = json_pack("{s:s,s:[o]}", "name", "home", "nodes", node_info_to_json(node));
    struct site_info site;
    struct err err = { 0 };

    assert_non_null(root);
    if (site_info_parse_json(root, &site, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(node_info_is_equal(node, &site.nodes[0]));
    site_info_fini(&site);
    json_decref(root);
}

static void test_this_machine(void **state)
{
    struct machine *machine = *state;

    machine->config.root = NULL;
    machine->config.name = NULL;
    look(machine);
    assert_true(machine->node->cpus >= 1 && machine->node->numa_count >= 1);
    assert_true((long)machine->node->cpus <= sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(machine->node->memory_bytes > 0 && machine->node->disk_bytes > 0);
    assert_true(machine->node->cpu_load_watts >= machine->node->cpu_idle_watts);
    assert_true(machine->node->arch[0] && machine->node->os[0]);
    assert_node_is_accepted(machine->node);
}

static void test_names_are_made_valid(void **state)
{
    static const struct {
        const char *from, *name;
    } cases[] = {
        { "", "node" },         { "...", "node" },  { "-a", "a" },
        { "b\xc3\xa4r", "br" }, { "a b/c", "abc" }, { "x_1.y-2", "x_1.y-2" },
    };
    struct machine *machine = *state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        machine->config.name = cases[i].from;
        look(machine);
        assert_string_equal(machine->node->name, cases[i].name);
    }
}

/* What is promised to jobs is what the process itself may have. */
static void test_limits_of_cgroups_count(void **state)
{
    struct machine *machine = *state;

    put(machine, "/etc/os-release", "NAME=\"x\"\nPRETTY_NAME=\"Debian 12 (bookworm)\"\n");
    look(machine);
    assert_int_equal(machine->node->memory_bytes, 63 * GIB); /* 1 GiB is kept */
    assert_string_equal(machine->node->os, "Debian 12 (bookworm)");

    put(machine, "/proc/self/cgroup", "0::/user/job\n");
    put(machine, "/sys/fs/cgroup/user/memory.max", "8589934592\n");
    put(machine, "/sys/fs/cgroup/user/job/memory.max", "max\n");
    put(machine, "/sys/fs/cgroup/user/job/cpu.max", "50000 100000\n");
    look(machine);
    assert_int_equal(machine->node->memory_bytes, 8 * GIB - GIB / 2);
    assert_int_equal(machine->node->cpus, 1); /* half a CPU is still one */

    put(machine, "/proc/self/cgroup", "4:memory:/a:b\n2:cpu,cpuacct:/c\n0::/\n");
    put(machine, "/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "1073741824\n");
    put(machine, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put(machine, "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
    put(machine, "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    look(machine);
    assert_int_equal(machine->node->memory_bytes, GIB - GIB / 16);
}

/* Every vendor of the table, end to end: seen, asked, read, named. */
static const struct {
    const char *vendor, *tool, *recorded;
    const char *nodes[6];
    const char *address; /* of its first device; NULL = told without one */
    uint32_t devices;
    const char *chip, *value, *device_nodes;
} vendors[] = {
    { "nvidia",
      "nvidia-smi",
      "nvidia/query.txt",
      { "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl" },
      "0000:18:00.0",
      3,
      "h100-sxm-80g",
      "GPU-11111111-2222-3333-4444-000000000000",
      "/dev/nvidia0;/dev/nvidiactl" },
    { "amd",
      "rocm-smi",
      "amd/rocm_smi.txt",
      { "/dev/kfd", "/dev/dri/renderD128", "/sys/bus/pci/devices/0000:05:00.0/drm/renderD128" },
      "0000:05:00.0",
      2,
      "mi300x",
      "GPU-6f1f0a2b3c4d5e6f",
      "/dev/dri/renderD128;/dev/kfd" },
    { "intel",
      "hl-smi",
      "intel/hl_smi_query.txt",
      { "/dev/accel/accel0", "/dev/accel/accel_controlD0" },
      "0000:b3:00.0",
      2,
      "gaudi2",
      "2",
      "/dev/accel/accel0;/dev/accel/accel_controlD0" },
    { "huawei",
      "npu-smi",
      "huawei/npu_smi_910b.txt",
      { "/dev/davinci4", "/dev/davinci_manager", "/dev/hisi_hdc" },
      "0000:01:00.0",
      2,
      "ascend-910b3",
      "4",
      "/dev/davinci4;/dev/davinci_manager;/dev/hisi_hdc" },
    { "cambricon",
      "cnmon",
      "cambricon/cnmon.txt",
      { "/dev/cambricon_dev0", "/dev/cambricon_ctl" },
      "0000:39:00.0",
      2,
      "mlu370-x8",
      "0",
      "/dev/cambricon_dev0;/dev/cambricon_ctl" },
    { "hygon",
      "hy-smi",
      "hygon/hy_smi_json.txt",
      { "/dev/kfd", "/dev/mkfd" },
      "0000:09:00.0",
      2,
      "dcu-k100-ai",
      "0",
      "/dev/kfd;/dev/mkfd" },
    { "mthreads",
      "mthreads-gmi",
      "mthreads/gmi.txt",
      { "/dev/mtgpu.0" },
      "0000:18:00.0",
      2,
      "mtt-s4000",
      "0",
      "/dev/mtgpu.0" },
    { "metax",
      "mx-smi",
      "metax/mx_smi_231.txt",
      { "/dev/mxcd" },
      "0000:12:00.0",
      2,
      "metax-c500",
      "0",
      "/dev/mxcd" },
    { "iluvatar",
      "ixsmi",
      "iluvatar/ixsmi.txt",
      { "/dev/iluvatar0", "/dev/itrctl" },
      "0000:8a:00.0",
      2,
      "bi-v150",
      "0",
      "/dev/iluvatar0;/dev/itrctl" },
    { "kunlunxin",
      "xpu_smi",
      "kunlunxin/xpu_smi_m.txt",
      { "/dev/xpu0", "/dev/xpuctrl" },
      "0000:03:00.0",
      2,
      "kunlun-p800",
      "0",
      "/dev/xpu0;/dev/xpuctrl" },
    { "enflame",
      "efsmi",
      "enflame/efsmi_q.txt",
      { "/dev/gcu0" },
      "0000:17:00.0",
      2,
      "enflame-s60",
      "0",
      "/dev/gcu0" },
    { "biren",
      "brsmi",
      "biren/brsmi_query.txt",
      { "/dev/biren/card_0", "/dev/biren-m" },
      NULL,
      1,
      "br106m",
      "0",
      "/dev/biren/card_0;/dev/biren-m" },
};

static void put_vendor(const struct machine *machine, size_t i, bool with_tool)
{
    const struct vendor_adapter *adapter = vendor_find(vendors[i].vendor);

    for (size_t k = 0; k < ARRAY_COUNT(vendors[i].nodes) && vendors[i].nodes[k]; k++)
        put(machine, vendors[i].nodes[k], "");
    if (vendors[i].address)
        put_pci(machine, vendors[i].address, adapter->pci_vendor, 0x120000, 1);
    if (with_tool)
        put_recorded_tool(machine, vendors[i].tool, vendors[i].recorded);
}

static void test_every_vendor_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vendors); i++) {
        struct machine *machine;
        const struct device_info *device;

        machine_start((void **)&machine);
        put_vendor(machine, i, true);
        look(machine);
        device = &machine->node->devices[0];
        if (machine->node->devices_count != vendors[i].devices)
            fail_msg("%s: %" PRIu32 " devices; notes: %s", vendors[i].vendor,
                     machine->node->devices_count, machine->node->notes);
        assert_string_equal(device->vendor, vendors[i].vendor);
        assert_string_equal(device->family, vendor_find(vendors[i].vendor)->family);
        assert_string_equal(device->chip, vendors[i].chip);
        assert_string_equal(device->visibility_value, vendors[i].value);
        assert_string_equal(device->device_nodes, vendors[i].device_nodes);
        assert_int_equal(device->health, DEVICE_OK);
        assert_int_equal(device->numa, vendors[i].address ? 1 : UINT32_MAX);
        assert_true(device->memory_bytes > 0);
        assert_string_equal(machine->node->notes, "");
        assert_node_is_accepted(machine->node);
        machine_stop((void **)&machine);
    }
}

/* Without its tool a device is still shown, sick, and said; nothing breaks. */
static void test_missing_tools_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vendors); i++) {
        struct machine *machine;

        machine_start((void **)&machine);
        put_vendor(machine, i, false);
        look(machine);
        if (!strstr(machine->node->notes, vendors[i].vendor) ||
            !strstr(machine->node->notes, "is missing"))
            fail_msg("%s: notes: \"%s\"", vendors[i].vendor, machine->node->notes);
        for (uint32_t k = 0; k < machine->node->devices_count; k++) {
            assert_int_equal(machine->node->devices[k].health, DEVICE_SICK);
            assert_non_null(strstr(machine->node->devices[k].health_text, "present, but"));
            assert_memory_equal(machine->node->devices[k].chip, "unknown-", 8);
        }
        /* gaudi's nodes are shared with other drivers: no place is made up for it */
        assert_true(machine->node->devices_count > 0 || strcmp(vendors[i].vendor, "intel") == 0);
        assert_node_is_accepted(machine->node);
        machine_stop((void **)&machine);
    }
}

static void test_broken_tools_break_nothing(void **state)
{
    static const char *const bodies[] = {
        "#!/bin/sh\nexit 9\n",
        "#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n",
        "#!/bin/sh\nkill -SEGV $$\n",
        "#!/bin/sh\nhead -c 3000000 /dev/zero\n",
        "#!/bin/sh\nhead -c 300000 /dev/urandom\n",
        "#!/nonexistent/interpreter\n",
        "",
    };
    struct machine *machine = *state;

    put(machine, "/dev/nvidia0", "");
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        put_tool(machine, "nvidia-smi", bodies[i]);
        look(machine);
        assert_int_equal(machine->node->devices_count, 1);
        assert_int_equal(machine->node->devices[0].health, DEVICE_SICK);
        assert_non_null(strstr(machine->node->notes, "nvidia-smi"));
        assert_node_is_accepted(machine->node);
    }
}

static void test_other_hardware_is_not_taken(void **state)
{
    struct machine *machine = *state;

    put_pci(machine, "0000:02:00.0", 0x19e5, 0x030000, 0); /* Huawei's board display */
    put_pci(machine, "0000:03:00.0", 0x1d94, 0x060000, 0); /* a bridge of a Hygon CPU */
    put_pci(machine, "0000:04:00.0", 0x10de, 0x040300, 0); /* a GPU's sound */
    put_pci(machine, "0000:05:00.0", 0x1002, 0x030000, 0); /* AMD display, no compute driver */
    put(machine, "/dev/nvidiactl", "");
    put_recorded_tool(machine, "npu-smi", "huawei/npu_smi_910b.txt");
    look(machine);
    assert_int_equal(machine->node->devices_count, 0);
    assert_non_null(strstr(machine->node->notes, "amd: 1 on the PCI bus, but no driver"));
    assert_null(strstr(machine->node->notes, "huawei"));
}

static void test_instances_of_split_device(void **state)
{
    struct machine *machine = *state;
    char body[1024];

    put(machine, "/dev/nvidia0", "");
    put(machine, "/dev/nvidia7", "");
    put_pci(machine, "0000:41:00.0", 0x10de, 0x030200, 0);
    /* The driver numbers the second GPU 7, whatever nvidia-smi's index is. */
    put(machine, "/proc/driver/nvidia/gpus/0000:41:00.0/information",
        "Model: \t\t NVIDIA A100\nDevice Minor: \t 7\n");
    snprintf(
        body, sizeof(body),
        "#!/bin/sh\nf=query_mig\n[ \"$1\" = -L ] && f=list_mig\ngrep -v '^#' '%s/nvidia/'$f.txt\n",
        RECORDED_DIR);
    put_tool(machine, "nvidia-smi", body);
    look(machine);
    assert_int_equal(machine->node->devices_count, 4);
    assert_string_equal(machine->node->devices[0].chip, "mig-a100-sxm-80g-2g.20gb");
    assert_string_equal(machine->node->devices[0].visibility_value,
                        "MIG-ec000000-0000-0000-0000-000000000000");
    assert_string_equal(machine->node->devices[0].device_nodes, "/dev/nvidia7");
    assert_string_equal(machine->node->devices[3].chip, "a100-sxm-80g");
    assert_node_is_accepted(machine->node);
}

static void test_places_are_kept(void **state)
{
    struct machine *machine = *state;

    put(machine, "/dev/nvidia0", "");
    put_tool(machine, "nvidia-smi",
             "#!/bin/sh\necho 0, GPU-a, Tesla T4, 00000000:01:00.0, 1, 15360, 30, 10, 0, [N/A]\n"
             "echo 1, GPU-b, Tesla T4, 00000000:02:00.0, 1, 15360, 31, 11, 0, [N/A]\n");
    look(machine);
    assert_int_equal(machine->readings.power_mw[1], 11000);

    /* b comes first now, a is gone, c is new and hot. */
    put_tool(machine, "nvidia-smi",
             "#!/bin/sh\necho 0, GPU-b, Tesla T4, 00000000:02:00.0, 1, 15360, 32, 12, 0, [N/A]\n"
             "echo 1, GPU-c, Tesla T4, 00000000:03:00.0, 1, 15360, 96, 70, 0, [N/A]\n");
    assert_int_equal(discover_devices(&machine->config, machine->node, &machine->readings, NULL),
                     0);
    assert_int_equal(machine->node->devices_count, 3);
    assert_string_equal(machine->node->devices[0].uuid, "GPU-a");
    assert_int_equal(machine->node->devices[0].health, DEVICE_SICK);
    assert_string_equal(machine->node->devices[0].health_text, "no longer there");
    assert_int_equal(machine->readings.power_mw[0], -1);
    assert_string_equal(machine->node->devices[1].uuid, "GPU-b");
    assert_int_equal(machine->node->devices[1].health, DEVICE_OK);
    assert_int_equal(machine->node->devices[1].index, 0);
    assert_int_equal(machine->readings.power_mw[1], 12000);
    assert_string_equal(machine->node->devices[2].uuid, "GPU-c");
    assert_string_equal(machine->node->devices[2].health_text, "temperature 96 C");

    /* a is back and well. */
    put_tool(machine, "nvidia-smi",
             "#!/bin/sh\necho 0, GPU-a, Tesla T4, 00000000:01:00.0, 1, 15360, 30, 10, 0, [N/A]\n");
    assert_int_equal(discover_devices(&machine->config, machine->node, &machine->readings, NULL),
                     0);
    assert_int_equal(machine->node->devices_count, 3);
    assert_int_equal(machine->node->devices[0].health, DEVICE_OK);
    assert_string_equal(machine->node->devices[0].health_text, "");
    assert_int_equal(machine->node->devices[1].health, DEVICE_SICK);
}

static void test_opencl_takes_what_is_left(void **state)
{
    struct machine *machine = *state;

    machine->config.opencl = true;
    machine->config.opencl_library = FAKE_OPENCL;
    look(machine);
    /* Not the CPU, not the one asleep. */
    assert_int_equal(machine->node->devices_count, 2);
    assert_string_equal(machine->node->devices[0].vendor, "intel");
    assert_string_equal(machine->node->devices[0].family, "opencl");
    assert_string_equal(machine->node->devices[0].chip, "unknown-intel");
    assert_int_equal(machine->node->devices[0].memory_bytes, 16 * GIB);
    assert_string_equal(machine->node->devices[0].driver, "24.1");
    assert_string_equal(machine->node->devices[1].vendor, "amd");
    assert_node_is_accepted(machine->node);

    /* The AMD one is ROCm's where rocm-smi tells of it. */
    put_vendor(machine, 1, true);
    look(machine);
    assert_int_equal(machine->node->devices_count, 3);
    assert_string_equal(machine->node->devices[0].family, "rocm");
    assert_string_equal(machine->node->devices[2].family, "opencl");
    assert_string_equal(machine->node->devices[2].vendor, "intel");

    machine->config.opencl = false; /* a later look without it leaves them as they are */
    assert_int_equal(discover_devices(&machine->config, machine->node, NULL, NULL), 0);
    assert_int_equal(machine->node->devices_count, 3);
    assert_int_equal(machine->node->devices[2].health, DEVICE_OK);

    machine->config.opencl = true;
    machine->config.opencl_library = "/nonexistent/libOpenCL.so";
    look(machine);
    assert_int_equal(machine->node->devices_count, 2);
    assert_non_null(strstr(machine->node->notes, "cannot be loaded"));

    machine->config.opencl_library = NULL; /* no .icd file below this root: not even looked for */
    look(machine);
    assert_string_equal(machine->node->notes, "");
}

static void test_checks_say_what_to_do(void **state)
{
    struct machine *machine = *state;
    struct discover_check *checks = calloc(DISCOVER_CHECKS_MAX, sizeof(*checks));
    bool vendor_seen = false;
    uint32_t count;

    put_vendor(machine, 0, false);
    count = discover_checks(&machine->config, checks);
    assert_true(count >= 8 && count <= DISCOVER_CHECKS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (!checks[i].name[0] || !checks[i].text[0] || checks[i].ok == (checks[i].advice[0] != 0))
            fail_msg("check %" PRIu32 " \"%s\": ok %d, \"%s\", \"%s\"", i, checks[i].name,
                     checks[i].ok, checks[i].text, checks[i].advice);
        if (strcmp(checks[i].name, "nvidia") == 0) {
            vendor_seen = true;
            assert_false(checks[i].ok);
            assert_non_null(strstr(checks[i].text, "nvidia-smi is missing"));
        }
    }
    assert_true(vendor_seen);
    free(checks);
}

int main(void)
{
#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_start, machine_stop)
    static const struct CMUnitTest tests[] = {
        ON_MACHINE(test_this_machine),
        ON_MACHINE(test_names_are_made_valid),
        ON_MACHINE(test_limits_of_cgroups_count),
        cmocka_unit_test(test_every_vendor_is_found),
        cmocka_unit_test(test_missing_tools_are_told),
        ON_MACHINE(test_broken_tools_break_nothing),
        ON_MACHINE(test_other_hardware_is_not_taken),
        ON_MACHINE(test_instances_of_split_device),
        ON_MACHINE(test_places_are_kept),
        ON_MACHINE(test_opencl_takes_what_is_left),
        ON_MACHINE(test_checks_say_what_to_do),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
