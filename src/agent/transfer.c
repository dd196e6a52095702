#include "agent/transfer.h"

#include "base/clock.h"
#include "base/file.h"
#include "store/bundle.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 120000
#define NAMES_MAX 8192u /* of one request */
#define CHUNK_LEAST_BYTES (BUNDLE_BYTES_WANTED / NAMES_MAX)
/* A message begins small and grows as long as the link carries it at once: one that takes longer
 * than TIMEOUT_MS is lost, and on a slow link each would. */
#define WANTED_BYTES_MIN (256u << 10)
#define FAST_MS 2000
#define SLOW_MS 20000
/* The same where the link is there for a while only: what breaks off is lost up to the last whole
 * message, so that one is a chunk or what the link carries in some seconds. */
#define SHORT_BYTES_MIN 1
#define SHORT_FAST_MS 500
#define SHORT_SLOW_MS 2000
#define PACED_SECONDS 2 /* of a bounded link's rate, so that others get their turns */
#define IDLE_ROUNDS_MAX 3u
#define PACE_SLICE_US 1000000

void transfer_link_fini(struct transfer_link *link)
{
    free(link->url);
    if (link->bearer)
        explicit_bzero(link->bearer, strlen(link->bearer));
    free(link->bearer);
    free(link->pin);
    free(link->cert_pem);
    if (link->key_pem)
        explicit_bzero(link->key_pem, strlen(link->key_pem));
    free(link->key_pem);
    *link = (struct transfer_link){ .url = NULL };
}

int transfer_link_copy(const struct transfer_link *from, struct transfer_link *out)
{
    char *const texts[] = { from->url, from->bearer, from->pin, from->cert_pem, from->key_pem };
    char *copies[ARRAY_COUNT(texts)] = { NULL };
    bool failed = false;

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        if (texts[i] && !(copies[i] = strdup(texts[i])))
            failed = true;
    *out = (struct transfer_link){ copies[0], copies[1],  copies[2],     copies[3],
                                   copies[4], from->over, from->is_short };
    if (failed)
        transfer_link_fini(out);
    return failed ? -ENOMEM : 0;
}

static uint32_t least_bytes(const struct transfer_link *link)
{
    return link->is_short ? SHORT_BYTES_MIN : WANTED_BYTES_MIN;
}

struct transfer transfer_init(struct store *store, struct http_easy *easy,
                              const struct transfer_link *link, struct pace *pace, bool up,
                              const struct store_id *id)
{
    return (struct transfer){ .store = store,
                              .easy = easy,
                              .link = link,
                              .pace = pace,
                              .up = up,
                              .id = *id,
                              .wanted_bytes = least_bytes(link) };
}

struct transfer transfer_init_scan(struct scan *scan, struct http_easy *easy,
                                   const struct transfer_link *link, struct pace *pace)
{
    const struct store_id id = scan_id(scan);
    struct transfer transfer = transfer_init(NULL, easy, link, pace, true, &id);

    transfer.scan = scan;
    return transfer;
}

/* --- requests --------------------------------------------------------------------------------- */

static int refused(const struct http_answer *answer, const char *path, struct err *err)
{
    json_t *root =
        json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    int rc = answer->status == 404                            ? -ENOENT
             : answer->status == 507                          ? -ENOSPC
             : answer->status == 401 || answer->status == 403 ? -EACCES
             : answer->status == 409                          ? -EPROTO
             : answer->status == 413                          ? -EFBIG
             : answer->status == 503                          ? -EAGAIN
             : answer->status == 400                          ? -EBADMSG
                                                              : -EIO;

    if (message)
        err_set(err, rc, "%.200s", message);
    else
        err_set(err, rc, "%s was answered %d", path, answer->status);
    json_decref(root);
    return rc;
}

static int send_request(struct http_easy *easy, const struct transfer_link *link,
                        const char *method, const char *path, const char *type, const void *body,
                        size_t len, struct http_answer *answer_out, struct err *err)
{
    CLEANUP(freep) char *url = path_format("%s/api/v1%s", link->url ? link->url : "", path);
    struct http_call call = { .method = method,
                              .url = url,
                              .bearer = link->bearer,
                              .pin_sha256 = link->pin,
                              .client_cert_pem = link->cert_pem,
                              .client_key_pem = link->key_pem,
                              .content_type = type,
                              .body = body,
                              .body_len = len,
                              .timeout_ms = TIMEOUT_MS,
                              .stop = link->over,
                              .answer_bytes_max = MANIFEST_BYTES_MAX };
    int rc;

    *answer_out = (struct http_answer){ 0 };
    if (!link->url)
        return err_set(err, -EAGAIN, "there is no session with the network now");
    if (!url)
        return err_set(err, -ENOMEM, "out of memory");
    rc = http_easy_call(easy, &call, NULL, NULL, answer_out);
    if (rc == -ECANCELED)
        return err_set(err, -EAGAIN, "the contact with the network is over");
    if (rc < 0)
        return err_set(err, rc, "%.200s", answer_out->error);
    return answer_out->status == 200 ? 0 : refused(answer_out, path, err);
}

int transfer_call(struct http_easy *easy, const struct transfer_link *link, const char *method,
                  const char *path, const char *body, char **answer_out, struct err *err)
{
    CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
    int rc = send_request(easy, link, method, path, body ? "application/json" : NULL, body,
                          body ? strlen(body) : 0, &answer, err);

    if (rc == 0 && answer_out)
        *answer_out = buf_take(&answer.body);
    return rc;
}

/* A message is not cut: the bucket may go into debt, and is waited for before the next one. */
static void wait_pace(const struct transfer *transfer)
{
    int64_t wait_us = transfer->pace ? pace_wait_us(transfer->pace, clock_mono_us(), 1) : 0;

    wait_us = MIN(wait_us, PACE_SLICE_US);
    if (wait_us > 0)
        nanosleep(&(struct timespec){ wait_us / 1000000, wait_us % 1000000 * 1000 }, NULL);
}

static bool may_carry(const struct transfer *transfer)
{
    return !transfer->pace || pace_wait_us(transfer->pace, clock_mono_us(), 1) == 0;
}

static void spend(struct transfer *transfer, size_t bytes)
{
    transfer->bytes_carried += (int64_t)bytes;
    if (transfer->pace)
        pace_spend(transfer->pace, clock_mono_us(), (int64_t)bytes);
}

/* --- up --------------------------------------------------------------------------------------- */

static int read_missing(struct transfer *transfer, const struct http_answer *answer,
                        struct err *err)
{
    json_t *root =
        json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    json_t *names = json_object_get(root, "chunks"), *name;
    json_int_t missing = json_integer_value(json_object_get(root, "missing"));
    int64_t before = transfer->missing;
    size_t i;
    int rc = 0;

    chunk_list_fini(&transfer->list);
    transfer->next = 0;
    transfer->bytes_total = json_integer_value(json_object_get(root, "content_bytes"));
    json_array_foreach (names, i, name) {
        struct chunk_ref chunk = { .bytes = 0 };

        if (!store_id_parse(json_string_value(name) ? json_string_value(name) : "",
                            json_string_length(name), &chunk.id))
            rc = -EBADMSG;
        else if (rc == 0)
            rc = chunk_list_add(&transfer->list, &chunk);
    }
    if (!json_is_array(names) || (missing > 0 && json_array_size(names) == 0))
        rc = -EBADMSG;
    json_decref(root);
    if (rc < 0)
        return err_set(err, rc, "what is missing was answered with nonsense");
    transfer->missing = missing;
    transfer->idle_rounds = missing && missing == before ? transfer->idle_rounds + 1 : 0;
    if (transfer->idle_rounds > IDLE_ROUNDS_MAX)
        return err_set(err, -EIO, "chunks are taken and still missing");
    return transfer->list.count ? 1 : 0;
}

static int tell_manifest(struct transfer *transfer, struct err *err)
{
    CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
    CLEANUP(buf_fini) struct buf exported = buf_init(MANIFEST_BYTES_MAX);
    const struct buf *text = transfer->scan ? scan_manifest(transfer->scan) : &exported;
    int rc =
        transfer->scan ? 0 : store_manifest_export(transfer->store, &transfer->id, &exported, err);

    if (rc == 0)
        rc = send_request(transfer->easy, transfer->link, "PUT", "/store/manifests",
                          "application/x-mains-manifest", text->data, text->len, &answer, err);
    if (rc < 0)
        return rc;
    spend(transfer, text->len);
    transfer->begun = true;
    return read_missing(transfer, &answer, err);
}

static int ask_missing(struct transfer *transfer, struct err *err)
{
    CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
    char name[STORE_ID_TEXT_BYTES], path[128];
    int rc;

    store_id_format(&transfer->id, name);
    snprintf(path, sizeof(path), "/store/manifests/%s/missing", name);
    rc = send_request(transfer->easy, transfer->link, "GET", path, NULL, NULL, 0, &answer, err);
    return rc < 0 ? rc : read_missing(transfer, &answer, err);
}

/* --- messages --------------------------------------------------------------------------------- */

/* One on its way, with a thread and a connection of its own. */
struct transfer_message {
    struct http_easy *easy;
    const struct transfer_link *link;
    const char *path, *type;
    struct buf body;
    struct http_answer answer;
    pthread_t thread;
    bool busy, answered;
    int64_t took_ms;
    int rc;
    struct err err;
};

static void *send_body(void *context)
{
    struct transfer_message *message = context;
    int64_t begun = clock_mono_ms();

    message->rc =
        send_request(message->easy, message->link, "POST", message->path, message->type,
                     message->body.data, message->body.len, &message->answer, &message->err);
    message->took_ms = clock_mono_ms() - begun;
    return NULL;
}

/* The next one is as large as the link has shown that it carries. */
static void learn_size(struct transfer *transfer, size_t bytes, int64_t took_ms)
{
    bool is_short = transfer->link->is_short;
    int64_t most = BUNDLE_BYTES_WANTED;

    if (transfer->pace && transfer->pace->rate_bytes)
        most = MIN(most, transfer->pace->rate_bytes * PACED_SECONDS);
    if (took_ms < (is_short ? SHORT_FAST_MS : FAST_MS))
        transfer->wanted_bytes = 2 * MAX(transfer->wanted_bytes, is_short ? (uint32_t)bytes : 0);
    else if (took_ms > (is_short ? SHORT_SLOW_MS : SLOW_MS))
        transfer->wanted_bytes /= 2;
    transfer->wanted_bytes =
        (uint32_t)MAX(MIN(transfer->wanted_bytes, most), (int64_t)least_bytes(transfer->link));
}

/* Wait for it; what it came to is told once. */
static int message_join(struct transfer *transfer, struct transfer_message *message,
                        struct err *err)
{
    int rc;

    if (!message || !message->busy)
        return 0;
    pthread_join(message->thread, NULL);
    message->busy = false;
    rc = message->rc;
    message->rc = 0;
    message->answered = rc == 0;
    if (rc < 0)
        return err_set(err, rc, "%s", message->err.text);
    learn_size(transfer, message->body.len + message->answer.body.len, message->took_ms);
    return 0;
}

static int join_all(struct transfer *transfer, struct err *err)
{
    int first = 0;

    for (uint32_t i = 0; i < TRANSFER_MESSAGES; i++) {
        int rc = message_join(transfer, transfer->messages[i], first < 0 ? NULL : err);

        first = first < 0 ? first : rc;
    }
    return first;
}

void transfer_fini(struct transfer *transfer)
{
    join_all(transfer, NULL);
    for (uint32_t i = 0; i < TRANSFER_MESSAGES; i++) {
        if (!transfer->messages[i])
            continue;
        http_easy_destroy(transfer->messages[i]->easy);
        http_answer_fini(&transfer->messages[i]->answer);
        buf_fini(&transfer->messages[i]->body);
        free(transfer->messages[i]);
        transfer->messages[i] = NULL;
    }
    chunk_list_fini(&transfer->list);
}

/* Whose turn it is; it may be on its way. NULL: memory is short. */
static struct transfer_message *next_message(struct transfer *transfer)
{
    struct transfer_message **at = &transfer->messages[transfer->turn++ % TRANSFER_MESSAGES];

    if (*at)
        return *at;
    *at = calloc(1, sizeof(**at));
    if (*at) {
        (*at)->body = buf_init(BUNDLE_BYTES_MAX);
        (*at)->link = transfer->link;
        (*at)->easy = http_easy_create();
    }
    return *at && (*at)->easy ? *at : NULL;
}

static int message_start(struct transfer_message *message, const char *path, const char *type,
                         struct err *err)
{
    message->path = path;
    message->type = type;
    message->answered = false;
    http_answer_fini(&message->answer);
    if (pthread_create(&message->thread, NULL, send_body, message) != 0)
        return err_set(err, -EAGAIN, "no thread can be started");
    message->busy = true;
    return 0;
}

/* Fill a message and let it go; the one before it may still be on its way. */
static int send_next(struct transfer *transfer, struct err *err)
{
    struct transfer_message *message = next_message(transfer);
    int rc =
        message ? message_join(transfer, message, err) : err_set(err, -ENOMEM, "out of memory");

    if (rc < 0)
        return rc;
    buf_clear(&message->body);
    while (rc == 0 && transfer->next < transfer->list.count &&
           message->body.len < transfer->wanted_bytes) {
        const struct store_id *id = &transfer->list.chunks[transfer->next++].id;

        rc = transfer->scan ? scan_add(transfer->scan, id, &message->body, err)
                            : bundle_add(transfer->store, id, &message->body, err);
    }
    if (rc == 0)
        rc = message_start(message, "/store/chunks", "application/x-mains-chunks", err);
    if (rc < 0)
        return rc;
    spend(transfer, message->body.len);
    return 1;
}

static int step_up(struct transfer *transfer, struct err *err)
{
    struct chunk_list bad = { 0 };
    int rc;

    if (!transfer->begun)
        return tell_manifest(transfer, err);
    if (transfer->next < transfer->list.count) {
        rc = send_next(transfer, err);
    } else {
        rc = join_all(transfer, err);
        if (rc == 0)
            rc = ask_missing(transfer, err);
    }
    if (rc == -EBADMSG &&
        transfer->store) { /* damaged here: away with it, so that it is put again */
        store_verify(transfer->store, &transfer->id, &bad, NULL);
        chunk_list_fini(&bad);
    }
    return rc;
}

/* --- down ------------------------------------------------------------------------------------- */

/* What of it is not here, from the manifest that is. */
static int list_here(struct transfer *transfer, struct err *err)
{
    struct manifest manifest;
    int rc = store_manifest_read(transfer->store, &transfer->id, &manifest, err);

    if (rc < 0)
        return rc;
    chunk_list_fini(&transfer->list);
    transfer->next = 0;
    transfer->bytes_total = manifest.content_bytes;
    rc = store_missing(transfer->store, &manifest, &transfer->list, err);
    manifest_fini(&manifest);
    return rc < 0 ? rc : transfer->list.count ? 1 : 0;
}

static int fetch_manifest(struct transfer *transfer, struct err *err)
{
    CLEANUP(http_answer_fini) struct http_answer answer = { 0 };
    char name[STORE_ID_TEXT_BYTES], path[128];
    struct store_id id;
    int rc = list_here(transfer, NULL);

    transfer->begun = true;
    if (rc >= 0)
        return rc;
    store_id_format(&transfer->id, name);
    snprintf(path, sizeof(path), "/store/manifests/%s", name);
    rc = send_request(transfer->easy, transfer->link, "GET", path, NULL, NULL, 0, &answer, err);
    if (rc == 0)
        rc = store_manifest_import(transfer->store, answer.body.data, answer.body.len, &id, err);
    if (rc == 0 && !store_id_is_equal(&id, &transfer->id))
        rc = err_set(err, -EBADMSG, "manifest %s: another one came", name);
    if (rc < 0) {
        transfer->begun = false;
        return rc;
    }
    spend(transfer, answer.body.len);
    return list_here(transfer, err);
}

/* Ask for the next chunks, as many as make a message. */
static int ask_next(struct transfer *transfer, struct transfer_message *message, struct err *err)
{
    uint32_t wanted = 0;

    buf_clear(&message->body);
    while (transfer->next < transfer->list.count && wanted < transfer->wanted_bytes) {
        const struct chunk_ref *chunk = &transfer->list.chunks[transfer->next++];

        buf_add(&message->body, chunk->id.bytes, STORE_ID_BYTES);
        wanted += MAX(chunk->bytes, CHUNK_LEAST_BYTES);
    }
    if (message->body.failed)
        return err_set(err, -ENOMEM, "out of memory");
    return message_start(message, "/store/chunks/get", "application/octet-stream", err);
}

/* What came of it. Chunks that it had no room for are still missing, and asked for again. */
static int take_in(struct transfer *transfer, struct transfer_message *message, struct err *err)
{
    uint32_t count = 0;
    int rc = message_join(transfer, message, err);

    if (rc < 0 || !message->answered)
        return rc;
    message->answered = false;
    spend(transfer, message->answer.body.len);
    rc = bundle_import(transfer->store, message->answer.body.data, message->answer.body.len, &count,
                       err);
    http_answer_fini(&message->answer);
    return rc == 0 && count == 0 ? err_set(err, -EBADMSG, "no chunk came") : rc;
}

/* One is taken in while the next one comes. */
static int step_down(struct transfer *transfer, struct err *err)
{
    struct transfer_message *message;
    int rc = 0;

    if (!transfer->begun)
        return fetch_manifest(transfer, err);
    if (transfer->next < transfer->list.count) {
        message = next_message(transfer);
        rc = message ? take_in(transfer, message, err) : err_set(err, -ENOMEM, "out of memory");
        if (rc == 0)
            rc = ask_next(transfer, message, err);
    } else {
        for (uint32_t i = 0; rc == 0 && i < TRANSFER_MESSAGES; i++) {
            message = transfer->messages[transfer->turn++ % TRANSFER_MESSAGES];
            rc = message ? take_in(transfer, message, err) : 0;
        }
        if (rc == 0)
            rc = store_flush(transfer->store, err);
        if (rc == 0)
            return list_here(transfer, err);
    }
    return rc < 0 ? rc : 1;
}

/* All of it is there. */
static void measure(const struct transfer *transfer)
{
    _Atomic int64_t *rate;
    int64_t bytes_s;

    if (!transfer->meter || transfer->bytes_carried < TRANSFER_MEASURED_BYTES)
        return;
    rate = transfer->up ? &transfer->meter->up_bytes_s : &transfer->meter->down_bytes_s;
    bytes_s = (int64_t)((double)transfer->bytes_carried * 1e6 /
                        (double)MAX(transfer->busy_us, INT64_C(1)));
    *rate = *rate ? (*rate * 3 + bytes_s) / 4 : bytes_s;
}

int transfer_step(struct transfer *transfer, struct err *err)
{
    int64_t from_us = clock_mono_us();
    int rc = 1;

    if (!may_carry(transfer))
        wait_pace(transfer);
    else
        rc = transfer->up ? step_up(transfer, err) : step_down(transfer, err);
    transfer->busy_us += clock_mono_us() - from_us;
    if (rc == 0)
        measure(transfer);
    if (rc < 0)
        join_all(transfer, NULL);
    return rc;
}
