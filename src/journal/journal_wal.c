#include "journal/journal_wal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* The format: https://www.sqlite.org/fileformat2.html#walformat. All numbers big-endian. */
#define WAL_MAGIC 0x377f0682u /* its lowest bit: checksums over big-endian words */
#define WAL_HEADER_BYTES 32u
#define FRAME_HEADER_BYTES 24u
#define PAGE_BYTES_MIN 512u
#define PAGE_BYTES_MAX 65536u

struct sum {
    uint32_t a, b;
};

struct wal {
    int fd;
    bool big_endian;
    uint32_t page_bytes;
    uint8_t salts[8];
};

static uint32_t load_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t load_little(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static struct sum sum_add(struct sum sum, bool big_endian, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        sum.a += (big_endian ? load_big(data + i) : load_little(data + i)) + sum.b;
        sum.b += (big_endian ? load_big(data + i + 4) : load_little(data + i + 4)) + sum.a;
    }
    return sum;
}

static struct sum sum_stored(const uint8_t *p)
{
    return (struct sum){ load_big(p), load_big(p + 4) };
}

static bool sum_equal(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

static bool read_at(int fd, void *out, size_t len, uint64_t offset)
{
    uint8_t *bytes = out;

    while (len) {
        ssize_t got = pread(fd, bytes, len, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

/* Is the log's header whole? `sum_out` seeds the first frame's checksum. */
static bool header_load(struct wal *wal, const uint8_t *header, struct sum *sum_out)
{
    uint32_t magic = load_big(header);
    uint32_t page_bytes = load_big(header + 8);

    wal->big_endian = magic & 1;
    wal->page_bytes = page_bytes;
    memcpy(wal->salts, header + 16, sizeof(wal->salts));
    *sum_out = sum_stored(header + 24);
    return (magic & ~1u) == WAL_MAGIC && page_bytes >= PAGE_BYTES_MIN &&
           page_bytes <= PAGE_BYTES_MAX && (page_bytes & (page_bytes - 1)) == 0 &&
           sum_equal(sum_add((struct sum){ 0, 0 }, wal->big_endian, header, 24), *sum_out);
}

/* Walk the frames. Up to the first bad one all is well. Past it, a frame that carries this log's
 * salts, follows from its predecessor's checksum, and comes after the end of a commit, was written
 * when that commit had been synced: so the bad frame was, too. (Leftovers of a commit that failed
 * and was written again carry the salts as well, but end with a commit.) */
static int check_frames(const struct wal *wal, struct sum sum, const char *name, struct err *err)
{
    size_t frame_bytes = FRAME_HEADER_BYTES + wal->page_bytes;
    CLEANUP(freep) uint8_t *frame = malloc(frame_bytes);
    bool commit_seen = false;
    uint64_t bad_index = 0; /* from 1 */

    if (!frame)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    for (uint64_t i = 0; read_at(wal->fd, frame, frame_bytes, WAL_HEADER_BYTES + i * frame_bytes);
         i++) {
        bool ours = memcmp(frame + 8, wal->salts, sizeof(wal->salts)) == 0;
        struct sum found;
        bool follows;

        sum = sum_add(sum, wal->big_endian, frame, 8);
        sum = sum_add(sum, wal->big_endian, frame + FRAME_HEADER_BYTES, wal->page_bytes);
        found = sum_stored(frame + 16);
        follows = ours && load_big(frame) != 0 && sum_equal(sum, found);
        if (!follows && !bad_index)
            bad_index = i + 1;
        if (follows && commit_seen)
            return err_set(err, -EBADMSG,
                           "%s: frame %" PRIu64 " is damaged, and answered records follow it. "
                           "Nothing was changed: copy it and the journal aside, then restore a "
                           "backup, or save the records before it with 'mains journal export'",
                           name, bad_index);
        if (bad_index && ours && load_big(frame + 4) != 0)
            commit_seen = true;
        sum = found;
    }
    return 0;
}

int journal_wal_check(const char *path, struct err *err)
{
    CLEANUP(freep) char *name = path_format("%s-wal", path);
    uint8_t header[WAL_HEADER_BYTES + FRAME_HEADER_BYTES];
    struct wal wal = { .fd = -1 };
    struct sum sum;
    int rc = 0;

    if (!name)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    wal.fd = open(name, O_RDONLY | O_CLOEXEC);
    if (wal.fd < 0)
        return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", name, strerror(errno));
    if (!read_at(wal.fd, header, sizeof(header), 0)) {
        /* No frame: nothing to lose. */
    } else if (header_load(&wal, header, &sum)) {
        rc = check_frames(&wal, sum, name, err);
    } else if (load_big(header + WAL_HEADER_BYTES) != 0 &&
               load_big(header + WAL_HEADER_BYTES + 8) != 0) {
        /* A header is synced before its first frame is written, so a crash does not tear it. */
        rc = err_set(err, -EBADMSG,
                     "%s: its header is damaged, and answered records follow it. Nothing was "
                     "changed: copy it and the journal aside, then restore a backup, or save the "
                     "records before it with 'mains journal export'",
                     name);
    }
    close(wal.fd);
    return rc;
}
