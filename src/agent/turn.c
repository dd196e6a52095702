#include "agent/turn.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct noted {
    struct attempt_key key; /* padding zeroed: hashed as bytes */
    uint32_t job_class;
    int64_t deadline_ms;
    UT_hash_handle hh;
};
struct turns {
    struct noted *list;
};

static int compare(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

int turn_compare(const struct turn *a, const struct turn *b)
{
    int rc = compare((int64_t)a->kind, (int64_t)b->kind);

    if (rc == 0)
        rc = compare((int64_t)b->job_class, (int64_t)a->job_class);
    if (rc == 0)
        rc = compare(a->deadline_ms ? a->deadline_ms : INT64_MAX,
                     b->deadline_ms ? b->deadline_ms : INT64_MAX);
    return rc ? rc : compare(a->since_ms, b->since_ms);
}

struct turns *turns_create(void)
{
    return calloc(1, sizeof(struct turns));
}

void turns_destroy(struct turns *turns)
{
    struct noted *noted, *next;

    if (!turns)
        return;
    HASH_ITER (hh, turns->list, noted, next) {
        HASH_DEL(turns->list, noted);
        free(noted);
    }
    free(turns);
}

static struct noted *find(const struct turns *turns, struct attempt_key key)
{
    struct attempt_key clean;
    struct noted *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, turns->list, &clean, sizeof(clean), found);
    return found;
}

static uint32_t class_of(const char *spec_json)
{
    static const char *const names[] = { "low", "normal", "high", "urgent" };
    uint32_t job_class = CLASS_NORMAL;
    json_t *spec;
    const char *name;

    if (!strstr(spec_json, "\"class\"")) /* most say none: they are not worth a parse */
        return job_class;
    spec = json_loads(spec_json, 0, NULL);
    name = json_string_value(json_object_get(spec, "class"));
    for (uint32_t i = 0; name && i < CLASS_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            job_class = i;
    json_decref(spec);
    return job_class;
}

void turns_note(struct turns *turns, struct attempt_key key, const char *spec_json,
                int64_t deadline_ms)
{
    uint32_t job_class = class_of(spec_json);
    struct noted *noted;

    if ((job_class == CLASS_NORMAL && !deadline_ms) || find(turns, key))
        return;
    noted = calloc(1, sizeof(*noted));
    if (!noted)
        return;
    noted->key.job_id = key.job_id;
    noted->key.epoch = key.epoch;
    noted->job_class = job_class;
    noted->deadline_ms = deadline_ms;
    HASH_ADD(hh, turns->list, key, sizeof(noted->key), noted);
}

struct turn turns_find(const struct turns *turns, struct attempt_key key, enum turn_kind kind,
                       int64_t since_ms)
{
    const struct noted *noted = find(turns, key);

    return (struct turn){ .kind = kind,
                          .job_class = noted ? noted->job_class : CLASS_NORMAL,
                          .deadline_ms = noted ? noted->deadline_ms : 0,
                          .since_ms = since_ms };
}

void turns_forget(struct turns *turns, struct attempt_key key)
{
    struct noted *noted = find(turns, key);

    if (!noted)
        return;
    HASH_DEL(turns->list, noted);
    free(noted);
}
