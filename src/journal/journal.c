#include "journal/journal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "journal/journal_damage.h"

static const uint8_t hash_zero[JOURNAL_HASH_BYTES];

void journal_chain_hash(const uint8_t previous[JOURNAL_HASH_BYTES], uint64_t seq, const void *data,
                        size_t len, uint8_t hash_out[JOURNAL_HASH_BYTES])
{
    uint8_t head[JOURNAL_HASH_BYTES + 8];
    struct sha256_ctx sha;

    memcpy(head, previous, JOURNAL_HASH_BYTES);
    for (int i = 0; i < 8; i++)
        head[JOURNAL_HASH_BYTES + i] = (uint8_t)(seq >> (56 - 8 * i));
    sha256_init(&sha);
    sha256_update(&sha, sizeof(head), head);
    if (len)
        sha256_update(&sha, len, data);
    sha256_digest(&sha, JOURNAL_HASH_BYTES, hash_out);
}

int journal_damage(const struct journal *journal, uint64_t seq, const char *what, struct err *err)
{
    return err_set(err, -EBADMSG,
                   "%s: record %" PRIu64 " is damaged (%s). Nothing was changed: copy the file and "
                   "its -wal aside, then restore a backup, or save the records before it with "
                   "'mains journal export'",
                   journal->name, seq, what);
}

void journal_close(struct journal *journal)
{
    if (journal)
        journal->ops->close(journal);
}

static int append_hashed(struct journal *journal, const struct journal_blob *blobs,
                         uint8_t (*hashes)[JOURNAL_HASH_BYTES], uint32_t count, struct err *err)
{
    const uint8_t *previous = journal->last_hash;
    int rc;

    for (uint32_t i = 0; i < count; i++) {
        if (blobs[i].len > JOURNAL_RECORD_BYTES_MAX)
            return err_set(err, -EINVAL, "%s: a record of %" PRIu32 " bytes (at most %u)",
                           journal->name, blobs[i].len, JOURNAL_RECORD_BYTES_MAX);
        journal_chain_hash(previous, journal->last_seq + 1 + i, blobs[i].data, blobs[i].len,
                           hashes[i]);
        previous = hashes[i];
    }
    rc = journal->ops->append(journal, blobs, (const uint8_t(*)[JOURNAL_HASH_BYTES])hashes, count,
                              err);
    if (rc < 0)
        return rc;
    journal->last_seq += count;
    memcpy(journal->last_hash, hashes[count - 1], JOURNAL_HASH_BYTES);
    return 0;
}

int journal_append(struct journal *journal, const struct journal_blob *blobs, uint32_t count,
                   struct err *err)
{
    uint8_t(*hashes)[JOURNAL_HASH_BYTES];
    int rc;

    if (journal->read_only)
        return err_set(err, -EROFS, "%s: opened for reading only", journal->name);
    if (count == 0 || count > JOURNAL_GROUP_RECORDS_MAX)
        return err_set(err, -EINVAL, "%s: %" PRIu32 " records in one group (1 to %u)",
                       journal->name, count, JOURNAL_GROUP_RECORDS_MAX);
    hashes = malloc(count * sizeof(*hashes));
    if (!hashes)
        return err_set(err, -ENOMEM, "%s: out of memory", journal->name);
    rc = append_hashed(journal, blobs, hashes, count, err);
    free(hashes);
    return rc;
}

/* Checks each record against the chain on its way to the caller's function. */
struct chain_reader {
    struct journal *journal;
    journal_record_fn fn; /* NULL: only check */
    void *context;
    uint64_t from_seq;
    uint64_t next_seq;  /* expected */
    uint64_t taken_seq; /* the last good one, 0 before any */
    uint8_t previous[JOURNAL_HASH_BYTES];
    const char *damage; /* set: next_seq is bad, and why */
};

static int reader_take(void *context, const struct journal_record *record)
{
    struct chain_reader *reader = context;
    uint8_t hash[JOURNAL_HASH_BYTES];

    if (record->seq < reader->from_seq && reader->next_seq == record->seq) {
        /* The one before the first is read for its hash alone. */
        memcpy(reader->previous, record->hash, JOURNAL_HASH_BYTES);
        reader->taken_seq = reader->next_seq++;
        return 0;
    }
    if (record->seq != reader->next_seq)
        reader->damage = "it is missing";
    else if (record->len > JOURNAL_RECORD_BYTES_MAX)
        reader->damage = "it is too long";
    if (reader->damage)
        return -EBADMSG;
    journal_chain_hash(reader->previous, record->seq, record->data, record->len, hash);
    if (memcmp(hash, record->hash, sizeof(hash)) != 0) {
        reader->damage = "its hash does not match its bytes and the record before";
        return -EBADMSG;
    }
    memcpy(reader->previous, hash, sizeof(hash));
    reader->taken_seq = reader->next_seq++;
    return reader->fn ? reader->fn(reader->context, record) : 0;
}

static int read_checked(struct chain_reader *reader, struct err *err)
{
    struct journal *journal = reader->journal;
    uint64_t stored_next = reader->next_seq;
    int rc;

    rc = journal->ops->read(journal, reader->next_seq, reader_take, reader, &stored_next, err);
    if (reader->damage)
        return journal_damage(journal, reader->next_seq, reader->damage, err);
    if (rc == -EBADMSG && stored_next == reader->next_seq)
        return journal_damage(journal, reader->next_seq, "its page cannot be read", err);
    if (rc)
        return rc;
    if (reader->next_seq <= journal->last_seq)
        return journal_damage(journal, reader->next_seq, "it is missing", err);
    if (journal->read_only && reader->taken_seq > journal->last_seq) {
        journal->last_seq = reader->taken_seq;
        memcpy(journal->last_hash, reader->previous, JOURNAL_HASH_BYTES);
    }
    return 0;
}

int journal_read(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                 struct err *err)
{
    struct chain_reader reader = { .journal = journal, .fn = fn, .context = context };

    reader.from_seq = from_seq ? from_seq : 1;
    if (!journal->read_only && reader.from_seq > journal->last_seq)
        return 0;
    /* A read_only journal may have grown since: what it knows of the end is only a lower bound. */
    reader.next_seq = reader.from_seq > 1 ? reader.from_seq - 1 : 1;
    return read_checked(&reader, err);
}

int journal_verify(struct journal *journal, uint64_t *records_out, struct err *err)
{
    struct chain_reader reader = { .journal = journal, .from_seq = 1, .next_seq = 1 };
    int rc = read_checked(&reader, err);

    if (records_out)
        *records_out = reader.next_seq - 1;
    if (rc == 0 && memcmp(reader.previous, journal->last_seq ? journal->last_hash : hash_zero,
                          JOURNAL_HASH_BYTES) != 0)
        rc = journal_damage(journal, journal->last_seq, "it changed while it was open", err);
    if (rc == 0 && journal->ops->check)
        rc = journal->ops->check(journal, err);
    return rc;
}

int journal_snapshot_save(struct journal *journal, uint64_t seq, const void *data, size_t len,
                          struct err *err)
{
    if (journal->read_only)
        return err_set(err, -EROFS, "%s: opened for reading only", journal->name);
    if (seq > journal->last_seq)
        return err_set(err, -EINVAL, "%s: snapshot after record %" PRIu64 ", the last is %" PRIu64,
                       journal->name, seq, journal->last_seq);
    if (len > JOURNAL_SNAPSHOT_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: snapshot of %zu bytes (at most %u)", journal->name, len,
                       JOURNAL_SNAPSHOT_BYTES_MAX);
    return journal->ops->snapshot_save(journal, seq, data, len, err);
}

int journal_snapshot_load(struct journal *journal, uint64_t *seq_out, struct buf *out,
                          struct err *err)
{
    return journal->ops->snapshot_load(journal, seq_out, out, err);
}
