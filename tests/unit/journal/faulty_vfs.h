/* faulty_vfs.h - a layer between SQLite and its files, for tests: the n-th write or sync fails, or
 * the power goes at it. After a power loss each file has what was synced, and of what was written
 * since any part, in units of a sector. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rng.h"

#define SECTOR_BYTES 512
#define FAULTY_FILES_MAX 2 /* the database and its log */
#define FAULTY_FILE_BYTES_MAX (16u << 20)

/* What the disk would have of a file. */
struct faulty_disk {
    struct buf synced; /* at the last sync */
    struct buf now;
};

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
    struct faulty_disk *disk; /* NULL: not kept */
};

/* Of this process's one faulty layer: SQLite hands its files no context. */
static struct {
    sqlite3_vfs vfs, *real;
    int calls;   /* writes and syncs since armed */
    int fail_at; /* this one fails, and those after it while `lasting`; 0: none */
    bool lasting;
    int code;
    /* Power loss. */
    bool keep_disks;
    struct faulty_disk disks[FAULTY_FILES_MAX];
} faulty;

static struct faulty_disk *disk_of(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->disk;
}

static bool faulty_fails(void)
{
    faulty.calls++;
    return faulty.fail_at &&
           (faulty.calls == faulty.fail_at || (faulty.lasting && faulty.calls > faulty.fail_at));
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

/* Make `buf` as long as `len`, with zeroes. */
static inline void disk_resize(struct buf *buf, size_t len)
{
    if (len > buf->len) {
        size_t before = buf->len;

        if (buf_reserve(buf, len - before) < 0)
            abort();
        memset(buf->data + before, 0, len - before);
    }
    buf->len = len;
}

static inline void disk_write(struct buf *buf, const void *data, size_t len, size_t at)
{
    if (buf->len < at + len)
        disk_resize(buf, at + len);
    memcpy(buf->data + at, data, len);
}

static inline void disk_sync(struct faulty_disk *disk)
{
    buf_clear(&disk->synced);
    if (buf_add(&disk->synced, disk->now.data ? disk->now.data : "", disk->now.len) < 0)
        abort();
}

/* The power goes: of each sector that was written since the last sync, the old or the new. */
static inline void disk_lose_power(struct faulty_disk *disk, struct rng *rng)
{
    uint32_t keep = (uint32_t)rng_below(rng, 5); /* of 4: none, some or all of it */
    size_t len = disk->synced.len;

    if (disk->now.len > len && rng_below(rng, 4) < keep)
        len += rng_below(rng, disk->now.len - len + 1);
    if (rng_below(rng, 2) && disk->now.len > disk->synced.len)
        len = disk->now.len;
    disk_resize(&disk->synced, len);
    for (size_t at = 0; at < len && at < disk->now.len; at += SECTOR_BYTES)
        if (rng_below(rng, 4) < keep)
            disk_write(&disk->synced, disk->now.data + at,
                       MIN(MIN(len, disk->now.len) - at, SECTOR_BYTES), at);
}

static int faulty_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int faulty_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), out, len, at);
}

static int faulty_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (faulty_fails()) {
        /* Half of it gets there. */
        (void)real_of(file)->pMethods->xWrite(real_of(file), data, len / 2, at);
        if (disk_of(file) && faulty.calls == faulty.fail_at)
            disk_write(&disk_of(file)->now, data, (size_t)len, (size_t)at);
        return faulty.code == SQLITE_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    if (disk_of(file))
        disk_write(&disk_of(file)->now, data, (size_t)len, (size_t)at);
    return real_of(file)->pMethods->xWrite(real_of(file), data, len, at);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    if (disk_of(file) && (!faulty.fail_at || faulty.calls < faulty.fail_at)) {
        disk_resize(&disk_of(file)->now, (size_t)len);
        disk_sync(disk_of(file));
    }
    return real_of(file)->pMethods->xTruncate(real_of(file), len);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    if (faulty_fails())
        return faulty.code == SQLITE_FULL ? SQLITE_FULL : SQLITE_IOERR_FSYNC;
    if (disk_of(file))
        disk_sync(disk_of(file));
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *len)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), len);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int faulty_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int faulty_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int faulty_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int faulty_shm_map(sqlite3_file *file, int region, int len, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), region, len, extend, out);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int remove)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                       int *flags_out)
{
    static const sqlite3_io_methods methods = { .iVersion = 2,
                                                .xClose = faulty_close,
                                                .xRead = faulty_read,
                                                .xWrite = faulty_write,
                                                .xTruncate = faulty_truncate,
                                                .xSync = faulty_sync,
                                                .xFileSize = faulty_size,
                                                .xLock = faulty_lock,
                                                .xUnlock = faulty_unlock,
                                                .xCheckReservedLock = faulty_reserved,
                                                .xFileControl = faulty_control,
                                                .xSectorSize = faulty_sector,
                                                .xDeviceCharacteristics = faulty_device,
                                                .xShmMap = faulty_shm_map,
                                                .xShmLock = faulty_shm_lock,
                                                .xShmBarrier = faulty_shm_barrier,
                                                .xShmUnmap = faulty_shm_unmap };
    struct faulty_file *made = (struct faulty_file *)file;
    int rc;

    (void)vfs;
    made->real = (sqlite3_file *)(made + 1);
    made->disk = NULL;
    if (faulty.keep_disks && (flags & SQLITE_OPEN_MAIN_DB))
        made->disk = &faulty.disks[0];
    if (faulty.keep_disks && (flags & SQLITE_OPEN_WAL))
        made->disk = &faulty.disks[1];
    rc = faulty.real->xOpen(faulty.real, name, made->real, flags, flags_out);
    made->base.pMethods = made->real->pMethods ? &methods : NULL;
    return rc;
}

static void faulty_arm(int fail_at, bool lasting, int code)
{
    faulty.calls = 0;
    faulty.fail_at = fail_at;
    faulty.lasting = lasting;
    faulty.code = code;
}

static void faulty_register(void)
{
    faulty.real = sqlite3_vfs_find(NULL);
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.szOsFile = faulty.real->szOsFile + (int)sizeof(struct faulty_file);
    faulty.vfs.xOpen = faulty_open;
    if (sqlite3_vfs_register(&faulty.vfs, 1) != SQLITE_OK)
        abort();
}
