#include "cli/submit.h"

#include "base/file.h"
#include "base/rng.h"
#include "cli/wait.h"
#include "net/http_client.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define TRIES 5

static int make_key(char *out, size_t out_bytes)
{
    uint64_t random[2];
    int rc = random_bytes(random, sizeof(random));

    snprintf(out, out_bytes, "cli-%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    return rc;
}

static int post(struct submission *submission, const char *key, bool dry_run, struct err *err)
{
    const char *body = submission->text.json;
    char own_key[64];
    struct remote_request request = {
        .method = "POST",
        .path = dry_run ? "/jobs?dry_run=1" : "/jobs",
        .content_type = "application/json",
        .key = key ? key : own_key,
        .body = body,
        .body_len = strlen(body),
    };
    int status = 0;
    int rc = make_key(own_key, sizeof(own_key));

    if (rc < 0)
        return err_set(err, rc, "random numbers: %s", strerror(-rc));
    for (int i = 0; i < TRIES; i++) {
        struct timespec pause = { 0, 200000000L << i };

        rc = remote_send(&submission->remote, &request, &submission->answer, &status, err);
        if (rc == 0 || (status != 0 && status != 503) || (status == 0 && rc == -ECONNREFUSED && !i))
            return rc;
        nanosleep(&pause, NULL);
    }
    return rc;
}

int submission_send(const struct cli_args *args, const char *key, bool dry_run,
                    struct submission *submission_out, struct err *err)
{
    struct submission submission = { 0 };
    struct job_source source = { .args = args };
    int rc = remote_open(args, &submission.remote, err);

    if (rc < 0)
        return rc;
    source.here = submission.remote.state != NULL;
    source.remote = dry_run ? NULL : &submission.remote;
    rc = job_file_read(&source, &submission.text, err);
    if (rc == 0)
        rc = post(&submission, key, dry_run, err);
    if (rc < 0) {
        submission_fini(&submission);
        return rc;
    }
    *submission_out = submission;
    return 0;
}

void submission_fini(struct submission *submission)
{
    json_decref(submission->answer);
    job_text_fini(&submission->text);
    remote_fini(&submission->remote);
}

int submission_wait(const struct cli_args *args, struct submission *submission, bool show_json)
{
    const char *id = reply_text(submission->answer, "id");
    CLEANUP(freep) char *again = path_format("mains wait %s", id);
    struct wait_config config = { .remote = &submission->remote,
                                  .id = id,
                                  .name = submission->text.name,
                                  .progress = !cli_args_has(args, "quiet"),
                                  .stops_with_job = true,
                                  .again = again };
    json_t *job = NULL;
    struct err err;
    int status;
    int rc = wait_job(&config, &job, &err);

    if (rc == -EINTR)
        return CLI_DETACHED;
    if (rc < 0)
        return cli_fail(CLI_MAINS, &err);
    status = wait_exit_status(&submission->remote, job);
    if (show_json)
        reply_show(job);
    json_decref(job);
    return status;
}
