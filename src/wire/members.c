#include "wire/members.h"

#include "base/file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_FILE_BYTES_MAX (16u << 20)

struct members {
    char *path;
    const char *again;
    struct member *list;
    uint32_t count, cap;
};

static struct member *find(const struct members *members, const char *site)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (!strcmp(members->list[i].site, site))
            return &members->list[i];
    return NULL;
}

const struct member *members_find(const struct members *members, const char *site)
{
    return find(members, site);
}

const struct member *members_nth(const struct members *members, uint32_t nth)
{
    return nth < members->count ? &members->list[nth] : NULL;
}

bool members_is_key_of(const struct members *members, const char *site, const char *pin)
{
    const struct member *member = find(members, site);

    return member && member->pin[0] && !strcmp(member->pin, pin);
}

/* ---- the file ---- */

static int save(const struct members *members, struct err *err)
{
    json_t *list = json_array();
    CLEANUP(freep) char *text = NULL;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *m = &members->list[i];

        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "site", m->site,
                            "owner", m->owner, "secret_hash", m->secret_hash, "invited_ms",
                            (json_int_t)m->invited_ms, "expires_ms", (json_int_t)m->expires_ms,
                            "used_ms", (json_int_t)m->used_ms, "pin", m->pin, "joined_ms",
                            (json_int_t)m->joined_ms, "cert_until_ms", (json_int_t)m->cert_until_ms,
                            "removed_ms", (json_int_t)m->removed_ms));
    }
    if (json_array_size(list) == members->count)
        text = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    if (!text)
        return err_set(err, -ENOMEM, "%s: out of memory", members->path);
    return file_write(members->path, text, strlen(text), 0600, true, err);
}

static struct member *add(struct members *members)
{
    if (members->count >= MEMBERS_MAX)
        return NULL;
    if (members->count == members->cap) {
        uint32_t cap = members->cap ? members->cap * 2 : 16;
        struct member *list = realloc(members->list, cap * sizeof(*list));

        if (!list)
            return NULL;
        members->list = list;
        members->cap = cap;
    }
    memset(&members->list[members->count], 0, sizeof(members->list[0]));
    return &members->list[members->count++];
}

static bool copy_text(char *out, size_t bytes, const char *text)
{
    size_t len = strlen(text);

    if (len >= bytes)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static int load_member(struct members *members, json_t *json)
{
    const char *site, *owner, *hash, *pin;
    json_int_t invited, expires, used, joined, until, removed;
    struct member *m = add(members);

    if (!m)
        return -ENOMEM;
    if (json_unpack(json, "{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "site", &site,
                    "owner", &owner, "secret_hash", &hash, "invited_ms", &invited, "expires_ms",
                    &expires, "used_ms", &used, "pin", &pin, "joined_ms", &joined, "cert_until_ms",
                    &until, "removed_ms", &removed) < 0 ||
        !copy_text(m->site, sizeof(m->site), site) ||
        !copy_text(m->owner, sizeof(m->owner), owner) ||
        !copy_text(m->secret_hash, sizeof(m->secret_hash), hash) ||
        !copy_text(m->pin, sizeof(m->pin), pin))
        return -EINVAL;
    m->invited_ms = invited;
    m->expires_ms = expires;
    m->used_ms = used;
    m->joined_ms = joined;
    m->cert_until_ms = until;
    m->removed_ms = removed;
    return 0;
}

static int load(struct members *members, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(MEMBERS_FILE_BYTES_MAX);
    int rc = file_read(members->path, &text, err);
    json_error_t where;
    json_t *list, *item;
    size_t i;

    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    list = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_array(list)) {
        json_decref(list);
        return err_set(err, -EINVAL, "%s:%d: not a JSON list of sites", members->path, where.line);
    }
    rc = 0;
    json_array_foreach (list, i, item) {
        rc = load_member(members, item);
        if (rc < 0) {
            err_set(err, rc, "%s: entry %zu is not a site", members->path, i + 1);
            break;
        }
    }
    json_decref(list);
    return rc;
}

int members_open(const char *state_dir, const char *again, struct members **members_out,
                 struct err *err)
{
    struct members *members = calloc(1, sizeof(*members));
    int rc = -ENOMEM;

    if (members) {
        members->path = path_format("%s/members.json", state_dir);
        members->again = again;
    }
    if (!members || !members->path)
        err_set(err, rc, "members: out of memory");
    else
        rc = load(members, err);
    if (rc < 0) {
        members_close(members);
        return rc;
    }
    *members_out = members;
    return 0;
}

void members_close(struct members *members)
{
    if (!members)
        return;
    free(members->path);
    free(members->list);
    free(members);
}

/* ---- changes: in memory only once they are on the disk ---- */

static int keep(struct members *members, struct member *member, const struct member *changed,
                struct err *err)
{
    struct member before = *member;
    int rc;

    *member = *changed;
    rc = save(members, err);
    if (rc < 0)
        *member = before;
    return rc;
}

int members_invite(struct members *members, const char *site, const char *owner, int64_t now_ms,
                   int64_t expires_ms, char secret_out[TOKEN_TEXT_BYTES], struct err *err)
{
    struct member *member = find(members, site);
    bool is_new = !member;
    struct member changed;
    int rc;

    if (!member)
        member = add(members);
    if (!member)
        return err_set(err, -ENOSPC, "there are %u sites already", members->count);
    changed = *member;
    rc = token_create(secret_out, changed.secret_hash, err);
    if (rc == 0) {
        snprintf(changed.site, sizeof(changed.site), "%s", site);
        snprintf(changed.owner, sizeof(changed.owner), "%s", owner);
        changed.invited_ms = now_ms;
        changed.expires_ms = expires_ms;
        changed.used_ms = 0;
        rc = keep(members, member, &changed, err);
    }
    if (rc < 0 && is_new)
        members->count--;
    return rc;
}

int members_check_secret(const struct members *members, const char *site, const char *secret,
                         int64_t now_ms, struct err *err)
{
    const struct member *member = find(members, site);
    char hash[TOKEN_HASH_BYTES];

    token_hash(secret, hash);
    if (!member || !token_hash_is_equal(member->secret_hash, hash))
        return err_set(err, -EACCES,
                       "this join token is not known here, or a newer one took its place");
    if (member->used_ms)
        return err_set(err, -EACCES,
                       "this join token was used already: it is good once; ask for "
                       "another (`%s %s`)",
                       members->again, site);
    if (now_ms >= member->expires_ms)
        return err_set(err, -EACCES, "this join token has expired: ask for another (`%s %s`)",
                       members->again, site);
    return 0;
}

int members_admit(struct members *members, const char *site, const char *pin, int64_t now_ms,
                  int64_t cert_until_ms, struct err *err)
{
    struct member *member = find(members, site);
    struct member changed;

    if (!member)
        return err_set(err, -ENOENT, "there is no site %s", site);
    changed = *member;
    changed.used_ms = changed.joined_ms = now_ms;
    changed.cert_until_ms = cert_until_ms;
    changed.removed_ms = 0;
    snprintf(changed.pin, sizeof(changed.pin), "%s", pin);
    return keep(members, member, &changed, err);
}

int members_renew(struct members *members, const char *site, int64_t cert_until_ms, struct err *err)
{
    struct member *member = find(members, site);
    struct member changed;

    if (!member)
        return err_set(err, -ENOENT, "there is no site %s", site);
    changed = *member;
    changed.cert_until_ms = cert_until_ms;
    return keep(members, member, &changed, err);
}

int members_remove(struct members *members, const char *site, int64_t now_ms, struct err *err)
{
    struct member *member = find(members, site);
    struct member changed;

    if (!member)
        return err_set(err, -ENOENT, "site %s did not join with a token", site);
    changed = *member;
    changed.pin[0] = changed.secret_hash[0] = '\0';
    changed.removed_ms = now_ms;
    return keep(members, member, &changed, err);
}
