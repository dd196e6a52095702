#include "journal/journal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mem_record {
    void *data;
    uint32_t len;
    uint8_t hash[JOURNAL_HASH_BYTES];
};

struct mem_snapshot {
    void *data; /* NULL: none */
    size_t len;
    uint64_t seq;
};

struct journal_mem {
    struct journal base;
    struct mem_record *records; /* [i] has seq i + 1 */
    uint64_t records_cap;
    struct mem_snapshot snapshots[2]; /* newest first */
    atomic_int fault;
};

static bool record_fill(struct mem_record *record, const struct journal_blob *blob,
                        const uint8_t *hash)
{
    void *data = malloc(blob->len ? blob->len : 1);

    if (!data)
        return false;
    if (blob->len)
        memcpy(data, blob->data, blob->len);
    memcpy(record->hash, hash, JOURNAL_HASH_BYTES);
    record->len = blob->len;
    record->data = data;
    return true;
}

static int mem_append(struct journal *journal, const struct journal_blob *blobs,
                      const uint8_t (*hashes)[JOURNAL_HASH_BYTES], uint32_t count, struct err *err)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);
    int fault = atomic_load(&mem->fault);
    struct mem_record *added;

    if (fault < 0)
        return err_set(err, fault, "mem: %s", strerror(-fault));
    if (journal->last_seq + count > mem->records_cap) {
        uint64_t cap = MAX(2 * mem->records_cap, journal->last_seq + count);
        struct mem_record *records = realloc(mem->records, cap * sizeof(*records));

        if (!records)
            return err_set(err, -ENOMEM, "mem: out of memory");
        mem->records = records;
        mem->records_cap = cap;
    }
    added = mem->records + journal->last_seq;
    for (uint32_t i = 0; i < count; i++) {
        if (!record_fill(&added[i], &blobs[i], hashes[i])) {
            while (i > 0)
                free(added[--i].data);
            return err_set(err, -ENOMEM, "mem: out of memory");
        }
    }
    return 0;
}

static int mem_read(struct journal *journal, uint64_t from_seq, journal_record_fn fn, void *context,
                    uint64_t *next_out, struct err *err)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);

    (void)err;
    for (*next_out = from_seq; *next_out <= journal->last_seq; (*next_out)++) {
        const struct mem_record *stored = &mem->records[*next_out - 1];
        struct journal_record record = { .seq = *next_out,
                                         .data = stored->data,
                                         .len = stored->len };
        int rc;

        memcpy(record.hash, stored->hash, JOURNAL_HASH_BYTES);
        rc = fn(context, &record);
        if (rc)
            return rc;
    }
    return 0;
}

static int mem_snapshot_save(struct journal *journal, uint64_t seq, const void *data, size_t len,
                             struct err *err)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);
    int fault = atomic_load(&mem->fault);
    void *copy;

    if (fault < 0)
        return err_set(err, fault, "mem: %s", strerror(-fault));
    copy = malloc(len ? len : 1);
    if (!copy)
        return err_set(err, -ENOMEM, "mem: out of memory");
    if (len)
        memcpy(copy, data, len);
    if (mem->snapshots[0].data && mem->snapshots[0].seq == seq) {
        free(mem->snapshots[0].data);
    } else {
        free(mem->snapshots[1].data);
        mem->snapshots[1] = mem->snapshots[0];
    }
    mem->snapshots[0] = (struct mem_snapshot){ .data = copy, .len = len, .seq = seq };
    return 0;
}

static int mem_snapshot_load(struct journal *journal, uint64_t *seq_out, struct buf *out,
                             struct err *err)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);

    if (!mem->snapshots[0].data)
        return err_set(err, -ENOENT, "mem: no snapshot");
    if (buf_add(out, mem->snapshots[0].data, mem->snapshots[0].len) < 0)
        return err_set(err, -ENOMEM, "mem: snapshot of %zu bytes: out of memory",
                       mem->snapshots[0].len);
    *seq_out = mem->snapshots[0].seq;
    return 0;
}

static void mem_close(struct journal *journal)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);

    for (uint64_t i = 0; i < journal->last_seq; i++)
        free(mem->records[i].data);
    free(mem->records);
    free(mem->snapshots[0].data);
    free(mem->snapshots[1].data);
    free(mem->base.name);
    free(mem);
}

static const struct journal_ops mem_ops = {
    .name = "mem",
    .append = mem_append,
    .read = mem_read,
    .snapshot_save = mem_snapshot_save,
    .snapshot_load = mem_snapshot_load,
    .close = mem_close,
};

int journal_open_mem(struct journal **journal_out, struct err *err)
{
    struct journal_mem *mem = calloc(1, sizeof(*mem));

    if (!mem)
        return err_set(err, -ENOMEM, "mem: out of memory");
    mem->base.ops = &mem_ops;
    mem->base.name = strdup("mem");
    if (!mem->base.name) {
        free(mem);
        return err_set(err, -ENOMEM, "mem: out of memory");
    }
    *journal_out = &mem->base;
    return 0;
}

void journal_mem_set_fault(struct journal *journal, int rc)
{
    struct journal_mem *mem = CONTAINER_OF(journal, struct journal_mem, base);

    atomic_store(&mem->fault, rc);
}
