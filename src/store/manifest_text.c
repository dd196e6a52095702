#include "store/chunker.h"
#include "store/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define VERSION_LINE "mains-manifest 1"
#define LINE_BYTES_MAX (MANIFEST_PATH_BYTES_MAX + 64)

int manifest_print(const struct manifest *manifest, struct buf *text_out)
{
    char id[STORE_ID_TEXT_BYTES];

    buf_printf(text_out, VERSION_LINE "\n");
    for (uint32_t i = 0; i < manifest->entries_count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];

        switch (entry->kind) {
        case MANIFEST_DIR:
            buf_printf(text_out, "d %o %s\n", (unsigned)entry->mode, entry->path);
            break;
        case MANIFEST_LINK:
            buf_printf(text_out, "l %s\n> %s\n", entry->path, entry->target);
            break;
        case MANIFEST_FILE:
            buf_printf(text_out, "f %o %" PRId64 " %s\n", (unsigned)entry->mode, entry->bytes,
                       entry->path);
            for (uint32_t c = 0; c < entry->chunks_count; c++) {
                const struct chunk_ref *chunk = &manifest->chunks[entry->chunk_first + c];

                store_id_format(&chunk->id, id);
                buf_printf(text_out, "%s %" PRIu32 "\n", id, chunk->bytes);
            }
            break;
        }
    }
    /* The end is said, so that a text that broke off between two lines is not a smaller tree. */
    buf_printf(text_out, "end %" PRIu32 " %" PRIu32 "\n", manifest->entries_count,
               manifest->chunks_count);
    if (text_out->failed)
        return text_out->len + LINE_BYTES_MAX > text_out->max ? -ENOSPC : -ENOMEM;
    return 0;
}

struct reader {
    const char *next;
    const char *end;
    char line[LINE_BYTES_MAX + 1];
    struct manifest manifest;
    int64_t file_bytes; /* what the newest file says that it has */
    uint32_t lines;
    bool ended;
    struct err *err;
};

static int refuse(struct reader *reader, const char *why)
{
    return err_set(reader->err, -EBADMSG, "%s", why);
}

static int read_line(struct reader *reader)
{
    size_t left = (size_t)(reader->end - reader->next);
    const char *newline = memchr(reader->next, '\n', MIN(left, LINE_BYTES_MAX + 1));
    size_t len;

    reader->lines++;
    if (!newline)
        return refuse(reader, left > LINE_BYTES_MAX ? "too long" : "breaks off");
    len = (size_t)(newline - reader->next);
    if (memchr(reader->next, '\0', len))
        return refuse(reader, "a NUL in it");
    memcpy(reader->line, reader->next, len);
    reader->line[len] = '\0';
    reader->next = newline + 1;
    return 0;
}

/* A number with one spelling: no sign, no leading zero. Moves *text behind it and one blank. */
static bool take_number(const char **text, unsigned base, int64_t *number_out)
{
    const char *p = *text;
    int64_t number = 0;

    if (*p < '0' || *p >= (char)('0' + base) || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p < (char)('0' + base); p++)
        if (__builtin_mul_overflow(number, (int64_t)base, &number) ||
            __builtin_add_overflow(number, (int64_t)(*p - '0'), &number))
            return false;
    if (*p != ' ' && *p != '\0')
        return false;
    *text = *p ? p + 1 : p;
    *number_out = number;
    return true;
}

static int check_file_ended(struct reader *reader)
{
    const struct manifest *manifest = &reader->manifest;
    const struct manifest_entry *entry;

    if (manifest->entries_count == 0)
        return 0;
    entry = &manifest->entries[manifest->entries_count - 1];
    if (entry->kind == MANIFEST_FILE && entry->bytes != reader->file_bytes)
        return err_set(reader->err, -EBADMSG, "%s: %" PRId64 " bytes stated, %" PRId64 " in chunks",
                       entry->path, reader->file_bytes, entry->bytes);
    return 0;
}

static int read_link(struct reader *reader)
{
    char path[MANIFEST_PATH_BYTES_MAX + 1];
    int rc;

    if (strlen(reader->line + 2) >= sizeof(path))
        return refuse(reader, "path too long");
    memcpy(path, reader->line + 2, strlen(reader->line + 2) + 1);
    rc = read_line(reader);
    if (rc < 0)
        return rc;
    if (strncmp(reader->line, "> ", 2) != 0)
        return refuse(reader, "a link without its target");
    return manifest_add_link(&reader->manifest, path, reader->line + 2, reader->err);
}

static int read_entry(struct reader *reader)
{
    const char *text = reader->line + 2;
    char kind = reader->line[0];
    int64_t mode;
    int rc = check_file_ended(reader);

    if (rc < 0)
        return rc;
    if (kind == 'l')
        return read_link(reader);
    if (!take_number(&text, 8, &mode) || mode > 0777)
        return refuse(reader, "not a mode");
    if (kind == 'd')
        return manifest_add_dir(&reader->manifest, text, (uint32_t)mode, reader->err);
    if (!take_number(&text, 10, &reader->file_bytes))
        return refuse(reader, "not a size");
    return manifest_add_file(&reader->manifest, text, (uint32_t)mode, reader->err);
}

static int read_chunk(struct reader *reader)
{
    const char *text = reader->line + STORE_ID_CHARS + 1;
    struct chunk_ref chunk;
    int64_t bytes;

    if (!store_id_parse(reader->line, strlen(reader->line), &chunk.id) ||
        reader->line[STORE_ID_CHARS] != ' ' || !take_number(&text, 10, &bytes) || *text ||
        text[-1] == ' ' || bytes > CHUNK_BYTES_MAX)
        return refuse(reader, "neither an entry nor a chunk");
    chunk.bytes = (uint32_t)bytes;
    return manifest_add_chunk(&reader->manifest, &chunk, reader->err);
}

static int read_end(struct reader *reader)
{
    const char *text = reader->line + 4;
    int64_t entries;
    int64_t chunks;
    int rc = check_file_ended(reader);

    if (rc < 0)
        return rc;
    if (!take_number(&text, 10, &entries) || !take_number(&text, 10, &chunks) || *text ||
        text[-1] == ' ' || entries != reader->manifest.entries_count ||
        chunks != reader->manifest.chunks_count)
        return refuse(reader, "an end that counts otherwise");
    if (reader->next != reader->end)
        return refuse(reader, "more after its end");
    reader->ended = true;
    return 0;
}

static int read_all(struct reader *reader)
{
    int rc = read_line(reader);

    if (rc < 0)
        return rc;
    if (strcmp(reader->line, VERSION_LINE) != 0)
        return refuse(reader, "not a manifest of version 1");
    while (!reader->ended) {
        rc = read_line(reader);
        if (rc < 0)
            return rc;
        if (strncmp(reader->line, "end ", 4) == 0)
            rc = read_end(reader);
        else if (reader->line[0] && strchr("dfl", reader->line[0]) && reader->line[1] == ' ')
            rc = read_entry(reader);
        else
            rc = read_chunk(reader);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int manifest_parse(const char *text, size_t len, const struct manifest_limits *limits,
                   struct manifest *manifest_out, struct err *err)
{
    struct reader reader = { .next = text, .end = text + len, .err = err };
    int rc;

    if (len > MANIFEST_BYTES_MAX)
        return err_set(err, -EFBIG, "a manifest of %zu bytes", len);
    reader.manifest = manifest_init(limits);
    rc = read_all(&reader);
    if (rc < 0) {
        manifest_fini(&reader.manifest);
        return err_prefix(err, rc, "manifest line %" PRIu32, reader.lines);
    }
    *manifest_out = reader.manifest;
    return 0;
}
