#include "store/pack.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct header {
    char magic[4];
    uint32_t count;
};
struct entry {
    struct store_id id;
    uint32_t offset, bytes;
};
static_assert(sizeof(struct header) == PACK_HEADER_BYTES, "packed by itself");
static_assert(sizeof(struct entry) == PACK_ENTRY_BYTES, "packed by itself");
static_assert(offsetof(struct entry, id) == 0 && offsetof(struct pack_part, id) == 0,
              "compared by store_id_compare");

static const char magic[4] = { 'M', 'S', 'P', '1' };

uint32_t pack_part_bytes(const struct pack_part *part)
{
    return part->head_len + part->body_len;
}

static int write_all(int fd, struct iovec *parts, size_t count)
{
    while (count) {
        ssize_t done = writev(fd, parts, (int)count);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        for (; count && (size_t)done >= parts->iov_len; parts++, count--)
            done -= (ssize_t)parts->iov_len;
        if (count) {
            parts->iov_base = (char *)parts->iov_base + done;
            parts->iov_len -= (size_t)done;
        }
    }
    return 0;
}

static struct iovec piece(const void *data, size_t len)
{
    return (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = len };
}

int pack_write(int fd, struct pack_part *parts, uint32_t count)
{
    struct header header = { .count = htole32(count) };
    struct entry entries[PACK_CHUNKS_MAX];
    struct iovec pieces[2 + 2 * PACK_CHUNKS_MAX];
    uint32_t offset = PACK_HEADER_BYTES + count * PACK_ENTRY_BYTES;
    size_t pieces_count = 2;

    assert(count >= 1 && count <= PACK_CHUNKS_MAX);
    memcpy(header.magic, magic, sizeof(magic));
    qsort(parts, count, sizeof(*parts), store_id_compare);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = pack_part_bytes(&parts[i]);

        entries[i] = (struct entry){ parts[i].id, htole32(offset), htole32(bytes) };
        offset += bytes;
        if (parts[i].head)
            pieces[pieces_count++] = piece(parts[i].head, parts[i].head_len);
        pieces[pieces_count++] = piece(parts[i].body, parts[i].body_len);
    }
    pieces[0] = piece(&header, sizeof(header));
    pieces[1] = piece(entries, count * sizeof(*entries));
    return write_all(fd, pieces, pieces_count);
}

static int read_at(int fd, void *data, size_t len, off_t at)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(fd, (char *)data + done, len - done, at + (off_t)done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EBADMSG;
        done += (size_t)got;
    }
    return 0;
}

/* How many chunks; 0: no pack. */
static int read_count(int fd, uint32_t *count_out)
{
    struct header header;
    int rc = read_at(fd, &header, sizeof(header), 0);

    if (rc < 0)
        return rc;
    if (memcmp(header.magic, magic, sizeof(magic)) != 0)
        return 0;
    *count_out = le32toh(header.count);
    return *count_out >= 1 && *count_out <= PACK_CHUNKS_MAX ? 1 : -EBADMSG;
}

int pack_read_index(int fd, struct pack_index *index_out)
{
    struct entry entries[PACK_CHUNKS_MAX];
    uint32_t count = 0;
    int rc = read_count(fd, &count);

    if (rc <= 0)
        return rc;
    rc = read_at(fd, entries, count * sizeof(*entries), PACK_HEADER_BYTES);
    if (rc < 0)
        return rc;
    index_out->count = count;
    for (uint32_t i = 0; i < count; i++) {
        index_out->chunks[i].id = entries[i].id;
        index_out->chunks[i].offset = le32toh(entries[i].offset);
        index_out->chunks[i].bytes = le32toh(entries[i].bytes);
        if (index_out->chunks[i].bytes > FRAME_BYTES_MAX)
            return -EBADMSG;
    }
    return 1;
}

static int append(int fd, off_t at, size_t len, struct buf *frame_out)
{
    int rc = len <= FRAME_BYTES_MAX ? buf_reserve(frame_out, len) : -EBADMSG;

    if (rc == 0)
        rc = read_at(fd, frame_out->data + frame_out->len, len, at);
    if (rc < 0)
        return rc;
    frame_out->len += len;
    if (frame_out->data)
        frame_out->data[frame_out->len] = '\0';
    return 0;
}

int pack_read_frame(int fd, const struct store_id *id, struct buf *frame_out)
{
    struct entry entries[PACK_CHUNKS_MAX];
    const struct entry *entry;
    uint32_t count = 0;
    struct stat st;
    int rc;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    rc = read_count(fd, &count);
    if (rc == 0)
        return append(fd, 0, (size_t)st.st_size, frame_out);
    if (rc > 0)
        rc = read_at(fd, entries, count * sizeof(*entries), PACK_HEADER_BYTES);
    if (rc < 0)
        return rc;
    entry = bsearch(id, entries, count, sizeof(*entries), store_id_compare);
    return entry ? append(fd, le32toh(entry->offset), le32toh(entry->bytes), frame_out) : -EBADMSG;
}
