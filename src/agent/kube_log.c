#include "agent/kube_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_MAX (1u << 20) /* longer ones come in pieces */
#define AT_FILE "log_at"
#define AGAIN_MS 1000
#define EOF_MS 3000 /* a pod that ends so soon after the end of its log has said all */
#define STAMP_BYTES 48u

/* How far the log of one rank was taken: a row of `log_at`. Written in one piece after its text,
 * so that an agent that was killed goes on exactly there: what stands in stdout behind the furthest
 * `bytes` of all rows is not accounted for and is cut off. */
struct at {
    int64_t ns;    /* of the last line, Unix */
    int64_t bytes; /* of stdout, with it */
    uint32_t same; /* lines with that time */
    uint32_t reserved;
};

struct kube_log {
    struct kube *kube;
    struct attempt_key key;
    uint32_t rank;
    struct kube_stream *stream;
    struct buf line;
    struct at at;
    bool after_break; /* the line under way began in an earlier piece: no time before it */
    int64_t skip_ns;  /* lines before this were taken before */
    uint32_t skip_same;
};

static struct kube_rank *rank_of(const struct kube_log *log, struct kube_attempt **attempt_out)
{
    struct kube_attempt *attempt = kube_find(log->kube, log->key);

    *attempt_out = attempt;
    return attempt ? &attempt->ranks[log->rank] : NULL;
}

/* ---- the files ---- */

static void read_at(const struct kube_attempt *attempt, uint32_t rank, struct at *at_out)
{
    if (pread(attempt->log_at_fd, at_out, sizeof(*at_out), (off_t)(rank * sizeof(*at_out))) !=
        (ssize_t)sizeof(*at_out))
        memset(at_out, 0, sizeof(*at_out));
}

int kube_log_open(struct kube *kube, struct kube_attempt *attempt)
{
    CLEANUP(closep) int folder = -1;
    struct stat st;
    struct at at;

    if (attempt->log_fd >= 0)
        return 0;
    folder = engine_open_attempt(&kube->place, attempt->key);
    if (folder < 0)
        return folder;
    attempt->log_at_fd = openat(folder, AT_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    attempt->log_fd =
        openat(folder, "stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (attempt->log_at_fd < 0 || attempt->log_fd < 0) {
        int rc = -errno;

        kube_log_close(attempt);
        return rc;
    }
    attempt->log_bytes = 0;
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        read_at(attempt, i, &at);
        attempt->log_bytes = MAX(attempt->log_bytes, at.bytes);
    }
    if (fstat(attempt->log_fd, &st) == 0 && st.st_size > attempt->log_bytes &&
        ftruncate(attempt->log_fd, attempt->log_bytes) < 0)
        log_warn("job %" PRIu64 ": its log: %s", attempt->key.job_id, strerror(errno));
    attempt->log_full = attempt->log_bytes > attempt->note.log_bytes_max;
    return 0;
}

void kube_log_close(struct kube_attempt *attempt)
{
    closep(&attempt->log_fd);
    closep(&attempt->log_at_fd);
    attempt->log_fd = attempt->log_at_fd = -1;
}

static void append(struct kube_attempt *attempt, const char *text, size_t len)
{
    char mark[128];
    int64_t room = attempt->note.log_bytes_max - attempt->log_bytes;

    if (attempt->log_full)
        return;
    if ((int64_t)len > room) {
        if (room > 0 && file_write_all(attempt->log_fd, text, (size_t)room) == 0)
            attempt->log_bytes += room;
        snprintf(mark, sizeof(mark), "\n[mains: stdout truncated at %" PRId64 " bytes]\n",
                 attempt->note.log_bytes_max);
        text = mark;
        len = strlen(mark);
        attempt->log_full = true;
    }
    if (file_write_all(attempt->log_fd, text, len) == 0)
        attempt->log_bytes += (int64_t)len;
}

/* ---- lines ---- */

const char *kube_log_parse_line(const char *line, size_t len, int64_t *at_ns_out)
{
    const char *blank = memchr(line, ' ', MIN(len, STAMP_BYTES - 1));
    char stamp[STAMP_BYTES];

    if (!blank)
        return NULL;
    snprintf(stamp, sizeof(stamp), "%.*s", (int)(blank - line), line);
    *at_ns_out = kube_time_ns(stamp);
    return *at_ns_out > 0 ? blank + 1 : NULL;
}

static bool was_taken(struct kube_log *log, int64_t ns)
{
    if (ns < log->skip_ns)
        return true;
    if (ns == log->skip_ns && log->skip_same > 0) {
        log->skip_same--;
        return true;
    }
    return false;
}

static void take_line(struct kube_log *log, struct kube_attempt *attempt, bool whole)
{
    int64_t ns = 0;
    const char *line = log->line.data, *text = line;
    size_t len = log->line.len;

    if (!log->after_break) {
        text = kube_log_parse_line(line, len, &ns);
        if (!text) { /* no line of a log: a word of the server's own in it */
            text = line;
            ns = log->at.ns;
        } else if (was_taken(log, ns)) {
            buf_clear(&log->line);
            return;
        }
        log->at.same = ns == log->at.ns ? log->at.same + 1 : 1;
        log->at.ns = ns;
    }
    append(attempt, text, len - (size_t)(text - line));
    log->at.bytes = attempt->log_bytes;
    log->after_break = !whole;
    if (whole && pwrite(attempt->log_at_fd, &log->at, sizeof(log->at),
                        (off_t)(log->rank * sizeof(log->at))) < 0)
        log_warn("job %" PRIu64 ": its log: %s", log->key.job_id, strerror(errno));
    buf_clear(&log->line);
}

static void on_data(void *context, const char *data, size_t len)
{
    struct kube_log *log = context;
    struct kube_attempt *attempt;

    if (!rank_of(log, &attempt) || attempt->log_fd < 0)
        return;
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = MIN(end ? (size_t)(end - data) + 1 : len, LINE_BYTES_MAX - log->line.len);

        if (buf_add(&log->line, data, part) < 0)
            return;
        if (data[part - 1] == '\n')
            take_line(log, attempt, true);
        else if (log->line.len >= LINE_BYTES_MAX)
            take_line(log, attempt, false);
        data += part;
        len -= part;
    }
}

static void free_log(struct kube_log *log)
{
    log->kube->logs--;
    buf_fini(&log->line);
    free(log);
}

static void on_done(void *context, const struct kube_answer *answer)
{
    struct kube_log *log = context;
    struct kube *kube = log->kube;
    struct kube_attempt *attempt = NULL;
    struct kube_rank *rank = kube->closing ? NULL : rank_of(log, &attempt);

    if (rank && log->line.len && attempt->log_fd >= 0 && answer->status == 200)
        take_line(log, attempt, true); /* its last line has no end */
    free_log(log);
    if (!rank)
        return;
    rank->log = NULL;
    rank->log_again_ms = kube_now() + AGAIN_MS;
    if (answer->status == 200) {
        rank->log_eof_ms = kube_now();
        rank->log_whole = rank->pod.ended;
    } else if (rank->gone || answer->status == 404 || (answer->status == 400 && rank->pod.ended)) {
        rank->log_whole = true; /* nobody has it any more */
    }
    kube_settle(kube, attempt);
}

/* ---- which to follow ---- */

static void follow(struct kube *kube, struct kube_attempt *attempt, uint32_t index)
{
    struct kube_rank *rank = &attempt->ranks[index];
    struct kube_log *log = calloc(1, sizeof(*log));
    char path[512], since[40] = "";

    if (!log || kube_log_open(kube, attempt) < 0) {
        free(log);
        return;
    }
    *log = (struct kube_log){
        .kube = kube, .key = attempt->key, .rank = index, .line = buf_init(LINE_BYTES_MAX + 1)
    };
    read_at(attempt, index, &log->at);
    log->skip_ns = log->at.ns;
    log->skip_same = log->at.same;
    if (log->at.ns) { /* whole seconds: what comes before is skipped line by line */
        time_t second = (time_t)(log->at.ns / 1000000000);
        struct tm tm;

        gmtime_r(&second, &tm);
        strftime(since, sizeof(since), "&sinceTime=%Y-%m-%dT%H%%3A%M%%3A%SZ", &tm);
    }
    snprintf(path, sizeof(path), "%s/%s/log?container=%s&follow=true&timestamps=true%s",
             kube->pods_path, rank->pod.name, KUBE_CONTAINER, since);
    kube->logs++;
    rank->log = log;
    log->stream = kube_api_stream(kube->api, path, 0, on_data, on_done, log);
    if (!log->stream) {
        free_log(log);
        rank->log = NULL;
    }
}

void kube_log_follow(struct kube *kube, struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];

        if (rank->log_whole || rank->log || !rank->known || !rank->pod.began)
            continue;
        if (rank->pod.ended && rank->log_eof_ms && kube_now() - rank->log_eof_ms < EOF_MS) {
            rank->log_whole = true;
            continue;
        }
        if (rank->gone || kube_now() < rank->log_again_ms) {
            rank->log_whole = rank->gone;
            continue;
        }
        if (kube->logs < KUBE_LOGS_MAX)
            follow(kube, attempt, i);
    }
}

bool kube_log_is_whole(const struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->note.tasks; i++)
        if (attempt->ranks[i].known && attempt->ranks[i].pod.began && !attempt->ranks[i].log_whole)
            return false;
    return true;
}

void kube_log_stop(struct kube *kube, struct kube_attempt *attempt)
{
    (void)kube;
    for (uint32_t i = 0; i < attempt->note.tasks; i++) {
        struct kube_log *log = attempt->ranks[i].log;

        if (!log)
            continue;
        attempt->ranks[i].log = NULL;
        kube_stream_cancel(log->stream);
        free_log(log);
    }
}
