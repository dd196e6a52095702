#include "sched/apart.h"

#include "sched/fleet.h"
#include "sched/mem.h"
#include "sched/shape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- marks ------------------------------------------------------------------------------------ */

void apart_marks_fini(struct apart_marks *marks)
{
    free(marks->held);
    free(marks->promised);
    *marks = (struct apart_marks){ 0 };
}

void apart_hold(struct apart_marks *marks, const struct request_apart *of, uint32_t node)
{
    MEM_GROW(marks->held, marks->held_cap, marks->held_count + 1);
    marks->held[marks->held_count++] = (struct apart_mark){ of, node, NULL };
    marks->version++;
}

void apart_release(struct apart_marks *marks, const struct request_apart *of, uint32_t node)
{
    uint32_t at = 0;

    while (at < marks->held_count && (marks->held[at].of != of || marks->held[at].node != node))
        at++;
    assert(at < marks->held_count);
    marks->held[at] = marks->held[--marks->held_count];
    marks->version++;
}

void apart_promise(struct apart_marks *marks, const struct request_apart *of, uint32_t node,
                   const struct fleet_limit *limit)
{
    MEM_GROW(marks->promised, marks->promised_cap, marks->promised_count + 1);
    marks->promised[marks->promised_count++] = (struct apart_mark){ of, node, limit };
}

void apart_unpromise(struct apart_marks *marks, const struct fleet_limit *limit)
{
    uint32_t at = 0;

    while (at < marks->promised_count && marks->promised[at].limit != limit)
        at++;
    assert(at < marks->promised_count);
    marks->promised[at] = marks->promised[--marks->promised_count];
}

/* --- who must be apart ------------------------------------------------------------------------ */

static bool avoids(const struct request_apart *who, const struct request_apart *whom)
{
    for (uint32_t i = 0; i < who->avoids_count; i++)
        for (uint32_t k = 0; k < whom->labels_count; k++)
            if (strcmp(who->avoids[i], whom->labels[k]) == 0)
                return true;
    return false;
}

int apart_conflict(const struct request_apart *a, const struct request_apart *b)
{
    int level = -1;

    if (strcmp(a->tenant, b->tenant) != 0)
        return -1;
    if (avoids(a, b))
        level = (int)a->level;
    if (avoids(b, a) && (int)b->level > level)
        level = (int)b->level;
    return level;
}

/* What a node shares with others at this level: racks or supernodes; NULL = nothing. */
static const struct domain_level *domains_at(const struct fleet_site *site, int level)
{
    const struct domain_level *domains;

    if ((level != APART_RACK && level != APART_SUPERNODE) || !site->domains.any)
        return NULL;
    domains = &site->domains.levels[level - APART_RACK];
    return domains->count ? domains : NULL;
}

/* Nodes without a label are in no domain but their own. */
static bool is_beside(const struct fleet_site *site, int level, uint32_t a, uint32_t b)
{
    const struct domain_level *domains = domains_at(site, level);

    return a == b || level == APART_SITE ||
           (domains && domains->of[a] != UINT32_MAX && domains->of[a] == domains->of[b]);
}

/* --- bars ------------------------------------------------------------------------------------- */

struct apart_bars *apart_bars_create(void)
{
    struct apart_bars *bars = mem_alloc(1, sizeof(*bars));

    bars->site = UINT32_MAX;
    return bars;
}

void apart_bars_destroy(struct apart_bars *bars)
{
    if (bars)
        free(bars->bits);
    free(bars);
}

static void bar(struct apart_bars *bars, uint32_t node)
{
    bars->bits[node / 64] |= UINT64_C(1) << node % 64;
}

static void bar_around(struct apart_bars *bars, const struct fleet_site *site, int level,
                       uint32_t node)
{
    const struct domain_level *domains = domains_at(site, level);
    uint32_t domain = domains ? domains->of[node] : UINT32_MAX;

    bar(bars, node);
    if (level == APART_SITE)
        memset(bars->bits, 0xff, bars->words * sizeof(*bars->bits));
    if (domain == UINT32_MAX)
        return;
    for (uint32_t i = domains->first[domain]; i < domains->first[domain + 1]; i++)
        bar(bars, domains->nodes[i]);
}

static void look_at_site(const struct shape *shape, const struct fleet_site *site)
{
    struct apart_bars *bars = shape->bars;
    const struct apart_marks *marks = &site->marks;
    uint32_t words = (site->info.nodes_count + 63) / 64;

    MEM_GROW(bars->bits, bars->words, words);
    memset(bars->bits, 0, bars->words * sizeof(*bars->bits));
    for (uint32_t i = 0; i < marks->held_count; i++) {
        int level = apart_conflict(shape->apart, marks->held[i].of);

        if (level >= 0)
            bar_around(bars, site, level, marks->held[i].node);
    }
    bars->site = site->number;
    bars->version = marks->version;
}

bool apart_bars_node(const struct shape *shape, const struct fleet_site *site, uint32_t node,
                     bool is_limited)
{
    const struct apart_marks *marks = &site->marks;
    const struct apart_bars *bars = shape->bars;

    if (marks->held_count) {
        if (bars->site != site->number || bars->version != marks->version)
            look_at_site(shape, site);
        if (bars->bits[node / 64] >> node % 64 & 1)
            return true;
    }
    for (uint32_t i = 0; is_limited && i < marks->promised_count; i++) {
        const struct apart_mark *mark = &marks->promised[i];
        int level;

        if (!fleet_limit_binds(mark->limit))
            continue;
        level = apart_conflict(shape->apart, mark->of);
        if (level >= 0 && is_beside(site, level, node, mark->node))
            return true;
    }
    return false;
}

const struct request_apart *apart_find(const struct shape *shape, const struct fleet_site *site)
{
    for (uint32_t i = 0; i < site->marks.held_count; i++)
        if (apart_conflict(shape->apart, site->marks.held[i].of) >= 0)
            return site->marks.held[i].of;
    return NULL;
}
