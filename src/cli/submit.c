#include "cli/submit.h"

#include "base/rng.h"
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

int submit_job(struct remote *remote, const struct job_text *text, const char *key, bool dry_run,
               json_t **answer_out, struct err *err)
{
    char own_key[64];
    struct remote_request request = {
        .method = "POST",
        .path = dry_run ? "/jobs?dry_run=1" : "/jobs",
        .content_type = "application/json",
        .key = key ? key : own_key,
        .body = text->json,
        .body_len = strlen(text->json),
    };
    int status = 0;
    int rc = make_key(own_key, sizeof(own_key));

    if (rc < 0)
        return err_set(err, rc, "random numbers: %s", strerror(-rc));
    for (int i = 0; i < TRIES; i++) {
        struct timespec pause = { 0, 200000000L << i };

        rc = remote_send(remote, &request, answer_out, &status, err);
        if (rc == 0 || (status != 0 && status != 503) || (status == 0 && rc == -ECONNREFUSED && !i))
            return rc;
        nanosleep(&pause, NULL);
    }
    return rc;
}

bool submit_is_here(const struct remote *remote)
{
    return remote->state != NULL;
}
