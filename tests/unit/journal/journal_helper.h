/* journal_helper.h - what the journal's tests share: a scratch folder, records that can be told
 * apart, and a check that a journal holds exactly those. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "journal/journal.h"

#define RECORD_BYTES_MAX 5000u

/* Record `seq` has these bytes: a length and a content that differ from its neighbours'. */
static inline uint32_t record_make(uint64_t seq, char *out)
{
    uint32_t len = (uint32_t)(seq * 37 % 400);

    if (seq % 50 == 0)
        len = RECORD_BYTES_MAX; /* more than a page */
    for (uint32_t i = 0; i < len; i++)
        out[i] = (char)('a' + (seq * 7 + i * i * (seq % 11 + 1) + i * seq) % 26);
    return len;
}

static inline int records_append(struct journal *journal, uint32_t count, struct err *err)
{
    char(*bytes)[RECORD_BYTES_MAX] = malloc(count * sizeof(*bytes));
    struct journal_blob *blobs = malloc(count * sizeof(*blobs));
    int rc;

    for (uint32_t i = 0; i < count; i++)
        blobs[i] = (struct journal_blob){ .data = bytes[i],
                                          .len = record_make(journal->last_seq + 1 + i, bytes[i]) };
    rc = journal_append(journal, blobs, count, err);
    free(bytes);
    free(blobs);
    return rc;
}

struct records_seen {
    uint64_t first, last;
    uint64_t stop_at;
    bool wrong;
};

static inline int records_see(void *context, const struct journal_record *record)
{
    struct records_seen *seen = context;
    char bytes[RECORD_BYTES_MAX];

    if (!seen->first)
        seen->first = record->seq;
    if (record->len != record_make(record->seq, bytes) ||
        (record->len && memcmp(record->data, bytes, record->len) != 0))
        seen->wrong = true;
    seen->last = record->seq;
    return seen->stop_at == record->seq ? 77 : 0;
}

/* The journal holds records 1 to at least `least`, each as made. Gives how many. */
static inline uint64_t records_expect(struct journal *journal, uint64_t least)
{
    struct records_seen seen = { 0 };
    struct err err = { 0 };
    uint64_t verified = 0;

    if (journal_verify(journal, &verified, &err) < 0)
        fail_msg("verify: %s", err.text);
    if (journal_read(journal, 1, records_see, &seen, &err) < 0)
        fail_msg("read: %s", err.text);
    if (seen.wrong || seen.last != journal->last_seq || verified != seen.last || seen.last < least)
        fail_msg("last %" PRIu64 ", read %" PRIu64 ", verified %" PRIu64 ", at least %" PRIu64 "%s",
                 journal->last_seq, seen.last, verified, least, seen.wrong ? ", wrong bytes" : "");
    return seen.last;
}

/* A fresh folder, in memory where there is such a place: these tests make their faults themselves,
 * and would spend their time waiting for the disk. */
static inline char *scratch_make(void)
{
    char *path = path_format("%s/journal-test.XXXXXX",
                             access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : ".");

    if (!path || !mkdtemp(path))
        abort(); /* not an assertion: the compiler is to know that it does not return */
    return path;
}

static inline void scratch_remove(char *path)
{
    assert_int_equal(dir_remove(path, NULL), 0);
    free(path);
}
