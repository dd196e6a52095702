/* The whole agent against a controller that is made up: it says what the test tells it to. */
#include "agent/agent.h"
#include "base/file.h"
#include "net/http_server.h"
#include "wire/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define REPORTS_MAX 4096
#define WAIT_MS 15000
#define TOKEN "mains_test"

struct bench {
    char state_dir[128];
    uv_loop_t loop;
    uv_timer_t timer;
    bool timed_out;
    struct http_server *server;
    struct http_request *stream; /* the agent's open session */
    uint64_t session;
    pid_t agent;
    char node[MODEL_NAME_BYTES];
    struct wire_attempt_id held[64]; /* of the last HELLO */
    uint32_t held_count, hello_count;
    bool policy_told;
    struct site_policy policy;               /* of the last HELLO */
    struct wire_report reports[REPORTS_MAX]; /* without pointers; log data is in `log` */
    uint32_t count;
    char log[65536];
    size_t log_len;
    bool log_eof;
    int refuse; /* a status to answer reports with; 0 = 200 */
};

/* ---- the made-up controller ---- */

static void take_hello(struct bench *bench, const struct wire_report *report)
{
    assert_int_equal(report->site.nodes_count, 1);
    snprintf(bench->node, sizeof(bench->node), "%s", report->site.nodes[0].name);
    bench->held_count = MIN(report->attempts_count, 64u);
    if (bench->held_count)
        memcpy(bench->held, report->attempts, bench->held_count * sizeof(bench->held[0]));
    bench->hello_count++;
    bench->policy_told = report->policy != NULL;
    if (report->policy)
        bench->policy = *report->policy;
}

static void take_report(struct bench *bench, const struct wire_report *report)
{
    struct wire_report *kept = &bench->reports[bench->count];

    if (report->type == REPORT_HELLO) {
        take_hello(bench, report);
        return;
    }
    if (report->type == REPORT_LOG) {
        assert_true(bench->log_len + report->data_len < sizeof(bench->log));
        if (report->data_len)
            memcpy(bench->log + bench->log_len, report->data, report->data_len);
        bench->log_len += report->data_len;
        bench->log[bench->log_len] = '\0';
        bench->log_eof = bench->log_eof || report->eof;
    }
    assert_true(bench->count < REPORTS_MAX);
    *kept = *report;
    kept->data = NULL;
    kept->attempts = NULL;
    kept->policy = NULL;
    bench->count++;
}

static void take_reports(struct bench *bench, struct http_request *request)
{
    size_t len;
    const char *body = http_request_body(request, &len);
    const char *end;
    char answer[64];

    if (bench->refuse) {
        http_reply(request, bench->refuse, "application/json", "{}", 2, NULL, 0);
        return;
    }
    while (len && (end = memchr(body, '\n', len)) != NULL) {
        struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
        struct wire_report report;
        struct err err = { 0 };

        if (wire_report_parse(body, (size_t)(end - body), &arena, &report, &err) < 0)
            fail_msg("a report of the agent: %s", err.text);
        if (report.type == REPORT_HELLO)
            bench->session++;
        take_report(bench, &report);
        site_info_fini(&report.site);
        arena_fini(&arena);
        len -= (size_t)(end + 1 - body);
        body = end + 1;
    }
    snprintf(answer, sizeof(answer), "{\"session\":%" PRIu64 "}", bench->session);
    http_reply(request, 200, "application/json", answer, strlen(answer), NULL, 0);
}

static void on_request(void *context, struct http_request *request)
{
    struct bench *bench = context;

    assert_string_equal(http_request_bearer(request), TOKEN);
    if (strcmp(http_request_method(request), "POST") == 0) {
        take_reports(bench, request);
        return;
    }
    assert_string_equal(http_request_path(request), "/api/v1/site-session");
    assert_int_equal(http_stream_begin(request, 200, "application/x-ndjson", NULL, 0), 0);
    bench->stream = request;
}

static void on_gone(void *context, struct http_request *request)
{
    struct bench *bench = context;

    if (bench->stream == request)
        bench->stream = NULL;
}

static void say(struct bench *bench, const struct wire_command *command)
{
    struct buf line = buf_init(WIRE_LINE_BYTES_MAX);

    assert_int_equal(wire_command_print(command, &line), 0);
    assert_non_null(bench->stream);
    assert_int_equal(http_stream_push(bench->stream, line.data, line.len), 0);
    buf_fini(&line);
}

static void say_reconcile(struct bench *bench, const struct wire_attempt_id *ids, uint32_t count)
{
    say(bench,
        &(struct wire_command){ .type = WIRE_RECONCILE, .attempts = ids, .attempts_count = count });
}

static void say_run_across(struct bench *bench, uint64_t job_id, const char *spec,
                           uint32_t sites_count)
{
    struct wire_part part = { .tasks = 1, .cpus = 1, .memory_bytes = 64 << 20 };
    struct wire_command command = { .type = WIRE_RUN,
                                    .attempt = { job_id, 1 },
                                    .tenant = "local",
                                    .user = "someone",
                                    .name = "job",
                                    .attempt_number = 1,
                                    .run_as_uid = -1,
                                    .run_as_gid = -1,
                                    .spec_json = spec,
                                    .parts_count = 1,
                                    .parts = &part };

    snprintf(part.node, sizeof(part.node), "%s", bench->node);
    command.across_count = sites_count;
    for (uint32_t i = 0; i < sites_count; i++) {
        snprintf(command.across[i].site, sizeof(command.across[i].site), i ? "east" : "here");
        command.across[i].tasks = 1;
    }
    say(bench, &command);
}

static void say_run(struct bench *bench, uint64_t job_id, const char *spec)
{
    say_run_across(bench, job_id, spec, 0);
}

/* ---- waiting ---- */

static void on_time_out(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    bench->timed_out = true;
}

/* Let the loop turn until `done` says so. */
static bool wait_until(struct bench *bench, bool (*done)(struct bench *, uint64_t), uint64_t what)
{
    bench->timed_out = false;
    uv_timer_start(&bench->timer, on_time_out, WAIT_MS, 0);
    while (!done(bench, what) && !bench->timed_out)
        uv_run(&bench->loop, UV_RUN_ONCE);
    uv_timer_stop(&bench->timer);
    return !bench->timed_out;
}

static bool has_stream(struct bench *bench, uint64_t hellos)
{
    return bench->stream && bench->hello_count >= hellos;
}

static const struct wire_report *find_report(struct bench *bench, enum wire_report_type type,
                                             uint64_t job_id, uint32_t nth)
{
    for (uint32_t i = 0; i < bench->count; i++)
        if (bench->reports[i].type == type && bench->reports[i].attempt.job_id == job_id &&
            nth-- == 0)
            return &bench->reports[i];
    return NULL;
}

static bool has_started(struct bench *bench, uint64_t job_id)
{
    return find_report(bench, REPORT_STARTED, job_id, 0) != NULL;
}

static bool has_ended(struct bench *bench, uint64_t job_id)
{
    return find_report(bench, REPORT_ENDED, job_id, 0) != NULL;
}

static bool has_ended_twice(struct bench *bench, uint64_t job_id)
{
    return find_report(bench, REPORT_ENDED, job_id, 1) != NULL;
}

static bool is_unknown(struct bench *bench, uint64_t job_id)
{
    return find_report(bench, REPORT_UNKNOWN, job_id, 0) != NULL;
}

static bool has_log(struct bench *bench, uint64_t bytes)
{
    return bench->log_len >= bytes;
}

static bool has_whole_log(struct bench *bench, uint64_t what)
{
    (void)what;
    return bench->log_eof;
}

/* ---- begin and end ---- */

static void start_agent(struct bench *bench)
{
    struct agent_config config = { .state_dir = bench->state_dir,
                                   .site = "here",
                                   .log_level = LOG_ERROR };

    fflush(NULL);
    bench->agent = fork();
    assert_true(bench->agent >= 0);
    if (bench->agent == 0)
        _exit(agent_main(&config));
}

static void write_state(struct bench *bench, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", bench->state_dir, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, false, NULL), 0);
}

static void open_bench_with(struct bench *bench, const char *site_yaml)
{
    struct http_server_config config = {
        .address = "127.0.0.1", .handle = on_request, .gone = on_gone, .context = bench
    };
    struct err err = { 0 };
    char text[128];

    memset(bench, 0, sizeof(*bench));
    snprintf(bench->state_dir, sizeof(bench->state_dir), "/tmp/mains-agent-XXXXXX");
    assert_non_null(mkdtemp(bench->state_dir));
    write_state(bench, "site.token", TOKEN "\n");
    if (site_yaml)
        write_state(bench, "site.yaml", site_yaml);
    start_agent(bench); /* before there is a controller: it must keep on trying */
    uv_loop_init(&bench->loop);
    uv_timer_init(&bench->loop, &bench->timer);
    bench->timer.data = bench;
    if (http_server_start(&bench->loop, &config, &bench->server, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(text, sizeof(text), "{\"url\":\"http://127.0.0.1:%u\"}",
             http_server_port(bench->server));
    write_state(bench, "endpoint.json", text);
    assert_true(wait_until(bench, has_stream, 1));
    say_reconcile(bench, NULL, 0);
}

static void open_bench(struct bench *bench)
{
    open_bench_with(bench, NULL);
}

static void close_bench(struct bench *bench)
{
    int status;

    kill(bench->agent, SIGTERM);
    assert_int_equal(waitpid(bench->agent, &status, 0), bench->agent);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    http_server_stop(bench->server);
    uv_close((uv_handle_t *)&bench->timer, NULL);
    for (int i = 0; i < 100 && uv_run(&bench->loop, UV_RUN_NOWAIT); i++)
        ;
    uv_loop_close(&bench->loop);
    dir_remove(bench->state_dir, NULL);
}

static void end_stream(struct bench *bench)
{
    struct http_request *stream = bench->stream;

    bench->stream = NULL;
    http_stream_end(stream);
}

/* ---- the tests ---- */

static void test_runs_once_and_tells(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_report *report;
    struct wire_command forget = { .type = WIRE_FORGET, .attempt = { 1, 1 } };

    (void)state;
    open_bench(bench);
    say_run(bench, 1, "{\"run\":\"echo hi; exit 3\"}");
    say_run(bench, 1, "{\"run\":\"echo hi; exit 3\"}"); /* told twice, run once */
    assert_true(wait_until(bench, has_ended, 1));
    report = find_report(bench, REPORT_ENDED, 1, 0);
    assert_int_equal(report->outcome, 0);
    assert_int_equal(report->exit_code, 3);
    assert_true(report->ended_ms >= report->started_ms && report->started_ms > 0);
    assert_true(report->usage.cpu_held_ms >= 0 && report->usage.energy_mj >= 0);
    say_run(bench, 1, "{\"run\":\"echo hi; exit 3\"}"); /* and told again how it ended */
    assert_true(wait_until(bench, has_ended_twice, 1));
    say(bench, &forget);
    say(bench, &(struct wire_command){
                   .type = WIRE_LOG_READ, .attempt = { 1, 1 }, .request = 7, .offset = 0 });
    assert_true(wait_until(bench, has_whole_log, 0));
    assert_string_equal(bench->log, "hi\n");
    say_run(bench, 2, "{\"run\":\"true\",\"sandbox\":false}");
    assert_true(wait_until(bench, has_ended, 2));
    assert_int_equal(find_report(bench, REPORT_ENDED, 2, 0)->outcome, 6);
    say_run(bench, 3, "{\"not\":\"a spec\"}");
    assert_true(wait_until(bench, has_ended, 3));
    assert_int_equal(find_report(bench, REPORT_ENDED, 3, 0)->outcome, 6);
    close_bench(bench);
    free(bench);
}

/* A controller that is compromised, or only old, orders what the owner does not let in. */
static void test_forged_orders_are_refused(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_report *report;

    (void)state;
    open_bench_with(bench, "policy:\n"
                           "  tenants: [local]\n"
                           "  classes: [normal]\n"
                           "  data: {come: [public]}\n"
                           "  own: {share: 25}\n");
    assert_true(bench->policy_told);
    assert_true(bench->policy.tenants_told && bench->policy.own_ppm == 250000);
    say_run(bench, 1, "{\"run\":\"touch /tmp/x\",\"class\":\"urgent\"}");
    say_run(bench, 2, "{\"run\":\"true\",\"data\":[\"patients\"]}");
    say_run(bench, 3, "{\"run\":\"true\"}");
    for (uint64_t job = 1; job <= 3; job++)
        assert_true(wait_until(bench, has_ended, job));
    for (uint64_t job = 1; job <= 2; job++) {
        report = find_report(bench, REPORT_ENDED, job, 0);
        assert_int_equal(report->outcome, 13);
        assert_non_null(strstr(report->reason, "refused by the owner's policy"));
        assert_int_equal(report->started_ms, 0);
        assert_null(find_report(bench, REPORT_STARTED, job, 0));
    }
    assert_int_equal(find_report(bench, REPORT_ENDED, 3, 0)->outcome, 0);
    close_bench(bench);
    free(bench);
}

/* The same, of what would carry data out that may not leave: asked for, refused, and nothing goes.
 */
static void test_labelled_data_stays(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    struct wire_command read = { .type = WIRE_LOG_READ, .attempt = { 1, 1 }, .request = 7 };
    struct wire_command prestage = { .type = WIRE_PRESTAGE, .attempt = { 9, 1 } };

    (void)state;
    open_bench_with(bench, "policy:\n"
                           "  data: {come: [public], leave: [papers], here: [patients, papers]}\n");
    memset(prestage.checkpoint, 'a', sizeof(prestage.checkpoint) - 1);
    say(bench, &prestage); /* a request of the store would end the test: there is none here */
    prestage.labels_told = true;
    prestage.labels_count = 1;
    snprintf(prestage.labels[0], sizeof(prestage.labels[0]), "secret");
    say(bench, &prestage);
    say_run(bench, 1,
            "{\"run\":\"echo secret; echo x >c; sleep 1; echo y >c; exit 1\",\"data\":[\"public\","
            "\"patients\"],\"checkpoint\":{\"path\":\"c\"},\"outputs\":[{\"from\":\"c\"}]}");
    say_run(bench, 2, "{\"run\":\"echo fine\",\"data\":[\"papers\"]}");
    assert_true(wait_until(bench, has_ended, 1)); /* at once: it has nothing to bring */
    assert_true(wait_until(bench, has_ended, 2));
    for (int i = 0; i < 2; i++) { /* while it is held, and when it is forgotten */
        bench->log_len = 0;
        bench->log_eof = false;
        say(bench, &read);
        assert_true(wait_until(bench, has_whole_log, 0));
        assert_null(strstr(bench->log, "secret"));
        assert_non_null(strstr(bench->log, "data labelled patients may not leave"));
        say(bench, &(struct wire_command){ .type = WIRE_FORGET, .attempt = { 1, 1 } });
    }
    bench->log_len = 0;
    bench->log_eof = false;
    read.attempt.job_id = 2;
    say(bench, &read);
    assert_true(wait_until(bench, has_whole_log, 0));
    assert_string_equal(bench->log, "fine\n");
    say_run_across(bench, 3, "{\"run\":\"true\",\"data\":[\"patients\"]}", 2);
    say_run_across(bench, 4, "{\"run\":\"true\",\"data\":[\"papers\"]}", 2);
    assert_true(wait_until(bench, has_ended, 3));
    assert_true(wait_until(bench, has_ended, 4));
    assert_int_equal(find_report(bench, REPORT_ENDED, 3, 0)->outcome, 13);
    assert_non_null(strstr(find_report(bench, REPORT_ENDED, 3, 0)->reason, "labelled patients"));
    assert_null(find_report(bench, REPORT_STARTED, 3, 0));
    assert_int_equal(find_report(bench, REPORT_ENDED, 4, 0)->outcome, 0);
    close_bench(bench);
    free(bench);
}

static void test_reconciles(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_attempt_id ids[] = { { 2, 1 }, { 9, 4 } };
    struct wire_command stop = { .type = WIRE_STOP, .attempt = { 77, 1 }, .grace_ms = 0 };

    (void)state;
    open_bench(bench);
    say(bench, &stop);
    assert_true(wait_until(bench, is_unknown, 77));
    say_run(bench, 1, "{\"run\":\"sleep 100\"}");
    say_run(bench, 2, "{\"run\":\"sleep 100\"}");
    assert_true(wait_until(bench, has_started, 1));
    assert_true(wait_until(bench, has_started, 2));
    end_stream(bench);
    assert_true(wait_until(bench, has_stream, 2));
    assert_int_equal(bench->held_count, 2);
    bench->count = 0;
    say_reconcile(bench, ids, 2); /* 1 is wanted no more, 9 was never heard of */
    assert_true(wait_until(bench, has_ended, 1));
    assert_int_equal(find_report(bench, REPORT_ENDED, 1, 0)->outcome, 5);
    assert_true(wait_until(bench, is_unknown, 9));
    assert_true(has_started(bench, 2));
    assert_false(has_ended(bench, 2));
    stop.attempt.job_id = 2;
    say(bench, &stop);
    assert_true(wait_until(bench, has_ended, 2));
    close_bench(bench);
    free(bench);
}

/* An order that was lost comes again right after RECONCILE: it is run, not called unknown. */
static void test_order_after_reconcile(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_attempt_id ids[] = { { 5, 1 }, { 6, 1 } };

    (void)state;
    open_bench(bench);
    say_reconcile(bench, ids, 2);
    say_run(bench, 5, "{\"run\":\"true\"}");
    assert_true(wait_until(bench, has_ended, 5));
    assert_true(wait_until(bench, is_unknown, 6));
    assert_false(is_unknown(bench, 5));
    close_bench(bench);
    free(bench);
}

static void test_reports_survive_refusal(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_attempt_id ids[] = { { 1, 1 } };

    (void)state;
    open_bench(bench);
    bench->refuse = 503;
    say_run(bench, 1, "{\"run\":\"exit 4\"}");
    while (bench->stream) /* until the agent gives the session up */
        uv_run(&bench->loop, UV_RUN_ONCE);
    bench->refuse = 0;
    assert_true(wait_until(bench, has_stream, 2));
    say_reconcile(bench, ids, 1);
    assert_true(wait_until(bench, has_ended, 1));
    assert_int_equal(find_report(bench, REPORT_ENDED, 1, 0)->exit_code, 4);
    close_bench(bench);
    free(bench);
}

static void test_killed_agent_finds_its_attempts(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    const struct wire_attempt_id ids[] = { { 1, 1 }, { 2, 1 } };
    char path[256];

    (void)state;
    open_bench(bench);
    say_run(bench, 1, "{\"run\":\"sleep 0.3; echo on; exit 8\"}");
    say_run(bench, 2, "{\"run\":\"sleep 2; exit 9\"}");
    assert_true(wait_until(bench, has_started, 1));
    assert_true(wait_until(bench, has_started, 2));
    kill(bench->agent, SIGKILL);
    assert_int_equal(waitpid(bench->agent, NULL, 0), bench->agent);
    snprintf(path, sizeof(path), "%s/agent/ended/1.1", bench->state_dir);
    for (int tries = 0; tries < 1000 && access(path, F_OK) < 0; tries++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), 0); /* the first has ended while no agent is there */
    bench->count = 0;
    start_agent(bench);
    assert_true(wait_until(bench, has_stream, 2));
    assert_int_equal(bench->held_count, 2);
    say_reconcile(bench, ids, 2);
    assert_true(wait_until(bench, has_ended, 1));
    assert_int_equal(find_report(bench, REPORT_ENDED, 1, 0)->exit_code, 8);
    assert_true(wait_until(bench, has_ended, 2));
    assert_int_equal(find_report(bench, REPORT_ENDED, 2, 0)->exit_code, 9);
    close_bench(bench);
    free(bench);
}

static void test_follows_logs(void **state)
{
    struct bench *bench = malloc(sizeof(*bench));
    struct wire_command read = {
        .type = WIRE_LOG_READ, .attempt = { 1, 1 }, .request = 3, .follow = true
    };
    struct wire_command stop = { .type = WIRE_STOP, .attempt = { 1, 1 }, .grace_ms = 30000 };

    (void)state;
    open_bench(bench);
    say_run(bench, 1,
            "{\"run\":\"trap 'echo end; echo to-err >&2; exit' TERM; "
            "while :; do echo tick; sleep 0.02; done\"}");
    say(bench, &read);
    assert_true(wait_until(bench, has_log, 15));
    assert_false(bench->log_eof);
    say(bench, &stop);
    assert_true(wait_until(bench, has_whole_log, 0));
    assert_string_equal(bench->log + bench->log_len - 9, "tick\nend\n");
    bench->log_len = 0;
    bench->log_eof = false;
    read.stream_stderr = true;
    read.offset = -4;
    say(bench, &read);
    assert_true(wait_until(bench, has_whole_log, 0));
    assert_string_equal(bench->log, "err\n");
    bench->log_len = 0;
    bench->log_eof = false;
    bench->log[0] = '\0';
    read.attempt.job_id = 99; /* never heard of */
    say(bench, &read);
    assert_true(wait_until(bench, has_whole_log, 0));
    assert_string_equal(bench->log, "");
    close_bench(bench);
    free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_once_and_tells),
        cmocka_unit_test(test_forged_orders_are_refused),
        cmocka_unit_test(test_labelled_data_stays),
        cmocka_unit_test(test_reconciles),
        cmocka_unit_test(test_order_after_reconcile),
        cmocka_unit_test(test_reports_survive_refusal),
        cmocka_unit_test(test_killed_agent_finds_its_attempts),
        cmocka_unit_test(test_follows_logs),
    };

    signal(SIGPIPE, SIG_IGN);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
