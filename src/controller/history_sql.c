#include "controller/history_sql.h"

#include "base/arena.h"
#include "base/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As enum attempt_outcome counts, and the API says. */
#define OUTCOME_TEXT                                                                               \
    "CASE outcome WHEN 0 THEN 'exited' WHEN 1 THEN 'signalled' WHEN 2 THEN 'time_limit' "          \
    "WHEN 3 THEN 'memory' WHEN 4 THEN 'disk' WHEN 5 THEN 'stopped' WHEN 6 THEN 'start_failed' "    \
    "WHEN 7 THEN 'lost' WHEN 8 THEN 'preempted' WHEN 9 THEN 'shed' "                               \
    "WHEN 10 THEN 'paused' WHEN 11 THEN 'moved' WHEN 12 THEN 'lease' END"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE IF NOT EXISTS jobs(\n"
    "  id INTEGER PRIMARY KEY, -- as in `mains show`; elements of arrays have their own\n"
    "  array_id INTEGER NOT NULL, -- 0 = not an element\n"
    "  array_index INTEGER NOT NULL, array_count INTEGER NOT NULL,\n"
    "  name TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL, class TEXT NOT NULL,\n"
    "  state TEXT NOT NULL, -- done, failed, cancelled\n"
    "  reason TEXT NOT NULL, outcome INTEGER NOT NULL, exit_code INTEGER NOT NULL,\n"
    "  attempts INTEGER NOT NULL,\n"
    "  submitted_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,\n"
    "  wall_ms INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, cpu_held_ms INTEGER NOT NULL,\n"
    "  device_milli_ms INTEGER NOT NULL, memory_peak_bytes INTEGER NOT NULL,\n"
    "  energy_mj INTEGER NOT NULL, energy_measured INTEGER NOT NULL, carbon_ug INTEGER NOT NULL,\n"
    "  price_micro INTEGER NOT NULL,\n"
    "  spec TEXT NOT NULL); -- JSON, without secrets\n"
    "CREATE INDEX IF NOT EXISTS jobs_array ON jobs(array_id, array_index) WHERE array_id > 0;\n"
    "CREATE INDEX IF NOT EXISTS jobs_tenant ON jobs(tenant, id);\n"
    "CREATE INDEX IF NOT EXISTS jobs_name ON jobs(tenant, name, id);\n"
    "CREATE INDEX IF NOT EXISTS jobs_ended ON jobs(ended_ms);\n"
    "CREATE TABLE IF NOT EXISTS attempts( -- the ledger: one row an attempt, once\n"
    "  job_id INTEGER NOT NULL, epoch INTEGER NOT NULL,\n"
    "  tenant TEXT NOT NULL, user TEXT NOT NULL, job_name TEXT NOT NULL,\n"
    "  site TEXT NOT NULL, owner TEXT NOT NULL, nodes TEXT NOT NULL, chip TEXT NOT NULL,\n"
    "  outcome INTEGER NOT NULL, exit_code INTEGER NOT NULL,\n"
    "  granted_ms INTEGER NOT NULL, released_ms INTEGER NOT NULL,\n"
    "  wall_ms INTEGER NOT NULL, cpu_ms INTEGER NOT NULL, cpu_held_ms INTEGER NOT NULL,\n"
    "  device_milli_ms INTEGER NOT NULL, memory_peak_bytes INTEGER NOT NULL,\n"
    "  energy_mj INTEGER NOT NULL, energy_measured INTEGER NOT NULL, carbon_ug INTEGER NOT NULL,\n"
    "  price_micro INTEGER NOT NULL,\n"
    "  PRIMARY KEY(job_id, epoch)) WITHOUT ROWID;\n"
    "CREATE INDEX IF NOT EXISTS attempts_tenant ON attempts(tenant, released_ms);\n"
    "CREATE INDEX IF NOT EXISTS attempts_released ON attempts(released_ms);\n"
    "CREATE TABLE IF NOT EXISTS disputes( -- claims of sites that were not possible\n"
    "  job_id INTEGER NOT NULL, epoch INTEGER NOT NULL,\n"
    "  what INTEGER NOT NULL, -- 0 time, 1 CPU, 2 devices, 3 energy, 4 ended before it began,\n"
    "    -- 5 memory, 6 its receipt (claimed: the verdict)\n"
    "  tenant TEXT NOT NULL, site TEXT NOT NULL, owner TEXT NOT NULL,\n"
    "  released_ms INTEGER NOT NULL,\n"
    "  claimed INTEGER NOT NULL, bound INTEGER NOT NULL, -- ms, or mJ; the bound is what counts\n"
    "  PRIMARY KEY(job_id, epoch, what)) WITHOUT ROWID;\n"
    "CREATE INDEX IF NOT EXISTS disputes_released ON disputes(released_ms);\n"
    "CREATE TABLE IF NOT EXISTS receipts( -- what both sides signed; the newest million\n"
    "  job_id INTEGER NOT NULL, epoch INTEGER NOT NULL,\n"
    "  verdict INTEGER NOT NULL, -- of the site's: 0 holds, 1 forged, 2 foreign, 3 replayed,\n"
    "    -- 4 altered\n"
    "  site_text TEXT NOT NULL, site_signature TEXT NOT NULL, site_key TEXT NOT NULL,\n"
    "  network_text TEXT NOT NULL, network_signature TEXT NOT NULL, network_key TEXT NOT NULL,\n"
    "  UNIQUE(job_id, epoch));\n"
    "CREATE VIEW IF NOT EXISTS usage AS SELECT -- by tenant and day, in units people use\n"
    "  tenant, date(released_ms / 1000, 'unixepoch') AS day, count(DISTINCT job_id) AS jobs,\n"
    "  count(*) AS attempts, sum(cpu_ms) / 1000.0 AS cpu_seconds,\n"
    "  sum(cpu_held_ms) / 1000.0 AS cpu_seconds_held,\n"
    "  sum(device_milli_ms) / 1e6 AS device_seconds, sum(energy_mj) / 1000.0 AS joules,\n"
    "  avg(energy_measured) AS joules_measured_share, sum(carbon_ug) / 1e6 AS co2_grams,\n"
    "  sum(price_micro) / 1e6 AS price FROM attempts GROUP BY tenant, day;\n"
    "DROP VIEW IF EXISTS jobs_readable;\n" /* an older one lacks the outcome */
    "CREATE VIEW jobs_readable AS SELECT id, name, tenant, user, state,\n"
    "  CASE WHEN attempts > 0 THEN " OUTCOME_TEXT " END AS outcome, exit_code,\n"
    "  reason, datetime(submitted_ms / 1000, 'unixepoch') AS submitted,\n"
    "  datetime(nullif(started_ms, 0) / 1000, 'unixepoch') AS started,\n"
    "  datetime(ended_ms / 1000, 'unixepoch') AS ended, cpu_ms / 1000.0 AS cpu_seconds,\n"
    "  energy_mj / 1000.0 AS joules, carbon_ug / 1e6 AS co2_grams, price_micro / 1e6 AS price\n"
    "  FROM jobs;\n"
    "DROP VIEW IF EXISTS attempts_readable;\n" /* older ones know fewer outcomes */
    "CREATE VIEW attempts_readable AS SELECT job_id, epoch, job_name, tenant, user,\n"
    "  site, nodes, chip, " OUTCOME_TEXT " AS outcome, exit_code,\n"
    "  datetime(granted_ms / 1000, 'unixepoch') AS granted,\n"
    "  datetime(released_ms / 1000, 'unixepoch') AS released, cpu_ms / 1000.0 AS cpu_seconds,\n"
    "  device_milli_ms / 1e6 AS device_seconds, energy_mj / 1000.0 AS joules,\n"
    "  carbon_ug / 1e6 AS co2_grams, price_micro / 1e6 AS price FROM attempts;\n";

#define USAGE_COLUMNS                                                                              \
    "wall_ms, cpu_ms, cpu_held_ms, device_milli_ms, memory_peak_bytes, energy_mj, "                \
    "energy_measured, carbon_ug, price_micro"
#define JOB_COLUMNS                                                                                \
    "id, array_id, array_index, array_count, name, tenant, user, class, state, reason, outcome, "  \
    "exit_code, attempts, submitted_ms, started_ms, ended_ms, " USAGE_COLUMNS ", spec"
#define ATTEMPT_COLUMNS                                                                            \
    "job_id, epoch, tenant, user, job_name, site, owner, nodes, chip, outcome, exit_code, "        \
    "granted_ms, released_ms, " USAGE_COLUMNS

#define DISPUTE_COLUMNS "job_id, epoch, what, tenant, site, owner, released_ms, claimed, bound"

#define RECEIPT_COLUMNS                                                                            \
    "job_id, epoch, verdict, site_text, site_signature, site_key, network_text, "                  \
    "network_signature, network_key"

/* Elements of arrays by the id that people know them by. */
#define JOB_KEY(table)                                                                             \
    "coalesce((SELECT CASE WHEN array_id > 0 THEN array_id || '.' || array_index ELSE id END "     \
    "FROM jobs WHERE jobs.id = " table ".job_id), " table ".job_id)"

#define TEXT_(value) #value
#define TEXT(value) TEXT_(value)

#define HISTORY_ROW_BYTES_MAX ((size_t)16 << 20)

enum statement {
    PUT_JOB,
    PUT_ATTEMPT,
    PUT_DISPUTE,
    DISPUTE_ATTEMPT,
    PUT_RECEIPT,
    TRIM_RECEIPTS,
    SETTLE_ATTEMPT,
    SETTLE_JOB,
    SET_APPLIED,
    GET_APPLIED,
    FIND_JOB,
    FIND_ELEMENT,
    FIND_NAME,
    LIST_ATTEMPTS,
    COUNT_ARRAY,
    FIRST_OF_ARRAY,
    STATEMENT_COUNT
};
static const char *const statements[STATEMENT_COUNT] = {
    [PUT_JOB] = "INSERT OR REPLACE INTO jobs(" JOB_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,"
                "?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26)",
    [PUT_ATTEMPT] = "INSERT OR REPLACE INTO attempts(" ATTEMPT_COLUMNS ") VALUES(?1,?2,?3,?4,?5,"
                    "?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)",
    [PUT_DISPUTE] =
        "INSERT OR REPLACE INTO disputes(" DISPUTE_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [DISPUTE_ATTEMPT] = "INSERT OR REPLACE INTO disputes(" DISPUTE_COLUMNS ") SELECT job_id, "
                        "epoch, ?3, tenant, site, owner, released_ms, ?4, ?5 FROM attempts "
                        "WHERE job_id = ?1 AND epoch = ?2",
    [PUT_RECEIPT] =
        "INSERT OR REPLACE INTO receipts(" RECEIPT_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [TRIM_RECEIPTS] = "DELETE FROM receipts WHERE rowid <= ?1",
    [SETTLE_ATTEMPT] = "UPDATE attempts SET cpu_ms = ?3, memory_peak_bytes = ?4, energy_mj = ?5, "
                       "energy_measured = ?6, carbon_ug = ?7, price_micro = ?8 "
                       "WHERE job_id = ?1 AND epoch = ?2",
    [SETTLE_JOB] = "UPDATE jobs SET (cpu_ms, energy_mj, carbon_ug, price_micro) = (SELECT "
                   "sum(cpu_ms), sum(energy_mj), sum(carbon_ug), sum(price_micro) FROM attempts "
                   "WHERE job_id = ?1) WHERE id = ?1",
    [SET_APPLIED] = "INSERT OR REPLACE INTO meta(key, value) VALUES('applied_seq', ?1)",
    [GET_APPLIED] = "SELECT value FROM meta WHERE key = 'applied_seq'",
    [FIND_JOB] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1",
    [FIND_ELEMENT] = "SELECT " JOB_COLUMNS
                     " FROM jobs WHERE array_id = ?1 AND array_id > 0 AND array_index = ?2",
    [FIND_NAME] =
        "SELECT " JOB_COLUMNS " FROM jobs WHERE tenant = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1",
    [LIST_ATTEMPTS] =
        "SELECT " ATTEMPT_COLUMNS " FROM attempts WHERE job_id = ?1 ORDER BY epoch LIMIT 1000",
    [COUNT_ARRAY] = "SELECT state, count(*) FROM jobs WHERE array_id = ?1 AND array_id > 0 "
                    "GROUP BY state",
    [FIRST_OF_ARRAY] =
        "SELECT " JOB_COLUMNS
        " FROM jobs WHERE array_id = ?1 AND array_id > 0 ORDER BY array_index LIMIT 1",
};

struct history_db {
    sqlite3 *sqlite;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    struct arena row; /* the strings of the row found last */
};

static int sql_fail(struct history_db *db, const char *what, struct err *err)
{
    return err_set(err, -EIO, "history: %s: %s", what, sqlite3_errmsg(db->sqlite));
}

static sqlite3_stmt *statement(struct history_db *db, enum statement which)
{
    sqlite3_stmt **slot = &db->prepared[which];

    if (!*slot)
        sqlite3_prepare_v3(db->sqlite, statements[which], -1, SQLITE_PREPARE_PERSISTENT, slot,
                           NULL);
    if (*slot) {
        sqlite3_reset(*slot);
        sqlite3_clear_bindings(*slot);
    }
    return *slot;
}

static int run(struct history_db *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                        : sql_fail(db, sql, err);
}

/* --- open ------------------------------------------------------------------------------------- */

static int set_layout(struct history_db *db, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int layout = 0;

    if (sqlite3_prepare_v2(db->sqlite, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(db, "open", err);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        layout = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    if (layout == HISTORY_LAYOUT)
        return 0;
    if (layout != 0) /* derived data: of an older layout it is made again from the journal */
        return err_set(err, -EBADMSG, "history: layout %d, this program writes %d", layout,
                       HISTORY_LAYOUT);
    if (run(db, "BEGIN", err) < 0 || run(db, schema, err) < 0)
        return -EIO;
    if (run(db, "PRAGMA user_version = " TEXT(HISTORY_LAYOUT), err) < 0)
        return -EIO;
    return run(db, "COMMIT", err);
}

int history_db_open(const char *path, bool writer, struct history_db **db_out, struct err *err)
{
    struct history_db *db = calloc(1, sizeof(*db));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
    int rc = 0;

    if (!db)
        return err_set(err, -ENOMEM, "out of memory");
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK) {
        rc = sql_fail(db, path, err);
        history_db_close(db);
        return rc;
    }
    sqlite3_busy_timeout(db->sqlite, 5000);
    /* NORMAL: a power cut may lose the last transactions, which the journal brings back. */
    rc = run(db, "PRAGMA journal_mode = WAL", err);
    if (rc == 0)
        rc = run(db, "PRAGMA synchronous = NORMAL", err);
    if (rc == 0)
        rc = run(db, writer ? "PRAGMA cache_size = -4000" : "PRAGMA cache_size = -8000", err);
    if (rc == 0 && writer)
        rc = set_layout(db, err);
    if (rc < 0) {
        history_db_close(db);
        return rc;
    }
    *db_out = db;
    return 0;
}

void history_db_close(struct history_db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(db->prepared[i]);
    arena_fini(&db->row);
    sqlite3_close(db->sqlite);
    free(db);
}

uint64_t history_db_applied(struct history_db *db)
{
    sqlite3_stmt *stmt = statement(db, GET_APPLIED);
    uint64_t seq = 0;

    if (stmt && sqlite3_step(stmt) == SQLITE_ROW)
        seq = (uint64_t)sqlite3_column_int64(stmt, 0);
    if (stmt)
        sqlite3_reset(stmt);
    return seq;
}

/* --- write ------------------------------------------------------------------------------------ */

static void put_text(sqlite3_stmt *stmt, int *at, const char *text)
{
    sqlite3_bind_text(stmt, (*at)++, text ? text : "", -1, SQLITE_STATIC);
}

static void put_int(sqlite3_stmt *stmt, int *at, int64_t value)
{
    sqlite3_bind_int64(stmt, (*at)++, value);
}

static void put_usage(sqlite3_stmt *stmt, int *at, const struct usage *usage)
{
    put_int(stmt, at, usage->wall_ms);
    put_int(stmt, at, usage->cpu_ms);
    put_int(stmt, at, usage->cpu_held_ms);
    put_int(stmt, at, usage->device_milli_ms);
    put_int(stmt, at, usage->memory_peak_bytes);
    put_int(stmt, at, usage->energy_mj);
    put_int(stmt, at, usage->energy_measured);
    put_int(stmt, at, usage->carbon_ug);
    put_int(stmt, at, usage->price_micro);
}

static int finish(struct history_db *db, sqlite3_stmt *stmt, const char *what, struct err *err)
{
    if (sqlite3_step(stmt) != SQLITE_DONE) {
        int rc = sql_fail(db, what, err);

        sqlite3_reset(stmt);
        return rc;
    }
    sqlite3_reset(stmt);
    return 0;
}

int history_db_begin(struct history_db *db, struct err *err)
{
    return run(db, "BEGIN IMMEDIATE", err);
}

int history_db_put_job(struct history_db *db, const struct history_job *job, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, PUT_JOB);
    int at = 1;

    if (!stmt)
        return sql_fail(db, "jobs", err);
    put_int(stmt, &at, (int64_t)job->id);
    put_int(stmt, &at, (int64_t)job->array_id);
    put_int(stmt, &at, job->array_index);
    put_int(stmt, &at, job->array_count);
    put_text(stmt, &at, job->name);
    put_text(stmt, &at, job->tenant);
    put_text(stmt, &at, job->user);
    put_text(stmt, &at, job->job_class);
    put_text(stmt, &at, job_state_name(job->state));
    put_text(stmt, &at, job->reason);
    put_int(stmt, &at, job->outcome);
    put_int(stmt, &at, job->exit_code);
    put_int(stmt, &at, job->epoch);
    put_int(stmt, &at, job->submitted_ms);
    put_int(stmt, &at, job->started_ms);
    put_int(stmt, &at, job->ended_ms);
    put_usage(stmt, &at, &job->usage);
    put_text(stmt, &at, job->spec);
    return finish(db, stmt, "jobs", err);
}

int history_db_put_attempt(struct history_db *db, const struct history_attempt *attempt,
                           struct err *err)
{
    sqlite3_stmt *stmt = statement(db, PUT_ATTEMPT);
    int at = 1;

    if (!stmt)
        return sql_fail(db, "attempts", err);
    put_int(stmt, &at, (int64_t)attempt->job_id);
    put_int(stmt, &at, attempt->epoch);
    put_text(stmt, &at, attempt->tenant);
    put_text(stmt, &at, attempt->user);
    put_text(stmt, &at, attempt->job_name);
    put_text(stmt, &at, attempt->site);
    put_text(stmt, &at, attempt->owner);
    put_text(stmt, &at, attempt->nodes);
    put_text(stmt, &at, attempt->chip);
    put_int(stmt, &at, attempt->outcome);
    put_int(stmt, &at, attempt->exit_code);
    put_int(stmt, &at, attempt->granted_ms);
    put_int(stmt, &at, attempt->released_ms);
    put_usage(stmt, &at, &attempt->usage);
    return finish(db, stmt, "attempts", err);
}

int history_db_put_dispute(struct history_db *db, const struct history_dispute *dispute,
                           struct err *err)
{
    sqlite3_stmt *stmt = statement(db, PUT_DISPUTE);
    int at = 1;

    if (!stmt)
        return sql_fail(db, "disputes", err);
    put_int(stmt, &at, (int64_t)dispute->job_id);
    put_int(stmt, &at, dispute->epoch);
    put_int(stmt, &at, dispute->dispute.what);
    put_text(stmt, &at, dispute->tenant);
    put_text(stmt, &at, dispute->site);
    put_text(stmt, &at, dispute->owner);
    put_int(stmt, &at, dispute->released_ms);
    put_int(stmt, &at, dispute->dispute.claimed);
    put_int(stmt, &at, dispute->dispute.bound);
    return finish(db, stmt, "disputes", err);
}

int history_db_dispute_attempt(struct history_db *db, uint64_t job_id, uint32_t epoch,
                               const struct usage_dispute *dispute, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, DISPUTE_ATTEMPT);
    int at = 1;

    if (!stmt)
        return sql_fail(db, "disputes", err);
    put_int(stmt, &at, (int64_t)job_id);
    put_int(stmt, &at, epoch);
    put_int(stmt, &at, dispute->what);
    put_int(stmt, &at, dispute->claimed);
    put_int(stmt, &at, dispute->bound);
    return finish(db, stmt, "disputes", err);
}

int history_db_put_receipt(struct history_db *db, const struct history_receipt *receipt,
                           struct err *err)
{
    const struct receipt_signed *const sides[] = { &receipt->by_site, &receipt->by_network };
    sqlite3_stmt *stmt = statement(db, PUT_RECEIPT);
    int64_t row;
    int at = 1, rc;

    if (!stmt)
        return sql_fail(db, "receipts", err);
    put_int(stmt, &at, (int64_t)receipt->job_id);
    put_int(stmt, &at, receipt->epoch);
    put_int(stmt, &at, receipt->verdict);
    for (size_t i = 0; i < ARRAY_COUNT(sides); i++) {
        put_text(stmt, &at, sides[i]->text);
        put_text(stmt, &at, sides[i]->signature);
        put_text(stmt, &at, sides[i]->key);
    }
    rc = finish(db, stmt, "receipts", err);
    row = sqlite3_last_insert_rowid(db->sqlite);
    if (rc < 0 || row <= HISTORY_RECEIPTS_MAX)
        return rc;
    stmt = statement(db, TRIM_RECEIPTS);
    if (!stmt)
        return sql_fail(db, "receipts", err);
    sqlite3_bind_int64(stmt, 1, row - HISTORY_RECEIPTS_MAX);
    return finish(db, stmt, "receipts", err);
}

int history_db_settle(struct history_db *db, const struct history_attempt *attempt, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, SETTLE_ATTEMPT);
    const struct usage *usage = &attempt->usage;
    int at = 1, rc;

    if (!stmt)
        return sql_fail(db, "attempts", err);
    put_int(stmt, &at, (int64_t)attempt->job_id);
    put_int(stmt, &at, attempt->epoch);
    put_int(stmt, &at, usage->cpu_ms);
    put_int(stmt, &at, usage->memory_peak_bytes);
    put_int(stmt, &at, usage->energy_mj);
    put_int(stmt, &at, usage->energy_measured);
    put_int(stmt, &at, usage->carbon_ug);
    put_int(stmt, &at, usage->price_micro);
    rc = finish(db, stmt, "attempts", err);
    stmt = rc == 0 ? statement(db, SETTLE_JOB) : NULL;
    if (!stmt)
        return rc < 0 ? rc : sql_fail(db, "jobs", err);
    at = 1;
    put_int(stmt, &at, (int64_t)attempt->job_id);
    return finish(db, stmt, "jobs", err);
}

int history_db_commit(struct history_db *db, uint64_t applied_seq, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, SET_APPLIED);
    int rc;

    if (!stmt)
        return sql_fail(db, "meta", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)applied_seq);
    rc = finish(db, stmt, "meta", err);
    return rc < 0 ? rc : run(db, "COMMIT", err);
}

void history_db_rollback(struct history_db *db)
{
    sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

/* --- read ------------------------------------------------------------------------------------- */

static const char *get_text(sqlite3_stmt *stmt, int *at)
{
    const char *text = (const char *)sqlite3_column_text(stmt, (*at)++);

    return text ? text : "";
}

static int64_t get_int(sqlite3_stmt *stmt, int *at)
{
    return sqlite3_column_int64(stmt, (*at)++);
}

static void get_usage(sqlite3_stmt *stmt, int *at, struct usage *usage)
{
    usage->wall_ms = get_int(stmt, at);
    usage->cpu_ms = get_int(stmt, at);
    usage->cpu_held_ms = get_int(stmt, at);
    usage->device_milli_ms = get_int(stmt, at);
    usage->memory_peak_bytes = get_int(stmt, at);
    usage->energy_mj = get_int(stmt, at);
    usage->energy_measured = get_int(stmt, at) != 0;
    usage->carbon_ug = get_int(stmt, at);
    usage->price_micro = get_int(stmt, at);
}

static enum job_state state_of(const char *name)
{
    for (int state = JOB_DONE; state <= JOB_CANCELLED; state++)
        if (!strcmp(job_state_name((enum job_state)state), name))
            return (enum job_state)state;
    return JOB_FAILED;
}

static void get_job(sqlite3_stmt *stmt, struct history_job *job)
{
    int at = 0;

    job->id = (uint64_t)get_int(stmt, &at);
    job->array_id = (uint64_t)get_int(stmt, &at);
    job->array_index = (uint32_t)get_int(stmt, &at);
    job->array_count = (uint32_t)get_int(stmt, &at);
    job->name = get_text(stmt, &at);
    job->tenant = get_text(stmt, &at);
    job->user = get_text(stmt, &at);
    job->job_class = get_text(stmt, &at);
    job->state = state_of(get_text(stmt, &at));
    job->reason = get_text(stmt, &at);
    job->outcome = (uint32_t)get_int(stmt, &at);
    job->exit_code = (int32_t)get_int(stmt, &at);
    job->epoch = (uint32_t)get_int(stmt, &at);
    job->submitted_ms = get_int(stmt, &at);
    job->started_ms = get_int(stmt, &at);
    job->ended_ms = get_int(stmt, &at);
    get_usage(stmt, &at, &job->usage);
    job->spec = get_text(stmt, &at);
}

static int keep_strings(struct history_db *db, struct history_job *job)
{
    const char **const texts[] = { &job->name,      &job->tenant, &job->user,
                                   &job->job_class, &job->reason, &job->spec };

    arena_fini(&db->row);
    db->row = arena_init(HISTORY_ROW_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        *texts[i] = arena_strdup(&db->row, *texts[i]);
        if (!*texts[i])
            return -ENOMEM;
    }
    return 0;
}

static int find_one(struct history_db *db, sqlite3_stmt *stmt, struct history_job *job_out,
                    struct err *err)
{
    int rc = sqlite3_step(stmt);

    if (rc == SQLITE_DONE) {
        sqlite3_reset(stmt);
        return 0;
    }
    if (rc != SQLITE_ROW) {
        rc = sql_fail(db, "jobs", err);
        sqlite3_reset(stmt);
        return rc;
    }
    /* Copied: an open statement would hold its read transaction, and later queries in the past. */
    get_job(stmt, job_out);
    rc = keep_strings(db, job_out);
    sqlite3_reset(stmt);
    return rc < 0 ? err_set(err, rc, "history: out of memory") : 1;
}

int history_db_find_job(struct history_db *db, uint64_t id, struct history_job *job_out,
                        struct err *err)
{
    sqlite3_stmt *stmt = statement(db, FIND_JOB);

    if (!stmt)
        return sql_fail(db, "jobs", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)id);
    return find_one(db, stmt, job_out, err);
}

int history_db_find_element(struct history_db *db, uint64_t array_id, uint32_t index,
                            struct history_job *job_out, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, FIND_ELEMENT);

    if (!stmt)
        return sql_fail(db, "jobs", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)array_id);
    sqlite3_bind_int64(stmt, 2, index);
    return find_one(db, stmt, job_out, err);
}

int history_db_find_name(struct history_db *db, const char *tenant, const char *name,
                         struct history_job *job_out, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, FIND_NAME);

    if (!stmt)
        return sql_fail(db, "jobs", err);
    sqlite3_bind_text(stmt, 1, tenant, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(stmt, 2, name, -1, SQLITE_TRANSIENT);
    return find_one(db, stmt, job_out, err);
}

/* Parameters are numbered by hand so that a filter left out costs nothing. */
int history_db_list_jobs(struct history_db *db, const struct history_filter *filter,
                         int (*fn)(void *context, const struct history_job *job), void *context,
                         struct err *err)
{
    CLEANUP(buf_fini) struct buf sql = buf_init(4096);
    sqlite3_stmt *stmt = NULL;
    int rc = 0;

    buf_printf(&sql, "SELECT " JOB_COLUMNS " FROM jobs WHERE id %c ?1", filter->newest ? '<' : '>');
    if (filter->tenant)
        buf_add_text(&sql, " AND tenant = ?2");
    if (filter->name)
        buf_add_text(&sql, " AND name = ?3");
    if (filter->user)
        buf_add_text(&sql, " AND user = ?4");
    if (filter->array_id)
        buf_add_text(&sql, " AND array_id > 0 AND array_id = ?5");
    if (filter->since_ms)
        buf_add_text(&sql, " AND submitted_ms >= ?7");
    if (filter->states) {
        const char *sep = " AND state IN (";

        for (int state = JOB_DONE; state <= JOB_CANCELLED; state++)
            if (filter->states & (1u << state)) {
                buf_printf(&sql, "%s'%s'", sep, job_state_name((enum job_state)state));
                sep = ",";
            }
        buf_add_text(&sql, ")");
    }
    buf_printf(&sql, " ORDER BY id%s LIMIT ?6", filter->newest ? " DESC" : "");
    if (sql.failed || sqlite3_prepare_v2(db->sqlite, sql.data, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(db, "jobs", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)filter->after_id);
    sqlite3_bind_int64(stmt, 6, filter->limit);
    if (filter->tenant)
        sqlite3_bind_text(stmt, 2, filter->tenant, -1, SQLITE_STATIC);
    if (filter->name)
        sqlite3_bind_text(stmt, 3, filter->name, -1, SQLITE_STATIC);
    if (filter->user)
        sqlite3_bind_text(stmt, 4, filter->user, -1, SQLITE_STATIC);
    if (filter->array_id)
        sqlite3_bind_int64(stmt, 5, (int64_t)filter->array_id);
    if (filter->since_ms)
        sqlite3_bind_int64(stmt, 7, filter->since_ms);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct history_job job;

        get_job(stmt, &job);
        if (fn(context, &job))
            break;
    }
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sql_fail(db, "jobs", err);
    sqlite3_finalize(stmt);
    return rc;
}

int history_db_list_attempts(struct history_db *db, uint64_t job_id,
                             int (*fn)(void *context, const struct history_attempt *attempt),
                             void *context, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, LIST_ATTEMPTS);
    int rc;

    if (!stmt)
        return sql_fail(db, "attempts", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)job_id);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct history_attempt a;
        int at = 0;

        a.job_id = (uint64_t)get_int(stmt, &at);
        a.epoch = (uint32_t)get_int(stmt, &at);
        a.tenant = get_text(stmt, &at);
        a.user = get_text(stmt, &at);
        a.job_name = get_text(stmt, &at);
        a.site = get_text(stmt, &at);
        a.owner = get_text(stmt, &at);
        a.nodes = get_text(stmt, &at);
        a.chip = get_text(stmt, &at);
        a.outcome = (uint32_t)get_int(stmt, &at);
        a.exit_code = (int32_t)get_int(stmt, &at);
        a.granted_ms = get_int(stmt, &at);
        a.released_ms = get_int(stmt, &at);
        get_usage(stmt, &at, &a.usage);
        if (fn(context, &a))
            break;
    }
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sql_fail(db, "attempts", err);
    sqlite3_reset(stmt);
    return rc;
}

int history_db_count_array(struct history_db *db, uint64_t array_id, uint64_t counts_out[3],
                           struct history_job *any_out, struct err *err)
{
    sqlite3_stmt *stmt = statement(db, COUNT_ARRAY);
    int rc;

    if (!stmt)
        return sql_fail(db, "jobs", err);
    counts_out[0] = counts_out[1] = counts_out[2] = 0;
    sqlite3_bind_int64(stmt, 1, (int64_t)array_id);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        counts_out[state_of((const char *)sqlite3_column_text(stmt, 0)) - JOB_DONE] =
            (uint64_t)sqlite3_column_int64(stmt, 1);
    sqlite3_reset(stmt);
    if (rc != SQLITE_DONE)
        return sql_fail(db, "jobs", err);
    stmt = statement(db, FIRST_OF_ARRAY);
    if (!stmt)
        return sql_fail(db, "jobs", err);
    sqlite3_bind_int64(stmt, 1, (int64_t)array_id);
    return find_one(db, stmt, any_out, err);
}

/* --- disputes --------------------------------------------------------------------------------- */

int history_db_list_disputes(struct history_db *db, const struct dispute_filter *filter,
                             int (*fn)(void *context, const struct history_dispute *dispute),
                             void *context, struct err *err)
{
    CLEANUP(buf_fini) struct buf sql = buf_init(4096);
    sqlite3_stmt *stmt = NULL;
    int rc;

    buf_printf(&sql,
               "SELECT " DISPUTE_COLUMNS
               ", " JOB_KEY("disputes") ", coalesce(verdict, 5), "
                                        "coalesce(network_text, '') != '' "
                                        "FROM disputes LEFT JOIN receipts USING(job_id, epoch) "
                                        "WHERE released_ms >= ?1 AND "
                                        "released_ms < ?2%s%s ORDER BY released_ms DESC, job_id "
                                        "DESC, epoch, what LIMIT ?5",
               filter->tenant ? " AND tenant = ?3" : "", filter->site ? " AND site = ?4" : "");
    if (sql.failed || sqlite3_prepare_v2(db->sqlite, sql.data, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(db, "disputes", err);
    sqlite3_bind_int64(stmt, 1, filter->since_ms);
    sqlite3_bind_int64(stmt, 2, filter->until_ms ? filter->until_ms : INT64_MAX);
    sqlite3_bind_int64(stmt, 5, filter->limit);
    if (filter->tenant)
        sqlite3_bind_text(stmt, 3, filter->tenant, -1, SQLITE_STATIC);
    if (filter->site)
        sqlite3_bind_text(stmt, 4, filter->site, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct history_dispute row = { 0 };
        int at = 0;

        row.job_id = (uint64_t)get_int(stmt, &at);
        row.epoch = (uint32_t)get_int(stmt, &at);
        row.dispute.what = (enum usage_claim)get_int(stmt, &at);
        row.tenant = get_text(stmt, &at);
        row.site = get_text(stmt, &at);
        row.owner = get_text(stmt, &at);
        row.released_ms = get_int(stmt, &at);
        row.dispute.claimed = get_int(stmt, &at);
        row.dispute.bound = get_int(stmt, &at);
        row.job = get_text(stmt, &at);
        row.verdict = (uint32_t)get_int(stmt, &at);
        row.booked = get_int(stmt, &at) != 0;
        if (fn(context, &row))
            break;
    }
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sql_fail(db, "disputes", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* --- receipts --------------------------------------------------------------------------------- */

static void get_signed(sqlite3_stmt *stmt, int *at, struct receipt_signed *out)
{
    snprintf(out->text, sizeof(out->text), "%s", get_text(stmt, at));
    snprintf(out->signature, sizeof(out->signature), "%s", get_text(stmt, at));
    snprintf(out->key, sizeof(out->key), "%s", get_text(stmt, at));
}

static void get_receipt(sqlite3_stmt *stmt, struct history_receipt *row)
{
    int at = 0;

    row->job_id = (uint64_t)get_int(stmt, &at);
    row->epoch = (uint32_t)get_int(stmt, &at);
    row->tenant = get_text(stmt, &at);
    row->site = get_text(stmt, &at);
    row->owner = get_text(stmt, &at);
    row->job = get_text(stmt, &at);
    row->released_ms = get_int(stmt, &at);
    row->verdict = (uint32_t)get_int(stmt, &at);
    get_signed(stmt, &at, &row->by_site);
    get_signed(stmt, &at, &row->by_network);
}

int history_db_list_receipts(struct history_db *db, const struct receipt_filter *filter,
                             int (*fn)(void *context, const struct history_receipt *receipt),
                             void *context, struct err *err)
{
    CLEANUP(buf_fini) struct buf sql = buf_init(4096);
    sqlite3_stmt *stmt = NULL;
    int rc;

    buf_add_text(&sql,
                 "SELECT attempts.job_id, attempts.epoch, tenant, site, owner, " JOB_KEY(
                     "attempts") ", released_ms, coalesce(verdict, 5), coalesce(site_text, ''), "
                                 "coalesce(site_signature, ''), coalesce(site_key, ''), "
                                 "coalesce(network_text, ''), "
                                 "coalesce(network_signature, ''), coalesce(network_key, '') "
                                 "FROM attempts LEFT JOIN receipts USING(job_id, epoch) WHERE 1");
    if (filter->tenant)
        buf_add_text(&sql, " AND tenant = ?1");
    if (filter->site)
        buf_add_text(&sql, " AND site = ?2");
    if (filter->job_id && filter->element >= 0)
        buf_add_text(&sql, " AND attempts.job_id IN (SELECT id FROM jobs WHERE array_id = ?3 AND "
                           "array_id > 0 AND array_index = ?4)");
    else if (filter->job_id)
        buf_add_text(&sql, " AND attempts.job_id IN (SELECT ?3 UNION SELECT id FROM jobs WHERE "
                           "array_id = ?3 AND array_id > 0)");
    if (filter->epoch)
        buf_add_text(&sql, " AND attempts.epoch = ?5");
    buf_add_text(&sql, " ORDER BY released_ms DESC, attempts.job_id DESC, attempts.epoch DESC "
                       "LIMIT ?6");
    if (sql.failed || sqlite3_prepare_v2(db->sqlite, sql.data, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(db, "receipts", err);
    if (filter->tenant)
        sqlite3_bind_text(stmt, 1, filter->tenant, -1, SQLITE_STATIC);
    if (filter->site)
        sqlite3_bind_text(stmt, 2, filter->site, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 3, (int64_t)filter->job_id);
    sqlite3_bind_int64(stmt, 4, filter->element);
    sqlite3_bind_int64(stmt, 5, filter->epoch);
    sqlite3_bind_int64(stmt, 6, filter->limit);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct history_receipt row;

        get_receipt(stmt, &row);
        if (fn(context, &row))
            break;
    }
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sql_fail(db, "receipts", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* --- usage ------------------------------------------------------------------------------------ */

int history_db_usage(struct history_db *db, const struct usage_filter *filter,
                     int (*fn)(void *context, const struct usage_row *row), void *context,
                     struct err *err)
{
    static const char *const keys[] = {
        [GROUP_TENANT] = "tenant",
        [GROUP_JOB] = "job_id",
        [GROUP_DAY] = "date(released_ms / 1000, 'unixepoch')",
        [GROUP_CHIP] = "chip",
        [GROUP_USER] = "user",
        [GROUP_SITE] = "site",
    };
    CLEANUP(buf_fini) struct buf sql = buf_init(4096);
    sqlite3_stmt *stmt = NULL;
    int rc;

    buf_printf(&sql,
               "SELECT %s AS k, count(*), count(DISTINCT job_id), sum(energy_measured), "
               "sum(wall_ms), sum(cpu_ms), sum(cpu_held_ms), sum(device_milli_ms), "
               "max(memory_peak_bytes), sum(energy_mj), sum(carbon_ug), sum(price_micro), "
               "max(job_name) "
               "FROM attempts WHERE released_ms >= ?1 AND released_ms < ?2%s GROUP BY %s "
               "ORDER BY %s LIMIT ?4",
               filter->group == GROUP_JOB ? JOB_KEY("attempts") : keys[filter->group],
               filter->tenant ? " AND tenant = ?3" : "", keys[filter->group], keys[filter->group]);
    if (sql.failed || sqlite3_prepare_v2(db->sqlite, sql.data, -1, &stmt, NULL) != SQLITE_OK)
        return sql_fail(db, "usage", err);
    sqlite3_bind_int64(stmt, 1, filter->since_ms);
    sqlite3_bind_int64(stmt, 2, filter->until_ms ? filter->until_ms : INT64_MAX);
    sqlite3_bind_int64(stmt, 4, filter->limit);
    if (filter->tenant)
        sqlite3_bind_text(stmt, 3, filter->tenant, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct usage_row row = { 0 };
        int at = 0;

        row.key = get_text(stmt, &at);
        row.attempts = (uint64_t)get_int(stmt, &at);
        row.jobs = (uint64_t)get_int(stmt, &at);
        row.measured = (uint64_t)get_int(stmt, &at);
        row.usage.wall_ms = get_int(stmt, &at);
        row.usage.cpu_ms = get_int(stmt, &at);
        row.usage.cpu_held_ms = get_int(stmt, &at);
        row.usage.device_milli_ms = get_int(stmt, &at);
        row.usage.memory_peak_bytes = get_int(stmt, &at);
        row.usage.energy_mj = get_int(stmt, &at);
        row.usage.carbon_ug = get_int(stmt, &at);
        row.usage.price_micro = get_int(stmt, &at);
        if (filter->group == GROUP_JOB)
            row.name = get_text(stmt, &at);
        row.usage.energy_measured = row.attempts > 0 && row.measured == row.attempts;
        if (fn(context, &row))
            break;
    }
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sql_fail(db, "usage", err);
    sqlite3_finalize(stmt);
    return rc;
}
