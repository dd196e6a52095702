/* fit_packed.h - which node leaves most to be filled (packer.h), of one candidate or of several at
 * once: begin, consider each candidate, choose.
 *
 * Each distinct state of a candidate's nodes is looked at once. Equal scores go to the candidate
 * considered first, and within it to the lowest node. A candidate that would take the states over
 * the packer's bound is not chosen from, nor are those after it.
 *
 * What was found of a candidate's nodes is kept with the shape (shape.picks) until one of that
 * site changes or the streams are drawn anew. It is what a look at them would give, so nothing of
 * it is stored: of what gains, the best is kept for nodes that are held back for others and for
 * the rest apart, since how much these count changes with the room of the whole fleet. */
#pragma once

#include "sched/fit.h"
#include "sched/packer.h"

struct fit_pick {
    struct packer_look look;
    uint32_t node; /* ROOM_NONE = none */
    uint16_t kind;
};
struct fit_picks { /* of one candidate's nodes that do not stand apart */
    uint64_t changes_count,
        draws_count;         /* of its site's room and of the fill, by then; 0 = never */
    struct fit_pick best[2]; /* [1]: held back for others */
    uint32_t states;         /* looked at */
    bool fits;
};

struct fit_packed {
    const struct shape *shape; /* packer_ask was true for it */
    const struct fleet *fleet;
    enum fit_when when;
    uint32_t states;
    bool is_full; /* of states */
    uint32_t site;
    uint16_t chip;
    struct fit_pick best;
    double score;
};
struct fit_packed fit_packed_begin(const struct shape *shape, const struct fleet *fleet,
                                   enum fit_when when);
/* False: no node there has room for all of it. `kept`: what is kept of this candidate; NULL: look,
 * by what counts now. */
bool fit_packed_consider(struct fit_packed *packed, uint32_t site, uint16_t chip,
                         struct fit_picks *kept);
/* The best of them, into `fit`. False: there is none. */
bool fit_packed_choose(const struct fit_packed *packed, struct fit *fit);
