/* A damaged journal file, with its write-ahead log: opening, reading and verifying it ends with an
 * answer, and what is read of it follows the chain.
 *
 * Input: 4 bytes, big-endian, how many of the last bytes are the log; the rest is the file. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "journal/journal.h"

#define FILE_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t next;
    uint8_t previous[JOURNAL_HASH_BYTES];
};

static int see(void *context, const struct journal_record *record)
{
    struct seen *seen = context;
    uint8_t hash[JOURNAL_HASH_BYTES];

    assert(record->seq == seen->next);
    journal_chain_hash(seen->previous, record->seq, record->data, record->len, hash);
    assert(memcmp(hash, record->hash, sizeof(hash)) == 0);
    memcpy(seen->previous, hash, sizeof(hash));
    seen->next++;
    return 0;
}

static void use(const char *path, bool read_only)
{
    CLEANUP(buf_fini) struct buf snapshot = buf_init(FILE_BYTES_MAX);
    struct journal_blob blob = { .data = "one more", .len = 8 };
    struct seen seen = { .next = 1 };
    struct journal *journal = NULL;
    uint64_t whole = 0;
    struct err err;
    uint64_t seq;
    int rc;

    if (journal_open_sqlite(&(struct journal_open){ .path = path, .read_only = read_only },
                            &journal, &err) < 0)
        return;
    rc = journal_read(journal, 1, see, &seen, &err);
    if (journal_verify(journal, &whole, &err) == 0)
        assert(rc == 0 && whole == seen.next - 1);
    (void)journal_snapshot_load(journal, &seq, &snapshot, &err);
    if (!read_only && journal_append(journal, &blob, 1, &err) == 0) {
        (void)journal_snapshot_save(journal, journal->last_seq, "state", 5, &err);
        assert(journal->last_seq == seen.next);
    }
    journal_close(journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(freep)
    char *folder =
        path_format("%s/journal-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".");
    CLEANUP(freep) char *path = NULL;
    CLEANUP(freep) char *wal = NULL;
    size_t wal_bytes;

    if (size < 4 || size > FILE_BYTES_MAX || !folder || !mkdtemp(folder))
        return 0;
    path = path_format("%s/j.db", folder);
    wal = path_format("%s/j.db-wal", folder);
    if (!path || !wal)
        abort();
    wal_bytes = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    wal_bytes = MIN(wal_bytes, size - 4);
    if (file_write(path, data + 4, size - 4 - wal_bytes, 0600, false, NULL) == 0 &&
        (wal_bytes == 0 ||
         file_write(wal, data + size - wal_bytes, wal_bytes, 0600, false, NULL) == 0)) {
        use(path, true);
        use(path, false);
    }
    dir_remove(folder, NULL);
    return 0;
}
