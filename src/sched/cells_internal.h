/* cells_internal.h - what cells.c and cells_settle.c share. */
#pragma once

#include "sched/cells.h"

struct virtual_cells { /* an owner's guaranteed cells of one level, as a cluster */
    uint32_t level, roots_count;
    struct celltree tree; /* of what is claimed */
    uint32_t *bound;      /* by root: the pool's cell, or CELLS_NONE */
    uint32_t *users;      /* by root: parts settled there */
    uint32_t bound_count;
};
struct owner {
    struct virtual_cells levels[CELLS_TOPOLOGY_LEVELS_MAX];
    uint32_t claims_count;
};
struct claim_part {
    uint32_t level, node, devices; /* node of the virtual tree of the level */
};
struct record {
    struct cells_ask ask;
    uint32_t owner;
    uint32_t claim_count, parts_count;
    struct claim_part *claim; /* NULL = none; part i is settled on parts[i] when firm */
    struct cells_part *parts; /* NULL = waiting */
    double worth;
    bool is_used, is_firm;
};
struct cells {
    struct celltree idle;
    uint32_t levels_count;
    struct owner *owners;
    uint32_t owners_count;
    struct record *records;
    uint32_t records_count, records_cap;
    uint32_t *unused; /* handles to give out again */
    uint32_t unused_count, unused_cap;
    uint32_t *holders; /* by node, a device each: who has something there */
    uint8_t *holders_count;
    uint8_t *closed_devices; /* by node: kept from use by its closing */
    bool *closed;
    uint32_t *bound_inside[CELLS_TOPOLOGY_LEVELS_MAX]; /* by cell: bound cells in it, or it */
    uint64_t unbound_whole[CELLS_TOPOLOGY_LEVELS_MAX]; /* largest cells with nothing bound */
    uint64_t wanted[CELLS_TOPOLOGY_LEVELS_MAX];        /* guaranteed and not bound */
};

/* The largest unbound cell that a cell is in; CELLS_NONE = it is bound, wholly or in part. */
uint32_t cells_unbound_level(const struct cells *cells, uint32_t level, uint32_t cell);
bool cells_is_under_bound(const struct cells *cells, uint32_t level, uint32_t cell);
/* Would every guarantee hold if a cell of `level` were bound inside an unbound one of `from`? */
bool cells_may_split(const struct cells *cells, uint32_t level, uint32_t from);
void cells_bind(struct cells *cells, struct virtual_cells *virt, uint32_t root, uint32_t cell);
void cells_unbind(struct cells *cells, struct virtual_cells *virt, uint32_t root);
void cells_hold(struct cells *cells, uint32_t job, const struct cells_part *parts, uint32_t count);
/* From the top down: what one level does not want is split for the next. */
bool cells_promises_hold(const struct cells *cells, const uint64_t *whole, const uint64_t *wanted);
