/* What an attempt holds, or is promised, read back from a snapshot. */
#include "grid/reader.h"
#include "grid/state.h"

/* Sums stay in range, so that what is held can be added up. */
static bool part_is_sound(const struct fleet_site *site, const struct grant_part *part)
{
    const struct fleet_node *node = &site->nodes[part->node];
    int64_t sum;

    if ((uint64_t)node->cpus_used + part->cpus > UINT32_MAX ||
        __builtin_add_overflow(node->memory_used, part->memory_bytes, &sum) ||
        __builtin_add_overflow(node->disk_used, part->disk_bytes, &sum))
        return false;
    for (uint32_t d = 0; d < part->devices_count; d++) {
        const struct grant_device *device = &part->devices[d];

        if (device->index == FLEET_DEVICE_GONE)
            continue;
        if (device->index >= node->devices_count ||
            node->devices[device->index].used_milli + device->milli > 1000)
            return false;
        for (uint32_t k = 0; k < d; k++)
            if (part->devices[k].index == device->index)
                return false;
    }
    return true;
}

/* A plan is not held yet, and its nodes may have changed since; a look at them comes first. */
static bool planned_part_is_sound(const struct grant_part *part)
{
    for (uint32_t d = 0; d < part->devices_count; d++)
        if (part->devices[d].index >= NODE_DEVICES_MAX)
            return false;
    return true;
}

static void read_parts(struct reader *reader, struct grant *grant, struct grant_device *devices,
                       uint64_t devices_count, bool is_plan)
{
    const struct fleet_site *site = &reader->grid->fleet.sites[grant->site];
    uint64_t used = 0;

    for (uint32_t i = 0; i < grant->parts_count && !reader->failed; i++) {
        struct grant_part *part = &grant->parts[i];

        if (!site->info.nodes_count) {
            reader->failed = true;
            return;
        }
        part->node = (uint32_t)take(reader, site->info.nodes_count - 1);
        part->tasks = (uint32_t)take(reader, REQUEST_TASKS_MAX);
        part->cpus = (uint32_t)take(reader, UINT32_MAX);
        part->memory_bytes = take_signed(reader, 0, 1LL << 62);
        part->disk_bytes = take_signed(reader, 0, 1LL << 62);
        part->devices_count = (uint32_t)take(reader, NODE_DEVICES_MAX);
        part->devices = devices + used;
        used += part->devices_count;
        if (used > devices_count) {
            reader->failed = true;
            return;
        }
        for (uint32_t d = 0; d < part->devices_count; d++) {
            part->devices[d].index = (uint32_t)take(reader, UINT32_MAX);
            part->devices[d].milli = (uint32_t)take(reader, 1000);
            part->devices[d].gone_key = take(reader, UINT64_MAX);
            grant->devices_milli += part->devices[d].milli;
        }
        grant->cpus += part->cpus;
        for (uint32_t k = 0; k < i; k++)
            if (grant->parts[k].node == part->node)
                reader->failed = true;
        if (!reader->failed && !(is_plan ? planned_part_is_sound(part) : part_is_sound(site, part)))
            reader->failed = true;
    }
    if (used != devices_count)
        reader->failed = true;
}

static struct grant_choice read_choice(struct reader *reader)
{
    struct grant_choice choice = { .how = (uint32_t)take(reader, CHOICE_LAST) };

    if (!choice.how)
        return choice;
    choice.places = (uint32_t)take(reader, UINT32_MAX);
    choice.rank = (uint32_t)take(reader, choice.places);
    choice.other_site = (uint32_t)take(reader, reader->grid->fleet.sites_count);
    choice.other_chip = (uint32_t)take(reader, UINT16_MAX);
    return choice;
}

struct grant *reader_take_grant(struct reader *reader, const struct job *job, bool is_plan)
{
    struct grid *grid = reader->grid;
    uint64_t site = take(reader, UINT32_MAX);
    int64_t granted_ms = take_past_time(reader);
    int64_t end_ms = take_signed(reader, 0, INT64_MAX);
    uint64_t parts = take(reader, GRANT_PARTS_MAX);
    uint64_t spares = reader->version >= 19 && parts ? take(reader, parts - 1) : 0;
    uint64_t wanted = reader->version >= 21 ? take(reader, REQUEST_SPARES_MAX) : spares;
    bool has_more = wanted && reader->version >= 21;
    int64_t cpu_more = has_more ? take_signed(reader, INT64_MIN, INT64_MAX) : 0;
    int64_t device_more = has_more ? take_signed(reader, INT64_MIN, INT64_MAX) : 0;
    struct grant_choice choice =
        reader->version >= 26 ? read_choice(reader) : (struct grant_choice){ 0 };
    uint64_t devices_count = take(reader, parts * NODE_DEVICES_MAX);
    struct grant_device *devices;
    struct grant *grant;

    if (reader->failed || site >= grid->fleet.sites_count || !parts || (!job->epoch && !is_plan)) {
        reader->failed = true;
        return NULL;
    }
    grant = grant_create((uint32_t)parts, (uint32_t)devices_count, &devices);
    grant->job_id = job->item.id;
    grant->epoch = job->epoch;
    grant->site = (uint32_t)site;
    grant->granted_ms = granted_ms;
    grant->end_ms = end_ms;
    grant->choice = choice;
    grant->spares_count = (uint32_t)spares;
    grant->spares_wanted = (uint32_t)wanted;
    grant->cpu_ms_more = cpu_more;
    grant->device_milli_ms_more = device_more;
    read_parts(reader, grant, devices, devices_count, is_plan);
    if (reader->failed) {
        grant_destroy(grant);
        return NULL;
    }
    grant_set_apart(grant, job_shape(grid, job)->apart);
    return grant;
}
