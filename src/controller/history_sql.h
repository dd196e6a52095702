/* history_sql.h - the tables of history.db and every statement on them. One connection belongs to
 * one thread. Strings in rows are good until the next call on the same connection. */
#pragma once

#include "base/err.h"
#include "grid/grid.h"
#include "model/receipt.h"
#include "model/usage.h"

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_LAYOUT 3             /* 2: disputes; 3: receipts */
#define HISTORY_RECEIPTS_MAX 1000000 /* the newest are kept */

struct history_db;

struct history_job {
    uint64_t id, array_id;
    uint32_t array_index, array_count;
    const char *name, *tenant, *user, *job_class, *reason, *spec;
    enum job_state state;
    uint32_t outcome, epoch;
    int32_t exit_code;
    int64_t submitted_ms, started_ms, ended_ms;
    struct usage usage;
};
struct history_attempt {
    uint64_t job_id;
    uint32_t epoch;
    const char *tenant, *user, *job_name, *site, *owner, *nodes, *chip;
    uint32_t outcome;
    int32_t exit_code;
    int64_t granted_ms, released_ms;
    struct usage usage;
};

struct history_dispute { /* what a site claimed that was not possible: of an attempt's row */
    uint64_t job_id;
    uint32_t epoch;
    const char *tenant, *site, *owner;
    const char *job; /* read only: "12" or "12.3" */
    int64_t released_ms;
    struct usage_dispute dispute;
    /* Read only: how the site's receipt of the attempt was found, and whether there is one of the
     * network. */
    uint32_t verdict; /* enum receipt_verdict */
    bool booked;
};
struct history_receipt { /* what both sides signed of an attempt */
    uint64_t job_id;
    uint32_t epoch;
    const char *tenant, *site, *owner, *job; /* read only, with released_ms: of the attempt's row */
    int64_t released_ms;
    uint32_t verdict; /* of the site's; RECEIPT_UNSIGNED: there is none */
    struct receipt_signed by_site, by_network;
};

int history_db_open(const char *path, bool writer, struct history_db **db_out, struct err *err);
void history_db_close(struct history_db *db);
uint64_t history_db_applied(struct history_db *db);

/* Writer: begin, rows, commit with the seq they reach. -EIO. */
int history_db_begin(struct history_db *db, struct err *err);
int history_db_put_job(struct history_db *db, const struct history_job *job, struct err *err);
int history_db_put_attempt(struct history_db *db, const struct history_attempt *attempt,
                           struct err *err);
int history_db_put_dispute(struct history_db *db, const struct history_dispute *dispute,
                           struct err *err);
/* One more dispute of an attempt whose row is there. */
int history_db_dispute_attempt(struct history_db *db, uint64_t job_id, uint32_t epoch,
                               const struct usage_dispute *dispute, struct err *err);
int history_db_put_receipt(struct history_db *db, const struct history_receipt *receipt,
                           struct err *err);
/* The attempt's row as its site told it later, and its job's row, if the job has ended: the sums of
 * its attempts. Only job_id, epoch and usage are read. */
int history_db_settle(struct history_db *db, const struct history_attempt *attempt,
                      struct err *err);
int history_db_commit(struct history_db *db, uint64_t applied_seq, struct err *err);
void history_db_rollback(struct history_db *db);

/* Reader. 1 = found, 0 = not, -EIO. */
int history_db_find_job(struct history_db *db, uint64_t id, struct history_job *job_out,
                        struct err *err);
int history_db_find_element(struct history_db *db, uint64_t array_id, uint32_t index,
                            struct history_job *job_out, struct err *err);
/* The newest ended job of that name. */
int history_db_find_name(struct history_db *db, const char *tenant, const char *name,
                         struct history_job *job_out, struct err *err);

struct history_filter {
    const char *tenant, *name, *user; /* NULL = any */
    uint64_t after_id, array_id;
    bool newest;      /* from the newest down, below `after_id` */
    int64_t since_ms; /* submitted then or later; 0 = any */
    unsigned states;  /* bits 1 << enum job_state; 0 = any */
    uint32_t limit;
};
/* Rows by id, ascending unless asked otherwise; non-zero from `fn` stops. */
int history_db_list_jobs(struct history_db *db, const struct history_filter *filter,
                         int (*fn)(void *context, const struct history_job *job), void *context,
                         struct err *err);
int history_db_list_attempts(struct history_db *db, uint64_t job_id,
                             int (*fn)(void *context, const struct history_attempt *attempt),
                             void *context, struct err *err);
/* Elements of an array per final state: done, failed, cancelled. */
int history_db_count_array(struct history_db *db, uint64_t array_id, uint64_t counts_out[3],
                           struct history_job *any_out, struct err *err);

enum usage_group { GROUP_TENANT, GROUP_JOB, GROUP_DAY, GROUP_CHIP, GROUP_USER, GROUP_SITE };
struct usage_row {
    const char *key;
    const char *name; /* GROUP_JOB: the job's; else NULL */
    uint64_t attempts, jobs;
    uint64_t measured; /* attempts whose energy was measured */
    struct usage usage;
};
struct usage_filter {
    const char *tenant;         /* NULL = any */
    int64_t since_ms, until_ms; /* by release; 0 = open */
    enum usage_group group;
    uint32_t limit;
};
struct dispute_filter {
    const char *tenant, *site;  /* NULL = any */
    int64_t since_ms, until_ms; /* by release; 0 = open */
    uint32_t limit;
};
/* The newest first; non-zero from `fn` stops. */
int history_db_list_disputes(struct history_db *db, const struct dispute_filter *filter,
                             int (*fn)(void *context, const struct history_dispute *dispute),
                             void *context, struct err *err);

struct receipt_filter {
    const char *tenant, *site; /* NULL = any */
    uint64_t job_id;           /* a job, or an array: all its elements; 0 = any */
    int64_t element;           /* of the array `job_id`; -1 = not one of them alone */
    uint32_t epoch;            /* 0 = any */
    uint32_t limit;
};
/* Of all attempts, those that are not signed too; the newest first. */
int history_db_list_receipts(struct history_db *db, const struct receipt_filter *filter,
                             int (*fn)(void *context, const struct history_receipt *receipt),
                             void *context, struct err *err);

int history_db_usage(struct history_db *db, const struct usage_filter *filter,
                     int (*fn)(void *context, const struct usage_row *row), void *context,
                     struct err *err);
