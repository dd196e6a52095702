/* state.h - what a grid is made of. Only for the files of this folder.
 *
 * jobs.c      the table of jobs and arrays, what is interned, ends      submit.c   submit, cancel
 * deps.c      who waits for whom, timers                                attempt.c  grants and ends
 * pass.c      one scheduling pass                                       place.c    sites, tenants
 * rates.c     how fast work runs
 * usage.c     the ledger's arithmetic                                   view.c     what others read
 * promises.c  starts that are promised to those that wait
 * yield.c     attempts that make way for something else                 shares.c   whose turn it is
 * mixed.c     gangs on several kinds of chip
 * across.c    gangs at several sites
 * defrag.c    work that is moved for gangs
 * assigns.c, assigns_round.c  which job on which kind of chip
 * budget.c    what tenants may still spend                              preempt.c  who makes way
 * saved.c     checkpoints that the network holds
 * owners.c    what owners let in
 * ranks.c     whose work goes first by what it needs
 * lease.c     sites that are not heard                                  move.c     to another site
 * freight.c   what is moved for jobs, and sites' own queues
 * guards.c    whole cells that tenants are guaranteed                   reclaim.c  taking them back
 * elastic.c   how wide an attempt is, and going on at another width
 * widen.c     who grows, who shrinks                                    standby.c  spare nodes
 * why.c       why a job is where it is                               advice.c   what would help
 * plan.c      what would happen to one
 * snapshot.c  to bytes and back                                         invariants.c */
#pragma once

#include "grid/grid.h"
#include "sched/across.h"
#include "sched/fit.h"
#include "sched/fleet.h"
#include "sched/intern.h"
#include "sched/queue.h"
#include "sched/reserve.h"
#include "sched/shape.h"
#include "sched/share.h"
#include "sched/spares.h"

#define JOB_PAGE_IDS 1024u     /* ids per page of the job table */
#define OUTCOME_PAGE_IDS 4096u /* ids per page of the outcomes: 2 bits each */
#define RESIZE_SLACK_MS 600000 /* a stop with its checkpoint, and the start that follows it */
#define PROMISES_MAX (CLASS_COUNT * GRID_RESERVATIONS_MAX)
#define PROMISES_OWN_MAX 64u  /* besides, for who has cells */
#define END_SLACK_MS 60000    /* a start, a grace and a report may add this to a time limit */
#define AHEAD_STEPS_MAX 4096u /* beyond, "about" so many jobs are ahead */
#define TENANTS_MAX 100000u
#define DURATION_MS_MAX (10LL * 366 * 24 * 3600 * 1000)

struct job_wait; /* power.h */
struct job_rank; /* ranks.h */
struct ranks;
struct assigns; /* assigns.h */
struct site_power;
struct shed;

struct terms { /* the part of a request that is neither shape nor dependencies; interned */
    uint32_t job_class, on_unreachable;
    struct objective objective;
    int64_t duration_ms_max, deadline_ms, begin_ms;
    int64_t work_units_milli; /* how much it does of its class of work; 0 = not told */
    uint32_t retries_max, requeue_on_loss;
    uint32_t retry_codes_count;
    uint8_t retry_codes[REQUEST_RETRY_CODES_MAX];
    uint16_t checkpoint, waits_never;
    int64_t rpo_ms;
    struct request_goods goods;
    int64_t out_bytes; /* that it is expected to leave */
    int64_t price_micro_max;
    uint32_t tasks_min, tasks_max, tasks_step; /* elastic; tasks_max 0 = it is not */
    uint32_t spares;                           /* nodes beside it, or REQUEST_SPARES_AUTO */
    int64_t resize_hold_ms;
};

struct job_dep {
    uint64_t id;
    uint32_t kind;
    uint32_t met;
};
struct job_deps {
    uint32_t count, waiting;
    struct job_dep list[];
};

struct saved { /* the newest checkpoint of a job that the network holds */
    uint32_t epoch;
    int64_t bytes, saved_ms;
    char manifest[CHECKPOINT_NAME_CHARS + 1];
};
struct job_past { /* of a job that has run: usage of ended attempts and of the one that runs */
    struct usage ended, running;
    int64_t checkpoint_ms;
    struct saved *saved;              /* NULL = none */
    uint32_t ended_epoch, ended_site; /* of the attempt that ended last; index + 1, 0 = none has */
    struct spares_work saves;         /* how long its saves take */
    int64_t checkpoint_every_ms;      /* of this attempt: see rhythm.c; 0 = as the job says */
    int64_t queue_told_ms;            /* how long this attempt was to wait in its site's queue */
    uint32_t withdrawn_count;         /* attempts that were taken back out of such a queue */
    int64_t done_ms; /* work of ended attempts, on the kind that is best for it: assigns.c */
};

/* An attempt that was closed because its site's lease had ended, until the site reports on it: what
 * it used in the dark is settled then. */
struct dark {
    uint64_t job_id;
    uint32_t epoch;
    uint32_t tenant, site;
    int64_t granted_ms, released_ms;
    int64_t cpu_ms_max, energy_mj_max; /* no more than that can be true */
    struct usage billed;
};
#define DARKS_MAX 100000u

struct attempt_end_note { /* how an attempt, or its part at one site, has ended */
    uint32_t told;        /* by its site: enum attempt_outcome */
    uint32_t outcome;     /* what that was, as the grid sees it */
    int32_t exit_code;
    uint32_t site;
    uint32_t width; /* stopped to be resized: the next one's */
    char reason[REASON_BYTES];
};
struct across { /* of an attempt at several sites: across.c */
    uint32_t parts_count, ended_count;
    struct across_part {
        struct grant *grant; /* NULL = it has ended */
        uint32_t site, first_rank, tasks;
        bool started;
        struct usage running; /* as told last */
    } parts[ACROSS_SITES_MAX];
    struct attempt_end_note end; /* when one has ended: what decides */
};

struct array {
    uint64_t id;
    uint32_t count, parallel_max;
    uint32_t live, active; /* active: hold a grant */
    uint32_t queued;
    uint32_t done, failed, cancelled;
    bool failure_told; /* dependents know that it cannot end well any more */
};

struct tenant { /* by the number of its name in grid.tenant_names */
    int64_t cpus_max, devices_milli_max, jobs_max; /* -1 = no limit */
    uint64_t cpus_held, devices_milli_held;
    uint32_t jobs_live;
    bool has_limits; /* told by an event: kept without jobs too */
    /* Told by events; the numbers below hold for all tenants under it, too. */
    uint32_t parent; /* 0 = the network; it has has_limits, and so never goes */
    uint32_t weight_milli;
    int64_t guarantee_cpus, guarantee_devices_milli;
    int64_t budget_micro;                     /* -1 = none */
    int64_t spent_micro;                      /* of ended attempts, since it has has_limits */
    int64_t reserved_micro;                   /* of live ones */
    uint64_t cpus_below, devices_milli_below; /* held by the tenants under it */
    uint32_t jobs_below;
    /* Scratch and handles. */
    uint32_t account; /* in grid.share */
    uint32_t turn_mark;
};

struct turn { /* of a tenant with work waiting */
    uint32_t tenant;
    struct share_key key;
};

struct job {
    struct queue_item item; /* first; its id is the job's */
    /* What a pass asks of those that stand first, beside it. */
    uint32_t shape, terms, tenant; /* interned */
    uint8_t state, outcome;
    bool is_promised; /* has an entry in grid.promises */
    bool cancel_requested;
    struct array *array;
    struct grant *grant;   /* of several parts, the first that still holds */
    struct across *across; /* NULL: it is at one site */
    struct job_deps *deps;
    struct job_past *past;
    struct job_rank *rank; /* NULL: by age alone */
    struct job_wait *wait; /* NULL = never waited for power */
    int64_t submitted_ms, started_ms;
    uint32_t user, name, spec, reason; /* interned */
    uint32_t shape_asked; /* without the place that it is bound to; 0 = `shape` is it */
    uint32_t bound_site;  /* index + 1; 0 = it goes where it likes: move.c */
    uint32_t bound_chip;  /* the kind there that room is made on: assigns.c; interned; 0 = any */
    uint32_t array_index;
    uint32_t epoch;
    int32_t exit_code;
    uint16_t attempts_failed, attempts_lost;
    uint16_t yields_count;  /* how often it made way */
    uint8_t yield_cause;    /* enum yield_cause; while it is stopping for it */
    bool bound_away;        /* anywhere but to bound_site */
    bool moves;             /* the attempt that holds now is the one it is to leave */
    uint64_t yield_for;     /* the job it makes way for; 0 = none in particular */
    int64_t reserved_micro; /* of its tenants' budgets, while it holds */
    uint32_t width_wish;    /* its user wants no more tasks than these; 0 = as many as there are */
    uint32_t width_next;    /* stopping for it: its next attempt's; 0 = as wide as there is room */
};

enum yield_cause { /* numbers are for ever: they are in snapshots */
                   YIELD_NONE = 0,
                   YIELD_PREEMPT = 1, /* for a job that goes first */
                   YIELD_SHED = 2,    /* its site must draw less */
                   YIELD_TARIFF = 3,  /* for cheaper or greener hours */
                   YIELD_TURN = 4,    /* for one of its tenant that is to need less */
                   YIELD_MOVE = 5,    /* to go on at another site */
                   YIELD_RESIZE = 6,  /* to go on there with more, fewer or other nodes */
                   YIELD_DEFRAG = 7,  /* to go on at other nodes of its site */
                   YIELD_ASSIGN = 8   /* for those whose work gains more by its chip */
};
#define YIELD_LAST YIELD_ASSIGN

struct waiters { /* who waits for one id; ids of jobs, ascending; some may have gone */
    uint64_t *ids;
    uint32_t count, cap, gone;
};

struct news { /* outcome 0: an element of this array did not end well, others still run */
    uint64_t id;
    unsigned outcome;
};

struct key { /* by the number of "tenant\0key" in grid.key_texts */
    uint64_t job_id;
    uint32_t jobs_count;
    int64_t time_ms;
    uint64_t body_hash; /* 0 = not known */
};

struct timer {
    int64_t time_ms;
    uint64_t job_id;
};

struct grid {
    int64_t now_ms;
    uint64_t next_id;
    struct fleet fleet;
    struct spares_nodes *site_faults; /* by site: how often its nodes fail; rhythm.c */
    uint32_t site_faults_cap;
    struct shapes shapes;
    struct queue queue;
    struct work_book work; /* classes of work, and how fast each runs: rates.c */
    struct intern strings, specs, terms;
    struct intern tenant_names;
    struct tenant *tenants;
    uint32_t tenants_cap;
    struct share *share;      /* what each holds and has borrowed: shares.c */
    uint32_t order;           /* enum grid_order */
    bool preempts_not;        /* nobody makes way for others */
    bool by_value;            /* borrowed devices count by what they are worth */
    int64_t value_mean;       /* of a device, of all that there are; derived */
    bool defrags;             /* work is moved so that gangs find room: defrag.c */
    int64_t defrag_next_ms;   /* when it is looked at again; 0 = with the next pass */
    struct assigns *assigns;  /* NULL: each goes to the best kind that is free */
    struct guard_cell *cells; /* whole cells that tenants are guaranteed: guards.h */
    uint32_t cells_count;
    uint32_t *guards;      /* by guard: the tenant; 0 = nobody. The first is nobody's */
    uint32_t guards_count; /* places in it, with the first and free ones */
    struct ranks *ranks;   /* NULL = not ordered by what work needs */
    uint32_t class_grants[CLASS_COUNT]; /* how many run, of each class */
    uint32_t class_yields[CLASS_COUNT]; /* of these, how many a higher class may stop */
    uint32_t guarantees_count;          /* tenants that have one */
    uint32_t elastic_grants;            /* attempts whose width may change */
    uint32_t standby_grants;            /* that may have spare nodes */
    int64_t elastic_next_ms;            /* when that is looked at again; 0 = nobody's may */
    uint64_t preempt_for;               /* the job that room is being made for; 0 = none */
    int64_t preempt_next_ms; /* preempt.c: when it is looked at again whether somebody should */
    struct turn *turn_list;  /* scratch of a pass, as all of these */
    uint32_t turn_list_cap, turn_mark;
    uint32_t *turns; /* by tenant */
    uint32_t turns_cap;
    uint32_t turn_count;
    double turn_growth;

    char ***pages; /* see jobs.c: pages of tagged pointers, NULL when empty */
    uint64_t pages_base;
    uint32_t pages_count, pages_cap;
    uint16_t *pages_live;
    struct job *free_jobs;
    void **slabs;
    uint32_t slabs_count, slabs_cap;

    uint8_t **outcome_pages;
    uint64_t outcome_base; /* index of the first page kept */
    uint32_t outcome_count, outcome_cap;

    struct intern waited; /* 8 bytes of an id -> waiters */
    struct waiters *waiters;
    uint32_t waiters_cap;
    struct news *settle; /* what ended in this step: its waiters must be told */
    uint32_t settle_count, settle_cap;

    struct intern forgotten; /* names of sites that are refused */

    struct intern key_texts;
    struct key *keys;
    uint32_t keys_cap;
    uint32_t *key_order; /* oldest first, from key_first */
    uint32_t key_first, key_end, key_order_cap;

    struct timer *timers; /* a heap; may hold some that no longer matter */
    uint32_t timers_count, timers_cap;

    uint64_t *yielding; /* ids of jobs with a yield_cause; in no order that means anything */
    uint32_t yielding_count, yielding_cap;

    struct promise **promises; /* of the first blocked of each class, in the order they were made */
    uint32_t promises_count, promises_cap;
    uint32_t reservations;     /* how many a class */
    uint64_t promises_version; /* fleet.shape_version at which their places were looked at */
    /* What sites' power costs and may be: power.h. */
    struct site_power **powers; /* by site; NULL: nothing but the site's own constants */
    uint32_t powers_cap, powers_count, powers_capped;
    int64_t power_next_ms, observe_ms; /* when something of it changes; a forecast may learn */
    uint64_t waiting_units[2];         /* of work that is held for a better hour: CPUs, devices */
    uint64_t waiting_width[2];         /* what it takes at once */
    uint64_t *cut_jobs;                /* held by a cut, in no order that means anything */
    uint32_t cut_jobs_count, cut_jobs_cap;

    uint32_t owners_lend;     /* sites whose owner takes back a share of them */
    uint32_t owners_timed;    /* sites with hours, or that are not always to be heard */
    uint32_t owners_ask;      /* what some owner wants to know of who comes: owners.c */
    int64_t owners_next_ms;   /* when some site's hours begin or are about to end */
    bool freight_told;        /* some owner tells what data costs on its way, or how fast that is */
    struct freight_out *outs; /* FREIGHT_OUTS; NULL = nothing was learned */
    int64_t withdraw_next_ms; /* freight.c: when sites' queues are looked at; 0 = nobody waits */
    struct dark *darks;       /* oldest first */
    uint32_t darks_count, darks_cap;

    struct grid_counts counts;
    bool wants_pass;

    /* The ledger's own check: what was held is what was billed or is still held. Sums wrap. */
    uint64_t cpus_held, devices_milli_held;
    uint64_t cpu_ms_held, device_milli_ms_held;     /* integrals over the grid's clock */
    uint64_t cpu_ms_billed, device_milli_ms_billed; /* of released grants */

    /* Scratch, not state. */
    struct fit fit;
    struct reserve reserve;
    struct shed *shed;
    double *outlook_out;
    struct job_request request_out;
    uint64_t request_of; /* whose it is */
    struct alloc_part *parts_out;
    uint32_t parts_out_cap;
    effect_fn perform;
    void *perform_context;
};

/* --- jobs.c ------------------------------------------------------------------------------- */
struct job *grid_job(const struct grid *grid, uint64_t id);
struct array *grid_array(const struct grid *grid, uint64_t id);
/* The next live job after `id`; NULL = none. */
struct job *grid_job_after(const struct grid *grid, uint64_t id);
struct job *grid_job_before(const struct grid *grid, uint64_t id);
struct job *grid_add_job(struct grid *grid, uint64_t id); /* zeroed, in the table */
struct array *grid_add_array(struct grid *grid, uint64_t id);
struct array *grid_array_after(const struct grid *grid, uint64_t id);
void grid_free_array(struct grid *grid, struct array *array);
void array_end(struct grid *grid, struct array *array); /* no element lives: tells, frees */
/* Of a fresh grid: no id below this one will be added. */
void grid_begin_ids(struct grid *grid, uint64_t first_id);
void grid_jobs_fini(struct grid *grid);
static inline const struct terms *job_terms(const struct grid *grid, const struct job *job)
{
    return (const struct terms *)grid->terms.entries[job->terms].data;
}
static inline struct shape *job_shape(const struct grid *grid, const struct job *job)
{
    return &grid->shapes.list[job->shape];
}
static inline struct tenant *job_tenant(const struct grid *grid, const struct job *job)
{
    return &grid->tenants[job->tenant];
}
uint32_t grid_tenant(struct grid *grid, const char *name); /* one user more */
void grid_tenant_unref(struct grid *grid, uint32_t number);
void job_set_state(struct grid *grid, struct job *job, enum job_state state);
void job_set_reason(struct grid *grid, struct job *job, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* To the queue: it may run as soon as there is room. Keeps an earlier eligible_ms. */
void job_enqueue(struct grid *grid, struct job *job);
int64_t job_span_ms(const struct grid *grid, const struct job *job); /* INT64_MAX = no limit */
static inline int64_t span_end_ms(int64_t from_ms, int64_t span_ms)
{
    return span_ms < INT64_MAX ? from_ms + span_ms : INT64_MAX;
}
void job_line_up(struct grid *grid, struct job *job); /* no more than that */
/* By what it stands among its like: since when it waits; by deadline, when it must start at the
 * latest to keep it (a week after it came where it has none), and no sooner than it came. So who
 * has waited a week is passed by nobody new. */
int64_t job_order_ms(const struct grid *grid, const struct job *job);
void jobs_line_up_anew(struct grid *grid); /* the policy has another order */
void job_dequeue(struct grid *grid, struct job *job);
struct queue_key job_queue_key(const struct grid *grid, const struct job *job);
/* Final: tells, remembers the outcome, frees. The job holds nothing and is not queued. */
void job_end(struct grid *grid, struct job *job, enum job_state state);
void job_free(struct grid *grid, struct job *job);
int grid_outcome(const struct grid *grid, uint64_t id); /* 0 unknown, 1 done, 2 failed, 3 canc. */
void grid_set_outcome(struct grid *grid, uint64_t id, unsigned outcome);
uint64_t grid_outcomes_from(const struct grid *grid); /* the lowest id that is remembered */
int ids_compare(const void *a, const void *b);
void ids_sort(uint64_t *ids, uint32_t count); /* ascending */

/* --- grid.c ------------------------------------------------------------------------------- */
void grid_emit(struct grid *grid, enum effect_type type, const struct job *job);
void grid_advance(struct grid *grid, int64_t time_ms);

/* --- submit.c ----------------------------------------------------------------------------- */
int submit_check(const struct grid *grid, const struct event_job_submitted *submit,
                 struct err *err);
void submit_apply(struct grid *grid, const struct event_job_submitted *submit,
                  struct step_result *result);
int cancel_check(const struct grid *grid, uint64_t id, struct err *err);
void cancel_apply(struct grid *grid, uint64_t id, const char *by, const char *reason);
void keys_expire(struct grid *grid);
/* "tenant\0key"; gives its length without the last NUL. `out` has KEY_BYTES. */
#define KEY_BYTES (MODEL_NAME_BYTES + EVENT_TEXT_BYTES_MAX + 1)
uint32_t keys_text(const char *tenant, const char *key, char *out);
void keys_add(struct grid *grid, const char *text, uint32_t len, struct key key);
void terms_of_request(const struct job_request *request, struct terms *out);
int request_check(const struct job_request *request, struct err *err);

/* --- deps.c ------------------------------------------------------------------------------- */
enum dep_status { DEP_WAITING, DEP_MET, DEP_UNMEETABLE };
enum dep_status dep_status(const struct grid *grid, uint64_t id, uint32_t kind);
/* The job has its deps: register with those that are still open. */
void deps_wait(struct grid *grid, struct job *job);
void deps_leave(struct grid *grid, struct job *job); /* it ends while waiting */
void deps_settle(struct grid *grid);                 /* tell the waiters of all that ended */
void deps_fini(struct grid *grid);
/* Held until its begin, or straight to the queue. Its deps are met. */
void job_become_ready(struct grid *grid, struct job *job);
void timers_add(struct grid *grid, int64_t time_ms, uint64_t job_id);
void timers_fire(struct grid *grid);

/* --- attempt.c ---------------------------------------------------------------------------- */
/* `count` grants, each at another site: more than one is a gang over several. */
void attempt_start(struct grid *grid, struct job *job, struct grant *const *grants, uint32_t count);
/* The same of a job that is in no queue and has no promise any more. */
void attempt_take(struct grid *grid, struct job *job, struct grant *const *grants, uint32_t count,
                  int64_t end_ms);
/* The attempt holds this instead, from now on; the grant says what of its time that is not. */
void attempt_swap(struct grid *grid, struct job *job, struct grant *grant);
void attempt_started(struct grid *grid, uint64_t job_id, uint32_t epoch);
void attempt_progress(struct grid *grid, uint64_t job_id, uint32_t epoch, const struct usage *usage,
                      int64_t checkpoint_ms, int64_t stall_ms, const char *reason);
void attempt_ended(struct grid *grid, const struct event_attempt_ended *ended);
void attempt_unknown(struct grid *grid, uint64_t job_id, uint32_t epoch);
bool attempt_is_first(const struct job *job); /* the job's newest one */
/* The site's lease has ended: what of it is there runs no longer, whatever is said of it later. */
void attempt_lease_ended(struct grid *grid, struct job *job, uint32_t site);
/* What it holds there, NULL = nothing; and one grant after the other (NULL = the first). */
struct grant *job_grant_at(const struct job *job, uint32_t site);
struct grant *job_next_grant(const struct job *job, const struct grant *after);

/* --- across.c ----------------------------------------------------------------------------- */
void across_begin(struct job *job, struct grant *const *grants, uint32_t count);
void across_free(struct job *job);
struct across_part *across_part_of(const struct job *job, uint32_t epoch); /* NULL: none holds */
bool across_started(struct job *job, uint32_t epoch);                      /* true: all have */
void across_progress(struct job *job, uint32_t epoch, const struct usage *usage);
/* The part with this grant is in the ledger. */
void across_settled(struct job *job, const struct grant *grant);
/* Then: false: others still hold, and are being stopped if they must be. True: it was the last;
 * `note` is how all of it has ended. */
bool across_over(struct grid *grid, struct job *job, struct attempt_end_note *note);
/* `grant` NULL: of nobody in particular. */
void across_fill_view(const struct grid *grid, const struct job *job, const struct grant *grant,
                      struct across_view *out);
int across_check(const struct grid *grid, const struct job *job, struct err *err);

/* --- lease.c ------------------------------------------------------------------------------ */
/* Does its attempt end with its site's lease, to go on elsewhere? */
bool lease_binds(const struct grid *grid, const struct job *job);
int lease_check(const struct grid *grid, const struct event *event, struct err *err);
void lease_apply(struct grid *grid, const struct event *event);
/* The attempt is closed now with this on its bill; the rest comes with its site's report. */
void lease_remember(struct grid *grid, const struct job *job, const struct usage *billed);
/* A report on an attempt that is none of the present: the books get what they lack. `usage` NULL:
 * the site knows nothing of it. */
void lease_settle(struct grid *grid, uint64_t job_id, uint32_t epoch, const struct usage *usage);
void lease_forget_site(struct grid *grid, uint32_t site);
int lease_check_darks(const struct grid *grid, struct err *err); /* the invariants */

struct job_past *job_past_of(struct job *job); /* made when there is none */

/* --- rhythm.c ----------------------------------------------------------------------------- */
void rhythm_start(struct grid *grid, struct job *job); /* its grant is made */
void rhythm_saved(struct job_past *past, int64_t stall_ms);
void rhythm_end(struct grid *grid, const struct job *job); /* before its grant is released */
void rhythm_put_job(struct buf *out, const struct job_past *past);
void rhythm_put(const struct grid *grid, struct buf *out);
void rhythm_restore(struct grid *grid, uint32_t site, uint64_t failures, int64_t node_ms);

/* --- saved.c ------------------------------------------------------------------------------ */
int saved_check(const struct grid *grid, const struct event_checkpoint_stored *stored,
                struct err *err);
void saved_apply(struct grid *grid, const struct event_checkpoint_stored *stored);
bool saved_name_is_valid(const char *manifest);
void past_free(struct job_past *past);

/* --- signed.c ----------------------------------------------------------------------------- */
int signed_check(const struct grid *grid, const struct event_receipt *receipt, struct err *err);
void signed_apply(struct grid *grid, const struct event_receipt *receipt);

/* --- shares.c ----------------------------------------------------------------------------- */
void shares_init(struct grid *grid);
void shares_add_tenant(struct grid *grid, uint32_t number);
void shares_remove_tenant(struct grid *grid, uint32_t number);
/* The accounts anew: a tenant's numbers have changed. With keep_memory (a restore), what each
 * remembers is as it is set. */
void shares_rebuild(struct grid *grid, bool keep_memory);
void shares_set_total(struct grid *grid);
/* An attempt holds, or no longer does: at its tenant and all above. */
void shares_hold(struct grid *grid, const struct job *job, bool release);
struct share_amount shares_of_shape(const struct grid *grid, const struct shape *shape);
struct share_amount shares_of_grant(const struct shape *shape, const struct grant *grant);
/* What its devices count for: their number, or by_value what they are worth. */
int64_t shares_value(const struct grid *grid, const struct grant *grant);
/* Whose turn it is among those with work waiting, into the queue; false: all are alike. */
bool shares_rank(struct grid *grid);
/* The same for those who waited at the last shares_rank, which gave true. */
void shares_rank_again(struct grid *grid);
/* That much more has been started: must the turns be worked out again? */
bool shares_have_moved(struct grid *grid, const struct shape *shape);
int shares_check_tenant(const struct grid *grid, const struct event *event, struct err *err);
void shares_jobs_live(struct grid *grid, uint32_t tenant, int32_t by);

/* --- budget.c ----------------------------------------------------------------------------- */
/* Has it, or one above it, a budget? */
bool budget_exists(const struct grid *grid, uint32_t tenant);
int64_t budget_left(const struct grid *grid, uint32_t tenant); /* INT64_MAX = no budget */
/* What the job costs at most by its limit where it could run; -1: without a limit nobody knows. */
int64_t budget_price(struct grid *grid, const struct job *job);
int64_t budget_price_of(struct grid *grid, const struct job *job, uint64_t tasks);
void budget_reserve(struct grid *grid, struct job *job);
void budget_reserve_again(struct grid *grid, struct job *job); /* it holds something else now */
void budget_settle(struct grid *grid, struct job *job, int64_t price_micro);
/* So much more was spent by an attempt that has been settled before. */
void budget_spend(struct grid *grid, uint32_t tenant, int64_t price_micro);
void budget_restore(struct grid *grid, const struct job *job);

/* --- preempt.c ---------------------------------------------------------------------------- */
struct victim { /* who may be stopped */
    struct job *job;
    int64_t lost; /* device- or CPU-ms */
    bool is_given_back;
};
int64_t preempt_loss(const struct grid *grid, const struct job *job);
/* For qsort_r, the context is the grid: lower classes first, then who saves checkpoints, then who
 * loses least. */
int victims_compare(const void *a, const void *b, void *context);
/* The end of a pass: `head` is the first that is blocked by lack of room, NULL = none. */
void preempt_run(struct grid *grid, struct job *head);
/* The begin of a pass: who has had room made for it starts; still waiting for it, it is the head
 * of this pass. */
struct job *preempt_first(struct grid *grid);
void preempt_tick(struct grid *grid);
/* Have others of its tenant and class stopped that it stands clearly before (ranks.h). */
bool preempt_for_turn(struct grid *grid, struct job *job);

/* --- defrag.c ----------------------------------------------------------------------------- */
void defrag_run(struct grid *grid); /* as a pass ends */
void defrag_tick(struct grid *grid);

/* --- yield.c ------------------------------------------------------------------------------ */
/* Runs, is not being stopped, and goes back to the queue when it is. */
bool yield_is_possible(const struct grid *grid, const struct job *job);
/* Stop its attempt; `fmt` is the one line that its owner reads. It must be possible. */
void yield_ask(struct grid *grid, struct job *job, enum yield_cause cause, uint64_t for_id,
               const char *fmt, ...) PRINTF_LIKE(5, 6);
uint32_t yield_outcome(const struct job *job, uint32_t outcome);
void yield_count(struct job *job); /* its attempt has ended: did it make way? */
void yield_clear(struct grid *grid, struct job *job);
void yield_restore(struct grid *grid, struct job *job);
/* Is what it holds soon free? Not before its sites are heard: until then nobody waits for it. */
bool yield_is_soon(const struct grid *grid, const struct job *job);
bool yield_any_soon(const struct grid *grid);
/* How many are being stopped for this, and soon have. */
uint32_t yield_pending(const struct grid *grid, enum yield_cause cause, uint64_t for_id);

/* --- move.c ------------------------------------------------------------------------------- */
int move_check(const struct grid *grid, const struct event *event, struct err *err);
void move_apply(struct grid *grid, const struct event *event);
/* It goes back to the queue: the binding is for the next attempt, or has been used. */
void move_requeued(struct grid *grid, struct job *job);
/* Only to that kind of chip at the site, until move_unbind; it is queued or about to be stopped. */
void move_bind_kind(struct grid *grid, struct job *job, uint32_t site, const char *chip);
void move_unbind(struct grid *grid, struct job *job);
/* What the job asked for, wherever it is bound to. */
struct shape *job_asked(const struct grid *grid, const struct job *job);
/* It asks for something else from now on: its binding and its place in line stay. */
void job_set_shape(struct grid *grid, struct job *job, const struct request_shape *asked);

/* --- elastic.c ---------------------------------------------------------------------------- */
/* May its attempts be of different widths, or have nodes that stand by? */
bool elastic_is(const struct terms *terms);
/* The widest that it may be now, by its file and its user's wish. */
uint32_t elastic_most(const struct grid *grid, const struct job *job);
/* Found at its least width, into grid.fit: it starts there, as wide as fits beside the promises and
 * its tenant's limits, up to `most` tasks, with its spare nodes. */
void elastic_start(struct grid *grid, struct job *job, enum fit_when when, uint32_t most);
/* It goes back to the queue: it needs no more than its least width. */
void elastic_requeued(struct grid *grid, struct job *job);
/* It is queued and its last attempt was at that site: it goes on there at once where there is room
 * beside all that is promised. False: it waits like any other. */
bool elastic_resume(struct grid *grid, struct job *job, uint32_t site, uint32_t most);
/* A node is closed: gangs on it that have spare nodes go on without it. */
void elastic_node_closed(struct grid *grid, uint32_t site, uint32_t node);
int elastic_check(const struct grid *grid, const struct event *event, struct err *err);
void elastic_apply(struct grid *grid, const struct event *event);
/* The number of its shape, were it `tasks` wide; one user more. */
uint32_t elastic_shape(struct grid *grid, const struct job *job, uint32_t tasks);
/* Have its attempt stopped, to go on there at that width; it must be possible. `why` is the end of
 * the line that its owner reads. */
void elastic_ask(struct grid *grid, struct job *job, uint32_t tasks, uint64_t for_id,
                 const char *why);
int elastic_check_job(const struct grid *grid, const struct job *job, struct err *err);
void elastic_say(const struct grid *grid, const struct job *job, char *out, size_t bytes);

/* --- widen.c ------------------------------------------------------------------------------ */
/* The end of a pass: have elastic jobs shrink for a blocked one. True: room is made for `head`. */
bool widen_make_room(struct grid *grid, struct job *head);
void widen_grow(struct grid *grid, bool is_done); /* is_done: nobody else could start */
void widen_tick(struct grid *grid);
/* Are some shrinking for a job that waits? Then nobody plans with what they will hold again. */
bool widen_is_pending(const struct grid *grid);

/* --- standby.c ---------------------------------------------------------------------------- */
/* The grant, not held yet, with as many spare nodes as the job asks for and there are now. */
struct grant *standby_add(struct grid *grid, const struct job *job, struct grant *grant,
                          enum fit_when when);
/* As a pass begins: spare nodes that are closed are given back, and others take their place. */
void standby_replenish(struct grid *grid);
uint32_t standby_wanted(const struct grid *grid, const struct job *job, const struct grant *grant);

/* --- usage.c ------------------------------------------------------------------------------ */
/* One ledger row: the grant's time on the grid's clock, and what the site reported, but no more
 * than was possible. */
struct usage usage_of_grant(const struct grid *grid, const struct grant *grant,
                            const struct usage *reported);
/* The same of what was held from then to then, with claims that are not doubted. */
struct usage_span {
    uint32_t site;
    int64_t from_ms, until_ms;
    uint64_t cpus, devices_milli;
    int64_t cpu_ms_more, device_milli_ms_more; /* besides */
};
struct usage usage_of_span(const struct grid *grid, const struct usage_span *span,
                           const struct usage *claims);
/* What of the report was not possible; `ended` NULL: no word of when it ran. */
uint32_t usage_dispute(const struct grid *grid, const struct grant *grant,
                       const struct usage *reported, const struct event_attempt_ended *ended,
                       struct usage_dispute out[USAGE_CLAIMS]);
/* The most that can be true of CPU time and energy, of what is held until now. */
void usage_bounds(const struct grid *grid, const struct grant *grant, int64_t *cpu_ms_out,
                  int64_t *energy_mj_out);
void usage_add(struct usage *sum, const struct usage *usage, bool first);

/* --- plan.c ------------------------------------------------------------------------------- */
/* Of what one task costs, draws or emits an hour: that of all of them, for so long. */
int64_t plan_over_time(int64_t per_hour, uint32_t tasks, int64_t duration_ms);
/* The places of a shape, best first: PLAN_CANDIDATES_MAX. */
void plan_list(struct grid *grid, struct shape *shape, const struct terms *terms, int64_t now_ms,
               struct plan_candidate *out, uint32_t *count_out);

/* --- pass.c, place.c ---------------------------------------------------------------------- */
void pass_run(struct grid *grid);
/* In the place that was found: grid.fit. */
void pass_start(struct grid *grid, struct job *job, enum fit_when when, enum choice_how how);
/* What keeps this job from starting that is not room: NULL = nothing. */
enum hold {
    HOLD_NONE,
    HOLD_PARALLEL,
    HOLD_QUOTA_CPUS,
    HOLD_QUOTA_DEVICES,
    HOLD_BUDGET,        /* it may cost more than is left */
    HOLD_BUDGET_UNKNOWN /* there is a budget, and nobody knows what it costs */
};
enum hold pass_hold(struct grid *grid, const struct job *job);
/* Which of its tenants, from its own up, has no more room for this under its limits; 0 = none. */
uint32_t pass_full_tenant(const struct grid *grid, const struct job *job, enum hold *hold_out);
/* The same of so many more. */
uint32_t pass_full_for(const struct grid *grid, const struct job *job, uint64_t cpus,
                       uint64_t devices_milli, enum hold *hold_out);
int64_t job_end_bound(const struct grid *grid, const struct job *job);
/* Is there a place for those of the bucket when others have ended? By what the last pass saw. */
bool pass_can_start(const void *context, const struct queue_key *key);
int place_check(const struct grid *grid, const struct event *event, struct err *err);
void place_apply(struct grid *grid, const struct event *event);

/* --- promises.c --------------------------------------------------------------------------- */
struct promise *promise_of(const struct grid *grid, const struct job *job); /* NULL = none */
/* As a pass begins: what cannot be kept is planned anew, and one of the others perhaps sooner. */
void promises_begin(struct grid *grid);
/* The job is among the first blocked: plan its start. NULL: its class has as many as it may. */
struct promise *promises_make(struct grid *grid, struct job *job);
void promises_drop(struct grid *grid, struct job *job); /* it starts, or waits no longer */
/* The same of one that its own work keeps out of its cells (reclaim.h): besides. */
void promises_own(struct grid *grid, struct job *job);
/* What is lent in this place, now the promise's, leaves by `start_ms`. False: too many are promised
 * that already; the plan is destroyed. */
bool promises_claim(struct grid *grid, struct job *job, struct grant *plan, uint16_t chip,
                    int64_t start_ms, int64_t end_ms);
/* Room is being made for it: promise it a start there, sooner than what it has been told. */
void promises_renew(struct grid *grid, struct job *job);
/* What is promised to others of the tenant and all below it, and of the job's array, that would
 * begin while it ran; and what those of its tenant may cost. */
struct promised_sums {
    uint64_t cpus, devices_milli;
    uint32_t elements;
};
struct promised_sums promises_beside(const struct grid *grid, const struct job *job,
                                     uint32_t tenant);
int64_t promises_price(struct grid *grid, const struct job *job);
void promises_restore(struct grid *grid, struct job *job, const struct promise *promise);
int promises_check(const struct grid *grid, struct err *err); /* the invariants */
void promises_fini(struct grid *grid);

/* --- forget.c ----------------------------------------------------------------------------- */
/* Of all events about sites: 0 unless the site is, or cannot be, forgotten. */
int forget_check(const struct grid *grid, const struct event *event, struct err *err);
void forget_apply(struct grid *grid, const struct event *event);

/* --- mixed.c ------------------------------------------------------------------------------ */
/* Into the parts, which are those of the grant, of a gang that may be mixed. */
void mixed_shares(const struct grid *grid, const struct shape *shape, const struct grant *grant,
                  struct alloc_part *parts);
bool mixed_is_one_kind(const struct grid *grid, const struct grant *grant);

/* --- view.c ------------------------------------------------------------------------------- */
void job_fill_view(struct grid *grid, const struct job *job, struct job_view *view);
