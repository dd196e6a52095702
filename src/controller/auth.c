#include "controller/auth.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUTH_FILE_BYTES_MAX (8u << 20)
#define AUTH_SLOTS 32768u /* power of two, > 2 x AUTH_TOKENS_MAX */

struct auth_record {
    struct token_entry entry;
    char hash[TOKEN_HASH_BYTES]; /* "" = revoked */
};
struct auth {
    char *path, *state_dir;
    struct auth_record *records;
    uint32_t count, cap;
    uint64_t id_next;
    uint32_t *slots; /* index + 1 of records by hash; 0 = empty */
};

static const struct {
    enum role role;
    const char *name;
} roles[] = {
    { ROLE_ADMIN, "admin" },
    { ROLE_OPERATOR, "operator" },
    { ROLE_TENANT, "tenant" },
    { ROLE_SITE, "site" },
};

const char *role_name(enum role role)
{
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "none";
}

int role_find(const char *name, enum role *role_out)
{
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++)
        if (!strcmp(roles[i].name, name)) {
            *role_out = roles[i].role;
            return 0;
        }
    return -EINVAL;
}

/* --- lookup ----------------------------------------------------------------------------------- */

static uint32_t slot_of(const char *hash)
{
    char head[9] = { 0 };

    memcpy(head, hash, 8);
    return (uint32_t)strtoul(head, NULL, 16) & (AUTH_SLOTS - 1);
}

static void index_records(struct auth *auth)
{
    memset(auth->slots, 0, AUTH_SLOTS * sizeof(*auth->slots));
    for (uint32_t i = 0; i < auth->count; i++) {
        uint32_t slot;

        if (!auth->records[i].hash[0])
            continue;
        slot = slot_of(auth->records[i].hash);
        while (auth->slots[slot])
            slot = (slot + 1) & (AUTH_SLOTS - 1);
        auth->slots[slot] = i + 1;
    }
}

const struct principal *auth_find(const struct auth *auth, const char *token)
{
    char hash[TOKEN_HASH_BYTES];

    if (!token || !token_is_well_formed(token))
        return NULL;
    token_hash(token, hash);
    for (uint32_t slot = slot_of(hash); auth->slots[slot]; slot = (slot + 1) & (AUTH_SLOTS - 1)) {
        const struct auth_record *record = &auth->records[auth->slots[slot] - 1];

        if (token_hash_is_equal(record->hash, hash))
            return &record->entry.principal;
    }
    return NULL;
}

bool auth_find_unix(const struct auth *auth, const char *tenant, const char *user, int64_t *uid_out,
                    int64_t *gid_out)
{
    for (uint32_t i = 0; i < auth->count; i++) {
        const struct principal *who = &auth->records[i].entry.principal;

        if (who->role == ROLE_SITE || who->unix_uid < 0)
            continue;
        if (strcmp(who->tenant, tenant) != 0 || strcmp(who->user, user) != 0)
            continue;
        *uid_out = who->unix_uid;
        *gid_out = who->unix_gid;
        return true;
    }
    return false;
}

uint32_t auth_count(const struct auth *auth)
{
    return auth->count;
}

const struct token_entry *auth_get(const struct auth *auth, uint32_t index)
{
    return index < auth->count ? &auth->records[index].entry : NULL;
}

/* --- the file --------------------------------------------------------------------------------- */

static struct auth_record *add_record(struct auth *auth)
{
    if (auth->count >= AUTH_TOKENS_MAX)
        return NULL;
    if (auth->count == auth->cap) {
        uint32_t cap = auth->cap ? auth->cap * 2 : 16;
        struct auth_record *records = realloc(auth->records, cap * sizeof(*records));

        if (!records)
            return NULL;
        auth->records = records;
        auth->cap = cap;
    }
    memset(&auth->records[auth->count], 0, sizeof(auth->records[0]));
    return &auth->records[auth->count++];
}

static void jsonp(json_t **json)
{
    json_decref(*json);
}

static json_t *record_to_json(const struct auth_record *record)
{
    const struct token_entry *e = &record->entry;

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "id", e->principal.id,
                     "hash", record->hash, "role", role_name(e->principal.role), "tenant",
                     e->principal.tenant, "user", e->principal.user, "unix_uid",
                     (json_int_t)e->principal.unix_uid, "unix_gid",
                     (json_int_t)e->principal.unix_gid, "created_ms", (json_int_t)e->created_ms,
                     "revoked_ms", (json_int_t)e->revoked_ms, "note", e->note);
}

static int save(const struct auth *auth, struct err *err)
{
    CLEANUP(jsonp) json_t *list = json_array();
    CLEANUP(freep) char *text = NULL;

    for (uint32_t i = 0; i < auth->count; i++)
        if (json_array_append_new(list, record_to_json(&auth->records[i])) < 0)
            return err_set(err, -ENOMEM, "%s: out of memory", auth->path);
    text = json_dumps(list, JSON_INDENT(2));
    if (!text)
        return err_set(err, -ENOMEM, "%s: out of memory", auth->path);
    return file_write(auth->path, text, strlen(text), 0600, true, err);
}

static bool copy_text(char *out, size_t out_bytes, const char *text)
{
    size_t len = strlen(text);

    if (len >= out_bytes)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static int load_record(struct auth *auth, json_t *json)
{
    struct auth_record *record = add_record(auth);
    const char *id, *hash, *role, *tenant, *user = "", *note = "";
    json_int_t uid = -1, gid = -1, created = 0, revoked = 0;
    struct token_entry *e;

    if (!record)
        return -ENOMEM;
    e = &record->entry;
    if (json_unpack(json, "{s:s, s:s, s:s, s:s, s?s, s?I, s?I, s?I, s?I, s?s}", "id", &id, "hash",
                    &hash, "role", &role, "tenant", &tenant, "user", &user, "unix_uid", &uid,
                    "unix_gid", &gid, "created_ms", &created, "revoked_ms", &revoked, "note",
                    &note) < 0)
        return -EINVAL;
    if (role_find(role, &e->principal.role) < 0 ||
        !copy_text(e->principal.id, sizeof(e->principal.id), id) ||
        !copy_text(e->principal.tenant, sizeof(e->principal.tenant), tenant) ||
        !copy_text(e->principal.user, sizeof(e->principal.user), user) ||
        !copy_text(e->note, sizeof(e->note), note) ||
        !copy_text(record->hash, sizeof(record->hash), hash) ||
        (hash[0] && strlen(hash) != TOKEN_HASH_BYTES - 1))
        return -EINVAL;
    e->principal.unix_uid = uid;
    e->principal.unix_gid = gid;
    e->created_ms = created;
    e->revoked_ms = revoked;
    auth->id_next = MAX(auth->id_next, strtoull(id, NULL, 10) + 1);
    return 0;
}

static int load(struct auth *auth, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(AUTH_FILE_BYTES_MAX);
    CLEANUP(jsonp) json_t *list = NULL;
    json_error_t where;
    json_t *item;
    size_t i;
    int rc = file_read(auth->path, &text, err);

    if (rc < 0)
        return rc;
    list = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_array(list))
        return err_set(err, -EINVAL, "%s:%d: not a JSON list of tokens: %s", auth->path, where.line,
                       where.text);
    json_array_foreach (list, i, item) {
        rc = load_record(auth, item);
        if (rc < 0)
            return err_set(err, rc, "%s: entry %zu is not a token", auth->path, i + 1);
    }
    return 0;
}

/* --- making and revoking -----------------------------------------------------------------------
 */

int auth_add(struct auth *auth, const struct principal *wanted, const char *note,
             char text_out[TOKEN_TEXT_BYTES], struct token_entry *entry_out, struct err *err)
{
    char hash[TOKEN_HASH_BYTES];
    struct auth_record *record;
    int rc;

    rc = token_create(text_out, hash, err);
    if (rc < 0)
        return rc;
    record = add_record(auth);
    if (!record)
        return err_set(err, -ENOSPC, "there are %u tokens already", auth->count);
    record->entry.principal = *wanted;
    snprintf(record->entry.principal.id, sizeof(record->entry.principal.id), "%" PRIu64,
             auth->id_next);
    snprintf(record->entry.note, sizeof(record->entry.note), "%s", note ? note : "");
    record->entry.created_ms = clock_wall_ms();
    memcpy(record->hash, hash, sizeof(hash));
    rc = save(auth, err);
    if (rc < 0) {
        auth->count--;
        return rc;
    }
    auth->id_next++;
    index_records(auth);
    if (entry_out)
        *entry_out = record->entry;
    return 0;
}

int auth_revoke(struct auth *auth, const char *id, struct err *err)
{
    struct auth_record *found = NULL, before;
    uint32_t admins = 0;
    int rc;

    for (uint32_t i = 0; i < auth->count; i++) {
        struct auth_record *record = &auth->records[i];

        if (!strcmp(record->entry.principal.id, id))
            found = record;
        if (record->entry.principal.role == ROLE_ADMIN && record->hash[0])
            admins++;
    }
    if (!found)
        return err_set(err, -ENOENT, "there is no token %s", id);
    if (!found->hash[0])
        return 0;
    if (found->entry.principal.role == ROLE_ADMIN && admins == 1)
        return err_set(err, -EPERM, "token %s is the last admin token: make another first", id);
    before = *found;
    found->hash[0] = '\0';
    found->entry.revoked_ms = clock_wall_ms();
    rc = save(auth, err);
    if (rc < 0) {
        *found = before;
        return rc;
    }
    index_records(auth);
    return 0;
}

/* Names of the system may hold what names here may not. */
static void user_name(uid_t uid, char *out, size_t out_bytes)
{
    char room[4096];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(uid, &entry, room, sizeof(room), &found) == 0 && found && found->pw_name[0]) {
        snprintf(out, out_bytes, "%s", found->pw_name);
        for (char *p = out; *p; p++)
            if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *p))
                *p = '_';
        return;
    }
    snprintf(out, out_bytes, "uid%u", (unsigned)uid);
}

static int write_token(const struct auth *auth, const char *name, const char *text, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/%s", auth->state_dir, name);
    char line[TOKEN_TEXT_BYTES + 1];
    int len = snprintf(line, sizeof(line), "%s\n", text);

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    return file_write(path, line, (size_t)len, 0600, true, err);
}

/* A token of this machine's own, whose text is kept in the state folder. */
static int make_local(struct auth *auth, enum role role, const char *note, struct err *err)
{
    struct principal who = { .role = role, .user = "agent", .unix_uid = -1, .unix_gid = -1 };
    char text[TOKEN_TEXT_BYTES];
    int rc;

    if (role == ROLE_ADMIN) {
        snprintf(who.tenant, sizeof(who.tenant), "local");
        who.unix_uid = getuid();
        who.unix_gid = getgid();
        user_name(getuid(), who.user, sizeof(who.user));
    }
    rc = auth_add(auth, &who, note, text, NULL, err);
    if (rc == 0)
        rc = write_token(auth, role == ROLE_ADMIN ? "admin.token" : "site.token", text, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

static int make_first(struct auth *auth, struct err *err)
{
    int rc = make_local(auth, ROLE_SITE, "the local site, made on first start", err);

    return rc < 0 ? rc : make_local(auth, ROLE_ADMIN, "the local admin, made on first start", err);
}

/* Without its file a token's text is gone for good: another takes its place, the old one stays. */
static int make_missing(struct auth *auth, struct err *err)
{
    static const struct {
        enum role role;
        const char *file, *note;
    } own[] = {
        { ROLE_SITE, "site.token", "the local site, made again as site.token was missing" },
        { ROLE_ADMIN, "admin.token", "the local admin, made again as admin.token was missing" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        CLEANUP(freep) char *path = path_format("%s/%s", auth->state_dir, own[i].file);
        int rc = 0;

        if (!path)
            return err_set(err, -ENOMEM, "out of memory");
        if (access(path, F_OK) < 0 && errno == ENOENT)
            rc = make_local(auth, own[i].role, own[i].note, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool has_admin(const struct auth *auth)
{
    for (uint32_t i = 0; i < auth->count; i++)
        if (auth->records[i].entry.principal.role == ROLE_ADMIN)
            return true;
    return false;
}

int auth_open(const char *state_dir, struct auth **auth_out, struct err *err)
{
    struct auth *auth = calloc(1, sizeof(*auth));
    int rc = -ENOMEM;

    if (auth) {
        auth->path = path_format("%s/tokens.json", state_dir);
        auth->state_dir = strdup(state_dir);
        auth->slots = calloc(AUTH_SLOTS, sizeof(*auth->slots));
        auth->id_next = 1;
    }
    if (!auth || !auth->path || !auth->state_dir || !auth->slots) {
        auth_close(auth);
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (access(auth->path, F_OK) == 0)
        rc = load(auth, err);
    else
        rc = 0;
    /* A first start that was killed half-way has no admin yet: it begins again. */
    if (rc == 0 && !has_admin(auth)) {
        auth->count = 0;
        rc = make_first(auth, err);
    } else if (rc == 0) {
        rc = make_missing(auth, err);
    }
    if (rc < 0) {
        auth_close(auth);
        return rc;
    }
    index_records(auth);
    *auth_out = auth;
    return 0;
}

void auth_close(struct auth *auth)
{
    if (!auth)
        return;
    free(auth->path);
    free(auth->state_dir);
    free(auth->records);
    free(auth->slots);
    free(auth);
}
