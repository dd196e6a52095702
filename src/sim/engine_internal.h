/* engine_internal.h - what the files of the engine share.
 *
 * engine.c  the loop, submits and effects       engine_attempt.c  one run of a job, from its
 * engine_faults.c  what breaks and is mended                      allocation to its end
 * engine_lease.c   sites that are not heard for long
 * engine_result.c  sums at the end             engine_why.c      why jobs wait
 */
#pragma once

#include "base/rng.h"
#include "grid/grid.h"
#include "sim/agenda.h"
#include "sim/engine.h"

enum sim_entry_kind {
    SIM_ENTRY_STARTED,     /* a = job, b = serial */
    SIM_ENTRY_ENDED,       /* a = job, b = serial */
    SIM_ENTRY_STANDS,      /* a = job, b = serial: it was told to stand still, and does */
    SIM_ENTRY_CANCEL,      /* a = job */
    SIM_ENTRY_NODE_FAILS,  /* a = site, b = node */
    SIM_ENTRY_NODE_MENDED, /* the same */
    SIM_ENTRY_CHIP_FAILS,  /* the same */
    SIM_ENTRY_CHIP_MENDED, /* c = device */
    SIM_ENTRY_LINK_FAILS,  /* a = site */
    SIM_ENTRY_LINK_MENDED,
    SIM_ENTRY_SITE_FAILS, /* a = site */
    SIM_ENTRY_SITE_MENDED,
    SIM_ENTRY_WINDOW_DRAINS, /* a = window */
    SIM_ENTRY_WINDOW_OPENS,
    SIM_ENTRY_WINDOW_CLOSES,
    SIM_ENTRY_TARIFF,      /* a = site: the next slots become known */
    SIM_ENTRY_SLOT,        /* a = site: another slot of its tariff begins */
    SIM_ENTRY_SHED,        /* a = grid event */
    SIM_ENTRY_LEASE_STOPS, /* a = site, b = which silence: it stops what moves */
    SIM_ENTRY_LEASE_ENDS   /* the same: so the controller knows */
};

struct sim_share { /* of one node */
    uint32_t node;
    uint64_t devices; /* which */
};
struct sim_attempt {
    uint32_t job, epoch, serial;
    uint32_t site, group, slot;
    int64_t start_ms;
    int64_t work_ms;                        /* what is left of the job, on its reference chip */
    int64_t pace_ppm;                       /* ms of wall time per 1,000,000 ms of work */
    int64_t restart_ms, every_ms, stall_ms; /* every_ms 0 = saves no checkpoint */
    int64_t devices_milli, cpus;
    int64_t spare_devices_milli, spare_cpus;     /* of nodes that stand by, besides */
    int64_t spares_ms;                           /* since when */
    int64_t watts_milli, price_micro, carbon_ug; /* an hour */
    int64_t load_watts_milli, idle_watts_milli;
    int64_t end_ms;             /* by itself */
    int64_t held_ms;            /* it stands still since then; -1 = it runs */
    int64_t stood_ms, stood_mj; /* before, and drawn meanwhile */
    int32_t exit_code;
    uint32_t outcome;
    bool saved_at_stop; /* asked for a checkpoint before it was stopped */
    bool reported_late; /* it has ended where nobody hears it */
    int64_t ended_ms, useful_ms;
    uint32_t shares_count;
    struct sim_share shares[];
};

enum sim_job_state { SIM_JOB_COMING, SIM_JOB_LIVE, SIM_JOB_REFUSED, SIM_JOB_ENDED };
struct sim_run_job {
    uint64_t id; /* in the grid */
    struct sim_attempt *attempt;
    int64_t left_ms;          /* work still to do */
    int64_t useful_ms;        /* wall time that counted, of all attempts */
    int64_t first_ms, end_ms; /* -1 = not yet */
    int64_t deadline_ms;      /* from the start; 0 = none */
    uint32_t restarts;
    uint8_t state;     /* enum sim_job_state */
    uint8_t end_state; /* enum job_state */
    bool is_listed;    /* in the list of those that may wait */
};
#define SIM_ASKED_MAX 4u /* jobs a sample */
struct sim_asking {      /* engine_why.c */
    uint32_t *list;      /* jobs that may wait, some for no longer */
    uint32_t count, cap;
    int64_t every_ms, next_ms, last_ms;
    uint32_t samples;     /* at this interval */
    uint64_t waiting;     /* at the last sample */
    uint32_t asked_count; /* then: the last of `asks` */
    struct sim_ask {
        uint32_t job, reason;
        __int128 wait_ms; /* what it stands for */
    } * asks;
    uint32_t asks_count, asks_cap;
    int64_t story_ms[SIM_STORIES_MAX]; /* when it is asked next */
};
struct sim_node_state {
    struct rng node_rng, chip_rng;
    uint64_t chips_down;
    uint16_t down; /* reasons why it is closed */
    bool slow;
};
struct sim_site_state {
    struct sim_node_state *nodes;
    uint32_t *node_groups; /* group of the devices of each pool */
    uint32_t cpu_group;
    struct rng link_rng, site_rng;
    uint32_t links_down; /* reasons why it is not heard */
    uint64_t session;
    int64_t told_ms; /* its tariff is told up to then, Unix ms */
    struct {         /* attempts whose end nobody has heard */
        uint32_t job, serial;
    } * late;
    uint32_t late_count, late_cap;
    uint32_t silences;          /* how often it fell silent or was heard again */
    struct sim_attempt **darks; /* closed unheard; told when it is heard again */
    uint32_t darks_count, darks_cap;
};
struct sim_engine_window {
    uint32_t site;
    struct sim_window window;
};

struct sim_engine {
    const struct sim_setup *setup;
    struct sim_result *result;
    struct err *err;
    int rc; /* the first thing that went wrong inside an effect */
    struct grid *grid;
    struct sim_agenda agenda;
    int64_t now_ms; /* from the start */
    int64_t pass_due_ms;
    int64_t ticked_ms;     /* Unix ms of a timer that is due and heard already; 0 = none */
    int64_t last_start_ms; /* when an attempt was last started */
    struct sim_run_job *jobs;
    uint32_t *by_id;
    uint32_t next_submit;
    uint64_t ended_count;
    struct sim_attempt **active;
    uint32_t active_count, serial;
    struct sim_site_state *sites;
    struct sim_engine_window *windows;
    uint32_t windows_count;
    struct sim_asking asking;
    bool faulty;            /* anything may break */
    uint32_t settling_site; /* whose attempts are being settled late */
    int64_t *speeds;        /* of the load's names, TFLOPS in 1/1000; 0 = not known */
};

/* Step the grid at the engine's time; a refusal is the caller's to judge. */
int sim_engine_step(struct sim_engine *engine, struct event *event, struct step_result *result);
bool sim_engine_expect(struct sim_engine *engine, int64_t time_ms, enum sim_entry_kind kind,
                       uint32_t a, uint32_t b, uint32_t c);
void sim_engine_fail(struct sim_engine *engine, int rc, const char *text);

/* engine_attempt.c */
void sim_attempt_run(struct sim_engine *engine, const struct effect *effect);
enum sim_end { SIM_END_FAULT, SIM_END_CANCEL, SIM_END_YIELD, SIM_END_LEASE };
/* It ends now: by a fault, or because it was told to. */
void sim_attempt_kill(struct sim_engine *engine, struct sim_attempt *attempt, enum sim_end end);
/* Nodes that stand by beside it have come or gone. */
void sim_attempt_spares(struct sim_engine *engine, struct sim_attempt *attempt,
                        const struct allocation *allocation);
/* A cut: it stands still in place, or goes on. */
void sim_attempt_suspend(struct sim_engine *engine, struct sim_attempt *attempt, bool is_held);
int sim_attempt_report_stands(struct sim_engine *engine, const struct sim_entry *entry);
int sim_attempt_report_start(struct sim_engine *engine, const struct sim_entry *entry);
int sim_attempt_report_end(struct sim_engine *engine, const struct sim_entry *entry);
/* It has ended, but that does not count any more. */
void sim_attempt_void(struct sim_engine *engine, struct sim_attempt *attempt);
int sim_attempt_tell_end(struct sim_engine *engine, const struct sim_attempt *attempt);
/* At the end of the simulation: what still runs counts as far as it got. */
void sim_attempt_cut_off(struct sim_engine *engine, struct sim_attempt *attempt);

/* engine_faults.c */
int sim_faults_begin(struct sim_engine *engine);
int sim_faults_take(struct sim_engine *engine, const struct sim_entry *entry);

/* All that runs there, in the order of the jobs. */
int sim_faults_kill_site(struct sim_engine *engine, uint32_t site, enum sim_end end);

/* engine_lease.c: nothing of it where no job moves. */
int sim_lease_begin(struct sim_engine *engine);
void sim_lease_silent(struct sim_engine *engine, uint32_t site);
int sim_lease_heard(struct sim_engine *engine, uint32_t site); /* after SITE_SEEN */
int sim_lease_take(struct sim_engine *engine, const struct sim_entry *entry);

/* engine_result.c */
int sim_result_begin(struct sim_engine *engine);
int sim_result_end(struct sim_engine *engine);
/* The grid has refused the job; engine->err says why. */
void sim_result_refused(struct sim_engine *engine, uint32_t job);

/* engine_why.c: by the record that `mains why` shows. Nothing of the run depends on it. */
int sim_why_begin(struct sim_engine *engine);
void sim_why_fini(struct sim_engine *engine);
void sim_why_waits(struct sim_engine *engine, uint32_t job); /* from now on it may */
void sim_why_moment(struct sim_engine *engine);              /* a moment is over */
void sim_why_end(struct sim_engine *engine);
/* Something became of a job: a line in its story, if anybody asked for one. */
void sim_why_tell(struct sim_engine *engine, uint32_t job, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* engine_power.c */
int sim_power_begin(struct sim_engine *engine);
int sim_power_take(struct sim_engine *engine, const struct sim_entry *entry);
/* What is true of the slot; NULL = the site has no series. */
const struct sim_series_row *sim_power_row(const struct sim_engine *engine, uint32_t site,
                                           int64_t unix_ms);
/* Is the job one of those that the policy makes patient? */
bool sim_is_patient(const struct sim_engine *engine, uint32_t job);
/* Does it save when it is told to stop, as the policy says? */
bool sim_saves_when_told(const struct sim_engine *engine, uint32_t job);
/* engine_attempt.c: what it costs an hour has changed. */
void sim_attempt_reprice(struct sim_engine *engine, struct sim_attempt *attempt);
