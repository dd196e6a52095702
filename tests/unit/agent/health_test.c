/* What is believed of devices from look to look; and a watch over a machine made of files. */
#include "agent/health.h"
#include "agent/watch.h"
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

static struct node_info *node_of(enum device_health health, const char *text)
{
    struct node_info *node = calloc(1, sizeof(*node));

    assert_non_null(node);
    node->devices_count = 1;
    node->devices[0].health = health;
    snprintf(node->devices[0].health_text, sizeof(node->devices[0].health_text), "%s", text);
    return node;
}

/* One look after the other, as the network is told of them. */
static const struct {
    enum device_health seen;
    const char *seen_text;
    enum device_health told;
    const char *told_text;
} looks[] = {
    { DEVICE_OK, "", DEVICE_OK, "" },
    { DEVICE_SICK, "2 uncorrected ECC errors", DEVICE_SICK, "2 uncorrected ECC errors" },
    { DEVICE_SICK, "13 uncorrected ECC errors", DEVICE_SICK, "2 uncorrected ECC errors" },
    { DEVICE_SICK, "temperature 99 C", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_OK, "", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_OK, "", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_SICK, "temperature 97 C", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_OK, "", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_OK, "", DEVICE_SICK, "temperature 99 C" },
    { DEVICE_OK, "", DEVICE_OK, "" },
    { DEVICE_OK, "", DEVICE_OK, "" },
};

static void test_sick_at_once_well_after_a_while(void **state)
{
    struct node_info *told = node_of(DEVICE_OK, "");
    struct health health = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        struct node_info *seen = node_of(looks[i].seen, looks[i].seen_text);

        health_judge(&health, told, seen, 1000);
        if (seen->devices[0].health != looks[i].told ||
            strcmp(seen->devices[0].health_text, looks[i].told_text) != 0)
            fail_msg("look %zu: %d \"%s\"", i, seen->devices[0].health,
                     seen->devices[0].health_text);
        free(told);
        told = seen;
    }
    free(told);
}

static void test_faults_of_the_kernel(void **state)
{
    static const struct {
        const char *address;
        uint32_t code;
    } lines[] = { { "", 0 }, /* the note */
                  { "0000:3b:00.0", 79 },
                  { "0000:5e:00.0", 48 },
                  { "", 0 }, /* 31: of the program's making */
                  { "0000:18:00.0", 95 },
                  { "", 0 },
                  { "", 0 } };
    struct buf text = buf_init(65536);
    char *at, *line;
    size_t i = 0;

    (void)state;
    assert_int_equal(file_read(RECORDED_DIR "/nvidia/kmsg.txt", &text, NULL), 0);
    for (at = text.data; (line = strsep(&at, "\n")) != NULL && *line; i++) {
        struct health_fault fault;
        bool is_fault = health_parse_fault(line, strlen(line), &fault);

        assert_true(i < sizeof(lines) / sizeof(lines[0]));
        assert_int_equal(is_fault, lines[i].code != 0);
        if (is_fault) {
            assert_string_equal(fault.address, lines[i].address);
            assert_int_equal(fault.code, lines[i].code);
            assert_true(fault.text[0]);
        }
        for (size_t len = 0; len < strlen(line); len++) /* cut anywhere */
            health_parse_fault(line, len, &fault);
    }
    assert_int_equal(i, sizeof(lines) / sizeof(lines[0]));
    buf_fini(&text);
}

/* Its tool says that it is well, the kernel knows better for a while. */
static void test_a_fault_holds(void **state)
{
    const struct health_fault fault = { .code = 79, .text = "fallen off the bus" };
    struct node_info *told = node_of(DEVICE_OK, ""), *seen = node_of(DEVICE_OK, "");
    struct health health = { 0 };

    (void)state;
    health_take_fault(&health, 0, &fault, 1000);
    health_judge(&health, told, seen, 2000);
    assert_int_equal(seen->devices[0].health, DEVICE_SICK);
    assert_string_equal(seen->devices[0].health_text, "XID 79: fallen off the bus");
    *told = *seen;
    for (uint32_t i = 1; i <= HEALTH_LOOKS_WELL; i++) {
        seen->devices[0].health = DEVICE_OK;
        health_judge(&health, told, seen, 1001 + HEALTH_FAULT_HOLD_MS);
        assert_int_equal(seen->devices[0].health, i < HEALTH_LOOKS_WELL ? DEVICE_SICK : DEVICE_OK);
    }
    free(told);
    free(seen);
}

/* --- a machine made of files ------------------------------------------------------------------ */

#define UUID "GPU-11111111-2222-3333-4444-555555555555"
#define ROW(ecc)                                                                                   \
    "0, " UUID ", NVIDIA H100 80GB HBM3, 00000000:3B:00.0, 535.1, 81559, 40, 70.1, " ecc

struct machine {
    char root[64], tools[80];
    uv_loop_t loop;
    uv_timer_t limit;
    bool is_late;
    struct catalogue *catalogue;
    struct discover_config discover;
    struct node_info *node;
    struct watch *watch;
    uint32_t looks, changes, node_changes;
};

static void put(const struct machine *machine, const char *path, const char *text, mode_t mode)
{
    char full[256], folder[256];

    snprintf(full, sizeof(full), "%s%s", machine->root, path);
    snprintf(folder, sizeof(folder), "%s", full);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(dir_make(folder, 0700, NULL), 0);
    assert_int_equal(file_write(full, text, strlen(text), mode, false, NULL), 0);
    assert_int_equal(chmod(full, mode), 0);
}

static void tool_prints(const struct machine *machine, const char *row)
{
    char body[512];

    snprintf(body, sizeof(body), "#!/bin/sh\necho '%s, Disabled'\n", row);
    put(machine, "/tools/new", body, 0700);
    snprintf(body, sizeof(body), "%s/tools/new", machine->root);
    snprintf(body + 200, sizeof(body) - 200, "%s/nvidia-smi", machine->tools);
    assert_int_equal(rename(body, body + 200), 0);
}

static void on_looked(void *context, const struct discover_readings *readings)
{
    (void)readings;
    ((struct machine *)context)->looks++;
}
static void on_changed(void *context)
{
    ((struct machine *)context)->changes++;
}
static void on_node_changed(void *context, const struct health *health)
{
    (void)health;
    ((struct machine *)context)->node_changes++;
}
static void on_limit(uv_timer_t *timer)
{
    ((struct machine *)timer->data)->is_late = true;
}

static bool is_device(const struct machine *machine, enum device_health health, const char *says)
{
    return machine->node->devices_count == 1 && machine->node->devices[0].health == health &&
           strstr(machine->node->devices[0].health_text, says);
}

static void wait_for_device(struct machine *machine, enum device_health health, const char *says)
{
    machine->is_late = false;
    uv_timer_start(&machine->limit, on_limit, 60000, 0);
    while (!is_device(machine, health, says) && !machine->is_late)
        uv_run(&machine->loop, UV_RUN_ONCE);
    if (machine->is_late)
        fail_msg("%u devices, the first: %d \"%s\"", machine->node->devices_count,
                 machine->node->devices[0].health, machine->node->devices[0].health_text);
}

static void test_watch(void **state)
{
    struct machine machine = { 0 };
    struct watch_config config = { .looked = on_looked,
                                   .changed = on_changed,
                                   .node_changed = on_node_changed };
    char path[256];

    (void)state;
    snprintf(machine.root, sizeof(machine.root), "/tmp/mains-watch-XXXXXX");
    assert_non_null(mkdtemp(machine.root));
    snprintf(machine.tools, sizeof(machine.tools), "%s/tools", machine.root);
    put(&machine, "/dev/null", "", 0600);
    put(&machine, "/tools/none", "", 0600);
    machine.node = calloc(1, sizeof(*machine.node));
    assert_int_equal(catalogue_load(NULL, &machine.catalogue, NULL), 0);
    machine.discover = (struct discover_config){ .root = machine.root,
                                                 .tool_path = machine.tools,
                                                 .catalogue = machine.catalogue };
    uv_loop_init(&machine.loop);
    uv_timer_init(&machine.loop, &machine.limit);
    machine.limit.data = &machine;
    config.loop = &machine.loop;
    config.discover = &machine.discover;
    config.node = machine.node;
    config.state_dir = machine.root;
    config.context = &machine;
    assert_int_equal(watch_create(&config, &machine.watch, NULL), 0);
    while (machine.looks < 1)
        uv_run(&machine.loop, UV_RUN_ONCE);
    assert_int_equal(machine.node->devices_count, 0);
    assert_int_equal(machine.changes, 0);
    /* It comes: seen by its node, long before the next look would be due. */
    tool_prints(&machine, ROW("0"));
    put(&machine, "/dev/nvidia0", "", 0600);
    wait_for_device(&machine, DEVICE_OK, "");
    assert_string_equal(machine.node->devices[0].uuid, UUID);
    assert_true(machine.looks < 4);
    /* It turns sick, and well. */
    tool_prints(&machine, ROW("3"));
    wait_for_device(&machine, DEVICE_SICK, "3 uncorrected ECC errors");
    tool_prints(&machine, ROW("0"));
    machine.looks = 0;
    wait_for_device(&machine, DEVICE_OK, "");
    assert_true(machine.looks >= HEALTH_LOOKS_WELL);
    /* It goes. */
    snprintf(path, sizeof(path), "%s/dev/nvidia0", machine.root);
    unlink(path);
    wait_for_device(&machine, DEVICE_SICK, "no longer there");
    assert_int_equal(machine.node_changes, 0);
    watch_destroy(machine.watch);
    uv_close((uv_handle_t *)&machine.limit, NULL);
    while (uv_run(&machine.loop, UV_RUN_DEFAULT) != 0)
        ;
    assert_int_equal(uv_loop_close(&machine.loop), 0);
    catalogue_destroy(machine.catalogue);
    free(machine.node);
    dir_remove(machine.root, NULL);
}

static void test_the_node(void **state)
{
    char root[] = "/tmp/mains-node-XXXXXX", reason[120] = "";
    struct machine machine = { 0 };
    struct health health = { 0 };

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(machine.root, sizeof(machine.root), "%s", root);
    assert_true(health_look_at_node(&health, root, root, reason));
    put(&machine, "/sys/devices/system/edac/mc/mc0/ue_count", "2\n", 0600);
    assert_true(health_look_at_node(&health, root, root, reason)); /* from before */
    put(&machine, "/sys/devices/system/edac/mc/mc0/ue_count", "5\n", 0600);
    assert_false(health_look_at_node(&health, root, root, reason));
    assert_string_equal(reason, "unhealthy: 3 uncorrected memory errors");
    assert_true(health_judge_node(&health, false, reason));
    assert_false(health_judge_node(&health, false, reason)); /* told */
    for (uint32_t i = 1; i < HEALTH_LOOKS_WELL; i++)
        assert_false(health_judge_node(&health, true, ""));
    assert_true(health_judge_node(&health, true, ""));
    assert_false(health.node_is_sick);
    dir_remove(root, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sick_at_once_well_after_a_while),
        cmocka_unit_test(test_faults_of_the_kernel),
        cmocka_unit_test(test_a_fault_holds),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_the_node),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
