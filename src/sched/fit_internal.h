/* fit_internal.h - between the files of fit.h. */
#pragma once

#include "sched/fit.h"
#include "sched/mem.h"

/* The lists of a pool whose nodes have that many whole devices free, as bits. */
static inline uint64_t fit_lists_from(const struct room_pool *pool, const struct shape *shape,
                                      uint32_t tasks)
{
    uint64_t whole = (uint64_t)shape->devices_milli / 1000 * tasks;

    if (whole > ROOM_WHOLE_MAX)
        whole = ROOM_WHOLE_MAX;
    return pool->lists_used >> whole << whole;
}

/* Has the node, without a look at it, too few whole devices for so many tasks, or none to use? */
static inline bool fit_is_out(const struct shape *shape, const struct room *room,
                              const struct room_apart *apart, uint16_t chip, uint32_t tasks)
{
    return (uint64_t)shape->devices_milli / 1000 * tasks > apart->whole ||
           fit_never_in_pool(shape, &room->pools[apart->pool], chip);
}

/* Told without a look at a node: do those of this class lack room for all of the shape? False =
 * perhaps not. */
static inline bool fit_class_is_out(const struct shape *shape, const struct room_pool *pool,
                                    const struct room_class *class)
{
    return (uint64_t)shape->cpus * shape->tasks + class->cpus_used > pool->cpus ||
           shape->memory_bytes > pool->memory_bytes - class->memory_used ||
           shape->disk_bytes > pool->disk_bytes - class->disk_used ||
           (shape->devices_milli &&
            (uint64_t)shape->devices_milli * shape->tasks > class->free_milli) ||
           (shape->devices_milli % 1000 && shape->devices_milli > class->most_milli);
}

/* The answer: all of it on one node. */
static inline bool fit_set_one(struct fit *fit, uint32_t node, uint32_t tasks)
{
    MEM_GROW(fit->parts, fit->parts_cap, 1);
    fit->parts[0] = (struct fit_part){ .node = node, .tasks = tasks };
    fit->parts_count = 1;
    return true;
}
