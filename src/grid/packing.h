/* packing.h - inside src/grid: expected fill (sched/packer.h), while the policy has it on. */
#pragma once

#include "grid/fields.h"
#include "grid/grid.h"
#include "sched/packer.h"

/* On: it learns from here on. Off: what was learned is gone. */
void packing_set(struct grid *grid, enum packer_reach reach);
void packing_site_joined(struct grid *grid, const char *name);
void packing_submitted(struct grid *grid, uint32_t shape, uint32_t jobs_count);

/* The snapshot's section. */
void packing_put(const struct grid *grid, struct buf *out);
int packing_take(struct grid *grid, struct cursor *in);
