/* assigns.h - inside src/grid: which job on which kind of chip (sched/assign.h), while the policy's
 * `assign` is on. Off, there is nothing of it.
 *
 * In rounds, every five minutes, what runs and can be moved and the first of what waits are put on
 * the kinds of chip (one kind at one site each) where all together gain most, by what a unit of
 * their work comes to there: time, money or carbon, as each job's objective has it, from the rates
 * that are known (rates.h). Who is to be elsewhere is stopped with its checkpoint and bound to that
 * kind for its next start; who waits for what becomes free is bound to it, too. What becomes free
 * is kept for those that are bound, in every pass, while somebody is being stopped for it, for a
 * quarter of an hour at most: then they go where they like again.
 *
 * Bounded: ASSIGNS_JOBS jobs a round (of more that run the next ones come in the next round),
 * ASSIGNS_STOPS of them stopped. Nobody is stopped before it has run for a minute, twice as long
 * before each further time; being elsewhere must be worth the restart and 5 % besides. */
#pragma once

#include "grid/fields.h"
#include "grid/state.h"
#include "sched/assign.h"

#define ASSIGNS_JOBS 2048u
#define ASSIGNS_WAITING 512u /* of these at most, that wait */
#define ASSIGNS_STOPS 64u
#define ASSIGNS_BOUND 192u
#define ASSIGNS_EVERY_MS 300000

struct assigns {
    int64_t next_ms; /* of the round; 0 = with a pass, five minutes after the last or later */
    int64_t last_ms; /* when one was */
    bool is_short;   /* and some found no kind: till the next one nobody else goes before them */
    uint64_t cursor; /* running jobs are looked at from this id on */
    struct {
        uint64_t job_id;
        int64_t until_ms;
    } bound[ASSIGNS_BOUND]; /* in the order in which they were; some may have gone or started */
    uint32_t bound_count;
    /* Scratch. */
    bool holds_back; /* in this pass: who rounds choose among waits for one */
    struct assign *solver;
    struct promise holds[ASSIGNS_BOUND]; /* within a pass: what is kept for them */
    uint32_t holds_count;
};

void assigns_set(struct grid *grid, bool is_on);
void assigns_free(struct grid *grid);
int64_t assigns_next_ms(const struct grid *grid); /* INT64_MAX = no tick is wanted */
void assigns_tick(struct grid *grid);
/* As a pass begins, behind the promised starts: who is bound starts, or has its room kept. */
void assigns_begin(struct grid *grid);
/* As it ends, with the holds of the pass in force; is_done: nobody else could start. `head`: the
 * one that holds its place in line, NULL = none. */
void assigns_round(struct grid *grid, const struct job *head, bool is_done);
/* Do the rounds choose who of those that wait runs, too? */
bool assigns_chooses(const struct grid *grid);
/* Does it wait for the next round, whatever is free, as that chooses among many? */
bool assigns_waits(const struct grid *grid, const struct job *job);
/* May others go around this blocked job, the first of all in line, whose start is not known? */
bool assigns_lets_past(const struct grid *grid, const struct job *job);
void assigns_settled(struct grid *grid, struct job *job); /* before its grant is released */
void assigns_say(struct grid *grid, const struct job *job, char *out, size_t bytes);

/* The snapshot's section, and the invariants. */
void assigns_put(const struct grid *grid, struct buf *out);
int assigns_take(struct grid *grid, struct cursor *in);
int assigns_check(const struct grid *grid, struct err *err);

/* --- assigns.c and assigns_round.c between them ------------------------------------------------
 */
/* Do rates say what the job's work, on whole devices of one kind, comes to at the candidate, and
 * may it be sent there now? */
bool assigns_may_use(const struct grid *grid, const struct shape *shape,
                     const struct candidate *candidate);
bool assigns_is_asked(const struct grid *grid, const struct job *job); /* by its shape alone */
/* Where what it asked for could be, wherever it is bound to; and what a unit of its work comes to
 * at the best of these, 0 = not known. */
const struct candidate *assigns_kinds(struct grid *grid, const struct job *job,
                                      uint32_t *count_out);
double assigns_best(const struct candidate *list, uint32_t count);
/* What a unit of its work comes to at its best place over what it does at that kind; 0 = not known.
 */
double assigns_share(struct grid *grid, const struct job *job, uint32_t site, uint16_t chip);
int64_t assigns_done_ms(struct grid *grid, const struct job *job); /* its attempt counted in */
void assigns_take_parts(struct grid *grid, const struct grant *grant, bool give_back);
/* A place there beside all that is held, promised and kept, as things are tried out; NULL = none.
 * `is_head`: no hold is in its way. */
struct grant *assigns_place(struct grid *grid, const struct job *job, uint32_t site, uint16_t chip,
                            bool is_head);
/* It starts there at once; false: it does not fit, or must not. */
bool assigns_start(struct grid *grid, struct job *job, uint32_t site, uint16_t chip, bool is_head);
/* While rounds choose who runs and something is free for who waits: a round before its time, or as
 * soon as may be. */
void assigns_round_soon(struct grid *grid);
void assigns_bind(struct grid *grid, struct job *job, uint32_t site, uint16_t chip);
