#include "grid/packing.h"

#include "grid/state.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void packing_set(struct grid *grid, enum packer_reach reach)
{
    struct packer *packer = grid->fleet.packer;

    /* What was found by score is of other streams and other numbers of chips. */
    if (reach != (packer ? packer->reach : PACKER_OFF))
        grid->fleet.shape_version++;
    if (!reach) {
        packer_destroy(packer);
        grid->fleet.packer = NULL;
        return;
    }
    if (packer) {
        packer->reach = reach;
        return;
    }
    grid->fleet.packer = packer_create(reach);
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        packer_add_site(grid->fleet.packer, &grid->fleet.sites[i]);
}

void packing_site_joined(struct grid *grid, const char *name)
{
    int index = fleet_find_site(&grid->fleet, name);

    if (grid->fleet.packer && index >= 0)
        packer_add_site(grid->fleet.packer, &grid->fleet.sites[index]);
}

void packing_submitted(struct grid *grid, uint32_t shape, uint32_t jobs_count)
{
    struct shape *at = shapes_at(&grid->shapes, shape);

    for (uint32_t i = 0; grid->fleet.packer && i < jobs_count; i++)
        packer_learn(grid->fleet.packer, at, &grid->fleet);
}

/* --- snapshots ------------------------------------------------------------------------------ */

static void put_double(struct buf *out, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put_u64(out, bits);
}

static bool get_double(struct cursor *in, double *out)
{
    uint64_t bits;

    if (get_u64(in, &bits) < 0)
        return false;
    memcpy(out, &bits, sizeof(*out));
    return isfinite(*out);
}

static bool get_max(struct cursor *in, uint64_t max, uint64_t *out)
{
    return get_u64(in, out) == 0 && *out <= max;
}

void packing_put(const struct grid *grid, struct buf *out)
{
    const struct packer *packer = grid->fleet.packer;
    const struct fill_memory *memory;

    put_u64(out, packer ? packer->reach : PACKER_OFF);
    if (!packer)
        return;
    put_u64(out, packer->kinds.live_count);
    for (uint32_t i = 1; i <= packer->kinds.live_count; i++)
        put_text(out, intern_data(&packer->kinds, i));
    memory = fill_memory(packer->fill);
    put_u64(out, memory->seed);
    put_u64(out, memory->draws_count);
    put_u64(out, memory->arrivals_count);
    put_u64(out, memory->draw_next);
    put_double(out, memory->big_share);
    for (uint32_t i = 0; i < FILL_CHIPS_MAX; i++)
        put_double(out, memory->chip_share[i]);
    put_u64(out, memory->classes_count);
    for (uint32_t i = 0; i < memory->classes_count; i++) {
        const struct fill_class *class = &memory->classes[i];

        put_i64(out, class->ask.cpu_milli);
        put_u64(out, class->ask.devices);
        put_u64(out, class->ask.milli);
        put_u64(out, class->ask.chips);
        put_u64(out, class->count);
        put_double(out, class->weight);
        put_double(out, class->drawn);
    }
}

static bool take_class(struct cursor *in, struct fill_class *class)
{
    uint64_t devices, milli, count;

    if (get_i64(in, &class->ask.cpu_milli) < 0 || !get_max(in, FILL_DEVICES_MAX, &devices) ||
        !get_max(in, FILL_DEVICE_MILLI, &milli) || get_u64(in, &class->ask.chips) < 0 ||
        !get_max(in, UINT32_MAX, &count) || !get_double(in, &class->weight) ||
        !get_double(in, &class->drawn))
        return false;
    class->ask.devices = (uint16_t)devices;
    class->ask.milli = (uint16_t)milli;
    class->count = (uint32_t)count;
    return true;
}

static bool take_memory(struct cursor *in, struct fill_memory *memory)
{
    uint64_t count;
    bool is_good = get_u64(in, &memory->seed) == 0 && get_u64(in, &memory->draws_count) == 0 &&
                   get_u64(in, &memory->arrivals_count) == 0 &&
                   get_u64(in, &memory->draw_next) == 0 && get_double(in, &memory->big_share);

    for (uint32_t i = 0; i < FILL_CHIPS_MAX && is_good; i++)
        is_good = get_double(in, &memory->chip_share[i]);
    is_good = is_good && get_max(in, FILL_CLASSES_MAX, &count);
    for (uint64_t i = 0; is_good && i < count; i++)
        is_good = take_class(in, &memory->classes[i]);
    memory->classes_count = is_good ? (uint32_t)count : 0;
    return is_good;
}

static bool take_kinds(struct cursor *in, struct intern *kinds)
{
    const char *kind;
    uint64_t count;
    size_t len;

    if (!get_max(in, FILL_CHIPS_MAX - 1, &count))
        return false;
    intern_fini(kinds);
    for (uint64_t i = 0; i < count; i++)
        if (get_text(in, &kind, &len) < 0 || !len || len >= MODEL_NAME_BYTES ||
            intern_find(kinds, kind, (uint32_t)len) || !intern_text(kinds, kind))
            return false;
    return true;
}

int packing_take(struct grid *grid, struct cursor *in)
{
    struct fill_memory *memory;
    uint64_t reach;
    int rc = 0;

    if (!get_max(in, PACKER_PLACES, &reach))
        return -EBADMSG;
    packing_set(grid, (enum packer_reach)reach);
    if (!reach)
        return 0;
    memory = calloc(1, sizeof(*memory));
    if (!memory)
        return -ENOMEM;
    if (!take_kinds(in, &grid->fleet.packer->kinds) || !take_memory(in, memory) ||
        fill_restore(grid->fleet.packer->fill, memory) < 0)
        rc = -EBADMSG;
    free(memory);
    return rc;
}
