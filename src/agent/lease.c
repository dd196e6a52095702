#include "agent/lease.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define LEASE_MAGIC 0x3165736165736e6dULL /* "mnsease1" */
#define LEASE_FILE "lease"
#define READ_TRIES 100
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

struct record {
    uint64_t magic, boot;
    struct lease_state state;
    uint64_t check;
};

static uint64_t hash(uint64_t seed, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++) /* FNV-1a */
        seed = (seed ^ bytes[i]) * 1099511628211u;
    return seed;
}

#define HASH_SEED 14695981039346656037u

static uint64_t check_of(const struct record *record)
{
    return hash(HASH_SEED, record, offsetof(struct record, check));
}

uint64_t lease_boot(void)
{
    char text[64];
    int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text));

    if (fd >= 0)
        close(fd);
    return got > 0 ? hash(HASH_SEED, text, (size_t)got) : 1;
}

/* Written in one piece, but perhaps just now: a torn one is read again. */
static int read_record(int fd, struct record *record)
{
    for (int i = 0; i < READ_TRIES; i++)
        if (pread(fd, record, sizeof(*record), 0) == sizeof(*record) &&
            record->magic == LEASE_MAGIC && record->check == check_of(record))
            return 0;
    return -EBADMSG;
}

static int write_record(const struct lease *lease, const struct lease_state *state)
{
    struct record record = { .magic = LEASE_MAGIC, .boot = lease->boot, .state = *state };

    record.check = check_of(&record);
    if (pwrite(lease->fd, &record, sizeof(record), 0) != sizeof(record))
        return errno ? -errno : -EIO;
    return 0;
}

int lease_open(int agent_fd, struct lease *lease_out, struct err *err)
{
    struct lease lease = { .boot = lease_boot() };
    struct record record;
    int rc;

    lease.fd = openat(agent_fd, LEASE_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lease.fd < 0)
        return err_set(err, -errno, "lease: %s", strerror(errno));
    if (read_record(lease.fd, &record) == 0) {
        lease.state = record.state;
        if (record.boot != lease.boot) /* nothing runs any more of what it was for */
            lease.state.ends_ms = 0;
    }
    rc = write_record(&lease, &lease.state);
    if (rc < 0) {
        close(lease.fd);
        return err_set(err, rc, "lease: %s", strerror(-rc));
    }
    *lease_out = lease;
    return 0;
}

void lease_close(struct lease *lease)
{
    if (lease->fd > 0)
        close(lease->fd);
    lease->fd = -1;
}

void lease_set_terms(struct lease *lease, int64_t lease_ms, int64_t stop_ms, int64_t every_ms)
{
    bool is_sound = lease_ms > 0 && stop_ms > 0 && stop_ms < lease_ms && every_ms > 0;

    lease->lease_ms = is_sound ? lease_ms : 0;
    lease->every_ms = is_sound ? every_ms : 0;
    if (is_sound)
        lease->state.stop_ms = stop_ms;
}

int lease_renew(struct lease *lease, int64_t sent_ms, struct err *err)
{
    struct lease_state next = lease->state;
    int64_t now = clock_boot_ms();
    int rc;

    if (!lease->lease_ms || sent_ms + lease->lease_ms <= now)
        return 0;
    if (now >= lease->state.ends_ms)
        next.number++;
    /* Lowered terms hold for the next lease: who looks at this one has read its end already. */
    next.ends_ms = now < lease->state.ends_ms ? MAX(lease->state.ends_ms, sent_ms + lease->lease_ms)
                                              : sent_ms + lease->lease_ms;
    rc = write_record(lease, &next);
    if (rc < 0)
        return err_set(err, rc, "the lease cannot be written: %s", strerror(-rc));
    lease->state = next;
    return 0;
}

bool lease_is_held(const struct lease *lease)
{
    return lease->state.number && clock_boot_ms() < lease->state.ends_ms - lease->state.stop_ms;
}

int lease_read(int agent_fd, struct lease_state *state_out)
{
    int fd = openat(agent_fd, LEASE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct record record;
    int rc = fd < 0 ? -ENOENT : read_record(fd, &record);

    if (fd >= 0)
        close(fd);
    if (rc == 0 && record.boot != lease_boot())
        rc = -ENOENT;
    if (rc == 0)
        *state_out = record.state;
    return rc;
}

int64_t lease_stop_at(int agent_fd, uint64_t number, struct lease_state *state_out)
{
    struct lease_state state = { 0 };

    if (lease_read(agent_fd, &state) < 0 || state.number != number)
        return 0;
    *state_out = state;
    return MAX(state.ends_ms - state.stop_ms, 1);
}
