/* harness.h - a real controller in a child process, a stand-in for its agent in another, and calls
 * whose answers are checked against docs/openapi.yaml as they come. */
#pragma once

#include "openapi_check.h"

#include "base/buf.h"
#include "net/http_client.h"

#include <stdbool.h>
#include <sys/types.h>

struct harness {
    char dir[64]; /* the state folder, made and removed by the harness */
    char url[64];
    char admin[80], site[80]; /* tokens */
    pid_t controller, agent;
    struct http_easy *easy;
    struct openapi openapi;
};

void harness_init(struct harness *harness); /* starts a controller on an empty folder */
void harness_fini(struct harness *harness);
void harness_start(struct harness *harness);
void harness_stop(struct harness *harness, int signal); /* SIGTERM or SIGKILL */
/* The stand-in: 4 CPUs, one device. It runs nothing: a job whose `run` is "exit N" ends at once so,
 * one whose `run` is "sleep" runs until it is stopped. Its log is "line one\nline two\n". */
void harness_start_agent(struct harness *harness);
void harness_stop_agent(struct harness *harness);

struct answer {
    int status;
    json_t *json; /* NULL when it is none */
    struct buf body;
};
void answer_fini(struct answer *answer);
/* `token` NULL = none. Fails the test when the answer is not as documented. */
struct answer harness_call(struct harness *harness, const char *token, const char *method,
                           const char *path, const char *body, const struct http_header *header);
/* Shorthand: as admin, the status must be as given. */
json_t *harness_expect(struct harness *harness, int status, const char *method, const char *path,
                       const char *body);
const char *answer_code(const struct answer *answer); /* error.code, "" when none */
