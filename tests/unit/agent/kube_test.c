#include "agent/kube_internal.h"
#include "agent/kube_resource.h"
#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TAG "3af4b421"

static json_t *recorded(const char *name)
{
    char path[512];
    json_t *json;

    snprintf(path, sizeof(path), "%s/kubernetes/%s.json", RECORDED_DIR, name);
    json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

/* ---- numbers and times ---- */

static void test_quantities(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t milli;
    } cases[] = {
        { "", false, 0 },
        { "-1", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1 Gi", false, 0 },
        { "1GiB", false, 0 },
        { "nan", false, 0 },
        { "inf", false, 0 },
        { "0x10", false, 0 },
        { "m", false, 0 },
        { "0", true, 0 },
        { "100m", true, 100 },
        { "111500m", true, 111500 },
        { "1.5", true, 1500 },
        { "1n", true, 1 }, /* rounded up: a request is never lost */
        { "2Ki", true, 2048000 },
        { "128974848", true, INT64_C(128974848000) },
        { "129e6", true, INT64_C(129000000000) },
        { "123Mi", true, INT64_C(128974848000) },
        { "1E", true, INT64_MAX }, /* of 1/1000 */
        { "100E", true, INT64_MAX },
        { "9999999999999999999999Ei", true, INT64_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t milli = -1;
        bool good = kube_quantity_parse(cases[i].text, &milli);

        if (good != cases[i].good || (good && milli != cases[i].milli))
            fail_msg("\"%s\": %d, %" PRId64, cases[i].text, good, milli);
    }
    assert_false(kube_quantity_parse(NULL, &(int64_t){ 0 }));
}

static void test_times(void **state)
{
    (void)state;
    assert_true(kube_time_ns("2024-03-12T09:00:02Z") == INT64_C(1710234002000000000));
    assert_true(kube_time_ns("2024-03-12T09:00:02.5Z") == INT64_C(1710234002500000000));
    assert_true(kube_time_ns("2024-03-12T09:00:02.000000007Z") == INT64_C(1710234002000000007));
    assert_true(kube_time_ns("2024-03-12T10:00:02.000000007+01:00") ==
                INT64_C(1710234002000000007));
    assert_true(kube_time_ns("") == 0 && kube_time_ns(NULL) == 0 && kube_time_ns("now") == 0);
    assert_true(kube_time_ns("2024-03-12T09:00:02.99999999999999999999999Z") ==
                INT64_C(1710234002999999999));
}

static void test_log_lines(void **state)
{
    int64_t ns;
    const char *line = "2024-03-12T09:00:02.123456789Z hello world";

    (void)state;
    assert_string_equal(kube_log_parse_line(line, strlen(line), &ns), "hello world");
    assert_true(ns == INT64_C(1710234002123456789));
    line = "2024-03-12T09:00:02.123456789Z ";
    assert_string_equal(kube_log_parse_line(line, strlen(line), &ns), "");
    assert_null(kube_log_parse_line("", 0, &ns));
    assert_null(kube_log_parse_line("unable to retrieve container logs", 33, &ns));
    assert_null(kube_log_parse_line("2024-03-12T09:00:02.123456789Z", 30, &ns));
}

/* ---- what the server says ---- */

static void parse_settings(const char *text, struct kube_settings *settings)
{
    json_t *json = json_loads(text, 0, NULL);
    struct err err;

    assert_non_null(json);
    if (kube_settings_parse(json, settings, &err) < 0)
        fail_msg("%s", err.text);
    json_decref(json);
}

static void test_node(void **state)
{
    struct kube_settings settings;
    struct catalogue *catalogue;
    struct kube_node node;
    const struct chip *chip;
    struct err err;
    json_t *json = recorded("node");

    (void)state;
    parse_settings("{}", &settings);
    assert_true(kube_node_parse(json, &settings, &node));
    assert_string_equal(node.name, "gpu-07");
    assert_string_equal(node.arch, "x86_64");
    assert_string_equal(node.os, "Ubuntu 22.04.4 LTS");
    assert_true(node.cpu_milli == 111500 && node.memory_bytes == INT64_C(2111467) << 20);
    assert_true(node.ready && !node.cordoned && node.selected);
    assert_string_equal(node.why, "taint nvidia.com/gpu (NoSchedule)");
    assert_int_equal(node.resources_count, 1);
    assert_string_equal(node.resources[0].name, "nvidia.com/gpu");
    assert_int_equal(node.resources[0].count, 7); /* one is unhealthy */
    assert_int_equal(node.resources[0].capacity, 8);
    assert_true(node.resources[0].memory_bytes == INT64_C(81559) << 20);
    assert_int_equal(catalogue_load(NULL, &catalogue, &err), 0);
    chip = kube_resource_chip(node.resources[0].name, NULL, node.resources[0].product,
                              node.resources[0].memory_bytes, catalogue);
    assert_non_null(chip);
    assert_string_equal(chip->kind, "h100-sxm-80g");
    kube_settings_fini(&settings);

    parse_settings("{\"tolerations\":[{\"key\":\"nvidia.com/gpu\",\"operator\":\"Exists\"}],"
                   "\"rack_label\":\"topology.kubernetes.io/zone\","
                   "\"node_selector\":{\"pool\":\"gpu\"}}",
                   &settings);
    assert_true(kube_node_parse(json, &settings, &node));
    assert_string_equal(node.why, "");
    assert_string_equal(node.rack, "r12");
    assert_true(node.selected);
    json_object_set_new(json_object_get(json, "spec"), "unschedulable", json_true());
    assert_true(kube_node_parse(json, &settings, &node));
    assert_string_equal(node.why, "cordoned");
    kube_settings_fini(&settings);

    parse_settings("{\"node_selector\":{\"pool\":\"cpu\"},"
                   "\"resource_names\":{\"nvidia.com/gpu\":\"h200-sxm\"}}",
                   &settings);
    assert_true(kube_node_parse(json, &settings, &node));
    assert_false(node.selected);
    chip = kube_resource_chip("nvidia.com/gpu", settings.resource_names, "", 0, catalogue);
    assert_string_equal(chip->kind, "h200-sxm");
    kube_settings_fini(&settings);
    catalogue_destroy(catalogue);
    json_decref(json);
}

static void test_node_refusals(void **state)
{
    static const char *const texts[] = {
        "{}", "[]", "{\"metadata\":{}}", "{\"metadata\":{\"name\":7}}",
        "{\"metadata\":{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}"
    };
    struct kube_settings settings;
    struct kube_node node;
    json_t *json;

    (void)state;
    parse_settings("{}", &settings);
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        json = json_loads(texts[i], 0, NULL);
        assert_false(kube_node_parse(json, &settings, &node));
        json_decref(json);
    }
    json = json_loads("{\"metadata\":{\"name\":\"n\"},\"status\":{\"allocatable\":{\"cpu\":-4,"
                      "\"memory\":\"lots\",\"nvidia.com/gpu\":\"9999999999\"}}}",
                      0, NULL);
    assert_true(kube_node_parse(json, &settings, &node));
    assert_true(node.cpu_milli == 0 && node.memory_bytes == 0);
    assert_int_equal(node.resources[0].count, NODE_DEVICES_MAX);
    assert_string_equal(node.why, "it never told that it is ready");
    json_decref(json);
    kube_settings_fini(&settings);
}

static void test_use(void **state)
{
    json_t *json = recorded("pod_oom");
    struct kube_use use;

    (void)state;
    assert_true(kube_use_parse(json, NULL, TAG, &use));
    assert_true(use.ours && use.ended);
    assert_string_equal(use.node, "gpu-07");
    assert_true(use.cpu_milli == 2250); /* the containers, and what comes on top */
    assert_true(use.memory_bytes == (INT64_C(3) << 30) + (INT64_C(120) << 20)); /* the one before */
    assert_int_equal(use.devices, 1);
    assert_true(kube_use_parse(json, NULL, "00000000", &use));
    assert_false(use.ours);
    json_decref(json);
}

/* ---- how it ended ---- */

static void test_outcomes(void **state)
{
    static const struct {
        const char *file;
        bool bad;
        enum attempt_end end;
        const char *word;
    } cases[] = {
        { "pod_oom", true, END_MEMORY, "out of memory" },
        { "pod_evicted", true, END_LOST, "evicted: The node was low on resource" },
        { "pod_pending", false, END_EXITED, "" },
        { "pod_image", false, END_EXITED, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        json_t *json = recorded(cases[i].file);
        struct kube_outcome outcome;
        struct kube_pod pod;

        assert_true(kube_pod_parse(json, TAG, &pod));
        assert_false(kube_pod_parse(json, "00000000", &pod));
        assert_true(kube_pod_parse(json, TAG, &pod));
        if (kube_outcome_of_pod(&pod, &outcome) != cases[i].bad ||
            (cases[i].bad &&
             (outcome.end != cases[i].end || !strstr(outcome.reason, cases[i].word))))
            fail_msg("%s: %d %s", cases[i].file, outcome.end, outcome.reason);
        json_decref(json);
    }
}

static void test_container_ends(void **state)
{
    static const struct {
        int32_t exit_code;
        const char *pod_reason, *reason, *message;
        enum attempt_end end;
        int32_t told;
    } cases[] = {
        { 3, "", "Error", "", END_EXITED, 3 },
        { 300, "", "Error", "", END_EXITED, 255 },
        { 137, "", "Error", "", END_SIGNALLED, SIGKILL },
        { 143, "", "Error", "", END_SIGNALLED, SIGTERM },
        { 137, "", "OOMKilled", "", END_MEMORY, 0 },
        { 128, "", "StartError", "exec: no such file", END_START_FAILED, 0 },
        { 127, "", "ContainerCannotRun", "", END_START_FAILED, 0 },
        { 137, "", "ContainerStatusUnknown", "", END_LOST, 0 },
        { 137, "DeadlineExceeded", "Error", "", END_TIME_LIMIT, 0 },
        { 137, "NodeShutdown", "Error", "", END_LOST, 0 },
        { 0, "OutOfnvidia.com/gpu", "", "", END_LOST, 0 },
        { 0, "Evicted", "", "Pod ephemeral local storage usage exceeds the total limit", END_DISK,
          0 },
        { 0, "", "Completed", "", END_EXITED, -1 }, /* -1: well */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct kube_pod pod = { .began = cases[i].reason[0] != '\0',
                                .ended = true,
                                .exit_code = cases[i].exit_code };
        struct kube_outcome outcome;
        bool bad;

        snprintf(pod.phase, sizeof(pod.phase), cases[i].told < 0 ? "Succeeded" : "Failed");
        snprintf(pod.reason, sizeof(pod.reason), "%s", cases[i].pod_reason);
        snprintf(pod.message, sizeof(pod.message), "%s", cases[i].message);
        snprintf(pod.ended_reason, sizeof(pod.ended_reason), "%s", cases[i].reason);
        bad = kube_outcome_of_pod(&pod, &outcome);
        if (bad != (cases[i].told >= 0) ||
            (bad && (outcome.end != cases[i].end || outcome.exit_code != cases[i].told)))
            fail_msg("row %zu: %d %d %s", i, outcome.end, outcome.exit_code, outcome.reason);
    }
}

static void test_gang_outcome(void **state)
{
    struct kube_rank ranks[3] = { 0 };
    struct kube_outcome outcome;
    struct kube_job job;
    json_t *json = recorded("job_failed");

    (void)state;
    assert_true(kube_job_parse(json, TAG, &job));
    assert_true(job.failed && !job.complete && !job.suspended);
    assert_string_equal(job.reason, "PodFailurePolicy");
    assert_true(job.key.job_id == 17 && job.key.epoch == 2);
    assert_true(job.ended_ms == INT64_C(1710234042000));
    /* Ranks 0 and 2 were ended because 1 had failed. */
    for (int i = 0; i < 3; i++) {
        ranks[i].known = true;
        ranks[i].pod = (struct kube_pod){ .index = i,
                                          .phase = "Failed",
                                          .began = true,
                                          .ended = true,
                                          .exit_code = i == 1 ? 9 : 143,
                                          .ended_reason = "Error",
                                          .deleting = i != 1,
                                          .ended_ms = 1000 - i };
    }
    kube_outcome_of_job(&job, ranks, 3, &outcome);
    assert_int_equal(outcome.end, END_EXITED);
    assert_int_equal(outcome.exit_code, 9);
    assert_string_equal(outcome.reason, "task 1: exit status 9");
    /* No word of any pod. */
    kube_outcome_of_job(&job, ranks, 0, &outcome);
    assert_int_equal(outcome.end, END_LOST);
    json_decref(json);
}

static void test_trouble(void **state)
{
    json_t *json = recorded("pod_image");
    struct kube_pod pod;

    (void)state;
    assert_true(kube_pod_parse(json, TAG, &pod));
    assert_int_equal(kube_outcome_trouble(&pod), KUBE_TROUBLE_IMAGE);
    snprintf(pod.waiting, sizeof(pod.waiting), "InvalidImageName");
    assert_int_equal(kube_outcome_trouble(&pod), KUBE_TROUBLE_HOPELESS);
    snprintf(pod.waiting, sizeof(pod.waiting), "ContainerCreating");
    assert_int_equal(kube_outcome_trouble(&pod), KUBE_TROUBLE_NONE);
    json_decref(json);
    json = recorded("pod_pending");
    assert_true(kube_pod_parse(json, TAG, &pod));
    assert_string_equal(pod.pending, "Unschedulable");
    assert_non_null(strstr(pod.pending_text, "1 Insufficient nvidia.com/gpu"));
    json_decref(json);
}

/* ---- watches and answers ---- */

static void test_watch_lines(void **state)
{
    static const struct {
        const char *line;
        bool good;
        const char *type, *version;
        int code;
    } cases[] = {
        { "", false, "", "", 0 },
        { "{", false, "", "", 0 },
        { "{\"type\":\"ADDED\"}", false, "", "", 0 },
        { "{\"type\":\"ADDED\",\"object\":[]}", false, "", "", 0 },
        { "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Job\",\"metadata\":{\"resourceVersion\":"
          "\"12746\",\"creationTimestamp\":null}}}",
          true, "BOOKMARK", "12746", 0 },
        { "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{"
          "},"
          "\"status\":\"Failure\",\"message\":\"too old resource version: 1 (2)\","
          "\"reason\":\"Gone\",\"code\":410}}",
          true, "ERROR", "", 410 },
        { "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1&watch=0\"}}}",
          true, "ADDED", "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const json_t *object;
        const char *type;
        json_t *root = NULL;
        char version[64];
        int code;
        bool good = kube_watch_parse(cases[i].line, strlen(cases[i].line), &root, &type, &object,
                                     version, &code);

        if (good != cases[i].good ||
            (good && (strcmp(type, cases[i].type) != 0 || strcmp(version, cases[i].version) != 0 ||
                      code != cases[i].code)))
            fail_msg("row %zu", i);
        if (good)
            json_decref(root);
    }
}

static void test_answers(void **state)
{
    json_t *status = json_loads("{\"kind\":\"Status\",\"message\":\"jobs.batch \\\"x\\\" already "
                                "exists\\u001b[2J\",\"reason\":\"AlreadyExists\",\"code\":409}",
                                0, NULL);
    struct kube_answer answer = { .status = 409 };
    char text[200];

    (void)state;
    kube_answer_say(409, status, "", text, sizeof(text));
    assert_string_equal(text, "jobs.batch \"x\" already exists?[2J (409)");
    json_decref(status);
    assert_false(kube_answer_is_passing(&answer));
    answer.status = 429;
    answer.retry_after_ms = 7000;
    assert_true(kube_answer_is_passing(&answer));
    assert_true(kube_api_pause(1, &answer) >= 7000);
    answer.retry_after_ms = 0;
    assert_true(kube_api_pause(1, &answer) < 1000);
    assert_true(kube_api_pause(100, &answer) >= KUBE_PAUSE_MS_MAX);
    answer.retry_after_ms = INT64_MAX;
    assert_true(kube_api_pause(1, &answer) <= KUBE_PAUSE_MS_MAX * 2);
}

/* ---- what an owner writes ---- */

static void test_settings_refusals(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        { "[]", "kubernetes: expected an object" },
        { "{\"colour\":1}", "kubernetes.colour: unknown key" },
        { "{\"context\":7}", "kubernetes.context: expected a text" },
        { "{\"namespace\":\"Not A Name\"}", "is no name of Kubernetes" },
        { "{\"kubeconfig\":\"relative\"}", "kubernetes.kubeconfig: expected an absolute path" },
        { "{\"default_image\":\"a b\"}", "kubernetes.default_image: expected a text without" },
        { "{\"queue\":\"q\"}", "say in kubernetes.gang whose queue" },
        { "{\"gang\":\"kueue\"}", "kueue needs kubernetes.queue" },
        { "{\"gang\":\"yarn\"}", "expected kueue, volcano or none" },
        { "{\"volume\":{\"claim\":\"c\"}}", "kubernetes.volume: expected claim" },
        { "{\"volume\":{\"claim\":\"c\",\"path\":\"/a/../b\"}}", "kubernetes.volume" },
        { "{\"volume\":{\"claim\":\"c\",\"path\":\"/a\",\"x\":1}}", "kubernetes.volume" },
        { "{\"image_wait\":\"soon\"}", "kubernetes.image_wait: expected a duration" },
        { "{\"run_as_user\":-1}", "kubernetes.run_as_user" },
        { "{\"node_selector\":{\"a\":1}}", "kubernetes.node_selector.a: expected a short text" },
        { "{\"tolerations\":{}}", "kubernetes.tolerations: expected a list" },
        { "{\"tolerations\":[{\"colour\":\"x\"}]}", "kubernetes.tolerations[0].colour" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        json_t *json = json_loads(cases[i].text, 0, NULL);
        struct kube_settings settings;
        struct err err = { 0 };

        if (kube_settings_parse(json, &settings, &err) >= 0 || !strstr(err.text, cases[i].word))
            fail_msg("%s: %s", cases[i].text, err.text);
        json_decref(json);
    }
}

#define CONFIG(cluster, user)                                                                      \
    "apiVersion: v1\nkind: Config\ncurrent-context: a\n"                                           \
    "contexts: [ { name: a, context: { cluster: c, user: u, namespace: ml } } ]\n"                 \
    "clusters: [ { name: c, cluster: { " cluster " } } ]\n"                                        \
    "users: [ { name: u, user: { " user " } } ]\n"

static void test_kubeconfig_refusals(void **state)
{
    static const struct {
        const char *text, *context, *word;
    } cases[] = {
        { "", NULL, "k: empty" },
        { "[ a ]", NULL, "expected a kubeconfig" },
        { "a: [", NULL, "k:" },
        { "kind: Config\n", NULL, "no current-context" },
        { CONFIG("server: 'https://h:6443'", ""), "b", "no context \"b\" in it" },
        { "current-context: a\ncontexts: [ { name: a, context: { cluster: x } } ]\n", NULL,
          "no cluster \"x\" in it" },
        { CONFIG("server: 'http://10.0.0.1:8080'", ""), NULL, "expected https" },
        { CONFIG("server: 'http://127.0.0.1.example.com'", ""), NULL, NULL },
        { CONFIG("server: ''", ""), NULL, "server: expected https" },
        { CONFIG("server: 'https://h', insecure-skip-tls-verify: true", ""), NULL,
          "certificates are always checked" },
        { CONFIG("server: 'https://h', proxy-url: 'http://p'", ""), NULL, "proxy-url" },
        { CONFIG("server: 'https://h', certificate-authority-data: '*'", ""), NULL,
          "certificate-authority-data: expected base64" },
        { CONFIG("server: 'https://h', certificate-authority: nowhere.pem", ""), NULL,
          "nowhere.pem" },
        { CONFIG("server: 'https://h'", "exec: { command: aws }"), NULL,
          "exec: credential plugins are programs" },
        { CONFIG("server: 'https://h'", "auth-provider: { name: gcp }"), NULL,
          "auth-provider: credential plugins" },
        { CONFIG("server: 'https://h'", "username: a, password: b"), NULL, "no passwords" },
        { CONFIG("server: 'https://h'", "as: admin"), NULL, "acting as another user" },
        { CONFIG("server: 'https://h'", "client-certificate-data: YQ=="), NULL, "go together" },
        { CONFIG("server: 'https://h'", "tokenFile: nowhere"), NULL, "nowhere" },
        { CONFIG("server: 'http://localhost:8001'", "token: t"), NULL,
          "a token is not sent over plain http" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct kube_access access = { 0 };
        struct err err = { 0 };
        int rc = kube_access_parse("k", cases[i].text, strlen(cases[i].text), cases[i].context,
                                   &access, &err);

        if (cases[i].word ? rc >= 0 || !strstr(err.text, cases[i].word) : rc >= 0)
            fail_msg("row %zu: %d %s", i, rc, err.text);
    }
}

static void test_kubeconfig(void **state)
{
    const char *text = CONFIG("server: 'https://10.0.0.1:6443/', certificate-authority-data: Y2E=",
                              "client-certificate-data: Y3J0, client-key-data: a2V5");
    struct kube_access access;
    struct err err;

    (void)state;
    if (kube_access_parse("/x/k", text, strlen(text), "", &access, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(access.server, "https://10.0.0.1:6443");
    assert_string_equal(access.namespace, "ml");
    assert_string_equal(access.ca_pem, "ca");
    assert_string_equal(access.cert_pem, "crt");
    assert_string_equal(access.key_pem, "key");
    assert_null(access.token);
    kube_access_fini(&access);
    text = CONFIG("server: 'http://127.0.0.1:8001'", "");
    assert_int_equal(kube_access_parse("k", text, strlen(text), "a", &access, &err), 0);
    kube_access_fini(&access);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
}

static void test_in_cluster(void **state)
{
    char folder[] = "/tmp/mains-kube-test.XXXXXX";
    struct kube_access access;
    struct err err;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_true(kube_access_in_cluster(folder, "10.96.0.1", "443", &access, &err) < 0);
    write_text(folder, "ca.crt", "CA");
    write_text(folder, "namespace", "runners\n");
    write_text(folder, "token", "first\n");
    assert_int_equal(kube_access_in_cluster(folder, "fd00::1", "443", &access, &err), 0);
    assert_string_equal(access.server, "https://[fd00::1]:443");
    assert_string_equal(access.namespace, "runners");
    assert_string_equal(access.token, "first");
    write_text(folder, "token", "second");
    assert_int_equal(kube_access_renew(&access, &err), 0);
    assert_string_equal(access.token, "second");
    write_text(folder, "token", "");
    assert_true(kube_access_renew(&access, &err) < 0);
    assert_string_equal(access.token, "second"); /* what it had is better than nothing */
    kube_access_fini(&access);
    dir_remove(folder, NULL);
}

/* ---- what is made ---- */

struct made {
    struct kube_settings settings;
    struct kube_note note;
    struct engine_part parts[2];
    struct kube_order order;
};

static void make_order(struct made *made, const char *settings, const char *spec, uint32_t nodes,
                       uint32_t tasks)
{
    struct err err;

    memset(made, 0, sizeof(*made));
    parse_settings(settings, &made->settings);
    made->note = (struct kube_note){ .key = { 17, 2 },
                                     .duration_ms_max = 60000,
                                     .grace_ms = 2500,
                                     .tasks = tasks,
                                     .parts_count = nodes,
                                     .parts = made->parts };
    for (uint32_t i = 0; i < nodes; i++) {
        snprintf(made->parts[i].node, sizeof(made->parts[i].node), "gpu-%u", i);
        made->parts[i].tasks = tasks / nodes;
    }
    made->order.base.key = made->note.key;
    made->order.note = &made->note;
    made->order.settings = &made->settings;
    snprintf(made->order.tag, sizeof(made->order.tag), TAG);
    if (spec_parse_json_text(spec, strlen(spec), &made->order.spec, &err) < 0)
        fail_msg("%s", err.text);
    made->note.dressed =
        !kube_order_needs_secret(&made->order) && !kube_order_needs_service(&made->order);
}

static void free_order(struct made *made)
{
    spec_destroy(made->order.spec);
    kube_settings_fini(&made->settings);
}

static const json_t *at(const json_t *json, const char *path)
{
    char text[200];

    snprintf(text, sizeof(text), "%s", path);
    for (char *p = text, *next; json && p; p = next) {
        next = strchr(p, '/');
        if (next)
            *next++ = '\0';
        json = json_is_array(json) ? json_array_get(json, strtoul(p, NULL, 10))
                                   : json_object_get(json, p);
    }
    return json;
}

static const json_t *variable(const json_t *job, const char *name)
{
    const json_t *list = at(job, "spec/template/spec/containers/0/env");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(at(json_array_get(list, i), "name")), name) == 0)
            return json_array_get(list, i);
    return NULL;
}

static const char *text_at(const json_t *json, const char *path)
{
    const char *text = json_string_value(at(json, path));

    return text ? text : "";
}

#define SPEC_PLAIN "{\"command\":[\"echo\",\"$(HOME) $$\"],\"resources\":{\"cpus\":2}}"

/* A guard starts what a lease binds, and what is asked for checkpoints; not without a volume. */
static void test_guarded_object(void **state)
{
    static const char command[] = "spec/template/spec/containers/0/command/%d";
    struct made made;
    char path[80];
    struct err err;
    json_t *job;

    (void)state;
    for (int i = 0; i < 4; i++) { /* a lease, a volume */
        make_order(&made, "{\"default_image\":\"debian:12\"}", SPEC_PLAIN, 1, 1);
        made.note.lease = i & 1 ? 9 : 0;
        made.order.agent_dir = "/v/agent";
        snprintf(made.order.folder, sizeof(made.order.folder), "/v/agent/attempts/17.2");
        snprintf(made.order.work_path, sizeof(made.order.work_path), "%s",
                 i & 2 ? "/v/agent/attempts/17.2/work" : "");
        if (kube_object_job(&made.order, &job, &err) < 0)
            fail_msg("%s", err.text);
        snprintf(path, sizeof(path), command, 0);
        assert_string_equal(text_at(job, path), i == 3 ? "/bin/sh" : "echo");
        assert_true((variable(job, "MAINS_GUARD_LEASE") != NULL) == (i == 3));
        if (i == 3) {
            snprintf(path, sizeof(path), command, 1);
            assert_string_equal(text_at(job, path), "/v/agent/attempts/17.2/guard");
            snprintf(path, sizeof(path), command, 2);
            assert_string_equal(text_at(job, path), "echo");
            assert_string_equal(text_at(variable(job, "MAINS_GUARD_LEASE"), "value"), "9");
            assert_string_equal(text_at(variable(job, "MAINS_GUARD_DIR"), "value"),
                                "/v/agent/guard");
            assert_string_equal(text_at(variable(job, "MAINS_GUARD_NAME"), "value"), "17.2");
        }
        json_decref(job);
        free_order(&made);
    }
}

static void test_events(void **state)
{
    static const struct {
        const char *name, *reason;
        bool good;
    } cases[] = {
        { "mains-" TAG "-17-2", "FailedCreate", true },
        { "mains-" TAG "-17-2-3-x9x9x", "FailedScheduling", true },
        { "mains-" TAG "-17-2", "Killing", false },
        { "mains-" TAG "-17-2x", "FailedCreate", false },
        { "mains-" TAG "-17", "FailedCreate", false },
        { "mains-" TAG "--2", "FailedCreate", false },
        { "mains-" TAG "-17--2", "FailedCreate", false },
        { "mains-" TAG "-99999999999999999999999-2", "FailedCreate", false },
        { "mains-" TAG "-17-4294967296", "FailedCreate", false },
        { "mains-00000000-17-2", "FailedCreate", false },
        { "mains-", "FailedCreate", false },
        { "", "FailedCreate", false },
    };
    char reason[48], text[KUBE_TEXT_BYTES];
    struct attempt_key key;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        json_t *event = json_pack("{s:{s:s},s:s,s:s}", "involvedObject", "name", cases[i].name,
                                  "reason", cases[i].reason, "message", "no\nroom");

        assert_non_null(event);
        if (kube_event_parse(event, TAG, &key, reason, text) != cases[i].good)
            fail_msg("%s %s", cases[i].name, cases[i].reason);
        if (cases[i].good) {
            assert_int_equal(key.job_id, 17);
            assert_int_equal(key.epoch, 2);
            assert_string_equal(reason, cases[i].reason);
            assert_null(strchr(text, '\n'));
        }
        json_decref(event);
    }
}

static void test_job_object(void **state)
{
    struct made made;
    struct err err;
    json_t *job;

    (void)state;
    make_order(&made, "{\"default_image\":\"debian:12\",\"run_as_user\":1000}", SPEC_PLAIN, 1, 1);
    assert_int_equal(kube_order_check(&made.order, &err), 0);
    if (kube_object_job(&made.order, &job, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(json_string_value(at(job, "metadata/name")), "mains-" TAG "-17-2");
    assert_int_equal(json_integer_value(at(job, "spec/backoffLimit")), 0);
    assert_null(at(job, "spec/suspend"));
    assert_int_equal(
        json_integer_value(at(job, "spec/template/spec/terminationGracePeriodSeconds")), 3);
    assert_true(json_integer_value(at(job, "spec/template/spec/activeDeadlineSeconds")) >= 62);
    assert_true(json_is_false(at(job, "spec/template/spec/automountServiceAccountToken")));
    assert_int_equal(json_integer_value(at(job, "spec/template/spec/securityContext/runAsUser")),
                     1000);
    /* Kubernetes' own $(NAME) does not reach into a user's words. */
    assert_string_equal(json_string_value(at(job, "spec/template/spec/containers/0/command/1")),
                        "$$(HOME) $$$$");
    assert_string_equal(
        json_string_value(at(job, "spec/template/spec/containers/0/resources/limits/cpu")), "2");
    assert_string_equal(json_string_value(at(variable(job, "MAINS_RANK"), "value")), "0");
    json_decref(job);
    free_order(&made);
}

static void test_gang_object(void **state)
{
    struct made made;
    struct err err;
    json_t *job, *service;

    (void)state;
    make_order(&made, "{\"default_image\":\"d\",\"gang\":\"kueue\",\"queue\":\"q\"}",
               "{\"command\":[\"x\"],\"tasks\":4}", 2, 4);
    assert_int_equal(kube_object_job(&made.order, &job, &err), 0);
    assert_int_equal(json_integer_value(at(job, "spec/parallelism")), 4);
    assert_true(json_is_true(at(job, "spec/suspend")));
    assert_string_equal(
        json_string_value(json_object_get(at(job, "metadata/labels"), "kueue.x-k8s.io/queue-name")),
        "q");
    assert_string_equal(
        json_string_value(at(variable(job, "MAINS_RANK"), "valueFrom/fieldRef/fieldPath")),
        "metadata.annotations['batch.kubernetes.io/job-completion-index']");
    assert_string_equal(json_string_value(at(variable(job, "MAINS_NODE"), "value")),
                        "mains-" TAG "-17-2-$(MAINS_RANK)");
    assert_string_equal(json_string_value(at(variable(job, "MASTER_ADDR"), "value")),
                        "mains-" TAG "-17-2-0.mains-" TAG "-17-2");
    assert_int_equal(json_array_size(at(job, "spec/template/spec/affinity/nodeAffinity/"
                                             "requiredDuringSchedulingIgnoredDuringExecution/"
                                             "nodeSelectorTerms")),
                     2);
    assert_int_equal(
        json_integer_value(at(job, "spec/template/spec/topologySpreadConstraints/0/maxSkew")), 1);
    assert_int_equal(kube_object_service(&made.order, "u-1", &service, &err), 0);
    assert_string_equal(json_string_value(at(service, "spec/clusterIP")), "None");
    assert_string_equal(json_string_value(at(service, "metadata/ownerReferences/0/uid")), "u-1");
    json_decref(service);
    json_decref(job);
    free_order(&made);
}

static void test_secrets(void **state)
{
    struct made made;
    struct err err;
    json_t *job, *secret;
    char *text;

    (void)state;
    make_order(&made, "{\"default_image\":\"d\"}",
               "{\"command\":[\"x\"],\"env\":{\"A\":\"plain\"},\"secrets\":{\"KEY\":{\"value\":"
               "\"hunter2\"}}}",
               1, 1);
    assert_true(kube_order_needs_secret(&made.order));
    assert_int_equal(kube_object_job(&made.order, &job, &err), 0);
    assert_true(json_is_true(at(job, "spec/suspend")));
    text = json_dumps(job, 0);
    assert_null(strstr(text, "hunter2")); /* a value is in the Secret and nowhere else */
    free(text);
    assert_string_equal(json_string_value(at(variable(job, "KEY"), "valueFrom/secretKeyRef/key")),
                        "env.KEY");
    assert_int_equal(kube_object_secret(&made.order, "u-1", &secret, &err), 0);
    assert_string_equal(json_string_value(json_object_get(at(secret, "stringData"), "env.KEY")),
                        "hunter2");
    json_decref(secret);
    json_decref(job);
    free_order(&made);
}

static void test_order_refusals(void **state)
{
    static const struct {
        const char *settings, *spec, *word;
        uint32_t nodes, tasks;
    } cases[] = {
        { "{}", SPEC_PLAIN, "this site has no default_image", 1, 1 },
        { "{\"default_image\":\"d\"}", "{\"command\":[\"x\"],\"launch\":\"once\",\"tasks\":2}",
          "launch: once", 2, 2 },
        { "{\"default_image\":\"d\"}", "{\"command\":[\"x\"],\"workdir\":\"/home/a\"}",
          "pods here see no folder", 1, 1 },
        { "{\"default_image\":\"d\",\"volume\":{\"claim\":\"c\",\"path\":\"/shared\"}}",
          "{\"command\":[\"x\"],\"workdir\":\"/sharedx/a\"}", "pods here see /shared", 1, 1 },
        { "{\"default_image\":\"d\"}", "{\"command\":[\"x\"],\"outputs\":[\"a\"]}", "need a volume",
          1, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct made made;
        struct err err = { 0 };

        make_order(&made, cases[i].settings, cases[i].spec, cases[i].nodes, cases[i].tasks);
        if (kube_order_check(&made.order, &err) >= 0 || !strstr(err.text, cases[i].word))
            fail_msg("row %zu: %s", i, err.text);
        free_order(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_node_refusals),
        cmocka_unit_test(test_node),
        cmocka_unit_test(test_use),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_container_ends),
        cmocka_unit_test(test_gang_outcome),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_watch_lines),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_settings_refusals),
        cmocka_unit_test(test_kubeconfig_refusals),
        cmocka_unit_test(test_kubeconfig),
        cmocka_unit_test(test_in_cluster),
        cmocka_unit_test(test_order_refusals),
        cmocka_unit_test(test_job_object),
        cmocka_unit_test(test_guarded_object),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_gang_object),
        cmocka_unit_test(test_secrets),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("agent/kube", tests, NULL, NULL);
}
