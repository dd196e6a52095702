/* What is moved for jobs, and what is where, as a part of a snapshot and back. */
#include "grid/fields.h"
#include "grid/freight.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void freight_put_shape(const struct request_freight *freight, struct buf *out)
{
    put_u64(out, freight->goods_count);
    for (uint32_t i = 0; i < freight->goods_count; i++) {
        put_u64(out, freight->goods[i].name);
        put_i64(out, freight->goods[i].bytes);
    }
    put_i64(out, freight->more_bytes);
    put_i64(out, freight->out_bytes);
    put_i64(out, freight->span_ms);
    put_i64(out, freight->units_milli);
    put_i64(out, freight->price_micro_max);
}

static bool take_signed(struct cursor *in, int64_t min, int64_t max, int64_t *out)
{
    return get_i64(in, out) == 0 && *out >= min && *out <= max;
}

int freight_take_shape(struct cursor *in, struct request_freight *freight)
{
    uint64_t count;

    if (get_u64(in, &count) < 0 || count > ARRAY_COUNT(freight->goods))
        return -EBADMSG;
    freight->goods_count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (get_u64(in, &freight->goods[i].name) < 0 ||
            !take_signed(in, 0, REQUEST_GOOD_BYTES_MAX, &freight->goods[i].bytes))
            return -EBADMSG;
    return take_signed(in, 0, INT64_MAX / 4, &freight->more_bytes) &&
                   take_signed(in, 0, REQUEST_GOOD_BYTES_MAX, &freight->out_bytes) &&
                   take_signed(in, 0, DURATION_MS_MAX, &freight->span_ms) &&
                   take_signed(in, 0, INT64_MAX, &freight->units_milli) &&
                   take_signed(in, -1, REQUEST_PRICE_MICRO_MAX, &freight->price_micro_max)
               ? 0
               : -EBADMSG;
}

void freight_put_terms(const struct terms *terms, struct buf *out)
{
    put_u64(out, terms->goods.count);
    for (uint32_t i = 0; i < terms->goods.count; i++) {
        put_u64(out, terms->goods.list[i].name);
        put_i64(out, terms->goods.list[i].bytes);
    }
    put_i64(out, terms->goods.more_bytes);
    put_i64(out, terms->out_bytes);
    put_i64(out, terms->price_micro_max);
}

int freight_take_terms(struct cursor *in, struct job_request *request, int64_t *out_bytes_out)
{
    uint64_t count;

    if (get_u64(in, &count) < 0 || count > REQUEST_GOODS_MAX)
        return -EBADMSG;
    request->goods.count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++)
        if (get_u64(in, &request->goods.list[i].name) < 0 ||
            !take_signed(in, 0, REQUEST_GOOD_BYTES_MAX, &request->goods.list[i].bytes))
            return -EBADMSG;
    return take_signed(in, 0, REQUEST_GOOD_BYTES_MAX, &request->goods.more_bytes) &&
                   take_signed(in, 0, REQUEST_GOOD_BYTES_MAX, out_bytes_out) &&
                   take_signed(in, 0, REQUEST_PRICE_MICRO_MAX, &request->price_micro_max)
               ? 0
               : -EBADMSG;
}

static int compare_held(const void *a, const void *b)
{
    const struct freight_held *x = a, *y = b;

    return x->name < y->name ? -1 : x->name > y->name;
}

static void put_site(struct buf *out, const struct freight_site *site)
{
    struct freight_held held[FREIGHT_HELD_MAX];

    if (site->held_count)
        memcpy(held, site->held, site->held_count * sizeof(held[0]));
    qsort(held, site->held_count, sizeof(held[0]), compare_held);
    put_u64(out, site->held_count);
    for (uint32_t i = 0; i < site->held_count; i++) {
        put_u64(out, held[i].name);
        put_i64(out, held[i].bytes);
        put_i64(out, held[i].used_ms);
    }
    put_i64(out, site->down_bytes_s);
    put_i64(out, site->up_bytes_s);
    put_u64(out, site->waits_count);
    for (uint32_t i = 0; i < site->waits_count; i++) {
        put_u64(out, site->waits[i].has_devices);
        put_u64(out, site->waits[i].nodes_max);
        put_u64(out, site->waits[i].pending);
        put_i64(out, site->waits[i].wait_ms);
    }
}

void freight_put(const struct grid *grid, struct buf *out)
{
    uint64_t outs = 0;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        put_site(out, &grid->fleet.sites[i].freight);
    for (uint32_t i = 0; grid->outs && i < FREIGHT_OUTS; i++)
        outs += grid->outs[i].key != 0;
    put_u64(out, outs);
    for (uint32_t i = 0; outs && i < FREIGHT_OUTS; i++)
        if (grid->outs[i].key) {
            put_u64(out, grid->outs[i].key);
            put_i64(out, grid->outs[i].bytes);
        }
    put_i64(out, grid->withdraw_next_ms);
}

static bool take_waits(struct cursor *in, struct freight_site *site)
{
    uint64_t count, fields[3];

    if (get_u64(in, &count) < 0 || count > FREIGHT_WAITS_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct freight_wait *wait = &site->waits[i];

        for (size_t k = 0; k < ARRAY_COUNT(fields); k++)
            if (get_u64(in, &fields[k]) < 0 || fields[k] > UINT32_MAX)
                return false;
        *wait = (struct freight_wait){ (uint32_t)fields[0], (uint32_t)fields[1],
                                       (uint32_t)fields[2], 0 };
        if (get_i64(in, &wait->wait_ms) < 0)
            return false;
    }
    site->waits_count = (uint32_t)count;
    return freight_waits_are_sound(site->waits, site->waits_count);
}

static bool take_site(struct grid *grid, struct cursor *in, struct freight_site *site)
{
    uint64_t count, name, last = 0;
    int64_t bytes, used_ms;

    if (get_u64(in, &count) < 0 || count > FREIGHT_HELD_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (get_u64(in, &name) < 0 || (i && name <= last) ||
            !take_signed(in, 0, FREIGHT_HELD_BYTES_MAX - site->held_bytes, &bytes) ||
            !take_signed(in, 0, grid->now_ms, &used_ms))
            return false;
        last = name;
        freight_hold(site, name, bytes, used_ms);
    }
    if (!take_signed(in, 0, FREIGHT_RATE_MAX, &site->down_bytes_s) ||
        !take_signed(in, 0, FREIGHT_RATE_MAX, &site->up_bytes_s) || !take_waits(in, site))
        return false;
    grid->fleet.waits_count += site->waits_count > 0;
    return true;
}

int freight_take(struct grid *grid, struct cursor *in)
{
    struct freight_out out;
    uint64_t count;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        if (!take_site(grid, in, &grid->fleet.sites[i].freight))
            return -EBADMSG;
    if (get_u64(in, &count) < 0 || count > FREIGHT_OUTS)
        return -EBADMSG;
    if (count)
        grid->outs = mem_alloc(FREIGHT_OUTS, sizeof(*grid->outs));
    for (uint64_t i = 0; i < count; i++) {
        if (get_u64(in, &out.key) < 0 || !out.key || grid->outs[out.key % FREIGHT_OUTS].key ||
            !take_signed(in, 1, REQUEST_GOOD_BYTES_MAX, &out.bytes))
            return -EBADMSG;
        grid->outs[out.key % FREIGHT_OUTS] = out;
    }
    freight_told_again(grid);
    return take_signed(in, 0, INT64_MAX, &grid->withdraw_next_ms) ? 0 : -EBADMSG;
}
