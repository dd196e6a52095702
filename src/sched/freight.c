#include "sched/freight.h"

#include "sched/mem.h"

#include <stdlib.h>

#define GB INT64_C(1000000000)
#define HOUR_MS INT64_C(3600000)

void freight_site_fini(struct freight_site *site)
{
    free(site->held);
    *site = (struct freight_site){ 0 };
}

static struct freight_held *find(const struct freight_site *site, uint64_t name)
{
    for (uint32_t i = 0; i < site->held_count; i++)
        if (site->held[i].name == name)
            return &site->held[i];
    return NULL;
}

bool freight_has(const struct freight_site *site, uint64_t name)
{
    return find(site, name) != NULL;
}

/* The one not used for longest; ties go by name, so that the order of the list means nothing. */
static void forget_one(struct freight_site *site)
{
    uint32_t oldest = 0;

    for (uint32_t i = 1; i < site->held_count; i++)
        if (site->held[i].used_ms < site->held[oldest].used_ms ||
            (site->held[i].used_ms == site->held[oldest].used_ms &&
             site->held[i].name < site->held[oldest].name))
            oldest = i;
    site->held_bytes -= site->held[oldest].bytes;
    site->held[oldest] = site->held[--site->held_count];
}

bool freight_hold(struct freight_site *site, uint64_t name, int64_t bytes, int64_t now_ms)
{
    struct freight_held *held = find(site, name);

    if (held) {
        held->used_ms = now_ms;
        return false;
    }
    if (bytes > FREIGHT_HELD_BYTES_MAX)
        return false; /* more than a cache keeps */
    while (site->held_count == FREIGHT_HELD_MAX ||
           site->held_bytes + bytes > FREIGHT_HELD_BYTES_MAX)
        forget_one(site);
    MEM_GROW(site->held, site->held_cap, site->held_count + 1);
    site->held[site->held_count++] =
        (struct freight_held){ .name = name, .bytes = bytes, .used_ms = now_ms };
    site->held_bytes += bytes;
    return true;
}

bool freight_waits_are_sound(const struct freight_wait *waits, uint32_t count)
{
    if (count > FREIGHT_WAITS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (waits[i].has_devices > 1 || !waits[i].nodes_max || waits[i].wait_ms < 0 ||
            waits[i].wait_ms > FREIGHT_WAIT_MS_MAX ||
            (i && (waits[i].has_devices < waits[i - 1].has_devices ||
                   (waits[i].has_devices == waits[i - 1].has_devices &&
                    waits[i].nodes_max <= waits[i - 1].nodes_max))))
            return false;
    return true;
}

int64_t freight_wait_ms(const struct freight_site *site, bool has_devices, uint64_t nodes)
{
    int64_t wait_ms = 0;

    /* The first that is wide enough, else the widest. */
    for (uint32_t i = 0; i < site->waits_count; i++) {
        if (site->waits[i].has_devices != has_devices)
            continue;
        wait_ms = site->waits[i].wait_ms;
        if (nodes <= site->waits[i].nodes_max)
            break;
    }
    return wait_ms;
}

uint64_t freight_key(const char *tenant, const char *user, const char *name)
{
    const char *const texts[] = { tenant, user, name };
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, each with its NUL */

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (const char *at = texts[i] ? texts[i] : "";; at++) {
            hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
            if (!*at)
                break;
        }
    return hash ? hash : 1;
}

void freight_learn_out(struct freight_out outs[FREIGHT_OUTS], uint64_t key, int64_t bytes)
{
    struct freight_out *out = &outs[key % FREIGHT_OUTS];

    if (out->key != key)
        *out = (struct freight_out){ .key = key, .bytes = bytes };
    else
        out->bytes += (bytes - out->bytes) * 3 / 10;
}

int64_t freight_expect_out(const struct freight_out outs[FREIGHT_OUTS], uint64_t key)
{
    const struct freight_out *out = &outs[key % FREIGHT_OUTS];

    return out->key == key ? out->bytes : 0;
}

static int64_t time_of(int64_t bytes, int64_t bytes_s)
{
    __int128 ms = bytes_s > 0 ? ((__int128)bytes * 1000 + bytes_s - 1) / bytes_s : 0;

    return ms > FREIGHT_WAIT_MS_MAX ? FREIGHT_WAIT_MS_MAX : (int64_t)ms;
}

static int64_t price_of(int64_t bytes, int64_t gb_micro)
{
    __int128 micro = ((__int128)bytes * gb_micro + GB - 1) / GB;

    return micro > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)micro;
}

struct freight_cost freight_cost(const struct request_freight *ask,
                                 const struct site_policy *policy, const struct freight_site *site)
{
    int64_t told = policy ? policy->link_bytes_s : 0;
    struct freight_cost cost = { 0 };

    if (!ask)
        return cost;
    cost.in_bytes = ask->more_bytes;
    for (uint32_t i = 0; i < ask->goods_count; i++)
        if (!freight_has(site, ask->goods[i].name))
            cost.in_bytes += ask->goods[i].bytes;
    cost.out_bytes = ask->out_bytes;
    cost.in_ms = time_of(cost.in_bytes, site->down_bytes_s ? site->down_bytes_s : told);
    cost.out_ms = time_of(cost.out_bytes, site->up_bytes_s ? site->up_bytes_s : told);
    if (policy)
        cost.money_micro = price_of(cost.in_bytes, policy->ingress_gb_micro) +
                           price_of(cost.out_bytes, policy->egress_gb_micro);
    return cost;
}

int64_t freight_price_most(const struct request_freight *ask, int64_t hour_micro, uint32_t tasks,
                           const struct freight_cost *cost)
{
    __int128 sum =
        ((__int128)hour_micro * tasks * (ask->span_ms + FREIGHT_SLACK_MS) + HOUR_MS - 1) / HOUR_MS +
        cost->money_micro;

    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}
