#include "sim/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define CHUNK_BYTES 131072u
#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB, what zstd itself allows without --long */

struct sim_lines {
    const char *name;
    char *name_owned;
    gzFile file; /* NULL: memory */
    const char *memory;
    size_t memory_left;
    uint64_t total_bytes, number;
    char *chunk;
    size_t chunk_at, chunk_len;
    ZSTD_DCtx *zstd; /* NULL: not packed by zstd */
    char *packed;    /* CHUNK_BYTES of it */
    ZSTD_inBuffer packed_left;
    bool is_begun, is_frame_open;
    char *line;
    size_t line_cap;
};

void sim_lines_close(struct sim_lines *lines)
{
    if (!lines)
        return;
    if (lines->file)
        gzclose(lines->file);
    ZSTD_freeDCtx(lines->zstd);
    free(lines->packed);
    free(lines->name_owned);
    free(lines->chunk);
    free(lines->line);
    free(lines);
}

void sim_lines_closep(struct sim_lines **lines)
{
    sim_lines_close(*lines);
}

static struct sim_lines *create(void)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = calloc(1, sizeof(*lines));

    if (!lines)
        return NULL;
    lines->chunk = malloc(CHUNK_BYTES);
    lines->line_cap = 4096;
    lines->line = malloc(lines->line_cap);
    return lines->chunk && lines->line ? TAKE(lines) : NULL;
}

int sim_lines_open(const char *path, struct sim_lines **lines_out, struct err *err)
{
    CLEANUP(sim_lines_closep) struct sim_lines *lines = create();
    CLEANUP(closep) int fd = -1;
    struct stat status = { 0 };

    if (!lines || !(lines->name_owned = strdup(path)))
        return err_set(err, -ENOMEM, "out of memory");
    lines->name = lines->name_owned;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        return err_set(err, -EISDIR, "%s: is a folder", path);
    lines->total_bytes = (uint64_t)status.st_size;
    lines->file = gzdopen(fd, "rb");
    if (!lines->file)
        return err_set(err, -ENOMEM, "out of memory");
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): CLEANUP looks at it */
    fd = -1;
    gzbuffer(lines->file, CHUNK_BYTES);
    *lines_out = TAKE(lines);
    return 0;
}

int sim_lines_of_memory(const char *name, const void *data, size_t len,
                        struct sim_lines **lines_out, struct err *err)
{
    struct sim_lines *lines = create();

    if (!lines)
        return err_set(err, -ENOMEM, "out of memory");
    lines->name = name;
    lines->memory = data;
    lines->memory_left = len;
    *lines_out = lines;
    return 0;
}

/* Bytes of the file, gzip undone. */
static int read_raw(struct sim_lines *lines, char *out, size_t *len_out, struct err *err)
{
    int got = gzread(lines->file, out, CHUNK_BYTES), why = Z_OK;

    *len_out = got > 0 ? (size_t)got : 0;
    if (got == 0)
        gzerror(lines->file, &why);
    if (why == Z_BUF_ERROR) /* for which a read is as at the end of a whole one */
        return err_set(err, -EIO, "%s: damaged gzip: it ends early", lines->name);
    if (got < 0 || (got == 0 && !gzeof(lines->file)))
        return err_set(err, -EIO, "%s: cannot be read, or is damaged gzip", lines->name);
    return 0;
}

/* What is in the chunk proves to be the beginning of zstd. */
static int begin_zstd(struct sim_lines *lines, struct err *err)
{
    static const unsigned char magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

    lines->is_begun = true;
    if (lines->chunk_len < sizeof(magic) || memcmp(lines->chunk, magic, sizeof(magic)) != 0)
        return 0;
    lines->packed = lines->chunk;
    lines->packed_left = (ZSTD_inBuffer){ lines->packed, lines->chunk_len, 0 };
    lines->chunk_len = 0;
    lines->chunk = malloc(CHUNK_BYTES);
    lines->zstd = ZSTD_createDCtx();
    if (!lines->chunk || !lines->zstd)
        return err_set(err, -ENOMEM, "out of memory");
    ZSTD_DCtx_setParameter(lines->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    return 0;
}

static int fill_zstd(struct sim_lines *lines, struct err *err)
{
    ZSTD_outBuffer out = { lines->chunk, CHUNK_BYTES, 0 };

    while (out.pos < out.size) { /* all of it: how a text begins tells its format */
        size_t rc;

        if (lines->packed_left.pos == lines->packed_left.size) {
            size_t len;

            if (read_raw(lines, lines->packed, &len, err) < 0)
                return -EIO;
            lines->packed_left = (ZSTD_inBuffer){ lines->packed, len, 0 };
            if (!len)
                break;
        }
        rc = ZSTD_decompressStream(lines->zstd, &out, &lines->packed_left);
        if (ZSTD_isError(rc))
            return err_set(err, -EIO, "%s: damaged zstd: %s", lines->name, ZSTD_getErrorName(rc));
        lines->is_frame_open = rc != 0;
    }
    lines->chunk_len = out.pos;
    return !out.pos && lines->is_frame_open
               ? err_set(err, -EIO, "%s: damaged zstd: it ends early", lines->name)
               : 0;
}

static int fill(struct sim_lines *lines, struct err *err)
{
    int rc;

    lines->chunk_at = 0;
    if (!lines->file) {
        lines->chunk_len = MIN(lines->memory_left, CHUNK_BYTES);
        if (lines->chunk_len)
            memcpy(lines->chunk, lines->memory, lines->chunk_len);
        lines->memory += lines->chunk_len;
        lines->memory_left -= lines->chunk_len;
        return 0;
    }
    if (!lines->zstd) {
        rc = read_raw(lines, lines->chunk, &lines->chunk_len, err);
        if (rc < 0 || lines->is_begun)
            return rc;
        rc = begin_zstd(lines, err);
        if (rc < 0 || !lines->zstd)
            return rc;
    }
    return fill_zstd(lines, err);
}

int sim_lines_peek(struct sim_lines *lines, char *out, size_t bytes, struct err *err)
{
    const char *at;
    size_t len;
    int rc = lines->chunk_at == lines->chunk_len ? fill(lines, err) : 0;

    if (rc < 0)
        return rc;
    at = lines->chunk + lines->chunk_at;
    len = lines->chunk_len - lines->chunk_at;
    if (len >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3;
        len -= 3;
    }
    len = MIN(len, bytes - 1);
    memcpy(out, at, len);
    out[len] = '\0';
    return 0;
}

static int add(struct sim_lines *lines, size_t *used, const char *data, size_t len)
{
    if (*used + len + 1 > SIM_LINE_BYTES_MAX)
        return -E2BIG;
    if (*used + len + 1 > lines->line_cap) {
        size_t cap = lines->line_cap;
        char *more;

        while (cap < *used + len + 1)
            cap *= 2;
        more = realloc(lines->line, cap);
        if (!more)
            return -ENOMEM;
        lines->line = more;
        lines->line_cap = cap;
    }
    memcpy(lines->line + *used, data, len);
    *used += len;
    return 0;
}

int sim_lines_next(struct sim_lines *lines, char **line_out, struct err *err)
{
    size_t used = 0, passed = 0;
    bool any = false, too_long = false;

    for (;;) {
        const char *at, *end;
        size_t len;

        if (lines->chunk_at == lines->chunk_len) {
            int rc = fill(lines, err);

            if (rc < 0)
                return rc;
            if (!lines->chunk_len)
                break;
        }
        any = true;
        at = lines->chunk + lines->chunk_at;
        end = memchr(at, '\n', lines->chunk_len - lines->chunk_at);
        len = end ? (size_t)(end - at) : lines->chunk_len - lines->chunk_at;
        if (!too_long) {
            int rc = add(lines, &used, at, len);

            if (rc == -ENOMEM)
                return err_set(err, rc, "out of memory");
            too_long = rc < 0;
        }
        passed += len;
        if (passed > SIM_LINE_BYTES_PASSED)
            return err_set(err, -EFBIG, "%s:%" PRIu64 ": a line with no end in sight: no text",
                           lines->name, lines->number + 1);
        lines->chunk_at += len + (end != NULL);
        if (end)
            break;
    }
    if (!any) {
        *line_out = NULL;
        return 0;
    }
    lines->number++;
    if (too_long)
        return err_set(err, -E2BIG, "%s:%" PRIu64 ": a line longer than %u KiB", lines->name,
                       lines->number, SIM_LINE_BYTES_MAX >> 10);
    if (used && lines->line[used - 1] == '\r')
        used--;
    lines->line[used] = '\0';
    *line_out = lines->line;
    return 0;
}

int sim_lines_read(struct sim_lines *lines, void *out, size_t max, size_t *len_out, struct err *err)
{
    size_t len;

    if (lines->chunk_at == lines->chunk_len) {
        int rc = fill(lines, err);

        if (rc < 0)
            return rc;
    }
    len = MIN(max, lines->chunk_len - lines->chunk_at);
    if (len)
        memcpy(out, lines->chunk + lines->chunk_at, len);
    lines->chunk_at += len;
    *len_out = len;
    return 0;
}

const char *sim_lines_name(const struct sim_lines *lines)
{
    return lines->name;
}

uint64_t sim_lines_number(const struct sim_lines *lines)
{
    return lines->number;
}

void sim_lines_set_number(struct sim_lines *lines, uint64_t number)
{
    lines->number = number;
}

void sim_lines_progress(const struct sim_lines *lines, uint64_t *read_out, uint64_t *total_out)
{
    *read_out = lines->file ? (uint64_t)gzoffset(lines->file) : 0;
    *total_out = lines->total_bytes;
}

int sim_csv_split(char *line, char **fields_out, uint32_t *count_out)
{
    uint32_t count = 0;
    char *at = line;

    for (;;) {
        char *to, *field = at;

        if (*at == '"') {
            field = to = ++at;
            for (;; at++) {
                if (!*at)
                    return -EINVAL;
                if (*at == '"' && *++at != '"')
                    break;
                *to++ = *at;
            }
            while (*at && *at != ',')
                at++;
        } else {
            at += strcspn(at, ",");
            to = at;
        }
        if (count < SIM_FIELDS_MAX)
            fields_out[count++] = field;
        if (!*at) {
            *to = '\0';
            break;
        }
        *to = '\0';
        at++;
    }
    *count_out = count;
    return 0;
}
