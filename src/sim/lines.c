#include "sim/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK_BYTES 131072u

struct sim_lines {
    const char *name;
    char *name_owned;
    gzFile file; /* NULL: memory */
    const char *memory;
    size_t memory_left;
    uint64_t total_bytes, number;
    char *chunk;
    size_t chunk_at, chunk_len;
    char *line;
    size_t line_cap;
};

void sim_lines_close(struct sim_lines *lines)
{
    if (!lines)
        return;
    if (lines->file)
        gzclose(lines->file);
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

static int fill(struct sim_lines *lines, struct err *err)
{
    int got;

    lines->chunk_at = 0;
    if (!lines->file) {
        lines->chunk_len = MIN(lines->memory_left, CHUNK_BYTES);
        if (lines->chunk_len)
            memcpy(lines->chunk, lines->memory, lines->chunk_len);
        lines->memory += lines->chunk_len;
        lines->memory_left -= lines->chunk_len;
        return 0;
    }
    got = gzread(lines->file, lines->chunk, CHUNK_BYTES);
    lines->chunk_len = got > 0 ? (size_t)got : 0;
    if (got < 0 || (got == 0 && !gzeof(lines->file)))
        return err_set(err, -EIO, "%s: cannot be read, or is damaged gzip", lines->name);
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
    size_t used = 0;
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
