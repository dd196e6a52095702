#include "harness.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "controller/api.h"
#include "controller/controller.h"
#include "wire/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS_MAX 20000

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* A child that crashes must not go on as the test: cmocka catches these signals. */
static void leave_cmocka(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };

    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        signal(signals[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* --- the stand-in for an agent ------------------------------------------------------------------
 */

struct stand_in {
    const char *url, *token;
    struct http_easy *reports;
    uint64_t session;
    struct buf line;
};

static int post(struct stand_in *agent, const struct wire_report *report, json_t **answer_out)
{
    CLEANUP(buf_fini) struct buf body = buf_init(1u << 20);
    CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
    CLEANUP(freep) char *url = NULL;
    struct http_call call = { .method = "POST", .bearer = agent->token, .timeout_ms = 20000 };

    if (agent->session)
        url = path_format("%s/api/v1/site-session/reports?site=here&session=%" PRIu64, agent->url,
                          agent->session);
    else
        url = path_format("%s/api/v1/site-session/reports?site=here", agent->url);
    call.url = url;
    if (wire_report_print(report, &body) < 0)
        return -EINVAL;
    call.body = body.data;
    call.body_len = body.len;
    if (http_easy_call(agent->reports, &call, NULL, NULL, &answer) < 0 || answer.status != 200)
        return -EIO;
    if (answer_out)
        *answer_out = json_loadb(answer.body.data, answer.body.len, 0, NULL);
    return 0;
}

static int say_hello(struct stand_in *agent)
{
    struct node_info node = { .name = "node-1",
                              .cpu_model = "test",
                              .arch = "x86_64",
                              .os = "test",
                              .cpus = 4,
                              .numa_count = 1,
                              .memory_bytes = (int64_t)8 << 30,
                              .disk_bytes = (int64_t)8 << 30,
                              .cpu_load_watts = 100,
                              .cpu_idle_watts = 10,
                              .devices_count = 1 };
    struct wire_report hello = { .type = REPORT_HELLO, .incarnation = 1, .version = "test" };
    json_t *answer = NULL;
    int rc;

    snprintf(node.devices[0].chip, sizeof(node.devices[0].chip), "h100-sxm5-80g");
    snprintf(node.devices[0].vendor, sizeof(node.devices[0].vendor), "nvidia");
    snprintf(node.devices[0].family, sizeof(node.devices[0].family), "cuda");
    snprintf(node.devices[0].uuid, sizeof(node.devices[0].uuid), "GPU-1");
    node.devices[0].memory_bytes = (int64_t)80 << 30;
    snprintf(hello.site.name, sizeof(hello.site.name), "here");
    snprintf(hello.site.owner, sizeof(hello.site.owner), "me");
    snprintf(hello.site.tariff.currency, sizeof(hello.site.tariff.currency), "EUR");
    hello.site.tariff.carbon_g_per_kwh_milli = 300000;
    hello.site.tariff.cpu_price_micro_per_hour = 10000;
    hello.site.nodes_count = 1;
    hello.site.nodes = &node;
    rc = post(agent, &hello, &answer);
    if (rc == 0)
        agent->session = (uint64_t)json_integer_value(json_object_get(answer, "session"));
    json_decref(answer);
    return rc;
}

static void end_attempt(struct stand_in *agent, const struct wire_command *command, int exit_code,
                        uint32_t outcome)
{
    struct wire_report ended = { .type = REPORT_ENDED,
                                 .attempt = command->attempt,
                                 .started_ms = clock_wall_ms(),
                                 .ended_ms = clock_wall_ms(),
                                 .outcome = outcome,
                                 .exit_code = exit_code,
                                 .usage = { .cpu_ms = 7, .energy_mj = 1000 } };

    post(agent, &ended, NULL);
}

static void run_attempt(struct stand_in *agent, const struct wire_command *command)
{
    struct wire_report started = { .type = REPORT_STARTED,
                                   .attempt = command->attempt,
                                   .started_ms = clock_wall_ms() };
    const char *exit_at = strstr(command->spec_json, "\"exit ");

    post(agent, &started, NULL);
    if (exit_at)
        end_attempt(agent, command, (int)strtol(exit_at + 6, NULL, 10), 0);
}

static void send_log(struct stand_in *agent, const struct wire_command *command)
{
    static const char text[] = "line one\nline two\n";
    int64_t size = (int64_t)sizeof(text) - 1;
    int64_t offset =
        command->offset < 0 ? MAX(size + command->offset, 0) : MIN(command->offset, size);
    struct wire_report log = { .type = REPORT_LOG,
                               .attempt = command->attempt,
                               .request = command->request,
                               .offset = offset,
                               .data = text + offset,
                               .data_len = (uint32_t)(size - offset),
                               .eof = true };

    if (!command->cancel)
        post(agent, &log, NULL);
}

static int on_commands(void *context, const char *data, size_t len)
{
    struct stand_in *agent = context;
    char *end;

    buf_add(&agent->line, data, len);
    while (agent->line.len && (end = memchr(agent->line.data, '\n', agent->line.len))) {
        CLEANUP(arena_fini) struct arena arena = arena_init((size_t)64 << 20);
        struct wire_command command = { 0 };
        size_t line_len = (size_t)(end - agent->line.data);

        if (wire_command_parse(agent->line.data, line_len, &arena, &command, NULL) == 0) {
            if (command.type == WIRE_RUN)
                run_attempt(agent, &command);
            else if (command.type == WIRE_STOP)
                end_attempt(agent, &command, 15, 5);
            else if (command.type == WIRE_LOG_READ)
                send_log(agent, &command);
        }
        buf_consume(&agent->line, line_len + 1);
    }
    return 0;
}

static void agent_main_loop(const char *url, const char *token)
{
    struct stand_in agent = { .url = url, .token = token, .line = buf_init((size_t)64 << 20) };
    struct http_easy *stream = http_easy_create();

    agent.reports = http_easy_create();
    for (;;) {
        CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
        CLEANUP(freep) char *stream_url = NULL;
        struct http_call call = { .method = "GET", .bearer = token };

        agent.session = 0;
        if (say_hello(&agent) == 0) {
            stream_url =
                path_format("%s/api/v1/site-session?site=here&incarnation=1&session=%" PRIu64, url,
                            agent.session);
            call.url = stream_url;
            buf_clear(&agent.line);
            http_easy_call(stream, &call, on_commands, &agent, &answer);
        }
        sleep_ms(50);
    }
}

void harness_start_agent(struct harness *harness)
{
    harness->agent = fork();
    assert_true(harness->agent >= 0);
    if (harness->agent == 0) {
        leave_cmocka();
        agent_main_loop(harness->url, harness->site);
        _exit(0);
    }
}

void harness_stop_agent(struct harness *harness)
{
    if (harness->agent <= 0)
        return;
    kill(harness->agent, SIGKILL);
    waitpid(harness->agent, NULL, 0);
    harness->agent = 0;
}

/* --- the controller -----------------------------------------------------------------------------
 */

static void read_line(const struct harness *harness, const char *name, char *out, size_t out_bytes)
{
    CLEANUP(freep) char *path = path_format("%s/%s", harness->dir, name);
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    struct err err = { 0 };

    if (file_read(path, &text, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(out, out_bytes, "%.*s", (int)strcspn(text.data, "\n"), text.data);
}

static bool is_up(struct harness *harness)
{
    CLEANUP(freep) char *path = path_format("%s/endpoint.json", harness->dir);
    json_t *json = json_load_file(path, 0, NULL);
    bool mine = json_integer_value(json_object_get(json, "pid")) == harness->controller;

    if (mine)
        snprintf(harness->url, sizeof(harness->url), "%s",
                 json_string_value(json_object_get(json, "url")));
    json_decref(json);
    return mine;
}

void harness_start(struct harness *harness)
{
    int64_t until = clock_mono_ms() + START_MS_MAX;

    harness->controller = fork();
    assert_true(harness->controller >= 0);
    if (harness->controller == 0) {
        struct controller_config config = { .state_dir = harness->dir,
                                            .log_level = LOG_ERROR,
                                            .snapshot_records = 50 };

        leave_cmocka();
        _exit(controller_main(&config));
    }
    while (!is_up(harness)) {
        if (clock_mono_ms() > until || waitpid(harness->controller, NULL, WNOHANG) != 0)
            fail_msg("the controller does not come up");
        sleep_ms(5);
    }
}

void harness_stop(struct harness *harness, int signal)
{
    int status = 0;

    kill(harness->controller, signal);
    waitpid(harness->controller, &status, 0);
    harness->controller = 0;
    if (signal == SIGTERM && (!WIFEXITED(status) || WEXITSTATUS(status)))
        fail_msg("the controller did not stop in order: status %d", status);
}

void harness_init(struct harness *harness)
{
    struct err err = { 0 };

    *harness = (struct harness){ .dir = "/tmp/mains-api-XXXXXX" };
    assert_non_null(mkdtemp(harness->dir));
    if (openapi_load(&harness->openapi, &err) < 0)
        fail_msg("%s", err.text);
    harness_start(harness);
    read_line(harness, "admin.token", harness->admin, sizeof(harness->admin));
    read_line(harness, "site.token", harness->site, sizeof(harness->site));
    harness->easy = http_easy_create();
    assert_non_null(harness->easy);
}

void harness_fini(struct harness *harness)
{
    http_easy_destroy(harness->easy);
    harness_stop_agent(harness);
    if (harness->controller > 0)
        harness_stop(harness, SIGTERM);
    openapi_fini(&harness->openapi);
    dir_remove(harness->dir, NULL);
}

/* --- calls --------------------------------------------------------------------------------------
 */

void answer_fini(struct answer *answer)
{
    json_decref(answer->json);
    buf_fini(&answer->body);
}

/* "/jobs/12/why?x=1" belongs to "/jobs/{id}/why". */
static const char *pattern_of(const char *method, const char *path)
{
    size_t path_len = strcspn(path, "?");

    for (const struct route *route = api_routes; route->method; route++) {
        const char *pattern = route->path, *at = path, *end = path + path_len;

        if (strcmp(route->method, method))
            continue;
        while (*pattern && at <= end) {
            if (*pattern == '{') {
                bool rest = !strncmp(pattern, "{path}", 6);

                pattern = strchr(pattern, '}') + 1;
                while (at < end && (*at != '/' || rest))
                    at++;
            } else if (at < end && *pattern == *at) {
                pattern++;
                at++;
            } else {
                break;
            }
        }
        if (!*pattern && at == end)
            return route->path;
    }
    return NULL;
}

struct answer harness_call(struct harness *harness, const char *token, const char *method,
                           const char *path, const char *body, const struct http_header *header)
{
    CLEANUP(freep) char *url = path_format("%s%s", harness->url, path);
    struct http_answer got = { 0 };
    struct http_call call = { .method = method,
                              .url = url,
                              .bearer = token,
                              .content_type = "application/json",
                              .body = body,
                              .body_len = body ? strlen(body) : 0,
                              .headers = header,
                              .headers_count = header ? 1 : 0,
                              .timeout_ms = 30000 };
    const char *pattern = pattern_of(method, path);
    struct answer answer = { 0 };
    struct err err = { 0 };

    if (http_easy_call(harness->easy, &call, NULL, NULL, &got) < 0)
        fail_msg("%s %s: %s", method, path, got.error);
    answer.status = got.status;
    if (!strncmp(got.content_type, "application/json", 16))
        answer.json = json_loadb(got.body.data, got.body.len, JSON_REJECT_DUPLICATES, NULL);
    if (pattern && openapi_check_answer(&harness->openapi, method, pattern, answer.status,
                                        answer.json, &err) < 0)
        fail_msg("%s\n%.2000s", err.text, got.body.data ? got.body.data : "");
    answer.body = got.body;
    got.body = buf_init(0);
    http_answer_fini(&got);
    return answer;
}

json_t *harness_expect(struct harness *harness, int status, const char *method, const char *path,
                       const char *body)
{
    struct answer answer = harness_call(harness, harness->admin, method, path, body, NULL);
    json_t *json = TAKE(answer.json);

    if (answer.status != status)
        fail_msg("%s %s: %d where %d was expected: %.1000s", method, path, answer.status, status,
                 answer.body.data ? answer.body.data : "");
    answer_fini(&answer);
    return json;
}

const char *answer_code(const struct answer *answer)
{
    const char *code =
        json_string_value(json_object_get(json_object_get(answer->json, "error"), "code"));

    return code ? code : "";
}
