/* shape.h - what jobs ask of a place, each distinct asking kept once.
 *
 * Jobs of one shape share everything that can be said of the shape: where it could ever fit, in
 * which order to look there, and that it does not fit now. */
#pragma once

#include "sched/fill.h"
#include "sched/fleet.h"
#include "sched/intern.h"
#include "sched/rates.h"

/* When the shape could start there, as last looked at (reserve.c). */
struct candidate_ahead {
    uint64_t changes_count; /* of the kind, by then; UINT64_MAX = never looked */
    int64_t now_ms;         /* when that was */
    int64_t start_ms;       /* -1 = never; when not exact, it is not before this */
    uint64_t tasks;         /* when not exact: no more than these fit before that */
    bool is_exact;
};

/* One kind of device at one site (or a site, for work without devices): the whole gang goes to
 * one of these. */
struct candidate {
    uint32_t site;
    uint16_t chip;       /* FLEET_NO_CHIP, FLEET_MIXED */
    uint16_t preference; /* place in the job's own list of chips */
    uint32_t kind;       /* in fleet.kinds */
    struct candidate_ahead ahead;
    int64_t speed_milli;    /* of one device, by the catalogue; 0 = not known */
    int64_t watts_milli;    /* of one task, under load; 0 = not known */
    int64_t price_micro;    /* of one task for an hour, power included */
    int64_t carbon_ug;      /* of one task for an hour */
    uint64_t tasks_empty;   /* how many tasks fit when nothing else runs */
    uint32_t nodes_empty;   /* on how many nodes at least one does */
    double score;           /* by the objective it was sorted by; less is better */
    struct rate rate;       /* of the gang's work here, a unit; 0 seconds = not known */
    struct rates_bill bill; /* of one unit, when the rate is known */
    struct freight_cost freight;
    uint32_t place; /* in the order of the job's own list of chips, all that it waits counted in */
    double
        finish_s; /* from now, with all that it waits; 0 = nowhere is there anything to wait for */
};

/* What was found at a candidate, and when: by its kind's versions. Apart from the rest, since a
 * pass looks at those of many candidates. */
struct candidate_fit {
    uint64_t no_fit_version; /* room_version at which it did not fit */
    uint64_t no_fit_limited; /* limit_version at which it did not fit beside the promises */
    int64_t no_fit_until_ms; /* that begin before this */
    uint32_t kind;           /* in fleet.kinds */
};

struct objective {
    uint32_t kind;
    uint32_t weight_time_milli, weight_money_milli, weight_carbon_milli;
};

struct fit_picks;

struct shape {
    /* What was found of all candidates together; first, since each bucket of a queue is asked. */
    uint64_t no_fit_version; /* fleet.room_version at which it did not fit */
    uint64_t fits_in_pass;   /* see fit_exists */
    uint64_t no_fit_limited; /* fleet.limit_version at which it did not fit beside the promises */
    int64_t no_fit_until_ms; /* that begin before this */
    uint32_t candidates_count;
    uint32_t sites_max; /* its tasks may be over so many sites (across.h) */
    uint64_t
        fits_version; /* fleet.shape_version at which it fitted, there, after so many changes */
    uint64_t fits_changes;
    uint32_t fits_site, fits_kind;
    uint32_t tasks, tasks_per_node, cpus, devices_milli;
    int64_t memory_bytes, disk_bytes, device_memory_bytes;
    uint32_t within, within_hard, spread; /* topology.h */
    uint32_t mixed;                       /* its tasks may be on several kinds of chip */
    uint32_t work;                        /* number in fleet.work; 0 = nothing is known of it */
    uint32_t guard;                       /* whose cells are its own; 0 = nobody's */
    bool lends;                           /* it may be on others' cells: it can be stopped */
    /* The versions (grid/reclaim.c) at which it did not fit in its own cells even without what is
     * lent there, beside promises that begin before this. */
    uint64_t no_own_room, no_own_shape;
    int64_t no_own_until_ms;
    bool own_only;     /* of a copy: on its own cells and nowhere else */
    struct shape *one; /* then: a single task of it; owned */
    /* The fleet's versions at which it did not fit over several sites either. */
    uint64_t no_across_room, no_across_limited;
    uint32_t chips_count, needs_count, places_count;
    const char (*chips)[MODEL_NAME_BYTES]; /* inside the interned bytes */
    const struct request_need *needs;
    const struct request_place *places;
    const struct request_access *access;   /* NULL = nothing that an owner might ask */
    const struct request_freight *freight; /* NULL = nothing is moved, nothing bounds its price */
    const struct request_apart *apart;     /* NULL = it may be beside whatever there is */
    struct apart_bars *bars;               /* then: of the site looked at last; owned */
    /* What is known, and of which fleet; remade when that has changed. */
    struct candidate *candidates; /* those with room for the whole gang when empty, best first */
    struct candidate_fit *fits;   /* of each of them */
    uint64_t candidates_version;
    struct objective sorted_by;
    uint64_t rates_version;  /* of the work's class, by then */
    uint64_t delays_version; /* of what is moved and waits, by then */
    uint32_t dear_count;     /* places that are too dear for it, and the cheapest of them */
    uint32_t dear_site;
    int64_t dear_micro;
    struct fit_picks *picks; /* of each candidate, as sorted (fit_packed.h); NULL = none are kept */
    bool is_indifferent;     /* nothing but the catalogue's figures orders them, as sorted */
    bool is_scored;          /* packer.h: its node is chosen by score, for this asking */
    struct fill_ask ask;
    uint64_t ask_version; /* fleet.shape_version by then */
};

struct shapes {
    struct intern bytes;
    struct shape *list; /* by the interned number */
    uint32_t list_cap;
};

void shapes_fini(struct shapes *shapes);
uint32_t shapes_get(struct shapes *shapes, const struct request_shape *request);
void shapes_ref(struct shapes *shapes, uint32_t number);
void shapes_unref(struct shapes *shapes, uint32_t number);
struct shape *shapes_at(struct shapes *shapes, uint32_t number);
void shape_to_request(const struct shape *shape, struct request_shape *out); /* into zeroes */

/* Which of a shape's demands a place does not meet; what `why` names. */
enum shape_bar {
    BAR_NONE,
    BAR_PLACE,
    BAR_CHIP,
    BAR_NEED,
    BAR_DEVICE_MEMORY,
    BAR_UNHEALTHY /* the device would do, but is sick or cordoned */
};
/* By which chips are compared where nobody knows the work's pace: TFLOPS in 1/1000; 0 = not known.
 */
int64_t shape_chip_speed(const struct chip_figures *chip);
bool shape_allows_site(const struct shape *shape, const struct site_info *site);
enum shape_bar shape_bar_of_chip(const struct shape *shape, const struct chip_figures *chip,
                                 int64_t memory_bytes);
uint32_t shape_preference(const struct shape *shape, const char *kind);

/* The candidates for this objective, best first. Borrowed until the fleet or the shape changes. */
const struct candidate *shape_candidates(struct shape *shape, const struct fleet *fleet,
                                         const struct objective *objective, uint32_t *count_out);
