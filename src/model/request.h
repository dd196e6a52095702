/* request.h - what the scheduler knows of a job: the part of a job_spec that decides order and
 * place. Derived once from the spec (spec_to_request), carried in the submitted event, kept in the
 * core. It holds no pointer: it can be copied, hashed and compared as bytes (padding is zero).
 *
 * Sizes: memory and disk in bytes, time in ms, devices in 1/1000, money in 1/1,000,000. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_TASKS_MAX 65536u
#define REQUEST_SITES_MAX 4u          /* sites of one gang */
#define REQUEST_ACROSS_TASKS_MAX 256u /* tasks of a gang that may be over several */
#define REQUEST_CHIPS_MAX 16u         /* chip kinds a job may list */
#define REQUEST_NEEDS_MAX 8u          /* lower bounds on chip figures */
#define REQUEST_PLACES_MAX 16u        /* owners, sites, regions in allow and deny, each */
#define REQUEST_DEPS_MAX 64u
#define REQUEST_RETRY_CODES_MAX 16u
#define REQUEST_LABELS_MAX 8u /* of the data that a job works on */
#define REQUEST_APART_MAX 4u  /* labels of its own, and labels that it keeps away from */
#define REQUEST_IMAGE_BYTES 128u
#define REQUEST_STEP_DOUBLE UINT32_MAX /* widths of 1, 2, 4, ... times the least */
#define REQUEST_SPARES_MAX 1024u
#define REQUEST_SPARES_AUTO UINT32_MAX /* as many as pay for themselves (sched/spares.h) */
#define REQUEST_GOODS_MAX 4u           /* trees whose places matter to where a job goes */
#define REQUEST_GOOD_BYTES_MAX (INT64_C(1) << 50) /* of one, or of many together */
#define REQUEST_PRICE_MICRO_MAX (INT64_C(1) << 50)
#define REQUEST_REFUSED_MAX 4u /* sites that refused a job and are not asked again */
#define MODEL_NAME_BYTES 64u   /* names of jobs, tenants, sites, chips: NUL included */

enum job_class { CLASS_LOW, CLASS_NORMAL, CLASS_HIGH, CLASS_URGENT, CLASS_COUNT };
enum objective_kind {
    OBJECTIVE_FASTEST,
    OBJECTIVE_CHEAPEST,
    OBJECTIVE_GREENEST,
    OBJECTIVE_WEIGHTS
};
enum unreachable_policy { UNREACHABLE_WAIT, UNREACHABLE_MOVE };
enum checkpoint_kind {
    CHECKPOINT_NONE,
    CHECKPOINT_OWN,
    CHECKPOINT_ASKED
}; /* its rhythm; a signal */
enum dep_kind { DEP_OK, DEP_ANY, DEP_FAILED };
/* Figures of the catalogue that a need may bound, in 1/1000 of the unit named. */
enum chip_metric {
    METRIC_MEMORY_GB,
    METRIC_BANDWIDTH_GBS,
    METRIC_FP64_TFLOPS,
    METRIC_FP32_TFLOPS,
    METRIC_TF32_TFLOPS,
    METRIC_FP16_TFLOPS,
    METRIC_BF16_TFLOPS,
    METRIC_FP8_TFLOPS,
    METRIC_INT8_TOPS,
    METRIC_LINK_GBS,
    METRIC_COUNT
};

struct request_need {
    uint32_t metric; /* enum chip_metric */
    uint32_t reserved;
    int64_t least_milli; /* e.g. 300000 = 300 TFLOPS */
};

struct request_dep {
    uint64_t job_id; /* a job, or an array's id: then all its elements */
    uint32_t kind;   /* enum dep_kind */
    uint32_t reserved;
};

enum place_kind { PLACE_OWNER, PLACE_SITE, PLACE_REGION };
/* What a gang's nodes have in common, from near to far; a pool is of nodes that are alike. */
enum topology_level {
    TOPOLOGY_ANY,
    TOPOLOGY_NODE,
    TOPOLOGY_RACK,
    TOPOLOGY_SUPERNODE,
    TOPOLOGY_POOL,
    TOPOLOGY_COUNT
};
struct request_place {
    uint32_t kind; /* enum place_kind */
    uint32_t deny; /* 1: never here; 0: only at one of these (per kind) */
    char name[MODEL_NAME_BYTES];
};

/* What the owner of a site may ask about who comes (site_policy.h). */
struct request_access {
    char image[REQUEST_IMAGE_BYTES]; /* "" = the site's own system; a longer one is cut */
    uint32_t labels_count;
    char labels[REQUEST_LABELS_MAX][MODEL_NAME_BYTES]; /* of the data it works on */
    /* Put in by the grid, and only while some owner asks. */
    char tenant[MODEL_NAME_BYTES]; /* "" = nobody asks */
    uint32_t job_class;
    int64_t span_ms; /* it must be open for so long; 0 = nobody asks, -1 = nobody knows how long */
    uint32_t refused_count;
    uint32_t refused[REQUEST_REFUSED_MAX]; /* the grid's numbers of sites */
    /* 2 x whose cells are its own (grid/guards.h) + may it be stopped; 0 where nobody has cells.
     * Compared as bytes, so there is no padding. */
    uint32_t guard;
};
_Static_assert(offsetof(struct request_access, guard) + 4 == sizeof(struct request_access),
               "what owners ask is compared as bytes");

/* What a job is called, and what work of its tenant it keeps away from (sched/apart.h). Compared as
 * bytes, so there is no padding. */
enum apart_level { APART_NODE, APART_RACK, APART_SUPERNODE, APART_SITE, APART_COUNT };
struct request_apart {
    uint32_t labels_count, avoids_count;
    uint32_t level; /* enum apart_level: never together in one of these */
    uint32_t reserved;
    char labels[REQUEST_APART_MAX][MODEL_NAME_BYTES];
    char avoids[REQUEST_APART_MAX][MODEL_NAME_BYTES];
    char tenant[MODEL_NAME_BYTES]; /* put in by the grid: labels of others mean something else */
};

/* A tree of files in the network's store that a job needs where it runs. */
struct request_good {
    uint64_t name; /* the first 64 bits of the tree's name */
    int64_t bytes; /* of content */
};
struct request_goods {
    uint32_t count, reserved;
    struct request_good list[REQUEST_GOODS_MAX]; /* the largest */
    int64_t more_bytes;                          /* of all others together */
};
/* What is moved for a job, and what it may cost. Put in by the grid, and only while that may matter
 * (grid/freight.h). Compared as bytes, so there is no padding. */
struct request_freight {
    uint32_t goods_count, reserved;
    struct request_good goods[REQUEST_GOODS_MAX + 1]; /* with the checkpoint it goes on from */
    int64_t more_bytes;                               /* that come to wherever it goes */
    int64_t out_bytes;       /* that it is expected to leave in the network */
    int64_t span_ms;         /* its time limit; 0 = none */
    int64_t units_milli;     /* of its class of work; 0 = not told */
    int64_t price_micro_max; /* all of it may cost; 0 = whatever it costs, -1 = nothing more */
};
_Static_assert(offsetof(struct request_freight, price_micro_max) + 8 ==
                   sizeof(struct request_freight),
               "what is moved is compared as bytes");

/* The fixed part: what makes two jobs interchangeable for placement. */
struct request_shape {
    uint32_t tasks;          /* 1 .. REQUEST_TASKS_MAX, all started together */
    uint32_t tasks_per_node; /* 0: any; else exactly at most this many on one node */
    uint32_t cpus;           /* per task, whole CPUs, >= 1 */
    uint32_t devices_milli; /* per task: 0, 1..999 (a share of one device), or a multiple of 1000 */
    int64_t memory_bytes;   /* per task */
    int64_t disk_bytes;     /* per task, scratch */
    int64_t device_memory_bytes; /* per device, least; 0 any */
    uint32_t chips_count;        /* 0: any chip */
    uint32_t needs_count;
    uint32_t places_count;
    uint32_t within;      /* enum topology_level: all of its nodes in one such domain */
    uint32_t within_hard; /* 1: or not at all; 0: if there is one with room */
    uint32_t spread;      /* 1: over as many nodes as it can, instead of as few */
    uint32_t work; /* the number the grid gave to its tenant's class of work; 0 = none told */
    uint32_t reserved;
    uint32_t mixed; /* 1: where no one kind of chip has room for all, its tasks may be on several */
    uint32_t sites_max; /* 0, 1: at one site; more: over so many, where no one has room for all */
    /* Kinds that will do, in order of preference: see request_chip_is_match. */
    char chips[REQUEST_CHIPS_MAX][MODEL_NAME_BYTES];
    struct request_need needs[REQUEST_NEEDS_MAX];
    struct request_place places[REQUEST_PLACES_MAX];
    struct request_access access;
    struct request_freight freight;
    struct request_apart apart;
};

/* What a job says of its own work, so that the network knows its pace on each kind of chip. */
struct request_pace {
    char chip[MODEL_NAME_BYTES]; /* see request_chip_is_match; "cpu": without devices */
    int64_t seconds_milli;       /* a unit of work, on all devices of this job together */
};
struct request_work {
    char class[MODEL_NAME_BYTES]; /* jobs of one tenant and class do the same; "" = not told */
    int64_t units_milli;          /* how much of it this job does */
    int64_t operations, bytes;    /* a unit asks of the chip and of its memory; 0 = not told */
    uint32_t metric;              /* enum chip_metric: the arithmetic that is */
    uint32_t paces_count;
    struct request_pace paces[REQUEST_CHIPS_MAX];
};

struct job_request {
    uint32_t job_class;                                                  /* enum job_class */
    uint32_t objective;                                                  /* enum objective_kind */
    uint32_t weight_time_milli, weight_money_milli, weight_carbon_milli; /* OBJECTIVE_WEIGHTS */
    uint32_t on_unreachable;    /* enum unreachable_policy */
    int64_t duration_ms_max;    /* the limit; 0 = none given */
    int64_t deadline_ms;        /* Unix ms by which it should have ended; 0 = none */
    int64_t begin_ms;           /* not before this Unix ms; 0 = at once */
    uint32_t retries_max;       /* further attempts after a failure of the job itself */
    uint32_t retry_codes_count; /* 0: any non-zero exit is retried while retries last */
    uint8_t retry_codes[REQUEST_RETRY_CODES_MAX];
    uint32_t requeue_on_loss; /* 1: an attempt lost with its node or agent goes back to the queue */
    uint32_t checkpoint;      /* enum checkpoint_kind: whether a stop costs little */
    uint32_t waits_never; /* 1: does not wait for cheaper or greener hours, whatever its deadline */
    uint32_t deps_count;
    struct request_dep deps[REQUEST_DEPS_MAX];
    struct request_work work;
    struct request_shape shape;
    int64_t rpo_ms;             /* a fault should cost no more work than this; 0 = not asked */
    struct request_goods goods; /* of its inputs, as far as their sizes are known */
    int64_t price_micro_max;    /* it may cost no more than this; 0 = whatever it costs */
    /* An elastic job runs on shape.tasks to tasks_max tasks; 0: on shape.tasks. */
    uint32_t tasks_max;
    uint32_t tasks_step;    /* by so many more at a time, or REQUEST_STEP_DOUBLE; 0: not elastic */
    int64_t resize_hold_ms; /* it runs so long before it grows; 0 = as long as the network thinks */
    uint32_t spares;        /* nodes that stand by beside its gang, or REQUEST_SPARES_AUTO */
    uint32_t reserved;      /* 0 */
};

/* The widest that an elastic job of tasks_min (its shape's) may run at, of no more than `tasks`;
 * its least when none is less. */
uint32_t request_width(uint32_t tasks_min, uint32_t tasks_max, uint32_t step, uint32_t tasks);

/* Is a device of catalogue kind `kind` what `wanted` asks for: the kind itself, or its beginning up
 * to a hyphen ("a100" is every A100, "a100-sxm4" those with that connector). Case does not count.
 */
bool request_chip_is_match(const char *wanted, const char *kind);
