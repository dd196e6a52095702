/* fleet.h - what there is to place work on, and who holds what of it.
 *
 * Sites have a fixed index for ever; a node keeps its index in its site while it is known. What
 * the fit reads (struct fleet_node) stands apart from what people read (struct node_info). Held
 * amounts are kept, not free ones: a node that shrinks under its jobs then simply has less than
 * nothing free. */
#pragma once

#include "model/inventory.h"
#include "model/site_policy.h"
#include "sched/apart.h"
#include "sched/ends.h"
#include "sched/figures.h"
#include "sched/freight.h"
#include "sched/kinds.h"
#include "sched/room.h"
#include "sched/topology.h"
#include "sched/work.h"

#define FLEET_NO_CHIP UINT16_MAX     /* a place for work without devices */
#define FLEET_MIXED (UINT16_MAX - 1) /* all kinds of a site that will do, for a mixed gang */
#define FLEET_DEVICE_GONE UINT32_MAX /* a held device that its node no longer has */

struct fleet_device {
    int64_t memory_bytes;
    uint16_t chip; /* index in the site's chips */
    uint16_t used_milli;
    bool healthy, cordoned;
    bool over;     /* its site is limited to fewer */
    uint32_t type; /* see room.c */
};

struct promise; /* promise.h */
struct fleet_window {
    int64_t from_ms, until_ms;
    bool is_promised; /* for who was promised a start: no hold binds it */
};
/* What is over on a node at the moment a promise begins there; those of a node stand by start. */
struct fleet_limit {
    struct fleet_limit *next;
    const struct promise *of;
    const struct fleet_window *window; /* fleet.window */
    bool is_always;                    /* a hold: it binds for whatever time */
    bool lets_lent; /* nobody is told to leave yet: what is lent here will be, in its time */
    int64_t start_ms;
    int64_t cpus, memory_bytes, disk_bytes; /* below zero: more is promised than there will be */
    int32_t devices_milli[NODE_DEVICES_MAX];
};
/* Does it bind work that is there within the window? */
static inline bool fleet_limit_binds(const struct fleet_limit *limit)
{
    if (limit->is_always)
        return !limit->window->is_promised;
    return limit->start_ms > limit->window->from_ms && limit->start_ms < limit->window->until_ms;
}
/* The same for work of which it is known whether it would be lent the node. */
static inline bool fleet_limit_binds_all(const struct fleet_limit *limit, bool is_lent)
{
    return !(is_lent && limit->lets_lent) && fleet_limit_binds(limit);
}

struct fleet_node {
    int64_t memory_bytes, memory_used;
    int64_t disk_bytes, disk_used;
    uint32_t cpus, cpus_used;
    uint32_t devices_count;
    uint32_t devices_whole; /* of which nothing is used, well or not: a bound for quick refusals */
    uint32_t grants_count;
    struct fleet_device *devices; /* devices_count */
    struct fleet_limit *limits;   /* of promises on it */
    struct grant_part *parts;     /* of grants that are held; in no order that means anything */
    char *cordon_reason;          /* owned; NULL = "" */
    uint32_t guard;               /* whose guaranteed cell it is in (grid/guards.h); 0 = nobody's */
    bool present, cordoned;
};

/* What the site's power is now, and what of it is left to be given out. */
struct fleet_power {
    bool has_rates, is_capped;
    int64_t price_micro_per_kwh, carbon_mg_per_kwh; /* has_rates: instead of info.tariff's */
    int64_t left_mw;                                /* is_capped: what more may be drawn */
    int64_t cpu_mw_max;                             /* the most that one CPU of it draws */
};

/* How long the site may go on without being heard: the grid's business, kept here with the site. */
struct fleet_lease {
    int64_t ms;      /* as its session was given; 0 = it keeps none */
    int64_t lost_ms; /* when it was heard no more; 0 = it is */
    bool is_over;    /* what must not run twice runs there no longer */
};

struct fleet_site {
    uint32_t number;          /* its place in fleet.sites */
    struct apart_marks marks; /* of work that keeps away from other work */
    struct site_info info;    /* nodes as told last; absent ones as they were */
    struct fleet_node *nodes;
    uint32_t nodes_cap;
    uint64_t devices_whole; /* sum over nodes */
    struct domains domains; /* racks and supernodes, where it has labels */
    struct room room;       /* its open nodes by what they have free */
    struct ends ends;       /* its grants by when they are bound to end */
    struct chip_figures *chips;
    uint32_t chips_count;
    uint32_t kinds_first, kinds_count; /* in fleet.kinds, by chip */
    struct fleet_kind *kinds;          /* the first of these */
    bool reachable;
    uint64_t session;
    struct fleet_lease lease;
    struct fleet_power power;
    struct site_policy *policy; /* the owner's; NULL = none. See owner.h */
    struct freight_site freight;
    struct site_limits limits; /* an operator's, when limits_told */
    bool limits_told, has_limits, was_trimmed;
};

/* A grant: what one attempt holds. Owned by who made it (fit_grant), listed by the fleet while
 * held. */
struct grant_device {
    uint32_t index; /* in the node, or FLEET_DEVICE_GONE */
    uint32_t milli;
    uint64_t gone_key; /* which one it was: it is held again when it comes back */
};
struct grant_part {
    uint32_t node, tasks, cpus;
    uint32_t devices_count;
    int64_t memory_bytes, disk_bytes;
    struct grant_device *devices;
    const struct request_apart *apart; /* the grant's */
    struct grant_part *prev, *next;    /* on its node, while held */
    const struct grant *of;            /* while held */
};
/* How it came to its place, for who asks later. */
enum choice_how { /* numbers are for ever: they are in snapshots */
                  CHOICE_UNTOLD = 0,
                  CHOICE_TURN = 1,     /* it was its turn, and there was room */
                  CHOICE_AROUND = 2,   /* others before it wait for room; it is in no one's way */
                  CHOICE_PROMISED = 3, /* it was promised a start, and is there by then */
                  CHOICE_ACROSS = 4,   /* over several sites, as no one had room */
                  CHOICE_OWN = 5,      /* in cells of its own, whoever was lent them */
                  CHOICE_STOPPED = 6,  /* others were stopped so that it fits */
                  CHOICE_ASSIGNED = 7  /* on the chip where all together gain most */
};
#define CHOICE_LAST CHOICE_ASSIGNED
struct grant_choice {
    uint32_t how;
    uint32_t rank, places; /* which of how many places for it, best first; places 0 = not told */
    uint32_t other_site;   /* number + 1 of the best, where it got another, else of the second */
    uint32_t other_chip;
};
struct grant {
    uint64_t job_id;
    uint32_t epoch;
    uint32_t site;
    int64_t granted_ms;
    int64_t end_ms;               /* it holds no longer than this; INT64_MAX = not known */
    uint64_t cpus, devices_milli; /* sums over parts */
    uint32_t slot, end_slot;      /* places in fleet.grants and in its site's ends */
    int64_t value;                /* what its devices count for in shares, while held */
    uint32_t guard;               /* as its shape's: whose cells are its own */
    bool lends;                   /* it may be stopped for whose cell it is on */
    bool is_idle;                 /* what holds it is suspended: it draws little */
    uint32_t parts_count;
    uint32_t spares_count; /* of the parts the last: nothing runs there yet */
    uint32_t spares_wanted;
    /* Of parts that came later than the grant, or have gone since: what cpus and devices_milli over
     * its whole time do not tell. */
    int64_t cpu_ms_more, device_milli_ms_more;
    struct grant_part *parts;
    struct grant_choice choice;
    struct request_apart *apart; /* owned; NULL = it may be beside whatever there is */
};

struct fleet {
    struct fleet_site *sites;
    uint32_t sites_count, sites_cap;
    struct fleet_kind *kinds; /* of all sites, side by side; new ones with shape_version */
    uint32_t kinds_count;
    struct grant **grants; /* in no order that means anything */
    uint32_t grants_count, grants_cap;
    uint64_t shape_version;          /* grows when what could ever fit may have changed */
    uint64_t room_version;           /* grows when more may fit than before, anywhere */
    uint64_t limit_version;          /* grows when more may fit beside what is promised */
    uint64_t freight_version;        /* grows when what is where, or a link, is another */
    uint64_t waits_version;          /* grows when a site's own queue is another */
    uint32_t waits_count;            /* sites that told of one */
    struct fleet_window window;      /* FIT_LIMITED: beside the promises that begin in it */
    const struct promise **promises; /* those with a place, in no order that means anything */
    uint32_t promises_count, promises_cap;
    uint64_t lifts;        /* how often a promise was tried without */
    bool is_overpromised;  /* a limit went below zero: somebody should look */
    struct packer *packer; /* chooses among nodes by expected fill; NULL = the least left over */
    const struct work_book *work; /* how fast what is known to run runs; NULL = nobody asks */
    uint32_t guarded_nodes;       /* in somebody's cell */
    uint64_t *own_rooms; /* by guard: grows when more of its own work may fit in its cells */
    uint32_t own_rooms_count;
    int64_t now_ms;          /* the grid's clock: for what hours let in */
    uint32_t policies_count; /* sites with one */
};

void fleet_fini(struct fleet *fleet);
int fleet_find_site(const struct fleet *fleet, const char *name); /* -1 = none */
int fleet_find_node(const struct fleet *fleet, uint32_t site, const char *name);

/* Would this inventory be taken? -EINVAL: names repeat or are empty, figures negative or past
 * their ranges; -ENOSPC. */
int fleet_check_site(const struct fleet *fleet, const struct site_info *info, uint32_t sites_max,
                     struct err *err);
/* Take a checked inventory: nodes keep their index by name; those not named turn absent; devices
 * keep their holders by uuid. Gives the site's index. */
uint32_t fleet_set_site(struct fleet *fleet, const struct site_info *info,
                        const struct chip_figures *chips, uint32_t chips_count);
/* After nodes and devices were changed by hand (grid's restore): what is derived from them. */
void fleet_index_site(struct fleet *fleet, uint32_t site);
void fleet_set_reachable(struct fleet *fleet, uint32_t site, bool reachable);
/* It costs, or may draw, something else than before. */
void fleet_set_power(struct fleet *fleet, uint32_t site, const struct fleet_power *power);
/* What a grant draws by the catalogue's figures, in mW: as it is, under load, with nothing to do.
 */
int64_t fleet_grant_mw(const struct fleet *fleet, const struct grant *grant);
int64_t fleet_load_mw(const struct fleet *fleet, const struct grant *grant);
int64_t fleet_idle_mw(const struct fleet *fleet, const struct grant *grant);
/* `device` -1 = the whole node. */
void fleet_set_cordon(struct fleet *fleet, uint32_t site, uint32_t node, int32_t device,
                      bool cordoned, const char *reason);

void fleet_hold(struct fleet *fleet, struct grant *grant);    /* takes what it lists */
void fleet_release(struct fleet *fleet, struct grant *grant); /* gives it back */
/* Of the first of its devices that is there; FLEET_NO_CHIP = there is none. */
uint16_t fleet_grant_chip(const struct fleet *fleet, const struct grant *grant);
/* It is bound to end sooner or later than was known. */
void fleet_set_end(struct fleet *fleet, struct grant *grant, int64_t end_ms);
/* One part of it, without listing or indexing: for trying out what comes (reserve.c), undone
 * before anything else is asked. */
void fleet_take_part(struct fleet_site *site, const struct grant_part *part, bool give_back);
/* What is over when a promise begins shrinks by a part, or grows. True: it now is below zero. */
bool fleet_limit_take(struct fleet_limit *limit, const struct grant_part *part, bool give_back);
bool fleet_limit_is_broken(const struct fleet_limit *limit); /* below zero somewhere */
/* Of `room` of the device, what is beside the promises within the window. */
uint32_t fleet_limited_room(const struct fleet_node *node, uint32_t device, uint32_t room,
                            bool is_lent);
void grant_destroy(struct grant *grant);
/* Room for `parts_count` parts with `devices_count` devices in all; point parts' devices into
 * `devices_out`. One block. */
struct grant *grant_create(uint32_t parts_count, uint32_t devices_count,
                           struct grant_device **devices_out);

/* What it keeps away from, of all of its parts; before it is held or promised. NULL = nothing. */
void grant_set_apart(struct grant *grant, const struct request_apart *apart);

/* What a CPU or a device costs for an hour: the tariff, and not below the owner's floor. */
static inline int64_t fleet_cpu_price(const struct fleet_site *site)
{
    int64_t price = site->info.tariff.cpu_price_micro_per_hour;

    return site->policy && site->policy->cpu_hour_micro > price ? site->policy->cpu_hour_micro
                                                                : price;
}
static inline int64_t fleet_device_price(const struct fleet_site *site)
{
    int64_t price = site->info.tariff.device_price_micro_per_hour;

    return site->policy && site->policy->device_hour_micro > price ? site->policy->device_hour_micro
                                                                   : price;
}
static inline int64_t node_cpus_free(const struct fleet_node *node)
{
    return (int64_t)node->cpus - node->cpus_used;
}
/* The place of a site's chip in fleet.kinds; of FLEET_NO_CHIP and FLEET_MIXED the one that all of
 * its nodes are of. */
static inline uint32_t kinds_at(const struct fleet_site *site, uint16_t chip)
{
    return site->kinds_first + (chip >= FLEET_MIXED ? site->kinds_count - 1 : chip);
}
static inline bool device_is_usable(const struct fleet_device *device)
{
    return device->healthy && !device->cordoned && !device->over;
}
/* Lent on the node: whose cell that is may have it stopped at once, so plans for that one do not
 * count it. */
static inline bool fleet_is_lent(const struct fleet_node *node, const struct grant *grant)
{
    return node->guard && grant->lends && grant->guard != node->guard;
}
/* So much less of its cells is taken by its own work. */
static inline void fleet_own_room(struct fleet *fleet, const struct grant *grant)
{
    if (grant->guard < fleet->own_rooms_count)
        fleet->own_rooms[grant->guard]++;
}
/* The node is in that one's cell from now on; 0 = in nobody's. Say fleet_guards_changed after. */
void fleet_set_guard(struct fleet *fleet, uint32_t site, uint32_t node, uint32_t guard);
void fleet_guards_changed(struct fleet *fleet, uint32_t site);
static inline bool node_is_open(const struct fleet_node *node)
{
    return node->present && !node->cordoned;
}
