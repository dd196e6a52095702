#include "sim/what.h"

#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 6u
#define FOR_GOOD_MS (3650LL * 24 * 3600 * 1000)
#define ADDED_MAX 10000000

struct words {
    char text[SIM_WHAT_BYTES_MAX];
    const char *list[WORDS_MAX];
    uint32_t count;
};

/* What follows "add:", by blanks; false: too many. */
static bool split(const char *text, struct words *words)
{
    char *at = words->text;

    snprintf(words->text, sizeof(words->text), "%s", text);
    for (words->count = 0;; words->count++) {
        while (isspace((unsigned char)*at))
            at++;
        if (!*at)
            return true;
        if (words->count == WORDS_MAX)
            return false;
        words->list[words->count] = at;
        while (*at && !isspace((unsigned char)*at))
            at++;
        if (*at)
            *at++ = '\0';
    }
}

static int find_site(const struct sim_fleet *fleet, const char *name, uint32_t *out,
                     struct err *err)
{
    int site = sim_fleet_find_site(fleet, name);

    if (site < 0)
        return err_set(err, -ENOENT, "fleet %s has no site %.60s; its first is %s", fleet->name,
                       name, fleet->sites[0].name);
    *out = (uint32_t)site;
    return 0;
}

/* --- more of the fleet ------------------------------------------------------------------------ */

/* The pool of the site with most devices (nodes, where it has none) of the kind; "" = any. */
static const struct sim_pool *largest_pool(const struct sim_site *site, const char *chip)
{
    const struct sim_pool *best = NULL;
    uint64_t most = 0;

    for (uint32_t i = 0; i < site->pools_count; i++) {
        const struct sim_pool *pool = &site->pools[i];
        uint64_t size = (uint64_t)pool->nodes * (pool->devices * 1000ULL + 1);

        if ((*chip && strcmp(pool->chip, chip) != 0) || size <= most)
            continue;
        best = pool;
        most = size;
    }
    return best;
}

static int find_pool(const struct sim_fleet *fleet, uint32_t site, const char *chip,
                     const struct sim_pool **out, struct err *err)
{
    *out = largest_pool(&fleet->sites[site], chip);
    for (uint32_t i = 0; !*out && i < fleet->sites_count; i++)
        *out = largest_pool(&fleet->sites[i], chip);
    return *out ? 0
                : err_set(err, -ENOENT, "no site of fleet %s has a node with %.60s to be like",
                          fleet->name, chip);
}

static int count_nodes(const struct sim_pool *pool, bool is_nodes, int64_t count, uint32_t *out,
                       struct err *err)
{
    if (!is_nodes && !pool->devices)
        return err_set(err, -EINVAL, "the nodes there have no devices: add: %" PRId64 " nodes",
                       count);
    if (!is_nodes && count % pool->devices)
        return err_set(err, -EINVAL,
                       "nodes like those have %u devices each: add %" PRId64 " of them",
                       pool->devices, (count / pool->devices + 1) * pool->devices);
    *out = (uint32_t)(is_nodes ? count : count / pool->devices);
    return 0;
}

/* Its own list of sites; all else is the other's yet. */
static struct sim_fleet *copy_fleet(const struct sim_fleet *from)
{
    struct sim_fleet *fleet = sim_fleet_create();

    if (!fleet ||
        !(fleet->sites = arena_alloc(&fleet->arena, from->sites_count, sizeof(*fleet->sites)))) {
        sim_fleet_destroy(fleet);
        return NULL;
    }
    memcpy(fleet->name, from->name, sizeof(fleet->name));
    fleet->start_ms = from->start_ms;
    fleet->sites_count = from->sites_count;
    memcpy(fleet->sites, from->sites, from->sites_count * sizeof(*fleet->sites));
    for (uint32_t i = 0; i < fleet->sites_count; i++)
        fleet->sites[i].nodes_count = 0; /* sim_fleet_finish counts */
    return fleet;
}

/* One pool more at its end: all that was there keeps its place. */
static int add_pool(struct sim_fleet *fleet, struct sim_site *site, const struct sim_pool *like,
                    uint32_t nodes, struct err *err)
{
    struct sim_pool *pools = arena_alloc(&fleet->arena, site->pools_count + 1, sizeof(*pools));

    if (!pools)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(pools, site->pools, site->pools_count * sizeof(*pools));
    pools[site->pools_count] = *like;
    pools[site->pools_count].nodes = nodes;
    snprintf(pools[site->pools_count].name, sizeof(pools->name), "%.40s-more%u", like->name,
             site->pools_count);
    site->pools = pools;
    site->pools_count++;
    return 0;
}

static int add(const struct words *words, const struct sim_what *base, struct sim_fleet *fleet,
               struct err *err)
{
    bool has_kind = words->count == 4;
    const char *kind = has_kind ? words->list[1] : "";
    bool is_nodes = strcmp(kind, "nodes") == 0;
    const struct sim_pool *like = NULL;
    uint32_t site = 0, nodes = 0;
    int64_t count = 0;
    int rc;

    if ((words->count != 3 && !has_kind) || strcmp(words->list[1 + has_kind], "at") != 0)
        return err_set(err, -EINVAL, "expected \"add: N [KIND or nodes] at SITE\"");
    rc = units_parse_int(words->list[0], 1, ADDED_MAX, &count, err);
    if (rc == 0)
        rc = find_site(base->fleet, words->list[2 + has_kind], &site, err);
    if (rc == 0)
        rc = find_pool(base->fleet, site, is_nodes ? "" : kind, &like, err);
    if (rc == 0)
        rc = count_nodes(like, is_nodes, count, &nodes, err);
    return rc < 0 ? rc : add_pool(fleet, &fleet->sites[site], like, nodes, err);
}

/* --- another tariff, an outage ---------------------------------------------------------------- */

static int set_tariff(const char *key, const struct words *words, const struct sim_what *base,
                      struct arena *arena, struct sim_fleet *fleet, struct err *err)
{
    char text[SIM_WHAT_BYTES_MAX + 32];
    uint32_t site = 0;
    int rc;

    if (words->count != 3 || strcmp(words->list[1], "at") != 0)
        return err_set(err, -EINVAL, "expected \"%s: NUMBER at SITE\"", key);
    rc = find_site(base->fleet, words->list[2], &site, err);
    if (rc < 0)
        return rc;
    if (base->fleet->sites[site].series.rows_count)
        return err_set(err, -EINVAL, "site %s has a series over time: change it in its file",
                       words->list[2]);
    snprintf(text, sizeof(text), "%s: %s", key, words->list[0]);
    return sim_tariff_change(text, arena, &fleet->sites[site].tariff, err);
}

static int lose(const struct words *words, const struct sim_what *base, struct arena *arena,
                struct sim_what *out, struct err *err)
{
    struct sim_site_window window = { .window = { .kind = SIM_WINDOW_POWER,
                                                  .length_ms = FOR_GOOD_MS } };
    uint32_t count = base->faults.windows_count, site = 0;
    struct sim_site_window *windows;
    int rc;

    if (!words->count || words->count % 2 == 0)
        return err_set(err, -EINVAL, "expected \"lose: SITE [at TIME] [for TIME]\"");
    rc = find_site(base->fleet, words->list[0], &site, err);
    for (uint32_t i = 1; rc == 0 && i < words->count; i += 2) {
        bool is_length = strcmp(words->list[i], "for") == 0;

        if (!is_length && strcmp(words->list[i], "at") != 0)
            return err_set(err, -EINVAL, "expected \"at\" or \"for\", not \"%s\"", words->list[i]);
        rc = units_parse_duration(words->list[i + 1],
                                  is_length ? &window.window.length_ms : &window.window.at_ms, err);
    }
    if (rc < 0)
        return rc;
    if (window.window.length_ms < 1000 || window.window.length_ms > FOR_GOOD_MS ||
        window.window.at_ms > FOR_GOOD_MS)
        return err_set(err, -EINVAL, "expected a second to ten years");
    windows = arena_alloc(arena, count + 1, sizeof(*windows));
    if (!windows)
        return err_set(err, -ENOMEM, "out of memory");
    if (count)
        memcpy(windows, base->faults.windows, count * sizeof(*windows));
    memcpy(window.site, base->fleet->sites[site].name, sizeof(window.site));
    windows[count] = window;
    if (window.window.length_ms == FOR_GOOD_MS)
        out->policy.moves = 1; /* it will not be heard again: nobody waits for that */
    out->faults.windows = windows;
    out->faults.windows_count = count + 1;
    return 0;
}

/* --- one of them ------------------------------------------------------------------------------ */

static bool is_tariff(const char *key)
{
    return strcmp(key, "power_price") == 0 || strcmp(key, "carbon") == 0 ||
           strcmp(key, "cpu_price") == 0 || strcmp(key, "device_price") == 0;
}

static int apply(const char *text, const struct sim_what *base, const struct catalogue *catalogue,
                 struct arena *arena, struct sim_what *out, struct sim_fleet **fleet_out,
                 struct err *err)
{
    CLEANUP(sim_fleet_destroyp) struct sim_fleet *fleet = NULL;
    size_t key_len = strcspn(text, ":");
    struct words words;
    char key[32] = "";
    int rc;

    if (!text[key_len] || !key_len || key_len >= sizeof(key) || strlen(text) >= SIM_WHAT_BYTES_MAX)
        return err_set(
            err, -EINVAL,
            "expected \"add: 8 at SITE\", \"lose: SITE\", \"power_price: 0.3 at SITE\" or "
            "a line of a policy such as \"order: fifo\"");
    memcpy(key, text, key_len);
    if (strcmp(key, "lose") != 0 && strcmp(key, "add") != 0 && !is_tariff(key))
        return sim_policy_change(text, arena, &out->policy, err);
    if (!split(text + key_len + 1, &words))
        return err_set(err, -EINVAL, "too many words");
    if (strcmp(key, "lose") == 0)
        return lose(&words, base, arena, out, err);
    fleet = copy_fleet(base->fleet);
    if (!fleet)
        return err_set(err, -ENOMEM, "out of memory");
    rc = is_tariff(key) ? set_tariff(key, &words, base, arena, fleet, err)
                        : add(&words, base, fleet, err);
    if (rc == 0)
        rc = sim_fleet_finish(fleet, catalogue, err);
    if (rc < 0)
        return rc;
    out->fleet = *fleet_out = TAKE(fleet);
    return 0;
}

int sim_what_if(const char *text, const struct sim_what *base, const struct catalogue *catalogue,
                struct arena *arena, struct sim_what *out, struct sim_fleet **fleet_out,
                struct err *err)
{
    struct sim_what what = *base;
    int rc;

    *fleet_out = NULL;
    rc = apply(text, base, catalogue, arena, &what, fleet_out, err);
    if (rc < 0)
        return err_prefix(err, rc, "\"%.80s\"", text);
    snprintf(what.policy.name, sizeof(what.policy.name), "%s", text);
    *out = what;
    return 0;
}
